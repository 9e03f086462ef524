"""The trials of a run as arrays, for figures, pages and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib.figure import Figure

from sdl.arrays import Floats
from sdl.formatting import instrument_spec
from sdl.report.model import fit_model
from sdl.runs.runs import Run
from sdl.types import Settings, numbers

if TYPE_CHECKING:
    from sdl.report.model import RunModel

MOST_CHOICES = 6
"""Largest number of choices that are labelled on an axis."""


class TrialTable:
    """A run's trials, and the same as arrays; rows are trials, in order.

    Attributes:
        run: the run.
        spec: the instrument; `inputs`, `channels`, `specs` and `units` are its parts.
        goal: None where readings are only collected.
        goal_channels: the channels of the goal, or all of them without one.
        trials: the trials.
        best: the trial with the smallest tolerance ratio; None where no trial is judged.
        final: the best trial, or the last one with readings where none is best.
        start, seconds: when the campaign was opened, and from then to the last event, by its own clock.
        numbers: (n,) the trials' numbers.
        X: (n, inputs) settings: applied, or else asked for; of an input with choices the number of the choice, from 0.
        choices: choices of the inputs that have them.
        Y: (n, channels) mean raw readings; NaN where there is none.
        expected: (n, channels) raw readings that the solver expected; NaN for design points.
        tolerance_ratios: (n,) of the worst channel; NaN where a trial is not judged.
        by_solver, measured: (n,) whether a solver proposed the trial, and whether it has readings.
        figures: those drawn so far, by name.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.trials = run, run.trials
        self.spec = instrument_spec(run.opened)
        self.inputs, self.channels, self.specs, self.units = self.spec
        self.goal, self.best = run.campaign.plan.goal, run.campaign.history.best
        self.goal_channels = tuple(name for name in self.channels if self.goal is None or name in self.goal.bands)
        self.final = self.best or next((trial for trial in reversed(run.trials) if trial.readings), None)
        self.start = run.opened.at
        self.seconds = run.events[-1].at - self.start
        self.numbers = np.array([trial.trial for trial in run.trials], float)
        self.choices = {name: tuple(spec["choices"]) for name, spec in self.specs.items() if spec.get("choices")}
        self.X = _array((self._places(trial.shown_settings) for trial in run.trials), self.inputs)
        self.Y = _array((trial.mean for trial in run.trials), self.channels)
        self.expected = _array((trial.proposed.expected for trial in run.trials), self.channels)
        self.tolerance_ratios = np.array([trial.miss if trial.judged else np.nan for trial in run.trials], float)
        self.by_solver = np.array([trial.by_solver for trial in run.trials], bool)
        self.measured = np.array([trial.readings > 0 for trial in run.trials], bool)
        self.figures: dict[str, Figure | None] = {}

    def _places(self, settings: Settings) -> dict[str, float]:
        places = dict(numbers(settings))
        for name, texts in self.choices.items():
            text = settings.get(name)  # a fixed input is in the applied settings alone
            places[name] = float(texts.index(text)) if isinstance(text, str) and text in texts else np.nan
        return places

    def range_of(self, name: str) -> tuple[float, float]:
        """The ends of an input's range, or the numbers of its first and last choice."""
        if name in self.choices:
            return 0.0, len(self.choices[name]) - 1.0
        return float(self.specs[name]["low"]), float(self.specs[name]["high"])

    def ticks(self, name: str, *, middle: bool = False) -> tuple[list[float], list[str]]:
        """Values and labels for an axis of an input: the ends of its range (and its middle), or its choices."""
        low, high = self.range_of(name)
        if name in self.choices:
            step = -(-len(self.choices[name]) // MOST_CHOICES)
            places = range(0, len(self.choices[name]), step)
            return [float(place) for place in places], [self.choices[name][place][:12] for place in places]
        values = [low, (low + high) / 2, high] if middle else [low, high]
        return values, [f"{value:g}" for value in values]

    @property
    def final_name(self) -> str:
        """What `final` is: the `best` trial, the `closest` one where none is within tolerance, or the `last`."""
        if self.best is None:
            return "last"
        return "best" if self.best.inside else "closest"

    @cached_property
    def model(self) -> RunModel | None:
        """The forward model of the run, fitted at the first use; None where the readings do not suffice."""
        return fit_model(self)

    @classmethod
    def of(cls, run: Run | TrialTable) -> TrialTable:
        """The table of a run, or the table itself."""
        return run if isinstance(run, cls) else cls(cast("Run", run))


def _array(rows: Iterable[Mapping[str, float | None]], names: tuple[str, ...]) -> Floats:
    """(n, names) values; NaN where a row has None or nothing for a name."""
    return np.array([[row.get(name) for name in names] for row in rows], float).reshape(-1, len(names))


def unit_of_time(seconds: float) -> tuple[str, float]:
    """The unit in which to give a duration, and its length in seconds: `("min", 60.0)`."""
    units = {"d": 86400.0, "h": 3600.0, "min": 60.0}
    return next(((name, length) for name, length in units.items() if seconds > 3 * length), ("s", 1.0))
