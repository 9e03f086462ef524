"""A stopped process of a lab that is gone: it still has its instrument's lease, and can neither go on nor end.

A campaign whose lab dies ends itself (`sdl.lab.workers.worker`), and where it was stopped before that, Linux wakes
it. One that
is stopped while it ends is woken by nobody but the next lab, which finds the lease taken. The file of a lease names its
holder, but anybody may write there. So it only says where to look; what is acted on is what the system says of that
process: it is ours and stopped, it has this very file open, it was copied from a warm process, and that is gone.
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
"""Seconds that it has, once woken, to make its instrument safe and close its record: more than it takes at most."""
FORK_SERVER = b"multiprocessing.forkserver"
"""In the command line of a warm process and of everything that is copied from it."""

log = logging.getLogger("sdl.lab")


class Orphans:
    """Ends orphans: wakes them, so that they end themselves, and kills those that are stopped again and again."""

    def __init__(self) -> None:
        self._woken: dict[tuple[int, str], float] = {}

    def end(self, identity: str) -> None:
        """Ends who holds an instrument's lease, if it is an orphan that is stopped; Linux only. Never raises."""
        try:
            found = lease.holder(identity)
            named = re.match(r"process (\d+) on ", found.name) if found is not None else None
            if named is not None and hasattr(os, "pidfd_open"):
                self._end(int(named[1]), lease.file(identity))
        except (OSError, ValueError, RecordError) as error:  # it is gone, or not ours to look at
            log.debug("the holder of %s: %s", identity, error)

    def _end(self, pid: int, file: Path) -> None:
        handle = os.pidfd_open(pid)  # before it is looked at: what is signalled is what was looked at
        try:
            if not _stopped_orphan(pid, file):
                return
            # Its number may be another's by now; the time of its start is not.
            about = (pid, _status(pid)[19])
            since = self._woken.setdefault(about, time.monotonic())
            last = time.monotonic() - since > WAKE_TIMEOUT
            number = signal.SIGKILL if last else signal.SIGCONT
            log.warning(
                "process %d of a lab that is gone is stopped: %s", pid, "ended" if last else "woken, to end itself"
            )
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
    """The fields of proc_pid_stat(5) from the state on; the name before them may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
