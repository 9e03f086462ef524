"""The choice of the adaptive design: the candidate whose settings a solver would propose with most uncertainty."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from sdl import registry
from sdl.arrays import Bools, Floats
from sdl.errors import Degenerate, NotEnoughData
from sdl.solvers.base import Data, Targets, ask
from sdl.space import Space

CANDIDATES = 64
# A channel saturated or missing in a larger fraction of the rows is left out, unless it is configured.
CLIPPED = 0.1
# Tolerance of the goals, relative to the reading: solvers need one; the result hardly depends on it.
BAND = 0.01


def choose(
    data: Data,
    solver: str,
    channels: tuple[str, ...],
    between: tuple[float, float],
    rng: np.random.Generator,
    axis: tuple[Floats, str] | None,
) -> tuple[Floats, str]:
    """Settings (d,) with the largest product of the solver's uncertainty and the distance to all rows, and why.

    Args:
        data: rows so far.
        solver: kind of the solver, with its default options.
        channels: channels of the goals; if empty, those of `data.goal` or, if that names all channels, those that are
            rarely saturated.
        between: bounds of the candidates, as fractions of each input's range.
        rng: draws the candidates.
        axis: returned where the solver cannot fit these rows; None: the candidate farthest from all rows.
    """
    space, (low, high) = data.space, between
    if space.is_box:
        unit = low + qmc.Sobol(len(data.inputs), rng=rng).random(CANDIDATES) * (high - low)
    else:
        unit = (space.sample(CANDIDATES, rng) - space.low) / space.width
    distance = cdist(unit, (data.X - space.low) / space.width).min(axis=1) if len(data.X) else np.ones(CANDIDATES)
    candidates = space.low + unit * space.width
    farthest = candidates[int(distance.argmax())]
    try:
        uncertainty = _uncertainty(replace(data, goal=_goal(data, channels)), solver, candidates, space, rng)
    except (NotEnoughData, Degenerate) as error:
        return axis or (farthest, f"{solver} cannot propose yet ({error}); the farthest point")
    if not np.isfinite(uncertainty).any():
        return farthest, f"{solver} gives no uncertainty; the farthest point"
    uncertainty = np.where(np.isfinite(uncertainty), uncertainty, 0.0)
    best = int((uncertainty * distance).argmax())
    why = f"{solver} would propose these settings with an uncertainty of {uncertainty[best]:.2%} of the range"
    return candidates[best], f"{why}, the median candidate with {np.median(uncertainty):.2%}"


def _goal(data: Data, channels: tuple[str, ...]) -> Bools:
    """(m,) channels of the goals."""
    if channels:
        return np.isin([channel.name for channel in data.channels], channels)
    if not data.goal.all():
        return data.goal
    clipped = (data.saturated | ~np.isfinite(data.Y)).sum(axis=0)
    return np.asarray(clipped <= CLIPPED * len(data.Y), dtype=np.bool_)


def _uncertainty(data: Data, solver: str, candidates: Floats, space: Space, rng: np.random.Generator) -> Floats:
    """(k,) uncertainty of the settings that the solver proposes for each candidate's readings, in ranges."""
    fitted = registry.find("solvers", solver)().fit(data)
    forward: Any = fitted if hasattr(fitted, "predict") else registry.find("solvers", "gp")().fit(data)
    value = np.where(data.goal, forward.predict(candidates)[0], np.nan)
    half = np.where(data.goal, BAND * np.abs(value) + 1e-9, np.inf)
    targets = Targets(value, np.where(data.goal, value - half, -np.inf), np.where(data.goal, value + half, np.inf))
    return np.asarray(np.linalg.norm(ask(fitted, targets, space, rng).uncertainty / space.width, axis=1))
