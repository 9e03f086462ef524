"""Stopped worker processes of a lab that has ended: they hold an instrument's lease and can neither continue nor end.

A worker whose lab dies ends itself (`sdl.lab.workers.worker`); if it was stopped before, Linux wakes it. A worker
stopped while it ends is woken only by the next lab, which finds the lease taken. The lease file names its holder, but
anybody can write to it, so the process is acted on only if the system confirms that it is ours, is stopped, has this
file open, and was forked from a fork server that is gone.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import time
from pathlib import Path

from sdl.errors import RecordError
from sdl.store import lease

WAKE_TIMEOUT = 45.0
"""Seconds that a woken worker has to switch off its instrument and close its record; more than the longest case."""
FORK_SERVER = b"multiprocessing.forkserver"  # part of the command line of a fork server and of its children

log = logging.getLogger("sdl.lab")


class Orphans:
    """Wakes stopped orphans so that they end themselves, and kills those that do not."""

    def __init__(self) -> None:
        self._woken: dict[tuple[int, str], float] = {}

    def end(self, identity: str) -> None:
        """End the holder of an instrument's lease if it is a stopped orphan; Linux only. Never raises."""
        try:
            holder = lease.holder(identity)
            match = re.match(r"process (\d+) on ", holder.name) if holder is not None else None
            if match is not None and hasattr(os, "pidfd_open"):
                self._end(int(match[1]), lease.file(identity))
        except (OSError, ValueError, RecordError) as error:  # it is gone, or another user's
            log.debug("the holder of %s: %s", identity, error)

    def _end(self, pid: int, file: Path) -> None:
        handle = os.pidfd_open(pid)  # before the checks, so that the process checked is the one signalled
        try:
            if not _stopped_orphan(pid, file):
                return
            key = (pid, _status(pid)[19])  # with its start time, since a pid can be reused
            since = self._woken.setdefault(key, time.monotonic())
            last = time.monotonic() - since > WAKE_TIMEOUT
            number = signal.SIGKILL if last else signal.SIGCONT
            log.warning("process %d of an ended lab is stopped; %s", pid, "killed" if last else "woken so that it ends")
            signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _stopped_orphan(pid: int, file: Path) -> bool:
    state, parent = _status(pid)[:2]
    proc = Path(f"/proc/{pid}")
    return (
        state in ("T", "t")
        and proc.stat().st_uid == os.geteuid()
        and FORK_SERVER in (proc / "cmdline").read_bytes()
        and FORK_SERVER not in Path(f"/proc/{parent}/cmdline").read_bytes()
        and any(os.path.samestat(item.stat(), file.stat()) for item in (proc / "fd").iterdir() if item.exists())
    )


def _status(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the state on; the name before them may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
