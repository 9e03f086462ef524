"""The page of a run, folded event by event, so that its cost does not grow with the length of the record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl import formatting
from sdl.advice import advise
from sdl.core.campaign import State
from sdl.core.events import AbortAsked, Corrected, Event, Measure, Measured, Opened, Paused, Proposed
from sdl.errors import Damaged
from sdl.report.style import swatch
from sdl.report.summary import channel_cells, trial_cells
from sdl.runs.pooled import PooledMean, pooled_mean
from sdl.runs.runs import Folding, result_of
from sdl.store.resolve import FILE, start_time
from sdl.types import GOOD_OUTCOMES
from sdl.web import charts, story
from sdl.web.start.actions import Action, continuations

if TYPE_CHECKING:
    from sdl.core.campaign import Campaign
    from sdl.core.trials import Trial

MOST_TRIALS = 30
"""Most trials on the page: the latest; the report has more."""


SAME_CLOCK = 3600.0
"""Seconds by which the first event may be away from the time in the run's name; more: it is in virtual time."""


class RunView:
    """The contents of a run's page; `trials` are the latest ones.

    Attributes:
        attended: whether a process asks for the readings and waits until others have told them.
        at_terminal: whether the readings are typed at a terminal.
        read_part: fraction of a long record that is read; None: all of it.
    """

    read_part: float | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: Opened | None = None
        self.campaign: Campaign | None = None
        self.trials: list[Trial] = []
        self.ended = self.attended = self.at_terminal = False
        self.tree: Mapping[str, Any] = {}
        self._ratios: list[tuple[int, float]] = []
        self._objective: list[charts.ObjectivePoint] = []
        self._estimates: list[tuple[int, float]] = []
        self._pause = self._abort = ""
        self._folding: Folding | None = None
        self._pooled_at = -1  # number of finished trials that are pooled
        self._pooled: PooledMean | None = None

    def take(self, event: Event) -> None:
        """Fold one event.

        Raises:
            Damaged: it cannot follow the events before it.
        """
        if isinstance(event, Opened) and self._folding is None:
            self._folding = Folding(event, self.folder)  # first: nothing is opened where this is damaged
            self.opened, self.spec = event, formatting.instrument_spec(event)
        if self._folding is None:
            raise Damaged(str(self.folder / FILE), 1, "does not begin with Opened")
        self._folding.add(event)
        folded = self._folding.folded
        campaign, self.tree = folded.campaign, folded.tree
        self.campaign = campaign
        trial = campaign.history.latest
        match event:
            case Proposed() if trial is not None:
                self.trials = [*self.trials[1 - MOST_TRIALS :], trial]
                if event.estimate is not None:
                    self._estimates.append((event.trial, event.estimate))
            case Measured() if trial is not None and trial.over:
                self._ratios.append((trial.trial, trial.miss))
                self._objective += self._objective_of(trial)
            case Corrected():
                ranked = [one for one in campaign.history.closed if one.readings and not one.failed]
                self._ratios = [(one.trial, one.miss) for one in ranked]
                self._objective = [point for one in ranked for point in self._objective_of(one)]
                self._pooled_at = -1
            case Paused():
                self._pause = event.cause
            case AbortAsked():
                self._abort = event.reason
        self.ended = campaign.state is State.STOPPED

    def _objective_of(self, trial: Trial) -> list[charts.ObjectivePoint]:
        """The point of a trial in the chart of the objective; nothing without one."""
        name = trial.goal.objective if trial.goal is not None else None
        if name is None or name not in trial.mean:
            return []
        return [charts.ObjectivePoint(trial.trial, trial.mean[name], trial.inside)]

    # What is shown -----------------------------------------------------------------------------------------------
    def state(self, process: str) -> dict[str, Any]:
        """The state in a word and a sentence; `process` is the one that writes to the run, empty without one."""
        campaign = self.campaign
        if campaign is None or self.opened is None:
            return {"word": "beginning", "text": "nothing is written yet", "good": False}
        if self.read_part is not None:
            text = f"the record is long; {100 * self.read_part:.0f} % of it is read, and shown so far"
            return {"word": "reading", "text": text, "good": True}
        if campaign.stop is not None:
            outcome = campaign.history.outcome or campaign.stop.outcome
            advice = advise(result_of(campaign, self.folder), campaign, self.opened, self.tree)
            good, text = outcome in GOOD_OUTCOMES, advice.reason
            if not_off := formatting.not_off(campaign.safe):
                good, text = False, f"{text}; {not_off}"
            word = formatting.display(outcome)
            return {"word": word, "text": text, "good": good, "mean": advice.mean, "next": advice.next}
        if self._abort:
            return {"word": "ending", "text": f"abort requested: {self._abort}", "good": False}
        if self.told_by_others and not campaign.interrupted and not campaign.paused:
            asked = self.asked()
            what = f"trial {asked['trial']}, reading {asked['repeat'] + 1} is asked for" if asked else self._progress()
            return {"word": "waiting", "text": what, "good": True}
        if not process or campaign.interrupted:
            text = "interrupted; it can be resumed" if campaign.interrupted else "no process is writing to it"
            return {"word": "unfinished", "text": text, "good": False}
        if campaign.paused:
            return {"word": "paused", "text": self._pause or "no reason given", "good": False}
        return {"word": "running", "text": self._progress(), "good": True}

    def actions(self) -> list[Action]:
        """The ways to continue it, where no process is writing to it."""
        if self.campaign is None or self.opened is None:
            return []
        advice = advise(result_of(self.campaign, self.folder), self.campaign, self.opened, self.tree)
        return continuations(self.campaign, self.opened, self.tree, advice.next)

    def _progress(self) -> str:
        if not self.trials:
            return "nothing is proposed yet"
        trial = self.trials[-1]
        if not trial.readings:
            return f"trial {trial.trial} is being measured"
        text = f"trial {trial.trial}, {formatting.count(trial.readings, 'reading')}"
        return f"{text}; {formatting.worst(trial.goal, trial.mean)}" if trial.goal and trial.judged else text

    def brief(self) -> dict[str, Any]:
        """Colour and progress of the latest trial, and how near the best one came."""
        if self.campaign is None or not self.trials:
            return {}
        return {
            "rgb": self._colour(self.trials[-1]),
            "text": self._progress(),
            "best": formatting.best_so_far(self.campaign.history),
        }

    @property
    def told_by_others(self) -> bool:
        """Whether a script or a person on the page tells the readings."""
        return formatting.told_by_others(self.opened) and not self.at_terminal

    def asked(self) -> dict[str, Any] | None:
        """The reading that others are asked for; None where nothing is asked, or sdl drives the instrument."""
        due = self.campaign.due() if self.campaign is not None and self.told_by_others else []
        due = due if self.read_part is None else []
        if not due or not isinstance(due[0], Measure):
            return None
        return {"trial": due[0].trial, "repeat": due[0].repeat, "settings": dict(due[0].settings)}

    def times(self, now: float, written: float) -> dict[str, float | None]:
        """When it began and was last written to, seconds since 1970 UTC, and how many seconds are left at most.

        Args:
            now: seconds since 1970 UTC.
            written: when its record was last changed; its own times may be virtual.
        """
        began = start_time(self.folder.name)
        campaign, opened = self.campaign, self.opened
        if campaign is None or opened is None or began is None:
            return {}
        first = datetime.fromisoformat(began).timestamp()
        history, stop = campaign.history, self.tree.get("stop", {})
        real = abs(opened.at - first) < SAME_CLOCK
        used = history.active if real else now - first
        left = [used / history.trials * (campaign.plan.collect - history.trials)] if history.trials else []
        if real and isinstance(minutes := stop.get("minutes"), (int, float)) and campaign.plan.goal is not None:
            left.append(60.0 * minutes - history.active - (now - written))
        return {
            "began": first,
            "reading": written if history.readings else None,
            "left": max(min(left), 0.0) if left else None,
        }

    def shown(self, process: str) -> dict[str, Any]:
        """All values for the templates, not yet escaped."""
        opened, campaign = self.opened, self.campaign
        values: dict[str, Any] = {
            "state": self.state(process),
            "times": {},
            "opened": opened is not None,
            "ended": self.ended,
        }
        values["others"] = formatting.told_by_others(opened)
        if opened is None or campaign is None:
            return values
        goal, history = campaign.plan.goal, campaign.history
        objective = (goal.objective or "") if goal is not None else ""
        # The current trial, or the latest one with readings.
        measured = next((t for t in (self._current(), *reversed(self.trials)) if t is not None and t.readings), None)
        mean = measured.mean if measured else {}
        channels = [name for name in self.spec.channels if goal is None or name in goal.bands]
        return values | {
            "instrument": formatting.instrument_line(opened),
            "goal": formatting.goal_line(goal),
            "has_goal": goal is not None,
            "objective": objective,
            "used": (history.trials, campaign.plan.collect),
            "counts": ", ".join(filter(None, [formatting.counts(history), formatting.best_so_far(history)])),
            "now": self._now(),
            "channels": channel_cells(measured, channels, self.spec.units) if measured else [],
            "of": measured.trial if measured else None,
            "story": self._story(),
            "objective_chart": charts.objective(
                objective, self.spec.units.get(objective, ""), self._objective, self._estimates
            ),
            "spectrum": charts.spectrum(self.spec.channels, goal, mean),
            "error": charts.error(self._ratios) if history.trials > story.MOST_TRIALS else None,
            "inputs": self.spec.inputs,
            "rows": [
                trial_cells(trial, self.spec)
                | {"readings": trial.readings, "remarks": "; ".join(formatting.trial_remarks(trial, campaign.plan))}
                for trial in reversed(self.trials)
            ],
            "latest": self.trials[-1].trial if self.trials else 0,
            "earlier": history.trials + (history.open_trial is not None) - len(self.trials),
        }

    def _story(self) -> Any:
        if self.campaign is None or self.opened is None:
            return None
        history = self.campaign.history
        latest = [*history.closed[-story.MOST_TRIALS :], *([history.open_trial] if history.open_trial else [])]
        if history.trials != self._pooled_at:  # it reads every finished trial
            self._pooled_at = history.trials
            self._pooled = pooled_mean(history, self.opened.instrument["inputs"])
        return story.story(latest, history.goal, history.best, self._pooled)

    def _current(self) -> Trial | None:
        """The latest trial; at the end the best one."""
        best = self.campaign.history.best if self.campaign and self.ended else None
        return best or (self.trials[-1] if self.trials else None)

    def _now(self) -> dict[str, Any]:
        trial = self._current()
        if trial is None:
            return {"trial": None, "rgb": None, "settings": [], "exact": ""}
        texts = self.spec.settings(trial.shown_settings)
        best = self.ended and self.campaign is not None and trial is self.campaign.history.best
        cells = [(self.spec.title(name), texts[name]) for name in self.spec.inputs]
        exact = " ".join(
            f"{name}={value!r}" if not isinstance(value, str) else f"{name}={value}"
            for name, value in trial.shown_settings.items()
        )  # as `sdl measure` takes them
        return {"trial": trial.trial, "rgb": self._colour(trial), "settings": cells, "best": best, "exact": exact}

    def _colour(self, trial: Trial) -> tuple[int, int, int] | None:
        return swatch(trial.shown_settings, self.opened.instrument["inputs"] if self.opened else ())
