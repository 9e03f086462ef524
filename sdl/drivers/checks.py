"""Checks of settings before they reach an instrument, and of readings before they reach a campaign."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any

from sdl.drivers.base import Instrument
from sdl.errors import BadReply, NotApplied, Rejected
from sdl.types import Input, Power, Reading, SafeState

BUGS = (TypeError, AttributeError, NameError, ImportError, SyntaxError, AssertionError, NotImplementedError)
"""Exceptions that only a mistake in the driver can cause: a retry would repeat them."""

SAME = 3
"""Equal readings in a row that are refused: with noise above the resolution one of them would differ."""


def checked(settings: Mapping[str, float], inputs: Sequence[Input]) -> dict[str, float]:
    """Return the settings as plain floats in the order of the inputs.

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
    """Return a driver's reading as finite numbers, marked `not-applied` where other settings were applied than asked.

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


class Repeats:
    """Refuse readings of a frozen sensor or from a cache.

    `SAME` readings in a row that are equal in every channel are refused, at whatever settings they were taken, if one
    of the channels can tell: it declares no resolution and is at neither end of its range. Simulated instruments may
    repeat themselves, and those that say so (`may_repeat`).
    """

    def __init__(self, instrument: Instrument) -> None:
        may_repeat = getattr(instrument, "may_repeat", instrument.simulated)
        self._fine = [] if may_repeat else [item.name for item in instrument.channels if item.resolution is None]
        self._last: Mapping[str, float] = {}
        self._times = 0

    def checked(self, reading: Reading) -> Reading:
        """Return the reading unchanged.

        Raises:
            BadReply: it is the same as those before it.
        """
        self._times = self._times + 1 if reading.readings == self._last else 1
        self._last = reading.readings
        telling = [name for name in self._fine if reading.readings[name] and name not in reading.saturated]
        if self._times >= SAME and telling:
            raise BadReply(
                f"{self._times} readings in a row are the same in every channel: the sensor is frozen or the answers "
                f"are stored ones; an instrument that reads in steps coarser than its noise declares the `resolution` "
                f"of its channels ({', '.join(telling)})"
            )
        return reading


def checked_safe(answer: SafeState | None, *, virtual: bool) -> SafeState:
    """Return what a driver's `safe` returned; None, from drivers written before 0.2, becomes `unknown`.

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
    if given.keys() != channels:
        missing, unknown = sorted(channels - given.keys()), sorted(map(str, given.keys() - channels))
        wrong = [
            f"{word} {', '.join(names)}" for word, names in (("lacks", missing), ("has unknown", unknown)) if names
        ]
        raise BadReply(f"{what} {' and '.join(wrong)}; the instrument declares: {', '.join(sorted(channels))}")
    try:
        return _numbers(given)
    except (TypeError, ValueError) as error:
        raise BadReply(f"{what} has a channel that is no finite number: {dict(given)}") from error


def _numbers(given: Mapping[str, Any]) -> dict[str, float]:
    """Convert numbers, also of numpy, to finite ints and floats.

    Raises:
        TypeError, ValueError: one is no number.
    """
    numbers = dict(given)
    for name, value in numbers.items():
        kind = type(value)
        if kind is not float and kind is not int:
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"{name} is {value!r}, which is not a number")
            numbers[name] = value = int(value) if isinstance(value, Integral) else float(value)
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value!r}, which is not finite")
    return numbers
