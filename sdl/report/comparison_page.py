"""The page of `sdl compare`: results, differences of the configurations, figures, and every run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sdl import formatting
from sdl.report import page
from sdl.report.comparison import HEAD, IGNORED, MOST_GROUPS, RunGroup, RunResult, differences, figure, letter, table
from sdl.report.comparison_story import MOST_CHANNELS, channels, story

TITLE = "Comparison of runs"
METHOD = (
    "Medians, with 95 % bootstrap intervals (percentile method) in brackets. `of N`: only so many runs have the value. "
    "Trials to reach are those of the runs that reached their goal."
)
SHARES = (
    "Above: share of a group's runs that reached their goal within a number of trials; runs that did not count in the "
    "total. Below: error of the best trial of each run, × tolerance."
)
STORIES = (
    "Deviation of each trial's mean reading from the goal, in tolerances; the band is within tolerance. One line for "
    "each run, with a marker at its last trial."
)
RUNS_HEAD = ("run", "group", "outcome", "trials", "error", "× tolerance")


def comparison_page(groups: Sequence[RunGroup], left_out: Sequence[str] = ()) -> str:
    """The page; `left_out` says which runs could not be read, and why."""
    number = sum(len(group.runs) for group in groups)
    figures = [page.picture(figure(groups), "Goals reached, and the best trials", SHARES + _of_groups(groups))]
    if (stories := story(groups)) is not None:
        names = channels(groups)
        more = f" Channels that are not drawn: {', '.join(names[MOST_CHANNELS:])}." if names[MOST_CHANNELS:] else ""
        figures.insert(0, page.picture(stories, "The stories of all runs", STORIES + _of_groups(groups) + more))
    ignored = f"Not compared, as they do not change the experiment: {', '.join(IGNORED)}."
    return page.render(
        "compare.html.j2",
        title=TITLE,
        counts=f"{formatting.count(number, 'run')} in {formatting.count(len(groups), 'group')}",
        left_out=left_out,
        head=HEAD,
        rows=[[f"{letter(n)} · {row[0]}", *row[1:]] for n, row in enumerate(table(groups))],
        method=METHOD.replace("`", ""),
        groups=[letter(place) for place in range(len(groups))],
        differences=differences(groups),
        not_compared=ignored,
        same=f"The configurations do not differ. {ignored}",
        figures=figures,
        runs_head=RUNS_HEAD,
        runs=[_row(run, letter(n)) for n, group in enumerate(groups) for run in group.runs],
    )


def _of_groups(groups: Sequence[RunGroup]) -> str:
    """Which groups the figures leave out."""
    return f" Drawn are the first {MOST_GROUPS} of {len(groups)} groups." if len(groups) > MOST_GROUPS else ""


def _row(run: RunResult, group: str) -> list[str]:
    error = formatting.percent(run.error) if math.isfinite(run.error) else ""
    ratio = formatting.ratio(run.miss) if math.isfinite(run.miss) else ""
    name = f"{run.folder.parent.name} {run.folder.name.rpartition('-')[2]}"
    return [name, group, run.outcome, str(run.trials), error, ratio]
