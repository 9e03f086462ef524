"""The conditions of a lab file under which campaigns pause, and whether an instrument can report them.

    suspend: {ambient: {above: {clear: 2000}}, disk: 500MB, twin: twin, good_for: 5min}

`sdl.lab.workers.gate` evaluates them while a campaign runs.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from sdl.config.durations import Duration
from sdl.drivers.base import Instrument
from sdl.errors import Problem
from sdl.twin.state import TwinState, load, locate
from sdl.types import Frozen

DEFAULT_TWIN = "night-2025-10"  # the state that `twin: twin` stands for, as in `watch`
NO_READING = "no reading"  # beginning of the cause of a pause that waits for an instrument
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)\s*")


def parse_size(value: Any) -> int:
    """A size in bytes.

    Raises:
        ValueError: neither a positive number of bytes nor text such as `500MB`.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = round(float(match[1]) * _BYTES[match[2]]) if match else value
    if type(size) is int and size > 0:
        return size
    raise ValueError(f"must be a size such as 500MB or 2GB, not {value!r}")


Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema({"type": "string", "description": "500MB, 2GB"})]
"""A size, parsed to bytes."""


def disk_free(folder: Path) -> float:
    """Bytes free at a folder or its nearest existing parent; infinity if unknown."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return float(shutil.disk_usage(place).free)
    return math.inf


class Ambient(Frozen):
    """Limits of the background: from the campaign's own background readings, or samples taken while paused."""

    above: Mapping[str, float] = Field(
        min_length=1,
        description="background of a channel, in raw readings, above which campaigns pause: {clear: 2000}",
    )
    look: Duration = Field(60.0, description="interval of background readings while paused: 1min")

    @field_validator("above")
    @classmethod
    def _positive(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        if wrong := [name for name, limit in value.items() if not (math.isfinite(limit) and limit >= 0)]:
            raise ValueError(f"the limit of {wrong[0]} must be a number of at least 0")
        return value


class Suspend(Frozen):
    """When a campaign pauses: until all conditions have been good for `good_for`. Only `away` by default."""

    away: Duration | None = Field(
        60.0,
        description="pause while the instrument gives no readings; longest interval between attempts to reach it. "
        "null: no pause, so that `retry` and `stop.failures` end the campaign",
    )
    ambient: Ambient | None = Field(None, description="pause while the background is too high: {above: {clear: 2000}}")
    twin: str | None = Field(
        None,
        description="pause when the instrument no longer matches its twin: `twin`, the name of a state, or the path of "
        "a .toml file; continues only on request, because a paused campaign takes no readings that could show recovery",
    )
    disk: Size | None = Field(
        None, description="pause while less than this is free at the directory of the runs: 500MB"
    )
    good_for: Duration = Field(
        300.0, description="how long all conditions must be good before a campaign continues: 5min"
    )

    @field_validator("twin")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value not in (None, "twin"):
            load(value)
        return str(locate(value)) if value and value.endswith(".toml") else value

    @property
    def state(self) -> TwinState | None:
        """The state of the twin to compare with; None without comparison."""
        return None if self.twin is None else load(DEFAULT_TWIN if self.twin == "twin" else self.twin)


def unsupported_conditions(suspend: Suspend, instrument: Instrument) -> list[Problem]:
    """The conditions that an instrument cannot report; paths start below `suspend`."""
    problems = []
    if suspend.ambient is not None:
        channels = [channel.name for channel in instrument.channels]
        text = f"the instrument has no such channel; it has {', '.join(channels)}"
        problems += [Problem(text, f"ambient.above.{name}") for name in suspend.ambient.above if name not in channels]
        option = getattr(instrument, "background", None)
        if option == "none" or (option is None and not getattr(instrument, "tells_background", False)):
            text = (
                f"the instrument (kind {instrument.kind}) does not measure its background; "
                "set its option `background: each` or `background: {every: 10}`"
            )
            problems.append(Problem(text, "ambient"))
    inputs = sorted(item.name for item in instrument.inputs)
    if (state := suspend.state) is not None and inputs != sorted(state.inputs):
        text = f"{suspend.twin} has the inputs {', '.join(state.inputs)}, the instrument has {', '.join(inputs)}"
        problems.append(Problem(text, "twin"))
    return problems
