"""Limits on the requests to a shared instrument: a minimum interval, requests per day, and a circuit breaker.

Each open connection counts its own requests; a new or resumed run starts at 0. The limits wait or refuse; retries are
up to the campaign.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from sdl.clock import Clock
from sdl.errors import InstrumentError, Rejected

DAY = 86_400.0


class RateLimiter:
    """Waits or refuses before every request.

    Args:
        clock: clock for the pauses.
        interval: minimum seconds from the end of one request to the beginning of the next, so that others get a turn.
        a_day: maximum number of requests in 24 hours; None: no limit.
        failures: number of failures in a row that opens the breaker; None: never.
        rest: seconds for which an open breaker refuses; afterwards it lets one request through.
    """

    def __init__(
        self, clock: Clock, interval: float, a_day: int | None = None, failures: int | None = None, rest: float = 0.0
    ) -> None:
        self._clock, self._interval, self._a_day = clock, interval, a_day
        self._failure_limit, self._rest = failures, rest
        self._ended: float | None = None
        self._request_times: deque[float] = deque()
        self._failed, self._last = 0, ""

    @contextmanager
    def request(self) -> Iterator[None]:
        """Enclose one request: wait for its turn, and count a failure.

        Raises:
            InstrumentError: the requests of the day are used up, or the breaker is open. Nothing was sent.
        """
        self._check()
        if self._ended is not None:
            self._clock.sleep(self._interval - (self._clock.monotonic() - self._ended))
        if self._a_day is not None:
            self._request_times.append(self._clock.monotonic())
        try:
            yield
        except Rejected:
            raise  # by us or by the instrument, which works
        except InstrumentError as error:
            self._failed, self._last = self._failed + 1, str(error)
            raise
        else:
            self._failed = 0
        finally:
            self._ended = self._clock.monotonic()

    def _check(self) -> None:
        now = self._clock.monotonic()
        if self._failure_limit is not None and self._failed >= self._failure_limit and self._ended is not None:
            wait = self._rest - (now - self._ended)
            if wait > 0:
                raise InstrumentError(
                    f"not asked: {self._failed} requests in a row failed; no request is sent for another {wait:.0f} s "
                    f"(breaker, rest); the last failure: {self._last}",
                    retryable=True,  # the campaign's `retry` decides how often
                )
        while self._request_times and now - self._request_times[0] >= DAY:
            self._request_times.popleft()
        if self._a_day is not None and len(self._request_times) >= self._a_day:
            wait = DAY - (now - self._request_times[0])
            raise InstrumentError(
                f"not asked: {self._a_day} requests in 24 hours are used up (requests_a_day); the next in {wait:.0f} s"
            )
