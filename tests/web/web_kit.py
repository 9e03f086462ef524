"""Runs for the page: one real campaign on the twin, and cheap copies of its record under other names."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from processes import COMMAND, environment
from waiting import PATIENCE

import sdl
from sdl.core.events import Event, Opened
from sdl.errors import ConfigError
from sdl.lab.config.instruments import describe_instrument
from sdl.store import record
from tests.lab.surface_kit import ListLab

CAMPAIGN = {
    "name": "night",
    "instrument": {"kind": "twin", "seed": 1},
    "goal": {"445nm": 16384},
    "solver": "linear",
    "stop": {"trials": 12},
}


def real(runs: Path) -> tuple[Event, ...]:
    """The events of a campaign that was carried out."""
    return sdl.open_run(sdl.run(CAMPAIGN, runs=runs).run).events


def copy(events: Sequence[Event], runs: Path, name: str, stamp: str, config: dict[str, object] | None = None) -> Path:
    """The same record as another run; `config` changes keys of its configuration."""
    opened = events[0]
    assert isinstance(opened, Opened)
    tree = {**opened.config, **(config or {})}
    first = dataclasses.replace(opened, run=f"{name}/{stamp}", campaign=name, config=tree)
    folder = runs / name / stamp
    record.write_whole(folder, [first, *events[1:]])
    return folder


def poisoned(value: Any, evil: str) -> Any:
    """The same with markup in every text and every name of a channel."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value, **{f.name: poisoned(getattr(value, f.name), evil) for f in dataclasses.fields(value)}
        )
    if isinstance(value, Mapping):
        return {poisoned(key, evil): poisoned(item, evil) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(poisoned(item, evil) for item in value)
    return re.sub("445nm|every|twin:", lambda match: evil + match[0], value) if type(value) is str else value


class Served:
    """`sdl web` over a directory of runs, in a process of its own."""

    def __init__(self, runs: Path, state: Path) -> None:
        command = [*COMMAND, "web", "--runs", str(runs)]
        variables = environment(XDG_STATE_HOME=str(state))
        self.process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[0]
        self.token = next(state.glob("sdl/labs/*/token")).read_text().strip()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Append:
    """Writes the events of a record one after another, as its own process would: `record.lock` names this one."""

    def __init__(self, events: Sequence[Event], runs: Path, name: str, stamp: str) -> None:
        self.folder = runs / name / stamp
        self._left = list(events)
        self._record = record.Record.create(self.folder)

    def write(self, n: int = 1) -> None:
        for _ in range(n):
            self._record.append(self._left.pop(0))

    def close(self) -> None:
        self._record.close()


class PageLab(ListLab):
    """A small lab that takes campaigns in."""

    base = Path()

    def instrument(self, instrument: str) -> tuple[Any, Path]:
        if instrument != "led-1":
            raise ConfigError(f"unknown instrument {instrument!r}; allowed: led-1")
        return {"kind": "twin"}, self.runs

    def instruments(self) -> Sequence[Mapping[str, Any]]:
        return [describe_instrument("led-1", {"kind": "twin"})]

    def resume_run(self, run: str, changes: str, by: str) -> str:
        return self._did("resume-run", run, changes, by)

    def check(self, campaign: str, instrument: str) -> str:
        if "goal" not in campaign:
            raise ConfigError("goal: missing", "solver: unknown 'linnear'; allowed: linear")
        return f"by-hand on {instrument}: at most 30 trials"

    def start(self, campaign: str, instrument: str, by: str) -> str:
        self.check(campaign, instrument)
        return self._did("start", instrument, by)


def environ(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "OMP_NUM_THREADS": "1"}


class Http:
    """Asks an application without a server: a loop for each question, so that nothing is left between two."""

    def __init__(self, app: Any, base: str) -> None:
        self._app, self._base = app, base

    def get(self, path: str, **how: Any) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, how))

    def post(self, path: str, **how: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, how))

    async def _ask(self, method: str, path: str, how: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url=self._base, trust_env=False) as http:
            return await http.request(method, path, **how)
