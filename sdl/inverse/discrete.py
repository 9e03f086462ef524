"""Inputs with steps: the combination of steps near some settings with the best predicted readings.

Rounding every input to its own nearest step can move all channels the same way. Near the settings there are few
combinations (four steps per input, two where that would be too many). Each is predicted, inputs without steps
compensate for what they can, and the best is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sdl.solvers.base import Targets
from sdl.space import Space

if TYPE_CHECKING:
    from sdl.arrays import Floats

    Predict = Callable[[Floats], tuple[Floats, Floats]]

MAX_COMBINATIONS = 4096
"""Combinations that are compared by a linear estimate."""
MAX_PREDICTED = 64
"""The best of them that the model predicts."""


@dataclass(frozen=True)
class Stepped:
    """The best combination of steps.

    Attributes:
        settings: (d,) on the steps.
        hits, hits_between: whether every channel is predicted inside its band; and whether it would be without steps.
        readings: (2, m) predicted there and at the second best.
    """

    settings: Floats
    hits: bool
    hits_between: bool
    readings: Floats


def tolerance_ratios(targets: Targets, Y: Floats) -> Floats:
    """(n,) tolerance ratio of the worst channel for readings (n, m) and one goal (each part (m,)).

    By the rule of `sdl.core.goal.Band.miss`; limits are counted in `units`.
    """
    value, low, high = targets
    aimed = np.isfinite(value)
    with np.errstate(invalid="ignore", divide="ignore"):
        tolerance = np.where(value > Y, value - low, high - value)
        from_target = np.abs(Y - value) / tolerance
        beyond = np.maximum(np.maximum(low - Y, Y - high), 0.0)
        outside = np.where(beyond > 0, 1.0 + beyond / units(targets), 0.0)
    ratios: Floats = np.where(aimed, from_target, outside)
    used = aimed | np.isfinite(low) | np.isfinite(high)
    return np.asarray(np.where(np.isnan(ratios), np.inf, ratios)[:, used].max(axis=1), dtype=np.float64)


def units(targets: Targets) -> Floats:
    """(m,) unit of the distance beyond a limit: half the band; of a one-sided limit a hundredth, at least 1."""
    half = (targets.high - targets.low) / 2
    hundredth = 0.01 * np.fmin(np.abs(targets.low), np.abs(targets.high))
    return np.asarray(np.where(np.isfinite(half), half, np.fmax(hundredth, 1.0)), dtype=np.float64)


def on_steps(predict: Predict, settings: Sequence[float], space: Space, targets: Targets) -> Stepped | None:
    """Find the best settings on the steps near some settings.

    Args:
        predict: settings (n, d) to the readings' mean and standard deviation, each (n, m).
        settings: (d,) inside the bounds.
        space: their bounds and steps.
        targets: one goal, each part (m,).

    Returns:
        None where no input has a step, or where there are too many combinations to compare.
    """
    x = np.asarray(settings, float)
    grids = space.steps_near(x)
    if math.prod(map(len, grids)) > MAX_COMBINATIONS:
        grids = space.steps_near(x, reach=1)
    stepped = np.array([item.step is not None for item in space.inputs])
    if not stepped.any() or math.prod(map(len, grids)) > MAX_COMBINATIONS:
        return None
    low, high, scale = space.low, space.high, space.width
    here = predict(x[None])[0][0]
    slope = np.column_stack([_slope(predict, x, j, low, high) for j in range(len(x))])  # (m, d)
    moves = np.array(list(product(*grids))) - x
    if (~stepped).any():  # the others take back what they can
        use = np.isfinite(targets.value) & np.isfinite(here)
        half = np.minimum(targets.high - targets.value, targets.value - targets.low)[use]
        K = slope[use] / half[:, None]
        off = (here[use] - targets.value[use]) / half + moves[:, stepped] @ K[:, stepped].T
        free = ~stepped
        back = -off @ np.linalg.pinv(K[:, free] * scale[free], rcond=1e-6).T * scale[free]
        moves[:, free] = np.clip(back, (low - x)[free], (high - x)[free])
    rough = tolerance_ratios(targets, here + moves @ slope.T)
    best = np.argsort(rough, kind="stable")[:MAX_PREDICTED]
    candidates = x + moves[best]
    readings = predict(candidates)[0]
    order = np.argsort(exact := tolerance_ratios(targets, readings), kind="stable")
    second = order[1] if len(order) > 1 else order[0]
    between = float(tolerance_ratios(targets, here[None])[0]) <= 1
    return Stepped(candidates[order[0]], bool(exact[order[0]] <= 1), between, readings[[order[0], second]])


def _slope(predict: Predict, x: Floats, j: int, low: Floats, high: Floats) -> Floats:
    """(m,) change of the readings with input j."""
    ends = np.array([x, x])
    width = 1e-3 * (high[j] - low[j])
    ends[:, j] = max(x[j] - width, low[j]), min(x[j] + width, high[j])
    first, second = predict(ends)[0]
    slope: Floats = (second - first) / (ends[1, j] - ends[0, j])
    return slope
