"""Detection of clock changes: the machine slept, or the clock was set."""

from __future__ import annotations

import time
from collections.abc import Callable

from sdl.lab.core.events import ClockJumped

TOLERANCE = 5.0  # seconds; smaller differences are ordinary clock corrections


def seconds_asleep() -> float:
    """Seconds that this machine has slept since boot; 0 if the system does not report it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return 0.0


class ClockWatch:
    """Compares the clock with the elapsed time at every call of `look`.

    Args:
        awake: seconds elapsed while the machine was awake.
        slept: seconds that it slept.
    """

    def __init__(
        self, awake: Callable[[], float] = time.monotonic, slept: Callable[[], float] = seconds_asleep
    ) -> None:
        self._awake, self._slept = awake, slept
        self._last: tuple[float, float, float] | None = None

    def look(self, now: float) -> ClockJumped | None:
        """The clock change since the last call, if any."""
        here = (now, self._awake(), self._slept())
        before, self._last = self._last, here
        if before is None:
            return None
        shown, awake, slept = (a - b for a, b in zip(here, before, strict=True))
        ahead = shown - awake
        if abs(ahead) < TOLERANCE:
            return None
        if abs(ahead - slept) < TOLERANCE:
            return ClockJumped(round(ahead, 3), "the machine slept", now)
        cause = "the clock was set forward, or the machine slept" if ahead > 0 else "the clock was set back"
        return ClockJumped(round(ahead, 3), cause, now)
