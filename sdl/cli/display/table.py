"""The trials as a table that fits any terminal: less important columns are cut or left out, numbers are never cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdl import formatting
from sdl.core.trials import TrialState
from sdl.formatting import percent, ratio, readings, settings, trial_remarks, truncate, visible

if TYPE_CHECKING:
    from rich.text import Text

    from sdl.core.campaign import Plan
    from sdl.core.events import Opened
    from sdl.core.trials import Trial
    from sdl.types import Settings


SWATCH = "██"  # shows the colour of the settings; half of it where space is scarce

STATE_STYLES = {TrialState.REACHED: "bold green", TrialState.FAILED: "red"}


@dataclass
class TableColumn:
    """One column: title, cells, their styles (none if empty), alignment to the right, and width in characters."""

    title: str
    cells: list[str]
    styles: list[str] = field(default_factory=list)
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

    table = _fitted(_columns(trials, opened, plan, colour=colour), columns)
    lines = [Text(" ".join(_cell(c, c.title) for c in table), style="dim", no_wrap=True, overflow="crop")]
    for row in range(len(trials)):
        line = Text(no_wrap=True, overflow="crop")
        for i, column in enumerate(table):
            line.append(" " if i else "")
            line.append(_cell(column, column.cells[row]), style=column.styles[row] if column.styles else "")
        line.rstrip()
        lines.append(line)
    return lines


def _columns(trials: Sequence[Trial], opened: Opened, plan: Plan, *, colour: bool) -> dict[str, TableColumn]:
    """All columns by key, in order; those of a goal only where there is one."""
    goal, instrument = plan.goal, opened.instrument
    swatches = [swatch(t.settings, opened) for t in trials] if colour else []
    setting_texts = [settings(t.settings, opened) for t in trials]
    judgements = ["" if not t.judged else "green" if t.miss <= 1 else "red" for t in trials]

    def judged(title: str, cell: Callable[[Trial], str]) -> TableColumn:
        return TableColumn(title, [cell(t) if t.judged else "" for t in trials], judgements)

    table = {
        "trial": TableColumn("trial", [str(t.trial) for t in trials]),
        "by": TableColumn("by", [t.proposed.by for t in trials], right=False),
    }
    if any(swatches):
        table["swatch"] = TableColumn("", [SWATCH if c else "" for c in swatches], swatches)
    for item in instrument["inputs"]:
        name = str(item["name"])
        table[f"input {name}"] = TableColumn(name, [texts[name] for texts in setting_texts])
    for name in goal.channels if goal else [str(item["name"]) for item in instrument["channels"]]:
        texts = iter(readings([t.mean[name] for t in trials if name in t.mean], goal.bands[name] if goal else None))
        table[f"channel {name}"] = TableColumn(name, [next(texts) if name in t.mean else "…" for t in trials])
    if goal is not None and goal.limited:
        table["worst"] = judged("worst", lambda t: t.worst)
        if goal.objective is None:
            table["error"] = judged("error", _error)
        table["tol"] = judged("× tol.", lambda t: ratio(t.miss))
    remarks, styles = (
        ["; ".join(trial_remarks(t, plan)) for t in trials],
        [STATE_STYLES.get(t.state, "") for t in trials],
    )
    return table | {"remarks": TableColumn("", remarks, styles, right=False)}


def _error(trial: Trial) -> str:
    """Error of the worst channel in per cent; empty where its target is 0."""
    return percent(trial.worst_error) if trial.worst_error is not None else ""


def _fitted(table: dict[str, TableColumn], columns: int) -> list[TableColumn]:
    """The columns that fit; the least important ones are cut or left out first."""
    channels = [key for key in table if key.startswith("channel")]
    inputs = [key for key in table if key.startswith("input")]
    steps: list[tuple[str, int]] = [
        *(("remarks", 16), ("by", 6), ("remarks", 7), ("swatch", 1), ("swatch", 0), ("worst", 0), ("by", 0)),
        *((key, 0) for key in channels[:2:-1]),
        *(("error", 0), ("remarks", 0)),
        *((key, 0) for key in [*channels[2::-1], *inputs[::-1], "tol"]),
    ]
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
            table.pop("more", None)
            keys = list(table)
            last = max(keys.index(k) for k in keys if k == "trial" or k.startswith(("input", "channel")))
            more = {"more": TableColumn(f"+{left_out}", [""] * len(table["trial"].cells))}
            columns_after = {k: table[k] for k in keys[last + 1 :]}
            table = {k: table[k] for k in keys[: last + 1]} | more | columns_after
    return list(table.values())


def _cell(column: TableColumn, text: str) -> str:
    if text == SWATCH:
        text = text[: column.width]
    text = truncate(text, column.width)
    return text.rjust(column.width) if column.right else text.ljust(column.width)


def swatch(settings: Settings, opened: Opened) -> str:
    """The colour of an R, G, B setting, the same as on a page; empty for other inputs."""
    rgb = formatting.swatch(settings, opened.instrument["inputs"])
    return f"rgb({rgb[0]},{rgb[1]},{rgb[2]})" if rgb else ""
