"""The twin as an instrument: the physics of `sdl.twin`, and the time that a reading takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator

from sdl.clock import Clock
from sdl.drivers.checks import checked
from sdl.errors import InstrumentError
from sdl.twin.model import Plant
from sdl.twin.state import fingerprint, load, locate
from sdl.types import Channel, Frozen, Input, Reading

SHORTEST = 1e-6
"""Seconds: two readings never share a microsecond, because the noise is a function of the time."""


class Twin(Frozen):
    """A simulated Claude-Light with the real one's noise. In virtual time a night passes in seconds."""

    kind: Literal["twin"] = "twin"
    state: str = Field(
        default="night-2025-10",
        description="the instrument on one day: night-2025-10, paper-2025-03, or the path of your own .toml file",
    )
    realtime: bool = Field(default=False, description="really wait as long as a reading takes")
    latency: float | None = Field(
        default=None, ge=0, le=3600, description="seconds a reading takes; the state's own by default"
    )
    seed: int | None = Field(default=None, ge=0, description="which noise; the campaign's seed by default")
    start: str | None = Field(
        default=None,
        description="date and time (ISO 8601 with a zone) at which virtual time begins; the state's day by default",
    )

    @field_validator("state")
    @classmethod
    def _known(cls, value: str) -> str:
        load(value)
        # Whole, so that a campaign can be resumed from another folder.
        return str(locate(value)) if value.endswith(".toml") else value

    @field_validator("start")
    @classmethod
    def _moment(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a date and time such as 2025-10-28T19:10:00-04:00") from None
        if moment.tzinfo is None:
            raise ValueError(f"{value!r} has no zone; write it as {value}Z or with an offset such as -04:00")
        if moment.timestamp() < 0:
            raise ValueError(f"{value!r} is before 1970")
        return value

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of the state, 0 … 1."""
        return load(self.state).input_list()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the state."""
        return load(self.state).channel_list()

    @property
    def identity(self) -> str:
        """State and seed: two twins with the same identity are the same instrument."""
        return f"twin:{fingerprint(self.state)}:{self.seed or 0}"

    @property
    def simulated(self) -> bool:
        """Always."""
        return True

    @property
    def virtual(self) -> bool:
        """Whether nobody has to wait for it."""
        return not self.realtime

    @property
    def reading_seconds(self) -> float:
        """Seconds a reading takes."""
        return load(self.state).latency if self.latency is None else self.latency

    @property
    def start_time(self) -> float:
        """When virtual time begins, seconds since 1970 UTC."""
        return (datetime.fromisoformat(self.start) if self.start else load(self.state).start).timestamp()

    def open(self, clock: Clock) -> TwinDriver:
        """A twin that lives in the time of `clock`."""
        return TwinDriver(self, clock)


class TwinDriver:
    """An open twin.

    Attributes:
        plant: the physics, for whoever wants to judge an answer without noise.
        lit: whether the light is on; a measurement switches it on, `safe` off.
    """

    def __init__(self, twin: Twin, clock: Clock) -> None:
        self.plant = Plant(load(twin.state), twin.seed or 0)
        self.lit = False
        self._inputs = twin.inputs
        self._wait = max(twin.reading_seconds, SHORTEST)
        self._clock = clock
        self._closed = False

    def measure(self, settings: Mapping[str, float]) -> Reading:
        """One reading, `latency` seconds later.

        Raises:
            Rejected: settings outside the bounds, or not exactly the inputs.
        """
        if self._closed:
            raise InstrumentError("this twin was closed; open another")
        values = checked(settings, self._inputs)
        self.lit = True
        self._clock.sleep(self._wait)
        return self.plant.read(values, self._clock.now())

    def safe(self) -> None:
        """Switches the light off."""
        self.lit = False

    def close(self) -> None:
        """Ends it; the light stays as it is."""
        self._closed = True
