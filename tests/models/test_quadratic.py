"""The quadratic surface and the test for lack of fit, against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sdl.arrays import Bools, Floats
from sdl.errors import NotEnoughData
from sdl.models.data import Data
from sdl.models.forward import quadratic
from sdl.models.forward.forward_model import leave_one_out_t
from sdl.models.forward.quadratic import QuadraticModel, design_jacobian, fit_quadratic, quadratic_design
from sdl.models.lack_of_fit import assess_fit
from sdl.models.reachability import untested_curvature
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import Judge
from sdl.solvers.quadratic import Quadratic
from sdl.types import Input
from tests import led

PAIR = tuple(Input(name=name, low=0.0, high=1.0, step=None) for name in "xy")


def data(X: Floats, Y: Floats) -> Data:
    return led.data(X, Y, inputs=PAIR, channels=led.CHANNELS[:2])


def surface(U: Floats) -> Floats:
    x, y = U.T
    return np.column_stack([2000 + 9000 * x + 3000 * y + 4000 * x * y, 8000 - 5000 * x + 7000 * (y - 0.3) ** 2])


def fitted(n: int, noise: float, seed: int = 0, U: Floats | None = None) -> QuadraticModel:
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2)) if U is None else U
    return fit_quadratic(TrainingSet.from_data(data(X, surface(X) + noise * rng.standard_normal((len(X), 2)))))


def test_a_surface_almost_without_noise_is_found_almost_exactly() -> None:
    U = np.random.default_rng(3).random((30, 2))
    assert fitted(60, 0.1).predict(U).mean == pytest.approx(surface(U), rel=2e-4)


def test_with_many_rows_it_is_least_squares() -> None:
    model = fitted(400, 50.0)
    training, U = model.training, np.array([[0.2, 0.7], [0.9, 0.1]])
    q, at = quadratic_design(training.U), quadratic_design(U)
    beta, rest, *_ = np.linalg.lstsq(q, training.Y, rcond=None)
    prediction, size = model.predict(U), rest / (400 - 6)
    assert model.shape == "even"
    assert prediction.mean == pytest.approx(at @ beta, rel=1e-3)
    assert prediction.noise_var == pytest.approx(np.tile(size, (2, 1)), rel=0.05)
    exact = np.einsum("ki,ij,kj->k", at, np.linalg.inv(q.T @ q), at)
    assert prediction.model_var == pytest.approx(exact[:, None] * size, rel=0.15)  # curvature has a prior
    assert model.residual_dof == pytest.approx([394, 394], abs=0.5)
    assert model.dof.tolist() == [399.0, 399.0]  # rows less intercept and slopes, and two of the prior
    assert ((fitted(400, 5000.0).residual_dof > 394) & (fitted(400, 5000.0).residual_dof <= 397)).all()


@pytest.mark.parametrize("much", [1.0, 0.1])
@pytest.mark.parametrize("noise", ["even", "proportional", "jitter"])
def test_readings_in_another_unit_give_the_same_surface_in_that_unit(noise: str, much: float) -> None:
    """With more and with less noise than the nominal 0.4 % of the response."""
    rng, X = np.random.default_rng(0), np.random.default_rng(1).random((25, 2))
    sd = {"even": 80.0, "proportional": 0.01 * surface(X), "jitter": 200.0 * np.sqrt(X * (1 - X))}[noise]
    Y, U = surface(X) + much * sd * rng.standard_normal((25, 2)), np.random.default_rng(2).random((5, 2))
    for drifts in (False, True):
        one, other = (fit_quadratic(TrainingSet.from_data(data(X, Y * by)), drifts=drifts) for by in (1.0, 1e-6))
        assert other.shape == one.shape
        for part, again, power in zip(one.predict(U), other.predict(U), (1, 2, 2), strict=True):
            assert again == pytest.approx(part * 1e-6**power, rel=1e-6)
        assert other.trend == pytest.approx(one.trend * 1e-6, rel=1e-6)


def test_given_tau_it_is_the_bayesian_fit_whose_prior_gives_the_drift_three_standard_deviations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Squares and products have a prior of tau × the response of the channel; intercept and slopes have none."""
    tau = 0.2
    monkeypatch.setattr(quadratic, "CURVATURES", ((tau, 1.0),))
    monkeypatch.setattr(quadratic, "ROUNDS", 60)  # the prior in units of the noise, and the noise itself
    X = np.random.default_rng(1).random((14, 2))
    Y = surface(X) + 300.0 * np.random.default_rng(0).standard_normal((14, 2))
    training = TrainingSet.from_data(data(X, Y))
    model = fit_quadratic(training, drifts=True)
    size = model.size[0]
    variance = model._variance(X, quadratic_design(X) @ np.linalg.lstsq(quadratic_design(X), Y, rcond=None)[0])
    A = np.column_stack([quadratic_design(X), -np.arange(14.0, 0.0, -1.0) / 14.0])
    for c in range(2):
        response = max(np.abs(training.linear.slope[c]).sum(), np.ptp(Y[:, c]))
        precision = np.diag([0, 0, 0, *[size[c] / (tau * response) ** 2] * 3, 1 / (9 * variance[:, c].mean())])
        inverse = np.linalg.inv((A.T / variance[:, c]) @ A + precision)
        beta = inverse @ (A.T / variance[:, c]) @ Y[:, c]
        assert model.coef[0, c] == pytest.approx(beta[:6], rel=1e-4, abs=0.1)
        assert model.trend[c] == pytest.approx(beta[6], rel=1e-4, abs=0.1)
        assert np.diag(model.gram[0, c]) == pytest.approx(np.diag(inverse)[:6], rel=1e-4)
        rest = 14 - np.trace(inverse @ (A.T / variance[:, c]) @ A)
        assert model.residual_dof[c] == pytest.approx(rest, rel=1e-4)


def test_the_prior_of_tau_is_proper_and_its_values_ascend() -> None:
    tau, probability = np.array(quadratic.CURVATURES).T
    assert probability.sum() == pytest.approx(1.0)
    assert (np.diff(tau) > 0).all()


def test_the_shape_of_the_noise_is_the_likeliest() -> None:
    rng, X = np.random.default_rng(0), np.random.default_rng(1).random((80, 2))
    Y = surface(X) * (1 + 0.01 * rng.standard_normal((80, 2)))
    model = fit_quadratic(TrainingSet.from_data(data(X, Y)))
    assert model.shape == "proportional"
    prediction = model.predict(X)
    assert np.sqrt(prediction.noise_var) / prediction.mean == pytest.approx(0.01, rel=0.3)


def test_the_noise_of_few_rows_is_not_overstated_where_readings_differ_by_a_factor_of_twenty() -> None:
    """12 rows for 6 coefficients: noise of 0.35 % is found within a third, although the prior of it counts for two."""
    ratio = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.random((12, 2))
        clean = 500 + np.column_stack([20000 * X[:, 0] ** 2 + 500 * X[:, 1], 9000 * X[:, 1] * (1 + X[:, 0])])
        model = fit_quadratic(TrainingSet.from_data(data(X, clean * (1 + 0.0035 * rng.standard_normal((12, 2))))))
        ratio.append(np.median(np.sqrt(model.predict(X).noise_var) / clean, axis=0) / 0.0035)
    assert np.median(ratio, axis=0) == pytest.approx([1.0, 1.0], rel=0.35)


def test_a_drift_that_is_allowed_for_ends_at_the_present_level() -> None:
    rng, X = np.random.default_rng(0), np.random.default_rng(1).random((60, 2))
    Y = surface(X) + 50 * rng.standard_normal((60, 2))
    Y += 200 * np.linspace(-1, 0, 60)[:, None]
    training, U = TrainingSet.from_data(data(X, Y)), np.random.default_rng(2).random((9, 2))
    still, drifting = (fit_quadratic(training, drifts=drifts).predict(U) for drifts in (False, True))
    assert np.abs(drifting.mean - surface(U)).mean() < 0.5 * np.abs(still.mean - surface(U)).mean()


def test_the_density_of_a_row_given_the_others_is_that_of_a_fit_without_it() -> None:
    """Student's t of a Bayesian fit to the others, whose prior of the variance is worth POOL readings of 400."""
    rng, X = np.random.default_rng(0), np.random.default_rng(1).random((12, 2))
    y, variance, pool, prior = surface(X)[:, 0] + 50 * rng.standard_normal(12), 1.0 + X[:, 0], 2.0, 400.0
    A, w = np.column_stack([np.ones(12), X]), 1.0 / variance

    def fit(rows: Bools) -> tuple[Floats, Floats, float]:
        gram = np.linalg.inv(A[rows].T @ (w[rows, None] * A[rows]))
        beta = gram @ A[rows].T @ (w[rows] * y[rows])
        return beta, gram, (w[rows] * (y[rows] - A[rows] @ beta) ** 2).sum() + pool * prior

    beta, gram, square = fit(np.ones(12, bool))
    leverage = w * np.einsum("np,pq,nq->n", A, gram, A)
    dof = np.array([12 - 3 + pool])
    parts = (y - A @ beta)[:, None], leverage[:, None], variance[:, None]
    densities = leave_one_out_t(*parts, square / dof, dof)[:, 0]
    for i in range(12):
        beta, gram, square = fit(np.arange(12) != i)
        scale = np.sqrt(square / (dof[0] - 1) * (variance[i] + A[i] @ gram @ A[i]))
        assert densities[i] == pytest.approx(stats.t(dof[0] - 1, A[i] @ beta, scale).logpdf(y[i]), abs=1e-9)


def test_the_derivatives_are_those_of_finite_differences() -> None:
    U, h = np.random.default_rng(1).random((4, 3)), 1e-6
    for j in range(3):
        step = h * np.eye(3)[j]
        difference = (quadratic_design(U + step) - quadratic_design(U - step)) / (2 * h)
        assert design_jacobian(U)[..., j] == pytest.approx(difference, abs=1e-8)
    model, V = fitted(20, 50.0), U[:, :2]
    paths = model.sample_paths(5, np.random.default_rng(0))
    each = np.broadcast_to(V, (5, 4, 2))
    assert paths(each) == pytest.approx(paths(V))
    assert paths.jacobian(each) == pytest.approx(paths.jacobian(V))
    for f, slope in ((lambda U: model.predict(U).mean, model.jacobian(V)), (paths, paths.jacobian(V))):
        step = np.array([h, 0.0])
        difference = (f(V + step) - f(V - step)) / (2 * h)
        assert slope[..., 0] == pytest.approx(difference, rel=1e-4, abs=1e-2)


def test_sample_paths_scatter_as_the_standard_error_says() -> None:
    model, U = fitted(40, 50.0), np.random.default_rng(2).random((5, 2))
    drawn = model.sample_paths(20_000, np.random.default_rng(0))(U)
    truth = model.predict(U)
    assert drawn.mean(axis=0) == pytest.approx(truth.mean, rel=2e-3)
    inside = (np.abs(drawn - truth.mean) < np.sqrt(truth.model_var)).mean(axis=0)
    assert inside == pytest.approx(np.full((5, 2), 0.6827), abs=0.02)


def test_two_levels_of_an_input_leave_its_curvature_open() -> None:
    two = np.array([[a, b] for a in (0.0, 1.0) for b in (0.0, 0.25, 0.5, 1.0)] * 3)
    three = np.where(two == 0.25, 0.5, two)
    three[::2, 0] = 0.5
    between = np.array([[0.5, 0.5]])
    open_, told = (fitted(24, 30.0, U=U).predict(between).model_var[0, 1] for U in (two, three))
    assert open_ > 4 * told
    assert untested_curvature(two, between[0]).tolist() == [0]
    assert untested_curvature(three, between[0]).tolist() == []
    assert untested_curvature(two, np.array([0.95, 0.5])).tolist() == []
    assert untested_curvature(three, np.array([0.25, 0.25])).tolist() == []
    assert untested_curvature(two[:, [0, 0]], np.array([0.11, 0.09])).tolist() == [0]


def test_rows_that_do_not_tell_the_slopes_are_too_few() -> None:
    with pytest.raises(NotEnoughData):
        fitted(2, 1.0)


def test_a_channel_that_never_changes_is_no_error() -> None:
    X = np.random.default_rng(0).random((12, 2))
    model = fit_quadratic(TrainingSet.from_data(data(X, np.zeros((12, 2)))))
    assert model.predict(X).mean == pytest.approx(np.zeros((12, 2)), abs=1e-6)


def test_lack_of_fit_is_the_f_test_against_replicates() -> None:
    x = np.repeat(np.linspace(0, 1, 5), 3)
    y = x**2 + 0.01 * np.random.default_rng(0).standard_normal(15)
    line = np.polyval(np.polyfit(x, y, 1), x)
    found = assess_fit(x[:, None], (y - line)[:, None], np.ones((15, 1), bool), 2, np.zeros(15))
    groups = y.reshape(5, 3)
    pure = ((groups - groups.mean(axis=1, keepdims=True)) ** 2).sum()
    F = (((y - line) ** 2).sum() - pure) / 3 / (pure / 10)
    assert found.probability[0] == pytest.approx(stats.f(3, 10).sf(F))
    assert found.noise[0] == pytest.approx(np.sqrt(pure / 10))
    assert found.is_sure.all()


def test_lack_of_fit_cries_wolf_no_more_often_than_it_says() -> None:
    rng, x = np.random.default_rng(1), np.repeat(np.linspace(0, 1, 6), 2)
    p = []
    for _ in range(1000):
        y = 3 * x + rng.standard_normal(12)
        line = np.polyval(np.polyfit(x, y, 1), x)
        p += assess_fit(x[:, None], (y - line)[:, None], np.ones((12, 1), bool), 2, np.zeros(12)).probability.tolist()
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_without_replicates_nothing_is_said() -> None:
    x = np.linspace(0, 1, 9)[:, None]
    assert np.isnan(assess_fit(x, x - 0.5, np.ones((9, 1), bool), 2, np.zeros(9)).probability).all()


def repeated_rows(seed: int) -> TrainingSet:
    """56 rows of the LED, 16 of them replicates, with proportional noise and some faint readings."""
    rng = np.random.default_rng(seed)
    X = np.vstack([led.hypercube(40, rng), np.repeat(led.hypercube(4, rng), 4, axis=0)])
    return TrainingSet.from_data(led.data(X, X @ led.GAINS.T * (1 + 0.0035 * rng.standard_normal((len(X), 3)))))


def test_proportional_noise_is_recognised_with_faint_readings_among_the_rows() -> None:
    """A reading near 0 has little noise on this scale, which must not make the prior of the noise large."""
    assert [fit_quadratic(repeated_rows(seed)).shape for seed in range(10)].count("proportional") >= 9


def test_lack_of_fit_is_seldom_found_where_the_model_is_right() -> None:
    """Also with faint readings, where the estimate of a drift that does not exist is large beside the noise."""
    assert sum(bool(Judge(repeated_rows(seed)).fit.is_sure.any()) for seed in range(30)) <= 1


def test_the_trend_is_zero_at_the_next_reading() -> None:
    """Readings that rise by 10 each, without noise: the surface is the level that the next one has."""
    X = np.random.default_rng(1).random((40, 2))
    training = TrainingSet.from_data(data(X, surface(X) + 10.0 * np.arange(-40, 0)[:, None]))
    U = np.random.default_rng(2).random((9, 2))
    drifting = fit_quadratic(training, drifts=True)
    assert np.median(np.abs(drifting.predict(U).mean - surface(U))) < 10.0
    assert drifting.fitted() == pytest.approx(training.Y, abs=10.0)


def test_rows_that_are_saturated_in_one_channel_count_in_the_other() -> None:
    X = np.random.default_rng(1).random((30, 2))
    rows = data(X, surface(X))
    rows.saturated[:9, 0] = True
    training = Quadratic().fit(rows).training
    assert training.usable.sum(axis=0).tolist() == [21, 30]
