"""Checks of told settings and readings, as strict as those of a driver; a violation is a mistake of the caller."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from sdl.drivers.base import Instrument
from sdl.drivers.checks import checked, checked_reading, in_range
from sdl.drivers.declared.config import Limit
from sdl.drivers.declared.derived import with_derived
from sdl.errors import ConfigError, InstrumentError, near
from sdl.store.datasets import in_bounds
from sdl.types import Channel, Reading, Settings, Value, is_number


def told_channels(instrument: Instrument) -> tuple[Channel, ...]:
    """The channels whose readings are told; those of formulas are computed."""
    raw: tuple[Channel, ...] = getattr(instrument, "raw_channels", instrument.channels)
    return raw


def told_reading(
    instrument: Instrument, settings: Settings, readings: Mapping[str, Any], applied: Mapping[str, Any] | None = None
) -> Reading:
    """The reading at `settings`, with saturated and derived channels.

    Args:
        instrument: the campaign's.
        settings: the requested value of every input.
        readings: the value of every channel that is told.
        applied: values of the inputs that were set to other values than requested.

    Raises:
        ConfigError: an input or a channel is missing or unknown, or a value is impossible; the message lists the
            allowed values.
    """
    channels = told_channels(instrument)
    set_to = {**settings, **_applied(instrument, applied or {})}
    with refused():
        reading = checked_reading(Reading(set_to, readings), settings, {channel.name for channel in channels})
        return with_derived(in_range(reading, channels), getattr(instrument, "derived", {}))


def beyond_limits(instrument: Instrument, readings: Mapping[str, float]) -> str:
    """Which readings lie beyond the `limits` of the instrument: `pH = 9.4 is above its limit 9`; empty if none does."""
    limits: Mapping[str, Limit] = getattr(instrument, "limits", {})
    beyond = [
        f"{name} = {readings[name]:g} is {words}"
        for name, limit in limits.items()
        if name in readings and (words := limit.exceeded(readings[name]))
    ]
    return "; ".join(beyond)


def checked_settings(instrument: Instrument, settings: Mapping[str, Any]) -> dict[str, Value]:
    """The settings of every input, within their bounds.

    Raises:
        ConfigError: a value is missing, unknown or impossible.
    """
    with refused():
        return checked(settings, instrument.inputs)


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Raise the InstrumentError of a driver's check as a ConfigError: the mistake is the caller's."""
    try:
        yield
    except InstrumentError as error:
        raise ConfigError(f"{error}; nothing was written") from error


def _applied(instrument: Instrument, applied: Mapping[str, Any]) -> dict[str, Value]:
    """The applied settings, within the bounds of the inputs as those of a table: outside is a typing error.

    Raises:
        ConfigError: an unknown input, or a value that is no number, outside its bounds or none of its choices.
    """
    known = {item.name: item for item in instrument.inputs}
    for name, value in applied.items():
        if name not in known:
            raise ConfigError(f"applied: unknown input {name}; {near(name, tuple(known))}")
        choices = known[name].choices
        if choices and value not in choices:
            raise ConfigError(f"applied: {name} = {value!r} is none of {', '.join(choices)}")
        if not choices and not is_number(value):
            raise ConfigError(f"applied: {name} = {value!r} is no number")
        low, high = known[name].low, known[name].high
        if not choices and math.isfinite(value) and not in_bounds(value, low, high):
            raise ConfigError(
                f"applied: {name} = {value:g} is outside its bounds, {low:g} … {high:g}; if it was truly set so, "
                "leave this reading out (sdl skip, or --failed WHY)"
            )
    return dict(applied)
