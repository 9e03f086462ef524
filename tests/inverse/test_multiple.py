"""All settings that reach a goal: two of them on y = x², a family where inputs outnumber channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sdl
from sdl.core.goal import Band, Goal
from sdl.errors import ConfigError, SolverError
from sdl.inverse.multiple import APART, MAX_SOLUTIONS, solutions
from sdl.registry import find
from sdl.solvers.base import Data
from sdl.types import Channel, Input

WIDE = np.array([[1000.0, 50.0, 30.0, 400.0], [40.0, 1000.0, 60.0, 500.0], [20.0, 30.0, 1000.0, 300.0]])
"""Four inputs, three channels."""


def square(n: int = 60) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 1))
    return X, 1000 + 20000 * X**2 + rng.normal(size=(n, 1)) * 40


def wide(n: int = 30) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(n, 4))
    return X, X @ WIDE.T + rng.normal(size=(n, 3)) * 0.5


@pytest.mark.parametrize(
    ("solver", "off"),
    [("gp", 0.02), ({"kind": "gmm", "components": "bic"}, 0.06), ({"kind": "forest", "trend": "none"}, 0.06)],
)
def test_both_roots_of_a_square_are_found(solver: Any, off: float) -> None:
    found = sdl.solve(*square(), [6000.0], solver, low=-1, high=1, all_solutions=True)
    assert found.solutions.shape == (2, 1)
    assert found.solutions[:, 0] == pytest.approx([-0.5, 0.5], abs=off)


def test_nothing_is_listed_where_no_settings_hit_and_nothing_where_it_was_not_asked_for() -> None:
    X, Y = wide()
    assert sdl.solve(X, Y, [1e5, 1e5, 1e5], "linear", all_solutions=True).solutions.shape == (0, 4)
    assert sdl.solve(X, Y, [500.0, 500.0, 500.0], "linear").solutions is None


@pytest.mark.parametrize("solver", ["linear", "bayes", "gmm"])
def test_a_family_is_listed_by_members_that_all_hit_and_differ(solver: str) -> None:
    found = sdl.solve(*wide(), [600.0, 600.0, 600.0], solver, all_solutions=True).solutions
    assert 4 <= len(found) <= MAX_SOLUTIONS
    assert found @ WIDE.T == pytest.approx(np.full((len(found), 3), 600.0), rel=0.02)
    apart = np.abs(found[:, None] - found[None]).max(axis=2) + np.eye(len(found))
    assert apart.min() >= APART - 1e-6
    assert np.ptp(found[:, 3]) > 0.3


def test_the_preferred_of_them_comes_first() -> None:
    X, Y = wide()
    least = sdl.solve(X, Y, [600.0] * 3, "linear", prefer={"minimise": "x3"}, all_solutions=True)
    most = sdl.solve(X, Y, [600.0] * 3, "linear", prefer={"maximise": "x3"}, all_solutions=True)
    assert least.settings[3] == pytest.approx(0, abs=1e-6)
    assert least.solutions[0, 3] == least.solutions[:, 3].min()
    assert most.solutions[0, 3] == most.solutions[:, 3].max() > 0.5


def test_the_same_seed_lists_the_same() -> None:
    X, Y = wide()
    one, other = (sdl.solve(X, Y, [600.0] * 3, "gmm", all_solutions=True).solutions for _ in range(2))
    assert one.tobytes() == other.tobytes()


def test_data_frames_come_back_as_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    X, Y = wide()
    frame = pandas.DataFrame(X, columns=list("RGBW"))
    found = sdl.solve(frame, pandas.DataFrame(Y), [600.0] * 3, "linear", all_solutions=True).solutions
    assert list(found.columns) == list("RGBW")


def test_limits_and_preferences_are_taken_by_name_and_mistakes_are_told() -> None:
    X, Y = wide()
    found = sdl.solve(X, Y, {"y0": 600.0, "y1": {"at most": 300}}, "bayes", prefer={"minimise": "power"})
    got = WIDE @ found.settings
    assert got[0] == pytest.approx(600, rel=0.02)
    assert got[1] < 300
    with pytest.raises(ConfigError, match="must be one of power, x0, x1, x2, x3"):
        sdl.solve(X, Y, [600.0] * 3, prefer={"minimise": "W"})
    with pytest.raises(ConfigError, match="first number must be below"):
        sdl.solve(X, Y, {"y0": {"between": (2, 1)}})


def test_a_model_that_neither_predicts_nor_samples_says_so() -> None:
    X, Y = wide()
    rows = Data(
        X,
        Y,
        np.zeros(Y.shape, bool),
        np.ones(3, bool),
        np.arange(len(X))[::-1] * 1.0,
        np.zeros(len(X)),
        tuple(Input(name=f"x{i}") for i in range(4)),
        tuple(Channel(name=f"y{i}") for i in range(3)),
    )
    fitted = find("solvers", "random")().fit(rows)
    goal = Goal({"y0": Band.around(600.0, 12.0)})
    with pytest.raises(SolverError, match="neither predicts readings nor samples"):
        solutions(fitted, rows, goal, np.random.default_rng(0))


@pytest.mark.parametrize(("prefer", "sign"), [({"maximise": "x0"}, 1), ({"minimise": "x0"}, -1)])
def test_of_two_roots_the_preferred_is_listed_first(prefer: dict[str, str], sign: int) -> None:
    found = sdl.solve(*square(), [6000.0], "gp", low=-1, high=1, prefer=prefer, all_solutions=True)
    assert found.solutions[0, 0] * sign > 0
    assert len(found.solutions) == 2
