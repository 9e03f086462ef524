"""The Bayesian dynamic linear model against generalised least squares, restricted likelihood and truncated normals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import truncnorm

from sdl.arrays import Floats
from sdl.models.data import Data
from sdl.models.forward.bayesian_line import fit_bayesian_line
from sdl.models.forward.dynamic_linear import (
    DRIFTS,
    JUMP,
    NOISES,
    CoefficientPrior,
    DynamicRows,
    _fit,
    _reference,
    _whiten,
    condition_on_censored,
    fit,
    variance_functions,
)
from sdl.types import Channel, Input

SIGMA = np.array([0.004, 0.003])
"""Noise in units of its two shapes, which scales the jump between sessions."""


def rows(n: int, sessions: int = 1, seed: int = 0) -> DynamicRows:
    """n readings of two channels at random settings of two inputs, in equally long sessions."""
    rng = np.random.default_rng(seed)
    U, session = rng.random((n, 2)), np.repeat(np.arange(float(sessions)), n // sessions)
    Y = np.array([300.0, 200.0]) + U @ np.array([[30000.0, 500.0], [8000.0, 20000.0]])
    Y += 100.0 * rng.standard_normal(Y.shape)
    X = np.column_stack([np.ones(n), U])
    return DynamicRows(X, Y, np.ones(Y.shape, bool), np.arange(n, 0.0, -1.0), session)


def covariance(given: DynamicRows, s: int, k: int, c: int) -> Floats:
    """(n, n) covariance of the readings of channel c, divided by sigma², by the definitions of the module."""
    kind, size = DRIFTS[k]
    X, slope = given.X, _reference(given, None)[c, 1:]
    noise = variance_functions(X, _reference(given, None))[s, :, c]
    middle = variance_functions(np.array([[1.0, 0.5, 0.5]]), _reference(given, None))[s, 0, c]
    V = np.diag(noise)
    # The drift of one reading has, in the middle of the range, size² × the variance of the noise: half of it in the
    # offset, half in the gains, which drift in proportion to their size.
    step = size**2 * 0.5 * middle * np.diag([1.0, *(slope**2 / (0.25 * (slope**2).sum()))])
    same = given.session[:, None] == given.session
    last = np.array([given.age[given.session == one].min() for one in given.session])
    now = given.session == given.session[-1]
    age = np.where(now, given.age, given.age - last + 1.0)
    time = np.outer(age, age) if kind == "trend" else np.minimum.outer(age, age)
    V += (X @ step @ X.T) * time * same
    # Effects of sessions are independent; every row is relative to the current session.
    effect = 0.5 * np.diag([(JUMP[0] * np.abs(slope).sum()) ** 2, *(JUMP[1] * slope) ** 2]) / SIGMA[s] ** 2
    other = np.outer(~now, ~now)
    V += (X @ effect @ X.T) * (same + 1.0) * other
    return np.asarray(V, dtype=np.float64)


@pytest.mark.parametrize("sessions", [1, 3])
@pytest.mark.parametrize("k", range(len(DRIFTS)))
@pytest.mark.parametrize("s", range(len(NOISES)))
def test_given_noise_and_drift_it_is_statsmodels_generalised_least_squares(s: int, k: int, sessions: int) -> None:
    given = rows(18, sessions)
    reference = _reference(given, None)
    theta, spread, square, evidence, _ = _fit(_whiten(given, reference, SIGMA, None), reference, SIGMA)
    for c in range(2):
        V = covariance(given, s, k, c)
        other = sm.GLS(given.Y[:, c], given.X, sigma=V).fit()
        assert (reference + theta[s, k])[c] == pytest.approx(other.params, rel=1e-7)
        assert spread[s, k, c] == pytest.approx(other.normalized_cov_params, rel=1e-6)
        assert square[s, k, c] == pytest.approx(other.ssr, rel=1e-7)
        information = given.X.T @ np.linalg.inv(V) @ given.X
        restricted = -0.5 * (np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1])
        assert evidence[s, k, c] == pytest.approx(restricted, abs=1e-6)


def test_older_rows_in_blocks_lose_nothing_where_nothing_drifts() -> None:
    given = rows(300)
    reference = _reference(given, None)
    white = _whiten(given, reference, SIGMA, None)
    assert len(white.age) < 60
    theta, spread, square, evidence, _ = _fit(white, reference, SIGMA)
    for s in range(2):
        for c in range(2):
            noise = np.diag(covariance(given, s, 0, c))
            other = sm.WLS(given.Y[:, c], given.X, weights=1.0 / noise).fit()
            assert (reference + theta[s, 0])[c] == pytest.approx(other.params, rel=1e-7)
            assert spread[s, 0, c] == pytest.approx(other.normalized_cov_params, rel=1e-6)
            assert square[s, 0, c] == pytest.approx(other.ssr, rel=1e-7)
            information = np.linalg.slogdet((given.X / noise[:, None]).T @ given.X)[1]
            assert evidence[s, 0, c] == pytest.approx(-0.5 * (np.log(noise).sum() + information), abs=1e-6)


def test_models_of_noise_and_drift_are_averaged_by_restricted_likelihood() -> None:
    """Coefficients are averaged over the models; their covariance is that of the mixture."""
    given, goal = rows(18), np.array([0])
    found = fit(given, goal)
    reference = _reference(given, None)
    log_weight, coef, spread = [], [], []
    for s in range(len(NOISES)):
        for k in range(len(DRIFTS)):
            others = [sm.GLS(given.Y[:, c], given.X, sigma=covariance(given, s, k, c)).fit() for c in range(2)]
            V, other = covariance(given, s, k, 0), others[0]
            information = np.linalg.slogdet(given.X.T @ np.linalg.inv(V) @ given.X)[1]
            # One channel is the goal: its noise, with two more degrees of freedom of its own relative size.
            size = (other.ssr + 2.0 * other.ssr / 15.0) / 17.0
            prior = np.log(0.89 if k == 0 else 0.11 / 4)
            log_weight.append(prior - 0.5 * (np.linalg.slogdet(V)[1] + information + 15.0 * np.log(size)))
            coef.append(other.params)
            spread.append(size * other.normalized_cov_params)
    weight = np.exp(np.array(log_weight) - max(log_weight))
    weight /= weight.sum()
    assert weight.max() < 0.95  # more than one model counts
    mean = weight @ np.array(coef)
    away = np.array(coef) - mean
    assert found.coef[:, 0] == pytest.approx(mean, rel=1e-7)
    total = np.einsum("i,ipq->pq", weight, np.array(spread)) + np.einsum("i,ip,iq->pq", weight, away, away)
    assert found.coef_covariance[0] == pytest.approx(total, rel=1e-6)
    assert reference.shape == (2, 3)


def test_a_reading_at_full_scale_gives_the_moments_of_a_truncated_normal() -> None:
    model = fit(rows(10), np.array([0, 1]))
    x = np.array([1.0, 0.9, 0.8])
    mean, covariance_of = model.coef[:, 0], model.coef_covariance[0]
    sd = float(np.sqrt(x @ covariance_of @ x + model.noise[0, 0] * model.variance(x[None, 1:])[0, 0]))
    least = float(x @ mean) + 0.7 * sd
    found, used = condition_on_censored(model, x[None], np.array([[least, np.nan]]))
    reading = truncnorm(0.7, np.inf, loc=x @ mean, scale=sd)
    gain = covariance_of @ x / sd**2
    assert used == 1
    assert found.coef[:, 0] == pytest.approx(mean + gain * (reading.mean() - x @ mean), rel=1e-9)
    shrunk = covariance_of - np.outer(gain, gain) * (sd**2 - reading.var())
    assert found.coef_covariance[0] == pytest.approx(shrunk, rel=1e-7)
    assert found.coef[:, 1] == pytest.approx(model.coef[:, 1], rel=1e-12)


@pytest.mark.parametrize(("away", "used"), [(3.9, 1), (4.1, 0)])
def test_a_bound_that_contradicts_the_other_rows_is_left_out(away: float, used: int) -> None:
    model = fit(rows(10), np.array([0, 1]))
    x = np.array([1.0, 0.9, 0.8])
    sd = float(np.sqrt(x @ model.coef_covariance[0] @ x + model.noise[0, 0] * model.variance(x[None, 1:])[0, 0]))
    least = np.array([[x @ model.coef[:, 0] + away * sd, np.nan]])
    assert condition_on_censored(model, x[None], least)[1] == used


def test_a_bound_of_a_channel_that_is_certain_says_nothing_more() -> None:
    fitted = fit(rows(10), np.array([0, 1]))
    certain = replace(fitted, coef=0 * fitted.coef, root=0 * fitted.root, sizes=0 * fitted.sizes)
    with np.errstate(all="raise"):
        found, used = condition_on_censored(certain, np.array([[1.0, 0.9, 0.8]]), np.array([[5.0, np.nan]]))
    assert used == 0
    assert (found.coef == 0).all()


def test_channels_whose_noise_goes_together_are_correlated_as_their_residuals_are() -> None:
    plain, rng = rows(22), np.random.default_rng(3)
    common, own = rng.standard_normal((22, 1)), rng.standard_normal((22, 2))
    noise = 100.0 * (np.sqrt(0.8) * common * [1.0, -1.0] + np.sqrt(0.2) * own)
    given = plain._replace(Y=plain.X @ _reference(plain, None).T + noise)
    found = fit(given, np.array([0, 1]))
    assert "," not in found.belief  # no drift
    whitened = []
    for c in range(2):
        variance = np.diag(covariance(given, NOISES.index(found.belief), 0, c))
        other = sm.WLS(given.Y[:, c], given.X, weights=1.0 / variance).fit()
        whitened.append(other.resid / np.sqrt(variance))
    cosine = whitened[0] @ whitened[1] / np.sqrt((np.array(whitened) ** 2).sum(axis=1).prod())
    assert cosine < -0.6
    shrunk = cosine * 19.0 / (19.0 + 2.0)  # by the pooled degrees of freedom
    assert found.noise == pytest.approx(np.array([[1.0, shrunk], [shrunk, 1.0]]), rel=1e-6)


def test_without_a_row_the_model_is_its_prior_and_with_rows_it_lies_between() -> None:
    prior = CoefficientPrior(np.array([[300.0, 9000.0, 500.0]]), np.array([[30.0, 900.0, 50.0]]), 0.004, 4.0)
    none = DynamicRows(np.empty((0, 3)), np.empty((0, 1)), np.empty((0, 1), bool), np.empty(0), np.empty(0))
    assert _reference(none, prior) == pytest.approx(prior.mean)
    model = fit(none, np.array([0]), prior)
    assert model.coef[:, 0] == pytest.approx(prior.mean[0])
    assert np.sqrt(np.diag(model.coef_covariance[0])) == pytest.approx(prior.sd[0], rel=0.05)
    given = rows(6)
    part = given._replace(Y=given.Y[:, :1], usable=given.usable[:, :1])
    # Ridge regression towards the prior, in units of the noise of one reading at full response.
    noise = 0.004 * 9500.0
    gram = part.X.T @ part.X + np.diag((noise / prior.sd[0]) ** 2)
    exact = np.linalg.solve(gram, part.X.T @ part.Y[:, 0] + (noise / prior.sd[0]) ** 2 * prior.mean[0])
    assert _reference(part, prior)[0] == pytest.approx(exact, rel=1e-9)


def test_the_variance_of_a_channel_without_response_is_bounded_below_by_the_largest_response_of_another() -> None:
    """By 1e-12 of the square of its range, and by 1 where no channel responds."""
    X = np.array([[1.0, 0.2, 0.7], [1.0, 0.0, 0.0]])
    found = variance_functions(X, np.array([[0.0, 0.0, 0.0], [5.0, 3.0, -4.0]]))
    assert found[:, :, 0] == pytest.approx(np.full((2, 2), 1e-12 * 49.0))
    assert found[:, 1, 1] == pytest.approx([0.05 * 25.0, 25.0 + (0.01 * 7.0) ** 2])
    assert (variance_functions(X, np.zeros((1, 3))) == 1.0).all()


def test_the_solver_s_model_is_that_of_its_rows_the_newest_one_reading_before_the_next() -> None:
    given, goal = rows(18, 2), np.array([0, 1])
    inputs, channels = (Input(name="x"), Input(name="y")), (Channel(name="a"), Channel(name="b"))
    age, full = given.age - 1.0, np.zeros((18, 2), bool)
    data = Data(given.X[:, 1:], given.Y, full, np.ones(2, bool), age, given.session, inputs, channels)
    found, exact = fit_bayesian_line(data).dynamic, fit(given, goal)
    assert found.coef == pytest.approx(exact.coef, rel=1e-9)
    assert found.coef_covariance == pytest.approx(exact.coef_covariance, rel=1e-9)
    assert found.dof == pytest.approx(exact.dof)


def test_a_bound_of_a_channel_whose_noise_is_unknown_is_judged_by_the_nominal_noise() -> None:
    """No degree of freedom is left by three rows: the noise of one reading is taken to be 0.4 % of the response."""
    model = fit(rows(3), np.array([0, 1]))
    assert np.isnan(model.sizes).all()
    known = replace(model, root=np.zeros_like(model.root))
    x = np.array([1.0, 0.5, 0.5])
    variance = variance_functions(x[None], model.coef.T)[:, 0]  # of both shapes, each as probable as the other
    sd = np.sqrt(0.004**2 * variance.mean(axis=0))
    for away, used in ((3.9, 2), (4.1, 0)):
        assert condition_on_censored(known, x[None], (x @ model.coef + away * sd)[None])[1] == used
