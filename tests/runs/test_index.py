"""The index of runs: made from records alone, kept up to date, and rebuilt if its file is lost or damaged."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sdl.core.events import Event, Stopped
from sdl.runs import notes
from sdl.runs.index import Index, began_before, list_indexed
from sdl.runs.listing import list_row
from sdl.runs.query import Query
from sdl.store.lock import Lock, is_abandoned
from sdl.store.resolve import folders
from tests.web.web_kit import Append, copy, real


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Event]:
    return real(tmp_path_factory.mktemp("real"))


@pytest.fixture
def runs(tmp_path: Path, events: Sequence[Event]) -> Path:
    place = tmp_path / "runs"
    for day in range(1, 6):
        copy(events, place, "evening" if day % 2 else "day_2", f"202611{day:02}T120000.000000Z-a{day}")
    return place


def index(runs: Path) -> Index:
    run_index = Index(runs, runs / ".sdl-cache")
    run_index.refresh()
    return run_index


def names(run_index: Index, **query: str) -> list[str]:
    return [row["run"].partition("Z-")[2] for row in run_index.page(Query(**query), 1, 50)[0]]


def test_it_says_of_a_run_what_the_list_says(runs: Path) -> None:
    (newest, *_), count = index(runs).page(Query(), 1, 2)
    list_entry = list_row(runs / newest["campaign"] / newest["run"])
    assert count == 5
    assert newest["run"].endswith("a5")
    for mine, theirs in (("outcome", "outcome"), ("trials", "trials"), ("error", "worst_error"), ("goal", "goal")):
        assert newest[mine] == list_entry[theirs]


def test_pages_go_on_where_the_one_before_ended(runs: Path) -> None:
    run_index = index(runs)
    pages = [run_index.page(Query(), number, 2)[0] for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len({row["run"] for page in pages for row in page}) == 5


def test_words_outcome_solver_dates_and_tags_filter(runs: Path) -> None:
    notes.write(
        runs / "evening" / "20261103T120000.000000Z-a3", "the Blue filter was in", ["good%", "x"], 0, "ada", 5.0
    )
    run_index = index(runs)
    assert names(run_index, text="EVENING") == ["a5", "a3", "a1"]
    assert names(run_index, text="evening blue") == ["a3"]
    assert names(run_index, text="%") == ["a3"], "a sign of SQL's is a sign"
    assert names(run_index, text="day_2") == ["a4", "a2"]
    assert names(run_index, text="evenin_") == []
    assert names(run_index, tag="good%") == ["a3"]
    assert names(run_index, outcome="reached", solver="linear", since="2026-11-02", until="2026-11-04") == [
        "a4",
        "a3",
        "a2",
    ]
    assert names(run_index, outcome="failed") == []
    assert run_index.choices("tag") == ["good%", "x"]


def test_only_what_has_changed_is_read_again(runs: Path) -> None:
    run_index = index(runs)
    run_index.refresh()
    assert run_index.total == 0
    notes.write(runs / "evening" / "20261101T120000.000000Z-a1", "", ["new"], 0, "ada", 5.0)
    run_index.refresh()
    assert run_index.total == 1
    assert names(run_index, tag="new") == ["a1"]


def test_a_run_that_is_gone_is_gone(runs: Path) -> None:
    run_index = index(runs)
    for path in sorted((runs / "evening" / "20261105T120000.000000Z-a5").iterdir()):
        path.unlink()
    run_index.refresh()
    assert names(run_index) == ["a4", "a3", "a2", "a1"]


@pytest.mark.parametrize("how", ["deleted", "text", "cut", "another version", "a page of zeros"])
def test_whatever_becomes_of_its_file_it_is_made_anew(runs: Path, how: str) -> None:
    run_index = index(runs)
    file = runs / ".sdl-cache" / "index.sqlite"
    whole = file.read_bytes()
    if how == "deleted":
        file.unlink()
    elif how == "text":
        file.write_text("no index\n" * 5000)
    elif how == "cut":
        file.write_bytes(whole[:5000])
    elif how == "another version":
        db = sqlite3.connect(file)
        db.execute("PRAGMA user_version = 99")
        db.close()
    else:
        file.write_bytes(whole[:4096] + b"\0" * (len(whole) - 4096))
    assert isinstance(names(run_index), list), "asking never fails"
    while not run_index.poke(5.0):
        pass
    assert names(run_index) == ["a5", "a4", "a3", "a2", "a1"]


def test_a_damaged_record_is_listed_with_its_reason_and_hides_no_other(runs: Path) -> None:
    file = runs / "evening" / "20261103T120000.000000Z-a3" / "record.jsonl"
    file.write_bytes(file.read_bytes().replace(b"16384", b"16385", 1))
    (row, *_) = [r for r in index(runs).page(Query(), 1, 9)[0] if r["outcome"] == "unreadable"]
    assert "record.jsonl:1: damaged" in row["reason"]
    assert len(names(index(runs))) == 5


def test_a_run_is_running_for_as_long_as_its_process_is_there(tmp_path: Path, events: Sequence[Event]) -> None:
    growing = Append(events, tmp_path, "live", "20261123T120000.000000Z-b1")
    growing.write(3)
    run_index = index(tmp_path)
    assert [row["run"][-2:] for row in run_index.live()] == ["b1"]
    growing.close()
    (growing.folder / "record.lock").write_text("process 999999999 on nowhere-at-all since now")
    run_index.refresh()
    assert run_index.live() == []
    assert names(run_index, outcome="unfinished") == ["b1"]


def test_a_process_that_has_the_number_of_one_that_is_gone_is_not_taken_for_it(
    tmp_path: Path, events: Sequence[Event]
) -> None:
    growing = Append(events, tmp_path, "live", "20261123T120000.000000Z-b1")
    growing.write(3)
    named = (growing.folder / "record.lock").read_bytes()
    growing.close()
    assert (growing.folder / "record.lock").read_bytes() == named, "it names this process, which is alive"
    assert index(tmp_path).live() == []
    assert is_abandoned(growing.folder)
    lock = Lock(growing.folder / "record.lock")
    assert len(index(tmp_path).live()) == 1
    assert not is_abandoned(growing.folder)
    lock.release()


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["record.jsonl", "record.lock", "notes.json"])
def test_a_pipe_in_a_run_keeps_no_other_from_being_listed(tmp_path: Path, events: Sequence[Event], name: str) -> None:
    copy(events[:-1], tmp_path, "c", "20261123T120000.000000Z-b1")
    folder = copy(events[:-1], tmp_path, "c", "20261123T130000.000000Z-b2")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    run_index: list[str] = []
    thread = threading.Thread(target=lambda: run_index.extend(names(index(tmp_path))), daemon=True)
    thread.start()
    thread.join(60)
    assert sorted(run_index) == ["b1", "b2"]


def test_a_directory_of_a_hostile_name_is_listed_as_it_is(tmp_path: Path, events: Sequence[Event]) -> None:
    stopped = events[-1]
    assert isinstance(stopped, Stopped)
    for name in ("<img src=x onerror=alert(1)>", "a'; DROP TABLE runs; --", "half \udce4 sign"):
        try:
            copy(events, tmp_path, "plain", f"20261123T120000.000000Z-{abs(hash(name)) % 1000}")
            (tmp_path / "plain").rename(tmp_path / name)
        except OSError:
            pytest.skip("this file system does not take such names")
    run_index = index(tmp_path)
    listed = {row["campaign"] for row in run_index.page(Query(), 1, 9)[0]}
    assert {"<img src=x onerror=alert(1)>", "a'; DROP TABLE runs; --"} < listed
    assert len(listed) == 3


def test_where_the_runs_cannot_be_written_there_is_an_index_all_the_same(runs: Path, tmp_path: Path) -> None:
    elsewhere = Index(runs, tmp_path / "elsewhere" / "deep")
    while not elsewhere.poke(5.0):
        pass
    assert len(names(elsewhere)) == 5
    assert not (runs / ".sdl-cache").exists()


# --- sdl list -----------------------------------------------------------------------------------------------------


def test_a_list_from_the_index_is_the_one_from_the_records(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    direct = [list_row(folder) | {"tags": []} for folder in reversed(folders(runs))]
    assert list_indexed(runs) == direct
    monkeypatch.setattr("sdl.runs.index.read_row", lambda folder: pytest.fail(f"{folder} was read again"))
    assert list_indexed(runs) == direct
    moved = runs.rename(runs.with_name("moved"))
    assert [row["run"] for row in list_indexed(moved)] == [row["run"].replace("/runs/", "/moved/") for row in direct]


def test_only_runs_that_began_earlier_are_listed(runs: Path) -> None:
    assert [row["id"] for row in list_indexed(runs, Query(before="20261103T120000.5"))] == ["a3", "a2", "a1"]
    age = (datetime.now(UTC) - datetime(2026, 11, 3, 18, tzinfo=UTC)).total_seconds()
    assert [row["id"] for row in list_indexed(runs, Query(before=began_before(age)))] == ["a3", "a2", "a1"]


def test_without_an_index_that_can_be_written_the_records_are_read(runs: Path) -> None:
    (runs / ".sdl-cache").write_text("not a folder", encoding="utf-8")
    assert [row["id"] for row in list_indexed(runs)] == ["a5", "a4", "a3", "a2", "a1"]
    assert [row["id"] for row in list_indexed(runs, Query(before="20261102T2"))] == ["a2", "a1"]
