"""Note and tags of a run, in `notes.json` beside its record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from sdl.errors import ConfigError
from sdl.store.archived import refuse_change
from sdl.store.plainfile import open_existing
from sdl.store.record import write_file

FILE = "notes.json"
MAX_NOTE, MAX_TAGS, MAX_TAG = 8000, 20, 40
MAX_BYTES = 64 * 1024


class NotesChange(BaseModel, extra="forbid", strict=True):
    """New note and tags of a run, with the version of the notes that they are based on."""

    note: str
    tags: list[str]
    version: int
    by: str = Field("", max_length=80)


class Notes(BaseModel, frozen=True):
    """Note and tags of a run.

    Attributes:
        note: free text, possibly of several lines.
        tags: the tags in order, without duplicates.
        version: number of changes; a change based on an older version is refused.
        by, at: author and time of the last change, seconds since 1970 UTC.
    """

    note: str = ""
    tags: tuple[str, ...] = ()
    version: int = 0
    by: str = ""
    at: float = 0.0


class NotesChanged(ConfigError):
    """Another author changed the notes since they were read.

    Attributes:
        now: the notes as they are.
    """

    def __init__(self, now: Notes) -> None:
        self.now = now
        super().__init__(f"{now.by or 'Another user'} changed the notes meanwhile; yours were not saved")


def read(folder: Path) -> Notes:
    """The notes of a run; empty if there are none.

    Raises:
        ConfigError: the file is invalid.
    """
    try:
        with open_existing(folder / FILE) as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES // 1024} kB")
        stored = Notes.model_validate_json(raw, strict=True)
        if missing := Notes.model_fields.keys() - stored.model_fields_set:
            raise ValueError(f"without {', '.join(sorted(missing))}")
        return stored
    except FileNotFoundError:
        return Notes()
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{FILE} cannot be read ({why}); repair it, or move it away") from error


def write(folder: Path, note: str, tags: Sequence[str], version: int, by: str, at: float) -> Notes:
    """Replace the notes of a run; `version` is that of the notes that the change is based on.

    Raises:
        ConfigError: too long; nothing was written.
        NotesChanged: changed by another author meanwhile; nothing was written.
        RecordError: the file cannot be written, or the run is archived.
    """
    refuse_change(folder)
    tags = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(note) > MAX_NOTE:
        raise ConfigError(f"note: at most {MAX_NOTE} characters")
    if len(tags) > MAX_TAGS:
        raise ConfigError(f"tags: at most {MAX_TAGS}")
    if wrong := [tag for tag in tags if len(tag) > MAX_TAG or "," in tag or not tag.isprintable()]:
        raise ConfigError(f"tag {wrong[0][:60]!r}: one line of at most {MAX_TAG} characters, without commas")
    before = read(folder)
    if before.version != version:
        raise NotesChanged(before)
    after = Notes(note=note.replace("\r\n", "\n"), tags=tags, version=version + 1, by=by, at=at)
    write_file(folder / FILE, after.model_dump_json() + "\n")
    return after
