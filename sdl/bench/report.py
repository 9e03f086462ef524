"""The results of a comparison of solvers: a table, a recommendation with its evidence, a figure."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sdl.bench.campaigns import BenchCampaign
from sdl.bench.days import DaysScore
from sdl.errors import ConfigError
from sdl.extras import missing

SIGNIFICANT = 2.0
"""Standard errors between two solvers that make one of them better."""
MUCH_SLOWER = 10.0
"""Ratio of computing times above which the slower of two equally good solvers is not recommended."""


@dataclass(frozen=True)
class SolverSummary:
    """What one solver did.

    Attributes:
        campaigns, reached: how many.
        median, p95: trials until the goal was reached; inf where that many did not reach it.
        mean: of the trials, a goal that was not reached counted as the most that a campaign may take, and one more.
        more, error: mean beyond that of the best solver, over the same goals and noise, with its standard error (over
            the goals); 0 and 0 for the best.
        ms: CPU milliseconds of a campaign for each proposal, median; NaN where it proposed nothing.
        why: the first thing that went wrong in it; empty.
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
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Recommendation:
    """Which solver to take, in a sentence."""

    solver: str
    as_good: tuple[str, ...]
    sentence: str


def quantile(trials: Sequence[int | None], percent: float) -> float:
    """Of trials until the goal was hit; None, a failure, is more than any number."""
    ordered = sorted(math.inf if t is None else float(t) for t in trials)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def markdown(head: str, rows: Sequence[str], columns: Sequence[str], cell: Callable[[str, str], str]) -> str:
    """A Markdown table."""
    lines = [f"| {head} | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
    lines += [f"| {row} | {' | '.join(cell(row, column) for column in columns)} |" for row in rows]
    return "\n".join(lines) + "\n"


def summarise(ended: Sequence[BenchCampaign], max_trials: int) -> list[SolverSummary]:
    """A line for each solver, the best first.

    Args:
        ended: every solver with the same goals and seeds.
        max_trials: trials of a campaign.
    """
    import numpy as np

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
        trials, ms = [e.trials for e in mine], [e.ms for e in mine if not math.isnan(e.ms)]
        by_goal = (taken[label] - taken[best]).reshape(goals, -1).mean(axis=1)  # seeds of one goal are no further goals
        error = float(by_goal.std(ddof=1) / math.sqrt(goals)) if goals > 1 else math.nan
        why = next((e.why for e in mine if e.why), "")
        summaries.append(
            SolverSummary(
                label,
                len(mine),
                sum(t is not None for t in trials),
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
    """The solver to take among those that cannot be told apart from the best one on the twin.

    Where days were left out, the one that predicted their settings best; otherwise the one with the fewest trials,
    unless its proposals take `MUCH_SLOWER` times as long as those of an equally good one.

    Args:
        summaries: as `summarise` gives them, the best first.
        goals: number of different goals.
        scores: of days left out, where there is a log of several.
    """
    best = summaries[0]
    if not best.reached:
        why = f"None of {count(len(summaries), 'solver')} reached a goal: check goals, tolerance and trials."
        return Recommendation("", (), why)
    ties = [line for line in summaries if line is best or not line.more > SIGNIFICANT * line.error]
    rms = {score.solver: score.rms for score in scores if not math.isnan(score.rms)}
    if predicted := [line for line in ties if line.solver in rms]:
        taken = min(predicted, key=lambda line: rms[line.solver])
        why = f"of these it predicted the settings of unseen days best (off by {rms[taken.solver]:.4f})"
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
        more = f"{slower[0].more:.1f} ± {slower[0].error:.1f} trials per goal more than the best"
        sentences.append(f"{subject} longer ({more}).")
    return Recommendation(taken.solver, others, " ".join(sentences))


def count(n: int, noun: str) -> str:
    """`1 goal`, `2 goals`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def solver_table(summaries: Sequence[SolverSummary]) -> list[str]:
    """The lines of a plain table, its head first."""
    rows = [["solver", "reached", "trials: median", "p95", "mean", "beyond the best", "CPU"]]
    for line in summaries:
        more = "" if line is summaries[0] else f"{line.more:+.2f} ± {line.error:.2f}"
        ms = "" if math.isnan(line.ms) else f"{line.ms:.0f} ms"
        reached = f"{line.reached} of {line.campaigns}"
        rows.append(
            [line.solver, reached, format_trials(line.median), format_trials(line.p95), f"{line.mean:.2f}", more, ms]
        )
    return _aligned(rows)


def days_table(missed: Sequence[DaysScore]) -> list[str]:
    """The lines of a plain table of days left out, its head first."""
    rows = [["solver", "settings off by", "readings", "days"]]
    for miss in sorted(missed, key=lambda m: (math.isnan(m.rms), m.rms)):
        off = miss.why[:60] if math.isnan(miss.rms) else f"{miss.rms:.4f}"
        rows.append([miss.solver, off, str(miss.readings), str(miss.days)])
    return _aligned(rows)


def format_trials(value: float) -> str:
    """A number of trials; `never` for one that was not reached."""
    return "never" if math.isinf(value) else f"{value:g}"


def draw(ended: Sequence[BenchCampaign], summaries: Sequence[SolverSummary], max_trials: int, title: str) -> bytes:
    """How many goals each solver has reached after so many trials, as a PNG; needs the extra `report`.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise ConfigError(missing("pictures (--report)", "", error)) from error
    import numpy as np

    figure = Figure(figsize=(7.5, 1.2 + 0.34 * len(summaries)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    last = max((e.trials for e in ended if e.trials is not None), default=1)
    share = np.zeros((len(summaries), last))
    for row, line in enumerate(summaries):
        trials = [e.trials for e in ended if e.solver == line.solver]
        for column in range(last):
            share[row, column] = sum(t is not None and t <= column + 1 for t in trials) / len(trials)
    image = axes.imshow(
        share, aspect="auto", cmap="Blues", vmin=0, vmax=1, extent=(0.5, last + 0.5, len(summaries) - 0.5, -0.5)
    )
    axes.hlines(np.arange(len(summaries) - 1) + 0.5, 0.5, last + 0.5, color="white", lw=3)
    for row, line in enumerate(summaries):
        if not math.isinf(line.median):
            axes.plot([line.median], [row], "o", color="#d55e00", ms=5)
        text = f"{line.reached} of {line.campaigns}"
        axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), va="center", size=8, color="0.35")
    axes.set_yticks(range(len(summaries)), [line.solver for line in summaries], fontsize=9)
    axes.set_xlabel(f"trials, the point is the median; right: goals reached in {max_trials} trials", fontsize=8.5)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False, labelsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    bar = figure.colorbar(image, ax=axes, pad=0.13, aspect=18, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0", "50 %", "all"], fontsize=8)
    bar.set_label("goals reached so far", fontsize=8)
    bar.outline.set_visible(False)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=130)
    return drawn.getvalue()


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = [
        [c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, width, strict=True))] for row in rows
    ]
    return ["  ".join(row).rstrip() for row in cells]
