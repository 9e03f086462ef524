"""Trials, folded from the events as they come: the one place where readings are averaged and compared with the goal.

The campaign decides when a trial is over. History, report, live table, page and listing all read the same `Trial`.
The ten-thousandth reading of a trial costs as much time as the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sdl.core.events import Corrected, Event, Measured, Proposed
from sdl.core.goal import Goal
from sdl.types import Reading, Settings, Value, Verdict

# `by` of a trial that measures the best settings of an objective again.
CONFIRMATION = "confirmation"

# Largest difference of equal applied settings, relative to the larger of their size and 1: some are read back.
SAME = 1e-6

MANY_READINGS = 100
"""Readings per trial above which averaging alone is not advised."""

NO_SUMS: Mapping[str, tuple[float, float]] = {}
NONE_TAKEN: list[Reading | Measured] = []  # never changed


class TrialState(StrEnum):
    """The progress of a trial."""

    OPEN = "open"  # readings are outstanding
    CONFIRMING = "confirming"  # within tolerance so far; further readings at the same settings are outstanding
    CLOSED = "closed"
    NOT_CONFIRMED = "not confirmed"  # within tolerance at first, but not after the further readings
    REACHED = "reached"  # within tolerance and confirmed
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Trial:
    """One proposal and its readings so far.

    Attributes:
        proposed: its settings, with solver or design and reason.
        goal: compared with the mean; None if readings are only collected.
        state: set by the campaign.
        readings, failures: numbers of readings that count, and of failed attempts.
        why_skipped: the reason given for a skipped trial.
        applied: settings that the instrument reported; None without a reading, or if they differ between readings.
        saturated: the channels that were saturated in any reading.
        faults: faults of its readings, each once.
        last_error: error of the latest attempt; empty after a reading.
    """

    proposed: Proposed
    goal: Goal | None
    state: TrialState = TrialState.OPEN
    readings: int = 0
    failures: int = 0
    applied: Settings | None = None
    saturated: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    last_error: str = ""
    why_skipped: str = ""
    # Of the readings that count, among the first `_summed` that were taken.
    _sums: Mapping[str, tuple[float, float]] = field(default_factory=lambda: NO_SUMS)
    _summed: int = 0
    _means: Mapping[str, float] | None = None
    _miss: float | None = None
    _taken: list[Reading | Measured] = field(default_factory=lambda: NONE_TAKEN)
    _corrected: frozenset[int] = frozenset()
    _excluded: frozenset[int] = frozenset()

    def add(self, reading: Reading | Measured) -> None:
        if self._taken:
            self._taken.append(reading)
        else:
            self._taken = [reading]  # no larger than needed: of many trials it is the only one
        self._include(reading)
        self.last_error = ""

    def correct(self, event: Corrected) -> Reading | Measured | None:
        """Replace or exclude a reading, and average the others anew; the reading as it counts now, None if excluded."""
        if event.readings is None:
            self._excluded |= {event.repeat}
        else:
            self._excluded -= {event.repeat}
            self._corrected |= {event.repeat}
            corrected = replace(self._taken[event.repeat], readings=event.readings, saturated=event.saturated)
            self._taken[event.repeat] = corrected
        self.readings, self.applied, self.saturated, self.faults = 0, None, frozenset(), ()
        self._sums, self._summed, self._means = NO_SUMS, 0, None
        for repeat, reading in enumerate(self._taken):
            if repeat not in self._excluded:
                self._include(reading)
        return self.reading(event.repeat)

    def reading(self, repeat: int) -> Reading | Measured | None:
        """A reading as it counts, with its corrections; None if it is excluded."""
        return None if repeat in self._excluded else self._taken[repeat]

    def _include(self, reading: Reading | Measured) -> None:
        self._miss = self._means = None
        if not self.readings:
            self.applied = reading.applied
        elif self.applied is not None and not _same(reading.applied, self.applied):
            self.applied = None
        self.readings += 1
        if reading.saturated:
            self.saturated |= frozenset(reading.saturated)
        if reading.fault and reading.fault not in self.faults:
            self.faults += (reading.fault,)

    def fail(self, error: str) -> None:
        self.failures += 1
        self.last_error = error

    def close(self, state: TrialState) -> None:
        """End the trial in a state, which decides whether its readings count."""
        self.state, self._miss = state, None

    @property
    def taken(self) -> int:
        """Number of readings that were taken, the excluded ones included; the next one has this `repeat`."""
        return len(self._taken)

    @property
    def corrected(self) -> int:
        """Number of readings that count with other values than were taken."""
        return len(self._corrected - self._excluded)

    @property
    def excluded(self) -> int:
        """Number of readings that were taken and do not count."""
        return len(self._excluded)

    @property
    def mean(self) -> Mapping[str, float]:
        """Mean raw reading of each channel; empty without a reading, NaN for a channel that a later reading lacks."""
        return {name: float(value) for name, value in self._mean().items()}

    def _mean(self) -> Mapping[str, float]:
        """As `mean`, kept, and without a copy of a single reading."""
        if self._means is not None:
            return self._means
        if len(self._taken) == self.readings == 1:
            return self._taken[0].readings
        new = [r.readings for n, r in enumerate(self._taken[self._summed :], self._summed) if n not in self._excluded]
        if new:
            sums = self._sums or dict.fromkeys(new[0], (0.0, 0.0))
            self._sums = {name: _add(total, [row.get(name, math.nan) for row in new]) for name, total in sums.items()}
        self._summed = len(self._taken)
        self._means = {name: _total(total) / self.readings for name, total in self._sums.items()}
        return self._means

    @property
    def miss(self) -> float:
        """Tolerance ratio of the worst channel; inf if it failed or was skipped, without a goal or common settings."""
        if self._miss is None:
            if self.goal is None or self.applied is None or self.failed or self.skipped:
                self._miss = math.inf
            else:
                self._miss = self.goal.miss(self._mean(), self.saturated)
        return self._miss

    @property
    def inside(self) -> bool:
        """Whether the mean of every channel of the goal lies within its tolerance."""
        return self.goal is not None and self.applied is not None and self.goal.reached(self._mean(), self.saturated)

    @property
    def trial(self) -> int:
        return self.proposed.trial

    @property
    def settings(self) -> Settings:
        return self.proposed.settings

    @property
    def shown_settings(self) -> Settings:
        """The applied settings if they are known, else the proposed ones."""
        return self.applied or self.proposed.settings

    @property
    def verdict(self) -> Verdict | None:
        """The solver's verdict on the goal; None for a point of the design."""
        return self.proposed.verdict

    @property
    def by_solver(self) -> bool:
        """Whether a solver proposed it, not the design."""
        return self.proposed.verdict is not None

    @property
    def confirms(self) -> bool:
        """Whether it measures the best settings of an objective again."""
        return self.proposed.by == CONFIRMATION

    @property
    def judged(self) -> bool:
        """Whether it has a finite tolerance ratio."""
        return math.isfinite(self.miss)

    @property
    def worst(self) -> str:
        """The channel of the goal with the largest tolerance ratio; empty without one."""
        return self.goal.worst_channel(self._mean()) if self.goal is not None and self.judged else ""

    @property
    def worst_error(self) -> float | None:
        """Relative distance of the worst channel from its target or limit; None if unknown or with an objective."""
        if self.goal is None or self.goal.objective is not None or not self.judged:
            return None
        return self.goal.bands[self.worst].error(self.mean[self.worst])

    @property
    def over(self) -> bool:
        """Whether no further reading is awaited."""
        return self.state not in (TrialState.OPEN, TrialState.CONFIRMING)

    @property
    def reached(self) -> bool:
        return self.state is TrialState.REACHED

    @property
    def failed(self) -> bool:
        """Whether it ended without all of its readings."""
        return self.state is TrialState.FAILED

    @property
    def skipped(self) -> bool:
        """Whether it was left out on request."""
        return self.state is TrialState.SKIPPED


def _same(settings: Settings, other: Settings) -> bool:
    """Whether settings are equal, but for the rounding of numbers that were read back."""
    return settings is other or all(same_value(settings[name], value) for name, value in other.items())


def same_value(value: Value, other: Value) -> bool:
    """Whether two values of an input are equal, but for the rounding of a number that was read back."""
    if isinstance(value, str) or isinstance(other, str):
        return value == other
    return abs(value - other) <= SAME * max(1.0, abs(other))


def _add(total: tuple[float, float], values: Sequence[float]) -> tuple[float, float]:
    """More terms of a compensated sum (Neumaier 1974), as in `sum` of Python 3.12."""
    high, low = total
    for value in values:
        new = high + value
        low += (high - new) + value if abs(high) >= abs(value) else (value - new) + high
        high = new
    return high, low


def _total(total: tuple[float, float]) -> float:
    high, low = total
    return high + low if math.isfinite(low) else high


def corrected(events: Iterable[tuple[int, Event]]) -> Iterator[tuple[int, Event]]:
    """The events, each with its number, with the last correction of every reading applied; excluded ones left out."""
    numbered = list(events)
    last = {(event.trial, event.repeat): event for _, event in numbered if isinstance(event, Corrected)}
    for number, event in numbered:
        if isinstance(event, Measured) and (correction := last.get((event.trial, event.repeat))) is not None:
            if correction.readings is None:
                continue
            yield number, replace(event, readings=correction.readings, saturated=correction.saturated)
        else:
            yield number, event
