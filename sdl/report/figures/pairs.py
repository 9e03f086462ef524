"""Inputs and channels, every one against every other (seaborn)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdl.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sdl.report.digest import Digest

MOST_TRIALS = 800
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
    figure = style.canvas(count, count, height=style.WIDTH * 1.02, sharex="col")
    grid = np.array(figure.axes).reshape(count, count)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            axes = grid[i, j]
            if j > i:
                axes.set_visible(False)
                continue
            axes.grid(False)
            if i == j:
                seaborn.histplot(
                    frame, x=column, hue="by", hue_order=order, palette=palette, bins=12, ax=axes, legend=False,
                    element="step", linewidth=0.8, multiple="stack",
                )  # fmt: skip
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
            else:
                seaborn.scatterplot(
                    frame, x=column, y=row, hue="by", hue_order=order, style="by", style_order=order, markers=markers,
                    palette=palette, s=4 if many else 14, linewidth=0, alpha=0.5 if many else 0.85, ax=axes,
                    legend=False, rasterized=many,
                )  # fmt: skip
            axes.set(xlabel="", ylabel="")
            axes.locator_params(nbins=2)
            axes.tick_params(labelsize=6.5, length=2, pad=1.5)
            if j:
                axes.set_yticks(grid[i, 0].get_yticks() if i != j else [], labels=None)
                axes.tick_params(labelleft=False)
            if i == count - 1:
                axes.set_xlabel(_label(told, column), fontsize=7.5)
            if j == 0 and i:
                axes.set_ylabel(_label(told, row), fontsize=7.5)
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], ls="", marker=markers[w], color=palette[w], label=f"by the {w}") for w in order]
    figure.legend(handles=handles, loc="upper right")
    return figure


def _label(told: Digest, column: str) -> str:
    name = column.removesuffix(" ") if column.endswith(" ") else column
    unit = told.units[name]
    return style.plain(name) + (f"\n({style.plain(unit)})" if unit else "")
