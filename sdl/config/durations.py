"""Spans of time as a lab file writes them: `90s`, `10min`, `1h`, `1h30min`, `7d`, or a number of seconds."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)\s*")


def parse_duration(value: Any) -> float:
    """The span in seconds.

    Raises:
        ValueError: it is none of the forms above, or not above 0.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        return float(value)
    if isinstance(value, str):
        text, total = value.strip(), 0.0
        while found := _PART.match(text):
            total += float(found[1]) * UNITS[found[2]]
            text = text[found.end() :]
        if not text and total > 0:
            return total
    raise ValueError(f"must be a time such as 90s, 10min, 1h or 7d, not {value!r}")


def format_duration(span: float) -> str:
    """The two largest units of a span: `2 d 3 h`, `1 h 30 min`, `45 s`."""
    left, parts = round(span), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "0 s"


Duration = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema({"type": "string", "description": "90s, 10min, 1h, 7d"})
]
"""A span of time, in seconds once it is read."""
