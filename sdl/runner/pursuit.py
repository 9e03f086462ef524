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
from sdl.drivers.checks import BUGS, checked_safe
from sdl.errors import SdlError
from sdl.types import Power, SafeState

log = logging.getLogger("sdl")

WARN, PURSUE, PAUSE = 20.0, 120.0, 1.0
"""Seconds: after which people are warned; for which off is pursued; between two attempts."""


class Steady(RealClock):
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

    seconds: float = PURSUE
    clock: Clock | None = None


class Pursuit:
    """Asks one instrument to be off, from the first attempt until it is proven or given up.

    Args:
        ask: one attempt: what the driver's `safe` returns.
        clock: what the pauses are taken on.
        virtual: whether the instrument lives in virtual time.

    Attributes:
        state: what the last attempt came to.
        attempts, seconds: how many so far, and how long after the first the last one ended.
        warned: whether people were told that it may be on.
    """

    def __init__(self, ask: Callable[[], SafeState | None], clock: Clock, *, virtual: bool) -> None:
        self._ask, self._clock, self._virtual = ask, clock, virtual
        self._began = self._ended = 0.0
        self._again = True
        self._lock = threading.Lock()
        self.state = SafeState(Power.UNKNOWN, None, "no attempt came to an end")
        self.attempts, self.seconds = 0, 0.0
        self.warned = False

    def until(self, seconds: float, give_up: Callable[[], bool] = lambda: False) -> SafeState:
        """Asks once, and again until off is proven, until `seconds` after the first attempt, or until `give_up`."""
        if self.attempts and (self.state.proven or not self._again):
            return self.state
        if not self.attempts:
            self._began = self._clock.now()
        alarm = threading.Timer(WARN, self._warn)  # an attempt alone may take longer
        alarm.daemon = True
        if not self._virtual:
            alarm.start()
        try:
            while not self._attempt() and self._again:
                if self.seconds >= WARN:
                    self._warn()
                if self.seconds + PAUSE > seconds or give_up():
                    break
                self._clock.sleep(PAUSE)
        except KeyboardInterrupt:  # whoever is in the terminal wants no more of it; the record must still be closed
            self._again = False
        finally:
            alarm.cancel()
        if self.state.proven and self.warned:
            log.warning("the instrument is off now, %.0f s after it was first asked to be", self.seconds)
        return self.state

    def _attempt(self) -> bool:
        """Whether off is proven by now."""
        self.attempts += 1
        try:
            answer = self._ask()
            self.state = checked_safe(answer, virtual=self._virtual)
            self._again = answer is not None  # a driver that says nothing will say nothing again
        except (Exception, SystemExit) as error:  # whatever a driver lets through
            why = str(error) if isinstance(error, SdlError) else f"{type(error).__name__}: {error}".rstrip(": ")
            self.state = SafeState(Power.UNKNOWN, None, why)
            self._again = getattr(error, "retryable", not isinstance(error, BUGS))
        self.seconds = self._clock.now() - self._began
        return self.state.proven

    def _warn(self) -> None:
        """Tells people, once."""
        with self._lock:
            if self.warned or self.state.proven:
                return
            self.warned = True
        log.warning("%s; it is asked again and again", in_words(self.state))


def in_words(state: SafeState) -> str:
    """What people are told of an instrument that is not known to be off."""
    word = "is still on" if state.state is Power.ON else "may still be on: nothing proves that it is off"
    return f"the instrument {word}" + (f" ({state.why})" if state.why else "")
