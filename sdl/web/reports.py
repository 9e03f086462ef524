"""The report of a run, made by a process of its own: drawing takes seconds, and a lab has other things to do."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from pathlib import Path

from sdl.lab.http.auth import Refused
from sdl.parallel import children
from sdl.store.plainfile import reading
from sdl.store.resolve import FILE

SECONDS = 120.0
CACHED_REPORTS = 40
"""Pages that are kept; a run whose record is the same is not drawn again."""


class Reports:
    """Pages of runs.

    Args:
        cache: where they are kept.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache / "reports"
        self._one = threading.Lock()

    def page(self, folder: Path) -> bytes:
        """The report of a run as it is now.

        Raises:
            Refused: it cannot be made, or others are being made and take long.
        """
        try:
            about = (folder / FILE).stat()
            mark = f"{folder.resolve()}\0{about.st_size}\0{about.st_mtime_ns}"
            file = self._cache / f"{hashlib.sha256(mark.encode('utf-8', 'replace')).hexdigest()[:24]}.html"
            if not file.exists():
                if not self._one.acquire(timeout=SECONDS / 2):
                    raise Refused(503, "other reports are being made; try again in a minute")
                try:
                    if not file.exists():
                        self._make(folder, file)
                finally:
                    self._one.release()
            with reading(file) as stream:
                return stream.read()
        except OSError as error:
            raise Refused(503, f"the report cannot be kept: {error}") from error

    def _make(self, folder: Path, file: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        command = children.command("report", str(folder.resolve()), "-o", str(file), "--quiet")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise Refused(503, f"the report was not ready within {SECONDS:g} s; try `sdl report`") from None
        if done.returncode or not file.exists():
            said = done.stderr.strip().splitlines()
            raise Refused(503, f"the report cannot be made: {said[-1] if said else f'exit code {done.returncode}'}")
        old = sorted(self._cache.glob("*.html"), key=lambda path: path.stat().st_mtime)[:-CACHED_REPORTS]
        for path in old:
            path.unlink(missing_ok=True)
