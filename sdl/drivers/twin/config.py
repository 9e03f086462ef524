"""The twin as an instrument: the physics of `sdl.twin`, the time that a reading takes, and its faults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from sdl.clock import Clock
from sdl.drivers.base import SessionGap, Start
from sdl.drivers.baseline import Background, share
from sdl.twin.faults import Fault
from sdl.twin.fitted.state import is_fitted
from sdl.twin.led.state import TwinState, fingerprint, load, locate
from sdl.twin.led.variants import Variant, vary
from sdl.types import SESSION_GAP, Channel, Frozen, Input

if TYPE_CHECKING:
    from sdl.drivers.declared.config import Declared
    from sdl.drivers.twin.driver import TwinDriver
    from sdl.drivers.twin.fitted import FittedTwin
    from sdl.twin.led.ambient import Room


def _in_range(value: float | str | None) -> float | str | None:
    if isinstance(value, float) and not 0 <= value <= 3600:
        raise ValueError(f"{value:g} seconds; allowed: 0 to 3600, or real")
    return value


Latency = Annotated[float | Literal["real"] | None, AfterValidator(_in_range)]


class Twin(Frozen):
    """A simulated Claude-Light with the noise, ambient light, drift and faults of the real one, in virtual time."""

    simulated: ClassVar[bool] = True

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
        description="the ambient light: constant (the state's own), none, day (an office by the hour, with sun, "
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
    latency: Latency = Field(
        default=None,
        description="seconds per reading; by default those of the state; real: at random, as on the real instrument",
    )
    seed: int | None = Field(default=None, ge=0, description="seed of the noise; the campaign's seed by default")
    start: Start = Field(
        default=None,
        description="date and time (ISO 8601 with a zone) at which virtual time begins; the state's day by default",
    )

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The twin of these options: this class, or a `FittedTwin` where `state` is the file of one."""
        state = obj.get("state") if isinstance(obj, Mapping) else None
        if isinstance(state, str) and is_fitted(state):
            from sdl.drivers.twin.fitted import FittedTwin

            return FittedTwin.model_validate(obj, **options)  # type: ignore[return-value]
        return super().model_validate(obj, **options)

    @classmethod
    def standing_for(cls, instrument: Declared, start: str | None, seed: int) -> FittedTwin:
        """The twin that a declared instrument names (`sdl.drivers.twin.fitted.stand_in`)."""
        from sdl.drivers.twin.fitted import stand_in

        return stand_in(instrument, start, seed)

    @field_validator("state")
    @classmethod
    def _known(cls, value: str) -> str:
        load(value)
        return str(locate(value)) if value.endswith(".toml") else value  # a campaign may be resumed elsewhere

    @field_validator("ambient")
    @classmethod
    def _lit(cls, value: str) -> str:
        if value in ("constant", "none"):
            return value
        from sdl.twin.led import ambient

        try:
            ambient.load_room(value)
        except ValueError as error:
            raise ValueError(f"must be constant, none, or changing ambient light: {error}") from None
        return str(ambient.ROOMS.locate(value)) if value.endswith(".toml") else value

    @model_validator(mode="after")
    def _fits(self) -> Twin:
        state, room = self.condition, self.room
        if room and (dark := [name for name in state.channels if name not in room.dark]):
            raise ValueError(f"ambient: {self.ambient} has no light for the channels {', '.join(dark)}")
        if self.drift and state.drift is None:
            raise ValueError(f"drift: the state {self.state} describes no drift; add a table [drift] to its file")
        if self.latency == "real" and not state.latencies:
            raise ValueError(f"latency: the state {self.state} has no `latencies`, which `real` needs")
        for index, fault in enumerate(self.faults):
            for key, name, known in (
                ("channel", fault.channel, state.channels),
                ("other", fault.other, state.channels),
                ("input", fault.input, state.inputs),
            ):
                if name is not None and name not in known and (key == "input" or fault.uses(key)):
                    raise ValueError(f"faults[{index}].{key}: unknown {name!r}; allowed: {', '.join(known)}")
        return self

    @property
    def condition(self) -> TwinState:
        """The state with the variant applied, and without ambient light for `ambient: none`."""
        state = vary(load(self.state), self.variant, self.seed or 0)
        return state.without_ambient() if self.ambient == "none" else state

    @property
    def room(self) -> Room | None:
        """The room whose light changes; None: the ambient light is constant."""
        if self.ambient in ("constant", "none"):
            return None
        from sdl.twin.led.ambient import load_room  # a model to build, which most campaigns need not wait for

        return load_room(self.ambient)

    @property
    def inputs(self) -> tuple[Input, ...]:
        return self.condition.input_list()

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self.condition.channel_list()

    @property
    def identity(self) -> str:
        """State, variant and seed; twins with the same identity are the same instrument."""
        variant = f":{self.variant}" if self.variant else ""
        return f"twin:{fingerprint(self.state)}{variant}:{self.seed or 0}"

    @property
    def virtual(self) -> bool:
        return not self.realtime

    def reading_noise(self, channel: str, reading: float) -> float:
        """Standard deviation of one reading of a channel, lit only by the input to which it responds most."""
        if not self.noise:
            return 0.0
        state = self.condition
        seen = state.channels[channel]
        gain = max(seen.gain.values())
        part = min(max((reading - seen.ambient) / gain, 0.0), 1.0) if gain > 0 else 0.0
        jitter = state.jitter[seen.window] * gain * math.sqrt(part * (1.0 - part))
        return math.hypot(jitter, state.dark_noise, state.proportional_noise * reading)

    @property
    def reading_seconds(self) -> float:
        """Seconds per reading, with its share of a background."""
        return self._one_reading * share(self.background)

    @property
    def _one_reading(self) -> float:
        return self.latency if isinstance(self.latency, float) else load(self.state).latency

    def latency_at(self, now: float) -> float:
        """Duration in seconds of a reading that begins at a given time."""
        if self.latency != "real":
            return self._one_reading
        import numpy as np

        from sdl.twin.simulation import STREAM

        # One number more than the seed of the reading's own draws, so that the two are independent.
        draw = np.random.default_rng([self.seed or 0, STREAM, round(now * 1e6), 1]).random()
        return self.condition.latency_quantile(float(draw))

    @property
    def start_time(self) -> float:
        """Start of virtual time, seconds since 1970 UTC."""
        return (datetime.fromisoformat(self.start) if self.start else load(self.state).start).timestamp()

    def simulation(self, start: str | None, seed: int) -> Twin:
        """The same twin in virtual time from `start`; it keeps its seed."""
        return self.model_copy(update={"realtime": False, "start": start})

    def open(self, clock: Clock) -> TwinDriver:
        from sdl.drivers.twin.driver import TwinDriver, plant_of

        return TwinDriver(self, plant_of(self), clock)
