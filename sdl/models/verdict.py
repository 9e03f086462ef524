"""What is to be said of a goal: the verdict, in the same words whoever answers.

In this order: unreachable (`sdl.models.reachability`), outside the data, below the noise, reachable.
`sdl.inverse.propose` adds what
only it can know: saturated, and between two steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtri, ndtr

from sdl.arrays import Floats
from sdl.models.data import Targets
from sdl.types import Verdict

if TYPE_CHECKING:
    from sdl.models.training_set import TrainingSet


MARGIN = 0.1
"""How far from the settings seen, as a part of the range, an answer still counts as among them."""
PERHAPS = 0.1
"""A goal that is missed by less than this part of `Footing.room` is not worth a word."""
PASS = 0.95
"""How often readings at perfect settings must hit."""
MOST = 1_000_000
"""Readings that nobody averages."""


def assess_goal(
    footing: TrainingSet, target: Targets, low: Floats, high: Floats, u: Floats
) -> tuple[Verdict, str, Floats | None]:
    """What is to be said of one goal (each part (m,)), its answer being u (d,).

    Returns:
        The verdict, a few words, and where no settings inside low…high can hit it the nearest readings (m,).
    """
    nearest, missed, sure = _nearest_readings(footing, target, low, high)
    if sure:
        return Verdict.UNREACHABLE, "out of reach", nearest
    inside = np.clip(u, low, high)
    beyond = np.maximum(footing.U.min(axis=0) - inside, inside - footing.U.max(axis=0))
    if (beyond > MARGIN + 1e-9).any():
        return Verdict.OUTSIDE, f"{beyond.max():.0%} of the range away from the settings seen so far", None
    if missed > 0:
        # Of the fit alone: what else is known of the instrument (`sdl.inverse.propose`) may settle it.
        said = f"the fit misses it by {missed:.2g} tolerances, no more than it may be wrong by"
        return Verdict.REACHABLE, said, None
    said = _below_noise(footing, target, inside)
    return (Verdict.BELOW_NOISE, said, None) if said else (Verdict.REACHABLE, "", None)


def _nearest_readings(footing: TrainingSet, target: Targets, low: Floats, high: Floats) -> tuple[Floats, float, bool]:
    """(m,) readings nearest to a goal, by how many tolerances they are outside, and whether that is sure."""
    c, ends = footing.goal, (low, high)
    best = footing.nearest(target, low, high)
    if footing.reach.bend is not None:
        best = footing.reach.search(target.low[c], target.high[c], footing.room(target)[c], ends, best)
    readings = footing.affine.mean(best[None])[0]
    readings[c] = footing.reach.mean(best[None])[0]
    miss = np.maximum(target.low - readings, readings - target.high)[c]
    sure = (miss > 0).any() and not footing.reach.possible(target.low[c], target.high[c], ends, best)
    room, half = footing.room(target)[c], ((target.high - target.low) / 2)[c]
    told = (miss > PERHAPS * room).any()
    tolerance = np.where(np.isfinite(target.value[c]) & np.isfinite(half) & (half > 0), half, room)
    return readings, float((miss / tolerance).max()) if told else 0.0, bool(sure)


def _below_noise(footing: TrainingSet, target: Targets, u: Floats) -> str:
    """How many readings to average where perfect settings would miss a goal too often; else nothing.

    Said only where it is so even with the least noise that the rows allow.
    """
    noise, freedom = footing.reach.noise(u)
    if not (np.isfinite(noise).all() and (freedom > 0).all() and (noise > 0).all()):
        return ""
    low, high = target.low[footing.goal], target.high[footing.goal]
    least, most = (limit[footing.goal] for limit in footing.inner(target))
    value = target.value[footing.goal]
    aim = np.where(np.isfinite(value), value, np.clip(footing.affine.mean(u[None])[0, footing.goal], least, most))

    def passes(readings: int, sd: Floats) -> float:
        parts = ndtr((high - aim) * readings**0.5 / sd) - ndtr((low - aim) * readings**0.5 / sd)
        return float(np.prod(parts))

    if passes(footing.average, noise * np.sqrt(freedom / chdtri(freedom, 0.05))) >= PASS:
        return ""
    many = 1
    while many < MOST and passes(many, noise) < PASS:
        many *= 2
    if many >= MOST:
        return "the tolerance is too narrow for any number of readings"
    few = many // 2  # too few; `many` are enough
    while many - few > 1:
        between = (few + many) // 2
        few, many = (few, between) if passes(between, noise) >= PASS else (between, many)
    if many <= footing.average:
        return ""
    of = "a single reading" if footing.average == 1 else f"the mean of {footing.average} readings"
    share = passes(footing.average, noise)
    return (
        f"At the best settings {of} would be within tolerance about {share:.0%} of the time; "
        f"average {many} readings per trial, or widen the tolerance"
    )
