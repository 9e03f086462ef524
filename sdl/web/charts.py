"""The charts of a live run, and the sparklines of a list of runs, as coordinates; the templates write them as SVG.

Reports use matplotlib, which is too slow for a page that is redrawn four times a second.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sdl import formatting
from sdl.report.style import channel_colours, wavelength

if TYPE_CHECKING:
    from sdl.core.goal import Goal

WIDE, HIGH = 360.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 42.0, 352.0, 10.0, 156.0
STORY_LEFT, STORY_RIGHT = 56.0, 552.0
"""Of the charts above each other, which are as wide as the page: `objective` here and `sdl.web.story`."""
MOST_POINTS = 240
SPARK_WIDE, SPARK_HIGH, EDGE = 96.0, 24.0, 2.0
LEAST, LEAST_TOP = 0.1, 3.0
"""In a sparkline smaller ratios are drawn as the first; its axis reaches at least to the second."""


def error(ratios: Sequence[tuple[int, float]]) -> dict[str, Any] | None:
    """Tolerance ratio by trial on a logarithmic scale, with the band in which every channel is within tolerance.

    Args:
        ratios: (trial, tolerance ratio) in order; infinite ones are left out.

    Returns:
        Points, the line of the best so far, the band, ticks; None without a finite ratio.
    """
    judged = [(trial, ratio) for trial, ratio in ratios if math.isfinite(ratio)]
    if not judged:
        return None
    logs = [math.log10(max(ratio, 0.01)) for _, ratio in judged]
    low, high = min(-0.5, *logs) - 0.1, max(0.5, *logs) + 0.1
    first, last = judged[0][0], max(judged[-1][0], judged[0][0] + 1)

    def x(trial: float) -> float:
        return round(LEFT + 6 + (trial - first) / (last - first) * (RIGHT - LEFT - 12), 1)

    def y(log: float) -> float:
        return round(BOTTOM - (log - low) / (high - low) * (BOTTOM - TOP), 1)

    best, line = math.inf, []
    for (trial, _), log in zip(judged, logs, strict=True):
        if log < best:
            line += [(x(trial), y(level)) for level in (best, log) if math.isfinite(level)]
            best = log
    line.append((x(last if len(judged) > 1 else first), y(best)))
    decades = range(math.ceil(low), math.floor(high) + 1)
    return {
        "points": [(x(judged[i][0]), y(logs[i]), judged[i][1] <= 1) for i in _drawn_points(logs)],
        "line": " ".join(f"{a},{b}" for a, b in line),
        "band": (y(0.0), round(BOTTOM - y(0.0), 1)),
        "rows": [(y(n), f"{10.0**n:g}") for n in decades],
        "columns": [(x(trial), str(trial)) for trial in _whole_numbers(first, judged[-1][0])],
        "summary": f"{formatting.count(len(judged), 'trial')}, "
        f"best {formatting.tolerance_ratio(min(ratio for _, ratio in judged))}",
    }


class ObjectivePoint(NamedTuple):
    """A finished trial of a campaign with an objective: its mean reading, and whether it kept the constraints."""

    trial: int
    value: float
    kept: bool


def objective(
    name: str, unit: str, trials: Sequence[ObjectivePoint], best: Sequence[tuple[int, float]]
) -> dict[str, Any] | None:
    """The channel to maximise or minimise by trial, and the best so far by the model.

    Args:
        name: of the channel.
        unit: of the channel; empty without one.
        trials: finished ones, in order.
        best: (trial, reading that the model estimated at the best settings before it), in order.

    Returns:
        Points, the line of the best, ticks; None without a finite reading.
    """
    known = [point for point in trials if math.isfinite(point.value)]
    if not known:
        return None
    first, last = known[0].trial, max(known[-1].trial, known[0].trial + 1)
    estimates = [(trial, value) for trial, value in best if first <= trial <= last]
    values = [point.value for point in known]
    every = [*values, *(value for _, value in estimates)]
    margin = 0.06 * (max(every) - min(every)) or max(1e-3 * abs(every[0]), 1e-9)
    low, high = min(every) - margin, max(every) + margin

    def x(trial: float) -> float:
        return round(STORY_LEFT + 20 + (trial - first) / (last - first) * (STORY_RIGHT - STORY_LEFT - 40), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP), 1)

    drawn = _drawn_points([value for _, value in estimates])
    line = [(x(estimates[i][0]), y(estimates[i][1])) for i in drawn]
    steps = [line[0], *(corner for a, b in itertools.pairwise(line) for corner in ((b[0], a[1]), b))] if line else []
    latest = known[-1]
    return {
        "name": name,
        "unit": unit,
        "points": [(x(known[i].trial), y(known[i].value), known[i].kept) for i in _drawn_points(values)],
        "line": " ".join(f"{a},{b}" for a, b in steps),
        "rows": [(y(tick), f"{tick:g}" if abs(tick) < 1e5 else f"{tick:.3g}") for tick in _ticks(low, high)],
        "columns": [(x(trial), str(trial)) for trial in _whole_numbers(first, known[-1].trial)],
        "summary": f"trial {latest.trial}: {formatting.reading(latest.value, None)}"
        + (f"; best so far by the model {formatting.reading(estimates[-1][1], None)}" if estimates else ""),
    }


def spectrum(names: Sequence[str], goal: Goal | None, readings: Mapping[str, float]) -> dict[str, Any] | None:
    """The reading of each channel as a bar, with the accepted range of the goal.

    Args:
        names: channels, in order.
        goal: None where readings are only collected.
        readings: mean raw readings; channels may be missing.
    """
    bands = goal.bands if goal else {}
    values = {name: readings[name] for name in names if math.isfinite(readings.get(name, math.nan))}
    limits = [v for band in bands.values() for v in (band.low, band.high) if math.isfinite(v)]
    top = max([*values.values(), *limits, 1.0]) * 1.06
    step = (RIGHT - LEFT) / max(len(names), 1)
    colours = channel_colours(list(names))

    def y(value: float) -> float:
        return round(BOTTOM - min(max(value, 0.0), top) / top * (BOTTOM - TOP), 1)

    if not values and not bands:
        return None
    bars, every = [], -(-len(names) // 11)
    for n, name in enumerate(names):
        at, band, value = LEFT + n * step, bands.get(name), values.get(name)
        bar: dict[str, Any] = {
            "x": round(at + step * 0.18, 1), "wide": round(step * 0.64, 1), "middle": round(at + step / 2, 1),
            "colour": colours[name], "name": _label(name) if n % every == 0 else "", "top": None, "band": None,
        }  # fmt: skip
        if value is not None:
            bar |= {"top": y(value), "high": round(BOTTOM - y(value), 1)}
        if band is not None and band.direction is None:
            upper = y(band.high)
            bar["band"] = {
                "x": round(at + step * 0.04, 1), "wide": round(step * 0.92, 1), "top": upper,
                "high": max(round(y(band.low) - upper, 1), 2.0),
            }  # fmt: skip
        bars.append(bar)
    summary = ", ".join(f"{name} {formatting.reading(value, bands.get(name))}" for name, value in values.items())
    return {
        "bars": bars,
        "rows": [(y(tick), f"{tick:g}" if tick < 1e5 else f"{tick:.0e}") for tick in _ticks(0.0, top)],
        "summary": summary or "none",
    }


def spark(values: Sequence[float], objective: str = "") -> dict[str, Any] | None:
    """The sparkline of a run: line, last point and, on a logarithmic scale, the band; None without a value.

    Args:
        values: finite, by trial: tolerance ratios, or with an objective its readings.
        objective: the channel to maximise or minimise.
    """
    if not values:
        return None
    scaled = list(values) if objective else [math.log10(max(ratio, LEAST)) for ratio in values]
    low, high = (min(scaled), max(scaled)) if objective else (-1.0, max(math.log10(LEAST_TOP), *scaled))
    step = (SPARK_WIDE - 2 * EDGE) / max(len(scaled) - 1, 1)

    def y(value: float) -> float:
        return round(SPARK_HIGH - EDGE - (value - low) / ((high - low) or 1.0) * (SPARK_HIGH - 2 * EDGE), 1)

    points = [(round(EDGE + n * step, 1), y(value)) for n, value in enumerate(scaled)]
    deviation = f"Worst deviation by trial: first {formatting.ratio(values[0])}, smallest "
    return {
        "line": " ".join(f"{a},{b}" for a, b in points),
        "band": None if objective else (y(0.0), round(SPARK_HIGH - y(0.0), 1)),
        "last": points[-1],
        "inside": not objective and values[-1] <= 1,
        "text": f"{objective} by trial: {min(values):g} to {max(values):g}"
        if objective
        else deviation + formatting.tolerance_ratio(min(values)),
    }


def _drawn_points(values: Sequence[float]) -> list[int]:
    """Indices of the values to draw: all, or of many the smallest and largest of each stretch."""
    if len(values) <= MOST_POINTS:
        return list(range(len(values)))
    ends = [len(values) * n // (MOST_POINTS // 2) for n in range(MOST_POINTS // 2 + 1)]
    stretches = (range(a, b) for a, b in itertools.pairwise(ends))
    return sorted({choose(part, key=values.__getitem__) for part in stretches for choose in (min, max)})


def _label(name: str) -> str:
    """A short label below a bar: 515 for `515nm`."""
    wave = wavelength(name)
    return f"{wave:g}" if wave is not None else name if len(name) <= 7 else name[:6] + "…"


def _whole_numbers(first: int, last: int) -> list[int]:
    """At most six whole numbers, evenly, from the first to the last."""
    step = next(m * 10**n for n in itertools.count() for m in (1, 2, 5) if last - first <= 5 * m * 10**n)
    return list(range(first, last + 1, step))


def _ticks(low: float, high: float) -> list[float]:
    """At most six round numbers from `low` to `high`."""
    power = 10.0 ** math.floor(math.log10(high - low))
    step = next(power * part for part in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if (high - low) / (power * part) <= 5)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
