"""A person as the instrument, at a terminal: sets the printed settings and types the readings."""

from __future__ import annotations

import math
import select
import sys
from dataclasses import replace
from typing import ClassVar, Literal, TextIO

from pydantic import Field, model_validator

from sdl.clock import Clock
from sdl.drivers.base import OpenDriver, RealInstrument, SessionGap, off_settings
from sdl.drivers.baseline import Background, BaselineSampler
from sdl.drivers.checks import checked
from sdl.errors import InstrumentError
from sdl.types import SESSION_GAP, Channel, Input, Power, Reading, SafeState, Settings, Value

# Seconds for a person to confirm that the instrument is off, before the question is repeated.
CONFIRM = 55.0


class Manual(RealInstrument):
    """A person who sets what is printed and types what the dials show. Needs a terminal."""

    may_repeat: ClassVar[bool] = True  # a person rounds what the dials show
    reading_seconds: ClassVar[float] = 60.0

    kind: Literal["manual"] = "manual"
    inputs: tuple[Input, ...] = Field(
        default=tuple(Input(name=name) for name in "RGB"),
        min_length=1,
        description="what can be set: name, low, high, unit, step; or name, choices",
    )
    channels: tuple[Channel, ...] = Field(
        default=tuple(Channel(name=name) for name in ("445nm", "515nm", "630nm")),
        min_length=1,
        description="what is read: name, unit, low, high, resolution",
    )
    off: Settings | None = Field(
        default=None,
        description="settings at which it does no harm, such as {pump: 0, T: 20}; inputs left out: at their low or "
        "first choice",
    )
    background: Background = "none"
    session_gap: SessionGap = SESSION_GAP
    label: str = Field(
        default="by hand", min_length=1, max_length=80, pattern=r"^[^\r\n]+$", description="what the person drives"
    )

    @model_validator(mode="after")
    def _different(self) -> Manual:
        names = [*(item.name for item in self.inputs), *(item.name for item in self.channels)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"inputs and channels need names of their own; given twice: {', '.join(twice)}")
        if odd := [name for name in names if not name or "=" in name or name.split() != [name]]:
            raise ValueError(f"a name must be one word without '=', so that it can be typed; not {odd[0]!r}")
        for name, value in (self.off or {}).items():
            if (item := next((item for item in self.inputs if item.name == name), None)) is None:
                raise ValueError(f"off: unknown input {name}; allowed: {', '.join(item.name for item in self.inputs)}")
            if why := _why_not(item, value):
                raise ValueError(f"off: {name} {why}")
        return self

    @property
    def identity(self) -> str:
        return f"manual:{self.label}"

    def open(self, clock: Clock) -> ManualDriver:
        """Open the terminal.

        Raises:
            InstrumentError: stdin is no terminal.
        """
        if sys.stdin is None or not sys.stdin.isatty():
            raise InstrumentError(
                "kind manual asks a person, and there is no terminal here; run it in one, or drive another kind"
            )
        return ManualDriver(self, sys.stdin, sys.stderr)


class ManualDriver(OpenDriver):
    """A person at a terminal.

    Args:
        manual: what there is to set and to read.
        answers: what is typed, a line at a time.
        asks: where the questions go; stdout is left to results.
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
        wanted = "  ".join(f"{item.name} ({item.unit})" if item.unit else item.name for item in manual.channels)
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
        names = [item.name for item in self._manual.channels]
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
        full = {item.name: item.high for item in self._manual.channels}
        saturated = tuple(n for n, value in readings.items() if (top := full[n]) is not None and value >= top)
        return Reading(applied=applied, readings=readings, saturated=saturated)

    def _say(self, text: str) -> None:
        print(text, file=self._asks, flush=True)


def _text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _why_not(item: Input, value: Value) -> str:
    """Why an input cannot be set to a value; empty where it can."""
    if item.choices:
        return "" if value in item.choices else f"= {value!r} is none of {', '.join(item.choices)}"
    if isinstance(value, str):
        return f"= {value!r} is no number"
    return "" if item.low <= value <= item.high else f"= {value:g} is outside {item.low:g} … {item.high:g}"
