"""The goal of a campaign: a band of raw readings for each of some channels; every channel must lie inside.

A reading reaches the goal if it lies in [low, high] of every channel. A band has a target with a two-sided tolerance,
or no target: `between`, `at most`, `at least` require only that the reading lies inside.

The *tolerance ratio* (`miss` in records) ranks trials; the worst channel's counts:

    target              |reading − target| over the tolerance of that side: 1 at the edge of the band
    no target, inside   0: no reading inside is better than another
    no target, outside  1 + distance beyond the limit over the half width (`between`) or over the campaign's tolerance
                        of the limit (`at most: 60000` at 2 %: one more for every 1200 counts)

A reading at an end of its channel is a bound, not a value: it never reaches a target or a range, but at full scale it
keeps a limit `at least` below it.

One channel may have an *objective* instead: to be as large or as small as possible while the other bands, then called
constraints, are kept. Its band has no limits, so that every reading lies inside; a reading at an end of its channel
does not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The allowed distance from a target, to either side: in the channel's unit, or a percentage of the target."""

    amount: float
    percent: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise ValueError(
                f"must be above 0, not {self}; write 2% (of the target) or 300 (in the unit of the channel)"
            )
        if self.percent and self.amount > 100:
            raise ValueError(f"must be at most 100%, not {self}")

    @classmethod
    def parse(cls, value: object) -> Tolerance:
        """Read `"2%"` or a number in the channel's unit.

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
        raise ValueError(f"must be 2% (of the target) or 300 (in the unit of the channel), not {value!r}")

    def of(self, target: float) -> float:
        """The tolerance in the channel's unit, for a target."""
        return abs(target) * self.amount / 100 if self.percent else self.amount

    def __str__(self) -> str:
        return f"{self.amount:g}%" if self.percent else f"{self.amount:g}"


class Direction(StrEnum):
    """Whether the readings of a channel are to be as large or as small as possible."""

    MAXIMISE = "maximise"
    MINIMISE = "minimise"

    @property
    def sign(self) -> float:
        """1 to maximise, -1 to minimise."""
        return 1.0 if self is Direction.MAXIMISE else -1.0


@dataclass(frozen=True, slots=True)
class Band:
    """The accepted readings of one channel.

    Attributes:
        target: the value to aim at, in [low, high]; None: anywhere inside.
        low, high: inclusive limits in the channel's unit; -inf or inf without a limit.
        unit: distance beyond a limit that adds 1 to the tolerance ratio; used without a target.
        direction: direction of an objective, which has neither target nor limits; None for a goal or a constraint.
    """

    target: float | None
    low: float
    high: float
    unit: float = 1.0
    direction: Direction | None = None

    def __post_init__(self) -> None:
        inside = self.low if self.target is None else self.target
        if not self.low <= inside <= self.high or self.low == self.high or not 0 < self.unit < math.inf:
            raise ValueError(f"a band needs low <= target <= high and some width, not {self!r}")
        limited = self.target is not None or math.isfinite(self.low) or math.isfinite(self.high)
        if limited is (self.direction is not None):
            raise ValueError("a band needs a target or a limit, or else a direction")

    @classmethod
    def around(cls, target: float, tolerance: float) -> Band:
        """The band target ± tolerance, both in the channel's unit."""
        return cls(target, target - tolerance, target + tolerance)

    @classmethod
    def between(cls, low: float, high: float) -> Band:
        """Any reading from `low` to `high`; distances beyond are measured in half widths.

        Raises:
            ValueError: low is not below high.
        """
        if not low < high:
            raise ValueError(f"low ({low:g}) must be below high ({high:g})")
        return cls(None, low, high, (high - low) / 2)

    @classmethod
    def at_most(cls, limit: float, tolerance: float) -> Band:
        """Any reading up to `limit`; distances beyond are measured in `tolerance` (in 1 where that is 0)."""
        return cls(None, -math.inf, limit, tolerance or 1.0)

    @classmethod
    def at_least(cls, limit: float, tolerance: float) -> Band:
        """Any reading from `limit` up; distances below are measured in `tolerance` (in 1 where that is 0)."""
        return cls(None, limit, math.inf, tolerance or 1.0)

    @classmethod
    def objective(cls, direction: Direction) -> Band:
        """Any reading, the larger or the smaller the better."""
        return cls(None, -math.inf, math.inf, direction=direction)

    @property
    def open_above(self) -> bool:
        """Whether it is a limit `at least`, which a reading at full scale keeps."""
        return self.target is None and math.isinf(self.high) and self.direction is None

    def beyond(self, value: float) -> float:
        """Distance of a reading outside the band, in the channel's unit; 0 inside."""
        return max(self.low - value, value - self.high, 0.0)

    def miss(self, value: float) -> float:
        """The tolerance ratio of a reading: at most 1 inside; inf for NaN."""
        if math.isnan(value):
            return math.inf
        if self.target is None:
            beyond = self.beyond(value)
            return max(1.0 + beyond / self.unit, math.nextafter(1.0, 2.0)) if beyond else 0.0
        if value == self.target:
            return 0.0
        room = self.high - self.target if value > self.target else self.target - self.low
        return abs(value - self.target) / room if room > 0 else math.inf

    def deviation(self, value: float) -> float:
        """Signed tolerance ratio of a reading: within -1 … 1 inside, negative below; NaN for an objective.

        Without a target it is the distance from the middle of a range in half widths; inside a limit `at most` or
        `at least` it falls from 1 at the limit to 0 at one tolerance from it.
        """
        if self.direction is not None or math.isnan(value):
            return math.nan
        if self.target is not None:
            return math.copysign(self.miss(value), value - self.target)
        if math.isinf(self.low):
            return max(1.0 + (value - self.high) / self.unit, 0.0)
        if math.isinf(self.high):
            return min((value - self.low) / self.unit - 1.0, 0.0)
        return (value - (self.low + self.high) / 2) / self.unit

    def error(self, value: float) -> float | None:
        """Relative error: distance from the target, or from the exceeded limit, over its size; None if that is 0."""
        if self.target is None and not self.beyond(value):
            return 0.0
        scale = self.target if self.target is not None else self.low if value < self.low else self.high
        return abs(value - scale) / abs(scale) if scale else None

    @property
    def limits(self) -> dict[str, float | None]:
        """Low and high for JSON; None for one that does not exist."""
        return {name: None if math.isinf(end) else end for name, end in (("low", self.low), ("high", self.high))}

    def plain(self) -> dict[str, float | str | None]:
        """Target, low and high for JSON, None for one that does not exist; and the direction of an objective."""
        direction = {} if self.direction is None else {"direction": str(self.direction)}
        return {"target": self.target, **self.limits, **direction}

    def __str__(self) -> str:
        if self.direction is not None:
            return str(self.direction)
        if self.target is not None:
            up, down = self.high - self.target, self.target - self.low
            same = math.isclose(up, down, rel_tol=1e-9)
            return f"{self.target:g} ± {up:g}" if same else f"{self.target:g} ({self.low:g} … {self.high:g})"
        if math.isinf(self.low):
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if math.isinf(self.high) else f"{self.low:g} … {self.high:g}"


@dataclass(frozen=True, slots=True)
class Goal:
    """A band for each channel of the goal; at most one of them is an objective."""

    bands: Mapping[str, Band]

    def __post_init__(self) -> None:
        if not self.bands:
            raise ValueError("a goal needs at least one channel")
        if len(objectives := [name for name, band in self.bands.items() if band.direction is not None]) > 1:
            raise ValueError(f"only one channel can be maximised or minimised, not {' and '.join(objectives)}")

    @property
    def objective(self) -> str | None:
        """The channel to maximise or minimise; None without one."""
        return next((name for name, band in self.bands.items() if band.direction is not None), None)

    @property
    def direction(self) -> Direction | None:
        """Whether to maximise or minimise that channel."""
        return next((band.direction for band in self.bands.values() if band.direction is not None), None)

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(self.bands)

    @property
    def limited(self) -> dict[str, Band]:
        """The bands that readings can leave: all but that of an objective."""
        return {name: band for name, band in self.bands.items() if band.direction is None}

    @property
    def targets(self) -> dict[str, float]:
        """The target of each channel that has one."""
        return {name: band.target for name, band in self.bands.items() if band.target is not None}

    def miss(self, readings: Mapping[str, float], saturated: Collection[str] = ()) -> float:
        """The worst channel's tolerance ratio; inf if one is missing, or saturated and its goal is not `at least`."""
        return max(
            math.inf if name in saturated and not band.open_above else band.miss(readings.get(name, math.nan))
            for name, band in self.bands.items()
        )

    def worst_channel(self, readings: Mapping[str, float]) -> str:
        """The channel with the largest tolerance ratio; an objective has none."""
        return max(self.limited or self.bands, key=lambda name: self.bands[name].miss(readings.get(name, math.nan)))

    def reached(self, readings: Mapping[str, float], saturated: Collection[str] = ()) -> bool:
        """Whether every channel lies inside its band, limits included."""
        return all(
            (name not in saturated or band.open_above) and band.low <= readings.get(name, math.nan) <= band.high
            for name, band in self.bands.items()
        )

    def error(self, readings: Mapping[str, float]) -> float | None:
        """The worst channel's relative error; None with an objective, if a channel is missing or its target is 0."""
        if self.objective is not None:
            return None
        errors = [band.error(readings.get(name, math.nan)) for name, band in self.bands.items()]
        known = [error for error in errors if error is not None and not math.isnan(error)]
        return max(known) if len(known) == len(errors) else None

    def shortfall(self, readings: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
        """How far the closest achievable readings stay outside the bands, for the record and for JSON.

        Returns:
            For each channel with a reading: `low` and `high` of its band (None: no limit), the reading `nearest`, and
            its distance outside the band, `by` (0: inside).
        """
        return {
            name: {**band.limits, "nearest": value, "by": band.beyond(value)}
            for name, band in self.bands.items()
            if not math.isnan(value := readings.get(name, math.nan))
        }

    def __str__(self) -> str:
        return ", ".join(f"{name} {band}" for name, band in self.bands.items())


def decimals(size: float, tolerance: float | None = None) -> int:
    """The number of decimals that readings of this size need: a tenth of the tolerance is shown, or three figures.

    `size` is the largest reading. Without a tolerance readings above 100 need none; from 10,000 on, like counts, those
    with a tolerance of 1 or more need none either.
    """
    size = abs(size)
    if not math.isfinite(size) or (size >= 1e4 and tolerance is not None and tolerance >= 1):
        return 0
    least = tolerance / 10 if tolerance and math.isfinite(tolerance) else size / 100
    return max(0, -math.floor(math.log10(least) + 1e-9)) if least > 0 else 0


def format_number(value: float, digits: int, figures: int = 3) -> str:
    """A number with `digits` decimals; a very small or large one in scientific notation.

    A very large number has `figures` figures: `0.483`, `16384`, `2.03e-09`, `3.98e+09`.
    """
    size = abs(value)
    if not size or not math.isfinite(size) or not _is_scientific(size, digits):
        return f"{value:.{0 if not size and digits > 6 else min(digits, 12)}f}"
    shown = math.floor(math.log10(size)) + digits if size < 1 else figures - 1
    return f"{value:.{min(max(shown, 0), 15)}e}"


def _is_scientific(size: float, digits: int) -> bool:
    return size >= 1e8 or (size < 1e-3 and digits > 6)


def format_reading(value: float, tolerance: float | None = None) -> str:
    """A reading as text with the decimals it needs: `16384`, `12.5`, `0.483`, `2.03e-09`."""
    if tolerance is None and value == round(value, 0) and abs(value) < 1e8:
        return f"{value:.0f}"
    figures = 3
    if value and tolerance and math.isfinite(value / tolerance):
        figures = 2 + math.floor(math.log10(max(abs(value) / tolerance, 1.0)))
    return format_number(value, decimals(value, tolerance), figures)


def format_with_error(value: float, error: float | None) -> str:
    """A reading with its standard error, of which two figures are given: `128.0 ± 1.2`; without one as a reading."""
    if not error or not math.isfinite(error):
        return format_reading(value)
    last = math.floor(math.log10(error)) - 1
    figures = math.floor(math.log10(abs(value))) - last + 1 if value else 1
    if _is_scientific(abs(value), max(-last, 0)):
        return f"{format_number(value, max(-last, 0), figures)} ± {error:.1e}"
    return f"{format_number(value, max(-last, 0))} ± {format_number(error, max(-last, 0), 2)}"


def background_exceeds(goal: Goal, background: Mapping[str, float] | None) -> str:
    """The channels whose background alone exceeds their band, as a phrase; empty if there are none."""
    over = [
        f"{format_reading(value)} at {name}, above {format_reading(goal.bands[name].high)}"
        for name, value in (background or {}).items()
        if name in goal.bands and value > goal.bands[name].high
    ]
    return f"the background alone is {'; '.join(over)}" if over else ""


def format_shortfall(shortfall: Mapping[str, Mapping[str, float | None]]) -> str:
    """A shortfall as text: `R 30357, 28443 outside 58800…61200; G 16384`."""
    parts = []
    for name, part in shortfall.items():
        nearest, by = part["nearest"], part["by"]
        if nearest is None:
            continue
        low, high = part["low"], part["high"]
        width = (high - low) / 2 if low is not None and high is not None else None
        text = f"{name} {format_reading(nearest, width)}"
        if by:
            lower, upper = ("" if end is None else format_reading(end, width) for end in (low, high))
            limits = f"outside {lower}…{upper}" if lower and upper else f"below {lower}" if lower else f"above {upper}"
            text += f", {format_reading(by)} {limits}"
        parts.append(text)
    return "; ".join(parts)


def format_closest(goal: Goal, readings: Mapping[str, float]) -> str:
    """The channel that is farthest from the goal, as text: `R off by +22 (tolerance ± 8.2)`."""
    name = goal.worst_channel(readings)
    band, value = goal.bands[name], readings.get(name, math.nan)
    if band.target is None:
        width = band.unit
        beyond = f"{name} {format_reading(value, width)}, {format_reading(band.beyond(value), width)}"
        if math.isinf(band.high - band.low):
            side, edge = ("above", band.high) if value > band.high else ("below", band.low)
            return f"{beyond} {side} {format_reading(edge, width)}"
        return f"{beyond} outside {band}"
    width = band.high - band.target if value > band.target else band.target - band.low
    off = value - band.target
    sign = "+" if off > 0 else "−"
    return f"{name} off by {sign}{format_reading(abs(off), width)} (tolerance ± {format_reading(width, width)})"
