"""A fitted twin as a simulated instrument.

    y = f(u) + offset + gain (f(u) - middle) + drift hours, behind a first-order lag
    reading = y + noise, rounded to the resolution, cut at the ends of the channel

f is the mean of a Gaussian process of each channel, given the stored rows; middle is the mean of their readings. Offset
and gain are drawn for each session of the twin. A reading is a function of the seed, the time and, with a lag, of the
settings before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sdl.arrays import Bools, Floats
from sdl.models.forward.gaussian_process import Hyperparameters, condition
from sdl.models.forward.gp.channel import ChannelProcess
from sdl.space import Space
from sdl.twin.faults import Fault
from sdl.twin.fitted.lag import remaining
from sdl.twin.fitted.state import SESSION_HOURS, FittedState
from sdl.twin.simulation import STREAM
from sdl.types import Reading, Settings, is_number

SESSION = 5  # keeps the numbers of a session apart from those of a reading


class Surrogate:
    """A simulated instrument (`sdl.twin.simulation`).

    Args:
        state: the fitted twin.
        seed: seed of noise and sessions; at least 0.
        noise: whether readings are noisy, and sessions differ.
        channels: those that are read; all by default.
    """

    def __init__(
        self, state: FittedState, seed: int = 0, *, noise: bool = True, channels: Sequence[str] | None = None
    ) -> None:
        self.state, self._seed, self._noisy = state, seed, noise
        self._names = list(state.channels) if channels is None else list(channels)
        self.channels = [channel for channel in state.channel_list() if channel.name in self._names]
        self._names = [channel.name for channel in self.channels]
        self._options = [state.channels[name] for name in self._names]
        self.space = Space(state.input_list(), state.constraint_list())
        self._start = state.start.timestamp()
        U, Y, censored = rows_of(state, self.space)
        columns = [list(state.channels).index(name) for name in self._names]
        self.processes: tuple[ChannelProcess, ...] = tuple(
            condition(_hyperparameters(option.process), U, Y[:, c], censored[:, c])
            for option, c in zip(self._options, columns, strict=True)
        )
        self.middle = np.array([np.nanmean(Y[~censored[:, c], c]) for c in columns])
        correlation = np.array(state.correlation) if state.correlation else np.eye(len(state.channels))
        self._root = np.linalg.cholesky((correlation + 1e-9 * np.eye(len(correlation)))[np.ix_(columns, columns)])
        self._drift = np.array([option.drift for option in self._options])
        self._tau = np.array([option.settling for option in self._options])
        self._target: Floats | None = None  # readings in equilibrium at the settings that are set
        self._level, self._at = np.zeros(len(columns)), 0.0  # readings behind the lag at a time

    def mean(self, U: Floats) -> Floats:
        """(k, m) f at settings (k, p) in units of the bounds."""
        return np.column_stack([process.mean(U) for process in self.processes])

    def predict(self, U: Floats) -> tuple[Floats, Floats]:
        """(k, m) f at settings (k, p) in units of the bounds, and its variance."""
        parts = [process.predict(U)[:2] for process in self.processes]
        return np.column_stack([mean for mean, _ in parts]), np.column_stack([variance for _, variance in parts])

    def units(self, settings: Sequence[Settings]) -> Floats:
        """(k, p) rows in units of the bounds."""
        return (np.array([self.space.encode(each) for each in settings]) - self.space.low) / self.space.width

    def noise_sd(self, mean: Floats) -> Floats:
        """(k, m) standard deviation of one reading about a mean (k, m), without rounding."""
        constant = np.array([option.noise.constant for option in self._options])
        proportional = np.array([option.noise.proportional for option in self._options])
        sd: Floats = np.hypot(constant, proportional * mean)
        return sd

    def noise_free(self, settings: Settings, time: float | None = None) -> dict[str, float]:
        """The readings in equilibrium without noise and rounding, cut at the ends of the channels."""
        return self._by_name(self.cut(self._settled(settings, self._start if time is None else time)))

    def respond(self, settings: Settings, began: float, ended: float, faults: Sequence[Fault] = ()) -> Reading:
        applied = self._clamped(settings, faults)
        self._move_to(began)
        self._target = self._settled(applied, began)
        self._move_to(ended)
        # The drift goes on while it settles; the lag of the drift itself is neglected.
        level = self._level + self._drift_at(ended) - self._drift_at(began)
        if self._noisy:
            rng = np.random.default_rng([self._seed, STREAM, max(round(ended * 1e6), 0)])
            level = level + self.noise_sd(level[None])[0] * (self._root @ rng.standard_normal(len(level)))
        for j, channel in enumerate(self.channels):
            if channel.resolution is not None:
                level[j] = round(level[j] / channel.resolution) * channel.resolution
        readings = self._by_name(self.cut(level))
        fault = None if applied == settings else "not-applied"
        return Reading(applied, readings, None, self.full(readings), fault)

    def switch_off(self, time: float) -> None:
        if self.state.off is not None:
            self._move_to(time)
            self._target = self._settled(self.state.off, time)

    def refuse(self, readings: Mapping[str, Any]) -> str:
        for channel in self.channels:
            value = readings[channel.name]
            number = is_number(value) and math.isfinite(value)
            low = -1e12 if channel.low is None else channel.low
            high = 1e12 if channel.high is None else channel.high
            if not number or not low <= value <= high:
                return f"channel {channel.name} = {value!r} is no number from {low:g} to {high:g}"
        return ""

    def full(self, readings: Mapping[str, float]) -> tuple[str, ...]:
        highest = {channel.name: channel.high for channel in self.channels}
        return tuple(name for name, high in highest.items() if high is not None and readings[name] >= high)

    def _settled(self, settings: Settings, time: float) -> Floats:
        """(m,) readings in equilibrium, with the effects of the session and the drift, beyond the ends too."""
        mean = self.mean(self.units([settings]))[0]
        settled: Floats = mean + self._effect(mean, time) + self._drift_at(time)
        return settled

    def _effect(self, mean: Floats, time: float) -> Floats:
        """(m,) what the session of a time adds to a mean (m,)."""
        offset = np.array([option.session.offset for option in self._options])
        gain = np.array([option.session.gain for option in self._options])
        if not self._noisy or not (offset.any() or gain.any()):
            return np.zeros(len(mean))
        number = self._session(time) + 2**32  # times before the start too
        drawn = np.random.default_rng([self._seed, STREAM, SESSION, number]).standard_normal((2, len(mean)))
        effect: Floats = offset * drawn[0] + gain * drawn[1] * (mean - self.middle)
        return effect

    def _drift_at(self, time: float) -> Floats:
        hours = (time - self._start) / 3600.0 - SESSION_HOURS * self._session(time)
        drift: Floats = self._drift * hours
        return drift

    def _session(self, time: float) -> int:
        return math.floor((time - self._start) / (3600.0 * SESSION_HOURS))

    def _move_to(self, time: float) -> None:
        """Let the channels approach the readings of the present settings until a time."""
        if self._target is None:
            first = self.state.off
            if first is None or not self._tau.any():
                self._level, self._at = np.full(len(self._tau), np.nan), time
                return
            self._target = self._level = self._settled(first, time)
        rest = remaining(np.array([max(time - self._at, 0.0)]), self._tau)[0]
        known = np.where(np.isnan(self._level), self._target, self._level)
        self._level, self._at = self._target + (known - self._target) * rest, time

    def _clamped(self, settings: Settings, faults: Sequence[Fault]) -> Settings:
        """The settings as applied: no input above the fraction of its range that the fault `clamp` gives."""
        for fault in faults:
            if fault.name == "clamp":
                settings = {
                    item.name: min(float(settings[item.name]), item.low + fault.amount * (item.high - item.low))
                    if item.numeric
                    else settings[item.name]
                    for item in self.space.inputs
                }
        return settings

    def cut(self, readings: Floats) -> Floats:
        """Readings (…, m), clipped to the ranges of the channels."""
        low = [-np.inf if channel.low is None else channel.low for channel in self.channels]
        high = [np.inf if channel.high is None else channel.high for channel in self.channels]
        return np.clip(readings, low, high)

    def _by_name(self, readings: Floats) -> dict[str, float]:
        return dict(zip(self._names, readings.tolist(), strict=True))


def rows_of(state: FittedState, space: Space) -> tuple[Floats, Floats, Bools]:
    """Stored rows: settings (n, p) in units of the bounds, readings (n, m), and which are bounds (n, m)."""
    d = len(state.inputs)
    settings = [dict(zip(state.inputs, row[:d], strict=True)) for row in state.rows.values]
    X = np.array([space.encode(each) for each in settings])
    Y = np.array([[float(value) for value in row[d:]] for row in state.rows.values])
    high = np.array([np.inf if c.high is None else c.high for c in state.channels.values()])
    return (X - space.low) / space.width, Y, high <= Y


def _hyperparameters(process: Any) -> Hyperparameters:
    return Hyperparameters(
        process.transform,
        np.array(process.lengths),
        process.joint,
        process.additive,
        process.proportional,
        process.constant,
    )
