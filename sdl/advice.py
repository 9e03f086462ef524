"""The state of a run and the next step, in the same words in terminal, page, report and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdl.core.goal import format_reading, format_with_error
from sdl.core.trials import MANY_READINGS
from sdl.errors import ConfigError
from sdl.formatting import cause, count, display, is_external, narrow_tolerance, percent, reading
from sdl.runs.pooled import PooledMean, pooled_mean
from sdl.store.resolve import find
from sdl.types import Outcome, Verdict

if TYPE_CHECKING:
    from sdl.core.campaign import Campaign
    from sdl.core.events import Opened, Proposed
    from sdl.core.goal import Goal
    from sdl.core.history import History
    from sdl.core.trials import Trial
    from sdl.runs.results import Result

NO_SIGNAL = 0.02
"""Readings below this fraction of the goal in every channel suggest that there is no signal at all."""

MOST_READINGS = 1000
"""Largest `average` of a campaign."""

DOUBTFUL = 0.5
"""Probability of reaching the goal below which a campaign that ended without it says so."""

HOPELESS = 0.05
"""Probability of reaching the goal below which more trials are not the first advice."""


class NextStep(NamedTuple):
    """The next step: a sentence that introduces a command, and the command; the command may be empty."""

    text: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """The state of a campaign in words, and the next step.

    Attributes:
        verdict: the outcome in a word.
        cause: why a goal was not reached, in a few words; empty where nothing is known or it was reached.
        reason: the cause and the campaign's own reason, one line.
        mean: the pooled mean of the channels of the goal, one line; empty where the best trial has all readings.
        pooled: the same as numbers; None without a goal or a trial.
        next: what to do.
    """

    verdict: str
    cause: str
    reason: str
    mean: str
    pooled: PooledMean | None
    next: NextStep


def advise(done: Result, campaign: Campaign, opened: Opened, config: Mapping[str, Any]) -> Advice:
    """Describe the state of a campaign in words, and the next step.

    Args:
        done: its result.
        campaign: its state, after all events.
        opened: its first event.
        config: its configuration, with the changes of every resume.
    """
    goal = campaign.plan.goal
    latest = next((trial.proposed for trial in reversed(campaign.history.closed) if trial.by_solver), None)
    why = "" if goal is None else _cause(done, goal, campaign.history, latest)
    pooled = pooled_mean(campaign.history, opened.instrument["inputs"])
    best = campaign.history.best
    more = pooled is not None and best is not None and pooled.readings > best.readings and done.objective is None
    reason = cause(done.reason)
    return Advice(
        display(done.outcome or "unfinished"),
        why,
        f"{why}; {reason}" if why and why not in reason else reason,
        _mean_line(pooled, goal) if more and goal is not None and pooled is not None else "",
        pooled if goal is not None else None,
        _next_step(done, campaign, opened, config, latest),
    )


def _is_misapplied(history: History) -> bool:
    """Whether most trials were measured at other settings than asked for."""
    return sum("not-applied" in trial.faults for trial in history.closed) > len(history.closed) / 2


def _misapplied(trial: Trial) -> str:
    """What a trial applied instead of what was asked for: `, such as red 3.5951 instead of 3.2951 in trial 7`."""
    asked, applied = trial.proposed.settings, trial.applied or {}
    differing = [name for name in asked if name in applied and applied[name] != asked[name]]
    if not differing:
        return ""
    name = differing[0]
    return f", such as {name} {applied[name]} instead of {asked[name]} in trial {trial.trial}"


def _cause(done: Result, goal: Goal, history: History, latest: Proposed | None) -> str:
    """Why the goal was not reached: by the readings, or by the solver's last verdict."""
    if done.outcome not in (Outcome.SPENT, Outcome.STALLED) or goal.objective is not None:
        return ""
    if latest is not None and latest.verdict is Verdict.BELOW_NOISE:
        return display(Verdict.BELOW_NOISE)
    if latest is not None and latest.verdict is Verdict.LACK_OF_FIT and latest.lack_of_fit:
        off = {name: size for name, size in latest.lack_of_fit.items() if name in goal.bands}
        listed = ", ".join(f"{name} by about {format_reading(size)}" for name, size in off.items())
        return f"lack of fit: the model misses {listed}" if listed else display(Verdict.LACK_OF_FIT)
    if history.best is None or not history.best.judged:
        saturated = sorted({name for trial in history.closed for name in trial.saturated if name in goal.bands})
        return f"{', '.join(saturated)} at an end of the range in every trial" if saturated else ""
    if _is_misapplied(history):
        return "the instrument mostly applies other settings than asked for"
    if latest is None:
        return ""
    if latest.probability is not None and latest.probability < DOUBTFUL:
        return f"the goal can be reached with a probability of {_probability(latest.probability)}"
    return ""


def _probability(value: float) -> str:
    """A probability that is a share of 100 sample paths: `below 1 %`, `4 %`."""
    return f"{100 * value:.0f} %" if value >= 0.01 else "below 1 %"


def _mean_line(pooled: PooledMean, goal: Goal) -> str:
    """`445nm 16381 ± 21 (goal 16384 ± 8.2), …; mean ± standard error of the 29 readings near the best settings`."""
    parts = [
        f"{name} {format_with_error(pooled.mean[name], pooled.std_error[name])} (goal {band})"
        for name, band in goal.bands.items()
        if pooled.mean[name] == pooled.mean[name]
    ]
    return (
        f"{', '.join(parts)}; mean ± standard error of the {count(pooled.readings, 'reading')} near the best settings"
    )


def _next_step(
    done: Result, campaign: Campaign, opened: Opened, config: Mapping[str, Any], latest: Proposed | None
) -> NextStep:
    goal, kind, stop = campaign.plan.goal, config.get("solver", {}).get("kind", ""), config.get("stop", {})
    name, external = short_name(Path(done.run)), is_external(opened)
    resume, other = f"sdl {'ask' if external else 'resume'} {name}", "bayes" if kind != "bayes" else "gp"
    if done.objective is not None:
        other = "gp" if kind != "gp" else "quadratic"
    coarse = latest is not None and latest.verdict is Verdict.BETWEEN_STEPS
    if goal is not None and coarse and done.outcome in (Outcome.UNREACHABLE, Outcome.SPENT):
        return NextStep(_coarse_steps(goal, done, opened))
    closed = campaign.history.closed
    more = {
        "trials": NextStep("allow more trials with", f"{resume} --set stop.trials={2 * done.trials}"),
        "cost": NextStep("allow more with", f"{resume} --set stop.cost={2 * (stop.get('cost') or 0):g}"),
    }.get(
        done.by,
        NextStep(
            "allow the same number of minutes again with",
            f"{resume} --set stop.minutes={stop.get('minutes')}" if external else resume,
        ),
    )
    match done.outcome:
        case None:
            return NextStep("continue with", resume)
        case Outcome.DONE if done.failed:
            return NextStep("failed trials are not in the data: check the instrument, then run the command again")
        case Outcome.SPENT | Outcome.STALLED if latest is not None and latest.verdict is Verdict.BELOW_NOISE:
            return _average(latest, done, campaign, stop, more, resume)
        case Outcome.SPENT if latest is not None and latest.verdict is Verdict.LACK_OF_FIT and kind not in LEARNING:
            return NextStep("try a model that can follow the instrument with", f"{more.command} --set solver.kind=auto")
        case Outcome.SPENT if goal is not None and done.worst is None and any(one.saturated for one in closed):
            return NextStep(f"weaken the signal, or check `high` of these channels; then {more.text}", more.command)
        case Outcome.SPENT if _is_misapplied(campaign.history):
            text = f"check how the instrument sets its inputs{_misapplied(closed[-1])}; then {more.text}"
            return NextStep(text, more.command)
        case Outcome.SPENT if goal is not None and latest is not None and _is_hopeless(latest):
            change = _change(goal, done, campaign)
            return NextStep(f"{_nearest(goal, done)}{change}, or make sure of it: {more.text}", more.command)
        case Outcome.SPENT:
            return more
        case Outcome.UNREACHABLE:
            explain = f"sdl explain {name}" + (f" {done.best}" if done.best is not None else "")
            return NextStep(f"{_nearest(goal, done)}{_change(goal, done, campaign)}, or see why with", explain)
        case Outcome.STALLED:
            return NextStep(
                "more trials will not help: widen the tolerance, raise `average`, or try another solver with",
                f"{resume} --set solver.kind={other} --set stop.stagnation=null",
            )
        case Outcome.FAILED if done.by == "solver":
            solver = other if kind != "linear" or done.objective else "gmm"
            return NextStep("try another solver with", f"{resume} --set solver.kind={solver}")
        case Outcome.FAILED:
            again = f"{resume} --set stop.failures={stop.get('failures')}" if external else resume
            return NextStep("check the instrument, then continue with", again)
        case Outcome.ABORTED:
            return NextStep("if that was a mistake, continue with", resume)
        case _:
            return NextStep()


def _is_hopeless(latest: Proposed) -> bool:
    """Whether more trials would hardly reach the goal, by the model of the last proposal."""
    return latest.probability is not None and latest.probability < HOPELESS


LEARNING = ("auto", "gp", "bsi")
"""Solvers whose model can follow any smooth instrument."""


def affordable_average(campaign: Campaign, stop: Mapping[str, Any]) -> int:
    """The largest number of readings per trial that the budget allows.

    One trial takes at most the readings that all trials may take now, or `MANY_READINGS` where those are fewer. With
    its confirmations it fits in the minutes and in the cost.

    Args:
        campaign: its state.
        stop: its stopping rules, as configured.
    """
    plan, history = campaign.plan, campaign.history
    limits, confirmed = [float(min(max(plan.collect * plan.average, MANY_READINGS), MOST_READINGS))], 1 + plan.confirm
    if (minutes := stop.get("minutes")) and history.active > 0:
        limits.append(60 * minutes / (confirmed * campaign.seconds_per_attempt))
    if (cost := stop.get("cost")) and plan.prices is not None and history.latest is not None:
        price = plan.prices.of_reading(history.latest.settings)
        limits += [(cost - plan.prices.trial) / (confirmed * price)] if price else []
    return max(int(min(limits)), plan.average)


def _average(
    latest: Proposed, done: Result, campaign: Campaign, stop: Mapping[str, Any], more: NextStep, resume: str
) -> NextStep:
    """What to do where the tolerance lies below the noise: more trials would not help."""
    needed, most, goal = latest.readings_needed, affordable_average(campaign, stop), campaign.plan.goal
    if needed is None or goal is None:
        return NextStep("more trials of this kind will not help: widen the tolerance, or reduce the noise")
    if needed > most:
        wider = _wider(goal, math.sqrt(needed / most))
        average = f" and average {most} readings per trial" if most > 1 else ""
        return NextStep(
            f"averaging alone would need {needed} readings per trial, more than the {most} that are practical within "
            f"the budget: widen the tolerance {wider}{average}, or use less noisy channels"
        )
    command = more.command if done.outcome is Outcome.SPENT else f"{resume} --set stop.stagnation=null"
    text = f"more trials of this kind will not help: widen the tolerance, or average {needed} readings per trial with"
    return NextStep(text, f"{command} --set average={needed}")


def _wider(goal: Goal, factor: float) -> str:
    """The tolerance to widen to, `to about ± 0.92 %`, or by which factor, `about 3 times`."""
    shares = {f"{(band.high - band.target) / abs(band.target):.3g}" for band in goal.bands.values() if band.target}
    if len(shares) != 1 or any(not band.target for band in goal.bands.values()):
        return f"about {factor:.2g} times"
    return f"to about ± {percent(factor * float(shares.pop()))}"


def _nearest(goal: Goal | None, done: Result) -> str:
    """The best reading of the worst channel: `445nm reads 30124, goal 60000 ± 1200: `."""
    if goal is None or done.worst is None:
        return ""
    band = goal.bands[done.worst]
    return f"{done.worst} reads {reading(done.measured[done.worst], band)}, goal {band}: "


def _change(goal: Goal | None, done: Result, campaign: Campaign) -> str:
    """What to change where a goal is unreachable: the instrument where it has no signal, otherwise the goal."""
    bands = goal.bands if goal is not None else {}
    levels = {name: band.low if band.target is None else band.target for name, band in bands.items()}
    if levels and all(abs(done.measured.get(name, 0.0)) < NO_SIGNAL * value for name, value in levels.items()):
        return "every channel of the goal reads about 0: check that the instrument is on"
    means = [trial.mean for trial in campaign.history.closed if trial.readings]
    if len({tuple(mean.values()) for mean in means}) == 1 and done.trials > 1:
        return "all readings are equal: check the sensor"
    if done.worst is None:
        return "change the goal"
    band, seen = bands[done.worst], [mean[done.worst] for mean in means if done.worst in mean]
    if len(bands) > 1 and min(seen) <= band.high and max(seen) >= band.low:
        return f"{done.worst} reached its goal at other settings, but not all channels together: change one of them"
    change = "raise the goal" if done.measured[done.worst] > band.high else "lower the goal"
    if max(seen) - min(seen) <= (narrow_tolerance(band) or 0.0):
        return f"{change}, or check why {done.worst} hardly changed with the settings"
    return change


def _coarse_steps(goal: Goal, done: Result, opened: Opened) -> str:
    """Advice where the steps of the inputs are too coarse for the tolerance."""
    steps = [f"{item['name']} {item['step']:g}" for item in opened.instrument["inputs"] if item.get("step")]
    channel, listed = done.worst or next(iter(goal.bands)), f" ({', '.join(steps)})" if steps else ""
    return (
        f"{_nearest(goal, done)}the steps of the inputs{listed} are too coarse, and more trials will not help: "
        f"widen the tolerance of {channel}, or raise `average` where readings scatter"
    )


def short_name(folder: Path) -> str:
    """The shortest name of a run for a command: its id if that is unique, else its directory."""
    name = folder.name.rpartition("-")[2]
    try:
        return name if find(name) == folder else str(folder)
    except ConfigError:
        return str(folder)
