"""Whether a real instrument still matches its twin during a campaign: a pure function of the latest readings."""

from __future__ import annotations

from collections.abc import Sequence

from sdl.twin.led.check import check
from sdl.twin.led.evidence import matrices
from sdl.twin.led.state import TwinState
from sdl.types import Reading

LATEST = 40  # readings that are compared: more would hide a recent change
FEWEST = 8  # readings that a comparison needs, since one of them determines the ambient light


def departure(state: TwinState, readings: Sequence[tuple[Reading, int]]) -> str | None:
    """A warning if the instrument no longer matches its twin, else None.

    Args:
        state: state of the twin.
        readings: readings of the campaign so far, in order, each with its session. Without backgrounds, an unusually
            variable ambient light is reported too.
    """
    latest = [(reading, session, "") for reading, session in readings[-LATEST:]]
    usable = [row for row in latest if row[0].applied.keys() >= state.inputs.keys()]
    if len(usable) < FEWEST:
        return None
    try:
        result = check(matrices(usable, state), state)
    except ValueError:  # saturated, or other channels: nothing to compare
        return None
    return result.verdict if result.divergent else None
