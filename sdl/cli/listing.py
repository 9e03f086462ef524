"""The command that lists the runs."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sdl.cli.options import RUNS, Json, Runs, emit
from sdl.errors import SdlError

if TYPE_CHECKING:
    from sdl.goal import Goal

COLUMNS = ("id", "campaign", "when", "outcome", "trials", "error", "solver", "goal", "run")


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("list")(list_runs)


def list_runs(runs: Runs = RUNS, json: Json = False) -> None:
    """List the runs, the newest first.

    \b
    sdl list
    sdl show 2d2bf8                        a run by its id

    `when` is local time; `error` that of the worst channel at the best trial.
    """
    from sdl.locate import folders

    rows = [_row(folder) for folder in reversed(folders(runs))]
    if json:
        emit({"runs": [{key: value for key, value in row.items() if key != "short_goal"} for row in rows]})
    elif not rows:
        print(f"no runs in {runs}")
    else:
        _print(rows)


def holder(folder: Path) -> str:
    """The process that seems to write to a run now, as its lock tells; empty where there is none on this machine."""
    try:
        words = (folder / "record.lock").read_text(encoding="utf-8", errors="replace").split()
        number, host = int(words[1]), words[3]
        if sys.platform == "win32" or host != socket.gethostname():  # there, asking for a process would end it
            return ""
        os.kill(number, 0)
    except PermissionError:
        pass  # there is one, of somebody else
    except (OSError, ValueError, IndexError, OverflowError):
        return ""
    return f"process {number}"


def _row(folder: Path) -> dict[str, Any]:
    from sdl.runs import Run

    row: dict[str, Any] = {"run": str(folder), "campaign": folder.parent.name, "id": folder.name.rpartition("-")[2]}
    try:
        run = Run(folder)
    except SdlError as error:
        return row | {"outcome": "unreadable", "reason": str(error), "when": _when(folder.name)}
    done, config, goal = run.result, run.config, run.campaign.plan.goal
    outcome: str = done.outcome or ("running" if holder(folder) else "unfinished")
    return row | {
        "when": _when(folder.name),
        "outcome": outcome,
        "reason": done.reason,
        "trials": done.trials,
        "readings": done.readings,
        "failed": done.failed,
        "error": done.error,
        "worst": done.worst,
        "worst_error": goal.bands[done.worst].error(done.measured[done.worst]) if goal and done.worst else None,
        "solver": config.get("solver" if goal else "design", {}).get("kind", ""),
        "goal": _goal(goal),
        "short_goal": _short(goal),
        "instrument": run.opened.instrument["identity"],
    }


def _when(name: str) -> str | None:
    """When a run was started, in ISO 8601 and local time, from its name; None where that does not tell."""
    stamp = name.partition("Z-")[0]
    for form in ("%Y%m%dT%H%M%S.%f", "%Y%m%dT%H%M%S"):
        try:
            return datetime.strptime(stamp, form).replace(tzinfo=UTC).astimezone().isoformat(timespec="seconds")
        except ValueError:
            continue
    return None


def _goal(goal: Goal | None) -> str:
    """`16384 ± 327.68 at 445nm 515nm`: channels that want the same together."""
    groups: dict[str, list[str]] = {}
    for name, band in (goal.bands if goal else {}).items():
        groups.setdefault(str(band), []).append(name)
    return ", ".join(f"{band} at {' '.join(names)}" for band, names in groups.items())


def _short(goal: Goal | None) -> str:
    """`3 x 16384`, for a narrow column."""
    groups: dict[str, int] = {}
    for band in (goal.bands if goal else {}).values():
        text = str(band) if band.target is None else f"{band.target:g}"
        groups[text] = groups.get(text, 0) + 1
    return ", ".join(f"{n} x {text}" if n > 1 else text for text, n in groups.items())


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    from sdl.cli.words import percent, width

    columns = width()
    table = [list(COLUMNS)]
    for row in rows:
        error = row.get("worst_error")
        cells = {**row, "when": str(row["when"] or "")[:16].replace("T", " ")}
        if columns:  # the year and the directory are for who copies; an id is enough to name a run
            cells |= {"when": cells["when"][5:], "goal": row.get("short_goal", "")}
            cells["solver"] = _cut(str(row.get("solver", "")), 8 if columns > 90 else 6)
        cells["error"] = percent(error) if error is not None else ""
        if row["outcome"] == "unreadable":
            cells["goal"] = row["reason"]
        table.append([str(cells.get(name, "")) for name in COLUMNS])
    if columns:
        table = [cells[:-1] for cells in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        parts = [
            text.rjust(most) if name in ("trials", "error") else text.ljust(most)
            for name, text, most in zip(COLUMNS, line, widths, strict=False)
        ]
        text = "  ".join(parts).rstrip()
        print(_cut(text, columns) if columns else text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
