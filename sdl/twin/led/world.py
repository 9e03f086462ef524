"""The served twin behind its HTTP server: one LED shared by all clients, the sensor, the faults, the log of readings.

Its time is real time multiplied by `speed`: waits are shorter, and the ambient light changes faster.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdl.twin.faults import PAUSE, TRIES, Fault, due, lights, spoil
from sdl.twin.led.model import Plant
from sdl.twin.simulation import STREAM


class NotMeasured(Exception):
    """The server gave up after its last attempt."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One reading of the server: applied settings, counts by channel."""

    applied: Mapping[str, float]
    out: Mapping[str, Any]


class World:
    """One simulated instrument with several simultaneous clients.

    Args:
        plant: the physics.
        start: beginning of its time, seconds since 1970 UTC.
        speed: ratio of its time to real time.
        latency: seconds per reading; None: as the state describes.
        faults: faults that may happen.
        log: file for every reading, one JSON object per line, as on the real server; None: no log.

    Attributes:
        taken: readings so far.
        lit: whether the LED is on.
        left_open: whether a failed reading left the LED in use. On the real server only Python's garbage collector
            releases it, some time while later requests fail; here, the end of the next request does.
        befell: number of occurrences of each fault.
    """

    def __init__(
        self,
        plant: Plant,
        *,
        start: float,
        speed: float = 1.0,
        latency: float | None = None,
        faults: Sequence[Fault] = (),
        log: Path | None = None,
    ) -> None:
        self.plant, self.taken, self.lit, self.left_open = plant, 0, False, False
        self.befell: Counter[str] = Counter()
        self._start, self._speed, self._latency = start, speed, latency
        self._plan, self._log = tuple(faults), log
        self._refusing = [fault for fault in faults if fault.name == "refused"]
        self._began, self._leapt = time.monotonic(), 0.0
        self._requests = 0
        self._held, self._last_time = 0.0, 0.0
        self._last: Mapping[str, Any] | None = None
        self._led, self._books = threading.Lock(), threading.Lock()
        self._over = threading.Event()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of `in`."""
        return tuple(self.plant.state.inputs)

    def now(self) -> float:
        """Simulated time, seconds since 1970 UTC."""
        return self._start + (time.monotonic() - self._began) * self._speed + self._leapt

    def wait(self, seconds: float) -> bool:
        """Wait for simulated seconds; False if the world ends first."""
        return not self._over.wait(seconds / self._speed) if seconds > 0 else not self._over.is_set()

    def wait_really(self, seconds: float) -> bool:
        """Wait for real seconds; False if the world ends first."""
        return not self._over.wait(seconds)

    def end(self) -> None:
        self._over.set()

    @property
    def ended(self) -> bool:
        return self._over.is_set()

    def befalls(self) -> list[Fault]:
        """Count the next request and return its faults."""
        with self._books:
            n, self._requests = self._requests, self._requests + 1
        faults = due(self._plan, self.plant.seed, n, self.now() - self._start, draw=n)
        self.befell.update(fault.name for fault in faults)
        for fault in faults:
            if fault.name == "busy":
                self._held = max(self._held, self.now() + fault.duration)
            elif fault.name == "clock-jump":
                self._leapt += fault.duration
        return faults

    def refuses(self) -> bool:
        """Whether the next connection is refused; a refusal by number or chance counts as a request."""
        with self._books:
            faults = due(self._refusing, self.plant.seed, self._requests, self.now() - self._start, draw=self._requests)
            counted = [fault.name for fault in faults if fault.after is None]
            self._requests += bool(counted)
            self.befell.update(counted[:1])
        return bool(faults)

    def measure(
        self, settings: Mapping[str, float], faults: Sequence[Fault] = (), origin: str | None = None, ip: str = ""
    ) -> Taken:
        """Take one reading as the real server does: wait for the LED, switch it on, read, switch it off, log.

        Settings outside 0 ... 1 make every attempt fail. `origin` (the page) and `ip` are logged.

        Raises:
            NotMeasured: all attempts failed, or the world ended.
        """
        remaining = self._open_led()
        began = self.now()
        sound = all(0.0 <= value <= 1.0 for value in settings.values())
        self.lit = sound and any(settings.values())
        if not sound or any(fault.name == "html-500" for fault in faults):
            self.wait(remaining * PAUSE)
            self.left_open = True
            raise NotMeasured(f"gave up after {TRIES} tries")
        try:
            if not self.wait(self._seconds()):
                raise NotMeasured("the server was ended")
            taken = self._read(settings, faults)
            self.lit = False
        finally:
            self._led.release()
        self._write(taken, began, origin, ip)
        return taken

    def _seconds(self) -> float:
        state = self.plant.state
        if self._latency is not None or not state.latencies:
            return state.latency if self._latency is None else self._latency
        return state.latency_quantile(np.random.default_rng([self.plant.seed, STREAM, self.taken, 1]).random())

    def _open_led(self) -> int:
        """Wait until the LED is free, and take it; return the number of remaining attempts.

        Raises:
            NotMeasured: it was in use at every try, or the world ended.
        """
        for remaining in reversed(range(TRIES)):
            if self.now() >= self._held and self._led.acquire(blocking=False):
                return remaining
            if remaining and not self.wait(PAUSE):
                raise NotMeasured("the server was ended")
        with self._books:
            if self.left_open:
                self.left_open = self.lit = False
                self._led.release()
        raise NotMeasured(f"gave up after {TRIES} tries")

    def _read(self, settings: Mapping[str, float], faults: Sequence[Fault]) -> Taken:
        applied, light, brighter = lights(faults, settings)
        at = self._last_time = max(self.now(), self._last_time + 1e-6)  # noise is drawn by the microsecond
        out: Mapping[str, Any] = self.plant.read(light, at, brighter).readings
        if self._last is not None and any(fault.name == "frozen" for fault in faults):
            out = self._last
        self._last = out
        for fault in faults:
            out = spoil(fault, out)
        return Taken(applied, out)

    def _write(self, taken: Taken, began: float, origin: str | None, ip: str) -> None:
        with self._books:
            self.taken += 1
            if self._log is None:
                return
            line = {"in": list(taken.applied.values()), "out": dict(taken.out), "t0": began}
            line |= {"elapsed_time": self.now() - began, "ip": ip, "origin": origin}
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
