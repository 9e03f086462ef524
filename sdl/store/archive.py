"""Packing finished runs into `RUN.zip` beside their directories, and restoring them.

At every moment the archive or the directory is complete: the archive is written under another name, compared with the
files, and renamed; only then is the directory moved away and removed. If the process is killed in between, the run is
packed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdl.errors import ConfigError, RecordError, translated_os_errors
from sdl.store import record
from sdl.store.archived import WHAT, archive_of, is_archived, unpack
from sdl.store.lock import ATTENDED, Lock
from sdl.store.plainfile import open_existing
from sdl.store.zipfiles import BLOCK, UNREADABLE, entries_of

LEFT_OUT = (record.LOCK, ATTENDED)
MARK = ".archiving-"
"""Begins the names of files and directories that are about to appear or to be removed."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An archived run: its archive, and the bytes before and after."""

    archive: Path
    before: int
    after: int


def pack(folder: Path) -> Packed:
    """Archive a finished run.

    Raises:
        ConfigError: the run is not finished, or holds something other than files.
        InUse: a process is writing to it.
        Damaged, RecordError: its record is damaged, or the archive cannot be written. The run is as it was.
    """
    if not (folder / record.FILE).is_file():
        raise ConfigError(f"{folder}: no run (no {record.FILE})")
    lock = Lock(folder / record.LOCK, "to archive it")
    try:
        checked = record.check(folder)
        if not checked.finished or not checked.sealed:
            why = "is not finished" if not checked.finished else f"has no {record.SEAL}, as a crash leaves it"
            raise ConfigError(f"{folder}: {why}; only finished and sealed runs are archived")
        with translated_os_errors(archive_of(folder), kind=RecordError):
            return _pack(folder)
    finally:
        lock.release()


def _pack(folder: Path) -> Packed:
    target, draft = archive_of(folder), folder.with_name(f"{MARK}{folder.name}.zip")
    before = _files(folder)
    hashes: dict[str, str] = {}
    try:
        with draft.open("wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
                for name in before:
                    hashes[name] = _add(archive, folder, name)
            stream.flush()
            os.fsync(stream.fileno())
        if found := _differences(draft, hashes):
            raise RecordError(
                f"{draft}: differs from what was written ({found}); the disk may be failing. Nothing was removed"
            )
        removed = folder.with_name(MARK + folder.name)
        shutil.rmtree(removed, ignore_errors=True)  # left by a kill, after its archive was complete
        draft.replace(target)
        record.sync_folder(folder.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder.rename(removed)  # from now on nobody finds it by its name; what was changed until then is compared
    if _files(removed) != before:
        removed.rename(folder)
        target.unlink()
        raise RecordError(f"{folder}: its files were changed meanwhile; try again")
    size = target.stat().st_size
    record.sync_folder(folder.parent)
    shutil.rmtree(removed, ignore_errors=True)
    return Packed(target, sum(size for size, _ in before.values()), size)


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """The files of a run, with size and time.

    Raises:
        ConfigError: something in it is a link, or no file.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        info, name = path.lstat(), path.relative_to(folder).as_posix()
        if stat.S_ISDIR(info.st_mode) or name in LEFT_OUT:
            continue
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(f"{path}: a link or not a regular file; move it away before archiving the run")
        found[name] = (info.st_size, info.st_mtime_ns)
    return found


def _add(archive: zipfile.ZipFile, folder: Path, name: str) -> str:
    """Add a file; its sha256."""
    digest = hashlib.sha256()
    info = zipfile.ZipInfo.from_file(folder / name, name, strict_timestamps=False)
    info.compress_type = zipfile.ZIP_DEFLATED
    with open_existing(folder / name) as stream, archive.open(info, "w") as copy:
        while block := stream.read(BLOCK):
            digest.update(block)
            copy.write(block)
    return digest.hexdigest()


def _differences(source: Path, hashes: Mapping[str, str]) -> str:
    """What in an archive is not as the files of these hashes; empty if nothing."""
    found = {}
    try:
        with entries_of(source, WHAT) as entries:
            for name, entry in entries.items():
                digest = hashlib.sha256()
                with entry.open() as stream:
                    while block := stream.read(BLOCK):
                        digest.update(block)
                found[name.as_posix()] = digest.hexdigest()
    except UNREADABLE as error:
        return str(error)
    return ", ".join(sorted(name for name in {*found, *hashes} if found.get(name) != hashes.get(name)))


def restore(folder: Path) -> Path:
    """Unpack an archived run to `folder`, the directory that it had, and remove its archive.

    Raises:
        ConfigError: the run is not archived, or the archive is not safe to unpack.
        Damaged, RecordError: archive or record is damaged, or cannot be written. The archive is unchanged.
    """
    source = archive_of(folder)
    if not is_archived(folder):
        raise ConfigError(f"{folder}: is not archived")
    place = folder.with_name(MARK + folder.name)
    shutil.rmtree(place, ignore_errors=True)
    try:
        unpack(source, place)
        record.check(place)
        for below in {path.parent for path in place.rglob("*")}:
            record.sync_folder(below)
        place.rename(folder)
        record.sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    with contextlib.suppress(OSError):  # an archive beside a directory counts for nothing
        source.unlink()
    return folder
