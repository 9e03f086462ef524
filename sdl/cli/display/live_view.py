"""A campaign while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from sdl.cli.display.progress import SILENT_SECONDS, is_movable
from sdl.cli.display.table import trial_table
from sdl.core import events
from sdl.core.events import Event, Failed, Measured, Opened, Skipped
from sdl.formatting import (
    InstrumentSpec,
    best_so_far,
    cause,
    count,
    goal_line,
    headline,
    instrument_spec,
    reading,
    tolerance_ratio,
    trial_remarks,
    visible,
)  # fmt: skip
from sdl.types import Power

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from sdl.core.campaign import Campaign, Plan
    from sdl.core.trials import Trial
    from sdl.runner import Watch


def note(event: Event) -> str:
    """Text of an event other than a reading: failures, pauses, interruptions; empty for most events."""
    match event:
        case Failed(stage="propose"):
            return f"no proposal for trial {event.trial}: {event.error}"
        case events.Paused():
            return f"paused by {event.by}: {event.cause}"
        case events.Continued():
            return f"continued by {event.by}"
        case events.Interrupted():
            return f"interrupted by {'Ctrl-C' if event.by == 'SIGINT' else event.by}"
        case events.AbortAsked():
            return f"abort requested by {event.by}: {event.reason}"
        case events.Safe(state=Power.ON | Power.UNKNOWN):
            return f"asked to be off for {event.seconds:.0f} s, the instrument may still be on: {event.why}"
        case events.Resumed():
            changes = ", ".join(f"{key}={value}" for key, value in event.changes.items())
            return f"resumed{' with ' + changes if changes else ''}"
        case events.Attached():
            return f"a reading of no trial attached by {event.by}{': ' + event.note if event.note else ''}"
        case events.Skipped():
            return f"trial {event.trial} skipped by {event.by}" + (f": {event.why}" if event.why else "")
        case events.Corrected(readings=None):
            return f"trial {event.trial}: reading {event.repeat + 1} excluded by {event.by}: {event.why}"
        case events.Corrected():
            values = ", ".join(f"{name} {value:g}" for name, value in (event.readings or {}).items())
            return f"trial {event.trial}: reading {event.repeat + 1} corrected by {event.by} to {values}: {event.why}"
    return ""


def retry_note(event: Event, campaign: Campaign) -> str:
    """Text of a failed attempt that will be repeated; otherwise empty."""
    if not isinstance(event, Failed) or event.stage == "propose" or campaign.history.trials > event.trial:
        return ""
    return f"trial {event.trial}: retry {event.attempt + 1} after: {cause(event.error)}"


class PlainView:
    """One plain line per trial, for logs, pipes and terminals that cannot move their cursor."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._opened: Opened | None = None

    def __call__(self, event: Event, campaign: Campaign) -> None:
        if isinstance(event, Opened):
            self._opened = event
            self._print(headline(event))
            self._print(goal_line(campaign.plan.goal))
        if text := note(event) or retry_note(event, campaign):
            self._print(f"     {text}")
        trial = campaign.history.latest
        if trial is None or self._opened is None or not isinstance(event, (Measured, Failed, Skipped)):
            return
        first_result = isinstance(event, Measured) and trial.readings == campaign.plan.average
        if first_result or (trial.over and trial.trial == event.trial):
            self._print(line(trial, campaign.plan, instrument_spec(self._opened)))

    def _print(self, text: str) -> None:
        print(visible(text), file=self._out, flush=True)


MOST_ROWS = 200  # most trials that stay on the screen at the end


class LiveTable:
    """The live table: trials, colours, errors, and how much of the budget is used."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._opened: Opened | None = None
        self._trials: list[Trial] = []
        self._notes: list[str] = []
        self._campaign: Campaign | None = None
        self._lines: PlainView | None = None
        self._ended = False
        self._began: tuple[float, int] | None = None
        self._lock = threading.RLock()  # a separate thread draws the terminal
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
            self._take(event, campaign)
        if isinstance(event, events.Stopped):
            self._live.refresh()

    def _take(self, event: Event, campaign: Campaign) -> None:
        """Take in one event; the campaign itself updates the trials."""
        self._campaign = campaign
        if isinstance(event, Opened):
            self._opened = event
        if isinstance(event, events.Proposed) and campaign.history.latest is not None:
            self._trials.append(campaign.history.latest)
        self._notes += filter(None, [note(event) or retry_note(event, campaign)])

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            opened, campaign, columns = self._opened, self._campaign, self._console.width
            if opened is None or campaign is None:
                return Group()  # nothing yet, and nothing stays on the screen beside an error message
            head = [Text(visible(headline(opened)), style="bold"), Text(visible(goal_line(campaign.plan.goal)))]
            colour = self._console.color_system is not None and not self._console.no_color
            more = self._above(campaign, columns, colour=colour)
            notes = [Text(visible(n), style="yellow", no_wrap=True, overflow="ellipsis") for n in self._notes[-2:]]
            used = sum(max(1, -(-len(text.plain) // columns) + 1) for text in head) + len(notes) + len(more)
            trials, earlier = self._trials, len(self._trials) - self._rows(self._console.height - used - 3)
            if earlier > 0:  # the line about them replaces one more trial
                trials = trials[earlier + 1 :]
                where = f"{earlier + 1} earlier: sdl show {opened.run.rpartition('-')[2]}"
                head.append(Text(where, style="dim", no_wrap=True, overflow="ellipsis"))
            table = trial_table(trials, opened, campaign.plan, columns, colour=colour)
            return Group(*head, *more, *table, *notes, self._bar(campaign, columns))

    def _rows(self, lines: int) -> int:
        """How many trials to show where that many lines fit."""
        return MOST_ROWS if self._ended else max(lines, 2)

    def _above(self, campaign: Campaign, columns: int, *, colour: bool) -> list[Text]:
        """Lines above the trials, none longer than `columns`."""
        return []

    def _time_left(self, campaign: Campaign) -> str:
        """The time left of a collection, `; 1:05 left`, from the trials of this process; empty where it is unknown."""
        used, now = campaign.history.trials, time.monotonic()
        if self._began is None or campaign.plan.goal is not None or campaign.history.outcome is not None:
            self._began = self._began or (now, used)
            return ""
        seconds, taken = now - self._began[0], used - self._began[1]
        if seconds < SILENT_SECONDS or taken < 2:
            return ""
        minutes, remaining = divmod(round(seconds / taken * (campaign.plan.collect - used)), 60)
        hours = f"{minutes // 60}:{minutes % 60:02}" if minutes >= 60 else f"{minutes}"
        return f"; {hours}:{remaining:02} left"

    def _bar(self, campaign: Campaign, columns: int) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table as Grid
        from rich.text import Text

        limit = campaign.plan.collect  # stop.trials, also where a resume has changed it
        used, taken = campaign.history.trials, campaign.history.readings
        best = best_so_far(campaign.history)
        text = f"{used} of at most {count(limit, 'trial')}, {count(taken, 'reading')}"
        text += (f"; {best}" if best else "") + self._time_left(campaign)
        bar_width = min(columns - len(text) - 1, 30)
        if bar_width < 8:
            return Text(text, no_wrap=True, overflow="ellipsis")
        grid = Grid.grid(padding=(0, 1))
        grid.add_row(ProgressBar(limit, used, width=bar_width), text)
        return grid


@contextlib.contextmanager
def watching(*, json: bool, quiet: bool) -> Iterator[Watch | None]:
    """The view that suits the output: none, a live table, or lines (on stderr while stdout gets JSON)."""
    stream = sys.stderr if json else sys.stdout
    if quiet:
        yield None
    elif is_movable(stream):
        from rich.console import Console

        with LiveTable(Console(file=stream, highlight=False)) as table:
            yield table
    else:
        yield PlainView(stream)


MOST_CHANNELS = 4  # most channels in a plain line without a goal; the record has them all


def line(trial: Trial, plan: Plan, spec: InstrumentSpec) -> str:
    """One trial as plain text."""
    goal, mean = plan.goal, trial.mean
    settings_text = " ".join(f"{name} {text}" for name, text in spec.settings(trial.settings).items())
    channels = [name for name in (goal.channels if goal else mean) if name in mean]
    shown = channels if goal else channels[:MOST_CHANNELS]
    means = [f"{name} {reading(mean[name], goal.bands[name] if goal else None)}" for name in shown]
    means += [f"+{len(channels) - len(shown)}"] if len(shown) < len(channels) else []
    means += [f"(mean of {trial.readings})"] if trial.readings > 1 else []
    judged = trial.judged and (goal is None or goal.objective is None or trial.miss > 1)  # or constraints that are kept
    worst = f"worst {trial.worst}: {tolerance_ratio(trial.miss)}" if judged else ""
    parts = [f"{trial.trial:>4} {trial.proposed.by:<8}", settings_text, " ".join(means), worst]
    return "  ".join(filter(None, [*parts, "; ".join(trial_remarks(trial, plan))]))
