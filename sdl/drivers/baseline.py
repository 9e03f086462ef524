"""Readings with the light off, taken with the measurements: what every solver needs where daylight reaches the sensor.

background: none            never
background: each            before every reading
background: {every: 10}     before the first of ten; all ten carry it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from sdl.errors import BadReply, InstrumentError
from sdl.types import Frozen, Reading


class Every(Frozen):
    """One reading in the dark for several with the light on."""

    every: int = Field(ge=1, le=100_000, description="readings that share one with the light off")


Background = Annotated[
    Literal["none", "each"] | Every,
    Field(
        description="readings with the light off, which the solvers get taken off: `none`, `each` (before every "
        "reading), or `{every: n}`"
    ),
]


def share(background: Literal["none", "each"] | Every) -> float:
    """Plain readings that one reading costs, its part of the background included."""
    period = _period(background)
    return 1.0 + (1.0 / period if period else 0.0)


def _period(background: Literal["none", "each"] | Every) -> int:
    return {"none": 0, "each": 1}[background] if isinstance(background, str) else background.every


class BaselineSampler:
    """Takes readings with their background, as often as it is due.

    Args:
        background: how often.
        dark: the settings at which the light is off.
    """

    def __init__(self, background: Literal["none", "each"] | Every, dark: Mapping[str, float]) -> None:
        self._period = _period(background)
        self._off = dict(dark)
        self._last: Mapping[str, float] = {}
        self._left = 0

    def reading(self, read: Callable[[dict[str, float]], Reading], settings: dict[str, float]) -> Reading:
        """One reading at `settings`, with a background of its own or the last one.

        Args:
            read: takes one plain reading.
            settings: checked.

        Raises:
            InstrumentError: whatever `read` raises. Where only the second of two readings failed the instrument has
                measured all the same, and the error says so.
        """
        if not self._period:
            return read(settings)
        fresh = self._left <= 0
        if fresh:
            taken = read(dict(self._off))
            if dict(taken.applied) != self._off:
                raise BadReply(f"asked for a reading with the light off, it measured at {dict(taken.applied)}")
            self._last, self._left = taken.readings, self._period
        try:
            lit = read(settings)
        except InstrumentError as error:
            self._left = 0  # the next attempt may be minutes later
            error.maybe_measured = error.maybe_measured or fresh
            raise
        self._left -= 1
        return replace(lit, background=self._last)
