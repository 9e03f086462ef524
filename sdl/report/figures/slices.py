"""Slices of the forward model through the answer: each channel of the goal against each input."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sdl.arrays import Bools, Floats
from sdl.report import style
from sdl.report.figures.panels import band_of, distinct, thousands, two_lines
from sdl.report.model import RunModel
from sdl.report.style import BAND, FAINT, INK, PAPER
from sdl.report.svg import trials_id
from sdl.report.table import TrialTable

MOST_INPUTS, MOST_CHANNELS = 4, 4
POINTS = 33
"""Settings at which a slice is computed."""
MOST_READINGS = 200
"""Trials shown, evenly chosen among more."""


class Slice(NamedTuple):
    """The model along one input, the other inputs as in the answer.

    Attributes:
        x: (k,) values of the input, or the numbers of its choices.
        U: (k, d) settings in units of the bounds.
        mean, sd: (k, m) of one raw reading; NaN where a constraint does not allow the settings.
    """

    x: Floats
    U: Floats
    mean: Floats
    sd: Floats


def slice_of(table: TrialTable, model: RunModel, name: str) -> Slice | None:
    """The slice along the input `name`; None for one that follows from the others by a constraint."""
    if (columns := model.columns_of(name)) is None:
        return None
    if name in table.choices:
        x = np.arange(len(table.choices[name]), dtype=float)
        U = np.tile(model.answer, (len(x), 1))
        codes = np.vstack([np.zeros(len(x) - 1), np.eye(len(x) - 1)])
        U[:, columns] = codes
    else:
        low, high = table.range_of(name)
        x = np.linspace(low, high, POINTS)
        U = np.tile(model.answer, (POINTS, 1))
        U[:, columns.start] = np.linspace(0.0, 1.0, POINTS)
    mean, sd = model.predict(U)
    region = model.forward.training.own_region
    outside = ~region.keeps(U, 1e-6)[:, None]
    return Slice(x, U, np.where(outside, np.nan, mean), np.where(outside, np.nan, sd))


def slices(table: TrialTable) -> Figure | None:
    """One panel per input (columns) and channel of the goal (rows); None without a model."""
    model = table.model
    if model is None or table.final is None:
        return None
    cuts = {name: cut for name in table.inputs if (cut := slice_of(table, model, name)) is not None}
    names = list(cuts)[:MOST_INPUTS]
    channels = [name for name in table.goal_channels if np.isfinite(table.Y[:, table.channels.index(name)]).any()]
    channels = channels[:MOST_CHANNELS]
    if not names or not channels:
        return None
    figure = style.canvas(len(channels), len(names), height=0.95 + 1.35 * len(channels), sharex="col", sharey="row")
    tints, answer = style.channel_colours(channels), table.X[table.numbers == table.final.trial][0]
    for i, channel in enumerate(channels):
        column = table.channels.index(channel)
        limits = _limits([cuts[name].mean[:, column] for name in names], table.Y[:, column], band_of(table, channel))
        for j, name in enumerate(names):
            axes = figure.axes[i * len(names) + j]
            _accepted(axes, band_of(table, channel), limits)
            axes.axvline(float(answer[table.inputs.index(name)]), color=INK, lw=0.7, ls=(0, (1, 2)))
            _curve(axes, cuts[name], column, tints[channel])
            _readings(axes, table, model, name, column, limits[1] - limits[0], tints[channel])
            _axes(axes, table, channel, name, last=i == len(channels) - 1, first=j == 0)
            axes.set_ylim(*limits)
    _legend(figure)
    return figure


def _curve(axes: Axes, cut: Slice, column: int, colour: str) -> None:
    """Mean and bands of one reading; points with error bars for choices."""
    mean, sd = cut.mean[:, column], cut.sd[:, column]
    known = np.isfinite(mean)
    if len(cut.x) < POINTS:
        axes.errorbar(cut.x[known], mean[known], 2 * np.nan_to_num(sd[known]), fmt="_", color=colour, ms=9, lw=1)
        return
    for k, alpha in ((2, 0.18), (1, 0.28)):
        axes.fill_between(cut.x, mean - k * sd, mean + k * sd, color=colour, alpha=alpha, lw=0)
    axes.plot(cut.x, mean, color=colour, lw=1.3)


def _readings(axes: Axes, table: TrialTable, model: RunModel, name: str, column: int, high: float, colour: str) -> None:
    """Readings near the slice as they are, and the others moved along the model onto it."""
    rows = np.array(style.thinned(len(table.trials), MOST_READINGS), dtype=int)
    U, own = model.units(table)[rows], model.space.columns_of(name)
    x, y = table.X[rows][:, table.inputs.index(name)], table.Y[rows][:, column]
    known = np.isfinite(y) & np.isfinite(U).all(axis=1)
    x, y, U, numbers = x[known], y[known], U[known], table.numbers[rows][known]
    moved = np.tile(model.answer, (len(U), 1))
    moved[:, own] = U[:, own]
    near = model.is_near(U, tuple(range(own.start, own.stop)))
    y = np.where(near, y, y + (model.predict(moved)[0] - model.predict(U)[0])[:, column]) if len(U) else y
    looks: list[tuple[Bools, dict[str, Any]]] = [
        (~near, {"ms": 3, "mfc": "none", "mec": colour, "mew": 0.7, "alpha": 0.8}),
        (near, {"ms": 3.6, "color": colour, "mec": PAPER, "mew": 0.4}),
    ]
    for rows_of, look in looks:
        shown = np.flatnonzero(rows_of)
        shown = shown[distinct(x[shown], y[shown], np.ptp(table.range_of(name)) or 1.0, high)]
        axes.plot(x[shown], y[shown], "o", gid=trials_id(numbers[shown]), **look)


def _accepted(axes: Axes, band: tuple[float, float] | None, limits: tuple[float, float]) -> None:
    """The accepted range of a channel, as far as it is inside the limits of the axes."""
    if band is not None:
        low, high = max(band[0], limits[0]), min(band[1], limits[1])
        axes.axhspan(low, high, color=BAND, lw=0, zorder=0)
        for end in band:
            if limits[0] < end < limits[1]:
                axes.axhline(end, color=FAINT, lw=0.5, zorder=0.5)


def _axes(axes: Axes, table: TrialTable, channel: str, name: str, *, last: bool, first: bool) -> None:
    places, labels = table.ticks(name)
    axes.set(xlim=style.with_margin(*table.range_of(name), 0.05))
    axes.set_xticks(places, labels)
    axes.yaxis.set_major_formatter(thousands)
    if last:
        axes.set_xlabel(style.axis_label(name, table.units[name], 18))
    if first:
        axes.set_ylabel(two_lines(channel, table.units[channel]))


def _limits(curves: list[Floats], seen: Floats, band: tuple[float, float] | None) -> tuple[float, float]:
    """Limits of a row by its curves and readings, and by the ends of the accepted range."""
    values = np.concatenate([*curves, seen, np.array(band or (np.nan, np.nan))])
    values = values[np.isfinite(values)]
    return style.with_margin(float(values.min()), float(values.max()), 0.08)


def _legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], color=FAINT, lw=1.3, label="model"),
        Patch(color=FAINT, alpha=0.4, lw=0, label="± 1, 2 sd of a reading"),
        Line2D([], [], ls="", marker="o", color=FAINT, ms=4, label="near"),
        Line2D([], [], ls="", marker="o", mfc="none", mec=FAINT, ms=4, label="moved"),
        Patch(color=BAND, lw=0, label="accepted"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=5, columnspacing=1.2, handlelength=1.4)
