"""The outcome of a campaign, for people and programs, and what can be done next."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdl.advice import Advice, NextStep, advise, short_name
from sdl.cli.options import emit
from sdl.cli.terminal import say
from sdl.formatting import cause, count, display, not_off, objective_line, settings, units, worst

if TYPE_CHECKING:
    from sdl.runs.runs import Result, Run

MOST_FAILURES = 10  # most different failures that are printed; the record has them all


def print_outcome(
    done: Result,
    *,
    json: bool,
    run: Run | None = None,
    reason: str | None = None,
    more: Mapping[str, Any] | None = None,
    running: bool = False,
    page: bool = False,
) -> None:
    """Print the outcome, or one JSON object.

    Args:
        done: the result.
        json: print JSON.
        run: the run of the result, if it is open already.
        reason: printed in place of the campaign's own reason.
        more: further keys of the object; their texts are also printed, one line each.
        running: whether a process is still writing to the run, so that no advice is needed.
        page: whether the suggested `sdl resume` gets the option `--page`.
    """
    from sdl.runs.runs import open_run

    run = run or open_run(done.run)
    advice, more = advise(done, run.campaign, run.opened, run.config), more or {}
    reason = advice.reason if reason in (None, done.reason) else cause(reason or "")
    then = NextStep() if running else advice.next
    if page and then.command.startswith("sdl resume "):
        then = NextStep(then.text, f"{then.command} --page")
    price = None if run.campaign.plan.prices is None else run.campaign.history.cost
    if json:
        more = more if price is None else {**more, "cost": round(price, 6)}
        said = {"reason": reason, "next": " ".join(filter(None, then)), **_estimate(advice)}
        emit({**dataclasses.asdict(done), **said, **more})
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
        if advice.mean:
            say(f"  mean:   {advice.mean}", 10)
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
        say(f"  data:   all readings of {channels}: sdl export {short_name(run.folder)} --to csv", 10)
    for text in more.values():
        if isinstance(text, str):
            say(f"  {text}")
    if then.text:
        say(f"  next:   {then.text}", 10)
    if then.command:
        print(f"          {then.command}")  # in one piece, so that it can be copied


def _failures(run: Run) -> list[str]:
    """Failed trials and their causes; equal causes once, with the first trial."""
    by_cause: dict[str, list[int]] = {}
    for trial in run.trials:
        if trial.failed:
            by_cause.setdefault(cause(trial.last_error), []).append(trial.trial)
    lines = [f"trial {n[0]}: {why}" + (f" (× {len(n)})" if len(n) > 1 else "") for why, n in by_cause.items()]
    omitted = sum(map(len, list(by_cause.values())[MOST_FAILURES:]))
    return lines[:MOST_FAILURES] + ([f"and {count(omitted, 'trial')} more"] if omitted else [])


def _estimate(advice: Advice) -> dict[str, Any]:
    """The keys of the cause and of the pooled mean."""
    if advice.pooled is None:
        return {"cause": advice.cause}
    pooled = advice.pooled
    channels = {
        name: {"mean": mean, "std_error": None if math.isnan(pooled.std_error[name]) else pooled.std_error[name]}
        for name, mean in pooled.mean.items()
        if not math.isnan(mean)
    }
    return {"cause": advice.cause, "pooled": {"readings": pooled.readings, "trials": pooled.trials, **channels}}
