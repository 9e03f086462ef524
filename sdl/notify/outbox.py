"""Messages that are to be sent, on the disk until they are: nothing is lost by a restart or a server that is down.

An append-only file beside the lab's record, one JSON object a line, each on the disk (fsync) before `put` returns:

    {"put": {id, target, kind, title, body, at}}     a message for one target
    {"sent": [id, …], "target": …, "at": …}          it arrived, as far as the target's server said
    {"dropped": [id, …], "target": …, "at": …}       it was given up
    {"known": {"id target": at, …}}                  what earlier lines came to, when the file was last shortened

An id is taken once for each target. A message is sent twice only where the process is killed between the server's
word and the line `sent`, a few milliseconds; its id is in the message, so that a reader can tell. On a full disk
messages are kept in memory and written as soon as there is room: the word that the disk is full must still go out.
Where somebody deletes, replaces or cuts the file, all that is known is written anew.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdl.errors import RecordError
from sdl.notify.notice import Notice
from sdl.store.plainfile import open_fd, reading, what_happened
from sdl.store.record import write_file

FILE = "outbox.jsonl"
REMEMBERED = 30 * 86400.0
"""Seconds that an id is remembered after it was done with; a restart folds the events of far less."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """One notice for one target."""

    id: str
    target: str
    kind: str
    title: str
    body: str
    at: float


class Outbox:
    """The messages of one lab; used from the loop's thread and the senders'.

    Args:
        folder: where its file is, or is to be.
        now: seconds since 1970 UTC.

    Raises:
        RecordError: the file cannot be read. A full disk raises nothing.
    """

    def __init__(self, folder: Path, now: float) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._known: dict[str, float] = {}
        self._waiting: dict[str, dict[str, Message]] = {}
        self._unwritten: list[bytes] = []
        self._fd, self._length = -1, 0
        self._read()
        self._known = {key: at for key, at in self._known.items() if at > now - REMEMBERED or self._waits(key)}
        try:
            if self._known:
                write_file(self._path, self._state())
        except RecordError as error:
            _log.warning("the outbox is left as it is: %s", error)
        self._open()

    def put(self, notice: Notice, targets: Iterable[str], now: float) -> list[str]:
        """Takes a notice for each target that has not had it; the targets that are new."""
        new: list[str] = []
        with self._lock:
            for target in targets:
                if _key(notice.id, target) in self._known:
                    continue
                item = Message(notice.id, target, notice.kind, notice.title, notice.body, notice.at)
                self._take(item, now)
                self._append({"put": asdict(item)})
                new.append(target)
        return new

    def waiting(self, target: str) -> list[Message]:
        """What waits for one target, the oldest first."""
        with self._lock:
            return list(self._waiting.get(target, {}).values())

    def count(self) -> int:
        """How many wait, for whomever."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def sent(self, target: str, ids: Sequence[str], now: float) -> None:
        """They arrived."""
        self._done("sent", target, ids, now)

    def dropped(self, target: str, ids: Sequence[str], now: float) -> None:
        """They are given up."""
        self._done("dropped", target, ids, now)

    def close(self) -> None:
        """Gives the file back; may be called twice."""
        with self._lock:
            self._flush()
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _done(self, what: str, target: str, ids: Sequence[str], now: float) -> None:
        with self._lock:
            for one in ids:
                self._waiting.get(target, {}).pop(one, None)
                self._known[_key(one, target)] = now
            self._append({what: list(ids), "target": target, "at": now})

    def _take(self, item: Message, now: float) -> None:
        self._known[_key(item.id, item.target)] = now
        self._waiting.setdefault(item.target, {})[item.id] = item

    def _waits(self, key: str) -> bool:
        one, _, target = key.partition(" ")
        return one in self._waiting.get(target, {})

    def _append(self, line: dict[str, Any]) -> None:
        self._unwritten.append(json.dumps(line).encode() + b"\n")
        self._flush()

    def _flush(self) -> None:
        """Writes what is not on the disk yet; on a full disk all of it stays for the next time."""
        if not self._unwritten:
            return
        if self._fd >= 0 and what_happened(self._fd, self._path, self._length):
            self._anew()
        if self._fd < 0:
            self._open()
        if self._fd < 0:
            return
        text = b"".join(self._unwritten)
        try:
            if os.write(self._fd, text) != len(text):
                raise OSError(28, "no space left on the disk")
            os.fsync(self._fd)
        except OSError as error:
            _log.warning("the outbox keeps %d lines in memory: %s", len(self._unwritten), error.strerror)
            try:
                os.ftruncate(self._fd, self._length)
            except OSError:  # a piece of a line is left: a new line must not follow it directly
                self._unwritten.insert(0, b"\n")
            self._length = os.fstat(self._fd).st_size
            return
        self._length += len(text)
        self._unwritten.clear()

    def _anew(self) -> None:
        """Writes all that is known into a new file, since this one is no longer ours alone."""
        os.close(self._fd)
        self._fd = -1
        known = self._state()
        try:
            write_file(self._path, known)
            self._unwritten.clear()
        except RecordError as error:
            _log.warning("the outbox keeps its messages in memory: %s", error)
            self._unwritten[:] = [b"\n" + known]

    def _open(self) -> None:
        try:
            self._fd = open_fd(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._length = os.fstat(self._fd).st_size
        except OSError as error:
            _log.warning("%s: cannot be written: %s", self._path, error.strerror)

    def _read(self) -> None:
        try:
            with reading(self._path) as stream:
                lines = stream.read().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RecordError(f"{self._path}: cannot be read: {error.strerror}") from error
        for number, line in enumerate(lines, 1):
            try:
                if line:
                    self._fold(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                _log.warning("%s:%d: not a line of an outbox, left out", self._path, number)

    def _fold(self, line: dict[str, Any]) -> None:
        if "put" in line:
            item = Message(**line["put"])
            self._take(item, item.at)
        elif "known" in line:
            self._known.update({str(key): float(at) for key, at in line["known"].items()})
        else:
            for one in line["sent"] if "sent" in line else line["dropped"]:
                self._waiting.get(line["target"], {}).pop(one, None)
                self._known[_key(one, line["target"])] = float(line["at"])

    def _state(self) -> bytes:
        """What waits, and the ids that are remembered: all that the lines came to."""
        lines = [json.dumps({"known": self._known})]
        lines += [json.dumps({"put": asdict(item)}) for box in self._waiting.values() for item in box.values()]
        return "".join(f"{line}\n" for line in lines).encode()


def _key(one: str, target: str) -> str:
    return f"{one} {target}"
