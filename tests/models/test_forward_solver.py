"""Goals answered by a forward model: all solutions, what is not known, and nothing invented."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from led import data, space, targets
from scipy import stats

from sdl.models.forward.forward_model import Prediction
from sdl.models.forward.gaussian_process import fit_gaussian_process
from sdl.models.forward.quadratic import fit_quadratic
from sdl.models.inversion.forward import FittedForward
from sdl.models.inversion.search import Bands
from sdl.models.training_set import TrainingSet
from sdl.types import Channel, Input, Verdict

PAIR = tuple(Input(name=name, low=0.0, high=1.0) for name in "xy")
TWO = tuple(Channel(name=name) for name in "ab")
DYE = (*PAIR[:1], Input(name="dye", choices=("a", "b")))


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


def test_of_a_goal_that_no_function_reaches_no_solution_is_listed():
    fitted = FittedForward(fit_quadratic(TrainingSet.from_data(rows(swap, 40))))
    assert fitted.modes(goal(90000.0, 90000.0), fitted.training.own_region, np.random.default_rng(0)) == []


def test_settings_drawn_along_a_continuum_are_seldom_drawn_twice():
    """Candidates are drawn as widely along it as the others are, and not so widely that few lie inside."""
    fitted = FittedForward(fit_quadratic(TrainingSet.from_data(rows(lambda X: swap(X)[:, :1], 30, channels=TWO[:1]))))
    drawn = fitted.sample(np.array([24000.0]), 1000, np.random.default_rng(0))
    assert len(np.unique(drawn, axis=0)) > 500


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


# Models that are known --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Known:
    """A forward model of one channel with a mean f, a standard error e and a noise, whose paths are all its mean."""

    training: TrainingSet
    f: Any
    e: Any
    noise: Any
    summary: str = "known"

    def mean(self, U):
        return self.f(U)[..., None]

    def jacobian(self, U):
        steps = 1e-6 * np.eye(U.shape[-1])
        return np.stack([(self.mean(U + step) - self.mean(U - step)) / 2e-6 for step in steps], axis=-1)

    def predict(self, U):
        return Prediction(self.mean(U), self.e(U)[..., None] ** 2, self.noise(U)[..., None] ** 2)

    def sample_paths(self, n, rng):
        return _Same(self, n)


@dataclass(frozen=True)
class _Same:
    model: Known
    n: int

    def __call__(self, U):
        Y = self.model.mean(U)
        return Y if U.ndim == 3 else np.tile(Y, (self.n, 1, 1))

    def jacobian(self, U):
        J = self.model.jacobian(U)
        return J if U.ndim == 3 else np.tile(J, (self.n, 1, 1, 1))


class Scattered(Known):
    """Path i is everywhere z_i standard errors above the mean, with z from 1 to 1.2."""

    def sample_paths(self, n, rng):
        z = np.linspace(1.0, 1.2, n)[:, None]
        return _Same(replace(self, f=lambda U: self.f(U) + z * self.e(U)), n)


def even(U):
    return np.ones(U.shape[:-1])


def known(f, e=even, noise=even, inputs=PAIR[:1], X=None, kind=Known):
    X = np.linspace(0, 1, 9)[:, None] if X is None else X
    training = TrainingSet.from_data(data(X, f(X)[:, None], inputs=inputs, channels=TWO[:1]))
    return FittedForward(kind(training, f, e, noise))


def settings(fitted, wanted):
    return fitted.settings(wanted, fitted.training.own_region, np.random.default_rng(0))


def peaks(U):
    """Readings with a peak of 99 at 0.25 and one of 120 at 0.75."""
    return np.where(U[..., 0] < 0.5, 99, 120) - 400 * (np.abs(U[..., 0] - 0.5) - 0.25) ** 2


@pytest.mark.parametrize("sure", [False, True])
def test_of_several_solutions_the_one_with_the_smallest_standard_error_is_proposed(sure):
    """Whatever the noise of a reading there, and although other searches end at the lower peak, no solution."""
    right = lambda U: U[..., 0] > 0.75  # noqa: E731
    fitted = known(
        peaks, lambda U: np.where(right(U) == sure, 1.0, 2.0), lambda U: np.where(right(U) == sure, 9.0, 1.0)
    )
    found = settings(fitted, goal(100.0, tolerance=0.002))
    assert found[0] - 0.75 == pytest.approx(np.sqrt(20 / 400) * (1 if sure else -1), abs=1e-3)


@pytest.mark.parametrize("measured", [0.0, 1.0])
def test_of_two_choices_that_reach_it_the_one_measured_close_by_is_proposed(measured):
    """Between choices slopes may differ, so that readings far from the rows of a choice are more uncertain."""
    X = np.column_stack([np.linspace(0, 1, 24), np.arange(24) % 2 * 1.0])
    kept = X[(X[:, 1] == measured) | (X[:, 0] > 0.8)]
    fitted = known(lambda U: 100 + 50 * U[..., 0], inputs=DYE, X=kept)
    assert settings(fitted, goal(115.0)) == pytest.approx([0.3, measured], abs=1e-3)


def test_settings_that_only_come_close_are_no_solution_where_others_reach_the_target():
    """The left peak ends half a tolerance below the target, where the model is a hundred times as sure."""
    fitted = known(peaks, lambda U: np.where(U[..., 0] < 0.5, 0.01, 1.0))
    found = settings(fitted, goal(100.0, tolerance=0.02))
    assert abs(found[0] - 0.75) == pytest.approx(np.sqrt(20 / 400), abs=1e-3)


def test_the_likelihood_of_settings_is_the_density_of_the_readings_there():
    fitted = FittedForward(fit_quadratic(TrainingSet.from_data(rows(swap, 40))))
    U, value = np.random.default_rng(1).random((5, 2)), np.array([22000.0, 9000.0])
    mean, sd = fitted.predict(U)
    exact = stats.norm(mean, sd).logpdf(value).sum(axis=1)
    found = fitted._log_likelihood(U, value, np.arange(2))
    assert np.diff(found) == pytest.approx(np.diff(exact), rel=1e-9)


@pytest.mark.parametrize("noisy", [False, True])
def test_of_settings_that_miss_alike_those_with_the_noisier_reading_most_probably_hit(noisy):
    noise = lambda U: np.where((U[..., 0] > 0.5) == noisy, 4.0, 1.0)  # noqa: E731
    fitted = known(lambda U: 100 + 10 * np.abs(U[..., 0] - 0.5), lambda U: np.full(U.shape[:-1], 5.0), noise)
    bands, near = Bands.of(fitted.training, goal(140.0, tolerance=0.02)), np.array([[0.2], [0.8]])
    found = fitted._most_probable(bands, near, fitted.training.own_region, np.random.default_rng(0))
    assert (found[0] > 0.5) == noisy


@pytest.mark.parametrize(("far", "elsewhere"), [(10.0, True), (0.2, False)])
def test_where_a_reading_missed_another_is_taken_only_if_the_goal_cannot_be_reached_elsewhere(far, elsewhere):
    """Readings of 99 ± 1 reach a goal of 101 ± .5 by chance more often than unmeasured ones of 90 ± 10 would."""
    apart = lambda U: U[..., 0] > 0.55  # noqa: E731
    measured = np.linspace(0, 0.5, 9)[:, None]
    fitted = known(
        lambda U: np.where(apart(U), 90.0, 99.0 - 20 * (U[..., 0] - 0.2) ** 2),
        lambda U: np.where(apart(U), far, 0.2),
        lambda U: np.ones(U.shape[:-1]),
        X=measured,
        kind=Scattered,
    )
    bands, near = Bands.of(fitted.training, goal(101.0, tolerance=0.5 / 101)), np.array([[0.2]])
    found = fitted._most_probable(bands, near, fitted.training.own_region, np.random.default_rng(0))
    assert (found[0] > 0.55) == elsewhere


def test_a_reading_is_taken_to_scatter_a_little_where_the_model_knows_neither_error_nor_noise():
    """A thousandth of 0.4 % of the response, so that no density is infinite; unknown, it is 0.4 % of the response."""
    none, unknown = (lambda U, sd=sd: np.full(U.shape[:-1], sd) for sd in (0.0, np.nan))
    U = np.array([[0.3], [0.6]])
    for sd, factor in ((none, 1e-3), (unknown, 1.0)):
        fitted = known(lambda U: 100 + 50 * U[..., 0], sd, none)
        assert fitted._reading_sd(U) == pytest.approx(np.full((2, 1), factor * 0.004 * 50.0))


def test_of_two_choices_that_miss_alike_the_one_with_no_row_close_by_may_yet_reach():
    """Its readings are more uncertain, because slopes may differ between choices."""
    X = np.column_stack([np.linspace(0, 1, 12), np.arange(12) % 2 * 1.0])
    near = np.array([[1.0, 0.0], [1.0, 1.0]])
    for measured in (0, 1):
        kept = X[(X[:, 1] == measured) | (X[:, 0] < 0.5)]  # of the other choice only low settings
        kept = np.vstack([kept, [1.0, measured]])
        fitted = known(lambda U: 100 + 50 * U[..., 0], inputs=DYE, X=kept)
        bands = Bands.of(fitted.training, goal(170.0, tolerance=0.02))
        found = fitted._most_probable(bands, near, fitted.training.own_region, np.random.default_rng(0))
        assert found == pytest.approx([1.0, 1.0 - measured], abs=1e-6)
