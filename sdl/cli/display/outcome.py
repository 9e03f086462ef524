"""The end of a campaign, for people and for programs: what came of it, and what can be done next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl.cli.display.text import cause, count, display, reading, say, settings, units, worst
from sdl.cli.options import emit
from sdl.errors import ConfigError
from sdl.formatting import not_off
from sdl.store.resolve import find
from sdl.types import Outcome, Verdict

if TYPE_CHECKING:
    from sdl.core.goal import Goal
    from sdl.runs.runs import Result, Run

MOST_FAILURES = 10
"""So many different failures are printed; the record has them all."""


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
    from sdl.runs.runs import open_run

    run = open_run(done.run)
    reason, then, more = cause(reason or done.reason), [] if running else advice(done, run), more or {}
    if json:
        emit(dataclasses.asdict(done) | {"reason": reason, "next": " ".join(then), **more})
        return
    say(f"{display(done.outcome or 'unfinished')}: {reason}")
    goal = run.campaign.plan.goal
    if done.best is not None and goal is not None:
        asked = settings(done.settings, run.opened)
        came = settings(done.applied, run.opened) if done.applied else asked
        best = ", ".join(f"{name} {text}" for name, text in came.items())
        other = ", ".join(f"{name} {text}" for name, text in asked.items() if came.get(name) != text)
        say(f"  best:   trial {done.best} at {best}" + (f" (asked for {other})" if other else ""), 10)
        if done.miss is not None:
            say(f"  worst:  {worst(goal, done.measured, units(run.opened))}", 10)
    say(f"  taken:  {count(done.trials, 'trial')}, {count(done.readings, 'reading')}")
    for line in _failures(run):
        say(f"  failed: {line}", 10)
    if on := not_off(done.safe):
        say(f"  off:    not proven: {on}; look at it", 10)
    print(f"  record: {done.run}")
    if goal is None and done.readings:
        channels = count(len(run.opened.instrument["channels"]), "channel")
        say(f"  data:   all readings of {channels}: sdl export {_short(run.folder)} --to csv", 10)
    for text in more.values():
        if isinstance(text, str):
            say(f"  {text}")
    if then:
        say(f"  next:   {then[0]}", 10)
    for command in then[1:]:
        print(f"          {command}")  # in one piece, so that it can be copied


def _failures(run: Run) -> list[str]:
    """Trials that failed for good, and why; equal failures once, with the first trial."""
    from sdl.cli.display.live_view import followed

    if not run.result.failed:
        return []
    found: dict[str, list[int]] = {}
    for shown in followed(run).shown:
        if shown.failed:
            found.setdefault(shown.failed, []).append(shown.trial)
    lines = [f"trial {n[0]}: {why}" + (f" (× {len(n)})" if len(n) > 1 else "") for why, n in found.items()]
    left = sum(map(len, list(found.values())[MOST_FAILURES:]))
    return lines[:MOST_FAILURES] + ([f"and {count(left, 'trial')} more"] if left else [])


def advice(done: Result, run: Run) -> list[str]:
    """What a person can do now: a sentence, and a command where one does it."""
    name = _short(run.folder)
    resume = f"sdl resume {name}"
    goal = run.campaign.plan.goal
    kind = run.config.get("solver", {}).get("kind", "")
    other = "bayes" if kind != "bayes" else "gp"
    match done.outcome:
        case None:
            return ["go on with", resume]
        case Outcome.DONE if done.failed:
            return ["what failed is not in the data; look at the instrument, then run the command again"]
        case Outcome.UNREACHABLE | Outcome.SPENT if goal is not None and _stepped(run):
            return [_between(goal, done, run)]
        case Outcome.UNREACHABLE:
            look = f"sdl explain {name}" + (f" {done.best}" if done.best is not None else "")
            return [f"{_nearest(goal, done)}{_change(goal, done, run)}, or see why with", look]
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
    band = goal.bands[done.worst]
    return f"{done.worst} came to {reading(done.measured[done.worst], band)}, wanted {band}: "


DARK = 0.02
"""Readings below this part of what is wanted in every channel may mean that there is no light at all."""


def _change(goal: Goal | None, done: Result, run: Run) -> str:
    """What to change where a goal is out of reach; not the goal where there seems to be no light, or a dead sensor."""
    bands = goal.bands if goal is not None else {}
    asked = {name: band.low if band.target is None else band.target for name, band in bands.items()}
    if asked and all(abs(done.measured.get(name, 0.0)) < DARK * value for name, value in asked.items()):
        return "every channel of the goal reads about nothing: look whether the light is on"
    rows = {tuple(event.readings.values()) for event in run.measured()}
    if len(rows) == 1 and done.trials > 1:
        return "every reading is the same: look whether the sensor is alive"
    if done.worst is not None and done.measured[done.worst] > bands[done.worst].high:
        return "change the goal"
    return "ask for less, look whether the light is on"


def _stepped(run: Run) -> bool:
    """Whether the last answer of the solver lay between two steps of the inputs."""
    said = [proposed.verdict for proposed in run.proposals.values() if proposed.verdict is not None]
    return bool(said) and said[-1] is Verdict.BETWEEN_STEPS


def _between(goal: Goal, done: Result, run: Run) -> str:
    """What to do where the steps of the inputs are too coarse for the tolerance."""
    steps = [f"{item['name']} {item['step']:g}" for item in run.opened.instrument["inputs"] if item.get("step")]
    name, listed = done.worst or next(iter(goal.bands)), f" ({', '.join(steps)})" if steps else ""
    return (
        f"{_nearest(goal, done)}the steps of the inputs{listed} are too coarse for this, and more trials do not help: "
        f"widen the tolerance of {name}, or average more readings where they scatter"
    )


def _short(folder: Path) -> str:
    """What a person types for a run: its id where that is enough, else its directory."""
    name = folder.name.rpartition("-")[2]
    try:
        return name if find(name) == folder else str(folder)
    except ConfigError:
        return str(folder)
