"""Contours of the forward model through the answer: where each channel of the goal is within tolerance."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sdl.arrays import Bools, Floats
from sdl.report import style
from sdl.report.figures.panels import band_of, distinct, input_axes, thousands
from sdl.report.model import RunModel
from sdl.report.style import FAINT, INK, LINE, PAPER
from sdl.report.svg import trials_id
from sdl.report.table import TrialTable

MOST_INPUTS, MOST_CHANNELS = 4, 6
GRID = 31
"""Settings along each side of a panel."""
MOST_READINGS = 200
"""Trials shown, evenly chosen among more."""


def contours(table: TrialTable) -> Figure | None:
    """One panel per pair of numeric inputs; None with fewer than two, or without a model."""
    model, final = table.model, table.final
    if model is None or final is None:
        return None
    names = [name for name in table.inputs if name not in table.choices and model.columns_of(name)][:MOST_INPUTS]
    if len(names) < 2:
        return None
    pairs = list(combinations(names, 2))
    columns = min(len(pairs), 3)
    high, below = style.WIDTH / columns * (0.86 if len(pairs) > 1 else 0.7), -(-len(pairs) // columns)
    figure = style.canvas(below, columns, height=0.45 + high * below)
    channels = list(table.goal_channels)[:MOST_CHANNELS]
    tints = style.channel_colours(channels)
    for axes, (a, b) in zip(figure.axes, pairs, strict=True):
        axes.grid(False)
        _panel(axes, table, model, (a, b), tints)
        _points(axes, table, model, a, b)
        input_axes(axes, table, a, b, 0.03)
        axes.spines[:].set(visible=True, color=LINE)
    _legend(figure, table, tints)
    return figure


def grid_of(table: TrialTable, model: RunModel, a: str, b: str) -> tuple[Floats, Floats, Floats]:
    """Values of two inputs, (GRID,) each, and raw readings (GRID, GRID, m), rows by b; NaN outside the constraints."""
    side = np.linspace(0.0, 1.0, GRID)
    U = np.tile(model.answer, (GRID * GRID, 1))
    U[:, model.space.columns_of(a).start] = np.tile(side, GRID)
    U[:, model.space.columns_of(b).start] = np.repeat(side, GRID)
    mean = model.forward.mean(U) + model.base
    mean = np.where(model.forward.training.own_region.keeps(U, 1e-6)[:, None], mean, np.nan)
    x, y = (low + side * (high - low) for low, high in (table.range_of(a), table.range_of(b)))
    return x, y, mean.reshape(GRID, GRID, -1)


def _panel(axes: Axes, table: TrialTable, model: RunModel, pair: tuple[str, str], tints: dict[str, str]) -> None:
    """For each channel the settings within tolerance, and the target; levels of a channel with an objective."""
    x, y, mean = grid_of(table, model, *pair)
    for channel, colour in tints.items():
        z = mean[:, :, table.channels.index(channel)]
        low, high = float(np.nanmin(z)), float(np.nanmax(z))
        band = band_of(table, channel)
        if not low < high:
            continue
        if band is None:
            lines = axes.contour(x, y, z, levels=6, colors=colour, linewidths=0.8)
            axes.clabel(lines, colors=INK, fontsize=6.5, fmt=thousands, inline_spacing=2)
            continue
        inside = max(band[0], low - 1), min(band[1], high + 1)
        if inside[0] < inside[1]:
            axes.contourf(x, y, z, levels=inside, colors=[colour], alpha=0.3)
        ends = [end for end in band if low < end < high]
        if ends:
            axes.contour(x, y, z, levels=ends, colors=colour, linewidths=0.9)


def _points(axes: Axes, table: TrialTable, model: RunModel, a: str, b: str) -> None:
    """Settings of the trials: filled near the answer in the other inputs; a ring at the answer."""
    rows = np.array(style.thinned(len(table.trials), MOST_READINGS), dtype=int)
    own = model.space.columns_of(a).start, model.space.columns_of(b).start
    U = model.units(table)[rows]
    near = model.is_near(U, own) & table.measured[rows]
    x, y = (table.X[rows][:, table.inputs.index(name)] for name in (a, b))
    looks: list[tuple[Bools, dict[str, Any]]] = [
        (~near, {"ms": 2.6, "mfc": "none", "mec": FAINT, "mew": 0.6}),
        (near, {"ms": 3.2, "color": INK, "mec": PAPER, "mew": 0.4}),
    ]
    for rows_of, look in looks:
        shown = np.flatnonzero(rows_of)
        shown = shown[distinct(x[shown], y[shown], *(np.ptp(table.range_of(name)) for name in (a, b)))]
        axes.plot(x[shown], y[shown], "o", gid=trials_id(table.numbers[rows][shown]), **look)
    best = table.X[table.numbers == table.final.trial][0] if table.final else np.full(len(table.inputs), np.nan)
    at = [best[table.inputs.index(name)] for name in (a, b)]
    axes.plot(*at, "o", ms=9, mfc="none", mec=INK, mew=1.2)


def _legend(figure: Figure, table: TrialTable, tints: dict[str, str]) -> None:
    handles = [
        Line2D([], [], color=colour, lw=1, label=f"{style.plain(channel)} (levels)")
        if band_of(table, channel) is None
        else Patch(facecolor=colour, alpha=0.4, label=style.plain(channel))
        for channel, colour in tints.items()
    ]
    handles.append(Line2D([], [], ls="", marker="o", mfc="none", mec=INK, ms=8, label="answer"))
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4), columnspacing=1.2)
