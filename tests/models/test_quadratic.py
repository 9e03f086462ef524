"""The quadratic surface and the test for lack of fit, against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sdl.arrays import Floats
from sdl.errors import Degenerate, NotEnoughData
from sdl.models.data import Data
from sdl.models.lack_of_fit import assess_fit
from sdl.models.quadratic import QuadraticModel, design_jacobian, fit_quadratic, quadratic_design
from sdl.models.training_set import TrainingSet
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


def test_a_surface_without_noise_is_found_exactly() -> None:
    U = np.random.default_rng(3).random((30, 2))
    assert fitted(12, 0.0).predict(U).mean == pytest.approx(surface(U), abs=1e-4)


def test_standard_errors_are_those_of_weighted_least_squares() -> None:
    model = fitted(30, 50.0)
    training, U = model.training, np.array([[0.2, 0.7]])
    q = quadratic_design(training.U)
    w = 1 / training.linear.variance(training.U)[:, 0]
    inverse = np.linalg.inv(q.T @ (w[:, None] * q))
    beta = inverse @ q.T @ (w * training.Y[:, 0])
    size = (w * (training.Y[:, 0] - q @ beta) ** 2).sum() / (30 - 6)
    at = quadratic_design(U)[0]
    half = stats.t(24).ppf(stats.norm.cdf(1.0))
    assert model.predict(U).model_var[0, 0] == pytest.approx(half**2 * size * at @ inverse @ at, rel=1e-6)


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
    assert inside == pytest.approx(np.full((5, 2), 0.6827), abs=0.015)


def test_a_plane_passes_for_one_and_a_curve_does_not() -> None:
    rng, p = np.random.default_rng(5), []
    for _ in range(200):
        X = rng.random((20, 2))
        Y = 5000 + X @ np.array([[9000.0, 1000.0], [2000.0, 8000.0]]) + 50 * rng.standard_normal((20, 2))
        p += fit_quadratic(TrainingSet.from_data(data(X, Y))).curved.tolist()
    assert stats.kstest(p, "uniform").pvalue > 1e-4  # the weights are estimated too
    assert (fitted(20, 50.0).curved < 1e-6).all()


def test_two_levels_of_an_input_determine_no_surface() -> None:
    levels = np.array([[a, b] for a in (0.0, 1.0) for b in (0.0, 0.5, 1.0)] * 2)
    with pytest.raises(Degenerate, match="quadratic surface"):
        fitted(12, 1.0, U=levels)
    with pytest.raises(NotEnoughData):
        fitted(7, 1.0)


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
