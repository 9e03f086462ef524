"""Lights that nobody drives: put out, and asked after until they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sdl.clock import Clock
from sdl.errors import SdlError
from sdl.lab.core.events import MadeSafe
from sdl.lab.core.state import Lab
from sdl.lab.workers.base import NOT_YET, Workers

SAFE_FIRST, SAFE_AGAIN, SAFE_LATER, SAFE_SOON = 0.1, 2.0, 30.0, 600.0
"""Whether an instrument is safe by now is asked after so many seconds: where nothing is known yet, most answer at once;
then; after ten minutes."""
SAFE_PATIENCE = 10.0
"""An instrument that could not be made safe for so many seconds is lost, and people are told."""

log = logging.getLogger("sdl.lab")


class SafeStateWatch:
    """Since when each unsafe instrument has been tried to be made safe, and when it is asked after again."""

    def __init__(self) -> None:
        self._tried: dict[str, tuple[float, float]] = {}

    def until_next(self, now: float) -> float:
        """Seconds until one is to be asked after again; inf where none is."""
        return min((again - now for _, again in self._tried.values()), default=float("inf"))

    def tick(self, lab: Lab, processes: Workers, clock: Clock) -> Iterator[MadeSafe]:
        """What there is to be written: an instrument that is safe now, or one that counts as lost from now on."""
        self._tried = {name: tried for name, tried in self._tried.items() if name in lab.unsafe}
        for name in sorted(lab.unsafe):
            now = clock.now()
            first = name not in self._tried
            since, again = self._tried.get(name, (now, now))
            if again - SAFE_LATER <= now < again:  # earlier still: the clock was set back
                continue
            try:
                error = processes.make_safe(lab.lab.instruments[name].instrument)
            except (OSError, SdlError) as raised:
                error = f"{type(raised).__name__}: {raised}"
            now = clock.now()
            if first:
                since = now  # the warm process may have had to load, which is not the instrument's fault
            pause = SAFE_AGAIN if now - since < SAFE_SOON else SAFE_LATER
            if error == NOT_YET and now - since < SAFE_PATIENCE / 2:
                pause = SAFE_FIRST
            self._tried[name] = (since, now + pause)
            if error and (name in lab.lost or now - since < SAFE_PATIENCE):
                continue
            if error:
                log.warning("%s could not be made safe: %s", name, error)
            yield MadeSafe(name, error, now)
