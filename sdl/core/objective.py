"""The channel to maximise or minimise, as readings come: replicates pooled by settings, and the best settings so far.

The *incumbent* is the best settings measured that keep the constraints. A solver names it, by its model of all
readings: the highest single reading is usually a lucky one. Until a solver has, it is the best mean. Settings that were
confirmed by repeated readings stay the incumbent until others are better by the least improvement that counts: near an
optimum the model would otherwise name other settings after every trial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdl.core.goal import Direction, Goal, Tolerance, format_reading
from sdl.types import Settings

if TYPE_CHECKING:
    from sdl.core.events import Measured
    from sdl.core.trials import Trial
    from sdl.types import Reading

Key = tuple[str, ...]


def key_of(settings: Settings) -> Key:
    """Settings that differ by less than a millionth of their size have the same key: some are read back."""
    return tuple(value if isinstance(value, str) else f"{value:.6g}" for value in settings.values())


@dataclass(slots=True)
class Replicates:
    """All readings of a campaign at the same settings.

    Attributes:
        trial: the first of the trials.
        settings: as asked for.
        readings: number of readings.
        mean: of each channel, raw.
        saturated: the channels that were saturated in any reading.
    """

    trial: Trial
    settings: Settings
    readings: int = 0
    mean: dict[str, float] = field(default_factory=dict)
    saturated: frozenset[str] = frozenset()
    _squares: dict[str, float] = field(default_factory=dict)

    def add(self, reading: Reading | Measured) -> None:
        """One more reading (Welford, Technometrics 4 (1962) 419)."""
        self.readings += 1
        self.saturated |= frozenset(reading.saturated)
        for name, value in reading.readings.items():
            off = value - self.mean.get(name, 0.0)
            self.mean[name] = self.mean.get(name, 0.0) + off / self.readings
            self._squares[name] = self._squares.get(name, 0.0) + off * (value - self.mean[name])

    def std_error(self, channel: str) -> float | None:
        """Standard error of the mean of a channel, from the scatter of the readings; None for a single reading."""
        if self.readings < 2:
            return None
        return math.sqrt(self._squares.get(channel, math.nan) / (self.readings - 1) / self.readings)


class Optimum:
    """The replicates of a campaign by settings asked for, and the incumbent among them.

    Attributes:
        channel, direction: of the objective.
        least: the least improvement that counts, of a percentage of the best reading or in its unit; None: any.
        enough: number of readings that confirm settings.
        incumbent: None where no settings keep the constraints.
    """

    def __init__(self, goal: Goal, channel: str, direction: Direction) -> None:
        self.channel, self.direction = channel, direction
        self._goal = goal
        self._pools: dict[Key, Replicates] = {}
        self._asked: dict[Key, Key] = {}  # by the settings applied
        self._named: Settings = {}
        self._estimate = math.nan
        self._confirmed: Replicates | None = None
        self.least: Tolerance | None = None
        self.enough = 1
        self.incumbent: Replicates | None = None

    def add(self, reading: Reading | Measured, trial: Trial) -> None:
        """Add a reading of a trial."""
        key = key_of(trial.settings)
        if key not in self._pools:
            self._pools[key] = Replicates(trial, dict(trial.settings))
        if (
            trial.confirms and self._of_solver() is None
        ):  # an instrument may apply settings of a prior a little otherwise
            self._asked[key_of(self._named)] = key
        self._asked[key_of(reading.applied)] = key
        self._pools[key].add(reading)

    def name(self, settings: Settings, estimate: float | None) -> None:
        """Take a solver's incumbent, settings as applied, and its estimate; nothing changes where it names none."""
        if settings and estimate is not None:
            self._named, self._estimate = settings, estimate
            self.update()

    def update(self) -> None:
        """Find the incumbent: the confirmed one, that of the solver, or where neither is feasible the best mean."""
        named, kept = self._of_solver(), self._confirmed
        if kept is not None and self.is_feasible(kept) and not self._is_better(named, kept):
            self.incumbent = kept
            return
        if named is not None and self.is_feasible(named):
            self.incumbent = named
            return
        feasible = [pool for pool in self._pools.values() if self.is_feasible(pool)]
        self.incumbent = max(feasible, key=lambda pool: self.direction.sign * pool.mean[self.channel], default=None)

    def confirm(self) -> None:
        """Keep the incumbent if it has enough readings."""
        if self.incumbent is not None and self.is_confirmed:
            self._confirmed = self.incumbent

    def _is_better(self, named: Replicates | None, kept: Replicates) -> bool:
        """Whether the solver's incumbent is better than a confirmed one by the least improvement that counts."""
        value = kept.mean[self.channel]
        gain = self.direction.sign * (self._estimate - value)
        return named is not kept and gain >= (self.least.of(value) if self.least is not None else 0.0)

    def is_feasible(self, pool: Replicates) -> bool:
        """Whether the mean keeps the constraints and no channel of the goal was saturated."""
        return self._goal.reached(pool.mean, pool.saturated)

    @property
    def is_confirmed(self) -> bool:
        """Whether the incumbent has enough readings."""
        return self.incumbent is not None and self.incumbent.readings >= self.enough

    def to_confirm(self) -> Settings | None:
        """The settings to measure again before the incumbent is confirmed; None where it is, or where there is none.

        Those that only a prior has measured come first.
        """
        if (
            self._named
            and self._of_solver() is None
            and (self._confirmed is None or self._is_better(None, self._confirmed))
        ):
            return self._named
        return None if self.incumbent is None or self.is_confirmed else self.incumbent.settings

    def describe(self) -> str:
        """The incumbent as text: `trial 17, R 512.3 ± 1.2 (mean of 3 readings)`; empty where there is none."""
        if (best := self.incumbent) is None:
            return ""
        error, many = best.std_error(self.channel), best.readings
        value = format_reading(best.mean[self.channel], 10 * error if error else None)
        text = value if error is None else f"{value} ± {format_reading(error, 10 * error or None)}"
        count = "1 reading" if many == 1 else f"mean of {many} readings"
        return f"trial {best.trial.trial}, {self.channel} {text} ({count})"

    def _of_solver(self) -> Replicates | None:
        return self._pools.get(self._asked.get(key_of(self._named), ())) if self._named else None


@dataclass(frozen=True, slots=True)
class ObjectiveResult:
    """What a campaign found out about the channel to maximise or minimise.

    Attributes:
        channel, direction: `maximise` or `minimise`.
        value: mean raw reading at the best settings, over all readings there.
        std_error: of that mean, from the scatter of these readings; None for a single one.
        readings: their number.
        confirmed: whether the best settings were measured again.
        estimate, estimate_error: noise-free reading there by the solver's last model, with its standard error.
        expected_improvement: of the next trial over that estimate, by the last model.
    """

    channel: str
    direction: str
    value: float | None
    std_error: float | None
    readings: int
    confirmed: bool
    estimate: float | None
    estimate_error: float | None
    expected_improvement: float | None
