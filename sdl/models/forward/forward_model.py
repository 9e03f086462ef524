"""The interface of a forward model (readings from settings, with their uncertainty), and the linear forward models.

Shapes: k settings, d inputs, m channels (all those of the training set; NaN for channels that the model was not fitted
to). Settings are in units of their bounds, readings in the units of the channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.stats import t as student_t

from sdl.arrays import Floats
from sdl.models.constants import NOMINAL
from sdl.models.forward.linear_model import LinearModel, t_factor
from sdl.models.training_set import TrainingSet

LEVERAGE = 1e-6
"""A row whose leverage is closer to 1 than this cannot be predicted from the others."""


class Prediction(NamedTuple):
    """The prediction of one reading at each of k settings, (k, m) each."""

    mean: Floats
    model_var: Floats  # variance of the noise-free reading; more rows make it smaller
    noise_var: Floats  # variance of one reading about the noise-free one; only averaging makes it smaller


class Paths(Protocol):
    """n functions drawn from the posterior of the noise-free readings; the same at every call.

    Settings U are (k, d), the same for all functions, or (n, k, d), different ones for each function.
    """

    def __call__(self, U: Floats) -> Floats: ...  # (n, k, m)
    def jacobian(self, U: Floats) -> Floats: ...  # (n, k, m, d)


class ForwardModel(Protocol):
    """The interface of a fitted forward model."""

    @property
    def training(self) -> TrainingSet: ...
    @property
    def summary(self) -> str: ...  # "Gaussian process, nonlinearity 20 %, log readings of 3 channels, 60 readings"
    @property
    def residual_dof(self) -> Floats: ...  # (m,) rows less the trace of the hat matrix: what tells the noise
    def predict(self, U: Floats) -> Prediction: ...
    def mean(self, U: Floats) -> Floats: ...  # (k, m) the mean of `predict`, computed faster
    def jacobian(self, U: Floats) -> Floats: ...  # (k, m, d) derivatives of the mean
    def sample_paths(self, n: int, rng: np.random.Generator) -> Paths: ...
    def leave_one_out(self) -> Floats: ...  # (n, m) log density of each row of `training` given the others; NaN unknown


def leave_one_out_t(residual: Floats, leverage: Floats, variance: Floats, size: Floats, dof: Floats) -> Floats:
    """Log density of each row under a weighted least-squares fit to the others (Student's t distribution).

    Args:
        residual: (n, m) readings minus the fit to all rows.
        leverage: (n, m) weight of each reading in its own fitted value.
        variance: (n, m) variance of one reading, divided by `size`.
        size: (m,) estimated factor of the variance.
        dof: (m,) degrees of freedom of `size`.

    Returns:
        (n, m) log densities; NaN where the other rows do not determine the fit. Cook and Weisberg, Residuals and
        Influence in Regression (1982), section 2.2.
    """
    rest = np.where(leverage < 1.0 - LEVERAGE, 1.0 - leverage, np.nan)
    others = (dof * size - residual**2 / (variance * rest)) / np.where(dof > 1, dof - 1, np.nan)
    scale = np.sqrt(np.maximum(others, 0.0) * variance / rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.asarray(student_t.logpdf(residual / rest, dof - 1, scale=scale), dtype=np.float64)
    return np.where(np.isfinite(density), density, np.nan)


@dataclass(frozen=True)
class LinearForward:
    """A linear or dynamic linear model as a forward model.

    Attributes:
        training: the rows.
        linear: the fitted linear model of all channels.
        name: name of the model, for the summary.
    """

    training: TrainingSet
    linear: LinearModel
    name: str = "linear model"

    @property
    def summary(self) -> str:
        return f"{self.name}, {self.training.summary}"

    def predict(self, U: Floats) -> Prediction:
        X = np.column_stack([np.ones(len(U)), U]) if len(self.linear.coef) > U.shape[1] else U + self.linear.origin
        wide = t_factor(self.linear.dof) ** 2
        model_var = wide * np.einsum("kp,mpq,kq->km", X, self.linear.coef_covariance, X)
        noise_var = wide * np.diag(self.linear.noise) * self.linear.variance(U)
        return Prediction(self.linear.mean(U), np.maximum(model_var, 0.0), noise_var)

    def mean(self, U: Floats) -> Floats:
        return self.linear.mean(U)

    def jacobian(self, U: Floats) -> Floats:
        return np.broadcast_to(self.linear.slope, (len(U), *self.linear.slope.shape)).copy()

    def sample_paths(self, n: int, rng: np.random.Generator) -> Paths:
        """Linear functions with coefficients drawn from their multivariate t distribution.

        Channels are correlated like their noise. Without degrees of freedom the noise is NOMINAL × the channel's
        response.
        """
        coef, m = self.linear.coef, self.linear.coef.shape[1]
        dof = self.linear.dof
        spread = self.linear.coef_covariance
        unknown = ~(np.isfinite(spread).all(axis=(1, 2)) & (dof >= 1))
        if unknown.any():
            response = NOMINAL * np.abs(self.linear.slope).sum(axis=1)
            nominal = response[:, None, None] ** 2 * np.eye(len(coef))
            spread = np.where(unknown[:, None, None], nominal, spread)
        size = np.sqrt(np.diag(self.linear.noise))
        alike = self.linear.noise / np.outer(size, size)
        alike = np.where(np.isfinite(alike), alike, np.eye(m))
        z = np.einsum("mc,ncp->nmp", symmetric_root(alike), rng.standard_normal((n, m, len(coef))))
        heavy = np.sqrt(np.maximum(dof, 1.0) / rng.chisquare(np.maximum(dof, 1.0), (n, m)))
        heavy = np.where(unknown, 1.0, heavy)
        drawn = coef.T + heavy[..., None] * np.einsum("mpq,nmq->nmp", symmetric_root(np.nan_to_num(spread)), z)
        return _Lines(drawn, self.linear.origin)

    @property
    def residual_dof(self) -> Floats:
        return np.asarray(self.training.usable.sum(axis=0) - self.training.U.shape[1] - 1, dtype=np.float64)

    def leave_one_out(self) -> Floats:
        training, linear = self.training, self.linear
        X = linear.rows
        leverage = linear.weight * np.einsum("kp,mpq,kq->km", X, linear.gram, X)
        variance = np.where(linear.weight > 0, 1.0 / np.maximum(linear.weight, 1e-300), np.nan)
        residual = training.Y - linear.mean(training.U[: len(X)])
        density = leave_one_out_t(residual, leverage, variance, np.diag(linear.noise), linear.dof)
        return np.where(training.usable, density, np.nan)


@dataclass(frozen=True)
class _Lines:
    """n linear functions of m channels, with coefficients (n, m, p)."""

    coef: Floats
    origin: Floats

    def __call__(self, U: Floats) -> Floats:
        d = len(self.origin)
        slope = self.coef[..., -d:]
        base = self.coef[..., 0] if self.coef.shape[2] > d else np.zeros(self.coef.shape[:2])
        shape = (len(self.coef), *U.shape[-2:])
        at = np.broadcast_to(U + self.origin, shape)
        return np.asarray(base[:, None] + at @ slope.swapaxes(1, 2), dtype=np.float64)

    def jacobian(self, U: Floats) -> Floats:
        slope = self.coef[..., -len(self.origin) :]
        return np.repeat(slope[:, None], U.shape[-2], axis=1)


def symmetric_root(covariance: Floats) -> Floats:
    """Symmetric square roots of covariance matrices (…, p, p)."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]) @ vectors.swapaxes(-1, -2)
    return root
