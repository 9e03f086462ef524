"""Channels computed from the readings and inputs of an instrument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sdl.errors import BadReply
from sdl.grammar import Formula, UndefinedValue
from sdl.types import Reading, numbers

NUDGE = 1e-6  # relative change of a saturated channel that tells which way a formula goes


def with_derived(reading: Reading, formulas: Mapping[str, Formula], *, strict: bool = True) -> Reading:
    """The reading with its derived channels.

    A channel at the upper end of its range is a lower bound, and so is a derived channel that increases with it. If the
    derived channel decreases with it, only an upper bound is known, which a reading cannot express.

    Args:
        reading: the applied inputs and the raw channels.
        formulas: by name of the derived channel; a formula may use channels that were derived before it.
        strict: whether an undefined derived channel is an error; if not, it is left out.

    Raises:
        BadReply: a derived channel is undefined, or only an upper bound of it is known.
    """
    known = {**numbers(reading.applied), **reading.readings}
    beyond = {n: v + NUDGE * max(abs(v), 1.0) if n in reading.saturated else v for n, v in known.items()}
    values, saturated = dict(reading.readings), list(reading.saturated)
    for name, formula in formulas.items():
        if name in values and not strict:
            continue  # a table that has it already
        try:
            value, more = formula.value(known), formula.value(beyond)
            if more < value:
                full = ", ".join(reading.saturated)
                raise UndefinedValue(
                    f"{formula} is known only to be at most {value:g}: {full} is at the end of its range"
                )
        except (UndefinedValue, KeyError) as error:
            if strict:
                raise BadReply(f"derived channel {name}: {error}") from error
            continue
        known[name], beyond[name], values[name] = value, more, value
        if more > value:
            saturated.append(name)
    return replace(reading, readings=values, saturated=tuple(saturated))
