"""The driver of every declared instrument: what the campaign asks for, in requests to a raw driver.

One reading may take several requests: steps of a ramp, a first one that sets the inputs before they settle, and
repeated ones until a channel is stable. Each reading is compared with the limits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

from sdl.clock import Clock
from sdl.drivers.base import OpenDriver
from sdl.drivers.checks import checked, checked_reading, in_range, is_same
from sdl.drivers.declared.derived import with_derived
from sdl.drivers.declared.ramp import Ramp
from sdl.durations import format_duration
from sdl.errors import InstrumentError, Interlock, Rejected, Unreachable
from sdl.types import Channel, Power, Reading, SafeState, Settings, Value, is_number

if TYPE_CHECKING:
    from sdl.drivers.declared.config import Declared, RawDriver, SettleUntil

FEWEST = 3  # readings in the window of a stable channel


class DeclaredDriver(OpenDriver):
    """An open declared instrument.

    Args:
        instrument: its keys.
        raw: the connection.
        clock: the campaign's clock.
    """

    def __init__(self, instrument: Declared, raw: RawDriver, clock: Clock) -> None:
        self._instrument, self._raw, self._clock = instrument, raw, clock
        self._channels = {channel.name: channel for channel in instrument.raw_channels}
        self._touched = False
        self._set: Settings | None = None  # by the last request that succeeded
        self._set_at = -math.inf  # when that request ended, monotonic
        self._settled: Settings | None = None
        self._lost = False  # whether it is unknown where the inputs are
        rates = {name: rate.per_second for name, rate in instrument.ramp.items()}
        self._ramp = Ramp(instrument.inputs, rates, instrument.constraints, instrument.takes, instrument.off or {})

    def measure(self, settings: Settings) -> Reading:
        """Take one reading at `settings`, after the ramp to them and after settling.

        Raises:
            Rejected: settings outside the bounds, or that break a constraint; nothing was sent.
            Interlock: a reading lies beyond a limit; the instrument was told to be off.
            BadReply: a reading outside the range of its channel, or a derived channel that is undefined.
            InstrumentError: no reading, not settled in time, or interrupted while it waited.
        """
        self.require_open()
        values = self._checked(settings)
        if self._lost and self._instrument.ramp:
            self._begin_at_off()
        while (step := self._ramp.next(values, self._clock.monotonic())) != values:
            if isinstance(step, float):
                self._wait(step, "on the ramp")
            else:
                self._request(step)
        reading = self._settle(values, self._request(values))
        self._settled = values
        return with_derived(in_range(reading, self._instrument.raw_channels), self._instrument.derived)

    def safe(self) -> SafeState:
        if self._instrument.off is None:
            return SafeState(Power.NOT_NEEDED, None, "it may be left as it is")
        if not self._touched:
            return SafeState(Power.NOT_NEEDED, None, "nothing was requested over this connection")
        self.require_open()
        self._set, self._settled, self._lost = None, None, True
        state = _proven(self._raw.safe(), self._instrument.off)
        if state.state is Power.OFF:
            self._touched = self._lost = False
            self._ramp.at(self._instrument.off, self._clock.monotonic())
        return state

    def assume_on(self) -> None:
        """Send the settings `off` at the next `safe`, although nothing was requested over this connection."""
        self._touched = self._lost = True

    def close(self) -> None:
        super().close()
        self._raw.close()

    def _begin_at_off(self) -> None:
        """Switch it off, because a ramp needs a known beginning.

        Raises:
            Unreachable: no answer says that it is off.
        """
        state = self.safe()
        if not state.proven:
            raise Unreachable(
                f"a ramp starts from the settings `off`, and the instrument may not be there: {state.why}"
            )

    def _checked(self, settings: Settings) -> Settings:
        off = self._instrument.off
        if off is not None and settings == off:
            return dict(off)
        values = checked(settings, self._instrument.inputs)
        if broken := [str(c) for c in self._instrument.constraints if not c.holds(values)]:
            shown = ", ".join(f"{name} = {value}" for name, value in values.items())
            raise Rejected(f"{shown} breaks the constraint {broken[0]}")
        return values

    def _request(self, values: Settings) -> Reading:
        """One request, its reading complete, finite and within the limits."""
        self._touched = True
        if values != self._set:
            self._set = self._settled = None
        self._ramp.sent(values, self._clock.monotonic())
        reading = checked_reading(self._raw.measure(values), values, self._channels.keys())
        self._ramp.at(values, self._clock.monotonic())
        if self._set is None:
            self._set, self._set_at = values, self._clock.monotonic()
        self._hold_limits(reading)
        return reading

    def _hold_limits(self, reading: Reading) -> None:
        """Make the instrument safe if a reading lies beyond a limit.

        Raises:
            Interlock: one does.
        """
        if not self._instrument.limits:
            return
        values = with_derived(reading, self._instrument.derived, strict=False).readings
        beyond = [
            f"{name} = {values[name]:g}{_unit(self._channels.get(name))} is {words}"
            for name, limit in self._instrument.limits.items()
            if name in values and (words := limit.exceeded(values[name]))
        ]
        if not beyond:
            return
        try:
            state = self.safe()
            end = "it was switched off" if state.proven else f"it may still be on: {state.why}".rstrip(": ")
        except InstrumentError as error:
            end = f"it may still be on: {error}"
        raise Interlock(f"{'; '.join(beyond)}; {end}")

    def _settle(self, values: Settings, reading: Reading) -> Reading:
        settle = self._instrument.settle
        if settle is None or self._settled == values:
            return reading
        if not isinstance(settle, float):
            return self._until_stable(settle, values, reading)
        self._wait(self._set_at + settle - self._clock.monotonic(), "while it settled")
        return self._request(values)

    def _until_stable(self, settle: SettleUntil, values: Settings, reading: Reading) -> Reading:
        """Read until a channel has varied by at most `settle.within` during `settle.window` seconds."""
        seen: deque[tuple[float, float]] = deque()
        while True:
            now = self._clock.monotonic()
            seen.append((now, reading.readings[settle.until]))
            while len(seen) > FEWEST and now - seen[1][0] >= settle.window:
                seen.popleft()
            levels = [value for _, value in seen]
            moved = max(levels) - min(levels)
            whole = len(seen) >= FEWEST and now - seen[0][0] >= settle.window
            if whole and moved <= settle.within:
                return reading
            if now - self._set_at >= settle.at_most:
                raise InstrumentError(
                    f"{settle.until} did not settle within {format_duration(settle.at_most)}: it moved by {moved:g} in "
                    f"the last {format_duration(now - seen[0][0])} (allowed: {settle.within:g})",
                    retryable=True,
                    maybe_measured=True,
                )
            self._wait(settle.window / 5, "while it settled")
            reading = self._request(values)

    def _wait(self, seconds: float, when: str) -> None:
        """Wait.

        Raises:
            InstrumentError: the wait was interrupted: what follows it must not be done earlier.
        """
        if seconds <= 0:
            return
        began = self._clock.monotonic()
        self._clock.sleep(seconds)
        if self._clock.monotonic() - began < 0.9 * seconds:
            raise InstrumentError(f"interrupted {when}", retryable=True, maybe_measured=True)


def _proven(state: SafeState, off: Mapping[str, Value]) -> SafeState:
    """The state that a raw driver reports; off only where the answer gives exactly the settings `off`."""
    if state.state is not Power.OFF:
        return state
    given: Mapping[str, object] = state.applied or {}
    applied = {name: value for name in off if _is_value(value := given.get(name))}
    if missing := [name for name in off if name not in applied]:
        return SafeState(Power.UNKNOWN, None, f"the answer does not say what was applied of {', '.join(missing)}")
    if wrong := [f"{name} = {applied[name]}" for name, value in off.items() if not is_same(applied[name], value)]:
        return SafeState(Power.ON, applied, f"told to switch off, it says {', '.join(wrong)}")
    return SafeState(Power.OFF, applied, state.why)


def _is_value(value: object) -> TypeGuard[Value]:
    """Whether an answer gives a finite number or a text."""
    return isinstance(value, str) or (is_number(value) and math.isfinite(value))


def _unit(channel: Channel | None) -> str:
    return f" {channel.unit}" if channel is not None and channel.unit else ""
