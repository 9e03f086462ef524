"""Readings as an affine function of the settings: the footing that all solvers of the paper share.

Each channel is fitted by weighted least squares, y = a + K u, with the settings scaled to u in 0…1 by their bounds.
An LED driven by pulse-width modulation is noisiest in the middle of its range and nearly silent at both ends: the
variance of a reading goes as sum_j K_j² u_j (1 - u_j). That shape gives the weights, its size is estimated from the
residuals. A small floor keeps a row at the very end of the range, where the response is a little off the line, from
being believed without limit.

The inverse is that of the forward fit (a generalised least-squares step from the middle of the data), not a regression
of settings on readings: it needs no more rows than there are settings, however many channels the goal has, and it
picks the settings nearest to the middle of the data where the goal leaves a choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]
    Bools = NDArray[np.bool_]

FLOOR = 0.05
"""Added to u (1 - u): a row at the end of the range counts at most some six times one in the middle."""


@dataclass(frozen=True)
class Affine:
    """An affine fit of m channels on d settings from n rows; settings are in units of their bounds.

    Attributes:
        coef: (p, m) intercept, where there is one, and slopes; NaN for a channel with too few rows.
        origin: (d,) what is added to u before the slopes: 0 with an intercept.
        middle: (d,) mean of the settings it was fitted on.
        rows: (n, p) the design matrix.
        weight: (n, m) 1 / variance up to a factor; 0 for a row that the channel does not use.
        gram: (m, p, p) inverse of the weighted normal matrix.
        noise: (m, m) covariance of the weighted residuals; NaN where no degrees of freedom are left.
        dof: (m,) degrees of freedom of the residuals.
        jitter: whether the variance follows u (1 - u).
    """

    coef: Floats
    origin: Floats
    middle: Floats
    rows: Floats
    weight: Floats
    gram: Floats
    noise: Floats
    dof: Floats
    jitter: bool

    @property
    def slope(self) -> Floats:
        """(m, d) change of each reading over the whole range of each input."""
        return self.coef[-len(self.middle) :].T

    def mean(self, U: Floats) -> Floats:
        """(k, m) expected readings at settings (k, d)."""
        mean: Floats = _design(U, self.origin, self.coef.shape[0]) @ self.coef
        return mean

    def covariance(self, u: Floats) -> tuple[Floats, Floats]:
        """Of the readings at one setting (d,): (m, m) noise of one reading, (m, m) doubt of the fitted mean."""
        import numpy as np

        shape = np.sqrt(_variance(u[None], self.slope, self.jitter)[0])
        x = _design(u[None], self.origin, self.coef.shape[0])[0]
        # Rows share their noise between channels, so the doubts of two channels are as correlated as their residuals.
        leverage = np.sqrt(self.weight) * (self.rows @ (self.gram @ x).T)
        return self.noise * np.outer(shape, shape), self.noise * (leverage.T @ leverage)

    def predict(self, U: Floats) -> tuple[Floats, Floats]:
        """(k, m) mean and standard deviation of one reading at settings (k, d)."""
        import numpy as np

        parts = [np.diag(sum(self.covariance(u))) for u in U]
        return self.mean(U), np.sqrt(np.reshape(parts, (len(U), -1))) * widen(self.dof)

    def inverse(self, columns: Ints, u: Floats) -> Floats:
        """(d, len(columns)) settings for a change of the readings `columns`, weighted by their noise at u (d,)."""
        import numpy as np

        slope = self.slope[columns]
        noise = np.diag(self.covariance(u)[0])[columns]
        scale = np.sqrt(np.where(np.isfinite(noise), noise, 0.0))
        scale = np.maximum(scale, 1e-4 * np.abs(slope).sum(axis=1).max(initial=1e-300))
        inverse: Floats = np.linalg.pinv(slope / scale[:, None], rcond=1e-4) / scale
        return inverse

    def backward(self, Y: Floats, columns: Ints) -> Floats:
        """(k, d) settings that give the readings (k, len(columns)), nearest to the middle where there is a choice."""
        base = self.mean(self.middle[None])[:, columns]
        settings: Floats = self.middle + (Y - base) @ self.inverse(columns, self.middle).T
        return settings

    def doubt(self, columns: Ints, u: Floats) -> tuple[Floats, Floats]:
        """Spread and uncertainty (d,) of the settings u (d,) that answer a goal in `columns` (delta method).

        With few degrees of freedom both are widened to hold as much as one standard deviation of a normal
        distribution does; with none they are NaN.
        """
        import numpy as np

        inverse = self.inverse(columns, u)
        pick = np.ix_(columns, columns)
        noise, model = (part[pick] for part in self.covariance(u))
        factor = widen(self.dof[columns].min())
        spread, uncertainty = (
            factor * np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", inverse, part, inverse), 0.0))
            for part in (noise + model, model)
        )
        return spread, uncertainty


def fit_affine(U: Floats, Y: Floats, usable: Bools, *, origin: Floats | None = None) -> Affine:
    """Fits every channel that has enough rows.

    Args:
        U: (n, d) settings in units of their bounds.
        Y: (n, m) readings.
        usable: (n, m) which of them count.
        origin: (d,) fit a plane through zero at u = -origin, unweighted (the paper's section 3.2); None: weighted,
            with an intercept.
    """
    import numpy as np

    (n, d), m = U.shape, Y.shape[1]
    jitter = origin is None
    p = d + 1 if jitter else d
    rows = _design(U, np.zeros(d) if origin is None else origin, p)
    coef, dof = np.full((p, m), np.nan), np.full(m, -1.0)
    weight, gram, residual = np.zeros((n, m)), np.full((m, p, p), np.nan), np.zeros((n, m))
    for c in range(m):
        use = usable[:, c]
        A, y = rows[use], Y[use, c]
        if len(y) < p or np.linalg.matrix_rank(A) < p:
            continue
        w = np.ones(len(y))
        for _ in range(2 if jitter else 1):  # the weights need the slopes, which hardly depend on the weights
            root = np.sqrt(w)[:, None]
            coef[:, c] = np.linalg.lstsq(A * root, y * root[:, 0], rcond=None)[0]
            if jitter:
                w = 1.0 / _variance(U[use], coef[-d:, c][None], jitter)[:, 0]
        weight[use, c] = w
        gram[c] = np.linalg.pinv(A.T @ (A * w[:, None]), hermitian=True)
        residual[use, c] = np.sqrt(w) * (y - A @ coef[:, c])
        dof[c] = len(y) - p
    scale = np.sqrt(np.where(dof > 0, dof, np.nan))
    noise = (residual.T @ residual) / np.outer(scale, scale)
    return Affine(
        coef, np.zeros(d) if origin is None else origin, U.mean(axis=0), rows, weight, gram, noise, dof, jitter
    )


def widen(dof: Floats) -> Floats:
    """Half of Student's central 68.3 % interval: 1 for many degrees of freedom, 1.84 for one, NaN for none."""
    import numpy as np
    from scipy.special import stdtrit

    known = np.asarray(dof) >= 1
    return np.where(known, stdtrit(np.where(known, dof, 1.0), 0.8413447460685429), np.nan)


def _design(U: Floats, origin: Floats, p: int) -> Floats:
    import numpy as np

    return np.column_stack([np.ones(len(U)), U]) if p > U.shape[1] else U + origin


def _variance(U: Floats, slope: Floats, jitter: bool) -> Floats:
    """(k, m) shape of the variance of one reading at settings (k, d): its size is left to the residuals."""
    import numpy as np

    if not jitter:
        return np.ones((len(U), len(slope)))
    u = np.clip(U, 0.0, 1.0)
    variance: Floats = (u * (1.0 - u) + FLOOR) @ (slope**2).T
    still = np.nanmax(variance, initial=0.0) * 1e-12 or 1.0  # a channel that answers to nothing has noise all the same
    return np.maximum(variance, still)
