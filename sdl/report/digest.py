"""A run read once, trial by trial: what figures, pages and comparisons are drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sdl.core.events import Failed, Measured, Proposed
from sdl.core.history import SAME_SETTINGS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sdl.core.goal import Goal
    from sdl.runs.runs import Run


@dataclass(slots=True)
class Row:
    """One trial.

    Attributes:
        proposed: who wanted it, and why.
        readings: all of its readings, in order.
        failures: all that did not come.
        failed: why it was given up, or what it waits for now; empty where its readings came.
        mean: mean raw reading of each channel; empty without one.
        applied: what the instrument did; None where that was not the same throughout, or nothing was read.
        miss: worst channel's distance from the target in tolerances; inf where it cannot be judged.
    """

    proposed: Proposed
    readings: list[Measured] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
    failed: str = ""
    mean: Mapping[str, float] = field(default_factory=dict)
    applied: Mapping[str, float] | None = None
    miss: float = math.inf

    @property
    def by_solver(self) -> bool:
        """Whether somebody judged the goal; a design point has no verdict."""
        return self.proposed.verdict is not None


class TrialTable:
    """A run's trials, and the same as arrays; rows are trials, in order.

    Attributes:
        run: the run.
        inputs, channels: their names, all that the instrument has.
        units: of inputs and channels, by name.
        goal: what is wanted; None where readings are only collected.
        wanted: the channels that matter: the goal's, or all.
        rows: the trials.
        drawn: the figures made of it so far, by name.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.about: dict[str, Mapping[str, Any]] = {
            str(item["name"]): item for kind in ("inputs", "channels") for item in run.opened.instrument[kind]
        }
        self.inputs = tuple(str(item["name"]) for item in run.opened.instrument["inputs"])
        self.channels = tuple(str(item["name"]) for item in run.opened.instrument["channels"])
        self.units = {name: str(item.get("unit") or "") for name, item in self.about.items()}
        self.goal: Goal | None = run.campaign.plan.goal
        self.wanted = tuple(name for name in self.channels if self.goal is None or name in self.goal.bands)
        self.rows: list[Row] = []
        self.drawn: dict[str, Figure | None] = {}
        for event in run.events:
            match event:
                case Proposed():
                    self._close()
                    self.rows.append(Row(event))
                case Measured():
                    self.rows[-1].readings.append(event)
                    self.rows[-1].failed = ""
                case Failed(stage="measure") if self.rows:
                    self.rows[-1].failures.append(event)
                    self.rows[-1].failed = event.error
        self._close()

    def _close(self) -> None:
        """Judges the last row, as the campaign does."""
        row = self.rows[-1] if self.rows else None
        if row is None or not row.readings:
            return
        first, *more = row.readings
        every = [event.readings for event in row.readings]
        row.mean = {name: math.fsum(r.get(name, math.nan) for r in every) / len(every) for name in first.readings}
        alike = all(
            abs(e.applied[n] - v) <= SAME_SETTINGS * max(1.0, abs(v)) for e in more for n, v in first.applied.items()
        )
        row.applied = first.applied if alike else None
        if self.goal is not None and row.applied is not None and not row.failed:
            row.miss = self.goal.miss(row.mean, {name for event in row.readings for name in event.saturated})

    @property
    def best(self) -> Row | None:
        """The trial nearest to the goal."""
        return self.of(self.run.result.best)

    @property
    def final(self) -> Row | None:
        """The best trial, or the last one with readings where none is best."""
        return self.best or next((row for row in reversed(self.rows) if row.readings), None)

    def of(self, trial: int | None) -> Row | None:
        """The row of a trial."""
        return next((row for row in self.rows if row.proposed.trial == trial), None)

    @cached_property
    def trials(self) -> NDArray[np.float64]:
        """(n,) their numbers."""
        import numpy as np

        return np.array([row.proposed.trial for row in self.rows], float)

    @cached_property
    def X(self) -> NDArray[np.float64]:
        """(n, inputs) what was applied, else what was asked for."""
        return self._array([row.applied or row.proposed.settings for row in self.rows], self.inputs)

    @cached_property
    def Y(self) -> NDArray[np.float64]:
        """(n, channels) mean raw readings; NaN where there is none."""
        return self._array([row.mean for row in self.rows], self.channels)

    @cached_property
    def expected(self) -> NDArray[np.float64]:
        """(n, channels) what the solver expected, raw; NaN where nobody did."""
        return self._array([row.proposed.expected for row in self.rows], self.channels)

    @cached_property
    def misses(self) -> NDArray[np.float64]:
        """(n,) in tolerances; NaN where it cannot be judged."""
        import numpy as np

        return np.array([row.miss if math.isfinite(row.miss) else math.nan for row in self.rows], float)

    @cached_property
    def by_solver(self) -> NDArray[np.bool_]:
        """(n,) whether a solver proposed it."""
        import numpy as np

        return np.array([row.by_solver for row in self.rows], bool)

    @cached_property
    def came(self) -> NDArray[np.bool_]:
        """(n,) whether it has readings."""
        import numpy as np

        return np.array([bool(row.readings) for row in self.rows], bool)

    @property
    def start(self) -> float:
        """When it was opened, by the campaign's clock."""
        return self.run.opened.at

    @property
    def seconds(self) -> float:
        """From the first event to the last."""
        return self.run.events[-1].at - self.start

    def _array(self, rows: list[Any], names: tuple[str, ...]) -> NDArray[np.float64]:
        import numpy as np

        # A None, an input or channel that a row has no number for, becomes NaN.
        values = [[row.get(name) for name in names] for row in rows]
        return np.array(values, float).reshape(len(rows), len(names))


def unit_of_time(seconds: float) -> tuple[str, float]:
    """What to count a length of time in: `("min", 60.0)`."""
    for name, length, least in (("d", 86400.0, 3), ("h", 3600.0, 3), ("min", 60.0, 3)):
        if seconds > least * length:
            return name, length
    return "s", 1.0
