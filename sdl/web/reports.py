"""Reports of runs for the page, made in a separate process because drawing takes seconds."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from pathlib import Path

from starlette.exceptions import HTTPException

from sdl.parallel import children
from sdl.store.plainfile import open_existing
from sdl.store.resolve import FILE

SECONDS = 120.0
CACHED_REPORTS = 40
"""Reports in the cache; an unchanged record is not drawn again."""


class Reports:
    """The reports of runs, kept below the directory `cache`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache / "reports"
        self._lock = threading.Lock()

    def page(self, folder: Path) -> bytes:
        """The report of a run as of now.

        Raises:
            HTTPException: it cannot be made, or others take too long.
        """
        try:
            info = (folder / FILE).stat()
            key = f"{folder.resolve()}\0{info.st_size}\0{info.st_mtime_ns}"
            file = self._cache / f"{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:24]}.html"
            if not file.exists():
                if not self._lock.acquire(timeout=SECONDS / 2):
                    raise HTTPException(503, "busy with other reports; try again in a minute")
                try:
                    if not file.exists():
                        self._make(folder, file)
                finally:
                    self._lock.release()
            with open_existing(file) as stream:
                return stream.read()
        except OSError as error:
            raise HTTPException(503, f"the report cannot be stored: {error}") from error

    def _make(self, folder: Path, file: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        command = children.command("report", str(folder.resolve()), "-o", str(file), "--quiet")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise HTTPException(503, f"the report was not ready within {SECONDS:g} s; try `sdl report`") from None
        if done.returncode or not file.exists():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise HTTPException(503, f"the report cannot be made: {lines[-1]}")
        for path in sorted(self._cache.glob("*.html"), key=lambda path: path.stat().st_mtime)[:-CACHED_REPORTS]:
            path.unlink(missing_ok=True)
