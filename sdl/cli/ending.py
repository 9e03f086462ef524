"""The end of a campaign, for people and for programs: what came of it, and what can be done next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl.cli.options import emit
from sdl.cli.words import cause, count, say, worst
from sdl.errors import ConfigError
from sdl.locate import find
from sdl.types import Outcome

if TYPE_CHECKING:
    from sdl.goal import Goal
    from sdl.runs import Result, Run

MOST_FAILURES = 10
"""So many failures are printed; the record has them all."""


def report(
    done: Result,
    *,
    json: bool,
    reason: str | None = None,
    more: Mapping[str, Any] | None = None,
    running: bool = False,
) -> None:
    """Prints the end.

    Args:
        done: what came of it.
        json: as one object instead.
        reason: instead of the campaign's own.
        more: further keys of that object; people read their values that are text, a line each.
        running: a process is at it, so that nobody needs advice.
    """
    from sdl.runs import open_run

    run = open_run(done.run)
    reason, then, more = cause(reason or done.reason), [] if running else advice(done, run), more or {}
    if json:
        emit(dataclasses.asdict(done) | {"reason": reason, "next": " ".join(then), **more})
        return
    say(f"{done.outcome or 'unfinished'}: {reason}")
    goal = run.campaign.plan.goal
    if done.best is not None and goal is not None:
        settings = ", ".join(f"{name} {value:.4f}" for name, value in done.settings.items())
        say(f"  best:   trial {done.best} at {settings}", 10)
        if done.miss is not None:
            say(f"  worst:  {worst(goal, done.measured)}", 10)
    say(f"  taken:  {count(done.trials, 'trial')}, {count(done.readings, 'reading')}")
    for line in _failures(run):
        say(f"  failed: {line}", 10)
    print(f"  record: {done.run}")
    for text in more.values():
        if isinstance(text, str):
            say(f"  {text}")
    if then:
        say(f"  next:   {then[0]}", 10)
    for command in then[1:]:
        print(f"          {command}")  # in one piece, so that it can be copied


def _failures(run: Run) -> list[str]:
    """Trials that failed for good, and why."""
    from sdl.cli.live import followed

    if not run.result.failed:
        return []
    lines = [f"trial {shown.trial}: {shown.failed}" for shown in followed(run).shown if shown.failed]
    left = len(lines) - MOST_FAILURES
    return lines[:MOST_FAILURES] + ([f"and {count(left, 'trial')} more"] if left > 0 else [])


def advice(done: Result, run: Run) -> list[str]:
    """What a person can do now: a sentence, and a command where one does it."""
    name = _short(run.folder)
    resume = f"sdl resume {name}"
    goal = run.campaign.plan.goal
    kind = run.config["solver"]["kind"]
    other = "bayes" if kind != "bayes" else "gp"
    match done.outcome:
        case None:
            return ["go on with", resume]
        case Outcome.DONE if done.failed:
            return ["what failed is not in the data; look at the instrument, then run the command again"]
        case Outcome.UNREACHABLE:
            look = f"sdl explain {name}" + (f" {done.best}" if done.best is not None else "")
            return [f"{_nearest(goal, done)}ask for less, or see why with", look]
        case Outcome.STALLED:
            text = "more of the same will not help: widen the tolerance, raise `average`, or try another solver with"
            return [text, f"{resume} --set solver.kind={other} --set stop.stagnation=null"]
        case Outcome.SPENT if done.by == "trials":
            return ["allow more trials with", f"{resume} --set stop.trials={2 * done.trials}"]
        case Outcome.SPENT:
            return ["allow as many minutes again with", resume]
        case Outcome.FAILED if done.by == "solver":
            return ["try another solver with", f"{resume} --set solver.kind={other if kind != 'linear' else 'gmm'}"]
        case Outcome.FAILED:
            return ["look at the instrument, then go on with", resume]
        case Outcome.ABORTED:
            return ["if that was a mistake, go on with", resume]
    return []


def _nearest(goal: Goal | None, done: Result) -> str:
    """What came nearest, of the channel that is worst: `445nm came to 30124, wanted 60000 ± 1200: `."""
    if goal is None or done.worst is None:
        return ""
    return f"{done.worst} came to {done.measured[done.worst]:.0f}, wanted {goal.bands[done.worst]}: "


def _short(folder: Path) -> str:
    """What a person types for a run: its id where that is enough, else its directory."""
    name = folder.name.rpartition("-")[2]
    try:
        return name if find(name) == folder else str(folder)
    except ConfigError:
        return str(folder)
