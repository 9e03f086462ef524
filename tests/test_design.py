"""Designs: a point for every trial, always inside the bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sdl.design import Axis, Design, LatinHypercube, Points, farthest, scale
from sdl.registry import kinds
from sdl.types import Input

RGB = tuple(Input(name=name) for name in "RGB")
UNEVEN = (Input(name="R", low=-5, high=5), Input(name="T", low=200, high=1200), Input(name="d", low=0, high=1e-3))
DESIGNS: list[Any] = [
    Axis(),
    Axis(low=0, high=1),
    LatinHypercube(),
    LatinHypercube(trials=1),
    Points(points=({"R": 0.0, "T": 200.0, "d": 1e-3}, {"R": 5.0, "T": 700.0, "d": 0.0})),
]


def random_of(seed: int) -> Any:
    return lambda n: np.random.default_rng([seed, 0, n])


def walk(design: Any, inputs: tuple[Input, ...], trials: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """The points that a campaign gets that has nothing but its design, (trials, d)."""
    taken = np.empty((0, len(inputs)))
    for trial in range(trials):
        taken = np.vstack([taken, design.point(trial, taken, inputs, random_of(seed))])
    return taken


@pytest.mark.parametrize("design", DESIGNS, ids=repr)
def test_a_design_answers_for_every_trial_inside_the_bounds_and_the_same_for_the_same_seed(design: Any) -> None:
    assert isinstance(design, Design)
    trials = design.size(UNEVEN) + 10
    points = walk(design, UNEVEN, trials)
    assert points.shape == (trials, 3)
    assert (points >= [item.low for item in UNEVEN]).all()
    assert (points <= [item.high for item in UNEVEN]).all()
    assert (walk(design, UNEVEN, trials) == points).all()
    assert len(np.unique(points, axis=0)) == trials


def test_every_kind_of_design_is_walked_here() -> None:
    assert {design.kind for design in DESIGNS} == set(kinds("designs"))


@given(st.integers(1, 6), st.floats(0, 0.49), st.floats(0.51, 1))
def test_axis_points_are_all_low_and_then_each_input_high_in_turn(count: int, low: float, high: float) -> None:
    inputs = tuple(Input(name=f"x{i}", low=0, high=1) for i in range(count))
    design = Axis(low=low, high=high)
    assert design.size(inputs) == count + 1
    expected = np.vstack([np.full(count, low), np.where(np.eye(count) == 1, high, low)])
    assert walk(design, inputs, count + 1) == pytest.approx(expected)


def test_the_usual_axis_is_at_a_tenth_and_nine_tenths_of_the_range() -> None:
    assert walk(Axis(), RGB, 4).tolist() == [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]]
    assert walk(Axis(), UNEVEN[:1], 2) == pytest.approx(np.array([[-4.0], [4.0]]))


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_each_point_of_a_latin_hypercube_is_alone_in_its_slice_of_every_input(trials: int, seed: int) -> None:
    design = LatinHypercube(trials=trials)
    points = np.array([design.point(i, np.empty((0, 3)), RGB, random_of(seed)) for i in range(trials)])
    slices = np.floor(points * trials).astype(int)
    assert (np.sort(slices, axis=0) == np.arange(trials)[:, None]).all()


def test_a_point_of_a_plan_does_not_depend_on_what_was_measured() -> None:
    design = LatinHypercube(trials=5)
    elsewhere = np.full((7, 3), 0.5)
    for trial in range(5):
        alone = design.point(trial, np.empty((0, 3)), RGB, random_of(3))
        assert (design.point(trial, elsewhere, RGB, random_of(3)) == alone).all()


def test_another_seed_gives_other_points() -> None:
    design = LatinHypercube(trials=5)
    assert not (walk(design, RGB, 5, seed=1) == walk(design, RGB, 5, seed=2)).any()


def test_given_points_are_taken_as_they_are_whatever_the_order_of_their_names() -> None:
    points = Points(points=({"B": 0.3, "R": 0.1, "G": 0.2}, {"R": 1.0, "G": 0.0, "B": 0.5}))
    assert points.size(RGB) == 2
    assert walk(points, RGB, 2).tolist() == [[0.1, 0.2, 0.3], [1.0, 0.0, 0.5]]


@pytest.mark.parametrize("design", DESIGNS, ids=repr)
def test_beyond_the_plan_comes_the_point_farthest_from_those_taken(design: Any) -> None:
    low, span = np.array([i.low for i in UNEVEN]), np.array([i.high - i.low for i in UNEVEN])
    crowd = low + span * np.random.default_rng(1).uniform(0, 0.2, (50, 3))
    point = design.point(design.size(UNEVEN), crowd, UNEVEN, random_of(0))
    assert (((point - low) / span) > 0.6).all()


def test_far_is_judged_in_fractions_of_the_range() -> None:
    inputs = (Input(name="small", low=0, high=1), Input(name="large", low=0, high=1000))
    taken = np.array([[0.0, 0.0], [0.0, 500.0], [0.0, 1000.0]])  # large is covered from end to end, small is not
    assert farthest(taken, inputs, np.random.default_rng(0))[0] > 0.9


def test_of_many_random_points_none_is_farther() -> None:
    taken = np.random.default_rng(2).random((6, 2))
    inputs = RGB[:2]
    point = farthest(taken, inputs, np.random.default_rng(5))
    others = np.random.default_rng(5).random((256, 2))

    def nearest(candidate: np.ndarray[Any, Any]) -> float:
        return float(np.linalg.norm(taken - candidate, axis=1).min())

    assert nearest(point) == pytest.approx(max(map(nearest, others)))


def test_points_beyond_the_plan_spread_out() -> None:
    points = walk(Axis(), RGB[:2], 13)[3:]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(points) for b in points[:i]]
    assert min(apart) > 0.15


def test_a_design_draws_nothing_from_the_global_generator() -> None:
    before = np.random.get_state()[1].tolist()
    for design in DESIGNS:
        walk(design, UNEVEN, design.size(UNEVEN) + 2)
    assert np.random.get_state()[1].tolist() == before


def test_fractions_become_settings() -> None:
    assert scale(np.array([[0.0, 0.5, 1.0]]), UNEVEN).tolist() == [[-5.0, 700.0, 1e-3]]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Axis(low=0.9, high=0.1),
        lambda: Axis(low=0.5, high=0.5),
        lambda: Axis(high=1.1),
        lambda: LatinHypercube(trials=0),
        lambda: LatinHypercube(trials=2.0),
        lambda: Points(points=()),
    ],
)
def test_a_design_that_cannot_be_meant_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        wrong()
