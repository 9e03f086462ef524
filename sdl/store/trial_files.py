"""Files that people put beside a trial: photos, spectra, notes; in the folder `files` of the run's directory.

A file is named `trial-0003-1a2b3c4d5e6f-photo.jpg`: the trial, the beginning of its SHA-256, and the name that it had,
reduced to safe characters. The record does not mention them. A client never names a path: it gets the names that are
listed, and a name is looked up in that list.
"""

from __future__ import annotations

import hashlib
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from sdl.errors import ConfigError, RecordError, translated_os_errors
from sdl.store.archived import refuse_change
from sdl.store.plainfile import open_existing
from sdl.store.record import write_file

FOLDER = "files"
MAX_BYTES = 10 * 1024 * 1024
MAX_FILES = 200  # of one run
MAX_NAME = 80
STORED = re.compile(r"trial-([0-9]{4,9})-([0-9a-f]{12})-([A-Za-z0-9][A-Za-z0-9._-]*)")

# How each type of file begins; for HEIC and WebP, what stands a few bytes later.
MAGIC: dict[str, tuple[tuple[int, bytes], ...]] = {
    "jpg": ((0, b"\xff\xd8\xff"),),
    "jpeg": ((0, b"\xff\xd8\xff"),),
    "png": ((0, b"\x89PNG\r\n\x1a\n"),),
    "gif": ((0, b"GIF8"),),
    "webp": ((0, b"RIFF"), (8, b"WEBP")),
    "heic": ((4, b"ftyp"),),
    "pdf": ((0, b"%PDF-"),),
    "xlsx": ((0, b"PK\x03\x04"),),
}
TEXT = ("txt", "csv", "tsv", "json", "dat", "md")
TYPES = (*MAGIC, *TEXT)


@dataclass(frozen=True, slots=True)
class TrialFile:
    """A file beside a trial.

    Attributes:
        trial: its number.
        name: its name as stored, unique in the run.
        title: the name that it had, reduced to safe characters.
        size: its size in bytes.
    """

    trial: int
    name: str
    title: str
    size: int


def add(folder: Path, trial: int, name: str, content: bytes) -> str:
    """Put a file beside a trial of a run; the same content and name again changes nothing.

    Args:
        folder: the run's directory.
        trial: its number.
        name: the name that it had; only the part after the last separator counts.
        content: content of the file.

    Returns:
        The name under which it is stored.

    Raises:
        ConfigError: the file is empty, too large or of a type that is not accepted, or the run has too many files;
            nothing was written.
        RecordError: it cannot be written.
    """
    refuse_change(folder)
    title = safe_name(name)
    _require_type(title, content)
    stored = f"trial-{trial:04d}-{hashlib.sha256(content).hexdigest()[:12]}-{title}"
    present = files(folder)
    if any(one.name == stored for one in present):
        return stored
    if len(present) >= MAX_FILES:
        raise ConfigError(f"the run has {MAX_FILES} files already, and may not have more")
    place = folder / FOLDER
    with translated_os_errors(place, "created", RecordError):
        place.mkdir(exist_ok=True)
        if not stat.S_ISDIR(place.lstat().st_mode):
            raise RecordError(f"{place}: is no directory (a link is not followed)")
    write_file(place / stored, content)
    return stored


def files(folder: Path) -> list[TrialFile]:
    """The files beside the trials of a run, by trial and name; links and other things in the folder are left out."""
    place = folder / FOLDER
    try:
        if not stat.S_ISDIR(place.lstat().st_mode):
            return []
        entries = sorted(place.iterdir())
    except OSError:
        return []
    found = []
    for path in entries:
        info, match = path.lstat(), STORED.fullmatch(path.name)
        if match and stat.S_ISREG(info.st_mode):
            found.append(TrialFile(int(match[1]), path.name, match[3], info.st_size))
    return sorted(found, key=lambda one: (one.trial, one.name))


def read(folder: Path, name: str) -> bytes:
    """The content of a listed file.

    Raises:
        ConfigError: there is no such file. RecordError: it cannot be read.
    """
    if not any(one.name == name for one in files(folder)):
        raise ConfigError("no such file")
    with translated_os_errors(name, "read", RecordError), open_existing(folder / FOLDER / name) as stream:
        return stream.read(MAX_BYTES)


def safe_name(name: str) -> str:
    """The last part of a file's name in letters, digits, `.`, `_` and `-`, its extension in lower case.

    Raises:
        ConfigError: its extension is not accepted.
    """
    last = re.split(r"[/\\]", name)[-1]
    plain = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode()
    stem, dot, end = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).rpartition(".")
    if not dot or end.lower() not in TYPES:
        raise ConfigError(f"{last[:60]!r}: no accepted type of file; accepted: {', '.join(TYPES)}")
    stem = re.sub(r"\.{2,}", ".", stem).strip("._-")[: MAX_NAME - len(end) - 1]
    return f"{stem or 'file'}.{end.lower()}"


def _require_type(title: str, content: bytes) -> None:
    """Refuse content that is empty, too large, or not of the type that the name says."""
    end = title.rpartition(".")[2]
    if not content:
        raise ConfigError(f"{title}: empty")
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{title}: larger than {MAX_BYTES // 1024**2} MB")
    if end in MAGIC:
        if not all(content[at : at + len(sign)] == sign for at, sign in MAGIC[end]):
            raise ConfigError(f"{title}: its content is not of the type {end}")
        return
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ConfigError(f"{title}: its content is no text in UTF-8")
