"""Asking and telling: one engine and one record, driven by the caller."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sdl
from sdl.asktell import OpenCampaign, Request, campaign
from sdl.core.campaign import State
from sdl.core.events import Attached, Corrected, Failed, Measured, Proposed, Skipped, Stopped
from sdl.errors import ConfigError, Damaged, InUse
from sdl.replay import replay
from sdl.runs.runs import Run, fold, open_run
from sdl.store import record
from sdl.types import Outcome

RIG: dict[str, Any] = {
    "name": "rig",
    "instrument": {
        "kind": "external",
        "inputs": {"red": {"low": 0, "high": 100, "unit": "uL"}, "blue": {"low": 0, "high": 100}},
        "channels": {"R": {"low": 0, "high": 1000}, "B": {}},
    },
    "goal": {"R": 300, "B": 200},
    "solver": "linear",
}


def plant(settings: Mapping[str, Any]) -> dict[str, float]:
    red, blue = settings["red"], settings["blue"]
    return {"R": 5 + 4 * red + blue, "B": 2 + 3 * blue + red * blue / 300}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def begun(runs: Path, **changes: Any) -> OpenCampaign:
    return sdl.open_campaign({**RIG, **changes}, runs=runs)


def finished(opened: OpenCampaign, most: int = 60) -> Run:
    """Performs the campaign to its end."""
    for _ in range(most):
        if (request := opened.ask()) is None:
            return open_run(opened.folder)
        opened.tell(request, plant(request.settings))
    raise AssertionError("it does not end")


def asked(opened: OpenCampaign) -> Request:
    request = opened.ask()
    assert request is not None
    return request


# The loop ---------------------------------------------------------------------------------------------------------
def test_asking_and_telling_reach_the_goal_as_a_run_that_is_driven_does(runs: Path) -> None:
    opened = begun(runs)
    run = finished(opened)
    assert (opened.result.outcome, opened.ask()) == (Outcome.REACHED, None)
    driven = {**RIG, "instrument": {**RIG["instrument"], "kind": "python", "off": "nothing"}}
    by_driver = open_run(sdl.run(driven, runs=runs, measure=plant).run)
    assert [e.settings for e in run.proposals.values()] == [e.settings for e in by_driver.proposals.values()]
    assert [e.readings for e in run.measured()] == [e.readings for e in by_driver.measured()]
    assert run.result.reason == by_driver.result.reason
    assert record.check(run.folder).notes == ()
    assert replay(run.folder).decided == ()


def test_the_same_is_asked_until_it_is_told_by_whoever_asks(runs: Path) -> None:
    opened = begun(runs)
    first = asked(opened)
    assert asked(opened) == first == asked(begun(runs)) == asked(sdl.open_campaign(opened.folder))
    assert (first.trial, first.repeat, set(first.settings)) == (0, 0, {"red", "blue"})
    opened.tell(first, plant(first.settings))
    assert asked(begun(runs)) == asked(opened) != first


def test_what_is_asked_is_on_the_disk_before_it_is_given_and_what_is_told_before_the_call_returns(runs: Path) -> None:
    opened = begun(runs)
    request = asked(opened)
    assert isinstance(open_run(opened.folder).events[-1], Proposed)
    opened.tell(request, plant(request.settings), note="new lamp")
    last = open_run(opened.folder).events[-1]
    assert isinstance(last, Measured)
    assert (last.readings, last.note) == (plant(request.settings), "new lamp")


def test_the_end_is_written_when_it_is_asked_for_and_then_the_file_begins_a_new_run(runs: Path) -> None:
    opened = begun(runs)
    while opened.result.reason == "not ended yet":
        request = asked(opened)
        opened.tell(request, plant(request.settings))
    assert opened.result.outcome is None
    again = begun(runs)
    assert again.folder == opened.folder
    assert again.ask() is None
    assert again.result.outcome is Outcome.REACHED
    assert begun(runs).folder != opened.folder


def test_a_new_run_can_be_forced_and_another_configuration_is_another_campaign(runs: Path) -> None:
    opened = begun(runs)
    assert begun(runs, seed=1).folder != opened.folder
    forced = sdl.open_campaign(RIG, runs=runs, new=True)
    assert forced.folder != opened.folder
    assert begun(runs).folder == forced.folder


def test_a_damaged_run_beside_it_is_left_alone(runs: Path) -> None:
    opened = begun(runs)
    lines = (opened.folder / "record.jsonl").read_bytes()
    (opened.folder / "record.jsonl").write_bytes(lines.replace(b"external", b"exterior"))
    assert begun(runs).folder != opened.folder


def test_fixed_inputs_are_asked_for_too_and_formulas_are_computed(runs: Path) -> None:
    instrument = {**RIG["instrument"], "derived": {"A": "R + B / 2"}}
    opened = begun(runs, instrument=instrument, inputs={"blue": 40}, goal={"A": 200})
    request = asked(opened)
    assert request.settings["blue"] == 40
    opened.tell(request, {"R": 100, "B": 50})
    assert open_run(opened.folder).measured()[0].readings == {"R": 100, "B": 50, "A": 125}


def test_choices_are_asked_for_and_applied_as_texts(runs: Path) -> None:
    inputs = {**RIG["instrument"]["inputs"], "dye": {"choices": ["rose", "indigo"]}}
    opened = begun(
        runs, instrument={**RIG["instrument"], "inputs": inputs}, design={"kind": "latin-hypercube", "trials": 6}
    )
    request = asked(opened)
    assert request.settings["dye"] in ("rose", "indigo")
    opened.tell(request, plant(request.settings), applied={"dye": "rose"})
    assert open_run(opened.folder).measured()[0].applied["dye"] == "rose"
    with pytest.raises(ConfigError, match="none of rose, indigo"):
        opened.tell(asked(opened), {"R": 1, "B": 2}, applied={"dye": "mauve"})


def test_a_failure_ends_its_trial_and_a_skip_does_so_without_being_one(runs: Path) -> None:
    opened = begun(runs, stop={"trials": 3, "failures": 1})
    opened.skip(asked(opened), "out of reagent")
    opened.skip(0, "out of reagent")  # told again
    assert opened.result.failed == 0
    assert [trial.state for trial in open_run(opened.folder).trials] == ["skipped"]
    opened.tell(asked(opened), failed="bubble in line 2")
    opened.tell((1, 0), failed="bubble in line 2")  # told again
    assert opened.ask() is None
    assert (opened.result.outcome, opened.result.trials, opened.result.failed) == (Outcome.FAILED, 2, 1)
    assert [type(e) for e in open_run(opened.folder).events[1:]] == [Proposed, Skipped, Proposed, Failed, Stopped]


def test_skipped_trials_count_against_the_budget(runs: Path) -> None:
    opened = begun(runs, stop={"trials": 2})
    opened.skip(asked(opened), "a")
    opened.skip(asked(opened), "b")
    assert opened.ask() is None
    assert opened.result.outcome is Outcome.SPENT


def test_rules_can_be_changed_so_that_an_ended_campaign_goes_on(runs: Path) -> None:
    opened = begun(runs, stop={"trials": 1})
    opened.tell(asked(opened), {"R": 1, "B": 1})
    assert opened.ask() is None
    again = sdl.open_campaign(opened.folder, changes=["stop.trials=2"])
    assert asked(again).trial == 1
    with pytest.raises(ConfigError, match="cannot be changed"):
        sdl.open_campaign(opened.folder, changes=["goal.R=3"])


def test_only_the_design_can_be_asked_for(runs: Path) -> None:
    opened = sdl.open_campaign(RIG, runs=runs, collect=True)
    run = finished(opened)
    assert (run.result.outcome, run.result.trials) == (Outcome.DONE, 3)


# What is told -----------------------------------------------------------------------------------------------------
def test_told_twice_with_equal_values_nothing_happens_and_with_others_it_is_refused(runs: Path) -> None:
    opened = begun(runs)
    request = asked(opened)
    opened.tell(request, {"R": 1, "B": 2})
    before = (opened.folder / "record.jsonl").read_bytes()
    opened.tell(request, {"R": 1.0, "B": 2.0})
    sdl.open_campaign(opened.folder).tell((0, 0), {"R": 1, "B": 2})
    with pytest.raises(ConfigError, match=r"told already: R=1 B=2; `correct` changes it"):
        opened.tell(request, {"R": 1, "B": 3})
    with pytest.raises(ConfigError, match="told already"):
        opened.tell(request, {"R": 1, "B": 2}, applied={"red": 1})
    with pytest.raises(ConfigError, match="told already"):
        opened.tell(request, failed="lid open")
    assert (opened.folder / "record.jsonl").read_bytes() == before


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"readings": {"R": 1}}, "lacks B; the instrument declares: B, R"),
    ({"readings": {"R": 1, "B": 2, "G": 3}}, "has unknown G; the instrument declares: B, R"),
    ({"readings": {}}, "lacks B, R"),
    ({"readings": {"R": 1, "B": math.nan}}, "no finite number"),
    ({"readings": {"R": 1, "B": math.inf}}, "no finite number"),
    ({"readings": {"R": "1", "B": 2}}, "no finite number"),
    ({"readings": {"R": True, "B": 2}}, "no finite number"),
    ({"readings": {"R": None, "B": 2}}, "no finite number"),
    ({"readings": {"R": 1001, "B": 2}}, "R = 1001 lies outside its range 0 … 1000"),
    ({"readings": {"R": -1, "B": 2}}, "R = -1 lies outside its range 0 … 1000"),
    ({"readings": {"R": 1, "B": 2}, "applied": {"green": 1}}, "applied: unknown input green; allowed: red, blue"),
    ({"readings": {"R": 1, "B": 2}, "applied": {"red": "much"}}, "applied: red = 'much' is no number"),
    ({"readings": {"R": 1, "B": 2}, "applied": {"red": math.nan}}, "does not say what was applied"),
    ({"readings": {"R": 1, "B": 2}, "applied": {"red": True}}, "is no number"),
    ({"readings": {"R": 1, "B": 2}, "applied": {"red": 850}}, "applied: red = 850 is outside its bounds, 0 … 100"),
    ({"readings": {"R": 1, "B": 2}, "applied": {"red": -0.1}}, "applied: red = -0.1 is outside its bounds"),
    ({"readings": {"R": 1, "B": 2}, "failed": "why"}, "tell either the readings or"),
    ({}, "tell either the readings or"),
]


@pytest.mark.parametrize(("told", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_cannot_be_is_refused_with_what_is_allowed_and_nothing_is_lost(
    runs: Path, told: dict[str, Any], message: str
) -> None:
    opened = begun(runs)
    request = asked(opened)
    before = (opened.folder / "record.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        opened.tell(request, **told)
    assert (opened.folder / "record.jsonl").read_bytes() == before
    assert asked(opened) == request
    opened.tell(request, {"R": 1, "B": 2})


@pytest.mark.parametrize(
    ("place", "message"),
    [((0, 1), "trial is over"), ((1, 0), "ask first"), ((7, 0), "ask first"), ((-1, 0), "ask first")],
)
def test_what_was_not_asked_for_cannot_be_told(runs: Path, place: tuple[int, int], message: str) -> None:
    opened = begun(runs)
    opened.tell(asked(opened), {"R": 1, "B": 2})
    with pytest.raises(ConfigError, match=message):
        opened.tell(place, {"R": 1, "B": 2})


def test_a_reading_at_the_end_of_its_range_is_a_bound(runs: Path) -> None:
    opened = begun(runs)
    opened.tell(asked(opened), {"R": 1000, "B": 2})
    assert open_run(opened.folder).measured()[0].saturated == ("R",)


def test_settings_that_were_applied_otherwise_are_what_the_solver_learns_from(runs: Path) -> None:
    opened = begun(runs)
    opened.tell(asked(opened), {"R": 1, "B": 2}, applied={"red": 85})
    run = open_run(opened.folder)
    assert run.measured()[0].fault == "not-applied"
    assert run.campaign.history.X[0].tolist() == [85, 10]


def test_an_applied_setting_at_its_bound_but_for_rounding_is_told(runs: Path) -> None:
    opened = begun(runs)
    opened.tell(asked(opened), {"R": 1, "B": 2}, applied={"red": 100.00001})
    assert open_run(opened.folder).measured()[0].applied["red"] == 100.00001


# Rows of no trial -------------------------------------------------------------------------------------------------
def test_an_attached_reading_is_a_row_for_the_solver_and_no_trial(runs: Path) -> None:
    opened = begun(runs)
    opened.attach({"red": 30, "blue": 5}, {"R": 130, "B": 17}, note="of the notebook")
    run = open_run(opened.folder)
    history = run.campaign.history
    assert (history.X.tolist(), history.Y.tolist()) == ([[30, 5]], [[130, 17]])
    assert (history.trials, history.readings, run.trials, run.measured()) == (0, 0, [], [])
    assert isinstance(run.events[-1], Attached)
    run = finished(opened)
    opened.attach({"red": 1, "blue": 5}, {"R": 14, "B": 17})  # also after the end
    assert record.check(run.folder).notes == ()
    assert len(record.check(run.folder).sha) == 32
    assert open_run(opened.folder).result.outcome is Outcome.REACHED


@pytest.mark.parametrize(
    ("settings", "readings", "message"),
    [
        ({"red": 30}, {"R": 1, "B": 1}, "missing: blue"),
        ({"red": 30, "blue": 101}, {"R": 1, "B": 1}, "blue = 101.0 is outside 0 … 100"),
        ({"red": 30, "blue": 5, "pink": 1}, {"R": 1, "B": 1}, "unknown: pink"),
        ({"red": 30, "blue": "x"}, {"R": 1, "B": 1}, "not a finite number"),
        ({"red": 30, "blue": 5}, {"R": 1}, "lacks B"),
        ({"red": 30, "blue": 5}, {"R": 1, "B": 2000, "x": 1}, "unknown x"),
    ],
)
def test_an_impossible_row_is_not_attached(
    runs: Path, settings: dict[str, Any], readings: dict[str, Any], message: str
) -> None:
    opened = begun(runs)
    with pytest.raises(ConfigError, match=message):
        opened.attach(settings, readings)
    assert len(open_run(opened.folder).events) == 1


# Corrections ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_corrected_reading_replaces_what_was_told_for_solver_report_and_table(runs: Path) -> None:
    opened = begun(runs)
    for wrong in (False, True, False):
        request = asked(opened)
        opened.tell(request, plant(request.settings) | ({"B": 320} if wrong else {}))
    opened.correct(1, 0, {"B": 35.0}, "read 320 off the display")
    run = open_run(opened.folder)
    assert [row["B"] for row in run.rows()] == [pytest.approx(32 + 1 / 3), 35.0, pytest.approx(275.0)]
    assert run.trials[1].mean == {"R": 375, "B": 35.0}
    assert run.campaign.history.Y[1].tolist() == [375, 35.0]
    told = [event for event in run.events if isinstance(event, Measured)]
    assert told[1].readings["B"] == 320  # the record keeps what was told
    assert asked(opened).settings == fresh_proposal(opened, run)
    run = finished(opened)
    assert (run.result.outcome, replay(run.folder).decided, replay(run.folder).loop) == (Outcome.REACHED, (), "")
    assert "1 reading corrected" in page(run)


def fresh_proposal(opened: OpenCampaign, run: Run) -> dict[str, Any]:
    """What the solver proposes from rows that were right from the beginning."""
    right = begun(opened.folder.parent.parent / "right")
    for event in run.measured():
        right.tell(asked(right), event.readings)
    return dict(asked(right).settings)


def page(run: Run) -> str:
    from sdl.report.page import run_page

    return run_page(run)


def test_an_excluded_reading_vanishes_from_rows_means_and_ranking(runs: Path) -> None:
    opened = begun(runs, average=2)
    for value in (100, 110):
        opened.tell(asked(opened), {"R": value, "B": 200})
    opened.tell(asked(opened), {"R": 50, "B": 200})
    opened.tell(asked(opened), {"R": 50, "B": 200})
    opened.correct(0, 0, None, "lid was open")
    run = open_run(opened.folder)
    assert run.trials[0].mean == {"R": 110, "B": 200}
    assert [event.repeat for event in run.measured(0)] == [1]
    assert (run.campaign.history.rows, run.result.readings, run.result.best) == (3, 3, 0)
    opened.correct(0, 1, None, "lid was open")
    run = open_run(opened.folder)
    assert (run.trials[0].mean, run.result.best) == ({}, 1)
    assert "2 readings excluded" in page(run)
    opened.correct(0, 1, {"R": 120}, "it was closed after all")
    assert open_run(opened.folder).trials[0].mean == {"R": 120, "B": 200}


def test_an_excluded_reading_of_an_open_trial_is_asked_for_again_under_another_number(runs: Path) -> None:
    opened = begun(runs, average=2)
    opened.tell(asked(opened), {"R": 1, "B": 2})
    opened.correct(0, 0, None, "lid open")
    request = asked(opened)
    assert (request.trial, request.repeat) == (0, 1)
    opened.tell(request, {"R": 1, "B": 2})
    assert asked(opened).repeat == 2


def test_a_correction_within_an_open_trial_decides_it_anew(runs: Path) -> None:
    opened = begun(runs)
    request = asked(opened)
    opened.tell(request, {"R": 300, "B": 200})
    assert (asked(opened).trial, asked(opened).repeat) == (0, 1)  # it confirms
    opened.correct(0, 0, {"R": 30.0}, "typed a zero too many")
    assert asked(opened).trial == 1


def test_a_goal_that_a_correction_undoes_lets_the_campaign_go_on(runs: Path) -> None:
    opened = begun(runs)
    run = finished(opened)
    last = run.trials[-1].trial
    opened.correct(last, 1, {"R": 500.0}, "read again")
    assert (opened.result.outcome, open_run(opened.folder).trials[-1].state) == (None, "not confirmed")
    assert record.check(opened.folder).lines == len(open_run(opened.folder).events)
    assert asked(opened).trial == last + 1
    assert finished(opened).result.outcome is Outcome.REACHED
    assert replay(opened.folder).decided == ()


def test_a_goal_that_a_correction_reaches_ends_the_campaign(runs: Path) -> None:
    opened = begun(runs, stop={"trials": 1})
    for value in (300, 300, 400):
        opened.tell(asked(opened), {"R": value, "B": 200})
    assert opened.ask() is None
    assert opened.result.outcome is Outcome.SPENT
    opened.correct(0, 2, {"R": 301}, "typing error")
    run = open_run(opened.folder)
    assert (run.result.outcome, run.result.reached, run.result.best) == (Outcome.REACHED, True, 0)
    assert [type(e) for e in run.events[-3:]] == [Stopped, Corrected, Stopped]
    assert record.check(run.folder).notes == ()
    assert replay(run.folder).loop == ""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ((0, 1, {"R": 1}, "why"), "no such reading"),
        ((5, 0, {"R": 1}, "why"), "has not been asked for"),
        ((0, 0, {"R": 1}, " "), "needs a reason"),
        ((0, 0, {"Q": 1}, "why"), "unknown Q"),
        ((0, 0, {"R": 5000}, "why"), "outside its range"),
        ((0, 0, {"R": math.nan}, "why"), "no finite number"),
    ],
)
def test_an_impossible_correction_is_refused(runs: Path, call: tuple[Any, ...], message: str) -> None:
    opened = begun(runs)
    opened.tell(asked(opened), {"R": 1, "B": 2})
    before = (opened.folder / "record.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=message):
        opened.correct(*call)
    opened.correct(0, 0, {"R": 1}, "as it is")  # changes nothing
    assert (opened.folder / "record.jsonl").read_bytes() == before


def test_a_run_as_a_prior_has_its_corrections_and_attached_rows(runs: Path) -> None:
    opened = begun(runs)
    for _ in range(2):
        opened.tell(asked(opened), {"R": 1, "B": 2})
    opened.correct(0, 0, {"R": 7}, "a")
    opened.correct(1, 0, None, "b")
    opened.attach({"red": 30, "blue": 5}, {"R": 130, "B": 17})
    later = begun(runs, prior=[str(opened.folder)], seed=3)
    assert open_run(later.folder).campaign.history.Y.tolist() == [[7, 2], [130, 17]]


def test_a_finished_run_of_a_driven_instrument_can_be_corrected_but_not_asked(runs: Path) -> None:
    done = sdl.run({"name": "led", "instrument": "twin", "goal": {"445nm": 16384}, "solver": "linear"}, runs=runs)
    opened = sdl.open_campaign(done.run)
    assert opened.ask() is None
    opened.correct(0, 0, {"445nm": 12.0}, "cable loose")
    assert open_run(done.run).trials[0].mean["445nm"] == 12.0
    opened.correct(done.best or 0, 0, None, "cable loose")
    assert open_run(done.run).result.outcome is None
    with pytest.raises(ConfigError, match=r"simulated in virtual time; `sdl resume"):
        opened.ask()
    assert sdl.resume(done.run).outcome is Outcome.REACHED


# Several at once --------------------------------------------------------------------------------------------------
def test_two_who_tell_at_once_write_one_after_the_other(runs: Path) -> None:
    opened = begun(runs, average=40, stop={"trials": 1})
    folder, errors = opened.folder, []

    def work() -> None:
        mine = sdl.open_campaign(folder)
        while (request := mine.ask()) is not None:
            try:
                mine.tell(request, {"R": float(request.repeat), "B": 2})
            except ConfigError as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = open_run(folder)
    assert errors == []  # those who were second told the same, which changes nothing
    assert [(e.repeat, e.readings["R"]) for e in run.measured()] == [(n, n) for n in range(40)]
    assert record.check(folder).finished


def test_two_who_tell_different_readings_get_one_written_and_one_refused(runs: Path) -> None:
    opened, other = begun(runs), begun(runs)
    request = asked(opened)
    assert asked(other) == request
    other.tell(request, {"R": 1, "B": 2})
    with pytest.raises(ConfigError, match="told already: R=1 B=2"):
        opened.tell(request, {"R": 3, "B": 2})


def test_two_who_ask_for_a_file_at_once_get_one_run(runs: Path) -> None:
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(begun(runs).folder)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(folders)) == 1


def test_a_run_that_a_process_drives_is_not_written_to(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = begun(runs)
    monkeypatch.setattr(campaign, "LOCK_SECONDS", 0.05)
    with contextlib.closing(record.Record.open(opened.folder)), pytest.raises(InUse):
        opened.ask()


# The record -------------------------------------------------------------------------------------------------------
def test_an_object_that_lives_on_folds_as_one_that_is_opened_anew(runs: Path) -> None:
    opened = begun(runs, average=2)
    for step in range(8):
        request = asked(opened)
        opened.tell(request, plant(request.settings))
        if step == 3:
            opened.correct(0, 1, {"R": 4}, "a")
        if step == 5:
            opened.correct(1, 0, None, "b")
            opened.attach({"red": 30, "blue": 5}, {"R": 130, "B": 17})
        fresh = fold(record.read(opened.folder), opened.folder).campaign.history
        mine = opened._campaign.history
        assert np.array_equal(fresh.X, mine.X)
        assert np.array_equal(fresh.Y, mine.Y)
        assert (fresh.misses, fresh.readings, fresh.trials) == (mine.misses, mine.readings, mine.trials)


def test_a_torn_line_is_cut_off_by_the_next_call_that_writes(runs: Path) -> None:
    opened = begun(runs)
    request = asked(opened)
    with open(opened.folder / "record.jsonl", "ab") as file:
        file.write(b'{"event": "Measured", "trial": 0')
    assert asked(opened) == request
    opened.tell(request, {"R": 1, "B": 2})
    assert record.check(opened.folder).lines == 3
    assert (opened.folder / "record.torn-1").exists()


def test_a_record_that_was_changed_under_an_open_campaign_is_refused(runs: Path) -> None:
    opened = begun(runs)
    asked(opened)
    file = opened.folder / "record.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(Damaged, match="changed since it was read before"):
        opened.ask()


def test_a_campaign_of_kind_external_is_not_run(runs: Path) -> None:
    with pytest.raises(ConfigError, match="`sdl ask`"):
        sdl.run(RIG, runs=runs)
    opened = begun(runs)
    with pytest.raises(ConfigError, match="`sdl ask`"):
        sdl.resume(opened.folder)
    assert opened._campaign.state is State.PROPOSE


@pytest.mark.parametrize(
    ("key", "value"),
    [("settle", 3), ("ramp", {"red": "5 per min"}), ("limits", {"R": {"at most": 3}}), ("off", {"red": 0, "blue": 0})],
)
def test_keys_that_only_a_driver_can_keep_are_refused(runs: Path, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"instrument.{key}"):
        begun(runs, instrument={**RIG["instrument"], key: value})


# With a channel to maximise ------------------------------------------------------------------------------------------
def test_the_best_settings_of_an_objective_follow_a_correction(runs: Path) -> None:
    opened = begun(runs, goal={"R": "maximise"}, solver="gp", design={"kind": "latin-hypercube", "trials": 4})
    for value in (10, 900, 50):
        opened.tell(asked(opened), {"R": value, "B": 2})
    assert opened.result.best == 1
    opened.correct(1, 0, {"R": 20}, "typed wrongly")
    assert (opened.result.best, opened.result.measured["R"]) == (2, 50)
    opened.correct(2, 0, None, "lid open")
    assert (opened.result.best, opened.result.measured["R"]) == (1, 20)
    opened.skip(asked(opened), "out of reagent")
    assert asked(opened).trial == 4
    assert open_run(opened.folder).campaign.history.best is not None
