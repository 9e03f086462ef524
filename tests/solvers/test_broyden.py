"""Secant steps: Broyden's own without noise, damped with it."""

from __future__ import annotations

import numpy as np
import pytest
from led import GAINS, ask, axis, data, hypercube, measure, night, space, targets
from pydantic import ValidationError

from sdl.errors import Degenerate
from sdl.models.inversion import broyden
from sdl.solvers.broyden import Broyden
from sdl.solvers.linear import Linear
from sdl.types import Channel, Input

GOAL = [16384.0, 16384.0, 16384.0]
PERFECT = np.linalg.solve(GAINS, GOAL)


def exact(X):
    """Rows of an affine instrument without noise."""
    return data(X, 500.0 + X @ GAINS.T)


def follow(solver, read, steps):
    """Settings proposed one after the other from axis points on, each of them read."""
    X = axis()
    Y = np.array([read(x) for x in X])
    for _ in range(steps):
        x = np.clip(ask(solver, data(X, Y), GOAL).settings[0], 0, 1)
        X, Y = np.vstack([X, x]), np.vstack([Y, read(x)])
    return X[4:]


@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_an_affine_instrument_is_solved_by_the_first_step(noise):
    answer = ask(Broyden(noise=noise), exact(axis()), GOAL)
    np.testing.assert_allclose(answer.settings[0], np.linalg.solve(GAINS, np.array(GOAL) - 500.0), atol=1e-6)
    np.testing.assert_allclose(answer.expected[0], GOAL, rtol=1e-9)


def test_without_noise_it_is_broyden_s_method():
    def read(x):
        return GAINS @ (x + 0.5 * x * (1 - x))

    found = follow(Broyden(noise=0.0), read, 5)
    X, Y = axis(), np.array([read(x) for x in axis()])
    jacobian = np.linalg.lstsq(np.column_stack([np.ones(4), X]), Y, rcond=None)[0][1:].T
    x, y = X[-1], Y[-1]
    for step in found:
        new = x + np.linalg.solve(jacobian, GOAL - y)
        np.testing.assert_allclose(step, new, atol=1e-6)
        got = read(new)
        jacobian += np.outer(got - y - jacobian @ (new - x), new - x) / ((new - x) @ (new - x))
        x, y = new, got


@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_it_finds_the_goal_of_an_instrument_that_bends(noise):
    def read(x):
        return GAINS @ (x + 0.8 * x * (1 - x))

    last = follow(Broyden(noise=noise), read, 8)[-1]
    np.testing.assert_allclose(read(last), GOAL, rtol=0.002)


def test_a_step_that_is_lost_in_the_noise_does_not_turn_the_slopes():
    X = np.vstack([axis(), PERFECT, PERFECT + 1e-3])
    Y = X @ GAINS.T
    Y[-1] *= 0.98  # five standard deviations, and nine times what the step can have changed
    damped, plain = (Broyden(noise=noise).fit(data(X, Y)).slope for noise in (0.004, 0.0))
    scale = GAINS.max(axis=1, keepdims=True)
    assert np.abs((damped - GAINS) / scale).max() < 0.6
    assert np.abs((plain - GAINS) / scale).max() > 2


def test_noise_averages_out_where_many_rows_are_near_the_goal():
    def error(solver, seed):
        rng = np.random.default_rng(seed)
        X = np.vstack([axis(), PERFECT + 0.01 * rng.normal(size=(12, 3))])
        rows = data(X, measure(X, rng) * (1 + 0.01 * rng.normal(size=(16, 3))))
        return np.abs(ask(solver, rows, GOAL).settings[0] - PERFECT).max()

    averaged, latest = (
        np.median([error(solver, seed) for seed in range(40)]) for solver in (Broyden(noise=0.01), Broyden(noise=0.0))
    )
    assert averaged < 0.8 * latest


def test_rows_far_from_the_goal_hardly_count():
    def read(X):
        return (X + 0.8 * X * (1 - X)) @ GAINS.T

    goal = read(PERFECT[None])[0]
    X = np.vstack([axis(), PERFECT + 0.005, PERFECT - 0.005, [0.95, 0.95, 0.95], [0.05, 0.9, 0.1]])
    answer = ask(Broyden(), data(X, read(X)), goal).settings
    np.testing.assert_allclose(read(answer)[0], goal, rtol=0.01)


def test_rows_of_long_ago_hardly_count():
    X = np.vstack([axis(), np.tile(PERFECT, (16, 1))])
    Y = X @ GAINS.T
    faded = data(X, np.vstack([Y[:10], 0.97 * Y[10:]]))
    answer = ask(Broyden(), faded, GOAL).settings[0]
    np.testing.assert_allclose(0.97 * GAINS @ answer, GOAL, rtol=0.002)


def test_answers_keep_to_the_bounds():
    given = Broyden().fit(night(12)).propose(targets([[60000.0] * 3, [0.0] * 3]), space(), np.random.default_rng(0))
    assert given.settings.min() >= 0
    assert given.settings.max() <= 1


def test_it_does_not_pretend_to_know_how_sure_it_is():
    given = ask(Broyden(), night(12), GOAL)
    assert np.isnan(given.spread).all()
    assert np.isnan(given.uncertainty).all()


def test_the_slopes_begin_with_the_oldest_rows_that_determine_them():
    X = np.vstack([np.full((6, 3), 0.1), axis(), hypercube(5, np.random.default_rng(0))])
    np.testing.assert_allclose(Broyden().fit(exact(X)).slope, GAINS, rtol=1e-6)
    with pytest.raises(Degenerate):
        Broyden().fit(exact(X[:6]))


def test_of_many_rows_the_last_correct_the_slopes_and_those_before_them_count_alike(monkeypatch):
    monkeypatch.setattr(broyden, "LAST", 6)  # two hundred of them leave nothing of what was before
    rng = np.random.default_rng(0)
    X = hypercube(26, rng)
    Y = measure(X, rng)
    early = np.concatenate([rng.permutation(19), np.arange(19, 26)])
    late = np.concatenate([np.arange(20), 20 + rng.permutation(6)])
    slope, shuffled, other = (Broyden().fit(data(X[order], Y[order])).slope for order in (slice(None), early, late))
    np.testing.assert_allclose(shuffled, slope, rtol=1e-8)
    assert np.abs(other - slope).max() > 10


def test_rows_on_both_sides_of_a_proposal_are_averaged_and_never_extrapolated():
    """Weights fall with age and with the error that the slopes make on the way, and are never negative."""
    fitted = Broyden().fit(night(20))
    U, Y = fitted.training.U, fitted.training.Y
    for u in hypercube(10, np.random.default_rng(1)):
        base, y = fitted._base(u)
        assert (base >= U.min(axis=0)).all()
        assert (base <= U.max(axis=0)).all()
        assert (y >= Y.min(axis=0)).all()
        assert (y <= Y.max(axis=0)).all()


def test_a_row_counts_half_where_the_error_of_the_slopes_on_the_way_is_as_large_as_its_noise():
    """A tenth of the change of the reading; every later row counts 1 / 0.6 as much."""
    inputs, channels = (Input(name="x"),), (Channel(name="y"),)
    away = 0.004 * 15500.0 / (3000.0 - 120.0)  # there 0.1 × 30000 × away is 0.4 % of the reading
    X = np.array([[0.02], [0.98], [0.5], [0.5 + away]])
    fitted = Broyden(noise=0.004).fit(data(X, 500.0 + 30000.0 * X, inputs=inputs, channels=channels))
    base, y = fitted._base(np.array([0.5]))
    assert base[0] == pytest.approx((0.6 * 0.5 + 0.5 * X[3, 0]) / 1.1, abs=2e-3)  # the first two rows hardly count
    assert y[0] == pytest.approx(500.0 + 30000.0 * base[0])


def test_beyond_the_bounds_it_comes_as_close_as_lines_do_in_tolerances():
    goals = np.array([[31000.0, 16384.0, 16384.0], [16384.0, 70000.0, 300.0], [100.0, 100.0, 20000.0]])
    rows = exact(hypercube(12, np.random.default_rng(0)))
    given, lines = (ask(solver, rows, goals).settings for solver in (Broyden(), Linear()))
    assert given == pytest.approx(lines, abs=1e-4)
    assert ((given < 1e-6) | (given > 1 - 1e-6)).any(axis=1).all()


@pytest.mark.parametrize("noise", [-0.1, 1.1])
def test_noise_is_a_fraction_of_the_reading(noise):
    assert (Broyden(noise=0.0).noise, Broyden(noise=1.0).noise) == (0.0, 1.0)
    with pytest.raises(ValidationError):
        Broyden(noise=noise)
