"""Background readings: readings with the instrument off, taken with the measurements and subtracted from them.

background: none            never
background: each            before every reading
background: {every: 10}     before the first of ten readings, which all carry it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from sdl.errors import BadReply, InstrumentError
from sdl.types import Frozen, Reading, Settings


class Every(Frozen):
    """One background for several readings."""

    every: int = Field(ge=1, le=100_000, description="readings that share one background")


Background = Annotated[
    Literal["none", "each"] | Every,
    Field(
        description="readings with the instrument off, subtracted for the solvers: `none`, `each` (before every "
        "reading), or `{every: n}`"
    ),
]


def share(background: Literal["none", "each"] | Every) -> float:
    """Requests per reading, including its share of a background."""
    period = _period(background)
    return 1.0 + (1.0 / period if period else 0.0)


def _period(background: Literal["none", "each"] | Every) -> int:
    return {"none": 0, "each": 1}[background] if isinstance(background, str) else background.every


class BaselineSampler:
    """Takes readings with their background, as often as one is due.

    Args:
        background: how often.
        off: the settings at which the instrument is off.
    """

    def __init__(self, background: Literal["none", "each"] | Every, off: Settings) -> None:
        self._period, self._off = _period(background), dict(off)
        self._last: Mapping[str, float] = {}
        self._remaining = 0

    def reading(self, read: Callable[[dict[str, Any]], Reading], settings: dict[str, Any]) -> Reading:
        """Take one reading at checked `settings`, with a new background or the last one; `read` takes a plain reading.

        Raises:
            InstrumentError: from `read`; after a new background it says that the instrument may have measured.
        """
        if not self._period:
            return read(settings)
        fresh = self._remaining <= 0
        if fresh:
            baseline = read(dict(self._off))
            if dict(baseline.applied) != self._off:
                raise BadReply(
                    f"for the background the instrument measured at {dict(baseline.applied)} instead of {self._off}"
                )
            self._last, self._remaining = baseline.readings, self._period
        try:
            reading = read(settings)
        except InstrumentError as error:
            self._remaining = 0  # the next attempt may be minutes later
            error.maybe_measured = error.maybe_measured or fresh
            raise
        self._remaining -= 1
        return replace(reading, background=self._last)
