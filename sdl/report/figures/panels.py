"""Shared parts of the figures of inputs, channels and the forward model."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from sdl.arrays import Floats, Ints
from sdl.report import style
from sdl.report.table import TrialTable

CLOSE = 0.01
"""Points closer than this fraction of both axes hide each other; one of them is drawn."""


def distinct(x: Floats, y: Floats, wide: float, high: float) -> Ints:
    """Indices of points that do not hide one another on axes of these ranges; of points at one place the latest."""
    cells = np.round(np.array([x[::-1] / (CLOSE * wide), y[::-1] / (CLOSE * high)]))
    kept = np.unique(cells, axis=1, return_index=True)[1]
    return np.asarray(np.sort(len(x) - 1 - kept), dtype=np.intp)


def two_lines(name: str, unit: str, limit: int = 16) -> str:
    """The label of a small panel: the name, and below it the unit."""
    return style.plain(name, limit) + (f"\n({style.plain(unit, limit)})" if unit else "")


def input_axes(axes: Axes, table: TrialTable, a: str, b: str, margin: float) -> None:
    """A square panel of two inputs over their whole ranges, with a margin as a fraction of them."""
    for which, name in (("x", a), ("y", b)):
        ticks, labels = table.ticks(name, middle=True)
        label = style.axis_label(name, table.units[name], 20)
        axes.set(**{f"{which}lim": style.with_margin(*table.range_of(name), margin), f"{which}label": label})
        axes.set(**{f"{which}ticks": ticks, f"{which}ticklabels": labels})
    axes.set_box_aspect(1)


def thousands(value: float, _: object = None) -> str:
    """`16k` for 16000; smaller numbers as they are."""
    return f"{value / 1000:.6g}k" if abs(value) >= 10_000 else f"{value:g}"


def band_of(table: TrialTable, channel: str) -> tuple[float, float] | None:
    """The ends of the accepted range of a channel; None without a limit."""
    band = table.goal.bands.get(channel) if table.goal else None
    return None if band is None or band.direction is not None else (band.low, band.high)
