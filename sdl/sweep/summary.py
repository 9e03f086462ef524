"""Summary of a sweep: one line per combination of the grid, as a table, plain values or a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sdl.errors import ConfigError, RecordError
from sdl.formatting import aligned

FAINT, LINE, PAPER = "#5c5c5e", "#d2d2d4", "#fefefe"
"""Secondary text, grid and background, as in `sdl.report.style`, which replaces them in dark mode."""
MAX_DRAWN = 60  # largest number of groups in a figure


@dataclass(frozen=True)
class GridGroup:
    """The campaigns with the same values of the grid keys.

    Attributes:
        values: values of the grid keys, as text.
        campaigns, reached: numbers of campaigns, and of those that reached the goal.
        median, p95: trials until the goal was reached; inf if too few campaigns reached it.
        error: median relative error of the worst channel, of those that reached the goal; NaN without any.
        trials: (campaigns,) sorted; inf for one that did not reach the goal.
    """

    values: tuple[str, ...]
    campaigns: int
    reached: int
    median: float
    p95: float
    error: float
    trials: NDArray[np.float64]

    def plain(self, keys: Sequence[str]) -> dict[str, Any]:
        """Values for JSON; null for inf and NaN."""
        values: dict[str, Any] = dict(zip(keys, self.values, strict=True))
        values |= {"campaigns": self.campaigns, "reached": self.reached}
        numbers = {"median": self.median, "p95": self.p95, "error": self.error}
        return values | {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def quantile(trials: Iterable[float | None], percent: float) -> float:
    """Trials after which `percent` of the campaigns have reached their goal; inf if fewer reach it.

    A campaign that did not reach it counts as None or inf.
    """
    ordered = sorted(math.inf if number is None else float(number) for number in trials)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def format_trials(value: float) -> str:
    """A number of trials as text; `never` for inf."""
    return "never" if math.isinf(value) else f"{value:g}"


def groups(data: Path, keys: Sequence[str]) -> list[GridGroup]:
    """Read the data set and summarise it.

    `keys` are the columns that define the groups; without any there is one group.

    Raises:
        RecordError: it cannot be read.
    """
    import pyarrow as pa  # of the extra `sweep`; `sdl bench` draws without it
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(data, columns=[*keys, "outcome", "trials", "error"])
    except (OSError, pa.ArrowInvalid) as wrong:
        raise RecordError(f"{data}: cannot be read: {wrong}") from wrong
    reached = pc.equal(rows["outcome"], "reached")
    columns = {key: rows[key] for key in keys} | {
        "trials": pc.if_else(reached, rows["trials"].cast("float64"), math.inf),
        "error": pc.if_else(reached, rows["error"].cast("float64"), None),
        "all": pa.repeat(True, len(rows)),  # one group where no key defines any
    }
    lists = pa.table(columns).group_by([*keys, "all"], use_threads=False)  # in the order of the plan
    summaries = []
    for group in lists.aggregate([("trials", "list"), ("error", "list")]).to_pylist():
        trials = np.sort(np.array(group["trials_list"]))
        errors = [error for error in group["error_list"] if error is not None]
        summaries.append(
            GridGroup(
                tuple(_text(group[key]) for key in keys),
                len(trials),
                int(np.isfinite(trials).sum()),
                quantile(trials, 50),
                quantile(trials, 95),
                float(np.median(errors)) if errors else math.nan,
                trials,
            )
        )
    return summaries


def table_rows(summaries: Sequence[GridGroup], keys: Sequence[str]) -> list[list[str]]:
    """The rows of a table, header first."""
    rows = [[*keys, "campaigns", "reached", "trials: median", "p95", "error"]]
    for group in summaries:
        error = "" if math.isnan(group.error) else f"{100 * group.error:.2f} %"
        counts = [str(group.campaigns), f"{100 * group.reached / group.campaigns:.3g} %"]
        rows.append([*group.values, *counts, format_trials(group.median), format_trials(group.p95), error])
    return rows


def table(summaries: Sequence[GridGroup], keys: Sequence[str]) -> list[str]:
    """The lines of a table, header first."""
    return aligned(table_rows(summaries, keys), range(len(keys)))


def row_figure(labels: Sequence[str], title: str, x_label: str) -> tuple[Figure, Axes]:
    """An empty figure with a labelled row for each of some groups or solvers."""
    figure = Figure(figsize=(7.5, 1.3 + 0.33 * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_xlabel(x_label, fontsize=8.5)
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False, labelsize=9)
    return figure, axes


def beside(axes: Axes, row: float, text: str, color: str = FAINT) -> None:
    """Write a text to the right of a row."""
    axes.text(1.01, row, text, transform=axes.get_yaxis_transform(), va="center", size=8, color=color)


def figure_of(summaries: Sequence[GridGroup], keys: Sequence[str], title: str) -> Figure:
    """The trials of each group: a bar from the fewest to the p95, a mark at the median.

    Raises:
        ConfigError: there are too many groups.
    """
    if len(summaries) > MAX_DRAWN:
        raise ConfigError(f"--plot: {len(summaries)} groups do not fit in one figure; at most {MAX_DRAWN}")
    labels = [" · ".join(group.values) or "all" for group in summaries]
    x_label = "trials until the goal is reached: from the fewest to the 95th percentile; mark: median"
    head = f"{title}   ({', '.join(keys)})" if keys else title
    figure, axes = row_figure(labels, head, x_label)
    end = 1 + max((float(g.trials[g.trials < math.inf].max()) for g in summaries if g.reached), default=1.0)
    for row, group in enumerate(summaries):
        low, middle, high = (min(v, end) for v in (float(group.trials[0]), group.median, group.p95))
        axes.plot([low, high], [row, row], color="#9ec9e2", lw=8, solid_capstyle="butt")
        axes.plot([middle], [row], "|", color="#0072b2", ms=13, mew=3)
        part = f"{100 * group.reached / group.campaigns:.3g} % of {group.campaigns}"
        beside(axes, row, part, "#b2182b" if group.reached < group.campaigns else FAINT)
    beside(axes, -0.75, "reached")
    axes.set_ylim(len(summaries) - 0.5, -1.0)
    axes.set_xlim(0, end + 0.3)
    if any(math.isinf(g.p95) for g in summaries):
        axes.axvline(end, color=LINE, lw=0.8, ls=":")
        axes.text(end, -0.75, "never ", ha="right", va="center", size=8, color=FAINT)
    axes.grid(axis="x", color=LINE, lw=0.8)
    axes.set_axisbelow(True)
    return figure


def draw(summaries: Sequence[GridGroup], keys: Sequence[str], file: Path, title: str) -> None:
    """Write the figure to a file.

    Raises:
        ConfigError: as `figure_of`, or the file cannot be written.
    """
    figure = figure_of(summaries, keys, title)
    try:
        figure.savefig(file, dpi=130)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: the figure cannot be written: {error}") from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
