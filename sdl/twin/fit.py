"""Fits a twin to readings: gains, ends, curves, noise, ambient light and drift, starting from a state that is known.

Gains, ends and curves by Gauss-Newton on the readings weighted by their noise, the room's light of every sitting taken
off, and readings that miss by more than three deviations counted less (Huber). What the readings say little of stays
near the state they start from: it enters as one more reading of each parameter, with the deviations below.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from sdl.arrays import Floats
from sdl.twin.check import Check, check
from sdl.twin.evidence import Evidence, jitter_of, left_over
from sdl.twin.model import Plant
from sdl.twin.state import Dimming, Drift, TwinState

GAIN = 0.3  # how far a gain may be from the known state's: part of it, plus a hundredth of full scale
END = 0.003  # how far an end may be from the known state's, part of full light
CURVE = 0.008
"""How far the curve of a channel may be from the known state's: .2 % of full light in the middle of the range. A sweep
of red (Claude-Light-Collab, 2025-07-29) is bent .5 % more at 590 than at 630 nm, which share window and jitter."""
SHARED = 0.8
"""Correlation of the curves of one input: what bends its light bends it in every channel. In autumn 2025 those of green
are -.008 to -.013 in six channels, those of red -.003 to -.029."""
ALIKE = 0.15
"""How far the jitter of a window may be from the known state's, part of it: units of one make are dimmed alike."""
ROUNDS = 12  # Gauss-Newton converges in four or five; noise and weights are found anew in each
FEW = 20  # fewer readings than this tell no noise
KNOWN = 0.7
"""A parameter whose uncertainty is above this part of where it started from was not told by the readings."""


@dataclass(frozen=True)
class Parameter:
    """One fitted number.

    Attributes:
        name: as in the state's file: `channels.515nm.gain.G`.
        value: what it is now.
        error: its standard error.
        was: what it was in the state that the fit started from.
        told: whether the readings say anything of it; else it is what it was.
    """

    name: str
    value: float
    error: float
    was: float
    told: bool


@dataclass(frozen=True)
class DayLight:
    """Light of an input on a day against the fitted one, as a part of it, with its standard error."""

    day: str
    input: str
    more: float
    error: float


@dataclass(frozen=True)
class Fit:
    """A fitted state, and how well the readings tell it."""

    state: TwinState
    parameters: tuple[Parameter, ...]
    days: tuple[DayLight, ...]
    check: Check

    def plain(self) -> dict[str, Any]:
        return {
            "state": self.state.model_dump(mode="json"),
            "parameters": [asdict(parameter) for parameter in self.parameters],
            "days": [asdict(day) for day in self.days],
            "check": self.check.plain(),
        }


def fit(data: Evidence, start: TwinState) -> Fit:
    """Fits a state to readings.

    Args:
        data: readings; `sdl.twin.evidence.collect` reads them.
        start: inputs, channels and windows; and every number that the readings do not tell.

    Raises:
        ValueError: too few readings, or none that could tell anything.
    """
    if start.curve or start.gamma != 1 or start.droop:
        raise ValueError("only a state without curve, gamma and droop can be fitted")
    if len(data.X) < FEW:
        raise ValueError(f"{len(data.X)} readings are too few to fit a twin to; {FEW} are needed")
    state, first = start, _vector(start)
    # Other jitter or prior gains only shift weights, so that a handful of rounds settles all of it.
    for _ in range(ROUNDS):
        step, error, spent = _step(data, state, first)
        state = _with_vector(state, step)
        state, noises = _with_noise(data, state, start, spent)
    prior = _prior(start)
    told = error < KNOWN * prior
    curves = np.array([".curve." in name for name in _names(start)])  # kept near none by their own small deviation
    value = np.where(told | curves, _vector(state), first)
    state = _with_vector(state, value)
    days, drift, drift_error = _days(data, state)
    state = _with_room(data, state, drift)
    names = _names(start)
    parameters = [
        Parameter(name, float(v), float(e), float(w), bool(t))
        for name, v, e, w, t in zip(names, _vector(state), error, first, told, strict=True)
        if t or ".curve." not in name  # thirty more lines that say nothing
    ]
    was = start.drift.daily if start.drift else 0.0
    daily = state.drift.daily if state.drift else 0.0
    parameters += [*noises, Parameter("drift.daily", daily, drift_error, was, drift is not None)]
    return Fit(state, tuple(parameters), days, check(data, state))


# Parameters as a vector: gains channel by channel, both ends of each input, curves channel by channel -----------------
def _names(state: TwinState) -> list[str]:
    gains = [f"channels.{channel}.gain.{name}" for channel in state.channels for name in state.inputs]
    ends = [f"inputs.{name}.{end}" for name in state.inputs for end in ("above_zero", "below_one")]
    return gains + ends + [f"channels.{channel}.curve.{name}" for channel in state.channels for name in state.inputs]


def _vector(state: TwinState) -> Floats:
    gains = [channel.gain[name] for channel in state.channels.values() for name in state.inputs]
    ends = [end for d in state.inputs.values() for end in (d.above_zero, d.below_one)]
    return np.array(gains + ends + [c.curve.get(name, 0.0) for c in state.channels.values() for name in state.inputs])


def _prior(state: TwinState) -> Floats:
    """(p,) prior standard deviation of each parameter."""
    gains = [channel.gain[name] for channel in state.channels.values() for name in state.inputs]
    ends, curves = [END] * 2 * len(state.inputs), [CURVE] * len(gains)
    return np.array([GAIN * gain + 0.01 * state.full_scale for gain in gains] + ends + curves)


def _with_vector(state: TwinState, vector: Floats) -> TwinState:
    values = iter(vector.tolist())
    channels = {
        name: channel.model_copy(update={"gain": {i: next(values) for i in state.inputs}})
        for name, channel in state.channels.items()
    }
    ends = {
        name: Dimming(above_zero=min(max(next(values), 0.0), 0.4), below_one=min(max(next(values), 0.0), 0.4))
        for name in state.inputs
    }
    for name, channel in channels.items():
        curve = {i: value for i in state.inputs if (value := next(values))}
        channels[name] = channel.model_copy(update={"curve": curve})
    return state.model_copy(update={"channels": channels, "inputs": ends})


def _step(data: Evidence, state: TwinState, first: Floats) -> tuple[Floats, Floats, Floats]:
    """One Gauss-Newton step: parameters (p,), their standard errors (p,), parameters used per channel (m,)."""
    plant = Plant(state)
    found = left_over(data, plant)
    gain, light, left, due = plant.arrays.gain, found.light, found.counts, found.due
    group = np.where(found.room.fitted, data.sitting, -1)  # -1: the readings themselves tell the room
    d, m = data.X.shape[1], len(gain)
    ends = m * d + 2 * np.arange(d)
    theta = _vector(state)
    between = (data.X > 0) & (data.X < 1)
    bow = plant.duty(data.X) * (1 - plant.duty(data.X))
    known = np.diag(_prior(state) ** 2)
    for i in range(d):
        curves = (m + 2) * d + i + d * np.arange(m)
        known[np.ix_(curves, curves)] += SHARED * CURVE**2 * (1 - np.eye(m))
    normal = np.linalg.inv(known)
    right, parts = normal @ (first - theta), []
    for c in range(m):
        above, below = between * (1 - data.X) * gain[c], between * -data.X * gain[c]
        J = np.hstack([light, above, below, bow * gain[c]])
        gains = c * d + np.arange(d)
        place = np.concatenate([gains, ends, ends + 1, (m + 2) * d + gains])  # of its columns among all parameters
        used = ~np.isnan(left[:, c])
        z = left[used, c] / due[used, c]
        weight = np.minimum(1.0, 3.0 / np.maximum(np.abs(z), 1e-9)) / due[used, c] ** 2
        A, r = J[used], left[used, c]
        # The room of a sitting is known by its dark rows or is one more unknown of it: taken off by weighted means.
        own = group[used]
        for sitting in np.unique(own[own >= 0]):
            here: NDArray[np.bool_] = own == sitting
            share = weight[here] / weight[here].sum()
            A[here] -= share @ A[here]
            r[here] -= share @ r[here]
        told = A.T @ (weight[:, None] * A)
        parts.append((np.ix_(place, place), told))
        normal[np.ix_(place, place)] += told
        right[place] += A.T @ (weight * r)
    covariance = np.linalg.inv(normal)
    spent = np.array([(covariance[square] * told).sum() for square, told in parts])  # a trace for each channel
    return theta + covariance @ right, np.sqrt(np.diag(covariance)), spent


# Noise --------------------------------------------------------------------------------------------------------------
def _with_noise(data: Evidence, state: TwinState, start: TwinState, spent: Floats) -> tuple[TwinState, list[Parameter]]:
    """Maximum-likelihood jitter of each window, with `spent` (m,) fitted parameters per channel."""
    plant = Plant(state)
    found = left_over(data, plant)
    left, due = found.counts, found.due
    share = jitter_of(plant, data.X)  # (n, m) variance for a jitter of 1
    a = plant.arrays
    other = due**2 - a.jitter[a.window, 0] ** 2 * share
    unknowns = spent + len(np.unique(data.sitting[found.room.fitted]))  # (m,)
    whole = left**2 / (1 - np.minimum(unknowns / np.maximum((~np.isnan(left)).sum(axis=0), 1), 0.5))
    jitter, told = dict(state.jitter), []
    for row, (window, was) in enumerate((w, max(s, 1e-4)) for w, s in start.jitter.items()):
        inside = (a.window == row)[None, :] & ~np.isnan(left) & (share * was**2 > other)
        used = int(inside.any(axis=1).sum())
        if used < FEW:
            told.append(Parameter(f"jitter.{window}", start.jitter[window], math.inf, start.jitter[window], False))
            continue
        r2, q, rest = np.minimum(whole[inside], 9 * due[inside] ** 2), share[inside], other[inside]

        shared = len(r2) / used  # channels that see one draw between them

        def unlikely(  # its other arguments are bound here, because the loop goes on
            log: float, r2: Floats = r2, q: Floats = q, rest: Floats = rest, shared: float = shared, was: float = was
        ) -> float:
            variance = math.exp(2 * log) * q + rest
            far = (log - math.log(was)) / ALIKE
            return float((np.log(variance) + r2 / variance).sum() / shared + far**2)

        best = minimize_scalar(unlikely, bounds=(math.log(1e-5), math.log(0.1)), method="bounded")
        jitter[window] = math.exp(float(best.x))
        error = jitter[window] / math.sqrt(2 * used + ALIKE**-2)
        told.append(Parameter(f"jitter.{window}", jitter[window], error, was, True))
    return state.model_copy(update={"jitter": jitter}), told


# Room and drift -----------------------------------------------------------------------------------------------------
def _days(data: Evidence, state: TwinState) -> tuple[tuple[DayLight, ...], Drift | None, float]:
    """Light of each input by day, the drift that explains its scatter, and the standard error of the drift."""
    found = []
    for day in np.unique(data.day):
        if not day or (data.day == day).sum() < FEW:
            continue
        try:
            lights = check(data.only(data.day == day), state).lights
        except ValueError:
            continue
        found += [DayLight(str(day), light.input, light.more, light.error) for light in lights]
    scatter, count = 0.0, 0
    for name in state.inputs:
        mine = [day for day in found if day.input == name]
        if len(mine) >= 3:
            scatter += float(np.var([day.more for day in mine], ddof=1) - np.mean([day.error**2 for day in mine]))
            count += 1
    if not count or state.drift is None:
        return tuple(found), None, math.inf
    daily = math.sqrt(max(scatter / count, 0.0))
    return tuple(found), state.drift.model_copy(update={"daily": daily}), daily / math.sqrt(2 * count)


def _with_room(data: Evidence, state: TwinState, drift: Drift | None) -> TwinState:
    """The state with the median ambient light of the readings, dated to their last day."""
    room = left_over(data, Plant(state)).room
    channels = dict(state.channels)
    for column, name in enumerate(channels):
        counts = room.counts[:, column]
        if (~np.isnan(counts)).any():
            middle = round(float(np.nanmedian(counts).clip(0, state.full_scale)), 2)
            channels[name] = channels[name].model_copy(update={"ambient": middle})
    last = max((str(day) for day in data.day), default="")
    start = datetime.fromisoformat(f"{last}T00:00:00+00:00") if last else state.start
    about = f"fitted to {len(data.X)} readings"
    update = {"channels": channels, "drift": drift or state.drift, "start": start, "about": about}
    # Checked anew, because a copy is not: a state that is written must be one that is read.
    return TwinState.model_validate(dict(state.model_copy(update=update)))
