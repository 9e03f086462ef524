"""Fit a twin to readings: gains, ends, curves, noise, ambient light and drift, starting from a known state.

Gains, ends and curves are fitted by Gauss-Newton to the readings, weighted by their noise, after the ambient light of
each session is subtracted; residuals above three standard deviations get a smaller weight (Huber). Each parameter has
a normal prior around the known state, with the standard deviations below.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from sdl.arrays import Floats
from sdl.twin.comparison import Check
from sdl.twin.led.check import check
from sdl.twin.led.evidence import Evidence, jitter_of, twin_residuals
from sdl.twin.led.model import Plant
from sdl.twin.led.state import Dimming, Drift, TwinState

# Standard deviations of the prior:
GAIN = 0.3  # of a gain, relative; a hundredth of full scale is added
END = 0.003  # of an end, fraction of full light
# Of the curve of a channel: .2 % of full light in the middle of the range. In a sweep of red (Claude-Light-Collab,
# 2025-07-29) the curve is .5 % larger at 590 than at 630 nm, which share window and jitter.
CURVE = 0.008
# Correlation of the curves of one input: a nonlinear light is so in every channel. In autumn 2025 the curves of green
# are -.008 to -.013 in six channels, those of red -.003 to -.029.
SHARED = 0.8
ALIKE = 0.15  # of the jitter of a window, relative: units of one make are dimmed in the same way

ROUNDS = 12  # Gauss-Newton converges in four or five; noise and weights are updated in each
FEW = 20  # readings that an estimate of the noise needs
KNOWN = 0.7  # a parameter keeps its old value if its standard error exceeds this fraction of its prior's


@dataclass(frozen=True)
class Parameter:
    """One fitted number.

    Attributes:
        name: its name in the state's file: `channels.515nm.gain.G`.
        value: value after the fit.
        error: its standard error.
        was: value in the state that the fit started from.
        told: whether the readings determine it; otherwise it keeps its old value.
    """

    name: str
    value: float
    error: float
    was: float
    told: bool


@dataclass(frozen=True)
class DayLight:
    """Relative deviation of an input's light on one day from the fitted light, with its standard error."""

    day: str
    input: str
    more: float
    error: float


@dataclass(frozen=True)
class Fit:
    """A fitted state, and how well the readings determine it."""

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
    """Fit a state to readings.

    `start` gives inputs, channels and windows, and the mean of the prior.

    Raises:
        ValueError: too few readings, or none that is informative.
    """
    if start.curve or start.gamma != 1 or start.droop:
        raise ValueError("only a state without curve, gamma and droop can be fitted")
    if len(data.X) < FEW:
        raise ValueError(f"{len(data.X)} readings are too few to fit a twin to; {FEW} are needed")
    state, first = start, _vector(start)
    for _ in range(ROUNDS):
        step, error, spent = _step(data, state, first)
        state = _with_vector(state, step)
        state, noises = _with_noise(data, state, start, spent)
    prior = _prior(start)
    determined = error < KNOWN * prior
    curves = np.array([".curve." in name for name in _names(start)])  # their prior is narrow enough
    value = np.where(determined | curves, _vector(state), first)
    state = _with_vector(state, value)
    days, drift, drift_error = _days(data, state)
    state = _with_room(data, state, drift)
    names = _names(start)
    parameters = [
        Parameter(name, float(v), float(e), float(w), bool(t))
        for name, v, e, w, t in zip(names, _vector(state), error, first, determined, strict=True)
        if t or ".curve." not in name  # otherwise thirty lines of zeros
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
    residuals = twin_residuals(data, plant)
    gain, light, residual, due = plant.arrays.gain, residuals.light, residuals.counts, residuals.due
    group = np.where(residuals.room.fitted, data.session, -1)  # -1: the ambient light was measured
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
        used = ~np.isnan(residual[:, c])
        z = residual[used, c] / due[used, c]
        weight = np.minimum(1.0, 3.0 / np.maximum(np.abs(z), 1e-9)) / due[used, c] ** 2
        A, r = J[used], residual[used, c]
        # An ambient light that was not measured is one more parameter per session: eliminated by weighted means.
        own = group[used]
        for session in np.unique(own[own >= 0]):
            here: NDArray[np.bool_] = own == session
            share = weight[here] / weight[here].sum()
            A[here] -= share @ A[here]
            r[here] -= share @ r[here]
        information = A.T @ (weight[:, None] * A)
        parts.append((np.ix_(place, place), information))
        normal[np.ix_(place, place)] += information
        right[place] += A.T @ (weight * r)
    covariance = np.linalg.inv(normal)
    spent = np.array(
        [(covariance[square] * information).sum() for square, information in parts]
    )  # a trace for each channel
    return theta + covariance @ right, np.sqrt(np.diag(covariance)), spent


# Noise --------------------------------------------------------------------------------------------------------------
def _with_noise(data: Evidence, state: TwinState, start: TwinState, spent: Floats) -> tuple[TwinState, list[Parameter]]:
    """The state with the jitter of each window fitted; `spent` (m,) are the degrees of freedom used in each channel."""
    plant = Plant(state)
    residuals = twin_residuals(data, plant)
    residual, due = residuals.counts, residuals.due
    share = jitter_of(plant, data.X)  # (n, m) variance for a jitter of 1
    a = plant.arrays
    other = due**2 - a.jitter[a.window, 0] ** 2 * share
    unknowns = spent + len(np.unique(data.session[residuals.room.fitted]))  # (m,)
    whole = residual**2 / (1 - np.minimum(unknowns / np.maximum((~np.isnan(residual)).sum(axis=0), 1), 0.5))
    jitter, parameters = dict(state.jitter), []
    for row, (window, known) in enumerate(start.jitter.items()):
        was = max(known, 1e-4)
        inside = (a.window == row)[None, :] & ~np.isnan(residual) & (share * was**2 > other)
        used = int(inside.any(axis=1).sum())
        if used < FEW:
            parameters.append(Parameter(f"jitter.{window}", known, math.inf, known, False))
            continue
        squares = np.minimum(whole[inside], 9 * due[inside] ** 2)
        best = _likeliest_jitter(was, squares, share[inside], other[inside], len(squares) / used)
        jitter[window] = best
        parameters.append(Parameter(f"jitter.{window}", best, best / math.sqrt(2 * used + ALIKE**-2), was, True))
    return state.model_copy(update={"jitter": jitter}), parameters


def _likeliest_jitter(was: float, squares: Floats, share: Floats, other: Floats, channels: float) -> float:
    """The jitter with the largest posterior density for squared residuals, of which `channels` share each draw."""

    def cost(log: float) -> float:
        variance = math.exp(2 * log) * share + other
        prior = ((log - math.log(was)) / ALIKE) ** 2
        return float((np.log(variance) + squares / variance).sum() / channels + prior)

    return math.exp(minimize_scalar(cost, bounds=(math.log(1e-5), math.log(0.1)), method="bounded").x)


# Room and drift -----------------------------------------------------------------------------------------------------
def _days(data: Evidence, state: TwinState) -> tuple[tuple[DayLight, ...], Drift | None, float]:
    """Light of each input by day, the drift that explains its scatter, and the standard error of the drift."""
    days = []
    for day in np.unique(data.day):
        if not day or (data.day == day).sum() < FEW:
            continue
        with contextlib.suppress(ValueError):  # nothing to compare on this day
            lights = check(data.only(data.day == day), state).lights
            days += [DayLight(str(day), light.input, light.more, light.error) for light in lights]
    by_input = [[day for day in days if day.input == name] for name in state.inputs]
    scatter = [
        float(np.var([day.more for day in mine], ddof=1) - np.mean([day.error**2 for day in mine]))
        for mine in by_input
        if len(mine) >= 3
    ]
    if not scatter or state.drift is None:
        return tuple(days), None, math.inf
    daily = math.sqrt(max(sum(scatter) / len(scatter), 0.0))
    return tuple(days), state.drift.model_copy(update={"daily": daily}), daily / math.sqrt(2 * len(scatter))


def _with_room(data: Evidence, state: TwinState, drift: Drift | None) -> TwinState:
    """The state with the median ambient light of the readings, dated to their last day."""
    room = twin_residuals(data, Plant(state)).room
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
    return TwinState.model_validate({**dict(state), **update})  # unlike a copy, validated
