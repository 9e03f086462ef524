"""What a solver may know of an instrument before any reading: the gains of a twin's state, and their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdl.arrays import Floats
from sdl.twin.led.state import TwinState

GAIN = 0.2  # relative standard deviation of the gains among units of the twin's make
# Mean and standard deviation of the ambient light, as fractions of full scale: 0 … 5000 of 65535 counts.
AMBIENT = (0.04, 0.03)


def linear_response(
    state: TwinState, names: Sequence[str], channels: Sequence[str], low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """Expected readings as linear functions of the settings.

    For d inputs `names` between `low` and `high` (d,), and m `channels`.

    Returns:
        (m, d + 1) the reading with all inputs at their lower bounds and its change over the range of each input; and
        the standard deviations of these.
    """
    gain = np.array([[state.channels[c].gain[name] for name in names] for c in channels])
    above = np.array([state.inputs[name].above_zero for name in names])
    below = np.array([state.inputs[name].below_one for name in names])
    slope, span = gain * (1.0 - above - below), high - low
    ambient, ambient_sd = (part * state.full_scale for part in AMBIENT)
    start = ambient + gain @ above + slope @ low
    sd = np.column_stack([np.full(len(gain), ambient_sd), GAIN * np.abs(slope * span)])
    return np.column_stack([start, slope * span]), np.maximum(sd, 1.0)
