"""All settings that reach a goal: two of them on y = x², a family where inputs outnumber channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sdl
from sdl.core.goal import Band, Goal
from sdl.errors import ConfigError, SolverError
from sdl.inverse.multiple import APART, MAX_SOLUTIONS, _hypercube, _search, solutions
from sdl.registry import find
from sdl.solvers.base import Data, Proposals, Targets
from sdl.space.region import Region
from sdl.types import Channel, Input, Verdict

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


def test_without_sample_paths_it_is_unknown_how_probable_a_solution_is() -> None:
    """Four solutions of two channels, by a model that only predicts; none is said to be one of a family."""
    none = np.zeros((0, 2))
    rows = Data(none, none, none.astype(bool), np.ones(2, bool), np.zeros(0), np.zeros(0), PAIR, TWO)

    class Squares:
        def predict(self, X: Any) -> Any:
            return (X - 0.5) ** 2 * 100, np.ones_like(X)

        def propose(self, targets: Targets, space: Any, rng: Any) -> Proposals:
            nothing = np.full((1, 2), np.nan)
            return Proposals(np.array([[0.6, 0.6]]), nothing, nothing, None, (Verdict.REACHABLE,), ("",))

    goal = Goal({"a": Band.around(4.0, 0.001), "b": Band.around(4.0, 0.001)})
    found = solutions(Squares(), rows, goal, np.random.default_rng(0))
    settings = sorted((round(one.settings["x"], 3), round(one.settings["y"], 3)) for one in found)
    assert settings == [(0.3, 0.3), (0.3, 0.7), (0.7, 0.3), (0.7, 0.7)]
    assert all(one.probability is None and not one.continuum for one in found)
    assert all(one.expected["a"] == pytest.approx(4.0, abs=1e-3) for one in found)


PAIR, TWO = tuple(Input(name=name) for name in "xy"), tuple(Channel(name=name) for name in "ab")


@pytest.mark.parametrize(("prefer", "sign"), [({"maximise": "x0"}, 1), ({"minimise": "x0"}, -1)])
def test_of_two_roots_the_preferred_is_listed_first(prefer: dict[str, str], sign: int) -> None:
    found = sdl.solve(*square(), [6000.0], "gp", low=-1, high=1, prefer=prefer, all_solutions=True)
    assert found.solutions[0, 0] * sign > 0
    assert len(found.solutions) == 2


# The search, on functions that are known ------------------------------------------------------------------------------
LOW, HIGH = np.array([2.0, -1.0]), np.array([6.0, 1.0])
REGION = Region.box(np.zeros(2), np.ones(2))


def bowl(X: Any) -> Any:
    """Readings x y² and x; asked for outside the bounds it fails."""
    assert ((X >= LOW - 1e-12) & (X <= HIGH + 1e-12)).all()
    Y = np.column_stack([X[:, 0] * X[:, 1] ** 2, X[:, 0]])
    return Y, np.ones_like(Y)


def asked(value: list[float], low: list[float], high: list[float]) -> Targets:
    return Targets(np.array(value), np.array(low), np.array(high))


def test_the_search_ends_at_both_roots_from_above_and_below_and_never_leaves_the_bounds() -> None:
    starts = np.array([[0.1, 0.1], [0.9, 0.45], [0.1, 0.55], [0.95, 0.99]])
    target = asked([1.0, 4.0], [0.999, 3.999], [1.001, 4.001])
    U = _search(bowl, target, starts, LOW, HIGH, REGION)
    X = LOW + U * (HIGH - LOW)
    assert X[:, 0] == pytest.approx(np.full(4, 4.0), abs=1e-3)
    assert np.sort(X[:, 1]) == pytest.approx([-0.5, -0.5, 0.5, 0.5], abs=1e-3)


def test_a_range_is_entered_at_its_nearer_end_and_the_best_come_first() -> None:
    starts = np.array([[0.1, 0.5], [0.6, 0.5], [0.9, 0.5]])
    U = _search(bowl, asked([np.nan] * 2, [-np.inf, 4.0], [np.inf, 5.0]), starts, LOW, HIGH, REGION)
    assert (LOW + U * (HIGH - LOW))[:, 0] == pytest.approx([4.0, 4.4, 5.0], abs=0.02)
    far = _search(bowl, asked([np.nan, 9.0], [-np.inf, 8.9], [np.inf, 9.1]), starts, LOW, HIGH, REGION)
    assert far.shape == (0, 2)


@pytest.mark.parametrize(("start", "end"), [([1.0, 0.2], [1.0, 0.8]), ([0.0, 0.8], [0.0, 0.2])])
def test_at_a_bound_the_other_inputs_make_up_for_what_is_missing(start: list[float], end: list[float]) -> None:
    """The first input changes the reading a hundred times as much, so the shortest step would leave the bounds."""
    sloped = lambda X: (X @ np.array([[100.0], [1.0]]), None)  # noqa: E731
    value = 100.0 * end[0] + end[1]
    target = asked([value], [value - 0.01], [value + 0.01])
    U = _search(sloped, target, np.array([start]), np.zeros(2), np.ones(2), REGION)
    assert pytest.approx(np.array([end]), abs=0.01) == U


def test_a_step_that_misses_by_more_is_not_taken_however_far_off_other_starts_are() -> None:
    """Newton's steps on this arc tangent go to and fro, the other start stays on a plateau far from the goal."""
    arc = lambda X: (np.where(X[:, 1:] > 0.5, 10.0, np.arctan(20.0 * (X[:, :1] - 0.5))), None)  # noqa: E731
    starts = np.array([[0.62, 0.2], [0.62, 0.9]])
    U = _search(arc, asked([0.0], [-1e-3], [1e-3]), starts, np.zeros(2), np.ones(2), REGION)
    assert pytest.approx(np.array([[0.5, 0.2]]), abs=1e-3) == U


def test_one_start_lies_in_each_of_as_many_equal_parts_of_every_range() -> None:
    low, high = np.array([-1.0, 2.0]), np.array([1.0, 6.0])
    starts = _hypercube(8, low, high, np.random.default_rng(0))
    parts = np.floor((starts - low) / (high - low) * 8)
    assert np.sort(parts, axis=0) == pytest.approx(np.tile(np.arange(8.0)[:, None], 2))


@dataclass
class WithModes:
    """A model that predicts x, whose sample paths have further solutions."""

    found: tuple[float, ...]
    training: Any = field(default_factory=lambda: SimpleNamespace(own_region=Region.box(np.zeros(1), np.ones(1))))

    def predict(self, X: Any) -> Any:
        return X.copy(), np.ones_like(X)

    def propose(self, targets: Targets, space: Any, rng: Any) -> Proposals:
        nothing = np.full((1, 1), np.nan)
        return Proposals(np.array([[5.0]]), nothing, nothing, None, (Verdict.REACHABLE,), ("",))

    def modes(self, target: Targets, region: Region, rng: Any) -> list[Any]:
        parts = [np.array([[(x + 2) / 10]]) for x in self.found]
        return [
            SimpleNamespace(u=p[0], members=p, probability=0.5 + 0.1 * i, is_continuum=False)
            for i, p in enumerate(parts)
        ]


def test_solutions_of_sample_paths_that_the_mean_does_not_have_are_listed_too() -> None:
    x = (Input(name="x", low=-2.0, high=8.0),)
    none = np.zeros((0, 1))
    rows = Data(none, none, none.astype(bool), np.ones(1, bool), np.zeros(0), np.zeros(0), x, (Channel(name="y"),))
    goal = Goal({"y": Band.around(3.0, 0.1)})
    found = solutions(WithModes((3.02, 7.0)), rows, goal, np.random.default_rng(0))
    assert [one.settings["x"] for one in found] == pytest.approx([3.0, 7.0], abs=0.11)
    assert [one.probability for one in found] == pytest.approx([0.5, 0.6])
    (only,) = solutions(WithModes((3.02,)), rows, goal, np.random.default_rng(0))
    assert only.probability == 0.5
    assert only.miss is not None
    assert only.miss <= 1.0
    (other,) = solutions(WithModes((-1.0,)), rows, goal, np.random.default_rng(0))[1:]
    assert other.probability == 0.0
