"""A run as it is now: folded event by event, so that the ten-thousandth reading costs what the tenth did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl import formatting
from sdl.core.events import AbortAsked, Event, Failed, Measured, Opened, Paused, Proposed, Resumed, Stopped
from sdl.errors import Damaged, OutOfTurn
from sdl.report.style import swatch
from sdl.runs.runs import apply_changes, unopened_campaign
from sdl.store.resolve import FILE
from sdl.types import Outcome
from sdl.web import charts

if TYPE_CHECKING:
    from sdl.core.campaign import Campaign
    from sdl.core.goal import Band

SHOWN = 30
"""The last trials that the page shows; the report has more."""


@dataclass(slots=True)
class TrialView:
    """A trial, as far as it is."""

    proposed: Proposed
    readings: int = 0
    applied: Mapping[str, float] | None = None
    mean: Mapping[str, float] = field(default_factory=dict)
    saturated: frozenset[str] = frozenset()
    miss: float = math.inf
    note: str = ""


class RunView:
    """What a page shows of a run.

    Args:
        folder: the run's directory.

    Attributes:
        opened, campaign: None before the first event.
        ended: whether it has stopped.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: Opened | None = None
        self.campaign: Campaign | None = None
        self.rows: list[TrialView] = []
        self.ended = False
        self._misses: list[tuple[int, float]] = []
        self._best: TrialView | None = None
        self._pause = self._abort = ""
        self._tree: Mapping[str, Any] = {}
        self._events = 0

    def take(self, event: Event) -> None:
        """Folds one event.

        Raises:
            Damaged: those before it do not allow it.
        """
        self._events += 1
        if isinstance(event, Opened):
            self.campaign = unopened_campaign(event, self.folder)  # first: where it is damaged nothing is opened
            self.opened, self._tree = event, event.config
        campaign = self.campaign
        if campaign is None:
            raise Damaged(str(self.folder / FILE), 1, "does not begin with Opened")
        if isinstance(event, Resumed) and event.changes:
            self._tree, campaign.plan = apply_changes(self._tree, event, self.folder, self._events)
        try:
            campaign.handle(event)
        except OutOfTurn as error:
            raise Damaged(str(self.folder / FILE), self._events, f"cannot follow what is before it: {error}") from error
        match event:
            case Proposed():
                self.rows = [*self.rows[-SHOWN + 1 :], TrialView(event)]
            case Measured():
                self._measured(self.rows[-1], event, campaign)
            case Failed(stage="measure") if self.rows:
                closed = campaign.history.trials > event.trial
                self.rows[-1].note = f"{'failed' if closed else 'again after'}: {formatting.cause(event.error)}"
            case Paused():
                self._pause = event.cause
            case AbortAsked():
                self._abort = event.reason
        self.ended = isinstance(event, Stopped) or (self.ended and not isinstance(event, Resumed))

    def _measured(self, row: TrialView, event: Measured, campaign: Campaign) -> None:
        history, goal = campaign.history, campaign.plan.goal
        row.readings += 1
        row.applied = event.applied
        row.saturated |= frozenset(event.saturated)
        row.note = event.fault or ""
        last = history.last
        if history.trials > event.trial and last is not None:
            row.mean, row.miss = last.mean, last.miss
            self._misses.append((event.trial, last.miss))
            if history.best is last:
                self._best = row
            row.note = "; ".join(filter(None, [row.note, "reached" if last.reached else ""]))
        else:
            row.mean = dict(history.mean()[0])
            row.miss = goal.miss(row.mean, row.saturated) if goal is not None else math.inf

    # What is shown -----------------------------------------------------------------------------------------------
    def state(self, process: str) -> dict[str, Any]:
        """What it does, in a word and a sentence; `process` is who writes to it, empty where nobody does."""
        campaign = self.campaign
        if campaign is None:
            return {"word": "beginning", "text": "nothing is written yet", "good": False}
        if campaign.stop is not None:
            outcome = campaign.history.outcome or campaign.stop.outcome
            good, text = outcome in (Outcome.REACHED, Outcome.DONE), formatting.cause(campaign.stop.reason)
            if on := formatting.not_off(campaign.safe):
                good, text = False, f"{text}; {on}"
            return {"word": formatting.display(outcome), "text": text, "good": good}
        if self._abort:
            return {"word": "ending", "text": f"an abort was asked for: {self._abort}", "good": False}
        if not process or campaign.interrupted:
            text = "it was interrupted, and can be resumed" if campaign.interrupted else "nobody writes to it now"
            return {"word": "unfinished", "text": text, "good": False}
        if campaign.paused:
            return {"word": "paused", "text": self._pause or "no reason given", "good": False}
        return {"word": "running", "text": self._doing(), "good": True}

    def _doing(self) -> str:
        if not self.rows:
            return "nothing is proposed yet"
        row = self.rows[-1]
        if not row.readings:
            return f"trial {row.proposed.trial} is being measured"
        done = f"trial {row.proposed.trial}, {formatting.count(row.readings, 'reading')}"
        goal = self.campaign.plan.goal if self.campaign else None
        if goal is not None and row.mean and math.isfinite(row.miss):
            done += f"; {formatting.worst(goal, row.mean)}"
        return done

    def brief(self) -> dict[str, Any]:
        """Colour and sentence of the trial under way, and how near the best one came."""
        if self.opened is None or not self.rows:
            return {}
        row, best = self.rows[-1], self.campaign.history.best if self.campaign else None
        near = best is not None and math.isfinite(best.miss)
        return {
            "rgb": swatch(row.applied or row.proposed.settings, self.opened.instrument["inputs"]),
            "text": self._doing(),
            "best": f"best: trial {best.trial}, {formatting.in_tolerances(best.miss)}" if best and near else "",
        }

    def shown(self, process: str) -> dict[str, Any]:
        """Everything that the template asks for: plain values, nothing escaped yet."""
        opened, campaign = self.opened, self.campaign
        found: dict[str, Any] = {"state": self.state(process), "opened": opened is not None, "ended": self.ended}
        if opened is None or campaign is None:
            return found
        goal, history = campaign.plan.goal, campaign.history
        about = {str(item["name"]): item for kind in ("inputs", "channels") for item in opened.instrument[kind]}
        inputs = [str(item["name"]) for item in opened.instrument["inputs"]]
        channels = [str(item["name"]) for item in opened.instrument["channels"]]
        now = self._best if self.ended and self._best is not None else self.rows[-1] if self.rows else None
        with_readings = now if now is not None and now.mean else next((r for r in reversed(self.rows) if r.mean), None)
        best = history.best
        said = [formatting.count(history.trials, "trial"), formatting.count(history.readings, "reading")]
        said += [f"{history.failed} failed"] if history.failed else []
        if best is not None and math.isfinite(best.miss):
            said.append(f"best: trial {best.trial}, {formatting.in_tolerances(best.miss)}")
        return found | {
            "instrument": f"{opened.instrument['identity']}{' (simulated)' if opened.simulated else ''}",
            "goal": formatting.goal_line(goal),
            "has_goal": goal is not None,
            "used": (history.trials, campaign.plan.collect),
            "said": ", ".join(said),
            "now": self._now(now, opened, inputs, about),
            "channels": self._channels(with_readings, goal.bands if goal else None, channels, about),
            "of": with_readings.proposed.trial if with_readings else None,
            "spectrum": charts.spectrum(channels, goal, with_readings.mean if with_readings else {}),
            "error": charts.error(self._misses) if goal is not None else None,
            "inputs": inputs,
            "rows": [self._row(row, opened, inputs, about, goal) for row in reversed(self.rows)],
            "earlier": max(history.trials + (1 if campaign.stop is None and self.rows else 0) - len(self.rows), 0),
        }

    def _now(
        self, row: TrialView | None, opened: Opened, inputs: list[str], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        if row is None:
            return {"trial": None, "rgb": None, "settings": []}
        unit = {name: str(about[name].get("unit") or "") for name in inputs}
        settings = row.applied or row.proposed.settings
        cells = [(f"{n} ({unit[n]})" if unit[n] else n, formatting.setting(settings[n], about[n])) for n in inputs]
        rgb = swatch(settings, opened.instrument["inputs"])
        return {"trial": row.proposed.trial, "rgb": rgb, "settings": cells, "best": self.ended and row is self._best}

    def _channels(
        self, row: TrialView | None, bands: Mapping[str, Band] | None, channels: list[str], about: Mapping[str, Any]
    ) -> list[dict[str, str]]:
        found = []
        for name in channels:
            if row is None or (bands is not None and name not in bands):
                continue
            value, band = row.mean.get(name, math.nan), bands[name] if bands else None
            full = ", saturated" if name in row.saturated else ""
            text = "not read" if math.isnan(value) else formatting.reading(value, band) + full
            cells = {"name": name, "unit": str(about[name].get("unit") or ""), "reading": text}
            if band is not None:
                miss = math.inf if full else band.miss(value)
                cells |= {
                    "goal": str(band).replace("± ", "±\u00a0"),
                    "miss": "?" if not math.isfinite(miss) else formatting.times(miss),
                }
                cells["mark"] = "good" if miss <= 1 else "bad"
            found.append(cells)
        return found

    def _row(
        self, row: TrialView, opened: Opened, inputs: list[str], about: Mapping[str, Any], goal: Any
    ) -> dict[str, Any]:
        judged = goal is not None and bool(row.mean) and math.isfinite(row.miss)
        said = [row.note, ", ".join(f"{name} saturated" for name in sorted(row.saturated))]
        if row.proposed.verdict is not None and row.proposed.verdict != "reachable":
            said.insert(0, formatting.display(row.proposed.verdict))
        return {
            "trial": row.proposed.trial,
            "rgb": swatch(row.applied or row.proposed.settings, opened.instrument["inputs"]),
            "by": row.proposed.by,
            "settings": [formatting.setting(row.proposed.settings[name], about[name]) for name in inputs],
            "worst": goal.worst_channel(row.mean) if judged else "",
            "miss": formatting.times(row.miss) if judged else "",
            "mark": ("good" if row.miss <= 1 else "bad") if judged else "",
            "readings": row.readings,
            "note": "; ".join(filter(None, said)),
        }
