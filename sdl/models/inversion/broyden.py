"""Broyden's method: a matrix of slopes that every new reading corrects along the step that was taken (Broyden 1965).

    J += kappa (dy - J du) duᵀ / (duᵀ du)          kappa = |J du|² / (|J du|² + 2 sigma²), for each channel

dy is the difference of two noisy readings. A step that changes a reading by less than its noise says nothing about the
slope, and with kappa = 1, as in the original method, it may even reverse the sign of a slope. kappa is the gain of a
Kalman filter in which the uncertainty of the slopes is as large as the slopes.

The proposal is one step to the goal. It starts from a weighted mean of the rows, not from the latest row; rows that are
old, or so far from the goal that the slopes are unreliable, have less weight. Broyden, Math. Comp. 19 (1965) 577;
Nocedal and Wright, Numerical Optimization (2006), section 11.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear

from sdl.arrays import Floats
from sdl.models.constants import DISTINCT
from sdl.models.data import Data, Proposals, Targets
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space
from sdl.space.region import Region

NONLINEARITY = 0.1
"""Expected error of a step's predicted change of the reading, as a fraction of that change."""
MEMORY = 0.6
"""Factor on the weight of a row for every later row."""
LAST = 200
"""Number of latest rows that correct the slopes one by one; the rows before them are fitted together."""
DIM = 0.05
"""Lower bound of the noise of a reading: that of a reading at this fraction of the channel's response."""


def fit_broyden(data: Data, *, noise: float) -> FittedBroyden:
    """Fit the slopes to the oldest rows, as few as determine them, and correct them with each later row (LAST at most).

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    training = TrainingSet.from_data(data)
    U, Y = training.U, training.Y[:, training.goal]
    first = max(_first(U), len(U) - LAST)
    design = np.column_stack([np.ones(first), U[:first]])
    slope = np.asarray(np.linalg.lstsq(design, Y[:first], rcond=None)[0][1:].T, dtype=np.float64)
    sigma = noise * np.maximum(np.abs(Y), np.maximum(DIM * np.abs(slope).sum(axis=1), 1e-12))
    for i in range(first, len(U)):
        step = U[i] - U[i - 1]
        length = float(step @ step)
        if length < DISTINCT**2:
            continue
        ahead = slope @ step
        noise_var = sigma[i] ** 2 + sigma[i - 1] ** 2
        gain = np.ones(len(ahead)) if noise == 0 else ahead**2 / (ahead**2 + noise_var)
        slope = slope + np.outer(gain * (Y[i] - Y[i - 1] - ahead), step) / length
    return FittedBroyden(noise, training, slope, sigma)


@dataclass(frozen=True)
class FittedBroyden:
    """Slopes (g, d) of the goal's channels, and the noise (n, g) of each reading; settings in units of the bounds."""

    noise: float
    training: TrainingSet
    slope: Floats
    sigma: Floats

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        """Propose one step to each goal, inside the bounds. Spread and uncertainty are unknown (NaN)."""
        training, region = self.training, self.training.region(space)
        settings, expected = [], np.full((len(targets.value), len(training.channels)), np.nan)
        for i, parts in enumerate(zip(*targets, strict=True)):
            target = training.activate_limits(Targets(*parts), region)
            u = training.nearest(target, region)
            for _ in range(3):  # the weights of the rows depend on the proposed settings
                base, y = self._base(u)
                u = self._step(target, base, y, region)
            settings.append(u)
            expected[i, training.goal] = y + self.slope @ (u - base)
        unknown = np.full((len(settings), len(space.low)), np.nan)
        std_errors = (unknown, unknown.copy())
        return to_proposals(training, "secant step", np.array(settings), std_errors, targets, space, expected)

    def _base(self, u: Floats) -> tuple[Floats, Floats]:
        """Weighted mean settings (d,) and readings (g,) from which a step to settings close to u (d,) starts."""
        U, Y = self.training.U, self.training.Y[:, self.training.goal]
        if self.noise == 0:
            return U[-1], Y[-1]
        astray = NONLINEARITY * ((U - u) @ self.slope.T)
        weight = MEMORY ** np.arange(len(U))[::-1] / (1.0 + ((astray / self.sigma) ** 2).max(axis=1))
        weight /= weight.sum()
        return weight @ U, weight @ Y

    def _step(self, target: Targets, base: Floats, y: Floats, region: Region) -> Floats:
        """(d,) settings inside a region whose readings, by the slopes, come closest to the goal, in tolerances."""
        goal = self.training.goal
        use = np.isfinite(target.value[goal])
        if not use.any():
            return self.training.nearest(target, region)
        scale = self.training.tolerance_scale(target)[goal][use]
        gap = (target.value[goal] - y)[use] / scale
        low, high = region.low, region.high
        ends = (low - base - 1e-12, high - base + 1e-12)
        step = lsq_linear(self.slope[use] / scale[:, None], gap, ends, method="bvls").x
        return region.project(base + step)


def _first(U: Floats) -> int:
    """Number of oldest rows of U (n, d) that are needed to determine the slopes."""
    n = len(U)
    for k in range(U.shape[1] + 1, n):
        if np.linalg.svd(U[:k] - U[:k].mean(axis=0), compute_uv=False)[-1] > DISTINCT:
            return k
    return n
