"""What the warm process loads before it is copied for campaigns (`multiprocessing`'s fork server preloads this).

Importing this module loads everything that a campaign needs, which costs some 3 CPU seconds, and rehearses one on a
twin, because much is imported only where it is used. Nothing else imports it.

One thread for linear algebra: a pool of threads does not survive being copied, and campaigns run side by side.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal

# It ends when its parent does: a SIGTERM to the whole group (systemd) is not for it, nor is Ctrl-C. Blocked and not
# only ignored: a SIGTERM that reaches a process before it is ready (`sdl.parallel.pool`, `sdl.lab.workers.worker`)
# waits there, and the
# rehearsal listens to both.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import httpx  # noqa: F401, E402  # after the number of threads is known

import sdl.drivers.claude_light.config  # noqa: F401, E402
from sdl import runner  # noqa: E402

with contextlib.suppress(Exception):  # a rehearsal that fails costs each campaign its imports, nothing else
    for _solver in ("auto", "gmm"):
        runner.run({"name": "rehearsal", "instrument": "twin", "goal": {"445nm": 16384}, "solver": _solver}, runs=None)
gc.collect()
gc.freeze()  # what is here now stays; looking it over again would copy its memory in every child
signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C that came meanwhile is forgotten
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
