"""The bounded inverse search: the settings whose readings come closest to a goal.

Projected Levenberg-Marquardt steps (Nocedal and Wright, Numerical Optimization (2006), sections 10.3 and 16.7) from
many starts at once. The function may be the mean of a model, or n sample paths, each with its own settings. Residuals
are distances in tolerances: from the target of a channel, or from the closer end of its range or limit (0 inside). An
input at a bound that a step would cross is fixed for that step; a step along a linear constraint that it would break
stays on it (active set), and ends where it meets another. Inputs with choices stay as they are at the start of a
search. If several settings reach a goal, the shortest step is taken, so that each search ends at a solution close to
its start.

The search takes at most STEPS steps; `Search.converged` says which starts had converged by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, minimize
from scipy.special import log_ndtr

from sdl.arrays import Bools, Floats, Ints
from sdl.models.data import Targets
from sdl.models.training_set import TrainingSet
from sdl.space.region import Region

Function = Callable[[Floats], Floats]
"""Maps settings (…, d) to readings (…, m), or to the derivatives of readings (…, m, d)."""

STEPS = 40
"""Largest number of steps; 20 random quadratic surfaces of three inputs needed 4 to 14."""
DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-12, 1e8
"""Damping of the first step, and its limits, as fractions of the largest diagonal element of the normal matrix."""
SETTLED = 1e-9
"""A search has converged when a step is shorter than this fraction of the range."""
EXACT = 1e-6
"""Residuals below this, in tolerances, count as 0."""
NEAREST, RANDOM = 3, 6
"""Number of starting points: settings of the rows closest to the goal, and random settings."""
FLAT = 1e-12
"""A climb ends when a step raises the function by less, as a fraction of its value."""
CLIMBS, APART, DIFFERENCE = 6, 0.05, 1e-5
"""Maximum of a function: number of candidates from which a local search starts, their least distance as a fraction of
the range, and step of the differences that give the gradient."""
MOST_BLOCKS = 60
"""Largest number of combinations of choices that one search starts in."""
TIGHT = 1e-9
"""A constraint is active if the distance to it is below this fraction of the range."""
ROUNDS, SHRINK = 20, 0.5
"""Search for cheaper settings: largest number of linear programs, and factor on the trust radius after a failure."""


def log_inside(low: Floats, high: Floats) -> Floats:
    """Log probability of a standard normal variable inside low…high, accurate also far out in a tail."""
    side = np.where(low > 0, -1.0, 1.0)
    upper, lower = np.where(side > 0, high, -low), np.where(side > 0, low, -high)
    big, small = log_ndtr(upper), log_ndtr(lower)
    inside: Floats = big + np.log1p(-np.exp(np.minimum(small - big, -1e-12)))
    return inside


class Bands(NamedTuple):
    """One goal, in the g channels that it constrains.

    Attributes:
        columns: (g,) the channels.
        low, high: (g,) the accepted readings.
        aim_low, aim_high: (g,) the readings aimed at: both equal to the target, or the limits moved inwards by a margin
            for the noise.
        unit: (g,) the tolerance that distances are divided by; or (…, g), one for each of the settings.
    """

    columns: Ints
    low: Floats
    high: Floats
    aim_low: Floats
    aim_high: Floats
    unit: Floats

    @classmethod
    def of(cls, training: TrainingSet, target: Targets) -> Bands:
        """Build the bands of the goal `target`, each part (m,)."""
        limited = np.isfinite(target.low) | np.isfinite(target.high)
        columns = training.goal[(limited | np.isfinite(target.value))[training.goal]]
        low, high = training.guarded_limits(target)
        has_target = np.isfinite(target.value)
        aims = [np.where(has_target, target.value, end)[columns] for end in (low, high)]
        unit = training.tolerance_scale(target)[columns]
        return cls(columns, target.low[columns], target.high[columns], aims[0], aims[1], unit)

    def residuals(self, Y: Floats) -> Floats:
        """(…, g) signed distance of readings Y (…, m) from their aim, in tolerances."""
        y = Y[..., self.columns]
        return np.asarray((y - np.clip(y, self.aim_low, self.aim_high)) / self.unit, dtype=np.float64)

    def are_met(self, Y: Floats) -> Bools:
        """(…,) whether readings (…, m) lie inside every band."""
        y, slack = Y[..., self.columns], 1e-9 * self.unit
        inside = (y >= self.low - slack) & (y <= self.high + slack)
        return np.asarray(inside.all(axis=-1), dtype=np.bool_)

    def log_probability(self, mean: Floats, variance: Floats) -> Floats:
        """(…,) log probability that independent normal readings (…, m) lie inside every band.

        A variance that is unknown is taken to be the square of the tolerance.
        """
        y, square = mean[..., self.columns], variance[..., self.columns]
        sd = np.sqrt(np.maximum(square, 1e-12 * self.unit**2))
        sd = np.where(np.isfinite(sd), sd, self.unit)
        inside = log_inside((self.low - y) / sd, (self.high - y) / sd)
        return np.asarray(inside.sum(axis=-1), dtype=np.float64)

    def beyond(self, Y: Floats) -> Floats:
        """(…, g) distance of readings (…, m) beyond their bands, in tolerances; 0 inside."""
        y = Y[..., self.columns]
        return np.asarray(np.maximum(np.maximum(self.low - y, y - self.high), 0.0) / self.unit, dtype=np.float64)


class Search(NamedTuple):
    """The results of searches.

    Attributes:
        U: (…, d) settings.
        cost: (…,) half the sum of the squared residuals there.
        converged: (…,) whether the search converged within its steps.
    """

    U: Floats
    cost: Floats
    converged: Bools


def search(
    function: Function, jacobian: Function, bands: Bands, starts: Floats, region: Region, steps: int = STEPS
) -> Search:
    """Search, from starts (…, d), for the settings inside a region whose readings come closest to a goal."""
    U = region.project(starts)
    low, high = region.bounds_at(U)
    residual = bands.residuals(function(U))
    cost = 0.5 * (residual**2).sum(axis=-1)
    damping, settled = np.full(cost.shape, DAMPING), np.zeros(cost.shape, bool)
    slope = _slope(jacobian(U), residual, bands)
    eye = np.eye(U.shape[-1])
    for _ in range(steps):
        gradient = (slope * residual[..., None]).sum(axis=-2)
        if len(region.A):
            free = np.broadcast_to(high > low, U.shape)
        else:
            free = ~(((low >= U) & (gradient > 0)) | ((high <= U) & (gradient < 0)))
        normal = slope.swapaxes(-1, -2) @ slope * (free[..., None] & free[..., None, :])
        size = np.maximum(np.diagonal(normal, axis1=-2, axis2=-1).max(axis=-1), 1e-300)
        matrix = normal / size[..., None, None] + damping[..., None, None] * eye
        downhill = np.where(free, -gradient, 0.0) / size[..., None]
        if len(region.A):
            trial = _kept(region, U, matrix, downhill)
        else:
            trial = np.clip(U + np.linalg.solve(matrix, downhill[..., None])[..., 0], low, high)
        moved = np.abs(trial - U).max(axis=-1)
        new = bands.residuals(function(trial))
        then = 0.5 * (new**2).sum(axis=-1)
        better = then < cost
        U = np.where(better[..., None], trial, U)
        residual = np.where(better[..., None], new, residual)
        slope = np.where(better[..., None, None], _slope(jacobian(trial), new, bands), slope)
        cost = np.where(better, then, cost)
        settled |= (moved < SETTLED) | (cost < EXACT**2 / 2)
        damping = np.clip(np.where(better, damping / 8, damping * 6), LEAST_DAMPING, MOST_DAMPING)
        if settled.all():
            break
    return Search(U, cost, settled)


def _kept(region: Region, U: Floats, matrix: Floats, downhill: Floats) -> Floats:
    """(…, d) the steps from U (…, d) along the constraints and bounds that they would break, up to the next of them."""
    low, high = region.bounds_at(U)
    d = U.shape[-1]
    eye = np.eye(d)
    A = np.vstack([region.A, eye, -eye])
    room = np.concatenate([region.b - U @ region.A.T, high - U, U - low], axis=-1)
    tight, active = room <= TIGHT, np.zeros(room.shape, bool)
    step = np.linalg.solve(matrix, downhill[..., None])[..., 0]
    for _ in range(d):
        rate = step @ A.T
        broken = tight & (rate > TIGHT * np.abs(step).max(axis=-1, keepdims=True)) & ~active
        some = broken.any(axis=-1)
        if not some.any():
            break
        # Only the worst of each search: the others may be kept once it is.
        worst = np.where(broken, rate, 0.0).argmax(axis=-1)
        active |= broken & (np.arange(len(A)) == worst[..., None])
        N = A * active[some][..., None]
        along = eye - np.linalg.pinv(N, rcond=1e-9) @ N  # projects onto the active constraints
        inner = along @ matrix[some] @ along + eye - along
        step[some] = (along @ np.linalg.solve(inner, along @ downhill[some][..., None]))[..., 0]
    rate = step @ A.T
    limits = (rate > 1e-15) & ~active
    reach = np.where(limits, np.maximum(room, 0.0) / np.where(limits, rate, 1.0), np.inf).min(axis=-1)
    return np.asarray(np.clip(U + np.minimum(reach, 1.0)[..., None] * step, low, high), dtype=np.float64)


def _slope(J: Floats, residual: Floats, bands: Bands) -> Floats:
    """(…, g, d) derivatives of the residuals; 0 for a channel inside its range or limit."""
    inside = (bands.aim_low < bands.aim_high) & (residual == 0)
    scaled = J[..., bands.columns, :] / bands.unit[..., None]
    return np.asarray(np.where(inside[..., None], 0.0, scaled), dtype=np.float64)


def starting_points(training: TrainingSet, bands: Bands, region: Region, rng: np.random.Generator) -> Floats:
    """(k, d) starting points of a search: the settings of the rows closest to the goal, and random settings.

    With choices, both in every block of the region, or in MOST_BLOCKS of them.
    """
    rows = np.asarray(training.usable[:, bands.columns].all(axis=1), dtype=np.bool_)
    off = np.abs(bands.residuals(training.Y[rows])).max(axis=1, initial=0.0)
    nearest = training.U[: len(rows)][rows][np.argsort(off, kind="stable")[:NEAREST]]
    if region.is_box:
        return region.project(np.vstack([nearest, region.sample(RANDOM, rng)]))
    codes = region.codes[rng.permutation(len(region.codes))[:MOST_BLOCKS]]
    points = np.vstack([nearest, region.sample(RANDOM * len(codes), rng)])
    blocks = np.vstack([np.repeat(codes, len(nearest), axis=0), np.tile(codes, (RANDOM, 1))])
    points = np.vstack([np.tile(nearest, (len(codes), 1)), points[len(nearest) :]])
    return region.project(np.where(region.categorical, blocks, points))


def cheapest(function: Function, jacobian: Function, bands: Bands, u: Floats, cost: Floats, region: Region) -> Floats:
    """(d,) the cheapest settings that reach a goal as closely as u (d,); `cost` (d,) is that of each input's range.

    The choices stay those of u.

    Solves linear programs in a shrinking neighbourhood, each followed by a search back to the goal.
    """
    low, high = region.bounds_at(u)
    worst, radius = float(np.abs(bands.residuals(function(u[None]))).max(initial=0.0)), 0.25
    for _ in range(ROUNDS):
        y = function(u[None])[0, bands.columns] / bands.unit
        J = jacobian(u[None])[0, bands.columns] / bands.unit[:, None]
        down = np.minimum(bands.aim_low / bands.unit - y, 0.0)
        up = np.maximum(bands.aim_high / bands.unit - y, 0.0)
        aimed = bands.aim_low == bands.aim_high
        down[aimed] = up[aimed] = 0.0
        limits = list(zip(np.maximum(low - u, -radius), np.minimum(high - u, radius), strict=True))
        A = np.vstack([J, -J, region.A])
        b = np.concatenate([up, -down, region.b - region.A @ u])
        use = np.isfinite(b)
        plan = linprog(cost, A[use] if use.any() else None, b[use] if use.any() else None, bounds=limits)
        if plan.x is None or cost @ plan.x > -1e-9:
            return u
        back = search(function, jacobian, bands, (u + plan.x)[None], region)
        trial = back.U[0]
        misses = float(np.abs(bands.residuals(function(trial[None]))).max(initial=0.0))
        if misses <= max(1.01 * worst, 1e-3) and cost @ (trial - u) < 0:
            u = trial
        else:
            radius *= SHRINK
        if radius < 1e-6:
            break
    return u


def maximise(function: Function, candidates: Floats, region: Region) -> Floats:
    """(d,) the settings inside a region with the greatest value of a function (k, d) -> (k,).

    Local searches start from the CLIMBS best of the candidates (k, d) that lie apart, each with its own choices:
    L-BFGS-B (Byrd et al., SIAM J. Sci. Comput. 16 (1995) 1190), or with linear constraints SLSQP (Kraft, 1988).
    Gradients are finite differences, because the variance of a model has no derivative here.
    """
    values = function(candidates)
    order = np.argsort(-values, kind="stable")
    starts = [order[0]]
    for i in order:
        if len(starts) == CLIMBS:
            break
        if np.abs(candidates[starts] - candidates[i]).max(axis=1).min() > APART:
            starts.append(i)

    def downhill(u: Floats) -> tuple[float, Floats]:
        step = np.where(u + DIFFERENCE > region.high, -DIFFERENCE, DIFFERENCE)
        at = function(np.vstack([u, u + np.diag(step)]))
        return -float(at[0]), (at[0] - at[1:]) / step

    best: Floats
    best, greatest = candidates[order[0]], float(values[order[0]])
    kept = [LinearConstraint(region.A, -np.inf, region.b)] if len(region.A) else []
    for i in starts:
        end = minimize(
            downhill,
            candidates[i],
            method="SLSQP" if kept else "L-BFGS-B",
            jac=True,
            bounds=Bounds(*region.bounds_at(candidates[i])),
            constraints=kept,
            options={"maxiter": STEPS, "ftol": FLAT},
        )
        if -end.fun > greatest:
            inside = region.project(end.x)
            value = float(function(inside[None])[0])
            if value > greatest:
                best, greatest = inside, value
    return best
