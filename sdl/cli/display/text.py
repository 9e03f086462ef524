"""`sdl.formatting`, with the width of the terminal and lines wrapped between words."""

from __future__ import annotations

import shutil
import sys
import textwrap
from datetime import datetime
from zoneinfo import ZoneInfo

from sdl.formatting import (
    CAUSES,
    best_trial,
    cause,
    count,
    display,
    goal_line,
    headline,
    off,
    percent,
    ratio,
    reading,
    readings,
    room,
    setting,
    settings,
    tolerance_ratio,
    trial_remarks,
    units,
    visible,
    worst,
)

__all__ = [
    "CAUSES",
    "best_trial",
    "cause",
    "count",
    "display",
    "goal_line",
    "headline",
    "local",
    "off",
    "percent",
    "ratio",
    "reading",
    "readings",
    "room",
    "say",
    "setting",
    "settings",
    "tolerance_ratio",
    "trial_remarks",
    "units",
    "visible",
    "width",
    "worst",
]


def width() -> int | None:
    """Columns of the terminal on stdout; None where stdout is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(text: str, indent: int = 2) -> None:
    """Print one line; on a terminal wrap it between words and indent the rest."""
    columns, text = width(), visible(text)
    if columns is None or len(text) <= columns:
        print(text)
        return
    for part in textwrap.wrap(
        text, max(columns, 20), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    ):
        print(part)


def local(at: float, zone: ZoneInfo) -> str:
    """A time (s since 1970) in the time zone of a lab."""
    return datetime.fromtimestamp(at, zone).strftime("%a %d %b %H:%M %Z")
