"""Earlier readings in place of an instrument.

At settings that were measured, the replay returns their readings by time, and starts again after the last. At other
settings it returns a reading of the nearest ones, with the settings applied there, if they are near enough; otherwise
there is no reading.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from sdl.clock import Clock
from sdl.drivers.base import OpenDriver, SessionGap
from sdl.drivers.checks import checked
from sdl.drivers.claude_light.driver import CHANNELS, INPUTS
from sdl.errors import InstrumentError, SdlError, translated_os_errors
from sdl.store import datasets
from sdl.store.record import FILE, file_sha
from sdl.types import SESSION_GAP, Channel, Frozen, Input, Power, Reading, SafeState, Settings, Value

SAME = 1e-9  # largest difference between equal settings, as a fraction of the range


class Replay(Frozen):
    """Earlier readings in place of an instrument; time is virtual."""

    simulated: ClassVar[bool] = True
    virtual: ClassVar[bool] = True
    start_time: ClassVar[float] = 0.0  # 1970: a replay must not be mistaken for the day of the readings

    kind: Literal["replay"] = "replay"
    source: str = Field(description="a run's directory, its record.jsonl, a log or a table of readings")
    within: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="how far the nearest settings may lie, as a fraction of each input's range; 0: exact ones only",
    )
    latency: float = Field(default=0.78, ge=0, le=3600, description="virtual seconds that a reading takes")
    session_gap: SessionGap = SESSION_GAP

    @field_validator("source")
    @classmethod
    def _readable(cls, value: str) -> str:
        path = os.path.abspath(os.path.expanduser(value))  # a campaign may be resumed from another directory
        try:
            _load(path, _stamp(path))
        except SdlError as error:
            raise ValueError(str(error)) from None
        return path

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of the record; R, G and B for a log."""
        return self._loaded.inputs

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the record; for a log, the Claude-Light channels of its most complete line."""
        return self._loaded.channels

    @property
    def identity(self) -> str:
        """Name of the run or file, with a hash of its content."""
        file = Path(os.path.realpath(self.source))
        return f"replay:{file.parent.name if file.name == FILE else file.name}@{self._loaded.digest}"

    @property
    def reading_seconds(self) -> float:
        return self.latency

    @property
    def _loaded(self) -> _Source:
        return _load(self.source, _stamp(self.source))

    def open(self, clock: Clock) -> ReplayDriver:
        return ReplayDriver(self, self._loaded.rows, clock)


class ReplayDriver(OpenDriver):
    """An open replay. A resumed campaign opens another one, which starts with the first line again."""

    def __init__(self, replay: Replay, rows: tuple[Reading, ...], clock: Clock) -> None:
        self._replay, self._clock, self._inputs = replay, clock, replay.inputs
        places: dict[tuple[float, ...], list[Reading]] = {}
        for row in rows:
            places.setdefault(self._place(row.applied), []).append(row)
        self._first = {place: rows[0] for place, rows in places.items()}
        self._turns = {place: cycle(rows) for place, rows in places.items()}

    def measure(self, settings: Settings) -> Reading:
        """Return the next reading at these settings, or at the nearest.

        Raises:
            Rejected: settings outside the bounds.
            InstrumentError: there is no reading near enough.
        """
        self.require_open()
        place = self._place(checked(settings, self._inputs))
        nearest = min(self._turns, key=lambda known: _distance(known, place))
        far = _distance(nearest, place)
        if far > max(self._replay.within, SAME):
            there = ", ".join(
                f"{k} = {v if isinstance(v, str) else format(v, 'g')}" for k, v in self._first[nearest].applied.items()
            )
            raise InstrumentError(
                f"{Path(self._replay.source).name} has no reading within {self._replay.within:g} of the inputs' "
                f"ranges; the nearest, at {there}, is {far:.3g} away"
            )
        self._clock.sleep(self._replay.latency)
        row = next(self._turns[nearest])
        return replace(row, applied=dict(settings)) if far <= SAME else replace(row, fault="not-applied")

    def safe(self) -> SafeState:
        return SafeState(Power.NOT_NEEDED)

    def _place(self, settings: Settings) -> tuple[float, ...]:
        return tuple(_part(item, settings[item.name]) for item in self._inputs)


def _part(item: Input, value: Value) -> float:
    """A number as a fraction of its input's range; the number of a choice, so that others are far from it."""
    if item.choices:
        return float(item.choices.index(str(value)) if value in item.choices else -1)
    return math.nan if isinstance(value, str) else (value - item.low) / (item.high - item.low)


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class _Source:
    inputs: tuple[Input, ...]
    channels: tuple[Channel, ...]
    rows: tuple[Reading, ...]
    digest: str


def _stamp(source: str) -> tuple[int, int]:
    """Size and modification time of the file: the key of the cache."""
    try:
        status = os.stat(os.path.join(source, FILE) if os.path.isdir(source) else source)
    except OSError:
        return (0, 0)  # reported where it is read
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=8)
def _load(source: str, _: tuple[int, int]) -> _Source:
    """Load the readings of a file.

    Raises:
        SdlError: it cannot be read, or has no row.
    """
    file = Path(source) / FILE if os.path.isdir(source) else Path(source)
    with translated_os_errors(file, "read", InstrumentError):
        opened = datasets.read_opened(file)
    inputs, channels = datasets.recorded_instrument(opened, file) if opened else (INPUTS, CHANNELS)
    rows = [row.reading for row in datasets.load(file, inputs, channels, ()).rows]
    if opened is None and rows:
        fullest = max(rows, key=lambda row: len(row.readings)).readings
        channels = tuple(channel for channel in channels if channel.name in fullest)
    names = {channel.name for channel in channels}
    complete = tuple(_cut(row, names) for row in rows if names <= row.readings.keys())
    if not complete:
        raise InstrumentError(f"{file}: has no readings to replay")
    return _Source(inputs, channels, complete, file_sha(file)[:8])


def _cut(row: Reading, names: set[str]) -> Reading:
    """Drop a background that lacks a channel."""
    complete = row.background is not None and names <= row.background.keys()
    return replace(row, background=row.background if complete else None, fault=None)
