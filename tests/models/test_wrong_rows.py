"""Wrong rows are left out, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from led import GAINS, ask, data, hypercube, measure

from sdl.models.training_set import TrainingSet
from sdl.models.wrong_rows import find_wrong_rows
from sdl.solvers.bayes import Bayes
from sdl.solvers.gmm import Gmm
from sdl.solvers.linear import Linear
from sdl.solvers.pls import Pls

GOAL = [16384.0] * 3
RIGHT = np.linalg.solve(GAINS, GOAL)
ONE = np.zeros(40)


def rows(seed=0, n=40):
    rng = np.random.default_rng(seed)
    X = hypercube(n, rng)
    return X, measure(X, rng) + 100.0, rng


def spoil(X, Y, rng, kind, count):
    """The rows with `count` wrong ones, and which they are."""
    X, Y, wrong = X.copy(), Y.copy(), rng.choice(len(X) - 5, count, replace=False)
    if kind == "setting":
        X[wrong] = (X[wrong] + rng.uniform(0.3, 0.7, (count, 3))) % 1
    elif kind == "zero":
        Y[wrong] = 0.0
    else:
        Y[wrong] += 8000.0
    return X, Y, np.isin(np.arange(len(X)), wrong)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("kind", ["setting", "zero", "lamp"])
def test_up_to_a_tenth_of_the_rows_are_found_and_only_these(kind, count):
    for seed in range(5):
        X, Y, wrong = spoil(*rows(seed), kind, count)
        assert (find_wrong_rows(X, Y, ONE, 0.0) == wrong).all(), seed


@pytest.mark.parametrize("solver", [Linear(), Pls(), Gmm(), Bayes()], ids=lambda solver: solver.kind)
def test_solvers_answer_as_without_them_and_say_what_they_left_out(solver):
    X, Y, wrong = spoil(*rows(3), "setting", 2)
    answer, clean = ask(solver, data(X, Y), GOAL), ask(solver, data(X[~wrong], Y[~wrong]), GOAL)
    assert answer.settings == pytest.approx(clean.settings, abs=1e-6)
    assert answer.spread == pytest.approx(clean.spread, rel=1e-3)
    assert "2 contradicted by the others" in answer.why[0]


def test_more_than_a_tenth_stay_because_nobody_knows_which_are_right():
    X, Y, _ = spoil(*rows(1), "lamp", 12)
    assert not find_wrong_rows(X, Y, ONE, 0.0).any()


@pytest.mark.parametrize(
    "shape",
    [
        lambda u: 2000 + u @ GAINS.T + 12000 * u[:, [0, 1, 2]] * u[:, [1, 2, 0]],
        lambda u: 300 + 58000 * np.exp(-u @ (np.eye(3) + 0.4)),
        lambda u: 800 + (u * 1.3 / (0.3 + u)) @ GAINS.T,
        lambda u: 2000 + 30000 / (1 + ((u - 0.4) / 0.06) ** 2),
        lambda u: 5000 + 40000 * (2 * u - 1) ** 2,
    ],
    ids=["products", "Beer-Lambert", "Michaelis", "narrow peak", "parabola"],
)
def test_lack_of_fit_is_no_wrong_row(shape):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = hypercube(40, rng)
        assert not find_wrong_rows(X, shape(X) * (1 + 0.0035 * rng.normal(size=(40, 3))), ONE, 0.0).any(), seed


def test_rows_stay_that_a_repetition_or_two_rows_beside_them_agree_with():
    X, *_ = rows()
    repeated, local = X.copy(), X.copy()
    repeated[10] = X[11]
    local[[10, 12]] = X[11] + [[0.05, 0.0, 0.1], [-0.05, 0.05, 0.0]]
    for settings, deviating in ((repeated, [10, 11]), (local, [10, 11, 12])):
        readings = settings @ GAINS.T + 100.0
        readings[deviating] += 9000.0
        assert not find_wrong_rows(settings, readings, ONE, 0.0).any()


def test_two_wrong_rows_beside_each_other_are_both_found():
    X, *_ = rows()
    X[10] = X[11] + [0.05, 0.0, 0.1]
    Y = X @ GAINS.T + 100.0
    Y[[10, 11]] += 9000.0
    assert np.flatnonzero(find_wrong_rows(X, Y, ONE, 0.0)).tolist() == [10, 11]


def test_the_last_rows_of_the_current_session_may_be_a_change_of_the_instrument():
    X, Y, _ = rows()
    Y[38:] += 8000.0
    assert not find_wrong_rows(X, Y, ONE, 0.0).any()
    assert np.flatnonzero(find_wrong_rows(X, Y, ONE, 1.0)).tolist() == [38, 39]  # of a session that is over


def test_another_session_s_level_is_its_own():
    X, Y, _ = rows(n=60)
    session = np.repeat([0.0, 1.0, 2.0], [40, 17, 3])
    Y[40:57] += 3000.0
    Y[57:] += 9000.0
    Y[5] += 8000.0
    assert np.flatnonzero(find_wrong_rows(X, Y, session, 2.0)).tolist() == [5]


def test_many_dark_rows_do_not_outvote_the_lit_ones():
    X = np.vstack([np.zeros((36, 3)), 0.1 + 0.8 * np.eye(3), np.full((1, 3), 0.1)])
    Y = measure(X, np.random.default_rng(0))
    assert not find_wrong_rows(X, Y, ONE, 0.0).any()


def test_rows_that_lack_a_channel_of_the_goal_are_not_judged():
    X, Y, _ = spoil(*rows(2), "zero", 1)
    Y[0, 0] = np.nan
    training = TrainingSet.from_data(data(X, Y))
    assert "1 incomplete, 1 contradicted by the others left out" in training.summary


def test_channels_in_units_of_their_own_have_the_same_wrong_rows() -> None:
    """A row that is wrong in one channel alone is found however small its readings are beside those of the other."""
    rng = np.random.default_rng(0)
    U, none = rng.random((40, 2)), np.zeros(40)
    Y = U @ np.array([[1000.0, 300.0], [500.0, 900.0]]) + 3.0 * rng.standard_normal((40, 2))
    Y[7, 1] += 400.0
    for unit in (1.0, 1e-3, 1e3):
        assert np.flatnonzero(find_wrong_rows(U, Y * [1.0, unit], none, 1.0)).tolist() == [7]


def test_on_a_surface_that_bends_a_wrong_row_is_told_from_lack_of_fit():
    """Lines explain too little of it; a quadratic surface explains all rows but this one."""
    U = np.random.default_rng(0).random((40, 2))
    Y = (1000 + 4000 * (U[:, 0] - 0.5) ** 2 + 300 * U[:, 1])[:, None]
    Y[7] += 250.0
    assert np.flatnonzero(find_wrong_rows(U, Y, ONE, 1.0)).tolist() == [7]


def test_a_row_is_wrong_beyond_eight_standard_deviations_of_half_a_per_cent_of_the_range():
    """A plane without noise: the assumed scatter is 0.5 % of the range of the readings."""
    U = np.random.default_rng(0).random((40, 2))
    Y = (1000 * U.sum(axis=1))[:, None]
    width = float(np.ptp(Y))
    for off, wrong in ((0.05, [7]), (0.03, [])):
        given = Y + off * width * (np.arange(40) == 7)[:, None]
        assert np.flatnonzero(find_wrong_rows(U, given, ONE, 1.0)).tolist() == wrong
