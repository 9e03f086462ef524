"""What is the case with a campaign and what to do next: cause, pooled mean and a command that works."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sdl
from sdl.advice import Advice, advise, affordable_average
from sdl.core.events import Proposed
from sdl.core.prices import Prices
from sdl.core.trials import MANY_READINGS
from sdl.runs.pooled import pooled_mean
from sdl.runs.runs import Run, open_run
from sdl.types import Outcome

GOAL = {"445nm": 16384, "515nm": 16384, "630nm": 16384}


def finished(runs: Path, **changes: Any) -> Run:
    tree = {"name": "led", "instrument": {"kind": "twin"}, "goal": GOAL, "solver": {"kind": "linear"}, "seed": 0}
    return open_run(sdl.run(tree | changes, runs=runs).run)


def advice_on(run: Run) -> Advice:
    return advise(run.result, run.campaign, run.opened, run.config)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tolerance below the noise."""
    return finished(tmp_path_factory.mktemp("runs"), tolerance="0.2%", stop={"trials": 18})


def test_a_tolerance_below_the_noise_is_the_cause_and_more_readings_the_advice(noisy: Run) -> None:
    said = advice_on(noisy)
    assert noisy.result.outcome is Outcome.SPENT
    assert said.cause == "tolerance below noise"
    assert said.reason.startswith("tolerance below noise; all 18 trials used; closest: trial")
    latest = [event for event in noisy.events if isinstance(event, Proposed)][-1]
    assert latest.readings_needed is not None
    assert f"average {latest.readings_needed} readings per trial" in latest.why
    assert f"average {latest.readings_needed} readings per trial with" in said.next.text
    assert said.next.command.endswith(f"--set stop.trials=36 --set average={latest.readings_needed}")


def test_the_command_of_the_advice_reaches_the_goal(tmp_path: Path) -> None:
    run = finished(tmp_path, tolerance="0.2%", stop={"trials": 18})
    words = shlex.split(advice_on(run).next.command)
    assert words[:2] == ["sdl", "resume"]
    changes = [word for word in words[3:] if word != "--set"]
    assert sdl.resume(run.folder, changes=changes).outcome is Outcome.REACHED


def test_more_readings_than_are_practical_are_not_advised_but_the_tolerance_that_would_do(tmp_path: Path) -> None:
    run = finished(tmp_path, tolerance="0.01%", stop={"trials": 18})
    said = advice_on(run).next
    assert "averaging alone would need" in said.text
    assert "more than the 100 that are practical within the budget" in said.text
    assert said.command == ""
    (latest,) = [event for event in run.events if isinstance(event, Proposed)][-1:]
    assert "averaging alone would need" in latest.why
    wider = re.search(r"widen the tolerance to about ± ([\d.]+) % and average 100 readings", said.text)
    assert wider is not None
    tree = {"tolerance": f"{wider[1]}%", "average": 100, "stop": {"trials": 18}}
    assert finished(tmp_path / "again", **tree).result.outcome is Outcome.REACHED


def test_an_average_is_advised_that_minutes_and_cost_allow(tmp_path: Path) -> None:
    run = finished(tmp_path, tolerance="0.15%", stop={"trials": 18, "minutes": 2})
    campaign = run.campaign
    most, three = affordable_average(campaign, run.config["stop"]), 3 * campaign.seconds_per_attempt  # confirmed twice
    assert 1 < most < MANY_READINGS
    assert most * three <= 120 < (most + 1) * three
    assert f"more than the {most} that are practical within the budget" in advice_on(run).next.text
    campaign.plan = dataclasses.replace(campaign.plan, prices=Prices(reading=2.0, trial=3.0))
    assert affordable_average(campaign, {"cost": 63}) == 10
    assert affordable_average(campaign, {"cost": 5}) == 1


def test_the_pooled_mean_is_that_of_the_readings_at_settings_that_cannot_be_told_apart(noisy: Run) -> None:
    history = noisy.campaign.history
    best = history.best
    assert best is not None
    pooled = pooled_mean(history, noisy.opened.instrument["inputs"])
    assert pooled is not None
    spread = best.proposed.spread
    near = [
        event
        for event in noisy.measured()
        if all(abs(event.applied[name] - best.shown_settings[name]) <= spread[name] for name in spread)
    ]
    assert pooled.readings == len(near) > 8
    for name in GOAL:
        values = np.array([event.readings[name] for event in near])
        assert pooled.mean[name] == pytest.approx(values.mean())
        assert pooled.std_error[name] == pytest.approx(values.std(ddof=1) / math.sqrt(len(near)))
        assert abs(pooled.mean[name] - 16384) < 4 * pooled.std_error[name]
    assert f"of the {len(near)} readings near the best settings" in advice_on(noisy).mean


def test_a_spread_over_the_whole_range_does_not_pool_readings_of_distant_settings(noisy: Run) -> None:
    history, inputs = copy.deepcopy(noisy.campaign.history), noisy.opened.instrument["inputs"]
    best = history.best
    assert best is not None
    best.proposed = dataclasses.replace(best.proposed, spread=dict.fromkeys("RGB", 10.0))
    pooled = pooled_mean(history, inputs)
    assert pooled is not None
    near = [
        event
        for event in noisy.measured()
        if all(abs(event.applied[name] - best.shown_settings[name]) <= 0.05 for name in "RGB")
    ]
    assert pooled.readings == len(near) < len(noisy.measured())


def test_a_reached_goal_and_a_single_reading_need_no_pooled_mean_beside_the_best(tmp_path: Path) -> None:
    reached = finished(tmp_path, tolerance="5%", confirm=0)
    assert (advice_on(reached).cause, advice_on(reached).mean, advice_on(reached).next) == ("", "", ("", ""))


def test_more_trials_are_advised_where_only_trials_were_missing(tmp_path: Path) -> None:
    said = advice_on(finished(tmp_path, stop={"trials": 4}))
    assert said.cause == ""
    assert said.next.text == "allow more trials with"
    assert said.next.command.endswith("--set stop.trials=8")


def test_more_trials_are_not_the_first_advice_where_the_goal_is_hardly_reachable(tmp_path: Path) -> None:
    beyond = {"445nm": {"target": 40000, "tolerance": 300}}  # the instrument can give some 30,000
    run = finished(tmp_path, goal=beyond, stop={"trials": 7, "unreachable": None})
    said = advice_on(run)
    assert run.result.outcome is Outcome.SPENT
    assert said.reason.startswith("the goal can be reached with a probability of below 1 %; all 7 trials used")
    assert ": lower the goal, or make sure of it: allow more trials with" in said.next.text
    assert said.next.command.endswith("--set stop.trials=14")


def measured(runs: Path, measure: Callable[[dict[str, Any]], Any], **changes: Any) -> Run:
    tree: dict[str, Any] = {
        "name": "rig",
        "instrument": {
            "kind": "python",
            "inputs": {"a": {"low": 0, "high": 8}},
            "channels": {"y": {"unit": "V", "low": -5, "high": 20}},
            "off": "nothing",
        },
        "goal": {"y": 7},
        "tolerance": 0.1,
        "stop": {"trials": 4},
    }
    return open_run(sdl.run(tree | changes, runs=runs, measure=measure).run)


def test_a_channel_at_its_end_in_every_trial_is_the_cause_and_no_trials_are_simply_added(tmp_path: Path) -> None:
    said = advice_on(measured(tmp_path, lambda _: {"y": 20.0}))
    assert said.cause == "y at an end of the range in every trial"
    assert said.next.text.startswith("weaken the signal, or check `high` of these channels; then allow more trials")


def test_an_instrument_that_applies_other_settings_than_asked_for_is_the_cause(tmp_path: Path) -> None:
    def measure(settings: dict[str, Any]) -> Any:
        return {"readings": {"y": 2 * settings["a"] + 2}, "applied": {"a": settings["a"] + 0.5}}

    said = advice_on(measured(tmp_path, measure))
    assert said.cause == "the instrument mostly applies other settings than asked for"
    assert re.match(
        r"check how the instrument sets its inputs, such as a [\d.]+ instead of [\d.]+ in trial 3; then allow more",
        said.next.text,
    )


def test_the_advice_on_an_unreachable_goal_looks_at_the_readings(tmp_path: Path) -> None:
    channels = {"channels": {"y": {}, "z": {}}}
    instrument = {"kind": "python", "inputs": {"a": {"low": 0, "high": 8}}, "off": "nothing"} | channels

    def advice(y: float, z: float, slope: float) -> str:
        goal = {"y": {"target": y, "tolerance": 0.1}, "z": {"target": z, "tolerance": 0.1}}
        run = measured(
            tmp_path,
            lambda settings: {"y": 3 + slope * settings["a"], "z": 9 - settings["a"]},
            instrument=instrument,
            goal=goal,
            stop={"trials": 20},
        )
        assert run.result.outcome is Outcome.UNREACHABLE
        return advice_on(run).next.text

    assert "y reads 11.00, goal 30 ± 0.1: lower the goal, or see why" in advice(30, 1, 1)
    assert "y reads 3.00, goal -5 ± 0.1: raise the goal, or see why" in advice(-5, 9, 1)
    assert "or check why y hardly changed with the settings" in advice(30, 1, 1e-3)
    assert "reached its goal at other settings, but not all channels together: change one of them" in advice(10, 8, 1)
