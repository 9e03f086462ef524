"""Archived runs: `RUN.zip` in the place of the directory of a run, and its unpacked copy below the cache.

A run is archived if its archive exists and its directory does not; if both exist, the directory counts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sdl.errors import ConfigError, Damaged, RecordError
from sdl.parallel import children
from sdl.store.zipfiles import UNREADABLE, copy_out, entries_of

CACHE = ".sdl-cache"
"""Cache directory below the runs; may be deleted at any time."""
SUFFIX = ".zip"
COPIES = "archived"  # below the cache
WHAT = "archived run"


def archive_of(folder: Path) -> Path:
    """The archive of a run with this directory."""
    return folder.with_name(folder.name + SUFFIX)


def is_archived(folder: Path) -> bool:
    """Whether the run that had this directory is archived."""
    return not os.path.isdir(folder) and os.path.isfile(archive_of(folder))


def archived(runs: Path, depth: str = "*/*") -> list[Path]:
    """The former directories of the archived runs below `runs`."""
    found = (path.with_name(path.name.removesuffix(SUFFIX)) for path in runs.glob(depth + SUFFIX))
    return [folder for folder in found if not _hidden(folder) and is_archived(folder)]


def _hidden(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.parent.name.startswith(".")


def opened(folder: Path) -> Path:
    """The directory of a run; for an archived run that of its unpacked copy, which is made if it is missing.

    Raises:
        Damaged, ConfigError: the archive is damaged, or not safe to unpack. RecordError: it cannot be unpacked.
    """
    if not is_archived(folder):
        return folder
    source = archive_of(folder)
    info = source.stat()
    below = (f"{info.st_size:x}-{info.st_mtime_ns:x}", folder.parent.name, folder.name)
    for cache in (folder.parent.parent / CACHE, Path(tempfile.gettempdir(), f"sdl-{_user()}", CACHE)):
        target = cache / COPIES / Path(*below)
        if target.is_dir():
            return target
        with contextlib.suppress(PermissionError):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=target.parent) as place:
                copy = Path(place, folder.name)
                unpack(source, copy)
                with contextlib.suppress(OSError):  # another process was quicker
                    copy.rename(target)
            return target
    raise RecordError(f"{source}: cannot be unpacked: neither the runs nor the temporary directory can be written to")


def _user() -> int | str:
    return os.getuid() if hasattr(os, "getuid") else "user"


@contextlib.contextmanager
def unpacked(folder: Path) -> Iterator[Path]:
    """The directory of a run; for an archived run that of a copy, which is removed afterwards.

    Raises:
        Damaged, ConfigError, RecordError: as `opened`.
    """
    if not is_archived(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sdl-archived-", dir=children.temporary_folder()) as place:
        copy = Path(place, folder.parent.name, folder.name)
        copy.parent.mkdir()
        unpack(archive_of(folder), copy)
        yield copy


def unpack(source: Path, target: Path) -> None:
    """Unpack an archive into a new directory, and make it durable.

    Raises:
        Damaged, ConfigError: the archive is damaged, or not safe to unpack. RecordError: a file cannot be written.
    """
    try:
        with entries_of(source, WHAT) as entries:
            target.mkdir()
            for name, entry in entries.items():
                copy_out(source, name, entry, target / name)
    except UNREADABLE as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, ConfigError):
            raise
        raise Damaged(str(source), 1, f"cannot be unpacked: {error}") from error
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise RecordError(f"{source}: cannot be unpacked: {error.strerror}") from error


def refuse_change(folder: Path) -> None:
    """Refuse to write to the unpacked copy of an archived run.

    Raises:
        RecordError: the directory is such a copy.
    """
    if CACHE in folder.absolute().parts:
        name = f"{folder.parent.name}/{folder.name}"
        raise RecordError(f"{name} is archived and cannot be changed; restore it first: sdl archive --restore {name}")
