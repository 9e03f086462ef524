"""What a lab reports to machines that watch it: its readiness, and its metrics for Prometheus (text format 0.0.4)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from sdl.core.events import Event, Failed, Measured, Opened, Proposed
from sdl.core.goal import Goal
from sdl.errors import SdlError
from sdl.lab.config.model import disk_free
from sdl.lab.core.views import pause_reason
from sdl.lab.http.control import Controller
from sdl.runs.runs import rules_of
from sdl.store.plainfile import open_new
from sdl.store.tail import TailReader

CACHE_SECONDS = 5.0  # seconds for which a result is reused, so that frequent queries do not write to the disk each time
LATENCY = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # upper bounds of the histogram, seconds
GAUGES = {
    "disk_free_bytes": "Free where the runs go.",
    "outbox": "Messages that wait to be sent.",
    "up": "Whether the loop answers.",
    "queue": "Starts that wait for their instrument.",
    "running": "Campaigns that run.",
    "held": "Requested pauses.",
}


class Readiness:
    """The reasons why a lab could not accept and run a campaign now.

    Args:
        least: bytes that must be free.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        control: Controller,
        record: Path,
        runs: Path,
        *,
        least: float = 50e6,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control, self._folders, self._least, self._clock = control, (record, runs), least, clock
        self._checked, self._reasons = -float("inf"), list[str]()

    def __call__(self) -> list[str]:
        if self._clock() - self._checked > CACHE_SECONDS:
            self._reasons = [*self._disk(), *self._lab()]
            self._checked = self._clock()
        return list(self._reasons)

    def _disk(self) -> Iterator[str]:
        for folder in dict.fromkeys(self._folders):
            if (free := disk_free(folder)) < self._least:
                yield f"{folder}: {free / 1e6:.0f} MB free, {self._least / 1e6:.0f} MB needed"
            elif error := _write_error(folder):
                yield f"{folder}: cannot be written: {error}"

    def _lab(self) -> list[str]:
        try:
            status = self._control.status()
        except (SdlError, TimeoutError) as error:
            return [f"the lab does not answer: {error}"]
        if trouble := status.get("trouble"):
            return [str(trouble)]
        paused = {pause["what"]: pause_reason(pause["what"], pause["cause"]) for pause in status["held"]}
        if "lab" in paused:
            return [paused["lab"]]
        targets = {f"instrument {row['name']}": row["lost"] for row in status["instruments"]}
        reasons = [
            paused.get(target) or f"{target} does not answer: {lost}"
            for target, lost in targets.items()
            if lost or target in paused
        ]
        return reasons if len(reasons) == len(targets) else []


def _write_error(folder: Path) -> str:
    """The error of writing to a folder, empty if it can be written; the folder is not created."""
    probe = folder / f".ready-{os.getpid()}"
    try:
        try:
            with open_new(probe) as stream:
                stream.write(b"0" * 4096)
                os.fsync(stream.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return ""


@dataclass
class _Source:
    """A growing record, and the readings of its latest trial."""

    instrument: str
    tail: TailReader
    goal: Goal | None = None
    readings: list[Mapping[str, float]] = field(default_factory=list)


class Metrics:
    """The text of `/metrics`.

    Counters are read from the records: each query reads what was appended to the records of running and recently ended
    starts, so that nothing is counted twice and the loop is not slowed down. They start at 0 with the lab's process.

    Args:
        runs: directory of the runs, for the free disk space.
        waiting: number of queued messages.
        clock: seconds since 1970 UTC.
    """

    def __init__(
        self,
        control: Controller,
        runs: Path,
        *,
        waiting: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, without use here
        self._control, self._runs, self._waiting, self._clock = control, runs, waiting, clock
        self._sources: dict[str, _Source] = {}
        self._begun = clock()
        self._done: set[int] = set()
        self._lock = threading.Lock()
        self._counts = counts = CollectorRegistry()
        instrument = ["instrument"]
        self._fates = Counter("sdl_lab_starts", "Starts that ended, by job and fate.", ["job", "fate"], registry=counts)
        self._trials, self._readings, self._failures = (
            Counter(f"sdl_{name}", text, instrument, registry=counts)
            for name, text in (
                ("trials", "Trials begun."), ("readings", "Readings taken."), ("failures", "Failed attempts.")
            )
        )  # fmt: skip
        self._latency = Histogram(
            "sdl_reading_seconds", "How long a reading takes.", instrument, registry=counts, buckets=LATENCY
        )
        self._error = Gauge(
            "sdl_error_to_goal", "Relative error of the worst channel in the last trial.", instrument, registry=counts
        )
        self._ambient = Gauge(
            "sdl_ambient", "The last background, in counts.", [*instrument, "channel"], registry=counts
        )

    def text(self) -> bytes:
        state = CollectorRegistry()  # a new one, without values of a lab that no longer answers
        with self._lock:
            values: dict[str, float] = {"disk_free_bytes": disk_free(self._runs), "outbox": self._waiting(), "up": 0}
            with contextlib.suppress(SdlError, TimeoutError):
                status, queue = self._control.status(), self._control.queue()
                running = status["running"]
                self._read_records([*self._control.history(200), *running])
                due = sum(row["start"] is not None for row in queue)
                values |= {"up": 1, "queue": due, "running": len(running), "held": len(status["held"])}
                lease = Gauge(
                    "sdl_lab_lease_seconds", "How long a start has used its instrument.", ["instrument"], registry=state
                )
                for row in running:
                    lease.labels(row["instrument"]).set(max(0.0, self._clock() - row["since"]))
            for name, value in values.items():
                Gauge(f"sdl_lab_{name}", GAUGES[name], registry=state).set(value)
            return bytes(generate_latest(state) + generate_latest(self._counts))

    def _read_records(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count what was appended to the records of ended and running starts."""
        for row in rows:
            start, run, ended = int(row["start"]), row["run"], row.get("ended")
            if start in self._done or (ended is not None and ended < self._begun):
                continue
            if run:
                self._read(run, row["instrument"], resumed=row.get("attempt", 0) > 0)
            if ended is not None:
                self._done.add(start)
                self._sources.pop(run, None)
                self._fates.labels(row["job"], row["outcome"] or row["fate"]).inc()
        self._done &= {int(row["start"]) for row in rows}  # older ones do not come again

    def _read(self, run: str, instrument: str, *, resumed: bool) -> None:
        """Count what was appended to a record; for a resumed run, what is appended from now on."""
        source = self._sources.get(run) or _Source(instrument, TailReader(self._runs / run))
        with contextlib.suppress(SdlError):  # not begun, or damaged
            events = source.tail.new()
            if run not in self._sources and resumed:
                events = events[:1]
            self._sources[run] = source
            for event in events:
                self._count(source, event)

    def _count(self, source: _Source, event: Event) -> None:
        name = source.instrument
        match event:
            case Opened():
                source.goal = rules_of(event.config).plan().goal
                for metric in (self._trials, self._readings, self._failures, self._latency):
                    metric.labels(name)  # 0 until there is one
            case Proposed():
                self._trials.labels(name).inc()
                source.readings.clear()
            case Measured():
                self._readings.labels(name).inc()
                self._latency.labels(name).observe(event.elapsed)
                for channel, value in (event.background or {}).items():
                    self._ambient.labels(name, channel).set(value)
                source.readings.append(event.readings)
                means = {key: fmean(row[key] for row in source.readings) for key in event.readings}
                if source.goal is not None and (error := source.goal.error(means)) is not None:
                    self._error.labels(name).set(error)
            case Failed():
                self._failures.labels(name).inc()
