"""The path from a measured pair to the goal: it ends there, on the branch of its start, and is held at the bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from led import GAINS, LOW, ask, axis, data, measure, night, space, targets
from pydantic import ValidationError

from sdl.errors import NotEnoughData
from sdl.solvers.base import Targets
from sdl.solvers.continuation import Continuation
from sdl.space import Space
from sdl.testing.solver_contract import AffinePlant
from sdl.types import Channel, Input, Verdict

GOAL = [16384.0] * 3
ONE = (Input(name="x", low=-1.0, high=1.0, step=None),)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def curved(X: Any) -> Any:
    return (X + 0.8 * X * (1 - X)) @ GAINS.T


@pytest.mark.parametrize("model", ["gp", "bayes", "linear", "smooth"])
def test_without_noise_the_path_ends_at_the_goal_whatever_the_model(model: Any) -> None:
    X = np.vstack([axis(), rng(1).uniform(0.1, 0.9, (30, 3))])
    answer = ask(Continuation(model=model), data(X, X @ GAINS.T + 100), GOAL)
    assert GAINS @ answer.settings[0] + 100 == pytest.approx(16384, rel=2e-3)
    assert answer.verdict == (Verdict.REACHABLE,)


def test_on_a_bent_plant_the_end_is_right_where_the_model_is() -> None:
    X = np.vstack([axis(), rng(1).uniform(0.05, 0.95, (40, 3))])
    answer = ask(Continuation(), data(X, curved(X)), GOAL)
    assert curved(answer.settings) == pytest.approx(16384, rel=0.01)


def test_a_wrong_model_is_put_right_by_a_pair_close_to_the_goal() -> None:
    """A line on a bent plant misses by percents; started next to the goal it has nothing to be wrong about."""
    X = np.vstack([axis(), rng(1).uniform(0.1, 0.9, (12, 3))])
    off = []
    for _ in range(6):
        settings = ask(Continuation(model="linear"), data(X, curved(X)), GOAL).settings
        off.append(np.abs(curved(settings) / 16384 - 1).max())
        X = np.vstack([X, settings])
    assert off[0] > 0.04
    assert off[-1] < 0.002


def test_it_starts_from_the_measured_pair_nearest_to_the_goal_and_says_so() -> None:
    rows = night(20)
    answer = ask(Continuation(), rows, GOAL)
    half = np.maximum(
        0.02 * 16384, 0.01 * GAINS.sum(axis=1)
    )  # a miss counts in tolerances, or per cent of the response
    off = np.abs((rows.Y - 16384) / half).max(axis=1)
    place = ", ".join(f"{name} {value:.4g}" for name, value in zip("RGB", rows.X[off.argmin()], strict=True))
    assert f"from a reading at {place}" in answer.why[0]


def test_repeated_readings_at_the_start_count_together_and_make_it_surer() -> None:
    x = np.array([[0.55, 0.25, 0.53]])
    X = np.vstack([axis(), rng(3).uniform(0.6, 0.9, (20, 3)), np.repeat(x, 9, axis=0)])
    many = ask(Continuation(), data(X, measure(X, rng(4))), GOAL)
    few = ask(Continuation(), data(X[:-8], measure(X, rng(4))[:-8]), GOAL)
    assert "from 9 readings at R 0.55, G 0.25, B 0.53" in many.why[0]
    assert "from a reading at R 0.55" in few.why[0]
    assert (many.uncertainty < 0.6 * few.uncertainty).all()
    assert (many.spread > many.uncertainty).all()


def test_on_a_parabola_it_stays_on_the_branch_that_it_starts_from() -> None:
    for sign in (1, -1):
        x = np.linspace(-1, 1, 15)[:, None]
        x = x[~np.isclose(x[:, 0], -sign * 4 / 7)]  # the pair nearest to the goal is on one side only
        rows = data(x, 10_000 * x**2 + 500, inputs=ONE, channels=(Channel(name="y"),))
        answer = (
            Continuation(model="smooth").fit(rows).propose(targets([3900.0]), space(-np.ones(1), np.ones(1)), rng())
        )
        assert answer.settings[0, 0] == pytest.approx(sign * np.sqrt(0.34), abs=0.01)


# Bounds --------------------------------------------------------------------------------------------------------------
def test_an_input_that_comes_to_its_bound_is_held_and_the_others_go_on() -> None:
    goal = GAINS @ np.array([1.2, 0.4, 0.3])
    answer = ask(Continuation(), night(20), goal)
    assert answer.settings[0, 0] == pytest.approx(1, abs=1e-9)
    assert "R held at its bound from" in answer.why[0]
    assert (GAINS @ answer.settings[0])[:2] == pytest.approx(goal[:2], rel=0.02)
    assert answer.verdict == (Verdict.UNREACHABLE,)


def test_a_goal_far_beyond_everything_ends_in_a_corner() -> None:
    answer = ask(Continuation(model="linear"), night(12), [2.0**18] * 3)
    assert answer.settings[0] == pytest.approx(1)
    assert answer.why[0].count("held at its bound") == 3


def test_a_start_on_the_bound_may_leave_it_inwards_and_is_held_outwards() -> None:
    X = np.vstack([axis(), [[0.0, 0.25, 0.5], [0.0, 0.3, 0.6]]])
    rows = data(X, X @ GAINS.T)
    inwards = ask(Continuation(model="linear"), rows, GAINS @ np.array([0.05, 0.25, 0.5]))
    assert inwards.settings[0] == pytest.approx([0.05, 0.25, 0.5], abs=1e-3)
    outwards = ask(Continuation(model="linear"), rows, GAINS @ np.array([-0.05, 0.27, 0.5]))
    assert outwards.settings[0, 0] == pytest.approx(0, abs=1e-9)
    assert "R held at its bound from 0% of the way" in outwards.why[0]


def test_bounds_narrower_than_the_instrument_s_are_kept() -> None:
    fitted = Continuation(model="linear").fit(night(12))
    answer = fitted.propose(targets(GAINS @ np.array([0.8, 0.4, 0.4])), space(LOW, np.array([0.6, 1, 1])), rng())
    assert answer.settings[0, 0] <= 0.6


# Shapes --------------------------------------------------------------------------------------------------------------
def test_more_inputs_than_goals_take_the_shortest_way() -> None:
    plant, X = AffinePlant(4, 3), np.array([[0.4, 0.5, 0.6, 0.5]])
    rows, goal = plant.data(30), plant.targets(X)
    answer = Continuation(model="linear").fit(rows).propose(goal, Space(plant.inputs), rng())
    assert np.abs(plant.clean(answer.settings) / goal.value - 1).max() < 0.02
    nearest = np.abs(rows.Y / goal.value - 1).max(axis=1).argmin()
    room = 0.02 * goal.value[0]
    J = plant.gain / room[:, None]
    way = np.linalg.pinv(J) @ ((goal.value[0] - rows.Y[nearest]) / room)
    assert answer.settings[0] - rows.X[nearest] == pytest.approx(way, abs=0.02)


def test_a_band_that_the_path_would_break_is_kept_though_the_lines_nearest_settings_keep_it() -> None:
    """515 nm between two limits alone is reached by more green alone, from a row too bright in blue."""
    rows = night(12)
    nan = np.full((1, 3), np.nan)
    low, high = np.array([[8000.0, 20000.0, -np.inf]]), np.array([[12000.0, 21000.0, np.inf]])
    answer = Continuation().fit(rows).propose(Targets(nan, low, high), space(), rng())
    reads = GAINS @ answer.settings[0]
    assert (reads >= low[0]).all()
    assert (reads <= high[0]).all()


def test_more_goals_than_inputs_take_the_least_squares() -> None:
    plant, X = AffinePlant(1, 3), np.array([[0.4]])
    answer = Continuation(model="linear").fit(plant.data(20)).propose(plant.targets(X), Space(plant.inputs), rng())
    assert answer.settings == pytest.approx(X, abs=0.01)


def test_without_a_complete_reading_there_is_nothing_to_start_from() -> None:
    rows = night(12)
    rows.Y[::2, 0] = np.nan
    rows.Y[1::2, 1] = np.nan
    with pytest.raises(NotEnoughData):
        Continuation(model="bayes").fit(rows)


@pytest.mark.parametrize("wrong", [{"model": "forest"}, {"precision": 0.0}, {"precision": 1.0}])
def test_options_that_cannot_be_meant_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Continuation(**wrong)


def test_the_precision_asked_for_is_that_of_the_path() -> None:
    assert Continuation(precision=1e-3).fit(night(12)).precision == 1e-3
    assert Continuation().fit(night(12)).precision == 1e-5


def test_two_readings_at_the_start_are_called_two() -> None:
    X = np.vstack([axis(), rng(3).uniform(0.6, 0.9, (20, 3)), [[0.55, 0.25, 0.53]] * 2])
    answer = ask(Continuation(model="linear"), data(X, measure(X, rng(4))), GOAL)
    assert "from 2 readings at R 0.55" in answer.why[0]
