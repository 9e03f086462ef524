"""Ambient light: daylight by the hour, sun and clouds, lamps, and the night.

    daylight(t)   the q-th quantile of daylight at that hour, q = Phi(w(t)); w is a sum of smooth random waves
    lamps(t)      on while a random wave of their own is high enough, inside the working hours
    ambient       dark + daylight(t) * its spectrum + lamps(t) * their spectrum

A pure function of (seed, time): the waves interpolate normal numbers that are drawn by their place in time.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import NormalDist

from pydantic import Field, model_validator

from sdl.twin.simulation import STREAM
from sdl.twin.tomlfile import TomlFiles
from sdl.types import Frozen

FOLDER = Path(__file__).parent / "rooms"

QUANTILES = (0.01, 0.10, 0.50, 0.75, 0.90, 0.99)
_NORMAL = NormalDist()
_LEVELS = tuple(_NORMAL.inv_cdf(q) for q in QUANTILES)
_BLOCK = 256
_LAMPS, _GUSTS = 90, 91  # numbers of these waves; daylight uses those from 0
_GUST_SECONDS = 900.0


class Hour(Frozen):
    """Daylight at an hour of the day, by quantile."""

    at: float = Field(ge=0, lt=24, description="hour of the day, local")
    counts: list[float] = Field(
        description="counts at 515 nm that daylight stays below in 1, 10, 50, 75, 90, 99 % of the time"
    )

    @model_validator(mode="after")
    def _rising(self) -> Hour:
        if len(self.counts) != len(QUANTILES) or min(self.counts) < 0 or sorted(self.counts) != self.counts:
            raise ValueError(f"counts: {len(QUANTILES)} numbers from 0 up, rising; not {self.counts}")
        return self


class Wave(Frozen):
    """One wave of the weather."""

    seconds: float = Field(gt=0, description="interval of the random numbers, seconds")
    part: float = Field(gt=0, le=1, description="standard deviation of the wave; the squares of all waves add up to 1")
    gusts: float = Field(
        default=0.0, ge=0, le=2, description="variation of its amplitude: standard deviation of the logarithm"
    )


class Switch(Frozen):
    """The schedule of the lamps."""

    counts: float = Field(ge=0, description="counts at 515 nm")
    share: float = Field(gt=0, lt=1, description="fraction of the working hours")
    minutes: float = Field(gt=0, description="approximate time between two switches")
    hours: list[float] = Field(min_length=2, max_length=2, description="the working hours")


class Room(Frozen):
    """Parameters of the ambient light of a room, read from a TOML file."""

    about: str = ""
    utc_offset: float = Field(ge=-14, le=14, description="its clock: hours from UTC")
    dark: dict[str, float] = Field(description="counts without any light, by channel")
    daylight: dict[str, float] = Field(description="spectrum of daylight, 515 nm = 1")
    lamps: dict[str, float] = Field(description="spectrum of the lamps, 515 nm = 1")
    switch: Switch
    hour: list[Hour] = Field(min_length=2)
    wave: list[Wave] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Room:
        if not self.dark.keys() == self.daylight.keys() == self.lamps.keys():
            raise ValueError("dark, daylight and lamps must name the same channels")
        hours = [hour.at for hour in self.hour]
        if sorted(set(hours)) != hours:
            raise ValueError(f"hour: `at` must rise, not {hours}")
        if abs(sum(wave.part**2 for wave in self.wave) - 1) > 0.02:
            raise ValueError("wave: the squares of `part` must add up to 1 (within .02)")
        return self


ROOMS = TomlFiles(Room, FOLDER)
load_room = ROOMS.load


@dataclass(frozen=True)
class Sky:
    """The ambient light of one room, for one seed."""

    room: Room
    seed: int = 0

    def at(self, time: float) -> dict[str, float]:
        """Ambient counts of each channel at `time` (seconds since 1970 UTC)."""
        day, lit = self.daylight(time), self.lamps(time)
        room = self.room
        return {name: dark + day * room.daylight[name] + lit * room.lamps[name] for name, dark in room.dark.items()}

    def daylight(self, time: float) -> float:
        """Counts of daylight at 515 nm."""
        hour = self._hour(time)
        gust = wander(self.seed, _GUSTS, time / _GUST_SECONDS)
        level = 0.0
        for index, wave in enumerate(self.room.wave):
            swell = math.exp(wave.gusts * (gust - wave.gusts)) if wave.gusts else 1.0  # its square is 1 on average
            level += swell * wave.part * wander(self.seed, index, time / wave.seconds)
        right = bisect_right(self._hours, hour)
        if right in (0, len(self._hours)):
            return math.expm1(_between(_LEVELS, self._logs[-1 if right else 0], level))
        before, after = self._hours[right - 1 : right + 1]
        part = (hour - before) / (after - before)
        low, high = (_between(_LEVELS, row, level) for row in self._logs[right - 1 : right + 1])
        return math.expm1(low + part * (high - low))

    def lamps(self, time: float) -> float:
        """Counts of the lamps at 515 nm."""
        switch = self.room.switch
        if not switch.hours[0] <= self._hour(time) < switch.hours[1]:
            return 0.0
        on = wander(self.seed, _LAMPS, time / (60 * switch.minutes)) > _NORMAL.inv_cdf(1 - switch.share)
        return switch.counts if on else 0.0

    def _hour(self, time: float) -> float:
        return (time / 3600 + self.room.utc_offset) % 24

    @cached_property
    def _hours(self) -> list[float]:
        return [hour.at for hour in self.room.hour]

    @cached_property
    def _logs(self) -> list[list[float]]:
        return [[math.log1p(count) for count in hour.counts] for hour in self.room.hour]


def wander(seed: int, wave: int, x: float) -> float:
    """A smooth random wave at `x`, standard normal: independent at integers, interpolated between them."""
    whole = math.floor(x)
    blend = (x - whole) ** 2 * (3 - 2 * (x - whole))
    one, other = (_normals(seed, wave, place // _BLOCK)[place % _BLOCK] for place in (whole, whole + 1))
    return ((1 - blend) * one + blend * other) / math.hypot(1 - blend, blend)


@lru_cache(maxsize=256)
def _normals(seed: int, wave: int, block: int) -> list[float]:
    import numpy as np

    return np.random.default_rng([seed, STREAM, wave, block]).standard_normal(_BLOCK).tolist()  # type: ignore[no-any-return]


def _between(x: tuple[float, ...], y: list[float], at: float) -> float:
    """Linear interpolation, constant outside the points."""
    right = bisect_right(x, at)
    if right in (0, len(x)):
        return y[-1 if right else 0]
    part = (at - x[right - 1]) / (x[right] - x[right - 1])
    return y[right - 1] + part * (y[right] - y[right - 1])
