"""Claude-Light, the public instrument of the paper: an LED and a ten-channel light sensor behind one GET request.

    GET /api?R=0.1&G=0.2&B=0.3   ->   {"in": [0.1, 0.2, 0.3], "out": {"415nm": 1203, …, "nir": 402}}

From the server's source (github.com/jkitchin/claude-light): it clamps settings to 0 … 1 without an error, and only the
echoed `in` shows it. While another user has the instrument, it retries for up to 50 s within one request and then
answers 500. A reading is counted and logged even if the client has hung up. The light is switched off after every
reading. Not yet tried with the instrument itself, only with a local server of the same behaviour (`sdl twin serve`).
"""

from __future__ import annotations

import posixpath
from typing import ClassVar, Literal
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from sdl.clock import Clock
from sdl.drivers import environment
from sdl.drivers.base import RealInstrument, SessionGap, off_settings
from sdl.drivers.baseline import Background, BaselineSampler, share
from sdl.drivers.claude_light.driver import CHANNELS, INPUTS, ClaudeLightDriver
from sdl.drivers.http import HttpConnection, check_address
from sdl.drivers.rate_limit import RateLimiter
from sdl.drivers.trust import PUBLIC
from sdl.drivers.twin.config import Twin
from sdl.store import hosts
from sdl.types import SESSION_GAP, Channel, Input

# Minimum seconds between requests, and requests per day. Waiting users ask once a second whether the instrument is
# free, so a shorter interval would hardly let others in.
INTERVAL, A_DAY = 1.5, 10_000


class ClaudeLight(RealInstrument):
    """The public Claude-Light instrument, or another server with the same HTTP interface."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused address may hold a password

    inputs: ClassVar[tuple[Input, ...]] = INPUTS
    channels: ClassVar[tuple[Channel, ...]] = CHANNELS
    may_repeat: ClassVar[bool] = (
        True  # the driver detects frozen sensors itself; with the light off, equal counts are usual
    )

    kind: Literal["claude-light"] = "claude-light"
    url: str = Field(default=PUBLIC, description="where the server answers; http or https")
    connect_timeout: float = Field(default=5.0, gt=0, le=60, description="seconds to wait for a connection")
    read_timeout: float = Field(
        default=75.0,
        gt=0,
        le=600,
        description="seconds to wait for the answer; at least 60 (a busy server tries for 50), on this machine any",
    )
    background: Background = "each"
    session_gap: SessionGap = SESSION_GAP
    least_interval: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="least seconds between requests, so that others get a turn; 1.5, or 0 for a server on this machine",
    )
    requests_a_day: int | None = Field(
        default=None,
        ge=1,
        description="most requests in 24 hours, counted from the start or resume of a run; 10000, or without limit for "
        "a server on this machine",
    )
    breaker: int = Field(
        default=12,
        ge=1,
        le=1000,
        description="failed requests in a row after which none is sent for `rest` seconds",
    )
    rest: float = Field(default=300.0, ge=0, le=86400, description="seconds without requests after `breaker` failures")
    user_agent: str = Field(
        default="sdl (self-driving lab orchestrator)",
        pattern=r"^[ -~]+$",
        max_length=200,
        description="User-Agent header for the server's operator; add a contact address if you run it for days",
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        check_address(value)
        if "?" in value or "#" in value:
            shown = "the url" if "@" in value else repr(value)
            raise ValueError(f"{shown} must not contain ? or #, because the settings are appended to it")
        return value

    @model_validator(mode="after")
    def _waits_long_enough(self) -> ClaudeLight:
        if self.read_timeout < 60 and not self._local:
            raise ValueError(
                f"read_timeout {self.read_timeout:g} s is too short: the server may try for 50 s inside one request; "
                "allowed: 60 to 600"
            )
        return self

    @property
    def identity(self) -> str:
        """Host and path in their canonical spelling."""
        return self._at(hosts.normalise(self._host))

    def known_as(self, look_up: bool) -> set[str]:
        """The identity with each address of the host in place of its name."""
        return {self._at(host) for host in hosts.names(self._host, look_up=look_up)}

    def _at(self, host: str) -> str:
        parts = urlsplit(self.url)
        port = "" if parts.port in (None, 80, 443) else f":{parts.port}"
        path = posixpath.normpath(f"/{unquote(parts.path)}").strip("/")
        return f"claude-light:{host}{port}/{path}".rstrip("/")

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def reading_seconds(self) -> float:
        """Median of the instrument's benchmark of 2024, with the pauses between requests and the background."""
        return (0.78 + self._interval) * share(self.background)

    @property
    def timeout_seconds(self) -> float:
        """Longest time until a reading fails, including background and pauses."""
        requests = 1 if self.background == "none" else 2
        return (self.connect_timeout + self.read_timeout + self._interval) * requests

    @property
    def _interval(self) -> float:
        return self.least_interval if self.least_interval is not None else 0.0 if self._local else INTERVAL

    @property
    def _local(self) -> bool:
        return hosts.is_local(self._host)

    def ready(self) -> None:
        """Check this machine's proxy and certificate variables; nothing is sent.

        Raises:
            ConfigError: one of them would break every request.
        """
        environment.check_variables(proxies=not self._local)

    def simulation(self, start: str | None, seed: int) -> Twin:
        """The twin in virtual time from `start`."""
        return Twin(background=self.background, seed=seed, start=start)

    def open(self, clock: Clock) -> ClaudeLightDriver:
        connection = HttpConnection(
            self.url,
            connect=self.connect_timeout,
            read=self.read_timeout,
            user_agent=self.user_agent,
            environment=not self._local,  # a proxy would look for this machine on itself
        )
        daily_limit = self.requests_a_day if self.requests_a_day is not None or self._local else A_DAY
        limiter = RateLimiter(clock, self._interval, daily_limit, self.breaker, self.rest)
        baseline = BaselineSampler(self.background, off_settings(self))
        return ClaudeLightDriver(connection, limiter, baseline, within=self.connect_timeout + self.read_timeout)
