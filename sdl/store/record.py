"""The record: an append-only JSONL file of the events of a campaign or lab. Only this module knows its format.

One event a line: `{"event": "Measured", …, "sha": "…"}`. `sha` is the hash of the previous line's `sha` and of this
line's own text before it, so that an edited, missing or swapped line is detected. An append is one `os.write` to an
unbuffered O_APPEND file, then fsync, before anything acts on the event; if either fails, the file is truncated to its
old length, so that no partial line appears later (the writer of `jsonlines` would keep it in its buffer).

A last line without its newline was torn by a crash: it is moved to `record.torn-N`. If only the newline is missing, the
line is kept. Any other invalid line is damage: the file is refused and left as it is. When a campaign has stopped,
`record.seal` keeps the number and the sha of the last line, so that its loss is detected too.

Before each append the file is checked by its name: if it was deleted, replaced, truncated or written to by others,
nothing more is appended. What this process wrote is saved as a new record (`Lost` says where), and the writer stops.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import hashlib
import itertools
import json
import marshal
import os
import re
import tempfile
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import SchemaValidator, core_schema, from_json

from sdl.core.events import SCHEMA, Attached, Corrected, Event, Opened, Safe, Stopped
from sdl.errors import Damaged, Full, Lost, RecordError
from sdl.store import archived, lock, resolve
from sdl.store.lock import Lock
from sdl.store.plainfile import describe_change, open_existing, open_fd, open_new

FILE, SEAL, LOCK, PRIOR = resolve.FILE, "record.seal", lock.LOCK, "prior.jsonl"
NO_SPACE = (errno.EFBIG, errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
# Bytes at the end of a record that the writer keeps in memory, to save a file that others truncate.
SAVED_BYTES = 4 << 20
START = "0" * 32  # the previous sha of the first line


_STRICT = ConfigDict(strict=True, revalidate_instances="always", allow_inf_nan=False)


def _enums(fields: Mapping[str, Any]) -> Iterator[tuple[str, type[Enum]]]:
    """The fields whose type is an enum, or an enum and None."""
    for name, hint in fields.items():
        for part in (hint, *typing.get_args(hint)):
            if isinstance(part, type) and issubclass(part, Enum):
                yield name, part


def _line_schema(schema: Any) -> Any:
    """A pydantic schema of an event changed to read its line: no field may lack, and a whole number stays one."""
    if isinstance(schema, list):
        return [_line_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "float":
        whole = core_schema.int_schema(strict=True)
        return core_schema.union_schema([whole, core_schema.float_schema(allow_inf_nan=False)], mode="left_to_right")
    if schema.get("type") == "default":
        return _line_schema(schema["schema"])
    read = {key: _line_schema(value) if key != "metadata" else value for key, value in schema.items()}
    return read | {"extra_behavior": "forbid"} if read.get("type") == "dataclass-args" else read


class EventSchema:
    """The kinds of events and the file names of a record: of a campaign (`CAMPAIGN`) or of a lab (`sdl.lab.journal`).

    Args:
        kinds: event classes, which are flat dataclasses.
        schema: version of their fields, for messages.
        first: class of the first line.
        once: whether only the first line has that class.
        last: class that finishes the file; None if it is never finished.
        after: classes that may still follow `last`.
        file: file name; the lock, the seal and torn lines have the same stem.
        added_in: fields that a later schema added, by kind, each with its value for files of earlier schemas.
        frequent: kinds of event that a file has many of; each is read from its text in one step.
    """

    def __init__(
        self,
        kinds: Sequence[type[Any]],
        *,
        schema: int,
        first: type[Any],
        once: bool,
        last: type[Any] | None,
        after: tuple[type[Any], ...] = (),
        file: str,
        added_in: Mapping[str, Mapping[str, Any]] | None = None,
        frequent: Sequence[str] = (),
    ) -> None:
        self.kinds = {kind.__name__: kind for kind in kinds}
        self.fields = {name: typing.get_type_hints(kind) for name, kind in self.kinds.items()}
        self.enums = {name: dict(_enums(of)) for name, of in self.fields.items()}
        self._frequent = tuple(frequent)
        self.schema, self.first, self.once, self.added_in = schema, first, once, added_in or {}
        self.last, self.after = last, after
        self.file, self.stem = file, file.partition(".")[0]
        self.lock, self.seal = f"{self.stem}.lock", f"{self.stem}.seal"

    @cached_property
    def adapters(self) -> Mapping[str, TypeAdapter[Any]]:
        """By kind, what checks the types of its fields."""
        return {name: TypeAdapter(with_config(_STRICT)(kind)) for name, kind in self.kinds.items()}

    @cached_property
    def frequent(self) -> Mapping[bytes, SchemaValidator]:
        """By the beginning of a line of a frequent kind, what reads the line."""
        return {
            b'{"event": "%b", ' % name.encode(): SchemaValidator(_line_schema(self.adapters[name].core_schema))
            for name in self._frequent
        }

    def finished(self, event: Any, before: bool) -> bool:
        """Whether this event finishes the file; `before`: whether the previous one did."""
        if self.last is None:
            return False
        return isinstance(event, self.last) or (before and isinstance(event, self.after))


CAMPAIGN = EventSchema(
    typing.get_args(Event),
    schema=SCHEMA,
    first=Opened,
    once=True,
    last=Stopped,
    after=(Safe, Attached, Corrected),
    file=FILE,
    added_in={
        "Proposed": {
            **{
                "shortfall": {},
                "probability": None,
                "model": "",
                "lack_of_fit": {},
                "expected_error": {},
                "readings_needed": None,
            },
            **{"incumbent": {}, "estimate": None, "estimate_error": None, "expected_improvement": None},
        },
        "Measured": {"note": ""},
    },
    frequent=("Proposed", "Measured"),
)
Shared = dict[str, Any]
"""The latest mapping of each field in `SHARED`, after its content as bytes, and the number of the latest `trial`."""
SHARED = {
    "Proposed": (
        "settings", "targets", "spread", "uncertainty", "expected", "lack_of_fit", "expected_error", "shortfall",
        "incumbent",
    ),
    "Measured": ("applied", "background"),
}  # fmt: skip
"""Fields, by kind of event, whose values are often those of an earlier event."""
_SHARED_VALUES = {kind: attrgetter(*fields) for kind, fields in SHARED.items()}
SHORT = 500
"""Lines up to which equal values are not shared: a record of so few needs little memory anyway."""
EMPTY: Mapping[str, Any] = {}
MOST_COUNTS = 1 << 16
"""Whole numbers up to this one are read as one object each: many instruments read 16 bits."""
_counts: dict[int, int] = {}
_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


class Line(NamedTuple):
    """A verified line: its number (from 1), its event, its sha, and the offset of its end in the file."""

    number: int
    event: Any
    sha: str
    end: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file was read or written: number, sha and end of its last line, and whether that finished it."""

    number: int = 0
    sha: str = START
    end: int = 0
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows the last complete line: nothing, a torn line, or a line that lacks only its newline."""

    torn: bytes = b""
    newline_missing: bool = False


def encode(event: Any, previous: str, form: EventSchema = CAMPAIGN) -> tuple[bytes, str]:
    """Encode an event that follows the line with sha `previous`: its line and its own sha.

    Raises:
        ValueError: JSON cannot represent a value, such as NaN.
    """
    kind = type(event).__name__
    body = {"event": kind, **{name: getattr(event, name) for name in form.fields[kind]}}
    # A lone surrogate, as in a file name that is no UTF-8, comes out as its JSON escape.
    text = _json(body)[:-1].encode(errors="backslashreplace")
    sha = _sha(previous, text)
    return text + f', "sha": "{sha}"}}\n'.encode(), sha


def decode(line: bytes, previous: str, form: EventSchema = CAMPAIGN, shared: Shared | None = None) -> tuple[Any, str]:
    """Decode one line without its newline: its event and its sha.

    `shared` holds the mappings of earlier events; they replace equal mappings of this event, which saves memory, as
    does one object for equal counts.

    Raises:
        ValueError: it is not the line that was written after `previous`; the message says why.
    """
    text, mark, rest = line.rpartition(b', "sha": "')
    if not mark or not rest.endswith(b'"}'):
        raise ValueError("not a whole line of a record")
    sha = rest[:-2].decode("ascii", "replace")
    if sha != _sha(previous, text):
        raise ValueError("does not match its sha: the line was changed, or a line before it was lost or moved")
    try:
        event = _read_frequent(text, form) or _read_any(text, form)
        if shared is not None:
            _share(event, shared)
        return event, sha
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not an event of this version ({form.schema}): {error!r}") from error


def _read_frequent(text: bytes, form: EventSchema) -> Any:
    """The event of a line as this version writes it, if its kind is a frequent one; otherwise None."""
    for beginning, validator in form.frequent.items():
        if text.startswith(beginning):
            try:
                return validator.validate_json(b"{%b}" % text[len(beginning) :])
            except ValidationError:  # also a line of an earlier version
                return None
    return None


def _read_any(text: bytes, form: EventSchema) -> Any:
    """The event of any line; ValueError and the like say why it is none."""
    try:
        body = from_json(text + b"}")  # quicker than json, and it keeps one copy of each key
    except ValueError:  # what it refuses but json accepts, such as half a surrogate pair in a name
        body = json.loads(text + b"}")
    return _build(form.kinds[body.pop("event")], body, form)


def scan(path: Path, form: EventSchema = CAMPAIGN, after: Position | None = None) -> Iterator[Line | Tail]:
    """Yield every verified line of a file, or those after a position, then exactly one Tail; read-only.

    Raises:
        Damaged: at the first line that differs from what was written.
        RecordError: the file cannot be read.
    """
    inside = path.is_dir()
    file = path / form.file if inside else path
    after = after or Position()
    sha, end, number = after.sha, after.end, after.number
    shared: Shared = {}
    try:
        with open_existing(file, follow=not inside) as stream:
            if not _seek(stream, after):
                raise Damaged(str(file), after.number, "changed since it was read before")
            for number, raw in enumerate(stream, after.number + 1):
                whole = raw.endswith(b"\n")
                try:
                    event, sha = decode(raw[:-1] if whole else raw, sha, form, shared if number > SHORT else None)
                except ValueError as error:
                    if whole or _one_byte_off(raw, sha, form):
                        raise Damaged(str(file), number, str(error)) from error
                    yield Tail(torn=raw)
                    return
                if (number == 1) != isinstance(event, form.first) and (number == 1 or form.once):
                    only = ", or not the only one" if form.once else ""
                    raise Damaged(str(file), number, f"{form.first.__name__} is not the first line{only}")
                end += len(raw)
                yield Line(number, event, sha, end)
                if not whole:
                    yield Tail(newline_missing=True)
                    return
    except OSError as error:
        raise RecordError(f"{file}: cannot be read: {error.strerror}") from error
    yield Tail()


def _seek(stream: BinaryIO, after: Position) -> bool:
    """Go to a position; False if the line that ends there is another one than before."""
    mark = f'{after.sha}"}}\n'.encode() if after.number else b""
    stream.seek(max(after.end - len(mark), 0))
    return stream.read(len(mark)) == mark


def read(path: Path, form: EventSchema = CAMPAIGN) -> Iterator[Any]:
    """Yield the verified events of a record, without a torn last line.

    Raises:
        Damaged, RecordError: as `scan`.
    """
    return (item.event for item in scan(path, form) if isinstance(item, Line))


@dataclass(frozen=True, slots=True)
class Checked:
    """Summary of an intact record."""

    lines: int
    finished: bool
    sealed: bool
    sha: str
    notes: tuple[str, ...]


def check(path: Path, form: EventSchema = CAMPAIGN) -> Checked:
    """Verify a whole record: its hashes, its seal and the hash of its prior.

    Raises:
        Damaged: names the file and the line.
    """
    return _verify(path if path.is_dir() else path.parent, path, scan(path, form), form)


def _verify(
    folder: Path, path: Path, items: Iterable[Line | Tail], form: EventSchema, after: Position | None = None
) -> Checked:
    after = after or Position()
    file = folder / form.file if path.is_dir() else path
    seal = _read_seal(folder / form.seal)
    lines, sha, finished = after.number, after.sha, after.finished
    notes: list[str] = []
    for item in items:
        if isinstance(item, Line):
            lines, sha, finished = item.number, item.sha, form.finished(item.event, finished)
            if seal and (item.number == seal[0]) != (item.sha == seal[1]):
                raise Damaged(str(folder / form.seal), 1, f"does not match line {item.number} of {file.name}")
            if isinstance(item.event, Opened):
                check_prior(folder, item.event)
        elif item.torn:
            notes.append(f"the last line is torn ({len(item.torn)} bytes), as a crash leaves it; a resume cuts it off")
        elif item.newline_missing:
            notes.append("the last line lacks its newline, as a crash leaves it; a resume adds it")
    if seal and lines < seal[0]:
        raise Damaged(str(file), lines + 1, f"lost: the record ends here, {form.seal} says it has {seal[0]} lines")
    if not lines:
        what = "campaign" if form.once else "lab"
        raise RecordError(f"{file}: empty: the {what} was ended before it began; run it again")
    sealed = seal is not None and seal[0] == lines
    if not finished:
        unfinished = "unfinished; " if form.last else ""
        notes.append(f"{unfinished}whether whole lines are missing at its end cannot be told from a crash")
    elif not sealed:
        notes.append(f"finished, but without its {form.seal}, as a crash at the very end leaves it")
    return Checked(lines, finished, sealed, sha, tuple(notes))


class Record:
    """A record open for appending, exclusively by this process.

    Use `create` or `open`; `events` holds the existing events, or those after the position that `open` was given.
    """

    def __init__(
        self,
        folder: Path,
        lock: Lock,
        fd: int,
        lines: list[Line],
        notes: tuple[str, ...],
        form: EventSchema = CAMPAIGN,
        after: Position | None = None,
    ) -> None:
        after = after or Position()
        self.folder, self.notes, self._form = folder, notes, form
        self.events: tuple[Any, ...] = tuple(line.event for line in lines)
        self._finished = after.finished
        for event in self.events:
            self._finished = form.finished(event, self._finished)
        self._lock, self._fd = lock, fd
        self._number, self._sha = after.number + len(lines), lines[-1].sha if lines else after.sha
        self._length = os.fstat(fd).st_size
        self._end = bytearray(_read_from(fd, max(self._length - SAVED_BYTES, 0)))
        self._file = (folder / form.file).absolute()  # a plug-in may change the working directory
        self._prior = _open_prior(folder) if self._number else -1
        self._beside = {place: _device(place) for place in (folder.parent, folder.parent.parent)}
        self._lost_error: Lost | None = None

    @classmethod
    def create(cls, folder: Path, form: EventSchema = CAMPAIGN) -> Record:
        """Create an empty record in a new directory.

        Raises:
            RecordError: the directory exists, or cannot be created.
        """
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            lock = Lock(folder / form.lock)
            fd = open_fd(folder / form.file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND)
            sync_folder(folder)
            sync_folder(folder.parent)
        except OSError as error:
            raise RecordError(f"{folder}: cannot be created: {error.strerror}") from error
        return cls(folder, lock, fd, [], (), form)

    @property
    def position(self) -> Position:
        """The end of what was read and written."""
        return Position(self._number, self._sha, self._length, self._finished)

    @classmethod
    def open(cls, folder: Path, form: EventSchema = CAMPAIGN, after: Position | None = None) -> Record:
        """Open an existing record: verify it, and repair a last line torn by a crash.

        `after`: the position up to which the caller has read and verified it.

        Raises:
            InUse: another process writes to it.
            Damaged: a line differs from what was written; nothing is changed.
            RecordError: it is archived.
        """
        archived.refuse_change(folder)
        if not (folder / form.file).is_file():
            what = "run" if form.once else "lab"
            raise RecordError(f"{folder}: no {form.file} here; name the directory of a {what}")
        lock = Lock(folder / form.lock)
        try:
            items = list(scan(folder, form, after))
            lines = [item for item in items if isinstance(item, Line)]
            if lines or form.once:  # the journal of a lab may be empty
                _verify(folder, folder, items, form, after or Position())
            notes = _repair(folder, lines, items[-1], form, after or Position()) if isinstance(items[-1], Tail) else ()
            fd = open_fd(folder / form.file, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            lock.release()
            raise RecordError(f"{folder}: cannot be opened: {error.strerror}") from error
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock, fd, lines, notes, form, after)

    def append(self, event: Any) -> None:
        """Write one event durably: it is on the disk when this returns.

        Raises:
            Full: the disk is full. RecordError: the disk failed. The file is unchanged.
            Lost: others deleted, replaced or changed the file, or the disk is gone; its content was saved.
        """
        line, sha = encode(event, self._sha, self._form)
        try:
            if happened := describe_change(self._fd, self._file, self._length):
                raise self._lost(f"{happened} while it was being written", line)
            if os.write(self._fd, line) != len(line):
                raise OSError(errno.ENOSPC, "no space left on the disk")
            os.fsync(self._fd)
        except OSError as error:
            full = error.errno in NO_SPACE
            try:
                os.ftruncate(self._fd, self._length)
                os.fsync(self._fd)
            except OSError:
                failure = f"{type(event).__name__} not written: {error.strerror}"
                lost = None if full or self._fd < 0 else self._lost(failure, line)
                self.close()  # nothing may follow the piece; the next `open` finds it torn and cuts it off
                if lost is not None:
                    raise lost from error
            raise (Full if full else RecordError)(
                f"{self.folder / self._form.file}: {type(event).__name__} not written: {error.strerror}; "
                f"make room and resume; the line was: {line.decode().strip()}"
            ) from error
        self._length += len(line)
        self._end += line
        if len(self._end) > 2 * SAVED_BYTES:
            del self._end[:-SAVED_BYTES]
        if self._number == 0:
            self._prior = _open_prior(self.folder)
        self._number += 1
        self._sha = sha
        self._lost_error = None
        self._finished = self._form.finished(event, self._finished)
        if self._finished:
            with contextlib.suppress(RecordError):  # a full disk; `check` says that the seal is missing
                write_file(self.folder / self._form.seal, _seal(self._number, sha))

    def close(self) -> None:
        """Release the file and the lock; may be called twice."""
        for fd in (self._fd, self._prior):
            if fd >= 0:
                os.close(fd)
        self._fd = self._prior = -1
        self._lock.release()

    def _lost(self, happened: str, line: bytes) -> Lost:
        """Save what this process wrote, once, and return the error that says what happened and where the copy is.

        `happened` is the predicate of a sentence about the file. The next `line` is saved too if it belongs to a
        campaign, since it may be a reading; a lab does not act on what it cannot write.
        """
        if self._lost_error is not None:
            return Lost(str(self._lost_error), self._lost_error.saved)
        campaign = self._form.last is not None
        message = f"{self.folder / self._form.file}: {happened}; "
        if (saved := self._save(line if campaign else b"")) is None:
            message += f"no copy could be saved; the line was: {line.decode().strip()}"
        else:
            try:
                check(saved, self._form)
            except RecordError as error:
                message += f"what was left of it is saved in {saved}, not all of it: {error}"
            else:
                again = f"stop the lab, move the copy to {self.folder}, and start the lab again"
                then = f"continue from it with `sdl resume {saved}`" if campaign else again
                message += f"a complete copy is saved in {saved}: {then}"
        self._lost_error = Lost(message, None if saved is None else str(saved))
        return self._lost_error

    def _save(self, line: bytes) -> Path | None:
        """Write all known lines into a new folder: beside the run, below the runs, here, or in the temporary folder."""
        before = self._length - len(self._end)
        text = _read_from(self._fd, 0)[:before] if before else b""
        # Where a file system was unmounted, its folders are another's now and would hide the copy once it is back.
        near = [place for place, device in self._beside.items() if device is not None and _device(place) == device]
        for place in (*near, Path(), Path(tempfile.gettempdir())):
            names = (f"{self.folder.name}.rescued{n}" for n in ("", *(f"-{n}" for n in range(2, 100))))
            folder = next((place / name for name in names if not os.path.lexists(place / name)), place)
            with contextlib.suppress(OSError, RecordError):
                folder.mkdir()
                write_file(folder / self._form.file, text + bytes(self._end) + line)
                if self._prior >= 0:
                    write_file(folder / PRIOR, _read_from(self._prior, 0))
                return folder
        return None


def write_whole(folder: Path, events: Sequence[Any]) -> None:
    """Write a whole record at once, without fsync, for a campaign that ran in memory and could not be resumed.

    Raises:
        RecordError: the directory exists, or cannot be written.
    """
    lines, sha, finished = [], START, False
    for event in events:
        line, sha = encode(event, sha)
        lines.append(line)
        finished = CAMPAIGN.finished(event, finished)
    try:
        folder.mkdir(parents=True)
        (folder / CAMPAIGN.file).write_bytes(b"".join(lines))
        if finished:
            (folder / CAMPAIGN.seal).write_text(_seal(len(lines), sha), encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{folder}: cannot be written: {error.strerror}") from error


def write_file(path: Path, text: str | bytes) -> None:
    """Write a small file atomically and durably.

    Raises:
        Full, RecordError: it could not be written; an older file of that name is unchanged.
    """
    draft = path.with_name(path.name + ".new")
    try:
        with open_new(draft) as stream:
            stream.write(text.encode() if isinstance(text, str) else text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise (Full if error.errno in NO_SPACE else RecordError)(
            f"{path}: cannot be written: {error.strerror}"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, on systems that can."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def file_sha(path: Path) -> str:
    """SHA-256 of a whole file.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    with open_existing(path, follow=True) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_from(fd: int, start: int) -> bytes:
    """The content of an open file from an offset on, as far as it can be read."""
    content = b""
    with contextlib.suppress(OSError):
        os.lseek(fd, start, os.SEEK_SET)
        while piece := os.read(fd, 1 << 24):
            content += piece
    return content


def _device(place: Path) -> int | None:
    try:
        return place.stat().st_dev
    except OSError:
        return None


def _open_prior(folder: Path) -> int:
    """Open the prior of a campaign, so that it stays readable if its name is removed; -1 without a prior."""
    with contextlib.suppress(OSError):
        return open_fd(folder / PRIOR)
    return -1


def _sha(previous: str, text: bytes) -> str:
    return hashlib.sha256(previous.encode() + text).hexdigest()[:32]


def _one_byte_off(raw: bytes, previous: str, form: EventSchema) -> bool:
    """Whether this is a complete line whose newline was changed, which no crash does."""
    try:
        decode(raw[:-1], previous, form)
    except ValueError:
        return False
    return True


def _repair(folder: Path, lines: list[Line], tail: Tail, form: EventSchema, after: Position) -> tuple[str, ...]:
    if tail.newline_missing:
        with os.fdopen(open_fd(folder / form.file, os.O_WRONLY | os.O_APPEND), "ab") as stream:
            stream.write(b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        return ("the last line lacked its newline; added",)
    if not tail.torn:
        return ()
    kept = next(f for n in itertools.count(1) if not os.path.lexists(f := folder / f"{form.stem}.torn-{n}"))
    with open_new(kept) as stream:
        stream.write(tail.torn)
    with os.fdopen(open_fd(folder / form.file, os.O_RDWR), "r+b") as stream:
        stream.truncate(lines[-1].end if lines else after.end)
        os.fsync(stream.fileno())
    return (f"line {after.number + len(lines) + 1} was torn ({len(tail.torn)} bytes); kept as {kept.name} and cut off",)


def _seal(lines: int, sha: str) -> str:
    return json.dumps({"lines": lines, "sha": sha}) + "\n"


def _read_seal(path: Path) -> tuple[int, str] | None:
    try:
        with open_existing(path) as stream:
            seal = json.loads(stream.read(1000))
        lines, sha = seal["lines"], seal["sha"]
        if type(lines) is not int or not 1 <= lines < 2**53 or not re.fullmatch("[0-9a-f]{32}", sha):
            raise ValueError("`lines` must be a whole number from 1 on, `sha` 32 hexadecimal digits")
        return lines, sha
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise Damaged(str(path), 1, f"not a seal: {getattr(error, 'strerror', None) or error}") from error


def check_prior(folder: Path, opened: Opened) -> None:
    """Verify a campaign's copy of its prior.

    Raises:
        Damaged: it is missing, or changed since the campaign started.
    """
    file = folder / PRIOR
    for source in opened.prior[:1]:
        plain_prior(folder)
        if file_sha(file) != source["copy_sha256"]:
            raise Damaged(str(file), 1, "changed since the campaign started")


def plain_prior(folder: Path) -> Path:
    """The path of a campaign's copy of its prior.

    Raises:
        Damaged: it is missing, a link, or not a regular file.
    """
    file = folder / PRIOR
    try:
        os.close(open_fd(file))
    except FileNotFoundError as error:
        raise Damaged(str(file), 1, "lost: the campaign started with a prior") from error
    except OSError as error:
        raise Damaged(str(file), 1, f"cannot be read: {error.strerror}") from error
    return file


def _build(kind: type[Any], body: dict[str, Any], form: EventSchema) -> Any:
    """Build an event from its JSON object; unknown or missing fields and values of other types are errors."""
    name = kind.__name__
    if body.keys() != form.fields[name].keys():
        missing = {key: value for key, value in form.added_in.get(name, {}).items() if key not in body}
        body = {**copy.deepcopy(missing), **body}
        if wrong := body.keys() ^ form.fields[name].keys():  # also a missing one that has a default
            raise ValueError(f"{name} has other fields: {', '.join(sorted(wrong))}")
    for field, value in body.items():
        if type(value) is list:
            body[field] = tuple(value)
    for field, enum in form.enums[name].items():
        if (value := body[field]) is not None:
            body[field] = enum._value2member_map_.get(value) or enum(value)  # a call takes five times as long
    event = kind(**body)
    try:
        form.adapters[name].validate_python(event)  # the event itself is kept: a whole number stays one
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        raise ValueError(f"{name}.{field} is {str(body[field])[:80]!r}") from error
    return event


def _share(event: Any, shared: Shared) -> None:
    """Replace mappings of an event by earlier ones of the same field, or by the settings asked for, that equal them."""
    kind = type(event).__name__
    if kind in SHARED:
        values = _SHARED_VALUES[kind](event)
        for field, value in zip(SHARED[kind], values, strict=True):
            if value:
                text = marshal.dumps(value, 2)  # equal only if order, types and the signs of zeros are equal as well
                key = "settings" if field == "applied" else field
                latest = shared.get(key)
                if latest is None or latest[0] != text:
                    shared[key] = text, value
                else:
                    object.__setattr__(event, field, latest[1])
            elif value is not None:
                object.__setattr__(event, field, EMPTY)
    if kind == "Proposed":
        shared["trial"] = event.trial
    elif kind == "Measured":
        if event.trial == shared.get("trial"):
            object.__setattr__(event, "trial", shared["trial"])
        values = event.readings
        for name, value in values.items():
            if type(value) is int and 0 <= value < MOST_COUNTS:
                values[name] = _counts.setdefault(value, value)
