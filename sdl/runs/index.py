"""An index of all runs, so that listing ten thousand runs does not read ten thousand records.

An SQLite file in the cache directory of the runs, built only from the records and the notes beside them. A run is read
again when the size or time of a file has changed. The index is disposable: if it is deleted, damaged or of another
version, it is rebuilt. A thread reads the newest runs first while pages show what is known so far.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from sdl.errors import ConfigError
from sdl.parallel import children
from sdl.parallel.pool import cores, each
from sdl.runs import notes
from sdl.runs.query import Query
from sdl.store.archived import CACHE, SUFFIX
from sdl.store.lock import writing_process
from sdl.store.resolve import FILE, start_time
from sdl.types import Outcome

VERSION = 5
MIN_REFRESH, REFRESH_FACTOR, MAX_REFRESH = 1.0, 30.0, 5.0
"""Seconds between refreshes while pages are requested: a multiple of the duration of the last one, within limits."""
REREAD_FACTOR = 20.0
"""A growing run is read again only after this multiple of the time that reading it took."""
MANY, PART = 1000, 50
"""Changed runs from which several processes read them, and how many each reads at a time."""
COMMIT_SECONDS = 0.5
"""Seconds between commits while reading."""
FINAL_OUTCOMES = tuple(str(outcome) for outcome in Outcome)
OPEN_OUTCOMES = ("running", "unfinished")
COLUMNS = (
    "campaign", "run", "size", "changed", "noted", "started", "outcome", "reason", "trials", "error", "ratio", "solver",
    "instrument", "goal", "short_goal", "goals", "curve", "objective", "archived", "tags", "note", "version", "words",
    "row",
)  # fmt: skip
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE runs ({", ".join(COLUMNS)}, PRIMARY KEY (campaign, run));
CREATE INDEX by_run ON runs (run DESC);
CREATE INDEX by_outcome ON runs (outcome);
CREATE INDEX by_solver ON runs (solver);
CREATE INDEX by_instrument ON runs (instrument);
PRAGMA user_version = {VERSION};
COMMIT;
"""
_log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def ignore(done: int, of: int) -> None:
    """Ignore the progress."""


class Index:
    """The index of one directory of runs; thread-safe.

    Attributes:
        known, total: progress of the present refresh, in runs.
        trouble: why the last refresh failed, else empty.
    """

    def __init__(self, runs: Path, cache: Path) -> None:
        self._runs, self._file = runs, cache / "index.sqlite"
        self._looking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._next = -float("inf")
        self._again: dict[tuple[str, str], float] = {}
        self.known = self.total = 0
        self.trouble = ""

    # Refreshing --------------------------------------------------------------------------------------------------
    def poke(self, wait: float = 0.1) -> bool:
        """Start a refresh if one is due, and wait a moment for its end.

        Returns:
            Whether the index is complete; else the refresh continues.
        """
        with self._looking:
            thread = self._thread
            if thread is None and time.monotonic() > self._next:
                thread = self._thread = threading.Thread(target=self._look, name="sdl index", daemon=True)
                thread.start()
        if thread is not None:
            thread.join(wait)
        return thread is None or not thread.is_alive()

    def forget(self) -> None:
        """Make the next `poke` refresh at once."""
        self._next = -float("inf")

    def _look(self) -> None:
        begun = time.monotonic()
        try:
            self.update()
            self.trouble = ""
        except (sqlite3.Error, OSError) as error:
            self.trouble = f"the runs cannot be listed: {error}"
            _log.warning("%s", self.trouble)
        finally:
            now = time.monotonic()
            self._next = now + min(max(MIN_REFRESH, REFRESH_FACTOR * (now - begun)), MAX_REFRESH)
            self._thread = None

    def update(self, progress: Progress = ignore, jobs: int = 1) -> None:
        """Read the runs that have changed, after rebuilding a damaged index; `progress` gets the runs read and to read.

        `jobs` processes read where many runs have changed.

        Raises:
            sqlite3.Error, OSError: the index cannot be written.
        """
        try:
            self.refresh(progress, jobs)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "lock" in str(error):
                raise  # another process is writing
            _log.warning("%s: %s; rebuilding", self._file, error)
            self._remove()
            self.refresh(progress, jobs)

    def refresh(self, progress: Progress = ignore, jobs: int = 1) -> None:
        """Read the runs that have changed, as `update`.

        Raises:
            sqlite3.Error, OSError: the index cannot be written.
        """
        with self._open() as db:
            rows = db.execute("SELECT campaign, run, size, changed, noted, outcome FROM runs")
            known = {(row[0], row[1]): (RunFiles(*row[:5]), row[5]) for row in rows}
            changed = []
            for files in sorted(_scan(self._runs), key=lambda files: files.run, reverse=True):
                before, outcome = known.pop(files.key, (None, ""))
                if files != before:
                    at_once = before is None or files.noted != before.noted  # a new run, or new notes
                    if at_once or self._again.get(files.key, 0.0) <= time.monotonic():
                        changed.append(files)
                elif outcome not in FINAL_OUTCOMES:
                    self._update_outcome(db, files, outcome)
            db.executemany("DELETE FROM runs WHERE campaign = ? AND run = ?", list(known))  # deleted from the disk
            db.commit()
            self.known, self.total, written = 0, len(changed), time.monotonic()
            progress(0, self.total)
            for files, listed, seconds in _listed_rows(self._runs, changed, jobs):
                self._store(db, files, listed)
                self.known += 1
                progress(self.known, self.total)
                now = time.monotonic()
                self._again[files.key] = now + REREAD_FACTOR * seconds
                if now - written > COMMIT_SECONDS:
                    db.commit()
                    written = now
            db.commit()
            self._again = {key: at for key, at in self._again.items() if at > time.monotonic()}

    def _update_outcome(self, db: sqlite3.Connection, files: RunFiles, before: str) -> None:
        """Update whether an unfinished run is running, which depends on its process, not on a file."""
        now = "running" if writing_process(self._runs / files.campaign / files.run) else "unfinished"
        if before in OPEN_OUTCOMES and now != before:
            db.execute("UPDATE runs SET outcome = ? WHERE campaign = ? AND run = ?", (now, *files.key))

    def _store(self, db: sqlite3.Connection, files: RunFiles, listed: Mapping[str, Any]) -> None:
        """Store the row of a run, with its notes."""
        folder = self._runs / files.campaign / files.run
        listed = dict(listed)
        try:
            kept = listed.pop("notes", None)
            noted = notes.Notes.model_validate(kept) if kept is not None else notes.read(folder)
        except ConfigError as error:
            noted = notes.Notes(note=str(error))
        texts = [*files.key, *map(listed.get, ("goal", "solver", "instrument", "reason")), noted.note, *noted.tags]
        values = (
            listed
            | files._asdict()
            | {
                "started": listed.get("when") or "",
                "outcome": str(listed["outcome"]),
                "error": listed.get("worst_error"),
                "ratio": listed.get("ratio"),
                "goals": f"{listed.get('goal') or ''} {listed.get('short_goal') or ''}".casefold(),
                "curve": json.dumps(listed.get("curve") or []),
                "tags": json.dumps(noted.tags),
                "note": noted.note,
                "version": noted.version,
                "words": " ".join(str(text) for text in texts if text).casefold(),
                "row": json.dumps(listed),
            }
        )
        cells = [_storable(values.get(name)) for name in COLUMNS]
        db.execute(f"INSERT OR REPLACE INTO runs VALUES ({', '.join('?' * len(COLUMNS))})", cells)

    # Queries -----------------------------------------------------------------------------------------------------
    def page(self, query: Query, number: int, size: int) -> tuple[list[dict[str, Any]], int]:
        """The rows of one page (`number`, from 1) in the order of the query, and the number of matching runs."""
        where, values = query.where()
        count = self._read(f"SELECT count(*) FROM runs WHERE {where}", values)
        shown = [name for name in COLUMNS if name not in ("words", "goals", "row")]
        rows = self._read(
            f"SELECT {', '.join(shown)} FROM runs WHERE {where} ORDER BY {query.order()} LIMIT ? OFFSET ?",
            [*values, size, (number - 1) * size],
        )
        listed = [dict(zip(shown, cells, strict=True)) for cells in rows]
        lists = ("tags", "curve")
        return [row | {key: json.loads(row[key]) for key in lists} for row in listed], count[0][0] if count else 0

    def rows(self, query: Query | None = None) -> list[dict[str, Any]]:
        """The rows, as by `list_row`, of the runs that match a query, in its order."""
        query = query or Query()
        where, values = query.where()
        text = f"SELECT run, outcome, tags, row FROM runs WHERE {where} ORDER BY {query.order()}"
        found = []
        for run, outcome, tags, row in self._read(text, values):
            known = from_json(row)
            known["run"] = os.path.join(self._runs, known["campaign"], os.path.basename(known["run"]))
            found.append(
                known | {"outcome": outcome, "when": start_time(run), "tags": from_json(tags) if tags != "[]" else []}
            )
        return found

    def choices(self, column: str) -> list[str]:
        """The distinct values of `outcome`, `solver`, `instrument` or `tag`."""
        value, table = ("value", "runs, json_each(tags)") if column == "tag" else (column, "runs")
        text = f"SELECT DISTINCT {value} FROM {table} WHERE {value} <> '' ORDER BY {value} LIMIT 200"
        return [str(value) for (value,) in self._read(text)]

    def live(self) -> list[dict[str, Any]]:
        """The running runs, at most 20."""
        return self.page(Query(outcome="running"), 1, 20)[0]

    def _read(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; none if the file is unusable, which the next refresh rebuilds."""
        try:
            with self._open() as db:
                return list(db.execute(text, values))
        except sqlite3.Error as error:
            _log.warning("%s: %s", self._file, error)
            self.forget()
        return []

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not self._file.exists():
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._file, timeout=5.0)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                if version or db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    raise sqlite3.DatabaseError(f"an index of another version ({version})")
                with contextlib.suppress(sqlite3.OperationalError):  # being created by another thread
                    db.executescript(_SCHEMA)
            db.execute("PRAGMA synchronous = OFF")  # a cache: rebuilt if a power cut damages it
            yield db

    def _remove(self) -> None:
        for tail in ("", "-journal", "-wal", "-shm"):
            self._file.with_name(self._file.name + tail).unlink(missing_ok=True)


def read_row(folder: Path) -> dict[str, Any]:
    """The row of a run, from its record; if that cannot be read, a row with the reason."""
    from sdl.runs.listing import list_row  # only where a record has changed: it needs numpy

    try:
        return list_row(folder)
    except Exception as error:  # one unreadable record must not hide the others
        why = f"{type(error).__name__}: {error}"
        return {"run": str(folder), "campaign": folder.parent.name, "outcome": "unreadable", "reason": why}


def read_rows(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of several runs, for a process that reads a part of them."""
    return [read_row(folder) for folder in folders]


def _listed_rows(
    runs: Path, changed: Sequence[RunFiles], jobs: int
) -> Iterator[tuple[RunFiles, dict[str, Any], float]]:
    """The runs with their rows, and the seconds that reading one took."""
    folders = [runs / files.campaign / files.run for files in changed]
    if jobs == 1 or len(changed) < MANY:
        for files, folder in zip(changed, folders, strict=True):
            begun = time.monotonic()
            listed = read_row(folder)
            yield files, listed, time.monotonic() - begun
        return
    parts = [folders[n : n + PART] for n in range(0, len(folders), PART)]
    with contextlib.closing(each(read_rows, parts, jobs, preload="sdl.runs.listing")) as done:
        for n, rows in done:
            for files, listed in zip(changed[n * PART : (n + 1) * PART], rows, strict=True):
                yield files, listed, 0.0


def began_before(age: float) -> str:
    """The time `age` seconds ago, as in names of runs: `20261122T230000`."""
    return f"{datetime.now(UTC) - timedelta(seconds=age):%Y%m%dT%H%M%S}"


def list_indexed(runs: Path, query: Query | None = None, progress: Progress = ignore) -> list[dict[str, Any]]:
    """The rows of the runs below a directory that match a query, by its index; by a temporary one if that is unusable.

    Args:
        runs: the directory.
        query: the filters and the order; by default all runs, the newest first.
        progress: called with the numbers of records that were read and that must be read.
    """
    try:
        return _listed(Index(runs, runs / CACHE), query, progress)
    except (sqlite3.Error, OSError):
        with tempfile.TemporaryDirectory(prefix="sdl-index-", dir=children.temporary_folder()) as place:
            return _listed(Index(runs, Path(place)), query, progress)


def _listed(index: Index, query: Query | None, progress: Progress) -> list[dict[str, Any]]:
    index.update(progress, cores())
    return index.rows(query)


def cache_folder(runs: Path) -> Path:
    """The cache directory: below the runs, or temporary if that cannot be written."""
    place = runs / CACHE
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError:
        return Path(tempfile.mkdtemp(prefix="sdl-cache-", dir=children.temporary_folder()))


class RunFiles(NamedTuple):
    """A run on disk: size and time of its record or archive, time of its notes (0 without notes)."""

    campaign: str
    run: str
    size: int
    changed: int
    noted: int

    @property
    def key(self) -> tuple[str, str]:
        return self.campaign, self.run


def _scan(runs: Path) -> Iterator[RunFiles]:
    with contextlib.suppress(FileNotFoundError), os.scandir(runs) as campaigns:
        for campaign in campaigns:
            if campaign.name.startswith(".") or not campaign.is_dir():
                continue
            with os.scandir(campaign.path) as entries:
                archives, found = [], set()
                for run in entries:
                    if run.name.startswith("."):
                        continue
                    try:
                        info = os.stat(f"{run.path}/{FILE}")
                    except OSError:
                        if run.name.endswith(SUFFIX):
                            archives.append(run)
                        continue
                    noted = 0
                    with contextlib.suppress(OSError):
                        noted = os.stat(f"{run.path}/{notes.FILE}").st_mtime_ns
                    found.add(run.name)
                    names = str(_storable(campaign.name)), str(_storable(run.name))
                    yield RunFiles(*names, info.st_size, info.st_mtime_ns, noted)
                for archive in archives:
                    name = archive.name.removesuffix(SUFFIX)
                    if name not in found and archive.is_file(follow_symlinks=False):
                        info = archive.stat()
                        names = str(_storable(campaign.name)), str(_storable(name))
                        yield RunFiles(*names, info.st_size, info.st_mtime_ns, 0)


def _storable(value: Any) -> Any:
    """Text with undecodable characters of file names escaped, so that SQLite accepts it."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
