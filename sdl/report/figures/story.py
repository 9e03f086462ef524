"""The story of a campaign: the signed deviation of every reading from the goal, in units of the tolerance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from sdl.core.goal import Band, Goal
from sdl.core.trials import Trial
from sdl.report import style
from sdl.report.figures.trials import draw_objective, has_objective, objective
from sdl.report.style import BAND, FAINT, INK, LINE, PAPER, RASTER
from sdl.report.table import TrialTable
from sdl.runs.pooled import PooledMean, pooled_mean

LINEAR = 2.0
"""Deviations up to this many tolerances are on a linear axis, larger ones on a logarithmic one."""

LEAST = 1.6
"""Deviation that the axis shows at least to either side, in tolerances."""

MOST_CHANNELS = 8
"""Channels that are drawn; of more the worst of the best trial."""

WIDE = 0.62  # part of the distance between two trials that the readings of one trial take


def story(table: TrialTable) -> Figure | None:
    """Every reading of each channel of the goal by trial, below an objective; None without a goal or a reading."""
    goal = table.goal
    names = shown_channels(goal, table.best)
    measured = [trial for trial in table.trials if trial.taken]
    if goal is None or not measured or (not names and not has_objective(table)):
        return None
    if not names:
        return objective(table)
    if has_objective(table):
        figure = style.canvas(2, height=5.4, sharex=True)
        above, axes = figure.axes
        draw_objective(above, table)
    else:
        figure = style.canvas(height=3.6)
        (axes,) = figure.axes
    axes.axhspan(-1, 1, color=BAND, lw=0, zorder=0)
    axes.axhline(0, color=FAINT, lw=0.6, zorder=0.5)
    pooled = pooled_mean(table.run.campaign.history, table.run.opened.instrument["inputs"])
    shown = pooled if pooled is not None and pooled.readings > 1 else None
    first, last = float(measured[0].trial), float(measured[-1].trial)
    right, width = last + 0.9 + 0.06 * (last - first), last - first
    colours, many = style.channel_colours(names), sum(trial.taken for trial in measured) > RASTER
    seen: list[float] = []
    every: list[_Series] = []
    for n, name in enumerate(names):
        place = n - (len(names) - 1) / 2  # channels lie side by side, so that they do not hide each other
        series = _Series(goal.bands[name], name, colours[name], style.MARKERS[n], 0.0 if many else 0.05 * place)
        every.append(series)
        seen += _readings(axes, measured, series, many)
        if shown is not None:
            _estimate(axes, shown, series, right + (0.05 + 0.014 * width) * place)
    seen = [value for value in seen if math.isfinite(value)]
    deviation_axis(axes, min(seen, default=0.0), max(seen, default=0.0))
    for series in () if many else every:
        _expected(axes, measured, series)
    end = right + 0.4 + 0.05 * width if shown is not None else last + WIDE + 0.1
    axes.set(xlabel="trial", ylabel="reading − goal (tolerances)", xlim=(first - 0.6, end))
    style.whole_numbers(axes)
    _headings(axes, measured, right if shown is not None else None)
    looks = zip(names, style.MARKERS, strict=False)
    handles: list[Any] = [
        Line2D([], [], ls="", marker=m, color=colours[name], label=style.plain(name)) for name, m in looks
    ]
    if has_objective(table):
        for handle, name in zip(handles, names, strict=True):
            handle.set_label(f"below: {style.plain(name)}, {goal.bands[name]}")
        handles = [*figure.axes[0].get_legend_handles_labels()[0], *handles]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
    else:
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4))
    return figure


def shown_channels(goal: Goal | None, best: Trial | None) -> list[str]:
    """The channels with a target or limit; if there are many, those that are worst in the best trial."""
    names = [] if goal is None else [name for name, band in goal.bands.items() if band.direction is None]
    if goal is not None and len(names) > MOST_CHANNELS and best is not None:
        worst = sorted(names, key=lambda name: -goal.bands[name].miss(best.mean.get(name, math.nan)))
        names = [name for name in names if name in worst[:MOST_CHANNELS]]
    return names[:MOST_CHANNELS]


class _Series(NamedTuple):
    band: Band
    name: str
    colour: str
    marker: str
    shift: float  # to the side, so that channels do not hide each other


def _readings(axes: Axes, trials: list[Trial], series: _Series, many: bool) -> list[float]:
    """Draw all readings of a channel, those of one trial joined, and return the deviations."""
    x: list[float] = []
    y: list[float] = []
    for trial in trials:
        taken = [reading for repeat in range(trial.taken) if (reading := trial.reading(repeat)) is not None]
        values = [series.band.deviation(r.readings[series.name]) for r in taken if series.name in r.readings]
        places = [trial.trial + series.shift + WIDE * k / max(len(values) - 1, 3) for k in range(len(values))]
        if not many and len(values) > 1:
            axes.plot(places, values, "-", color=series.colour, lw=0.8, alpha=0.7)
        x += places
        y += values
    look: dict[str, Any] = {"color": series.colour, "mec": PAPER, "mew": 0.4} if not many else {"color": series.colour}
    style.points(axes, x, y, series.marker, 5, **look)
    return y


def _expected(axes: Axes, trials: list[Trial], series: _Series) -> None:
    """Draw what the solver expected of each trial, with an interval of one standard deviation.

    An interval that crosses the whole axis, as with the first few readings, says nothing and is left out.
    """
    rows = [trial.proposed for trial in trials if trial.proposed.expected.get(series.name) is not None]
    bottom, top = axes.get_ylim()
    places, intervals = [row.trial + series.shift - 0.14 for row in rows], []
    values = [float(row.expected[series.name] or 0.0) for row in rows]
    for x, value, row in zip(places, values, rows, strict=True):
        error = row.expected_error.get(series.name, 0.0)
        low, high = (series.band.deviation(value + k * error) for k in (-1, 1))
        if low > bottom or high < top:
            intervals.append((x, low, high))
    if intervals:
        axes.vlines(*zip(*intervals, strict=True), color=series.colour, lw=1.4, alpha=0.35, zorder=1)
    middle = [series.band.deviation(value) for value in values]
    axes.plot(places, middle, "_", color=series.colour, ms=6, mew=1.2, alpha=0.8, zorder=1.5)


def _estimate(axes: Axes, pooled: PooledMean, series: _Series, x: float) -> None:
    """Draw the pooled mean with its standard error."""
    mean, error = pooled.mean[series.name], pooled.std_error[series.name]
    if math.isnan(mean):
        return
    y, low, high = (series.band.deviation(mean + k * error) for k in (0, -1, 1))
    bar: ErrorbarContainer = axes.errorbar(
        x, y, [[abs(y - low)], [abs(high - y)]], fmt=series.marker, color=series.colour, ms=6, capsize=2.5, lw=1.2
    )
    bar[0].set(markeredgecolor=INK, markeredgewidth=0.8)


def deviation_axis(axes: Axes, low: float, high: float) -> None:
    """An axis for deviations from `low` to `high`: linear near the band, logarithmic beyond."""
    low, high = min(low * 1.25, -LEAST), max(high * 1.25, LEAST)
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=1.6)
    marks = [value for value in ticks(max(-low, high)) if low <= value <= high]
    axes.set(ylim=(low, high), yticks=marks, yticklabels=[tick_label(value) for value in marks])
    axes.yaxis.set_minor_locator(NullLocator())


def ticks(top: float) -> list[float]:
    """The marks of an axis from -top to top: the band, and decades beyond it."""
    decades = [10.0**k for k in range(1, 16) if 10.0**k <= top]
    decades = decades[:: -(-len(decades) // 4) or 1]
    return [*(-value for value in reversed(decades)), -1.0, 0.0, 1.0, *decades]


def tick_label(value: float) -> str:
    """The value with its sign: `+10`, `−1`, `0`."""
    return "0" if not value else f"{'+' if value > 0 else '−'}{abs(value):g}"


def _headings(axes: Axes, trials: list[Trial], mean: float | None) -> None:
    """Say above the axes where the solver takes over from the design, and where the pooled mean is."""
    first = next((trial.trial for trial in trials if trial.by_solver), None)
    note: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "fontsize": 8, "color": FAINT, "va": "bottom"}
    if first is not None and first > trials[0].trial:
        axes.axvline(first - 0.5, color=LINE, lw=1)
        axes.text(first - 0.5, 1.0, "design ", ha="right", **note)
        axes.text(first - 0.5, 1.0, " solver", ha="left", **note)
    if mean is not None:
        axes.text(mean, 1.0, "mean", ha="center", **note)
