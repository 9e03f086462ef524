"""The authors of exported data, with their ORCID, and the licence."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from sdl.errors import ConfigError
from sdl.types import Frozen

_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")
ORCID_URL = "https://orcid.org/"


class Person(Frozen):
    """An author."""

    name: str = Field(min_length=1, max_length=200, description="full name, `Ada Lovelace`")
    orcid: str = Field("", description="ORCID iD, `0000-0002-1825-0097`")

    @field_validator("name")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip():
            raise ValueError(f"must be a name on one line, not {value!r}")
        return value

    @field_validator("orcid")
    @classmethod
    def _checked(cls, value: str) -> str:
        """The iD without the address; its last character is a check digit (ISO 7064 MOD 11-2)."""
        if not value:
            return ""
        match = _ORCID.fullmatch(value)
        if match is None or _check_digit(match[1]) != match[1][-1]:
            raise ValueError(f"{value!r} is no ORCID iD such as 0000-0002-1825-0097")
        return match[1]

    @classmethod
    def parse(cls, text: str) -> Person:
        """Read `Ada Lovelace, 0000-0002-1825-0097`, or a name alone.

        Raises:
            ConfigError: the name is empty, or the ORCID iD is wrong.
        """
        name, _, orcid = text.partition(",")
        try:
            return cls(name=name.strip(), orcid=orcid.strip())
        except ValueError as error:
            why = str(error).splitlines()[2].strip() if len(str(error).splitlines()) > 2 else str(error)
            raise ConfigError(f"author {text!r}: {why}") from error


def _check_digit(orcid: str) -> str:
    total = 0
    for digit in orcid.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    rest = (12 - total % 11) % 11
    return "X" if rest == 10 else str(rest)
