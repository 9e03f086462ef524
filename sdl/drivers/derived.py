"""Channels computed from the readings and inputs of an instrument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sdl.errors import BadReply
from sdl.grammar import Formula, UndefinedValue
from sdl.types import Reading


def with_derived(reading: Reading, formulas: Mapping[str, Formula], *, strict: bool = True) -> Reading:
    """The reading with its derived channels; one is saturated where a channel that it is computed from is.

    Args:
        reading: with the applied inputs and the raw channels.
        formulas: by the name of the derived channel; may name earlier ones.
        strict: whether an undefined one is an error; otherwise it is left out.

    Raises:
        BadReply: one is undefined there.
    """
    numbers: dict[str, float] = {n: v for n, v in reading.applied.items() if not isinstance(v, str)}
    numbers |= reading.readings
    values, saturated = dict(reading.readings), list(reading.saturated)
    for name, formula in formulas.items():
        if name in values and not strict:
            continue  # a table that has it already
        try:
            values[name] = numbers[name] = formula.value(numbers)
        except (UndefinedValue, KeyError) as error:
            if strict:
                raise BadReply(f"derived channel {name}: {error}") from error
            continue
        if name not in saturated and not set(formula.names).isdisjoint(saturated):
            saturated.append(name)
    return replace(reading, readings=values, saturated=tuple(saturated))
