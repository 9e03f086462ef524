"""Claude-Light, the public instrument of the paper: an LED and a ten-channel light sensor behind one GET request.

    GET /api?R=0.1&G=0.2&B=0.3   ->   {"in": [0.1, 0.2, 0.3], "out": {"415nm": 1203, …, "nir": 402}}

What the server does that a client must know (read from its source, github.com/jkitchin/claude-light): settings outside
0 … 1 are moved to the nearest bound without a word, and only the echoed `in` tells; when somebody else uses the
instrument it tries again for up to 50 s inside the same request and then answers 500; a reading that is taken is
counted and logged even if nobody waits for the answer; the light goes out after every reading.
Not yet tried against the instrument itself, only against a local server that speaks the same.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from sdl.clock import Clock
from sdl.drivers.checks import checked
from sdl.drivers.claude_light_reply import FULL_SCALE, NAMES, reading
from sdl.drivers.http import Link
from sdl.errors import InstrumentError
from sdl.types import Channel, Frozen, Input, Reading

log = logging.getLogger(__name__)

CHANNELS = tuple(Channel(name=name, saturation=float(FULL_SCALE)) for name in NAMES)
INPUTS = tuple(Input(name=name, step=None) for name in "RGB")
SAFE_SECONDS = 15.0
"""How long switching off may take: a reading that is still running, and one more."""


class ClaudeLight(Frozen):
    """The public Claude-Light instrument, or another server that speaks the same."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused address may hold a password

    kind: Literal["claude-light"] = "claude-light"
    url: str = Field(
        default="https://claude-light.cheme.cmu.edu/api", description="where the server answers; http or https"
    )
    connect_timeout: float = Field(default=5.0, gt=0, le=60, description="seconds to wait for a connection")
    read_timeout: float = Field(
        default=75.0,
        gt=0,
        le=600,
        description="seconds to wait for the answer; at least 60 (a busy server tries for 50) except on this machine",
    )
    user_agent: str = Field(
        default="sdl (self-driving lab orchestrator)",
        pattern=r"^[ -~]+$",
        max_length=200,
        description="who asks, for the server's operator; add an address if you run it for days",
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.isprintable() or " " in value:
            raise ValueError("the url holds spaces or control characters")
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname or "", parts.port
            host.encode("idna")
        except ValueError as error:
            raise ValueError(f"the url cannot be read: {error}") from None
        if parts.username is not None or parts.password is not None:
            raise ValueError("the url must not hold a user name or password: it is written to the record")
        shown = "the url" if "@" in value else repr(value)
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError(f"{shown} must look like https://host/api or http://host:port/api")
        if "?" in value or "#" in value:
            raise ValueError(f"{shown} must end before ? and #: the settings are added to it")
        return value

    @model_validator(mode="after")
    def _patient(self) -> ClaudeLight:
        if self.read_timeout < 60 and not self._local:
            raise ValueError(
                f"read_timeout {self.read_timeout:g} s is too short: the server may try for 50 s inside one request; "
                "allowed: 60 to 600"
            )
        return self

    @property
    def inputs(self) -> tuple[Input, ...]:
        """R, G, B, each 0 … 1."""
        return INPUTS

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Eight colours, clear, nir: whole counts up to 65535."""
        return CHANNELS

    @property
    def identity(self) -> str:
        """Host and path, whatever the spelling."""
        parts = urlsplit(self.url)
        port = "" if parts.port in (None, 80, 443) else f":{parts.port}"
        return f"claude-light:{parts.hostname}{port}{parts.path.rstrip('/')}"

    @property
    def simulated(self) -> bool:
        """Never: what answers there is not known to be a simulation."""
        return False

    @property
    def virtual(self) -> bool:
        """Never."""
        return False

    @property
    def reading_seconds(self) -> float:
        """Median of the instrument's own benchmark of 2024."""
        return 0.78

    @property
    def _local(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def open(self, clock: Clock) -> ClaudeLightDriver:
        """Gets ready to ask; nothing is sent yet. The instrument lives in real time, so `clock` is not used."""
        link = Link(
            self.url,
            connect=self.connect_timeout,
            read=self.read_timeout,
            user_agent=self.user_agent,
            environment=not self._local,  # a proxy would look for this machine on itself
        )
        return ClaudeLightDriver(link, within=self.connect_timeout + self.read_timeout)


class ClaudeLightDriver:
    """An open Claude-Light: one request a reading, no retries."""

    def __init__(self, link: Link, within: float) -> None:
        self._link = link
        self._within = within
        self._dark = True

    def measure(self, settings: Mapping[str, float]) -> Reading:
        """One reading.

        Raises:
            Rejected: settings outside the bounds; nothing was sent.
            Unreachable: no answer.
            Busy: the server says so.
            BadReply: the answer cannot be a reading.
            NotApplied: the answer does not say what was applied.
        """
        return self._ask(checked(settings, INPUTS), self._within)

    def safe(self) -> None:
        """Asks for a reading in the dark, if anything was asked before; a failure is logged, not raised."""
        if self._dark or self._link.closed:
            return
        try:
            dark = self._ask({item.name: 0.0 for item in INPUTS}, min(self._within, SAFE_SECONDS))
            self._dark = not any(dark.applied.values())
        except InstrumentError as error:
            log.warning("could not make sure that the light is off: %s", error)

    def close(self) -> None:
        """Gives the connection back."""
        self._link.close()

    def _ask(self, values: dict[str, float], within: float) -> Reading:
        if self._link.closed:
            raise InstrumentError(f"{self._link.url}: this connection was closed; open another")
        try:
            answer = self._link.get({name: repr(value) for name, value in values.items()}, within)
        finally:
            self._dark = not self._link.ever_sent
        return reading(answer, values)
