"""The trend from readings to settings: an affine fit, weighted about the goal where the instrument bends.

The lines of `sdl.models.linear_model` turned round give settings v for the readings of a goal. An instrument that
bends has
the true setting u_j beside v_j by an amount that depends on v_j above all, each input bending for itself. So u_j is
fitted once more as an affine function of v, rows weighted by their distance from the goal *in v_j alone*, with a
Gaussian of some width: many rows are near in one coordinate where hardly any is near in all of them (Cleveland 1979,
10.1080/01621459.1979.10481038, is the fit; Hastie and Tibshirani 1986 the one coordinate). The width of each input is
the one that predicts rows left out best; an infinite one, which leaves the lines as they are, unless another is
plainly better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdl.arrays import Floats
from sdl.models.linear_model import t_factor
from sdl.models.training_set import TrainingSet

WIDTHS = (0.4, 0.2, 0.1, 0.05)
"""Of the weights, as a part of the range."""
BETTER = 0.5
"""A width is taken if the mean square of what it misses of rows left out is less than this part of the lines'."""
ROWS_NEEDED = 2
"""Rows for each coefficient that a weighted fit may have (the trace of its hat matrix); on fewer it follows noise."""
RIDGE = 1e-6
"""Part of its weight that a coefficient without enough rows around is drawn to zero with."""
STEPS, NUDGE, FLAT = 40, 1e-3, 0.2
"""Of the search for the readings that the trend answers with given settings: steps at most, difference for the slope,
least slope."""
MAX_ROWS = 400
"""Rows at most, the newest; the cost of choosing widths grows as their square."""


@dataclass(frozen=True)
class InverseRegression:
    """Settings for readings of the goal's channels.

    Attributes:
        training: the rows and their linear model.
        V, U: (n, d) settings that the lines give for the readings of the newest rows, and their true ones.
        width: (d,) of the weights; infinite: the lines alone.
        rest: (n, d) what the trend leaves of the settings of these rows.
        sigma: (d,) standard deviation of that, widened for few degrees of freedom.
    """

    training: TrainingSet
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
    """The trend of the newest rows; its lines are those of all of them."""
    U = training.U[-MAX_ROWS:]
    V = training.linear.solve_for_settings(training.Y[-MAX_ROWS:][:, training.goal], training.goal)
    (n, d), off = U.shape, U - V
    width, rest, sigma = np.full(d, np.inf), off.copy(), np.full(d, np.nan)
    if n < ROWS_NEEDED * (d + 1) or not np.isfinite(V).all():
        return InverseRegression(training, V, U, width, rest, sigma)
    for j in range(d):
        # Lines fitted here, not the weighted ones: what counts is what narrow weights gain over wide ones.
        least = BETTER * _left_out(_hat(V, V, j, np.inf), off[:, j])
        for narrow in WIDTHS:
            hat = _hat(V, V, j, narrow)
            if ROWS_NEEDED * np.trace(hat) <= n and (miss := _left_out(hat, off[:, j])) < least:
                least, width[j] = miss, narrow
                rest[:, j] = off[:, j] - hat @ off[:, j]
                freedom = np.array(max(n - 2 * np.trace(hat) + (hat**2).sum(), 1.0))
                sigma[j] = np.sqrt((rest[:, j] ** 2).sum() / freedom) * t_factor(freedom)
    return InverseRegression(training, V, U, width, rest, sigma)


def _hat(V: Floats, at: Floats, j: int, width: float) -> Floats:
    """(k, n) what each row's value counts in that of a weighted affine fit at `at` (k, d)."""
    n, d = V.shape
    weight = np.exp(-0.5 * ((at[:, j, None] - V[:, j]) / width) ** 2)  # (k, n)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    A = np.column_stack([np.ones(n), V])
    outer = (A[:, :, None] * A[:, None, :]).reshape(n, -1)
    gram = (weight @ outer).reshape(-1, d + 1, d + 1)
    gram = gram + RIDGE * np.eye(d + 1)
    side = np.linalg.solve(gram, np.column_stack([np.ones(len(at)), at])[..., None])[..., 0]  # (k, p)
    hat: Floats = (side @ A.T) * weight
    return hat


def _left_out(hat: Floats, value: Floats) -> float:
    """Mean square of what a linear smoother misses of each row when that row is left out."""
    own = np.diag(hat)
    return float((((value - hat @ value) / np.maximum(1.0 - own, 1e-3)) ** 2).mean())
