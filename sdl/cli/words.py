"""Numbers, plurals, goals and causes in words: what several views of a campaign say in the same way."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdl.events import Opened
    from sdl.goal import Band, Goal

CAUSES = {
    "Unreachable": "no answer",
    "Busy": "busy",
    "BadReply": "bad reply",
    "Rejected": "refused",
    "NotApplied": "not applied",
    "InstrumentError": "the instrument",
}
"""What the record calls the instrument's failures, and what people are told."""


def count(n: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def cause(error: str) -> str:
    """Why a reading did not come, or a campaign ended, without the names of our classes."""
    return re.sub(rf"\b({'|'.join(CAUSES)}): ", lambda found: f"{CAUSES[found[1]]}: ", error)


def percent(fraction: float) -> str:
    """Three figures: `0.78 %`, `81.0 %`, `251 %`."""
    value = fraction * 100
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} %"


def times(miss: float) -> str:
    """A miss in tolerances: `0.39x`, `40.5x`, `126x`."""
    return f"{miss:.{2 if miss < 9.995 else 1 if miss < 99.95 else 0}f}x"


def headline(opened: Opened) -> str:
    """What it is and on what."""
    return f"{opened.campaign} on {opened.instrument['identity']}{' (simulated)' if opened.simulated else ''}"


def goal_line(goal: Goal | None) -> str:
    """What is wanted."""
    return f"goal: {goal}" if goal else "no goal: readings only"


def worst(goal: Goal, values: Mapping[str, float]) -> str:
    """The channel that is farthest off, by how much, and its own tolerance: `515nm 0.78 % off, tolerance 2 %`."""
    from sdl.runs import worst_channel

    name = worst_channel(goal, values)
    return f"{name} {off(goal.bands[name], values.get(name, math.nan))}"


def off(band: Band, value: float) -> str:
    """How far a reading is from what is wanted, beside the tolerance of that side."""
    if math.isnan(value):
        return "not read"
    if band.target is None:
        if value > band.high:
            return f"reads {value:.0f}, {value - band.high:.0f} above {band.high:g}"
        if value < band.low:
            return f"reads {value:.0f}, {band.low - value:.0f} below {band.low:g}"
        return f"reads {value:.0f}, inside {band}"
    room = band.high - band.target if value > band.target else band.target - band.low
    if band.target == 0:
        return f"{abs(value):.0f} off, tolerance {room:g}"
    scale = abs(band.target)
    return f"{percent(abs(value - band.target) / scale)} off, tolerance {100 * room / scale:.3g} %"


def width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(text: str, indent: int = 2) -> None:
    """Prints one line, on a terminal broken between words, what follows moved in."""
    columns = width()
    if columns is None or len(text) <= columns:
        print(text)
        return
    for part in textwrap.wrap(
        text, max(columns, 20), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    ):
        print(part)
