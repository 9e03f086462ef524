"""The paper's figures 2 to 11, drawn from the results by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from sdl.arrays import Floats
from sdl.errors import ConfigError
from sdl.extras import missing
from sdl.paper.answers import Findings, Parity
from sdl.paper.appendix import Appendix
from sdl.paper.published import CHANNELS, INPUTS, METHODS, SLICE
from sdl.report import style
from sdl.report.style import BAND, FAINT, INK, OKABE_ITO

PRINTED = "#f0c878"
"""Colour of the paper's numbers."""
STRONG = 0.5  # correlation from which a panel of a pair plot is coloured
DASHED: dict[str, Any] = {"color": INK, "lw": 0.9, "ls": (0, (4, 3))}
THOUSANDS: Any = FuncFormatter(lambda value, _: f"{value / 1000:g}")


class PaperFigure(NamedTuple):
    """A figure of the page: its title, its caption and the function that draws it."""

    title: str
    caption: str
    draw: Callable[[Findings, Appendix], Figure]


READINGS = "Predicted against measured readings; below, their difference."
SETTINGS = "Predicted against applied settings; below, their difference."
TABLE = "Settings for the goal by the paper's methods and by our solvers, with the spread for one noisy reading."
SLICED = "All draws, those with y between 0.98 and 1.02, and x given y = 1 by our solver gmm (curve)."
UNIFORM = "Uniform on the x axis, Gaussian on the y axis; dashed: the exact densities."


def _parity(title: str, caption: str, key: str) -> PaperFigure:
    return PaperFigure(title, caption, lambda findings, _: parity(findings.parity[key]))


def _on_parabola(title: str, caption: str, which: str) -> PaperFigure:
    return PaperFigure(title, caption, lambda _, appendix: on_parabola(appendix, which))


FIGURES = {
    "figure-2": PaperFigure(
        "Figure 2",
        "Inputs (bold) and channels (italic) in pairs.",
        lambda f, _: pair_plot(np.hstack([f.pairs.data.X, f.pairs.data.Y]), "one dot is one reading"),
    ),
    "figure-3": _parity("Figure 3", READINGS, "linear"),
    "figure-4": _parity("Figure 4", SETTINGS, "pls"),
    "figure-5": PaperFigure(
        "Figure 5",
        "Five hundred pairs drawn from the fitted Gaussian.",
        lambda f, _: pair_plot(f.mixture, "one dot is one draw"),
    ),
    "figure-6": _parity("Figure 6", READINGS, "gmm"),
    "figure-7": _parity("Figure 7", SETTINGS, "forest"),
    "table-1": PaperFigure("Table 1 as a figure", TABLE, lambda findings, _: answers(findings)),
    "figure-8": PaperFigure("Figure 8", SLICED, lambda _, appendix: joint_gaussian(appendix)),
    "figure-9": PaperFigure("Figure 9", UNIFORM, lambda _, appendix: joint_transform(appendix)),
    "figure-10": _on_parabola("Figure 10", "Four Gaussians: expected y given x.", "mixture"),
    "figure-11": _on_parabola("Figure 11", "ForestDiffusion: one draw of y for each x.", "forest"),
    "ours": _on_parabola("Our Gaussian process", "Our solver gp, with its standard deviation of one reading.", "gp"),
}


def draw_all(findings: Findings, appendix: Appendix) -> dict[str, Figure]:
    """Every figure by its name.

    Raises:
        ConfigError: seaborn is not installed.
    """
    with style.styled():
        return {name: figure.draw(findings, appendix) for name, figure in FIGURES.items()}


def pair_plot(values: Floats, label: str) -> Figure:
    """Pair plot of (n, 7) settings and readings, inputs first (figures 2 and 5)."""
    try:
        import seaborn
    except ImportError as error:
        raise ConfigError(missing("figures of the paper", "report", error)) from error
    names = (*INPUTS, *CHANNELS)
    count, last = len(names), len(names) - 1
    correlation: Any = np.corrcoef(values.T)
    tints = {**style.input_colours(INPUTS), **style.channel_colours(CHANNELS)}
    figure = style.canvas(count, count, height=style.WIDTH * 1.05)
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    small = 1.2 if len(values) > 200 else 2.4
    for n, axes in enumerate(figure.axes):
        i, j = divmod(n, count)
        axes.grid(False)
        if i == j:
            seaborn.histplot(x=values[:, j], bins=12, ax=axes, color=tints[names[j]], linewidth=0.3, alpha=0.8)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
        else:
            colour = OKABE_ITO[0] if abs(correlation[i, j]) >= STRONG else FAINT
            axes.plot(values[:, j], values[:, i], "o", ms=small, mew=0, alpha=0.6, color=colour, rasterized=True)
        axes.set(xlabel="", ylabel="")
        axes.margins(0.06)
        axes.locator_params(nbins=2)
        axes.tick_params(labelsize=6, length=2, pad=1.5, labelbottom=i == last, labelleft=j == 0 and i != 0)
        if names[j] in CHANNELS:
            axes.xaxis.set_major_formatter(THOUSANDS)
        if names[i] in CHANNELS and i != j:
            axes.yaxis.set_major_formatter(THOUSANDS)
        if i == last:
            axes.xaxis.set_label_text(**_label(names[j]))
        if j == 0:
            axes.yaxis.set_label_text(**_label(names[i]))
    figure.suptitle(f"{label}; blue: correlated (|r| ≥ {STRONG:g})", fontsize=8, x=0.01, ha="left", color=FAINT)
    return figure


def _label(name: str) -> dict[str, Any]:
    """The label of an axis of the pair plot: inputs bold, channels in italics, as in the paper."""
    if name in INPUTS:
        return {"label": f"{name}\n(of full)", "fontweight": "bold", "fontsize": 7.5}
    return {"label": f"{name}\n(k counts)", "fontstyle": "italic", "fontsize": 7.5}


def parity(result: Parity) -> Figure:
    """Predicted against known values, and their difference; training rows are faint, test rows have an edge."""
    counts = result.unit == "counts"
    tints = (style.channel_colours if counts else style.input_colours)(result.columns)
    scale, unit, kind = (1000.0, "1000 counts", "measured") if counts else (1.0, result.unit, "set")
    figure = style.canvas(2, 1, height=5.6, height_ratios=[2.1, 1.0], sharex=True)
    above, below = figure.axes
    train, test = result.train, ~result.train
    for i, name in enumerate(result.columns):
        known, by_model = result.known[:, i] / scale, result.predicted[:, i] / scale
        look: dict[str, Any] = {"ls": "", "marker": style.MARKERS[i], "color": tints[name]}
        for axes, values in ((above, by_model), (below, (by_model - known) * scale)):
            axes.plot(known[train], values[train], ms=3.2, mew=0, alpha=0.35, **look)
            axes.plot(known[test], values[test], ms=5.5, mew=0.5, mec=INK, **look)
        above.plot([], [], ms=5.5, label=f"{name}  R² {result.score(name, train=False).r2:.5f} (test)", **look)
    every = np.concatenate([result.known.ravel(), result.predicted.ravel()]) / scale
    ends = [float(every.min()), float(every.max())]
    above.plot(ends, ends, **DASHED, zorder=1)
    below.axhline(0, **DASHED, zorder=1)
    above.set_ylabel(f"by the model ({unit})")
    below.set(ylabel=f"model − {kind}\n({result.unit})", xlabel=f"{kind} ({unit})")
    above.legend(loc="upper left", handletextpad=0.3)
    note: dict[str, Any] = {"transform": above.transAxes, "ha": "right", "fontsize": 8, "color": FAINT}
    above.text(0.99, 0.02, "faint: training · edged: test", **note)
    return figure


def answers(findings: Findings) -> Figure:
    """Settings for the goal by every solver, one panel per input, with their spread; the paper's as a line."""
    methods = [one for one in (*findings.paper, *findings.ours) if one.answers]
    names = [one.name if one in findings.paper else f"our {one.name}" for one in methods]
    figure = style.canvas(1, len(INPUTS), height=0.9 + 0.24 * len(methods), sharey=True)
    published = {method.key: method.answer for method in METHODS}
    printed: dict[str, Any] = {"color": PRINTED, "lw": 9, "solid_capstyle": "butt"}
    looks: dict[bool, dict[str, Any]] = {
        False: {"color": OKABE_ITO[1], "marker": "s", "ms": 4}, True: {"color": OKABE_ITO[0], "marker": "o", "ms": 4},
    }  # fmt: skip
    for i, (axes, item) in enumerate(zip(figure.axes, INPUTS, strict=True)):
        for row, one in enumerate(methods):
            answer, ours = one.goal.answer, one in findings.ours
            sd = answer.spread[item] or 0.0
            axes.errorbar(answer.raw[item], row, xerr=sd, ls="", elinewidth=1, capsize=2, **looks[ours])
            if not ours:  # all values that round to the printed number
                value = published[one.key][i]
                axes.plot([value - 0.005, value + 0.005], [row, row], zorder=0, **printed)
        axes.set_xlabel(f"{item} (of full light)")
        axes.set_yticks(range(len(methods)), names, fontsize=8)
        axes.locator_params(axis="x", nbins=3)
    figure.axes[0].invert_yaxis()
    handles = [
        Line2D([], [], label="printed in the paper, rounded", **printed),
        Line2D([], [], label="as in the paper", **looks[False]),
        Line2D([], [], label="ours, ± spread", **looks[True]),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2, handlelength=1.4)
    return figure


def joint_gaussian(appendix: Appendix) -> Figure:
    """Two correlated variables, the slice at y = 1, and both distributions (figure 8)."""
    result = appendix.gaussian
    x, y = result.points.T
    figure, main, top, right = _joint()
    main.plot(x, y, "o", ms=1.3, mew=0, color=OKABE_ITO[0], alpha=0.3, rasterized=True, label="all")
    main.plot(x[result.near], y[result.near], "o", ms=2.2, mew=0, color=OKABE_ITO[1], rasterized=True, label="y near 1")
    main.axhspan(*SLICE, color=OKABE_ITO[1], alpha=0.25, lw=0)
    bins = np.linspace(-4.2, 4.2, 85).tolist()
    top.hist(x, bins=bins, density=True, color=OKABE_ITO[0], alpha=0.7)
    mean, sd = result.solved
    fine = np.linspace(mean - 4 * sd, mean + 4 * sd, 120)
    curve = np.exp(-0.5 * ((fine - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
    top.plot(fine, curve, color=OKABE_ITO[1], lw=1.4)
    top.hist(x[result.near], bins=np.linspace(0.8, 1.2, 17).tolist(), density=True, color=OKABE_ITO[1], alpha=0.45)
    top.set_ylabel("density")
    right.hist(y, bins=bins, density=True, orientation="horizontal", color=OKABE_ITO[0], alpha=0.7)
    right.set_xlabel("density")
    main.set(xlabel="x (no unit)", ylabel="y (no unit)")
    main.legend(loc="lower right", markerscale=4)
    note = f"x given y = 1\nby our gmm: {mean:.3f} ± {sd:.3f}"
    top.text(0.02, 0.93, note, transform=top.transAxes, va="top", fontsize=8, color=INK)
    return figure


def joint_transform(appendix: Appendix) -> Figure:
    """A uniform variable transformed into a Gaussian one, point by point (figure 9)."""
    result = appendix.transformed
    figure, main, top, right = _joint()
    main.plot(result.before, result.after, "o", ms=1.3, mew=0, color=OKABE_ITO[0], alpha=0.5, rasterized=True)
    top.hist(result.before, bins=40, density=True, color=OKABE_ITO[0], alpha=0.7)
    top.axhline(1.0, **DASHED)
    edges = np.linspace(-4, 4, 81)
    right.hist(result.after, bins=edges.tolist(), density=True, orientation="horizontal", color=OKABE_ITO[0], alpha=0.7)
    right.plot(np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi), edges, **DASHED)
    top.set_ylabel("density")
    right.set_xlabel("density")
    main.set(xlabel="x₁, uniform (no unit)", ylabel="x₂, Gaussian (no unit)")
    return figure


def on_parabola(appendix: Appendix, which: str) -> Figure:
    """The predictions of a model of y = x² inside, between and outside its data (figures 10 and 11, and our gp)."""
    result = appendix.parabola
    figure = style.canvas(1, 1, height=3.5)
    (axes,) = figure.axes
    for low, high in ((-4.0, -2.0), (2.0, 4.0)):
        axes.axvspan(low, high, color=BAND, lw=0, zorder=0)
    axes.plot(result.grid, result.grid**2, **DASHED, label="y = x²")
    axes.plot(result.x, result.y, "o", ms=4, mew=0, color=OKABE_ITO[0], label="data")
    if which == "mixture":
        axes.plot(result.grid, result.mixture, color=OKABE_ITO[1], label="mixture of 4 Gaussians")
    elif which == "forest":
        axes.plot(
            result.grid, result.forest, "s", ms=2.6, mew=0, color=OKABE_ITO[1], label="ForestDiffusion, a draw each"
        )
        axes.plot(result.grid, result.forest, color=OKABE_ITO[1], lw=0.6, alpha=0.6)
    else:
        band = (result.gp - 2 * result.gp_sd, result.gp + 2 * result.gp_sd)
        axes.fill_between(result.grid, *band, color=OKABE_ITO[2], alpha=0.3, lw=0, label="± 2 standard deviations")
        axes.plot(result.grid, result.gp, color=OKABE_ITO[2], label="our gp")
    axes.set(xlabel="x: where the data is", ylabel="y (no unit)", ylim=(-11, 27))
    axes.legend(loc="upper center", ncols=1)
    return figure


def _joint() -> tuple[Figure, Axes, Axes, Axes]:
    """Axes for a scatter plot, with a distribution above it and one to its right."""
    figure = style.canvas(2, 2, height=5.0, height_ratios=[1, 3.2], width_ratios=[3.2, 1])
    top, corner, main, right = figure.axes
    corner.set_visible(False)
    top.sharex(main)
    right.sharey(main)
    for axes in (top, right):
        axes.grid(False)
    top.tick_params(labelbottom=False)
    right.tick_params(labelleft=False)
    return figure, main, top, right
