"""The story of a live run as coordinates of an SVG: the figure `story` of a report, redrawn at every reading."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sdl import formatting
from sdl.report.figures.story import LINEAR, WIDE, shown_channels, tick_label, ticks
from sdl.report.style import channel_colours
from sdl.web.charts import STORY_LEFT, STORY_RIGHT

if TYPE_CHECKING:
    from sdl.core.goal import Band, Goal
    from sdl.core.trials import Trial
    from sdl.runs.pooled import PooledMean

MOST_TRIALS = 60
"""Trials that are drawn: the latest; the chart of the error and the report have all of them."""

MOST_READINGS = 40
"""Readings of one trial that are drawn: of more, evenly spaced ones."""

LEFT, RIGHT, TOP, BOTTOM = STORY_LEFT, STORY_RIGHT, 18.0, 206.0
LINEAR_PART = 1.6 / 0.9  # of the axis up to LINEAR tolerances, in decades, as `symlog` with linscale 1.6 draws it

SHAPES = (
    "m-3,0a3,3 0 1 0 6,0a3,3 0 1 0-6,0",  # circle
    "m-2.7,-2.7h5.4v5.4h-5.4z",  # square
    "m0,-3.6l3.4,6h-6.8z",  # triangle
    "m0,-3.7l3.7,3.7l-3.7,3.7l-3.7,-3.7z",  # diamond
    "m0,3.6l3.4,-6h-6.8z",  # triangle, downwards
    "m-1.2,-3.4h2.4v2.2h2.2v2.4h-2.2v2.2h-2.4v-2.2h-2.2v-2.4h2.2z",  # plus
    "m-1.7,-3.4l1.7,1.7l1.7,-1.7l1.7,1.7l-1.7,1.7l1.7,1.7l-1.7,1.7l-1.7,-1.7l-1.7,1.7l-1.7,-1.7l1.7,-1.7l-1.7,-1.7z",
    "m-3.4,-3h6.8l-3.4,3l3.4,3h-6.8l3.4,-3z",  # hourglass
)
"""A marker for each channel in the order of `sdl.report.style.MARKERS`: a path from its centre, in pixels."""


class _Line(NamedTuple):
    """One channel: its band, colour, marker, and shift to the side in trials."""

    name: str
    band: Band
    colour: str
    marker: str
    shift: float


class _Axes(NamedTuple):
    """From trial and deviation to coordinates."""

    first: float
    last: float
    top: float

    def x(self, trial: float) -> float:
        return round(LEFT + (trial - self.first) / (self.last - self.first) * (RIGHT - LEFT), 1)

    def y(self, deviation: float) -> float:
        part = _scaled(max(min(deviation, self.top), -self.top)) / _scaled(self.top)
        return round((TOP + BOTTOM) / 2 - part * (BOTTOM - TOP) / 2, 1)


def story(trials: Sequence[Trial], goal: Goal | None, best: Trial | None, pooled: PooledMean | None) -> Any:
    """The deviations of the readings of the latest trials, in units of the tolerance.

    Args:
        trials: the latest, oldest first.
        goal: None where readings are only collected.
        best: the best trial, which decides what channels are drawn if there are many.
        pooled: the pooled mean, drawn at the right with its standard error; None or a single reading is not drawn.

    Returns:
        Paths and texts for the template; None without a target or limit, or without a reading.
    """
    names = shown_channels(goal, best)
    measured = [trial for trial in trials[-MOST_TRIALS:] if trial.taken]
    if goal is None or not names or not measured:
        return None
    colours, middle = channel_colours(names), (len(names) - 1) / 2
    lines = [
        _Line(name, goal.bands[name], colours[name], SHAPES[n], 0.05 * (n - middle)) for n, name in enumerate(names)
    ]
    first, last = float(measured[0].trial), float(measured[-1].trial)
    mean = pooled if pooled is not None and pooled.readings > 1 else None
    right = last + 0.9 + 0.06 * (last - first)
    end = right + 0.4 + 0.05 * (last - first) if mean is not None else last + WIDE + 0.1
    values = [[_deviations(trial, line) for trial in measured] for line in lines]
    largest = max((abs(v) for rows in values for row in rows for v in row if math.isfinite(v)), default=0.0)
    marks = ticks(top := max(largest * 1.25, 2.2))
    axes = _Axes(first - 0.6, end, top)
    return {
        "band": (axes.y(1.0), round(axes.y(-1.0) - axes.y(1.0), 1)),
        "rows": [(axes.y(mark), tick_label(mark)) for mark in marks],
        "columns": [(axes.x(trial + WIDE / 3), str(trial)) for trial in _labelled(measured)],
        "lines": [
            {
                "name": line.name,
                "colour": line.colour,
                "key": f"M6,6{line.marker}",
                "dots": _dots(axes, measured, line, rows),
                "joined": _joined(axes, measured, line, rows),
                "expected": _expected(axes, measured, line),
                "mean": _mean(axes, mean, line, right + (0.05 + 0.014 * (last - first)) * (n - middle)),
            }
            for n, (line, rows) in enumerate(zip(lines, values, strict=True))
        ],
        "solver": next((axes.x(t.trial - 0.35) for t in measured if t.by_solver and t is not measured[0]), None)
        if not measured[0].by_solver
        else None,
        "mean": axes.x(right) if mean is not None else None,
        "trials": [(axes.x(t.trial - 0.35), _hint(t, lines)) for t in measured],
        "wide": round(axes.x(1.0) - axes.x(0.0), 1),
        "summary": _hint(measured[-1], lines),
        "left_out": measured[0].trial,
    }


def _scaled(value: float) -> float:
    """Linear up to `LINEAR`, logarithmic beyond."""
    size = abs(value)
    part = LINEAR_PART * size / LINEAR if size <= LINEAR else LINEAR_PART + math.log10(size / LINEAR)
    return math.copysign(part, value)


def _deviations(trial: Trial, line: _Line) -> list[float]:
    """The deviations of the readings of a trial that count."""
    step = max(-(-trial.taken // MOST_READINGS), 1)
    taken = [trial.reading(repeat) for repeat in range(0, trial.taken, step)]
    readings: list[Mapping[str, float]] = [one.readings for one in taken if one is not None]
    return [line.band.deviation(values[line.name]) for values in readings if line.name in values]


def _places(axes: _Axes, trial: Trial, line: _Line, row: Sequence[float]) -> list[tuple[float, float]]:
    """Where the readings of one trial are drawn: side by side."""
    wide = max(len(row) - 1, 3)
    spots = ((axes.x(trial.trial + line.shift + WIDE * k / wide), value) for k, value in enumerate(row))
    return [(x, axes.y(value)) for x, value in spots if math.isfinite(value)]


def _dots(axes: _Axes, trials: Sequence[Trial], line: _Line, rows: Sequence[Sequence[float]]) -> str:
    pairs = zip(trials, rows, strict=True)
    return "".join(f"M{x},{y}{line.marker}" for trial, row in pairs for x, y in _places(axes, trial, line, row))


def _joined(axes: _Axes, trials: Sequence[Trial], line: _Line, rows: Sequence[Sequence[float]]) -> str:
    """The readings of a trial joined by a line."""
    paths = (_places(axes, trial, line, row) for trial, row in zip(trials, rows, strict=True))
    return "".join("M" + "L".join(f"{x},{y}" for x, y in path) for path in paths if len(path) > 1)


def _expected(axes: _Axes, trials: Sequence[Trial], line: _Line) -> str:
    """What the solver expected, with its standard deviation, as a bar with a stroke in its middle."""
    path = ""
    for trial in trials:
        value, error = trial.proposed.expected.get(line.name), trial.proposed.expected_error.get(line.name) or 0.0
        if value is None or not math.isfinite(value):
            continue
        x = axes.x(trial.trial + line.shift - 0.14)
        low, middle, high = (axes.y(line.band.deviation(value + k * error)) for k in (-1, 0, 1))
        path += f"M{x},{low}V{high}M{round(x - 3, 1)},{middle}h6"
    return path


def _mean(axes: _Axes, pooled: PooledMean | None, line: _Line, trial: float) -> dict[str, str] | None:
    """The pooled mean with its standard error."""
    if pooled is None or not math.isfinite(value := pooled.mean.get(line.name, math.nan)):
        return None
    error, x = pooled.std_error[line.name], axes.x(trial)
    low, middle, high = (axes.y(line.band.deviation(value + k * error)) for k in (-1, 0, 1))
    ends = f"M{round(x - 3, 1)},{low}h6M{round(x - 3, 1)},{high}h6M{x},{low}V{high}"
    return {"bar": ends, "dot": f"M{x},{middle}{line.marker}"}


def _labelled(trials: Sequence[Trial]) -> list[int]:
    """At most eight trials, evenly spaced, that get a label."""
    numbers = [trial.trial for trial in trials]
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100) if len(numbers) <= 8 * n or n == 100)
    return [number for number in numbers if number % step == 0]


def _hint(trial: Trial, lines: Sequence[_Line]) -> str:
    """`trial 7 (gp), 3 readings; 445nm +0.31, 515nm −1.2 × tolerance`."""
    mean = trial.mean
    deviations = ((line.name, line.band.deviation(mean.get(line.name, math.nan))) for line in lines)
    parts = [f"{name} {_signed(value)}" for name, value in deviations if math.isfinite(value)]
    text = f"trial {trial.trial} ({trial.proposed.by}), {formatting.count(trial.readings, 'reading')}"
    return f"{text}; {', '.join(parts)} × tolerance" if parts else text


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{formatting.ratio(abs(value))}"
