"""The live table with a chart above it: the error by trial, and the current settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdl.cli.display.live_view import LiveTable
from sdl.core.events import Event, Opened
from sdl.formatting import ratio, settings, visible

if TYPE_CHECKING:
    from rich.text import Text

    from sdl.core.campaign import Campaign

ENDING = 9  # lines that the outcome takes below the chart, so that both fit on one screen

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " ..::--=#"
"""Eighths of a bar, and their substitutes on terminals without block characters."""


class TrendTable(LiveTable):
    """The live table with a chart of the error and the colour of the latest settings above it."""

    def __call__(self, event: Event, campaign: Campaign) -> None:
        if isinstance(event, Opened):  # also for `manual`, since nothing is typed here
            self._take(event, campaign)
            return
        super().__call__(event, campaign)

    def _rows(self, lines: int) -> int:
        stopped = self._campaign is not None and self._campaign.history.outcome is not None
        return max(lines - ENDING, 3) if self._ended and stopped else max(lines, 2)

    def _above(self, campaign: Campaign, columns: int, *, colour: bool) -> list[Text]:
        from rich.text import Text

        from sdl.cli.display.table import swatch

        opened = self._opened
        if opened is None or not self._trials:
            return []
        latest = self._trials[-1].settings
        settings_text = " ".join(f"{name} {text}" for name, text in settings(latest, opened).items())
        word = "now" if campaign.history.outcome is None else "last"
        line = Text(visible(f"{word} at {settings_text} "), no_wrap=True, overflow="crop")
        tint = swatch(latest, opened)
        if colour and tint:
            line.append("█" * max(min(columns - len(line.plain), 24), 0), style=tint)
        objective = campaign.history.optimum is not None  # then ratios say only whether the constraints are kept
        ratios = [] if objective else [trial.miss for trial in self._trials if trial.judged]
        rows = 1 if self._console.height < 20 else 3 if self._console.height < 36 else 8
        blocks = (getattr(self._console.file, "encoding", None) or "").lower().replace("-", "").startswith("utf")
        return [
            *(Text(text, no_wrap=True, overflow="crop") for text in chart(ratios, columns, rows, blocks=blocks)),
            line,
        ]


def chart(ratios: Sequence[float], columns: int, rows: int, *, blocks: bool = True) -> list[str]:
    """Tolerance ratios as bars on a logarithmic scale, the latest at the right; `1 |` marks the tolerance.

    Ratios must be finite. The chart has `rows` lines of at most `columns` characters, without `blocks` in ASCII.
    """
    if not ratios or columns < 20:
        return []
    width = columns - 8
    per_bar = -(-len(ratios) // width)  # the best of these trials is drawn
    logs = [math.log10(max(min(ratios[i : i + per_bar]), 0.01)) for i in range(0, len(ratios), per_bar)]
    low, high = min([*logs, -0.5]) - 0.1, max([*logs, 0.5])
    symbols = BLOCKS if blocks else PLAIN
    bar_width = min(max(width // len(logs), 1), 3)
    heights = [max(1, round((value - low) / (high - low) * rows * 8)) for value in logs]
    tolerance_row = min(int((0 - low) / (high - low) * rows), rows - 1)
    lines = []
    for level in reversed(range(rows)):
        label = "1" if level == tolerance_row else ratio(10**high) if level == rows - 1 else ""
        bars = "".join(symbols[min(max(height - 8 * level, 0), 8)] * bar_width for height in heights)
        lines.append(f"{label:>6} |"[:8] + bars if label else " " * 7 + "|" + bars)
    return lines
