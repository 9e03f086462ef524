"""The twin of any instrument: a file that `sdl twin fit --instrument` wrote, in virtual time.

    instrument: {kind: twin, state: rig-twin.toml}

The key `of` holds the declared instrument that the twin replaces (`--on-twin` writes it). Ramp, settling, derived
channels, limits and checks are then those of the declared instrument; only the connection is simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, field_validator, model_validator

from sdl import registry
from sdl.clock import Clock
from sdl.core.prices import Prices
from sdl.drivers.base import Driver, SessionGap, Start, constraints_of, session_gap
from sdl.drivers.baseline import Background
from sdl.drivers.declared.config import Declared, SettleUntil
from sdl.drivers.declared.driver import DeclaredDriver
from sdl.errors import ConfigError, Problem, near
from sdl.grammar import Formula, LinearConstraint
from sdl.twin.faults import GENERAL, Fault
from sdl.twin.fitted.state import FittedState, fingerprint, is_fitted, load, locate
from sdl.types import Channel, Frozen, Input, Value

if TYPE_CHECKING:
    from sdl.twin.fitted.fit import Declaration
    from sdl.twin.fitted.surrogate import Surrogate


def _declared(value: Any) -> Any:
    """The declared instrument of plain values."""
    if value is None or isinstance(value, Declared):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("must be a declared instrument: `kind` and its options")
    try:
        model = registry.find("drivers", value.get("kind"))
    except ConfigError as error:
        raise ValueError(str(error)) from error
    if not issubclass(model, Declared):
        raise ValueError(f"kind {value['kind']}: its inputs and channels are not declared in a file")
    return model.model_validate(dict(value))


DeclaredKey = Annotated[
    Any,
    BeforeValidator(_declared),
    PlainSerializer(lambda declared: None if declared is None else declared.model_dump(mode="json")),
]


class FittedTwin(Frozen):
    """A twin that was fitted to the readings of an instrument."""

    simulated: ClassVar[bool] = True
    background: ClassVar[Background] = "none"

    kind: Literal["twin"] = "twin"
    state: str = Field(description="the file that `sdl twin fit --instrument` wrote")
    of: DeclaredKey = Field(None, description="the declared instrument that the twin replaces")
    noise: bool = Field(True, description="false: readings are exact, and sessions do not differ")
    faults: tuple[Fault, ...] = Field((), max_length=100, description="what goes wrong, and when: docs/how-to/twin.md")
    session_gap: SessionGap
    realtime: bool = Field(False, description="really wait as long as a reading takes")
    latency: float | None = Field(
        None, ge=0, le=86400, description="seconds a reading takes; those of the file by default"
    )
    seed: int | None = Field(None, ge=0, description="seed of the noise; the campaign's seed by default")
    start: Start = Field(None, description="date and time at which virtual time begins; the file's by default")

    @model_validator(mode="before")
    @classmethod
    def _with_gap(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "session_gap" in given:
            return given
        try:
            gap = load(str(given.get("state"))).session_gap
        except ValueError:  # reported for `state`
            gap = 1.0
        return {**given, "session_gap": getattr(given.get("of"), "session_gap", gap)}

    @field_validator("state")
    @classmethod
    def _known(cls, value: str) -> str:
        load(value)
        return str(locate(value))  # a campaign may be resumed elsewhere

    @model_validator(mode="after")
    def _fits(self) -> Self:
        channels = tuple(self.condition.channels)
        for index, fault in enumerate(self.faults):
            if fault.name not in GENERAL:
                allowed = ", ".join(GENERAL)
                raise ValueError(f"faults[{index}].name: only the twin of the LED has {fault.name}; allowed: {allowed}")
            for key, name in (("channel", fault.channel), ("other", fault.other)):
                if fault.uses(key) and name not in channels:
                    raise ValueError(f"faults[{index}].{key}: unknown {name!r}; {near(name, channels)}")
        if self.of is not None and (why := _misfit(self.of, self.condition)):
            raise ValueError(f"the twin {Path(self.state).name} is of another instrument: {why}; fit it again")
        return self

    @property
    def condition(self) -> FittedState:
        """The content of the file."""
        return load(self.state)

    @property
    def inputs(self) -> tuple[Input, ...]:
        return self.condition.input_list() if self.of is None else self.of.inputs

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self.condition.channel_list() if self.of is None else self.of.channels

    @property
    def constraints(self) -> tuple[LinearConstraint, ...]:
        return self.condition.constraint_list() if self.of is None else self.of.constraints

    @property
    def off(self) -> Mapping[str, Value] | None:
        return self.condition.off if self.of is None else self.of.off

    @property
    def derived(self) -> Mapping[str, Formula]:
        return {} if self.of is None else self.of.derived

    @property
    def cost(self) -> Prices:
        return Prices() if self.of is None else self.of.cost

    @property
    def identity(self) -> str:
        """File and seed; twins with the same identity are the same instrument."""
        return f"twin:{fingerprint(self.state)}:{self.seed or 0}"

    @property
    def virtual(self) -> bool:
        return not self.realtime

    @property
    def reading_seconds(self) -> float:
        return self.latency_at(0.0) if self.of is None else self.of.reading_seconds

    @property
    def start_time(self) -> float:
        """Start of virtual time, seconds since 1970 UTC."""
        return (datetime.fromisoformat(self.start) if self.start else self.condition.start).timestamp()

    def latency_at(self, now: float) -> float:
        """Seconds that a request takes; without `of`, it includes the wait for settling."""
        if self.latency is not None:
            return self.latency
        return self.condition.takes + self.condition.settle if self.of is None else self.of.takes

    def reading_noise(self, channel: str, reading: float) -> float:
        """Standard deviation of one reading of a channel."""
        if not self.noise or channel not in self.condition.channels:
            return 0.0
        noise = self.condition.channels[channel].noise
        return float((noise.constant**2 + (noise.proportional * reading) ** 2) ** 0.5)

    def simulation(self, start: str | None, seed: int) -> FittedTwin:
        """The same twin in virtual time from `start`; it keeps its seed."""
        return self.model_copy(update={"realtime": False, "start": start})

    def surrogate(self) -> Surrogate:
        """The simulated instrument, with the channels that are read."""
        from sdl.twin.fitted.surrogate import Surrogate

        if self.of is None:
            return Surrogate(self.condition, self.seed or 0, noise=self.noise)
        state = self.condition.model_copy(update={"off": self.of.off})
        read = [channel.name for channel in self.of.raw_channels]
        return Surrogate(state, self.seed or 0, noise=self.noise, channels=read)

    def open(self, clock: Clock) -> Driver:
        from sdl.drivers.twin.driver import TwinDriver

        raw = TwinDriver(self, self.surrogate(), clock)
        return raw if self.of is None else DeclaredDriver(self.of, raw, clock)


def stand_in(instrument: Declared, start: str | None, seed: int) -> FittedTwin:
    """The twin that a declared instrument names, with its ramp, settling, derived channels and limits.

    Raises:
        ConfigError: the instrument names no twin, or the file is the twin of another instrument.
    """
    how = "`sdl twin fit LOG --instrument FILE -o rig-twin.toml` writes one"
    if instrument.twin is None:
        raise ConfigError(Problem(f"missing: without a twin it cannot be simulated; {how}", "instrument.twin"))
    file = str((instrument.place / Path(instrument.twin).expanduser()).absolute())
    if Path(file).is_file() and not is_fitted(file):
        raise ConfigError(Problem(f"{file} is no twin of a declared instrument; {how}", "instrument.twin"))
    options = {"state": file, "of": instrument, "seed": seed, "start": start}
    try:
        return FittedTwin.model_validate(options)
    except ValidationError as error:
        problems = [item["msg"].removeprefix("Value error, ") for item in error.errors(include_url=False)]
        raise ConfigError(*(Problem(problem, "instrument.twin") for problem in problems)) from error


def _misfit(declared: Declared, state: FittedState) -> str:
    """What a declared instrument has that the twin was not fitted to; empty if nothing."""
    own = {item.name: item for item in state.input_list()}
    names = [item.name for item in declared.inputs]
    if sorted(names) != sorted(own):
        return f"it has the inputs {', '.join(own)}, the instrument has {', '.join(names)}"
    for item in declared.inputs:
        mine = own[item.name]
        if item.numeric != mine.numeric:
            return f"{item.name} has {'choices' if item.choices is None else 'numbers'} there"
        if item.choices and (unknown := [text for text in item.choices if text not in (mine.choices or ())]):
            return f"{item.name} has no choice {unknown[0]}; allowed: {', '.join(mine.choices or ())}"
        if item.numeric and not (mine.low <= item.low and item.high <= mine.high):
            return f"{item.name} was {mine.low:g} … {mine.high:g} there"
    missing = [channel.name for channel in declared.raw_channels if channel.name not in state.channels]
    return f"it has no channel {missing[0]}; allowed: {', '.join(state.channels)}" if missing else ""


def declaration(instrument: Any) -> Declaration:
    """The declaration that a fitted twin copies from an instrument."""
    from sdl.twin.fitted.fit import Declaration

    off, gap = getattr(instrument, "off", None), session_gap(instrument)
    constraints = constraints_of(instrument)
    if not isinstance(instrument, Declared):
        seconds = instrument.reading_seconds
        return Declaration(instrument.inputs, instrument.channels, constraints, off, seconds, 0.0, gap)
    wait = instrument.settle.window if isinstance(instrument.settle, SettleUntil) else instrument.settle or 0.0
    channels = instrument.raw_channels
    return Declaration(instrument.inputs, channels, constraints, off, instrument.takes, wait, gap)
