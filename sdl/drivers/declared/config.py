"""Instruments that a campaign file declares: the keys that all of their kinds share.

A kind is a subclass with keys of its own and `connect`, which gives a raw driver: it sets the inputs, reads the
channels, and sends the settings `off`. Everything else (rates, settling, derived channels, limits, checks) is the same
for all kinds and lies in `DeclaredDriver`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from sdl import registry
from sdl.clock import Clock
from sdl.core.prices import Prices
from sdl.drivers.base import RealInstrument
from sdl.drivers.declared.driver import DeclaredDriver
from sdl.durations import Duration, RateKey, parse_duration
from sdl.errors import near
from sdl.grammar import Formula, LinearConstraint, parse_constraint, parse_formula
from sdl.types import SESSION_GAP, Channel, Frozen, Input, Reading, SafeState, Settings, Value

if TYPE_CHECKING:
    from sdl.drivers.twin.fitted import FittedTwin

NOTHING = "nothing"  # the value of `off` of an instrument that may be left as it is


class RawDriver(Protocol):
    """A connection to a declared instrument: over its inputs and its own channels, without any derived ones."""

    def measure(self, settings: Settings) -> Reading:
        """Set the inputs and read the channels once; nothing is averaged, repeated or waited for.

        Raises:
            InstrumentError: no reading.
        """
        ...

    def safe(self) -> SafeState:
        """Send the settings `off` once; the state is `off` only where the answer says which settings were applied."""
        ...

    def close(self) -> None:
        """Release the connection; may be called twice."""
        ...


def _keyless(value: Any) -> Any:
    """The options of an item that its key names; `pH:` alone has none."""
    if value is None:
        return {}
    if isinstance(value, Mapping) and "name" in value:
        raise ValueError("the key is the name; remove `name`")
    return value


MAX_SETTING, FINEST = 1e15, 1e-9
"""Largest bound of an input; smallest step as a fraction of its range, and range as a fraction of its bounds."""


class DeclaredInput(Input):
    """An input whose name is its key."""

    ORDER: ClassVar[tuple[str, ...]] = ("low", "high", "step", "unit", "choices")

    name: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _distinguishable(self) -> Self:
        """Bounds and steps must be numbers that can be told apart."""
        if self.choices is not None:
            return self
        width, size = self.high - self.low, max(abs(self.low), abs(self.high))
        if not width > FINEST * size or size > MAX_SETTING:
            raise ValueError(
                f"low ({self.low:g}) and high ({self.high:g}) must lie within ± {MAX_SETTING:g} and differ by more "
                f"than {FINEST:g} of their size"
            )
        if self.step is not None and not FINEST * width < self.step <= width:
            raise ValueError(
                f"the step ({self.step:g}) must be at most the range ({width:g}) and more than {FINEST:g} of it"
            )
        return self


class DeclaredChannel(Channel):
    """A channel whose name is its key."""

    ORDER: ClassVar[tuple[str, ...]] = ("unit", "low", "high", "resolution")

    name: str = Field(default="", exclude=True)
    unit: str = ""


def _formula(value: Any) -> Formula:
    return value if isinstance(value, Formula) else parse_formula(value)


def _constraint(value: Any) -> LinearConstraint:
    return value if isinstance(value, LinearConstraint) else parse_constraint(value)


FormulaKey = Annotated[
    InstanceOf[Formula],
    BeforeValidator(_formula),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["-log10(R / 240)"]}),
]
ConstraintKey = Annotated[
    InstanceOf[LinearConstraint],
    BeforeValidator(_constraint),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["red + yellow <= 300"]}),
]
Keyed = BeforeValidator(_keyless)


class SettleUntil(Frozen):
    """Wait until a channel is stable."""

    model_config = ConfigDict(serialize_by_alias=True)
    ORDER: ClassVar[tuple[str, ...]] = ("until", "within", "for", "at most")

    until: str = Field(description="the channel that must be stable")
    within: float = Field(gt=0, description="largest difference between two of its readings in the window")
    window: Duration = Field(
        alias="for", description="length of the window in which its readings may differ by at most `within`"
    )
    at_most: Duration = Field(alias="at most", description="the reading fails if it takes longer")


class Limit(Frozen):
    """The readings of a channel beyond which the instrument is made safe and the campaign ends."""

    model_config = ConfigDict(serialize_by_alias=True)
    ORDER: ClassVar[tuple[str, ...]] = ("at least", "at most")

    at_least: float | None = Field(None, alias="at least", description="the lowest reading that is safe")
    at_most: float | None = Field(None, alias="at most", description="the highest reading that is safe")

    @model_validator(mode="after")
    def _some(self) -> Limit:
        if self.at_least is None and self.at_most is None:
            raise ValueError("must be {at most: 9}, {at least: 2} or both")
        if self.at_least is not None and self.at_most is not None and not self.at_least < self.at_most:
            raise ValueError(f"at least ({self.at_least:g}) must be below at most ({self.at_most:g})")
        return self

    def exceeded(self, value: float) -> str:
        """A phrase if a reading lies beyond: `above its limit 9`; otherwise empty."""
        if self.at_most is not None and value > self.at_most:
            return f"above its limit {self.at_most:g}"
        if self.at_least is not None and value < self.at_least:
            return f"below its limit {self.at_least:g}"
        return ""


def _off(value: Any) -> Any:
    if value == NOTHING or (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
        return value
    raise ValueError(f"must be the settings at which it does no harm, {{red: 0, yellow: 0}}, or {NOTHING}")


def _settle(value: Any) -> Any:
    """A duration in seconds, or the options of `SettleUntil`; so that a mistake is not reported for both forms."""
    if isinstance(value, (Mapping, SettleUntil)):
        return SettleUntil.model_validate(value)
    return None if value is None else parse_duration(value)


OffKey = Annotated[Mapping[str, Value] | Literal["nothing"], BeforeValidator(_off)]


class Declared(RealInstrument):
    """Base of the kinds `command`, `http`, `scpi`, `python` and `manual`."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_alias=True, validate_by_name=False)

    declared_inputs: Mapping[str, Annotated[DeclaredInput, Keyed]] = Field(
        alias="inputs",
        min_length=1,
        description="what can be set, by name: low, high, step, unit; or choices",
        examples=[{"red": {"low": 0, "high": 300}}],
    )
    declared_channels: Mapping[str, Annotated[DeclaredChannel, Keyed]] = Field(
        alias="channels",
        min_length=1,
        description="what is read, by name: unit, low, high, resolution",
        examples=[{"pH": {}}],
    )
    constraints: tuple[ConstraintKey, ...] = Field(
        (), max_length=100, description="linear conditions on the inputs, such as `red + yellow <= 300`"
    )
    derived: Mapping[str, FormulaKey] = Field(
        {},
        description="channels computed from readings and inputs: + - * / ( ) log10 ln exp sqrt abs min max",
        examples=[{"absorbance": "-log10(R / 240)"}],
    )
    declared_off: OffKey = Field(
        alias="off",
        description="settings of every input at which it does no harm and where it is left; `nothing`: it may be left "
        "as it is",
    )
    settle: Annotated[float | SettleUntil | None, BeforeValidator(_settle)] = Field(
        None,
        description="wait between new settings and the reading: `30 s`, or until a channel is stable: "
        "`{until: R, within: 2, for: 10 s, at most: 5 min}`",
    )
    takes: Duration = Field(1.0, description="a typical reading without settling, for estimates")
    session_gap: Duration = Field(
        SESSION_GAP, description="time between two readings that begins a new session of a data set"
    )
    cost: Prices = Field(
        Prices(), description="prices in a unit of your own: `{reading: 2, trial: 1, per: {red: 0.01}}`"
    )
    ramp: Mapping[str, RateKey] = Field(
        {},
        description="largest rate of an input, `{red: 50 per min}`; on the way to new settings steps are sent in "
        "between",
        examples=[{"red": "50 per min"}],
    )
    limits: Mapping[str, Limit] = Field(
        {},
        description="readings beyond which the instrument is switched off and the campaign fails: `{pH: {at most: 9}}`",
        examples=[{"pH": {"at most": 9}}],
    )
    twin: str | None = Field(None, description="its twin, a `.toml` file relative to this file")
    name: str | None = Field(
        None,
        min_length=1,
        max_length=80,
        pattern=r"^[^\r\n]+$",
        description="name of the instrument; campaigns that name the same one never drive it at once",
    )
    folder: str | None = Field(None, description="folder that paths are relative to; by default that of this file")

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [*self._name_problems(), *self._off_problems(), *self._option_problems()]
        if problems:
            raise ValidationError.from_exception_data(type(self).__name__, list(map(_detail, problems)))
        return self

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(
            Input.model_validate({"name": name, **item.model_dump(exclude_unset=True)})
            for name, item in self.declared_inputs.items()
        )

    @property
    def raw_channels(self) -> tuple[Channel, ...]:
        """The channels that are read."""
        return tuple(
            Channel.model_validate({"name": name, **item.model_dump()}) for name, item in self.declared_channels.items()
        )

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels that are read, then those derived from them."""
        return (*self.raw_channels, *(Channel(name=name, unit="") for name in self.derived))

    @property
    def off(self) -> Mapping[str, Value] | None:
        """The settings at which it does no harm; None if it may be left as it is."""
        return None if isinstance(self.declared_off, str) else self.declared_off

    @property
    def address(self) -> str:
        """Text that distinguishes this instrument from others of its kind if it has no `name`."""
        raise NotImplementedError  # each kind has its own address

    @property
    def identity(self) -> str:
        return f"{self.kind}:{self.name or self.address}"  # type: ignore[attr-defined]

    @property
    def reading_seconds(self) -> float:
        wait = self.settle.window if isinstance(self.settle, SettleUntil) else self.settle
        return self.takes + (wait or 0.0)

    @property
    def timeout_seconds(self) -> float:
        """Longest time until a reading fails; kinds with a `timeout` add it."""
        wait = self.settle.at_most if isinstance(self.settle, SettleUntil) else self.settle
        return max(self.takes, float(getattr(self, "timeout", 0.0))) * (2 if wait else 1) + (wait or 0.0)

    @property
    def place(self) -> Path:
        """The folder that paths are relative to."""
        return Path(self.folder or "")

    def connect(self, clock: Clock) -> RawDriver:
        """Open a connection.

        Raises:
            InstrumentError: it cannot be opened. ConfigError: only a person can correct it.
        """
        raise NotImplementedError  # each kind has its own connection

    def simulation(self, start: str | None, seed: int) -> FittedTwin:
        """The twin that the key `twin` names, in virtual time from `start`.

        Raises:
            ConfigError: the instrument names no twin, or one of another instrument.
        """
        twin: FittedTwin = registry.find("drivers", "twin").standing_for(self, start, seed)
        return twin

    def open(self, clock: Clock) -> DeclaredDriver:
        return DeclaredDriver(self, self.connect(clock), clock)

    def _name_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Names that cannot be typed, or are given twice."""
        seen: dict[str, str] = {}
        groups = {"inputs": self.declared_inputs, "channels": self.declared_channels, "derived": self.derived}
        for key, names in groups.items():
            for name in names:
                if not name or name.split() != [name] or set(name) & set('="') or len(name) > 60:
                    yield (key, name), "a name must be one word of at most 60 characters without '=' and quotes"
                elif name in seen:
                    yield (key, name), f"given twice: {name} is the name of one of the {seen[name]} already"
                seen[name] = key

    def _off_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        off, inputs = self.off, {item.name: item for item in self.inputs}
        if off is None:
            return
        if missing := [name for name in inputs if name not in off]:
            yield ("off",), f"must give every input; missing: {', '.join(missing)}"
        for name, value in off.items():
            if (item := inputs.get(name)) is None:
                yield ("off", name), f"unknown input; {near(name, tuple(inputs), 0.7)}"
            elif item.choices is not None and value not in item.choices:
                yield ("off", name), f"must be one of {', '.join(item.choices)}, not {value!r}"
            elif item.choices is None and isinstance(value, str):
                yield ("off", name), f"must be a number, not {value!r}"

    def _option_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        numeric = {item.name: item for item in self.inputs if item.choices is None}
        known = {*numeric, *self.declared_channels}
        for i, constraint in enumerate(self.constraints):
            for name in constraint.coefficients:
                if name not in numeric:
                    yield ("constraints", i), f"{name} is no input with numbers; {near(name, tuple(numeric), 0.7)}"
        for name, formula in self.derived.items():
            for part in formula.names:
                if part not in known:
                    message = f"{part} is no channel, input with numbers or earlier derived channel"
                    yield ("derived", name), f"{message}; {near(part, tuple(known), 0.7)}"
            known.add(name)
        if self.ramp and self.off is None:
            yield ("ramp",), "a ramp begins at the settings `off`; give them"
        for key, names in (("ramp", self.ramp), ("cost", self.cost.per)):
            for name in names:
                if name not in numeric:
                    path = (key, name) if key == "ramp" else (key, "per", name)
                    yield path, f"unknown input with numbers; {near(name, tuple(numeric), 0.7)}"
        channels = [channel.name for channel in self.channels]
        for name in self.limits:
            if name not in channels:
                yield ("limits", name), f"unknown channel; {near(name, channels, 0.7)}"
        if isinstance(self.settle, SettleUntil):
            if self.settle.until not in self.declared_channels:
                allowed = tuple(self.declared_channels)
                yield ("settle", "until"), f"unknown channel; {near(self.settle.until, allowed, 0.7)}"
            if not self.settle.at_most > self.settle.window:
                yield ("settle", "at most"), "must be longer than `for`"


def _detail(problem: tuple[tuple[str | int, ...], str]) -> InitErrorDetails:
    path, message = problem
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=path, input=None)
