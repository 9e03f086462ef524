"""The twin as an instrument: the physics of `sdl.twin`, the time that a reading takes, and its faults."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from sdl.clock import Clock
from sdl.drivers import twin_faults
from sdl.drivers.base import SessionGap
from sdl.drivers.baseline import Background, BaselineSampler, share
from sdl.drivers.checks import checked
from sdl.errors import BadReply, InstrumentError
from sdl.twin.faults import BUSY_LIMIT, Fault, due
from sdl.twin.model import STREAM, Plant
from sdl.twin.state import TwinState, fingerprint, load, locate
from sdl.twin.variants import Variant, vary
from sdl.types import SESSION_GAP, Channel, Frozen, Input, Power, Reading, SafeState

if TYPE_CHECKING:
    from sdl.twin.ambient import Room

SHORTEST = 1e-6
"""Seconds: two readings never share a microsecond, because the noise is a function of the time."""


class Twin(Frozen):
    """A simulated Claude-Light: noise, light, drift and faults of the real one. In virtual time a night passes fast."""

    kind: Literal["twin"] = "twin"
    state: str = Field(
        default="night-2025-10",
        description="the instrument on one day: night-2025-10, night-2024-09, paper-2025-03, or the path of your own "
        ".toml file (`sdl twin fit` writes one)",
    )
    variant: Variant | None = Field(
        default=None,
        description="another instrument: other-unit (gains ± 20 %, by the seed), curved, gamma, droop, rgbw (a fourth "
        "input W), green (only G and 515nm)",
    )
    ambient: str = Field(
        default="constant",
        description="the light of the room: constant (the state's own), none, day (an office by the hour, with sun, "
        "clouds, lamps and nights), or the path of your own .toml file",
    )
    drift: bool = Field(default=False, description="the light of the inputs changes a little from day to day")
    noise: bool = Field(default=True, description="false: readings are exact, only rounded down")
    faults: tuple[Fault, ...] = Field(
        default=(), max_length=100, description="what goes wrong, and when: docs/how-to/twin.md"
    )
    background: Background = "none"
    session_gap: SessionGap = SESSION_GAP
    realtime: bool = Field(default=False, description="really wait as long as a reading takes")
    latency: float | Literal["real"] | None = Field(
        default=None, description="seconds a reading takes; the state's own by default; real: scattered as the real one"
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

    @field_validator("ambient")
    @classmethod
    def _lit(cls, value: str) -> str:
        if value in ("constant", "none"):
            return value
        from sdl.twin.ambient import load_room, locate_room

        try:
            load_room(value)
        except ValueError as error:
            raise ValueError(f"constant, none, or a room: {error}") from None
        return locate_room(value)

    @field_validator("latency")
    @classmethod
    def _patient(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and not 0 <= value <= 3600:
            raise ValueError(f"{value:g} seconds; allowed: 0 to 3600, or real")
        return value

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

    @model_validator(mode="after")
    def _fits(self) -> Twin:
        state, room = self.condition, self.room
        if room and (dark := [name for name in state.channels if name not in room.dark]):
            raise ValueError(f"ambient: {self.ambient} says nothing of the channels {', '.join(dark)}")
        if self.drift and state.drift is None:
            raise ValueError(f"drift: the state {self.state} says nothing of it; add [drift] to it")
        if self.latency == "real" and not state.latencies:
            raise ValueError(f"latency: the state {self.state} does not say how it scatters; add `latencies` to it")
        for index, fault in enumerate(self.faults):
            for key, name, known in (
                ("channel", fault.channel if fault.uses("channel") else None, state.channels),
                ("other", fault.other if fault.uses("other") else None, state.channels),
                ("input", fault.input, state.inputs),
            ):
                if name is not None and name not in known:
                    raise ValueError(f"faults[{index}].{key}: unknown {name!r}; allowed: {', '.join(known)}")
        return self

    @property
    def condition(self) -> TwinState:
        """The state with the variant and without the room's light where that is asked for."""
        state = vary(load(self.state), self.variant, self.seed or 0)
        return state.without_ambient() if self.ambient == "none" else state

    @property
    def room(self) -> Room | None:
        """The room whose light changes; None: it does not."""
        if self.ambient in ("constant", "none"):
            return None
        from sdl.twin.ambient import load_room  # a model to build, which most campaigns need not wait for

        return load_room(self.ambient)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of the state, 0 … 1."""
        return self.condition.input_list()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the state."""
        return self.condition.channel_list()

    @property
    def off(self) -> Mapping[str, float]:
        """Dark: every input at its low."""
        return {item.name: item.low for item in self.inputs}

    @property
    def identity(self) -> str:
        """State, variant and seed: two twins with the same identity are the same instrument."""
        variant = f":{self.variant}" if self.variant else ""
        return f"twin:{fingerprint(self.state)}{variant}:{self.seed or 0}"

    @property
    def simulated(self) -> bool:
        """Always."""
        return True

    @property
    def virtual(self) -> bool:
        """Whether nobody has to wait for it."""
        return not self.realtime

    def reading_noise(self, channel: str, reading: float) -> float:
        """Standard deviation of one reading of a channel where it reads so much, lit by the input that it sees best."""
        state = self.condition
        seen = state.channels[channel]
        gain = max(seen.gain.values())
        part = min(max((reading - seen.ambient) / gain, 0.0), 1.0) if gain > 0 else 0.0
        jitter = state.jitter[seen.window] * gain * math.sqrt(part * (1.0 - part))
        return math.hypot(jitter, state.dark_noise, state.proportional_noise * reading) if self.noise else 0.0

    @property
    def reading_seconds(self) -> float:
        """Seconds a reading takes, with its part of a background."""
        return self._one_reading * share(self.background)

    @property
    def _one_reading(self) -> float:
        return self.latency if isinstance(self.latency, float) else load(self.state).latency

    @property
    def start_time(self) -> float:
        """When virtual time begins, seconds since 1970 UTC."""
        return (datetime.fromisoformat(self.start) if self.start else load(self.state).start).timestamp()

    def simulation(self, start: str, seed: int) -> Twin:
        """Itself in virtual time from `start` on; it keeps its own seed."""
        return self.model_copy(update={"realtime": False, "start": start})

    def open(self, clock: Clock) -> TwinDriver:
        """A twin that lives in the time of `clock`."""
        return TwinDriver(self, clock)


class TwinDriver:
    """An open twin.

    Attributes:
        plant: the physics, for whoever wants to judge an answer without noise.
        lit: whether the light is on; a measurement switches it on, `safe` off. After the fault html-500 it stays on,
            and the LED in use, until the next request has failed, too: as with the published server (`sdl.twin.world`).
    """

    def __init__(self, twin: Twin, clock: Clock) -> None:
        from sdl.twin.ambient import Sky

        sky = Sky(twin.room, twin.seed or 0) if twin.room else None
        self.plant = Plant(twin.condition, twin.seed or 0, sky, twin.drift, twin.noise)
        self.lit = self._left_open = False
        self._twin, self._inputs, self._full = twin, twin.inputs, twin.condition.full_scale
        self._baseline = BaselineSampler(twin.background, twin.off)
        self._wait = max(twin._one_reading, SHORTEST)
        self._clock = clock
        self._start = twin.start_time
        self._count = 0
        self._last: Reading | None = None
        self._closed = False

    def measure(self, settings: Mapping[str, float]) -> Reading:
        """One reading, `latency` seconds later, and its background where one is asked for.

        Raises:
            Rejected: settings outside the bounds, or not exactly the inputs.
            Unreachable, Busy, BadReply: a fault that was asked for.
        """
        if self._closed:
            raise InstrumentError("this twin was closed; open another")
        return self._baseline.reading(self._one, checked(settings, self._inputs))

    def _one(self, values: dict[str, float]) -> Reading:
        faults = due(self._twin.faults, self._twin.seed or 0, self._count, self._clock.now() - self._start)
        self._count += 1
        twin_faults.before(faults, self._clock)
        if self._left_open:
            self._give_up()
            raise BadReply("the LED is still in use by the reading that failed: an error page (500) (fault html-500)")
        applied, light, brighter = twin_faults.lights(faults, values)
        self.lit = True
        if any(fault.name == "html-500" for fault in faults):
            self._clock.sleep(BUSY_LIMIT)
            self._left_open = True
            raise BadReply("the sensor failed: an error page (500) (fault html-500)")
        self._clock.sleep(self._latency())
        seen = self.plant.read(light, self._clock.now(), brighter)
        fault = None if applied == values else "not-applied"
        reading = Reading(applied, seen.readings, None, seen.saturated, fault)
        if faults:
            reading = twin_faults.after(faults, reading, self._last, self._full, self._clock)
        self._last = reading
        return reading

    def safe(self) -> SafeState:
        """Switches the light off."""
        if self._left_open:
            self._give_up()
        self.lit = False
        return SafeState(Power.OFF, self._twin.off)

    def close(self) -> None:
        """Ends it; the light stays as it is."""
        self._closed = True

    def _give_up(self) -> None:
        """Tries to use the LED that a failed reading left open, as long as the server does; then it is closed."""
        self._clock.sleep(BUSY_LIMIT)
        self._left_open = self.lit = False

    def _latency(self) -> float:
        if self._twin.latency != "real":
            return self._wait
        import numpy as np

        # One number more than a reading's own draws are made from, so that neither tells of the other.
        seeds = [self._twin.seed or 0, STREAM, round(self._clock.now() * 1e6), 1]
        return spread_out(self._twin.condition.latencies, float(np.random.default_rng(seeds).random()))


def spread_out(latencies: list[list[float]], part: float) -> float:
    """Seconds that this part of the readings take at most; the logarithm runs straight between the pairs."""
    right = max(bisect_left(latencies, part, key=lambda pair: pair[0]), 1)
    (low, short), (high, long) = latencies[right - 1], latencies[right]
    return float(short * (long / short) ** ((part - low) / (high - low)))
