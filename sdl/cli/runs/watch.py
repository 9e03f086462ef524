"""The command `sdl watch`: follow a run of any process by reading its record as it grows."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Annotated

from sdl.cli.display.live_view import LiveTable, PlainView
from sdl.cli.display.outcome import print_outcome
from sdl.cli.display.progress import is_movable
from sdl.cli.display.story import story
from sdl.cli.display.table import swatch
from sdl.cli.options import RUN_HELP, RUNS, Runs, argument, campaign_run
from sdl.core.campaign import Campaign, State
from sdl.core.events import Event, Interrupted, Opened
from sdl.formatting import is_external, settings, visible
from sdl.store.tail import follow

if TYPE_CHECKING:
    from rich.text import Text

POLL = 0.25  # seconds between two checks of the record
ENDING = 9  # lines that the outcome takes below the chart, so that both fit on one screen


def watch(name: Annotated[str, argument("[RUN]", RUN_HELP)] = "latest", runs: Runs = RUNS) -> None:
    """Follow a run from another terminal: deviations and trials.

    \b
    sdl watch
    sdl watch led-16384

    It only reads the record and ends with the run, which Ctrl-C does not affect. In a pipe: one line per trial.
    """
    from sdl.runs.runs import Folded, fold_stepwise, open_run
    from sdl.store.lock import is_abandoned

    folder = campaign_run(name, runs)

    state: Folded | None = None

    def ended(last: Event | None) -> bool:
        if state is not None and state.campaign.state is State.STOPPED:
            return True
        waits = state is not None and is_external(state.opened)  # others ask and tell: no process writes in between
        return isinstance(last, Interrupted) or (not waits and is_abandoned(folder))

    events = follow(folder, ended, lambda: time.sleep(POLL))
    try:
        with _view() as view:
            for event, state in fold_stepwise(events, folder):
                view(event, state.campaign)
    except KeyboardInterrupt:
        print(f"stopped watching; the run is not affected: {folder}")
        return
    run = open_run(folder)
    killed = run.result.outcome is None and not run.campaign.interrupted and not is_external(run.opened)
    print_outcome(run.result, run=run, json=False, reason="its process was killed" if killed else None)


def _view() -> contextlib.AbstractContextManager[LiveTable | PlainView]:
    """A chart and a table on a terminal, plain lines elsewhere."""
    if not is_movable(sys.stdout):
        return contextlib.nullcontext(PlainView(sys.stdout))
    from rich.console import Console

    return TrendTable(Console(highlight=False))


class TrendTable(LiveTable):
    """The live table with a chart of the deviations and the colour of the latest settings above it."""

    def __call__(self, event: Event, campaign: Campaign) -> None:
        if isinstance(event, Opened):  # also for `manual`, since nothing is typed here
            self._take(event, campaign)
            return
        super().__call__(event, campaign)

    def _rows(self, lines: int) -> int:
        stopped = self._campaign is not None and self._campaign.history.outcome is not None
        return max(lines - ENDING, 3) if self._ended and stopped else max(lines, 2)

    def _above(self, campaign: Campaign, columns: int, *, colour: bool) -> list[Text]:
        from rich.text import Text

        opened = self._opened
        if opened is None or not self._trials:
            return []
        latest = self._trials[-1].settings
        settings_text = " ".join(f"{name} {text}" for name, text in settings(latest, opened).items())
        word = "now" if campaign.history.outcome is None else "last"
        line = Text(visible(f"{word} at {settings_text} "), no_wrap=True, overflow="crop")
        tint = swatch(latest, opened)
        if colour and tint:
            line.append("█" * max(min(columns - len(line.plain), 24), 0), style=tint)
        rows = 3 if self._console.height < 20 else 5 if self._console.height < 36 else 9
        utf = (getattr(self._console.file, "encoding", None) or "").lower().replace("-", "").startswith("utf")
        return [*story(self._trials, campaign.plan.goal, columns, rows, symbols=utf), line]
