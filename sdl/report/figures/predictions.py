"""Predictions of the solver against the readings that followed, in standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sdl.arrays import Floats
from sdl.report import style
from sdl.report.style import BAND, FAINT, LINE
from sdl.report.svg import trials_id
from sdl.report.table import TrialTable

MOST_CHANNELS = 8
LARGEST = 6.0
"""Deviations beyond this many standard deviations are drawn at the edge."""


def standardised(table: TrialTable, channel: str) -> Floats:
    """(n,) measured − expected readings of the trials in standard deviations of the prediction; NaN = unknown."""
    errors = [trial.proposed.expected_error.get(channel) or np.nan for trial in table.trials]
    column = table.channels.index(channel)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (table.Y[:, column] - table.expected[:, column]) / np.array(errors, float)
    return np.where(table.by_solver & np.isfinite(z), z, np.nan)


def predictions(table: TrialTable) -> Figure | None:
    """By trial, each channel of the goal; None without a prediction that has an error."""
    deviations = {name: standardised(table, name) for name in table.goal_channels[:MOST_CHANNELS]}
    deviations = {name: z for name, z in deviations.items() if np.isfinite(z).any()}
    if not deviations:
        return None
    figure = style.canvas(height=2.7 + 0.16 * (len(deviations) // 2))
    (axes,) = figure.axes
    for k, colour in ((2, BAND), (1, LINE)):
        axes.axhspan(-k, k, color=colour, lw=0, zorder=0, alpha=0.7)
    axes.axhline(0, color=FAINT, lw=0.6, zorder=0.5)
    tints = style.channel_colours(list(deviations))
    for n, (name, z) in enumerate(deviations.items()):
        known = np.isfinite(z)
        x = table.numbers[known] + 0.06 * (n - (len(deviations) - 1) / 2)
        label = f"{style.plain(name, 16)}: {_coverage(z[known])}"
        shown = np.clip(z[known], -LARGEST, LARGEST)
        look: dict[str, Any] = {"color": tints[name], "mec": "none", "label": label}
        style.points(axes, x, shown, style.MARKERS[n], 4.5, gid=trials_id(table.numbers[known]), **look)
    largest = max(float(np.nanmax(np.abs(z))) for z in deviations.values())
    top = min(max(1.15 * largest, 2.6), 1.1 * LARGEST)
    axes.set(xlabel="trial", ylabel="measured − expected (sd)", ylim=(-top, top))
    style.whole_numbers(axes)
    style.legend(figure, 2)
    return figure


def _coverage(z: Floats) -> str:
    """`13 of 21 within 1 sd`."""
    return f"{int((np.abs(z) <= 1).sum())} of {len(z)} within 1 sd"
