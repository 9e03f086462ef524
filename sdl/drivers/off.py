"""Whether an instrument is off: known from what was requested of it and from what it answered."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from sdl.drivers.base import OpenDriver
from sdl.errors import InstrumentError
from sdl.types import Power, SafeState, Settings, Value

T = TypeVar("T")

UNTOUCHED = SafeState(Power.NOT_NEEDED, None, "nothing was requested over this connection")
TOUCHED = SafeState(Power.UNKNOWN, None, "a reading was requested since")
CLOSED = SafeState(Power.UNKNOWN, None, "the connection was closed before an answer said that it is off")
LEFT_ALONE = SafeState(Power.NOT_NEEDED, None, "declared as `off: nothing`")
SAME = 1e-9  # largest relative difference of equal settings, as asked for and as answered


class TrackedDriver(OpenDriver):
    """Base of drivers that know whether a request may have left the instrument on.

    Args:
        off: the settings at which it is off; None: it may be left alone.
    """

    def __init__(self, off: Settings | None) -> None:
        self.off, self._state = off, UNTOUCHED if off is not None else LEFT_ALONE

    def request(self, ask: Callable[[], T]) -> T:
        """Return the result of one request, after which the instrument may be on."""
        self.require_open()
        before, self._state = self._state, TOUCHED if self.off is not None else LEFT_ALONE
        try:
            return ask()
        except InstrumentError as error:
            if not error.maybe_measured:
                self._state = before
            raise

    def switch_off(self, off: Settings) -> SafeState:
        """Send one request to be off, and judge its answer."""
        raise NotImplementedError  # each instrument has its own request

    def safe(self) -> SafeState:
        """Send one request to be off unless that is known; return what the answer proves.

        Raises:
            InstrumentError: there is no usable answer.
        """
        if self._state.proven or self.off is None:
            return self._state
        if self.closed:
            return CLOSED
        self._state = self.switch_off(self.off)
        return self._state


def judge_off(off: Settings, applied: Settings) -> SafeState:
    """The state of an instrument that was asked for the settings `off` and answered that it `applied` these.

    It is off only where the answer names every input of `off`.
    """
    listed = ", ".join(f"{name} = {shown(value)}" for name, value in applied.items())
    if any(not equal(applied[name], value) for name, value in off.items() if name in applied):
        return SafeState(Power.ON, dict(applied), f"asked to be off, it says that it applied {listed}")
    if missing := [name for name in off if name not in applied]:
        why = f"it does not say what it applied of {', '.join(missing)}; `applied` in the file would ask for it"
        return SafeState(Power.UNKNOWN, dict(applied) or None, why)
    return SafeState(Power.OFF, dict(applied))


def equal(one: Value, other: Value) -> bool:
    """Whether two values of an input are the same, within the rounding of numbers."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)


def shown(value: Value) -> str:
    """A value of an input in a message."""
    return value if isinstance(value, str) else f"{value:g}"
