"""The runner: campaign, solver, driver, record and clock together, on the twin and on a scripted instrument."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import scripted
from scripted import CHANNELS, answer, answers_of, campaign, proposals, script_of, with_answers, with_script

from sdl import config, registry, runner
from sdl.clock import RealClock, VirtualClock
from sdl.core.events import Event, Failed, Measured, Opened, Proposed, Resumed, Stopped
from sdl.errors import (
    BadReply,
    Busy,
    ConfigError,
    Degenerate,
    Full,
    InstrumentError,
    Lost,
    NotApplied,
    NotEnoughData,
    RecordError,
    Rejected,
    SolverError,
)
from sdl.runs import runs
from sdl.runs.runs import Result
from sdl.solvers.base import Data, Proposals
from sdl.space import Space
from sdl.store import record, resolve
from sdl.types import Frozen, Input, Outcome, Reading, Verdict

TWIN = {"name": "twin", "instrument": "twin", "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384}}


pytestmark = pytest.mark.usefixtures("scripted_kinds")


def run(tree: Mapping[str, Any], **options: Any) -> tuple[Result, list[Event]]:
    """Runs a campaign in memory; its result and its events."""
    events: list[Event] = []
    options = {"runs": None, "watch": lambda event, _: events.append(event), **options}
    return runner.run(tree, **options), events


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# --- a campaign as it should be -----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["linear", "pls", "gmm"])
def test_a_campaign_on_the_twin_reaches_its_goal(solver: str) -> None:
    done, events = run({**TWIN, "solver": solver})
    assert done.outcome is Outcome.REACHED
    assert done.error is not None
    assert done.error <= 0.02
    assert done.trials <= 10
    assert runner.exit_code(done) == 0
    assert isinstance(events[0], Opened)
    assert isinstance(events[-1], Stopped)


def test_the_same_seed_gives_the_same_campaign_and_another_seed_another() -> None:
    first, again, other = (run(TWIN, changes=[f"seed={seed}"])[1] for seed in (1, 1, 2))
    assert first[1:] == again[1:]
    assert of(first, Measured)[0].readings != of(other, Measured)[0].readings


def test_every_trial_draws_numbers_of_its_own() -> None:
    _, events = run(campaign(with_script(), solver="random", stop={"trials": 9}))
    drawn = [tuple(e.settings.values()) for e in of(events, Proposed) if e.by == "random"]
    assert len(set(drawn)) == len(drawn) == 5


def test_each_event_follows_from_the_ones_before(tmp_path: Path) -> None:
    _, events = run(campaign(with_script(), average=2, confirm=1))
    kinds = [type(event).__name__ for event in events]
    trials = 4 * ["Proposed", "Measured", "Measured"]
    assert kinds == ["Opened", *trials, "Proposed", *4 * ["Measured"], "Stopped"]
    assert [(e.trial, e.repeat) for e in of(events, Measured)][-4:] == [(4, 0), (4, 1), (4, 2), (4, 3)]
    assert [e.at for e in events] == sorted(e.at for e in events)


def test_in_memory_and_on_the_disk_the_same_happens(tmp_path: Path) -> None:
    done, events = run(TWIN, runs=tmp_path)
    _, in_memory = run(TWIN)
    assert list(record.read(Path(done.run)))[1:] == events[1:] == in_memory[1:]
    assert runs.open_run(done.run).result == done


def test_a_run_s_directory_holds_the_record_the_resolved_file_and_the_seal(tmp_path: Path) -> None:
    done, _ = run(TWIN, runs=tmp_path)
    folder = Path(done.run)
    assert folder.parent == tmp_path / "twin"
    assert {p.name for p in folder.iterdir()} == {"record.jsonl", "record.seal", "record.lock", "campaign.yaml"}
    assert config.load(folder / "campaign.yaml").plain() == config.parse(TWIN).plain()


def test_runs_of_the_same_second_are_told_apart_by_their_names_and_the_latest_is_the_latest(tmp_path: Path) -> None:
    done = [Path(run(campaign(with_script()), runs=tmp_path)[0].run) for _ in range(4)]
    assert all(re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{6}", folder.name) for folder in done)
    assert resolve.find("latest", tmp_path) == done[-1]
    assert resolve.folders(tmp_path) == done
    old = done[0].with_name("20240101T000000Z-abcdef")  # as they were called before
    done[0].rename(old)
    assert resolve.folders(tmp_path) == [old, *done[1:]]
    assert runs.open_run(old).result.outcome is Outcome.REACHED


def test_a_file_a_mapping_and_a_model_are_the_same_campaign(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(TWIN), encoding="utf-8")
    outcomes = [run(given)[1][1:] for given in (file, str(file), TWIN, config.parse(TWIN))]
    assert all(events == outcomes[0] for events in outcomes)


def test_a_mistake_starts_nothing(tmp_path: Path) -> None:
    instrument = with_script()
    with pytest.raises(ConfigError):
        run(campaign(instrument, seed=-1), runs=tmp_path)
    assert script_of(instrument).calls == []
    assert list(tmp_path.iterdir()) == []


def test_the_instrument_is_opened_late_and_only_once() -> None:
    instrument = with_script()
    run(campaign(instrument))
    calls = script_of(instrument).calls
    assert calls == ["open", *["measure"] * 7, "safe", "close"]


# --- intent before action -----------------------------------------------------------------------------------------


def test_what_is_going_to_be_done_is_on_the_disk_before_the_instrument_is_touched(tmp_path: Path) -> None:
    def look(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        (file,) = tmp_path.glob("*/*/record.jsonl")
        last = json.loads(file.read_bytes().splitlines()[-1])
        seen.append((last["event"], last["settings"] == settings))
        return answer(settings)

    seen: list[tuple[str, bool]] = []
    run(campaign(with_script(*[look] * 4)), runs=tmp_path)
    assert seen == [("Proposed", True)] * 4


def test_a_reading_is_on_the_disk_before_the_next_is_taken(tmp_path: Path) -> None:
    def look(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        (file,) = tmp_path.glob("*/*/record.jsonl")
        seen.append([json.loads(line)["event"] for line in file.read_bytes().splitlines()].count("Measured"))
        return answer(settings)

    seen: list[int] = []
    run(campaign(with_script(*[look] * 20), average=3), runs=tmp_path)
    assert seen == list(range(len(seen)))


def test_what_could_not_be_written_has_not_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[Any] = []
    _fill_after(monkeypatch, 6)
    with pytest.raises(Full):
        run(campaign(with_script()), runs=tmp_path, watch=lambda _, state: states.append(state))
    (folder,) = tmp_path.glob("*/*")
    assert states[-1].history.readings == len(of(list(record.read(folder)), Measured)) == 2


@pytest.mark.parametrize("prior", [False, True])
def test_a_campaign_whose_record_is_deleted_ends_safe_and_goes_on_from_the_copy(tmp_path: Path, prior: bool) -> None:
    def delete(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        shutil.rmtree(tmp_path / "runs" / "c")
        return answer(settings)

    tree = campaign(with_script(), name="c", average=2)
    if prior:
        tree["prior"] = [log_of(CORNERS[:2], tmp_path / "log.jsonl")]
    whole, _ = run(tree, runs=tmp_path / "whole")
    instrument = with_script(None, None, None, delete)
    with pytest.raises(Lost, match=r"record\.jsonl: was deleted while it was being written") as found:
        run({**tree, "instrument": instrument}, runs=tmp_path / "runs")
    script = script_of(instrument)
    assert script.calls[-2:] == ["safe", "close"]
    assert len(script.asked) == 4, "noticed at the reading that could not be written"
    saved = Path(str(found.value.saved))
    assert saved.parent == tmp_path / "runs"
    assert len(of(list(record.read(saved)), Measured)) == 4
    done = runner.resume(saved)
    assert (done.outcome, done.trials, done.readings) == (whole.outcome, whole.trials, whole.readings)


def test_who_watches_is_told_after_the_record() -> None:
    counts: list[tuple[int, int]] = []

    def watch(event: Event, state: Any) -> None:
        counts.append((state.history.readings, len(counts)))

    run(campaign(with_script()), watch=watch)
    assert counts[2][0] == 1  # Opened, Proposed, Measured: already counted


# --- failures of the instrument -----------------------------------------------------------------------------------


def test_a_busy_instrument_is_asked_again_after_waits_that_double() -> None:
    instrument = with_script(Busy("1"), Busy("2"), Busy("3"))
    done, events = run(campaign(instrument, retry={"times": 3, "wait": 10, "longest": 30}))
    failed = of(events, Failed)
    assert [(e.trial, e.attempt, e.stage, e.retryable) for e in failed] == [(0, i, "measure", True) for i in range(3)]
    assert [e.error for e in failed] == ["Busy: 1", "Busy: 2", "Busy: 3"]
    first = of(events, Measured)[0]
    assert (first.trial, first.repeat, first.attempt, first.elapsed) == (0, 0, 3, 1.0)
    times = [e.at for e in (*failed, first)]
    assert np.diff(times).tolist() == [11, 21, 31]  # 10, 20, 30 (not 40: the longest), and a second a reading
    assert done.outcome is Outcome.REACHED


def test_a_machine_s_clock_that_is_set_back_does_no_harm(tmp_path: Path) -> None:
    def back(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        driver.clock._now -= 7200.0  # type: ignore[attr-defined]
        return answer(settings)

    changes = {"stop": {"trials": 12, "minutes": 1}}
    result, events = run(campaign(with_script(None, back, None, back), **changes), runs=tmp_path)
    assert result.outcome is Outcome.REACHED
    assert {event.elapsed for event in of(events, Measured)} == {1.0}, "what a reading took, whatever the clock shows"
    assert events[-1].at < events[0].at
    again = runs.open_run(result.run)
    assert again.result == result
    assert 0 < again.campaign.history.active < 60, "neither the leap counts nor what it took away"


def test_when_retries_are_used_up_the_trial_has_failed_and_is_no_row() -> None:
    instrument = with_script(*[Busy("away")] * 2)
    done, events = run(campaign(instrument, retry={"times": 1}))
    assert [e.trial for e in of(events, Proposed)][:2] == [0, 1]
    assert [e.rows for e in of(events, Proposed)][:3] == [0, 0, 1]
    assert done.outcome is Outcome.REACHED
    assert done.readings == len(of(events, Measured))


def test_what_cannot_pass_is_not_tried_again() -> None:
    done, events = run(campaign(with_script(*[Rejected("no")] * 5), stop={"failures": 5}))
    assert len(of(events, Failed)) == 5
    assert (done.outcome, done.by) == (Outcome.FAILED, "failures")
    assert "Rejected: no" in done.reason
    assert runner.exit_code(done) == 3


def test_a_driver_that_breaks_is_a_failure_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, "sdl"):
        done, events = run(campaign(with_script(ValueError("odd"))))
    (failed,) = of(events, Failed)
    assert (failed.error, failed.retryable, failed.maybe_measured) == (
        "the driver failed: ValueError('odd')",
        False,
        True,
    )
    assert done.outcome is Outcome.REACHED


@pytest.mark.parametrize(
    ("changes", "error", "retryable"),
    [
        ({"readings": {"x": 1.0, "y": float("nan"), "z": 3.0}}, "BadReply", True),
        ({"readings": {"x": 1.0, "y": float("inf"), "z": 3.0}}, "BadReply", True),
        ({"readings": {"x": 1.0, "y": None, "z": 3.0}}, "BadReply", True),
        ({"readings": {"x": 1.0, "y": "many", "z": 3.0}}, "BadReply", True),
        ({"readings": {"x": 1.0, "y": True, "z": 3.0}}, "BadReply", True),
        ({"readings": {"x": 1.0, "y": 2.0 + 1j, "z": 3.0}}, "BadReply", True),
        ({"background": {"x": float("nan"), "y": 1.0, "z": 1.0}}, "BadReply", True),
        ({"applied": {"R": 0.1, "G": 0.1}}, "NotApplied", False),
        ({"applied": {"R": 0.1, "G": float("nan"), "B": 0.1}}, "NotApplied", False),
        ({"applied": None}, "NotApplied", False),
    ],
)
def test_what_cannot_be_a_reading_is_a_failure_and_never_a_row(
    changes: dict[str, Any], error: str, retryable: bool
) -> None:
    at_low = {"R": 0.1, "G": 0.1, "B": 0.1}
    done, events = run(campaign(with_script(answer(at_low, **changes))))
    (failed,) = of(events, Failed)
    assert failed.error.startswith(error)
    assert (failed.retryable, failed.maybe_measured) == (retryable, True)
    assert all(np.isfinite(list(e.readings.values())).all() for e in of(events, Measured))
    assert done.outcome is Outcome.REACHED


def buggy(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
    return settings.nothing  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (buggy, "AttributeError: 'dict' object has no attribute 'nothing' (scripted.py:"),
        (lambda driver, settings: None, "TypeError: measure must return an sdl.types.Reading, it gave 'None'"),
        (NotImplementedError("later"), "NotImplementedError: later (scripted.py:"),
    ],
)
def test_a_bug_in_a_driver_ends_the_campaign_at_once_and_says_where(
    step: Any, words: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    instrument = with_script(None, step)
    with caplog.at_level(logging.CRITICAL, "sdl"):
        done, events = run(campaign(instrument), runs=tmp_path)
    (failed,) = of(events, Failed)
    assert (failed.trial, failed.stage, failed.retryable, failed.maybe_measured) == (1, "driver", False, True)
    assert failed.error.startswith(words)
    assert (done.outcome, done.by, runner.exit_code(done)) == (Outcome.FAILED, "driver", 3)
    assert done.reason.startswith(f"a bug in the driver: {words}")
    assert script_of(instrument).calls == ["open", "measure", "measure", "safe", "close"]
    # Mended, it goes on where it was.
    assert runner.resume(done.run).outcome is Outcome.REACHED


@pytest.mark.parametrize("missing", CHANNELS)
@pytest.mark.parametrize("part", ["readings", "background"])
def test_a_channel_that_the_driver_leaves_out_is_no_reading(part: str, missing: str) -> None:
    def step(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        full = answer(settings)
        return answer(settings, **{part: {name: v for name, v in full.readings.items() if name != missing}})

    done, events = run(campaign(with_script(*[step] * 99), stop={"failures": 1}, retry={"times": 0}, goal={"x": 15000}))
    (failed,) = of(events, Failed)
    assert f"lacks {missing}; the instrument declares: x, y, z" in failed.error
    assert failed.error.startswith("BadReply: the ")
    assert done.readings == 0


def test_a_channel_that_nobody_declared_is_no_reading() -> None:
    step = lambda driver, settings: answer(settings, readings={"x": 1.0, "y": 1.0, "z": 1.0, "w": 1.0})  # noqa: E731
    _, events = run(campaign(with_script(step)))
    assert "has unknown w; the instrument declares: x, y, z" in of(events, Failed)[0].error
    named = lambda driver, settings: answer(settings, saturated=("w",))  # noqa: E731
    _, events = run(campaign(with_script(named)))
    assert "saturated names w" in of(events, Failed)[0].error


def test_other_settings_than_asked_are_a_good_row_that_says_so() -> None:
    clamped = {"R": 0.9, "G": 0.2, "B": 0.3}
    instrument = with_script(lambda driver, settings: answer(clamped))
    solver = with_answers([0.5, 0.25, 0.5])
    _, events = run(campaign(instrument, solver=solver))
    first = of(events, Measured)[0]
    assert (dict(first.applied), first.fault) == (clamped, "not-applied")
    assert answers_of(solver).seen[0].X[0].tolist() == [0.9, 0.2, 0.3]
    assert answers_of(solver).seen[0].Y[0].tolist() == [answer(clamped).readings[name] for name in "xyz"]


def test_a_driver_s_own_word_for_what_was_odd_is_kept() -> None:
    _, events = run(campaign(with_script(lambda driver, settings: answer(settings, fault="lamp flickered"))))
    assert of(events, Measured)[0].fault == "lamp flickered"


def test_numbers_of_numpy_become_plain_ones() -> None:
    def step(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        plain = answer(settings)
        return Reading(plain.applied, {name: np.uint16(value) for name, value in plain.readings.items()})

    _, events = run(campaign(with_script(step)))
    assert {type(v) for v in of(events, Measured)[0].readings.values()} == {int}


@pytest.mark.parametrize("error", [Rejected("closed"), ConfigError("no proxy"), OSError("no device"), Busy("later")])
def test_an_instrument_that_cannot_be_opened_is_a_failure_of_the_reading(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    instrument = with_script(open_fails=error)
    with caplog.at_level(logging.CRITICAL, "sdl"):
        done, events = run(campaign(instrument, stop={"failures": 2}, retry={"times": 1}))
    hopeless = isinstance(error, (Rejected, ConfigError))  # it says itself that another try does not help
    assert (done.outcome, done.trials, done.readings) == (Outcome.FAILED, 1 if hopeless else 2, 0)
    assert set(script_of(instrument).calls) == {"open"}
    assert len(of(events, Failed)) == (4 if isinstance(error, Busy) else 1 if hopeless else 2)
    assert done.by == ("driver" if hopeless else "failures")
    assert runner.exit_code(done) == 3


# --- the solver's side --------------------------------------------------------------------------------------------


def test_the_background_is_taken_off_for_the_solver_and_added_to_what_it_expects() -> None:
    dark = {"x": 100.0, "y": 200.0, "z": 300.0}

    def step(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        plain = answer(settings)
        raw = {name: value + dark[name] for name, value in plain.readings.items()}
        return Reading(plain.applied, raw, dark)

    solver = with_answers(proposals([0.5, 0.25, 0.5], expected=[1000.0, 2000.0, np.nan]))
    _, events = run(campaign(with_script(*[step] * 50), solver=solver, stop={"trials": 5}))
    seen = answers_of(solver).seen[0]
    assert np.allclose(seen.Y[0], [answer(of(events, Measured)[0].applied).readings[name] for name in "xyz"])
    targets = answers_of(solver).targets[0]
    assert targets.value.tolist() == [[15000 - 100, 15000 - 200, 15000 - 300]]
    assert targets.low[0, 0] == pytest.approx(15000 * 0.98 - 100)
    proposed = of(events, Proposed)
    assert proposed[0].targets == {"x": 15000, "y": 15000, "z": 15000}  # nothing was known of the dark yet
    assert proposed[4].targets == {"x": 14900, "y": 14800, "z": 14700}
    assert proposed[4].expected == {"x": 1100, "y": 2200}
    assert of(events, Measured)[0].readings["x"] == pytest.approx(seen.Y[0, 0] + 100)  # the record keeps raw readings


def test_the_solver_is_told_which_readings_are_bounds_and_linear_leaves_them_out() -> None:
    clipped = campaign(with_script(), design={"kind": "axis", "high": 1.0}, goal={"x": 15000, "y": 15000})
    full = lambda driver, settings: answer(settings, readings={"x": 1.0, "y": 65535.0, "z": 1.0}, saturated=("y",))  # noqa: E731
    solver = with_answers([0.5, 0.25, 0.5])
    run({**clipped, "instrument": with_script(None, None, full), "solver": solver})
    seen = answers_of(solver).seen[0]
    assert seen.saturated.tolist() == [[False] * 3, [False] * 3, [False, True, False], [False] * 3]
    assert seen.goal.tolist() == [True, True, False]
    done, events = run({**clipped, "instrument": with_script(None, None, full), "solver": "linear"})
    assert done.outcome is Outcome.REACHED  # the absurd x of that row was not believed
    assert of(events, Proposed)[4].by == "farthest"  # three good rows are not enough for four unknowns


def test_a_saturated_reading_is_never_a_hit() -> None:
    full = lambda driver, settings: answer(settings, readings={"x": 15000.0, "y": 1.0, "z": 1.0}, saturated=("x",))  # noqa: E731
    done, _ = run(campaign(with_script(*[full] * 9), goal={"x": 15000}, stop={"trials": 3}))
    assert done.outcome is Outcome.SPENT


@pytest.mark.parametrize("error", [NotEnoughData(3, 4), Degenerate("all at one place")])
def test_a_solver_that_cannot_answer_yet_gets_a_design_point(error: SolverError) -> None:
    solver = with_answers(error, [0.5, 0.25, 0.5])
    _, events = run(campaign(with_script(), solver=solver, stop={"trials": 7}))
    proposed = of(events, Proposed)
    assert [e.by for e in proposed][:6] == ["axis"] * 4 + ["farthest", "scripted"]
    assert str(error) in proposed[4].why
    assert "farthest" in proposed[4].why
    taken = {tuple(e.settings.values()) for e in proposed[:4]}
    assert tuple(proposed[4].settings.values()) not in taken
    assert of(events, Failed) == []


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (RuntimeError("diverged"), "RuntimeError('diverged')"),
        (SolverError("no convergence"), "no convergence"),
        ([float("nan"), 0.1, 0.1], "no number for R"),
        ([0.1], "failed on 4 rows"),
        (None, "failed on 4 rows"),
    ],
)
def test_a_solver_that_breaks_ends_the_campaign_as_failed_by_the_solver(step: Any, words: str) -> None:
    instrument = with_script()
    done, events = run(campaign(instrument, solver=with_answers(step)))
    (failed,) = of(events, Failed)
    assert (failed.stage, failed.trial, failed.retryable) == ("propose", 4, False)
    assert words in failed.error
    assert (done.outcome, done.by) == (Outcome.FAILED, "solver")
    assert runner.exit_code(done) == 4
    assert not script_of(instrument).lit


def test_a_campaign_that_a_person_called_solver_aborted_is_no_failure_of_the_solver() -> None:
    done, _ = run(campaign(with_script(), stop={"trials": 1}))
    assert runner.exit_code(Result(**{**_fields(done), "outcome": Outcome.ABORTED, "by": "solver"})) == 1


def _fields(done: Result) -> dict[str, Any]:
    return {name: getattr(done, name) for name in Result.__dataclass_fields__}


def test_a_proposal_outside_the_bounds_is_clipped_and_says_so() -> None:
    _, events = run(campaign(with_script(), solver=with_answers([1.5, 0.25, -2]), stop={"trials": 5}))
    last = of(events, Proposed)[-1]
    assert (dict(last.settings), last.clipped) == ({"R": 1.0, "G": 0.25, "B": 0.0}, ("R", "B"))


def test_a_goal_out_of_reach_ends_only_when_the_verdict_stood_twice() -> None:
    solver = with_answers(proposals([1, 1, 1], Verdict.UNREACHABLE))
    done, _ = run(campaign(with_script(), solver=solver))
    assert (done.outcome, done.trials) == (Outcome.UNREACHABLE, 6)
    assert runner.exit_code(done) == 1


def log_of(points: Any, file: Path) -> str:
    """A Claude-Light log of the scripted plant at these settings."""
    rows = [{"in": list(p.values()), "out": answer(p).readings, "time": 1e9 + i} for i, p in enumerate(points)]
    lines = map(json.dumps, rows)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


CORNERS = [{"R": 0.1, "G": 0.1, "B": 0.1, high: 0.9} for high in "RGB"] + [{"R": 0.5, "G": 0.1, "B": 0.2}]


def test_with_as_many_prior_rows_as_the_design_has_points_the_solver_is_asked_at_once(tmp_path: Path) -> None:
    tree = campaign(with_script(), prior=[log_of(CORNERS, tmp_path / "log.jsonl")])
    done, events = run(tree, runs=tmp_path / "runs")
    assert [(e.by, e.rows) for e in of(events, Proposed)] == [("linear", 4)]
    assert of(events, Opened)[0].prior[0]["rows"] == 4
    assert done.outcome is Outcome.REACHED
    assert done.readings == 3  # the prior's are not the campaign's
    assert run(tree)[1][1:] == events[1:]  # in memory the same


def test_fewer_prior_rows_replace_no_point_of_the_design_and_are_rows_all_the_same(tmp_path: Path) -> None:
    tree = campaign(with_script(), prior=[log_of(CORNERS[:3], tmp_path / "log.jsonl")])
    _, events = run(tree)
    proposed = of(events, Proposed)
    assert [(e.by, e.rows) for e in proposed] == [*(("axis", n) for n in (3, 4, 5, 6)), ("linear", 7)]
    assert [e.settings for e in proposed][:4] == [e.settings for e in of(run(campaign(with_script()))[1], Proposed)][:4]


def test_a_prior_that_cannot_carry_the_solver_is_followed_by_the_design(tmp_path: Path) -> None:
    same = [{"R": 0.5, "G": 0.5, "B": 0.5}] * 6
    _, events = run(campaign(with_script(), prior=[log_of(same, tmp_path / "log.jsonl")]))
    assert [e.by for e in of(events, Proposed)][:4] == ["axis"] * 3 + ["linear"]


class Knowing(Frozen):
    """A solver that says how many design points it wants."""

    kind: Literal["knowing"] = "knowing"
    wants: int | None = 0

    def needs(self, inputs: tuple[Input, ...]) -> int | None:
        if self.wants == 99:
            raise ZeroDivisionError("by the author")
        return self.wants

    def fit(self, data: Data) -> Knowing:
        return self

    def propose(self, targets: Any, space: Space, rng: Any) -> Proposals:
        return proposals([0.5, 0.25, 0.5])


@pytest.mark.parametrize(
    ("wants", "who"),
    [
        (0, ["knowing"] * 6),
        (2, ["axis"] * 2 + ["knowing"] * 4),
        (5, ["axis"] * 4 + ["farthest", "knowing"]),
        (None, ["axis"] * 4 + ["knowing"] * 2),
    ],
)
def test_a_solver_may_say_how_many_design_points_it_wants(
    wants: int | None, who: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.OURS["solvers"], "knowing", f"{__name__}:Knowing")
    solver = {"kind": "knowing", "wants": wants}
    _, events = run(campaign(with_script(), solver=solver, stop={"trials": 6}, goal={"x": 20000}))
    assert [e.by for e in of(events, Proposed)] == who


@pytest.mark.parametrize("wants", [-1, 99])
def test_what_a_solver_wants_must_be_a_number(wants: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.OURS["solvers"], "knowing", f"{__name__}:Knowing")
    with pytest.raises(ConfigError, match=r"solver: .*needs"):
        config.parse(campaign(with_script(), solver={"kind": "knowing", "wants": wants}))


def test_a_solver_that_knows_the_twin_answers_before_anything_is_measured() -> None:
    done, events = run({**TWIN, "solver": {"kind": "bayes", "knows": "twin"}})
    assert [e.by for e in of(events, Proposed)] == ["bayes"] * done.trials
    assert of(events, Proposed)[0].rows == 0
    assert done.outcome is Outcome.REACHED


def test_a_prior_without_a_usable_row_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"in": [0, 0, 0], "out": {"x": 1}, "time": 1}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="no usable row: 1 left out: without y"):
        run(campaign(with_script(), prior=[str(tmp_path / "log.jsonl")]), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_prior_may_be_a_table_with_columns_of_other_names_and_its_bad_lines_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*[(*place.values(), *answer(place).readings.values()) for place in CORNERS] * 3, ("busy",)]
    text = "red;green;blue;x;why;z\n" + "".join(";".join(map(str, row)) + "\n" for row in rows)
    (tmp_path / "dyes.csv").write_text(text, encoding="utf-8")
    names = {"R": "red", "G": "green", "B": "blue"}
    prior = {"source": str(tmp_path / "dyes.csv"), "inputs": names, "channels": {"y": "why"}}
    _, events = run(campaign(with_script(), prior=[prior]))
    about = of(events, Opened)[0].prior[0]
    assert (about["rows"], about["left_out"]) == (12, {"fewer cells than the header has names": 1})
    assert "1 left out: fewer cells than the header has names (line 14)" in caplog.text


def test_a_record_may_be_the_prior_of_another_campaign(tmp_path: Path) -> None:
    first, _ = run(campaign(with_script()), runs=tmp_path)
    done, events = run(campaign(with_script(), prior=[first.run], goal={"x": 9000, "y": 30000, "z": 5000}))
    assert of(events, Proposed)[0].by == "linear"
    assert (done.outcome, done.trials) == (Outcome.REACHED, 1)


# --- collect ------------------------------------------------------------------------------------------------------


def test_collect_takes_the_design_and_leaves_goal_and_solver_alone() -> None:
    instrument = with_script()
    tree = campaign(instrument, design={"kind": "latin-hypercube", "trials": 9}, solver=with_answers(RuntimeError()))
    done, events = run(tree, collect=True)
    assert (done.outcome, done.trials, done.readings, done.by) == (Outcome.DONE, 9, 9, "design")
    assert {e.by for e in of(events, Proposed)} == {"latin-hypercube"}
    assert (done.error, done.miss, done.best) == (None, None, None)
    assert runner.exit_code(done) == 0
    assert not script_of(instrument).lit


# --- light off, whatever happens ----------------------------------------------------------------------------------


def _raise(error: BaseException) -> Any:
    def watch(event: Event, _: Any) -> None:
        if isinstance(event, Measured) and event.trial == 2:
            raise error

    return watch


@pytest.mark.parametrize(
    "way",
    [
        "reached",
        "spent",
        "failed",
        "watch",
        "watch's own KeyboardInterrupt",
        "driver's KeyboardInterrupt",
        "exit",
        "full",
    ],
)
def test_the_light_is_off_at_the_end_whichever_way_it_comes(way: str, tmp_path: Path, monkeypatch: Any) -> None:
    steps: list[Any] = [None, None, SystemExit(1) if way == "exit" else None]
    if way.startswith("driver"):
        steps[2] = KeyboardInterrupt()
    instrument = with_script(*(Rejected("no") if way == "failed" else step for step in steps))
    stop = {"trials": 1 if way in ("spent", "failed") else 20, "failures": 1}
    tree = campaign(instrument, stop=stop)
    if way == "watch":
        with pytest.raises(ZeroDivisionError):
            run(tree, runs=tmp_path, watch=_raise(ZeroDivisionError()))
    elif "KeyboardInterrupt" in way:
        watch = _raise(KeyboardInterrupt()) if way.startswith("watch") else None
        with pytest.raises(KeyboardInterrupt):
            run(tree, runs=tmp_path, watch=watch)
    elif way == "full":
        _fill_after(monkeypatch, 6)
        with pytest.raises(Full, match="make room and resume"):
            run(tree, runs=tmp_path)
    else:
        done, _ = run(tree, runs=tmp_path)
        assert done.outcome == ("failed" if way == "exit" else way)
    script = script_of(instrument)
    assert not script.lit
    assert script.calls[-2:] == ["safe", "close"]
    (folder,) = tmp_path.glob("*/*")
    assert record.check(folder).lines > 1
    monkeypatch.undo()
    scripted.register(monkeypatch)
    if way not in ("reached", "spent", "failed"):
        assert runner.resume(folder).outcome is Outcome.REACHED


def _fill_after(monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    """A disk on which there is room for so many lines, and for half of the next."""
    write, left = os.write, [lines]

    def narrow(fd: int, data: bytes) -> int:
        if not data.startswith(b'{"event"'):
            return write(fd, data)
        left[0] -= 1
        return write(fd, data) if left[0] >= 0 else write(fd, data[: len(data) // 2])

    monkeypatch.setattr(record.os, "write", narrow)


def test_a_driver_that_cannot_be_made_safe_is_told_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    instrument = with_script(safe_fails=OSError("cable"))
    done, _ = run(campaign(instrument))
    assert done.outcome is Outcome.REACHED
    assert "no reply confirms that it is off (OSError: cable): check it yourself; gave up after 120 s" in caplog.text
    assert script_of(instrument).calls[-1] == "close"


def test_a_watcher_whose_pipe_closes_is_dropped_and_the_campaign_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []

    def watch(event: Event, _: Any) -> None:
        seen.append(event)
        raise BrokenPipeError(32, "Broken pipe")

    assert run(campaign(with_script()), watch=watch)[0].outcome is Outcome.REACHED
    assert len(seen) == 1  # Opened; nothing after it
    assert "no longer shown" in caplog.text


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_simulated_instrument_lives_in_virtual_time_that_goes_on_where_it_was_left() -> None:
    twin = config.parse_kind("instrument", {"kind": "twin", "start": "2025-10-28T00:00:00Z"})
    assert (runner.clock_for(twin).kind, runner.clock_for(twin).now()) == ("virtual", 1761609600)
    assert runner.clock_for(twin, 5.0).now() == 5
    assert runner.clock_for(config.parse_kind("instrument", {"kind": "twin", "realtime": True})).kind == "paced"
    assert isinstance(runner.clock_for(config.parse_kind("instrument", "claude-light")), RealClock)


def test_minutes_are_those_of_the_clock_that_the_instrument_lives_by() -> None:
    done, events = run(
        campaign(with_script(), goal={"x": 15000}, solver="random", stop={"trials": 999, "minutes": 0.5})
    )
    assert (done.outcome, done.by) == (Outcome.SPENT, "minutes")
    assert events[-1].at - events[0].at == 30


def test_a_clock_that_is_interrupted_waits_no_more() -> None:
    clock = VirtualClock(paced=True)
    clock.interrupt()
    clock.sleep(3600)
    assert clock.now() == 3600


# --- resume -------------------------------------------------------------------------------------------------------


def _half(tmp_path: Path, instrument: dict[str, Any], trial: int = 2, **changes: Any) -> Path:
    """A run that a bug of its watcher ended in the middle."""

    def watch(event: Event, _: Any) -> None:
        if isinstance(event, Measured) and event.trial == trial:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(campaign(instrument, **changes), runs=tmp_path, watch=watch)
    (folder,) = tmp_path.glob("*/*")
    return folder


def test_a_resume_goes_on_where_it_was_left_and_measures_nothing_twice(tmp_path: Path) -> None:
    instrument = with_script()
    folder = _half(tmp_path, instrument)
    told: list[Event] = []
    done = runner.resume(folder, watch=lambda event, _: told.append(event))
    whole = run(campaign(instrument))[1]
    kept = [event for event in told if not isinstance(event, Resumed)]
    assert kept[1:] == whole[1:]
    assert len(of(told, Resumed)) == 1
    assert told == list(record.read(folder))
    assert done.outcome is Outcome.REACHED


def test_a_resume_makes_safe_what_a_killed_process_left_lit(tmp_path: Path) -> None:
    instrument = with_script()
    folder = _half(tmp_path, instrument)
    script_of(instrument).lit = True
    script_of(instrument).calls.clear()
    done = runner.resume(folder, changes=["stop.trials=3"])
    assert (done.outcome, script_of(instrument).calls) == (Outcome.SPENT, ["open", "safe", "close"])
    assert not script_of(instrument).lit


def test_a_reached_campaign_is_not_touched_again(tmp_path: Path) -> None:
    instrument = with_script()
    done, _ = run(campaign(instrument), runs=tmp_path)
    before, calls = (Path(done.run) / "record.jsonl").read_bytes(), list(script_of(instrument).calls)
    assert runner.resume(done.run) == done
    assert (Path(done.run) / "record.jsonl").read_bytes() == before
    assert script_of(instrument).calls == calls


def test_a_spent_campaign_goes_on_with_more_trials_and_stops_again_without(tmp_path: Path) -> None:
    done, _ = run(campaign(with_script(), stop={"trials": 2}), runs=tmp_path)
    assert done.outcome is Outcome.SPENT
    assert runner.resume(done.run).outcome is Outcome.SPENT
    after = runner.resume(done.run, changes=["stop.trials=12"])
    assert (after.outcome, after.trials) == (Outcome.REACHED, 5)
    opened = runs.open_run(done.run)
    assert opened.config["stop"]["trials"] == 12
    assert opened.opened.config["stop"]["trials"] == 2
    assert record.check(Path(done.run)).finished


def test_a_campaign_that_failed_by_its_solver_goes_on_with_another(tmp_path: Path) -> None:
    done, _ = run(campaign(with_script(), solver=with_answers(RuntimeError())), runs=tmp_path)
    assert runner.exit_code(done) == 4
    after = runner.resume(done.run, changes=["solver.kind=linear"])
    assert after.outcome is Outcome.REACHED
    assert [e.by for e in of(list(record.read(Path(done.run))), Proposed)] == ["axis"] * 4 + ["linear"]


@pytest.mark.parametrize("change", ["goal.x=5", "seed=3", "name=other", "instrument.script=9", "prior=[]", "x.y=1"])
def test_a_change_that_makes_another_campaign_is_refused_and_nothing_is_written(change: str, tmp_path: Path) -> None:
    folder = _half(tmp_path, with_script())
    before = (folder / "record.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="allowed: stop, solver, average, confirm, retry"):
        runner.resume(folder, changes=[change])
    assert (folder / "record.jsonl").read_bytes() == before


@pytest.mark.parametrize("change", ["stop.trials=0", "stop.trial=5", "solver.kind=gnm", "stop"])
def test_a_change_that_is_wrong_is_refused_and_nothing_is_written(change: str, tmp_path: Path) -> None:
    folder = _half(tmp_path, with_script())
    before = (folder / "record.jsonl").read_bytes()
    with pytest.raises(ConfigError):
        runner.resume(folder, changes=[change])
    assert (folder / "record.jsonl").read_bytes() == before


def test_a_resume_needs_the_prior_s_copy_and_not_its_source(tmp_path: Path) -> None:
    first, _ = run(campaign(with_script()), runs=tmp_path / "a")
    tree = {"prior": [first.run], "goal": {"x": 9000, "y": 30000, "z": 5000}, "solver": with_answers([0.3, 0.5, 0.16])}
    done, _ = run(campaign(with_script(), **tree, stop={"trials": 2}), runs=tmp_path / "b")
    for file in Path(first.run).iterdir():
        file.unlink()
    after = runner.resume(done.run, changes=["stop.trials=4", "solver.kind=linear"])
    assert after.outcome is Outcome.REACHED


def test_a_record_without_an_event_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").touch()
    with pytest.raises(RecordError, match="empty"):
        runner.resume(tmp_path)


def test_an_error_of_the_driver_keeps_its_own_words_about_retrying() -> None:
    odd = InstrumentError("shutter", retryable=True, maybe_measured=True)
    _, events = run(campaign(with_script(odd, NotApplied("what?"), BadReply("html"))))
    told = [(e.retryable, e.maybe_measured) for e in of(events, Failed)]
    assert told == [(True, True), (False, True), (True, True)]
