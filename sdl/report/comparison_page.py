"""The page of `sdl compare`: results, differences of the configurations, figures, and every run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sdl import formatting
from sdl.report import page, style
from sdl.report.comparison import (
    HEAD,
    IGNORED,
    LABEL,
    MOST_GROUPS,
    RunGroup,
    RunResult,
    differences,
    figure,
    letter,
    median,
    table,
)  # fmt: skip
from sdl.report.figures.story import deviation_axis

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
MOST_CHANNELS = 4
"""Most panels: the channels that most runs have; of equals those farthest from their goal."""
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


def channels(groups: Sequence[RunGroup]) -> list[str]:
    """The channels of the goals of all runs, those of most runs first."""
    found: dict[str, list[float]] = {}
    for group in groups:
        for run in group.runs:
            for name, values in run.deviations.items():
                found.setdefault(name, []).append(abs(values[-1][1]))
    return sorted(found, key=lambda name: (-len(found[name]), -median(found[name]), name))


def story(groups: Sequence[RunGroup]) -> Figure | None:
    """Every run as a line: its mean reading − target by trial, in tolerances, in the colour of its group.

    Returns:
        None where no run has a goal with a target, a range or a limit.
    """
    names, shown = channels(groups)[:MOST_CHANNELS], groups[:MOST_GROUPS]
    if not names:
        return None
    with style.styled():
        drawn = style.canvas(len(names), height=0.9 + 2.1 * len(names) + 0.12 * len(shown))
        for axes, name in zip(drawn.axes, names, strict=True):
            axes.axhspan(-1, 1, color=style.BAND, lw=0, zorder=0)
            seen = [0.0]
            for n, group in enumerate(shown):
                colour, marker = style.series(n)
                runs = [values for run in group.runs if (values := run.deviations.get(name))]
                alpha = max(0.25, 0.9 / max(len(runs), 1) ** 0.5)
                for values in runs:
                    x, y = zip(*values, strict=True)
                    axes.plot(x, y, "-", color=colour, lw=1, alpha=alpha)
                    axes.plot(x[-1:], y[-1:], marker, color=colour, ms=5, mec=style.PAPER, mew=0.5, zorder=3)
                    seen += y
            deviation_axis(axes, min(seen), max(seen))
            axes.set(ylabel=f"{style.plain(name)} − goal\n(tolerances)")
            style.whole_numbers(axes)
        drawn.axes[-1].set(xlabel="trial")
        looks = [style.series(n) for n in range(len(shown))]
        handles = [
            Line2D(
                [], [], color=colour, marker=marker, ms=5, lw=1.2, label=style.plain(f"{letter(n)} {group.name}", LABEL)
            )
            for n, (group, (colour, marker)) in enumerate(zip(shown, looks, strict=True))
        ]
        drawn.legend(handles=handles, loc="outside upper left", ncols=2 if len(shown) > 3 else 3)
    return drawn
