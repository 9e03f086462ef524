"""What is wanted: for each of some channels a band of raw readings, every channel inside.

A reading is a hit where it lies in [low, high] of every channel of the goal. A band has a target to aim at (with a
two-sided tolerance), or none: `between`, `at most`, `at least` ask only that the reading lie inside.

The *miss* is the one number everything else is ranked by, the worst channel's:

    with a target       distance from it in tolerances: 0 there, 1 at the edge of the band
    without, inside     0: no reading in it is better than another
    without, outside    1 and how far beyond the limit, counted in half widths (`between`) or in the campaign's
                        tolerance of the limit (`at most: 60000` at 2 %: one more for every 1200 counts)

A saturated reading is a bound, not a value, and is never a hit.
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
        target: the value to aim at, inside [low, high]; None: anywhere inside.
        low, high: inclusive limits in the channel's unit; -inf and inf where there is none.
        unit: what a miss beyond a limit is counted in; only of a band without a target.
    """

    target: float | None
    low: float
    high: float
    unit: float = 1.0

    def __post_init__(self) -> None:
        inside = self.low if self.target is None else self.target
        if not self.low <= inside <= self.high or self.low == self.high or not 0 < self.unit < math.inf:
            raise ValueError(f"a band needs low <= target <= high and some width, not {self!r}")
        if self.target is None and math.isinf(self.low) and math.isinf(self.high):
            raise ValueError("a band needs a target or a limit")

    @classmethod
    def around(cls, target: float, tolerance: float) -> Band:
        """The band target ± tolerance, both in the channel's unit."""
        return cls(target, target - tolerance, target + tolerance)

    @classmethod
    def between(cls, low: float, high: float) -> Band:
        """Anywhere from `low` to `high`; a miss is counted in half widths.

        Raises:
            ValueError: low is not below high.
        """
        if not low < high:
            raise ValueError(f"low ({low:g}) must be below high ({high:g})")
        return cls(None, low, high, (high - low) / 2)

    @classmethod
    def at_most(cls, limit: float, tolerance: float) -> Band:
        """Anywhere up to `limit`; `tolerance` (of it, where 0: 1) is only what a miss is counted in."""
        return cls(None, -math.inf, limit, tolerance or 1.0)

    @classmethod
    def at_least(cls, limit: float, tolerance: float) -> Band:
        """Anywhere from `limit` on; `tolerance` (of it, where 0: 1) is only what a miss is counted in."""
        return cls(None, limit, math.inf, tolerance or 1.0)

    def beyond(self, value: float) -> float:
        """How far a reading lies outside, in the channel's unit; 0 inside."""
        return max(self.low - value, value - self.high, 0.0)

    def miss(self, value: float) -> float:
        """Distance from the target in tolerances of that side; at most 1 inside, inf for what is no number."""
        if math.isnan(value):
            return math.inf
        if self.target is None:
            beyond = self.beyond(value)
            return max(1.0 + beyond / self.unit, math.nextafter(1.0, 2.0)) if beyond else 0.0
        if value == self.target:
            return 0.0
        room = self.high - self.target if value > self.target else self.target - self.low
        return abs(value - self.target) / room if room > 0 else math.inf

    def error(self, value: float) -> float | None:
        """Distance from the target, or from the limit that is broken, as a fraction of it; None where that is 0."""
        if self.target is None and not self.beyond(value):
            return 0.0
        scale = self.target if self.target is not None else self.low if value < self.low else self.high
        return abs(value - scale) / abs(scale) if scale else None

    def plain(self) -> dict[str, float | None]:
        """For JSON: target, low and high; None where there is none."""
        ends = (None if math.isinf(end) else end for end in (self.low, self.high))
        return dict(zip(("target", "low", "high"), (self.target, *ends), strict=True))

    def __str__(self) -> str:
        if self.target is not None:
            up, down = self.high - self.target, self.target - self.low
            same = math.isclose(up, down, rel_tol=1e-9)
            return f"{self.target:g} ± {up:g}" if same else f"{self.target:g} ({self.low:g} … {self.high:g})"
        if math.isinf(self.low):
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if math.isinf(self.high) else f"{self.low:g} … {self.high:g}"


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
        """Target of each channel that has one, raw."""
        return {name: band.target for name, band in self.bands.items() if band.target is not None}

    def miss(self, readings: Mapping[str, float], saturated: Collection[str] = ()) -> float:
        """The worst channel's miss; inf where a channel is missing or saturated."""
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
        """The worst channel's distance from its target, or beyond its limit, as a fraction of it.

        None where a channel is missing or the target is 0.
        """
        worst = 0.0
        for name, band in self.bands.items():
            value = readings.get(name, math.nan)
            off = None if math.isnan(value) else band.error(value)
            if off is None:
                return None
            worst = max(worst, off)
        return worst

    def shortfall(self, readings: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
        """How far the nearest readings that can be had stay from being a hit, for the record and for JSON.

        Returns:
            For each channel with a reading: `low` and `high` of its band (None: no limit), `nearest`, and `by`, the
            distance outside the band (0: inside).
        """
        found: dict[str, dict[str, float | None]] = {}
        for name, band in self.bands.items():
            value = readings.get(name, math.nan)
            if not math.isnan(value):
                limits = {end: limit for end, limit in band.plain().items() if end != "target"}
                found[name] = {**limits, "nearest": value, "by": band.beyond(value)}
        return found

    def __str__(self) -> str:
        return ", ".join(f"{name} {band}" for name, band in self.bands.items())


def decimals(size: float, tolerance: float | None = None) -> int:
    """How many digits behind the point a person needs of readings of this size; none of counts above 100.

    Args:
        size: the largest of them.
        tolerance: how far they may be off, where that is known: a tenth of it is told.
    """
    size = abs(size)
    if not math.isfinite(size) or (size >= 100 and (tolerance is None or tolerance >= 1)):
        return 0
    least = tolerance / 10 if tolerance and math.isfinite(tolerance) else size / 100
    return min(max(0, -math.floor(math.log10(least) + 1e-9)), 6) if least > 0 else 0


def format_reading(value: float, tolerance: float | None = None) -> str:
    """A reading for people: `16384`, `12.5`, `0.483`."""
    if tolerance is None and value == round(value, 0):
        return f"{value:.0f}"
    return f"{value:.{decimals(value, tolerance)}f}"


def background_exceeds(goal: Goal, background: Mapping[str, float] | None) -> str:
    """Which channels the light of the room alone lifts beyond their band, in words; empty if it lifts none."""
    base = background or {}
    bands = {name: band for name, band in goal.bands.items() if name in base}
    over = [
        f"{format_reading(base[n])} at {n}, above {format_reading(b.high)}"
        for n, b in bands.items()
        if base[n] > b.high
    ]
    return f"the light of the room alone is {'; '.join(over)}" if over else ""


def format_shortfall(shortfall: Mapping[str, Mapping[str, float | None]]) -> str:
    """A shortfall in words: `445nm 30357, short of 58800 … 61200 by 28443; 515nm 16384`."""
    parts = []
    for name, part in shortfall.items():
        nearest, by = part["nearest"], part["by"]
        if nearest is None:
            continue
        low, high = part["low"], part["high"]
        width = (high - low) / 2 if low is not None and high is not None else None
        text = f"{name} {format_reading(nearest, width)}"
        if by:
            least, most = ("" if end is None else format_reading(end, width) for end in (low, high))
            limits = f"{least}…{most}" if least and most else f"at least {least}" if least else f"at most {most}"
            text += f", {format_reading(by)} outside {limits}"
        parts.append(text)
    return "; ".join(parts)
