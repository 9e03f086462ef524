"""Switch an instrument off, and repeat the attempt until a reply confirms it.

A driver's `safe` is one attempt. A shared server may try for 50 s within one request, report failure with the
instrument still on, and need as long again, so one attempt may take that long and all of them two minutes. The campaign
itself does not wait for these attempts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sdl.clock import Clock, RealClock
from sdl.drivers.base import Driver, Instrument
from sdl.drivers.checks import BUGS, checked_safe
from sdl.errors import SdlError, cut
from sdl.types import Power, SafeState

log = logging.getLogger("sdl")

# Seconds: until a warning is given, until the attempts end, between two attempts.
WARN_AFTER, RETRY_FOR, RETRY_EVERY = 20.0, 120.0, 1.0
# Begins every message about an instrument that is not known to be off.
MAY_BE_ON = "the instrument may still be on"


class MonotonicClock(RealClock):
    """Monotonic time of the machine; interrupting a campaign does not end waits on this clock."""

    def now(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class SwitchOffPolicy:
    """How long a campaign keeps trying to switch its instrument off.

    Attributes:
        seconds: time limit from the first attempt; an attempt in progress is not cut off.
        clock: clock for the waits between attempts. None: the campaign's clock if it is virtual, else real time (not
            the campaign's real clock, because interrupting the campaign ends its waits).
    """

    seconds: float = RETRY_FOR
    clock: Clock | None = None

    def attempts(self, ask: Callable[[], SafeState | None], instrument: Instrument, clock: Clock) -> SwitchOff:
        """The attempts to switch off one instrument; `clock` is the clock of its campaign."""
        waits = self.clock or (clock if instrument.virtual else MonotonicClock())
        return SwitchOff(ask, waits, virtual=instrument.virtual)


class SwitchOff:
    """The attempts to switch one instrument off, until a reply confirms it or they are given up.

    Args:
        ask: makes one attempt and returns what the driver's `safe` returns.
        clock: clock for the waits between attempts.
        virtual: whether the instrument runs in virtual time.

    Attributes:
        state: result of the last attempt.
        attempts: number of attempts so far.
        seconds: time from the start of the first attempt to the end of the last.
        warned: whether a warning was logged that the instrument may be on.
    """

    def __init__(self, ask: Callable[[], SafeState | None], clock: Clock, *, virtual: bool) -> None:
        self._ask, self._clock, self._virtual = ask, clock, virtual
        self._began = 0.0
        self._again = True
        self._lock = threading.Lock()
        self.state = SafeState(Power.UNKNOWN, None, "no attempt came to an end")
        self.attempts, self.seconds = 0, 0.0
        self.warned = False

    def until(self, seconds: float, give_up: Callable[[], bool] = lambda: False) -> SafeState:
        """Try until off is confirmed, `seconds` have passed since the first attempt, or `give_up()`; at least once."""
        return self._ask_while(lambda: self.seconds + RETRY_EVERY <= seconds and not give_up())

    def once_more(self) -> SafeState:
        """Make one more attempt unless off is confirmed already."""
        more = iter([True])
        return self._ask_while(lambda: next(more, False))

    def _ask_while(self, again: Callable[[], bool]) -> SafeState:
        alarm = threading.Timer(WARN_AFTER, self._warn)  # an attempt alone may take longer
        alarm.daemon = True
        if not self._virtual and not self.state.proven:
            alarm.start()
        try:
            if not self.attempts:
                self._began = self._clock.now()
                self._attempt()
            while not self.state.proven and self._again and again():
                self._clock.sleep(RETRY_EVERY)
                self._attempt()
        except KeyboardInterrupt:  # a person ends the attempts; the record must still be closed
            self._again, self.seconds = False, self._clock.now() - self._began
        finally:
            alarm.cancel()
        return self.state

    def _attempt(self) -> None:
        """Make one attempt; log when it succeeds late or takes too long."""
        self.attempts += 1
        try:
            answer = self._ask()
            self.state = checked_safe(answer, virtual=self._virtual)
            self._again = answer is not None  # a driver that says nothing will say nothing again
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a driver lets through
            why = str(error) if isinstance(error, SdlError) else f"{type(error).__name__}: {error}".rstrip(": ")
            self.state = SafeState(Power.UNKNOWN, None, cut(why))
            self._again = getattr(error, "retryable", not isinstance(error, BUGS))
        self.seconds = self._clock.now() - self._began
        if self.state.proven and self.warned:
            log.warning("the instrument is off now, %.0f s after the first attempt", self.seconds)
        elif self.seconds >= WARN_AFTER:
            self._warn()

    def _warn(self) -> None:
        with self._lock:
            if self.warned or self.state.proven:
                return
            self.warned = True
        log.warning("%s; trying again", not_off_warning(self.state))


def switch_off(
    driver: Driver, instrument: Instrument, clock: Clock, policy: SwitchOffPolicy | None = None
) -> SafeState:
    """Have an open driver switch its instrument off, with as many attempts as needed; log a warning if it fails."""
    policy = policy or SwitchOffPolicy()
    attempts = policy.attempts(driver.safe, instrument, clock)
    state = attempts.until(policy.seconds)
    if not state.proven:
        warn_given_up(attempts)
    return state


def warn_given_up(attempts: SwitchOff) -> None:
    """Warn that no further attempt will be made."""
    log.warning("%s: check it yourself; gave up after %.0f s", not_off_warning(attempts.state), attempts.seconds)


def not_off_warning(state: SafeState) -> str:
    """The message about an instrument that is not known to be off."""
    word = "its last reply says that it is on" if state.state is Power.ON else "no reply confirms that it is off"
    return f"{MAY_BE_ON}: {word}" + (f" ({state.why})" if state.why else "")
