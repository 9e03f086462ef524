"""The physics of the twin: what the sensor reads at given settings, at a given time.

    light of input i      e_i(d) = 0 at d = 0, 1 at d = 1, d + above_zero - (above_zero + below_one) d between
    jitter in window w    e_i + s_w sqrt(d_i (1 - d_i)) z_wi,   z standard normal, one draw a window and input
    channel c in w        y = ambient_c + sum_i gain_ci drift_i (jittered e_i + curve_ci d_i (1 - d_i)) + noise
    noise                 normal, standard deviation hypot(dark, proportional * y)
    reading               floor(y), kept inside 0 ... full scale

Channels that the sensor reads in one window share the jitter, so their noise is correlated. A reading is a pure
function of (seed, time, settings), with a resolution of a microsecond, so that a resumed campaign continues in the same
world. A state may first transform d (curve, gamma) and dim all light (droop).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdl.arrays import Floats
from sdl.twin.faults import Fault, lights
from sdl.twin.led.ambient import Sky, load_room, wander
from sdl.twin.led.state import TwinState
from sdl.twin.simulation import STREAM
from sdl.types import Reading, Settings, numbers

# First numbers of the waves of the inputs' drift; the ambient light uses lower ones.
_SLOW, _DAILY = 100, 200
DAY = 86400.0


class Arrays(NamedTuple):
    """A state as arrays: d inputs, m channels, w read windows."""

    above_zero: Floats  # (d,)
    bend: Floats  # (d,) above_zero + below_one
    ambient: Floats  # (m,)
    gain: Floats  # (m, d)
    curve: Floats | None  # (m, d) counts; None if no channel has a curve of its own
    window: NDArray[np.intp]  # (m,) row of the jitter of a channel
    jitter: Floats  # (w, 1)
    mix: Floats  # (1 + d, d) from independent to correlated draws


@dataclass(frozen=True)
class Plant:
    """A simulated instrument (`sdl.twin.simulation`).

    Args:
        state: parameters of the instrument.
        seed: seed of noise, ambient light and drift; at least 0.
        sky: the changing ambient light; None: the constant ambient light of the state.
        drifts: whether the light of the inputs drifts, as the state describes.
        noise: whether readings are noisy; they are rounded down in any case.
    """

    state: TwinState
    seed: int = 0
    sky: Sky | None = None
    drifts: bool = False
    noise: bool = True

    def noise_free(self, settings: Settings, time: float | None = None) -> dict[str, float]:
        """The readings without noise and rounding (counts, clipped at full scale).

        `settings` of every input are from 0 to 1; `time` is in seconds since 1970 UTC, by default that of the state.
        """
        a, now = self.arrays, self._start if time is None else time
        light = self.light(self._duty_of(settings)) * self.drift(now)
        around = self._ambient(now)
        if a.curve is not None:
            around = around + self.bent(self._duty_of(settings)) @ self.drift(now)
        counts = np.minimum(around + a.gain @ light, self.state.full_scale)
        return dict(zip(self.state.channels, counts.tolist(), strict=True))

    def drift(self, time: float) -> Floats:
        """(d,) light of the inputs relative to the beginning of the state's day."""
        drift, inputs = self.state.drift, len(self.state.inputs)
        if not self.drifts or drift is None:
            return np.ones(inputs)

        def off(day: float, i: int) -> float:
            slow = drift.slow * wander(self.seed, _SLOW + i, day / drift.days)
            return slow + drift.daily * wander(self.seed, _DAILY + i, math.floor(day))

        now, start = time / DAY, self._start / DAY
        return np.array([1.0 + (off(now, i) - off(start, i)) for i in range(inputs)])

    def read(self, settings: Settings, time: float, brighter: float = 0.0) -> Reading:
        """Take one reading.

        Args:
            settings: every input, 0 ... 1.
            time: seconds since 1970 UTC, with microseconds.
            brighter: additional daylight, counts at 515 nm.

        Returns:
            Whole counts in every channel, with the settings as applied and the channels at full scale as saturated.
        """
        a, state = self.arrays, self.state
        duty = self._duty_of(settings)
        ambient = self._ambient(time)
        if brighter:
            ambient = ambient + brighter * self._daylight
        if a.curve is not None:
            ambient = ambient + self.bent(duty) @ self.drift(time)
        if self.noise:
            rng = np.random.default_rng([self.seed, STREAM, round(time * 1e6)])
            shake = rng.standard_normal((len(a.jitter), len(a.mix))) @ a.mix  # (w, d)
            light = self.light(duty) + a.jitter * np.sqrt(duty * (1.0 - duty)) * shake  # (w, d)
            if self.drifts:
                light = light * self.drift(time)
            clean = ambient + (a.gain * light[a.window]).sum(axis=1)  # (m,)
            noise = np.hypot(state.dark_noise, state.proportional_noise * clean)
            exact = clean + noise * rng.standard_normal(len(clean))
        else:
            exact = ambient + a.gain @ (self.light(duty) * self.drift(time))
        counts = np.floor(exact).clip(0, state.full_scale)
        readings = dict(zip(state.channels, counts.astype(int).tolist(), strict=True))
        full = tuple(name for name, count in readings.items() if count >= state.full_scale)
        applied = {name: float(settings[name]) for name in state.inputs}
        return Reading(applied=applied, readings=readings, saturated=full)

    def respond(self, settings: Settings, began: float, ended: float, faults: Sequence[Fault] = ()) -> Reading:
        asked = numbers(settings)
        applied, light, brighter = lights(faults, asked)
        seen = self.read(light, ended, brighter)
        return Reading(applied, seen.readings, None, seen.saturated, None if applied == asked else "not-applied")

    def switch_off(self, time: float) -> None:
        """Do nothing: no reading depends on earlier ones."""

    def refuse(self, readings: Mapping[str, Any]) -> str:
        full = self.state.full_scale
        for name in self.state.channels:
            value = readings[name]
            if not isinstance(value, int | float) or not 0 <= value <= full:
                return f"channel {name} = {value!r} is not a whole number from 0 to {full:g}"
        return ""

    def full(self, readings: Mapping[str, float]) -> tuple[str, ...]:
        return tuple(name for name, value in readings.items() if value >= self.state.full_scale)

    def duty(self, settings: Floats) -> Floats:
        """Duty cycle of the LED for settings (..., d), with the curve and gamma of the state."""
        bent: Floats = (settings + self.state.curve * settings * (1.0 - settings)) ** self.state.gamma
        return bent

    def light(self, duty: Floats) -> Floats:
        """Light of the inputs (..., d) at `duty` (..., d), as a fraction of full light."""
        a = self.arrays
        light = duty + ((duty > 0.0) & (duty < 1.0)) * (a.above_zero - a.bend * duty)
        droop = self.state.droop
        return light * (1.0 - droop * light.mean(axis=-1, keepdims=True)) if droop else light

    def bent(self, duty: Floats) -> Floats:
        """Counts (..., m, d) that the `curve` of each channel adds to gain × light, for each input."""
        curve = self.arrays.curve
        if curve is None:
            return np.zeros((*duty.shape[:-1], *self.arrays.gain.shape))
        counts: Floats = curve * (duty * (1.0 - duty))[..., None, :]
        return counts

    def _duty_of(self, settings: Settings) -> Floats:
        return self.duty(np.array([settings[name] for name in self.state.inputs], dtype=float))

    def _ambient(self, time: float) -> Floats:
        if self.sky is None:
            return self.arrays.ambient
        light = self.sky.at(time)
        return np.array([light[name] for name in self.state.channels])

    @cached_property
    def _start(self) -> float:
        return self.state.start.timestamp()

    @cached_property
    def _daylight(self) -> Floats:
        """(m,) spectrum of daylight, 1 at 515 nm; 1 for channels that the room does not list."""
        spectrum = (self.sky.room if self.sky else load_room("day")).daylight
        return np.array([spectrum.get(name, 1.0) for name in self.state.channels])

    @cached_property
    def arrays(self) -> Arrays:
        state = self.state
        names, windows = list(state.inputs), list(state.jitter)
        above = np.array([dimming.above_zero for dimming in state.inputs.values()])
        below = np.array([dimming.below_one for dimming in state.inputs.values()])
        # Correlated inputs combine sqrt(r) of a common draw (the first row) and sqrt(1 - r) of their own.
        shared = state.shared_jitter
        common = np.array([shared.correlation if shared and name in shared.inputs else 0.0 for name in names])
        gain = np.array([[channel.gain[name] for name in names] for channel in state.channels.values()], dtype=float)
        curve = gain * [[channel.curve.get(name, 0.0) for name in names] for channel in state.channels.values()]
        return Arrays(
            above_zero=above,
            bend=above + below,
            ambient=np.array([channel.ambient for channel in state.channels.values()], dtype=float),
            gain=gain,
            curve=curve if curve.any() else None,
            window=np.array([windows.index(channel.window) for channel in state.channels.values()]),
            jitter=np.array([[state.jitter[window]] for window in windows], dtype=float),
            mix=np.vstack([np.sqrt(common), np.diag(np.sqrt(1.0 - common))]),
        )
