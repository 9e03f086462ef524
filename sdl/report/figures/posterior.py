"""Posterior of the settings that reach the goal, in pairs of inputs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sdl.arrays import Floats
from sdl.report import style
from sdl.report.style import INK, OKABE_ITO
from sdl.report.table import TrialTable

MOST_INPUTS = 4
DRAWN = 400
"""Settings drawn from the posterior."""
LEAST = 50
"""Draws with the choices of the answer, fewer than which are not shown."""
SEED = 0


def posterior(table: TrialTable) -> Figure | None:
    """Histograms on the diagonal, draws below it; None without a model, a target or a numeric input."""
    model = table.model
    if model is None or table.final is None or not np.isfinite(model.target.value).any():
        return None
    free = {name: model.columns_of(name) for name in table.inputs if name not in table.choices}
    columns = {name: own.start for name, own in free.items() if own is not None}
    names = list(columns)[:MOST_INPUTS]
    if not names:
        return None
    training = model.forward.training
    U = model.sample_answers(DRAWN, np.random.default_rng(SEED))
    fixed = model.space.categorical  # draws with the answer's choices: other choices have other numbers
    U = U[(np.abs(U[:, fixed] - model.answer[fixed]) < 0.5).all(axis=1)]
    if len(U) < LEAST:
        return None
    drawn = training.settings(U)
    values = {name: drawn[:, columns[name]] for name in names}
    answer = dict(zip(table.inputs, table.X[table.numbers == table.final.trial][0], strict=True))
    n = len(names)
    figure = style.canvas(n, n, height=2.2 if n == 1 else 0.9 * style.WIDTH)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            axes = figure.axes[i * n + j]
            axes.grid(False)
            if j > i:
                axes.set_visible(False)
                continue
            if i == j:
                _histogram(axes, values[row], float(answer[row]))
            else:
                axes.plot(values[column], values[row], "o", ms=1.4, color=OKABE_ITO[5], mec="none", alpha=0.6,
                          rasterized=True)  # fmt: skip
                axes.plot(answer[column], answer[row], "+", color=INK, ms=8, mew=1.2)
                axes.set_ylim(*_limits(values[row], float(answer[row])))
            axes.set_xlim(*_limits(values[column], float(answer[column])))
            _ticks(axes, table, row, column, bottom=i == n - 1, left=j == 0 and i > 0)
    return figure


def _histogram(axes: Axes, values: Floats, answer: float) -> None:
    """Histogram of one input; a line at the answer."""
    axes.hist(values, bins=24, range=_limits(values, answer), color=OKABE_ITO[5], alpha=0.7, histtype="stepfilled")
    axes.axvline(answer, color=INK, lw=0.9)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _limits(values: Floats, answer: float) -> tuple[float, float]:
    """Limits with most of the draws and the answer."""
    low, high = (float(np.quantile(values, q)) for q in (0.002, 0.998))
    return style.with_margin(min(low, answer), max(high, answer), 0.08)


def _ticks(axes: Axes, table: TrialTable, row: str, column: str, *, bottom: bool, left: bool) -> None:
    """Two ticks with labels at the edges of the figure."""
    axes.tick_params(labelsize=7.5, labelbottom=bottom, labelleft=left)
    axes.set_xticks(style.two_ticks(*axes.get_xlim()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if row != column:
        axes.set_yticks(style.two_ticks(*axes.get_ylim()))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if bottom:
        axes.set_xlabel(style.axis_label(column, table.units[column], 18))
    if left:
        axes.set_ylabel(style.axis_label(row, table.units[row], 18))
