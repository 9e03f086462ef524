"""Inputs with steps: the combination of steps, close to given settings, with the best predicted readings.

If every input is rounded to its own closest step, the rounding errors may add up in a channel. So all combinations
around the settings are compared (four steps per input, or two if there would be too many combinations). The readings of
each are predicted after inputs without steps have been adjusted, and the best combination is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from sdl.arrays import Floats
from sdl.models.constants import MOST_COMBINATIONS
from sdl.solvers.base import Targets
from sdl.space import Space

Predict = Callable[[Floats], tuple[Floats, Floats]]

MAX_PREDICTED = 64
"""Number of the best combinations of steps, by a linear estimate, that are compared by the model itself."""


@dataclass(frozen=True)
class Stepped:
    """The best combination of steps.

    Attributes:
        settings: (d,) settings on the steps.
        hits: whether every channel is predicted inside its band there.
        hits_between: whether it is at the settings before rounding.
        readings: (2, m) predicted there, and at the second best combination.
    """

    settings: Floats
    hits: bool
    hits_between: bool
    readings: Floats


def tolerance_ratios(targets: Targets, Y: Floats) -> Floats:
    """(n,) tolerance ratio of the worst channel for readings (n, m) and one goal (each part (m,)).

    The rule is that of `sdl.core.goal.Band.miss`; distances beyond a limit are divided by `units`.
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
    """(m,) unit of the distance beyond a limit: half the band, or 1 % of a one-sided limit but at least 1 count."""
    half = (targets.high - targets.low) / 2
    hundredth = 0.01 * np.fmin(np.abs(targets.low), np.abs(targets.high))
    return np.asarray(np.where(np.isfinite(half), half, np.fmax(hundredth, 1.0)), dtype=np.float64)


def on_steps(predict: Predict, settings: Sequence[float] | Floats, space: Space, targets: Targets) -> Stepped | None:
    """Find the best settings on the steps close to given settings.

    Args:
        predict: function from settings (n, d) to mean and standard deviation of the readings, each (n, m).
        settings: (d,) settings inside the bounds.
        space: bounds and steps of the settings.
        targets: one goal, each part (m,).

    Returns:
        None if no input has a step, if no combination keeps the constraints, or if there are too many to compare.
    """
    x = np.asarray(settings, float)
    grids = space.steps_near(x)
    if math.prod(map(len, grids)) > MOST_COMBINATIONS:
        grids = space.steps_near(x, reach=1)
    stepped = space.stepped
    if not stepped.any() or math.prod(map(len, grids)) > MOST_COMBINATIONS:
        return None
    low, high, scale = space.low, space.high, space.width
    here = predict(x[None])[0][0]
    slope = np.column_stack([_slope(predict, x, j, low, high) for j in range(len(x))])  # (m, d)
    slope[:, space.categorical] = 0.0  # the choices stay
    moves = np.array(list(product(*grids))) - x
    if (~stepped).any():  # inputs without steps compensate for the rounding
        use = np.isfinite(targets.value) & np.isfinite(here)
        half = np.minimum(targets.high - targets.value, targets.value - targets.low)[use]
        K = slope[use] / half[:, None]
        off = (here[use] - targets.value[use]) / half + moves[:, stepped] @ K[:, stepped].T
        free = ~stepped
        back = -off @ np.linalg.pinv(K[:, free] * scale[free], rcond=1e-6).T * scale[free]
        moves[:, free] = np.clip(back, (low - x)[free], (high - x)[free])
    if space.constraints:
        moves = moves[space.region.keeps(x + moves)]
        if not len(moves):
            return None
    rough = tolerance_ratios(targets, here + moves @ slope.T)
    best = np.argsort(rough, kind="stable")[:MAX_PREDICTED]
    candidates = x + moves[best]
    readings = predict(candidates)[0]
    order = np.argsort(exact := tolerance_ratios(targets, readings), kind="stable")
    second = order[1] if len(order) > 1 else order[0]
    between = float(tolerance_ratios(targets, here[None])[0]) <= 1
    return Stepped(candidates[order[0]], bool(exact[order[0]] <= 1), between, readings[[order[0], second]])


def _slope(predict: Predict, x: Floats, j: int, low: Floats, high: Floats) -> Floats:
    """(m,) derivative of the readings with respect to input j."""
    ends = np.array([x, x])
    width = 1e-3 * (high[j] - low[j])
    ends[:, j] = max(x[j] - width, low[j]), min(x[j] + width, high[j])
    first, second = predict(ends)[0]
    slope: Floats = (second - first) / (ends[1, j] - ends[0, j])
    return slope
