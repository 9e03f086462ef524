"""The trials so far, folded from the events as they come: growing arrays, the best trial, the streaks.

Rules and solvers read it; nothing scans it, so the ten-thousandth trial costs what the tenth did.
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
"""Applied settings that differ by less, as a part of themselves or of 1, are the same: some instruments read them."""

if TYPE_CHECKING:
    from numpy.typing import NDArray


class GrowingArray:
    """An array (rows, width) that grows by doubling; `view` is the filled part, read-only."""

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
    """One settings and its readings, closed.

    Attributes:
        settings: what was asked for.
        mean: mean raw reading of each channel over all its readings.
        applied: what the instrument said it did; None where its readings were not all at the same settings.
        miss: `Goal.miss` of the mean; inf for a failed trial or without a goal.
        reached: confirmed, every channel inside.
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
    """Everything the rules, the designs and the solvers may ask about what happened.

    Attributes:
        open_readings: readings of the trial under way, in order.
        best: the closed trial with the smallest miss; the earliest of equals.
        trials, failures, readings, attempts: closed trials, failed ones in a row, readings, tries at a reading.
        failed: failed trials, all of them.
        unreachable: measured trials in a row whose proposal had the verdict `unreachable`.
        resolution_limited_streak: measured trials in a row at settings that had the verdict `between two steps` before.
        shortfall: what the last of them said was nearest (`Goal.shortfall`).
        misses: the best miss so far after each closed trial, which is what stagnation looks at.
        active: seconds from Opened or Resumed to the last event, pauses left out.
        prior_rows: rows that came with the campaign.
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

    # What the solvers see ---------------------------------------------------------------------------------------
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
        """(n,) which rows were taken together: one number a prior sitting, the campaign itself the last."""
        return self._sitting.view[:, 0]

    @property
    def present(self) -> int:
        """The sitting that the campaign's own rows belong to."""
        return self._current_session

    # What happened ----------------------------------------------------------------------------------------------
    def add_row(self, reading: Reading, sitting: int) -> None:
        """Appends one row for the solvers."""
        base = reading.background or {}
        self._x.append([reading.applied[name] for name in self.inputs])
        self._y.append([reading.readings.get(name, math.nan) - base.get(name, 0.0) for name in self.channels])
        self._saturated.append([name in reading.saturated for name in self.channels])
        self._sitting.append([sitting])

    def add_prior(self, readings: Sequence[tuple[Reading, int]]) -> None:
        """Appends the rows a campaign starts with; each comes with the number of its sitting."""
        for reading, sitting in readings:
            self.add_row(reading, sitting)
        self.prior_rows = len(readings)
        self._current_session = 1 + max((sitting for _, sitting in readings), default=-1)

    def add_reading(self, reading: Reading) -> None:
        """A reading of the trial under way."""
        self.add_row(reading, self.present)
        self.open_readings.append(reading)
        self._mean = None
        self.readings += 1
        if reading.background is not None:
            self.background = reading.background

    def mean(self) -> tuple[dict[str, float], frozenset[str]]:
        """Mean raw readings of the trial under way, and the channels saturated in any of them."""
        if self._mean is None:  # asked for when the trial is judged, and again when it is closed
            (first, *more), count = [reading.readings for reading in self.open_readings], len(self.open_readings)
            total = {name: float(value) for name, value in first.items()}
            if more:
                total = {name: sum([row.get(name, math.nan) for row in more], total[name]) / count for name in first}
            self._mean = total, frozenset([name for reading in self.open_readings for name in reading.saturated])
        return self._mean

    def applied(self) -> Mapping[str, float] | None:
        """What was applied in the trial under way; None where its readings differ in it."""
        first, *more = (reading.applied for reading in self.open_readings)
        alike = all(abs(other[n] - v) <= SAME_SETTINGS * max(1.0, abs(v)) for other in more for n, v in first.items())
        return first if alike else None

    def close(
        self, settings: Mapping[str, float], verdict: Verdict | None, *, reached: bool = False, failed: bool = False
    ) -> Trial:
        """Ends the trial under way, whose settings were asked for and judged so, and ranks it."""
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
