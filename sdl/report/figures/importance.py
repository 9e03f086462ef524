"""Importance of each input for each channel of the goal, by the forward model."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import qmc

from sdl.arrays import Floats
from sdl.report import style
from sdl.report.model import RunModel
from sdl.report.style import FAINT, INK, LINE, OKABE_ITO
from sdl.report.table import TrialTable

MOST_INPUTS, MOST_CHANNELS = 8, 12
POWER = 9
"""2^POWER settings are drawn for the indices: their error is then about .03."""
SEED = 0
CROWDED = 5
"""With more columns than this, numbers are smaller and names upright."""
NEGLIGIBLE = 0.005
"""Smaller changes, in tolerances, are written as 0."""


def importance(table: TrialTable) -> Figure | None:
    """Two tables of numbers, rows by channel; None with one input, or without a model."""
    model = table.model
    if model is None:
        return None
    names = [name for name in table.inputs if model.columns_of(name)][:MOST_INPUTS]
    columns = [table.channels.index(name) for name in table.goal_channels][:MOST_CHANNELS]
    if len(names) < 2:
        return None
    share = total_effects(model, names)[columns]
    numeric = [name for name in names if name not in table.choices]
    figure = style.canvas(1, 2, height=1.25 + 0.3 * len(columns), width_ratios=[len(names), max(len(numeric), 1)])
    left, right = figure.axes
    labels = [style.plain(table.channels[column], 12) for column in columns]
    _cells(left, share, share, [f"{100 * v:.0f}" for v in share.ravel()], names, labels)
    left.set_title("whole ranges: % of variance", fontsize=8.5)
    change = _change(table, model, numeric)[columns]
    largest = np.nanmax(np.abs(change), initial=0.0) or 1.0
    _cells(right, change, np.abs(change) / largest, [_signed(v) for v in change.ravel()], numeric, [])
    right.set_title("at the answer: 1 % of range", fontsize=8.5)
    return figure


def total_effects(model: RunModel, names: list[str]) -> Floats:
    """(m, inputs) total-effect Sobol indices of the mean of a model, inputs uniform over their ranges.

    The estimator of Jansen, Comput. Phys. Commun. 117 (1999) 35, as recommended by Saltelli et al., ibid. 181 (2010)
    259, table 2. Constraints between inputs are disregarded. NaN for a channel that does not vary.
    """
    draws = qmc.Sobol(2 * len(names), rng=np.random.default_rng(SEED)).random_base2(POWER)
    first, second = draws[:, : len(names)], draws[:, len(names) :]

    def mean(place: Floats) -> Floats:
        U = np.tile(model.answer, (len(place), 1))
        for n, name in enumerate(names):
            columns = model.space.columns_of(name)
            if model.space.categorical[columns.start]:
                count = columns.stop - columns.start + 1
                chosen = np.minimum((place[:, n] * count).astype(int), count - 1)
                U[:, columns] = np.vstack([np.zeros(count - 1), np.eye(count - 1)])[chosen]
            else:
                U[:, columns.start] = place[:, n]
        return model.forward.mean(U)

    base = mean(first)
    variance = np.var(np.vstack([base, mean(second)]), axis=0)
    effects = []
    for n in range(len(names)):
        mixed = first.copy()
        mixed[:, n] = second[:, n]
        effects.append(0.5 * np.mean((base - mean(mixed)) ** 2, axis=0))
    return np.array(effects).T / np.where(variance > 0, variance, np.nan)[:, None]


def _change(table: TrialTable, model: RunModel, names: list[str]) -> Floats:
    """(m, inputs) change of the readings at the answer by 1 % of the range of an input, in tolerances.

    NaN for a channel without a tolerance.
    """
    slope = 0.01 * model.forward.jacobian(model.answer[None])[0]
    unit = np.full(len(table.channels), np.nan)
    for name, band in model.goal.bands.items():
        half = (band.high - band.low) / 2 if np.isfinite(band.high - band.low) else band.unit
        unit[table.channels.index(name)] = np.nan if band.direction is not None else half
    own = [model.space.columns_of(name).start for name in names]
    return np.asarray(slope[:, own] / unit[:, None], dtype=np.float64)


def _signed(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    if abs(value) < NEGLIGIBLE:
        return "0"
    return f"{'+' if value >= 0 else '−'}{abs(value):{'.0f' if abs(value) >= 10 else '.2g'}}"


def _cells(axes: Axes, values: Floats, depth: Floats, texts: list[str], names: list[str], labels: list[str]) -> None:
    """A table of numbers; the deeper the colour, the larger."""
    rows, columns = values.shape
    crowded = columns > CROWDED
    for (i, j), value in np.ndenumerate(depth):
        alpha = 0.55 * float(np.clip(np.nan_to_num(value), 0.0, 1.0))
        axes.fill_between([j, j + 1], i, i + 1, color=OKABE_ITO[0], alpha=alpha, lw=0)
        axes.text(j + 0.5, i + 0.5, texts[i * columns + j].replace("nan", "–"), ha="center", va="center",
                  fontsize=6 if crowded else 8.5, color=INK)  # fmt: skip
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.set_xticks(np.arange(columns) + 0.5, [style.plain(name, 10) for name in names], rotation=90 if crowded else 0)
    axes.set_yticks(np.arange(rows) + 0.5 if labels else [], labels)
    axes.set_xlabel("input")
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set(visible=True, color=LINE)
    axes.tick_params(axis="y", colors=FAINT, labelcolor=INK)
