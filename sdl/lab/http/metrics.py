"""The metrics of a lab for Prometheus, text format 0.0.4.

Counters are read from the records: each query reads what was appended to the records of running and recently ended
starts, so that nothing is counted twice and the loop is not slowed down. They start at 0 with the lab's process.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdl.errors import SdlError
from sdl.lab.http.health import disk_free
from sdl.lab.workers.base import Control
from sdl.store.plainfile import open_existing

LATENCY = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # upper bounds of the histogram, seconds


@dataclass
class _RecordTail:
    """The read position in a growing record, and the readings of its latest trial."""

    instrument: str
    offset: int = 0
    goal: Any = None
    sums: dict[str, float] = field(default_factory=dict)
    n: int = 0


class Metrics:
    """The text of `/metrics`.

    Args:
        control: the lab.
        runs: directory of the runs, for the free disk space.
        waiting: number of queued messages.
        clock: seconds since 1970 UTC.
    """

    def __init__(
        self,
        control: Control,
        runs: Path,
        *,
        waiting: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, without use here
        self._control, self._runs, self._waiting, self._clock = control, runs, waiting, clock
        self._open: dict[str, _RecordTail] = {}
        self._begun = clock()
        self._done: set[int] = set()
        self._lock = threading.Lock()
        self._counts, labels = CollectorRegistry(), ["instrument"]
        self._fates = Counter(
            "sdl_lab_starts", "Starts that ended, by job and fate.", ["job", "fate"], registry=self._counts
        )
        self._trials = Counter("sdl_trials", "Trials begun.", labels, registry=self._counts)
        self._readings = Counter("sdl_readings", "Readings taken.", labels, registry=self._counts)
        self._failures = Counter("sdl_failures", "Failed attempts.", labels, registry=self._counts)
        self._latency = Histogram(
            "sdl_reading_seconds", "How long a reading takes.", labels, registry=self._counts, buckets=LATENCY
        )
        self._error = Gauge(
            "sdl_error_to_goal", "Relative error of the worst channel in the last trial.", labels, registry=self._counts
        )
        self._ambient = Gauge(
            "sdl_ambient", "The last background, in counts.", [*labels, "channel"], registry=self._counts
        )

    def text(self) -> bytes:
        from prometheus_client import CollectorRegistry, Gauge, generate_latest

        state = CollectorRegistry()  # a new one, without values of a lab that no longer answers

        def gauge(name: str, what: str, value: float) -> None:
            Gauge(f"sdl_lab_{name}", what, registry=state).set(value)

        with self._lock:
            gauge("disk_free_bytes", "Free where the runs go.", disk_free(self._runs))
            gauge("outbox", "Messages that wait to be sent.", self._waiting())
            try:
                status, queue = self._control.status(), self._control.queue()
                self._read_records([*self._control.history(200), *status["running"]])
            except (SdlError, TimeoutError):
                gauge("up", "Whether the loop answers.", 0)
            else:
                gauge("up", "Whether the loop answers.", 1)
                due = sum(row["start"] is not None for row in queue)
                gauge("queue", "Starts that wait for their instrument.", due)
                gauge("running", "Campaigns that run.", len(status["running"]))
                gauge("held", "Requested pauses.", len(status["held"]))
                lease = Gauge(
                    "sdl_lab_lease_seconds", "How long a start has used its instrument.", ["instrument"], registry=state
                )
                for row in status["running"]:
                    lease.labels(row["instrument"]).set(max(0.0, self._clock() - row["since"]))
            return bytes(generate_latest(state) + generate_latest(self._counts))

    def _read_records(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count what was appended to the records of ended and running starts."""
        for row in rows:
            start, run, ended = int(row["start"]), row["run"], row.get("ended")
            if start in self._done or (ended is not None and ended < self._begun):
                continue
            if run:
                self._read(run, row["instrument"], fresh=row.get("attempt", 0) == 0)
            if ended is not None:
                self._done.add(start)
                self._open.pop(run, None)
                self._fates.labels(row["job"], row["outcome"] or row["fate"]).inc()
        self._done &= {int(row["start"]) for row in rows}  # older ones do not come again

    def _read(self, run: str, instrument: str, *, fresh: bool) -> None:
        """Count what was appended to a record; for a resumed run, what is appended from now on."""
        file = self._runs / run / "record.jsonl"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open_existing(file) as stream:
            if (record := self._open.get(run)) is None:
                record = self._open[run] = _RecordTail(instrument)
                if not fresh:
                    self._count(record, json.loads(stream.readline()))
                    record.offset = file.stat().st_size
            stream.seek(record.offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # incomplete
                record.offset += len(line)
                self._count(record, json.loads(line))

    def _count(self, record: _RecordTail, event: Mapping[str, Any]) -> None:
        name = record.instrument
        match event["event"]:
            case "Opened":
                from sdl.runs.runs import rules_of

                record.goal = rules_of(event["config"]).plan().goal
                for metric in (self._trials, self._readings, self._failures, self._latency):
                    metric.labels(name)  # 0 until there is one
            case "Proposed":
                self._trials.labels(name).inc()
                record.sums, record.n = {}, 0
            case "Measured":
                self._readings.labels(name).inc()
                self._latency.labels(name).observe(event["elapsed"])
                for channel, value in (event.get("background") or {}).items():
                    self._ambient.labels(name, channel).set(value)
                record.n += 1
                for channel, value in event["readings"].items():
                    record.sums[channel] = record.sums.get(channel, 0.0) + value
                if record.goal is not None:
                    means = {channel: total / record.n for channel, total in record.sums.items()}
                    self._error.labels(name).set(record.goal.error(means))
            case "Failed":
                self._failures.labels(name).inc()
