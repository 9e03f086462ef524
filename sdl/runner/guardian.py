"""A small process beside a campaign: kills it if its solver continues after SIGTERM.

Python runs signal handlers between two bytecodes in the main thread. Compiled code that computes for minutes is not
interrupted, nor is code that catches every exception; while such code holds the interpreter lock, no other thread runs
either. Another process must end it: this script, which imports nothing of `sdl` and costs 10 MB and a few milliseconds.
It reads single bytes from stdin: `SOLVES`, `SOLVED`, and the number of each signal, which the interpreter writes at
once (`signal.set_wakeup_fd`). It exits when stdin is closed.

    python guardian.py SECONDS COMMAND…    the command to run after the campaign's process has been killed
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

SOLVES, SOLVED = 128, 129  # larger than any signal number
KILL_TIMEOUT = 5.0  # seconds to wait for a killed process to end


def overruns(pipe: int, seconds: float) -> bool:
    """Wait until a solver has continued for `seconds` s after SIGTERM; False if the campaign ended before."""
    solving = terminated = False
    until: float | None = None
    while select.select([pipe], [], [], None if until is None else max(0.0, until - time.monotonic()))[0]:
        received = os.read(pipe, 4096)
        if not received:
            return False
        for byte in received:
            terminated |= byte == signal.SIGTERM
            solving = byte == SOLVES if byte in (SOLVES, SOLVED) else solving
        if not (terminated and solving):
            until = None
        elif until is None:
            until = time.monotonic() + seconds
    return True


def main() -> None:
    """Watch the process that started this one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # systemd sends it to every process of the unit
    watched = os.getppid()
    if overruns(0, float(sys.argv[1])) and os.getppid() == watched:
        os.kill(watched, signal.SIGKILL)
        until = time.monotonic() + KILL_TIMEOUT
        while os.getppid() == watched and time.monotonic() < until:  # its locks are released when it has ended
            time.sleep(0.01)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
