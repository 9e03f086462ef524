"""Figures over time: background and duration of readings; trials, failures, pauses and interventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdl.core import events
from sdl.core.events import Event, Measured, Stopped
from sdl.formatting import display
from sdl.report import style
from sdl.report.style import FAINT, INK, OKABE_ITO, RASTER
from sdl.report.table import TrialTable, unit_of_time

BACKGROUNDS = 6  # most channels whose background is drawn, those of the goal first


def conditions(table: TrialTable) -> Figure | None:
    """Background, where it was measured, and duration of each reading; None without a reading."""
    readings = table.run.measured()
    if not readings:
        return None
    unit, length = unit_of_time(table.seconds)
    at = np.array([event.at - table.start for event in readings]) / length
    has = np.flatnonzero([bool(event.background) for event in readings])
    rows = 2 if len(has) else 1
    figure = style.canvas(rows, height=1.0 + 1.35 * rows, sharex=True)
    if len(has):
        axes, names = figure.axes[0], list(dict.fromkeys([*table.goal_channels, *table.channels]))[:BACKGROUNDS]
        tints = style.channel_colours(names)
        for n, name in enumerate(names):
            values = np.array([(readings[i].background or {}).get(name, np.nan) for i in has], float)
            look = {"color": tints[name], "label": style.plain(name)}
            style.points(axes, at[has], values, style.MARKERS[n], 3.5, joined=True, **look)
        axes.set_ylabel(style.axis_label("background", table.units[names[0]]))
        style.legend(figure, 3)
    last = figure.axes[-1]
    took, end = np.array([event.elapsed for event in readings]), float(at.max())
    style.points(last, at, took, "o", 3.5, color=FAINT, mec="none")
    last.set(ylabel="duration of a reading (s)", xlabel=f"time since the start ({unit})")
    last.set(
        ylim=(0, max(float(took.max()) * 1.15, 1e-3)), xlim=(min(0.0, float(at.min())), 1.03 * end if end > 0 else 1.0)
    )
    if not len(has):
        last.set_title("no background was measured with these readings", fontsize=8, color=FAINT)
    return figure


MARKS = {
    "design": ("|", OKABE_ITO[1]),
    "solver": ("|", OKABE_ITO[0]),
    "no proposal": ("x", INK),
    "no reading": ("x", INK),
    "faulty reading": ("D", OKABE_ITO[3]),
    "saturated": ("^", OKABE_ITO[4]),
    "skipped": ("s", OKABE_ITO[5]),
    "corrected": ("P", OKABE_ITO[5]),
    "attached": ("+", INK),
    "resumed": (">", INK),
    "interrupted": ("s", INK),
    "abort": ("X", INK),
}
"""Marker and colour of each row of the timeline, from the top."""

ROWS: dict[type, Callable[[Any], tuple[str, ...]]] = {
    Measured: lambda event: (*(["faulty reading"] if event.fault else []), *(["saturated"] if event.saturated else [])),
    events.Failed: lambda event: ("no proposal" if event.stage == "propose" else "no reading",),
    events.Skipped: lambda _: ("skipped",),
    events.Corrected: lambda _: ("corrected",),
    events.Attached: lambda _: ("attached",),
    events.Resumed: lambda _: ("resumed",),
    events.Interrupted: lambda _: ("interrupted",),
    events.AbortAsked: lambda _: ("abort",),
}
"""Rows on which an event is marked, by its class; a reading is also marked on the row of its proposer."""


def timeline(table: TrialTable) -> Figure | None:
    """One row each for design, solver, failures, faults, pauses and so on; empty rows are left out."""
    happened = [event for event in table.run.events if not isinstance(event, events.Safe)]
    unit, length = unit_of_time(table.seconds)

    def when(event: Event) -> float:
        return float(event.at - table.start) / length

    times: dict[str, list[float]] = {name: [] for name in MARKS}
    for event in happened:
        if isinstance(event, Measured):
            times["solver" if table.by_solver[event.trial] else "design"].append(when(event))
        for name in ROWS[type(event)](event) if type(event) in ROWS else ():
            times[name].append(when(event))
    end = max(when(happened[-1]), 1e-9)
    pauses = _pauses(happened, when, end)
    shown = [name for name, at in times.items() if at] + (["paused"] if pauses else [])
    if not shown:
        return None
    figure = style.canvas(height=0.95 + 0.27 * len(shown))
    axes: Axes = figure.axes[0]
    for y, name in enumerate(shown):
        if name == "paused":
            axes.broken_barh([(at, max(wide, end / 300)) for at, wide in pauses], (y - 0.3, 0.6), color=FAINT, lw=0)
            continue
        (marker, colour), at = MARKS[name], times[name]
        look: dict[str, Any] = {"ms": 10 if marker == "|" else 5, "mew": 0.5 if len(at) > RASTER else 1.2}
        axes.plot(at, [y] * len(at), marker, color=colour, rasterized=len(at) > RASTER, **look)
    stops = [event for event in happened if isinstance(event, Stopped)]
    for stop in stops[-20:]:
        axes.axvline(when(stop), color=INK, lw=0.8)
    if stops and stops[-1] is happened[-1]:
        axes.text(when(stops[-1]), -0.75, f"{display(stops[-1].outcome)} ", ha="right", va="center", fontsize=8)
    axes.set(yticks=range(len(shown)), yticklabels=shown, ylim=(len(shown) - 0.4, -1.1))
    axes.set(xlim=(-0.02 * end, 1.02 * end), xlabel=f"time since the start ({unit})")
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


def _pauses(happened: Sequence[Event], when: Callable[[Event], float], end: float) -> list[tuple[float, float]]:
    """Begin and duration of each pause."""
    pauses, since = [], None
    for event in happened:
        if isinstance(event, events.Paused):
            since = when(event)
        elif since is not None and isinstance(event, (events.Continued, Stopped, events.Resumed, events.Interrupted)):
            pauses.append((since, when(event) - since))
            since = None
    return pauses + ([(since, end - since)] if since is not None else [])
