"""Comparison of runs: trials that each group took to reach its goal, the error of its best trials, and the cost.

Runs are grouped by the keys in which their configurations differ, except the seed, name and description. Runs that do
not differ are one group.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from sdl import formatting
from sdl.report import style
from sdl.runs.listing import short_goal
from sdl.runs.runs import Run
from sdl.types import Outcome

IGNORED = ("name", "description", "seed", "instrument.seed")  # keys in which runs of one group may differ


MOST_KEYS = 3  # most keys in the name of a group; with more, the most frequent values are left out

MOST_GROUPS = 8  # most groups in the figure; the table has them all


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one run, without its readings.

    Attributes:
        trials, readings, seconds: its cost; seconds by the campaign's own clock.
        reached: whether its goal was reached.
        miss: tolerance ratio of the best trial; inf where no trial is judged.
        error: of the same channel, as a fraction; NaN where unknown.
    """

    folder: Path
    trials: int
    readings: int
    seconds: float
    reached: bool
    outcome: str
    miss: float
    error: float
    config: Mapping[str, Any]


@dataclass(slots=True)
class RunGroup:
    """Runs that differ in nothing but their seed."""

    name: str
    runs: list[RunResult] = field(default_factory=list)

    @property
    def reached(self) -> list[RunResult]:
        """The runs that reached their goal."""
        return [run for run in self.runs if run.reached]


def run_result(run: Run) -> RunResult:
    """Extract from a run what a comparison needs."""
    done, goal, best = run.result, run.campaign.plan.goal, run.campaign.history.best
    # The channel with the largest tolerance ratio, as everywhere else; the largest percentage may be of another one.
    error = best.worst_error if best is not None else None
    return RunResult(
        run.folder,
        done.trials,
        done.readings,
        run.events[-1].at - run.opened.at,
        done.outcome is Outcome.REACHED,
        formatting.display(done.outcome or "unfinished"),
        math.inf if done.miss is None else done.miss,
        math.nan if error is None else error,
        {**dict(_flat(run.config)), "goal": short_goal(goal) or "none"},
    )


def grouped(runs: Sequence[RunResult], by: Sequence[str] = ()) -> list[RunGroup]:
    """The runs in groups, the quickest first.

    The dotted keys `by`, such as solver.kind, form the groups; by default those in which the configurations differ.
    """
    keys = list(by) or differing(runs)
    every = [tuple(_text_of(run.config, key) for key in keys) for run in runs]
    # Names with many keys are unreadable: they leave out the most frequent values.
    usual = (
        [Counter(column).most_common(1)[0][0] for column in zip(*every, strict=True)] if len(keys) > MOST_KEYS else []
    )
    groups: dict[tuple[str, ...], RunGroup] = {}
    for run, values in zip(runs, every, strict=True):
        groups.setdefault(values, RunGroup(_name(keys, values, usual))).runs.append(run)
    return sorted(groups.values(), key=_rank)


def differing(runs: Sequence[RunResult]) -> list[str]:
    """The dotted keys in which configurations differ, `solver.kind` first and without other options of the solver."""
    every = {key for run in runs for key in run.config}
    keys = sorted(key for key in every if key not in IGNORED and len({_text_of(run.config, key) for run in runs}) > 1)
    kinds = sorted((key for key in keys if key.endswith(".kind")), reverse=True)  # the solver before the design
    # The options of two kinds always differ, so the kind is enough.
    return kinds + [key for key in keys if key not in kinds and f"{key.partition('.')[0]}.kind" not in kinds]


def median(values: Sequence[float]) -> float:
    """The median; NaN without values."""
    return statistics.median(values) if values else math.nan


HEAD = ("group", "runs", "reached", "trials to reach", "error", "× tolerance", "readings", "seconds")


def table(groups: Sequence[RunGroup]) -> list[list[str]]:
    """Rows of text below `HEAD`: medians, with minimum and maximum in brackets where they differ."""
    return [
        [
            group.name,
            str(len(group.runs)),
            f"{len(group.reached)}/{len(group.runs)}",
            _middle([run.trials for run in group.reached], "{:g}".format),
            _middle([run.error for run in group.runs], formatting.percent),
            _middle([run.miss for run in group.runs], formatting.ratio),
            _middle([run.readings for run in group.runs], "{:g}".format),
            _middle([run.seconds for run in group.runs], lambda v: f"{v:.3g}" if v < 999.5 else f"{v:.0f}"),
        ]
        for group in groups
    ]


def figure(groups: Sequence[RunGroup]) -> Figure:
    """Share of runs that reached the goal against trials; below, the tolerance ratio of each run's best trial."""
    with style.styled():
        shown = groups[:MOST_GROUPS]
        drawn = style.canvas(2, height=3.6 + 0.24 * len(shown), height_ratios=[2.6, 0.5 + 0.26 * len(shown)])
        upper, lower = drawn.axes
        longest = max((run.trials for group in shown for run in group.runs), default=1)
        for n, group in enumerate(shown):
            colour, marker = style.series(n)
            share = 100 / len(group.runs)
            x = [0, *sorted(run.trials for run in group.reached), longest]
            y = [*(i * share for i in range(len(group.reached) + 1)), len(group.reached) * share]
            # Each line is thinner than those below it, so that all can be seen where they coincide.
            thickness = 1.2 + 0.9 * (min(len(shown), 5) - 1 - min(n, 4))
            look: dict[str, Any] = {"marker": marker, "markevery": slice(1, -1), "ms": 4, "lw": thickness}
            upper.step(x, y, where="post", color=colour, label=style.plain(group.name), **look)
            misses = _misses(group)
            lower.plot(misses, [n] * len(misses), marker, color=colour, ms=5, alpha=0.6, mec="none")
            if misses:
                lower.plot([median(misses)] * 2, [n - 0.33, n + 0.33], color=style.INK, lw=1.5)
        upper.set(xlabel="trials", ylabel="goal reached (% of runs)", ylim=(-3, 103), xlim=(0, longest * 1.02))
        style.whole_numbers(upper)
        seen = [miss for group in shown for miss in _misses(group)]
        low, high = min([0.3, *(miss / 1.3 for miss in seen)]), max([3.0, *(miss * 1.3 for miss in seen)])
        ticks = LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5))
        style.log_axis(lower, "x", low, high).set_major_locator(ticks)
        lower.axvspan(low, 1, color=style.BAND, lw=0, zorder=0)
        lower.set_yticks(range(len(shown)), [style.plain(group.name)[:24] for group in shown])
        lower.set(ylim=(len(shown) - 0.4, -0.6), xlabel="error of the best trial (× tolerance; bar: median)")
        lower.grid(False, axis="y")
        style.legend(drawn, 2 if len(shown) > 3 else 3)
    return drawn


def _misses(group: RunGroup) -> list[float]:
    """The tolerance ratios that are drawn, those of judged runs."""
    return [max(run.miss, style.LEAST_RATIO) for run in group.runs if math.isfinite(run.miss)]


def _middle(values: Sequence[float], form: Callable[[float], str]) -> str:
    """`4 (3 … 9)`: median, minimum and maximum of the finite values; `–` without any."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "–"
    low, high = min(known), max(known)
    return form(low) if low == high else f"{form(median(known))} ({form(low)} … {form(high)})"


def _rank(group: RunGroup) -> tuple[float, float, float, str]:
    quick = median([run.trials for run in group.reached]) if group.reached else math.inf
    return (-len(group.reached) / len(group.runs), quick, median([run.miss for run in group.runs]), group.name)


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if above + key == "goal":
            continue  # a short text replaces it
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _text_of(config: Mapping[str, Any], key: str) -> str:
    return "–" if key not in config else f"{config[key]:g}" if isinstance(config[key], float) else str(config[key])


def _name(keys: Sequence[str], values: Sequence[str], usual: Sequence[str] = ()) -> str:
    """The name of a group, `gmm, average 3`: kinds without their key, and in long names no frequent values."""
    named = [text if key.endswith(".kind") else f"{key} {text}" for key, text in zip(keys, values, strict=True)]
    odd = [
        text for n, text in enumerate(named) if not usual or keys[n] in ("solver.kind", "goal") or values[n] != usual[n]
    ]
    return ", ".join(odd or named) or "all"
