"""The readings of the best trial and the goal, channel by channel."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdl.core.goal import Goal
from sdl.core.trials import Trial
from sdl.report import style
from sdl.report.style import BAND, FAINT, INK
from sdl.report.table import TrialTable

MOST_CHANNELS = 40  # drawn; those of the goal are always among them


def spectrum(table: TrialTable) -> Figure | None:
    """Readings of the best trial, or else the last, by channel; below, the errors of the goal's channels."""
    trial = table.final
    if trial is None or not trial.readings:
        return None
    names = [name for name in table.channels if name in trial.mean]
    if len(names) > MOST_CHANNELS:
        kept = [names[i] for i in style.thinned(len(names), MOST_CHANNELS)]
        names = [name for name in names if name in kept or (table.goal is not None and name in table.goal.bands)]
    # By wavelength; what has none (clear, near infrared) follows in the instrument's order.
    names.sort(key=lambda name: style.wavelength(name) or math.inf)
    goal = table.goal
    ratios = [2.2, 1] if goal is not None else [2.2]
    figure = style.canvas(len(ratios), height=3.9 if goal else 2.9, sharex=True, height_ratios=ratios)
    _bars(figure.axes[0], table, trial, names)
    if goal is not None:
        _errors(figure.axes[1], goal, trial, names)
    labels = [style.plain(_short(name), 16) for name in names]
    crowded = len(names) > 14 or max(map(len, labels)) > 60 / len(labels)
    last = figure.axes[-1]
    last.set_xticks(range(len(names)), labels, rotation=90 if crowded else 0)
    last.set_xlabel("channel" + (" (nm, where it is a number)" if any(map(style.wavelength, names)) else ""))
    last.set_xlim(-0.6, len(names) - 0.4)
    return figure


def _short(name: str) -> str:
    return name.removesuffix("nm").removeprefix("ch") if style.wavelength(name) else name


def _bars(axes: Axes, table: TrialTable, trial: Trial, names: list[str]) -> None:
    tints = style.channel_colours(names)
    axes.bar(range(len(names)), [trial.mean[name] for name in names], color=[tints[n] for n in names], width=0.72)
    for at, name in enumerate(names):
        band = table.goal.bands.get(name) if table.goal else None
        ends = [] if band is None else [band.low, band.high] if band.target is None else [band.target]
        for end in ends:
            if math.isfinite(end):
                axes.hlines(end, at - 0.47, at + 0.47, color=INK, lw=1.8)
    full = [top for name in names if (top := table.specs[name].get("high") or table.specs[name].get("saturation"))]
    highest = max([trial.mean[name] for name in names], default=0.0)
    if full and highest > 0.7 * max(full):
        axes.axhline(max(full), color=FAINT, lw=0.9, ls=(0, (4, 3)))
        axes.text(-0.5, max(full), "saturated", fontsize=8, color=FAINT, va="bottom")
    units = {table.units[name] for name in names}
    axes.set_ylabel(style.axis_label("reading", units.pop() if len(units) == 1 else ""))
    axes.grid(False, axis="x")
    axes.plot([], [], "s", color=FAINT, ms=7, label=f"trial {trial.trial}, the {table.final_name}")
    if table.goal:
        axes.plot([], [], color=INK, lw=1.8, label="goal")
    style.legend(axes.figure, 2)


def _errors(axes: Axes, goal: Goal, trial: Trial, names: list[str]) -> None:
    """The signed tolerance ratio of each channel of the goal."""
    axes.axhspan(-1, 1, color=BAND, lw=0)
    axes.axhline(0, color=FAINT, lw=0.7)
    tints, limit = style.channel_colours(names), 1.0
    for at, name in enumerate(names):
        if name not in goal.limited:
            continue
        band, value = goal.bands[name], trial.mean[name]
        centre = band.target if band.target is not None else (band.low if value < band.low else band.high)
        miss = math.copysign(band.miss(value), value - centre)
        if not math.isfinite(miss):
            continue
        limit = max(limit, abs(miss))
        axes.plot([at, at], [0, miss], color=tints[name], lw=1.6)
        axes.plot(at, miss, "o", color=tints[name], ms=6)
        if name in trial.saturated:
            axes.text(at, miss, "  saturated", fontsize=8, color=FAINT, va="center")
    axes.set_ylim(-1.25 * limit - 0.1, 1.25 * limit + 0.1)
    axes.set_ylabel("error (× tolerance)")
    axes.grid(False, axis="x")
