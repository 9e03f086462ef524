"""Texts with placeholders, from which requests and commands are made.

{R}         the value of the input R
${TOKEN}    the environment variable TOKEN
{{ and }}   braces
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

from sdl.errors import ConfigError, near
from sdl.types import Value

_PART = re.compile(r"\$\{(?P<variable>[^{}]*)\}|(?P<brace>\{\{|\}\})|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def names(text: str) -> list[str]:
    """The inputs that a text names.

    Raises:
        ValueError: it has a single brace, or `${…}` without the name of a variable.
    """
    for part in _PART.finditer(text):
        if part["stray"]:
            raise ValueError(f"{text!r}: a single {part['stray']}; a brace itself is written twice: {{{{ or }}}}")
        if part["variable"] is not None and not _VARIABLE.fullmatch(part["variable"]):
            raise ValueError(f"{text!r}: {part[0]!r} is not the name of an environment variable, such as ${{TOKEN}}")
    return [part["name"] for part in _PART.finditer(text) if part["name"] is not None]


def variables(text: str) -> list[str]:
    """The environment variables that a text names."""
    return [part["variable"] for part in _PART.finditer(text) if part["variable"] is not None]


def check_names(text: str, allowed: Iterable[str]) -> None:
    """Refuse names in braces that are not allowed.

    Raises:
        ValueError: a name is not allowed; the message lists the allowed ones.
    """
    allowed = tuple(allowed)
    for name in names(text):
        if name not in allowed:
            raise ValueError(f"{text!r}: unknown {{{name}}}; {near(name, allowed)}")


def fill(text: str, values: Mapping[str, Value], secrets: Mapping[str, str], encode: Callable[[str], str] = str) -> str:
    """The text with every placeholder replaced; `encode` is applied to what is put in."""

    def put(part: re.Match[str]) -> str:
        if part["brace"]:
            return part["brace"][0]
        return encode(secrets[part["variable"]] if part["name"] is None else as_text(values[part["name"]]))

    return _PART.sub(put, text)


def as_text(value: Value) -> str:
    """A value as a device reads it: the shortest exact decimal, whole numbers without a point."""
    return value if isinstance(value, str) else repr(float(value)).removesuffix(".0")


def secrets(wanted: Iterable[str]) -> dict[str, str]:
    """The values of environment variables.

    Raises:
        ConfigError: names each that is not set or is empty, or cannot be part of a header.
    """
    values = {name: os.environ.get(name, "") for name in dict.fromkeys(wanted)}
    problems = [
        f"the environment variable {name}, which the instrument names as ${{{name}}}, "
        + ("holds a control character" if value else "is not set or empty")
        for name, value in values.items()
        if not value or not value.isprintable()
    ]
    if problems:
        raise ConfigError(*problems)
    return values


def redact(text: str, hidden: Mapping[str, str]) -> str:
    """The text with each secret, also as part of a URL, replaced by `${NAME}`; for messages."""
    for name, value in sorted(hidden.items(), key=lambda item: -len(item[1])):
        for form in dict.fromkeys((value, quote(value, safe=""), quote(value))):
            text = text.replace(form, f"${{{name}}}")
    return text
