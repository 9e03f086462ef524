"""Runs, explanations and figures, read from the records below one directory."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from sdl.errors import ConfigError
from sdl.mcp.commands import command
from sdl.parallel import children
from sdl.report.figures import known
from sdl.runs.listing import list_row
from sdl.store.resolve import folders, run_below

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
RUN = re.compile(rf"{NAME}/{NAME}")
SHOWN = ("when", "outcome", "reason", "trials", "readings", "failed", "error", "worst", "solver", "goal", "instrument")
FIGURE_SECONDS = 120.0


class Records:
    """The records of the runs on some instruments.

    Args:
        runs: directory of the runs.
        identities: identities of the instruments whose runs may be seen; None: all.
    """

    def __init__(self, runs: Path, identities: Callable[[], Collection[str]] | None = None) -> None:
        self._runs, self._identities = runs, identities

    def newest(self, count: int, campaign: str = "") -> list[dict[str, Any]]:
        """The newest runs, one row each."""
        rows: list[dict[str, Any]] = []
        seen = None if self._identities is None else self._identities()
        for folder in reversed(folders(self._runs)):
            if len(rows) == count:
                break
            if campaign in ("", folder.parent.name):
                row = list_row(folder)
                if seen is None or row.get("instrument") in seen:
                    rows.append({"run": f"{folder.parent.name}/{folder.name}", **{key: row.get(key) for key in SHOWN}})
        return rows

    def show(self, run: str) -> dict[str, Any]:
        """Goal, trials and outcome of a run."""
        return dict(self._without_paths(command("show", str(self.folder(run)))))

    def explain(self, run: str, trial: int | None) -> dict[str, Any]:
        """Who proposed a trial and why; without a number, the same for all trials."""
        words = [str(self.folder(run)), *([] if trial is None else [str(trial)])]
        return dict(self._without_paths(command("explain", *words)))

    def figure(self, run: str, name: str) -> bytes:
        """A figure of the report as PNG."""
        if name not in self.figures():
            raise ConfigError(f"unknown figure {name!r}; allowed: {', '.join(self.figures())}")
        folder = self.folder(run)
        with tempfile.TemporaryDirectory(dir=children.temporary_folder()) as place:
            out = Path(place)
            command(
                "report", str(folder), "-o", str(out / "report.html"), "--png", place, "--quiet",
                seconds=FIGURE_SECONDS,
            )  # fmt: skip
            found = sorted(out.rglob(f"{name}.png"))
            if not found:
                raise ConfigError(f"{run} has nothing to show in the figure {name}")
            return found[0].read_bytes()

    @staticmethod
    def figures() -> list[str]:
        """The names of the figures."""
        return list(known())

    def folder(self, run: str) -> Path:
        """The directory of a run `CAMPAIGN/RUN`.

        Raises:
            ConfigError: the name has another form, there is no such run, or its instrument may not be seen.
        """
        if not RUN.fullmatch(run) or ".." in run:
            raise ConfigError("run: must be CAMPAIGN/RUN, as the tool `runs` lists it")
        folder, seen = run_below(self._runs, run), None if self._identities is None else self._identities()
        if folder is None or (seen is not None and list_row(folder).get("instrument") not in seen):
            raise ConfigError(f"no run {run}")
        return folder

    def _without_paths(self, value: Any) -> Any:
        """Plain values in which the directory of the runs is not named."""
        if isinstance(value, dict):
            return {key: self._without_paths(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._without_paths(item) for item in value]
        if isinstance(value, str):
            for path in (f"{self._runs.absolute()}/", f"{self._runs}/"):
                value = value.replace(path, "")
        return value
