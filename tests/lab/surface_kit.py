"""A small lab that is real enough to be asked: it keeps holds and starts in lists, without a loop or a clock."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdl.errors import ConfigError


class ListLab:
    """`Control` over lists. `done` is everything that was ever changed, in order."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        (runs / "bench.lab").mkdir(parents=True, exist_ok=True)
        self.done: list[tuple[str, ...]] = []
        self.running: dict[int, dict[str, Any]] = {}
        self.held: dict[str, dict[str, Any]] = {}
        self.past: list[dict[str, Any]] = []
        self.submissions: list[dict[str, Any]] = []
        self.lost = ""
        self.stuck = False
        self.zone = "UTC"
        self._lock = threading.Lock()

    def begin(self, start: int, job: str = "night", run: str = "") -> None:
        self.running[start] = {
            "start": start, "job": job, "instrument": "led-1", "run": run, "since": 90.0,
            "attempt": 0, "readings": 3, "paused": "",
        }  # fmt: skip

    def end(self, start: int, outcome: str = "reached", at: float = 100.0) -> None:
        row = self.running.pop(start)
        self.past.insert(0, {
            "start": start, "job": row["job"], "instrument": row["instrument"], "run": row["run"], "due": 80.0,
            "begun": 90.0, "ended": at, "fate": "ended", "outcome": outcome, "reason": "all inside", "readings": 3,
        })  # fmt: skip

    def status(self) -> Mapping[str, Any]:
        if self.stuck:
            raise TimeoutError("no tick for 30 s")
        busy = next(iter(self.running), None)
        held = list(self.held.values())
        covering = {
            start: ("lab", f"instrument {row['instrument']}", f"job {row['job']}", f"start {start}")
            for start, row in self.running.items()
        }
        running = [
            row | {"pauses": [hold for what in covering[start] for hold in held if hold["what"] == what],
                   "resumable": bool(row["paused"]) or f"start {start}" in self.held}
            for start, row in self.running.items()
        ]  # fmt: skip
        bench = {"name": "led-1", "identity": "twin", "lost": self.lost, "busy": busy, "readings_today": 7}
        return {
            "lab": "bench", "at": 100.0, "timezone": self.zone, "process": 1, "since": 10.0, "instruments": [bench],
            "running": running, "held": held, "next": self.queue(), "submissions": self.submissions,
        }  # fmt: skip

    def queue(self) -> Sequence[Mapping[str, Any]]:
        return [{"start": None, "job": "night", "instrument": "led-1", "due": 3600.0, "why": "", "begun": False}]

    def history(self, limit: int = 100, job: str = "") -> Sequence[Mapping[str, Any]]:
        return [row for row in self.past if job in ("", row["job"])][:limit]

    def pause(self, target: str, reason: str, by: str) -> str:
        if target in self.held:
            raise ConfigError(f"{target} is held already")
        self.held[target] = {"what": target, "cause": reason, "by": by, "at": 100.0}
        return self._did("pause", target, reason, by)

    def resume(self, target: str, by: str, since: str = "") -> str:
        if self.held.pop(target, None) is None:
            raise ConfigError(f"{target} is not held")
        return self._did("resume", target, by)

    def abort(self, target: str, reason: str, by: str) -> str:
        with self._lock:
            kind, _, number = target.partition(" ")
            if kind != "start" or int(number) not in self.running:
                raise ConfigError(f"{target} does not run")
            self.end(int(number), "aborted")
            return self._did("abort", target, reason, by)

    def run_now(self, job: str, by: str) -> str:
        if job != "night":
            raise ConfigError(f"no job {job}; allowed: night")
        return self._did("run-now", job, by)

    def skip(self, target: str, reason: str, by: str) -> str:
        return self._did("skip", target, reason, by)

    def _did(self, *what: str) -> str:
        self.done.append(what)
        return f"{' '.join(what[:2])}: done"
