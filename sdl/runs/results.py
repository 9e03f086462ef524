"""What came of a campaign, in one value; `sdl.runs` has it too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdl.core.campaign import Campaign, State
from sdl.core.events import Safe
from sdl.core.goal import Goal
from sdl.types import Outcome


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a campaign.

    Attributes:
        outcome: None while it is unfinished.
        reason: one sentence.
        trials, readings: how many, the prior's not among them.
        failed: trials without their readings, whatever was tried.
        settings, applied, measured: of the best trial: asked for, done, mean raw readings. Empty without one.
        error: worst channel's |measured − target| / target, a fraction; None where unknown.
        miss: worst channel's distance from its target in tolerances; None where unknown.
        worst: that channel's name; None where unknown.
        best: number of that trial.
        by: the rule, solver or person that ended it.
        run: the run's directory; empty for a campaign in memory.
        safe: what is known of the instrument since it was asked to be off at the end; None where nothing was to be
            said: it is simulated in virtual time, or nothing was switched on.
    """

    outcome: Outcome | None
    reason: str
    trials: int
    readings: int
    failed: int
    settings: Mapping[str, float]
    applied: Mapping[str, float]
    measured: Mapping[str, float]
    error: float | None
    miss: float | None
    worst: str | None
    best: int | None
    by: str
    run: str
    safe: Safe | None = None

    @property
    def reached(self) -> bool:
        """Whether the goal was hit and confirmed."""
        return self.outcome is Outcome.REACHED


def result_of(campaign: Campaign, folder: Path | None) -> Result:
    """The result of a campaign in its present state."""
    history, goal, best = campaign.history, campaign.plan.goal, campaign.history.best
    state = "interrupted" if campaign.interrupted else "paused" if campaign.paused else "not ended yet"
    done = Result(
        outcome=history.outcome if campaign.state is State.STOPPED else None,
        reason=campaign.stop.reason if campaign.stop else state,
        trials=history.trials,
        readings=history.readings,
        failed=history.failed,
        settings={},
        applied={},
        measured={},
        error=None,
        miss=None,
        worst=None,
        best=None,
        by=campaign.stop.by if campaign.stop else "",
        run=str(folder) if folder else "",
        safe=campaign.safe,
    )
    trial = best or history.last
    if trial is None:
        return done
    done = replace(done, settings=trial.settings, applied=trial.applied or {}, measured=trial.mean)
    if best is None:
        return done
    done = replace(done, best=best.trial)
    if goal is None or math.isinf(best.miss):
        return done
    return replace(done, error=goal.error(best.mean), miss=best.miss, worst=worst_channel(goal, best.mean))


def worst_channel(goal: Goal, readings: Mapping[str, float]) -> str:
    """The channel of a goal that is farthest from its target in tolerances, which is what `Goal.miss` is."""
    return max(goal.bands, key=lambda name: goal.bands[name].miss(readings.get(name, math.nan)))
