"""An open connection to a Claude-Light."""

from __future__ import annotations

from collections.abc import Mapping

from sdl.drivers.baseline import BaselineSampler
from sdl.drivers.checks import checked
from sdl.drivers.claude_light.plausibility import Plausible
from sdl.drivers.claude_light.reply import FULL_SCALE, NAMES, reading
from sdl.drivers.http import HttpConnection
from sdl.drivers.led.lamp import TOUCHED, UNTOUCHED, Lamp
from sdl.drivers.rate_limit import RateLimiter
from sdl.errors import InstrumentError
from sdl.types import Channel, Input, Power, Reading, SafeState

INPUTS = tuple(Input(name=name, step=None) for name in "RGB")
CHANNELS = tuple(Channel(name=name, low=0.0, high=float(FULL_SCALE)) for name in NAMES)
SAFE_REQUEST = 55.0
"""Seconds for a request to be off: the server may try for 50 s inside it, and says only then how it went."""


class ClaudeLightDriver:
    """An open Claude-Light: one request per reading and per background, no retries.

    Args:
        connection: to the server.
        limiter: of every request but those of `safe`.
        baseline: takes backgrounds when they are due.
        within: seconds for one request.
    """

    def __init__(
        self, connection: HttpConnection, limiter: RateLimiter, baseline: BaselineSampler, within: float
    ) -> None:
        self._connection, self._limiter, self._baseline, self._within = connection, limiter, baseline, within
        self._plausible = Plausible(FULL_SCALE)
        self._lamp = Lamp(INPUTS, CHANNELS, "night-2025-10")
        self._known = UNTOUCHED

    def measure(self, settings: Mapping[str, float]) -> Reading:
        """Take one reading, with its background where the configuration asks for one.

        Raises:
            Rejected: settings outside the bounds; nothing was sent.
            Unreachable: no answer.
            Busy: the server says so.
            BadReply: the answer cannot be a reading.
            NotApplied: the answer does not say what was applied.
            InstrumentError: not asked, because too much was asked or failed before.
        """
        return self._lamp.observe(
            self._plausible.pair(self._baseline.reading(self._limited, checked(settings, INPUTS)))
        )

    def safe(self) -> SafeState:
        """Request one dark reading if the light may be on; return what the reply proves.

        Raises:
            InstrumentError: no answer that says anything.
        """
        if not self._known.proven and self._connection.closed:
            return SafeState(
                Power.UNKNOWN, None, "the connection was closed before an answer said that the light is off"
            )
        if not self._known.proven:
            off = {item.name: item.low for item in INPUTS}
            self._known = self._lamp.judge(self._ask(off, min(self._within, SAFE_REQUEST)))
        return self._known

    def close(self) -> None:
        self._connection.close()

    def _limited(self, values: dict[str, float]) -> Reading:
        with self._limiter.request():
            return self._plausible.reply(self._ask(values, self._within))

    def _ask(self, values: dict[str, float], within: float) -> Reading:
        if self._connection.closed:
            raise InstrumentError(f"{self._connection.url}: this connection was closed; open another")
        before, self._known = self._known, TOUCHED
        try:
            return reading(self._connection.get({name: repr(value) for name, value in values.items()}, within), values)
        except InstrumentError as error:
            self._known = TOUCHED if error.maybe_measured else before
            raise
