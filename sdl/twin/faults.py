"""Faults of the twin: one table for the twin in the process and for the served one.

    faults:
      - {name: busy, at: [3], seconds: 20}                  the fourth reading since it was opened
      - {name: null-channel, probability: 0.05}             each reading, by chance
      - {name: light-step, after: 600, lasts: 60}           ten minutes after the start of the twin's time

Chance comes from stream 3 of the seed, so that the same plan gives the same faults.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, model_validator

from sdl.types import Frozen

STREAM = 3  # the faults' place in `default_rng([seed, stream, n])`

Name = Literal[
    "busy",
    "refused",
    "reset-before",
    "reset-after",
    "time-out",
    "slow-drip",
    "html-500",
    "truncated",
    "not-json",
    "missing-channel",
    "null-channel",
    "nan-channel",
    "negative-channel",
    "text-channel",
    "huge-channel",
    "clamp",
    "swapped-channels",
    "frozen",
    "dead-led",
    "light-step",
    "saturating-light",
    "clock-jump",
]


class Meaning(NamedTuple):
    """A row of the table of faults.

    Attributes:
        does: what happens to the reading.
        outcome: outcome of a campaign on the twin.
        uses: the options `channel`, `other` and `input` that it reads.
        seconds: default of the option; None: it has none.
        size: default of the option; None: it has none.
    """

    does: str
    outcome: str
    uses: tuple[str, ...] = ()
    seconds: float | None = None
    size: float | None = None


_LOST = "recovered: Unreachable, may have measured, tried again"
_REFUSED = "recovered: BadReply, tried again"
_NOT_SEEN = "not seen in a reading: no goal is reached (unreachable, spent); `sdl twin check` says so"
_CHANNEL = ("channel",)

# A test compares the twin with every row.
MEANING: Mapping[Name, Meaning] = {
    "busy": Meaning("another user has it for `seconds`", "recovered: later; from 49 s on Busy, tried again", (), 20.0),
    "refused": Meaning("no connection; nothing is measured", "recovered: Unreachable, tried again"),
    "reset-before": Meaning("the connection breaks before the measurement", _LOST),
    "reset-after": Meaning("the connection breaks after the measurement", _LOST),
    "time-out": Meaning("it measures, and no answer comes for `seconds`", _LOST, (), 75.0),
    "slow-drip": Meaning(
        "the answer takes `seconds` to arrive", "recovered: late; from 75 s on Unreachable, tried again", (), 10.0
    ),
    "html-500": Meaning(
        "the sensor fails: an error page after 49 s, the light stays on, and the LED in use until the next request has "
        "failed after 49 s, too",
        "recovered: BadReply twice, tried again",
    ),
    "truncated": Meaning("it measures, the answer breaks off", _REFUSED),
    "not-json": Meaning("it measures, the answer is not JSON", _REFUSED),
    "missing-channel": Meaning("`channel` is left out of the answer", _REFUSED, _CHANNEL),
    "null-channel": Meaning("`channel` is null", _REFUSED, _CHANNEL),
    "nan-channel": Meaning("`channel` is NaN", _REFUSED, _CHANNEL),
    "negative-channel": Meaning("`channel` is -1", _REFUSED, _CHANNEL),
    "text-channel": Meaning("`channel` is a word", _REFUSED, _CHANNEL),
    "huge-channel": Meaning("`channel` is 1e300", _REFUSED, _CHANNEL),
    "clamp": Meaning(
        "no input goes above `size`, and the answer says so",
        "named on the reading (not-applied); used as applied",
        size=0.5,
    ),
    "swapped-channels": Meaning("`channel` and `other` change places", _NOT_SEEN, ("channel", "other")),
    "frozen": Meaning("the sensor repeats its last reading", _NOT_SEEN),
    "dead-led": Meaning(
        "`input` gives no light (all of them, if none is named)",
        "no goal is reached (unreachable, spent); `sdl twin check` says so",
        ("input",),
    ),
    "light-step": Meaning(
        "the room is `size` counts brighter at 515 nm", "learned from newer readings, or from a background", size=3000.0
    ),
    "saturating-light": Meaning(
        "the room is so bright that channels are full", "named on the reading (saturated), which is then a bound"
    ),
    "clock-jump": Meaning(
        "time leaps ahead by `seconds`", "recovered: the times in the record leap", (), seconds=3600.0
    ),
}
NAMES: tuple[Name, ...] = get_args(Name)

# Faults that any instrument may have. A reading of -1 may be a proper one; the others need an LED in a room.
GENERAL: tuple[Name, ...] = tuple(
    name for name in NAMES if name not in ("html-500", "negative-channel", "dead-led", "light-step", "saturating-light")
)

# Values that no sensor gives.
ODD: Mapping[str, Any] = {
    "null-channel": None,
    "nan-channel": math.nan,
    "negative-channel": -1,
    "text-channel": "overflow",
    "huge-channel": 1e300,
}
# How often the real server tries to measure within one request, and the seconds between.
TRIES, PAUSE = 50, 1.0
BUSY_LIMIT = (TRIES - 1) * PAUSE  # seconds after which it gives up
CLIENT_TIMEOUT = 75.0  # seconds after which a client of the real server gives up
BLINDING = 1e6  # counts at 515 nm: brighter than the sensor can tell in any channel


class Fault(Frozen):
    """One fault and when it happens: by `probability`, `at` numbered readings, or from `after` on."""

    name: Name = Field(description="what happens: docs/how-to/twin.md has the table")
    probability: float | None = Field(default=None, gt=0, le=1, description="probability at each reading")
    at: tuple[int, ...] | None = Field(
        default=None, min_length=1, description="numbers of the readings, counted from 0 since the twin was opened"
    )
    after: float | None = Field(default=None, ge=0, description="seconds from the start of the twin's time")
    lasts: float | None = Field(
        default=None, gt=0, description="with `after`: duration in seconds; without end if left out"
    )
    seconds: float | None = Field(
        default=None,
        ge=0,
        le=86400,
        description="how long: busy (20), time-out (75), slow-drip (10), clock-jump (3600)",
    )
    size: float | None = Field(
        default=None, ge=0, description="how much: clamp (highest input, 0.5), light-step (counts at 515 nm, 3000)"
    )
    channel: str = Field(default="515nm", description="which channel")
    other: str = Field(default="630nm", description="the channel it is swapped with")
    input: str | None = Field(default=None, description="dead-led: which input; all if left out")

    @model_validator(mode="after")
    def _one_time(self) -> Fault:
        given = [name for name in ("probability", "at", "after") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{self.name} needs one of probability, at, after; it has {', '.join(given) or 'none'}")
        if self.at is not None and min(self.at) < 0:
            raise ValueError(f"at: readings are counted from 0, not {min(self.at)}")
        if self.lasts is not None and self.after is None:
            raise ValueError("lasts: only with after")
        for option in ("seconds", "size"):
            having = [name for name, meaning in MEANING.items() if getattr(meaning, option) is not None]
            if getattr(self, option) is not None and self.name not in having:
                raise ValueError(f"{option}: {self.name} has none; allowed for {', '.join(having)}")
        if self.name == "clamp" and self.amount > 1:
            raise ValueError(f"size: clamp is a value of the inputs, 0 to 1, not {self.amount:g}")
        return self

    def uses(self, key: str) -> bool:
        """Whether this fault uses `channel`, `other` or `input`."""
        return key in MEANING[self.name].uses

    @property
    def duration(self) -> float:
        return (MEANING[self.name].seconds or 0.0) if self.seconds is None else self.seconds

    @property
    def amount(self) -> float:
        return (MEANING[self.name].size or 0.0) if self.size is None else self.size


def due(plan: Sequence[Fault], seed: int, n: int, time: float, draw: int | None = None) -> list[Fault]:
    """The faults of one reading, in the order of the plan. Pure: the same arguments give the same faults.

    Args:
        plan: the faults that may happen.
        seed: seed of the twin.
        n: number of the reading since the twin was opened, from 0.
        time: seconds since the start of the twin's time.
        draw: seeds the chance; by default the microsecond of `time`, so that a resumed campaign in virtual time meets
            the same faults. In real time pass `n`.
    """
    key = max(round(time * 1e6), 0) if draw is None else draw

    def happens(index: int, fault: Fault) -> bool:
        if fault.at is not None:
            return n in fault.at
        if fault.after is not None:
            return fault.after <= time < fault.after + (math.inf if fault.lasts is None else fault.lasts)
        return _chance(seed, index, key) < (fault.probability or 0.0)

    return [fault for index, fault in enumerate(plan) if happens(index, fault)]


def spoil(fault: Fault, out: Mapping[str, Any]) -> dict[str, Any]:
    """The readings `out` of an answer, changed by a fault of channels; any other fault leaves them unchanged."""
    spoiled = dict(out)
    if fault.name == "missing-channel":
        spoiled.pop(fault.channel, None)
    elif fault.name in ODD:
        spoiled[fault.channel] = ODD[fault.name]
    elif fault.name == "swapped-channels":
        spoiled[fault.channel], spoiled[fault.other] = out[fault.other], out[fault.channel]
    return spoiled


def lights(faults: Sequence[Fault], settings: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float], float]:
    """The settings as reported, the settings with dead inputs at 0, and additional daylight (counts at 515 nm)."""
    applied, brighter = dict(settings), 0.0
    dead: set[str] = set()
    for fault in faults:
        if fault.name == "clamp":
            applied = {name: min(value, fault.amount) for name, value in applied.items()}
        elif fault.name == "light-step":
            brighter += fault.amount
        elif fault.name == "saturating-light":
            brighter += BLINDING
        elif fault.name == "dead-led":
            dead |= {fault.input} if fault.input else applied.keys()
    return applied, applied | dict.fromkeys(dead, 0.0), brighter


def _chance(seed: int, index: int, draw: int) -> float:
    import numpy as np

    return float(np.random.default_rng([seed, STREAM, draw, index]).random())
