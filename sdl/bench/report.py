"""The results of a comparison of solvers: a table, a recommendation with its evidence, a figure."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sdl.bench.campaigns import BenchCampaign
from sdl.bench.days import DaysScore
from sdl.formatting import aligned, count
from sdl.sweep.summary import PAPER, beside, format_trials, quantile, row_figure

# Difference between two solvers, in standard errors, from which one of them counts as better.
SIGNIFICANT = 2.0
# Ratio of computing times above which the slower of two equally good solvers is not recommended.
MUCH_SLOWER = 10.0


@dataclass(frozen=True)
class SolverSummary:
    """Results of one solver.

    Attributes:
        campaigns, reached: numbers of campaigns, and of those that reached the goal.
        median, p95: trials until the goal was reached; inf if too few campaigns reached it.
        mean: mean number of trials; a goal that was not reached counts as one trial more than a campaign may take.
        more, error: mean beyond that of the best solver, over the same goals and noise, with its standard error (over
            the goals); 0 and 0 for the best.
        ms: median CPU milliseconds of a campaign per proposal; NaN without a proposal.
        why: its first error; empty without one.
    """

    solver: str
    campaigns: int
    reached: int
    median: float
    p95: float
    mean: float
    more: float
    error: float
    ms: float
    why: str = ""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Recommendation:
    """The recommended solver, the solvers that are as good, and the reason."""

    solver: str
    as_good: tuple[str, ...]
    sentence: str


def markdown(head: str, rows: Sequence[str], columns: Sequence[str], cell: Callable[[str, str], str]) -> str:
    """A Markdown table."""
    lines = [f"| {head} | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
    lines += [f"| {row} | {' | '.join(cell(row, column) for column in columns)} |" for row in rows]
    return "\n".join(lines) + "\n"


def summarise(ended: Sequence[BenchCampaign], max_trials: int) -> list[SolverSummary]:
    """A line for each solver, the best first.

    `ended` holds every solver with the same goals and seeds, at most `max_trials` trials each.
    """
    solvers = list(dict.fromkeys(e.solver for e in ended))
    goals = max(e.goal for e in ended) + 1
    taken = {
        label: np.array([max_trials + 1 if e.trials is None else e.trials for e in ended if e.solver == label], float)
        for label in solvers
    }
    best = min(solvers, key=lambda label: float(taken[label].mean()))
    summaries = []
    for label in solvers:
        mine = [e for e in ended if e.solver == label]
        trials = [math.inf if e.trials is None else e.trials for e in mine]
        ms = [e.ms for e in mine if not math.isnan(e.ms)]
        by_goal = (taken[label] - taken[best]).reshape(goals, -1).mean(axis=1)  # seeds of one goal are no further goals
        error = float(by_goal.std(ddof=1) / math.sqrt(goals)) if goals > 1 else math.nan
        why = next((e.why for e in mine if e.why), "")
        summaries.append(
            SolverSummary(
                label,
                len(mine),
                sum(map(math.isfinite, trials)),
                quantile(trials, 50),
                quantile(trials, 95),
                float(taken[label].mean()),
                float(by_goal.mean()),
                0.0 if label == best else error,
                float(np.median(ms)) if ms else math.nan,
                why,
            )
        )
    return sorted(summaries, key=lambda line: (line.mean, line.ms))


def recommend(summaries: Sequence[SolverSummary], goals: int, scores: Sequence[DaysScore] = ()) -> Recommendation:
    """The recommended solver, among those that the twin does not distinguish from the best one.

    With scores of days left out, the one that predicted their settings best; otherwise the one with the fewest trials,
    unless its proposals take `MUCH_SLOWER` times as long as those of an equally good one.

    Args:
        summaries: as `summarise` gives them, the best first.
        goals: number of different goals.
        scores: scores of days left out; none without a log of several days.
    """
    best = summaries[0]
    if not best.reached:
        why = f"None of {count(len(summaries), 'solver')} reached a goal: check goals, tolerance and trials."
        return Recommendation("", (), why)
    ties = [line for line in summaries if line is best or not line.more > SIGNIFICANT * line.error]
    rms = {score.solver: score.rms for score in scores if not math.isnan(score.rms)}
    if predicted := [line for line in ties if line.solver in rms]:
        taken = min(predicted, key=lambda line: rms[line.solver])
        error = f"{rms[taken.solver]:.4f} of an input's range"
        why = f"of these it predicted the settings of unseen days best (error {error})"
    else:
        fastest = min((line.ms for line in ties if not math.isnan(line.ms)), default=math.nan)
        taken = next((line for line in ties if not line.ms > MUCH_SLOWER * fastest), best)
        why = "a smaller --tolerance or more --goals might" if taken is best else "it takes much less computing"
    others = tuple(line.solver for line in ties if line is not taken)
    sentences = [
        f"Take `{taken.solver}`: it reached {taken.reached} of {taken.campaigns} goals, half of them within "
        f"{format_trials(taken.median)} trials, 95 % within {format_trials(taken.p95)}."
    ]
    if others:
        names = ", ".join(f"`{name}`" for name in others)
        verb = "does" if goals == 1 else "do"
        sentences.append(f"On the twin {count(goals, 'goal')} {verb} not distinguish it from {names}; {why}.")
    if slower := [line for line in summaries if line not in ties]:
        subject = f"`{slower[0].solver}`" + (" and those below it in the table take" if slower[1:] else " takes")
        more = f"{slower[0].more:.1f} ± {slower[0].error:.1f} per goal beyond the best"
        sentences.append(f"{subject} more trials ({'the first ' if slower[1:] else ''}{more}).")
    return Recommendation(taken.solver, others, " ".join(sentences))


def solver_rows(summaries: Sequence[SolverSummary]) -> list[list[str]]:
    """The rows of a table, header first."""
    rows = [["solver", "reached", "trials: median", "p95", "mean", "beyond the best", "CPU per proposal"]]
    for line in summaries:
        more = "" if line is summaries[0] else f"{line.more:+.2f} ± {line.error:.2f}"
        ms = "" if math.isnan(line.ms) else f"{line.ms:.0f} ms"
        reached = f"{line.reached} of {line.campaigns}"
        rows.append(
            [line.solver, reached, format_trials(line.median), format_trials(line.p95), f"{line.mean:.2f}", more, ms]
        )
    return rows


def solver_table(summaries: Sequence[SolverSummary]) -> list[str]:
    """The lines of a table, header first."""
    return aligned(solver_rows(summaries))


def days_rows(missed: Sequence[DaysScore]) -> list[list[str]]:
    """The rows of a table of days left out, header first."""
    rows = [["solver", "error of the settings", "readings", "days"]]
    for miss in sorted(missed, key=lambda m: (math.isnan(m.rms), m.rms)):
        off = miss.why[:60] if math.isnan(miss.rms) else f"{miss.rms:.4f}"
        rows.append([miss.solver, off, str(miss.readings), str(miss.days)])
    return rows


def days_table(missed: Sequence[DaysScore]) -> list[str]:
    """The lines of a table of days left out, header first."""
    return aligned(days_rows(missed))


def figure_of(
    ended: Sequence[BenchCampaign], summaries: Sequence[SolverSummary], max_trials: int, title: str
) -> Figure:
    """The fraction of goals that each solver has reached after a number of trials."""
    labels = [line.solver for line in summaries]
    x_label = f"trials (point: median); right: goals reached within {max_trials} trials"
    figure, axes = row_figure(labels, title, x_label)
    last = max((e.trials for e in ended if e.trials is not None), default=1)
    trials = [[math.inf if e.trials is None else e.trials for e in ended if e.solver == label] for label in labels]
    share = [[np.mean(np.array(mine) <= n) for n in range(1, last + 1)] for mine in trials]
    extent = (0.5, last + 0.5, len(summaries) - 0.5, -0.5)
    image = axes.imshow(share, aspect="auto", cmap="Blues", vmin=0, vmax=1, extent=extent)
    axes.hlines(np.arange(len(summaries) - 1) + 0.5, 0.5, last + 0.5, color=PAPER, lw=3)
    for row, line in enumerate(summaries):
        if not math.isinf(line.median):
            axes.plot([line.median], [row], "o", color="#d55e00", ms=5)
        beside(axes, row, f"{line.reached} of {line.campaigns}")
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    bar = figure.colorbar(image, ax=axes, pad=0.13, aspect=18, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0", "50 %", "all"], fontsize=8)
    bar.set_label("goals reached so far", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def draw(ended: Sequence[BenchCampaign], summaries: Sequence[SolverSummary], max_trials: int, title: str) -> bytes:
    """The figure as a PNG."""
    png = io.BytesIO()
    figure_of(ended, summaries, max_trials, title).savefig(png, dpi=130)
    return png.getvalue()
