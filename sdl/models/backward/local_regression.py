"""Inverse regression with local weights: settings as an affine function of the readings near the goal.

Inverting the linear model of `sdl.models.forward.linear_model` gives settings v for the readings of a goal. On a
nonlinear instrument the true setting u_j differs from v_j by an amount that depends mostly on v_j itself, because each
input has its own nonlinearity. u_j is therefore fitted again as an affine function of v, with Gaussian weights that
depend on the distance from the goal *in v_j alone*: many rows are close to the goal in one coordinate, but few in all
of them (Cleveland 1979, 10.1080/01621459.1979.10481038, for the local fit; Hastie and Tibshirani 1986 for one
coordinate at a time). The width of the weights is chosen for each input by cross-validation. It is infinite, which is
the linear model, unless a finite width is clearly better.

Cross-validation leaves out a row together with all rows of its level, that is with about the same u_j (h-block
cross-validation: Burman, Chow and Nolan 1994, 10.1093/biomet/81.2.351). Rows of one level differ in v_j by noise alone.
If only the row itself were left out, a narrow fit would predict it from its replicates and seem good, although it gives
that level for every goal nearby.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.forward.linear_model import t_factor
from sdl.models.training_set import TrainingSet

WIDTHS = (0.4, 0.2, 0.1, 0.05)
"""Widths of the weights that are tried, as fractions of the range."""
BETTER = 0.5
"""A width is used if its mean squared error on left-out rows is below this fraction of that of the linear model."""
ROWS_NEEDED = 2
"""Least number of rows per effective coefficient (trace of the hat matrix); with fewer the fit follows the noise."""
RIDGE = 1e-6
"""Ridge penalty on coefficients that too few rows determine, relative to their weight."""
STEPS, NUDGE, FLAT = 40, 1e-3, 0.2
"""Numerical inverse of `at`, for `predict`: largest number of steps, difference for the slope, and smallest slope."""
LEVEL = 0.02
"""Settings of an input that differ by less than this fraction of the range are one level; about six times the noise."""
MIN_LEVELS = 4
"""Least number of levels for an estimate of nonlinearity: with three, a left-out level would be predicted from two, by
a straight line."""
MAX_ROWS = 400
"""Largest number of rows used; of more, evenly spaced ones are taken. The time to choose widths grows as its square."""


@dataclass(frozen=True)
class InverseRegression:
    """Settings as a function of the readings of the goal's channels.

    Attributes:
        training: the rows and their linear model.
        rows: (n,) indices of the rows of the training set that the weighted fits use.
        V, U: (n, d) settings of these rows: as the linear model gives them from the readings, and the true ones.
        width: (d,) width of the weights; infinite: the linear model alone.
        rest: (n, d) residuals of the settings of these rows.
        sigma: (d,) standard deviation of the residuals, widened for few degrees of freedom.
    """

    training: TrainingSet
    rows: Ints
    V: Floats
    U: Floats
    width: Floats
    rest: Floats
    sigma: Floats

    def linear_settings(self, value: Floats) -> Floats:
        """(k, d) settings that the linear model gives for readings (k, g)."""
        return self.training.linear.solve_for_settings(value, self.training.goal)

    def at(self, V: Floats) -> Floats:
        """(k, d) settings for a goal whose settings by the linear model are V (k, d)."""
        settings = V.copy()
        for j in np.flatnonzero(np.isfinite(self.width)).tolist():
            settings[:, j] += self._hat(V, j) @ (self.U - self.V)[:, j]
        return settings

    def std_errors(self, U: Floats, V: Floats) -> tuple[Floats, Floats]:
        """Spread and uncertainty (k, d) of settings U (k, d); the linear model gives V (k, d) for the same goals."""
        linear, goal = self.training.linear, self.training.goal
        spread, uncertainty = np.swapaxes(np.array([linear.std_errors(goal, u) for u in U]), 0, 1)
        for j in np.flatnonzero(np.isfinite(self.width)).tolist():
            lever = (self._hat(V, j) ** 2).sum(axis=1)
            spread[:, j], uncertainty[:, j] = (self.sigma[j] * np.sqrt(part + lever) for part in (1.0, 0.0))
        return spread, uncertainty

    def _hat(self, V: Floats, j: int) -> Floats:
        """(k, n) as the function `_hat`; beyond the rows, the weights at their edge are used."""
        return _hat(self.V, np.clip(V, self.V.min(axis=0), self.V.max(axis=0)), j, self.width[j])

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (k, m) of one reading at settings X (k, d), in units of the inputs.

        The inverse of `at`: find the V for which it gives X, and predict with the linear model there.
        """
        U = self.training.units(X)
        V = U.copy()
        for _ in range(STEPS):
            here = self.at(V)
            off, steep = U - here, (self.at(V + NUDGE) - here) / NUDGE
            V = V + np.clip(off / np.maximum(steep, FLAT), -0.2, 0.2)
            if np.abs(off).max() < 1e-9:
                break
        return self.training.linear.predict(V)


def fit_inverse_regression(training: TrainingSet) -> InverseRegression:
    """Fit the regression, with weighted fits to at most MAX_ROWS rows; the linear model is that of all rows."""
    rows = np.linspace(0, len(training.U) - 1, min(len(training.U), MAX_ROWS)).astype(np.intp)
    U = training.U[rows]
    V = training.linear.solve_for_settings(training.Y[rows][:, training.goal], training.goal)
    (n, d), off = U.shape, U - V
    width, rest, sigma = np.full(d, np.inf), off.copy(), np.full(d, np.nan)
    if n < ROWS_NEEDED * (d + 1) or not np.isfinite(V).all():
        return InverseRegression(training, rows, V, U, width, rest, sigma)
    for j in range(d):
        if len(levels(U[:, j])) < MIN_LEVELS:
            continue
        others = np.abs(U[:, j, None] - U[:, j]) >= LEVEL
        # Compared with an infinite width, not with the noise-weighted model, so that only the width differs.
        least = BETTER * _left_out(V, j, np.inf, off[:, j], others)
        for narrow in WIDTHS:
            hat = _hat(V, V, j, narrow)
            if ROWS_NEEDED * np.trace(hat) > n:
                continue
            if (error := _left_out(V, j, narrow, off[:, j], others)) < least:
                least, width[j] = error, narrow
                rest[:, j] = off[:, j] - hat @ off[:, j]
                freedom = np.array(max(n - 2 * np.trace(hat) + (hat**2).sum(), 1.0))
                sigma[j] = np.sqrt((rest[:, j] ** 2).sum() / freedom) * t_factor(freedom)
    return InverseRegression(training, rows, V, U, width, rest, sigma)


def levels(u: Floats) -> Floats:
    """The levels of one input in settings (n,), ascending; each is given by its smallest setting."""
    result = [-np.inf]
    for value in np.sort(u).tolist():
        if value - result[-1] >= LEVEL:
            result.append(value)
    return np.array(result[1:])


def _hat(V: Floats, at: Floats, j: int, width: float, used: Bools | None = None) -> Floats:
    """(k, n) hat matrix: the weight of each row's value in the weighted affine fit evaluated at `at` (k, d).

    used: (k, n) the rows that each fit uses; None: all.
    """
    n, d = V.shape
    away = 0.5 * ((at[:, j, None] - V[:, j]) / width) ** 2  # (k, n)
    if used is not None:
        away = np.where(used, away, np.inf)
    nearest = away.min(axis=1, keepdims=True)
    weight = np.exp(np.where(np.isfinite(nearest), nearest, 0.0) - away)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    A = np.column_stack([np.ones(n), V])
    outer = (A[:, :, None] * A[:, None, :]).reshape(n, -1)
    gram = (weight @ outer).reshape(-1, d + 1, d + 1)
    gram = gram + RIDGE * np.eye(d + 1)
    side = np.linalg.solve(gram, np.column_stack([np.ones(len(at)), at])[..., None])[..., 0]  # (k, p)
    hat: Floats = (side @ A.T) * weight
    return hat


def _left_out(V: Floats, j: int, width: float, value: Floats, others: Bools) -> float:
    """Mean square error of weighted fits for the values (n,), each predicted from the rows `others` (n, n) alone."""
    return float(((value - _hat(V, V, j, width, others) @ value) ** 2).mean())
