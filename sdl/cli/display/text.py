"""What a terminal adds to `sdl.formatting`: how wide it is, and lines that break between words."""

from __future__ import annotations

import shutil
import sys
import textwrap
from datetime import datetime
from zoneinfo import ZoneInfo

from sdl.formatting import (
    CAUSES,
    cause,
    count,
    display,
    goal_line,
    headline,
    in_tolerances,
    off,
    percent,
    reading,
    readings,
    room,
    setting,
    settings,
    times,
    units,
    visible,
    worst,
)

__all__ = [
    "CAUSES",
    "cause",
    "count",
    "display",
    "goal_line",
    "headline",
    "in_tolerances",
    "local",
    "off",
    "percent",
    "reading",
    "readings",
    "room",
    "say",
    "setting",
    "settings",
    "times",
    "units",
    "visible",
    "width",
    "worst",
]


def width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(text: str, indent: int = 2) -> None:
    """Prints one line, on a terminal broken between words, what follows moved in."""
    columns, text = width(), visible(text)
    if columns is None or len(text) <= columns:
        print(text)
        return
    for part in textwrap.wrap(
        text, max(columns, 20), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    ):
        print(part)


def local(at: float, zone: ZoneInfo) -> str:
    """A moment (s since 1970) in a lab's time."""
    return datetime.fromtimestamp(at, zone).strftime("%a %d %b %H:%M %Z")
