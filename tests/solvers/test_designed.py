"""Designed data: few levels, replicates and centre points are ordinary rows, for the solvers that learn settings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from led import ask, data, space, targets

from sdl.models.backward.local_regression import fit_inverse_regression
from sdl.models.training_set import TrainingSet
from sdl.solvers.forest import Forest
from sdl.solvers.gmm import Gmm
from sdl.solvers.linear import Linear
from sdl.solvers.pls import Pls
from sdl.types import Channel, Input

SOLVERS = pytest.mark.parametrize("solver", [Gmm(), Forest(), Pls()], ids=lambda solver: solver.kind)
A = np.array([[30000.0, 9000.0, 12000.0], [7000.0, 28000.0, 15000.0], [11000.0, 6000.0, 33000.0]])


def grid(*levels):
    return np.array(list(itertools.product(levels, repeat=3)))


DESIGNS = {
    "three levels": grid(0, 0.5, 1),
    "three near levels": grid(0.3, 0.5, 0.7),
    "five levels": grid(0, 0.25, 0.5, 0.75, 1),
    "two levels, five times": np.repeat(grid(0.1, 0.9), 5, axis=0),
    "two levels and centre points": np.vstack([np.repeat(grid(0.1, 0.9), 2, axis=0), np.full((5, 3), 0.5)]),
}


@SOLVERS
@pytest.mark.parametrize("name", DESIGNS)
def test_few_levels_give_the_answers_of_an_affine_fit(solver, name):
    X, missed = DESIGNS[name], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        goals = 300 + rng.uniform(0.35, 0.65, (4, 3)) @ A
        Y = (300 + X @ A) * (1 + 0.0035 * rng.normal(size=X.shape))
        answers = ask(solver, data(X, Y), goals, seed).settings
        missed.append(np.abs((300 + answers @ A) / goals - 1).max())
    assert max(missed) < 0.003


@SOLVERS
def test_thousands_of_rows_at_three_levels_do_not_draw_an_answer_to_a_level(solver):
    rng = np.random.default_rng(0)
    x = rng.permutation(np.repeat([[0.0], [0.5], [1.0]], 700, axis=0))
    y = 100 + 63000 * (x + 0.0045 * np.sqrt(x * (1 - x)) * rng.normal(size=x.shape)) + rng.normal(size=x.shape)
    rows = data(x, y, inputs=(Input(name="G"),), channels=(Channel(name="515nm"),))
    goals = np.linspace(8000, 50000, 7)[:, None]
    answers, lines = (
        kind.fit(rows).propose(targets(goals), space([0.0], [1.0]), np.random.default_rng(0)).settings
        for kind in (solver, Linear())
    )
    assert answers == pytest.approx(lines, rel=0.01)


def test_replicates_do_not_make_a_trend():
    rng = np.random.default_rng(3)
    X = np.repeat(rng.uniform(size=(6, 3)), 8, axis=0)
    rows = data(X, (300 + X @ A) * (1 + 0.0035 * rng.normal(size=X.shape)))
    assert np.isinf(fit_inverse_regression(TrainingSet.from_data(rows)).width).all()


def test_draws_scatter_as_readings_do_where_the_forest_has_nothing_to_learn():
    rng = np.random.default_rng(0)
    X = grid(0, 0.5, 1)
    rows = data(X, (300 + X @ A) * (1 + 0.0035 * rng.normal(size=X.shape)))
    fitted, goal = Forest().fit(rows), 300 + np.array([0.4, 0.5, 0.6]) @ A
    assert fitted.forest is None
    drawn = fitted.sample(goal, 4000, rng)
    assert drawn.std(axis=0) == pytest.approx(ask(Forest(), rows, goal).spread[0], rel=0.05)
    assert drawn.mean(axis=0) == pytest.approx([0.4, 0.5, 0.6], abs=0.005)
