"""Drawn spaces, designs and solvers: whatever they are, nothing outside the space is asked of the instrument."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import space_kit
from waiting import LONG

import sdl
from sdl import config
from sdl.drivers.base import space_of
from sdl.errors import ConfigError

DESIGNS = (
    "axis", "latin-hypercube", "sobol", "farthest", "factorial", "box-behnken", "central-composite", "d-optimal",
    "adaptive",
)  # fmt: skip
SOLVERS = (
    "auto", "linear", "quadratic", "gp", "bayes", "broyden", "pls", "gmm", "random", "mcmc", "continuation",
)  # fmt: skip
REFUSES_CHOICES = {"bayes", "broyden", "pls", "gmm", "mcmc", "continuation"}
LONGEST = 10.0  # seconds of computing between two settings


benches = space_kit.benches
pytestmark = pytest.mark.usefixtures("benches")


def play(number: int) -> str:
    """Run the triple with this number, and return its outcome, or `refused`."""
    rng = np.random.default_rng([15, number])
    instrument = space_kit.random_bench(rng)
    design, solver = str(rng.choice(DESIGNS)), str(rng.choice(SOLVERS))
    target = instrument.clean(_somewhere(instrument, rng))
    outside = rng.random() < 0.2
    campaign: dict[str, Any] = {
        "name": "triple",
        "instrument": instrument.model_dump(mode="json"),
        "goal": {name: {"target": value + 3.0 * outside, "tolerance": 0.01} for name, value in target.items()},
        "design": {"kind": design} | ({"solver": "linear"} if design == "adaptive" else {}),
        "solver": solver,
        "seed": number,
        "confirm": 0,
    }
    if design in ("latin-hypercube", "sobol", "farthest", "adaptive"):
        campaign["design"]["trials"] = 8
    at: list[float] = [time.process_time()]

    def watch(*_: Any) -> None:
        took, at[0] = time.process_time() - at[0], time.process_time()
        assert took < LONGEST, f"triple {number}: {took:.1f} s ({design}, {solver}, {instrument})"

    try:
        size = config.parse(campaign | {"stop": {"trials": 1}})
        first = min(config.design_points(size), 30)
        result = sdl.run(campaign | {"stop": {"trials": first + 3, "unreachable": None}}, runs=None, watch=watch)
    except ConfigError as error:
        said = str(error)
        choices = any(item.choices for item in instrument.inputs)
        assert (
            (choices and solver in REFUSES_CHOICES and "cannot handle the choices of" in said)
            or design in ("box-behnken", "central-composite", "d-optimal", "factorial")
            or "points are fewer than" in said
        ), f"triple {number}: {said}"
        return "refused"
    assert not space_kit.OUTSIDE, f"triple {number} ({design}, {solver}): {space_kit.OUTSIDE[:3]}"
    assert result.outcome != "failed", f"triple {number} ({design}, {solver}, {instrument}): {result.reason}"
    return str(result.outcome)


def _somewhere(instrument: space_kit.Bench, rng: np.random.Generator) -> dict[str, Any]:
    space = space_of(instrument)
    return space.project(space.decode(space.sample(1, rng)[0]))[0]


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 40, 10))
def test_no_setting_is_outside_the_space_and_no_step_takes_long(start: int) -> None:
    outcomes = [play(number) for number in range(start, start + 10)]
    assert outcomes.count("refused") < 8
    assert "reached" in outcomes


@LONG
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("start", range(100, 2000, 100))
def test_no_setting_is_outside_the_space_in_two_thousand_triples(start: int) -> None:
    for number in range(start, start + 100):
        play(number)
