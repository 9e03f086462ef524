"""What a campaign looks like while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from sdl.cli.display.progress import PATIENCE
from sdl.cli.display.table import Shown, trial_table
from sdl.cli.display.text import cause, count, display, goal_line, headline, in_tolerances, reading, settings, visible
from sdl.core.events import (
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
    Safe,
    Stopped,
)
from sdl.runs.runs import fold_stepwise
from sdl.types import Power

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from sdl.core.campaign import Campaign
    from sdl.runner import Watch
    from sdl.runs.runs import Run


class ShownTrials:
    """Follows the events and keeps the trials to show."""

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.shown: list[Shown] = []
        self.notes: list[str] = []
        self._means: dict[str, float] = {}

    def take(self, event: Event, campaign: Campaign) -> Shown | None:
        """Takes one event in; returns the trial that it completes, or whose first readings hit."""
        match event:
            case Opened():
                self.opened = event
            case Proposed():
                self.shown.append(Shown(event.trial, event.by, event.settings, note=_verdict(event)))
                self._means = {}
            case Measured():
                return self._measured(self.shown[-1], event, campaign)
            case Failed(stage="propose"):
                self.notes.append(f"no proposal for trial {event.trial}: {event.error}")
            case Failed() if self.shown:
                return self._failed(self.shown[-1], event, campaign)
            case (
                Paused() | Continued() | Interrupted() | AbortAsked() | Resumed() | Safe(state=Power.ON | Power.UNKNOWN)
            ):
                self.notes.append(_told(event))
        return None

    def _measured(self, shown: Shown, event: Measured, campaign: Campaign) -> Shown | None:
        goal, average = campaign.plan.goal, campaign.plan.average
        shown.readings += 1
        for name, value in event.readings.items():
            before = self._means.get(name, 0.0)
            self._means[name] = before + (value - before) / shown.readings
        names = goal.channels if goal else tuple(event.readings)
        shown.values = {name: self._means[name] for name in names if name in self._means}
        closed = campaign.history.trials > event.trial
        saturated = f"saturated: {' '.join(event.saturated)}" if event.saturated else ""
        shown.note = "" if shown.note.startswith("retry") else shown.note
        if goal is None:
            shown.note = ", ".join(filter(None, [event.fault or "", saturated]))
            return shown if closed else None
        shown.miss, shown.worst = goal.miss(self._means, event.saturated), goal.worst_channel(self._means)
        shown.error = goal.bands[shown.worst].error(self._means.get(shown.worst, math.nan))
        if closed and campaign.history.last is not None and campaign.history.last.reached:
            shown.note = "reached"
        elif closed and shown.readings > average:
            shown.note = "not confirmed"
        elif not closed and shown.readings >= average:
            shown.note = f"confirming {shown.readings - average}/{average * campaign.plan.confirm}"
        if event.fault:
            shown.note = "; ".join(filter(None, [event.fault, shown.note]))
        return shown if closed or shown.readings == average else None

    def _failed(self, shown: Shown, event: Failed, campaign: Campaign) -> Shown | None:
        why = cause(event.error)
        if campaign.history.trials == event.trial:  # it will be tried again
            shown.note = f"retry {event.attempt + 1}: {why}"
            self.notes.append(f"trial {event.trial}: retry {event.attempt + 1} after: {why}")
            return None
        shown.note, shown.failed = f"failed: {why}", why
        return shown


def followed(run: Run) -> ShownTrials:
    """The trials of a run as they were shown."""
    trials = ShownTrials()
    for event, folded in fold_stepwise(iter(run.events), run.folder):
        trials.take(event, folded.campaign)
    return trials


class PlainView:
    """One plain line a trial, for logs, pipes and terminals that cannot move their cursor."""

    def __init__(self, out: IO[str]) -> None:
        self._out, self._trials, self._noted = out, ShownTrials(), 0

    def __call__(self, event: Event, campaign: Campaign) -> None:
        shown = self._trials.take(event, campaign)
        if isinstance(event, Opened):
            self._say(headline(event))
            self._say(goal_line(campaign.plan.goal))
        for note in self._trials.notes[self._noted :]:
            self._say(f"     {note}")
        self._noted = len(self._trials.notes)
        if shown and self._trials.opened:
            self._say(line(shown, campaign, self._trials.opened))

    def _say(self, text: str) -> None:
        print(visible(text), file=self._out, flush=True)


MOST_ROWS = 200
"""So many trials stay on the screen at the end."""


class LiveTable:
    """The live table: trials, swatches, error against the tolerance, and how much of the budget is used."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console, self._trials = console, ShownTrials()
        self._campaign: Campaign | None = None
        self._lines: PlainView | None = None
        self._ended = False
        self._began: tuple[float, int] | None = None
        self._lock = threading.RLock()  # the terminal is drawn by a thread of its own
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._draw)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True  # what stays on the screen may be longer than it
        self._live.stop()

    def __call__(self, event: Event, campaign: Campaign) -> None:
        if isinstance(event, Opened) and event.instrument["kind"] == "manual":  # a person types: nothing may be redrawn
            self._live.transient = True
            self._live.stop()
            self._lines = PlainView(self._console.file)
        if self._lines is not None:
            return self._lines(event, campaign)
        with self._lock:
            self._campaign = campaign
            self._trials.take(event, campaign)
        if isinstance(event, Stopped):
            self._live.refresh()

    def _draw(self) -> RenderableType:
        with self._lock:
            return self._drawn()

    def _drawn(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        opened, campaign, columns = self._trials.opened, self._campaign, self._console.width
        if opened is None or campaign is None:
            return Group()  # nothing yet, and nothing to stay where a mistake is told
        goal = campaign.plan.goal
        head = [Text(visible(headline(opened)), style="bold"), Text(visible(goal_line(goal)))]
        colour = self._console.color_system is not None and not self._console.no_color
        more = self._above(campaign, columns, colour=colour)
        notes = [Text(visible(n), style="yellow", no_wrap=True, overflow="ellipsis") for n in self._trials.notes[-2:]]
        used = sum(max(1, -(-len(text.plain) // columns) + 1) for text in head) + len(notes) + len(more)
        rows = self._rows(self._console.height - used - 3)
        earlier = len(self._trials.shown) - rows
        if earlier > 0:  # its own line takes the place of one more
            shown = self._trials.shown[earlier + 1 :]
            where = f"{earlier + 1} earlier: sdl show {opened.run.rpartition('-')[2]}"
            head.append(Text(where, style="dim", no_wrap=True, overflow="ellipsis"))
        else:
            shown = self._trials.shown
        lines = trial_table(shown, opened, goal, columns, colour=colour)
        return Group(*head, *more, *lines, *notes, self._bar(campaign, columns))

    def _rows(self, room: int) -> int:
        """How many trials are shown where there is room for so many."""
        return MOST_ROWS if self._ended else max(room, 2)

    def _above(self, campaign: Campaign, columns: int, *, colour: bool) -> list[Text]:
        """More lines above the trials, none longer than `columns`."""
        return []

    def _left(self, campaign: Campaign) -> str:
        """`; 1:05 left` of a collection, whose trials are known; what was there before a resume does not count."""
        used, now = campaign.history.trials, time.monotonic()
        if self._began is None or campaign.plan.goal is not None or campaign.history.outcome is not None:
            self._began = self._began or (now, used)
            return ""
        seconds, taken = now - self._began[0], used - self._began[1]
        if seconds < PATIENCE or taken < 2:
            return ""
        left = round(seconds / taken * (campaign.plan.collect - used))
        return (
            f"; {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
            if left >= 3600
            else f"; {left // 60}:{left % 60:02} left"
        )

    def _bar(self, campaign: Campaign, columns: int) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table as Grid
        from rich.text import Text

        most = campaign.plan.collect  # stop.trials, also where a resume has changed it
        used, taken = campaign.history.trials, campaign.history.readings
        text = f"{used} of at most {count(most, 'trial')}, {count(taken, 'reading')}{best_text(campaign)}"
        text += self._left(campaign)
        room = min(columns - len(text) - 1, 30)
        if room < 8:
            return Text(text, no_wrap=True, overflow="ellipsis")
        grid = Grid.grid(padding=(0, 1))
        grid.add_row(ProgressBar(most, used, width=room), text)
        return grid


@contextlib.contextmanager
def watching(*, json: bool, quiet: bool) -> Iterator[Watch | None]:
    """The right view for where the output goes: none, a live table, or lines (on stderr beside JSON)."""
    stream = sys.stderr if json else sys.stdout
    if quiet:
        yield None
    elif stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        from rich.console import Console

        with LiveTable(Console(file=stream, highlight=False)) as table:
            yield table
    else:
        yield PlainView(stream)


MOST_CHANNELS = 4
"""So many channels are in a plain line where there is no goal to choose them; the record has them all."""


def line(shown: Shown, campaign: Campaign, opened: Opened) -> str:
    """One trial as plain text."""
    goal = campaign.plan.goal
    asked = " ".join(f"{name} {text}" for name, text in settings(shown.settings, opened).items())
    names = list(shown.values) if goal else list(shown.values)[:MOST_CHANNELS]
    came = [f"{name} {reading(shown.values[name], goal.bands[name] if goal else None)}" for name in names]
    came += [f"+{len(shown.values) - len(names)}"] if len(names) < len(shown.values) else []
    came += [f"(mean of {shown.readings})"] if shown.readings > 1 else []
    error = ""
    if goal and shown.values and shown.miss < math.inf:
        error = f"worst {shown.worst}: {in_tolerances(shown.miss)}"
    return "  ".join(filter(None, [f"{shown.trial:>4} {shown.by:<8}", asked, " ".join(came), error, shown.note]))


def best_text(campaign: Campaign) -> str:
    """The best trial so far, for the end of a line."""
    best = campaign.history.best
    return "" if best is None or math.isinf(best.miss) else f"; best: trial {best.trial}, {in_tolerances(best.miss)}"


def _verdict(event: Proposed) -> str:
    parts = [display(event.verdict)] if event.verdict is not None and event.verdict != "reachable" else []
    if event.clipped:
        parts.append(f"clipped: {' '.join(event.clipped)}")
    return "; ".join(parts)


def _told(event: Paused | Continued | Interrupted | AbortAsked | Resumed | Safe) -> str:
    match event:
        case Paused():
            return f"paused by {event.by}: {event.cause}"
        case Continued():
            return f"continued by {event.by}"
        case Interrupted():
            return f"interrupted by {'Ctrl-C' if event.by == 'SIGINT' else event.by}"
        case AbortAsked():
            return f"abort asked by {event.by}: {event.reason}"
        case Safe():
            return f"asked to be off for {event.seconds:.0f} s, the instrument may still be on: {event.why}"
        case Resumed():
            changes = ", ".join(f"{key}={value}" for key, value in event.changes.items())
            return f"resumed{' with ' + changes if changes else ''}"
