"""Whether any settings at all bring every channel of a goal into its band, and which come nearest.

Judged from the rows, not from one solver's answer, so that a verdict means the same whoever answers. A goal is out of
reach where no settings bring every channel into its band even with each band widened by what the lines may be wrong by:
Student's quantile at SURE times the doubt of the fitted mean. No noise is added, because it is the noise-free reading
that has to lie inside.

Lines have no doubt of a plant that is not a line. So bends (squares and products of the inputs) and drift (the order of
the rows) are looked for in the residuals:

    too few rows to look     the farther the nearest row, the more is added to the doubt
    little or nothing found  what there is beyond chance is added to the doubt
    surely bent              a quadratic surface is judged instead of the lines, its noise of one reading added

A row that was measured inside every band is evidence that no model outweighs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares, linprog
from scipy.special import fdtri, stdtrit

from sdl.arrays import Bools, Floats, Ints

if TYPE_CHECKING:
    from sdl.models.linear_model import LinearModel

    _Surface = tuple[Floats, Floats, float, int]

SURE = 0.99977
"""How sure (one-sided, 3.5 standard deviations) a goal's being out of reach must be before it is said."""
BENT = 0.999
"""How sure it must be that the plant bends before a surface is judged instead of the lines."""
SLIGHT = 0.015
"""A bend of less than this part of a channel's response is only doubted: a surface, free as it is, would be worse."""
CHANCE = 0.99
"""Quantile of F up to which bends and drift pass for chance; what is beyond, doubled, counts as doubt."""
SPARE = 4
"""Degrees of freedom that must be left to look for bends."""
UNSEEN = 0.3
"""Where nobody could look for bends: how far off a line may be a whole range away from the nearest row, in parts of the
channel's response; half of it at most."""
NEAR = 0.1
"""How far from a row, as a part of the range, a bend may be as large as the noise."""
MOST = 400
"""Of the newest rows that are looked at."""
CAP = 0.5
"""Doubt is never more than this part of a channel's response, so that what is absurd is said from the first fit on."""


@dataclass(frozen=True)
class QuadraticSurface:
    """A quadratic surface of each channel of the goal.

    Attributes:
        coef: (q, g) of the columns of `_surface`.
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
        affine: the lines.
        off: (g,) variance that the lines may be off by beyond their own doubt; NaN: nobody could look.
        bend: the surface that is judged instead, where the plant surely bends.
        size: (g,) variance of the noise over its shape, bends and drift taken off; NaN: nobody could look.
        freedom: (g,) degrees of freedom of that.
        still: (2, g) the same two of the sitting whose readings scatter least about its own lines; NaN: there was one,
            or none has rows enough. What others scatter by more (a day's light) is not the noise of one reading.
        U: (n, d) settings of the rows.
        seen: (n, g) their readings; NaN where not usable.
    """

    affine: LinearModel
    goal: Ints
    off: Floats
    bend: QuadraticSurface | None
    size: Floats
    freedom: Floats
    still: Floats
    U: Floats
    seen: Floats

    def mean(self, U: Floats) -> Floats:
        """(k, g) readings at settings (k, d)."""
        if self.bend is None:
            return self.linear.mean(U)[:, self.goal]
        mean: Floats = _surface(U)[:, : len(self.bend.coef)] @ self.bend.coef
        return mean

    def possible(self, low: Floats, high: Floats, ends: tuple[Floats, Floats], best: Floats) -> bool:
        """Whether bands (g,) low…high can all be met by settings inside `ends`; `best` (d,) are those that come near.

        Only what is sure is denied.
        """
        if ((self.seen >= low) & (self.seen <= high)).all(axis=1).any():
            return True
        width = CAP * np.abs(self.linear.slope[self.goal]).sum(axis=1)
        doubt = np.fmin(self._doubt(best), width)
        if self.bend is not None:
            aims = (low - doubt, high + doubt, np.fmax(width, 1e-12))
            return any(self._outside(*aims, self.search(*aims, ends, start)) <= 1e-6 for start in _starts(best, ends))

        slope = self.linear.slope[self.goal]
        zero = self.linear.mean(np.zeros((1, len(best))))[0, self.goal]
        A = np.vstack([slope, -slope])
        b = np.concatenate([high + doubt - zero, zero - low + doubt])
        use = np.isfinite(b)
        scale = np.abs(A[use]).max(initial=1e-300)
        found = linprog(np.zeros(len(best)), A[use] / scale, b[use] / scale, bounds=list(zip(*ends, strict=True)))
        return bool(found.status != 2)  # 2: proven infeasible

    def search(self, low: Floats, high: Floats, unit: Floats, ends: tuple[Floats, Floats], start: Floats) -> Floats:
        """(d,) settings near `start` that come nearest to bands (g,) low…high, misses counted in `unit`."""

        def outside(u: Floats) -> Floats:
            y = self.mean(u[None])[0]
            miss: Floats = (np.maximum(low - y, 0.0) + np.minimum(high - y, 0.0)) / unit
            return miss

        margin = 1e-9
        inside = np.clip(start, ends[0] + margin, ends[1] - margin)
        found: Floats = least_squares(outside, inside, bounds=ends, xtol=1e-10, ftol=1e-10, max_nfev=60).x
        return found

    def noise(self, u: Floats) -> tuple[Floats, Floats]:
        """(g,) standard deviation of one reading at settings (d,), and its degrees of freedom; NaN = unknown."""
        lines = np.diag(self.linear.covariance(u)[0])[self.goal]
        stiller = ~(self.still[0] >= self.size) & np.isfinite(self.still[0])
        size, freedom = np.where(stiller, self.still, (self.size, self.freedom))
        looked = np.isfinite(size)
        variance = np.where(looked, size * self.linear.variance(u[None])[0, self.goal], lines)
        return np.sqrt(variance), np.where(looked, freedom, self.linear.dof[self.goal])

    def _outside(self, low: Floats, high: Floats, unit: Floats, u: Floats) -> float:

        y = self.mean(u[None])[0]
        return float((np.maximum(np.maximum(low - y, y - high), 0.0) / unit).max())

    def _doubt(self, u: Floats) -> Floats:
        """(g,) how far the readings at settings (d,) may be from the mean; NaN where no residual can tell."""
        if self.bend is not None:
            x = _surface(u[None])[0, : len(self.bend.coef)]
            spread = self.linear.variance(u[None])[0, self.goal] + np.einsum("p,gpq,q->g", x, self.bend.gram, x)
            bent: Floats = self.bend.quantile * np.sqrt(self.bend.size * spread)
            return bent
        # The noise of mid-range, not of the edge where such a goal ends up: there the response is off the line.
        noise = np.diag(self.linear.covariance(np.full(len(u), 0.5))[0])[self.goal]
        model = np.diag(self.linear.covariance(u)[1])[self.goal]
        looked = np.isfinite(self.off)
        # Where it was measured, and again, no bend can hide.
        far = min(np.sqrt(((self.U - u) ** 2).sum(axis=1)).min(initial=0.5), 0.5)
        sd = np.sqrt(model + np.where(looked, self.off, noise * min(far / NEAR, 1.0)))
        doubt: Floats = np.asarray(stdtrit(np.fmax(self.linear.dof[self.goal], 1.0), SURE) * sd, dtype=np.float64)
        doubt += np.where(looked, 0.0, UNSEEN * far * np.abs(self.linear.slope[self.goal]).sum(axis=1))
        return doubt


def assess(
    U: Floats, Y: Floats, usable: Bools, affine: LinearModel, goal: Ints, sitting: Floats | None = None
) -> Reachability:
    """Looks for bends and drift in what the lines leave over.

    Args:
        U: (n, d) settings in units of their bounds, oldest first.
        Y: (n, m) readings.
        usable: (n, m) which of them count.
        affine: the lines.
        goal: (g,) columns.
        sitting: (n,) number of the sitting of each row; None: there was one.
    """
    U, Y, usable = U[-MOST:], Y[-MOST:], usable[-MOST:]
    (off, sizes, freedom, *still), bends, sure = np.full((5, len(goal)), np.nan), [], False
    together = _sittings(sitting, len(U), U.shape[1] + 1 + SPARE)
    shape = np.sqrt(affine.variance(U)) if len(U) else np.empty((0, Y.shape[1]))
    middle = affine.variance(np.full((1, U.shape[1]), 0.5))[0]
    order = np.linspace(-0.5, 0.5, len(U))
    for i, c in enumerate(goal):
        use = usable[:, c]
        u, scale = U[use], shape[use, c][:, None]
        p, n = u.shape[1] + 1, len(u)
        mean = affine.mean(u)[:, c]
        drift = np.column_stack([order[use], order[use] * (mean - mean.mean())]) if n else np.empty((0, 2))
        quadratic = _surface(u)
        if n < quadratic.shape[1] + 2 + SPARE:
            quadratic = quadratic[:, : 2 * p - 1]  # no products of two inputs
        extra, spare = quadratic.shape[1] + 2 - p, n - quadratic.shape[1] - 2
        # By the least singular value, squared: do the rows tell all of the surface?
        if spare < SPARE or np.linalg.eigvalsh(quadratic.T @ quadratic)[0] < 1e-6 * n:
            continue
        y = (Y[use, c] - mean) / scale[:, 0]
        still[0][i], still[1][i] = _still(u, y, scale, [part[use] for part in together])
        left = [_left(part / scale, y) for part in (quadratic[:, :p], np.column_stack([quadratic, drift]))]
        size = max(left[1] / spare, 1e-300)
        ratio = (left[0] - left[1]) / extra / size
        sizes[i], freedom[i] = size, spare
        off[i] = 2.0 * max(ratio - fdtri(extra, spare, CHANCE), 0.0) * extra / n * size * middle[c]
        bends.append((quadratic, Y[use, c], scale))
        sure |= bool(ratio > fdtri(extra, spare, BENT) and off[i] > (SLIGHT * np.abs(affine.slope[c]).sum()) ** 2)
    sure &= len(bends) == len(goal) and len({part.shape[1] for part, *_ in bends}) == 1
    seen = np.where(usable, Y, np.nan)[:, goal]
    bend = _joined([_bend(*one) for one in bends]) if sure else None
    return Reachability(affine, goal, off, bend, sizes, freedom, np.array(still), U, seen)


def _sittings(sitting: Floats | None, n: int, least: int) -> list[Bools]:
    """Which of the newest n rows each sitting has, of those with at least so many; none where all are of one."""
    numbers, counts = np.unique([] if sitting is None else sitting[len(sitting) - n :], return_counts=True)
    if sitting is None or len(numbers) < 2:
        return []
    return [sitting[len(sitting) - n :] == number for number in numbers[counts >= least]]


def _still(u: Floats, y: Floats, scale: Floats, together: list[Bools]) -> tuple[float, float]:
    """Least variance of residuals y (n,) about a sitting's own lines, over the noise's shape, and its freedom."""
    found = []
    for rows in together:
        spare = int(rows.sum()) - u.shape[1] - 1
        if spare >= SPARE:
            lines = np.column_stack([np.ones(spare + u.shape[1] + 1), u[rows]]) / scale[rows]
            found.append((max(_left(lines, y[rows]) / spare, 1e-300), float(spare)))
    return min(found, default=(math.nan, math.nan))


def _bend(Q: Floats, y: Floats, scale: Floats) -> _Surface:
    """Coefficients, inverse normal matrix, size of the noise and degrees of freedom of one channel's surface."""
    A, b = Q / scale, y / scale[:, 0]
    coef: Floats = np.linalg.lstsq(A, b, rcond=None)[0].astype(float)
    gram: Floats = np.linalg.pinv(A.T @ A, hermitian=True).astype(float)
    freedom = len(y) - Q.shape[1]
    return coef, gram, float(((b - A @ coef) ** 2).sum() / freedom), freedom


def _joined(bends: list[_Surface]) -> QuadraticSurface:

    coef, gram, size, freedom = zip(*bends, strict=True)
    return QuadraticSurface(np.column_stack(coef), np.stack(gram), np.array(size), float(stdtrit(min(freedom), SURE)))


def _left(A: Floats, y: Floats) -> float:

    rest = y - A @ np.linalg.lstsq(A, y, rcond=None)[0]
    return float(rest @ rest)


def _surface(U: Floats) -> Floats:
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
