"""A fitted twin as the text of its TOML file, which gives the same twin back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sdl.twin.fitted.state import FittedState


def toml(state: FittedState, comments: Iterable[str] = ()) -> str:
    """The text of the TOML file; `comments` are lines at its top."""
    tree = state.model_dump(mode="python", exclude_none=True)
    start, rows, correlation = tree.pop("start"), tree.pop("rows"), tree.pop("correlation")
    tables = {name: tree.pop(name) for name in ("off", "inputs", "channels") if name in tree}
    lines = [f"# {line}".rstrip() for line in comments]
    lines += [f"{key} = {_value(value)}" for key, value in tree.items()]
    lines.insert(len(lines) - len(tree) + 2, f"start = {start.isoformat()}")
    if correlation:
        lines += [f"correlation = {_block(correlation)}"]
    for name, table in tables.items():
        if name == "channels":
            for channel, options in table.items():
                lines += ["", f"[channels.{_key(channel)}]", *_items(options)]
        else:
            lines += ["", f"[{name}]", *_items(table)]
    lines += ["", "[rows]", f"columns = {_value(rows['columns'])}", f"values = {_block(rows['values'])}"]
    return "\n".join(lines) + "\n"


def _items(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in table.items()]


def _block(rows: Iterable[Any]) -> str:
    """Rows, each on a line of its own."""
    return "[\n" + "".join(f"  {_value(row)},\n" for row in rows) + "]"


def _key(name: str) -> str:
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if plain else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_items(value)) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "nan"
    return json.dumps(value, ensure_ascii=False)
