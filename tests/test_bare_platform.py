"""What a browser or Windows lacks is not needed to load the package, to solve, or to run a campaign in memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from test_project import MODULES, python

# Takes away fork, file locks, users, signals, threads and child processes, before anything of ours is loaded.
BARE = """
import importlib.abc, json, os, signal, subprocess, sys, threading, _thread

class Refused(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "pwd", "grp", "termios"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refused())

def refuse(kind, text):
    def function(*args, **options):
        raise kind(text)
    return function

for name in ("fork", "forkpty", "register_at_fork", "killpg", "waitid", "getuid", "geteuid", "setsid", "pidfd_open",
             "sched_getaffinity", "set_blocking", "posix_spawn"):
    if hasattr(os, name):
        delattr(os, name)
for name in dir(signal):
    if name.startswith(("pthread_", "setitimer", "SIGKILL", "SIGUSR", "SIGCHLD")):
        delattr(signal, name)
signal.signal = refuse(ValueError, "signal only works in main thread of the main interpreter")
subprocess.Popen.__init__ = refuse(OSError, "no processes")
for module in (_thread, threading):
    for name in ("start_new_thread", "_start_new_thread", "start_joinable_thread", "_start_joinable_thread"):
        if hasattr(module, name):
            setattr(module, name, refuse(RuntimeError, "can't start new thread"))
for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
    os.environ.pop(name, None)
"""

SOLVE = """
import numpy as np
import sdl
from importlib.util import find_spec
from sdl.registry import OURS

X = np.random.default_rng(0).random((40, 3))
gains = np.array([[29264, 365, 122], [1322, 63597, 365], [753, 428, 30226]])
Y = X @ gains * (1 + 0.002 * np.random.default_rng(1).normal(size=(40, 3)))
missed = {}
for kind in OURS["solvers"]:
    if kind == "forest" and find_spec("ForestDiffusion") is None:
        continue
    settings = sdl.solve(X, Y, [16384] * 3, kind).settings
    missed[kind] = float(abs(settings @ gains / 16384 - 1).max())
campaign = {"name": "bare", "instrument": {"kind": "twin"}, "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384}}
result = sdl.run(campaign, runs=None)
try:
    sdl.run(campaign)
except sdl.SdlError as error:
    print(json.dumps({"missed": missed, "outcome": result.outcome, "on_disk": str(error)}))
"""

IMPORT = """
import importlib

failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""

# A lab starts and ends processes; preload is the process that workers are forked from; the SDK of mcp asks for fcntl.
NEED_PROCESSES = {"sdl.lab.serve", "sdl.lab.workers.supervisor", "sdl.runner.preload", "sdl.mcp.server"}


def test_every_solver_solves_and_a_campaign_runs_without_fork_locks_signals_and_threads(tmp_path: Path) -> None:
    done = python("-W", "default", "-c", BARE + SOLVE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["outcome"] == "reached"
    assert "no file locks" in found["on_disk"]
    assert {"auto", "linear", "pls", "gmm", "bayes", "gp", "broyden", "continuation", "mcmc"} <= set(found["missed"])
    assert {kind: miss for kind, miss in found["missed"].items() if miss > 0.02 and kind != "random"} == {}


@pytest.mark.slow
def test_every_module_can_be_loaded_without_them_but_those_that_are_made_of_processes(tmp_path: Path) -> None:
    done = python("-W", "default", "-c", BARE + IMPORT, json.dumps(MODULES), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(json.loads(done.stdout.splitlines()[-1])) <= NEED_PROCESSES


@pytest.mark.parametrize("take", ["import fcntl", "import os; os.fork()", "import threading as t; t.Thread().start()"])
def test_what_is_taken_away_is_missed(take: str, tmp_path: Path) -> None:
    done = python("-c", f"{BARE}\n{take}", cwd=tmp_path)
    assert done.returncode == 1
    assert any(text in done.stderr for text in ("No module named 'fcntl'", "no attribute 'fork'", "start new thread"))


RIG = """
import json, random, sys
for line in sys.stdin:
    ask = json.loads(line)
    red = (ask.get("measure") or ask["off"])["red"]
    readings = {"R": 240 - red / 2 + random.gauss(0, 0.1)}
    print(json.dumps({"id": ask["id"], "applied": {"red": red}, "readings": readings}), flush=True)
"""
COMMAND = """
import os, sys
import sdl
for name in ("killpg", "waitid"):
    delattr(os, name)
instrument = {"kind": "command", "command": [sys.executable, "rig.py"], "off": {"red": 0},
              "inputs": {"red": {"low": 0, "high": 300}}, "channels": {"R": {}}}
result = sdl.run({"name": "rig", "instrument": instrument, "goal": {"R": 150}, "tolerance": 2}, runs=None)
print(result.outcome, result.safe.state)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there is nothing to take away")
def test_without_process_groups_a_program_is_driven_and_ended(tmp_path: Path) -> None:
    (tmp_path / "rig.py").write_text(RIG, encoding="utf-8")
    done = python("-c", COMMAND, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["reached", "off"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there is nothing to take away")
def test_a_lab_says_that_it_needs_posix(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: x\ninstruments: {}\njobs: {}\n", encoding="utf-8")
    script = "import os; del os.killpg\nfrom sdl.cli import main\nmain()"
    done = python("-c", script, "lab", "run", "lab.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "a lab needs POSIX signals and process groups" in done.stderr
