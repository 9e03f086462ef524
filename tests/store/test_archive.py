"""Archived runs: whole at any moment, listed and opened as before, changed by nothing, and safe to unpack."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import sdl
from sdl.core.events import Event
from sdl.errors import ConfigError, Damaged, InUse, RecordError, SdlError
from sdl.runs import notes
from sdl.runs.index import list_indexed
from sdl.runs.query import Query
from sdl.store import archive, archived, record, trial_files, zipfiles
from sdl.store.archived import archive_of, is_archived
from sdl.store.lock import Lock
from sdl.store.resolve import every_run, find, folders, locate
from tests.web.web_kit import copy, real

STAMP = "20261101T120000.000000Z-a1"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Event]:
    return real(tmp_path_factory.mktemp("real"))


@pytest.fixture
def runs(tmp_path: Path, events: Sequence[Event]) -> Path:
    folder = copy(events, tmp_path / "runs", "night", STAMP)
    notes.write(folder, "the blue filter", ["blue"], 0, "ada", 5.0)
    trial_files.add(folder, 0, "cell.txt", b"a photo in words")
    return tmp_path / "runs"


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a run, but for its lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_run_that_is_archived_and_restored_is_the_same(runs: Path) -> None:
    folder = runs / "night" / STAMP
    before, sha = contents(folder), sdl.open_run(folder).sha
    packed = archive.pack(folder)
    assert not folder.exists()
    assert packed.after == archive_of(folder).stat().st_size < packed.before
    assert [path.name for path in folder.parent.iterdir()] == [f"{STAMP}.zip"]
    copied = find("night", runs)
    assert contents(copied) == before
    assert record.check(copied).sealed, "its chain is kept"
    assert archive.restore(locate("night", runs)) == folder
    assert contents(folder) == before
    assert sdl.open_run("night", runs=runs).sha == sha
    assert [path.name for path in folder.parent.iterdir()] == [STAMP]


@pytest.mark.parametrize(
    "name", ["latest", "night", "night/latest", "a1", f"night/{STAMP}", f"night/{STAMP}.zip", "{}"]
)
def test_it_is_opened_by_every_name_that_it_had(runs: Path, name: str) -> None:
    folder = runs / "night" / STAMP
    sha = sdl.open_run(folder).sha
    archive.pack(folder)
    for given in (name.format(folder), name.format(f"{folder}.zip")):
        assert sdl.open_run(given, runs=runs).sha == sha
    assert folders(runs) == []
    assert every_run(runs) == [folder]


def test_it_is_listed_and_found_as_before(runs: Path, events: Sequence[Event]) -> None:
    copy(events, runs, "night", STAMP.replace("-a1", "-b2"))
    before = list_indexed(runs)
    archive.pack(runs / "night" / STAMP)
    (runs / ".sdl-cache" / "index.sqlite").unlink()
    after = list_indexed(runs)
    assert [{key: row[key] for key in before[0] if key != "archived"} for row in after] == before
    assert [row.get("archived", False) for row in after] == [row["id"] == "a1" for row in after]
    assert [row["id"] for row in list_indexed(runs, Query(tag="blue"))] == ["a1"]
    assert [row["id"] for row in list_indexed(runs, Query(text="filter"))] == ["a1"]
    assert [row["id"] for row in sdl.list_runs(runs)] == [row["id"] for row in after]


def test_nothing_writes_to_an_archived_run(runs: Path) -> None:
    archive.pack(runs / "night" / STAMP)
    copied = find("night", runs)
    for change in (
        lambda: record.Record.open(copied),
        lambda: notes.write(copied, "", [], 1, "ada", 6.0),
        lambda: trial_files.add(copied, 0, "more.txt", b"x"),
    ):
        with pytest.raises(RecordError, match=r"is archived and cannot be changed; restore it first"):
            change()


# What is left as it is ----------------------------------------------------------------------------------------------
def test_a_run_that_is_going_on_unfinished_or_unsealed_is_left_as_it_is(runs: Path, events: Sequence[Event]) -> None:
    folder = runs / "night" / STAMP
    before = contents(folder)
    lock = Lock(folder / "record.lock")
    with pytest.raises(InUse):
        archive.pack(folder)
    lock.release()
    seal = (folder / "record.seal").read_bytes()
    (folder / "record.seal").unlink()
    with pytest.raises(ConfigError, match=r"has no record\.seal"):
        archive.pack(folder)
    (folder / "record.seal").write_bytes(seal)
    unfinished = copy(events[:5], runs, "begun", STAMP)
    with pytest.raises(ConfigError, match="is not finished"):
        archive.pack(unfinished)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [STAMP]


def test_a_damaged_record_or_a_link_is_not_archived(runs: Path) -> None:
    folder = runs / "night" / STAMP
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="a link or not a regular file"):
        archive.pack(folder)
    (folder / "link").unlink()
    file = folder / "record.jsonl"
    file.write_bytes(file.read_bytes().replace(b"16384", b"16385", 1))
    with pytest.raises(Damaged):
        archive.pack(folder)
    assert not is_archived(folder)


def test_a_note_that_is_written_meanwhile_is_not_lost(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, compare = runs / "night" / STAMP, archive._differences

    def meanwhile(*given: object) -> str:
        notes.write(folder, "written meanwhile", [], 1, "ada", 7.0)
        return compare(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(archive, "_differences", meanwhile)
    with pytest.raises(RecordError, match="its files were changed meanwhile"):
        archive.pack(folder)
    assert notes.read(folder).note == "written meanwhile"
    assert [path.name for path in folder.parent.iterdir()] == [STAMP]


def test_an_archive_that_is_not_what_was_written_removes_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, add = runs / "night" / STAMP, archive._add
    before = contents(folder)
    monkeypatch.setattr(archive, "_add", lambda *given: add(*given)[::-1])
    with pytest.raises(RecordError, match="differs from what was written"):
        archive.pack(folder)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [STAMP]


# Kills --------------------------------------------------------------------------------------------------------------
KILLED = """
import os, sys
from pathlib import Path
from sdl.store import archive, archived, record

folder, verb = Path(sys.argv[1]), sys.argv[2]
sha = record.check(archived.opened(folder)).sha
names = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "open", "ftruncate", "chmod")
calls = {name: getattr(os, name) for name in names}
for moment in range(1, 1000):
    child = os.fork()
    if not child:
        count = 0

        def counted(name):
            def call(*given, **more):
                global count
                count += 1
                if count == moment:
                    os.kill(os.getpid(), 9)
                return calls[name](*given, **more)
            return call

        for name in names:
            setattr(os, name, counted(name))
        (archive.pack if verb == "pack" else archive.restore)(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found = record.check(archived.opened(folder))
    assert found.sha == sha and found.sealed, moment
    if status == 0:
        break
    assert status == 9, (moment, status)
    if verb == "pack" and not folder.is_dir():  # only the removal was cut short
        archive.restore(folder)
    if verb == "restore" and folder.is_dir():
        archive.pack(folder)
print(moment)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes of POSIX")
@pytest.mark.parametrize("verb", ["pack", "restore"])
def test_a_kill_at_any_moment_loses_nothing(runs: Path, verb: str) -> None:
    folder = runs / "night" / STAMP
    before = contents(folder)
    if verb == "restore":
        archive.pack(folder)
    command = [sys.executable, "-c", KILLED, str(folder), verb]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10, "killed at that many moments"
    assert contents(archived.opened(folder)) == before
    assert is_archived(folder) == (verb == "pack")
    assert [path.name for path in every_run(runs)] == [STAMP], "what a kill leaves behind is no run"


# Archives by others -------------------------------------------------------------------------------------------------
def members(*names: str) -> Callable[[zipfile.ZipFile], None]:
    return lambda target: [target.writestr(name, b"x") for name in names] and None


def link(target: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("record.jsonl")
    info.external_attr = 0o120777 << 16
    target.writestr(info, "/etc/passwd")


def bomb(target: zipfile.ZipFile) -> None:
    target.writestr("record.jsonl", bytes(zipfiles.UNSUSPICIOUS + 1), zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (members("../secret"), "points outside the archive"),
        (members("/tmp/secret"), "points outside the archive"),
        (members("a\\..\\..\\secret"), "points outside the archive"),
        (link, "a link or not a regular file"),
        (bomb, "MB when unpacked; allowed are"),
        (members("record.jsonl"), "empty: the process ended"),
        (members("notes.txt"), "record.jsonl: cannot be read"),
    ],
)
def test_an_archive_that_is_not_safe_or_holds_no_run_is_refused(
    tmp_path: Path, fill: Callable[[zipfile.ZipFile], None], said: str
) -> None:
    folder = tmp_path / "runs" / "night" / STAMP
    folder.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive_of(folder), "w") as target:
        fill(target)
    with pytest.raises(SdlError) as refused:
        sdl.open_run("night", runs=tmp_path / "runs")
    assert said in str(refused.value)
    (row,) = list_indexed(tmp_path / "runs")
    assert row["outcome"] == "unreadable"
    with pytest.raises(SdlError):
        archive.restore(folder)
    assert archive_of(folder).is_file(), "it is kept"
    assert not folder.exists()
    assert not list(tmp_path.rglob("secret"))


def test_a_damaged_archive_is_said_and_listed_as_unreadable(runs: Path) -> None:
    archive.pack(runs / "night" / STAMP)
    file = archive_of(runs / "night" / STAMP)
    raw = bytearray(file.read_bytes())
    raw[200:220] = bytes(20)
    file.write_bytes(raw)
    with pytest.raises(Damaged, match="cannot be unpacked"):
        find("night", runs)
    (row,) = list_indexed(runs)
    assert row["outcome"] == "unreadable"
    assert "cannot be unpacked" in row["reason"]
    file.write_bytes(b"no archive")
    with pytest.raises(ConfigError, match="no archived run, which is a ZIP archive"):
        find("night", runs)
