"""Parse replies of the Claude-Light server, every number checked.

An error here is found after the request reached the server, so the instrument may have measured.
"""

from __future__ import annotations

from collections.abc import Mapping

from sdl.drivers import strict_json
from sdl.drivers.http import HttpReply
from sdl.drivers.lamp import FULL_SCALE, counts
from sdl.errors import BadReply, Busy, NotApplied, Unreachable
from sdl.types import Reading, is_number

NAMES = ("415nm", "445nm", "480nm", "515nm", "555nm", "590nm", "630nm", "680nm", "clear", "nir")
SAME = 1e-9  # largest difference between equal settings, as requested and as echoed


def reading(answer: HttpReply, requested: Mapping[str, float]) -> Reading:
    """Parse the reading in a reply.

    `requested` are the settings in the order in which the server echoes them.

    Returns:
        All channels, in counts. `fault` is `not-applied` if the server measured at other settings.

    Raises:
        BadReply: it is not a reading.
        NotApplied: it does not state the applied settings.
        Busy: the server is busy.
        Unreachable: the web server replies, but not the instrument behind it.
    """
    _check_status(answer)
    start = answer.body[:60]
    try:
        reply = strict_json.loads(answer.body.decode())
    except (ValueError, RecursionError) as error:
        raise BadReply(f"the answer is not the JSON of a reading ({error}): {start!r}") from error
    out = reply.get("out") if isinstance(reply, dict) else None
    if not isinstance(out, dict):
        raise BadReply(f"the answer holds no readings: {start!r}")
    readings = counts(out, NAMES)
    echo = reply.get("in")
    if (
        not isinstance(echo, list)
        or len(echo) != len(requested)
        or not all(is_number(value) and 0 <= value <= 1 for value in echo)
    ):
        raise NotApplied(f"the answer does not say which settings were applied: in = {str(echo)[:80]}")
    applied = {name: float(value) for name, value in zip(requested, echo, strict=True)}
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
        raise BadReply(f"status {status}: it redirects to {answer.location[:200]!r}; correct the url", retryable=False)
    if status in (429, 503):
        raise Busy(f"status {status}: too busy to answer", maybe_measured=True)
    if status in (502, 504):
        raise Unreachable(f"status {status}: the instrument behind the web server does not answer", maybe_measured=True)
    if status == 500:
        raise BadReply("status 500: the server failed to measure; it does not say why, and its light may be on")
    if 400 <= status < 500:
        raise BadReply(f"status {status}: no such page, or access denied; check the url", retryable=False)
    raise BadReply(f"status {status} is not an answer to a reading")
