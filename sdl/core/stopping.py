"""When to stop: each rule looks at the history and gives its reason, or None. Pure; reads, never scans.

`reached` is not here: it is what a campaign is for, judged by the campaign itself before any rule is asked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import Field

from sdl.core.goal import outshone, said
from sdl.types import Frozen, Outcome

if TYPE_CHECKING:
    from sdl.core.goal import Goal
    from sdl.core.history import History


class Reason(NamedTuple):
    """Why a campaign stops."""

    outcome: Outcome
    text: str
    rule: str


class Rule(Protocol):
    """Asked after every reading and every failure."""

    def check(self, history: History, goal: Goal | None) -> Reason | None: ...


class Trials(Frozen):
    """At most `most` trials, design points and failed ones included."""

    most: int = Field(ge=1)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if history.trials < self.most:
            return None
        used = f"all {self.most} trials used" if self.most > 1 else "the only trial was used"
        return Reason(Outcome.SPENT, _used(used, history), "trials")


class Minutes(Frozen):
    """At most `most` minutes from Opened or Resumed to the last event, pauses left out."""

    most: float = Field(gt=0)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if history.active < self.most * 60:
            return None
        return Reason(Outcome.SPENT, _used(f"all {self.most:g} minutes used", history), "minutes")


class Failures(Frozen):
    """At most `most` failed trials in a row, each after its own retries."""

    most: int = Field(ge=1)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if history.failures < self.most:
            return None
        return Reason(
            Outcome.FAILED,
            f"{_in_a_row(history.failures)}{history.last_error}",
            "failures",
        )


class Stagnation(Frozen):
    """The best miss has not improved in a while."""

    trials: int = Field(ge=2, description="look back over so many trials")
    by: float = Field(
        0.05, ge=0, lt=1, description="fraction of the best miss that counts as an improvement (0.05 = 5 %)"
    )

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        misses = history.misses
        if goal is None or len(misses) <= self.trials:
            return None
        then, now = misses[-1 - self.trials], misses[-1]
        if math.isinf(then) or now < then * (1 - self.by):
            return None
        return Reason(
            Outcome.STALLED,
            _used(f"no improvement by {self.by:.3g} of the best miss in {self.trials} trials", history),
            "stagnation",
        )


class UnreachableGoal(Frozen):
    """The solver says that no settings reach the goal, the nearest were measured, and it still says so.

    `times` in a row it must say `unreachable`, or `between two steps` of settings that it proposed before.
    """

    times: int = Field(ge=1)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if goal is None or max(history.unreachable, history.between_steps) < self.times:
            return None
        shortfall = f"closest readings: {said(history.shortfall)}" if history.shortfall else ""
        if history.unreachable < self.times:
            text = "No combination of input steps reaches this goal."
            times, light = self.times + 1, ""
        else:
            text, times, light = "No settings can reach this goal.", self.times, outshone(goal, history.background)
        count = {1: "One measurement", 2: "Two measurements"}.get(times, f"{times} measurements")
        details = "; ".join(filter(None, (shortfall, light, _closest(history))))
        text = f"{text} {count} at the closest settings confirmed it. {details[:1].upper()}{details[1:]}".rstrip()
        return Reason(Outcome.UNREACHABLE, text, "unreachable")


class StopRules(Frozen):
    """When a campaign ends without reaching its goal."""

    trials: int = Field(40, ge=1, le=1_000_000, description="most trials, design points and failed ones included")
    minutes: float | None = Field(
        None, gt=0, description="most minutes of running (simulated minutes on a virtual clock); pauses left out"
    )
    failures: int = Field(5, ge=1, description="most failed trials in a row, each after its retries")
    stagnation: Stagnation | None = Field(
        None, description="stop when the best miss has not improved: {trials: 10, by: 0.05}"
    )
    unreachable: int | None = Field(
        2,
        ge=1,
        description="stop when the solver said `unreachable` (or `between two steps`, and proposed the same "
        "settings again) so many times in a row; null: never",
    )

    def rules(self) -> tuple[Rule, ...]:
        """The rules that are switched on, in the order they are asked."""
        found: list[Rule] = [Failures(most=self.failures)]
        if self.unreachable is not None:
            found.append(UnreachableGoal(times=self.unreachable))
        if self.stagnation is not None:
            found.append(self.stagnation)
        found.append(Trials(most=self.trials))
        if self.minutes is not None:
            found.append(Minutes(most=self.minutes))
        return tuple(found)


def _in_a_row(failures: int) -> str:
    return f"{failures} failed trials in a row; the last: " if failures > 1 else "a trial failed: "


def _closest(history: History) -> str:
    best = history.best
    return "" if best is None or math.isinf(best.miss) else f"closest: trial {best.trial}, {best.miss:.2f} × tolerance"


def _used(text: str, history: History) -> str:
    return "; ".join(filter(None, (text, _closest(history))))
