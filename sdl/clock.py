"""Time as an argument: real for real instruments, virtual for simulated ones.

No module below the runner reads the clock of the machine. A virtual clock skips every wait: a night takes seconds, and
the same campaign has the same times whenever it is run or resumed. A *paced* virtual clock also waits in real time, for
a twin that takes as long as the instrument.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A source of time.

    `now`: seconds since 1970-01-01 UTC, which may be adjusted. `monotonic`: seconds since an arbitrary moment, never
    adjusted, for durations.
    """

    @property
    def kind(self) -> str: ...
    def now(self) -> float: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...
    def interrupt(self) -> None: ...


class RealClock:
    """The machine's clock. `interrupt` (from a signal handler) ends the current wait and all later ones."""

    kind = "real"

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> float:
        return round(time.time(), 6)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._woken.wait(seconds)

    def interrupt(self) -> None:
        self._woken.set()


class VirtualClock:
    """Simulated time from `start` (seconds since 1970 UTC) on, in whole microseconds so that it repeats exactly.

    A paced clock also waits in real time.
    """

    def __init__(self, start: float = 0.0, *, paced: bool = False) -> None:
        self._now, self._ran = round(start, 6), 0.0
        self._pace = RealClock() if paced else None

    @property
    def kind(self) -> str:
        return "paced" if self._pace else "virtual"

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._ran

    def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        if self._pace:
            self._pace.sleep(seconds)
        step = max(seconds, 1e-6)
        self._now, self._ran = round(self._now + step, 6), round(self._ran + step, 6)

    def interrupt(self) -> None:
        if self._pace:
            self._pace.interrupt()
