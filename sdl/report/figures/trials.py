"""Figures by trial: the error with the tolerance band, the settings, and the settings in their space."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from sdl.report import style
from sdl.report.style import BAND, FAINT, INK, LINE, PAPER, RASTER

if TYPE_CHECKING:
    from sdl.report.table import TrialTable

GREY = "#8d8d90"
"""Background of coloured points, on which dark and light ones can both be seen."""

MOST_POINTS = 2500
"""Most points in a cloud, chosen evenly among more."""

LEAST = 1e-3
"""Smallest tolerance ratio that is drawn, since 0 has no logarithm."""


def error(table: TrialTable) -> Figure | None:
    """The worst channel's tolerance ratio, and the best so far; None without a goal or a judged trial."""
    known = np.isfinite(table.tolerance_ratios)
    if table.goal is None or not known.any():
        return None
    x, miss = table.numbers[known], np.maximum(table.tolerance_ratios[known], LEAST)
    figure = style.canvas()
    (axes,) = figure.axes
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.axhspan(LEAST / 10, 1, color=BAND, lw=0, zorder=0)
    many = len(x) > RASTER
    for n, (name, mask) in enumerate([("design", ~table.by_solver[known]), ("solver", table.by_solver[known])]):
        if mask.any():
            colour, marker = style.series(1 - n)
            axes.plot(
                x[mask], miss[mask], marker, color=colour, ms=2 if many else 5, mec="none", label=f"by the {name}",
                rasterized=many, alpha=0.5 if many else 1.0,
            )  # fmt: skip
    best = np.minimum.accumulate(miss)
    steps = np.r_[True, best[1:] < best[:-1]]
    steps[-1] = True  # only where it changes, however many trials there are
    axes.step(x[steps], best[steps], where="post", color=INK, lw=1, label="best so far", zorder=1.5)
    axes.set_ylim(max(LEAST / 1.5, min(miss.min() / 2, 0.3)), max(miss.max() * 2, 3))
    axes.set(xlabel="trial", ylabel="error of the worst channel (× tolerance)")
    style.whole_numbers(axes)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    lost = table.numbers[~known & ~table.measured]
    if len(lost):
        axes.plot(
            lost, np.full(len(lost), 0.97), "x", color=FAINT, ms=4, transform=axes.get_xaxis_transform(),
            label="no reading", rasterized=len(lost) > RASTER,
        )  # fmt: skip
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper left",
        ncols=4,
        borderpad=0.1,
        markerscale=3 if many else 1,
    )
    low = axes.get_ylim()[0]
    axes.text(
        0.005, low * 1.05, "within tolerance", transform=axes.get_yaxis_transform(), va="bottom", fontsize=8,
        color=FAINT,
    )  # fmt: skip
    return figure


def settings(table: TrialTable) -> Figure | None:
    """Every input by trial, over its whole range, below a strip of the colours; None without a trial."""
    if not table.trials:
        return None
    names = table.inputs[:6]  # more would not fit a page; the table has them all
    seen = colours(table)
    rows = len(names) + (seen is not None)
    ratios = ([0.28] if seen is not None else []) + [1.0] * len(names)
    figure = style.canvas(rows, height=0.7 + 0.85 * len(names), sharex=True, height_ratios=ratios)
    x, many = table.numbers, len(table.trials) > RASTER
    low, high = float(x[0]) - 0.5, float(x[-1]) + 0.5
    axes = list(figure.axes)
    if seen is not None:
        strip = axes.pop(0)
        picked = style.thinned(len(seen), 1000)
        strip.imshow(seen[picked][None], aspect="auto", extent=(low, high, 0, 1), interpolation="nearest")
        strip.set(yticks=[])
        strip.grid(False)
        strip.spines[:].set(visible=True, color=LINE)  # white is a colour, too
        strip.tick_params(length=0)
    tints = style.input_colours(table.inputs)
    shown = np.zeros(len(x), bool)
    shown[style.thinned(len(x), MOST_POINTS)] = True
    for one, name in zip(axes, names, strict=True):
        column, spec = table.X[:, table.inputs.index(name)], table.specs[name]
        for mask, filled in ((shown & ~table.by_solver, False), (shown & table.by_solver, True)):
            if mask.any():
                one.plot(
                    x[mask], column[mask], "o", color=tints[name], ms=1.5 if many else 4.5,
                    mfc=tints[name] if filled or many else PAPER, rasterized=many, alpha=0.4 if many else 1,
                    label="solver" if filled else "design",
                )  # fmt: skip
        room = 0.07 * (spec["high"] - spec["low"])
        one.set_ylim(spec["low"] - room, spec["high"] + room)
        one.set_yticks([spec["low"], spec["high"]], [f"{spec['low']:g}", f"{spec['high']:g}"])
        one.set_ylabel(style.axis_label(name, table.units[name], 11))
    axes[-1].set(xlabel="trial", xlim=(low, high))
    style.whole_numbers(axes[-1])
    if not many:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, [f"by the {label}" for label in labels], loc="outside upper right", ncols=2)
    return figure


def space(table: TrialTable) -> Figure | None:
    """Settings, one panel per pair of inputs; None with one input or without a trial."""
    names = table.inputs[:4]
    if len(names) < 2 or not table.trials:
        return None
    pairs = list(combinations(range(len(names)), 2))  # 1, 3 or 6
    columns = min(len(pairs), 3)
    high, below = style.WIDTH / columns * (0.85 if len(pairs) > 1 else 0.7), -(-len(pairs) // columns)
    figure = style.canvas(below, columns, height=0.6 + high * below)
    seen, many = colours(table), len(table.trials) > RASTER
    tints: Any = seen if seen is not None else style.OKABE_ITO[0]
    shown = np.zeros(len(table.trials), bool)
    shown[style.thinned(len(shown), MOST_POINTS)] = True
    for axes, (a, b) in zip(figure.axes, pairs, strict=True):
        axes.set_facecolor(GREY if seen is not None else PAPER)
        axes.grid(seen is None)
        for mask, marker, size in ((shown & ~table.by_solver, "s", 22), (shown & table.by_solver, "o", 26)):
            if mask.any():
                tint = tints[mask] if seen is not None else tints
                axes.scatter(
                    table.X[mask, a], table.X[mask, b], s=3 if many else size, c=tint, marker=marker,
                    edgecolors="#2b2b2b", linewidths=0 if many else 0.4, rasterized=many,
                )  # fmt: skip
        best = table.best
        if best is not None:
            point = best.shown_settings
            axes.plot(point[names[a]], point[names[b]], "o", ms=11, mfc="none", mec="#ffffff", mew=2.6)
            axes.plot(point[names[a]], point[names[b]], "o", ms=11, mfc="none", mec="#111111", mew=1.2)
        _bounds(axes, table, names[a], names[b])
    handles: list[Any] = []
    if not many and np.any(table.by_solver) and not np.all(table.by_solver):
        handles = [
            Line2D([], [], ls="", marker=m, mfc=GREY, mec=INK, label=f"by the {n}")
            for m, n in (("s", "design"), ("o", "solver"))
        ]
        if table.best is not None:
            handles.append(Line2D([], [], ls="", marker="o", ms=9, mfc="none", mec=INK, label="best"))
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    else:
        figure.set_figheight(0.35 + high * below)  # no room for a legend that is not there
    return figure


def _bounds(axes: Axes, table: TrialTable, a: str, b: str) -> None:
    for which, name in (("x", a), ("y", b)):
        low, high = table.specs[name]["low"], table.specs[name]["high"]
        room = 0.06 * (high - low)
        getattr(axes, f"set_{which}lim")(low - room, high + room)
        getattr(axes, f"set_{which}label")(style.axis_label(name, table.units[name], 20))
        ticks = [low, (low + high) / 2, high]
        getattr(axes, f"set_{which}ticks")(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_box_aspect(1)


def colours(table: TrialTable) -> Any:
    """(n, 3) colour of each trial, 0 … 1; None where the inputs are not a colour."""
    inputs = table.run.opened.instrument["inputs"]
    seen = [style.swatch(dict(zip(table.inputs, map(float, row), strict=True)), inputs) for row in table.X]
    if not seen or any(one is None for one in seen):
        return None
    return np.array(seen, float) / 255
