"""A request as a campaign file writes it, with inputs and environment variables in braces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from sdl.drivers.declared import placeholders
from sdl.drivers.http import check_address
from sdl.durations import Duration
from sdl.types import Frozen, Settings, Value

# Headers that hold a secret, which a file must not: it is copied into the record.
SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token")
FORM, JSON, TEXT = "application/x-www-form-urlencoded", "application/json", "text/plain; charset=utf-8"
SET_BY_US = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding")


class Filled(NamedTuple):
    """A request whose placeholders are replaced."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None


class RequestTemplate(Frozen):
    """One HTTP request. `{R}` stands for the value of the input R, `${NAME}` for an environment variable."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused value may hold a password

    method: Literal["GET", "POST", "PUT", "PATCH"] = "GET"
    url: str = Field(description="http or https; inputs in braces are URL-encoded: http://host/api?R={R}")
    timeout: Duration = Field(default=60.0, le=3600, description="longest wait for the whole answer")
    headers: Mapping[str, str] = Field(
        default_factory=dict, description='such as {Authorization: "Bearer ${TOKEN}"}, TOKEN an environment variable'
    )
    body: JsonValue = Field(
        default=None, description='text, or a mapping sent as JSON in which "{R}" alone becomes the number'
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        check_address(value)
        parts = urlsplit(value)
        if "{" in parts.netloc:
            raise ValueError("the host and port must be written in the file: they identify the instrument")
        if "#" in value:
            raise ValueError("the url must not have a part after #: it is never sent")
        return value

    @field_validator("headers")
    @classmethod
    def _no_secrets(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in headers.items():
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"{name!r} is not the name of a header")
            if name.lower() in SET_BY_US:
                raise ValueError(f"the header {name} is set by sdl")
            if not value.isprintable():
                raise ValueError(f"the header {name} holds a control character")
            if name.lower() in SECRET_HEADERS and not placeholders.variables(value):
                raise ValueError(
                    f"the header {name} must not be written in the file, which is copied into the record; set an "
                    f'environment variable and name it: {name}: "… ${{NAME}}"'
                )
        return headers

    @model_validator(mode="after")
    def _body_fits(self) -> RequestTemplate:
        if self.method == "GET" and self.body is not None:
            raise ValueError("a GET request has no body; put the inputs into the url, or use method: POST")
        for text in self.texts():
            placeholders.names(text)
        return self

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def texts(self) -> Iterator[str]:
        """Every text that may hold placeholders."""
        yield from (self.url, *self.headers.values(), *_texts(self.body))

    def check_names(self, inputs: Iterable[str]) -> None:
        """Refuse names in braces that are no inputs; in headers every name.

        Raises:
            ValueError: says which names are allowed.
        """
        inputs = tuple(inputs)
        for text in self.texts():
            placeholders.check_names(text, inputs)

    def names(self) -> set[str]:
        """The inputs that it sends."""
        return {name for text in self.texts() for name in placeholders.names(text)}

    def variables(self) -> list[str]:
        """The environment variables that it needs."""
        return [name for text in self.texts() for name in placeholders.variables(text)]

    def fill(self, settings: Settings, secrets: Mapping[str, str]) -> Filled:
        """The request for these settings."""
        headers = {name: placeholders.fill(text, settings, secrets) for name, text in self.headers.items()}
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        content = None
        if isinstance(self.body, str):
            encode = _encoded if kind.startswith(FORM) else str
            content = placeholders.fill(self.body, settings, secrets, encode).encode()
        elif self.body is not None:
            content = json.dumps(_filled(self.body, settings, secrets), allow_nan=False).encode()
        if content is not None and not kind:
            headers["Content-Type"] = TEXT if isinstance(self.body, str) else JSON
        return Filled(self.method, placeholders.fill(self.url, settings, secrets, _encoded), headers, content)


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _texts(body: Any) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    elif isinstance(body, list | dict):
        for part in [*body, *body.values()] if isinstance(body, dict) else body:
            yield from _texts(part)


def _filled(body: Any, settings: Settings, secrets: Mapping[str, str]) -> Any:
    """A JSON value whose texts are filled; a text that is one placeholder becomes the value itself."""
    if isinstance(body, dict):
        return {placeholders.fill(k, settings, secrets): _filled(v, settings, secrets) for k, v in body.items()}
    if isinstance(body, list):
        return [_filled(part, settings, secrets) for part in body]
    if not isinstance(body, str):
        return body
    if body[:1] == "{" and body[-1:] == "}" and body[1:-1] in settings:
        return _number(settings[body[1:-1]])
    return placeholders.fill(body, settings, secrets)


def _number(value: Value) -> Value:
    """A number as JSON writes it best: whole ones without a point."""
    return value if isinstance(value, str) or value % 1 or abs(value) >= 2**53 else int(value)
