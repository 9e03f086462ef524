"""Reachability of a goal: whether any settings bring every channel into its band, and which come nearest.

Judged from the rows, not from one model's answer, so that a verdict means the same whichever model proposes. A goal is
unreachable where no settings bring every channel into its band even with each band widened by what the linear model may
be wrong by: Student's quantile at SURE times the standard error of the fitted mean. No noise is added, because it is
the noise-free reading that has to lie inside.

The standard error of a linear model does not cover nonlinearity. So nonlinearity (squares and products of the inputs)
and drift (the order of the rows) are tested in the residuals:

    too few rows to test     the margin grows with the distance of the nearest row
    little or nothing found  what exceeds chance is added to the variance
    surely nonlinear         a quadratic surface is judged instead, the noise of one reading added

A row that was measured inside every band is evidence that no model outweighs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, linprog
from scipy.special import fdtri, stdtrit

from sdl.arrays import Bools, Floats, Ints
from sdl.models.linear_model import LinearModel

_Surface = tuple[Floats, Floats, float, int]

SURE = 0.99977
"""One-sided confidence (3.5 standard deviations) at which a goal is called unreachable."""
SURELY_CURVED = 0.999
"""Confidence of the test for nonlinearity above which a quadratic surface is judged instead of the linear model."""
SLIGHT_CURVATURE = 0.015
"""Nonlinearity below this fraction of a channel's response only adds variance: a surface would have more of it."""
CHANCE = 0.99
"""Quantile of F up to which nonlinearity and drift pass for chance; twice the excess is added to the variance."""
DOF_NEEDED = 4
"""Degrees of freedom that must be left to test for nonlinearity."""
UNTESTED_CURVATURE = 0.3
"""Where nonlinearity cannot be tested: error of the linear model a whole range away from the nearest row, as a fraction
of the channel's response; half of it at most."""
NEAR = 0.1
"""Distance from a row, as a fraction of the range, at which nonlinearity may be as large as the noise."""
MAX_ROWS = 400
"""Of the newest rows that are looked at."""
MAX_MARGIN = 0.5
"""Doubt is never more than this part of a channel's response, so that what is absurd is said from the first fit on."""


@dataclass(frozen=True)
class QuadraticSurface:
    """A quadratic surface of each channel of the goal.

    Attributes:
        coef: (q, g) of the columns of `_quadratic_design`.
        gram: (g, q, q) inverse of the weighted normal matrix.
        size: (g,) variance of the residuals over that of the noise's shape.
        quantile: Student's, at SURE.
    """

    coef: Floats
    gram: Floats
    size: Floats
    quantile: float


@dataclass(frozen=True)
class Reachability:
    """What can be read at which settings, of the channels `goal` (g,); settings in units of their bounds.

    Attributes:
        linear: the lines.
        lack_of_fit_var: (g,) variance of the linear model beyond its own standard error; NaN: not tested.
        surface: the quadratic surface that is judged instead, where the plant is surely nonlinear.
        size: (g,) variance of the noise over its shape, nonlinearity and drift taken off; NaN: not tested.
        dof: (g,) degrees of freedom of that.
        within_session_var: (2, g) the same two of the session with the least scatter about its own line;
            NaN: one session, or none has enough rows. The additional scatter of others is not noise of one reading.
        U: (n, d) settings of the rows.
        Y: (n, g) their readings; NaN where not usable.
    """

    linear: LinearModel
    goal: Ints
    lack_of_fit_var: Floats
    surface: QuadraticSurface | None
    size: Floats
    dof: Floats
    within_session_var: Floats
    U: Floats
    Y: Floats

    def mean(self, U: Floats) -> Floats:
        """(k, g) readings at settings (k, d)."""
        if self.surface is None:
            return self.linear.mean(U)[:, self.goal]
        mean: Floats = _quadratic_design(U)[:, : len(self.surface.coef)] @ self.surface.coef
        return mean

    def is_reachable(self, low: Floats, high: Floats, ends: tuple[Floats, Floats], best: Floats) -> bool:
        """Whether bands (g,) low…high can all be met by settings inside `ends`; `best` (d,) are those that come near.

        Only what is sure is denied.
        """
        if ((low <= self.Y) & (high >= self.Y)).all(axis=1).any():
            return True
        width = MAX_MARGIN * np.abs(self.linear.slope[self.goal]).sum(axis=1)
        margin = np.fmin(self._margin(best), width)
        if self.surface is not None:
            aims = (low - margin, high + margin, np.fmax(width, 1e-12))
            return any(self._outside(*aims, self.search(*aims, ends, start)) <= 1e-6 for start in _starts(best, ends))

        slope = self.linear.slope[self.goal]
        zero = self.linear.mean(np.zeros((1, len(best))))[0, self.goal]
        A = np.vstack([slope, -slope])
        b = np.concatenate([high + margin - zero, zero - low + margin])
        use = np.isfinite(b)
        scale = np.abs(A[use]).max(initial=1e-300)
        solution = linprog(np.zeros(len(best)), A[use] / scale, b[use] / scale, bounds=list(zip(*ends, strict=True)))
        return bool(solution.status != 2)  # 2: proven infeasible

    def search(self, low: Floats, high: Floats, unit: Floats, ends: tuple[Floats, Floats], start: Floats) -> Floats:
        """(d,) settings near `start` that come nearest to bands (g,) low…high, misses counted in `unit`."""

        def outside(u: Floats) -> Floats:
            y = self.mean(u[None])[0]
            miss: Floats = (np.maximum(low - y, 0.0) + np.minimum(high - y, 0.0)) / unit
            return miss

        margin = 1e-9
        inside = np.clip(start, ends[0] + margin, ends[1] - margin)
        nearest: Floats = least_squares(outside, inside, bounds=ends, xtol=1e-10, ftol=1e-10, max_nfev=60).x
        return nearest

    def noise(self, u: Floats) -> tuple[Floats, Floats]:
        """(g,) standard deviation of one reading at settings (d,), and its degrees of dof; NaN = unknown."""
        lines = np.diag(self.linear.covariance(u)[0])[self.goal]
        stiller = ~(self.within_session_var[0] >= self.size) & np.isfinite(self.within_session_var[0])
        size, dof = np.where(stiller, self.within_session_var, (self.size, self.dof))
        looked = np.isfinite(size)
        variance = np.where(looked, size * self.linear.variance(u[None])[0, self.goal], lines)
        return np.sqrt(variance), np.where(looked, dof, self.linear.dof[self.goal])

    def _outside(self, low: Floats, high: Floats, unit: Floats, u: Floats) -> float:

        y = self.mean(u[None])[0]
        return float((np.maximum(np.maximum(low - y, y - high), 0.0) / unit).max())

    def _margin(self, u: Floats) -> Floats:
        """(g,) how far the readings at settings (d,) may be from the mean; NaN where no residual can tell."""
        if self.surface is not None:
            x = _quadratic_design(u[None])[0, : len(self.surface.coef)]
            spread = self.linear.variance(u[None])[0, self.goal] + np.einsum("p,gpq,q->g", x, self.surface.gram, x)
            bent: Floats = self.surface.quantile * np.sqrt(self.surface.size * spread)
            return bent
        # The noise of mid-range, not of the edge where such a goal ends up: there the response is off the line.
        noise = np.diag(self.linear.covariance(np.full(len(u), 0.5))[0])[self.goal]
        model = np.diag(self.linear.covariance(u)[1])[self.goal]
        looked = np.isfinite(self.lack_of_fit_var)
        # Where it was measured, and again, no nonlinearity can hide.
        far = min(np.sqrt(((self.U - u) ** 2).sum(axis=1)).min(initial=0.5), 0.5)
        sd = np.sqrt(model + np.where(looked, self.lack_of_fit_var, noise * min(far / NEAR, 1.0)))
        margin: Floats = np.asarray(stdtrit(np.fmax(self.linear.dof[self.goal], 1.0), SURE) * sd, dtype=np.float64)
        margin += np.where(looked, 0.0, UNTESTED_CURVATURE * far * np.abs(self.linear.slope[self.goal]).sum(axis=1))
        return margin


def assess(
    U: Floats, Y: Floats, usable: Bools, linear: LinearModel, goal: Ints, session: Floats | None = None
) -> Reachability:
    """Test for nonlinearity and drift in what the lines leave over.

    Args:
        U: (n, d) settings in units of their bounds, oldest first.
        Y: (n, m) readings.
        usable: (n, m) which of them count.
        linear: the lines.
        goal: (g,) columns.
        session: (n,) number of the session of each row; None: there was one.
    """
    U, Y, usable = U[-MAX_ROWS:], Y[-MAX_ROWS:], usable[-MAX_ROWS:]
    (off, sizes, dof, *still), surfaces, sure = np.full((5, len(goal)), np.nan), [], False
    together = _session_rows(session, len(U), U.shape[1] + 1 + DOF_NEEDED)
    shape = np.sqrt(linear.variance(U)) if len(U) else np.empty((0, Y.shape[1]))
    middle = linear.variance(np.full((1, U.shape[1]), 0.5))[0]
    order = np.linspace(-0.5, 0.5, len(U))
    for i, c in enumerate(goal):
        use = usable[:, c]
        u, scale = U[use], shape[use, c][:, None]
        p, n = u.shape[1] + 1, len(u)
        mean = linear.mean(u)[:, c]
        drift = np.column_stack([order[use], order[use] * (mean - mean.mean())]) if n else np.empty((0, 2))
        quadratic = _quadratic_design(u)
        if n < quadratic.shape[1] + 2 + DOF_NEEDED:
            quadratic = quadratic[:, : 2 * p - 1]  # no products of two inputs
        extra, dof_left = quadratic.shape[1] + 2 - p, n - quadratic.shape[1] - 2
        # By the least singular value, squared: do the rows tell all of the surface?
        if dof_left < DOF_NEEDED or np.linalg.eigvalsh(quadratic.T @ quadratic)[0] < 1e-6 * n:
            continue
        y = (Y[use, c] - mean) / scale[:, 0]
        still[0][i], still[1][i] = _within_session_var(u, y, scale, [part[use] for part in together])
        residuals = [
            _residual_square(part / scale, y) for part in (quadratic[:, :p], np.column_stack([quadratic, drift]))
        ]
        size = max(residuals[1] / dof_left, 1e-300)
        ratio = (residuals[0] - residuals[1]) / extra / size
        sizes[i], dof[i] = size, dof_left
        off[i] = 2.0 * max(ratio - fdtri(extra, dof_left, CHANCE), 0.0) * extra / n * size * middle[c]
        surfaces.append((quadratic, Y[use, c], scale))
        sure |= bool(
            ratio > fdtri(extra, dof_left, SURELY_CURVED)
            and off[i] > (SLIGHT_CURVATURE * np.abs(linear.slope[c]).sum()) ** 2
        )
    sure &= len(surfaces) == len(goal) and len({part.shape[1] for part, *_ in surfaces}) == 1
    seen = np.where(usable, Y, np.nan)[:, goal]
    bend = _stack([_fit_surface(*one) for one in surfaces]) if sure else None
    return Reachability(linear, goal, off, bend, sizes, dof, np.array(still), U, seen)


def _session_rows(session: Floats | None, n: int, least: int) -> list[Bools]:
    """Which of the newest n rows each session has, of those with at least so many; none where all are of one."""
    numbers, counts = np.unique([] if session is None else session[len(session) - n :], return_counts=True)
    if session is None or len(numbers) < 2:
        return []
    return [session[len(session) - n :] == number for number in numbers[counts >= least]]


def _within_session_var(u: Floats, y: Floats, scale: Floats, together: list[Bools]) -> tuple[float, float]:
    """Least variance of residuals y (n,) about a session's own lines, over the noise's shape, and its dof."""
    variances = []
    for rows in together:
        dof_left = int(rows.sum()) - u.shape[1] - 1
        if dof_left >= DOF_NEEDED:
            lines = np.column_stack([np.ones(dof_left + u.shape[1] + 1), u[rows]]) / scale[rows]
            variances.append((max(_residual_square(lines, y[rows]) / dof_left, 1e-300), float(dof_left)))
    return min(variances, default=(math.nan, math.nan))


def _fit_surface(Q: Floats, y: Floats, scale: Floats) -> _Surface:
    """Coefficients, inverse normal matrix, size of the noise and degrees of dof of one channel's surface."""
    A, b = Q / scale, y / scale[:, 0]
    coef: Floats = np.linalg.lstsq(A, b, rcond=None)[0].astype(float)
    gram: Floats = np.linalg.pinv(A.T @ A, hermitian=True).astype(float)
    dof = len(y) - Q.shape[1]
    return coef, gram, float(((b - A @ coef) ** 2).sum() / dof), dof


def _stack(surfaces: list[_Surface]) -> QuadraticSurface:

    coef, gram, size, dof = zip(*surfaces, strict=True)
    return QuadraticSurface(np.column_stack(coef), np.stack(gram), np.array(size), float(stdtrit(min(dof), SURE)))


def _residual_square(A: Floats, y: Floats) -> float:

    rest = y - A @ np.linalg.lstsq(A, y, rcond=None)[0]
    return float(rest @ rest)


def _quadratic_design(U: Floats) -> Floats:
    """(k, q) one, the inputs, their squares, their products."""
    V = U - 0.5
    i, j = np.triu_indices(U.shape[1], 1)
    return np.column_stack([np.ones(len(V)), V, V**2, V[:, i] * V[:, j]])


def _starts(best: Floats, ends: tuple[Floats, Floats]) -> list[Floats]:

    low, high = ends
    corners = np.array(np.meshgrid(*[[0.2, 0.8]] * min(len(best), 3))).reshape(min(len(best), 3), -1).T
    spread = np.full((len(corners), len(best)), 0.5)
    spread[:, : corners.shape[1]] = corners
    return [best, *(low + spread * (high - low))]
