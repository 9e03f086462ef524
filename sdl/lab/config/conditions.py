"""Conditions under which campaigns pause: what a lab file says of them, and whether an instrument can tell.

    suspend: {ambient: {above: {clear: 2000}}, disk: 500MB, twin: twin, good_for: 5min}

They are judged while a campaign runs, by `sdl.lab.workers.gate`. Black-outs, windows and an operator's pause need
nothing here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from sdl.config.durations import Duration
from sdl.drivers.base import Instrument
from sdl.errors import Problem
from sdl.twin.state import TwinState, load, locate
from sdl.types import Frozen

DEFAULT_TWIN = "night-2025-10"
"""The state that `twin: twin` means, as in `watch`."""
NO_READING = "no reading"
"""How the cause of a pause begins that waits for an instrument."""
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)\s*")


def parse_size(value: Any) -> int:
    """A size in bytes.

    Raises:
        ValueError: it is neither a number of bytes above 0 nor text such as `500MB`.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found and (many := round(float(found[1]) * _BYTES[found[2]])) > 0:
        return many
    raise ValueError(f"must be a size such as 500MB or 2GB, not {value!r}")


Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema({"type": "string", "description": "500MB, 2GB"})]
"""A size, in bytes once it is read."""


class Ambient(Frozen):
    """Light of the room, told by the backgrounds that are measured anyway; while paused, by readings in the dark."""

    above: Mapping[str, float] = Field(
        min_length=1,
        description="raw reading of a channel with the light off, above which campaigns pause: {clear: 2000}",
    )
    look: Duration = Field(60.0, description="while paused, how often a reading with the light off is taken: 1min")

    @field_validator("above")
    @classmethod
    def _positive(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        if wrong := [name for name, limit in value.items() if not (math.isfinite(limit) and limit >= 0)]:
            raise ValueError(f"the limit of {wrong[0]} must be a number of at least 0")
        return value


class Suspend(Frozen):
    """When a campaign pauses by itself; it goes on when all is well again for a while. Only `away` by default."""

    away: Duration | None = Field(
        60.0,
        description="while the instrument gives no readings; how often it is asked at most whether it does again. "
        "null: no pause, so that `retry` and `stop.failures` end the campaign",
    )
    ambient: Ambient | None = Field(None, description="while the room is too bright: {above: {clear: 2000}}")
    twin: str | None = Field(
        None,
        description="when the instrument leaves its twin: `twin`, a state's name, or the path of a .toml file; goes on "
        "only when somebody says so, because without readings nothing tells that it is well again",
    )
    disk: Size | None = Field(None, description="while less than this is free where the runs go: 500MB")
    good_for: Duration = Field(300.0, description="how long all must be well before it goes on: 5min")

    @field_validator("twin")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value not in (None, "twin"):
            load(value)
        return str(locate(value)) if value and value.endswith(".toml") else value

    @property
    def state(self) -> TwinState | None:
        """The twin's state; None where it is not held against one."""
        return None if self.twin is None else load(DEFAULT_TWIN if self.twin == "twin" else self.twin)


def unsupported_conditions(suspend: Suspend, instrument: Instrument) -> list[Problem]:
    """What of the conditions an instrument cannot tell; paths start below `suspend`."""
    found = []
    if suspend.ambient is not None:
        channels = [channel.name for channel in instrument.channels]
        for name in suspend.ambient.above:
            if name not in channels:
                found.append(
                    Problem(
                        f"the instrument has no such channel; it has {', '.join(channels)}", f"ambient.above.{name}"
                    )
                )
        if not _tells_background(instrument):
            found.append(
                Problem(
                    f"the instrument (kind {instrument.kind}) takes no readings with the light off, so that nobody "
                    "knows how bright the room is; give it `background: each` or `background: {every: 10}`",
                    "ambient",
                )
            )
    if (state := suspend.state) is not None:
        have = {item.name for item in instrument.inputs}
        if have != state.inputs.keys():
            names = ", ".join(sorted(have))
            found.append(
                Problem(f"{suspend.twin} has the inputs {', '.join(state.inputs)}, the instrument {names}", "twin")
            )
    return found


def _tells_background(instrument: Instrument) -> bool:
    option = getattr(instrument, "background", None)
    return bool(getattr(instrument, "tells_background", False)) if option is None else option != "none"
