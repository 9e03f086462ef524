"""The trials so far, updated event by event: growing arrays, the best trial, the streaks.

Rules and solvers read it without scanning it, so that the ten-thousandth trial costs as much as the tenth.
Rows are in the order of measurement, prior rows first; Y is readings − background.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sdl.core.goal import Goal
from sdl.types import Outcome, Reading, Verdict

SAME_SETTINGS = 1e-6
"""Applied settings that differ by less than this, relative to the larger of 1 and their size, count as equal: some
instruments measure what they applied."""

if TYPE_CHECKING:
    from numpy.typing import NDArray


class GrowingArray:
    """An array (rows, width) that doubles its capacity when full; `view` is the filled part, read-only."""

    def __init__(self, width: int, dtype: type = float) -> None:
        self._store: NDArray[Any] = np.empty((64, width), dtype)
        self._n = 0

    def append(self, row: Sequence[float]) -> None:
        if self._n == len(self._store):
            self._store = np.concatenate([self._store, np.empty_like(self._store)])
        self._store[self._n] = row
        self._n += 1

    @property
    def view(self) -> NDArray[Any]:
        view = self._store[: self._n]
        view.flags.writeable = False
        return view


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished trial: settings and the mean of their readings.

    Attributes:
        settings: as requested.
        mean: mean raw reading of each channel.
        applied: as reported by the instrument; None if the readings were taken at different settings.
        miss: tolerance ratio of the mean (`Goal.miss`); inf for a failed trial or without a goal.
        reached: whether every channel lies inside, confirmed.
    """

    trial: int
    readings: int
    settings: Mapping[str, float]
    applied: Mapping[str, float] | None
    mean: Mapping[str, float]
    miss: float
    reached: bool
    failed: bool
    verdict: Verdict | None


@dataclass
class History:
    """What rules, designs and solvers may know about the trials so far.

    Attributes:
        open_readings: readings of the current trial, in order.
        best: the finished trial with the smallest tolerance ratio; the earliest of equals.
        trials, readings, attempts: numbers of finished trials, of readings, and of attempts at a reading.
        failures: number of failed trials in a row.
        failed: number of failed trials in all.
        unreachable: number of measured trials in a row whose proposal had the verdict `unreachable`.
        resolution_limited_streak: measured trials in a row at settings that had the verdict `between two steps` before.
        shortfall: of the last of those proposals (`Goal.shortfall`).
        misses: the smallest tolerance ratio so far after each finished trial; the rule `stagnation` reads it.
        active: seconds from Opened or Resumed to the last event, pauses excluded.
        prior_rows: number of rows from the priors.
    """

    inputs: tuple[str, ...]
    channels: tuple[str, ...]
    goal: Goal | None = None
    prior_rows: int = 0
    trials: int = 0
    failures: int = 0
    failed: int = 0
    readings: int = 0
    attempts: int = 0
    unreachable: int = 0
    resolution_limited_streak: int = 0
    shortfall: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    active: float = 0.0
    best: Trial | None = None
    last: Trial | None = None
    last_error: str = ""
    misses: list[float] = field(default_factory=list)
    outcome: Outcome | None = None
    open_readings: list[Reading] = field(default_factory=list)
    background: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        self._x = GrowingArray(len(self.inputs))
        self._y = GrowingArray(len(self.channels))
        self._saturated = GrowingArray(len(self.channels), bool)
        self._sitting = GrowingArray(1)
        self._mean: tuple[dict[str, float], frozenset[str]] | None = None
        self._current_session = 0
        self._resolution_limited: set[tuple[float, ...]] = set()

    # Rows for the solvers ---------------------------------------------------------------------------------------
    @property
    def rows(self) -> int:
        return len(self._x.view)

    @property
    def X(self) -> NDArray[np.float64]:
        """(n, inputs) applied settings."""
        return self._x.view

    @property
    def Y(self) -> NDArray[np.float64]:
        """(n, channels) readings − background; NaN where not measured."""
        return self._y.view

    @property
    def saturated(self) -> NDArray[np.bool_]:
        """(n, channels) whether the reading is a bound."""
        return self._saturated.view

    @property
    def sitting(self) -> NDArray[np.float64]:
        """(n,) the session of each row: numbers of the priors' sessions, then one number for the campaign itself."""
        return self._sitting.view[:, 0]

    @property
    def present(self) -> int:
        """The session of the campaign's own rows."""
        return self._current_session

    # Updates ------------------------------------------------------------------------------------------------------
    def add_row(self, reading: Reading, sitting: int) -> None:
        """Append one row for the solvers."""
        base = reading.background or {}
        self._x.append([reading.applied[name] for name in self.inputs])
        self._y.append([reading.readings.get(name, math.nan) - base.get(name, 0.0) for name in self.channels])
        self._saturated.append([name in reading.saturated for name in self.channels])
        self._sitting.append([sitting])

    def add_prior(self, readings: Sequence[tuple[Reading, int]]) -> None:
        """Append the rows of the priors, each with the number of its session."""
        for reading, sitting in readings:
            self.add_row(reading, sitting)
        self.prior_rows = len(readings)
        self._current_session = 1 + max((sitting for _, sitting in readings), default=-1)

    def add_reading(self, reading: Reading) -> None:
        """Add a reading to the current trial."""
        self.add_row(reading, self.present)
        self.open_readings.append(reading)
        self._mean = None
        self.readings += 1
        if reading.background is not None:
            self.background = reading.background

    def mean(self) -> tuple[dict[str, float], frozenset[str]]:
        """Mean raw readings of the current trial, and the channels saturated in any of them."""
        if self._mean is None:  # needed when the trial is judged, and again when it is closed
            (first, *more), count = [reading.readings for reading in self.open_readings], len(self.open_readings)
            total = {name: float(value) for name, value in first.items()}
            if more:
                total = {name: sum([row.get(name, math.nan) for row in more], total[name]) / count for name in first}
            self._mean = total, frozenset([name for reading in self.open_readings for name in reading.saturated])
        return self._mean

    def applied(self) -> Mapping[str, float] | None:
        """The settings applied in the current trial; None if they differ between its readings."""
        first, *more = (reading.applied for reading in self.open_readings)
        alike = all(abs(other[n] - v) <= SAME_SETTINGS * max(1.0, abs(v)) for other in more for n, v in first.items())
        return first if alike else None

    def close(
        self, settings: Mapping[str, float], verdict: Verdict | None, *, reached: bool = False, failed: bool = False
    ) -> Trial:
        """Finish the current trial and rank it.

        Args:
            settings: as requested.
            verdict: of the proposal.
            reached: whether the goal was reached and confirmed.
            failed: whether there is no reading that counts.
        """
        mean: Mapping[str, float] = {}
        miss, applied = math.inf, None
        if self.open_readings:
            mean, saturated = self.mean()
            applied = self.applied()
            if self.goal is not None and applied is not None and not failed:
                miss = self.goal.miss(mean, saturated)
        closed = Trial(self.trials, len(self.open_readings), settings, applied, mean, miss, reached, failed, verdict)
        self.trials += 1
        self.failures = self.failures + 1 if failed else 0
        self.failed += failed
        if not failed:
            self.unreachable = self.unreachable + 1 if verdict is Verdict.UNREACHABLE else 0
            again = verdict is Verdict.BETWEEN_STEPS and tuple(settings.values()) in self._resolution_limited
            self.resolution_limited_streak = self.resolution_limited_streak + 1 if again else 0
            if verdict is Verdict.BETWEEN_STEPS:
                self._resolution_limited.add(tuple(settings.values()))
        if self.goal is not None and not failed and (self.best is None or miss < self.best.miss or reached):
            self.best = closed
        self.misses.append(self.best.miss if self.best else math.inf)
        self.last = closed
        self.open_readings, self._mean = [], None
        return closed
