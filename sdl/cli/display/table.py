"""The trials as a table that fits any terminal: what matters less is shortened, then left out; numbers never are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdl.cli.display.text import percent, readings, settings, times, visible

if TYPE_CHECKING:
    from rich.text import Text

    from sdl.core.events import Opened
    from sdl.core.goal import Goal


SWATCH = "██"
"""Where a setting's colour is shown; half of it where room is scarce."""


@dataclass
class Shown:
    """One trial as it is shown.

    Attributes:
        values: mean readings so far.
        error, miss: of the worst channel, whose name is `worst`; None and inf while unknown.
        failed: why it has no reading for good.
    """

    trial: int
    by: str
    settings: Mapping[str, float]
    values: dict[str, float] = field(default_factory=dict)
    error: float | None = None
    miss: float = math.inf
    worst: str = ""
    readings: int = 0
    note: str = ""
    failed: str = ""


@dataclass
class TableColumn:
    """One column.

    Attributes:
        least: characters that a column of words may be cut to; 0 where it may not be cut.
    """

    title: str
    cells: list[str]
    styles: list[str]
    right: bool = True
    least: int = 0
    width: int = 0

    def __post_init__(self) -> None:
        self.title, self.cells = visible(self.title), [visible(text) for text in self.cells]
        self.width = max(map(len, [self.title, *self.cells]))


def trial_table(
    trials: Sequence[Shown], opened: Opened, goal: Goal | None, columns: int, *, colour: bool = True
) -> list[Text]:
    """The lines of the table, its head first, none longer than `columns`."""
    from rich.text import Text

    table = _fitted(_columns(trials, opened, goal, colour), columns)
    lines = [Text(" ".join(_cell(c, c.title) for c in table), style="dim", no_wrap=True, overflow="crop")]
    for row in range(len(trials)):
        line = Text(no_wrap=True, overflow="crop")
        for i, column in enumerate(table):
            line.append(" " if i else "")
            line.append(_cell(column, column.cells[row]), style=column.styles[row])
        line.rstrip()
        lines.append(line)
    return lines


def _columns(trials: Sequence[Shown], opened: Opened, goal: Goal | None, colour: bool) -> dict[str, TableColumn]:
    plain = [""] * len(trials)
    inputs = [str(item["name"]) for item in opened.instrument["inputs"]]
    channels = list(goal.channels) if goal else [str(item["name"]) for item in opened.instrument["channels"]]
    judged = ["" if math.isinf(t.miss) else "green" if t.miss <= 1 else "red" for t in trials]
    found = {"trial": TableColumn("trial", [str(t.trial) for t in trials], plain)}
    found["by"] = TableColumn("by", [t.by for t in trials], plain, right=False, least=6)
    colours = [swatch(t.settings, opened) for t in trials]
    if colour and any(colours):
        found["swatch"] = TableColumn("", [SWATCH if c else "" for c in colours], colours)
    asked = [settings(t.settings, opened) for t in trials]
    for name in inputs:
        found[f"input {name}"] = TableColumn(name, [part[name] for part in asked], plain)
    for name in channels:
        came = iter(readings([t.values[name] for t in trials if name in t.values], goal.bands[name] if goal else None))
        cells = [next(came) if name in t.values else "…" for t in trials]
        found[f"channel {name}"] = TableColumn(name, cells, plain)
    if goal:
        known = [not math.isinf(t.miss) for t in trials]
        found["worst"] = TableColumn(
            "worst", [t.worst if k else "" for t, k in zip(trials, known, strict=True)], judged
        )
        cells = [percent(t.error) if k and t.error is not None else "" for t, k in zip(trials, known, strict=True)]
        found["error"] = TableColumn("error", cells, judged)
        found["tol"] = TableColumn(
            "/tol.", [times(t.miss) if k else "" for t, k in zip(trials, known, strict=True)], judged
        )
    notes = ["bold green" if t.note == "reached" else "red" if t.failed else "" for t in trials]
    found["note"] = TableColumn("", [t.note for t in trials], notes, right=False, least=7)
    return found


def _fitted(table: dict[str, TableColumn], columns: int) -> list[TableColumn]:
    """The columns that fit, the rest cut or left out, the least important first."""
    channels = [key for key in table if key.startswith("channel")]
    inputs = [key for key in table if key.startswith("input")]
    steps: list[tuple[str, int]] = [("note", 16), ("by", 6), ("note", 7), ("swatch", 1), ("swatch", 0), ("worst", 0)]
    steps += [("by", 0)]
    steps += [(key, 0) for key in channels[:2:-1]]
    steps += [("error", 0), ("note", 0)]
    steps += [(key, 0) for key in [*channels[2::-1], *inputs[::-1], "tol"]]
    gone = 0
    for key, least in steps:
        excess = sum(c.width + 1 for c in table.values()) - 1 - columns
        if excess <= 0:
            break
        if key not in table:
            continue
        if least:
            table[key].width = max(min(table[key].width, least), table[key].width - excess)
            continue
        del table[key]
        if key in channels:  # say how many more there are
            gone += 1
            rows = len(table["trial"].cells)
            after = [k for k in table if k.startswith("channel")] or inputs or ["trial"]
            table = _with(table, after[-1], TableColumn(f"+{gone}", [""] * rows, [""] * rows))
    return list(table.values())


def _with(table: dict[str, TableColumn], after: str, column: TableColumn) -> dict[str, TableColumn]:
    found: dict[str, TableColumn] = {}
    for key, old in table.items():
        if key != "more":
            found[key] = old
        if key == after:
            found["more"] = column
    return found


def _cell(column: TableColumn, text: str) -> str:
    if text == SWATCH:
        text = text[: column.width]
    if len(text) > column.width:
        text = text[: column.width - 1] + "…"
    return text.rjust(column.width) if column.right else text.ljust(column.width)


def swatch(settings: Mapping[str, float], opened: Opened) -> str:
    """The colour of an R, G, B setting, the same as on a page; empty for other inputs."""
    from sdl.report import style

    seen = style.swatch(settings, opened.instrument["inputs"])
    return f"rgb({seen[0]},{seen[1]},{seen[2]})" if seen else ""
