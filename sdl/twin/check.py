"""How well a twin predicts readings that it has not seen, and whether the instrument has left it.

    z = (reading + 1/2 - light of the inputs - ambient) / standard deviation that the twin gives such a miss

The half is there because counts are rounded down. A sitting whose ambient is fitted uses up one reading of it. The
standard deviation is that of the noise, of the room's moves within a sitting and of the gain from day to day.
"""

from __future__ import annotations

import math
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
"""Ratio of median to expected error above which a channel no longer matches its twin. Real days that a twin was not
fitted to reach 2.04 (clear, which sees mixtures of the inputs a little below their sum)."""
SURE = 1e-4
"""... unless so few readings would miss as much this often by chance."""
LIGHT = 0.0125
"""Relative error of the light of an input above which it no longer matches its twin. It moves by
.1 to .2 % from one dark evening to the next, by 1.2 % within three months (red, July to October 2025); a change of
1.5 % is to be found."""
CERTAIN = 3.0
"""... unless that is less than so many standard errors."""
FEW = 3
"""Fewer readings of a channel than this say nothing."""
MIDDLE = 0.6745
"""Half of all normal numbers are nearer to 0 than this."""


@dataclass(frozen=True)
class ChannelCheck:
    """One channel.

    Attributes:
        channel: its name.
        readings: how many were compared.
        rmse: root mean square miss, counts.
        noise: root mean square of the noise that the twin gives these readings, counts.
        ratio: rmse / noise.
        bias: mean of z.
        spread: standard deviation of z.
        coverage: part of the readings with z within 1; .683 if the twin is right.
        typical: the middle |z| over that of normal numbers: 1 if the twin is right, whatever a few readings do.
        limit: the `typical` from which the channel counts as not matching its twin.
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
    """How much more light an input gives than the twin's, as a part of it, with its standard error."""

    input: str
    more: float
    error: float

    @property
    def left(self) -> bool:
        """Whether the instrument no longer matches its twin in this input."""
        return abs(self.more) > max(LIGHT, CERTAIN * self.error)


@dataclass(frozen=True)
class Check:
    """What came of holding a twin against readings."""

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
        """A sentence."""
        said = "the instrument is where its twin is"
        if left := [channel for channel in self.channels if channel.left]:
            worst = max(left, key=lambda channel: channel.typical)
            names = ", ".join(channel.channel for channel in left)
            said = f"the instrument no longer matches its twin in {names}: half of {worst.channel} miss by "
            said += f"{worst.typical:.1f} x what the twin allows for"
        elif self.divergent:
            said = "the instrument no longer matches its twin"
        if self.divergent:
            off = [light for light in self.lights if abs(light.more) > max(CERTAIN * light.error, 0.003)]
            tell = ", ".join(f"{light.input} {100 * light.more:+.1f} ± {100 * light.error:.1f} %" for light in off)
            return said + (f"; light of the inputs against the twin's: {tell}" if tell else "")
        if wild := [channel.channel for channel in self.channels if channel.spread > 2 * max(channel.typical, 1)]:
            said += (
                f"; some readings miss by much more than most ({', '.join(wild)}): the room moved, or they are wrong"
            )
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
    """What is left of the readings that can be compared; NaN for those that told of the room."""
    left = left_over(data, plant)
    counts, fitted = left.counts.copy(), left.room.fitted
    counts[~data.X.any(axis=1) & np.isnan(data.background).all(axis=1)] = np.nan
    for sitting in np.unique(data.session[fitted]):
        here = (data.session == sitting) & fitted
        n = (~np.isnan(counts[here])).sum(axis=0)
        counts[here] *= np.where(n < 2, np.nan, np.sqrt(np.maximum(n, 2) / (np.maximum(n, 2) - 1)))
    return replace(left, counts=_without_moves(data, plant, left, counts))


def _without_moves(data: Evidence, plant: Plant, left: Left, counts: Floats) -> Floats:
    """(n, m) misses without what a lit room's moves within a sitting add to them.

    The channel that sees the inputs least tells the moves, by what the inputs' light does not explain of it; how much
    of them each other channel sees is fitted beside changes of that light, so that these stay in. The channel itself
    then says nothing of the instrument.
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


def check(data: Evidence, state: TwinState) -> Check:
    """Holds the twin of `state` against readings.

    Raises:
        ValueError: no reading that could be compared.
    """
    plant = Plant(state)
    left = comparable(data, plant)
    found = []
    for column, name in enumerate(state.channels):
        used = ~np.isnan(left.counts[:, column])
        n = int(used.sum())
        if n < FEW:
            continue
        miss, noise = left.counts[used, column], left.noise[used, column]
        z = miss / left.due[used, column]
        rmse, usual = math.sqrt(np.mean(miss**2)), math.sqrt(np.mean(noise**2))
        # The middle |z| of n scatters by 1.17 / sqrt(n) of itself.
        limit = max(LIMIT, 1 + norm.isf(SURE) * 1.17 / math.sqrt(n))
        found.append(
            ChannelCheck(
                channel=name,
                readings=n,
                rmse=rmse,
                noise=usual,
                ratio=rmse / usual,
                bias=float(z.mean()),
                spread=float(z.std()),
                coverage=float((np.abs(z) <= 1).mean()),
                typical=float(np.median(np.abs(z))) / MIDDLE,
                limit=limit,
            )
        )
    compared = ~np.isnan(left.counts).all(axis=1)
    if not found:
        raise ValueError(f"nothing to compare: no channel has {FEW} readings besides those that tell of the room")
    used_rows = int(compared.sum())
    lights = _lights(plant, left)
    return Check(tuple(found), lights, used_rows, len(data.X) - used_rows, left.room.told, data.sources)


def _lights(plant: Plant, left: Left) -> tuple[LightCheck, ...]:
    """How much more light each input gives: least squares over its brightest channel."""
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
    """How much of a channel's light is of one input, (m,): its gain where it is the greatest by far, else little."""
    others = gain.sum(axis=1) - gain[:, column]
    own: Floats = gain[:, column] ** 2 / (gain[:, column] + others)
    return own
