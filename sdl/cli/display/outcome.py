"""The outcome of a campaign, for people and programs, and what can be done next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl.cli.options import emit
from sdl.cli.terminal import say
from sdl.errors import ConfigError
from sdl.formatting import (
    cause,
    count,
    display,
    is_external,
    not_off,
    objective_line,
    reading,
    settings,
    units,
    worst,
)
from sdl.store.resolve import find
from sdl.types import Outcome, Verdict

if TYPE_CHECKING:
    from sdl.core.goal import Goal
    from sdl.runs.runs import Result, Run

MOST_FAILURES = 10  # most different failures that are printed; the record has them all


def print_outcome(
    done: Result,
    *,
    json: bool,
    reason: str | None = None,
    more: Mapping[str, Any] | None = None,
    running: bool = False,
) -> None:
    """Print the outcome, or one JSON object.

    Args:
        done: the result.
        json: print JSON.
        reason: replaces the campaign's own.
        more: further keys of the object; their texts are also printed, one line each.
        running: a process is still writing to the run, so that no advice is needed.
    """
    from sdl.runs.runs import open_run

    run = open_run(done.run)
    reason, then, more = cause(reason or done.reason), [] if running else next_steps(done, run), more or {}
    price = None if run.campaign.plan.prices is None else run.campaign.history.cost
    if json:
        more = more if price is None else {**more, "cost": round(price, 6)}
        emit(dataclasses.asdict(done) | {"reason": reason, "next": " ".join(then), **more})
        return
    say(f"{display(done.outcome or 'unfinished')}: {reason}")
    goal = run.campaign.plan.goal
    if done.best is not None and goal is not None:
        requested = settings(done.settings, run.opened)
        came = settings(done.applied, run.opened) if done.applied else requested
        best = ", ".join(f"{name} {text}" for name, text in came.items())
        other = ", ".join(f"{name} {text}" for name, text in requested.items() if came.get(name) != text)
        say(f"  best:   trial {done.best} at {best}" + (f" (asked for {other})" if other else ""), 10)
        if done.objective is not None:
            say(f"  {done.objective.channel}: {objective_line(done.objective)}", 10)
        if done.miss is not None and goal.limited:
            say(f"  worst:  {worst(goal, done.measured, units(run.opened))}", 10)
    say(f"  taken:  {count(done.trials, 'trial')}, {count(done.readings, 'reading')}")
    if price is not None:
        print(f"  cost:   {price:g}")
    for line in _failures(run):
        say(f"  failed: {line}", 10)
    if on := not_off(done.safe):
        say(f"  off:    not proven: {on}; check it", 10)
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
    """Failed trials and their causes; equal causes once, with the first trial."""
    by_cause: dict[str, list[int]] = {}
    for trial in run.trials:
        if trial.failed:
            by_cause.setdefault(cause(trial.last_error), []).append(trial.trial)
    lines = [f"trial {n[0]}: {why}" + (f" (× {len(n)})" if len(n) > 1 else "") for why, n in by_cause.items()]
    omitted = sum(map(len, list(by_cause.values())[MOST_FAILURES:]))
    return lines[:MOST_FAILURES] + ([f"and {count(omitted, 'trial')} more"] if omitted else [])


def next_steps(done: Result, run: Run) -> list[str]:
    """What to do next: a sentence, and a command where there is one."""
    name, goal, kind = _short(run.folder), run.campaign.plan.goal, run.config.get("solver", {}).get("kind", "")
    external = is_external(run.opened)
    resume, other = f"sdl {'ask' if external else 'resume'} {name}", "bayes" if kind != "bayes" else "gp"
    if done.objective is not None:
        other = "gp" if kind != "gp" else "quadratic"
    latest = next((trial for trial in reversed(run.trials) if trial.by_solver), None)
    coarse = latest is not None and latest.verdict is Verdict.BETWEEN_STEPS
    if goal is not None and coarse and done.outcome in (Outcome.UNREACHABLE, Outcome.SPENT):
        return [_coarse_steps(goal, done, run)]
    explain = f"sdl explain {name}" + (f" {done.best}" if done.best is not None else "")
    more_trials = ("allow more trials with", f"{resume} --set stop.trials={2 * done.trials}")
    more_cost = ("allow more with", f"{resume} --set stop.cost={2 * (run.config['stop'].get('cost') or 0):g}")
    minutes = f"{resume} --set stop.minutes={run.config['stop'].get('minutes')}" if external else resume
    more_minutes = ("allow the same number of minutes again with", minutes)
    other_solver = (
        "try another solver with",
        f"{resume} --set solver.kind={other if kind != 'linear' or done.objective else 'gmm'}",
    )
    failed = ("failed trials are not in the data: check the instrument, then run the command again",)
    again = f"{resume} --set stop.failures={run.config['stop'].get('failures')}" if external else resume
    steps: dict[Outcome | None, tuple[str, ...]] = {
        None: ("continue with", resume),
        Outcome.DONE: failed if done.failed else (),
        Outcome.UNREACHABLE: (f"{_nearest(goal, done)}{_change(goal, done, run)}, or see why with", explain),
        Outcome.STALLED: (
            "more trials will not help: widen the tolerance, raise `average`, or try another solver with",
            f"{resume} --set solver.kind={other} --set stop.stagnation=null",
        ),
        Outcome.SPENT: {"trials": more_trials, "cost": more_cost}.get(done.by, more_minutes),
        Outcome.FAILED: other_solver if done.by == "solver" else ("check the instrument, then continue with", again),
        Outcome.ABORTED: ("if that was a mistake, continue with", resume),
    }
    return list(steps.get(done.outcome, ()))


def _nearest(goal: Goal | None, done: Result) -> str:
    """The best reading of the worst channel: `445nm reads 30124, goal 60000 ± 1200: `."""
    if goal is None or done.worst is None:
        return ""
    band = goal.bands[done.worst]
    return f"{done.worst} reads {reading(done.measured[done.worst], band)}, goal {band}: "


NO_SIGNAL = 0.02
"""Readings below this fraction of the goal in every channel suggest that there is no signal at all."""


def _change(goal: Goal | None, done: Result, run: Run) -> str:
    """What to change where a goal is unreachable: the instrument where it has no signal, otherwise the goal."""
    bands = goal.bands if goal is not None else {}
    levels = {name: band.low if band.target is None else band.target for name, band in bands.items()}
    if levels and all(abs(done.measured.get(name, 0.0)) < NO_SIGNAL * value for name, value in levels.items()):
        return "every channel of the goal reads about 0: check that the instrument is on"
    rows = {tuple(event.readings.values()) for event in run.measured()}
    if len(rows) == 1 and done.trials > 1:
        return "all readings are equal: check the sensor"
    if done.worst is not None and done.measured[done.worst] > bands[done.worst].high:
        return "change the goal"
    return "lower the goal, check that the instrument is on"


def _coarse_steps(goal: Goal, done: Result, run: Run) -> str:
    """Advice where the steps of the inputs are too coarse for the tolerance."""
    steps = [f"{item['name']} {item['step']:g}" for item in run.opened.instrument["inputs"] if item.get("step")]
    channel, listed = done.worst or next(iter(goal.bands)), f" ({', '.join(steps)})" if steps else ""
    return (
        f"{_nearest(goal, done)}the steps of the inputs{listed} are too coarse, and more trials will not help: "
        f"widen the tolerance of {channel}, or raise `average` where readings scatter"
    )


def _short(folder: Path) -> str:
    """What to type for a run: its id where that is unique, else its directory."""
    name = folder.name.rpartition("-")[2]
    try:
        return name if find(name) == folder else str(folder)
    except ConfigError:
        return str(folder)
