"""Runs on the disk, looked at."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scripted

import sdl
from sdl import runner
from sdl.core.events import Event, Opened, Proposed, Stopped
from sdl.errors import Busy, ConfigError, Damaged, RecordError
from sdl.types import Outcome


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the scripted plant with a failed attempt in it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        scripted.register(monkeypatch)
        tree = scripted.campaign(scripted.with_script(None, Busy("later")), average=2, confirm=1)
        return Path(runner.run(tree, runs=tmp_path_factory.mktemp("runs")).run)


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


def test_a_channel_with_the_name_of_another_column_is_named_and_never_mixed_up_with_it(folder: Path) -> None:
    run = sdl.open_run(folder)
    channels = [{**item, "name": "at"} for item in run.opened.instrument["channels"][:1]]
    run.opened = replace(run.opened, instrument={**run.opened.instrument, "channels": channels})
    with pytest.raises(ConfigError, match=r"^at: also the name of a column of the table"):
        run.rows()


def test_an_unfinished_run_can_be_looked_at_while_it_grows(folder: Path, tmp_path: Path) -> None:
    raw = (folder / "record.jsonl").read_bytes()
    (tmp_path / "record.jsonl").write_bytes(raw[: len(raw) // 2])
    run = sdl.open_run(tmp_path)
    assert run.result.outcome is None
    assert run.result.reason == "not ended yet"
    assert not (tmp_path / "record.torn-1").exists()  # looking mends nothing


def test_a_sound_line_that_cannot_follow_is_damage_with_its_number(folder: Path, tmp_path: Path) -> None:
    from sdl.store import record

    events = list(record.read(folder))
    fresh = record.Record.create(tmp_path / "run")
    for event in (*events[:3], *events[4:]):
        fresh.append(event)
    fresh.close()
    with pytest.raises(Damaged, match=r"record.jsonl:4: damaged: cannot follow"):
        sdl.open_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"instrument": {}}, "1: damaged: no instrument has these inputs and channels: 'inputs'"),
        ({"instrument": {"inputs": [{"name": "R", "low": "x"}], "channels": []}}, "1: damaged: no instrument .* low"),
        (
            {"config": {"stop": {"trials": "many"}}},
            r"1: damaged: no campaign can have this configuration: .* stop\.trials",
        ),
        ({"config": {"goal": 3}}, "1: damaged: no campaign can have this configuration: .* goal"),
    ],
)
def test_a_sound_line_that_no_campaign_wrote_is_damage(
    folder: Path, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(Damaged, match=why):
        sdl.open_run(_again(folder, tmp_path / "run", lambda event: event, **changes))


def test_a_changed_rule_that_no_campaign_has_is_damage(folder: Path, tmp_path: Path) -> None:
    from sdl.core.events import Resumed
    from sdl.store import record

    copy = _again(folder, tmp_path / "run", lambda event: None if isinstance(event, Stopped) else event)
    lines = len(list(record.read(copy)))
    with contextlib.closing(record.Record.open(copy)) as fresh:
        fresh.append(Resumed({}, {"stop.trials": "many"}, 1e9))
    with pytest.raises(Damaged, match=f":{lines + 1}: damaged: no campaign can have this configuration"):
        sdl.open_run(copy)


def test_a_proposal_of_other_inputs_is_damage(folder: Path, tmp_path: Path) -> None:
    def other(event: Event) -> Event:
        return dataclasses.replace(event, settings={"R": 0.5}) if isinstance(event, Proposed) else event

    with pytest.raises(Damaged, match=r"2: damaged: .* a proposal of R, not of R, G, B"):
        sdl.open_run(_again(folder, tmp_path / "run", other))


def _again(folder: Path, copy: Path, of: Callable[[Event], Event | None], **first: Any) -> Path:
    """A record rewritten with other events and sound hashes; None leaves one out."""
    from sdl.store import record

    events = [dataclasses.replace(e, **first) if isinstance(e, Opened) else e for e in record.read(folder)]
    fresh = record.Record.create(copy)
    for event in filter(None, map(of, events)):
        fresh.append(event)
    fresh.close()
    return copy


def test_a_run_that_never_began_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").touch()
    with pytest.raises(RecordError, match="empty"):
        sdl.open_run(tmp_path)


def test_a_run_is_opened_by_a_name_below_another_directory(folder: Path) -> None:
    below = folder.parent.parent
    assert sdl.open_run("latest", runs=below).folder == folder
    assert sdl.open_run("scripted", runs=str(below)).folder == folder


# --- the result ---------------------------------------------------------------------------------------------------


def test_a_run_without_any_reading_has_no_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.register(monkeypatch)
    tree = scripted.campaign(scripted.with_script(*[Busy("never")] * 9), retry={"times": 0}, stop={"failures": 2})
    done = runner.run(tree, runs=tmp_path)
    assert (done.outcome, done.best, done.error, done.miss) == (Outcome.FAILED, None, None, None)
    assert (done.measured, done.applied, done.worst, done.failed) == ({}, {}, None, 2)


def test_the_worst_channel_is_the_one_that_is_farthest_off_in_its_own_tolerance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.register(monkeypatch)
    goal = {"x": {"target": 15000, "tolerance": 6000}, "y": 15000, "z": 15000}
    tree = scripted.campaign(scripted.with_script(), goal=goal, stop={"trials": 1})
    done = runner.run(tree, runs=tmp_path)
    off = {name: abs(done.measured[name] / 15000 - 1) for name in "xyz"}
    assert done.error == pytest.approx(max(off.values()))
    assert done.worst == max("yz", key=lambda name: off[name])  # x is as far off, but may be
    assert done.miss == pytest.approx(off[done.worst] / 0.02)


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
