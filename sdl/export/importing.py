"""Import the runs of an `.eln` file or a crate that `sdl export` wrote: the same records, checked before they appear.

Only the files of the runs' records are read. Names that leave the archive, links, encrypted files and archives that
are larger than their size allows are refused. An imported run is marked, so that a resume or a replay asks for
`--trust` if its instrument names a program, code or an address.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from sdl.config.mistakes import NAME
from sdl.core.events import Opened
from sdl.drivers.trust import IMPORTED
from sdl.errors import ConfigError, Damaged, RecordError, translated_os_errors
from sdl.export.crate import METADATA, RECORD
from sdl.store import datasets, record
from sdl.store.plainfile import open_existing
from sdl.store.zipfiles import MOST_BYTES, UNREADABLE, Entry, copy_out, entries_of, limited

MOST_METADATA = 64 << 20
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
OF_LABS = ".lab"  # end of the names of the directories of labs (`sdl.lab.journal`)


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run of an archive.

    Attributes:
        folder: its directory.
        new: False if the same run was there before.
        checked: summary of its record.
    """

    folder: Path
    new: bool
    checked: record.Checked


def import_runs(source: Path, runs: Path) -> list[ImportedRun]:
    """Copy the runs of an `.eln` file, or of the directory of a crate, below `runs`.

    A run that exists already is left unchanged.

    Raises:
        ConfigError: the file is not such an archive, holds no run, or is not safe to unpack; or another run has that
            name.
        Damaged, RecordError: a file or record was changed. Nothing of that run is kept.
    """
    with _opened(source) as entries:
        found = sorted(place for place in entries if place.name == record.FILE and place.parent.name == RECORD)
        if not found:
            raise ConfigError(f"{source} holds no run of sdl (no {RECORD}/{record.FILE}); only such files are imported")
        return [_import(source, entries, place.parent, runs) for place in found]


def _import(source: Path, entries: Mapping[PurePosixPath, Entry], inside: PurePosixPath, runs: Path) -> ImportedRun:
    """Import the run whose files lie in the directory `inside`."""
    hashes = _hashes(source, entries, inside)
    name = inside.parent.name
    with translated_os_errors(runs, "created", RecordError):
        runs.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".import-", dir=runs))
    try:
        for path in [path for path in entries if path.is_relative_to(inside)]:
            below = path.relative_to(inside)
            if below.as_posix() == IMPORTED or below.suffix == ".lock":
                raise ConfigError(f"{source}: {path} cannot belong to a run")
            _copy(source, path, entries[path], place / below, hashes)
        checked = record.check(place)
        opened = datasets.read_opened(place / record.FILE)
        folder = runs / _campaign(source, name, opened) / name
        if folder.exists():
            if record.check(folder).sha != checked.sha:
                raise ConfigError(f"{folder} exists and is another run; move it away, or import into another --runs")
            return ImportedRun(folder, False, checked)
        record.write_file(place / IMPORTED, json.dumps({"from": source.name, "sha": checked.sha}) + "\n")
        with translated_os_errors(folder, "created", RecordError):
            folder.parent.mkdir(exist_ok=True)
            place.chmod(0o755)
            place.rename(folder)
            record.sync_folder(folder.parent)
        return ImportedRun(folder, True, checked)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _campaign(source: Path, run: str, opened: Opened | None) -> str:
    """The name of the campaign, if it and that of the run can be directories.

    The directory of a lab is refused: it holds access tokens, and what was imported there could be taken for one.
    """
    campaign = "" if opened is None else opened.campaign
    for text, allowed in ((campaign, re.compile(NAME)), (run, RUN_NAME)):
        if not allowed.fullmatch(text):
            raise ConfigError(f"{source}: {text!r} is no name of a run or a campaign")
    if campaign.lower().endswith(OF_LABS):
        raise ConfigError(
            f"{source}: {campaign!r} is not the name of a campaign: directories with this ending belong to labs"
        )
    return campaign


def _copy(source: Path, path: PurePosixPath, entry: Entry, target: Path, hashes: Mapping[str, str]) -> None:
    """Copy one file, and check its size and its hash."""
    try:
        digest = copy_out(source, path, entry, target)
    except UNREADABLE as error:
        raise Damaged(str(source), 1, f"{path} cannot be unpacked: {error}") from error
    except OSError as error:
        raise RecordError(f"{target}: cannot be written: {error.strerror}") from error
    if hashes.get(path.as_posix()) != digest:
        why = "is not as its sha256 says" if path.as_posix() in hashes else f"is not described in {METADATA}"
        raise Damaged(str(source), 1, f"{path} {why}")


def _hashes(source: Path, entries: Mapping[PurePosixPath, Entry], inside: PurePosixPath) -> dict[str, str]:
    """The sha256 of every file that the metadata of the crate describe, by its place in the archive.

    Raises:
        ConfigError: there are no metadata. Damaged: they cannot be read.
    """
    root = inside.parent.parent
    entry = entries.get(root / METADATA)
    if entry is None or entry.size > MOST_METADATA:
        raise ConfigError(f"{source}: no {METADATA} in the directory of the crate, or it is too large")
    try:
        with entry.open() as stream:
            graph = json.loads(stream.read(MOST_METADATA))["@graph"]
        files = {str(item["@id"]): item["sha256"] for item in graph if "sha256" in item}
    except (*UNREADABLE, KeyError, TypeError) as error:
        raise Damaged(str(source), 1, f"{METADATA} was changed: {error!r}") from error
    return {(root / unquote(place)).as_posix(): str(sha) for place, sha in files.items()}


@contextmanager
def _opened(source: Path) -> Iterator[dict[PurePosixPath, Entry]]:
    """The files of an archive or of a directory.

    Raises:
        ConfigError: it is neither, or not safe to unpack.
    """
    with translated_os_errors(source, "read"):
        if source.is_dir():
            yield limited(source, dict(_in_folder(source)), MOST_BYTES)
            return
        with entries_of(source, ".eln file") as entries:
            yield entries


def _in_folder(source: Path) -> Iterator[tuple[PurePosixPath, Entry]]:
    """The files of a directory, under its own name; links are refused."""
    for path in sorted(source.rglob("*")):
        place = PurePosixPath(source.name, path.relative_to(source).as_posix())
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            continue
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{source}: {place} is a link or not a regular file")
        yield place, Entry(status.st_size, lambda path=path: open_existing(path))  # type: ignore[misc]


def plain(imported: ImportedRun) -> dict[str, Any]:
    """An imported run as plain values, for JSON."""
    return {"run": str(imported.folder), "new": imported.new, "lines": imported.checked.lines}
