"""The runs below a directory, each in a row: for `sdl list`, `sdl.list_runs()` and pages."""

from __future__ import annotations

import html
import os
import re
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl.errors import ConfigError, SdlError
from sdl.extras import missing
from sdl.runs.runs import Run
from sdl.store.lock import is_locked
from sdl.store.plainfile import open_existing
from sdl.store.record import LOCK
from sdl.store.resolve import RUNS, folders

if TYPE_CHECKING:
    from sdl.core.goal import Goal


class Listing(list[dict[str, Any]]):
    """Runs in rows, the newest first; a table in a notebook."""

    COLUMNS = ("campaign", "id", "when", "outcome", "trials", "worst_error", "solver", "goal")

    def to_pandas(self) -> Any:
        """The same as a pandas DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ConfigError(missing("DataFrames", "report", error)) from error
        return pandas.DataFrame(list(self))

    def _repr_html_(self) -> str:
        cells = [[html.escape(_cell(key, part.get(key))) for key in self.COLUMNS] for part in self]
        head = "".join(f"<th>{key.replace('_', ' ')}</th>" for key in self.COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{text}</td>" for text in line) + "</tr>" for line in cells)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def list_runs(runs: str | Path = RUNS) -> Listing:
    """All runs below a directory, the newest first: `sdl.list_runs()`.

    Each is a dictionary as `sdl list --json` prints it; `sdl.open_run(row["run"])` opens one.

    Args:
        runs: where they are.
    """
    return Listing(row(folder) for folder in reversed(folders(Path(runs))))


def _cell(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{100 * value:.3g} %"
    text = "" if value is None else str(value)
    return text[:16].replace("T", "\u00a0") if key == "when" else text  # the id tells the seconds


def holder(folder: Path) -> str:
    """The process that seems to write to a run now, as its lock tells; empty where there is none on this machine."""
    try:
        number = _named(folder)
        if number is None or sys.platform == "win32":  # there, asking for a process would end it
            return ""
        os.kill(number, 0)
    except PermissionError:
        pass  # there is one, of somebody else
    except (OSError, OverflowError):
        return ""
    # Its number may be another's by now. Only who holds the lock writes; it is not asked for one that is gone, since
    # asking keeps a resume out for a moment.
    return f"process {number}" if is_locked(folder / LOCK) else ""


def left(folder: Path) -> bool:
    """Whether nobody can be writing to a run: its lock names a process of this machine that is gone, or nobody."""
    try:
        return _named(folder) is not None and not holder(folder) and sys.platform != "win32"
    except OSError:
        return True


def _named(folder: Path) -> int | None:
    """The number of the process of this machine that a run's lock names; None where it names none.

    Raises:
        OSError: the lock cannot be read.
    """
    with open_existing(folder / LOCK) as stream:
        found = re.match(rb"process ([1-9][0-9]{0,9}) on (\S+)", stream.read(400))
    return int(found[1]) if found and found[2].decode(errors="replace") == socket.gethostname() else None


def row(folder: Path) -> dict[str, Any]:
    """A run in a row: what was wanted, what came of it; `unreadable` and the reason where its record is damaged."""
    known: dict[str, Any] = {"run": str(folder), "campaign": folder.parent.name, "id": folder.name.rpartition("-")[2]}
    try:
        run = Run(folder)
    except SdlError as error:
        return known | {"outcome": "unreadable", "reason": str(error), "when": started(folder.name)}
    done, config, goal = run.result, run.config, run.campaign.plan.goal
    outcome: str = done.outcome or ("running" if holder(folder) else "unfinished")
    return known | {
        "when": started(folder.name),
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
        "short_goal": short(goal),
        "instrument": run.opened.instrument["identity"],
    }


def started(name: str) -> str | None:
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


def short(goal: Goal | None) -> str:
    """`3 x 16384`, for a narrow column."""
    groups: dict[str, int] = {}
    for band in (goal.bands if goal else {}).values():
        text = str(band) if band.target is None else f"{band.target:g}"
        groups[text] = groups.get(text, 0) + 1
    return ", ".join(f"{n} x {text}" if n > 1 else text for text, n in groups.items())
