"""Over time: background and latency; trials, failures, pauses and people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdl.core.events import (
    AbortAsked,
    Continued,
    Failed,
    Interrupted,
    Measured,
    Paused,
    Proposed,
    Resumed,
    Safe,
    Stopped,
)
from sdl.formatting import display
from sdl.report import style
from sdl.report.digest import unit_of_time
from sdl.report.style import FAINT, INK, OKABE_ITO, RASTER

if TYPE_CHECKING:
    from sdl.report.digest import TrialTable

BACKGROUNDS = 6
"""Channels whose background is drawn; the goal's first."""


def conditions(told: TrialTable) -> Figure | None:
    """Background, where it was taken, and seconds a reading; None without a reading."""
    readings = told.run.measured()
    if not readings:
        return None
    unit, length = unit_of_time(told.seconds)
    at = np.array([event.at - told.start for event in readings]) / length
    taken = [event.background for event in readings]
    has = [n for n, one in enumerate(taken) if one]
    names = [*told.wanted, *(name for name in told.channels if name not in told.wanted)][:BACKGROUNDS]
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
        axes.set_ylabel(style.labelled("background", told.units[names[0]]))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    last = figure.axes[-1]
    took = np.array([event.elapsed for event in readings])
    last.plot(at, took, "o", color=FAINT, ms=1.5 if many else 3.5, rasterized=many, mec="none")
    last.set_ylim(0, max(float(took.max()) * 1.15, 1e-3))
    last.set(ylabel="a reading took (s)", xlabel=f"since it was opened ({unit})")
    end = float(at.max())
    last.set_xlim(min(0.0, float(at.min())), 1.03 * end if end > 0 else 1.0)
    if not has:
        last.set_title("no background was taken with these readings", fontsize=8, color=FAINT)
    return figure


def timeline(told: TrialTable) -> Figure | None:
    """A row each for design, solver, failures, oddities, pauses and people; rows without anything are left out."""
    events = [event for event in told.run.events if not isinstance(event, Safe)]
    unit, length = unit_of_time(told.seconds)

    def when(event: Any) -> float:
        return float(event.at - told.start) / length

    rows: dict[str, tuple[str, str, list[float]]] = {
        "design": ("|", OKABE_ITO[1], []),
        "solver": ("|", OKABE_ITO[0], []),
        "no proposal": ("x", INK, []),
        "no reading": ("x", INK, []),
        "odd reading": ("D", OKABE_ITO[3], []),
        "saturated": ("^", OKABE_ITO[4], []),
        "resumed": (">", INK, []),
        "interrupted": ("s", INK, []),
        "abort": ("X", INK, []),
    }
    pauses: list[tuple[float, float]] = []
    since: float | None = None
    end = max(when(events[-1]), 1e-9)
    solver = False
    for event in events:
        match event:
            case Proposed():
                solver = event.verdict is not None
            case Measured():
                rows["solver" if solver else "design"][2].append(when(event))
                if event.fault:
                    rows["odd reading"][2].append(when(event))
                if event.saturated:
                    rows["saturated"][2].append(when(event))
            case Failed(stage=stage):
                rows["no proposal" if stage == "propose" else "no reading"][2].append(when(event))
            case Paused():
                since = when(event)
            case Continued() | Stopped() | Resumed() | Interrupted() if since is not None:
                pauses.append((since, when(event) - since))
                since = None
        match event:
            case Resumed():
                rows["resumed"][2].append(when(event))
            case Interrupted():
                rows["interrupted"][2].append(when(event))
            case AbortAsked():
                rows["abort"][2].append(when(event))
    if since is not None:
        pauses.append((since, end - since))
    shown = [name for name, (_, _, at) in rows.items() if at] + (["paused"] if pauses else [])
    if not shown:
        return None
    figure = style.canvas(height=0.95 + 0.27 * len(shown))
    axes: Axes = figure.axes[0]
    for y, name in enumerate(shown):
        if name == "paused":
            axes.broken_barh([(at, max(wide, end / 300)) for at, wide in pauses], (y - 0.3, 0.6), color=FAINT, lw=0)
            continue
        marker, colour, at = rows[name]
        many = len(at) > RASTER
        size = 10 if marker == "|" else 5
        axes.plot(at, [y] * len(at), marker, color=colour, ms=size, mew=0.5 if many else 1.2, rasterized=many)
    stops = [event for event in events if isinstance(event, Stopped)]
    for event in stops[-20:]:
        axes.axvline(when(event), color=INK, lw=0.8)
    if stops and stops[-1] is events[-1]:
        said = f"{display(stops[-1].outcome)} "
        axes.text(when(stops[-1]), -0.75, said, ha="right", va="center", fontsize=8)
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.4, -1.1)
    axes.set_xlim(-0.02 * end, 1.02 * end)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"since it was opened ({unit})")
    return figure
