"""What the loop watches: the clock of the machine, and the instruments that no campaign is driving."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from sdl.clock import Clock
from sdl.errors import SdlError
from sdl.lab.core.events import ClockJumped, MadeSafe
from sdl.lab.core.state import Lab
from sdl.lab.workers.base import NOT_YET, Workers

TOLERANCE = 5.0  # seconds; smaller differences are ordinary clock corrections
POLL_FIRST, POLL, POLL_LATER, LATER_AFTER = 0.1, 2.0, 30.0, 600.0
"""Seconds between checks: while no answer has come yet, usually, and after `LATER_AFTER` seconds."""
LOST_AFTER = 10.0  # seconds after which an instrument that could not be switched off counts as lost

log = logging.getLogger("sdl.lab")


def seconds_asleep() -> float:
    """Seconds that this machine has slept since boot; 0 if the system does not report it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return 0.0


class ClockWatch:
    """Detects at each call of `look` that the machine slept or that its clock was set.

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
        times = (now, self._awake(), self._slept())
        before, self._last = self._last or times, times
        shown, awake, slept = (a - b for a, b in zip(times, before, strict=True))
        ahead = shown - awake
        if abs(ahead) < TOLERANCE:
            return None
        if abs(ahead - slept) < TOLERANCE:
            cause = "the machine slept"
        else:
            cause = "the clock was set forward, or the machine slept" if ahead > 0 else "the clock was set back"
        return ClockJumped(round(ahead, 3), cause, now)


class SafeStateWatch:
    """Has every instrument that no campaign is driving switched off, and retries until it confirms."""

    def __init__(self) -> None:
        self._tried: dict[str, tuple[float, float]] = {}  # by instrument: time of the first attempt, of the next check

    def until_next(self, now: float) -> float:
        """Seconds until the next check; infinity if there is none."""
        return min((check - now for _, check in self._tried.values()), default=float("inf"))

    def tick(self, lab: Lab, processes: Workers, clock: Clock) -> Iterator[MadeSafe]:
        """The events to write: instruments that are off now, or that count as lost from now on."""
        self._tried = {name: tried for name, tried in self._tried.items() if name in lab.unsafe}
        for name in sorted(lab.unsafe):
            now = clock.now()
            since, check = self._tried.get(name, (None, now))
            if check - POLL_LATER <= now < check:  # earlier still: the clock was set back
                continue
            try:
                error = processes.make_safe(lab.lab.instruments[name].instrument)
            except (OSError, SdlError) as raised:
                error = f"{type(raised).__name__}: {raised}"
            now = clock.now()
            since = now if since is None else since  # loading the libraries took time, not the instrument
            pause = POLL if now - since < LATER_AFTER else POLL_LATER
            if error == NOT_YET and now - since < LOST_AFTER / 2:
                pause = POLL_FIRST
            self._tried[name] = (since, now + pause)
            if error and (name in lab.lost or now - since < LOST_AFTER):
                continue
            if error:
                log.warning("%s could not be switched off: %s", name, error)
            yield MadeSafe(name, error, now)
