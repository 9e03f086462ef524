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
STRONG = 0.5
"""Correlation from which a panel of a pair plot is coloured."""
DASHED: dict[str, Any] = {"color": INK, "lw": 0.9, "ls": (0, (4, 3))}
THOUSANDS: Any = FuncFormatter(lambda value, _: f"{value / 1000:g}")


class PaperFigure(NamedTuple):
    """A figure of the page: its title, its caption and the function that draws it."""

    title: str
    caption: str
    draw: Callable[[Findings, Appendix], Figure]


READINGS = "Predicted against measured readings; below, their difference."
SETTINGS = "Predicted against applied settings; below, their difference."
FIGURES = {
    "figure-2": PaperFigure(
        "Figure 2",
        "Inputs (bold) and channels (italic) in pairs.",
        lambda found, _: pair_plot(np.hstack([found.pairs.data.X, found.pairs.data.Y]), "one dot is one reading"),
    ),
    "figure-3": PaperFigure("Figure 3", READINGS, lambda found, _: parity(found.parity["linear"])),
    "figure-4": PaperFigure("Figure 4", SETTINGS, lambda found, _: parity(found.parity["pls"])),
    "figure-5": PaperFigure(
        "Figure 5",
        "Five hundred pairs drawn from the fitted Gaussian.",
        lambda found, _: pair_plot(found.mixture, "one dot is one draw"),
    ),
    "figure-6": PaperFigure("Figure 6", READINGS, lambda found, _: parity(found.parity["gmm"])),
    "figure-7": PaperFigure("Figure 7", SETTINGS, lambda found, _: parity(found.parity["forest"])),
    "table-1": PaperFigure(
        "Table 1 as a figure",
        "Settings for the goal by the paper's methods and by our solvers, with the spread for one noisy reading.",
        lambda found, _: answers(found),
    ),
    "figure-8": PaperFigure(
        "Figure 8",
        "All draws, those with y between 0.98 and 1.02, and x given y = 1 by our solver gmm (curve).",
        lambda _, appendix: joint_gaussian(appendix),
    ),
    "figure-9": PaperFigure(
        "Figure 9",
        "Uniform on the x axis, Gaussian on the y axis; dashed: the exact densities.",
        lambda _, appendix: joint_transform(appendix),
    ),
    "figure-10": PaperFigure(
        "Figure 10", "Four Gaussians: expected y given x.", lambda _, appendix: on_parabola(appendix, "mixture")
    ),
    "figure-11": PaperFigure(
        "Figure 11",
        "ForestDiffusion: one draw of y for each x.",
        lambda _, appendix: on_parabola(appendix, "forest"),
    ),
    "ours": PaperFigure(
        "Our Gaussian process",
        "Our solver gp, with its standard deviation of one reading.",
        lambda _, appendix: on_parabola(appendix, "gp"),
    ),
}


def draw_all(findings: Findings, appendix: Appendix) -> dict[str, Figure]:
    """Every figure by its name.

    Raises:
        ConfigError: matplotlib or seaborn is not installed.
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
    count = len(names)
    correlation: Any = np.corrcoef(values.T)
    tints = {**style.input_colours(INPUTS), **style.channel_colours(CHANNELS)}
    figure = style.canvas(count, count, height=style.WIDTH * 1.05)
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    grid = np.array(figure.axes).reshape(count, count)
    small = 1.2 if len(values) > 200 else 2.4
    for i in range(count):
        for j in range(count):
            axes = grid[i, j]
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
            axes.tick_params(labelsize=6, length=2, pad=1.5)
            if names[j] in CHANNELS:
                axes.xaxis.set_major_formatter(THOUSANDS)
            if names[i] in CHANNELS and i != j:
                axes.yaxis.set_major_formatter(THOUSANDS)
            axes.tick_params(labelbottom=i == count - 1, labelleft=j == 0 and i != 0)
            if i == count - 1:
                axes.set_xlabel(_named(names[j]), fontsize=7.5, **_face(names[j]))
            if j == 0:
                axes.set_ylabel(_named(names[i]), fontsize=7.5, **_face(names[i]))
    figure.suptitle(f"{label}; blue: correlated (|r| ≥ {STRONG:g})", fontsize=8, x=0.01, ha="left", color=FAINT)
    return figure


def parity(findings: Parity) -> Figure:
    """Predicted against known values, and their difference; training rows are faint, test rows have an edge."""
    counts = findings.unit == "counts"
    tints = (style.channel_colours if counts else style.input_colours)(findings.columns)
    scale, unit, kind = (1000.0, "1000 counts", "measured") if counts else (1.0, findings.unit, "set")
    figure = style.canvas(2, 1, height=5.6, height_ratios=[2.1, 1.0], sharex=True)
    above, below = figure.axes
    test = ~findings.train
    for i, name in enumerate(findings.columns):
        known, by_model, marker = findings.known[:, i] / scale, findings.predicted[:, i] / scale, style.MARKERS[i]
        for axes, values in ((above, by_model), (below, (by_model - known) * scale)):
            look: dict[str, Any] = {"ls": "", "marker": marker, "color": tints[name]}
            axes.plot(known[findings.train], values[findings.train], ms=3.2, mew=0, alpha=0.35, **look)
            axes.plot(known[test], values[test], ms=5.5, mew=0.5, mec=INK, **look)
        score = findings.score(name, train=False)
        above.plot([], [], ls="", marker=marker, ms=5.5, color=tints[name], label=f"{name}  R² {score.r2:.5f} (test)")
    every = np.concatenate([findings.known.ravel(), findings.predicted.ravel()]) / scale
    ends = [float(every.min()), float(every.max())]
    above.plot(ends, ends, **DASHED, zorder=1)
    below.axhline(0, **DASHED, zorder=1)
    above.set_ylabel(f"by the model ({unit})")
    below.set_ylabel(f"model − {kind}\n({findings.unit})")
    below.set_xlabel(f"{kind} ({unit})")
    above.legend(loc="upper left", handletextpad=0.3)
    above.text(
        0.99, 0.02, "faint: training · edged: test", transform=above.transAxes, ha="right", fontsize=8, color=FAINT
    )
    return figure


def answers(findings: Findings) -> Figure:
    """Settings for the goal by every solver, one panel per input, with their spread; the paper's as a line."""
    methods = [one for one in (*findings.paper, *findings.ours) if one.answers]
    names = [one.name if one in findings.paper else f"our {one.name}" for one in methods]
    figure = style.canvas(1, len(INPUTS), height=0.9 + 0.24 * len(methods), sharey=True)
    published = {method.key: method.answer for method in METHODS}
    for i, (axes, item) in enumerate(zip(figure.axes, INPUTS, strict=True)):
        for row, one in enumerate(methods):
            answer, ours = one.goal.answer, one in findings.ours
            sd = answer.spread[item] or 0.0
            colour = OKABE_ITO[0] if ours else OKABE_ITO[1]
            axes.errorbar(
                answer.raw[item], row, xerr=sd, fmt="o" if ours else "s", ms=4, color=colour, elinewidth=1, capsize=2
            )
            if not ours:  # all values that round to the printed number
                value = published[one.key][i]
                axes.plot(
                    [value - 0.005, value + 0.005], [row, row], color=PRINTED, lw=9, solid_capstyle="butt", zorder=0
                )
        axes.set_xlabel(f"{item} (of full light)")
        axes.set_yticks(range(len(methods)), names, fontsize=8)
        axes.locator_params(axis="x", nbins=3)
    figure.axes[0].invert_yaxis()

    handles = [
        Line2D([], [], color=PRINTED, lw=9, solid_capstyle="butt", label="printed in the paper, rounded"),
        Line2D([], [], color=OKABE_ITO[1], marker="s", ms=4, label="as in the paper"),
        Line2D([], [], color=OKABE_ITO[0], marker="o", ms=4, label="ours, ± spread"),
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
    top.text(
        0.02, 0.93, f"x given y = 1\nby our gmm: {mean:.3f} ± {sd:.3f}", transform=top.transAxes, va="top", fontsize=8,
        color=INK,
    )  # fmt: skip
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
    """A square with a distribution above and one beside it."""
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


def _named(name: str) -> str:
    return f"{name}\n(of full)" if name in INPUTS else f"{name}\n(k counts)"


def _face(name: str) -> dict[str, str]:
    """Inputs bold, channels in italics, as in the paper."""
    return {"fontweight": "bold"} if name in INPUTS else {"fontstyle": "italic"}
