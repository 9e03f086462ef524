"""Sparklines of runs as coordinates of a small SVG: tolerance ratios by trial, or the readings of an objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sdl import formatting

WIDE, HIGH, EDGE = 96.0, 24.0, 2.0
LEAST, LEAST_TOP = 0.1, 3.0  # log10(LEAST) is −1
"""Smaller ratios are drawn as this one; the axis reaches at least to the second."""


def spark(values: Sequence[float], objective: str = "") -> dict[str, Any] | None:
    """The line, the last point and, on a logarithmic scale, the band within tolerance; None without a value.

    Args:
        values: finite, by trial: tolerance ratios, or with an objective its readings.
        objective: the channel to maximise or minimise.
    """
    if not values:
        return None
    scaled = list(values) if objective else [math.log10(max(ratio, LEAST)) for ratio in values]
    low, high = (min(scaled), max(scaled)) if objective else (-1.0, max(math.log10(LEAST_TOP), *scaled))
    step = (WIDE - 2 * EDGE) / max(len(scaled) - 1, 1)

    def y(value: float) -> float:
        return round(HIGH - EDGE - (value - low) / ((high - low) or 1.0) * (HIGH - 2 * EDGE), 1)

    points = [(round(EDGE + n * step, 1), y(value)) for n, value in enumerate(scaled)]
    deviation = f"Worst deviation by trial: first {formatting.ratio(values[0])}, smallest "
    return {
        "line": " ".join(f"{a},{b}" for a, b in points),
        "band": None if objective else (y(0.0), round(HIGH - y(0.0), 1)),
        "last": points[-1],
        "inside": not objective and values[-1] <= 1,
        "text": f"{objective} by trial: {min(values):g} to {max(values):g}"
        if objective
        else deviation + formatting.tolerance_ratio(min(values)),
    }
