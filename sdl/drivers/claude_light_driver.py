"""An open Claude-Light: what it sends, in which order, and how it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from sdl.drivers.background import Darkness
from sdl.drivers.checks import checked
from sdl.drivers.claude_light_reply import FULL_SCALE, reading
from sdl.drivers.http import Link
from sdl.drivers.plausible import Plausible
from sdl.drivers.polite import Manners
from sdl.errors import InstrumentError
from sdl.types import Input, Reading

log = logging.getLogger(__name__)

INPUTS = tuple(Input(name=name, step=None) for name in "RGB")
SAFE_SECONDS, SAFE_REQUEST, SAFE_PAUSE = 20.0, 15.0, 1.0
"""Seconds: how long switching off is tried; for one request (a reading that still runs, and one more); between two."""


class ClaudeLightDriver:
    """An open Claude-Light: one request a reading and one a background, no retries.

    Args:
        link: the address.
        manners: asked before every request but those of `safe`.
        darkness: when a background is due.
        within: seconds for one request.
        patience: seconds for which `safe` tries.
    """

    def __init__(
        self, link: Link, manners: Manners, darkness: Darkness, within: float, patience: float = SAFE_SECONDS
    ) -> None:
        self._link, self._manners, self._darkness = link, manners, darkness
        self._within, self._patience = within, patience
        self._plausible = Plausible(FULL_SCALE)
        self._dark = True

    def measure(self, settings: Mapping[str, float]) -> Reading:
        """One reading, with its background where one is asked for.

        Raises:
            Rejected: settings outside the bounds; nothing was sent.
            Unreachable: no answer.
            Busy: the server says so.
            BadReply: the answer cannot be a reading.
            NotApplied: the answer does not say what was applied.
            InstrumentError: not asked, because too much was asked or failed before.
        """
        return self._plausible.pair(self._darkness.reading(self._politely, checked(settings, INPUTS)))

    def safe(self) -> None:
        """Asks for a reading in the dark, if anything was asked before, and again until it comes or patience ends.

        A failure is logged, not raised. It waits in real time: whoever interrupts a campaign ends all waits of its
        clock, and the light must still go out.
        """
        if self._dark or self._link.closed:
            return
        ends = time.monotonic() + self._patience
        while True:
            left = ends - time.monotonic()
            try:
                dark = self._ask({item.name: 0.0 for item in INPUTS}, max(min(self._within, SAFE_REQUEST, left), 0.01))
                self._dark = not any(dark.applied.values())
                return
            except InstrumentError as error:
                if not error.retryable or left <= SAFE_PAUSE:
                    log.warning("could not make sure that the light is off: %s", error)
                    return
            time.sleep(SAFE_PAUSE)

    def close(self) -> None:
        """Gives the connection back."""
        self._link.close()

    def _politely(self, values: dict[str, float]) -> Reading:
        with self._manners.request():
            return self._plausible.reply(self._ask(values, self._within))

    def _ask(self, values: dict[str, float], within: float) -> Reading:
        if self._link.closed:
            raise InstrumentError(f"{self._link.url}: this connection was closed; open another")
        try:
            answer = self._link.get({name: repr(value) for name, value in values.items()}, within)
        finally:
            self._dark = not self._link.ever_sent
        return reading(answer, values)
