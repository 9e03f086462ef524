"""What a campaign can be expected to take, from its twin or from earlier runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import sdl
from sdl import config
from sdl.errors import ConfigError
from sdl.runner import forecast as module
from sdl.runner.forecast import earlier_runs, forecast

BASE: dict[str, Any] = {"name": "look", "instrument": {"kind": "twin"}, "solver": "linear", "stop": {"trials": 12}}
RIG = {
    "kind": "python", "inputs": {"x": {"high": 10}, "y": {"high": 10}}, "channels": {"A": {"low": 0, "high": 1000}},
    "name": "rig", "off": "nothing",
}  # fmt: skip


def campaign(**keys: Any) -> config.CampaignFile:
    return config.parse({**BASE, **keys})


def test_a_goal_that_the_twin_reaches_is_said_with_its_trials_and_its_time() -> None:
    found = forecast(campaign(goal={"445nm": 16384}), campaigns=3)
    assert found.outcomes == {"reached": 3}
    assert found.complete
    assert 4 <= found.trials[1] <= found.trials[0] <= found.trials[2] <= 12
    assert found.minutes[0] > 0
    assert found.text().startswith("Goal reached in 3 of 3 simulated campaigns on this twin: ")


def test_a_goal_that_no_settings_reach_is_said_with_the_closest_readings() -> None:
    found = forecast(campaign(goal={"445nm": 60000}), campaigns=2)
    assert found.good == 0
    assert found.trials == ()
    assert found.outcomes == {"unreachable": 2}
    assert "Goal not reached in 2 simulated campaigns on this twin: unreachable (2)" in found.text()
    assert "Closest readings: 445nm 3" in found.text()


def test_an_objective_ends_as_done_with_the_best_value() -> None:
    goal = {"445nm": "maximise"}
    found = forecast(campaign(goal=goal, solver="auto", stop={"trials": 12, "improvement": "1%"}), campaigns=1)
    assert found.outcomes == {"done": 1}
    assert found.best.startswith("445nm 3")
    assert found.text().startswith("Done in 1 of 1")


def test_no_further_campaign_begins_and_none_goes_on_once_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    ticks = iter([began, *[began + 0.5] * 40, *[began + 1e6] * 10_000])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(ticks))
    found = forecast(campaign(goal={"445nm": {"target": 16384, "tolerance": 1}}), campaigns=50, seconds=1)
    assert not found.complete
    assert found.campaigns < 50


def test_without_a_twin_one_is_fitted_to_earlier_runs_of_the_same_instrument(tmp_path: Path) -> None:
    def measure(settings: Mapping[str, Any]) -> dict[str, float]:
        return {"A": 20.0 + 30.0 * settings["x"] + 50.0 * settings["y"]}

    tree = {**BASE, "name": "rig", "instrument": RIG, "goal": {"A": {"target": 400, "tolerance": 1}}}
    plan = {**tree, "goal": None, "design": {"kind": "latin-hypercube", "trials": 15}}
    done = sdl.run(plan, runs=tmp_path, measure=measure, collect=True)
    parsed = config.parse(tree)
    with pytest.raises(ConfigError, match="python has no twin, and there is no earlier run of it"):
        forecast(parsed)
    sources = earlier_runs([Path(done.run)], parsed.instrument.identity)
    assert sources == [Path(done.run)]
    assert earlier_runs([Path(done.run)], "another") == []
    found = forecast(parsed, campaigns=2, sources=sources)
    assert found.good == 2
    assert "on a twin fitted to 15 earlier readings" in found.text()


def test_without_a_goal_there_is_nothing_to_forecast() -> None:
    with pytest.raises(ConfigError, match="without a goal"):
        forecast(config.parse({**BASE, "design": "axis"}, collect=True))
