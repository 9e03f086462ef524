"""How well a twin predicts readings that it was not fitted to, and whether the instrument still matches its twin.

    z = (reading + 1/2 - light of the inputs - ambient light) / standard deviation of this residual if the twin is right

The half count corrects for rounding down. If the ambient light of a session is estimated from its readings, one degree
of freedom is lost. The standard deviation includes the noise, the variation of the ambient light within a session, and
the change of the gains from day to day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import norm

from sdl.arrays import Floats
from sdl.twin.evidence import DARK, TELLS, Evidence, Left, left_over
from sdl.twin.evidence import FEW as FEW_MOVES
from sdl.twin.model import Plant
from sdl.twin.state import TwinState

LIMIT = 2.5
"""A channel no longer matches its twin if the ratio of its median error to the expected one exceeds this. Real days
that a twin was not fitted to reach 2.04 (channel clear, which reads slightly less than the sum of the inputs)."""
SURE = 1e-4
"""... and if the probability of such a ratio by chance, with so few readings, is below this."""
LIGHT = 0.0125
"""An input no longer matches its twin if the relative error of its light exceeds this. The light changes
by 0.1 to 0.2 % from one dark evening to the next, and by 1.2 % within three months (red, July to October 2025); a
change of 1.5 % should be detected."""
CERTAIN = 3.0
"""... and if the error exceeds this many standard errors."""
FEW = 3
"""Least number of readings of a channel for a comparison."""
MIDDLE = 0.6745
"""Median of the absolute value of a standard normal variable."""


@dataclass(frozen=True)
class ChannelCheck:
    """The comparison of one channel.

    Attributes:
        channel: name of the channel.
        readings: number of readings compared.
        rmse: root mean square error of the twin, counts.
        noise: root mean square of the noise that the twin predicts for these readings, counts.
        ratio: rmse / noise.
        bias: mean of z.
        spread: standard deviation of z.
        coverage: fraction of the readings with |z| below 1; 0.683 if the twin is right.
        typical: median |z| divided by MIDDLE; 1 if the twin is right, and robust against outliers.
        limit: the channel no longer matches its twin if `typical` exceeds this.
    """

    channel: str
    readings: int
    rmse: float
    noise: float
    ratio: float
    bias: float
    spread: float
    coverage: float
    typical: float
    limit: float

    @property
    def left(self) -> bool:
        """Whether the instrument no longer matches its twin in this channel."""
        return self.typical > self.limit


@dataclass(frozen=True)
class LightCheck:
    """Relative excess of the light of an input over that of the twin, with its standard error."""

    input: str
    more: float
    error: float

    @property
    def left(self) -> bool:
        """Whether the instrument no longer matches its twin in this input."""
        return abs(self.more) > max(LIGHT, CERTAIN * self.error)


@dataclass(frozen=True)
class Check:
    """The result of comparing a twin with readings."""

    channels: tuple[ChannelCheck, ...]
    lights: tuple[LightCheck, ...]
    readings: int
    unused: int
    ambient: str
    sources: tuple[str, ...] = ()

    @property
    def divergent(self) -> bool:
        """Whether the instrument no longer matches its twin."""
        return any(channel.left for channel in self.channels) or any(light.left for light in self.lights)

    @property
    def verdict(self) -> str:
        """The result as a sentence."""
        said = "the instrument matches its twin"
        if left := [channel for channel in self.channels if channel.left]:
            worst = max(left, key=lambda channel: channel.typical)
            names = ", ".join(channel.channel for channel in left)
            said = f"the instrument no longer matches its twin in {names}: the median error of {worst.channel} is "
            said += f"{worst.typical:.1f} × the expected one"
        elif self.divergent:
            said = "the instrument no longer matches its twin"
        if self.divergent:
            off = [light for light in self.lights if abs(light.more) > max(CERTAIN * light.error, 0.003)]
            tell = ", ".join(f"{light.input} {100 * light.more:+.1f} ± {100 * light.error:.1f} %" for light in off)
            return said + (f"; light of the inputs against the twin's: {tell}" if tell else "")
        if wild := [channel.channel for channel in self.channels if channel.spread > 2 * max(channel.typical, 1)]:
            names = ", ".join(wild)
            said += f"; some readings have much larger errors than most ({names}): "
            said += "the ambient light changed, or they are wrong"
        return said

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "divergent": self.divergent,
            "verdict": self.verdict,
            "readings": self.readings,
            "unused": self.unused,
            "ambient": self.ambient,
            "sources": list(self.sources),
            "channels": [asdict(channel) | {"left": channel.left} for channel in self.channels],
            "lights": [asdict(light) | {"left": light.left} for light in self.lights],
        }


def comparable(data: Evidence, plant: Plant) -> Left:
    """The residuals of the readings that can be compared; NaN for those from which the ambient light was estimated."""
    left = left_over(data, plant)
    counts, fitted = left.counts.copy(), left.room.fitted
    counts[~data.X.any(axis=1) & np.isnan(data.background).all(axis=1)] = np.nan
    for sitting in np.unique(data.session[fitted]):
        here = (data.session == sitting) & fitted
        n = (~np.isnan(counts[here])).sum(axis=0)
        counts[here] *= np.where(n < 2, np.nan, np.sqrt(np.maximum(n, 2) / (np.maximum(n, 2) - 1)))
    return replace(left, counts=_without_moves(data, plant, left, counts))


def _without_moves(data: Evidence, plant: Plant, left: Left, counts: Floats) -> Floats:
    """(n, m) residuals without the variation of the ambient light within a session.

    That variation is estimated from the channel with the smallest gains, as the part of it that the light of the inputs
    does not explain. Its size in every other channel is fitted together with changes of the inputs' light, so that
    these are kept. The channel with the smallest gains then gives no information about the instrument.
    """
    gain = plant.arrays.gain.max(axis=1)
    least = int(gain.argmin())
    if gain[least] >= TELLS * gain.max():
        return counts
    counts = counts.copy()
    for sitting in np.unique(data.session):
        here = (data.session == sitting) & ~np.isnan(counts[:, least])
        if here.sum() < FEW_MOVES or np.nanmedian(left.room.counts[here, least]) < DARK:
            continue
        light = np.column_stack([np.ones(here.sum()), left.light[here]])
        move = counts[here, least] - light @ np.linalg.lstsq(light, counts[here, least], rcond=None)[0]
        A = np.column_stack([move, light])
        for column in np.flatnonzero(np.arange(len(gain)) != least):
            miss = counts[here, column]
            used = ~np.isnan(miss)
            if used.sum() >= FEW_MOVES:
                size = left.due[here, column][used, None]
                share = np.linalg.lstsq(A[used] / size, miss[used] / size[:, 0], rcond=None)[0][0]
                counts[here, column] -= share * move
        counts[here, least] = np.nan
    return counts


def channel_checks(names: Sequence[str], counts: Floats, noise: Floats, due: Floats) -> list[ChannelCheck]:
    """The comparison of each channel with at least `FEW` readings.

    Args:
        names: of the m channels.
        counts: (n, m) readings less those of the twin; NaN where not compared.
        noise: (n, m) standard deviation of a repeated reading.
        due: (n, m) standard deviation of `counts` if the twin is right.
    """
    found = []
    for column, name in enumerate(names):
        used = ~np.isnan(counts[:, column])
        n = int(used.sum())
        if n < FEW:
            continue
        miss, usual = counts[used, column], math.sqrt(np.mean(noise[used, column] ** 2))
        z = miss / due[used, column]
        rmse = math.sqrt(np.mean(miss**2))
        # The relative standard error of the median |z| of n readings is 1.17 / sqrt(n).
        limit = max(LIMIT, 1 + norm.isf(SURE) * 1.17 / math.sqrt(n))
        found.append(
            ChannelCheck(
                channel=name,
                readings=n,
                rmse=rmse,
                noise=usual,
                ratio=rmse / usual if usual > 0 else math.inf,
                bias=float(z.mean()),
                spread=float(z.std()),
                coverage=float((np.abs(z) <= 1).mean()),
                typical=float(np.median(np.abs(z))) / MIDDLE,
                limit=float(limit),
            )
        )
    return found


def check(data: Evidence, state: TwinState) -> Check:
    """Compare the twin of `state` with readings.

    Raises:
        ValueError: there is no reading that can be compared.
    """
    plant = Plant(state)
    left = comparable(data, plant)
    found = channel_checks(tuple(state.channels), left.counts, left.noise, left.due)
    compared = ~np.isnan(left.counts).all(axis=1)
    if not found:
        raise ValueError(f"nothing to compare: no channel has {FEW} readings besides those that give the ambient light")
    used_rows = int(compared.sum())
    lights = _lights(plant, left)
    return Check(tuple(found), lights, used_rows, len(data.X) - used_rows, left.room.told, data.sources)


def _lights(plant: Plant, left: Left) -> tuple[LightCheck, ...]:
    """Relative excess of the light of each input, by least squares over the channel that it dominates."""
    light = left.light
    found = []
    for column, name in enumerate(plant.state.inputs):
        measured = ~np.isnan(left.counts).all(axis=0)
        channel = int(np.where(measured, _own(plant.arrays.gain, column), -1.0).argmax())
        used = ~np.isnan(left.counts[:, channel])
        parts = light[used] * plant.arrays.gain[channel]
        if not measured.any() or np.ptp(parts[:, column]) <= 0:
            continue
        centred = np.column_stack([parts[:, column], np.ones(used.sum())]) / left.due[used, channel, None]
        z = left.counts[used, channel] / left.due[used, channel]
        solution = np.linalg.lstsq(centred, z, rcond=None)[0]
        spread = np.sqrt(max(float(((z - centred @ solution) ** 2).mean()), 1.0))
        error = spread * math.sqrt(np.linalg.pinv(centred.T @ centred)[0, 0])
        found.append(LightCheck(name, float(solution[0]), float(error)))
    return tuple(found)


def _own(gain: Floats, column: int) -> Floats:
    """(m,) weight of each channel for one input: its gain if that is by far the largest of the channel, else little."""
    others = gain.sum(axis=1) - gain[:, column]
    own: Floats = gain[:, column] ** 2 / (gain[:, column] + others)
    return own
