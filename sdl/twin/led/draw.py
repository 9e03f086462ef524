"""A figure of the fit of a twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sdl.errors import ConfigError
from sdl.twin.led.check import comparable
from sdl.twin.led.evidence import Evidence
from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState


def draw(data: Evidence, state: TwinState, file: Path) -> None:
    """Draw the residual of each reading, in standard deviations, against the reading: one panel per channel.

    Raises:
        ConfigError: the file cannot be written.
    """
    residuals = comparable(data, Plant(state))
    z = residuals.counts / residuals.due
    shown = [column for column in range(len(state.channels)) if (~np.isnan(z[:, column])).any()]
    across = min(len(shown), 5)
    down = -(-len(shown) // across)
    figure = Figure(figsize=(2.6 * across + 0.4, 2.4 * down + 0.4), layout="constrained")
    names = list(state.channels)
    for place, column in enumerate(shown, start=1):
        axes = figure.add_subplot(down, across, place)
        axes.axhspan(-1, 1, color="0.9", lw=0)
        axes.axhline(0, color="0.5", lw=0.8)
        # A reading outside the panel is drawn at its edge.
        axes.plot(data.Y[:, column], np.clip(z[:, column], -5, 5), "o", ms=3, color="#0072b2", alpha=0.5, mew=0)
        axes.set(title=names[column], ylim=(-5.2, 5.2))
        axes.tick_params(labelsize=7)
    figure.supxlabel("reading, counts", size=9)
    figure.supylabel("reading less twin, standard deviations", size=9)
    try:
        figure.savefig(file, dpi=110)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: the figure cannot be written: {error}") from error
