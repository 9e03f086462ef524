"""A quadratic surface of each channel, with the uncertainty of its curvature (Bayesian response surface).

    y = b0 + sum_j b_j v_j + sum_j b_jj v_j² + sum_(i<j) b_ij v_i v_j + drift + noise,    v = u - 1/2

Intercept and slopes have a flat prior. The coefficients of squares and products have a normal prior with a standard
deviation of tau × the channel's response; tau is averaged over a grid, weighted by the evidence of the rows. With few
rows, or two levels of an input, the curvature is uncertain, and the sample paths differ in it. With many rows the fit
becomes the response surface of Box and Wilson (J. R. Stat. Soc. B 13 (1951) 1), that is weighted least squares. Drift,
if it is modelled, is a linear trend in time. The noise has the most likely of three shapes (`sdl.models.noise`); its
variance is integrated out, which gives Student's t distribution.
Gelman et al., Bayesian Data Analysis (2013), sections 14.2 and 15.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from sdl.arrays import Floats
from sdl.errors import Degenerate, NotEnoughData
from sdl.models.constants import NOMINAL
from sdl.models.forward.forward_model import (
    Paths,
    Prediction,
    leave_one_out_t,
    symmetric_root,
)
from sdl.models.forward.linear_model import POOL, TIE, t_factor
from sdl.models.noise import SHAPES, Shape, bounded_below, variance_of
from sdl.models.training_set import TrainingSet

CURVATURES = ((0.003, 0.3), (0.02, 0.1), (0.06, 0.1), (0.2, 0.15), (0.6, 0.15), (2.0, 0.12), (6.0, 0.08))
"""Values of tau with their prior probabilities. At tau = 1 a channel may have a maximum or minimum inside the range."""
DRIFT = 3.0
"""Prior standard deviation of the trend over all rows, in standard deviations of one reading."""
QUIET = 0.01
"""Lower bound of the prior noise, as a fraction of NOMINAL."""
ROUNDS = 4
"""Iterations between the fit, whose prior is needed in units of the noise, and the noise, estimated from the fit."""
MANY_INPUTS = 12
"""With more inputs the products are left out, because their number grows as the square of the inputs."""


@dataclass(frozen=True)
class QuadraticModel:
    """A mixture of t surfaces of each channel of the goal, one for each tau (s of them), as a forward model.

    Attributes:
        training: the rows.
        coef: (s, m, q) coefficients of the columns of `quadratic_design`; NaN for channels that are not in the goal.
        gram: (s, m, q, q) covariance of the coefficients, divided by `size`.
        size: (s, m) variance of the noise, in units of its shape.
        weight: (s, m) posterior probability of each tau.
        dof: (m,) degrees of freedom of `size`.
        residual_dof: (m,) rows less the trace of the hat matrix, in which squares and products count by their prior.
        shape: variance of the noise as a function of settings and reading.
        trend: (m,) drift over all rows; 0 where it is not modelled.
    """

    training: TrainingSet
    coef: Floats
    gram: Floats
    size: Floats
    weight: Floats
    dof: Floats
    residual_dof: Floats
    shape: Shape
    trend: Floats

    @property
    def summary(self) -> str:
        return f"quadratic surface, {self.training.summary}"

    def predict(self, U: Floats) -> Prediction:
        Q, w = self._design(U), self.weight[:, None]
        means = np.einsum("kq,smq->skm", Q, self.coef)
        wide = t_factor(self.dof) ** 2
        mean = (w * means).sum(axis=0)
        each = wide * self.size[:, None] * np.einsum("kp,smpq,kq->skm", Q, self.gram, Q)
        model_var = (w * (each + (means - mean) ** 2)).sum(axis=0)
        if self.training.session_cov is not None:
            X = np.column_stack([np.ones(len(U)), U])
            model_var = model_var + np.maximum(np.einsum("kp,mpq,kq->km", X, self.training.session_cov, X), 0.0)
        size = wide * (self.weight * self.size).sum(axis=0)
        return Prediction(mean, model_var, size * self._variance(U, mean))

    def fitted(self) -> Floats:
        """(n, m) means of the rows of the training set, with the drift at their time."""
        n = len(self.training.Y)
        return self.mean(self.training.U[:n]) + _time(self.training)[:, None] * self.trend

    def mean(self, U: Floats) -> Floats:
        mean: Floats = self._design(U) @ (self.weight[..., None] * self.coef).sum(axis=0).T
        return mean

    def jacobian(self, U: Floats) -> Floats:
        coef = (self.weight[..., None] * self.coef).sum(axis=0)
        jacobian: Floats = np.einsum("kqd,mq->kmd", design_jacobian(U, self._products), coef)
        return jacobian

    def sample_paths(self, n: int, rng: np.random.Generator) -> Paths:
        """Surfaces with coefficients from the mixture of multivariate t distributions."""
        _, m, q = self.coef.shape
        root = symmetric_root(np.nan_to_num(self.size[..., None, None] * self.gram))
        heavy = np.sqrt(self.dof / rng.chisquare(self.dof, (n, m)))[..., None]
        z = heavy * rng.standard_normal((n, m, q))
        drawn = np.empty((n, m, q))
        for c in range(m):
            share = self.weight[:, c] if np.isfinite(self.weight[:, c]).all() else np.eye(len(self.coef))[0]
            of = rng.choice(len(self.coef), size=n, p=share / share.sum())
            drawn[:, c] = self.coef[of, c] + (root[of, c] @ z[:, c, :, None])[..., 0]
        if self.training.session_cov is not None:
            between = symmetric_root(np.nan_to_num(self.training.session_cov))
            moved = np.einsum("mpq,nmq->nmp", between, rng.standard_normal((n, *between.shape[:2])))
            drawn[..., : between.shape[1]] += moved
            drawn[..., 0] += 0.5 * moved[..., 1:].sum(axis=-1)  # the surface is centred at the middle of the range
        return _Surfaces(drawn, self._products)

    def leave_one_out(self) -> Floats:
        """As in `ForwardModel`, without the drift.

        NaN if there are no more rows than coefficients, because then the prior decides.
        """
        training = self.training
        U = training.U[: len(training.Y)]
        if len(U) <= self.coef.shape[-1]:
            return np.full(training.Y.shape, np.nan)
        Q, variance = self._design(U), self._variance(U, self.mean(U))
        parts = []
        for coef, gram, size in zip(self.coef, self.gram, self.size, strict=True):
            leverage = np.einsum("kp,mpq,kq->km", Q, gram, Q) / variance
            residual = training.Y - Q @ coef.T
            parts.append(leave_one_out_t(residual, leverage, variance, size, self.dof))
        density = logsumexp(np.array(parts), axis=0, b=self.weight[:, None])
        return np.where(training.usable, density, np.nan)

    @property
    def _products(self) -> bool:
        return len(self.training.low) <= MANY_INPUTS

    def _variance(self, U: Floats, mean: Floats) -> Floats:
        return _variance(self.training, self.shape, U, mean)

    def _design(self, U: Floats) -> Floats:
        return quadratic_design(U, self._products)


@dataclass(frozen=True)
class _Surfaces:
    """n surfaces of m channels: coefficients (n, m, q)."""

    coef: Floats
    products: bool

    def __call__(self, U: Floats) -> Floats:
        return np.asarray(quadratic_design(U, self.products) @ self.coef.swapaxes(1, 2), dtype=np.float64)

    def jacobian(self, U: Floats) -> Floats:
        D = design_jacobian(U, self.products)  # (…, k, q, d)
        k, q, d = D.shape[-3:]
        flat = self.coef @ D.swapaxes(-3, -2).reshape(*D.shape[:-3], q, k * d)
        return np.asarray(flat.reshape(len(self.coef), -1, k, d).swapaxes(1, 2), dtype=np.float64)


def fit_quadratic(training: TrainingSet, *, drifts: bool = False) -> QuadraticModel:
    """Fit a surface to each channel of the goal.

    Args:
        training: the rows.
        drifts: also fit a linear trend in time, which is 0 at the next reading.

    Raises:
        NotEnoughData, Degenerate: the rows do not determine the slopes.
    """
    U = training.U[: len(training.Y)]
    n, d = U.shape
    p = d + 1
    if n < p:
        raise NotEnoughData(n, p, "usable rows")
    Q = quadratic_design(U, d <= MANY_INPUTS)
    if np.linalg.matrix_rank(Q[:, :p]) < p:
        raise Degenerate(f"the inputs were not varied independently in {n} usable rows")
    # The shape of the linear model first: without degrees of freedom all have the same evidence but for rounding.
    shapes: dict[Shape, None] = dict.fromkeys((training.linear.shape, *SHAPES, "even"))
    fits = [_fit_shape(training, Q, shape, drifts) for shape in shapes]
    best = next(fit for fit in fits if fit.score >= max(one.score for one in fits) - TIE)
    dof = np.maximum(training.usable.sum(axis=0) - p + POOL, 1.0)
    parts = best.coef, best.gram, best.size, best.weight, dof, best.residual_dof, best.shape, best.trend
    return QuadraticModel(training, *parts)


def _time(training: TrainingSet) -> Floats:
    """(n,) time of the rows, 0 at the next reading and -1 at the first; by their age, whatever their order."""
    n = len(training.Y)
    age = np.arange(n)[::-1] if training.age is None else training.age[:n]
    return np.asarray(-(age + 1.0) / (age.max() + 1.0), dtype=np.float64)


class _Fit(NamedTuple):
    """Surfaces fitted with one shape of the noise; see `QuadraticModel`."""

    shape: Shape
    coef: Floats
    gram: Floats
    size: Floats
    weight: Floats
    residual_dof: Floats
    trend: Floats
    score: float  # log evidence


def _fit_shape(training: TrainingSet, Q: Floats, shape: Shape, drifts: bool) -> _Fit:
    U, Y = training.U[: len(training.Y)], training.Y
    q, p, m, s = Q.shape[1], U.shape[1] + 1, Y.shape[1], len(CURVATURES)
    tau, probability = np.array(CURVATURES).T
    columns = np.column_stack([Q, _time(training)]) if drifts else Q
    filled = np.where(training.usable, Y, np.nan_to_num(training.linear.mean(U)))
    variance = _variance(training, shape, U, Q @ np.linalg.lstsq(Q, filled, rcond=None)[0])
    coef, size, weight = np.full((s, m, q), np.nan), np.full((s, m), np.nan), np.full((s, m), np.nan)
    gram, rest, trend, total = np.full((s, m, q, q), np.nan), np.full(m, np.nan), np.zeros(m), 0.0
    for c in training.goal:
        use = training.usable[:, c]
        dof = use.sum() - p + POOL
        root = 1.0 / np.sqrt(variance[use, c])
        A, y = root[:, None] * columns[use], root * Y[use, c]
        response = max(float(np.abs(training.linear.slope[c]).sum()), float(np.ptp(Y[use, c]))) or 1.0
        # In units of the shape: NOMINAL is the noise of the noisiest row; that of the linear model is taken row by row.
        usual = (NOMINAL * response) ** 2 * float((root**2).min())
        linear = training.linear.noise[c, c] * float((training.linear.variance(U)[use, c] * root**2).mean())
        nominal = max(float(np.fmin(usual, linear)), QUIET**2 * usual)
        normal, side = A.T @ A, A.T @ y
        size[:, c] = nominal
        for _ in range(ROUNDS):
            ridge = np.repeat(size[:, c] / (tau * response) ** 2, columns.shape[1] - p).reshape(s, -1)
            ridge[:, q - p :] = 1.0 / (DRIFT**2 * variance[use, c].mean())
            matrix = normal + np.concatenate([np.zeros((s, p)), ridge], axis=1)[:, None] * np.eye(columns.shape[1])
            beta = np.linalg.solve(matrix, np.broadcast_to(side, (s, len(side)))[..., None])[..., 0]
            square = ((y - beta @ A.T) ** 2).sum(axis=1) + (ridge * beta[:, p:] ** 2).sum(axis=1)
            size[:, c] = (square + POOL * nominal) / dof
        volume = np.linalg.slogdet(matrix)[1] - np.log(ridge).sum(axis=1)
        score = np.log(probability) - 0.5 * volume - 0.5 * dof * np.log(size[:, c])
        inverse = np.linalg.inv(matrix)
        coef[:, c], gram[:, c] = beta[:, :q], inverse[:, :q, :q]
        evidence = np.logaddexp.reduce(score)
        weight[:, c] = np.exp(score - evidence)
        rest[c] = use.sum() - weight[:, c] @ np.einsum("ij,sji->s", normal, inverse)
        trend[c] = weight[:, c] @ beta[:, q] if drifts else 0.0
        total += float(evidence + np.log(root).sum() + 0.5 * POOL * np.log(nominal))  # independent of the shape's unit
    return _Fit(shape, coef, gram, size, weight, rest, trend, total)


def _variance(training: TrainingSet, shape: Shape, U: Floats, mean: Floats) -> Floats:
    """(k, m) variance of one reading up to a factor; constant for a channel without a linear model."""
    variance = variance_of(shape, U, mean, training.linear.slope)
    variance = bounded_below(variance, np.nanmax(variance, initial=0.0))
    return np.asarray(np.where(variance > 0, variance, 1.0), dtype=np.float64)


def quadratic_design(U: Floats, products: bool = True) -> Floats:
    """(…, q) design matrix at settings (…, d): 1, v = u - 1/2, the squares of v, and its products if `products`."""
    V = U - 0.5
    i, j = np.triu_indices(U.shape[-1], 1 if products else U.shape[-1])
    parts = [np.ones((*V.shape[:-1], 1)), V, V**2, V[..., i] * V[..., j]]
    return np.concatenate(parts, axis=-1)


def design_jacobian(U: Floats, products: bool = True) -> Floats:
    """(…, q, d) derivatives of `quadratic_design`."""
    V, d = U - 0.5, U.shape[-1]
    i, j = np.triu_indices(d, 1 if products else d)
    eye = np.eye(d)
    parts = [
        np.zeros((*V.shape[:-1], 1, d)),
        np.broadcast_to(eye, (*V.shape, d)),
        2.0 * V[..., None] * eye,
        V[..., i, None] * eye[j] + V[..., j, None] * eye[i],
    ]
    return np.concatenate(parts, axis=-2)
