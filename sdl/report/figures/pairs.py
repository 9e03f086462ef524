"""Pair plot of inputs and channels.

Drawn without seaborn, whose import alone takes more than a second of CPU (docs/decisions/0020-reports.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from sdl.arrays import Bools, Floats
from sdl.report import style
from sdl.report.figures.panels import two_lines
from sdl.report.table import TrialTable

MOST_TRIALS = 600  # most trials, chosen evenly among more: a pair plot does not show more with more points

MOST_INPUTS, MOST_VARIABLES = 4, 6
"""Inputs come first, then channels of the goal; with four inputs there is space for one variable more."""


class PairVariable(NamedTuple):
    """One variable: its (n,) values, and whether it is an input, whose range is known, or a channel."""

    name: str
    values: Floats
    is_input: bool = False


def pairs(table: TrialTable) -> Figure | None:
    """The lower half of a pair plot; None with fewer than three trials that have readings."""
    with_readings = np.flatnonzero(table.measured)
    if len(with_readings) < 3:
        return None
    picked = with_readings[style.thinned(len(with_readings), MOST_TRIALS)]
    columns = [
        PairVariable(name, table.X[picked, n], is_input=True) for n, name in enumerate(table.inputs[:MOST_INPUTS])
    ]
    channels = [PairVariable(name, table.Y[picked, table.channels.index(name)]) for name in table.goal_channels]
    channels = [column for column in channels if np.isfinite(column.values).any()]
    columns += channels[: max(MOST_VARIABLES, len(columns) + 3) - len(columns)]
    of_solver, count = table.by_solver[picked], len(columns)
    sides = [(f"by the {who}", rows, *style.series(n))
             for who, rows, n in (("design", ~of_solver, 1), ("solver", of_solver, 0)) if rows.any()]  # fmt: skip
    look: Any = {"ms": 1.7, "alpha": 0.5} if len(picked) > 150 else {"ms": 3.6, "alpha": 0.85}
    look["rasterized"] = len(picked) * count > 200  # many panels: one image each, and small
    figure = _empty()
    for i, row in enumerate(columns):
        for j, column in enumerate(columns[: i + 1]):
            axes = figure.add_subplot(count, count, 1 + i * count + j)
            axes.grid(False)
            axes.tick_params(labelsize=7, length=2, pad=1.5)
            _scale(table, axes, "x", column, labels=i == count - 1)
            if i == j:
                _histogram(axes, column.values, sides)
                continue
            for _, rows, colour, marker in sides:
                axes.plot(column.values[rows], row.values[rows], marker, color=colour, mec="none", **look)
            _scale(table, axes, "y", row, labels=j == 0)
    handles = [Line2D([], [], ls="", marker=marker, color=colour, label=who) for who, _, colour, marker in sides]
    figure.legend(handles=handles, loc="upper right")
    return figure


def _histogram(axes: Axes, values: Floats, sides: Sequence[tuple[str, Bools, str, str]]) -> None:
    """Draw a stacked histogram of one variable, by who proposed the trials."""
    parts = [values[rows & np.isfinite(values)] for _, rows, _, _ in sides]
    seen = np.concatenate(parts)
    largest = np.abs(seen).max()
    if largest < 1e6 or np.ptp(seen) > 1e-9 * largest:  # else there are no twelve bins between them
        tints = [colour for _, _, colour, _ in sides]
        axes.hist(parts, bins=12, stacked=True, color=tints, histtype="stepfilled", alpha=0.8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _empty() -> Figure:
    """An empty figure with space for labels; constrained layout takes seconds with many axes."""
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):
        figure = Figure(figsize=(style.WIDTH, style.WIDTH))
    figure.subplots_adjust(left=0.125, right=0.99, bottom=0.095, top=0.99, hspace=0.14, wspace=0.14)
    return figure


def _scale(table: TrialTable, axes: Axes, which: Literal["x", "y"], column: PairVariable, *, labels: bool) -> None:
    """Set the same limits and few ticks in every panel of a variable; label only the panels at the edges."""
    low, high = float(np.nanmin(column.values)), float(np.nanmax(column.values))
    if column.is_input:  # it is shown over its whole range
        low, high = table.range_of(column.name)
    ticks, texts = table.ticks(column.name) if column.is_input else (style.two_ticks(low, high), [])
    axes.set(**{f"{which}lim": style.with_margin(low, high, 0.08)})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(FixedLocator(ticks))
    if column.name in table.choices:
        axis.set_major_formatter(FixedFormatter(texts))
    else:
        axis.set_major_formatter(lambda value, _: f"{value / 1000:.6g}k" if abs(value) >= 1000 else f"{value:g}")
    if labels:
        axis.set_label_text(two_lines(column.name, table.units[column.name], 12), fontsize=8)
    else:
        axes.tick_params(axis=which, **{"labelbottom" if which == "x" else "labelleft": False})
