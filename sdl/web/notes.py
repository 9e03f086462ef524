"""What people say about a run: a note and tags, in `notes.json` beside its record and never in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sdl.errors import ConfigError
from sdl.store.plainfile import reading
from sdl.store.record import write_file

FILE = "notes.json"
MAX_NOTE, MAX_TAGS, MAX_TAG = 8000, 20, 40
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Notes:
    """The present state.

    Attributes:
        note: free text, of several lines.
        tags: in order, none twice.
        version: 0 before the first; one more with every change, so that nobody overwrites what they have not seen.
        by, at: who changed it last, and when in seconds since 1970 UTC.
    """

    note: str = ""
    tags: tuple[str, ...] = ()
    version: int = 0
    by: str = ""
    at: float = 0.0


def read(folder: Path) -> Notes:
    """The notes of a run; empty where there are none.

    Raises:
        ConfigError: the file is not as we write it.
    """
    path = folder / FILE
    try:
        with reading(path) as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES // 1024} kB")
        told = json.loads(raw)
        tags = tuple(told["tags"])
        found = Notes(told["note"], tags, told["version"], told["by"], told["at"])
        words = (found.note, found.by, *tags)
        if not all(isinstance(word, str) for word in words) or not isinstance(found.version, int):
            raise ValueError("a value of another kind")
        return Notes(found.note, tags, found.version, found.by, float(found.at))
    except FileNotFoundError:
        return Notes()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{FILE} cannot be read ({error}); mend it, or move it away") from error


def write(folder: Path, note: str, tags: Sequence[str], version: int, by: str, at: float) -> Notes:
    """Replaces the notes of a run.

    Args:
        folder: the run's directory.
        note: of at most `MAX_NOTE` signs.
        tags: at most `MAX_TAGS` of at most `MAX_TAG` signs each, without commas.
        version: that of the notes that were seen.
        by: who says so.
        at: seconds since 1970 UTC.

    Raises:
        ConfigError: too long, or somebody else changed them meanwhile; nothing was changed.
        RecordError: they cannot be written.
    """
    tags = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(note) > MAX_NOTE:
        raise ConfigError(f"the note: at most {MAX_NOTE} signs")
    if len(tags) > MAX_TAGS:
        raise ConfigError(f"tags: at most {MAX_TAGS}")
    if wrong := [tag for tag in tags if len(tag) > MAX_TAG or "," in tag or not tag.isprintable()]:
        raise ConfigError(f"tag {wrong[0][:60]!r}: one line of at most {MAX_TAG} signs, without commas")
    before = read(folder)
    if before.version != version:
        raise ConfigError(f"{before.by or 'somebody'} changed the notes meanwhile; load the page again")
    after = Notes(note.replace("\r\n", "\n"), tags, version + 1, by, at)
    write_file(folder / FILE, json.dumps(asdict(after)) + "\n")
    return after
