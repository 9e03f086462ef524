"""SDL-Light (CLSLab:Light): a Pico W with a NeoPixel and an eight-channel light sensor, behind MQTT.

    sdl-demo/picow/<device>/GPIO/28   <-   {"R": 10, "G": 11, "B": 12, "atime": 100, …, "_experiment_id": "a94236b3…"}
    sdl-demo/picow/<device>/as7341/   ->   {"ch410": 245, …, "background": {"ch410": 71, …}, "_input_message": {…}}

From its source (github.com/sparks-baird/self-driving-lab-demo): all users of a device receive all answers, so an answer
belongs to us only if it repeats our session and experiment. Before each reading the device takes one with the light off
and does not subtract it. Inputs are whole numbers; one out of range is an error and is not clamped. An error is the
text of a traceback. The light is switched off after every experiment.
Not yet tried with a device, only with a simulated one over a real broker.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from uuid import uuid4

from pydantic import Field, field_validator

from sdl.clock import Clock
from sdl.drivers import environment
from sdl.drivers.base import RealInstrument, SessionGap, off_settings
from sdl.drivers.checks import checked_numbers
from sdl.drivers.lamp import FULL_SCALE, Lamp, LampDriver, counts, is_count
from sdl.drivers.sdl_light.mqtt import Broker, Exchange
from sdl.drivers.twin.config import Twin
from sdl.errors import BadReply, ConfigError, InstrumentError, NotApplied, Problem, Rejected
from sdl.extras import missing
from sdl.store import hosts
from sdl.types import SESSION_GAP, Channel, Input, Reading, Settings

NAMES = ("ch410", "ch440", "ch470", "ch510", "ch550", "ch583", "ch620", "ch670")
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
GAINS = tuple(2.0**n for n in range(-1, 10))
SAFE_SECONDS = 15.0  # seconds for switching off: the running experiment and one more


class SdlLight(RealInstrument):
    """A CLSLab:Light device behind an MQTT broker."""

    tells_background: ClassVar[bool] = True  # every experiment begins with a reading with the light off
    may_repeat: ClassVar[bool] = (
        True  # with the light off it gives the same few counts; answers repeat the request's number
    )
    reading_seconds: ClassVar[float] = 3.0  # measured in the device project's own notebook 4.2

    kind: Literal["sdl-light"] = "sdl-light"
    host: str = Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$", max_length=253, description="the broker's host name"
    )
    port: int = Field(default=8883, ge=1, le=65535, description="the broker's port")
    tls: bool = Field(default=True, description="encrypt, and check the broker's certificate; false on this machine")
    ca_file: str | None = Field(default=None, description="certificates to trust (PEM) instead of the system's")
    device: str = Field(
        default="test", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="the device's id, a part of its topics"
    )
    user_env: str | None = Field(default=None, pattern=VARIABLE, description="environment variable with the user name")
    password_env: str | None = Field(
        default=None, pattern=VARIABLE, description="environment variable with the password"
    )
    most: int = Field(default=89, ge=1, le=255, description="highest value of each input; 89 spares LED and eyes")
    atime: int = Field(default=100, ge=0, le=255, description="sensor: number of integration steps, minus one")
    astep: int = Field(
        default=999, ge=0, le=65534, description="sensor: length of a step in units of 2.78 µs, minus one"
    )
    gain: float = Field(default=128.0, description="sensor: amplification, a power of 2 from 0.5 to 512")
    connect_timeout: float = Field(default=10.0, gt=0, le=60, description="seconds to wait for the broker")
    reply_timeout: float = Field(default=60.0, gt=0, le=600, description="seconds to wait for the device's answer")
    session_gap: SessionGap = SESSION_GAP

    @field_validator("gain")
    @classmethod
    def _known(cls, value: float) -> float:
        if value not in GAINS:
            raise ValueError(f"must be one of {', '.join(f'{gain:g}' for gain in GAINS)}, not {value:g}")
        return value

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(Input(name=name, low=0.0, high=float(self.most), step=1.0) for name in "RGB")

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Eight colours in counts; the integration time limits full scale, to at most 65535."""
        full = min(FULL_SCALE, (self.atime + 1) * (self.astep + 1))
        return tuple(Channel(name=name, low=0.0, high=float(full)) for name in NAMES)

    @property
    def identity(self) -> str:
        return f"sdl-light:{hosts.normalise(self.host)}:{self.port}/{self.device}"

    def known_as(self, look_up: bool) -> set[str]:
        """The device by each address of its broker; ports 1883 and 8883 count as the same."""
        port = "" if self.port in (1883, 8883) else f":{self.port}"
        return {f"sdl-light:{host}{port}/{self.device}" for host in hosts.names(self.host, look_up=look_up)}

    @property
    def timeout_seconds(self) -> float:
        return self.connect_timeout + self.reply_timeout

    def ready(self) -> None:
        """Check this machine's certificates and variables; nothing is sent.

        Raises:
            ConfigError: a named environment variable is not set, or the certificates cannot be read.
        """
        environment.check_variables(proxies=False)
        for name in (self.user_env, self.password_env):
            _secret(name)
        if self.tls and self.ca_file is not None and (why := environment.no_certificates(self.ca_file)):
            raise ConfigError(Problem(why, "instrument.ca_file"))

    def simulation(self, start: str | None, seed: int) -> Twin:
        """Its twin in virtual time from `start`, with inputs from 0 to 1 and a background in every reply."""
        return Twin(state="sdl-light", background="each", seed=seed, start=start)

    def open(self, clock: Clock) -> SdlLightDriver:
        """Prepare the connection; nothing is sent yet. `clock` is not used: the device lives in real time.

        Raises:
            InstrumentError: paho-mqtt is not installed.
            ConfigError: a named environment variable is not set, or the certificates cannot be read.
        """
        try:
            import paho.mqtt.client  # noqa: F401  # found here, not in the middle of a campaign
        except ImportError as error:
            raise InstrumentError(missing("SDL-Light instruments", "mqtt", error)) from error
        self.ready()
        user, password = (_secret(name) for name in (self.user_env, self.password_env))
        broker = Broker(self.host, self.port, self.tls, self.ca_file, user, password, self.connect_timeout)
        return SdlLightDriver(self, broker)


def _secret(name: str | None) -> str | None:
    if name is None:
        return None
    if not (value := os.environ.get(name)):
        raise ConfigError(f"the environment variable {name}, which the campaign names, is not set or empty")
    return value


class SdlLightDriver(LampDriver):
    """An open SDL-Light: one experiment per reading, no retries."""

    def __init__(self, light: SdlLight, broker: Broker) -> None:
        super().__init__(Lamp(light.inputs, light.channels, "sdl-light"))
        self._light = light
        topic = f"sdl-demo/picow/{light.device}"
        self._exchange = Exchange(broker, f"{topic}/GPIO/28", f"{topic}/as7341/")
        self._session = str(uuid4())
        self._inputs = light.inputs
        self._full = {channel.name: channel.high or FULL_SCALE for channel in light.channels}

    def measure(self, settings: Settings) -> Reading:
        """Take one reading with its background.

        Raises:
            Rejected: settings that are outside the bounds or not whole (nothing was sent), or the broker refuses us.
            Unreachable: no connection, or no answer.
            BadReply: the device reports an error, or its answer cannot be a reading.
            NotApplied: the answer does not say what was applied.
        """
        return self._lamp.observe(self._run(settings, self._light.reply_timeout))

    def dark_reading(self) -> Reading:
        return self._run(off_settings(self._light), min(self._light.reply_timeout, SAFE_SECONDS))

    def close(self) -> None:
        super().close()
        self._exchange.drop()

    def _run(self, settings: Settings, within: float) -> Reading:
        values = checked_numbers(settings, self._inputs)
        for name, value in values.items():
            if value % 1:
                raise Rejected(f"{name} = {value!r} is not a whole number")
        light = self._light
        ids = {"_session_id": self._session, "_experiment_id": str(uuid4())}
        command: dict[str, Any] = {name: int(value) for name, value in values.items()}
        command |= {"atime": light.atime, "astep": light.astep, "gain": light.gain, "mongodb": False, **ids}
        command["integration_time_s"] = (light.atime + 1) * (light.astep + 1) * 2.78e-6

        def ours(message: bytes) -> dict[str, Any] | None:
            try:
                reply = json.loads(message.decode())
                echo = reply.get("_input_message")
                return reply if all(echo.get(key) == value for key, value in ids.items()) else None
            except (ValueError, AttributeError, RecursionError):
                return None  # an answer to another user, or too garbled to identify

        payload = json.dumps(command).encode()
        return self.request(lambda: reading(self._exchange.ask(payload, ours, within), values, self._full))


def reading(reply: Mapping[str, Any], requested: Mapping[str, float], full: Mapping[str, float]) -> Reading:
    """Parse the reading in a device's reply to our own experiment.

    `requested` are the settings, `full` is the full scale of each channel.

    Raises:
        BadReply: the device reports an error, or a channel is missing or not a count.
        NotApplied: it does not repeat the settings.
    """
    if (error := reply.get("error")) is not None:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise BadReply(f"the device reports an error: {(lines or ['no message'])[-1][:200]}")
    echo = reply["_input_message"]
    if not all(is_count(echo.get(name), 255) for name in requested):
        raise NotApplied(f"the answer does not repeat the settings: { ({n: echo.get(n) for n in requested})!r}")
    applied = {name: float(echo[name]) for name in requested}
    readings, dark = counts(reply, NAMES), reply.get("background")
    return Reading(
        applied=applied,
        readings=readings,
        background=counts(dark, NAMES, "background ") if isinstance(dark, dict) else None,
        saturated=tuple(name for name, count in readings.items() if count >= full[name]),
        fault=None if applied == dict(requested) else "not-applied",
    )
