"""Safe reading of ZIP archives: names that leave the archive, links, encrypted files and bombs are refused."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from sdl.errors import ConfigError
from sdl.store.plainfile import open_existing, open_new

BLOCK = 1 << 20

MOST_FILES = 10_000
MOST_BYTES = 10 << 30
MOST_RATIO, UNSUSPICIOUS = 100, 100 << 20  # an archive may unpack to so many times its size, or to so many bytes
# What zipfile raises for archives that it cannot read: NotImplementedError for a compression that it does not know,
# RuntimeError for an encrypted member.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive or a directory: its size in bytes, and how it is opened."""

    size: int
    open: Callable[[], IO[bytes]]


def copy_out(source: Path, name: PurePosixPath, entry: Entry, target: Path) -> str:
    """Copy a file of an archive to a new file, durably; return its SHA-256 in hexadecimal digits.

    Raises:
        ConfigError: the file is larger than the archive says.
        OSError: it cannot be written. UNREADABLE: it cannot be read.
    """
    digest, left = hashlib.sha256(), entry.size
    target.parent.mkdir(parents=True, exist_ok=True)
    with entry.open() as stream, open_new(target) as copy:
        while block := stream.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise ConfigError(f"{source}: {name} is larger than the archive says")
            digest.update(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest()


@contextlib.contextmanager
def entries_of(source: Path, what: str) -> Iterator[dict[PurePosixPath, Entry]]:
    """The files of an archive, by name; `what` is the expected kind for the message, such as `.eln file`.

    Raises:
        ConfigError: it is no archive, or not safe to unpack. OSError: it cannot be read.
    """
    with open_existing(source, follow=True) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (*UNREADABLE, OverflowError) as error:
            raise ConfigError(f"{source}: no {what}, which is a ZIP archive: {error}") from error
        with archive:
            allowed = min(max(MOST_RATIO * source.stat().st_size, UNSUSPICIOUS), MOST_BYTES)
            yield limited(source, _entries(source, archive, what), allowed)


def limited(source: Path, entries: dict[PurePosixPath, Entry], allowed: int) -> dict[PurePosixPath, Entry]:
    """The entries, unless they are too many or too large.

    Raises:
        ConfigError: they are too many or too large.
    """
    total = sum(entry.size for entry in entries.values())
    if total > allowed or len(entries) > MOST_FILES:
        raise ConfigError(
            f"{source}: {len(entries)} files with {total / 1e6:.0f} MB when unpacked; allowed are {MOST_FILES} files "
            f"and {allowed / 1e6:.0f} MB"
        )
    return entries


def _entries(source: Path, archive: zipfile.ZipFile, what: str) -> dict[PurePosixPath, Entry]:
    """The files of an archive, by name; directories are left out."""
    entries: dict[PurePosixPath, Entry] = {}
    for info in archive.infolist():
        name, path = info.filename, PurePosixPath(info.filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
        if not inside or "\\" in name or ":" in path.parts[0]:
            raise ConfigError(f"{source}: the name {name!r} points outside the archive")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ConfigError(f"{source}: {name} is a link or not a regular file")
        if info.flag_bits & 1:
            raise ConfigError(f"{source}: {name} is encrypted; decrypt it first")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ConfigError(f"{source}: {name} is compressed by a method that {what}s do not use")
        if info.is_dir():
            continue
        if path in entries:
            raise ConfigError(f"{source}: the name {name} occurs twice")
        entries[path] = Entry(info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]
    return entries
