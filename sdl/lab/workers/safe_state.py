"""Switch off every instrument that no campaign is driving, and retry until it confirms."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sdl.clock import Clock
from sdl.errors import SdlError
from sdl.lab.core.events import MadeSafe
from sdl.lab.core.state import Lab
from sdl.lab.workers.base import NOT_YET, Workers

POLL_FIRST, POLL, POLL_LATER, LATER_AFTER = 0.1, 2.0, 30.0, 600.0
"""Seconds between checks: while no answer has come yet, usually, and after `LATER_AFTER` seconds."""
LOST_AFTER = 10.0  # seconds after which an instrument that could not be switched off counts as lost

log = logging.getLogger("sdl.lab")


class SafeStateWatch:
    """For each instrument not known to be off: since when that is tried, and when to check next."""

    def __init__(self) -> None:
        self._tried: dict[str, tuple[float, float]] = {}

    def until_next(self, now: float) -> float:
        """Seconds until the next check; infinity if there is none."""
        return min((check - now for _, check in self._tried.values()), default=float("inf"))

    def tick(self, lab: Lab, processes: Workers, clock: Clock) -> Iterator[MadeSafe]:
        """The events to write: instruments that are off now, or that count as lost from now on."""
        self._tried = {name: tried for name, tried in self._tried.items() if name in lab.unsafe}
        for name in sorted(lab.unsafe):
            now = clock.now()
            first = name not in self._tried
            since, check = self._tried.get(name, (now, now))
            if check - POLL_LATER <= now < check:  # earlier still: the clock was set back
                continue
            try:
                error = processes.make_safe(lab.lab.instruments[name].instrument)
            except (OSError, SdlError) as raised:
                error = f"{type(raised).__name__}: {raised}"
            now = clock.now()
            if first:
                since = now  # loading the libraries took time, not the instrument
            pause = POLL if now - since < LATER_AFTER else POLL_LATER
            if error == NOT_YET and now - since < LOST_AFTER / 2:
                pause = POLL_FIRST
            self._tried[name] = (since, now + pause)
            if error and (name in lab.lost or now - since < LOST_AFTER):
                continue
            if error:
                log.warning("%s could not be switched off: %s", name, error)
            yield MadeSafe(name, error, now)
