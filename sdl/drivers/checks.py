"""Checks of settings before they reach an instrument, and of readings before they reach a campaign."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

from sdl.drivers.base import Instrument
from sdl.errors import BadReply, NotApplied, Rejected
from sdl.types import Channel, Input, Power, Reading, SafeState, Settings, Value, numbers

# Exceptions that only a programming error in the driver causes, so that a retry is useless.
# NotImplementedError is one: a driver of a user that has left out a member.
BUGS = (TypeError, AttributeError, NameError, ImportError, SyntaxError, AssertionError, NotImplementedError)

ROUNDING = 1e-9  # of a reading, relative to the end of its range; of a setting

SAME = 3  # equal readings in a row that are refused: with noise above the resolution they would differ


def checked_numbers(settings: Settings, inputs: Sequence[Input]) -> dict[str, float]:
    """Return the settings of numeric inputs alone as plain floats in the order of the inputs; see `checked`."""
    return numbers(checked(settings, inputs))


def checked(settings: Settings, inputs: Sequence[Input]) -> dict[str, Value]:
    """Return the settings as plain floats and texts in the order of the inputs.

    Raises:
        Rejected: an input is missing, unknown, not a finite number, outside its bounds, or none of its choices.
    """
    names = [item.name for item in inputs]
    if set(settings) != set(names):
        missing = [name for name in names if name not in settings]
        unknown = [name for name in settings if name not in names]
        wrong = "; ".join(f"{what}: {', '.join(n)}" for what, n in (("missing", missing), ("unknown", unknown)) if n)
        raise Rejected(f"settings must name {', '.join(names)}; {wrong}")
    try:
        values = {item.name: float(_number(item.name, settings[item.name])) for item in inputs if item.numeric}
    except (TypeError, ValueError) as error:
        raise Rejected(str(error)) from None
    for item in inputs:
        if item.choices and settings[item.name] not in item.choices:
            raise Rejected(f"{item.name} = {settings[item.name]!r} is none of {', '.join(item.choices)}")
        if item.numeric and not item.low <= values[item.name] <= item.high:
            raise Rejected(f"{item.name} = {values[item.name]!r} is outside {item.low:g} … {item.high:g}")
    return {name: values[name] if name in values else str(settings[name]) for name in names}


def checked_reading(reading: Reading, settings: Settings, channels: Set[str]) -> Reading:
    """Return a driver's reading as finite numbers, marked `not-applied` if other settings were applied than requested.

    Args:
        reading: what `measure` returned.
        settings: the requested ones.
        channels: every channel that the instrument declares.

    Raises:
        NotApplied: it does not state the applied value of every input.
        BadReply: it has other channels, or a value that is not a finite number.
        TypeError: it is not a Reading.
    """
    if not isinstance(reading, Reading):
        raise TypeError(f"measure must return an sdl.types.Reading, it gave {str(reading)[:60]!r}")
    try:
        applied = {name: _applied(name, reading.applied[name], value) for name, value in settings.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise NotApplied(f"the reading does not say what was applied: {reading.applied}") from error
    values = _complete(reading.readings, channels, "the reading")
    base = None if reading.background is None else _complete(reading.background, channels, "the background")
    saturated, fault = tuple(reading.saturated), reading.fault
    if not channels >= set(saturated):
        raise BadReply(f"saturated names {', '.join(saturated)}; the instrument has: {', '.join(sorted(channels))}")
    if not isinstance(fault, str | None):
        raise TypeError(f"the fault of a reading must be a word or None, not {str(fault)[:60]!r}")
    if fault is None and not all(is_same(applied[name], value) for name, value in settings.items()):
        fault = "not-applied"
    return Reading(applied, values, base, saturated, fault)


def in_range(reading: Reading, channels: Sequence[Channel]) -> Reading:
    """Return the reading with the channels at the upper end of their range marked as saturated.

    Raises:
        BadReply: a channel lies beyond its range.
    """
    full = list(reading.saturated)
    for channel in channels:
        low, high, value = channel.low, channel.high, reading.readings[channel.name]
        if (low is not None and value < low - ROUNDING * abs(low)) or (
            high is not None and value > high + ROUNDING * abs(high)
        ):
            ends = f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}".strip()
            raise BadReply(f"{channel.name} = {value:g} lies outside its range {ends}")
        if high is not None and value >= high and channel.name not in full:
            full.append(channel.name)
    return replace(reading, saturated=tuple(full))


class Repeats:
    """Refuses readings of a frozen sensor or from a cache: `SAME` in a row that are equal in every channel.

    The settings do not matter. At least one channel must be informative: without a declared resolution, not zero and
    not saturated. Instruments with `may_repeat` (by default the simulated ones) are exempt.
    """

    def __init__(self, instrument: Instrument) -> None:
        may_repeat = getattr(instrument, "may_repeat", instrument.simulated)
        self._fine = [] if may_repeat else [item.name for item in instrument.channels if item.resolution is None]
        self._last: Mapping[str, float] = {}
        self._times = 0

    def checked(self, reading: Reading) -> Reading:
        """Return the reading unchanged.

        Raises:
            BadReply: it equals the readings before it.
        """
        self._times = self._times + 1 if reading.readings == self._last else 1
        self._last = reading.readings
        telling = [name for name in self._fine if reading.readings[name] and name not in reading.saturated]
        if self._times >= SAME and telling:
            raise BadReply(
                f"{self._times} readings in a row are the same in every channel: the sensor is frozen, or the answers "
                f"come from a cache. If the instrument reads in steps coarser than its noise, declare the `resolution` "
                f"of its channels ({', '.join(telling)})"
            )
        return reading


def checked_safe(answer: SafeState | None, *, virtual: bool) -> SafeState:
    """Return the result of a driver's `safe`; None, from drivers older than 0.2, becomes `unknown`.

    `virtual`: the instrument is simulated in virtual time, so that nothing real can be on.

    Raises:
        TypeError: it is neither a SafeState nor None.
    """
    if answer is None:
        if virtual:
            return SafeState(Power.NOT_NEEDED)
        return SafeState(Power.UNKNOWN, None, "its driver does not say whether it is off (`safe` returns None)")
    if not isinstance(answer, SafeState):
        raise TypeError(f"safe must return an sdl.types.SafeState, it gave {str(answer)[:60]!r}")
    return answer


def _complete(given: Mapping[str, float], channels: Set[str], what: str) -> dict[str, float]:
    if given.keys() != channels:
        missing, unknown = sorted(channels - given.keys()), sorted(map(str, given.keys() - channels))
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
        raise BadReply(f"{what} {' and '.join(parts)}; the instrument declares: {', '.join(sorted(channels))}")
    try:
        return _numbers(given)
    except (TypeError, ValueError) as error:
        raise BadReply(f"{what} has a channel that is no finite number: {dict(given)}") from error


def _numbers(given: Mapping[str, Any]) -> dict[str, float]:
    """Convert numbers, also those of numpy, to finite ints and floats.

    Raises:
        TypeError, ValueError: a value is not a finite number.
    """
    return {name: _number(name, value) for name, value in given.items()}


def _number(name: str, value: Any) -> float:
    if type(value) not in (float, int):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} = {value!r} is not a finite number")
        value = int(value) if isinstance(value, Integral) else float(value)
    if not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name} = {value!r} is not a finite number")
    return value  # type: ignore[no-any-return]


def _applied(name: str, value: Any, asked: Value) -> Value:
    """An applied value of the same type as the one that was asked for."""
    if not isinstance(asked, str):
        return _number(name, value)
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} = {value!r} is not the text of a choice")
    return value


def is_same(applied: Value, asked: Value) -> bool:
    """Whether two values of an input are equal apart from rounding."""
    if isinstance(applied, str) or isinstance(asked, str):
        return applied == asked
    return abs(applied - asked) <= ROUNDING * max(1.0, abs(asked))
