"""The live table with a picture above it: how the error went, and the settings that are tried now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdl.cli.display.live_view import LiveTable
from sdl.cli.display.text import settings, times, visible
from sdl.core.events import Event, Opened

if TYPE_CHECKING:
    from rich.text import Text

    from sdl.core.campaign import Campaign

ENDING = 9
"""Lines that the end of a run takes below the picture, so that both stay on one screen."""

BLOCKS, PLAIN = " ▁▂▃▄▅▆▇█", " ..::--=#"
"""A bar's eighths, and for terminals that cannot spell them."""


class TrendTable(LiveTable):
    """The live table with the error's trend and the latest settings' colour above it."""

    def __call__(self, event: Event, campaign: Campaign) -> None:
        if isinstance(event, Opened):  # also for `manual`: nobody types here
            self._campaign = campaign
            self._trials.take(event, campaign)
            return
        super().__call__(event, campaign)

    def _rows(self, room: int) -> int:
        stopped = self._campaign is not None and self._campaign.history.outcome is not None
        return max(room - ENDING, 3) if self._ended and stopped else max(room, 2)

    def _above(self, campaign: Campaign, columns: int, *, colour: bool) -> list[Text]:
        from rich.text import Text

        from sdl.cli.display.table import swatch

        opened, shown = self._trials.opened, self._trials.shown
        if opened is None or not shown:
            return []
        asked = " ".join(f"{name} {text}" for name, text in settings(shown[-1].settings, opened).items())
        word = "now" if campaign.history.outcome is None else "last"
        line = Text(visible(f"{word} at {asked} "), no_wrap=True, overflow="crop")
        tint = swatch(shown[-1].settings, opened)
        if colour and tint:
            line.append("█" * max(min(columns - len(line.plain), 24), 0), style=tint)
        misses = [trial.miss for trial in shown if math.isfinite(trial.miss)]
        rows = 1 if self._console.height < 20 else 3 if self._console.height < 36 else 8
        spelled = (getattr(self._console.file, "encoding", None) or "").lower().replace("-", "").startswith("utf")
        return [*(Text(text, no_wrap=True, overflow="crop") for text in chart(misses, columns, rows, spelled)), line]


def chart(misses: Sequence[float], columns: int, rows: int, spelled: bool = True) -> list[str]:
    """The errors in tolerances as bars on a logarithmic scale, the last at the right; `1x |` marks the tolerance.

    Args:
        misses: finite, of each trial.
        columns: of the terminal.
        rows: lines of the chart.
        spelled: whether the terminal knows block characters.
    """
    if not misses or columns < 20:
        return []
    room = columns - 8
    per = -(-len(misses) // room)  # trials a bar; the best of them is drawn
    logs = [math.log10(max(min(misses[i : i + per]), 0.01)) for i in range(0, len(misses), per)]
    low, high = min([*logs, -0.5]) - 0.1, max([*logs, 0.5])
    blocks = BLOCKS if spelled else PLAIN
    wide = min(max(room // len(logs), 1), 3)
    heights = [max(1, round((value - low) / (high - low) * rows * 8)) for value in logs]
    inside = min(int((0 - low) / (high - low) * rows), rows - 1)
    lines = []
    for level in reversed(range(rows)):
        label = "1x" if level == inside else times(10**high) if level == rows - 1 else ""
        bars = "".join(blocks[min(max(height - 8 * level, 0), 8)] * wide for height in heights)
        lines.append(f"{label:>6} |"[:8] + bars if label else " " * 7 + "|" + bars)
    return lines
