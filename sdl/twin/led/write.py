"""A state as a TOML file that a campaign can name: `instrument: {kind: twin, state: ./twin.toml}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sdl.twin.led.state import TwinState
from sdl.twin.tomlfile import toml_comments, toml_items

DIGITS = 6  # significant digits: a gain of 60,000 counts to a tenth of a count


def toml(state: TwinState, comments: Iterable[str] = ()) -> str:
    """The text of the TOML file, with numbers of six digits; `comments` are lines at its top."""
    tree = state.model_dump(mode="json", exclude_none=True)
    tables = {key: tree.pop(key) for key in list(tree) if isinstance(tree[key], Mapping)}
    lines = [*toml_comments(comments), *toml_items({"about": tree.pop("about")}), f"start = {tree.pop('start')}"]
    lines += toml_items(tree, _rounded)
    for key, table in tables.items():
        lines += ["", f"[{key}]", *toml_items(table, _rounded)]
    return "\n".join(lines) + "\n"


def _rounded(value: float) -> str:
    return repr(float(f"{value:.{DIGITS}g}"))
