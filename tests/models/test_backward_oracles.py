"""Formulas of the models from readings to settings, against other implementations on the same numbers."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from led import GAINS, data, hypercube, measure, night, space, targets
from scipy import stats

from sdl.models import session_effects
from sdl.models.backward.partial_least_squares import _weight, fit_partial_least_squares
from sdl.models.forward.linear_model import fit_linear, t_factor
from sdl.models.session_effects import GAINS as GAIN_SIZES
from sdl.models.session_effects import OFFSETS, _lines, _sums, align_to_current
from sdl.models.training_set import TrainingSet
from sdl.solvers.gmm import Gmm
from sdl.solvers.pls import Pls

GOAL = np.array([16384.0] * 3)


def ask(solver, rows, goal):
    return solver.fit(rows).propose(targets(goal), space(), np.random.default_rng(0))


@pytest.mark.parametrize("components", [1, 2, 3])
def test_unweighted_partial_least_squares_is_scikit_learn_s(components):
    from sklearn.cross_decomposition import PLSRegression

    rows = night(30)
    other = PLSRegression(n_components=components).fit(rows.Y, rows.X)
    ours = fit_partial_least_squares(rows, components=components, weighted=False)
    goals = np.vstack([GOAL, 0.5 * GOAL, [9000.0, 40000.0, 21000.0]])
    found = ours.propose(targets(goals), space(), np.random.default_rng(0)).settings
    assert found == pytest.approx(other.predict(goals), abs=1e-10)


def test_all_components_of_partial_least_squares_are_ordinary_least_squares_with_its_standard_errors():
    import statsmodels.api as sm

    rows = night(30)
    answer = ask(Pls(weighted=False), rows, GOAL)
    design, at = sm.add_constant(rows.Y), np.concatenate([[1.0], GOAL])[None]
    for j in range(3):
        predicted = sm.OLS(rows.X[:, j], design).fit().get_prediction(at)
        factor = t_factor(np.array(26.0))
        assert answer.settings[0, j] == pytest.approx(predicted.predicted_mean[0], abs=1e-9)
        assert answer.uncertainty[0, j] == pytest.approx(factor * predicted.se_mean[0], rel=1e-6)
        assert answer.spread[0, j] == pytest.approx(factor * predicted.se_obs[0], rel=1e-6)


def test_all_components_of_weighted_partial_least_squares_are_weighted_least_squares():
    import statsmodels.api as sm

    rows = night(30)
    weight = _weight(TrainingSet.from_data(rows))
    found = ask(Pls(), rows, GOAL).settings[0]
    design, at = sm.add_constant(rows.Y), np.concatenate([[1.0], GOAL])
    for j in range(3):
        assert found[j] == pytest.approx(sm.WLS(rows.X[:, j], design, weight[:, j]).fit().params @ at, abs=1e-8)


def test_rows_are_weighted_by_the_inverse_variance_of_the_setting_that_their_readings_give():
    """By the delta method, with the variance of each reading by the linear model."""
    training = TrainingSet.from_data(night(30))
    linear = training.linear
    noise = np.diag(linear.noise) * linear.variance(training.U)  # (n, m)
    inverse = np.linalg.inv(linear.slope)
    exact = 1.0 / np.array([np.diag(inverse @ np.diag(row) @ inverse.T) for row in noise])
    assert _weight(training) == pytest.approx(exact / exact.mean(axis=0), rel=1e-6)
    assert np.ptp(_weight(training)) > 1.0
    assert (_weight(TrainingSet.from_data(night(4))) == 1.0).all()  # no degree of freedom to estimate the noise from


def test_options_of_partial_least_squares_reach_the_fit_and_sessions_are_aligned_unless_told_otherwise():
    plain, session = night(40), np.arange(40) // 20 * 1.0
    rows = replace(plain, Y=plain.Y * (1 + 0.1 * session[:, None]), session=session)
    assert Pls(components=2).fit(plain).components == 2
    assert (len(Pls().fit(plain).maps), len(Pls(weighted=False).fit(plain).maps)) == (3, 1)
    assert Pls(level=False).fit(rows).training.Y.tolist() == rows.Y.tolist()
    assert Pls().fit(rows).training.Y[:20] == pytest.approx(1.1 * plain.Y[:20], abs=200.0)


def test_with_no_more_rows_than_readings_determine_fewer_components_are_taken():
    rows = night(4)
    assert fit_partial_least_squares(rows).components == 3
    assert fit_partial_least_squares(rows, components=2).components == 2


def test_one_gaussian_is_conditioned_by_the_closed_form():
    rows = night(60)
    joint = np.column_stack([rows.X, rows.Y])
    mean, cov = joint.mean(axis=0), np.cov(joint.T)
    regression = cov[:3, 3:] @ np.linalg.inv(cov[3:, 3:])
    answer = ask(Gmm(trend="none"), rows, GOAL)
    assert answer.settings[0] == pytest.approx(mean[:3] + regression @ (GOAL - mean[3:]), abs=1e-8)
    left = np.diag(cov[:3, :3] - regression @ cov[3:, :3]) * 59 / 56  # gmr's n, less the goal's degrees of freedom
    far = (GOAL - mean[3:]) @ np.linalg.inv(cov[3:, 3:] * 59 / 60) @ (GOAL - mean[3:])
    lever = (1 + far) / 60
    assert answer.uncertainty[0] == pytest.approx(t_factor(np.array(56.0)) * np.sqrt(left * lever), rel=1e-6)
    assert answer.spread[0] == pytest.approx(t_factor(np.array(56.0)) * np.sqrt(left * (1 + lever)), rel=1e-6)


def test_a_mixture_is_conditioned_by_the_densities_of_scipy():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(150, 3))
    Y = (2 * X - 1) ** 2 @ GAINS.T + 100 * rng.normal(size=X.shape)
    fitted = Gmm(components=3).fit(data(X, Y))
    mixture, goal = fitted.mixture, np.array([9000.0, 20000.0, 11000.0])
    z = (goal - fitted.mean[3:]) / fitted.scale[3:]
    density = [
        weight * stats.multivariate_normal(mean[3:], cov[3:, 3:]).pdf(z)
        for weight, mean, cov in zip(mixture.priors, mixture.means, mixture.covariances, strict=True)
    ]
    given = fitted._condition(np.arange(3, 6), goal)
    assert given.priors == pytest.approx(np.array(density) / sum(density), rel=1e-8)
    for k, (mean, cov) in enumerate(zip(mixture.means, mixture.covariances, strict=True)):
        regression = cov[:3, 3:] @ np.linalg.inv(cov[3:, 3:])
        assert given.means[k] == pytest.approx(mean[:3] + regression @ (z - mean[3:]), rel=1e-8)
        assert given.covariances[k] == pytest.approx(cov[:3, :3] - regression @ cov[3:, :3], abs=1e-10)


def sessions(seed=0, S=8, n=12):
    """Rows of S sessions with levels and gains of their own, and even noise."""
    rng = np.random.default_rng(seed)
    U = rng.uniform(size=(S * n, 2))
    which = np.repeat(np.arange(S), n)
    effect = rng.normal(size=(S, 3)) * [600.0, 900.0, 600.0]
    X = np.column_stack([np.ones(len(U)), U])
    y = ((np.array([300.0, 30000.0, 20000.0]) + effect[which]) * X).sum(axis=1) + 50 * rng.normal(size=len(U))
    return X, y, which


def test_session_effects_are_those_of_statsmodels_for_the_same_variances():
    """Fixed effects, their covariance, predictions of the random effects and the likelihood, given D."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    X, y, which = sessions()
    model = MixedLM(y, X, groups=which, exog_re=X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = model.fit(reml=True)
    D, noise = np.diag(np.diag(other.cov_re)), other.scale
    size = np.diag(D)
    sums = _sums(X, y[:, None], np.ones((len(y), 1)), which)
    ours = _lines(sums, size[None])
    # Henderson's equations for D and the noise that were found: the dense generalised least squares of them.
    Z = np.zeros((len(y), 8 * 3))
    for s in range(8):
        Z[which == s, 3 * s : 3 * s + 3] = X[which == s]
    V = Z @ np.kron(np.eye(8), D) @ Z.T + float(ours.noise[0]) * np.eye(len(y))
    inverse = np.linalg.inv(V)
    cov = np.linalg.inv(X.T @ inverse @ X)
    beta = cov @ X.T @ inverse @ y
    effects = (np.kron(np.eye(8), D) @ Z.T @ inverse @ (y - X @ beta)).reshape(8, 3)
    assert ours.noise[0] == pytest.approx(noise, rel=0.05)
    assert (
        np.abs(ours.fixed_effects[0] - beta) < 0.01 * np.sqrt(np.diag(cov))
    ).all()  # the noise is an iteration behind
    assert ours.random_effects[0] == pytest.approx(effects, abs=1e-3 * np.abs(effects).max())
    assert np.diag(ours.spread[0]) == pytest.approx(np.diag(cov), rel=0.05)
    assert ours.fixed_effects[0] == pytest.approx(other.fe_params, rel=0.01)
    table = np.array([other.random_effects[s] for s in range(8)])
    assert ours.random_effects[0] == pytest.approx(table, abs=0.05 * np.abs(table).max())


def test_the_size_of_the_effects_that_the_grid_takes_is_within_a_step_of_the_restricted_likelihood_s():
    from statsmodels.regression.mixed_linear_model import MixedLM

    X, y, which = sessions(S=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = MixedLM(y, X, groups=which, exog_re=X).fit(reml=True)
    slope = np.array([30000.0, 20000.0])
    sizes = np.array([[[(o * slope.sum()) ** 2, *(g * slope) ** 2]] for o in OFFSETS for g in GAIN_SIZES])
    best = sizes[int(_lines(_sums(X, y[:, None], np.ones((len(y), 1)), which), sizes).score.sum(axis=1).argmax())][0]
    ratio = np.sqrt(best / np.diag(other.cov_re))
    assert (ratio > 1 / 4).all()
    assert (ratio < 4).all()
    for grid in (OFFSETS, GAIN_SIZES):  # in steps of at most five
        steps = np.array(grid[1:]) / grid[:-1]
        assert ((steps > 1) & (steps <= 5.1)).all()


def test_moved_rows_keep_the_line_that_statsmodels_gives_the_current_session():
    from statsmodels.regression.mixed_linear_model import MixedLM

    X, y, which = sessions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = MixedLM(y, X, groups=which, exog_re=X).fit(reml=True)
    line = other.fe_params + other.random_effects[7]
    aligned = align_to_current(
        X[:, 1:], y[:, None], np.ones((len(y), 1), bool), which.astype(float), 7.0, np.array([0])
    )
    assert aligned.fit.coef[:, 0] == pytest.approx(line, abs=0.01 * np.abs(line).max())


def test_the_line_of_the_current_session_has_the_covariance_of_henderson_s_equations(monkeypatch):
    """That of the moved rows alone, and what the differences between sessions add to it."""
    monkeypatch.setattr(session_effects, "OFFSETS", (0.02,))
    monkeypatch.setattr(session_effects, "GAINS", (0.03,))
    X, y, which = sessions(S=4, n=8)
    Y, usable, goal = y[:, None], np.ones((len(y), 1), bool), np.array([0])
    fit = fit_linear(X[:, 1:], Y, usable)
    moved, covariance = session_effects._moved(X[:, 1:], Y, usable, which, 3, fit, goal)
    w, slope = 1.0 / fit.variance(X[:, 1:])[:, 0], fit.slope[0]
    D = np.diag([(0.02 * np.abs(slope).sum()) ** 2, *(0.03 * slope) ** 2])
    noise = float(_lines(_sums(X, Y - X @ fit.coef, w[:, None], which), np.diag(D)[None]).noise[0])
    Z = np.zeros((len(y), 12))
    for s in range(4):
        Z[which == s, 3 * s : 3 * s + 3] = X[which == s]
    both = np.hstack([X, Z])
    system = (both.T * w) @ both / noise
    system[3:, 3:] += np.kron(np.eye(4), np.linalg.inv(D))
    inverse, now = np.linalg.inv(system), np.eye(15)[:3] + np.eye(15)[12:]
    alone = noise * np.linalg.inv((X.T * w) @ X)
    assert covariance[0] + alone == pytest.approx(now @ inverse @ now.T, rel=0.02)
    effects = inverse @ (both.T * w) @ y / noise
    line = np.linalg.solve((X.T * w) @ X, (X.T * w) @ moved[:, 0])
    assert line == pytest.approx(now @ effects, rel=1e-3, abs=5.0)


def test_the_weighted_line_is_statsmodels_weighted_least_squares():
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    U = hypercube(25, rng)
    Y = measure(U, rng)
    fit = fit_linear(U, Y, np.ones(Y.shape, bool))
    assert fit.shape == "jitter"
    for c in range(3):
        other = sm.WLS(Y[:, c], sm.add_constant(U), weights=fit.weight[:, c]).fit()
        # The other shape of the noise is averaged in with its probability, which is next to nothing here.
        assert fit.coef[:, c] == pytest.approx(other.params, abs=2.0)
        assert fit.gram[c] == pytest.approx(other.normalized_cov_params, rel=1e-8)
