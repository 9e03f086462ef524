"""Parse replies of the Claude-Light server, every number checked.

Whatever is wrong here was found after the request had reached the server: it may have measured all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sdl.drivers.http import HttpReply
from sdl.errors import BadReply, Busy, NotApplied, Unreachable
from sdl.types import Reading

NAMES = ("415nm", "445nm", "480nm", "515nm", "555nm", "590nm", "630nm", "680nm", "clear", "nir")
FULL_SCALE = 65535
SAME = 1e-9  # how far the echoed settings may differ from what was asked and still be the same


def reading(answer: HttpReply, requested: Mapping[str, float]) -> Reading:
    """Parse the reading in a reply.

    Args:
        answer: what the server sent.
        requested: the settings it was asked for, in the order in which it echoes them.

    Returns:
        All channels, counts. `fault` is `not-applied` where the server measured at other settings.

    Raises:
        BadReply: it cannot be a reading.
        NotApplied: it does not say which settings were applied.
        Busy: the server is.
        Unreachable: a web server answers, the instrument behind it does not.
    """
    _check_status(answer)
    start = answer.body[:60]
    try:
        reply = json.loads(answer.body.decode(), parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"the answer is not the JSON of a reading ({error}): {start!r}") from error
    out = reply.get("out") if isinstance(reply, dict) else None
    if not isinstance(out, dict):
        raise BadReply(f"the answer holds no readings: {start!r}")
    readings = {name: _count(name, out) for name in NAMES}
    applied = _applied(reply.get("in"), requested)
    return Reading(
        applied=applied,
        readings=readings,
        saturated=tuple(name for name, count in readings.items() if count >= FULL_SCALE),
        fault="not-applied" if any(abs(applied[name] - requested[name]) > SAME for name in requested) else None,
    )


def _check_status(answer: HttpReply) -> None:
    status = answer.status
    if status == 200:
        return
    if 300 <= status < 400:
        raise BadReply(
            f"status {status}: it sends us on to {answer.location[:200]!r}; correct the url", retryable=False
        )
    if status in (429, 503):
        raise Busy(f"status {status}: too busy to answer", maybe_measured=True)
    if status in (502, 504):
        raise Unreachable(f"status {status}: the instrument behind the web server is silent", maybe_measured=True)
    if status == 500:
        raise BadReply("status 500: the server failed to measure; it does not say why, and its light may be on")
    if 400 <= status < 500:
        raise BadReply(f"status {status}: no such page, or not for us; check the url", retryable=False)
    raise BadReply(f"status {status} is not an answer to a reading")


def _count(name: str, out: Mapping[str, Any]) -> float:
    """A whole number of counts; JSON also writes it 12.0."""
    if name not in out:
        raise BadReply(f"channel {name} is missing")
    value = out[name]
    if not _is_number(value) or not 0 <= value <= FULL_SCALE or value % 1:
        raise BadReply(f"channel {name} = {str(value)[:40]!r} is not a whole number from 0 to {FULL_SCALE}")
    return int(value)


def _applied(echo: Any, requested: Mapping[str, float]) -> dict[str, float]:
    whole = isinstance(echo, list) and len(echo) == len(requested)
    if not whole or not all(_is_number(value) and 0 <= value <= 1 for value in echo):
        raise NotApplied(f"the answer does not say which settings were applied: in = {str(echo)[:80]}")
    return {name: float(value) for name, value in zip(requested, echo, strict=True)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a name appears twice")
    return keys
