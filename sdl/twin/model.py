"""The physics of the twin: what the sensor reads at given settings, at a given time.

    light of input i      e_i(d) = 0 at d = 0, 1 at d = 1, d + above_zero - (above_zero + below_one) d between
    jitter in window w    e_i + s_w sqrt(d_i (1 - d_i)) z_wi,   z standard normal, one draw a window and input
    channel c in w        y = ambient_c + sum_i gain_ci (jittered e_i) + noise
    noise                 normal, standard deviation hypot(dark, proportional * y)
    reading               floor(y), kept inside 0 ... full scale

Channels that the sensor reads in one window see the same jitter, so their noise goes together. A reading is a pure
function of (seed, time, settings): ask twice for the same microsecond and the answer is the same, so that a campaign
that is resumed finds the world it left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from sdl.twin.state import State
from sdl.types import Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STREAM = 2
"""The twin's place in `default_rng([seed, stream, n])`; 0 is the design, 1 the solver."""


class _Arrays(NamedTuple):
    """A state as arrays: d inputs, m channels, w read windows."""

    above_zero: Floats  # (d,)
    bend: Floats  # (d,) above_zero + below_one
    ambient: Floats  # (m,)
    gain: Floats  # (m, d)
    window: NDArray[np.intp]  # (m,) which row of the jitter a channel sees
    jitter: Floats  # (w, 1)
    mix: Floats  # (1 + d, d) makes correlated draws from independent ones


@dataclass(frozen=True)
class Plant:
    """A simulated instrument.

    Args:
        state: its parameters.
        seed: which of the possible noises; at least 0.
    """

    state: State
    seed: int = 0

    def noise_free(self, settings: Mapping[str, float]) -> dict[str, float]:
        """The readings without noise and rounding (counts, cut at full scale): what answers are judged by.

        Args:
            settings: every input, 0 ... 1.
        """
        import numpy as np

        a = self._arrays
        counts = np.minimum(a.ambient + a.gain @ self._light(self._duty(settings)), self.state.full_scale)
        return dict(zip(self.state.channels, counts.tolist(), strict=True))

    def read(self, settings: Mapping[str, float], time: float) -> Reading:
        """One reading.

        Args:
            settings: every input, 0 ... 1.
            time: seconds since 1970 UTC; the microsecond counts.

        Returns:
            Whole counts in every channel, with the settings as applied and the channels at full scale as saturated.
        """
        import numpy as np

        a, state = self._arrays, self.state
        rng = np.random.default_rng([self.seed, STREAM, round(time * 1e6)])
        duty = self._duty(settings)
        shake = rng.standard_normal((len(a.jitter), len(a.mix))) @ a.mix  # (w, d)
        light = self._light(duty) + a.jitter * np.sqrt(duty * (1.0 - duty)) * shake  # (w, d)
        clean = a.ambient + (a.gain * light[a.window]).sum(axis=1)  # (m,)
        noise = np.hypot(state.dark_noise, state.proportional_noise * clean)
        counts = np.floor(clean + noise * rng.standard_normal(len(clean))).clip(0, state.full_scale)
        readings = dict(zip(state.channels, counts.astype(int).tolist(), strict=True))
        full = tuple(name for name, count in readings.items() if count >= state.full_scale)
        applied = {name: float(settings[name]) for name in state.inputs}
        return Reading(applied=applied, readings=readings, saturated=full)

    def _duty(self, settings: Mapping[str, float]) -> Floats:
        import numpy as np

        return np.array([settings[name] for name in self.state.inputs], dtype=float)

    def _light(self, duty: Floats) -> Floats:
        a = self._arrays
        return duty + ((duty > 0.0) & (duty < 1.0)) * (a.above_zero - a.bend * duty)

    @cached_property
    def _arrays(self) -> _Arrays:
        import numpy as np

        state = self.state
        names, windows = list(state.inputs), list(state.jitter)
        above = np.array([dimming.above_zero for dimming in state.inputs.values()])
        below = np.array([dimming.below_one for dimming in state.inputs.values()])
        # Inputs that jitter together take sqrt(r) of a common draw (the first row) and sqrt(1 - r) of their own.
        shared = state.shared_jitter
        common = np.array([shared.correlation if shared and name in shared.inputs else 0.0 for name in names])
        return _Arrays(
            above_zero=above,
            bend=above + below,
            ambient=np.array([channel.ambient for channel in state.channels.values()], dtype=float),
            gain=np.array([[channel.gain[name] for name in names] for channel in state.channels.values()], dtype=float),
            window=np.array([windows.index(channel.window) for channel in state.channels.values()]),
            jitter=np.array([[state.jitter[window]] for window in windows], dtype=float),
            mix=np.vstack([np.sqrt(common), np.diag(np.sqrt(1.0 - common))]),
        )
