"""Statistics of a lab's starts, folded from its events: counts per job and a text chart of the days."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sdl.lab.core.events import Died, Due, Ended, GaveUp, LabEvent, Missed, Started
from sdl.lab.workers.base import WorkerUpdate

CELLS, HALF_HOUR = 48, 1800.0  # cells per day in the chart; seconds per cell
SYMBOLS = {"given up": "+", "missed": "x", "ended": "o", "reached": "#", "running": "-"}
"""Symbols of a cell, most important first; a dot if nothing happened."""
LEGEND = "# reached   o ended otherwise   - running or paused   x missed   + given up   . nothing"


@dataclass
class JobUsage:
    """Statistics of the starts of one job.

    Attributes:
        ran: number that began.
        outcomes: number that ended, by outcome.
        missed: number missed, by cause without numbers.
        late: longest delay of a start that began, seconds.
        spans: (begin, end) of each use of the instrument.
        marks: (time, key of SYMBOLS) of each end.
    """

    due: int = 0
    ran: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    gave_up: int = 0
    died: int = 0
    readings: int = 0
    late: float = 0.0
    spans: list[tuple[float, float]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)


class Usage:
    """The statistics of all jobs; a listener of a loop, or fed with a journal."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobUsage] = {}
        self.pauses: Counter[str] = Counter()
        self._starts: dict[int, tuple[JobUsage, float]] = {}
        self._begun: dict[int, float] = {}

    @property
    def open(self) -> int:
        return len(self._starts)

    def handle(self, event: LabEvent) -> None:
        if isinstance(event, Due):
            self._starts[event.start] = self.jobs.setdefault(event.job, JobUsage()), event.due
        if not isinstance(event, (Due, Started, Ended, Died, Missed, GaveUp)):
            return
        usage, due = self._starts[event.start]
        match event:
            case Due():
                usage.due += 1
            case Started():
                self._begun[event.start] = event.at
                if event.attempt == 0:
                    usage.ran += 1
                    usage.late = max(usage.late, event.at - due)
            case Ended():
                usage.outcomes[event.outcome] += 1
                usage.readings += event.readings
                self._end(event.start, event.at, "reached" if event.outcome in ("reached", "done") else "ended")
            case Died():
                usage.died += 1
                usage.spans.append((self._begun.pop(event.start), event.at))
            case Missed():
                usage.missed[generic_cause(event.cause)] += 1
                self._end(event.start, due, "missed")
            case GaveUp():
                usage.gave_up += 1
                self._end(event.start, event.at, "given up")

    def update(self, item: WorkerUpdate) -> None:
        """Count a pause by its cause."""
        if item.what == "paused":
            self.pauses[generic_cause(item.text)] += 1

    def tick(self, now: float) -> None:
        """Nothing."""

    def _end(self, start: int, at: float, what: str) -> None:
        usage, _ = self._starts.pop(start)
        if start in self._begun:
            usage.spans.append((self._begun.pop(start), at))
        usage.marks.append((at, what))

    def chart(self, job: str, zone: ZoneInfo, begin: float, end: float) -> Iterator[tuple[str, str]]:
        """One line per day: the date, and a symbol per half hour of local time."""
        usage = self.jobs.get(job, JobUsage())
        marks = list(usage.marks)
        for low, high in usage.spans:
            steps = int((high - low) // HALF_HOUR) + 1
            marks += [(at, "running") for at in (*(low + n * HALF_HOUR for n in range(steps)), high)]
        cells: dict[tuple[date, int], set[str]] = {}
        for at, what in marks:
            cells.setdefault(_cell(at, zone), set()).add(what)
        day, last = _cell(begin, zone)[0], _cell(end - 1e-6, zone)[0]
        while day <= last:
            row = (cells.get((day, n), set()) for n in range(CELLS))
            symbols = (next((text for what, text in SYMBOLS.items() if what in cell), ".") for cell in row)
            yield day.strftime("%a %d %b"), "".join(symbols)
            day += timedelta(days=1)


def _cell(at: float, zone: ZoneInfo) -> tuple[date, int]:
    wall = datetime.fromtimestamp(at, zone)
    return wall.date(), (wall.hour * 60 + wall.minute) // 30


def generic_cause(text: str) -> str:
    """A cause without its numbers, for counting."""
    for pattern, replacement in (
        (r"\bthe later start \d+", "a later one"),
        (r"\bstart \d+", "another start"),
        (r"\b\d+ readings in", "readings in"),
        (r"\blate by [^(]*", "late "),
        (r"\breads [\d.]+", "is"),
    ):
        text = re.sub(pattern, replacement, text)
    return text
