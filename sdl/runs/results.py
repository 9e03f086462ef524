"""What came of a campaign, in one value; `sdl.runs` has it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdl.core.campaign import Campaign, State
from sdl.core.events import Safe
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


def result(campaign: Campaign, folder: Path | None) -> Result:
    """The result of a campaign in its present state."""
    history, best = campaign.history, campaign.history.best
    goal = campaign.plan.goal
    if campaign.stop:
        reason = campaign.stop.reason
    else:
        reason = "interrupted" if campaign.interrupted else "paused" if campaign.paused else "not ended yet"
    shown = best if best is not None else history.last
    judged = best is not None and goal is not None and best.judged
    return Result(
        history.outcome if campaign.state is State.STOPPED else None,
        reason,
        history.trials,
        history.readings,
        history.failed,
        shown.settings if shown else {},
        (shown.applied or {}) if shown else {},
        shown.mean if shown else {},
        goal.error(best.mean) if best and goal and judged else None,
        best.miss if best and judged else None,
        best.worst if best and judged else None,
        best.trial if best else None,
        campaign.stop.by if campaign.stop else "",
        str(folder) if folder else "",
        campaign.safe,
    )
