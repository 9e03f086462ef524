"""The metrics of a lab for Prometheus, text format 0.0.4.

Counters are read from the records: each query reads what was appended to the records of running and recently ended
starts, so that nothing is counted twice and the loop is not slowed down. They start at 0 with the lab's process.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdl.errors import SdlError
from sdl.lab.http.health import disk_free
from sdl.lab.workers.base import Control
from sdl.store.plainfile import open_existing

LATENCY = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of reading times, seconds."""


@dataclass
class _InstrumentCounts:
    """Counts and latest values of one instrument."""

    trials: int = 0
    readings: int = 0
    failures: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY) + 1))
    latency_sum: float = 0.0
    error: float = math.nan
    ambient: dict[str, float] = field(default_factory=dict)


@dataclass
class _RecordTail:
    """The read position in a growing record."""

    instrument: str
    offset: int = 0
    trial: int = -1
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
        self._control, self._runs, self._waiting, self._clock = control, runs, waiting, clock
        self._seen: dict[str, _InstrumentCounts] = defaultdict(_InstrumentCounts)
        self._open: dict[str, _RecordTail] = {}
        self._begun = clock()
        self._done: set[int] = set()
        self._fates: dict[tuple[str, str], int] = defaultdict(int)
        self._lock = threading.Lock()

    def text(self) -> bytes:
        """All metrics as of now."""
        from prometheus_client.core import CollectorRegistry
        from prometheus_client.exposition import generate_latest

        registry = CollectorRegistry(auto_describe=False)
        with self._lock:
            families = list(self._families())
        registry.register(_Families(families))
        return bytes(generate_latest(registry))

    def _families(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge
        from prometheus_client.core import HistogramMetricFamily as Histogram

        now = self._clock()
        status, queue = self._look()
        up = Gauge("sdl_lab_up", "Whether the loop answers.")
        up.add_metric([], float(status is not None))
        yield up
        free = disk_free(self._runs)
        yield from self._one(Gauge, "sdl_lab_disk_free_bytes", "Free where the runs go.", free)
        yield from self._one(Gauge, "sdl_lab_outbox", "Messages that wait to be sent.", self._waiting())
        if status is not None:
            due = [row for row in queue if row.get("start") is not None]
            yield from self._one(Gauge, "sdl_lab_queue", "Starts that wait for their instrument.", len(due))
            yield from self._one(Gauge, "sdl_lab_running", "Campaigns that run.", len(status.get("running", ())))
            yield from self._one(Gauge, "sdl_lab_held", "Requested pauses.", len(status.get("held", ())))
            lease = Gauge("sdl_lab_lease_seconds", "How long a start has used its instrument.", labels=["instrument"])
            for row in status.get("running", ()):
                lease.add_metric([row["instrument"]], max(0.0, now - row["since"]))
            yield lease
        fates = Counter("sdl_lab_starts", "Starts that ended, by job and fate.", labels=["job", "fate"])
        for (job, fate), n in sorted(self._fates.items()):
            fates.add_metric([job, fate], n)
        yield fates
        for name, what in (
            ("trials", "Trials begun."),
            ("readings", "Readings taken."),
            ("failures", "Failed attempts."),
        ):
            counter = Counter(f"sdl_{name}", what, labels=["instrument"])
            for instrument, seen in sorted(self._seen.items()):
                counter.add_metric([instrument], getattr(seen, name))
            yield counter
        latency = Histogram("sdl_reading_seconds", "How long a reading takes.", labels=["instrument"])
        error = Gauge(
            "sdl_error_to_goal", "Relative error of the worst channel in the last trial.", labels=["instrument"]
        )
        ambient = Gauge("sdl_ambient", "The last background, in counts.", labels=["instrument", "channel"])
        for instrument, seen in sorted(self._seen.items()):
            total, buckets = 0, []
            for end, n in zip((*map(str, LATENCY), "+Inf"), seen.latency, strict=True):
                total += n
                buckets.append((end, total))
            latency.add_metric([instrument], buckets, seen.latency_sum)
            if not math.isnan(seen.error):
                error.add_metric([instrument], seen.error)
            for channel, value in sorted(seen.ambient.items()):
                ambient.add_metric([instrument, channel], value)
        yield from (latency, error, ambient)

    def _look(self) -> tuple[Mapping[str, Any] | None, list[Mapping[str, Any]]]:
        """The status and queue of the lab, after counting what was appended to its records."""
        try:
            status, queue = self._control.status(), list(self._control.queue())
            past = self._control.history(200)
        except (SdlError, TimeoutError):
            return None, []
        for row in (*past, *status.get("running", ())):
            start, run = int(row["start"]), str(row.get("run") or "")
            ended = row.get("ended")
            if start in self._done or (ended is not None and ended < self._begun):
                continue
            if run:
                self._read(run, row["instrument"], fresh=row.get("attempt", 0) == 0)
            if ended is not None:
                self._done.add(start)
                self._open.pop(run, None)
                self._fates[row["job"], row.get("outcome") or row["fate"]] += 1
        self._done &= {int(row["start"]) for row in past}  # older ones do not come again
        return status, queue

    def _read(self, run: str, instrument: str, *, fresh: bool) -> None:
        """Count what was appended to a record; for a resumed run, what is appended from now on."""
        followed = self._open.get(run)
        file = self._runs / run / "record.jsonl"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if followed is None:
                followed = self._open[run] = _RecordTail(instrument)
                if not fresh:
                    with open_existing(file) as stream:
                        self._count(followed, json.loads(stream.readline()))
                    followed.offset = file.stat().st_size
            with open_existing(file) as stream:
                stream.seek(followed.offset)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break  # incomplete line
                    followed.offset += len(line)
                    self._count(followed, json.loads(line))

    def _count(self, record: _RecordTail, event: Mapping[str, Any]) -> None:
        seen = self._seen[record.instrument]
        match event["event"]:
            case "Opened":
                from sdl.runs.runs import rules_of

                record.goal = rules_of(event["config"]).plan().goal
            case "Proposed":
                seen.trials += 1
                record.trial, record.sums, record.n = event["trial"], {}, 0
            case "Measured":
                seen.readings += 1
                elapsed = float(event["elapsed"])
                seen.latency[sum(elapsed > end for end in LATENCY)] += 1
                seen.latency_sum += elapsed
                seen.ambient.update(event.get("background") or {})
                record.n += 1
                for name, value in event["readings"].items():
                    record.sums[name] = record.sums.get(name, 0.0) + value
                if record.goal is not None:
                    seen.error = record.goal.error({name: total / record.n for name, total in record.sums.items()})
            case "Failed":
                seen.failures += 1

    @staticmethod
    def _one(kind: Any, name: str, what: str, value: float) -> Iterator[Any]:
        family = kind(name, what)
        family.add_metric([], float(value))
        yield family


class _Families:
    """A collector of existing metric families."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> Iterator[Any]:
        yield from self._families
