"""Off is pursued: a driver's `safe` is one attempt, and here is who asks again until a reply proves it.

A shared server may try for 50 s inside one request and then say that it failed, with the light on, and for as long once
more; so an attempt may take that long, and the whole two minutes. Nothing of the campaign is waited for meanwhile.
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
from sdl.errors import SdlError
from sdl.types import Power, SafeState

log = logging.getLogger("sdl")

WARN_AFTER, RETRY_FOR, RETRY_EVERY = 20.0, 120.0, 1.0
"""Seconds: after which people are warned; for which off is pursued; between two attempts."""
MAY_BE_ON = "the instrument may still be on"
"""How every sentence on an instrument begins that is not known to be off."""


class MonotonicClock(RealClock):
    """The machine's clock that nobody sets, and that no signal interrupts unless it is told."""

    def now(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a campaign pursues off before it leaves that to somebody else.

    Attributes:
        seconds: from the first attempt; one that is under way is waited for.
        clock: what the pauses are taken on. None: real time, or the campaign's own where that is virtual. The
            campaign's clock does not do for a real instrument: whoever interrupts a campaign ends all of its waits.
    """

    seconds: float = RETRY_FOR
    clock: Clock | None = None

    def pursuit(self, ask: Callable[[], SafeState | None], instrument: Instrument, clock: Clock) -> SwitchOff:
        """The pursuit of off at one instrument, whose campaign lives by `clock`."""
        own = clock if instrument.virtual else MonotonicClock()
        return SwitchOff(ask, self.clock or own, virtual=instrument.virtual)


class SwitchOff:
    """Asks one instrument to be off, from the first attempt until it is proven or given up.

    Args:
        ask: one attempt: what the driver's `safe` returns.
        clock: what the pauses are taken on.
        virtual: whether the instrument lives in virtual time.

    Attributes:
        state: what the last attempt came to.
        attempts, seconds: how many so far, and how long after the begin of the first the last one ended.
        warned: whether people were told that it may be on.
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
        """Asks until off is proven, `seconds` after the first attempt have gone, or `give_up`; once at least in all."""
        return self._ask_while(lambda: self.seconds + RETRY_EVERY <= seconds and not give_up())

    def once_more(self) -> SafeState:
        """Asks once more where off is not proven yet."""
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
        except KeyboardInterrupt:  # whoever is in the terminal wants no more of it; the record must still be closed
            self._again, self.seconds = False, self._clock.now() - self._began
        finally:
            alarm.cancel()
        return self.state

    def _attempt(self) -> None:
        """Asks, and tells people what they have to know."""
        self.attempts += 1
        try:
            answer = self._ask()
            self.state = checked_safe(answer, virtual=self._virtual)
            self._again = answer is not None  # a driver that says nothing will say nothing again
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a driver lets through
            why = str(error) if isinstance(error, SdlError) else f"{type(error).__name__}: {error}".rstrip(": ")
            self.state = SafeState(Power.UNKNOWN, None, why)
            self._again = getattr(error, "retryable", not isinstance(error, BUGS))
        self.seconds = self._clock.now() - self._began
        if self.state.proven and self.warned:
            log.warning("the instrument is off now, %.0f s after it was first asked to be", self.seconds)
        elif self.seconds >= WARN_AFTER:
            self._warn()

    def _warn(self) -> None:
        """Tells people, once."""
        with self._lock:
            if self.warned or self.state.proven:
                return
            self.warned = True
        log.warning("%s; it is asked again and again", not_off_warning(self.state))


def switch_off(driver: Driver, instrument: Instrument, clock: Clock, patience: Patience | None = None) -> SafeState:
    """Has an open driver switch its instrument off, again and again where need be; people are told where it is not."""
    patience = patience or Patience()
    pursuit = patience.pursuit(driver.safe, instrument, clock)
    state = pursuit.until(patience.seconds)
    if not state.proven:
        warn_given_up(pursuit)
    return state


def warn_given_up(pursuit: SwitchOff) -> None:
    """Tells people that nobody asks any more."""
    log.warning("%s: look at it; given up after %.0f s", not_off_warning(pursuit.state), pursuit.seconds)


def not_off_warning(state: SafeState) -> str:
    """What people are told of an instrument that is not known to be off."""
    word = "its last reply says so" if state.state is Power.ON else "no reply proves that it is off"
    return f"{MAY_BE_ON}: {word}" + (f" ({state.why})" if state.why else "")
