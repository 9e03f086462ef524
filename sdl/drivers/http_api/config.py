"""An instrument that answers HTTP requests, as a campaign file describes them.

    measure: {url: "http://192.168.1.20/api?R={R}"}    ->   {"in": [0.5], "out": {"445nm": 1203}}
    read: {445nm: 'out."445nm"'}
    applied: {R: "in[0]"}

Not yet tried with hardware, only with local servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from sdl.clock import Clock
from sdl.drivers import environment
from sdl.drivers.declared import placeholders
from sdl.drivers.declared.config import Declared
from sdl.drivers.http_api.driver import HttpApiDriver
from sdl.drivers.http_api.reply import compile_expression
from sdl.drivers.http_api.request import RequestTemplate
from sdl.errors import near
from sdl.store import hosts


def _expression(text: str) -> str:
    compile_expression(text)
    return text


Expression = Annotated[str, AfterValidator(_expression)]


class HttpApi(Declared):
    """An instrument behind HTTP requests: one request, one reading."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused address or header may hold a password

    kind: Literal["http"] = "http"
    measure: RequestTemplate = Field(
        description="the request for a reading",
        examples=[{"method": "GET", "url": "http://192.168.1.20/api?R={R}", "timeout": "60 s"}],
    )
    read: Mapping[str, Expression] = Field(
        description="where the number of each channel is in the JSON of the answer, in JMESPath",
        examples=[{"445nm": 'out."445nm"'}],
    )
    applied: Mapping[str, Expression] = Field(
        {},
        description="where the answer says which value of an input was applied, in JMESPath; without these `off` is "
        "never proven",
        examples=[{"R": "in[0]"}],
    )
    off_request: RequestTemplate | None = Field(
        None, description="the request that switches it off; by default `measure` with the settings `off`"
    )

    @property
    def address(self) -> str:
        return f"{hosts.normalise(self.measure.host)}:{self.measure.port}"

    @property
    def timeout(self) -> float:
        return self.measure.timeout

    def known_as(self, look_up: bool) -> set[str]:
        """The identity with each address of the host in place of its name, unless the file names the instrument."""
        if self.name is not None:
            return set()
        return {f"http:{host}:{self.measure.port}" for host in hosts.names(self.measure.host, look_up=look_up)}

    def ready(self) -> None:
        """Check the environment variables of the requests, of proxies and of certificates; nothing is sent.

        Raises:
            ConfigError: one is missing, or would break every request.
        """
        environment.check_variables(proxies=not all(hosts.is_local(request.host) for request in self._requests))
        placeholders.secrets(name for request in self._requests for name in request.variables())

    def connect(self, clock: Clock) -> HttpApiDriver:
        """Prepare the requests; nothing is sent yet.

        Raises:
            ConfigError: an environment variable is missing, or would break every request.
        """
        return HttpApiDriver(self.measure, self.inputs, self.read, self.applied, self.off, self.off_request, clock)

    @property
    def _requests(self) -> list[RequestTemplate]:
        return [self.measure, *([self.off_request] if self.off_request is not None else [])]

    def _option_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        yield from super()._option_problems()
        yield from key_problems("read", self.read, self.declared_channels, "channel", complete=True)
        yield from key_problems("applied", self.applied, self.declared_inputs, "input")
        requests = {"measure": self.measure, "off_request": self.off_request}
        for key, request in requests.items():
            try:
                if request is not None:
                    request.check_names(self.declared_inputs)
            except ValueError as error:
                yield (key,), str(error)
        if unsent := [name for name in self.declared_inputs if name not in self.measure.names()]:
            yield ("measure",), f"must send every input; missing: {', '.join(f'{{{name}}}' for name in unsent)}"
        if self.off_request is not None and self.off is None:
            yield ("off_request",), "is never sent, since `off: nothing` says that it may be left as it is"


def key_problems(
    key: str, given: Mapping[str, object], known: Mapping[str, object], what: str, *, complete: bool = False
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Names in a mapping that are unknown, or if it must be `complete`, missing."""
    for name in given:
        if name not in known:
            yield (key, name), f"unknown {what}; {near(name, tuple(known), 0.7)}"
    if complete and (missing := [name for name in known if name not in given]):
        yield (key,), f"must give every {what}; missing: {', '.join(missing)}"
