"""The comparison of a twin with readings: its result, and the statistics of each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from sdl.arrays import Floats

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
        """The result as plain values, for JSON."""
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


def channel_checks(names: Sequence[str], counts: Floats, noise: Floats, due: Floats) -> list[ChannelCheck]:
    """The comparison of each channel with at least `FEW` readings.

    Args:
        names: names of the m channels.
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
