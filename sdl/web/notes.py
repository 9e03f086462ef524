"""Note and tags of a run, in `notes.json` beside its record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sdl.errors import ConfigError
from sdl.store.plainfile import open_existing
from sdl.store.record import write_file

FILE = "notes.json"
MAX_NOTE, MAX_TAGS, MAX_TAG = 8000, 20, 40
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Notes:
    """Note and tags of a run.

    Attributes:
        note: free text, possibly of several lines.
        tags: in order, without duplicates.
        version: number of changes; a change based on an older version is refused.
        by, at: author and time of the last change, seconds since 1970 UTC.
    """

    note: str = ""
    tags: tuple[str, ...] = ()
    version: int = 0
    by: str = ""
    at: float = 0.0


def read(folder: Path) -> Notes:
    """The notes of a run; empty if there are none.

    Raises:
        ConfigError: the file is invalid.
    """
    path = folder / FILE
    try:
        with open_existing(path) as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES // 1024} kB")
        plain = json.loads(raw)
        note, tags, version, by = plain["note"], tuple(plain["tags"]), plain["version"], plain["by"]
        if not all(isinstance(text, str) for text in (note, by, *tags)) or not isinstance(version, int):
            raise ValueError("a value of the wrong type")
        return Notes(note, tags, version, by, float(plain["at"]))
    except FileNotFoundError:
        return Notes()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{FILE} cannot be read ({error}); repair it, or move it away") from error


def write(folder: Path, note: str, tags: Sequence[str], version: int, by: str, at: float) -> Notes:
    """Replace the notes of a run.

    Args:
        folder: directory of the run.
        note: at most `MAX_NOTE` characters.
        tags: at most `MAX_TAGS` of at most `MAX_TAG` characters each, without commas.
        version: of the notes that the change is based on.
        by: author.
        at: seconds since 1970 UTC.

    Raises:
        ConfigError: too long, or changed by another author meanwhile; nothing was written.
        RecordError: the file cannot be written.
    """
    tags = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(note) > MAX_NOTE:
        raise ConfigError(f"note: at most {MAX_NOTE} characters")
    if len(tags) > MAX_TAGS:
        raise ConfigError(f"tags: at most {MAX_TAGS}")
    if wrong := [tag for tag in tags if len(tag) > MAX_TAG or "," in tag or not tag.isprintable()]:
        raise ConfigError(f"tag {wrong[0][:60]!r}: one line of at most {MAX_TAG} characters, without commas")
    before = read(folder)
    if before.version != version:
        raise ConfigError(f"{before.by or 'another user'} changed the notes meanwhile; reload the page")
    after = Notes(note.replace("\r\n", "\n"), tags, version + 1, by, at)
    write_file(folder / FILE, json.dumps(asdict(after)) + "\n")
    return after
