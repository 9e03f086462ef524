"""The channel to maximise or minimise, as readings come: replicates pooled by settings, and the best settings so far.

The *incumbent* is the best settings measured that keep the constraints. A solver names it, by its model of all
readings: the highest single reading is usually a lucky one. Until a solver has, it is the best mean. Settings that were
confirmed by repeated readings stay the incumbent until others are better by the least improvement that counts: near an
optimum the model would otherwise name other settings after every trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdl.core.goal import Direction, Goal, Tolerance, format_with_error
from sdl.types import Settings

if TYPE_CHECKING:
    from sdl.core.events import Measured
    from sdl.core.trials import Trial
    from sdl.types import Reading

Key = tuple[str, ...]


def key_of(settings: Settings) -> Key:
    """A key for settings: the same for settings that differ by less than a millionth, as values read back may."""
    return tuple(value if isinstance(value, str) else f"{value:.6g}" for _, value in sorted(settings.items()))


@dataclass(slots=True)
class Replicates:
    """All readings of a campaign at the same settings.

    Attributes:
        trial: the first of the trials.
        settings: the requested settings.
        readings: number of readings.
        mean: mean raw reading of each channel.
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

    def clear(self) -> None:
        """Forget all readings."""
        self.readings, self.mean, self.saturated, self._squares = 0, {}, frozenset(), {}

    def std_error(self, channel: str) -> float | None:
        """Standard error of the mean of a channel, from the scatter of the readings; None for a single reading."""
        if self.readings < 2:
            return None
        return math.sqrt(self._squares.get(channel, math.nan) / (self.readings - 1) / self.readings)


@dataclass(slots=True)
class Optimum:
    """The replicates of a campaign by settings asked for, and the incumbent among them.

    Attributes:
        goal: the goal, with its constraints.
        channel, direction: channel of the objective, and whether to maximise or minimise it.
        least: the least improvement that counts, a percentage of the best reading or a number in its unit; None: any.
        enough: number of readings that confirm settings.
        incumbent: None where no settings keep the constraints.
    """

    goal: Goal
    channel: str
    direction: Direction
    least: Tolerance | None = None
    enough: int = 1
    incumbent: Replicates | None = None
    _pools: dict[Key, Replicates] = field(default_factory=dict)
    _asked: dict[Key, Key] = field(default_factory=dict)  # by the settings applied
    _named: Settings = field(default_factory=dict)  # by the solver, as applied
    _estimate: float = math.nan
    _unseen: dict[Key, Replicates] = field(default_factory=dict)  # measured since
    _confirmed: Replicates | None = None

    def add(self, reading: Reading | Measured, trial: Trial) -> None:
        """Add a reading of a trial."""
        key = key_of(trial.settings)
        if key not in self._pools:
            self._pools[key] = Replicates(trial, dict(trial.settings))
        if trial.confirms and self._of_solver() is None:  # settings of a prior may be applied a little otherwise
            self._asked[key_of(self._named)] = key
        self._asked[key_of({name: reading.applied[name] for name in trial.settings})] = key
        self._pools[key].add(reading)
        self._unseen[key] = self._pools[key]

    def count_again(self, readings: Iterable[tuple[Reading | Measured, Trial]]) -> None:
        """Pool all readings again after a correction; settings without a reading are dropped."""
        for pool in self._pools.values():
            pool.clear()
        for reading, trial in readings:
            self._pools[key_of(trial.settings)].add(reading)
        self._pools = {key: pool for key, pool in self._pools.items() if pool.readings}
        self._unseen = {key: pool for key, pool in self._unseen.items() if pool.readings}
        if self._confirmed is not None and self._confirmed.readings < self.enough:
            self._confirmed = None
        self.update()

    def name(self, settings: Settings, estimate: float | None) -> None:
        """Store a solver's incumbent (applied settings) and its estimate; without an incumbent nothing changes."""
        if settings and estimate is not None:
            self._named, self._estimate = settings, estimate
            self._unseen.clear()
            self.update()

    def update(self) -> None:
        """Choose the incumbent: the best of the settings that the solver named and those measured since.

        The solver's settings count with its estimate, the others with the mean of their readings. If none of them keep
        the constraints, all settings measured are compared. Confirmed settings stay unless others are better.
        """
        named = self._of_solver()
        values = self._means(self._unseen.values())
        if named is not None and all(pool is not named for _, pool in values):
            values.append((self._estimate, named))
        feasible = [one for one in values if self.is_feasible(one[1])]
        feasible = feasible or [one for one in self._means(self._pools.values()) if self.is_feasible(one[1])]
        value, best = max(feasible, key=lambda one: self.direction.sign * one[0], default=(math.nan, None))
        kept = self._confirmed
        self.incumbent = kept if kept is not None and self.is_feasible(kept) and not self._beats(value, kept) else best

    def confirm(self) -> None:
        """Keep the incumbent if it has enough readings."""
        if self.incumbent is not None and self.is_confirmed:
            self._confirmed = self.incumbent

    def _means(self, pools: Iterable[Replicates]) -> list[tuple[float, Replicates]]:
        return [(pool.mean[self.channel], pool) for pool in pools]

    def _beats(self, value: float, pool: Replicates) -> bool:
        """Whether a reading is better than the mean of others by the least improvement that counts."""
        mean = pool.mean[self.channel]
        return self.direction.sign * (value - mean) > (self.least.of(mean) if self.least is not None else 0.0)

    def is_feasible(self, pool: Replicates) -> bool:
        """Whether the mean keeps the constraints and no channel of the goal was saturated."""
        return self.goal.reached(pool.mean, pool.saturated)

    @property
    def is_confirmed(self) -> bool:
        """Whether the incumbent has enough readings."""
        return self.incumbent is not None and self.incumbent.readings >= self.enough

    def to_confirm(self) -> Settings | None:
        """The settings to measure again before the incumbent is confirmed; None where it is, or where there is none.

        Those that only a prior has measured come first.
        """
        unmeasured = self._named if self._named and self._of_solver() is None else None
        if unmeasured and (self.incumbent is None or self._beats(self._estimate, self.incumbent)):
            return unmeasured
        return None if self.incumbent is None or self.is_confirmed else self.incumbent.settings

    def describe(self) -> str:
        """The incumbent as text: `trial 17, R 512.3 ± 1.2 (mean of 3 readings)`; empty where there is none."""
        if (best := self.incumbent) is None:
            return ""
        many = best.readings
        text = format_with_error(best.mean[self.channel], best.std_error(self.channel))
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
        std_error: standard error of that mean, from the scatter of these readings; None for a single one.
        readings: their number.
        confirmed: whether the best settings were measured again.
        estimate, estimate_error: noise-free reading there by the solver's last model, with its standard error.
        expected_improvement: by how much the last model expects the next trial to improve on that estimate.
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
