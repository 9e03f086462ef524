"""The heteroscedastic linear model: readings as a linear function of the settings, weighted by their noise.

Each channel is fitted by weighted least squares, y = a + K u, with the settings scaled to u in 0…1 by their bounds.
The shape of the noise (`sdl.models.noise`) gives the weights; its size is estimated from the residuals. The shape with
the greater restricted likelihood over all channels is chosen. The prediction of the other shape is averaged in with its
probability, and the difference of the two is added to the uncertainty.

Settings for a goal come from inverting the forward fit (a generalised least-squares step from the mean of the data),
not from a regression of settings on readings. So the number of rows needed depends on the inputs and not on the
channels of the goal, and if several settings reach the goal, those closest to the mean of the data are taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import FREE
from sdl.models.noise import SHAPES, Shape, bounded_below, variance_of

RANK = 1e-13
"""A linear model is determined if the smallest eigenvalue of its normal matrix exceeds this fraction of the largest."""
TIE = 1e-6
"""Log-likelihoods that differ by less count as equal: with one degree of freedom they differ by rounding alone."""
POOL = 2.0
"""Degrees of freedom with which the pooled noise of all channels enters the noise estimate of one channel."""


@dataclass(frozen=True)
class LinearModel:
    """An affine fit of m channels on d settings from n rows; settings are in units of their bounds.

    Attributes:
        coef: (p, m) intercept, where there is one, and slopes; NaN for a channel with too few rows.
        origin: (d,) added to u before the slopes are applied; 0 if there is an intercept.
        middle: (d,) mean of the fitted settings.
        rows: (n, p) the design matrix.
        weight: (n, m) 1 / variance up to a factor; 0 for a row that the channel does not use.
        gram: (m, p, p) inverse of the weighted normal matrix.
        noise: (m, m) covariance of the weighted residuals; NaN where no degrees of freedom are left.
        dof: (m,) degrees of freedom of `noise`.
        shape: variance of the noise as a function of settings and reading.
        extra: (m, p, p) covariance of the coefficients from other causes than noise: the choice of its shape, and
            differences between sessions.
    """

    coef: Floats
    origin: Floats
    middle: Floats
    rows: Floats
    weight: Floats
    gram: Floats
    noise: Floats
    dof: Floats
    shape: Shape
    extra: Floats | None = None

    @property
    def slope(self) -> Floats:
        """(m, d) change of each reading over the whole range of each input."""
        return self.coef[-len(self.middle) :].T

    def mean(self, U: Floats) -> Floats:
        """(k, m) expected readings at settings (k, d)."""
        mean: Floats = _design(U, self.origin, self.coef.shape[0]) @ self.coef
        return mean

    def covariance(self, u: Floats) -> tuple[Floats, Floats]:
        """(m, m) covariance of the noise of one reading and (m, m) of the fitted mean, at settings (d,)."""
        size = np.sqrt(self.variance(u[None])[0])
        x = _design(u[None], self.origin, self.coef.shape[0])[0]
        # The noise of the channels of one row is correlated, and so are the errors of their fitted means.
        leverage = np.sqrt(self.weight) * (self.rows @ (self.gram @ x).T)
        model_cov = self.noise * (leverage.T @ leverage)
        if self.extra is not None:
            model_cov = model_cov + np.diag(np.maximum(np.einsum("p,mpq,q->m", x, self.extra, x), 0.0))
        return self.noise * np.outer(size, size), model_cov

    @property
    def coef_covariance(self) -> Floats:
        """(m, p, p) covariance of each channel's coefficients."""
        squares = np.einsum("km,kp,kq->mpq", self.weight, self.rows, self.rows)
        spread: Floats = np.diag(self.noise)[:, None, None] * (self.gram @ squares @ self.gram)
        return spread if self.extra is None else spread + self.extra

    def variance(self, U: Floats) -> Floats:
        """(k, m) variance of one reading at settings (k, d), up to the factor that `noise` gives."""
        return _variance(U, self.mean(U), self.slope, self.shape)

    def predict(self, U: Floats) -> tuple[Floats, Floats]:
        """(k, m) mean and standard deviation of one reading at settings (k, d)."""
        parts = [np.diag(sum(self.covariance(u))) for u in U]
        return self.mean(U), np.sqrt(np.reshape(parts, (len(U), -1))) * t_factor(self.dof)

    def inverse(self, columns: Ints, u: Floats) -> Floats:
        """(d, len(columns)) generalised inverse: change of the settings per change of the readings `columns`.

        Readings are weighted by their noise at u (d,).
        """
        slope = self.slope[columns]
        noise = np.diag(self.covariance(u)[0])[columns]
        scale = np.sqrt(np.where(np.isfinite(noise), noise, 0.0))
        scale = np.maximum(scale, 1e-4 * np.abs(slope).sum(axis=1).max(initial=1e-300))
        inverse: Floats = np.linalg.pinv(slope / scale[:, None], rcond=FREE) / scale
        return inverse

    def solve_for_settings(self, Y: Floats, columns: Ints) -> Floats:
        """(k, d) settings that give the readings (k, len(columns)); of several, those closest to the mean settings."""
        base = self.mean(self.middle[None])[:, columns]
        settings: Floats = self.middle + (Y - base) @ self.inverse(columns, self.middle).T
        return settings

    def std_errors(self, columns: Ints, u: Floats) -> tuple[Floats, Floats]:
        """Spread and uncertainty (d,) of the settings u (d,) for a goal in `columns`, by the delta method.

        With few degrees of freedom both are widened by Student's t, so that they cover 68.3 %; with none they are NaN.
        """
        inverse = self.inverse(columns, u)
        pick = np.ix_(columns, columns)
        noise, model = (part[pick] for part in self.covariance(u))
        factor = t_factor(self.dof[columns].min())
        spread, uncertainty = (
            factor * np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", inverse, part, inverse), 0.0))
            for part in (noise + model, model)
        )
        return spread, uncertainty


def fit_linear(
    U: Floats, Y: Floats, usable: Bools, *, origin: Floats | None = None, counts: Floats | None = None
) -> LinearModel:
    """Fit a linear model to every channel that has enough rows.

    Args:
        U: (n, d) settings in units of their bounds.
        Y: (n, m) readings.
        usable: (n, m) which readings are used.
        origin: (d,) fit an unweighted plane that is zero at u = -origin (the paper's section 3.2). None: fit a weighted
            plane with an intercept.
        counts: (n,) weight of each row, 0 … 1, multiplied with the weight from its noise; None: all 1.
    """
    if origin is not None:
        return _fit(_design(U, origin, U.shape[1]), U, Y, usable, origin, "even")[0]
    zero = np.zeros(U.shape[1])
    X = _design(U, zero, U.shape[1] + 1)
    (fit, score), (other, less) = (_fit(X, U, Y, usable, zero, shape, counts) for shape in SHAPES)
    if less > score + TIE:
        fit, score, other, less = other, less, fit, score
    probability = 1.0 / (1.0 + np.exp(min(score - less, 50.0)))  # that the other shape is right
    difference = np.nan_to_num(other.coef - fit.coef)
    extra = probability * (1.0 - probability) * np.einsum("pm,qm->mpq", difference, difference)
    own, others = (np.nan_to_num(np.diag(one.noise)[:, None, None] * one.gram) for one in (fit, other))
    extra += probability * (others - own)
    return replace(fit, coef=fit.coef + probability * difference, extra=extra)


def _fit(
    X: Floats, U: Floats, Y: Floats, usable: Bools, origin: Floats, shape: Shape, counts: Floats | None = None
) -> tuple[LinearModel, float]:
    """Fit rows X (n, p) with one shape of the noise; also return the log restricted likelihood."""
    (n, p), d = X.shape, U.shape[1]
    k = usable * (np.ones(n) if counts is None else counts)[:, None]
    w = usable.astype(float)
    coef, gram, determined = _least_squares(X, Y, k)
    for _ in range(0 if shape == "even" else 1):  # the weights need the fit, which hardly depends on the weights
        w = usable / _variance(U, X @ coef, coef[-d:].T, shape)
        coef, gram, determined = _least_squares(X, Y, k * w)
    w = np.where(determined, w, 0.0)
    residual = np.sqrt(k * w) * np.where(usable & determined, Y - X @ coef, 0.0)
    worth = k.sum(axis=0) ** 2 / np.maximum((k**2).sum(axis=0), 1e-300)  # effective number of rows
    residual *= np.sqrt(worth / np.maximum(k.sum(axis=0), 1e-300))
    dof = np.where(determined, worth - p, -1.0)
    judged = np.flatnonzero(dof > 0)
    square = np.maximum((residual[:, judged] ** 2).sum(axis=0), 1e-300)
    size = np.log(w[:, judged], out=np.zeros((n, len(judged))), where=usable[:, judged]).sum(axis=0)
    volume = np.linalg.slogdet(gram[judged])[1]
    score = 0.5 * float((size - dof[judged] * np.log(square) - volume).sum())
    inverse = np.full(gram.shape, np.nan)
    inverse[determined] = np.linalg.inv(gram[determined])
    coef = np.where(determined, coef, np.nan)
    noise, dof = _noise(residual, dof)
    # `counts` says nothing of the noise, so a row's weight in the covariance of the fit is the square of its count.
    return LinearModel(coef, origin, U.mean(axis=0), X, k**2 * w, inverse, noise, dof, shape), score


def _least_squares(X: Floats, Y: Floats, w: Floats) -> tuple[Floats, Floats, Bools]:
    """Weighted least squares for channels Y (n, m) with weights w (n, m).

    Normal equations suffice because the settings are scaled; one step of iterative refinement removes their rounding.

    Returns:
        (p, m) coefficients, (m, p, p) normal matrices, and (m,) which channels are determined.
    """
    n, p = X.shape
    gram = (w.T @ (X[:, :, None] * X[:, None, :]).reshape(n, -1)).reshape(-1, p, p)
    ends = np.linalg.eigvalsh(gram)
    determined = ends[:, 0] > RANK * ends[:, -1]
    safe = np.where(determined[:, None, None], gram, np.eye(p))
    coef = np.zeros((p, Y.shape[1]))
    for _ in range(2):
        coef += np.linalg.solve(safe, ((w * (Y - X @ coef)).T @ X)[..., None])[..., 0].T
    return coef, gram, determined


def _noise(residual: Floats, dof: Floats) -> tuple[Floats, Floats]:
    """(m, m) covariance of the residuals (n, m), and its degrees of freedom.

    The relative noise of the channels is similar, so each channel's estimate is pooled with that of all channels, which
    counts as POOL degrees of freedom. The pooled value is the lower median, so that a channel that does not respond to
    any input does not raise the noise of the others.
    """
    square, some = (residual**2).sum(axis=0), dof > 0
    if not some.any():
        return np.full((len(dof), len(dof)), np.nan), dof
    common = np.sort(square[some] / dof[some])[(int(some.sum()) - 1) // 2]
    size = np.sqrt(np.where(some, (square + POOL * common) / np.where(some, dof + POOL, 1.0), np.nan))
    alike = residual.T @ residual / np.sqrt(np.maximum(np.outer(square, square), 1e-300))
    trust = np.minimum.outer(dof, dof)
    alike = np.where(np.eye(len(dof)) > 0, 1.0, alike * trust / (trust + POOL))
    return alike * np.outer(size, size), np.where(some, dof + POOL, dof)


def t_factor(dof: Floats) -> Floats:
    """Half of Student's central 68.3 % interval: 1 for many degrees of freedom, 1.84 for one, NaN for none."""
    known = np.asarray(dof) >= 1
    return np.where(known, stdtrit(np.where(known, dof, 1.0), 0.8413447460685429), np.nan)


def _design(U: Floats, origin: Floats, p: int) -> Floats:
    """(k, p) rows of the design matrix at settings (k, d): with an intercept if p > d."""
    return np.column_stack([np.ones(len(U)), U]) if p > U.shape[1] else U + origin


def _variance(U: Floats, mean: Floats, slope: Floats, shape: Shape) -> Floats:
    """(k, m) variance of one reading, up to a factor."""
    variance = variance_of(shape, U, mean, slope)
    return bounded_below(variance, np.nanmax(variance, initial=0.0))
