"""Expected against measured readings, for the train and the test set."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sdl.arrays import Floats
from sdl.report import style
from sdl.report.style import INK
from sdl.report.table import TrialTable

MOST_PANELS = 6  # the first channels of the goal


class ParityScore(NamedTuple):
    """Agreement of expected and measured readings.

    Attributes:
        n: number of pairs.
        r2: 1 − residual / total sum of squares; NaN with fewer than three pairs, or where all measured are equal.
        mae, rmse: mean absolute and root mean square difference, in the channel's unit.
    """

    n: int
    r2: float
    mae: float
    rmse: float


class ParitySet(NamedTuple):
    """Expected and measured readings, (n, channels), of the train or the test set."""

    name: str
    expected: Floats
    measured: Floats


def score(expected: Floats, measured: Floats) -> ParityScore:
    """How well (n,) expected and measured readings agree; rows with a NaN are left out."""
    both = np.isfinite(expected) & np.isfinite(measured)
    off, m = (expected - measured)[both], measured[both]
    if not len(m):
        return ParityScore(0, math.nan, math.nan, math.nan)
    total = float(np.sum((m - m.mean()) ** 2))
    r2 = 1 - float(np.sum(off**2)) / total if len(m) > 2 and total > 0 else math.nan
    return ParityScore(len(m), r2, float(np.mean(np.abs(off))), float(np.sqrt(np.mean(off**2))))


def parity_sets(table: TrialTable) -> list[ParitySet]:
    """The train set, with enough readings to fit a plane, and the test set, with expected readings of a solver."""
    index = [table.channels.index(name) for name in table.goal_channels]
    history = table.run.campaign.history
    first = next((trial.proposed.rows for trial in table.trials if trial.by_solver), history.rows)
    X, Y = history.X[:first], np.where(history.saturated, np.nan, history.Y)[:first][:, index]
    made, ones = np.full_like(Y, np.nan), np.c_[np.ones(len(X)), X]
    for k in range(Y.shape[1]):
        use = np.isfinite(Y[:, k]) & np.isfinite(X).all(axis=1)
        if use.sum() > X.shape[1] + 2:  # with as many rows as unknowns a plane passes through all of them
            made[use, k] = ones[use] @ np.linalg.lstsq(ones[use], Y[use, k], rcond=None)[0]
    sets = [ParitySet("train", made, Y)]
    if np.isfinite(table.expected[:, index]).any():
        rows = table.by_solver
        sets.append(ParitySet("test", table.expected[rows][:, index], table.Y[rows][:, index]))
    return [side for side in sets if np.isfinite(side.expected * side.measured).any()]


def parity(table: TrialTable) -> Figure | None:
    """One panel per channel; None without expected readings and with too few readings to fit."""
    sets = parity_sets(table)
    if not sets:
        return None
    names = table.goal_channels[:MOST_PANELS]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = style.canvas(rows, columns, height=0.35 + (2.25 + 0.26 * len(sets)) * rows)
    for extra in figure.axes[len(names) :]:
        extra.set_visible(False)

    for k, (axes, name) in enumerate(zip(figure.axes, names, strict=False)):
        lines, values = [], [np.array([])]
        for side in sets:
            colour, marker = style.series(1 if side.name == "train" else 0)
            e, m = side.expected[:, k], side.measured[:, k]
            style.points(axes, m, e, marker, color=colour, mec="none", alpha=0.75, label=side.name)
            lines.append(_scores_text(side.name, score(e, m)))
            values += [v[np.isfinite(v)] for v in (e, m)]
        seen = np.concatenate(values)
        low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
        limits, ticks = style.with_margin(low, high, 0.06), style.two_ticks(low, high)
        axes.plot(limits, limits, color=INK, lw=0.7, zorder=1)
        axes.set(xlim=limits, ylim=limits, title=style.plain(name, 20), xticks=ticks, yticks=ticks)
        axes.set(xticklabels=[f"{t:.10g}" for t in ticks], yticklabels=[f"{t:.10g}" for t in ticks])
        axes.set_box_aspect(1)
        axes.set_xlabel(style.axis_label("measured", table.units[name]) + "\n" + "\n".join(lines), fontsize=8)
        axes.tick_params(labelsize=7.5)
        axes.tick_params(axis="y", labelrotation=90)
        if k % columns == 0:
            axes.set_ylabel(style.axis_label("expected", table.units[name]))
    style.legend(figure, 2)
    return figure


def _scores_text(name: str, it: ParityScore) -> str:
    r2 = f"R² {it.r2:.4f}".replace("-", "−") if math.isfinite(it.r2) and it.r2 > -10 else "R² –"
    mae, rmse = (f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in (it.mae, it.rmse))
    return f"{name} {it.n}: {r2}\nMAE {mae}, RMSE {rmse}"
