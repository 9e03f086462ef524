"""Figures by trial: the error with the tolerance band, the settings, and the settings in their space."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sdl.arrays import Bools
from sdl.report import style
from sdl.report.figures.panels import input_axes
from sdl.report.style import BAND, FAINT, INK, LINE, PAPER, RASTER
from sdl.report.table import TrialTable

GREY = "#8d8d90"
"""Background of coloured points, on which dark and light ones can both be seen."""

MOST_POINTS = 2500  # most points in a cloud, chosen evenly among more


def error(table: TrialTable) -> Figure | None:
    """The worst channel's tolerance ratio, and the best so far; None without a goal or a judged trial."""
    known = np.isfinite(table.tolerance_ratios)
    if table.goal is None or table.goal.objective is not None or not known.any():
        return None
    x, miss = table.numbers[known], np.maximum(table.tolerance_ratios[known], style.LEAST_RATIO)
    figure = style.canvas()
    (axes,) = figure.axes
    low, high = max(style.LEAST_RATIO / 1.5, min(miss.min() / 2, 0.3)), max(miss.max() * 2, 3)
    style.log_axis(axes, "y", low, high)
    axes.axhspan(style.LEAST_RATIO / 10, 1, color=BAND, lw=0, zorder=0)
    for n, (name, mask) in enumerate([("design", ~table.by_solver[known]), ("solver", table.by_solver[known])]):
        if mask.any():
            colour, marker = style.series(1 - n)
            style.points(axes, x[mask], miss[mask], marker, 5, color=colour, mec="none", label=f"by the {name}")
    best = np.minimum.accumulate(miss)
    steps = np.r_[True, best[1:] < best[:-1]]
    steps[-1] = True  # only where it changes, however many trials there are
    axes.step(x[steps], best[steps], where="post", color=INK, lw=1, label="best so far", zorder=1.5)
    axes.set(xlabel="trial", ylabel="worst error (× tolerance)")
    style.whole_numbers(axes)
    lost = table.numbers[~known & ~table.measured]
    if len(lost):
        at_top: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "label": "no reading"}
        style.points(axes, lost, np.full(len(lost), 0.97), "x", color=FAINT, **at_top)
    style.legend(figure, 4, borderpad=0.1, markerscale=3 if len(x) > RASTER else 1)
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "bottom"}
    axes.text(0.005, low * 1.05, "within tolerance", fontsize=8, color=FAINT, **place)
    return figure


def objective(table: TrialTable) -> Figure | None:
    """The channel to maximise or minimise, and the best so far by the model; None without one or without a reading."""
    if not has_objective(table):
        return None
    figure = style.canvas()
    (axes,) = figure.axes
    draw_objective(axes, table)
    axes.set(xlabel="trial")
    style.legend(figure, 2, borderpad=0.1, markerscale=3 if len(table.trials) > RASTER else 1)
    return figure


def has_objective(table: TrialTable) -> bool:
    """Whether the goal has a channel to maximise or minimise, with a reading."""
    name = table.goal.objective if table.goal is not None else None
    return name is not None and bool(np.isfinite(table.Y[:, table.channels.index(name)]).any())


def draw_objective(axes: Axes, table: TrialTable) -> None:
    """Draw the channel to maximise or minimise by trial, and the best so far by the model."""
    name = (table.goal.objective if table.goal is not None else None) or ""
    measured = np.isfinite(table.Y[:, table.channels.index(name)])
    x, y = table.numbers[measured], table.Y[measured, table.channels.index(name)]
    kept = np.array([trial.inside for trial in table.trials], bool)[measured]
    for mask, look, label in (
        (kept & ~table.by_solver[measured], style.series(0), "by the design, or confirming"),
        (kept & table.by_solver[measured], style.series(1), "by the solver"),
    ):
        if mask.any():
            style.points(axes, x[mask], y[mask], look[1], 5, color=look[0], mec="none", label=label)
    if (~kept).any():
        style.points(axes, x[~kept], y[~kept], "x", 5, color=FAINT, label="a constraint broken, or saturated")
    rows = [trial.proposed for trial in table.trials if trial.proposed.estimate is not None]
    if rows:
        at, best, error = (
            np.array([getattr(row, key) for row in rows], float) for key in ("trial", "estimate", "estimate_error")
        )
        axes.step(at, best, where="post", color=INK, lw=1, label="best so far, by the model (± standard error)")
        axes.fill_between(at, best - error, best + error, step="post", color=BAND, lw=0, zorder=0)
    axes.set(ylabel=style.axis_label(name, table.units[name]))
    style.whole_numbers(axes)


def settings(table: TrialTable) -> Figure | None:
    """Every input by trial, over its whole range, below a strip of the colours; None without a trial."""
    if not table.trials:
        return None
    names = table.inputs[:6]  # more would not fit a page; the table has them all
    seen, x, many = colours(table), table.numbers, len(table.trials) > RASTER
    ratios = ([0.28] if seen is not None else []) + [1.0] * len(names)
    figure = style.canvas(len(ratios), height=0.7 + 0.85 * len(names), sharex=True, height_ratios=ratios)
    low, high = float(x[0]) - 0.5, float(x[-1]) + 0.5
    axes = list(figure.axes)
    if seen is not None:
        strip, picked = axes.pop(0), style.thinned(len(seen), 1000)
        strip.imshow(seen[picked][None], aspect="auto", extent=(low, high, 0, 1), interpolation="nearest")
        strip.set(yticks=[])
        strip.grid(False)
        strip.spines[:].set(visible=True, color=LINE)  # white is a colour, too
        strip.tick_params(length=0)
    tints, shown = style.input_colours(table.inputs), _shown(table)
    for one, name in zip(axes, names, strict=True):
        column = table.X[:, table.inputs.index(name)]
        for mask, label in ((shown & ~table.by_solver, "design"), (shown & table.by_solver, "solver")):
            if mask.any():
                look: dict[str, Any] = {"ms": 1.5, "alpha": 0.4, "rasterized": True} if many else {"ms": 4.5}
                face = tints[name] if label == "solver" or many else PAPER
                one.plot(x[mask], column[mask], "o", color=tints[name], mfc=face, label=label, **look)
        places, labels_of = table.ticks(name)
        one.set(ylim=style.with_margin(*table.range_of(name), 0.07), yticks=places, yticklabels=labels_of)
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
    seen, shown, many = colours(table), _shown(table), len(table.trials) > RASTER
    best = None if table.best is None else table.X[int(np.flatnonzero(table.numbers == table.best.trial)[0])]
    for axes, (a, b) in zip(figure.axes, pairs, strict=True):
        axes.set_facecolor(GREY if seen is not None else PAPER)
        axes.grid(seen is None)
        for mask, marker, size in ((shown & ~table.by_solver, "s", 22), (shown & table.by_solver, "o", 26)):
            if mask.any():
                tint: Any = seen[mask] if seen is not None else style.OKABE_ITO[0]
                look: Any = {"s": 3, "linewidths": 0, "rasterized": True} if many else {"s": size, "linewidths": 0.4}
                axes.scatter(table.X[mask, a], table.X[mask, b], c=tint, marker=marker, edgecolors="#2b2b2b", **look)
        if best is not None:
            for edge, thickness in (("#ffffff", 2.6), ("#111111", 1.2)):
                axes.plot(best[a], best[b], "o", ms=11, mfc="none", mec=edge, mew=thickness)
        input_axes(axes, table, names[a], names[b], 0.06)
    if many or len(set(table.by_solver.tolist())) < 2:
        figure.set_figheight(0.35 + high * below)  # no space for a legend that is not there
        return figure
    kinds: list[dict[str, Any]] = [
        {"marker": "s", "mfc": GREY, "label": "by the design"},
        {"marker": "o", "mfc": GREY, "label": "by the solver"},
        *([{"marker": "o", "mfc": "none", "ms": 9, "label": "best"}] if best is not None else []),
    ]
    handles = [Line2D([], [], ls="", mec=INK, **kind) for kind in kinds]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _shown(table: TrialTable) -> Bools:
    """(n,) whether a trial is drawn: all, or some chosen evenly among many."""
    shown = np.zeros(len(table.trials), bool)
    shown[style.thinned(len(shown), MOST_POINTS)] = True
    return shown


def colours(table: TrialTable) -> Any:
    """(n, 3) colour of each trial, 0 … 1; None where the inputs are not a colour."""
    inputs = table.run.opened.instrument["inputs"]
    seen = [style.swatch(dict(zip(table.inputs, map(float, row), strict=True)), inputs) for row in table.X]
    return np.array(seen, float) / 255 if seen and None not in seen else None
