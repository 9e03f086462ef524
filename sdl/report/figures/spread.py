"""Spread and uncertainty of the solver's proposals, and their distance from the best settings."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from sdl.arrays import Floats
from sdl.report import style
from sdl.report.style import INK
from sdl.report.table import TrialTable
from sdl.types import numbers

KINDS = ("spread", "uncertainty")
MOST_INPUTS = 4  # most panels


def spread(table: TrialTable) -> Figure | None:
    """One panel per input; None without spread or uncertainty from a solver, or without a best trial."""
    rows, best = [trial for trial in table.trials if trial.by_solver], table.best
    if not rows or best is None:
        return None
    names = [name for name in table.inputs if name not in table.choices][:MOST_INPUTS]
    x = table.numbers[table.by_solver]

    def positive(values: list[float | None]) -> Floats:
        """(n,) values; NaN for those that have no logarithm."""
        numbers = np.array(values, float)
        return np.where(numbers > 0, numbers, np.nan)

    stated = {
        name: [positive([getattr(trial.proposed, kind).get(name) for trial in rows]) for kind in KINDS]
        for name in names
    }
    if not any(np.isfinite(values).any() for values in stated.values()):
        return None
    figure = style.canvas(len(names), height=0.8 + 1.1 * len(names), sharex=True)
    for axes, name in zip(figure.axes, names, strict=True):
        both = np.concatenate(stated[name])
        at = numbers(best.shown_settings)[name]
        off = positive([abs(numbers(trial.settings)[name] - at) for trial in rows])
        off[x == best.trial] = np.nan
        # Settings that happen to equal the best ones have no logarithm: they are drawn at the foot of the axis.
        off = np.maximum(off, np.nanmin(both) / 20 if np.isfinite(both).any() else 1e-6)
        for n, values in enumerate(stated[name]):
            colour, marker = style.series(1 - n)
            style.points(axes, x, values, marker, joined=True, color=colour, label=KINDS[n])
        style.points(axes, x, off, "x", 5, color=INK, label="from the best settings")
        axes.set_ylabel(style.axis_label(name, table.units[name] or "setting", 18))
        seen = np.concatenate([both, off])
        seen = seen[np.isfinite(seen)]
        low, high = (seen.min() / 2.2, seen.max() * 2.2) if len(seen) else (1e-3, 1.0)
        ticks = (1,) if high / low > 600 else (1, 3) if high / low > 60 else (1, 2, 5)  # at least two, and not too many
        style.log_axis(axes, "y", low, high).set_major_locator(LogLocator(subs=ticks, numticks=5))
    last = figure.axes[-1]
    last.set(xlabel="trial", xlim=(x.min() - 0.5, x.max() + 0.5))
    style.whole_numbers(last)
    style.legend(figure, 3)
    return figure
