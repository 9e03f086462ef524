"""The lab's own record: `runs/<name>.lab/journal.jsonl`, in the form of `sdl.store.record`, with other events.

The same hash chain, fsync, lock and mending of a torn last line; it is never finished, so it has no seal. Unlike a
run it is opened or created by one door, because a lab that systemd starts again must not care which.
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
    since={"Asked": ("campaign",)},
)
SUFFIX = ".lab"


class Journal(Protocol):
    """Where a lab's events go."""

    def append(self, event: LabEvent) -> None: ...
    def close(self) -> None: ...


class MemoryJournal:
    """A journal that nobody keeps, for simulations; `events` where it is asked to keep them."""

    def __init__(self, keep: bool = False) -> None:
        self.events: list[LabEvent] = []
        self._keep = keep

    def append(self, event: LabEvent) -> None:
        if self._keep:
            self.events.append(event)

    def close(self) -> None:
        """Nothing to give back."""


def folder(runs: Path, lab: str) -> Path:
    """Where a lab's journal lies, and what belongs to it."""
    return runs / f"{lab}{SUFFIX}"


def open_journal(place: Path) -> record.Record:
    """A lab's journal, for this process alone; `events` is what was already there.

    Raises:
        InUse: another process runs this lab.
        Damaged: a line is not as it was written; nothing is changed.
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
    """The events of a journal, verified; a torn tail is left out. Also while the lab runs.

    Raises:
        Damaged, RecordError: as `sdl.store.record.scan`.
    """
    return record.read(place, JOURNAL)


def check(place: Path) -> record.Checked:
    """Reads a whole journal against its hashes.

    Raises:
        Damaged: with file and line.
    """
    return record.check(place, JOURNAL)


def is_journal(place: Path) -> bool:
    """Whether this is a lab's directory, or its journal."""
    return (place / JOURNAL.file).is_file() or (place.name == JOURNAL.file and place.is_file())
