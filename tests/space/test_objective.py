"""A channel is maximised over choices, constraints and steps: nothing outside is asked for, and the best is found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import space_kit

import sdl
from sdl import registry
from sdl.drivers.base import space_of
from sdl.types import Input

SOLVERS = ("auto", "gp", "quadratic", "linear")


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.OURS["drivers"], "bench", "space_kit:Bench")
    space_kit.OUTSIDE.clear()


def maximised(instrument: space_kit.Bench, goal: dict[str, Any], solver: str, **more: Any) -> sdl.Result:
    tree = {"name": "best", "instrument": instrument.model_dump(mode="json"), "goal": goal, "solver": solver}
    return sdl.run({**tree, "confirm": 1, **more}, runs=None)


def of_samples(instrument: space_kit.Bench, n: int) -> list[dict[str, float]]:
    """Noise-free readings at random settings inside the space."""
    space = space_of(instrument)
    rows = space.sample(n, np.random.default_rng(0))
    return [instrument.clean(space.project(space.decode(row))[0]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
def test_nothing_outside_a_drawn_space_is_asked_for(number: int) -> None:
    rng = np.random.default_rng([16, number])
    instrument, solver = space_kit.random_bench(rng), SOLVERS[number % len(SOLVERS)]
    names = [channel.name for channel in instrument.channels]
    limit = float(np.median([readings[names[-1]] for readings in of_samples(instrument, 40)]))
    goal = {"y0": "maximise"} | ({names[-1]: {"at most": limit}} if len(names) > 1 else {})
    trials = len(instrument.inputs) + sum(len(item.choices or ()) for item in instrument.inputs) + 8
    done = maximised(instrument, goal, solver, stop={"trials": trials, "unreachable": None})
    assert not space_kit.OUTSIDE, f"{number} ({solver}): {space_kit.OUTSIDE[:3]}"
    assert done.outcome != "failed", done.reason


def test_the_best_of_four_solvents_and_the_best_mixture_with_it_are_found() -> None:
    instrument = space_kit.Bench(
        inputs=(
            Input(name="solvent", choices=("water", "ethanol", "acetone", "hexane")),
            *(Input(name=name, high=300.0, step=5.0) for name in ("red", "yellow")),
        ),
        constraints=("red + yellow <= 300",),
        seed=3,
        noise=0.001,
    )
    done = maximised(instrument, {"y0": "maximise"}, "auto", stop={"trials": 25, "improvement": "1%"})
    assert not space_kit.OUTSIDE
    best = max(readings["y0"] for readings in of_samples(instrument, 4000))
    assert instrument.clean(done.settings)["y0"] > best - 0.02 * abs(best)
    assert done.objective is not None
    assert done.objective.value is not None
    assert math.isclose(done.objective.value, done.measured["y0"])
