"""The journal of a lab: `runs/<name>.lab/journal.jsonl`, a `sdl.store.record` of lab events.

It has the same hash chain, fsync, lock and repair of a torn last line. It is never finished and has no seal.
`open_journal` creates or opens it, so that a restarted lab need not distinguish the two.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sdl.errors import RecordError
from sdl.lab.core.events import SCHEMA, LabEvent, LabOpened
from sdl.store import record
from sdl.store.plainfile import open_fd

JOURNAL = record.EventSchema(
    typing.get_args(LabEvent),
    schema=SCHEMA,
    first=LabOpened,
    once=False,
    last=None,
    file="journal.jsonl",
    added_in={"Asked": {"campaign": {}}},
)
SUFFIX = ".lab"


class Journal(Protocol):
    """Receives the events of a lab."""

    def append(self, event: LabEvent) -> None: ...
    def close(self) -> None: ...


class MemoryJournal:
    """A journal in memory, for simulations; `keep` collects its `events`."""

    def __init__(self, keep: bool = False) -> None:
        self.events: list[LabEvent] = []
        self._keep = keep

    def append(self, event: LabEvent) -> None:
        if self._keep:
            self.events.append(event)

    def close(self) -> None:
        """Nothing to close."""


def folder(runs: Path, lab: str) -> Path:
    """The directory of a lab's journal, outbox and log."""
    return runs / f"{lab}{SUFFIX}"


def open_journal(place: Path) -> record.Record:
    """Open or create a journal and lock it for this process; its `events` are the existing ones.

    Raises:
        InUse: another process runs this lab.
        Damaged: a line was changed; the file is left alone.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        fd = open_fd(place / JOURNAL.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.close(fd)
        record.sync_folder(place)
        record.sync_folder(place.parent)
    except OSError as error:
        raise RecordError(f"{place}: cannot be created: {error.strerror}") from error
    return record.Record.open(place, JOURNAL)


def read(place: Path) -> Iterator[LabEvent]:
    """The verified events of a journal, without a torn last line; also while the lab runs.

    Raises:
        Damaged, RecordError: as `sdl.store.record.scan`.
    """
    return record.read(place, JOURNAL)


def check(place: Path) -> record.Checked:
    """Verify the hashes of a journal.

    Raises:
        Damaged: with file and line.
    """
    return record.check(place, JOURNAL)


def is_journal(place: Path) -> bool:
    """Whether a path is a lab's directory or its journal."""
    return (place / JOURNAL.file).is_file() or (place.name == JOURNAL.file and place.is_file())
