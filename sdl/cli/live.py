"""What a campaign looks like while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from sdl.events import (
    AbortAsked,
    Continued,
    Event,
    Failed,
    Interrupted,
    Measured,
    Opened,
    Paused,
    Proposed,
    Resumed,
    Stopped,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from sdl.campaign import Campaign
    from sdl.goal import Goal
    from sdl.runner import Watch


@dataclass
class Shown:
    """One trial as it is shown."""

    trial: int
    by: str
    settings: Mapping[str, float]
    values: dict[str, float] = field(default_factory=dict)
    error: float | None = None
    miss: float = math.inf
    readings: int = 0
    note: str = ""


class Trials:
    """Follows the events and keeps the trials to show."""

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.shown: list[Shown] = []
        self.notes: list[str] = []
        self._means: dict[str, float] = {}

    def take(self, event: Event, campaign: Campaign) -> Shown | None:
        """Takes one event in; returns the trial whose line it completes."""
        goal = campaign.plan.goal
        match event:
            case Opened():
                self.opened = event
            case Proposed():
                self.shown.append(Shown(event.trial, event.by, event.settings, note=_verdict(event)))
                self._means = {}
            case Measured():
                shown = self.shown[-1]
                shown.readings += 1
                for name, value in event.readings.items():
                    self._means[name] = (
                        self._means.get(name, 0.0) + (value - self._means.get(name, 0.0)) / shown.readings
                    )
                names = goal.channels if goal else tuple(event.readings)
                shown.values = {name: self._means[name] for name in names if name in self._means}
                closed = campaign.history.trials > event.trial
                self._judge(shown, event, campaign, closed=closed)
                return shown if closed or (goal and shown.readings == campaign.plan.average) else None
            case Failed(stage="measure") if self.shown:
                shown = self.shown[-1]
                more = campaign.history.trials == event.trial
                shown.note = f"{'retrying after' if more else 'failed:'} {event.error}"
                return shown
            case Failed():
                self.notes.append(f"no proposal for trial {event.trial}: {event.error}")
            case Paused() | Continued() | Interrupted() | AbortAsked() | Resumed():
                self.notes.append(_told(event))
        return None

    def _judge(self, shown: Shown, event: Measured, campaign: Campaign, *, closed: bool) -> None:
        goal = campaign.plan.goal
        if goal is None:
            shown.note = ", ".join(
                filter(None, [event.fault or "", f"saturated: {' '.join(event.saturated)}" if event.saturated else ""])
            )
            return
        shown.error, shown.miss = goal.error(self._means), goal.miss(self._means, event.saturated)
        if closed and campaign.history.last is not None and campaign.history.last.reached:
            shown.note = "reached"
        elif not closed and shown.readings >= campaign.plan.average:
            needed = campaign.plan.average * (1 + campaign.plan.confirm)
            shown.note = f"hit; confirming, {needed - shown.readings} to go"
        elif closed and shown.readings > campaign.plan.average:
            shown.note = "not confirmed"
        if event.fault:
            shown.note = f"{event.fault}; {shown.note}".rstrip("; ")


class Lines:
    """One plain line a trial, for logs, pipes and terminals without colour."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._trials, self._noted = out, Trials(), 0

    def __call__(self, event: Event, campaign: Campaign) -> None:
        shown = self._trials.take(event, campaign)
        if isinstance(event, Opened):
            self._say(headline(event, campaign.plan.goal))
        for note in self._trials.notes[self._noted :]:
            self._say(f"     {note}")
        self._noted = len(self._trials.notes)
        if shown:
            self._say(line(shown))

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class Table:
    """The live table: trials, swatches, error against the tolerance, and how much of the budget is used."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console, self._trials = console, Trials()
        self._campaign: Campaign | None = None
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._draw)

    def __enter__(self) -> Table:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event, campaign: Campaign) -> None:
        self._campaign = campaign
        self._trials.take(event, campaign)
        if isinstance(event, Stopped):
            self._live.refresh()

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        opened, campaign = self._trials.opened, self._campaign
        if opened is None or campaign is None:
            return Text("starting …")
        rows = max(self._console.height - 9, 4)
        parts: list[Any] = [Text(headline(opened, campaign.plan.goal), style="bold")]
        parts.append(trial_table(self._trials.shown[-rows:], opened, campaign.plan.goal))
        parts += [Text(note, style="yellow") for note in self._trials.notes[-2:]]
        parts.append(self._bar(campaign))
        return Group(*parts)

    def _bar(self, campaign: Campaign) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table as Grid

        most = campaign.plan.collect  # stop.trials, also where a resume has changed it
        grid = Grid.grid(padding=(0, 1))
        used, taken = campaign.history.trials, campaign.history.readings
        text = f"{used} of at most {most} trials, {taken} readings{best_text(campaign)}"
        grid.add_row(ProgressBar(most, used, width=30), text)
        return grid


@contextlib.contextmanager
def watching(*, json: bool, quiet: bool) -> Iterator[Watch | None]:
    """The right view for where the output goes: none, a live table, or lines (on stderr beside JSON)."""
    stream = sys.stderr if json else sys.stdout
    if quiet:
        yield None
    elif stream.isatty():
        from rich.console import Console

        with Table(Console(file=stream)) as table:
            yield table
    else:
        yield Lines(stream)


def headline(opened: Opened, goal: Goal | None) -> str:
    """What it is, on what, and the goal."""
    where = f"{opened.instrument['identity']}" + (" (simulated)" if opened.simulated else "")
    if goal is None:
        return f"{opened.campaign} on {where}: readings without a goal"
    bands = ", ".join(f"{name} {b.target:g} ± {b.high - b.target:g}" for name, b in goal.bands.items())
    return f"{opened.campaign} on {where}: {bands}"


def line(shown: Shown) -> str:
    """One trial as plain text."""
    settings = " ".join(f"{name} {value:.4f}" for name, value in shown.settings.items())
    values = " ".join(f"{name} {value:.0f}" for name, value in shown.values.items())
    error = f"error {error_text(shown)}" if shown.values and shown.miss < math.inf else ""
    return "  ".join(filter(None, [f"{shown.trial:>4} {shown.by:<8}", settings, values, error, shown.note]))


def error_text(shown: Shown) -> str:
    """Error of the worst channel, in per cent where the goal has a scale, and in tolerances."""
    percent = f"{shown.error * 100:.2f} % = " if shown.error is not None else ""
    return f"{percent}{shown.miss:.2f} tol"


def best_text(campaign: Campaign) -> str:
    """The best trial so far, for the end of a line."""
    best = campaign.history.best
    if best is None or math.isinf(best.miss):
        return ""
    return f"; best: trial {best.trial}, {best.miss:.2f} tolerances off"


def trial_table(trials: Sequence[Shown], opened: Opened, goal: Goal | None) -> RenderableType:
    """Trials as a table with colour swatches."""
    from rich.table import Table as Grid
    from rich.text import Text

    inputs = [str(item["name"]) for item in opened.instrument["inputs"]]
    channels = list(goal.channels) if goal else [str(item["name"]) for item in opened.instrument["channels"]]
    table = Grid(box=None, pad_edge=False, header_style="dim")
    table.add_column("trial", justify="right")
    table.add_column("by")
    table.add_column("")
    for name in inputs + channels:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("error" if goal else "", justify="right", no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for shown in trials:
        hit = shown.miss <= 1
        table.add_row(
            str(shown.trial),
            shown.by,
            swatch(shown.settings, opened),
            *(f"{shown.settings[name]:.4f}" for name in inputs),
            *(f"{shown.values[name]:.0f}" if name in shown.values else "…" for name in channels),
            Text(error_text(shown) if goal and shown.miss < math.inf else "", style="green" if hit else "red"),
            Text(shown.note, style="bold green" if shown.note == "reached" else ""),
        )
    return table


def swatch(settings: Mapping[str, float], opened: Opened) -> Text:
    """The colour of an R, G, B setting; empty for other inputs. The square root is roughly how eyes see light."""
    from rich.text import Text

    bounds = {str(item["name"]): (float(item["low"]), float(item["high"])) for item in opened.instrument["inputs"]}
    if not {"R", "G", "B"} <= set(bounds):
        return Text("")
    parts = []
    for name in "RGB":
        low, high = bounds[name]
        parts.append(round(255 * math.sqrt(min(max((settings[name] - low) / (high - low), 0.0), 1.0))))
    return Text("██", style=f"rgb({parts[0]},{parts[1]},{parts[2]})")


def _verdict(event: Proposed) -> str:
    parts = [str(event.verdict)] if event.verdict is not None and event.verdict != "reachable" else []
    if event.clipped:
        parts.append(f"clipped: {' '.join(event.clipped)}")
    return "; ".join(parts)


def _told(event: Paused | Continued | Interrupted | AbortAsked | Resumed) -> str:
    match event:
        case Paused():
            return f"paused by {event.by}: {event.cause}"
        case Continued():
            return f"continued by {event.by}"
        case Interrupted():
            return f"interrupted by {event.by}"
        case AbortAsked():
            return f"abort asked by {event.by}: {event.reason}"
        case Resumed():
            changes = ", ".join(f"{key}={value}" for key, value in event.changes.items())
            return f"resumed{' with ' + changes if changes else ''}"
