"""Runs on the disk, looked at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import scripted

import sdl
from sdl import runner, runs
from sdl.errors import Busy, Damaged, RecordError
from sdl.events import Opened, Stopped
from sdl.types import Outcome


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the scripted plant with a failed attempt in it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        scripted.register(monkeypatch)
        tree = scripted.campaign(scripted.with_script(None, Busy("later")), average=2, confirm=1)
        return Path(runner.run(tree, runs=tmp_path_factory.mktemp("runs")).run)


def fake(root: Path, *names: str) -> None:
    """Empty runs of these names."""
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "record.jsonl").touch()


def test_a_run_is_opened_by_its_directory_or_its_record(folder: Path) -> None:
    assert sdl.open_run(folder).events == sdl.open_run(str(folder / "record.jsonl")).events


def test_a_run_tells_what_happened(folder: Path) -> None:
    run = sdl.open_run(folder)
    assert isinstance(run.opened, Opened)
    assert isinstance(run.events[-1], Stopped)
    assert run.result.outcome is Outcome.REACHED
    assert run.result.reached
    assert run.result.run == str(folder)
    assert run.result.measured == pytest.approx({"x": 15000, "y": 15000, "z": 15000}, rel=1e-3)
    assert list(run.proposals) == [0, 1, 2, 3, 4]
    assert [e.repeat for e in run.measured(4)] == [0, 1, 2, 3]
    assert len(run.measured()) == run.result.readings == 12
    assert [e.error for e in run.failed()] == ["Busy: later"]
    assert run.failed(3) == []
    assert run.campaign.history.X.shape == (12, 3)
    assert repr(run) == f"<Run {folder}: reached after 5 trials>"


def test_rows_are_flat_and_made_for_a_data_frame(folder: Path) -> None:
    rows = sdl.open_run(folder).rows()
    assert len(rows) == 12
    assert list(rows[0])[:10] == ["trial", "repeat", "attempt", "by", "R_asked", "G_asked", "B_asked", "R", "G", "B"]
    assert rows[0] | {"trial": 0, "by": "axis", "R": 0.1, "saturated": "", "fault": ""} == rows[0]
    assert json.loads(json.dumps(rows)) == rows


def test_an_unfinished_run_can_be_looked_at_while_it_grows(folder: Path, tmp_path: Path) -> None:
    raw = (folder / "record.jsonl").read_bytes()
    (tmp_path / "record.jsonl").write_bytes(raw[: len(raw) // 2])
    run = sdl.open_run(tmp_path)
    assert run.result.outcome is None
    assert run.result.reason == "unfinished"
    assert not (tmp_path / "record.torn-1").exists()  # looking mends nothing


def test_a_sound_line_that_cannot_follow_is_damage_with_its_number(folder: Path, tmp_path: Path) -> None:
    from sdl import record

    events = list(record.read(folder))
    fresh = record.Record.create(tmp_path / "run")
    for event in (*events[:3], *events[4:]):
        fresh.append(event)
    fresh.close()
    with pytest.raises(Damaged, match=r"record.jsonl:4: damaged: cannot follow"):
        sdl.open_run(tmp_path / "run")


def test_a_run_that_never_began_is_told_so(tmp_path: Path) -> None:
    fake(tmp_path, "a/1")
    with pytest.raises(RecordError, match="empty"):
        sdl.open_run(tmp_path / "a" / "1")


# --- by name ------------------------------------------------------------------------------------------------------


def test_a_part_of_a_name_that_only_one_has_finds_it(tmp_path: Path) -> None:
    fake(tmp_path, "led/20260101T000000Z-aaa111", "led/20260102T000000Z-bbb222", "dim/20260103T000000Z-ccc333")
    assert runs.find("bbb", tmp_path) == tmp_path / "led" / "20260102T000000Z-bbb222"
    assert runs.find("led/20260101", tmp_path).name == "20260101T000000Z-aaa111"
    assert runs.find("dim", tmp_path).name == "20260103T000000Z-ccc333"
    assert runs.find("latest", tmp_path).name == "20260103T000000Z-ccc333"
    assert [f.name[-6:] for f in runs.folders(tmp_path)] == ["aaa111", "bbb222", "ccc333"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("led", "fits 2 runs"), ("", "fits 2 runs"), ("x", "is no run"), ("a" * 5000, "is no run"), ("a\0b", "is no run")],
)
def test_a_name_that_fits_several_or_none_is_told(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, "led/20260101T000000Z-aaa111", "led/20260102T000000Z-bbb222")
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(RecordError, match=words):
        runs.find(name, tmp_path)


def test_without_any_run_there_is_no_latest(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no run"):
        runs.find("latest", tmp_path / "nowhere")


# --- the result ---------------------------------------------------------------------------------------------------


def test_a_run_without_any_reading_has_no_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.register(monkeypatch)
    tree = scripted.campaign(scripted.with_script(*[Busy("never")] * 9), retry={"times": 0}, stop={"failures": 2})
    done = runner.run(tree, runs=tmp_path)
    assert (done.outcome, done.best, done.error, done.miss) == (Outcome.FAILED, None, None, None)
    assert (done.measured, done.applied) == ({}, {})


def test_the_prior_s_rows_are_there_when_a_run_is_opened_and_their_loss_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.register(monkeypatch)
    tree: dict[str, Any] = scripted.campaign(scripted.with_script(), prior=[str(folder)])
    done = runner.run(tree, runs=tmp_path)
    opened = sdl.open_run(done.run)
    assert opened.campaign.history.prior_rows == 12
    assert opened.proposals[0].rows == 12
    shutil.move(Path(done.run) / "prior.jsonl", tmp_path / "elsewhere")
    with pytest.raises(sdl.SdlError):
        sdl.open_run(done.run)
