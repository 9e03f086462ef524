"""Whether a real instrument leaves its twin while a campaign runs on it: a pure function over its latest readings."""

from __future__ import annotations

from collections.abc import Sequence

from sdl.twin.check import check
from sdl.twin.evidence import matrices
from sdl.twin.state import TwinState
from sdl.types import Reading

LATEST = 40  # readings that are looked at: more would hide what has just happened
FEWEST = 8  # fewer say nothing: with the room unknown, one of them tells of it


def departure(state: TwinState, readings: Sequence[tuple[Reading, int]]) -> str | None:
    """A sentence if the instrument no longer matches its twin, else None.

    Args:
        state: of the twin.
        readings: the campaign's so far, in their order, each with its sitting. Those with a background need no guess
            of the room's light; without one, a room that moves more than rooms do is taken for a departure.
    """
    latest = [(reading, sitting, "") for reading, sitting in readings[-LATEST:]]
    usable = [row for row in latest if row[0].applied.keys() >= state.inputs.keys()]
    if len(usable) < FEWEST:
        return None
    try:
        found = check(matrices(usable, state), state)
    except ValueError:  # saturated, or other channels: nothing that could be compared
        return None
    return found.verdict if found.divergent else None
