"""The story of a campaign in text: the deviation of each channel of the goal by trial, in units of the tolerance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from sdl.core.goal import Goal
    from sdl.core.trials import Trial

SYMBOLS, PLAIN = "●■▲◆▼○□△", "os^dvp+x"
"""One for each channel, and their substitutes on terminals without such characters."""
COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red", "bright_cyan", "bright_green")
SEVERAL = "#"
"""Stands where several channels fall into the same place."""
MARGIN = 8  # columns of the labels
LEAST_COLUMNS = 20


def story(trials: Sequence[Trial], goal: Goal | None, columns: int, rows: int, *, symbols: bool = True) -> list[Text]:
    """A chart of the latest trials above a line with the symbols of the channels.

    The rows in the middle are the band within which a channel is within tolerance; those beyond it grow by a constant
    factor. A trial is drawn with the mean of its readings.

    Args:
        trials: all, oldest first.
        goal: None where readings are only collected.
        columns: width of the chart with its labels.
        rows: an odd number of lines, apart from the one with the symbols.
        symbols: whether the terminal has more than ASCII.

    Returns:
        The lines; none without a target or limit, without a reading, or if the chart would not fit.
    """
    from rich.text import Text

    bands = {} if goal is None else {name: band for name, band in goal.bands.items() if band.direction is None}
    names = list(bands)[: len(SYMBOLS)]
    measured = [trial for trial in trials if trial.readings]
    if not names or not measured or columns < LEAST_COLUMNS:
        return []
    room = columns - MARGIN
    wide = next((n for n in (len(names) + 1, 2) if n * len(measured) <= room), 1)  # with a column for each channel
    means = [trial.mean for trial in measured[-(room // wide) :]]
    values = [[bands[name].deviation(mean.get(name, math.nan)) for name in names] for mean in means]
    finite = [abs(value) for row in values for value in row if math.isfinite(value)]
    top = _round_up(max([*finite, 2.0]))
    inside = 3 if rows >= 9 else 1  # rows of the band
    beyond = (rows - inside) // 2
    cells: dict[tuple[int, int], int] = {}  # by row, upwards from the goal, and column: the channel; -1: several
    for column, row in enumerate(values):
        for channel, value in enumerate(row):
            if math.isfinite(value):
                apart = channel if wide > len(names) else 0
                place = _row(value, top, inside, beyond), column * wide + apart
                cells[place] = channel if place not in cells else -1
    labels = _labels(top, inside, beyond, minus="−" if symbols else "-")
    marks, blank = (SYMBOLS, "·") if symbols else (PLAIN, ".")
    lines = []
    for level in range(rows // 2, -(rows // 2) - 1, -1):
        line = Text(f"{labels.get(level, ''):>6} |", no_wrap=True, overflow="crop")
        for column in range(len(values) * wide):
            here = cells.get((level, column))
            if here is None:
                line.append(blank if abs(level) <= inside // 2 else " ", style="dim")
            else:
                mark, colour = (SEVERAL, "bold") if here < 0 else (marks[here], COLOURS[here])
                line.append(mark, style=colour)
        lines.append(line)
    return [*lines, _legend(names, marks, several=-1 in cells.values())]


def _row(value: float, top: float, inside: int, beyond: int) -> int:
    """The row of a deviation, 0 at the goal."""
    size, half = abs(value), inside // 2
    if size <= 1.0:
        level = min(int(size * inside / 2 + 0.5), half)
    else:
        level = half + min(max(math.ceil(math.log(size) / math.log(top) * beyond), 1), beyond)
    return round(math.copysign(level, value))


def _labels(top: float, inside: int, beyond: int, minus: str) -> dict[int, str]:
    """The largest deviation of the outermost rows and of the band."""
    half = inside // 2
    ends = {half + beyond: f"{top:g}"} | ({half: "1"} if half else {})
    labels = {sign * level: f"{mark}{text}" for level, text in ends.items() for sign, mark in ((1, "+"), (-1, minus))}
    return labels | {0: "0" if half else ("±1" if minus != "-" else "+-1")}


def _legend(names: Sequence[str], marks: str, *, several: bool) -> Text:
    from rich.text import Text

    line = Text(" " * MARGIN, no_wrap=True, overflow="ellipsis")
    for mark, colour, name in zip(marks, COLOURS, names, strict=False):
        line.append(mark, style=colour)
        line.append(f" {name}  ")
    line.append(f"{SEVERAL} several  " if several else "")
    line.append("(reading - goal, in tolerances, by trial)", style="dim")
    return line


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 …"""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * part for part in itertools.chain((1, 2, 5), itertools.repeat(10)) if power * part >= value)
