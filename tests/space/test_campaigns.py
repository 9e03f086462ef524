"""Campaigns with choices and constraints, from the design to the goal, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import space_kit
from waiting import LONG

import sdl
from sdl import config
from sdl.errors import ConfigError
from sdl.replay.engine import replay

benches = space_kit.benches
pytestmark = pytest.mark.usefixtures("benches")


def solvents(seed: int, solver: Any, reaches: str = "dmso", **options: Any) -> dict[str, Any]:
    goal = {"y": {"target": 95, "tolerance": 1.5}, "z": {"target": 28, "tolerance": 1.5}}
    return {
        "name": "solvents",
        "instrument": {"kind": "solvents", "seed": seed, "reaches": reaches},
        "goal": goal,
        "solver": solver,
        "stop": {"trials": 12},
        "confirm": 0,
        "seed": seed,
        **options,
    }


def dyes(seed: int, solver: str = "auto", **options: Any) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 7])
    volumes = np.full(3, 300.0)
    while not (20 < volumes.sum() <= 300 and space_kit.colour(volumes).min() > 3):
        volumes = np.round(rng.uniform(0, 300, 3) / 5) * 5
    goal = {n: {"target": float(v), "tolerance": 4.0} for n, v in zip("RGB", space_kit.colour(volumes), strict=True)}
    instrument = {"kind": "dyes", "seed": seed}
    stop = {"trials": 20}
    return {
        "name": "dyes", "instrument": instrument, "goal": goal, "solver": solver, "stop": stop, "seed": seed,
        "confirm": 0, **options,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["auto", pytest.param("gp", marks=LONG)])
def test_the_one_solvent_of_three_that_reaches_is_found_within_twelve_trials(solver: str) -> None:
    outcomes = [
        sdl.run(solvents(seed, solver, ("dmso", "ethanol", "water")[seed % 3]), runs=None).outcome for seed in range(20)
    ]
    assert outcomes.count("reached") >= 19
    assert "unreachable" not in outcomes


@LONG
@pytest.mark.parametrize("solver", ["linear", "quadratic"])
def test_a_linear_model_and_a_surface_find_it_within_a_few_trials_more(solver: str) -> None:
    stop = {"trials": 20}
    for seed in range(20):
        reaches = ("dmso", "ethanol", "water")[seed % 3]
        assert sdl.run(solvents(seed, solver, reaches, stop=stop), runs=None).outcome == "reached"


@pytest.mark.slow
def test_a_goal_that_no_solvent_reaches_is_called_so_only_after_each_was_tried() -> None:
    goal = {"y": {"target": 400, "tolerance": 1.5}, "z": {"target": 28, "tolerance": 1.5}}
    tried: set[object] = set()
    result = sdl.run(
        solvents(0, "gp", goal=goal, stop={"trials": 40}),
        runs=None,
        watch=lambda event, *_: (
            tried.add(event.settings["solvent"]) if hasattr(event, "expected") and event.expected else None
        ),
    )
    assert result.outcome == "unreachable"
    assert tried == {"water", "ethanol", "dmso"}


@pytest.mark.slow
def test_twenty_colours_are_mixed_inside_the_well() -> None:
    results = [sdl.run(dyes(seed), runs=None) for seed in range(20)]
    assert space_kit.OUTSIDE == []
    assert [result.outcome for result in results] == ["reached"] * 20
    trials = [result.trials for result in results]
    assert np.median(trials) <= 8
    assert np.quantile(trials, 0.95) <= 11


@LONG
@pytest.mark.parametrize(
    "solver", ["linear", "quadratic", "gp", "bayes", "gmm", "pls", "broyden", "mcmc", "continuation", "random"]
)
def test_every_solver_stays_inside_the_well(solver: str) -> None:
    results = [sdl.run(dyes(seed, solver), runs=None) for seed in range(3)]
    assert space_kit.OUTSIDE == []
    assert not any(result.outcome in ("failed", "unreachable") for result in results)


@pytest.mark.slow
def test_a_goal_beyond_the_well_is_unreachable_although_the_pumps_alone_could() -> None:
    goal = {
        n: {"target": float(v), "tolerance": 1.0} for n, v in zip("RGB", space_kit.colour([150, 150, 150]), strict=True)
    }
    result = sdl.run(dyes(0, "gp", goal=goal, stop={"trials": 30}), runs=None)
    assert result.outcome in ("unreachable", "spent")
    assert space_kit.OUTSIDE == []


@pytest.mark.parametrize("solver", ["broyden", "pls", "gmm", "bayes", "mcmc", "continuation"])
def test_a_solver_that_cannot_handle_choices_is_refused_before_anything_is_measured(solver: str) -> None:
    with pytest.raises(ConfigError, match=f"{solver} cannot handle the choices of solvent; use auto, linear, gp"):
        config.parse(solvents(0, solver))


def test_auto_leaves_out_candidates_that_cannot_and_is_refused_without_any() -> None:
    config.parse(solvents(0, "auto"))
    only = {"kind": "auto", "candidates": ["bayes", "gmm"]}
    with pytest.raises(ConfigError, match="cannot handle the choices of solvent"):
        config.parse(solvents(0, only))
    without = {"kind": "linear", "intercept": False}
    with pytest.raises(ConfigError, match="cannot handle the choices of solvent"):
        config.parse(solvents(0, without))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"constraints": ["x0 + x1 <= -1"]}, "no settings keep x0 \\+ x1 <= -1"),
        ({"constraints": ["x0 + x9 <= 1"]}, "unknown input x9; allowed: x0, x1"),
        ({"constraints": ["x0 + c2 <= 1"]}, "c2 has choices and no numbers"),
        ({"constraints": ["x0 * x1 <= 1"]}, "linear"),
    ],
)
def test_constraints_that_cannot_be_kept_are_mistakes_in_the_file(changes: dict[str, Any], said: str) -> None:
    inputs = [{"name": "x0"}, {"name": "x1"}, {"name": "c2", "choices": ["a", "b"]}]
    campaign = {"name": "c", "instrument": {"kind": "bench", "inputs": inputs, **changes}, "goal": {"y0": 3}}
    with pytest.raises(ConfigError, match=said):
        config.parse(campaign | {"solver": "gp"})


def test_off_settings_that_break_a_constraint_are_a_caution() -> None:
    inputs = [{"name": "x0"}, {"name": "x1"}]
    instrument = {"kind": "bench", "inputs": inputs, "constraints": ["x0 + x1 >= 0.5"]}
    campaign = config.parse({"name": "c", "instrument": instrument, "goal": {"y0": 3}, "solver": "gp"})
    assert any("x0 = 0.0, x1 = 0.0 breaks the constraint x0 + x1 >= 0.5" in text for text in config.cautions(campaign))


def test_listed_points_must_be_feasible_and_may_name_choices() -> None:
    points = [
        {"T": 20, "c": 1, "solvent": "acetone"},
        {"T": 20, "c": 1, "solvent": "dmso"},
        {"T": "x", "c": 1, "solvent": "dmso"},
    ]
    with pytest.raises(ConfigError) as refused:
        config.parse(solvents(0, "auto", design={"kind": "points", "points": points}))
    said = [str(problem) for problem in refused.value.problems]
    assert any("design.points.0.solvent" in text and "none of the choices" in text for text in said)
    assert any("design.points.2.T: must be a number" in text for text in said)
    full = [{"red": 200, "yellow": 100, "blue": 50}]
    with pytest.raises(ConfigError, match="breaks the constraint red \\+ yellow \\+ blue <= 300"):
        config.parse(dyes(0, design={"kind": "points", "points": full}))


def test_a_preference_is_about_numbers() -> None:
    with pytest.raises(ConfigError, match="must be one of power, T, c, not 'solvent'"):
        config.parse(solvents(0, "auto", prefer={"minimise": "solvent"}))
    result = sdl.run(solvents(1, "gp", "water", prefer={"minimise": "T"}, stop={"trials": 16}), runs=None)
    assert result.outcome == "reached"


def test_a_run_with_choices_is_resumed_replayed_and_used_as_a_prior(tmp_path: Path) -> None:
    first = sdl.run(solvents(1, "gp", stop={"trials": 6}), runs=tmp_path)
    assert first.outcome == "spent"
    second = sdl.resume(first.run, changes=["stop.trials=14"])
    assert (second.outcome, second.settings["solvent"]) == ("reached", "dmso")
    replayed = replay(Path(first.run))
    assert replayed.same, replayed
    again = sdl.run(solvents(2, "gp", prior=[first.run], stop={"trials": 5}), runs=tmp_path)
    assert again.outcome == "reached"
    assert again.trials <= 2


def test_a_run_under_constraints_remembers_them(tmp_path: Path) -> None:
    result = sdl.run(dyes(3, confirm=1), runs=tmp_path)
    run = sdl.open_run(result.run)
    assert run.opened.instrument["constraints"] == ["red + yellow + blue <= 300"]
    assert run.campaign.history.space is not None
    assert "constraints" not in sdl.open_run(sdl.run(solvents(0, "gp"), runs=tmp_path).run).opened.instrument
