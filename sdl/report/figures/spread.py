"""Spread and uncertainty of the solver's proposals, and their distance from the best settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from sdl.report import style
from sdl.report.style import INK, RASTER

if TYPE_CHECKING:
    from sdl.report.table import TrialTable

MOST_INPUTS = 4
"""Most panels."""


def spread(table: TrialTable) -> Figure | None:
    """One panel per input; None without spread or uncertainty from a solver, or without a best trial."""
    rows = [trial for trial in table.trials if trial.by_solver]
    best = table.best
    if not rows or best is None:
        return None
    answer = best.shown_settings
    names = table.inputs[:MOST_INPUTS]
    x = np.array([trial.trial for trial in rows], float)

    def column(kind: str, name: str) -> np.ndarray:
        values = np.array([getattr(trial.proposed, kind).get(name) for trial in rows], float)
        values[~(values > 0)] = np.nan  # a logarithm has no 0
        return values

    every = {(kind, name): column(kind, name) for kind in ("spread", "uncertainty") for name in names}
    if not any(np.isfinite(values).any() for values in every.values()):
        return None
    many = len(x) > RASTER
    figure = style.canvas(len(names), height=0.8 + 1.1 * len(names), sharex=True)
    for axes, name in zip(figure.axes, names, strict=True):
        axes.set_yscale("log")
        off = np.array([abs(trial.settings[name] - answer[name]) for trial in rows], float)
        off[(off <= 0) | (x == best.trial)] = np.nan
        for n, kind in enumerate(("spread", "uncertainty")):
            colour, marker = style.series(1 - n)
            axes.plot(
                x, every[kind, name], marker + ("" if many else "-"), color=colour, ms=1.5 if many else 4, lw=0.8,
                label=kind, rasterized=many,
            )  # fmt: skip
        axes.set_ylabel(style.axis_label(name, table.units[name] or "setting", 18))
        stated = np.concatenate([every["spread", name], every["uncertainty", name]])
        # Settings that happen to equal the best ones have no logarithm: they are drawn at the foot of the axis.
        foot = np.nanmin(stated) / 20 if np.isfinite(stated).any() else 1e-6
        axes.plot(
            x, np.maximum(off, foot), "x", color=INK, ms=2 if many else 5, label="from the best settings",
            rasterized=many, alpha=0.4 if many else 1,
        )  # fmt: skip
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        seen = np.concatenate([stated, np.maximum(off, foot)])
        seen = seen[np.isfinite(seen)]
        low, high = (seen.min() / 2.2, seen.max() * 2.2) if len(seen) else (1e-3, 1.0)  # two round numbers at least
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(LogLocator(subs=_subs(high / low), numticks=5))
    figure.axes[-1].set_xlabel("trial")
    figure.axes[-1].set_xlim(x.min() - 0.5, x.max() + 0.5)
    style.whole_numbers(figure.axes[-1])
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure


def _subs(ratio: float) -> tuple[int, ...]:
    """Multiples of a power of ten that have a tick: at least two ticks, and not too many."""
    return (1,) if ratio > 600 else (1, 3) if ratio > 60 else (1, 2, 5)
