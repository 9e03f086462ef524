"""Campaigns that the page of `sdl web` starts: each is the command of that name, in a process of its own.

They are interrupted, and can be continued, when the server ends: its user must know what drives an instrument.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sdl import yamlfile
from sdl.config import CampaignFile
from sdl.core.campaign import State
from sdl.errors import ConfigError, translated_os_errors
from sdl.lab.http.resumable import resumable_run
from sdl.parallel import children
from sdl.runner.setup import new_name
from sdl.runs.runs import open_run
from sdl.store.resolve import FILE

MAX_RUNNING = 8
"""Campaigns of one page that run at the same time; more would slow each other down."""
BEGIN_SECONDS = 20.0
"""Time until a process must have begun its record."""
CLOSE_SECONDS = 30.0
"""Time for interrupted campaigns to finish their readings and to switch their instruments off."""
POLL = 0.05


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    interrupted: bool = False

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        """Why it ended: the reason of its JSON, or its last line."""
        self.output.seek(0)
        text = self.output.read().decode("utf-8", "replace").strip()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            answer = json.loads(text)
            return str(answer["reason"])
        return f"its process ended with exit code {self.process.returncode}"


class Launcher:
    """Starts, continues and interrupts campaigns; callable from any thread.

    Args:
        runs: directory of the runs.
        instruments: those of files, as plain values by name, on which it starts campaigns besides the installed ones.
    """

    def __init__(self, runs: Path, instruments: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._runs = runs
        self.instruments = dict(instruments or {})
        self._lock = threading.Lock()
        self._children: dict[str, _Child] = {}

    def start(self, campaign: CampaignFile) -> str:
        """Start a campaign, and return its run `CAMPAIGN/RUN`.

        Raises:
            ConfigError: too many are running, or it did not begin; the message says why.
        """
        run = f"{campaign.name}/{new_name()}"
        with translated_os_errors(self._runs), tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "campaign.yaml"
            file.write_text(yamlfile.dump(campaign.plain()), encoding="utf-8")
            words = ["run", str(file), "--runs", str(self._runs), "--folder", str(self._runs / run)]
            self._begin(run, words, lambda: _size(self._runs / run / FILE) > 0)
        return run

    def resume(self, run: str, changes: Sequence[str]) -> str:
        """Continue an ended or interrupted run, with changed rules.

        Raises:
            ConfigError: it cannot be continued, or not with these changes; nothing was started.
        """
        self._await_end(run)
        found = resumable_run(self._runs, run, changes)
        before = _size(found.folder / FILE)
        words = ["resume", str(found.folder), *(f"--set={change}" for change in changes)]
        self._begin(run, words, lambda: _size(found.folder / FILE) > before)
        return run

    def interrupt(self, run: str) -> None:
        """Interrupt a campaign after its current reading, as Ctrl-C does.

        Raises:
            ConfigError: this server did not start it, or it is not running.
        """
        with self._lock:
            child = self._children.get(run)
            if child is None or not child.running:
                raise ConfigError(f"{run}: not started from this page, or not running any more")
            child.interrupted = True
            child.process.send_signal(signal.SIGTERM)

    def _await_end(self, run: str) -> None:
        """Wait for a process whose campaign is over: it still switches its instrument off, or ends."""
        with self._lock:
            child = self._children.get(run)
        if child is None or not child.running:
            return
        if child.interrupted or open_run(self._runs / run).campaign.state is State.STOPPED:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(CLOSE_SECONDS)

    def is_running(self, run: str) -> bool:
        """Whether this server started a run that has not ended."""
        with self._lock:
            return (child := self._children.get(run)) is not None and child.running

    def close(self) -> list[str]:
        """Interrupt the running campaigns, wait for their ends, and return their runs."""
        with self._lock:
            running = {run: child for run, child in self._children.items() if child.running}
            for child in running.values():
                child.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + CLOSE_SECONDS
        for child in running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(until - time.monotonic(), POLL))
        with self._lock:
            self._forget_ended()
        return list(running)

    def _forget_ended(self) -> None:
        for run in [run for run, child in self._children.items() if not child.running]:
            self._children.pop(run).output.close()

    def _begin(self, run: str, words: Sequence[str], begun: Callable[[], bool]) -> None:
        """Start a process and wait until it writes to its record."""
        with self._lock:
            self._forget_ended()
            if len(self._children) >= MAX_RUNNING:
                raise ConfigError(f"{MAX_RUNNING} campaigns of this page are running already; wait for one to end")
            if run in self._children:
                raise ConfigError(f"{run} is running already")
            child = self._children[run] = self._process(words)
        until = time.monotonic() + BEGIN_SECONDS
        while child.running and not begun() and time.monotonic() < until:
            time.sleep(POLL)
        if begun():
            return
        if child.running:
            child.process.send_signal(signal.SIGTERM)
            raise ConfigError(f"{run}: nothing was written within {BEGIN_SECONDS:g} s; it was interrupted")
        raise ConfigError(child.said())

    def _process(self, words: Sequence[str]) -> _Child:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        with children.child_environment():
            process = subprocess.Popen(
                children.command(*words, "--quiet", "--json"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                start_new_session=os.name == "posix",  # Ctrl-C of the terminal reaches the server alone
            )
        return _Child(process, output)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
