"""A small process beside a campaign: ends it where SIGTERM came and its solver computes on regardless.

Python runs a signal's handler between two steps of its own, in the main thread. Compiled code that computes for minutes
is not interrupted by that, nor is code that catches every exception; while such code keeps Python's lock, no thread of
the same process runs either. So somebody else must end it: this script, which imports nothing of `sdl` and so costs
10 MB and a few milliseconds. What it hears of the campaign comes as single bytes on its stdin: `SOLVES`, `SOLVED`, and
the number of each signal, which Python's part in C writes at once (`signal.set_wakeup_fd`). It ends with its stdin.

    python guardian.py SECONDS COMMAND…    the command it becomes once it has ended the campaign's process
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

SOLVES, SOLVED = 128, 129
"""Beyond the numbers of signals."""
KILL_TIMEOUT = 5.0
"""Seconds to wait for the end of a process that was killed."""


def overruns(said: int, patience: float) -> bool:
    """Waits until a solver has gone on for `patience` seconds after SIGTERM; False where the campaign ended before.

    Args:
        said: file descriptor that the bytes are read from.
        patience: seconds.
    """
    solving = asked = False
    until: float | None = None
    while select.select([said], [], [], None if until is None else max(0.0, until - time.monotonic()))[0]:
        told = os.read(said, 4096)
        if not told:
            return False
        for byte in told:
            asked |= byte == signal.SIGTERM
            solving = byte == SOLVES if byte in (SOLVES, SOLVED) else solving
        if not (asked and solving):
            until = None
        elif until is None:
            until = time.monotonic() + patience
    return True


def main() -> None:
    """Watches over the process that started this one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which systemd sends to everybody
    watched = os.getppid()
    if overruns(0, float(sys.argv[1])) and os.getppid() == watched:
        os.kill(watched, signal.SIGKILL)
        until = time.monotonic() + KILL_TIMEOUT
        while os.getppid() == watched and time.monotonic() < until:  # its locks are free when it is gone
            time.sleep(0.01)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
