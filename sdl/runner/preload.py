"""Imports of the process that is forked for each campaign (preloaded by `multiprocessing`'s fork server).

Importing this module loads everything that a campaign needs (about 3 CPU seconds) and runs two short campaigns on a
twin, because many modules are imported on first use. No other module imports it.

Linear algebra gets one thread: thread pools do not survive a fork, and campaigns run in parallel.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal

# This process ends with its parent; SIGTERM to the whole group (systemd) and Ctrl-C are not meant for it. Both are
# blocked, not ignored: a SIGTERM that reaches a child before it is ready (`sdl.parallel.pool`,
# `sdl.lab.workers.worker`) must wait, and the campaigns below install handlers for both.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import httpx  # noqa: F401, E402  # after the number of threads is known

import sdl.drivers.claude_light.config  # noqa: F401, E402
from sdl import runner  # noqa: E402
from sdl.drivers.twin.config import Twin  # noqa: E402

with contextlib.suppress(Exception):  # if this fails, each campaign imports for itself
    _channel = Twin().channels[1].name
    for _solver in ("auto", "gmm"):
        runner.run({"name": "rehearsal", "instrument": "twin", "goal": {_channel: 16384}, "solver": _solver}, runs=None)
gc.collect()
gc.freeze()  # the collector of a child must not touch, and so copy, this memory
signal.signal(signal.SIGINT, signal.SIG_IGN)  # drops a Ctrl-C that came meanwhile
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
