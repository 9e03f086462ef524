"""Comparison of runs: trials that each group took to reach its goal, the error of its best trials, and the cost.

Runs are grouped by the keys in which their configurations differ, except those that do not change the experiment
(`IGNORED`). Runs that do not differ are one group.

The interval of a median is that of the percentile method (B. Efron and R. J. Tibshirani, An Introduction to the
Bootstrap, Chapman & Hall 1993, chapter 13): the medians of many samples drawn with replacement, 95 % of them.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from sdl import formatting, yamlfile
from sdl.report import style
from sdl.runs.listing import goal_text
from sdl.runs.runs import Run
from sdl.types import Outcome

IGNORED = ("name", "description", "seed", "instrument.seed", "expect", "notify", "watch")
"""Keys, with all below them, in which runs of one group may differ: they do not change the experiment."""
UNSET = "–"
"""Shown for a key that a configuration does not have."""
MOST_KEYS = 3
"""Most keys in the name of a group; with more, the most frequent values are left out."""
MOST_GROUPS = 8
"""Most groups in a figure; the table has them all."""
LABEL = 32
"""Most characters of a group's name in a legend."""
LEVEL, SAMPLES, SEED = 0.95, 4000, 0
"""Of the bootstrap intervals: probability, number of samples, seed."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one run, without its readings.

    Attributes:
        trials, readings, seconds: its cost; seconds by the campaign's own clock.
        reached: whether its goal was reached.
        miss: tolerance ratio of the best trial; inf where no trial is judged.
        error: relative error of the same channel, as a fraction; NaN if unknown.
        config: dotted keys with their values as YAML; `goal` is a text.
        deviations: for each channel of the goal, (trial, mean reading − target in tolerances) of each finished trial.
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
    deviations: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)


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
        {**dict(_flat(run.config)), "goal": goal_text(goal) or "none"},
        _deviations(run),
    )


def _deviations(run: Run) -> dict[str, list[tuple[int, float]]]:
    goal = run.campaign.plan.goal
    names = [name for name, band in goal.bands.items() if band.direction is None] if goal is not None else []
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    for trial in run.trials:
        for name, value in trial.mean.items():
            if goal is not None and name in found and trial.judged:
                found[name].append((trial.trial, goal.bands[name].deviation(value)))
    return {name: values for name, values in found.items() if values}


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
    keys = different_keys(runs)
    kinds = sorted((key for key in keys if key.endswith(".kind")), reverse=True)  # the solver before the design
    # The options of two kinds always differ, so the kind is enough; a goal's text names its tolerance.
    implied = {key.partition(".")[0] for key in kinds}
    others = [key for key in keys if key not in kinds and key.partition(".")[0] not in implied]
    return kinds + [key for key in others if key != "tolerance" or "goal" not in keys]


def different_keys(runs: Sequence[RunResult]) -> list[str]:
    """All dotted keys in which the experiments of runs differ."""
    every = sorted({key for run in runs for key in run.config})
    return [key for key in every if not _ignored(key) and len({_text_of(run.config, key) for run in runs}) > 1]


def _ignored(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in IGNORED)


def differences(groups: Sequence[RunGroup]) -> list[tuple[str, list[str]]]:
    """A diff of the configurations: each key in which they differ, with its values in each group, as YAML."""
    keys = different_keys([run for group in groups for run in group.runs])
    return [(key, [_values(group, key) for group in groups]) for key in keys]


def letter(place: int) -> str:
    """The short name of a group in a diff: A … Z, AA, AB …"""
    return (letter(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)


def shared_values(values: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each value of a key with the letters of its groups, in the order of the groups."""
    found: dict[str, list[str]] = {}
    for place, value in enumerate(values):
        found.setdefault(value, []).append(letter(place))
    return list(found.items())


def _values(group: RunGroup, key: str) -> str:
    return " or ".join(sorted({_text_of(run.config, key) for run in group.runs}))


HEAD = ("group", "runs", "reached", "trials to reach", "error", "× tolerance", "readings", "seconds")


def table(groups: Sequence[RunGroup]) -> list[list[str]]:
    """Rows of text below `HEAD`: medians, with 95 % bootstrap intervals in brackets."""
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


MEDIANS = ("trials", "error", "miss", "readings", "seconds")


def medians(group: RunGroup) -> dict[str, dict[str, Any]]:
    """Median, 95 % interval and number of runs for each of `MEDIANS`; trials are those of runs that reached."""
    found = {}
    for key in MEDIANS:
        values = [getattr(run, key) for run in (group.reached if key == "trials" else group.runs)]
        known = [value for value in values if math.isfinite(value)]
        found[key] = {"median": median(known), "interval": median_interval(known), "runs": len(known)}
    return found


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
            upper.step(x, y, where="post", color=colour, label=style.plain(f"{letter(n)} {group.name}", LABEL), **look)
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
        lower.set_yticks(
            range(len(shown)), [style.plain(f"{letter(n)} {group.name}", 24) for n, group in enumerate(shown)]
        )
        lower.set(ylim=(len(shown) - 0.4, -0.6), xlabel="error of the best trial (× tolerance; bar: median)")
        lower.grid(False, axis="y")
        style.legend(drawn, 2 if len(shown) > 3 else 3)
    return drawn


def _misses(group: RunGroup) -> list[float]:
    """The tolerance ratios that are drawn, those of judged runs."""
    return [max(run.miss, style.LEAST_RATIO) for run in group.runs if math.isfinite(run.miss)]


def _middle(values: Sequence[float], form: Callable[[float], str]) -> str:
    """`4 (3 … 9)`: median and interval of the finite values, with their number if some are not; `–` without any."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return UNSET
    low, high = median_interval(known)
    middle, part = form(median(known)), "" if len(known) == len(values) else f" of {len(known)}"
    same = math.isnan(low) or form(low) == form(high) == middle
    return f"{middle}{part}" if same else f"{middle} ({form(low)} … {form(high)}){part}"


def _rank(group: RunGroup) -> tuple[float, float, float, str]:
    quick = median([run.trials for run in group.reached]) if group.reached else math.inf
    return (-len(group.reached) / len(group.runs), quick, median([run.miss for run in group.runs]), group.name)


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if above + key == "goal":
            continue  # a text replaces it
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", yamlfile.inline(value)


def _text_of(config: Mapping[str, Any], key: str) -> str:
    return str(config.get(key, UNSET))


def _name(keys: Sequence[str], values: Sequence[str], usual: Sequence[str] = ()) -> str:
    """The name of a group, `gmm, average 3`: kinds without their key, and in long names no frequent values."""
    named = [text if key.endswith(".kind") else f"{key} {text}" for key, text in zip(keys, values, strict=True)]
    odd = [
        text for n, text in enumerate(named) if not usual or keys[n] in ("solver.kind", "goal") or values[n] != usual[n]
    ]
    return ", ".join(odd or named) or "all"


def median(values: Sequence[float]) -> float:
    """The median; NaN without values."""
    return statistics.median(values) if values else math.nan


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median of finite values; NaN with fewer than two."""
    if len(values) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(SEED).choice(np.asarray(values, float), (SAMPLES, len(values)))
    tail = (1 - LEVEL) / 2
    # An order statistic of the medians, not a mean of two: every end is a median that a sample can have.
    low, high = np.quantile(np.median(drawn, axis=1), [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
