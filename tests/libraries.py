"""Which libraries a golden run rests on: what its solver and its design import, and what those import of ours."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sdl import registry

MODULES = {"scikit-learn": "sklearn", "xgboost-cpu": "xgboost"}
"""How a package is imported where that is not its name. xgboost-cpu is the same release of xgboost, without its GPU
half: with it the golden run of forest comes out the same to 1e-15."""


def changed(config: Mapping[str, Any], versions: Mapping[str, tuple[str, str]]) -> set[str]:
    """Of the packages that changed (then, now), the modules that decide in a campaign with this configuration."""
    then, now = ({(MODULES.get(name, name), two[i]) for name, two in versions.items() if two[i]} for i in (0, 1))
    places = [place for group in ("solvers", "designs") for kind, place in registry.OURS[group].items()
              if kind in {registry.ALIASES.get(group, {}).get(word, word) for word in _words(config)}]  # fmt: skip
    used = set().union(*(_imports(place.partition(":")[0]) for place in places))
    return {name for name, _ in then ^ now} & used - {"pydantic"}  # which computes nothing


def _words(tree: Any) -> Iterator[str]:
    """Every text in a configuration: kinds stand in several places."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _words(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _words(value)


def _imports(module: str) -> set[str]:
    """The foreign modules that one of ours imports, anywhere in it or in those of ours that it imports."""
    seen, left = set[str](), [module]
    while left:
        one = left.pop()
        if one not in seen:
            seen.add(one)
            left += _named(one) if one.startswith("sdl.") else ()
    return {one.partition(".")[0] for one in seen} - {"sdl"}


@functools.cache
def _named(module: str) -> tuple[str, ...]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ()  # a name in a module, no module
    found: list[str] = []
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return tuple(found)
