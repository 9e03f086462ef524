"""Inputs that move in steps: which combination is taken, and what is said where none will do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sdl.core.goal import Band, Goal
from sdl.grammar import parse_constraint
from sdl.inverse.discrete import on_steps, tolerance_ratios
from sdl.inverse.propose import propose
from sdl.solvers.base import Data, Targets
from sdl.solvers.linear import Linear
from sdl.space import Space
from sdl.types import Channel, Input, Verdict

GAINS = np.array([[1000.0, 900.0], [900.0, 1000.0]])
"""Two channels that hardly tell two inputs apart: rounding one input alone is felt by both."""


def predict(X: Any) -> Any:
    Y = X @ GAINS.T
    return Y, np.full_like(Y, 1.0)


def goal_at(u: list[float], tolerance: float) -> Targets:
    value = GAINS @ u
    return Targets(value, value - tolerance, value + tolerance)


def inputs(*steps: float | None) -> tuple[Input, ...]:
    return tuple(Input(name=f"x{i}", step=step) for i, step in enumerate(steps))


def test_the_combination_is_best_and_not_each_input_by_itself() -> None:
    u = [0.26, 0.26]
    target = goal_at(u, 10.0)
    found = on_steps(predict, u, Space(inputs(0.1, 0.1)), target)
    assert found is not None
    grid = np.array([[a / 10, b / 10] for a in range(11) for b in range(11)])
    best = tolerance_ratios(target, grid @ GAINS.T).min()
    assert tolerance_ratios(target, found.settings[None] @ GAINS.T)[0] == pytest.approx(best)
    assert tolerance_ratios(target, np.round(np.array([u]), 1) @ GAINS.T)[0] > 1.5 * best


def test_an_input_without_a_step_makes_up_for_the_others() -> None:
    target = goal_at([0.27, 0.31], 60.0)
    found = on_steps(predict, [0.27, 0.31], Space(inputs(0.1, None)), target)
    assert found is not None
    assert found.settings[0] == pytest.approx(0.3)
    assert found.settings[1] == pytest.approx(0.28, abs=0.02)
    assert found.hits


def test_without_steps_or_with_too_many_combinations_nothing_is_done() -> None:
    target = goal_at([0.5, 0.5], 10.0)
    assert on_steps(predict, [0.5, 0.5], Space(inputs(None, None)), target) is None
    many = Space([Input(name=f"x{i}", step=0.1) for i in range(13)])
    assert on_steps(lambda X: (X, X), [0.55] * 13, many, Targets(*np.zeros((3, 13)))) is None


@pytest.mark.parametrize("ends", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
def test_the_steps_stay_inside_the_bounds(ends: list[float]) -> None:
    found = on_steps(predict, ends, Space(inputs(0.3, 0.3)), goal_at(ends, 10.0))
    assert found is not None
    assert found.settings.min() >= 0
    assert found.settings.max() <= 0.9 + 1e-9  # the last step of 0.3 below 1


# Asked by name ----------------------------------------------------------------------------------------------------
def data(step: float | None, n: int = 12, top: float = 1e5) -> Data:
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(n, 2))
    Y = X @ GAINS.T + rng.normal(size=(n, 2)) * 0.1
    items, channels = inputs(step, step), (Channel(name="a", high=top), Channel(name="b"))
    return Data(X, Y, np.zeros((n, 2), bool), np.ones(2, bool), np.arange(n)[::-1] * 1.0, np.zeros(n), items, channels)


def goal(u: list[float], tolerance: float) -> Goal:
    return Goal({n: Band.around(v, tolerance) for n, v in zip("ab", (GAINS @ u).tolist(), strict=True)})


def asked(rows: Data, wanted: Goal, background: dict[str, float] | None = None) -> Any:
    return propose(Linear(), rows, wanted, np.random.default_rng(0), background)


def test_between_two_steps_is_said_with_the_two_nearest_readings() -> None:
    wanted = goal([0.23, 0.23], 20.0)
    answer = asked(data(0.1), wanted)
    assert answer.verdict is Verdict.BETWEEN_STEPS
    assert "the two nearest are a " in answer.why
    assert "; or a " in answer.why
    assert max(part["by"] for part in answer.shortfall.values()) > 0
    assert answer.shortfall["a"]["nearest"] == pytest.approx(answer.expected["a"])
    assert all(value * 10 == pytest.approx(round(value * 10)) for value in answer.settings.values())
    assert asked(data(0.1), goal([0.23, 0.23], 120.0)).verdict is Verdict.REACHABLE
    assert asked(data(None), wanted).verdict is Verdict.REACHABLE


def test_a_goal_out_of_reach_stays_out_of_reach_whatever_the_steps() -> None:
    answer = asked(data(0.1, 40), goal([1.5, 1.5], 20.0))
    assert answer.verdict is Verdict.UNREACHABLE
    assert answer.shortfall["a"]["nearest"] == pytest.approx(1900, abs=5)
    assert "the nearest are a 19" in answer.why


def test_the_nearest_readings_are_raw_with_the_background_in_them() -> None:
    plain, lit = (asked(data(None, 40), goal([1.5, 1.5], 20.0), base) for base in (None, {"a": 100.0}))
    assert lit.shortfall["a"]["by"] == pytest.approx(plain.shortfall["a"]["by"] - 100, abs=20)
    assert lit.shortfall["a"]["nearest"] > plain.shortfall["a"]["nearest"] + 50


def test_a_goal_above_saturation_and_a_place_that_was_saturated_are_called_saturated() -> None:
    above = asked(data(None, top=1800.0), Goal({"a": Band.around(1850.0, 20.0), "b": Band.around(1850.0, 20.0)}))
    assert above.verdict is Verdict.SATURATED
    assert "a saturates at 1800, below 1830" in above.why
    wanted, rows = goal([0.5, 0.5], 20.0), data(None, top=1800.0)
    full = replace(
        rows,
        X=np.vstack([rows.X, [[0.5, 0.5]]]),
        Y=np.vstack([rows.Y, [[1800.0, 950.0]]]),
        saturated=np.vstack([rows.saturated, [[True, False]]]),
        age=np.append(rows.age + 1, 0.0),
        session=np.zeros(13),
    )
    assert asked(rows, wanted).verdict is Verdict.REACHABLE
    there = asked(full, wanted)
    assert there.verdict is Verdict.SATURATED
    assert "a was saturated where it was measured at these settings" in there.why


def test_the_ratio_of_readings_is_that_of_the_goal_s_bands() -> None:
    """`Band.miss` is the rule; targets with unequal sides, ranges and limits, one setting at a time and together."""
    bands = [Band(100.0, 90.0, 130.0), Band.between(40.0, 60.0), Band.at_least(50.0, 1.0), Band.at_most(2000.0, 20.0)]
    value = np.array([100.0, np.nan, np.nan, np.nan])
    target = Targets(value, np.array([band.low for band in bands]), np.array([band.high for band in bands]))
    Y = np.array(
        [[95.0, 50.0, 60.0, 10.0], [115.0, 63.0, 60.0, 10.0], [100.0, 35.0, 49.0, 10.0], [100.0, 50.0, 51.0, 2030.0]]
    )
    exact = [max(b.miss(y) for b, y in zip(bands, row, strict=True)) for row in Y.tolist()]
    assert tolerance_ratios(target, Y) == pytest.approx(exact)
    assert exact[0] == 0.5
    assert min(exact[1:]) > 1.0


def test_a_continuous_input_of_another_range_makes_up_for_the_steps() -> None:
    """Against every step of the first input with the best of a fine grid of the second."""
    space = Space((Input(name="x0", low=0.0, high=200.0, step=20.0), Input(name="x1", low=0.0, high=0.5)))

    def predict(X: Any) -> Any:
        Y = X / [200.0, 0.5] @ GAINS.T
        return Y, np.ones_like(Y)

    target = goal_at([0.27, 0.31], 60.0)
    found = on_steps(predict, [54.0, 0.155], space, target)
    assert found is not None
    grid = np.array([[a, b] for a in np.arange(0, 201, 20.0) for b in np.linspace(0, 0.5, 5001)])
    best = tolerance_ratios(target, predict(grid)[0]).min()
    assert tolerance_ratios(target, predict(found.settings[None])[0])[0] == pytest.approx(best, abs=0.2)


def test_where_one_combination_alone_keeps_the_constraints_it_is_taken() -> None:
    space = Space([Input(name="a", step=1.0), Input(name="b", step=1.0)], [parse_constraint("a + b <= 0.5")])
    target = Targets(np.array([0.4]), np.array([0.3]), np.array([0.5]))
    found = on_steps(lambda X: (X.sum(axis=1, keepdims=True), X), [0.2, 0.2], space, target)
    assert found is not None
    assert found.settings.tolist() == [0.0, 0.0]
    assert (found.hits, found.hits_between) == (False, True)
    assert found.readings.tolist() == [[0.0], [0.0]]
