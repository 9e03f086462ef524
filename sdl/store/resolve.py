"""Which run is meant: from what a person types to the directory of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from sdl.errors import ConfigError
from sdl.store.plainfile import open_existing

RUNS = Path("runs")
"""Where runs go unless told otherwise."""

FILE = "record.jsonl"
"""What makes a directory a run; `sdl.store.record` writes it."""


def folders(runs: Path = RUNS) -> list[Path]:
    """The directories of all runs below `runs`, oldest first."""
    return sorted((file.parent for file in runs.glob(f"*/*/{FILE}")), key=lambda folder: folder.name)


def find(name: str | Path, runs: Path = RUNS, *, goal: bool = False) -> Path:
    """The directory of a run.

    Args:
        name: a run's directory or its record.jsonl; a directory with runs in it, for the newest of them; `latest`; the
            name of a campaign or `campaign/latest`, for its newest run; or a part of `campaign/run` that only one has.
        runs: where names are looked up.
        goal: where the newest is meant, the newest with a goal; collections and measurements only where no run has one.

    Raises:
        ConfigError: there is none, or there are several.
    """
    given, text = Path(name), _plain(name, runs)
    if os.path.isfile(given / FILE):  # unlike Path.is_file, False where a name is too long
        return given
    if os.path.isfile(given):
        if given.name == FILE:
            return given.parent
        raise ConfigError(f"{name} is a file, not a run; a run is a directory with a {FILE} in it")
    every = folders(runs)
    inside = _inside(given) if os.path.isdir(given) else []
    fits = inside or [f for f in every if text == "latest" or text.removesuffix("/latest") == f.parent.name]
    if fits:
        return next((run for run in reversed(fits) if goal and has_goal(run)), fits[-1])
    fits = [folder for folder in every if text and text in _short(folder)]
    if len(fits) == 1:
        return fits[0]
    raise ConfigError(_several(name, fits) if fits else _none(name, text, every, runs))


def has_goal(folder: Path) -> bool:
    """Whether a run looks for a goal; True where its first line does not tell, so that nobody is spared its damage."""
    try:
        with open_existing(folder / FILE) as stream:
            return json.loads(stream.readline())["config"]["goal"] is not None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return True


def source(name: str, base: Path, runs: Path = RUNS) -> Path:
    """A data set: a file, relative to `base`, or else a run by any name that `find` knows.

    Raises:
        ConfigError: it is neither.
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
    """As it is found in `campaign/run`: without the directory of the runs, which a shell may have completed."""
    return str(name).rstrip("/").removeprefix("./").removeprefix(f"{runs}/")


def _short(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _inside(folder: Path) -> list[Path]:
    """The runs of a campaign's directory, or of a directory of campaigns."""
    found = sorted((file.parent for file in folder.glob(f"*/{FILE}")), key=lambda run: run.name)
    return found or folders(folder)


def _several(name: str | Path, fits: Sequence[Path]) -> str:
    shown = ", ".join(_short(folder) for folder in fits[:-4:-1]) + (", …" if len(fits) > 3 else "")
    return f"{name} fits {len(fits)} runs: {shown}; name one of them"


def _none(name: str | Path, text: str, every: Sequence[Path], runs: Path) -> str:
    told = str(name) if len(str(name)) <= 300 else "…" + str(name)[-300:]
    if not every:
        return f"{told} is no run, and there is no run below {runs}"
    campaigns = list(dict.fromkeys(folder.parent.name for folder in reversed(every)))
    known = ["latest", *campaigns, *(_short(f) for f in reversed(every)), *(f.name for f in reversed(every))]
    near = get_close_matches(text[:100], known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"campaigns with runs: {', '.join(campaigns[:8])};"
    return f"{told} is no run, and no run below {runs} has it in its name; {hint} `sdl list` shows all"
