"""The command `sdl list`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdl.cli.options import RUNS, Json, Runs, emit
from sdl.cli.terminal import print_table, width
from sdl.formatting import display, percent, truncate
from sdl.store.resolve import folders

COLUMNS = ("id", "campaign", "when", "outcome", "trials", "error", "solver", "goal", "run")


def list_runs(runs: Runs = RUNS, json: Json = False) -> None:
    """List the runs, the newest first.

    \b
    sdl list
    sdl show 2d2bf8                        a run by its id

    `when` is local time; `error` that of the worst channel at the best trial.
    """
    from sdl.runs.listing import list_row

    rows = [list_row(folder) for folder in reversed(folders(runs))]
    if json:
        emit({"runs": [{key: value for key, value in row.items() if key != "short_goal"} for row in rows]})
    elif not rows:
        print(f"no runs in {runs}")
    else:
        _print(rows)


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = width()
    shown = COLUMNS[:-1] if columns else COLUMNS
    table = [list(shown)]
    for row in rows:
        error = row.get("worst_error")
        cells = {**row, "when": str(row["when"] or "")[:16].replace("T", " ")}
        if columns:  # without the year and the directory: an id is enough to name a run
            cells |= {"when": cells["when"][5:], "outcome": display(row["outcome"]), "goal": row.get("short_goal", "")}
            cells["solver"] = truncate(str(row.get("solver", "")), 8 if columns > 90 else 6)
        cells["error"] = percent(error) if error is not None else ""
        if row["outcome"] == "unreadable":
            cells["goal"] = row["reason"]
        table.append([str(cells.get(name, "")) for name in shown])
    print_table(table, [i for i, name in enumerate(shown) if name not in ("trials", "error")])
