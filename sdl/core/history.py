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

from sdl.core.events import Measured, Proposed
from sdl.core.goal import Goal
from sdl.core.trials import Trial, TrialState
from sdl.types import Outcome, Reading, Verdict

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


@dataclass
class History:
    """Everything the rules, the designs and the solvers may ask about what happened.

    Attributes:
        open_trial: the trial under way; None between two.
        last: the trial that was closed last.
        best: the closed trial with the smallest miss; the earliest of equals.
        trials, failures, readings, attempts: closed trials, failed ones in a row, readings, tries at a reading.
        failed: failed trials, all of them.
        unreachable: measured trials in a row whose proposal had the verdict `unreachable`.
        between_steps: measured trials in a row at settings that had the verdict `between two steps` before.
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
    between_steps: int = 0
    shortfall: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    active: float = 0.0
    best: Trial | None = None
    last: Trial | None = None
    last_error: str = ""
    misses: list[float] = field(default_factory=list)
    outcome: Outcome | None = None
    open_trial: Trial | None = None
    background: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        self._x = GrowingArray(len(self.inputs))
        self._y = GrowingArray(len(self.channels))
        self._saturated = GrowingArray(len(self.channels), bool)
        self._sitting = GrowingArray(1)
        self._present = 0
        self._stepped: set[tuple[float, ...]] = set()

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
        return self._present

    # What happened ----------------------------------------------------------------------------------------------
    def add_row(self, reading: Reading | Measured, sitting: int) -> None:
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
        self._present = 1 + max((sitting for _, sitting in readings), default=-1)

    def begin(self, proposed: Proposed) -> None:
        """Opens the next trial."""
        self.open_trial = Trial(proposed, self.goal)

    def add_reading(self, reading: Reading | Measured) -> None:
        """Appends a reading of the campaign's own, of the open trial."""
        self.add_row(reading, self.present)
        if self.open_trial is not None:
            self.open_trial.add(reading)
        self.readings += 1
        if reading.background is not None:
            self.background = reading.background

    @property
    def latest(self) -> Trial | None:
        """The open trial, or else the one closed last."""
        return self.open_trial or self.last

    def close(self, state: TrialState = TrialState.CLOSED) -> Trial:
        """Ends the open trial and ranks it.

        Raises:
            ValueError: no trial is open.
        """
        closed = self.open_trial
        if closed is None:
            raise ValueError("no trial is open")
        closed.close(state)
        self.trials += 1
        self.failures = self.failures + 1 if closed.failed else 0
        self.failed += closed.failed
        self.shortfall = closed.proposed.shortfall
        if not closed.failed:
            self._count_verdict(closed)
        if (
            self.goal is not None
            and not closed.failed
            and (self.best is None or closed.miss < self.best.miss or closed.reached)
        ):
            self.best = closed
        self.misses.append(self.best.miss if self.best else math.inf)
        self.last, self.open_trial = closed, None
        return closed

    def _count_verdict(self, closed: Trial) -> None:
        """Lengthens or ends the streaks of verdicts."""
        settings = tuple(closed.settings.values())
        stepped = closed.verdict is Verdict.BETWEEN_STEPS
        self.unreachable = self.unreachable + 1 if closed.verdict is Verdict.UNREACHABLE else 0
        self.between_steps = self.between_steps + 1 if stepped and settings in self._stepped else 0
        if stepped:
            self._stepped.add(settings)
