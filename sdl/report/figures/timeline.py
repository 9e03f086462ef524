"""Figures over time: background and duration of readings; trials, failures, pauses and interventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdl.core.events import (
    AbortAsked,
    Continued,
    Event,
    Failed,
    Interrupted,
    Measured,
    Paused,
    Resumed,
    Safe,
    Stopped,
)
from sdl.formatting import display
from sdl.report import style
from sdl.report.style import FAINT, INK, OKABE_ITO, RASTER
from sdl.report.table import unit_of_time

if TYPE_CHECKING:
    from sdl.report.table import TrialTable

BACKGROUNDS = 6
"""Most channels whose background is drawn, those of the goal first."""


def conditions(table: TrialTable) -> Figure | None:
    """Background, where it was measured, and duration of each reading; None without a reading."""
    readings = table.run.measured()
    if not readings:
        return None
    unit, length = unit_of_time(table.seconds)
    at = np.array([event.at - table.start for event in readings]) / length
    taken = [event.background for event in readings]
    has = [n for n, one in enumerate(taken) if one]
    names = [*table.goal_channels, *(name for name in table.channels if name not in table.goal_channels)][:BACKGROUNDS]
    rows = 2 if has else 1
    figure = style.canvas(rows, height=1.0 + 1.35 * rows, sharex=True)
    many = len(at) > RASTER
    if has:
        axes = figure.axes[0]
        tints = style.channel_colours(names)
        for n, name in enumerate(names):
            values = np.array([(taken[i] or {}).get(name, np.nan) for i in has], float)
            axes.plot(
                at[has], values, style.MARKERS[n] + ("" if many else "-"), color=tints[name], ms=1.5 if many else 3.5,
                lw=0.8, label=style.plain(name), rasterized=many,
            )  # fmt: skip
        axes.set_ylabel(style.axis_label("background", table.units[names[0]]))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    last = figure.axes[-1]
    took = np.array([event.elapsed for event in readings])
    last.plot(at, took, "o", color=FAINT, ms=1.5 if many else 3.5, rasterized=many, mec="none")
    last.set_ylim(0, max(float(took.max()) * 1.15, 1e-3))
    last.set(ylabel="duration of a reading (s)", xlabel=f"time since the start ({unit})")
    end = float(at.max())
    last.set_xlim(min(0.0, float(at.min())), 1.03 * end if end > 0 else 1.0)
    if not has:
        last.set_title("no background was measured with these readings", fontsize=8, color=FAINT)
    return figure


MARKS = {
    "design": ("|", OKABE_ITO[1]),
    "solver": ("|", OKABE_ITO[0]),
    "no proposal": ("x", INK),
    "no reading": ("x", INK),
    "faulty reading": ("D", OKABE_ITO[3]),
    "saturated": ("^", OKABE_ITO[4]),
    "resumed": (">", INK),
    "interrupted": ("s", INK),
    "abort": ("X", INK),
}
"""Marker and colour of each row of the timeline, from the top."""

ROWS: dict[type, Callable[[Any], tuple[str, ...]]] = {
    Measured: lambda event: (*(["faulty reading"] if event.fault else []), *(["saturated"] if event.saturated else [])),
    Failed: lambda event: ("no proposal" if event.stage == "propose" else "no reading",),
    Resumed: lambda _: ("resumed",),
    Interrupted: lambda _: ("interrupted",),
    AbortAsked: lambda _: ("abort",),
}
"""Rows on which an event is marked, by its class; a reading is also marked on the row of its proposer."""


def timeline(table: TrialTable) -> Figure | None:
    """One row each for design, solver, failures, faults, pauses and so on; empty rows are left out."""
    events = [event for event in table.run.events if not isinstance(event, Safe)]
    unit, length = unit_of_time(table.seconds)

    def when(event: Event) -> float:
        return float(event.at - table.start) / length

    times: dict[str, list[float]] = {name: [] for name in MARKS}
    for event in events:
        if isinstance(event, Measured):
            times["solver" if table.by_solver[event.trial] else "design"].append(when(event))
        for name in ROWS[type(event)](event) if type(event) in ROWS else ():
            times[name].append(when(event))
    end = max(when(events[-1]), 1e-9)
    pauses = _pauses(events, when, end)
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
        many = len(at) > RASTER
        size = 10 if marker == "|" else 5
        axes.plot(at, [y] * len(at), marker, color=colour, ms=size, mew=0.5 if many else 1.2, rasterized=many)
    stops = [event for event in events if isinstance(event, Stopped)]
    for event in stops[-20:]:
        axes.axvline(when(event), color=INK, lw=0.8)
    if stops and stops[-1] is events[-1]:
        outcome = f"{display(stops[-1].outcome)} "
        axes.text(when(stops[-1]), -0.75, outcome, ha="right", va="center", fontsize=8)
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.4, -1.1)
    axes.set_xlim(-0.02 * end, 1.02 * end)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"time since the start ({unit})")
    return figure


def _pauses(events: Sequence[Event], when: Callable[[Event], float], end: float) -> list[tuple[float, float]]:
    """Begin and duration of each pause."""
    pauses, since = [], None
    for event in events:
        if isinstance(event, Paused):
            since = when(event)
        elif since is not None and isinstance(event, (Continued, Stopped, Resumed, Interrupted)):
            pauses.append((since, when(event) - since))
            since = None
    return pauses + ([(since, end - since)] if since is not None else [])
