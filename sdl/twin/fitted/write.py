"""A fitted twin as the text of its TOML file, which gives the same twin back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from sdl.twin.fitted.state import FittedState
from sdl.twin.tomlfile import toml_comments, toml_items, toml_key, toml_value


def toml(state: FittedState, comments: Iterable[str] = ()) -> str:
    """The text of the TOML file; `comments` are lines at its top."""
    tree = state.model_dump(mode="python", exclude_none=True)
    start, rows, correlation = tree.pop("start"), tree.pop("rows"), tree.pop("correlation")
    tables = {name: tree.pop(name) for name in ("off", "inputs", "channels") if name in tree}
    kind, about, *rest = toml_items(tree, _number)
    lines = [*toml_comments(comments), kind, about, f"start = {start.isoformat()}", *rest]
    if correlation:
        lines += [f"correlation = {_block(correlation)}"]
    channels = tables.pop("channels")
    for name, table in tables.items():
        lines += ["", f"[{name}]", *toml_items(table, _number)]
    for name, table in channels.items():
        lines += ["", f"[channels.{toml_key(name)}]", *toml_items(table, _number)]
    lines += ["", "[rows]", f"columns = {toml_value(rows['columns'])}", f"values = {_block(rows['values'])}"]
    return "\n".join(lines) + "\n"


def _block(rows: Iterable[Any]) -> str:
    """Rows, each on a line of its own."""
    return "[\n" + "".join(f"  {toml_value(row, _number)},\n" for row in rows) + "]"


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "nan"
