"""Summary of a sweep: one line per combination of the grid, as a table, plain values or a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl.errors import ConfigError, RecordError
from sdl.extras import missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class GridGroup:
    """The campaigns with the same values of the grid keys.

    Attributes:
        values: of the grid keys, as text.
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


def quantile(trials: Sequence[float] | NDArray[np.float64], percent: float) -> float:
    """Trials by which `percent` of the campaigns have reached their goal; inf if fewer ever do."""
    import numpy as np

    ordered = np.sort(np.asarray(trials, dtype=float))
    return float(ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)])


def format_trials(value: float) -> str:
    """A number of trials as text; `never` for inf."""
    return "never" if math.isinf(value) else f"{value:g}"


def groups(data: Path, keys: Sequence[str]) -> list[GridGroup]:
    """Read the data set and summarise it.

    Args:
        data: results.parquet; only the necessary columns are read.
        keys: columns that define the groups; without any there is one group.

    Raises:
        RecordError: it cannot be read.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(data, columns=[*keys, "outcome", "trials", "error"])
    except (OSError, pa.ArrowInvalid) as wrong:
        raise RecordError(f"{data}: cannot be read: {wrong}") from wrong
    if not len(table):
        return []
    reached = np.asarray(table["outcome"].to_numpy(zero_copy_only=False) == "reached")
    trials = np.where(reached, table["trials"].to_numpy(), np.inf)
    off = np.where(reached, table["error"].cast("float64").to_numpy(zero_copy_only=False), np.nan)
    code = np.zeros(len(table), dtype=np.int64)
    texts: list[list[str]] = []
    for key in keys:
        column = table[key].combine_chunks().dictionary_encode()
        texts.append([_text(value) for value in column.dictionary.to_pylist()])
        code = code * len(texts[-1]) + column.indices.to_numpy()
    unique, first, which = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(which, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(which))[:-1])
    found = []
    for index in np.argsort(first):  # in the order of the plan
        rows, rest, values = parts[index], int(unique[index]), []
        for text in reversed(texts):
            rest, at = divmod(rest, len(text))
            values.append(text[at])
        good = off[rows][~np.isnan(off[rows])]
        ordered = np.sort(trials[rows])
        found.append(
            GridGroup(
                tuple(reversed(values)),
                len(rows),
                int(reached[rows].sum()),
                quantile(ordered, 50),
                quantile(ordered, 95),
                float(np.median(good)) if len(good) else math.nan,
                ordered,
            )
        )
    return found


def table(summaries: Sequence[GridGroup], keys: Sequence[str]) -> list[str]:
    """The lines of a table, header first."""
    head = [*keys, "campaigns", "reached", "trials: median", "p95", "error"]
    rows = [head]
    for group in summaries:
        error = "" if math.isnan(group.error) else f"{100 * group.error:.2f} %"
        counts = [str(group.campaigns), f"{100 * group.reached / group.campaigns:.3g} %"]
        rows.append([*group.values, *counts, format_trials(group.median), format_trials(group.p95), error])
    width = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(w) if i < len(keys) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, width, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def draw(summaries: Sequence[GridGroup], keys: Sequence[str], file: Path, title: str) -> None:
    """Draw the trials of each group: a bar from the fewest to the p95, a mark at the median; needs `report`.

    Raises:
        ConfigError: matplotlib is not installed, there are too many groups, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(missing("figures (--plot)", "", error)) from error
    if len(summaries) > 60:
        raise ConfigError(f"--plot: {len(summaries)} groups do not fit in one figure; at most 60")
    slowest = max((float(g.trials[g.trials < math.inf].max()) for g in summaries if g.reached), default=1.0)
    end = slowest + 1
    figure = Figure(figsize=(7.5, 1.3 + 0.32 * len(summaries)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, group in enumerate(summaries):
        low, middle, high = (min(v, end) for v in (float(group.trials[0]), group.median, group.p95))
        axes.plot([low, high], [row, row], color="#9ec9e2", lw=8, solid_capstyle="butt")
        axes.plot([middle], [row], "|", color="#0072b2", ms=13, mew=3)
        share = 100 * group.reached / group.campaigns
        ink = "#b2182b" if group.reached < group.campaigns else "0.35"
        axes.text(
            1.01,
            row,
            f"{share:.3g} % of {group.campaigns}",
            transform=axes.get_yaxis_transform(),
            va="center",
            size=8,
            color=ink,
        )
    axes.text(1.01, -0.75, "reached", transform=axes.get_yaxis_transform(), va="center", size=8, color="0.35")
    axes.set_yticks(range(len(summaries)), [" · ".join(g.values) or "all" for g in summaries], fontsize=9)
    axes.set_ylim(len(summaries) - 0.5, -1.0)
    axes.set_xlim(0, end + 0.3)
    if any(math.isinf(g.p95) for g in summaries):
        axes.axvline(end, color="0.7", lw=0.8, ls=":")
        axes.text(end, -0.75, "never ", ha="right", va="center", size=8, color="0.35")
    axes.set_xlabel("trials until the goal is reached: from the fewest to the 95th percentile; mark: median")
    axes.set_title(f"{title}   ({', '.join(keys)})" if keys else title, fontsize=10, loc="left")
    axes.xaxis.label.set_fontsize(8.5)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False, labelsize=9)
    axes.grid(axis="x", color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    try:
        figure.savefig(file, dpi=130)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: the figure cannot be written: {error}") from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
