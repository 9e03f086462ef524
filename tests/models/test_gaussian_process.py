"""The Gaussian process against scikit-learn's, scipy and refits, on the same numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Kernel, Matern

from sdl.arrays import Floats
from sdl.errors import NotEnoughData
from sdl.models.data import Data, Objective
from sdl.models.forward.gaussian_process import (
    GaussianProcess,
    condition,
    fit_gaussian_process,
    fit_processes,
    hyperparameters_of,
)
from sdl.models.forward.gp.censored import add_sites, censored_sites
from sdl.models.forward.gp.channel import WIDE, WRONG, ChannelRows, Processes
from sdl.models.forward.gp.covariance import kernel
from sdl.models.forward.gp.evidence import FLOOR, LINE, LOG_2PI, FitData, noise_variance, score
from sdl.models.forward.gp.fit import _transforms, are_logarithmic
from sdl.models.forward.gp.sample_paths import _log_t, draw
from sdl.models.inversion.forward import FittedForward
from sdl.models.noise import variance_parts
from sdl.models.training_set import TrainingSet
from sdl.models.transforms import Transform, backward, derivative, forward
from sdl.types import Channel, Input
from tests import led

PAIR = tuple(Input(name=name, low=0.0, high=1.0, step=None) for name in "xy")
THETA = np.array([[np.log(0.4), np.log(0.9), np.log(0.7), np.log(1.3), np.log(0.02), np.log(0.05), np.log(0.01)]])
"""Logarithms of two length scales, s, a, and the proportional, constant and jitter noise."""


def problem(n: int = 14, seed: int = 0) -> FitData:
    rng = np.random.default_rng(seed)
    U = rng.random((n, 2))
    z = np.sin(4 * U[:, 0]) + U[:, 1] ** 2 + 0.05 * rng.standard_normal(n)
    noise = np.stack([z**2, np.ones(n), U[:, 0] * (1 - U[:, 0]) + 0.05])[None]
    mean, sd = np.zeros((1, 7)), np.full((1, 7), 1.5)
    return FitData(U, z[None], np.ones((1, n), bool), noise, np.zeros((1, n)), mean, sd)


def noise_of(given: FitData) -> Floats:
    variance: Floats = (np.exp(2 * THETA[0, -3:]) @ given.noise[0]) + FLOOR
    return variance


def reference(given: FitData) -> GaussianProcessRegressor:
    """Scikit-learn's process with the same covariance: settings are shifted by 1/2 for the line."""
    lengths, (s, a) = np.exp(THETA[0, :2]), np.exp(THETA[0, 2:4])
    fixed = "fixed"

    def matern(scale: list[float]) -> Kernel:
        return Matern(scale, fixed, nu=2.5)

    kernel = ConstantKernel(LINE**2, fixed) * DotProduct(1.0, fixed)
    kernel += ConstantKernel(s**2, fixed) * matern(list(lengths))
    kernel += ConstantKernel(a**2, fixed) * matern([lengths[0], 1e9]) + ConstantKernel(a**2, fixed) * matern(
        [1e9, lengths[1]]
    )
    process = GaussianProcessRegressor(kernel, alpha=noise_of(given), optimizer=None)
    return process.fit(given.U - 0.5, given.z[0])


def test_mean_and_covariance_are_scikit_learn_s() -> None:
    given, U = problem(), np.random.default_rng(1).random((6, 2))
    ours, other = Processes.of(given, THETA), reference(given)
    mean, covariance = other.predict(U - 0.5, return_cov=True)
    assert ours.predict(U)[0][0] == pytest.approx(mean, rel=1e-6, abs=1e-6)
    assert ours.predict(U)[1][0] == pytest.approx(np.diag(covariance), rel=1e-5, abs=1e-8)
    assert ours.covariance(U)[1][0] == pytest.approx(covariance, rel=1e-5, abs=1e-7)
    assert ours.mean(U)[0] == pytest.approx(mean, rel=1e-6, abs=1e-6)


def test_the_likelihood_is_scikit_learn_s() -> None:
    given = problem()
    expected = reference(given).log_marginal_likelihood_value_
    value = score(given, THETA).value[0]
    away = (THETA - given.mean) / given.sd
    without_prior = value + 0.5 * (away**2).sum() + np.log(given.sd).sum() + 0.5 * 7 * LOG_2PI
    assert without_prior == pytest.approx(expected, abs=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    given, h = problem(), 1e-5
    scored = score(given, THETA)
    for i in range(7):
        step = h * np.eye(7)[i]
        ahead, behind = (score(given, THETA + sign * step).value[0] for sign in (1, -1))
        assert scored.gradient[0, i] == pytest.approx((ahead - behind) / (2 * h), rel=1e-4, abs=1e-4)


def test_the_information_is_the_covariance_of_the_gradient() -> None:
    """Fisher's: over data drawn from the model, with the precision of the prior added."""
    given = problem()
    covariance = np.linalg.inv(Processes.of(given, THETA).inverse_root[0])
    rng = np.random.default_rng(0)
    prior = -THETA[0] / given.sd[0] ** 2
    draws = (covariance @ rng.standard_normal((14, 4000))).T
    many = FitData(given.U, *(np.repeat(part, 4000, axis=0) for part in given[1:-1]))._replace(z=draws)
    gradients = score(many, np.repeat(THETA, 4000, axis=0)).gradient - prior
    found = score(given, THETA).information[0] - np.eye(7) / given.sd[0] ** 2
    size = np.sqrt(np.diag(found))
    assert np.abs(np.cov(gradients.T) - found).max() < 0.1 * np.outer(size, size).max()


def test_a_row_that_is_left_out_is_predicted_as_by_a_fit_without_it() -> None:
    given = problem()
    away, variance = Processes.of(given, THETA).leave_one_out()
    for i in range(14):
        rest = np.flatnonzero(np.arange(14) != i)
        mean, model_var = Processes.of(given.rows(rest), THETA).predict(given.U[[i]])
        assert away[0, i] == pytest.approx(given.z[0, i] - mean[0, 0], rel=1e-5, abs=1e-7)
        assert variance[0, i] == pytest.approx(model_var[0, 0] + noise_of(given)[i], rel=1e-5)


def test_residual_degrees_of_freedom_are_rows_less_how_far_each_reading_moves_its_own_fit() -> None:
    for channel in fitted(20).channels:
        of, n = channel.processes, len(channel.processes.U)
        own = np.zeros(len(channel.weight))
        for i in range(n):
            z = of.z + np.eye(n)[i]
            root = of.inverse_root
            alpha = np.einsum("bji,bjk,bk->bi", root, root, z)
            own += (of._replace(z=z, alpha=alpha).mean(of.U) - of.mean(of.U))[:, i]
        assert channel.residual_dof == pytest.approx(n - channel.weight @ own, rel=1e-6)
        assert 0 < channel.residual_dof < n - 3  # intercept and slopes are always estimated


def test_slopes_are_those_of_finite_differences() -> None:
    ours, U, h = Processes.of(problem(), THETA), np.random.default_rng(1).random((5, 2)), 1e-6
    for j in range(2):
        step = h * np.eye(2)[j]
        difference = (ours.mean(U + step) - ours.mean(U - step)) / (2 * h)
        assert ours.mean(U, slope=True)[..., j] == pytest.approx(difference, rel=1e-5, abs=1e-5)


# Drawn functions -----------------------------------------------------------------------------------------------------
def bend(n: int, censor: float = np.inf) -> Data:
    rng = np.random.default_rng(3)
    X = rng.random((n, 2))
    Y = 20000 * np.column_stack([0.2 + X[:, 0] ** 2 + 0.3 * X[:, 1], 0.3 + 0.5 * np.sin(3 * X[:, 1]) + 0.1 * X[:, 0]])
    Y *= 1 + 0.0035 * rng.standard_normal(Y.shape)
    rows = led.data(X, np.minimum(Y, censor), inputs=PAIR, channels=led.CHANNELS[:2])
    rows.saturated[:] = censor < Y
    return rows


def fade(n: int) -> Data:
    """Two channels that fall exponentially, which are modelled by their logarithms."""
    rng = np.random.default_rng(0)
    X = rng.random((n, 2))
    Y = 300 + 58000 * np.exp(-X @ np.array([[1.5, 0.3], [0.4, 1.4]]))
    return led.data(X, Y * (1 + 0.0035 * rng.standard_normal(Y.shape)), inputs=PAIR, channels=led.CHANNELS[:2])


def fitted(n: int = 30, censor: float = np.inf) -> GaussianProcess:
    return fit_gaussian_process(bend(n, censor))


BOTH = pytest.mark.parametrize("make", [bend, fade], ids=["none", "log"])
"""Channels without a transform, and logarithmic ones."""


@BOTH
def test_the_variance_of_the_model_is_that_of_its_drawn_functions(make: Callable[[int], Data]) -> None:
    model, U = fit_gaussian_process(make(12)), np.random.default_rng(2).random((5, 2))
    drawn = model.sample_paths(4000, np.random.default_rng(0))(U)[..., model.training.goal]
    prediction = model.predict(U)
    assert drawn.std(axis=0) == pytest.approx(np.sqrt(prediction.model_var[:, model.training.goal]), rel=0.15)
    assert model.mean(U) == pytest.approx(prediction.mean, nan_ok=True)


@BOTH
def test_slopes_of_the_mean_reading_are_those_of_finite_differences(make: Callable[[int], Data]) -> None:
    model, U, h = fit_gaussian_process(make(20)), np.random.default_rng(2).random((4, 2)), 1e-5
    for j in range(2):
        step = h * np.eye(2)[j]
        difference = (model.mean(U + step) - model.mean(U - step)) / (2 * h)
        assert model.jacobian(U)[..., j] == pytest.approx(difference, rel=1e-4, abs=1.0, nan_ok=True)


def test_drawn_functions_have_the_mean_and_the_covariance_of_the_posterior() -> None:
    model, U = fitted(), np.random.default_rng(2).random((4, 2))
    channel = model.channels[0]
    drawn = draw(channel, 3000, np.random.default_rng(0))(U)
    means, covariances = channel.processes.covariance(U)
    mean = channel.weight @ means
    second = np.einsum("b,bij->ij", channel.weight, covariances + means[:, :, None] * means[:, None])
    covariance = second - np.outer(mean, mean)
    sd = np.sqrt(np.diag(covariance))
    assert np.abs(drawn.mean(axis=0) - mean).max() < 0.08 * sd.max()
    assert np.cov(drawn.T) == pytest.approx(covariance, abs=0.15 * np.outer(sd, sd).max())


def test_functions_drawn_from_the_prior_have_its_covariance() -> None:
    """Without the line, whose variance is a hundred times as large; the features follow a t distribution."""
    U = np.array([[0.2, 0.4], [0.25, 0.5], [0.9, 0.8]])
    one = Processes.of(problem(), THETA)
    channel = replace(fitted(5).channels[0], processes=one, weight=np.ones(1))
    drawn = draw(channel, 5000, np.random.default_rng(0))
    smooth = drawn._replace(line=np.zeros_like(drawn.line)).prior(U)
    exact = kernel(THETA, U, U, 0.0)[0]
    assert np.cov(smooth.T) == pytest.approx(exact, abs=0.08 * exact.max())
    assert np.abs(smooth.mean(axis=0)).max() < 0.1
    line = drawn._replace(weight=np.zeros_like(drawn.weight)).prior(U)
    assert np.cov(line.T) == pytest.approx(kernel(np.log([[1.0] * 2 + [1e-9] * 5]), U, U, LINE)[0], rel=0.1)
    x = np.random.default_rng(1).random((4, 2))
    for dof in (1, 5):
        density = stats.multivariate_t(np.zeros(2), np.eye(2), dof).logpdf(x)
        assert _log_t((x**2).sum(axis=1), dof, 2) == pytest.approx(density)


def test_a_path_is_one_function_whose_derivatives_are_those_of_finite_differences() -> None:
    model, U, h = fitted(), np.random.default_rng(2).random((4, 2)), 1e-6
    paths = model.sample_paths(7, np.random.default_rng(0))
    assert paths(U) == pytest.approx(paths(np.repeat(U[None], 7, axis=0)))
    for j in range(2):
        step = h * np.eye(2)[j]
        difference = (paths(U + step) - paths(U - step)) / (2 * h)
        assert paths.jacobian(U)[..., j] == pytest.approx(difference, rel=1e-3, abs=1.0)


@BOTH
def test_the_density_of_a_reading_given_the_others_is_in_counts(make: Callable[[int], Data]) -> None:
    model = fit_gaussian_process(make(30))
    density = model.leave_one_out()
    training = model.training
    prediction = model.predict(training.U)
    typical = stats.norm(prediction.mean, np.sqrt(prediction.noise_var + prediction.model_var)).logpdf(training.Y)
    assert np.isfinite(density).all()
    assert density.mean() == pytest.approx(typical.mean(), abs=0.5)
    assert density.mean() < typical.mean()  # a row helps to predict itself


# Censored readings ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("bound", [-1.0, 0.5, 2.5])
def test_one_bound_gives_the_moments_of_a_truncated_normal(sign: float, bound: float) -> None:
    """Without noise the function itself is cut off: scipy.stats.truncnorm."""
    mean, variance = np.array([0.3]), np.array([[0.8]])
    (value, width), log_z = censored_sites(mean, variance, np.array([bound]), np.array([1e-12]), np.array([sign]))
    v = 1 / (1 / variance[0, 0] + 1 / width[0])
    m = v * (mean[0] / variance[0, 0] + value[0] / width[0])
    sd = np.sqrt(variance[0, 0])
    ends = ((bound - 0.3) / sd, np.inf) if sign > 0 else (-np.inf, (bound - 0.3) / sd)
    exact = stats.truncnorm(*ends, loc=0.3, scale=sd)
    assert m == pytest.approx(exact.mean(), abs=1e-5)
    assert v == pytest.approx(exact.var(), rel=1e-4)
    assert log_z == pytest.approx(np.log(stats.norm.sf((bound - 0.3) / sd * sign)), abs=1e-6)


def test_two_bounds_together_are_those_of_numerical_integration() -> None:
    mean, covariance = np.array([0.2, -0.1]), np.array([[1.0, 0.6], [0.6, 0.8]])
    bound, noise = np.array([0.5, 0.4]), np.array([0.05, 0.1])
    (value, width), _ = censored_sites(mean, covariance, bound, noise, np.ones(2))
    V = np.linalg.inv(np.linalg.inv(covariance) + np.diag(1 / width))
    m = V @ (np.linalg.solve(covariance, mean) + value / width)
    prior = stats.multivariate_normal(mean, covariance)

    grid = np.stack(np.meshgrid(*[np.linspace(-5, 6, 441)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = prior.pdf(grid) * stats.norm.cdf((grid - bound) / np.sqrt(noise)).prod(axis=1)
    exact = weight @ grid / weight.sum()
    assert m == pytest.approx(exact, abs=0.01)  # expectation propagation is not exact here
    assert np.diag(V) == pytest.approx(weight @ (grid - exact) ** 2 / weight.sum(), rel=0.03)


def test_readings_at_full_scale_raise_what_is_expected_there() -> None:
    rows = bend(40, censor=22000.0)
    model, beyond = fitted(40, censor=22000.0), np.array([[0.97, 0.9]])
    truth = 20000 * (0.2 + 0.97**2 + 0.3 * 0.9)
    assert rows.saturated[:, 0].sum() >= 3
    clear = ~rows.saturated.any(axis=1)
    names = ("X", "Y", "saturated", "age", "session")
    without = fit_gaussian_process(replace(rows, **{name: getattr(rows, name)[clear] for name in names}))
    prediction, other = model.predict(beyond), without.predict(beyond)
    assert prediction.mean[0, 0] > 22000
    assert abs(prediction.mean[0, 0] - truth) < 3 * np.sqrt(prediction.model_var[0, 0])
    assert prediction.model_var[0, 0] < other.model_var[0, 0]


def test_a_bound_does_not_count_as_a_degree_of_freedom_of_the_noise() -> None:
    """Of eleven and five readings below full scale, three determine a plane."""
    rows = bend(20, censor=11000.0)
    assert (~rows.saturated).sum(axis=0).tolist() == [11, 5]
    assert (fit_gaussian_process(rows).residual_dof <= [8, 2]).all()


@pytest.mark.parametrize("dark", [0.0, 900.0])
def test_one_reading_below_full_scale_is_enough_to_look_between_it_and_the_bounds(dark: float) -> None:
    """Else the design would go on at the ends of the range, where every reading is at full scale."""
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], *np.linspace(0.5, 1.0, 8)[:, None] * [1.0, 1.0]])
    Y = np.where(X.sum(axis=1, keepdims=True) > 0, 9000.0, dark) * np.ones(2)
    rows = replace(led.data(X, Y, inputs=PAIR, channels=led.CHANNELS[:2]), saturated=Y == 9000.0)
    u = (
        FittedForward(fit_gaussian_process(rows))
        .propose(led.targets([[8700.0, 8700.0]]), rows.space, np.random.default_rng(0))
        .settings[0]
    )
    assert (u > 0.02).any()
    assert (u < 0.5).all()


def clipped(n: int, ends: list[float]) -> Data:
    """Rows of `bend` whose channels end at these readings."""
    rows = bend(n)
    return replace(rows, Y=np.minimum(rows.Y, ends), saturated=np.asarray(ends <= rows.Y))


def test_a_row_that_is_censored_in_one_channel_is_a_bound_there_and_a_reading_in_the_other() -> None:
    """The first channel reads at most 18000; the second has an end that no reading comes to."""
    rows = clipped(40, [18000.0, 60000.0])
    model, cut = fit_gaussian_process(rows), rows.saturated[:, 0]
    assert 3 <= cut.sum() <= 20
    first, second = model.channels
    assert first.used.sum() == second.used.sum() == 40  # the bounds are rows of the process, too
    assert model.mean(rows.X[cut])[:, 0].min() > 17500
    assert model.predict(rows.X).mean[:, 1] == pytest.approx(fitted(40).predict(rows.X).mean[:, 1], rel=1e-6)


def test_of_one_channel_each_row_is_used_once_as_a_reading_or_as_a_bound() -> None:
    rows = clipped(40, [18000.0, 60000.0])
    one = led.data(rows.X, rows.Y[:, :1], inputs=PAIR, channels=led.CHANNELS[:1])
    model = fit_gaussian_process(replace(one, saturated=rows.saturated[:, :1]))
    assert len(model.channels[0].used) == 40
    assert model.channels[0].used.all()


def test_where_too_few_rows_are_complete_censored_readings_are_bounds_of_the_process() -> None:
    """Rows below the end of the first channel are few, and one row lacks a channel; one is needed."""
    rows, order = bend(7), np.argsort(bend(7).Y[:, 0])
    for exact in (2, 1, 0):
        end = rows.Y[order[max(exact - 1, 0)], 0] / 2 + rows.Y[order[exact], 0] / 2 - (not exact)
        cut = replace(
            rows, Y=np.minimum(rows.Y, [end, 6e4]), saturated=np.column_stack([end < rows.Y[:, 0], [False] * 7])
        )
        cut.Y[order[-1], 1] = np.nan
        if not exact:
            with pytest.raises(NotEnoughData):
                fit_gaussian_process(cut)
            continue
        model = fit_gaussian_process(cut)
        assert model.training.summary == f"6 readings ({6 - exact} saturated, used as bounds)"
        assert model.training.usable.sum(axis=0).tolist() == [exact, 6]
        assert model.mean(cut.X[order[2:6]])[:, 0].min() > end - 500


# Transforms ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("transform", ["none", "log"])
def test_a_transform_is_undone_and_its_derivative_that_of_finite_differences(transform: Transform) -> None:
    y, h = np.array([0.5, 20.0, 3000.0]), 1e-6
    assert backward(transform, forward(transform, y)) == pytest.approx(y)
    difference = (forward(transform, y * (1 + h)) - forward(transform, y * (1 - h))) / (2 * h * y)
    assert derivative(transform, y) == pytest.approx(difference, rel=1e-5)


def test_readings_that_fall_exponentially_are_learnt_on_their_logarithms() -> None:
    assert [one.transform for one in fit_gaussian_process(fade(30)).channels] == ["log", "log"]
    assert [one.transform for one in fitted().channels] == ["none", "none"]
    below = replace(fade(30), Y=fade(30).Y - 25000.0)  # no logarithm of a third of the readings
    assert [one.transform for one in fit_gaussian_process(below).channels] == ["none", "none"]


def test_two_readings_of_zero_are_no_reason_for_a_logarithm_that_leaves_them_out() -> None:
    """Of a line: neither scale is compared with these two, which are then left out as wrong."""
    rng, X = np.random.default_rng(0), np.random.default_rng(1).random((40, 2))
    rows = led.data(
        X, 9000 + X @ [[8000.0], [5000.0]] + 20 * rng.standard_normal((40, 1)), None, PAIR, led.CHANNELS[:1]
    )
    training, Y = TrainingSet.from_data(rows), rows.Y.copy()
    Y[[3, 20]] = 0.0
    model = fit_processes(replace(training, Y=Y))
    assert model.channels[0].transform == "none"
    assert np.flatnonzero(model.channels[0].wrong).tolist() == [3, 20]
    assert model.mean(X)[:, 0] == pytest.approx(rows.Y[:, 0], abs=100.0)


@pytest.mark.parametrize("level", [0.0, 5000.0])
def test_a_channel_that_never_changes_is_expected_to_stay_as_it_is(level: float) -> None:
    X = np.random.default_rng(0).random((12, 2))
    model = fit_processes(TrainingSet.from_data(led.data(X, np.full((12, 1), level), None, PAIR, led.CHANNELS[:1])))
    assert model.mean(X)[:, 0] == pytest.approx(np.full(12, level), abs=1e-3)
    prediction = model.predict(X)
    assert np.isfinite(prediction.model_var).all()
    assert np.isfinite(prediction.noise_var).all()


def test_channels_share_their_evidence_for_a_logarithm_and_may_differ_where_it_is_strong() -> None:
    shared = are_logarithmic
    assert shared(np.array([1.0, 1.1, 0.9])).all()  # none would be enough alone
    assert not shared(np.array([1.0])).any()
    assert shared(np.array([6.0, -6.0, -5.0])).tolist() == [True, False, False]
    assert not shared(np.array([0.5, 0.2, -0.1])).any()
    assert shared(np.array([])).tolist() == []


def rows_of(y: list[float], censored: int = 0, optimised: bool = False) -> ChannelRows:
    """Readings of one channel, of which the last `censored` are bounds."""
    n, values = len(y), np.array(y)
    cut = np.arange(n) >= n - censored
    size = float(values[~cut].std())
    return ChannelRows(np.linspace(0, 1, n)[:, None], values, ~cut, cut, cut, np.ones(1), size, optimised)


def test_a_logarithm_is_compared_where_at_most_a_tenth_of_the_readings_are_not_positive() -> None:
    """Bounds must be positive; with an objective all readings must be a tenth of their scatter above 0."""
    twenty = [float(i) for i in range(1, 21)]
    assert _transforms(rows_of(twenty)) == ("none", "log")
    assert _transforms(rows_of([-1.0, 0.0, 0.5, *twenty[3:]])) == ("none", "log")
    assert _transforms(rows_of([-1.0, 0.0, -2.0, *twenty[3:]])) == ("none",)
    assert _transforms(rows_of([*twenty, 0.5], censored=1)) == ("none", "log")
    assert _transforms(rows_of([*twenty, -0.5], censored=1)) == ("none",)
    assert _transforms(rows_of([*twenty], optimised=True)) == ("none", "log")
    assert _transforms(rows_of([0.3, *twenty], optimised=True)) == ("none",)


def test_with_an_objective_the_mean_reading_is_that_of_the_rows() -> None:
    """It is fitted to their distance from a level below the smallest one, which is added again."""
    rows = fade(30)
    model = fit_processes(TrainingSet.from_data(rows), objective=Objective(0, 1.0))
    assert model.offset[0] == pytest.approx(rows.Y[:, 0].min() - 0.1 * rows.Y[:, 0].std())
    assert model.mean(rows.X)[:, 0] == pytest.approx(rows.Y[:, 0], rel=0.02)
    paths = model.sample_paths(20, np.random.default_rng(0))
    assert paths(rows.X)[..., 0].mean(axis=0) == pytest.approx(rows.Y[:, 0], rel=0.03)


def test_a_process_of_given_hyperparameters_has_the_noise_and_the_mean_of_the_fit() -> None:
    """The jitter has become constant noise of the same mean variance over the rows."""
    rows = bend(60)
    channel = fit_gaussian_process(rows).channels[0]
    given = hyperparameters_of(channel)
    size = np.exp(channel.weight @ channel.processes.theta)
    jitter = (rows.X * (1 - rows.X) + 0.05) @ channel.slope**2
    assert given.proportional == pytest.approx(size[-3])
    constant = (size[-2] * channel.scale) ** 2 + size[-1] ** 2 * jitter.mean()
    assert given.constant**2 == pytest.approx(constant)
    again = condition(given, rows.X, rows.Y[:, 0], np.zeros(60, bool))
    mean, _, noise = again.predict(rows.X)
    assert mean == pytest.approx(channel.mean(rows.X), rel=5e-3)
    assert noise == pytest.approx(given.constant**2 + (given.proportional * mean) ** 2, rel=1e-6)
    missing = np.where(np.arange(60) < 5, np.nan, rows.Y[:, 0])
    assert condition(given, rows.X, missing, np.zeros(60, bool)).used.sum() == 55


def test_transforms_are_chosen_by_the_sum_of_two_priors_over_all_their_combinations() -> None:
    """With equal probability each channel has a transform of its own, or all have the same; `none` is four times as
    probable as `log`."""
    rng = np.random.default_rng(0)
    for c in (1, 2, 3):
        combinations = np.array(list(itertools.product((False, True), repeat=c)))
        share = np.where(combinations, 0.2, 0.8)
        alike = np.where(combinations.all(axis=1), 0.2, np.where(combinations.any(axis=1), 0.0, 0.8))
        for gain in 3.0 * rng.standard_normal((200, c)):
            score = np.log(share.prod(axis=1) + alike) + combinations @ gain
            assert are_logarithmic(gain).tolist() == combinations[score.argmax()].tolist()


def test_a_bound_has_the_variance_of_its_site_and_no_noise_beside_it() -> None:
    channel = rows_of([1.0, 3.0, 2.0, 4.0, 3.5], censored=1)
    both, z, _, _ = channel.problem("none")
    given, theta = both.take(np.array([0])), np.log([[0.4, 0.7, 1.3, 0.02, 0.05, 0.01]])
    added, log_z = add_sites(channel, given, z, theta)
    assert added.use[0].tolist() == [True] * 5
    assert noise_variance(added, theta)[0, 4] == pytest.approx(added.fixed[0, 4] + FLOOR)
    assert noise_variance(added, theta)[0, :4] == pytest.approx(noise_variance(given, theta)[0, :4])
    assert log_z[0] < 0


# Wrong rows ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("transform", ["none", "log"])
def test_a_wrong_row_has_a_wide_normal_density_that_integrates_to_its_prior_odds(transform: Transform) -> None:
    model = fit_gaussian_process(bend(20) if transform == "none" else fade(20)).channels[0]
    assert model.transform == transform
    low = model.centre - 8.0 * WIDE * model.size  # on the scale of the transform
    y = backward(transform, np.linspace(low, 2.0 * model.centre - low, 400_001))
    density = np.exp(model.wrong_density(y))
    assert np.trapezoid(density, y) == pytest.approx(WRONG / (1.0 - WRONG), rel=1e-4)
    below = model.wrong_density(np.array([-5.0]))
    assert np.isnan(below[0]) == (transform == "log")


def four_channels(wrong: int) -> Data:
    """40 rows of four channels, of which row 7 is wrong in the first `wrong`."""
    rng = np.random.default_rng(0)
    X = rng.random((40, 2))
    Y = 5000 + 20000 * X @ rng.random((2, 4)) + 50 * rng.standard_normal((40, 4))
    Y[7, :wrong] += 9000.0
    channels = tuple(Channel(name=name) for name in "abcd")
    return replace(led.data(X, Y, inputs=PAIR, channels=channels), saturated=np.zeros((40, 4), bool))


@pytest.mark.parametrize(("wrong", "left_out"), [(0, 0), (1, 1), (2, 4), (4, 4)])
def test_a_row_that_is_wrong_in_half_of_the_channels_is_left_out_of_all(wrong: int, left_out: int) -> None:
    rows = four_channels(wrong)
    training = replace(TrainingSet.from_data(four_channels(0)), Y=rows.Y)
    model = fit_processes(training)
    assert [one.wrong[7] for one in model.channels] == [c < left_out for c in range(4)]
    assert sum(int(one.wrong.sum()) for one in model.channels) == left_out
    U = np.random.default_rng(1).random((9, 2))
    right = fit_processes(TrainingSet.from_data(four_channels(0))).predict(U)
    assert np.abs(model.predict(U).mean - right.mean).max() < 60.0


def test_with_an_objective_no_row_is_taken_for_wrong() -> None:
    training = replace(TrainingSet.from_data(four_channels(0)), Y=four_channels(4).Y)
    model = fit_processes(training, objective=Objective(0, 1.0))
    assert not any(one.wrong.any() for one in model.channels)


def test_a_few_rows_more_than_coefficients_are_enough_to_draw_hyperparameters() -> None:
    """With inputs + 2 rows each prior has its most probable parameters alone; with one row more, weighted draws."""
    four, five = fitted(4).channels[0], fitted(5).channels[0]
    assert len(four.weight) <= 2
    assert len(five.weight) > 2
    assert five.weight.sum() == pytest.approx(1.0)


def test_the_variance_between_sessions_is_added_to_that_of_the_model() -> None:
    rows = bend(40)
    second = replace(
        rows, session=np.repeat([0.0, 1.0], 20), Y=rows.Y * np.where(np.arange(40) < 20, 1.05, 1.0)[:, None]
    )
    model, U = fit_gaussian_process(second), np.array([[0.2, 0.4], [0.9, 0.8]])
    cov = model.training.session_cov
    assert cov is not None
    alone = replace(model, training=replace(model.training, session_cov=None)).predict(U)
    x = np.column_stack([np.ones(2), U])
    exact = np.stack([[at @ cov[c] @ at for c in range(2)] for at in x])
    assert exact.min() > 0
    assert model.predict(U).model_var - alone.model_var == pytest.approx(exact, rel=1e-6)
    paths = model.sample_paths(4000, np.random.default_rng(0))
    assert paths(U).std(axis=0) == pytest.approx(np.sqrt(model.predict(U).model_var), rel=0.1)
    h = 1e-5 * np.array([1.0, 0.0])
    assert paths.jacobian(U)[..., 0] == pytest.approx((paths(U + h) - paths(U - h)) / 2e-5, rel=1e-3, abs=1.0)


def test_the_least_noise_is_a_quantile_over_the_mixture() -> None:
    model, u = fitted(20), np.array([[0.3, 0.8]])
    for channel in model.channels:
        y = channel.mean(u)
        parts = variance_parts(u, y[:, None], channel.slope[None], np.array([channel.scale]))[:, 0, 0]
        sd = np.sqrt([np.exp(2 * theta[-3:]) @ parts for theta in channel.processes.theta])
        assert len(np.unique(sd)) > 5
        for probability in (0.05, 0.5, 0.9):
            found = channel.least_noise(u, probability)[0]
            assert channel.weight[sd < found * (1 - 1e-9)].sum() < probability
            assert channel.weight[sd < found * (1 + 1e-9)].sum() >= probability


def test_the_parts_of_the_noise_are_proportional_constant_and_jitter() -> None:
    U, mean, slope = np.array([[0.2, 0.7]]), np.array([[3000.0, 50.0]]), np.array([[100.0, 20.0], [3.0, 4.0]])
    jitter = [(100**2 * (0.16 + 0.05) + 20**2 * (0.21 + 0.05)), (3**2 * (0.16 + 0.05) + 4**2 * (0.21 + 0.05))]
    exact = [[[3000.0**2, 50.0**2]], [[7.0**2, 9.0**2]], [jitter]]
    assert variance_parts(U, mean, slope, np.array([7.0, 9.0])) == pytest.approx(np.array(exact))
