"""The trials so far, updated event by event: growing arrays, the best trial, the streaks.

Rules and solvers read it without scanning it, so that the ten-thousandth trial costs as much as the tenth.
Rows are in the order of measurement, prior rows first; Y is readings − background.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sdl.core.events import Corrected, Measured, Proposed
from sdl.core.goal import Goal
from sdl.core.objective import Optimum
from sdl.core.trials import Trial, TrialState
from sdl.types import Outcome, Reading, Value, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdl.space import Space

ATTACHED = -1
"""In place of a trial: a row that belongs to none."""


class GrowingArray:
    """An array (rows, width) that doubles its capacity when full; `view` is the filled part, read-only."""

    def __init__(self, width: int, dtype: type = float) -> None:
        self._store: NDArray[Any] = np.empty((64, width), dtype)
        self._n = 0

    def append(self, row: Sequence[Any] | NDArray[Any]) -> None:
        if self._n == len(self._store):
            self._store = np.concatenate([self._store, np.empty_like(self._store)])
        self._store[self._n] = row
        self._n += 1

    def cut(self, length: int) -> None:
        """Keep the first `length` rows; views taken before are unchanged."""
        self._store, self._n = np.concatenate([self._store[:length], np.empty_like(self._store[length:])]), length

    @property
    def view(self) -> NDArray[Any]:
        view = self._store[: self._n]
        view.flags.writeable = False
        return view


@dataclass
class History:
    """What rules, designs and solvers may know about the trials so far.

    Attributes:
        open_trial: the current trial; None between two trials.
        last: the last finished trial.
        best: the finished trial with the smallest tolerance ratio; the earliest of equals. With an objective the first
            trial at the best settings.
        trials, readings, attempts: numbers of finished trials, of readings, and of attempts at a reading.
        cost: cost of trials begun and readings taken, also of readings that may have been taken; in the user's unit.
        next_cost: least price of the next reading, with that of a trial that it begins.
        failures: number of failed trials in a row.
        failed, skipped: numbers of failed and of skipped trials in all.
        unreachable: number of measured trials in a row whose proposal had the verdict `unreachable` and whose reading
            did not contradict it.
        resolution_limited_streak: number of measured trials in a row at settings that had been proposed before with the
            verdict `between two steps`.
        shortfall: shortfall (`Goal.shortfall`) of the last of those proposals.
        misses: the smallest tolerance ratio so far after each finished trial; the rule `stagnation` reads it.
        active: seconds from Opened or Resumed to the last event, pauses excluded.
        prior_rows: number of rows from the priors.
        current_session: number of the session of the campaign's own rows.
        space: turns settings into columns; None: every input is one.
        closed: the finished trials.
        optimum: the replicates by settings and the best of them; None without an objective.
        expectation: the last proposal that estimated the best settings.
    """

    inputs: tuple[str, ...]
    channels: tuple[str, ...]
    goal: Goal | None = None
    prior_rows: int = 0
    trials: int = 0
    failures: int = 0
    failed: int = 0
    skipped: int = 0
    readings: int = 0
    attempts: int = 0
    cost: float = 0.0
    next_cost: float = 0.0
    unreachable: int = 0
    resolution_limited_streak: int = 0
    shortfall: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    active: float = 0.0
    best: Trial | None = None
    last: Trial | None = None
    last_error: str = ""
    misses: list[float] = field(default_factory=list)
    outcome: Outcome | None = None
    open_trial: Trial | None = None
    background: Mapping[str, float] | None = None
    current_session: int = 0
    space: Space | None = None
    closed: list[Trial] = field(default_factory=list)
    optimum: Optimum | None = None
    expectation: Proposed | None = None

    def __post_init__(self) -> None:
        self._x = GrowingArray(len(self.inputs) if self.space is None else len(self.space.columns))
        self._y = GrowingArray(len(self.channels))
        self._saturated = GrowingArray(len(self.channels), bool)
        self._session = GrowingArray(1)
        self._resolution_limited: set[tuple[Value, ...]] = set()
        self._own: list[Reading | Measured | None] = []  # the rows after those of the priors; None: excluded
        self._filled = 0  # how many of them the arrays have: those who only look at a long record need no arrays
        self._trial_of = array("q")  # by row in `_own`: its trial; ATTACHED without one
        objective = self.goal.objective if self.goal is not None else None
        direction = self.goal.direction if self.goal is not None else None
        if self.goal is not None and objective is not None and direction is not None:
            self.optimum = Optimum(self.goal, objective, direction)

    # Rows for the solvers ---------------------------------------------------------------------------------------
    @property
    def rows(self) -> int:
        return len(self.X)

    @property
    def X(self) -> NDArray[np.float64]:
        """(n, p) applied settings: one column for each input, or for each column of `space`."""
        self._fill()
        return self._x.view

    @property
    def Y(self) -> NDArray[np.float64]:
        """(n, channels) readings − background; NaN where not measured."""
        self._fill()
        return self._y.view

    @property
    def saturated(self) -> NDArray[np.bool_]:
        """(n, channels) whether the reading is a bound."""
        self._fill()
        return self._saturated.view

    @property
    def session(self) -> NDArray[np.float64]:
        """(n,) the session of each row: numbers of the priors' sessions, then one number for the campaign itself."""
        self._fill()
        return self._session.view[:, 0]

    def _fill(self) -> None:
        """Append the readings since the last call to the arrays."""
        for place in range(self._filled, len(self._own)):
            if (reading := self._own[place]) is not None:
                self.add_row(reading, self.current_session)
        self._filled = len(self._own)

    # Updates ------------------------------------------------------------------------------------------------------
    def add_row(self, reading: Reading | Measured, session: int) -> None:
        """Append one row for the solvers."""
        base = reading.background or {}
        applied = reading.applied
        self._x.append([applied[n] for n in self.inputs] if self.space is None else self.space.encode(applied))
        self._y.append([reading.readings.get(name, math.nan) - base.get(name, 0.0) for name in self.channels])
        self._saturated.append([name in reading.saturated for name in self.channels])
        self._session.append([session])

    def add_prior(self, readings: Sequence[tuple[Reading, int]]) -> None:
        """Append the rows of the priors, each with the number of its session."""
        for reading, session in readings:
            self.add_row(reading, session)
        self.prior_rows = len(readings)
        self.current_session = 1 + max((session for _, session in readings), default=-1)

    def begin(self, proposed: Proposed) -> None:
        self.open_trial = Trial(proposed, self.goal)
        if self.optimum is not None:
            self.optimum.name(proposed.incumbent, proposed.estimate)
            self._take_incumbent()
            self.expectation = proposed if proposed.estimate is not None else self.expectation

    def add_reading(self, reading: Reading | Measured) -> None:
        """Append a reading of the open trial."""
        if self.open_trial is not None:
            self._trial_of.append(self.open_trial.trial)
            self.open_trial.add(reading)
            if self.optimum is not None:
                self.optimum.add(reading, self.open_trial)
        else:
            self._trial_of.append(ATTACHED)
        self._own.append(reading)
        self.readings += 1
        if reading.background is not None:
            self.background = reading.background

    def attach(self, reading: Reading | Measured) -> None:
        """Append a row of the current session that belongs to no trial."""
        self._trial_of.append(ATTACHED)
        self._own.append(reading)

    def has_reading(self, trial: int, repeat: int) -> bool:
        count = self.trials + (self.open_trial is not None)
        return 0 <= trial < count and 0 <= repeat < self.trial(trial).taken

    def trial(self, number: int) -> Trial:
        """A trial by its number."""
        return self.open_trial if self.open_trial is not None and number == self.trials else self.closed[number]

    def correct(self, event: Corrected) -> Trial:
        """Replace or exclude a reading in the rows, its trial and the ranking; returns the trial."""
        trial = self.trial(event.trial)
        place = [row for row, number in enumerate(self._trial_of) if number == event.trial][event.repeat]
        before, self._own[place] = self._own[place], trial.correct(event)
        self.readings += (self._own[place] is not None) - (before is not None)
        for column in (self._x, self._y, self._saturated, self._session):
            column.cut(self.prior_rows)
        self._filled = 0
        if self.optimum is not None:
            counted = zip(self._own, self._trial_of, strict=True)
            self.optimum.count_again(
                (reading, self.trial(number))
                for reading, number in counted
                if reading is not None and number != ATTACHED
            )
            self._take_incumbent()
            return trial
        self.best, self.misses = None, []
        for closed in self.closed:
            self._rank(closed)
        return trial

    @property
    def latest(self) -> Trial | None:
        return self.open_trial or self.last

    def close(self, state: TrialState = TrialState.CLOSED) -> Trial:
        """Finish the open trial and rank it.

        Raises:
            ValueError: no trial is open.
        """
        if (closed := self.open_trial) is None:
            raise ValueError("no trial is open")
        closed.close(state)
        self.trials += 1
        if not closed.skipped:
            self.failures = self.failures + 1 if closed.failed else 0
        self.failed += closed.failed
        self.skipped += closed.skipped
        self.shortfall = closed.proposed.shortfall
        if not closed.failed and not closed.skipped:
            self._count_verdict(closed)
        self.closed.append(closed)
        self._rank(closed)
        self.last, self.open_trial = closed, None
        return closed

    def _rank(self, closed: Trial) -> None:
        """Compare the next finished trial with the best one before it."""
        if (
            self.goal is not None
            and closed.readings
            and not closed.failed
            and not closed.skipped
            and (self.best is None or closed.miss < self.best.miss or closed.reached)
        ):
            self.best = closed
        if self.optimum is not None:
            self.optimum.update()
            self.optimum.confirm()
            self._take_incumbent()
        self.misses.append(self.best.miss if self.best else math.inf)

    def _take_incumbent(self) -> None:
        """Make the first trial at the best settings the best trial; where none keeps the constraints it stays."""
        if self.optimum is not None and self.optimum.incumbent is not None:
            self.best = self.optimum.incumbent.trial

    def _count_verdict(self, closed: Trial) -> None:
        """Extend or end the streaks of verdicts."""
        confirmed = closed.verdict is Verdict.UNREACHABLE and not _is_contradicted(closed)
        self.unreachable = self.unreachable + 1 if confirmed else 0
        if closed.verdict is not Verdict.BETWEEN_STEPS:
            self.resolution_limited_streak = 0
            return
        settings = tuple(closed.settings.values())
        again = settings in self._resolution_limited
        self.resolution_limited_streak = self.resolution_limited_streak + 1 if again else 0
        self._resolution_limited.add(settings)


def _is_contradicted(trial: Trial) -> bool:
    """Whether a channel that was expected on one side of its band, as the nearest reading, was read beyond the other.

    Between such settings there may be some that reach the goal, so that the reading confirms nothing.
    """
    if trial.goal is None:
        return False
    for name, expected in trial.proposed.shortfall.items():
        nearest, band, value = expected["nearest"], trial.goal.bands.get(name), trial.mean.get(name)
        if nearest is None or band is None or value is None:
            continue
        if nearest < band.low <= band.high < value or value < band.low <= band.high < nearest:
            return True
    return False
