"""What is wanted: for each of some channels a band of raw readings, two-sided, every channel inside.

A reading is a hit where it lies in [low, high] of every channel of the goal. The *miss* is the one number everything
else is ranked by: the worst channel's distance from its target in tolerances, 1 being the edge of the band. A
saturated reading is a bound, not a value, and is never a hit.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a reading may lie from its target, to either side: counts, or a percentage of the target."""

    amount: float
    percent: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise ValueError(f"must be above 0, not {self}; write 2% (of the target) or 300 (counts)")
        if self.percent and self.amount > 100:
            raise ValueError(f"must be at most 100%, not {self}")

    @classmethod
    def parse(cls, value: object) -> Tolerance:
        """From `"2%"` or a number of counts.

        Raises:
            ValueError: it is neither, or not above 0.
        """
        if isinstance(value, Tolerance):
            return value
        if isinstance(value, str) and value.strip().endswith("%"):
            try:
                return cls(float(value.strip()[:-1]), percent=True)
            except ValueError as error:
                if "must be" in str(error):
                    raise
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # an integer of hundreds of digits
                return cls(float(value))
        raise ValueError(f"must be 2% (of the target) or 300 (counts), not {value!r}")

    def of(self, target: float) -> float:
        """In the channel's unit, for a goal at `target`."""
        return abs(target) * self.amount / 100 if self.percent else self.amount

    def __str__(self) -> str:
        return f"{self.amount:g}%" if self.percent else f"{self.amount:g}"


@dataclass(frozen=True, slots=True)
class Band:
    """The readings of one channel that count as hit.

    Attributes:
        low, high: inclusive limits in the channel's unit.
        target: the value to aim at; inside [low, high].
    """

    target: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.target <= self.high or self.low == self.high:
            raise ValueError(f"a band needs low <= target <= high and some width, not {self}")

    @classmethod
    def around(cls, target: float, tolerance: float) -> Band:
        """The band target ± tolerance, both in the channel's unit."""
        return cls(target, target - tolerance, target + tolerance)

    def miss(self, value: float) -> float:
        """Distance from the target in tolerances of that side; at most 1 inside, inf for what is no number."""
        if math.isnan(value):
            return math.inf
        if value == self.target:
            return 0.0
        room = self.high - self.target if value > self.target else self.target - self.low
        return abs(value - self.target) / room if room > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Goal:
    """A band for each of some channels."""

    bands: Mapping[str, Band]

    def __post_init__(self) -> None:
        if not self.bands:
            raise ValueError("a goal needs at least one channel")

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self.bands)

    @property
    def targets(self) -> dict[str, float]:
        """Target of each channel, raw."""
        return {name: band.target for name, band in self.bands.items()}

    def miss(self, readings: Mapping[str, float], saturated: Collection[str] = ()) -> float:
        """The worst channel's distance from its target in tolerances; inf where a channel is missing or saturated."""
        return max(
            math.inf if name in saturated else band.miss(readings.get(name, math.nan))
            for name, band in self.bands.items()
        )

    def reached(self, readings: Mapping[str, float], saturated: Collection[str] = ()) -> bool:
        """Whether every channel lies inside its band, the limits included."""
        return all(
            name not in saturated and band.low <= readings.get(name, math.nan) <= band.high
            for name, band in self.bands.items()
        )

    def error(self, readings: Mapping[str, float]) -> float | None:
        """The worst channel's |reading − target| / |target|, a fraction; None where a channel or a scale is missing."""
        worst = 0.0
        for name, band in self.bands.items():
            value = readings.get(name, math.nan)
            if math.isnan(value) or band.target == 0:
                return None
            worst = max(worst, abs(value - band.target) / abs(band.target))
        return worst
