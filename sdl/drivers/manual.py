"""A person as the instrument: sets the settings and reports the readings, at a terminal or on the page.

The driver asks at a terminal. On the page the readings are told (`sdl.asktell`), and no driver is open.
"""

from __future__ import annotations

import math
import select
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, TextIO

from pydantic import BeforeValidator, Field

from sdl.clock import Clock
from sdl.drivers.base import OpenDriver, off_settings
from sdl.drivers.baseline import Background, BaselineSampler
from sdl.drivers.checks import checked
from sdl.drivers.declared.config import NOTHING, Declared, DeclaredChannel, DeclaredInput, Keyed, OffKey
from sdl.durations import Duration
from sdl.errors import InstrumentError
from sdl.types import Channel, Input, Power, Reading, SafeState, Settings, Value

# Seconds for a person to confirm that the instrument is off, before the question is repeated.
CONFIRM = 55.0


def _by_name(value: Any) -> Any:
    """Items by name, from a mapping or, as older files have them, from a list."""
    if not isinstance(value, (list, tuple)):
        return value
    value = [i.model_dump(exclude_unset=True) if isinstance(i, (Input, Channel)) else i for i in value]
    if not all(isinstance(item, Mapping) for item in value):
        return value
    names = [item.get("name") for item in value]
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise ValueError(f"given twice: {', '.join(twice)}")
    if not all(isinstance(name, str) for name in names):
        raise ValueError("each item of the list needs a `name`; or write a mapping by name")
    return {item["name"]: {key: part for key, part in item.items() if key != "name"} for item in value}


def _channels(value: Any) -> Any:
    items = _by_name(value)
    if isinstance(value, Mapping) or not isinstance(items, Mapping):
        return items
    return {name: {"unit": "counts", **item} for name, item in items.items()}  # the default of such a list


class Manual(Declared):
    """A person who sets what is asked for and reports what the dials show, at a terminal or on the page."""

    may_repeat: ClassVar[bool] = True  # a person rounds what the dials show

    kind: Literal["manual"] = "manual"
    declared_inputs: Annotated[Mapping[str, Annotated[DeclaredInput, Keyed]], BeforeValidator(_by_name)] = Field(
        default={name: DeclaredInput() for name in "RGB"},
        alias="inputs",
        min_length=1,
        description="what can be set, by name: low, high, step, unit; or choices",
        examples=[{"red": {"low": 0, "high": 300}}],
    )
    declared_channels: Annotated[Mapping[str, Annotated[DeclaredChannel, Keyed]], BeforeValidator(_channels)] = Field(
        default={name: DeclaredChannel(unit="counts") for name in ("445nm", "515nm", "630nm")},
        alias="channels",
        min_length=1,
        description="what is read, by name: unit, low, high, resolution",
        examples=[{"pH": {}}],
    )
    declared_off: Annotated[OffKey, BeforeValidator(lambda value: {} if value is None else value)] = Field(
        default={},
        alias="off",
        description="settings at which it does no harm, such as {pump: 0, T: 20}; inputs left out: at their low or "
        "first choice; `nothing`: it may be left as it is",
    )
    takes: Duration = Field(60.0, description="a typical reading without settling, for estimates")
    background: Background = "none"
    label: str = Field(
        default="by hand",
        min_length=1,
        max_length=80,
        pattern=r"^[^\r\n]+$",
        description="name of what the person sets and reads, such as `bench 3`",
    )

    @property
    def off(self) -> Settings | None:
        if self.declared_off == NOTHING:
            return None
        given = {} if isinstance(self.declared_off, str) else self.declared_off
        rest = {item.name: item.choices[0] if item.choices else item.low for item in self.inputs}
        return {**rest, **given}

    @property
    def address(self) -> str:
        return self.label

    def connect(self, clock: Clock) -> ManualDriver:
        """Open the terminal.

        Raises:
            InstrumentError: stdin is no terminal.
        """
        if sys.stdin is None or not sys.stdin.isatty():
            raise InstrumentError(
                "kind manual asks a person, and there is no terminal here; run it in one, or with --page, so that the "
                "person answers on the page"
            )
        return ManualDriver(self, sys.stdin, sys.stderr)


class ManualDriver(OpenDriver):
    """A person at a terminal.

    Args:
        manual: what there is to set and to read.
        answers: what is typed, a line at a time.
        asks: stream for the questions; stdout is kept for results.
    """

    def __init__(self, manual: Manual, answers: TextIO, asks: TextIO) -> None:
        self._manual, self._answers, self._asks = manual, answers, asks
        self._baseline = BaselineSampler(manual.background, off_settings(manual))
        self._touched = False

    def measure(self, settings: Settings) -> Reading:
        """Return a reading that the person types.

        Raises:
            Rejected: settings outside the bounds; the person was not asked.
            InstrumentError: nothing was typed, or the person says that there is no reading.
        """
        self.require_open()
        reading = self._baseline.reading(self._ask, checked(settings, self._manual.inputs))
        return replace(reading, fault="not-applied" if dict(reading.applied) != dict(settings) else None)

    def safe(self) -> SafeState:
        """If anything was set, ask the person to set the safe settings and to confirm within `CONFIRM` s."""
        if not self._touched:
            return SafeState(Power.NOT_NEEDED)
        off = off_settings(self._manual)
        settings = ", ".join(f"{name} = {_text(value)}" for name, value in off.items())
        self._say(f"Please leave it safe: {settings}. Press Enter when it is, or type why it is not.")
        if not self._is_answered():
            return SafeState(Power.UNKNOWN, None, f"no confirmation within {CONFIRM:g} s that it is set to {settings}")
        line = self._answers.readline()
        if not line:
            return SafeState(Power.UNKNOWN, None, "the terminal was closed before a confirmation that it is off")
        if line.strip():
            return SafeState(Power.ON, None, f"the person says: {line.strip()}")
        self._touched = False
        return SafeState(Power.OFF, off, "the person says so")

    def _is_answered(self) -> bool:
        """Whether a line was typed within `CONFIRM` seconds."""
        try:
            return bool(select.select([self._answers], [], [], CONFIRM)[0])
        except (OSError, ValueError):  # it cannot be asked: no file, or not a file on this system
            return True

    def _ask(self, settings: dict[str, Value]) -> Reading:
        manual, self._touched = self._manual, True
        units = {item.name: f" {item.unit}" if item.unit else "" for item in manual.inputs}
        self._say("Set    " + "   ".join(f"{name} = {_text(value)}{units[name]}" for name, value in settings.items()))
        wanted = "  ".join(f"{item.name} ({item.unit})" if item.unit else item.name for item in manual.raw_channels)
        self._say(
            f"Type   {wanted}   as numbers with spaces between; {manual.inputs[0].name}=… first if it was set "
            "otherwise; or `fail` and why"
        )
        while True:
            line = self._answers.readline()
            if not line:
                raise InstrumentError("the terminal was closed before a reading was typed")
            if not line.strip():
                raise InstrumentError("nothing was typed", retryable=True, maybe_measured=True)
            word, _, why = line.strip().partition(" ")
            if word.lower() == "fail":
                raise InstrumentError(
                    f"the person reported no reading: {why.strip() or 'no reason given'}", maybe_measured=True
                )
            try:
                return self._read(line, settings)
            except ValueError as error:
                self._say(f"       {error}; once more:")

    def _read(self, line: str, settings: Settings) -> Reading:
        names = [item.name for item in self._manual.raw_channels]
        applied, values = dict(settings), []
        choices = {item.name: item.choices for item in self._manual.inputs if item.choices}
        for word in line.replace(";", " ").split():
            name, equals, text = word.partition("=")
            if equals and name in choices:
                if text not in choices[name]:
                    raise ValueError(f"{name} is one of {', '.join(choices[name])}, not {text!r}")
                applied[name] = text
                continue
            try:
                value = float(text if equals else name)
            except ValueError:
                raise ValueError(f"{word!r} is not a number") from None
            if not math.isfinite(value):
                raise ValueError(f"{word!r} is not a finite number")
            if not equals:
                values.append(value)
            elif name in applied:
                applied[name] = value
            else:
                raise ValueError(f"{name!r} is not an input; they are {', '.join(applied)}")
        if len(values) != len(names):
            raise ValueError(f"{len(values)} numbers for {len(names)} channels ({', '.join(names)})")
        readings = dict(zip(names, values, strict=True))
        full = {item.name: item.high for item in self._manual.raw_channels}
        saturated = tuple(n for n, value in readings.items() if (top := full[n]) is not None and value >= top)
        return Reading(applied=applied, readings=readings, saturated=saturated)

    def _say(self, text: str) -> None:
        print(text, file=self._asks, flush=True)


def _text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"
