"""The best trial's reading beside the goal, channel by channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdl.report import style
from sdl.report.style import BAND, FAINT, INK

if TYPE_CHECKING:
    from sdl.core.goal import Goal
    from sdl.report.digest import Row, TrialTable

MOST = 40
"""So many channels have a bar of their own; the goal's are always among them."""


def spectrum(told: TrialTable) -> Figure | None:
    """Readings of the best trial (or the last) over the channels; below, how far the goal's are off."""
    row = told.final
    if row is None or not row.mean:
        return None
    names = [name for name in told.channels if name in row.mean]
    if len(names) > MOST:
        kept = [names[i] for i in style.thinned(len(names), MOST)]
        names = [name for name in names if name in kept or (told.goal is not None and name in told.goal.bands)]
    # By wavelength; what has none (clear, near infrared) follows in the instrument's order.
    names.sort(key=lambda name: style.wavelength(name) or math.inf)
    goal = told.goal
    rows = 2 if goal is not None else 1
    figure = style.canvas(rows, height=3.9 if goal else 2.9, sharex=True, height_ratios=[2.2, 1][:rows])
    _bars(figure.axes[0], told, row, names)
    if goal is not None:
        _off(figure.axes[1], goal, row, names)
    last = figure.axes[-1]
    labels = [style.plain(_short(name), 16) for name in names]
    crowded = len(names) > 14 or max(map(len, labels)) > 60 / len(labels)
    last.set_xticks(range(len(names)), labels, rotation=90 if crowded else 0)
    last.set_xlabel("channel" + (" (nm, where it is a number)" if any(map(style.wavelength, names)) else ""))
    last.set_xlim(-0.6, len(names) - 0.4)
    return figure


def _short(name: str) -> str:
    return name.removesuffix("nm").removeprefix("ch") if style.wavelength(name) else name


def _bars(axes: Axes, told: TrialTable, row: Row, names: list[str]) -> None:
    tints = style.channel_colours(names)
    axes.bar(range(len(names)), [row.mean[name] for name in names], color=[tints[n] for n in names], width=0.72)
    for at, name in enumerate(names):
        band = told.goal.bands.get(name) if told.goal else None
        ends = [] if band is None else [band.low, band.high] if band.target is None else [band.target]
        for end in ends:
            if math.isfinite(end):
                axes.hlines(end, at - 0.47, at + 0.47, color=INK, lw=1.8)
    about = [told.about[name] for name in names]
    full = [
        float(item.get("high") or item["saturation"]) for item in about if item.get("high") or item.get("saturation")
    ]
    top = max([row.mean[name] for name in names], default=0.0)
    if full and top > 0.7 * max(full):
        axes.axhline(max(full), color=FAINT, lw=0.9, ls=(0, (4, 3)))
        axes.text(-0.5, max(full), "saturated", fontsize=8, color=FAINT, va="bottom")
    units = {told.units[name] for name in names}
    axes.set_ylabel(style.labelled("reading", units.pop() if len(units) == 1 else ""))
    axes.grid(False, axis="x")
    which = "best" if told.best is row else "last"
    axes.plot([], [], "s", color=FAINT, ms=7, label=f"trial {row.proposed.trial}, the {which}")
    if told.goal:
        axes.plot([], [], color=INK, lw=1.8, label="goal")
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)


def _off(axes: Axes, goal: Goal, row: Row, names: list[str]) -> None:
    """Signed distances in tolerances."""
    axes.axhspan(-1, 1, color=BAND, lw=0)
    axes.axhline(0, color=FAINT, lw=0.7)
    tints, most = style.channel_colours(names), 1.0
    full = {name for event in row.readings for name in event.saturated}
    for at, name in enumerate(names):
        if name not in goal.bands:
            continue
        band, value = goal.bands[name], row.mean[name]
        centre = band.target if band.target is not None else (band.low if value < band.low else band.high)
        miss = math.copysign(band.miss(value), value - centre)
        if not math.isfinite(miss):
            continue
        most = max(most, abs(miss))
        axes.plot([at, at], [0, miss], color=tints[name], lw=1.6)
        axes.plot(at, miss, "o", color=tints[name], ms=6)
        if name in full:
            axes.text(at, miss, "  saturated", fontsize=8, color=FAINT, va="center")
    axes.set_ylim(-1.25 * most - 0.1, 1.25 * most + 0.1)
    axes.set_ylabel("off, tolerances")
    axes.grid(False, axis="x")
