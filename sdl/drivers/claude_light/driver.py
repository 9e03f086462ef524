"""An open connection to a Claude-Light."""

from __future__ import annotations

from sdl.drivers.baseline import BaselineSampler
from sdl.drivers.checks import checked_numbers
from sdl.drivers.claude_light.plausibility import Plausible
from sdl.drivers.claude_light.reply import NAMES, reading
from sdl.drivers.http import HttpConnection
from sdl.drivers.lamp import FULL_SCALE, Lamp, LampDriver
from sdl.drivers.rate_limit import RateLimiter
from sdl.types import Channel, Input, Reading, Settings

INPUTS = tuple(Input(name=name, step=None) for name in "RGB")
CHANNELS = tuple(Channel(name=name, low=0.0, high=float(FULL_SCALE)) for name in NAMES)
SAFE_REQUEST = 55.0  # seconds for a request to be off: the server may try for 50 s before it replies


class ClaudeLightDriver(LampDriver):
    """An open Claude-Light: one request per reading and per background, no retries.

    Args:
        connection: connection to the server.
        limiter: limits the rate of all requests except those of `safe`.
        baseline: takes backgrounds when they are due.
        within: seconds for one request.
    """

    def __init__(
        self, connection: HttpConnection, limiter: RateLimiter, baseline: BaselineSampler, within: float
    ) -> None:
        super().__init__(Lamp(INPUTS, CHANNELS, "night-2025-10"))
        self._connection, self._limiter, self._baseline, self._within = connection, limiter, baseline, within
        self._plausible = Plausible(FULL_SCALE)

    def measure(self, settings: Settings) -> Reading:
        """Take one reading, with its background where the configuration asks for one.

        Raises:
            Rejected: settings outside the bounds; nothing was sent.
            Unreachable: no answer.
            Busy: the server says so.
            BadReply: the answer cannot be a reading.
            NotApplied: the answer does not say what was applied.
            InstrumentError: the rate limiter refused the request.
        """
        taken = self._baseline.reading(self._limited, checked_numbers(settings, INPUTS))
        return self._lamp.observe(self._plausible.pair(taken))

    def dark_reading(self) -> Reading:
        return self._ask({item.name: item.low for item in INPUTS}, min(self._within, SAFE_REQUEST))

    def close(self) -> None:
        super().close()
        self._connection.close()

    def _limited(self, values: dict[str, float]) -> Reading:
        with self._limiter.request():
            return self._plausible.reply(self._ask(values, self._within))

    def _ask(self, values: dict[str, float], within: float) -> Reading:
        params = {name: repr(value) for name, value in values.items()}
        return self.request(lambda: reading(self._connection.get(params, within), values))
