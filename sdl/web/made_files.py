"""Files that the page has `sdl` make: reports, comparisons, tables, figures; kept below the cache of the runs.

Each is made in a process of its own, one at a time, because drawing takes seconds. A file is made again only when one
of its records has changed. A browser is told that its file is being made; a program waits for it.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException

from sdl.parallel import children
from sdl.store.plainfile import open_existing
from sdl.store.resolve import FILE

MAKE_SECONDS = 120.0
QUICK_SECONDS = 1.0
"""Seconds for which a browser waits before it is told that the file is being made."""
MAX_WAITING = 8  # requests for files that are not ready; more would occupy the threads that an abort needs
CACHED = 60
"""Files in the cache; of an unchanged record nothing is made again."""
BUSY = "the server is making other files; try again in a minute"
DOWNLOADS = {
    "readings.csv": "readings, CSV",
    "readings.jsonl": "readings, JSON lines",
    "readings.parquet": "readings, Parquet",
    "figures.zip": "figures, PNG and SVG",
    "report.html": "report, one HTML file",
}
"""Files that can be downloaded from the page of a run, with the texts of their links."""


class BeingMade(Exception):
    """The file is not ready yet."""


@dataclass(frozen=True, slots=True)
class FileJob:
    """A file to be made of some runs.

    Attributes:
        noun: what it is, for messages: `report`.
        folders: the directories of the runs.
        suffix: suffix of the file.
        words: the arguments of `sdl` that write it to a path.
        pack: whether `words` writes a folder, which becomes a ZIP archive.
    """

    noun: str
    folders: tuple[Path, ...]
    suffix: str
    words: Callable[[str], Sequence[str]]
    pack: bool = False

    def key(self) -> str:
        """A name that changes when one of the records does.

        Raises:
            OSError: a record is gone.
        """
        infos = [(folder.resolve(), (folder / FILE).stat()) for folder in self.folders]
        texts = [self.noun, self.suffix, *(f"{place}\0{info.st_size}\0{info.st_mtime_ns}" for place, info in infos)]
        return hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:24]


def report_of(folder: Path) -> FileJob:
    """The report of a run."""
    place = str(folder.resolve())
    return FileJob("report", (folder,), ".html", lambda path: ("report", place, "-o", path, "--quiet"))


MODEL = ("slices", "contours", "importance", "predictions", "posterior", "spread")
"""Figures on the page of a run's model."""


def model_of(folder: Path) -> FileJob:
    """A report with the figures of the model of a run alone."""
    place, names = str(folder.resolve()), [word for name in MODEL for word in ("--figure", name)]
    return FileJob("model", (folder,), ".html", lambda path: ("report", place, "-o", path, *names, "--quiet"))


def comparison_of(folders: Sequence[Path]) -> FileJob:
    """The comparison of runs."""
    places = [str(folder.resolve()) for folder in folders]
    return FileJob("comparison", tuple(folders), ".html", lambda path: ("compare", *places, "-o", path, "--quiet"))


def download_of(folder: Path, name: str) -> FileJob:
    """The job of one of `DOWNLOADS`."""
    if name == "report.html":
        return report_of(folder)
    place, suffix = str(folder.resolve()), Path(name).suffix
    if name == "figures.zip":

        def figures(path: str) -> tuple[str, ...]:
            return ("report", place, "-o", f"{path}/report.html", "--png", path, "--svg", "--quiet")

        return FileJob("figures", (folder,), suffix, figures, pack=True)
    return FileJob("table", (folder,), suffix, lambda path: ("export", place, "--to", suffix[1:], "-o", path))


class MadeFiles:
    """The files made for pages, kept below `cache`."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache / "made"
        self._lock, self._waiting = threading.Lock(), threading.BoundedSemaphore(MAX_WAITING)
        self._threads: dict[str, threading.Thread] = {}
        self._failed: dict[str, HTTPException] = {}

    def content(self, job: FileJob, *, wait: bool = True) -> bytes:
        """The file as of now.

        Args:
            job: what to make.
            wait: whether to wait until it is ready; else only for a moment.

        Raises:
            BeingMade: it is not ready yet; only without `wait`.
            HTTPException: it cannot be made, or others take too long.
        """
        try:
            key = job.key()
            file = self._cache / f"{key}{job.suffix}"
            if not file.exists():
                if wait:
                    self._make_in_turn(job, file)
                else:
                    self._make_in_background(key, job, file)
            with open_existing(file) as stream:
                return stream.read()
        except OSError as error:
            raise HTTPException(503, f"the {job.noun} cannot be stored: {error}") from error

    def _make_in_background(self, key: str, job: FileJob, file: Path) -> None:
        def make() -> None:
            try:
                self._make_in_turn(job, file)
            except HTTPException as error:
                self._failed[key] = error
            except OSError as error:
                self._failed[key] = HTTPException(503, f"the {job.noun} cannot be stored: {error}")
            finally:
                self._threads.pop(key, None)

        thread = self._threads.get(key)
        if thread is None:
            thread = self._threads[key] = threading.Thread(target=make, name=f"sdl {job.noun}", daemon=True)
            thread.start()
        thread.join(QUICK_SECONDS)
        if (error := self._failed.pop(key, None)) is not None:
            raise error
        if not file.exists():
            raise BeingMade

    def _make_in_turn(self, job: FileJob, file: Path) -> None:
        """Make a file that is not ready, after those that other requests wait for."""
        if not self._waiting.acquire(blocking=False):
            raise HTTPException(503, BUSY)
        try:
            if not self._lock.acquire(timeout=MAKE_SECONDS / 2):
                raise HTTPException(503, BUSY)
            try:
                if not file.exists():
                    self._make(job, file)
            finally:
                self._lock.release()
        finally:
            self._waiting.release()

    def _make(self, job: FileJob, file: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=self._cache) as place:
            made = Path(place, "figures" if job.pack else file.name)
            if job.pack:
                made.mkdir()
            try:
                done = children.finished(job.words(str(made)), MAKE_SECONDS)
            except subprocess.TimeoutExpired:
                raise HTTPException(503, f"the {job.noun} was not ready within {MAKE_SECONDS:g} s") from None
            if done.returncode or not made.exists():
                lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                raise HTTPException(503, f"the {job.noun} cannot be made: {lines[-1].removeprefix('error: ')}")
            if job.pack:
                made = _packed(made)
            made.replace(file)
        files = [path for path in self._cache.iterdir() if path.is_file()]
        for path in sorted(files, key=lambda path: path.stat().st_mtime)[:-CACHED]:
            path.unlink(missing_ok=True)


def _packed(folder: Path) -> Path:
    """The figures of a folder as an archive beside it."""
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            if path.suffix != ".html":
                archive.write(path, path.name)
    return target
