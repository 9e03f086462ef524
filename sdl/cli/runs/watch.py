"""The command `sdl watch`: follow a run of any process by reading its record as it grows."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Annotated

from sdl.cli.display.live_view import LiveTable, PlainView
from sdl.cli.display.outcome import print_outcome
from sdl.cli.display.progress import is_movable
from sdl.cli.display.trend import TrendTable
from sdl.cli.options import RUN_HELP, RUNS, Runs, argument, campaign_run
from sdl.core.campaign import State
from sdl.core.events import Event, Interrupted
from sdl.formatting import is_external
from sdl.store.tail import follow

POLL = 0.25  # seconds between two checks of the record


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
