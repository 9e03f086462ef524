"""Inputs and channels, every one against every other (seaborn)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdl.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sdl.report.digest import Digest

MOST_TRIALS = 600
"""Evenly chosen among more: what a pair plot shows is seen long before."""

MOST = 6
"""Variables: 21 panels. Inputs come first, then channels of the goal in their order."""


def pairs(told: Digest) -> Figure | None:
    """The lower half of a pair plot; None with fewer than three trials that have readings."""
    import numpy as np

    with_readings = np.flatnonzero(told.came)
    if len(with_readings) < 3:
        return None
    try:
        import pandas
        import seaborn
    except ImportError as error:
        raise style.missing(error.name or "seaborn") from error
    inputs = list(told.inputs[:3])
    channels = list(told.wanted[: MOST - len(inputs)])
    picked = with_readings[style.thinned(len(with_readings), MOST_TRIALS)]
    columns = {f"{n} ": told.X[picked, told.inputs.index(n)] for n in inputs}  # an input and a channel may share a name
    columns |= {n: told.Y[picked, told.channels.index(n)] for n in channels}
    columns["by"] = np.where(told.by_solver[picked], "solver", "design")
    frame = pandas.DataFrame(columns)
    names = [name for name in columns if name != "by"]
    order = [who for who in ("design", "solver") if (frame["by"] == who).any()]
    palette = {"design": style.OKABE_ITO[1], "solver": style.OKABE_ITO[0]}
    markers = {"design": "s", "solver": "o"}
    many, count = len(picked) > 150, len(names)
    heavy = len(picked) * count > 200  # many panels: one image each, and small
    figure = _empty()
    for i, row in enumerate(names):
        for j, column in enumerate(names[: i + 1]):
            axes = figure.add_subplot(count, count, 1 + i * count + j)
            axes.grid(False)
            axes.set(xlabel=" ", ylabel=" ")  # else seaborn makes every tick label to see whether one is seen
            if i == j:
                seaborn.histplot(
                    frame, x=column, hue="by", hue_order=order, palette=palette, bins=12, ax=axes, legend=False,
                    element="step", linewidth=0.4, multiple="stack",
                )  # fmt: skip
                axes.spines["left"].set_visible(False)
            else:
                for who in order:  # seaborn's scatterplot draws the same in five times the time
                    part = frame[frame["by"] == who]
                    axes.plot(
                        part[column], part[row], markers[who], color=palette[who], ms=1.7 if many else 3.6, mec="none",
                        alpha=0.5 if many else 0.85, rasterized=heavy,
                    )  # fmt: skip
            axes.set(xlabel="", ylabel="")
            axes.tick_params(labelsize=6.5, length=2, pad=1.5)
            _scale(told, axes, "x", column, frame[column], labels=i == count - 1)
            if i == j:
                axes.set_yticks([])
            else:
                _scale(told, axes, "y", row, frame[row], labels=j == 0)
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], ls="", marker=markers[w], color=palette[w], label=f"by the {w}") for w in order]
    figure.legend(handles=handles, loc="upper right")
    return figure


def _empty() -> Figure:
    """With room for labels at the left and below; constrained layout takes seconds over so many axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.WIDTH, style.WIDTH))
    figure.set_layout_engine("none")
    figure.subplots_adjust(left=0.125, right=0.99, bottom=0.095, top=0.99, hspace=0.14, wspace=0.14)
    return figure


def _scale(told: Digest, axes: Axes, which: str, column: str, values: Any, *, labels: bool) -> None:
    """The same limits and few ticks in every panel of a variable; names where there is room, at the edges."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    name = column.removesuffix(" ")
    low, high = float(values.min()), float(values.max())
    if column != name:  # an input is shown over its whole range
        low, high = float(told.about[name]["low"]), float(told.about[name]["high"])
    room = 0.08 * (high - low) or 1.0
    getattr(axes, f"set_{which}lim")(low - room, high + room)
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(FixedLocator([low, high]) if column != name else MaxNLocator(nbins=2, min_n_ticks=2))
    axis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}")
    if labels:
        getattr(axes, f"set_{which}label")(_label(told, column), fontsize=7.5)
    elif which == "x":
        axes.tick_params(axis="x", labelbottom=False)
    else:
        axes.tick_params(axis="y", labelleft=False)


def _label(told: Digest, column: str) -> str:
    name = column.removesuffix(" ")
    unit = told.units[name]
    return style.plain(name) + (f"\n({style.plain(unit)})" if unit else "")
