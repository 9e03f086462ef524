"""The runs below a directory, one row each: for `sdl list`, `sdl.list_runs()` and the web pages."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdl.core.goal import Goal
from sdl.core.trials import Trial
from sdl.errors import SdlError
from sdl.notebook import table
from sdl.runs import notes
from sdl.runs.runs import data_frame, fold, result_of
from sdl.store.archived import unpacked
from sdl.store.lock import writing_process
from sdl.store.record import read
from sdl.store.resolve import RUNS, every_run, start_time

CURVE_POINTS = 40
"""Most points of a sparkline."""


class Listing(list[dict[str, Any]]):
    """One row per run, the newest first; shown as a table in a notebook."""

    COLUMNS = ("campaign", "id", "when", "outcome", "trials", "worst_error", "solver", "goal")

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        return data_frame(self)

    def _repr_html_(self) -> str:
        head = [key.replace("_", " ") for key in self.COLUMNS]
        return table(head, [[_cell(key, part.get(key)) for key in self.COLUMNS] for part in self])


def list_runs(runs: str | Path = RUNS) -> Listing:
    """All runs below a directory, the newest first: `sdl.list_runs()`.

    Each is a dictionary as printed by `sdl list --json`; `sdl.open_run(row["run"])` opens one.
    """
    return Listing(list_row(folder) for folder in reversed(every_run(Path(runs))))


def _cell(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{100 * value:.3g} %"
    text = "" if value is None else str(value)
    return text[:16].replace("T", "\u00a0") if key == "when" else text  # the id has the seconds


def list_row(folder: Path) -> dict[str, Any]:
    """The row of a run: goal, outcome, error; `unreadable` and the reason where its record is damaged.

    For an archived run, `folder` is the directory that it had; the row has its notes.
    """
    names: dict[str, Any] = {"run": str(folder), "campaign": folder.parent.name, "id": folder.name.rpartition("-")[2]}
    try:
        with unpacked(folder) as place:
            row = _row(place)
            if place != folder:
                row |= {"archived": True, "notes": notes.read(place).model_dump()}
            return names | row
    except SdlError as error:
        return names | {"outcome": "unreadable", "reason": str(error), "when": start_time(folder.name)}


def _row(folder: Path) -> dict[str, Any]:
    folded = fold(read(folder), folder)
    campaign = folded.campaign
    done, goal, best = result_of(campaign, folder), campaign.plan.goal, campaign.history.best
    outcome: str = done.outcome or ("running" if writing_process(folder) else "unfinished")
    return {
        "when": start_time(folder.name),
        "outcome": outcome,
        "reason": done.reason,
        "trials": done.trials,
        "readings": done.readings,
        "failed": done.failed,
        "error": done.error,
        "worst": done.worst,
        "worst_error": best.worst_error if best else None,
        "solver": folded.tree.get("solver" if goal else "design", {}).get("kind", ""),
        "goal": goal_text(goal),
        "short_goal": short_goal(goal),
        "instrument": folded.opened.instrument["identity"],
        "ratio": best.miss if best and best.worst_error is not None else None,
        "curve": curve(campaign.history.closed, goal),
        "objective": (goal.objective or "") if goal else "",
    }


def curve(trials: Sequence[Trial], goal: Goal | None) -> list[float]:
    """A sparkline: the tolerance ratio of the worst channel by trial; with an objective its reading.

    Many trials are drawn in groups of consecutive ones: the smallest ratio of each, or its best reading.
    """
    if goal is not None and goal.objective is not None:
        values = [trial.mean[goal.objective] for trial in trials if trial.judged and goal.objective in trial.mean]
    else:
        values = [trial.miss for trial in trials if trial.judged]
    best = max if goal is not None and goal.direction == "maximise" else min
    stretches = min(len(values), CURVE_POINTS)
    ends = [len(values) * n // stretches for n in range(stretches + 1)] if stretches else [0]
    return [float(f"{best(values[a:b]):.4g}") for a, b in itertools.pairwise(ends)]


def goal_text(goal: Goal | None) -> str:
    """`16384 ± 327.68 at 445nm 515nm`: channels with equal bands together."""
    bands = {name: str(band) for name, band in (goal.bands if goal else {}).items()}
    names = {text: " ".join(name for name in bands if bands[name] == text) for text in bands.values()}
    return ", ".join(f"{text} at {listed}" for text, listed in names.items())


def short_goal(goal: Goal | None) -> str:
    """A goal for a narrow column: `3 x 16384`."""
    bands = goal.bands.values() if goal else ()
    groups = Counter(str(band) if band.target is None else f"{band.target:g}" for band in bands)
    return ", ".join(f"{n} x {text}" if n > 1 else text for text, n in groups.items())
