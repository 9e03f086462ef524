"""Messages to be sent, kept on the disk until they are: neither a restart nor an unreachable server loses one.

A SQLite file beside the lab's journal has one row for each message and recipient; it is written before `put` returns.
An id is accepted once for each recipient. A message is sent twice only if the process is killed in the few milliseconds
between the server's reply and the change of the row; its id is in the text, so that a reader can recognise it.

All rows are in memory as well. On a full disk they are written once there is room, since the message that the disk is
full must still be sent; a file that others delete, replace or truncate is written again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from sdl.errors import RecordError
from sdl.notify.model import Notice
from sdl.store.plainfile import open_existing, open_fd
from sdl.store.record import sync_folder

FILE, JSON_LINES = "outbox.sqlite", "outbox.jsonl"
"""The file, and that of version 0.1, whose messages are taken over at the first start."""
REMEMBERED = 30 * 86400.0
"""Seconds that an id is remembered after its message was sent; a restart folds the events of far less."""
_TABLE = "CREATE TABLE messages (id, target, kind, title, body, at, done, PRIMARY KEY (id, target))"
_WRITE = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET done = excluded.done"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """One notice for one target; `done` is when it was sent or given up, None while it waits."""

    id: str
    target: str
    kind: str
    title: str
    body: str
    at: float
    done: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.id, self.target


class Outbox:
    """The messages of one lab; used from the loop's thread and the senders'.

    Args:
        folder: directory of its file.
        now: seconds since 1970 UTC.

    Raises:
        RecordError: the file cannot be read. A full disk raises nothing.
    """

    def __init__(self, folder: Path, now: float) -> None:
        self._path, self._lock = folder / FILE, threading.Lock()
        known = {item.key: item for item in (*_from_json_lines(folder / JSON_LINES), *_read(self._path))}
        recent = (item for item in known.values() if item.done is None or item.done > now - REMEMBERED)
        self._messages = {item.key: item for item in recent}
        self._unwritten: dict[tuple[str, str], Message] = {}
        self._database: sqlite3.Connection | None = None  # None: all rows must be written
        self._written: tuple[int, int, int] | None = None
        if self._messages and self._write():
            with contextlib.suppress(OSError):
                (folder / JSON_LINES).unlink(missing_ok=True)

    def put(self, notice: Notice, targets: Iterable[str]) -> list[str]:
        """Store a notice for each target that has not had it, and return those targets."""
        title, body = (text.encode(errors="backslashreplace").decode() for text in (notice.title, notice.body))
        with self._lock:
            new = [target for target in targets if (notice.id, target) not in self._messages]
            self._change(Message(notice.id, target, notice.kind, title, body, notice.at) for target in new)
        return new

    def waiting(self, target: str) -> list[Message]:
        with self._lock:
            return [item for item in self._messages.values() if item.done is None and item.target == target]

    def count(self) -> int:
        """Number of messages that wait, for all targets."""
        with self._lock:
            return sum(item.done is None for item in self._messages.values())

    def finish(self, target: str, ids: Sequence[str], now: float) -> None:
        with self._lock:
            self._change(replace(self._messages[one, target], done=now) for one in ids)

    def withdraw(self, prefix: str, now: float) -> None:
        """Give up the waiting messages whose ids begin with `prefix`, because their request has been fulfilled."""
        with self._lock:
            waiting = [one for one in self._messages.values() if one.done is None and one.id.startswith(prefix)]
            self._change(replace(one, done=now) for one in waiting)

    def close(self) -> None:
        """Release the file; may be called twice."""
        with self._lock:
            if self._unwritten:
                self._write()
            self._release()

    def _change(self, messages: Iterable[Message]) -> None:
        changed = {item.key: item for item in messages}
        self._messages |= changed
        self._unwritten |= changed
        if self._unwritten:
            self._write()

    def _write(self) -> bool:
        """Write the changed rows, or all of them if others changed the file; False on a full disk."""
        try:
            if self._database is None or self._identity() != self._written:
                self._write_all()
            else:
                with self._database:
                    self._database.executemany(_WRITE, map(astuple, self._unwritten.values()))
            self._written = self._identity()
        except (sqlite3.Error, OSError) as error:
            _log.warning("%s: cannot be written; messages are kept in memory: %s", self._path, error)
            self._release()
            return False
        self._unwritten.clear()
        return True

    def _write_all(self) -> None:
        self._release()
        draft = self._path.with_name(f"{FILE}.new")
        for old in (draft, Path(f"{draft}-journal"), Path(f"{self._path}-journal")):
            old.unlink(missing_ok=True)  # a journal that a killed process left would be applied to the new file
        os.close(open_fd(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(_connect(draft)) as database, database:
            database.execute(_TABLE)
            database.executemany(_WRITE, map(astuple, self._messages.values()))
        draft.replace(self._path)
        sync_folder(self._path.parent)
        self._database = _connect(self._path)

    def _identity(self) -> tuple[int, int, int] | None:
        """Device and number of the file that now has the name, and its length."""
        with contextlib.suppress(OSError):
            status = self._path.lstat()
            return status.st_dev, status.st_ino, status.st_size
        return None

    def _release(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA synchronous = EXTRA")  # a row is on the disk when its transaction ends
    return database


def _read(path: Path) -> list[Message]:
    """The rows of the file; a damaged file is renamed and has none.

    Raises:
        RecordError: it cannot be read.
    """
    try:
        os.close(open_fd(path))
        with contextlib.closing(sqlite3.connect(path)) as database:
            return [Message(*row) for row in database.execute("SELECT * FROM messages ORDER BY rowid")]
    except FileNotFoundError:
        return []
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise RecordError(f"{path}: cannot be read: {error}") from error
        _log.warning("%s: damaged, renamed to %s.damaged: %s", path, FILE, error)
        path.replace(f"{path}.damaged")
        return []
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error


def _from_json_lines(path: Path) -> Iterator[Message]:
    """The messages of an outbox of version 0.1: `put`, `sent`, `dropped` and `known` lines.

    Raises:
        RecordError: it cannot be read.
    """
    try:
        with open_existing(path) as stream:
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text or '{"known": {}}')
            if "put" in line:
                done, messages = [], [Message(**line["put"])]
            elif "known" in line:
                done, messages = [(*key.partition(" ")[::2], at) for key, at in line["known"].items()], []
            else:
                ids = line["sent" if "sent" in line else "dropped"]
                done, messages = [(one, line["target"], line["at"]) for one in ids], []
            yield from messages + [Message(id, target, "", "", "", float(at), float(at)) for id, target, at in done]
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.warning("%s:%d: not a line of an outbox; ignored", path, number)
