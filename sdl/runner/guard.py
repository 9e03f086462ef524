"""Start `sdl.runner.guardian` and report to it when a solver computes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from sdl.parallel import children
from sdl.runner import guardian

# Seconds that a solver may continue after SIGTERM. Including the start of another `sdl` and the instrument's reply,
# the instrument is off within 10 s.
OVERRUN = 2.0


class Guard:
    """Watch this process while it runs a campaign; POSIX only, main thread only.

    Args:
        folder: directory of the run.
    """

    def __init__(self, folder: Path) -> None:
        script = str(Path(guardian.__file__).resolve())
        after = children.command("resume", str(folder.resolve()), "--interrupted", "SIGTERM", "--quiet", "--trust")
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
        """Report that a solver starts or has finished."""
        with contextlib.suppress(OSError):  # it has been killed
            os.write(self._pipe, bytes([guardian.SOLVES if solving else guardian.SOLVED]))

    def leave(self) -> None:
        """Disconnect a copy of the campaign's process from the guardian."""
        signal.set_wakeup_fd(self._before)
        os.close(self._pipe)
        self._pipe = -1

    def close(self) -> None:
        signal.set_wakeup_fd(self._before)
        os.close(self._pipe)
        self._process.kill()
        self._process.wait()
