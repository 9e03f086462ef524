"""What `sdl instrument check` measures and finds: the readings by setting, and one finding after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sdl.types import Reading, Settings, Value

Where = Literal["off", "way", "middle", "end", "back"]


@dataclass(frozen=True, slots=True)
class CommissioningCheck:
    """One finding of the check.

    Attributes:
        what: identity, readings, background, at rest, noise, repeatability, settling, resolution, inputs, cross-talk,
            settings, limits, goal, or off.
        good: False if a campaign would fail; None if there is no criterion.
        says: the finding as a sentence.
        figures: the numbers of the finding, for `--json`.
    """

    what: str
    good: bool | None
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Visit:
    """The readings at one setting of the inputs.

    Attributes:
        moved: the input that was changed to come here; empty if several were, or none.
        times: seconds from the first request at these settings to the end of each reading.
        settled: seconds after which the readings no longer moved; 0 if they never did, inf if they still do.
    """

    where: Where
    settings: Settings
    moved: str
    readings: tuple[Reading, ...]
    times: tuple[float, ...]
    settled: float = 0.0

    def values(self, channel: str) -> list[float]:
        return [reading.readings[channel] for reading in self.readings]

    def last(self, channel: str) -> float:
        return self.readings[-1].readings[channel]


@dataclass
class Survey:
    """What was measured.

    Attributes:
        seconds: duration of each reading.
        errors: the messages of failed readings.
        left_out: settings that the user declined.
        rejected: settings inside bounds and constraints that the instrument refused, and its words.
        interlock: the reading beyond a limit that ended the survey; empty if none did.
    """

    visits: list[Visit] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    interlock: str = ""

    def at(self, *where: Where) -> list[Visit]:
        """The visits with a reading."""
        return [visit for visit in self.visits if visit.where in where and visit.readings]

    @property
    def readings(self) -> list[Reading]:
        return [reading for visit in self.visits for reading in visit.readings]


def listed(settings: Settings) -> str:
    """Settings on one line."""
    return ", ".join(f"{name} = {shown(value)}" for name, value in settings.items())


def shown(value: Value) -> str:
    """A value of an input."""
    return value if isinstance(value, str) else f"{value:g}"
