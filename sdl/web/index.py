"""What is known of every run, so that a page of ten thousand need not read ten thousand records.

An SQLite file in the runs' own cache directory, made from the records (and the notes beside them) alone: a run is read
again when the size or the time of a file has changed. It is never the truth: where it is deleted, damaged or of
another version, it is made anew. Reading goes on in a thread of its own, the newest runs first, while pages show what
is known so far.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sdl.errors import ConfigError
from sdl.parallel import children
from sdl.runs.listing import holder, row
from sdl.store.resolve import FILE
from sdl.types import Outcome
from sdl.web import notes
from sdl.web.query import Query

CACHE = ".sdl-web"
"""What pages keep, in the directory of the runs; may be deleted at any time."""
VERSION = 1
MIN_REFRESH, REFRESH_FACTOR, MAX_REFRESH = 1.0, 30.0, 5.0
"""Seconds after which a look at the directories is made again, when somebody asks: so many, or so many times what the
last one took, up to the longest."""
REREAD_FACTOR = 20.0
"""A run that grows is read again only after so many times what reading it took."""
COMMIT_SECONDS = 0.5
"""Seconds after which what was read is written down."""
FINAL_OUTCOMES = tuple(str(outcome) for outcome in Outcome)
OPEN_OUTCOMES = ("running", "unfinished")
COLUMNS = (
    "campaign", "run", "size", "changed", "noted", "started", "outcome", "reason", "trials", "readings", "failed",
    "error", "solver", "goal", "short_goal", "instrument", "note", "tags", "words",
)  # fmt: skip
_log = logging.getLogger(__name__)

_SCHEMA = f"""
CREATE TABLE runs (
  campaign TEXT, run TEXT, size INTEGER, changed INTEGER, noted INTEGER, started TEXT, outcome TEXT, reason TEXT,
  trials INTEGER, readings INTEGER, failed INTEGER, error REAL, solver TEXT, goal TEXT, short_goal TEXT,
  instrument TEXT, note TEXT, tags TEXT, words TEXT, PRIMARY KEY (campaign, run)
);
CREATE TABLE tags (campaign TEXT, run TEXT, tag TEXT, PRIMARY KEY (tag, campaign, run));
CREATE INDEX by_run ON runs (run DESC);
CREATE INDEX by_outcome ON runs (outcome);
CREATE INDEX by_solver ON runs (solver);
PRAGMA user_version = {VERSION};
"""


class Index:
    """The index of one directory of runs; may be asked from any thread.

    Args:
        runs: where the runs are.
        cache: where the index lies; is made where it is not there.

    Attributes:
        known, total: runs read, and to be read, of the look that is under way.
        trouble: why the last look failed; empty where it did not.
    """

    def __init__(self, runs: Path, cache: Path) -> None:
        self._runs, self._file = runs, cache / "index.sqlite"
        self._looking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._next = -float("inf")
        self._again: dict[tuple[str, str], float] = {}
        self.known = self.total = 0
        self.trouble = ""

    # Looking -----------------------------------------------------------------------------------------------------
    def poke(self, wait: float = 0.1) -> bool:
        """Begins a look where the last is some time ago, and waits a moment for its end.

        Returns:
            Whether everything is known; else the look goes on.
        """
        with self._looking:
            thread = self._thread
            if thread is None and time.monotonic() > self._next:
                thread = self._thread = threading.Thread(target=self._look, name="sdl web index", daemon=True)
                thread.start()
        if thread is not None:
            thread.join(wait)
        return thread is None or not thread.is_alive()

    def forget(self) -> None:
        """The next poke looks at once: something was changed here."""
        self._next = -float("inf")

    def _look(self) -> None:
        begun = time.monotonic()
        try:
            try:
                self.refresh()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "lock" in str(error):
                    raise  # another server is at it
                _log.warning("%s: %s; made anew", self._file, error)
                self._remove()
                self.refresh()
            self.trouble = ""
        except (sqlite3.Error, OSError) as error:
            self.trouble = f"the runs cannot be listed: {error}"
            _log.warning("%s", self.trouble)
        finally:
            now = time.monotonic()
            self._next = now + min(max(MIN_REFRESH, REFRESH_FACTOR * (now - begun)), MAX_REFRESH)
            self._thread = None

    def refresh(self) -> None:
        """Reads what has changed since the last time.

        Raises:
            sqlite3.Error, OSError: the index cannot be written.
        """
        with self._open() as db:
            known = {(c, r): (s, t, n, o) for c, r, s, t, n, o in db.execute(
                "SELECT campaign, run, size, changed, noted, outcome FROM runs"
            )}  # fmt: skip
            there = sorted(_scan(self._runs), key=lambda found: found[1], reverse=True)
            changed = []
            for found in there:
                campaign, run, stamp = found.campaign, found.run, (found.size, found.changed, found.noted)
                before = known.pop((campaign, run), None)
                if before is None or stamp != before[:3]:
                    said = before is None or stamp[2] != before[2]  # new, or somebody's notes: at once
                    if said or self._again.get((campaign, run), 0.0) <= time.monotonic():
                        changed.append((campaign, run, stamp))
                elif before[3] not in FINAL_OUTCOMES:
                    self._still(db, campaign, run, before[3])
            for campaign, run in known:  # gone from the disk
                db.execute("DELETE FROM runs WHERE campaign = ? AND run = ?", (campaign, run))
                db.execute("DELETE FROM tags WHERE campaign = ? AND run = ?", (campaign, run))
            db.commit()
            self.known, self.total, written = 0, len(changed), time.monotonic()
            for campaign, run, about in changed:
                begun = time.monotonic()
                self._take(db, campaign, run, about)
                self.known += 1
                cost = time.monotonic() - begun
                self._again[campaign, run] = time.monotonic() + REREAD_FACTOR * cost
                if time.monotonic() - written > COMMIT_SECONDS:
                    db.commit()
                    written = time.monotonic()
            db.commit()
            self._again = {key: at for key, at in self._again.items() if at > time.monotonic()}

    def _still(self, db: sqlite3.Connection, campaign: str, run: str, before: str) -> None:
        """An unfinished run runs as long as its process is there, which no file tells."""
        now = "running" if holder(self._runs / campaign / run) else "unfinished"
        if now != before and before in OPEN_OUTCOMES:
            db.execute("UPDATE runs SET outcome = ? WHERE campaign = ? AND run = ?", (now, campaign, run))

    def _take(self, db: sqlite3.Connection, campaign: str, run: str, stamp: tuple[int, int, int]) -> None:
        folder = self._runs / campaign / run
        try:
            told: Mapping[str, Any] = row(folder)
        except Exception as error:  # whatever is in somebody's file, the others are still listed
            told = {"outcome": "unreadable", "reason": f"{type(error).__name__}: {error}"}
        try:
            said = notes.read(folder)
        except ConfigError as error:
            said = notes.Notes(note=str(error))
        values: dict[str, Any] = {
            **{name: told.get(name) for name in COLUMNS},
            "campaign": campaign, "run": run, "size": stamp[0], "changed": stamp[1], "noted": stamp[2],
            "started": told.get("when") or "", "outcome": str(told["outcome"]), "error": told.get("worst_error"),
            "note": said.note, "tags": json.dumps(said.tags),
        }  # fmt: skip
        found = (campaign, run, *(values[n] for n in ("goal", "solver", "instrument", "reason", "note")), *said.tags)
        values["words"] = " ".join(str(text) for text in found if text).casefold()
        cells = [_storable(values[name]) for name in COLUMNS]
        db.execute(f"INSERT OR REPLACE INTO runs VALUES ({', '.join('?' * len(COLUMNS))})", cells)
        db.execute("DELETE FROM tags WHERE campaign = ? AND run = ?", (campaign, run))
        db.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(campaign, run, _storable(tag)) for tag in said.tags])

    # Asking ------------------------------------------------------------------------------------------------------
    def page(self, query: Query, number: int, size: int) -> tuple[list[dict[str, Any]], int]:
        """The rows of one page, the newest first, and how many there are on all pages.

        Args:
            query: which are wanted.
            number: of the page, from 1.
            size: rows a page.
        """
        where, values = query.where()
        count = self._read(f"SELECT count(*) FROM runs WHERE {where}", values)
        rows = self._read(
            f"SELECT * FROM runs WHERE {where} ORDER BY run DESC, campaign LIMIT ? OFFSET ?",
            [*values, size, (number - 1) * size],
        )
        return [_row(cells) for cells in rows], int(count[0][0]) if count else 0

    def choices(self, column: str) -> list[str]:
        """What there is to choose from: the values of `outcome`, `solver` or `tag`."""
        table = {"outcome": "runs", "solver": "runs", "tag": "tags"}[column]
        text = f"SELECT DISTINCT {column} FROM {table} WHERE {column} <> '' ORDER BY {column} LIMIT 200"
        return [str(value) for (value,) in self._read(text)]

    def live(self, most: int = 20) -> list[dict[str, Any]]:
        """The runs that somebody writes to now."""
        return self.page(Query(outcome="running"), 1, most)[0]

    def _read(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows; none where the file is not usable, which the next look makes anew."""
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
                with contextlib.suppress(sqlite3.OperationalError):  # made by another thread in this moment
                    db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            db.execute("PRAGMA synchronous = OFF")  # a cache: what a power cut breaks is made anew
            yield db

    def _remove(self) -> None:
        for tail in ("", "-journal", "-wal", "-shm"):
            self._file.with_name(self._file.name + tail).unlink(missing_ok=True)


def cache_folder(runs: Path) -> Path:
    """Where pages keep things: beside the runs, or in a temporary directory where that cannot be written."""
    place = runs / CACHE
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError:
        return Path(tempfile.mkdtemp(prefix="sdl-web-", dir=children.room()))


class RunFiles(NamedTuple):
    """A run on the disk: size and time of its record, time of its notes (0 without any)."""

    campaign: str
    run: str
    size: int
    changed: int
    noted: int


def _scan(runs: Path) -> Iterator[RunFiles]:
    with contextlib.suppress(FileNotFoundError), os.scandir(runs) as campaigns:
        for campaign in campaigns:
            if campaign.name.startswith(".") or not campaign.is_dir():
                continue
            with os.scandir(campaign.path) as found:
                for run in found:
                    try:
                        about = os.stat(os.path.join(run.path, FILE))
                    except OSError:
                        continue
                    noted = 0
                    with contextlib.suppress(OSError):
                        noted = os.stat(os.path.join(run.path, notes.FILE)).st_mtime_ns
                    names = str(_storable(campaign.name)), str(_storable(run.name))
                    yield RunFiles(*names, about.st_size, about.st_mtime_ns, noted)


def _storable(value: Any) -> Any:
    """Text that SQLite can keep: half a character of a file name is written out."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _row(cells: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(COLUMNS, cells, strict=True))
    found["tags"] = json.loads(found["tags"])
    return found
