"""One table from `kind` to where it lives: ours and, through entry points, everybody else's.

Adding one is one file and one line here (or, in a package of your own, one entry point in the group `sdl.solvers`,
`sdl.drivers` or `sdl.designs`). Only the kind that is named gets imported; a broken plug-in is reported when it is
asked for and harms nobody else.
"""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from sdl.errors import ConfigError

OURS: dict[str, dict[str, str]] = {
    "solvers": {
        "linear": "sdl.solvers.linear:Linear",
        "pls": "sdl.solvers.pls:Pls",
        "gmm": "sdl.solvers.gmm:Gmm",
        "forest": "sdl.solvers.forest:Forest",
        "bayes": "sdl.solvers.bayes:Bayes",
        "gp": "sdl.solvers.gp:Gp",
        "random": "sdl.solvers.random:Random",
    },
    "drivers": {
        "twin": "sdl.drivers.twin:Twin",
        "claude-light": "sdl.drivers.claude_light:ClaudeLight",
    },
    "designs": {
        "axis": "sdl.design:Axis",
        "latin-hypercube": "sdl.design:LatinHypercube",
        "points": "sdl.design:Points",
    },
}


def kinds(group: str) -> tuple[str, ...]:
    """The kinds that `group` knows, ours first, then those of installed packages."""
    return tuple(dict.fromkeys([*OURS[group], *(e.name for e in entry_points(group=f"sdl.{group}"))]))


def find(group: str, kind: object) -> type[Any]:
    """The class behind `kind`.

    Raises:
        ConfigError: no such kind (the message lists the allowed ones), or its package cannot be imported.
    """
    if kind not in OURS[group] and kind not in (allowed := kinds(group)):
        near = get_close_matches(str(kind), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        given = "kind is missing" if kind is None else f"unknown kind {kind!r}"
        raise ConfigError(f"{given}; allowed: {', '.join(allowed)}{hint}")
    place = OURS[group].get(str(kind))
    if place is None:
        place = next(e.value for e in entry_points(group=f"sdl.{group}") if e.name == kind)
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a plug-in may fail in any way at import
        raise ConfigError(f"kind {kind!r} is listed as {place} but cannot be loaded: {error!r}") from error
    if not isinstance(found, type):
        raise ConfigError(f"kind {kind!r} is listed as {place}, which is not a class")
    return found
