"""The verdict on a goal, the same whichever model proposes the settings.

Each check gives its own verdict or None; the first by the order of `sdl.types.Verdict` holds: unreachable, outside the
data, below the noise, reachable. `sdl.inverse.propose` adds the checks that need names and steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, ndtr

from sdl.arrays import Floats
from sdl.models.data import Proposals, Targets
from sdl.models.training_set import TrainingSet
from sdl.space import Space
from sdl.types import Verdict

MARGIN = 0.1
"""Settings that lie beyond the measured ones by no more than this fraction of the range count as among them."""
WORTH_TELLING = 0.1
"""Errors below this fraction of `TrainingSet.tolerance_scale` are not reported."""
PASS = 0.95
"""Fraction of readings at the best settings that must hit."""
MAX_READINGS = 1_000_000
"""More readings than this are never averaged."""


class Assessment(NamedTuple):
    """A verdict with its sentence; nearest: (m,) where unreachable, the nearest readings that can be had."""

    verdict: Verdict
    message: str = ""
    nearest: Floats | None = None


def assess_goal(training: TrainingSet, target: Targets, low: Floats, high: Floats, u: Floats) -> Assessment:
    """Assess one goal (each part (m,)) for the settings u (d,) inside low…high (d,), all in units."""
    nearest, missed, is_sure = _nearest_readings(training, target, low, high)
    if is_sure:
        return Assessment(Verdict.UNREACHABLE, "out of reach", nearest)
    inside = np.clip(u, low, high)
    beyond = np.maximum(training.U.min(axis=0) - inside, inside - training.U.max(axis=0))
    if (beyond > MARGIN + 1e-9).any():
        return Assessment(Verdict.OUTSIDE, f"{100 * beyond.max():.0f} % of the range beyond the measured settings")
    if missed > 0:
        # Of the fit alone: what else is known of the instrument (`sdl.inverse.propose`) may settle it.
        message = f"the model misses it by {missed:.2g} × tolerance, which is within its uncertainty"
        return Assessment(Verdict.REACHABLE, message)
    if message := _below_noise(training, target, inside):
        return Assessment(Verdict.BELOW_NOISE, message)
    return Assessment(Verdict.REACHABLE)


def to_proposals(
    training: TrainingSet,
    model: str,
    settings: Floats,
    std_errors: tuple[Floats, Floats],
    targets: Targets,
    space: Space,
    expected: Floats | None = None,
    notes: Sequence[str] = (),
    *,
    prefers: bool = False,
) -> Proposals:
    """Move a model's k settings to the preferred ones, and add verdict and sentence.

    Args:
        training: the rows that the goals are judged by.
        model: what made them, for the sentence.
        settings: (k, d) in units.
        std_errors: spread and uncertainty, each (k, d) in units.
        targets: each (k, m).
        space: of the settings.
        expected: (k, m) readings at the settings; those of the linear model where NaN or not given.
        notes: one for each goal, added to its sentence.
        prefers: the model has chosen the preferred settings itself; else they are found by the linear model.
    """
    low, high = training.bounds(space)
    goals = [Targets(*(part[i] for part in targets)) for i in range(len(settings))]
    if training.prefer is not None and not prefers:
        moved = np.array([training.preferred(u, goal, low, high) for u, goal in zip(settings, goals, strict=True)])
        if expected is not None:  # the linear model says what the move changes, which is nothing of a target
            expected = expected + training.linear.mean(moved) - training.linear.mean(settings)
        settings = moved
    linear = training.linear.mean(settings)
    nearest = np.full(linear.shape, np.nan)
    verdicts, why = [], []
    for i, (u, goal) in enumerate(zip(settings, goals, strict=True)):
        verdict, message, readings = assess_goal(training, goal, low, high, u)
        if readings is not None:
            nearest[i] = readings
        preference = ""
        if training.prefer is not None:
            free = training.is_underdetermined(goal)
            preference = "the preferred among the settings that hit" if free else "the goal leaves no choice to prefer"
        verdicts.append(verdict)
        sentences = [f"{model}, {training.summary}", *notes[i : i + 1], preference, message]
        why.append("; ".join(filter(None, sentences)))
    return Proposals(
        settings=training.settings(settings),
        spread=std_errors[0] * training.range,
        uncertainty=std_errors[1] * training.range,
        expected=linear if expected is None else np.where(np.isfinite(expected), expected, linear),
        verdict=tuple(verdicts),
        why=tuple(why),
        nearest=nearest,
    )


def _nearest_readings(training: TrainingSet, target: Targets, low: Floats, high: Floats) -> tuple[Floats, float, bool]:
    """(m,) readings nearest to a goal, their tolerance ratio beyond its edge, and whether it is surely unreachable."""
    c, ends = training.goal, (low, high)
    best = training.nearest(target, low, high)
    if training.reachability.surface is not None:
        scale = training.tolerance_scale(target)[c]
        best = training.reachability.search(target.low[c], target.high[c], scale, ends, best)
    readings = training.linear.mean(best[None])[0]
    readings[c] = training.reachability.mean(best[None])[0]
    outside = np.maximum(target.low - readings, readings - target.high)[c]
    is_sure = (outside > 0).any() and not training.reachability.is_reachable(target.low[c], target.high[c], ends, best)
    scale, half = training.tolerance_scale(target)[c], ((target.high - target.low) / 2)[c]
    tolerance = np.where(np.isfinite(target.value[c]) & np.isfinite(half) & (half > 0), half, scale)
    is_worth_telling = (outside > WORTH_TELLING * scale).any()
    return readings, float((outside / tolerance).max()) if is_worth_telling else 0.0, bool(is_sure)


def _below_noise(training: TrainingSet, target: Targets, u: Floats) -> str:
    """How many readings to average where the best settings would miss a goal too often; else nothing.

    Reported only where it is so even with the least noise that the rows allow.
    """
    noise, dof = training.reachability.noise(u)
    if not (np.isfinite(noise).all() and (dof > 0).all() and (noise > 0).all()):
        return ""
    low, high = target.low[training.goal], target.high[training.goal]
    guarded_low, guarded_high = (limit[training.goal] for limit in training.guarded_limits(target))
    value = target.value[training.goal]
    linear = training.linear.mean(u[None])[0, training.goal]
    aim = np.where(np.isfinite(value), value, np.clip(linear, guarded_low, guarded_high))

    def hit_rate(readings: int, sd: Floats) -> float:
        parts = ndtr((high - aim) * readings**0.5 / sd) - ndtr((low - aim) * readings**0.5 / sd)
        return float(np.prod(parts))

    if hit_rate(training.average, noise * np.sqrt(dof / chdtri(dof, 0.05))) >= PASS:
        return ""
    enough = 1
    while enough < MAX_READINGS and hit_rate(enough, noise) < PASS:
        enough *= 2
    if enough >= MAX_READINGS:
        return "no number of readings is enough for this tolerance"
    too_few = enough // 2
    while enough - too_few > 1:
        between = (too_few + enough) // 2
        too_few, enough = (too_few, between) if hit_rate(between, noise) >= PASS else (between, enough)
    if enough <= training.average:
        return ""
    of = "a single reading" if training.average == 1 else f"the mean of {training.average} readings"
    share = f"{100 * hit_rate(training.average, noise):.0f} % of the time"
    return (
        f"at the best settings {of} would be within tolerance about {share}; average {enough} readings per trial, "
        "or widen the tolerance"
    )
