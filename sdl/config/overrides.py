"""`--set a.b=value`: replace one value in a tree of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdl import yamlfile
from sdl.errors import ConfigError, Problem


def override(value: Any, change: str) -> dict[str, Any]:
    """The tree with `a.b=value` applied, as by `put`.

    Raises:
        ConfigError: another form.
    """
    return put(value, *split(change))


def split(change: str) -> tuple[str, Any]:
    """The dotted key and the value of `a.b=value`.

    Raises:
        ConfigError: another form.
    """
    path, equals, text = change.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {change}: must be key=value with a dotted key, such as stop.trials=80")
    try:
        new = yamlfile.scalar(text)
    except ConfigError as error:
        raise ConfigError(Problem(f"--set {change}: {error.problems[0].message}", path)) from error
    return ".".join(keys), new


def put(value: Any, path: str, new: Any) -> dict[str, Any]:
    """The tree with the value at a dotted path replaced; mappings along the path are copied or created.

    A new `kind` drops the options of the old kind.
    """
    key, _, rest = path.partition(".")
    tree = dict(value) if isinstance(value, Mapping) else {"kind": value} if isinstance(value, str) else {}
    if not rest and key == "kind" and tree.get("kind") != new:
        tree = {}
    tree[key] = put(tree.get(key), rest, new) if rest else new
    return tree
