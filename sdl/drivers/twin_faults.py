"""What a faulty twin does in the process: the same outcomes as over a wire, without the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from sdl.clock import Clock
from sdl.errors import BadReply, Busy, Unreachable
from sdl.twin.faults import BLINDING, BUSY_LIMIT, PATIENCE, Fault, spoil
from sdl.types import Reading

CONNECT = 0.05
"""Seconds until a connection is refused or breaks."""
LOST = {
    "truncated": "the answer breaks off",
    "not-json": "the answer is not JSON",
}


def before(faults: Sequence[Fault], clock: Clock) -> None:
    """What happens before the light goes on.

    Raises:
        Unreachable, Busy: there is no measurement.
    """
    for fault in faults:
        if fault.name == "clock-jump":
            clock.sleep(fault.duration)
        elif fault.name in ("refused", "reset-before"):
            clock.sleep(CONNECT)
            # Whoever sees a connection break cannot know how far the other side had got.
            word, unknown = ("refused", False) if fault.name == "refused" else ("reset", True)
            raise Unreachable(f"the twin {word} the connection (fault {fault.name})", maybe_measured=unknown)
        elif fault.name == "busy":
            clock.sleep(min(fault.duration, BUSY_LIMIT))
            if fault.duration >= BUSY_LIMIT:
                raise Busy(f"somebody else uses the twin, for {fault.duration:g} s (fault busy)")


def lights(faults: Sequence[Fault], settings: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float], float]:
    """What the instrument says it applied, what light there really is, and how much brighter the room is."""
    applied, brighter = dict(settings), 0.0
    for fault in faults:
        if fault.name == "clamp":
            applied = {name: min(value, fault.amount) for name, value in applied.items()}
        elif fault.name == "light-step":
            brighter += fault.amount
        elif fault.name == "saturating-light":
            brighter += BLINDING
    dead = [fault.input for fault in faults if fault.name == "dead-led"]
    light = {name: 0.0 if name in dead or None in dead else value for name, value in applied.items()}
    return applied, light, brighter


def after(faults: Sequence[Fault], reading: Reading, last: Reading | None, full: float, clock: Clock) -> Reading:
    """What becomes of the reading on its way back.

    Args:
        faults: in the order of the plan.
        reading: what the sensor saw.
        last: the reading before it, for a frozen sensor.
        full: full scale, counts.
        clock: for answers that are late.

    Raises:
        Unreachable: no answer, though it measured.
        BadReply: an answer that is no reading.
    """
    out: dict[str, Any] = dict(reading.readings)
    for fault in faults:
        match fault.name:
            case "reset-after":
                _lose("broke the connection", fault)
            case "time-out":
                clock.sleep(fault.duration)
                _lose(f"did not answer within {fault.duration:g} s", fault)
            case "slow-drip":
                clock.sleep(min(fault.duration, PATIENCE))
                if fault.duration >= PATIENCE:
                    _lose(f"had not answered in full after {PATIENCE:g} s", fault)
            case "truncated" | "not-json":
                raise BadReply(f"{LOST[fault.name]} (fault {fault.name})")
            case "frozen":
                out = dict((last or reading).readings)
            case _:
                out = spoil(fault, out)
    for name in reading.readings:
        if name not in out:
            raise BadReply(f"channel {name} is missing (fault missing-channel)")
        value = out[name]
        if not isinstance(value, int | float) or not 0 <= value <= full:
            raise BadReply(f"channel {name} = {value!r} is not a whole number from 0 to {full:g}")
    return replace(reading, readings=out, saturated=tuple(name for name, value in out.items() if value >= full))


def _lose(what: str, fault: Fault) -> NoReturn:
    raise Unreachable(f"the twin {what} (fault {fault.name})", maybe_measured=True)
