"""The live table with a chart above it: the deviations by trial, and the current settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdl.cli.display.live_view import LiveTable
from sdl.cli.display.story import story
from sdl.core.events import Event, Opened
from sdl.formatting import settings, visible

if TYPE_CHECKING:
    from rich.text import Text

    from sdl.core.campaign import Campaign

ENDING = 9  # lines that the outcome takes below the chart, so that both fit on one screen


class TrendTable(LiveTable):
    """The live table with a chart of the deviations and the colour of the latest settings above it."""

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
        rows = 3 if self._console.height < 20 else 5 if self._console.height < 36 else 9
        utf = (getattr(self._console.file, "encoding", None) or "").lower().replace("-", "").startswith("utf")
        return [*story(self._trials, campaign.plan.goal, columns, rows, symbols=utf), line]
