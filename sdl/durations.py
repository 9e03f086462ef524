"""Durations as files write them: `90s`, `10min`, `1h`, `1h30min`, `7d`, or a number of seconds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(?:per|/)\s*(ms|s|min|h|d)\s*")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)\s*")


def parse_duration(value: Any) -> float:
    """Read a duration in seconds.

    Raises:
        ValueError: another form, or not above 0.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        return float(value)
    if isinstance(value, str):
        text, total = value.strip(), 0.0
        while part := _PART.match(text):
            total += float(part[1]) * UNITS[part[2]]
            text = text[part.end() :]
        if not text and total > 0:
            return total
    raise ValueError(f"must be a time such as 90s, 10min, 1h or 7d, not {_shown(value)}")


def _shown(value: Any) -> str:
    """A wrong value as in YAML, cut."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else text[:57] + "…"


def format_duration(span: float) -> str:
    """A duration as text with its two largest units: `2 d 3 h`, `1 h 30 min`, `45 s`."""
    rest, parts = round(span), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if rest >= size:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts[:2]) or "0 s"


Duration = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema({"type": "string", "description": "90s, 10min, 1h, 7d"})
]
"""A duration; read as seconds."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of change, as written and per second."""

    text: str
    per_second: float

    @classmethod
    def parse(cls, value: Any) -> Rate:
        """Read `50 per min`.

        Raises:
            ValueError: another form, or not above 0.
        """
        if isinstance(value, Rate):
            return value
        if isinstance(value, str) and (match := _RATE.fullmatch(value)):
            rate = float(match[1]) / UNITS[match[2]]
            if 0 < rate < math.inf:
                return cls(value, rate)
        raise ValueError(f"must be a rate such as 50 per min or 0.5 per s, not {_shown(value)}")

    def __str__(self) -> str:
        return self.text


RateKey = Annotated[
    Rate,
    BeforeValidator(Rate.parse),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["50 per min"]}),
]
"""A rate; read as `Rate`."""
