"""What every driver checks before it touches its instrument."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sdl.errors import Rejected
from sdl.types import Input


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
