"""The solver's spread and uncertainty, beside what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from sdl.report import style
from sdl.report.style import INK, RASTER

if TYPE_CHECKING:
    from sdl.report.digest import TrialTable

MOST = 4
"""Inputs."""


def spread(told: TrialTable) -> Figure | None:
    """A panel an input; None where no solver said anything of it, or there is no best trial to hold it against."""
    rows = [row for row in told.rows if row.by_solver]
    best = told.best
    if not rows or best is None:
        return None
    answer = best.applied or best.proposed.settings
    names = told.inputs[:MOST]
    x = np.array([row.proposed.trial for row in rows], float)

    def column(kind: str, name: str) -> np.ndarray:
        found = np.array([getattr(row.proposed, kind).get(name) for row in rows], float)
        found[~(found > 0)] = np.nan  # a logarithm has no 0
        return found

    every = {(kind, name): column(kind, name) for kind in ("spread", "uncertainty") for name in names}
    if not any(np.isfinite(values).any() for values in every.values()):
        return None
    many = len(x) > RASTER
    figure = style.canvas(len(names), height=0.8 + 1.1 * len(names), sharex=True)
    for axes, name in zip(figure.axes, names, strict=True):
        axes.set_yscale("log")
        off = np.array([abs(row.proposed.settings[name] - answer[name]) for row in rows], float)
        off[(off <= 0) | (x == best.proposed.trial)] = np.nan
        for n, kind in enumerate(("spread", "uncertainty")):
            colour, marker = style.series(1 - n)
            axes.plot(
                x, every[kind, name], marker + ("" if many else "-"), color=colour, ms=1.5 if many else 4, lw=0.8,
                label=kind, rasterized=many,
            )  # fmt: skip
        axes.set_ylabel(style.labelled(name, told.units[name] or "setting", 18))
        said = np.concatenate([every["spread", name], every["uncertainty", name]])
        # Settings that fall on the best ones by chance would stretch the axis to nothing: they are drawn at its foot.
        foot = np.nanmin(said) / 20 if np.isfinite(said).any() else 1e-6
        axes.plot(
            x, np.maximum(off, foot), "x", color=INK, ms=2 if many else 5, label="from the best settings",
            rasterized=many, alpha=0.4 if many else 1,
        )  # fmt: skip
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        seen = np.concatenate([said, np.maximum(off, foot)])
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
    """Which parts of a decade have a tick, so that there are two at least and not too many."""
    return (1,) if ratio > 600 else (1, 3) if ratio > 60 else (1, 2, 5)
