"""What every driver checks before it touches its instrument, and what is checked of every driver's reading."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any

from sdl.errors import BadReply, NotApplied, Rejected
from sdl.types import Input, Power, Reading, SafeState

BUGS = (TypeError, AttributeError, NameError, ImportError, SyntaxError, AssertionError, NotImplementedError)
"""What no reply of an instrument causes, only a mistake in the driver: asking again would only repeat it."""


def checked(settings: Mapping[str, float], inputs: Sequence[Input]) -> dict[str, float]:
    """The settings as plain floats in the order of the inputs.

    Raises:
        Rejected: an input is missing, unknown, not a finite number, or outside its bounds.
    """
    names = [item.name for item in inputs]
    if set(settings) != set(names):
        missing = [name for name in names if name not in settings]
        unknown = [name for name in settings if name not in names]
        raise Rejected(f"settings must name {', '.join(names)}; missing: {missing}, unknown: {unknown}")
    values = {}
    for item in inputs:
        given = settings[item.name]
        try:
            value = math.nan if isinstance(given, bool | str | bytes) else float(given)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise Rejected(f"{item.name} = {given!r} is not a finite number")
        if not item.low <= value <= item.high:
            raise Rejected(f"{item.name} = {value!r} is outside {item.low:g} … {item.high:g}")
        values[item.name] = value
    return values


def checked_reading(reading: Reading, settings: Mapping[str, float], channels: Set[str]) -> Reading:
    """A driver's reading as plain finite numbers; says so where other settings were applied than asked.

    Args:
        reading: what `measure` returned.
        settings: what was asked for.
        channels: every channel that the instrument declares.

    Raises:
        NotApplied: it does not say what was applied to every input.
        BadReply: not exactly the channels declared, or a value that is no number.
        TypeError: no Reading at all.
    """
    if not isinstance(reading, Reading):
        raise TypeError(f"measure must return an sdl.types.Reading, it gave {str(reading)[:60]!r}")
    try:
        applied = _numbers({name: reading.applied[name] for name in settings})
    except (KeyError, TypeError, ValueError) as error:
        raise NotApplied(f"the reading does not say what was applied: {reading.applied}") from error
    values = _complete(reading.readings, channels, "the reading")
    base = None if reading.background is None else _complete(reading.background, channels, "the background")
    saturated = tuple(reading.saturated)
    if saturated and not channels >= set(saturated):
        raise BadReply(f"saturated names {', '.join(saturated)}; the instrument has: {', '.join(sorted(channels))}")
    fault = reading.fault
    if not isinstance(fault, str | None):
        raise TypeError(f"the fault of a reading must be a word or None, not {str(fault)[:60]!r}")
    if fault is None and any(abs(applied[name] - v) > 1e-9 * max(1.0, abs(v)) for name, v in settings.items()):
        fault = "not-applied"
    return Reading(applied, values, base, saturated, fault)


def checked_safe(answer: SafeState | None, *, virtual: bool) -> SafeState:
    """What a driver's `safe` returned; drivers of before 0.2 return None, which proves nothing.

    Args:
        answer: what it returned.
        virtual: nothing real can have been left on.

    Raises:
        TypeError: neither of the two.
    """
    if answer is None:
        why = "its driver does not say whether it is off (`safe` returns None)"
        return SafeState(Power.NOT_NEEDED if virtual else Power.UNKNOWN, None, "" if virtual else why)
    if not isinstance(answer, SafeState):
        raise TypeError(f"safe must return an sdl.types.SafeState, it gave {str(answer)[:60]!r}")
    return answer


def _complete(given: Mapping[str, float], channels: Set[str], what: str) -> dict[str, float]:
    """All channels and no other, as plain numbers."""
    if given.keys() != channels:
        missing, unknown = sorted(channels - given.keys()), sorted(map(str, given.keys() - channels))
        said = [f"{word} {', '.join(names)}" for word, names in (("lacks", missing), ("has unknown", unknown)) if names]
        raise BadReply(f"{what} {' and '.join(said)}; the instrument declares: {', '.join(sorted(channels))}")
    try:
        return _numbers(given)
    except (TypeError, ValueError) as error:
        raise BadReply(f"{what} has a channel that is no finite number: {dict(given)}") from error


def _numbers(given: Mapping[str, Any]) -> dict[str, float]:
    """Finite ints and floats of Python, also where they were of numpy.

    Raises:
        TypeError, ValueError: one is no number.
    """
    found = dict(given)
    for name, value in found.items():
        kind = type(value)
        if kind is not float and kind is not int:
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{name} is {value!r}, which is not a number")
            found[name] = value = int(value) if isinstance(value, Integral) else float(value)
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}, which is not finite")
    return found
