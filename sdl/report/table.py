"""The trials of a run as arrays, for figures, pages and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from sdl.arrays import Bools, Floats
from sdl.formatting import instrument_spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sdl.core.goal import Goal
    from sdl.core.trials import Trial
    from sdl.runs.runs import Run


class TrialTable:
    """A run's trials, and the same as arrays; rows are trials, in order.

    Attributes:
        run: the run.
        spec: the instrument; `inputs`, `channels`, `specs` and `units` are its parts.
        goal: None where readings are only collected.
        goal_channels: the channels of the goal, or all of them without one.
        trials: the trials.
        figures: those drawn so far, by name.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.spec = instrument_spec(run.opened)
        self.inputs, self.channels, self.specs, self.units = self.spec
        self.goal: Goal | None = run.campaign.plan.goal
        self.goal_channels = tuple(name for name in self.channels if self.goal is None or name in self.goal.bands)
        self.trials = run.trials
        self.figures: dict[str, Figure | None] = {}

    @classmethod
    def of(cls, run: Run | TrialTable) -> TrialTable:
        """The table of a run, or the table itself."""
        return run if isinstance(run, cls) else cls(cast("Run", run))

    @property
    def best(self) -> Trial | None:
        """The trial with the smallest tolerance ratio."""
        return self.run.campaign.history.best

    @property
    def final(self) -> Trial | None:
        """The best trial, or the last one with readings where none is best."""
        return self.best or next((trial for trial in reversed(self.trials) if trial.readings), None)

    @cached_property
    def numbers(self) -> Floats:
        """(n,) the trials' numbers."""
        return np.array([trial.trial for trial in self.trials], float)

    @cached_property
    def X(self) -> Floats:
        """(n, inputs) settings: applied, or else asked for."""
        return _array((trial.shown_settings for trial in self.trials), self.inputs)

    @cached_property
    def Y(self) -> Floats:
        """(n, channels) mean raw readings; NaN where there is none."""
        return _array((trial.mean for trial in self.trials), self.channels)

    @cached_property
    def expected(self) -> Floats:
        """(n, channels) raw readings that the solver expected; NaN for design points."""
        return _array((trial.proposed.expected for trial in self.trials), self.channels)

    @cached_property
    def tolerance_ratios(self) -> Floats:
        """(n,) of the worst channel; NaN where a trial is not judged."""
        return np.array([trial.miss if trial.judged else np.nan for trial in self.trials], float)

    @cached_property
    def by_solver(self) -> Bools:
        """(n,) whether a solver proposed it."""
        return np.array([trial.by_solver for trial in self.trials], bool)

    @cached_property
    def measured(self) -> Bools:
        """(n,) whether it has readings."""
        return np.array([trial.readings > 0 for trial in self.trials], bool)

    @property
    def start(self) -> float:
        """When the campaign was opened, by its own clock."""
        return self.run.opened.at

    @property
    def seconds(self) -> float:
        """From the first event to the last."""
        return self.run.events[-1].at - self.start


def _array(rows: Iterable[Mapping[str, float | None]], names: tuple[str, ...]) -> Floats:
    """(n, names) values; NaN where a row has None or nothing for a name."""
    return np.array([[row.get(name) for name in names] for row in rows], float).reshape(-1, len(names))


def unit_of_time(seconds: float) -> tuple[str, float]:
    """The unit in which to give a duration, and its length in seconds: `("min", 60.0)`."""
    for name, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds > 3 * length:
            return name, length
    return "s", 1.0
