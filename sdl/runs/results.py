"""The result of a campaign as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdl.core.campaign import Campaign, State
from sdl.core.events import Safe
from sdl.core.objective import ObjectiveResult
from sdl.notebook import table
from sdl.types import Outcome, Settings


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a campaign.

    Attributes:
        outcome: None while it is unfinished.
        reason: one sentence.
        trials, readings: numbers taken, without those of the prior.
        failed: number of trials without readings, after all retries.
        settings, applied, measured: of the best trial: settings asked for and applied, mean raw readings. Empty without
            a trial.
        error: the worst channel's |measured − target| / |target|, a fraction; None if unknown.
        miss: the worst channel's tolerance ratio; None if unknown.
        worst: name of the worst channel; None if unknown.
        best: number of the best trial.
        by: the rule, solver or person that ended the campaign.
        run: the run's directory; empty for a campaign in memory.
        safe: state of the instrument after it was told to switch off at the end; None for one simulated in virtual
            time, or if nothing was switched on.
        objective: result for the channel to maximise or minimise; None without one. `measured` is then the mean of all
            readings at the best settings.
    """

    outcome: Outcome | None
    reason: str
    trials: int
    readings: int
    failed: int
    settings: Settings
    applied: Settings
    measured: Mapping[str, float]
    error: float | None
    miss: float | None
    worst: str | None
    best: int | None
    by: str
    run: str
    safe: Safe | None = None
    objective: ObjectiveResult | None = None

    @property
    def reached(self) -> bool:
        """Whether the goal was reached and confirmed."""
        return self.outcome is Outcome.REACHED

    def _repr_html_(self) -> str:
        trials = f"{self.trials} trials, {self.readings} readings"
        caption = f"{self.outcome or 'unfinished'}: {self.reason} ({trials})"
        rows = [*self.settings.items(), *self.measured.items()]
        kinds = ["input"] * len(self.settings) + ["channel"] * len(self.measured)
        return table(("", "name", "best trial"), [(kind, *row) for kind, row in zip(kinds, rows, strict=True)], caption)


def result_of(campaign: Campaign, folder: Path | None) -> Result:
    """The result of a campaign as it stands."""
    history, goal, best = campaign.history, campaign.plan.goal, campaign.history.best
    state = "interrupted" if campaign.interrupted else "paused" if campaign.paused else "not ended yet"
    shown = best or history.last
    judged = goal is not None and best is not None and best.judged
    pooled = history.optimum.incumbent if history.optimum is not None else None
    return Result(
        outcome=history.outcome if campaign.state is State.STOPPED else None,
        reason=campaign.stop.reason if campaign.stop else state,
        trials=history.trials,
        readings=history.readings,
        failed=history.failed,
        settings=shown.settings if shown else {},
        applied=(shown.applied or {}) if shown else {},
        measured=dict(pooled.mean) if pooled is not None else shown.mean if shown else {},
        error=goal.error(best.mean) if goal and best and judged else None,
        miss=best.miss if best and judged else None,
        worst=best.worst if best and judged else None,
        best=best.trial if best else None,
        by=campaign.stop.by if campaign.stop else "",
        run=str(folder) if folder else "",
        safe=campaign.safe,
        objective=campaign.objective(),
    )
