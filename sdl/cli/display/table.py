"""The trials as a table that fits any terminal: less important columns are cut or left out, numbers are never cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdl.core.trials import TrialState
from sdl.formatting import percent, ratio, readings, settings, trial_remarks, visible

if TYPE_CHECKING:
    from rich.text import Text

    from sdl.core.campaign import Plan
    from sdl.core.events import Opened
    from sdl.core.goal import Goal
    from sdl.core.trials import Trial


SWATCH = "██"
"""Shows the colour of the settings; half of it where space is scarce."""

STATE_STYLES = {TrialState.REACHED: "bold green", TrialState.FAILED: "red"}


@dataclass
class TableColumn:
    """One column: title, cells and their styles.

    Attributes:
        right: whether its text is aligned to the right.
        width: characters.
    """

    title: str
    cells: list[str]
    styles: list[str]
    right: bool = True
    width: int = 0

    def __post_init__(self) -> None:
        self.title, self.cells = visible(self.title), [visible(text) for text in self.cells]
        self.width = max(map(len, [self.title, *self.cells]))


def trial_table(
    trials: Sequence[Trial], opened: Opened, plan: Plan, columns: int, *, colour: bool = True
) -> list[Text]:
    """The lines of the table, its head first, none longer than `columns`."""
    from rich.text import Text

    table = _fitted(_Columns(trials, opened, plan).shown(colour=colour), columns)
    lines = [Text(" ".join(_cell(c, c.title) for c in table), style="dim", no_wrap=True, overflow="crop")]
    for row in range(len(trials)):
        line = Text(no_wrap=True, overflow="crop")
        for i, column in enumerate(table):
            line.append(" " if i else "")
            line.append(_cell(column, column.cells[row]), style=column.styles[row])
        line.rstrip()
        lines.append(line)
    return lines


class _Columns:
    """Builders of the columns, each by its key."""

    def __init__(self, trials: Sequence[Trial], opened: Opened, plan: Plan) -> None:
        self._trials, self._opened, self._plan = trials, opened, plan
        self._plain = [""] * len(trials)
        self._judged = ["" if not t.judged else "green" if t.miss <= 1 else "red" for t in trials]

    def shown(self, *, colour: bool) -> dict[str, TableColumn]:
        """All columns, in order; those of a goal only where there is one."""
        goal, instrument = self._plan.goal, self._opened.instrument
        swatches = [swatch(t.settings, self._opened) for t in self._trials] if colour else []
        inputs = [str(item["name"]) for item in instrument["inputs"]]
        channels = list(goal.channels) if goal else [str(item["name"]) for item in instrument["channels"]]
        builders: list[tuple[str, bool, Callable[[], TableColumn]]] = [
            ("trial", True, lambda: self._text("trial", [str(t.trial) for t in self._trials])),
            ("by", True, lambda: self._text("by", [t.proposed.by for t in self._trials], right=False)),
            ("swatch", any(swatches), lambda: TableColumn("", [SWATCH if c else "" for c in swatches], swatches)),
            *((f"input {name}", True, lambda name=name: self._input(name)) for name in inputs),
            *((f"channel {name}", True, lambda name=name: self._channel(name, goal)) for name in channels),
            ("worst", goal is not None, lambda: self._judgement("worst", lambda t: t.worst)),
            ("error", goal is not None, lambda: self._judgement("error", _error)),
            ("tol", goal is not None, lambda: self._judgement("× tol.", lambda t: ratio(t.miss))),
            ("remarks", True, self._remarks),
        ]
        return {key: build() for key, wanted, build in builders if wanted}

    def _text(self, title: str, cells: list[str], *, right: bool = True) -> TableColumn:
        return TableColumn(title, cells, self._plain, right=right)

    def _input(self, name: str) -> TableColumn:
        return self._text(name, [settings({name: t.settings[name]}, self._opened)[name] for t in self._trials])

    def _channel(self, name: str, goal: Goal | None) -> TableColumn:
        measured = [t.mean[name] for t in self._trials if name in t.mean]
        texts = iter(readings(measured, goal.bands[name] if goal else None))
        return self._text(name, [next(texts) if name in t.mean else "…" for t in self._trials])

    def _judgement(self, title: str, cell: Callable[[Trial], str]) -> TableColumn:
        """A column that is empty for trials that are not judged."""
        cells = [cell(t) if t.judged else "" for t in self._trials]
        return TableColumn(title, cells, self._judged)

    def _remarks(self) -> TableColumn:
        cells = ["; ".join(trial_remarks(t, self._plan)) for t in self._trials]
        return TableColumn("", cells, [STATE_STYLES.get(t.state, "") for t in self._trials], right=False)


def _error(trial: Trial) -> str:
    """Error of the worst channel in per cent; empty where its target is 0."""
    return percent(trial.worst_error) if trial.worst_error is not None else ""


def _fitted(table: dict[str, TableColumn], columns: int) -> list[TableColumn]:
    """The columns that fit; the least important ones are cut or left out first."""
    channels = [key for key in table if key.startswith("channel")]
    inputs = [key for key in table if key.startswith("input")]
    steps: list[tuple[str, int]] = [
        ("remarks", 16),
        ("by", 6),
        ("remarks", 7),
        ("swatch", 1),
        ("swatch", 0),
        ("worst", 0),
    ]
    steps += [("by", 0)]
    steps += [(key, 0) for key in channels[:2:-1]]
    steps += [("error", 0), ("remarks", 0)]
    steps += [(key, 0) for key in [*channels[2::-1], *inputs[::-1], "tol"]]
    left_out = 0
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
            left_out += 1
            rows = len(table["trial"].cells)
            after = [k for k in table if k.startswith("channel")] or inputs or ["trial"]
            table = _with(table, after[-1], TableColumn(f"+{left_out}", [""] * rows, [""] * rows))
    return list(table.values())


def _with(table: dict[str, TableColumn], after: str, column: TableColumn) -> dict[str, TableColumn]:
    """The table with a column `more` after another, in place of an earlier one."""
    with_column: dict[str, TableColumn] = {}
    for key, old in table.items():
        if key != "more":
            with_column[key] = old
        if key == after:
            with_column["more"] = column
    return with_column


def _cell(column: TableColumn, text: str) -> str:
    if text == SWATCH:
        text = text[: column.width]
    if len(text) > column.width:
        text = text[: column.width - 1] + "…"
    return text.rjust(column.width) if column.right else text.ljust(column.width)


def swatch(settings: Mapping[str, float], opened: Opened) -> str:
    """The colour of an R, G, B setting, the same as on a page; empty for other inputs."""
    from sdl.report import style

    rgb = style.swatch(settings, opened.instrument["inputs"])
    return f"rgb({rgb[0]},{rgb[1]},{rgb[2]})" if rgb else ""
