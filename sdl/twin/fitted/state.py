"""A twin fitted to the readings of any instrument, as a TOML file: what it declares, how it behaves, and its rows.

Reading one does not load numpy, so that a campaign can be validated quickly.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from sdl.errors import near
from sdl.grammar import LinearConstraint, parse_constraint
from sdl.twin.tomlfile import TomlFiles
from sdl.types import SESSION_GAP, Channel, Frozen, Input, Settings, Value

KIND = "fitted"  # the key `kind` of such a file
SESSION_HOURS = 24.0
"""Length of a session of the twin: offset and gain are drawn anew, and the drift begins at 0, every so many hours."""

NotNegative = Annotated[float, Field(ge=0)]


class _Table(Frozen):
    """A part of the file; a whole number stands for a number, and a list for a tuple."""

    model_config = ConfigDict(strict=False)


class FittedInput(_Table):
    """An input as the instrument declares it."""

    low: float | None = None
    high: float | None = None
    step: Annotated[float, Field(gt=0)] | None = None
    unit: str = ""
    choices: tuple[str, ...] | None = None

    def named(self, name: str) -> Input:
        """The input with its name."""
        return Input.model_validate({"name": name, **self.model_dump(exclude_none=True)})


class Noise(_Table):
    """Standard deviation of one reading: `hypot(constant, proportional × reading)`."""

    constant: NotNegative = Field(0.0, description="in the unit of the channel")
    proportional: NotNegative = Field(0.0, description="relative to the reading")


class SessionEffect(_Table):
    """Standard deviations of the differences between sessions."""

    offset: NotNegative = Field(0.0, description="in the unit of the channel")
    gain: NotNegative = Field(0.0, description="as a fraction of the distance of a reading from the mean of the rows")


class Process(_Table):
    """The hyperparameters of the Gaussian process of a channel (`sdl.models.forward.gaussian_process`)."""

    transform: Literal["none", "log"] = Field("none", description="transform of the readings")
    lengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        min_length=1, description="length scale of each column of the space, as a fraction of its range"
    )
    joint: NotNegative = Field(description="standard deviation of the smooth function of all inputs together")
    additive: NotNegative = Field(description="standard deviation of the smooth function of each input")
    proportional: NotNegative = Field(description="noise of the rows relative to the reading")
    constant: NotNegative = Field(description="noise of the rows in the unit of the channel")


class FittedChannel(_Table):
    """A channel as the instrument declares it, and how it responds."""

    unit: str = ""
    low: float | None = None
    high: float | None = None
    resolution: Annotated[float, Field(gt=0)] | None = None
    noise: Noise = Noise()
    session: SessionEffect = SessionEffect()
    drift: float = Field(0.0, description="change per hour, from the beginning of a session")
    settling: NotNegative = Field(0.0, description="time constant of a first-order lag after a change, in seconds")
    process: Process

    def named(self, name: str) -> Channel:
        """The channel with its name."""
        keys = {"unit", "low", "high", "resolution"}
        return Channel.model_validate({"name": name, **self.model_dump(include=keys)})


class Rows(_Table):
    """The rows that the processes are conditioned on, without drift, lag and differences between sessions."""

    model_config = ConfigDict(allow_inf_nan=True)

    columns: tuple[str, ...] = Field(description="the inputs, then the channels")
    values: tuple[tuple[Value, ...], ...] = Field(
        min_length=1,
        description="settings and readings; nan: not measured; a reading at an end of its range is a bound",
    )


class FittedState(_Table):
    """A twin of any instrument."""

    kind: Literal["fitted"]
    about: str = ""
    start: AwareDatetime = Field(description="the beginning of virtual time, by default")
    takes: NotNegative = Field(description="seconds that a reading takes, without settling")
    settle: NotNegative = Field(0.0, description="seconds that the instrument waits for before a reading")
    session_gap: Annotated[float, Field(gt=0)] = SESSION_GAP
    constraints: tuple[str, ...] = ()
    off: dict[str, Value] | None = Field(None, description="the settings at which it does no harm; left out: nothing")
    correlation: tuple[tuple[Annotated[float, Field(ge=-1, le=1)], ...], ...] = Field(
        (), description="correlation matrix of the channels' noise, row by row; independent if left out"
    )
    inputs: dict[str, FittedInput] = Field(min_length=1)
    channels: dict[str, FittedChannel] = Field(min_length=1)
    rows: Rows

    @model_validator(mode="after")
    def _agree(self) -> FittedState:
        inputs = {name: _located(f"inputs.{name}", item.named, name) for name, item in self.inputs.items()}
        for name, channel in self.channels.items():
            _located(f"channels.{name}", channel.named, name)
        for i, text in enumerate(self.constraints):
            for name in _located(f"constraints.{i}", parse_constraint, text).coefficients:
                if name not in inputs or not inputs[name].numeric:
                    numeric = [item.name for item in inputs.values() if item.numeric]
                    raise ValueError(f"constraints.{i}: {name} is no input with numbers; {near(name, numeric, 0.7)}")
        if self.off is not None:
            _check_settings("off", self.off, inputs)
        columns = [*self.inputs, *self.channels]
        if list(self.rows.columns) != columns:
            raise ValueError(f"rows.columns: must be {', '.join(columns)}, not {', '.join(self.rows.columns)}")
        for i, row in enumerate(self.rows.values):
            if len(row) != len(columns):
                raise ValueError(f"rows.values.{i}: {len(row)} values; allowed: {len(columns)}, one for each column")
            _check_settings(f"rows.values.{i}", dict(zip(self.inputs, row, strict=False)), inputs)
            if texts := [value for value in row[len(inputs) :] if isinstance(value, str)]:
                raise ValueError(f"rows.values.{i}: a reading must be a number, not {texts[0]!r}")
        m = len(self.channels)
        if self.correlation and [len(row) for row in self.correlation] != [m] * m:
            raise ValueError(f"correlation: must be {m} rows of {m} numbers, one for each channel")
        if self.start.timestamp() < 0:
            raise ValueError(f"start: {self.start.isoformat()} is before 1970")
        return self

    def input_list(self) -> tuple[Input, ...]:
        return tuple(item.named(name) for name, item in self.inputs.items())

    def channel_list(self) -> tuple[Channel, ...]:
        return tuple(channel.named(name) for name, channel in self.channels.items())

    def constraint_list(self) -> tuple[LinearConstraint, ...]:
        return tuple(map(parse_constraint, self.constraints))


def _located(place: str, read: Any, given: Any) -> Any:
    try:
        return read(given)
    except ValueError as error:
        raise ValueError(f"{place}: {_sentence(error)}") from None


def _sentence(error: ValueError) -> str:
    details = getattr(error, "errors", None)
    return str(error) if details is None else "; ".join(item["msg"].removeprefix("Value error, ") for item in details())


def _check_settings(place: str, settings: Settings, inputs: Mapping[str, Input]) -> None:
    """Raise ValueError unless every input has a value of its kind."""
    if settings.keys() != inputs.keys():
        raise ValueError(f"{place}: must give {', '.join(inputs)}; it gives {', '.join(settings) or 'nothing'}")
    for name, value in settings.items():
        choices = inputs[name].choices
        if choices is not None and value not in choices:
            raise ValueError(f"{place}: {name} must be one of {', '.join(choices)}, not {value!r}")
        if choices is None and (isinstance(value, str) or not math.isfinite(value)):
            raise ValueError(f"{place}: {name} must be a finite number, not {value!r}")


FILES = TomlFiles(FittedState, Path(__file__).parent / "states")
load, locate, fingerprint = FILES.load, FILES.locate, FILES.fingerprint


def is_fitted(name: str) -> bool:
    """Whether this is the path of a file with a fitted twin; False too for a file that cannot be read."""
    if not name.endswith(".toml"):
        return False
    try:
        content = tomllib.loads(Path(name).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return content.get("kind") == KIND
