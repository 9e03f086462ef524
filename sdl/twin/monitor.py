"""Whether a real instrument still matches its twin during a campaign: a pure function of the latest readings."""

from __future__ import annotations

from collections.abc import Sequence

from sdl.store.datasets import DatasetRow
from sdl.twin.comparison import Check
from sdl.twin.fitted import check as fitted
from sdl.twin.fitted.state import FittedState
from sdl.twin.led.check import check
from sdl.twin.led.evidence import matrices
from sdl.twin.led.state import TwinState

LATEST = 40  # readings that are compared: more would hide a recent change
FEWEST = 8  # readings that a comparison needs, since one of them determines the ambient light


def departure(state: TwinState | FittedState, rows: Sequence[DatasetRow]) -> str | None:
    """A warning if the instrument no longer matches its twin, else None.

    Args:
        state: state of the twin.
        rows: readings of the campaign so far, in order, with their sessions and times. Without backgrounds, an
            unusually variable ambient light is reported too.
    """
    usable = [row for row in rows[-LATEST:] if row.reading.applied.keys() >= state.inputs.keys()]
    if len(usable) < FEWEST:
        return None
    try:
        result = _compared(usable, state)
    except ValueError:  # saturated, or other channels: nothing to compare
        return None
    return result.verdict if result.divergent else None


def _compared(rows: Sequence[DatasetRow], state: TwinState | FittedState) -> Check:
    if isinstance(state, FittedState):
        return fitted.check(rows, state)
    return check(matrices([(row.reading, row.session, row.day) for row in rows], state), state)
