"""Designs in spaces with choices and constraints: feasible points, every choice, and refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sdl.designs.adaptive import Adaptive
from sdl.designs.classical import BoxBehnken, CentralComposite, DOptimal, Factorial
from sdl.designs.filling import Axis, Farthest, LatinHypercube, Points, Sobol
from sdl.designs.placed import placed
from sdl.errors import ConfigError
from sdl.grammar import parse_constraint
from sdl.space import Space
from sdl.types import Input

DYES = tuple(Input(name=name, high=300.0, step=5.0) for name in ("red", "yellow", "blue"))
SOLVENT = Input(name="solvent", choices=("water", "ethanol", "dmso"))
SALT = Input(name="salt", choices=("none", "NaCl"))
WELL = (parse_constraint("red + yellow + blue <= 300"),)
FULL = (parse_constraint("red + yellow + blue = 300"),)
DESIGNS: list[Any] = [
    Axis(), Axis(low=0, high=1), LatinHypercube(trials=12), Sobol(trials=12), Farthest(trials=12), Factorial(levels=3),
    Factorial(), CentralComposite(), DOptimal(), DOptimal(model="quadratic"), Adaptive(trials=12),
]  # fmt: skip


def walk(design: Any, space: Space, trials: int, seed: int = 0) -> Any:
    """The first points of a design, (trials, p)."""
    plan, taken = placed(design, space.inputs, space.constraints), np.empty((0, len(space.columns)))
    for trial in range(trials):
        point = plan.point(trial, taken, lambda n: np.random.default_rng([seed, 0, n]))
        taken = np.vstack([taken, point])
    return taken


@pytest.mark.parametrize("constraints", [(), WELL, FULL], ids=["free", "well", "full"])
@pytest.mark.parametrize("choices", [(), (SOLVENT,), (SOLVENT, SALT)], ids=["0", "1", "2"])
@pytest.mark.parametrize("design", DESIGNS, ids=repr)
def test_every_point_is_feasible_and_every_choice_is_measured(
    design: Any, choices: tuple[Input, ...], constraints: tuple[Any, ...]
) -> None:
    if not choices and not constraints:
        pytest.skip("bounds alone: tests/designs/test_designs.py")
    space = Space((*DYES, *choices), constraints)
    size = placed(design, space.inputs, constraints).size
    points = walk(design, space, size + 3)
    settings = [space.project(space.decode(point))[0] for point in points]
    assert all(map(space.contains, settings))
    seen = {name: {one[name] for one in settings[:size]} for name in space.names}
    for item in choices:
        assert seen[item.name] == set(item.choices or ())
    assert len({tuple(one.values()) for one in settings}) > size / 2
    assert (walk(design, space, size) == points[:size]).all()


@pytest.mark.parametrize("constraints", [(), WELL, FULL], ids=["free", "well", "full"])
@pytest.mark.parametrize("design", [Axis(), DOptimal(), LatinHypercube(trials=12), Factorial()], ids=repr)
def test_a_linear_model_can_be_fitted_to_a_whole_design(design: Any, constraints: tuple[Any, ...]) -> None:
    space = Space((*DYES, SOLVENT), constraints)
    points = walk(design, space, placed(design, space.inputs, constraints).size)
    X = np.column_stack([np.ones(len(points)), (points - space.low) / space.width])
    assert np.linalg.matrix_rank(X) == len(space.columns) + 1


def test_the_axis_of_a_mixture_goes_towards_each_pure_corner_as_far_as_it_is_feasible() -> None:
    points = walk(Axis(), Space(DYES, WELL), 4)
    assert points.tolist() == [[30, 30, 30], [240, 30, 30], [30, 240, 30], [30, 30, 240]]
    full = walk(Axis(low=0, high=1), Space(DYES, FULL), 3)  # blue follows from the others
    assert full.tolist() == [[0, 0], [300, 0], [0, 300]]


def test_a_factorial_is_measured_with_every_choice_and_its_infeasible_corners_once_inside() -> None:
    assert placed(Factorial(), (*DYES, SOLVENT, SALT)).size == 8 * 6
    corners = placed(Factorial(low=0, high=1), DYES, WELL)
    points = walk(Factorial(low=0, high=1), Space(DYES, WELL), corners.size)
    assert corners.size == 8 == len(np.unique(points, axis=0))
    assert points.sum(axis=1).max() == 300
    few = [Input(name="a"), Input(name="b")]
    half = (parse_constraint("a + b <= 0"),)
    assert placed(Factorial(low=0, high=1), tuple(few), half).size == 1


def test_what_a_design_cannot_do_it_says() -> None:
    with pytest.raises(ConfigError, match="box-behnken leaves no room for constraints"):
        _ = placed(BoxBehnken(), DYES, WELL).size
    assert placed(BoxBehnken(), (*DYES, SOLVENT)).size == 3 * 13
    with pytest.raises(ConfigError, match="2 points are fewer than the 3 choices of solvent"):
        _ = placed(Sobol(trials=2), (*DYES, SOLVENT)).size
    with pytest.raises(ConfigError, match="a linear model has 6 coefficients here"):
        _ = placed(DOptimal(trials=4), (*DYES, SOLVENT)).size


def test_points_are_measured_as_they_are_listed() -> None:
    listed = ({"red": 5.0, "yellow": 10.0, "blue": 0.0, "solvent": "dmso"},)
    space = Space((*DYES, SOLVENT), WELL)
    assert space.decode(walk(Points(points=listed), space, 1)[0]) == listed[0]


def test_an_instrument_of_choices_alone_has_a_design_of_them() -> None:
    space = Space((SOLVENT, SALT))
    for design in (Axis(), Factorial(), Sobol(trials=6), Farthest(trials=6)):
        points = walk(design, space, placed(design, space.inputs).size)
        assert {space.decode(point)["solvent"] for point in points} == set(SOLVENT.choices or ())


@pytest.mark.parametrize("counts", [(2, 2, 2), (2, 3, 2), (3, 2, 4), (2, 2, 3, 2)])
def test_every_combination_of_choices_occurs_before_one_occurs_again(counts: tuple[int, ...]) -> None:
    choices = [Input(name=f"c{i}", choices=tuple("abcd"[:n])) for i, n in enumerate(counts)]
    space = Space((Input(name="T"), *choices), ())
    rows = walk(Sobol(trials=math.prod(counts)), space, math.prod(counts))
    assert len({tuple(row) for row in rows[:, 1:]}) == len(rows)
