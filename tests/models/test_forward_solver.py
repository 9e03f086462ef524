"""Goals answered by a forward model: all solutions, what is not known, and nothing invented."""

from __future__ import annotations

import numpy as np
import pytest
from led import data, space, targets

from sdl.models.forward.gaussian_process import fit_gaussian_process
from sdl.models.forward.quadratic import fit_quadratic
from sdl.models.inversion.forward import FittedForward
from sdl.models.inversion.search import Bands
from sdl.models.training_set import TrainingSet
from sdl.types import Channel, Input, Verdict

PAIR = tuple(Input(name=name, low=0.0, high=1.0) for name in "xy")
TWO = tuple(Channel(name=name) for name in "ab")


def swap(X):
    """Two solutions: x and y may change places."""
    x, y = X.T
    return np.column_stack([4000 + 20000 * (x + y), 4000 + 40000 * x * y])


def rows(f, n, seed=0, channels=TWO):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    return data(X, f(X) * (1 + 0.0035 * rng.standard_normal((n, 1))), inputs=PAIR, channels=channels)


def goal(*value, tolerance=0.01):
    parts = targets(list(value), tolerance)
    return type(parts)(*(part[0] for part in parts))


@pytest.mark.parametrize("fit", [fit_gaussian_process, lambda rows: fit_quadratic(TrainingSet.from_data(rows))])
def test_both_solutions_are_found_and_no_other(fit):
    fitted = FittedForward(fit(rows(swap, 40)))
    modes = fitted.modes(goal(*swap(np.array([[0.2, 0.7]]))[0]), fitted.training.own_region, np.random.default_rng(0))
    assert sorted(mode.u.round(1).tolist() for mode in modes) == [[0.2, 0.7], [0.7, 0.2]]
    assert all(mode.probability > 0.8 and not mode.is_continuum for mode in modes)


def test_a_goal_that_leaves_a_choice_is_called_a_continuum():
    fitted = FittedForward(fit_gaussian_process(rows(lambda X: swap(X)[:, :1], 30, channels=TWO[:1])))
    (mode,) = fitted.modes(goal(24000.0), fitted.training.own_region, np.random.default_rng(0))
    assert mode.is_continuum
    drawn = fitted.sample(np.array([24000.0]), 50, np.random.default_rng(0))
    assert swap(drawn)[:, 0] == pytest.approx(np.full(50, 24000.0), rel=0.01)
    assert np.ptp(drawn, axis=0).min() > 0.5


def test_of_a_goal_beyond_the_gamut_the_nearest_settings_are_proposed_and_it_is_called_unreachable():
    fitted = FittedForward(fit_gaussian_process(rows(lambda X: 1000 + 5000 * X, 30)))
    answer = fitted.propose(targets([7000.0, 3500.0], 0.01), space(np.zeros(2), np.ones(2)), np.random.default_rng(0))
    assert answer.verdict == (Verdict.UNREACHABLE,)
    assert answer.probability[0] == 0.0
    assert answer.settings[0] == pytest.approx([1.0, 0.5], abs=0.02)
    assert answer.nearest[0] == pytest.approx([6000, 3500], rel=0.01)


def test_the_uncertainty_of_a_line_is_that_of_the_delta_method():
    model = fit_quadratic(TrainingSet.from_data(rows(lambda X: 1000 + 5000 * X, 200)))
    u = np.array([0.4, 0.6])
    spread, uncertainty = FittedForward(model).std_errors(goal(*(1000 + 5000 * u)), u)
    prediction = model.predict(u[None])
    assert uncertainty == pytest.approx(np.sqrt(prediction.model_var[0]) / 5000, rel=0.05)
    assert spread == pytest.approx(np.sqrt((prediction.model_var + prediction.noise_var)[0]) / 5000, rel=0.05)


def test_a_turn_that_the_rows_do_not_exclude_keeps_a_goal_reachable():
    """Rows that bracket the goal on a parabola: the line through them would never reach it."""
    X = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])[:, None]
    y = 5000 + 40000 * (2 * X - 1) ** 2
    inputs, channels = PAIR[:1], TWO[:1]
    wanted = targets([5000 + 40000 * 0.7**2], 0.02)
    for n in (3, 4, 6):
        fitted = FittedForward(fit_gaussian_process(data(X[:n], y[:n], inputs=inputs, channels=channels)))
        answer = fitted.propose(wanted, space(np.zeros(1), np.ones(1)), np.random.default_rng(0))
        assert answer.verdict != (Verdict.UNREACHABLE,)


def test_settings_are_drawn_from_the_posterior_of_one_reading():
    """Against numerical integration on a grid, where two solutions have unequal probability."""
    line = (Input(name="x", low=0.0, high=1.0),)
    rng = np.random.default_rng(3)
    X = rng.random((60, 1))
    bent = lambda X: 3000 + 9000 * X * (1.3 - X)  # noqa: E731
    Y = bent(X) + 60 * rng.standard_normal(X.shape)
    fitted = FittedForward(fit_gaussian_process(data(X, Y, inputs=line, channels=TWO[:1])))
    target = float(bent(np.array([[0.45]]))[0, 0])
    grid = (np.arange(2000) + 0.5)[:, None] / 2000
    mean, sd = fitted.predict(grid)
    density = np.exp(-0.5 * ((target - mean[:, 0]) / sd[:, 0]) ** 2) / sd[:, 0]
    density /= density.sum()
    drawn = fitted.sample(np.array([target]), 4000, np.random.default_rng(0))[:, 0]
    for part in (0.4, 0.5, 0.6, 0.8, 0.9):
        assert (drawn < part).mean() == pytest.approx(density[grid[:, 0] < part].sum(), abs=0.03)
    low = grid[:, 0] < 0.65
    mean = (density * grid[:, 0])[low].sum() / density[low].sum()
    spread = np.sqrt((density * (grid[:, 0] - mean) ** 2)[low].sum() / density[low].sum())
    assert drawn[drawn < 0.65].mean() == pytest.approx(mean, abs=0.2 * spread)
    assert drawn[drawn < 0.65].std() == pytest.approx(spread, rel=0.1)


def test_beyond_the_gamut_the_settings_are_taken_where_a_reading_is_most_probably_inside():
    """On a fine grid; the noise grows with the reading, so that it counts as much as the distance of the mean."""
    one = (Input(name="x", low=0.0, high=1.0),)
    rng = np.random.default_rng(3)
    X = rng.random((60, 1))
    Y = (1000 + 3000 * np.sin(np.pi * X)) * (1 + 0.03 * rng.standard_normal(X.shape))
    fitted = FittedForward(fit_gaussian_process(data(X, Y, inputs=one, channels=TWO[:1])))
    target = goal(4300.0, tolerance=0.02)
    bands = Bands.of(fitted.training, target)
    region = fitted.training.own_region
    u = fitted._most_probable(bands, np.array([[0.1], [0.5]]), region, np.random.default_rng(0))

    def chance(U):
        prediction = fitted.model.predict(U)
        return bands.log_probability(prediction.mean, prediction.model_var + prediction.noise_var)

    assert chance(u[None])[0] > chance(np.linspace(0, 1, 501)[:, None]).max() - 0.3
    assert u[0] == pytest.approx(0.5, abs=0.15)
