"""The other side of `sdl.runner.guardian`: starts it, and tells it when a solver computes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from sdl.parallel import children
from sdl.runner import guardian

OVERRUN = 2.0
"""Seconds that a solver may go on after SIGTERM. With the start of another `sdl` and the instrument's answer the
light is off within 10 s."""


class Guard:
    """Watches over this process while it runs a campaign; POSIX only, and only in the main thread.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        script = str(Path(guardian.__file__).resolve())
        after = children.command("resume", str(folder.resolve()), "--interrupted", "SIGTERM", "--quiet")
        there, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", script, f"{OVERRUN:g}", *after], stdin=there, start_new_session=True
            )
        finally:
            os.close(there)
        self._before = signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)

    def tell(self, solving: bool) -> None:
        """Says that a solver begins to compute, or has come to its end."""
        with contextlib.suppress(OSError):  # somebody ended it
            os.write(self._pipe, bytes([guardian.SOLVES if solving else guardian.SOLVED]))

    def leave(self) -> None:
        """Has it hear nothing of a copy of the campaign's process."""
        signal.set_wakeup_fd(self._before)
        os.close(self._pipe)
        self._pipe = -1

    def close(self) -> None:
        """Ends it."""
        signal.set_wakeup_fd(self._before)
        os.close(self._pipe)
        self._process.kill()
        self._process.wait()
