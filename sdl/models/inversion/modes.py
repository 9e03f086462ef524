"""The modes of a posterior density of settings: maxima, found from many starting points, where Markov chains start."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.stats import qmc

from sdl.arrays import Floats, Ints
from sdl.models.constants import DIFFERENCE, DISTINCT, NOMINAL
from sdl.models.inversion.forward_models import FittedModel
from sdl.space.region import Region

STARTS, ASCENTS, STEPS = 256, 24, 25
"""Number of points evaluated, number of them from which an ascent starts, and steps of an ascent."""
IGNORED = 12.0
"""Modes whose log-density lies this far below the maximum are ignored."""
MERGE_DEPTH = 3.0
"""Maxima belong to one mode if the log-density between them falls by less than this."""


class Modes(NamedTuple):
    """The t maxima of a density; maxima without a deep minimum between them belong to one mode, which is one solution.

    Attributes:
        maxima: (t, d) settings in units of the bounds.
        covariance: (t, d, d) covariance from the curvature at each maximum.
        of: (t,) number of the mode that each maximum belongs to, from 0.
    """

    maxima: Floats
    covariance: Floats
    of: Ints


class LogPosterior:
    """log p(x | goal), up to a constant, for settings (n, d) in units of the bounds; -inf outside a region."""

    def __init__(self, model: FittedModel, value: Floats, columns: Ints, region: Region) -> None:
        self.region, self.low, self.high, self.columns = region, region.low, region.high, columns
        self._model, self._goal = model, value[columns]
        self._nominal = NOMINAL * np.abs(model.training.linear.slope[columns]).sum(axis=1) + 1e-12

    def __call__(self, U: Floats) -> Floats:
        height = np.full(len(U), -np.inf)
        inside = ((self.low <= U) & (self.high >= U)).all(axis=1) & self.region.keeps(U)
        if inside.any():
            off, std = self.residuals(U[inside])
            height[inside] = -0.5 * (off**2).sum(axis=1) - np.log(std).sum(axis=1)
        return height

    def residuals(self, U: Floats) -> tuple[Floats, Floats]:
        """(n, c) distance of the goal from the readings at U (n, d) in standard deviations, and these, (n, c)."""
        mean, std = (part[:, self.columns] for part in self._model.predict(self._model.training.settings(U)))
        std = np.where(np.isfinite(std) & (std > 0), std, self._nominal)
        return (self._goal - mean) / std, std


def find_modes(density: LogPosterior, start: Floats, rng: np.random.Generator) -> Modes:
    """Find the modes of a density by damped Gauss-Newton steps, from the best of many starting points at once."""
    d = len(start)
    low, high = density.low, density.high
    region = density.region
    points = region.project(low + (high - low) * qmc.Sobol(d, rng=rng).random(STARTS))
    points = np.vstack([region.project(start), points[np.argsort(-density(points), kind="stable")][: ASCENTS - 1]])
    off, J = slopes(density, points)
    radius = np.full(len(points), 0.25)
    for _ in range(STEPS):
        step = (np.linalg.pinv(J, rcond=1e-6) @ off[..., None])[..., 0]
        step *= np.minimum(1.0, radius / np.maximum(np.abs(step).max(axis=1), 1e-12))[:, None]
        trial = region.project(points + step)
        new, steeper = slopes(density, trial)
        better = (new**2).sum(axis=1) < (off**2).sum(axis=1)
        points[better], off[better], J[better] = trial[better], new[better], steeper[better]
        radius = np.where(better, radius, radius / 4)
        if (np.abs(step).max(axis=1) < 1e-5).all():
            break
    height = density(points)
    ranked = np.argsort(-np.round(height, 6), kind="stable")  # ascents to one maximum tie but for rounding
    order = [i for i in ranked if height[i] >= height.max() - IGNORED]
    maxima: list[int] = []
    for i in order:
        if all(np.abs(points[i] - points[k]).max() > DISTINCT for k in maxima):
            maxima.append(i)
    wide = np.diag(12.0 / (high - low) ** 2)  # precision of the uniform prior, for directions that the goal leaves free
    covariance = np.linalg.inv(np.swapaxes(J[maxima], 1, 2) @ J[maxima] + wide)
    return Modes(
        points[maxima], np.asarray(covariance, dtype=np.float64), _joined(density, points[maxima], height[maxima])
    )


def _joined(density: LogPosterior, maxima: Floats, height: Floats) -> Ints:
    """(t,) number of the mode of each maximum (t, d): connected maxima share one."""
    t, d = maxima.shape
    if t == 1:
        return np.zeros(1, dtype=np.intp)
    one, other = np.triu_indices(t, 1)
    part = np.linspace(0.0, 1.0, 11)[1:-1, None]
    between = maxima[one][:, None] + part * (maxima[other] - maxima[one])[:, None]
    lowest = density(between.reshape(-1, d)).reshape(len(one), -1).min(axis=1)
    linked = np.zeros((t, t), bool)
    linked[one, other] = lowest > np.minimum(height[one], height[other]) - MERGE_DEPTH
    return np.asarray(connected_components(linked, directed=False)[1], dtype=np.intp)


def slopes(density: LogPosterior, U: Floats) -> tuple[Floats, Floats]:
    """(n, c) residuals in standard deviations, and (n, c, d) their derivatives with respect to settings U (n, d)."""
    n, d = U.shape
    step = DIFFERENCE * np.eye(d)
    around = np.concatenate([U[:, None], U[:, None] + step, U[:, None] - step], axis=1).reshape(-1, d)
    off, std = (part.reshape(n, 2 * d + 1, -1) for part in density.residuals(around))
    mean = -off * std  # predicted readings minus the goal
    J = (mean[:, 1 : d + 1] - mean[:, d + 1 :]) / (2 * DIFFERENCE) / std[:, :1]
    return off[:, 0], np.swapaxes(J, 1, 2)


def inside(u: Floats, low: Floats, high: Floats) -> Floats:
    """Reflect settings at the bounds."""
    folded = low + np.abs(u - low)
    return np.asarray(np.clip(high - np.abs(high - folded), low, high), dtype=np.float64)
