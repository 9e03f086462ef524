"""Processes of a lab that is gone: which of them are woken or ended, and which must never be."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import processes as commands
import pytest
from waiting import until

from sdl.lab.workers import orphans
from sdl.lab.workers.orphans import Orphans
from sdl.store import lease

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

HOLD = """
import sys, time
from sdl.store.lease import lease
with lease("lamp", "start 7"):
    print(flush=True)
    time.sleep(600)
"""
CHILD = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], "multiprocessing.forkserver"])
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lease.DIRECTORY_VARIABLE, str(tmp_path))


@contextlib.contextmanager
def holding(*words: str, code: str = HOLD) -> Iterator[int]:
    """A process with these words in its command line that holds the lamp, stopped; its number."""
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, env=commands.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        result = lease.holder("lamp")
        assert result is not None
        pid = int(result.name.split()[1])
        try:
            stop(pid)
            yield pid
        finally:
            for one in (pid, process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state(pid) == "T")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_an_orphan_is_woken_and_killed_where_it_is_stopped_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Orphans()
    with holding("multiprocessing.forkserver") as pid:
        ours.end("lamp")
        until(lambda: state(pid) in "SR")
        ours.end("lamp")
        assert state(pid) in "SR", "one that is awake ends itself"
        stop(pid)
        ours.end("lamp")
        until(lambda: state(pid) in "SR")
        stop(pid)
        monkeypatch.setattr(orphans, "WAKE_TIMEOUT", -1.0)
        ours.end("lamp")
        until(lambda: state(pid) == "Z")
        assert lease.holder("lamp") is None


def test_what_is_no_copy_of_a_warm_process_is_left_alone() -> None:
    with holding("sdl run, put aside with Ctrl-Z") as pid:
        Orphans().end("lamp")
        time.sleep(0.05)
        assert state(pid) == "T"


def test_a_campaign_whose_warm_process_lives_is_that_labs_business() -> None:
    with holding(HOLD, "multiprocessing.forkserver", code=CHILD) as pid:
        Orphans().end("lamp")
        time.sleep(0.05)
        assert state(pid) == "T"


def test_what_a_file_says_of_its_holder_is_not_believed() -> None:
    with holding("multiprocessing.forkserver") as pid:
        path = lease.file("lamp")
        other = path.with_name("other")
        other.write_text(path.read_text())
        other.rename(lease.file("table"))
        with lease.file("table").open() as held:
            import fcntl

            fcntl.flock(held, fcntl.LOCK_EX)
            result = lease.holder("table")
            assert result is not None
            assert f"process {pid} on" in result.name
            Orphans().end("table")
            time.sleep(0.05)
            assert state(pid) == "T"


def test_a_lease_that_nobody_holds_or_whose_holder_is_gone_is_no_matter() -> None:
    Orphans().end("lamp")
    with holding("multiprocessing.forkserver") as pid:
        pass
    assert not Path(f"/proc/{pid}").exists()
    Orphans().end("lamp")
