"""Inverse regression with local weights: settings as an affine function of the readings near the goal.

The linear model of `sdl.models.linear_model`, inverted, gives settings v for the readings of a goal. On a nonlinear
instrument the true setting u_j differs from v_j by an amount that depends mostly on v_j itself, because each input has
its own nonlinearity. u_j is therefore fitted again as an affine function of v, with Gaussian weights that depend on the
distance from the goal *in v_j alone*: many rows are near in one coordinate where hardly any is near in all of them
(Cleveland 1979, 10.1080/01621459.1979.10481038, for the local fit; Hastie and Tibshirani 1986 for one coordinate at a
time). The width for each input is the one that predicts left-out rows best. It stays infinite, which is the linear
model, unless a finite one is clearly better.

A row is left out together with all rows of its level, that is with about the same u_j (h-block cross-validation:
Burman, Chow and Nolan 1994, 10.1093/biomet/81.2.351). Rows of one level differ in v_j by noise alone, so a narrow fit
answers every goal with that level, and replicates that stayed in would make this look like a good prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.linear_model import t_factor
from sdl.models.training_set import TrainingSet

WIDTHS = (0.4, 0.2, 0.1, 0.05)
"""Widths of the weights that are tried, as a part of the range."""
BETTER = 0.5
"""A width is used if its mean squared error on left-out rows is below this fraction of that of the linear model."""
ROWS_NEEDED = 2
"""Least number of rows per effective coefficient (trace of the hat matrix); with fewer the fit follows the noise."""
RIDGE = 1e-6
"""Ridge penalty on coefficients that too few rows determine, relative to their weight."""
STEPS, NUDGE, FLAT = 40, 1e-3, 0.2
"""Search for the readings whose answer is given settings: largest number of steps, difference for the slope, and least
slope."""
LEVEL = 0.02
"""Settings of an input that differ by less, as a fraction of the range, are one level; about six times the noise."""
MIN_LEVELS = 4
"""Least number of levels that nonlinearity is estimated from: with three, only a chord predicts a left-out one."""
MAX_ROWS = 400
"""Largest number of rows, evenly thinned; the cost of choosing widths grows with its square."""


@dataclass(frozen=True)
class InverseRegression:
    """Settings for readings of the goal's channels.

    Attributes:
        training: the rows and their linear model.
        rows: (n,) those of the training set that the weighted fits are made of.
        V, U: (n, d) settings that the lines give for the readings of these rows, and their true ones.
        width: (d,) of the weights; infinite: the lines alone.
        rest: (n, d) what the trend leaves of the settings of these rows.
        sigma: (d,) standard deviation of that, widened for few degrees of freedom.
    """

    training: TrainingSet
    rows: Ints
    V: Floats
    U: Floats
    width: Floats
    rest: Floats
    sigma: Floats

    def linear_settings(self, value: Floats) -> Floats:
        """(k, d) settings that the lines give for readings (k, g)."""
        return self.training.linear.solve_for_settings(value, self.training.goal)

    def at(self, V: Floats) -> Floats:
        """(k, d) settings where the lines give V (k, d)."""
        settings = V.copy()
        for j in np.flatnonzero(np.isfinite(self.width)).tolist():
            settings[:, j] += self._hat(V, j) @ (self.U - self.V)[:, j]
        return settings

    def std_errors(self, U: Floats, V: Floats) -> tuple[Floats, Floats]:
        """Spread and uncertainty (k, d) of answers U (k, d), where the lines give V (k, d)."""
        linear, goal = self.training.linear, self.training.goal
        spread, uncertainty = np.swapaxes(np.array([linear.std_errors(goal, u) for u in U]), 0, 1)
        for j in np.flatnonzero(np.isfinite(self.width)).tolist():
            lever = (self._hat(V, j) ** 2).sum(axis=1)
            spread[:, j], uncertainty[:, j] = (self.sigma[j] * np.sqrt(part + lever) for part in (1.0, 0.0))
        return spread, uncertainty

    def _hat(self, V: Floats, j: int) -> Floats:
        """(k, n) as `_hat`; beyond the rows what was found at their edge goes on."""
        return _hat(self.V, np.clip(V, self.V.min(axis=0), self.V.max(axis=0)), j, self.width[j])

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (k, m) of one reading at settings X (k, d), in units of the inputs.

        The trend turned round: the settings V are sought that it would answer with X, and the lines asked there.
        """
        U = self.training.units(X)
        V = U.copy()
        for _ in range(STEPS):
            here = self.at(V)
            off, steep = U - here, (self.at(V + NUDGE) - here) / NUDGE
            V = V + np.clip(off / np.maximum(steep, FLAT), -0.2, 0.2)
            if np.abs(off).max(initial=0.0) < 1e-9:
                break
        return self.training.linear.predict(V)


def fit_inverse_regression(training: TrainingSet) -> InverseRegression:
    """The trend of MAX_ROWS of the rows at most; its lines are those of all of them."""
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
        # Lines fitted here, not the weighted ones: what counts is what narrow weights gain over wide ones.
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
    """The levels of one input with settings (n,): the least setting of each, ascending."""
    result = [-np.inf]
    for value in np.sort(u).tolist():
        if value - result[-1] >= LEVEL:
            result.append(value)
    return np.array(result[1:])


def _hat(V: Floats, at: Floats, j: int, width: float, used: Bools | None = None) -> Floats:
    """(k, n) what each row's value counts in that of a weighted affine fit at `at` (k, d).

    used: (k, n) the rows that each of the fits is made of; None: all.
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
    """Mean square of what weighted fits miss of the values (n,), each predicted by the rows `others` (n, n) alone."""
    return float(((value - _hat(V, V, j, width, others) @ value) ** 2).mean())
