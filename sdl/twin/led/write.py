"""A state as a TOML file that a campaign can name: `instrument: {kind: twin, state: ./twin.toml}`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sdl.twin.led.state import TwinState

DIGITS = 6  # significant digits: a gain of 60,000 counts to a tenth of a count


def toml(state: TwinState, comments: Iterable[str] = ()) -> str:
    """The text of the TOML file, with numbers of six digits; `comments` are lines at its top."""
    tree = state.model_dump(mode="json", exclude_none=True)
    lines = [f"# {line}".rstrip() for line in comments]
    lines += [f"about = {_value(tree.pop('about'))}", f"start = {tree.pop('start')}"]
    tables = {key: tree.pop(key) for key in list(tree) if isinstance(tree[key], Mapping)}
    lines += [f"{key} = {_value(value)}" for key, value in tree.items()]
    for key, table in tables.items():
        lines += ["", f"[{key}]", *(f"{_key(name)} = {_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("-", "").replace("_", "").isalnum() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items() if item != {}) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return repr(float(f"{value:.{DIGITS}g}"))
    return json.dumps(value)  # whole numbers, true and false, and text with the escapes that TOML shares with JSON
