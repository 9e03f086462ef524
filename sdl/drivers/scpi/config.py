"""A device that is set and read by lines of text: SCPI, or commands of its own, over a socket, a serial port or USB.

Not yet tried with hardware, only with simulated devices on a socket and with pyvisa-sim.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from sdl.clock import Clock
from sdl.drivers.declared import placeholders
from sdl.drivers.declared.config import Declared
from sdl.drivers.http_api.config import key_problems
from sdl.drivers.scpi.connection import ScpiConnection
from sdl.drivers.scpi.driver import ChannelQuery, Commands, ScpiDriver
from sdl.durations import Duration
from sdl.errors import ConfigError
from sdl.extras import missing
from sdl.store import hosts
from sdl.types import Frozen

EXAMPLES = "TCPIP::192.168.1.5::5025::SOCKET, ASRL/dev/ttyUSB0::INSTR, ASRL3::INSTR, USB::0x1234::0x5678::A22::INSTR"
_RESOURCE = re.compile(r"(TCPIP|USB|GPIB|VXI|PXI)\d*(::[^:\s]+)+|ASRL[^:\s]+(::INSTR)?", re.IGNORECASE)
_NEEDS = {"ASRL": "serial", "USB": "usb"}  # modules that pyvisa-py uses

Line = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[ -~]+$")]


def _termination(value: str) -> str:
    if value not in ("\n", "\r", "\r\n"):
        raise ValueError(f'must be "\\n", "\\r" or "\\r\\n", in double quotes, not {value!r}')
    return value


Termination = Annotated[str, AfterValidator(_termination)]


class Question(Frozen):
    """A question whose answer holds several values with commas between."""

    query: Line = Field(description="the line to send; sent once for all channels that have it")
    field: int = Field(ge=1, le=1000, description="which of the values, from 1")


def _question(value: Any) -> Any:
    return value if isinstance(value, str) else Question.model_validate(value)


QuestionKey = Annotated[Line | Question, BeforeValidator(_question)]


class Scpi(Declared):
    """A device with one line for each input and one question for each channel."""

    kind: Literal["scpi"] = "scpi"
    resource: str = Field(description=f"VISA name of the device: {EXAMPLES}")
    visa: str = Field("@py", description="VISA library: `@py` is pyvisa-py, `@ivi` that of the system")
    identify: str = Field(
        "",
        max_length=200,
        description="part of the answer to `*IDN?`; with it, an answer is never taken for that to another question",
        examples=["KEYSIGHT"],
    )
    init: tuple[Line, ...] = Field(
        (), max_length=100, description="sent after each connection", examples=[["*CLS", "OUTP ON"]]
    )
    set_commands: Mapping[str, Line] = Field(
        alias="set",
        description="the line that sets each input: {value} is its value, {NAME} that of the input NAME",
        examples=[{"power": "VOLT {value}"}],
    )
    read: Mapping[str, QuestionKey] = Field(
        description="the question for each channel, `MEAS:VOLT?`, or `{query: MEAS?, field: 2}`",
        examples=[{"light": "MEAS:VOLT?"}],
    )
    applied: Mapping[str, Line] = Field(
        {},
        description="the question for the value of an input; without these `off` is never proven",
        examples=[{"power": "VOLT?"}],
    )
    off_commands: tuple[Line, ...] = Field(
        (), max_length=100, description="sent after the settings `off`", examples=[["OUTP OFF"]]
    )
    error: Line | None = Field(
        None,
        description="the question for the oldest error, asked after settings and questions",
        examples=["SYST:ERR?"],
    )
    termination: Termination = Field("\n", description='end of each line, both ways: `"\\n"`, `"\\r"` or `"\\r\\n"`')
    baud: int | None = Field(None, ge=50, le=10_000_000, description="speed of a serial port, such as 9600")
    timeout: Duration = Field(5.0, le=600, description="longest wait for each answer")
    starts_in: Duration | None = Field(
        None, description="wait after opening, for devices that restart then, such as an Arduino: `2 s`"
    )

    @property
    def address(self) -> str:
        """The resource in its canonical spelling."""
        kind, *parts = self.resource.split("::")
        if kind.upper().startswith("ASRL"):
            return f"ASRL{os.path.realpath(port) if (port := kind[4:]).startswith('/') else port.upper()}"
        kind = kind.upper() if kind[-1].isdigit() else f"{kind.upper()}0"
        if kind.startswith("TCPIP") and parts:
            parts[0] = hosts.normalise(parts[0])
        return "::".join([kind, *(part.upper() if part.upper() in ("INSTR", "SOCKET") else part for part in parts)])

    def known_as(self, look_up: bool) -> set[str]:
        """The identity with each address of the host in place of its name, unless the file names the instrument."""
        kind, *parts = self.address.split("::")
        if self.name is not None or not kind.startswith("TCPIP") or not parts:
            return set()
        return {"::".join([f"scpi:{kind}", host, *parts[1:]]) for host in hosts.names(parts[0], look_up=look_up)}

    def ready(self) -> None:
        """Look for the packages of the extra `scpi`; nothing is opened.

        Raises:
            ConfigError: one is missing.
        """
        wanted = ["pyvisa"]
        if self.visa == "@py":
            wanted += ["pyvisa_py"]
            wanted += [
                module for start, module in (("ASRL", "serial"), ("USB", "usb")) if self.address.startswith(start)
            ]
        for module in wanted:
            if find_spec(module) is None:
                raise ConfigError(missing("SCPI instruments", "scpi", ImportError(name=module)))

    def connect(self, clock: Clock) -> ScpiDriver:
        """Prepare the connection; nothing is opened yet.

        Raises:
            InstrumentError: pyvisa is not installed.
        """
        file, _, backend = self.visa.partition("@")
        visa = f"{self.place.absolute() / file}@{backend}" if file and backend else self.visa
        termination, wait = self.termination, self.starts_in or 0.0
        connection = ScpiConnection(self.resource, visa, termination, self.baud, self.timeout, wait, clock)
        units = {name: channel.unit for name, channel in self.declared_channels.items()}
        commands = Commands(
            self.identify,
            self.init,
            self.set_commands,
            {name: _query(question, units[name]) for name, question in self.read.items()},
            self.applied,
            self.off_commands,
            self.error or "",
        )
        return ScpiDriver(connection, commands, self.inputs, self.off)

    def _option_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        yield from super()._option_problems()
        yield from key_problems("read", self.read, self.declared_channels, "channel", complete=True)
        yield from key_problems("applied", self.applied, self.declared_inputs, "input")
        yield from key_problems("set", self.set_commands, self.declared_inputs, "input")
        sent = set(self.set_commands)
        for name, line in self.set_commands.items():
            try:
                placeholders.check_names(line, ["value", *self.declared_inputs])
            except ValueError as error:
                yield ("set", name), str(error)
                continue
            sent |= set(placeholders.names(line))
            if placeholders.variables(line):
                yield ("set", name), "environment variables are for kind http"
            if not {"value", name} & set(placeholders.names(line)):
                yield ("set", name), f"must hold {{value}}, which stands for the value of {name}"
        if unset := [name for name in self.declared_inputs if name not in sent]:
            yield ("set",), f"must set every input; missing: {', '.join(unset)}"
        if not _RESOURCE.fullmatch(self.resource) or not self.resource.isprintable():
            yield ("resource",), f"must be the VISA name of a device, such as {EXAMPLES}"
        if self.baud is not None and not self.address.startswith("ASRL"):
            yield ("baud",), "is for serial ports (ASRL…)"
        if self.off_commands and self.off is None:
            yield ("off_commands",), "are never sent, since `off: nothing` says that it may be left as it is"


def _query(question: str | Question, unit: str) -> ChannelQuery:
    if isinstance(question, str):
        return ChannelQuery(question, 1, unit)
    return ChannelQuery(question.query, question.field, unit)
