"""Durations as a lab file writes them: `90s`, `10min`, `1h`, `1h30min`, `7d`, or a number of seconds."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
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
    raise ValueError(f"must be a time such as 90s, 10min, 1h or 7d, not {value!r}")


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
