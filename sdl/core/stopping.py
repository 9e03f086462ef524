"""The stopping rules: each reads the history and returns its reason to stop, or None. Pure; no rule scans the history.

`reached` is not among them: the campaign itself decides that before it asks any rule.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from pydantic import Field

from sdl.core.goal import background_exceeds, format_closest, format_shortfall
from sdl.types import Frozen, Outcome

if TYPE_CHECKING:
    from sdl.core.goal import Goal
    from sdl.core.history import History


class Reason(NamedTuple):
    """Why a campaign stops: outcome, sentence, and the rule that says so."""

    outcome: Outcome
    text: str
    rule: str


@runtime_checkable
class Rule(Protocol):
    """A frozen model that says after each reading and failure whether to stop; of a package: with a `kind`."""

    def check(self, history: History, goal: Goal | None) -> Reason | None: ...


class Trials(Frozen):
    """At most `limit` trials, design points and failed ones included."""

    limit: int = Field(ge=1)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if history.trials < self.limit:
            return None
        used = f"all {self.limit} trials used" if self.limit > 1 else "the only trial is used"
        return Reason(Outcome.SPENT, f"{used}{_closest(history, goal)}", "trials")


class Minutes(Frozen):
    """At most `limit` minutes from Opened or Resumed to the last event, pauses left out."""

    limit: float = Field(gt=0)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if history.active < self.limit * 60:
            return None
        return Reason(Outcome.SPENT, f"all {self.limit:g} minutes used{_closest(history, goal)}", "minutes")


class CostLimit(Frozen):
    """At most `limit` spent on trials and readings; the price of the last settings may exceed it."""

    limit: float = Field(gt=0)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if history.cost < self.limit and history.cost + history.next_cost <= self.limit:
            return None
        text = f"cost {history.cost:g} of {self.limit:g} spent"
        if history.cost < self.limit:
            text += f", and the next reading costs {history.next_cost:g} or more"
        return Reason(Outcome.SPENT, f"{text}{_closest(history, goal)}", "cost")


class Failures(Frozen):
    """At most `limit` failed trials in a row, each after its own retries."""

    limit: int = Field(ge=1)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if history.failures < self.limit:
            return None
        failures = f"{history.failures} failed trials in a row; the last" if history.failures > 1 else "a trial failed"
        return Reason(Outcome.FAILED, f"{failures}: {history.last_error}", "failures")


class Stagnation(Frozen):
    """The best tolerance ratio has not improved over the last trials."""

    trials: int = Field(ge=2, description="number of trials to look back")
    by: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="smallest improvement of the best tolerance ratio that counts, as a fraction of it (0.05 = 5 %)",
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
            f"no improvement by {100 * self.by:.3g} % in {self.trials} trials{_closest(history, goal)}",
            "stagnation",
        )


class UnreachableGoal(Frozen):
    """The solver says `times` in a row that no settings reach the goal, each time after the closest were measured.

    Counts proposals with the verdict `unreachable`, and `between two steps` for settings that were proposed before.
    """

    times: int = Field(ge=1)

    def check(self, history: History, goal: Goal | None) -> Reason | None:
        if goal is None or max(history.unreachable, history.resolution_limited_streak) < self.times:
            return None
        shortfall, background = format_shortfall(history.shortfall), ""
        if history.unreachable < self.times:
            text = "The goal lies below the resolution of the inputs. "
            text += f"The closest settings were measured {self.times + 1} times."
        else:
            background = background_exceeds(goal, history.background)
            proof = {1: "One measurement", 2: "Two measurements"}.get(self.times, f"{self.times} measurements")
            text = f"No settings can reach this goal. {proof} at the closest settings confirmed it."
        nearest = f"Closest readings: {shortfall}" if shortfall else ""
        best = "" if nearest and history.optimum is None else _closest(history, goal)[2:]  # the same readings again
        details = "; ".join(filter(None, (nearest, background, best)))
        details = details[:1].upper() + details[1:]
        return Reason(Outcome.UNREACHABLE, f"{text} {details}." if details else text, "unreachable")


class StopRules(Frozen):
    """When a campaign ends without having reached its goal."""

    trials: int = Field(
        40, ge=1, le=1_000_000, description="largest number of trials, including design points and failed trials"
    )
    minutes: float | None = Field(
        None,
        gt=0,
        description="longest running time in minutes (simulated minutes on a virtual clock), pauses excluded",
    )
    cost: float | None = Field(
        None, gt=0, description="largest cost of trials and readings, in the unit of the instrument's `cost`"
    )
    failures: int = Field(5, ge=1, description="largest number of failed trials in a row, each after its retries")
    stagnation: Stagnation | None = Field(
        None, description="stop when the best trial has not improved: {trials: 10, by: 0.05}"
    )
    unreachable: int | None = Field(
        2,
        ge=1,
        description="stop after this many proposals in a row with the verdict `unreachable` (or `between two steps` at "
        "settings proposed before); null: never",
    )

    def active(self) -> tuple[Rule, ...]:
        """The active rules, in the order in which they are asked."""
        rules: list[Rule] = [Failures(limit=self.failures)]
        if self.unreachable is not None:
            rules.append(UnreachableGoal(times=self.unreachable))
        if self.stagnation is not None:
            rules.append(self.stagnation)
        rules.append(Trials(limit=self.trials))
        if self.minutes is not None:
            rules.append(Minutes(limit=self.minutes))
        if self.cost is not None:
            rules.append(CostLimit(limit=self.cost))
        return tuple(rules)


def _closest(history: History, goal: Goal | None) -> str:
    best = history.best
    if history.optimum is not None and (incumbent := history.optimum.describe()):
        return f"; best: {incumbent}"
    if best is None or goal is None or math.isinf(best.miss):
        return ""
    return f"; closest: trial {best.trial}, {format_closest(goal, best.mean)}"
