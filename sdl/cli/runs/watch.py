"""The command `sdl watch`: follow a run, driven by any process, by reading its record as it grows."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from sdl.cli.options import RUNS, Runs, campaign_run

if TYPE_CHECKING:
    from sdl.core.events import Event

POLL = 0.25
"""Seconds between two checks of the record."""


def watch(
    name: Annotated[
        str,
        typer.Argument(metavar="[RUN]", help="`latest`, a campaign's name, a part of a run's name, or its directory."),
    ] = "latest",
    runs: Runs = RUNS,
) -> None:
    """Follow a run from another terminal: error, colour, trials.

    \b
    sdl watch
    sdl watch led-16384

    It only reads the record and ends with the run, which Ctrl-C does not affect. In a pipe: one line per trial.
    """
    from sdl.cli.display.live_view import PlainView
    from sdl.cli.display.outcome import print_outcome
    from sdl.cli.display.trend import TrendTable
    from sdl.core.events import Interrupted, Stopped
    from sdl.runs.listing import is_abandoned
    from sdl.runs.runs import fold_stepwise, open_run
    from sdl.store.tail import follow

    folder = campaign_run(name, runs)

    def ended(last: Event | None) -> bool:
        return isinstance(last, (Stopped, Interrupted)) or is_abandoned(folder)

    events = follow(folder, ended, lambda: time.sleep(POLL))
    moving = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    try:
        if moving:
            from rich.console import Console

            with TrendTable(Console(highlight=False)) as view:
                for event, folded in fold_stepwise(events, folder):
                    view(event, folded.campaign)
        else:
            lines = PlainView(sys.stdout)
            for event, folded in fold_stepwise(events, folder):
                lines(event, folded.campaign)
    except KeyboardInterrupt:
        print(f"stopped watching; the run is not affected: {folder}")
        return
    run = open_run(folder)
    gone = run.result.outcome is None and not run.campaign.interrupted
    print_outcome(run.result, json=False, reason="its process was killed" if gone else None)
