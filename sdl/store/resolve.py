"""Resolve the name of a run, as a user types it, to its directory."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

from sdl.errors import ConfigError
from sdl.store import archived
from sdl.store.plainfile import open_existing

RUNS = Path("runs")  # default directory of runs

_STAMP = re.compile(r"\d{8}T\d{6}(\.\d{1,6})?")
FILE = "record.jsonl"  # the record; a directory that has one is a run


def folders(runs: Path = RUNS) -> list[Path]:
    """The directories of all runs below `runs`, oldest first; without archived ones."""
    found = (file.parent for file in runs.glob(f"*/*/{FILE}"))
    return sorted((folder for folder in found if not folder.name.startswith(".")), key=_order)


def every_run(runs: Path = RUNS) -> list[Path]:
    """As `folders`, with the former directories of archived runs."""
    return sorted([*folders(runs), *archived.archived(runs)], key=_order)


def _order(folder: Path) -> tuple[str, str]:
    """Start and name of a run; the start is in its name, or else in the first line of its record."""
    stamp = folder.name.partition("Z-")[0]
    if _STAMP.fullmatch(stamp):
        return f"{stamp[:15]}.{stamp[16:]:0<6}", folder.name
    try:
        with open_existing(folder / FILE) as stream:
            at = datetime.fromtimestamp(json.loads(stream.readline())["at"], UTC)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "", folder.name
    return at.strftime("%Y%m%dT%H%M%S.%f"), folder.name


def run_below(runs: Path, name: str) -> Path | None:
    """The directory of the run `CAMPAIGN/RUN`, perhaps of an archived one; None if it is none, or lies elsewhere."""
    parts = name.split("/")
    if len(parts) != 2 or any(not p or p.startswith(".") or len(p) > 255 or set(p) & {"\\", "\0"} for p in parts):
        return None
    for place in (Path(name, FILE), archived.archive_of(Path(name))):
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            if (runs / place).resolve(strict=True) == runs.resolve() / place:
                return runs / name
            return None  # a link
    return None


def find(name: str | Path, runs: Path = RUNS, *, goal: bool = False) -> Path:
    """The directory of a run; for an archived run that of its unpacked copy.

    Args:
        name: a run's directory or its record.jsonl; a directory of runs, for the newest of them; `latest`; the name of
            a campaign or `campaign/latest`, for its newest run; or a unique part of `campaign/run`.
        runs: directory in which names are looked up.
        goal: prefer the newest run with a goal to newer runs without one.

    Raises:
        ConfigError: no run matches, or several do. Damaged: its archive is damaged.
    """
    return archived.opened(locate(name, runs, goal=goal))


def locate(name: str | Path, runs: Path = RUNS, *, goal: bool = False) -> Path:
    """As `find`, but for an archived run the directory that it had.

    Raises:
        ConfigError: no run matches, or several do.
    """
    given, text = Path(str(name).removesuffix(archived.SUFFIX)), _plain(name, runs).removesuffix(archived.SUFFIX)
    if given.name and archived.is_archived(given):
        return given
    given = Path(name)
    if os.path.isfile(given / FILE):  # unlike Path.is_file, False where a name is too long
        return given
    if os.path.isfile(given):
        if given.name == FILE:
            return given.parent
        raise ConfigError(f"{name} is a file, not a run; a run is a directory with a {FILE} in it")
    every = every_run(runs)
    inside = runs_inside(given) if os.path.isdir(given) else []
    fits = inside or [f for f in every if text == "latest" or text.removesuffix("/latest") == f.parent.name]
    if fits:
        return next((run for run in reversed(fits) if goal and has_goal(archived.opened(run))), fits[-1])
    fits = [folder for folder in every if text and text in _short(folder)]
    if len(fits) == 1:
        return fits[0]
    raise ConfigError(_several(name, fits) if fits else _none(name, text, every, runs))


def start_time(name: str) -> str | None:
    """Start of a run in ISO 8601 and local time, from its name; None where the name has no time."""
    stamp = name.partition("Z-")[0]
    if not _STAMP.fullmatch(stamp):
        return None
    try:
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC).astimezone().isoformat(timespec="seconds")
    except ValueError:
        return None


def has_goal(folder: Path) -> bool:
    """Whether a run has a goal; True if its first line is damaged, so that the damage is reported later."""
    try:
        with open_existing(folder / FILE) as stream:
            return json.loads(stream.readline())["config"]["goal"] is not None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return True


def source(name: str, base: Path, runs: Path = RUNS) -> Path:
    """Resolve a data set: a file relative to `base`, or a run by any name that `find` accepts.

    Raises:
        ConfigError: there is no such file or run.
    """
    path = base / name
    if os.path.isfile(path):
        return path
    if os.path.isdir(path):
        return find(path, runs)
    try:
        return find(name, runs)
    except ConfigError as error:
        raise ConfigError(f"no such file or directory: {error}") from error


def _plain(name: str | Path, runs: Path) -> str:
    """The name relative to the directory of runs, as shells complete it."""
    return str(name).rstrip("/").removeprefix("./").removeprefix(f"{runs}/")


def _short(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def runs_inside(folder: Path) -> list[Path]:
    """The runs in the directory of a campaign, or in a directory of campaigns, as by `every_run`."""
    inside = [file.parent for file in folder.glob(f"*/{FILE}") if not file.parent.name.startswith(".")]
    runs = sorted([*inside, *archived.archived(folder, "*")], key=_order)
    return runs or every_run(folder)


def _several(name: str | Path, fits: Sequence[Path]) -> str:
    shown = ", ".join(_short(folder) for folder in fits[:-4:-1]) + (", …" if len(fits) > 3 else "")
    return f"{name} fits {len(fits)} runs: {shown}; name one of them"


def _none(name: str | Path, text: str, every: Sequence[Path], runs: Path) -> str:
    shown_name = str(name) if len(str(name)) <= 300 else "…" + str(name)[-300:]
    if not every:
        return f"{shown_name} is no run, and there is no run below {runs}"
    campaigns = list(dict.fromkeys(folder.parent.name for folder in reversed(every)))
    known = ["latest", *campaigns, *(_short(f) for f in reversed(every)), *(f.name for f in reversed(every))]
    near = get_close_matches(text[:100], known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"campaigns with runs: {', '.join(campaigns[:8])};"
    return f"{shown_name} is no run, and no run below {runs} has it in its name; {hint} `sdl list` shows all"
