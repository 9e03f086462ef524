"""The journal of a lab: `runs/<name>.lab/journal.jsonl`, a `sdl.store.record` of lab events.

It has the same hash chain, fsync, lock and repair of a torn last line. It is never finished and has no seal.
"""

from __future__ import annotations

import os
import typing
from functools import partial
from pathlib import Path

from sdl.errors import RecordError, translated_os_errors
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
    added_in={"Asked": {"campaign": {}, "run": "", "changes": ()}, "Ended": {"cost": 0.0}, "Died": {"cost": 0.0}},
)
SUFFIX = ".lab"

read = partial(record.read, form=JOURNAL)
"""The verified events of a journal, as `record.read`; also while the lab runs."""
check = partial(record.check, form=JOURNAL)
"""Verify the hashes of a journal, as `record.check`."""


def folder(runs: Path, lab: str) -> Path:
    """The directory of a lab's journal, outbox and log."""
    return runs / f"{lab}{SUFFIX}"


def open_journal(place: Path) -> record.Record:
    """Open or create a journal and lock it for this process; its `events` are the existing ones.

    Raises:
        InUse: another process runs this lab.
        Damaged: a line was changed; the file is left alone.
    """
    with translated_os_errors(place, "created", RecordError):
        place.mkdir(parents=True, exist_ok=True)
        os.close(open_fd(place / JOURNAL.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        record.sync_folder(place)
        record.sync_folder(place.parent)
    return record.Record.open(place, JOURNAL)


def is_journal(place: Path) -> bool:
    """Whether a path is a lab's directory or its journal."""
    return (place / JOURNAL.file).is_file() or (place.name == JOURNAL.file and place.is_file())
