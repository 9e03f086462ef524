"""The table from `kind` to its class: ours and, through entry points, those of installed packages.

Adding a kind takes one file and one line here, or, in another package, one file and one entry point in the group
`sdl.solvers`, `sdl.drivers`, `sdl.designs`, `sdl.rules` or `sdl.figures`. Only the kind that is named is imported; a
broken plug-in is reported where it is used and affects nothing else.
"""

from __future__ import annotations

import importlib
import logging
from importlib.metadata import entry_points
from typing import Any

from sdl.errors import ConfigError, did_you_mean

log = logging.getLogger("sdl")

OURS: dict[str, dict[str, str]] = {
    "solvers": {
        "auto": "sdl.solvers.auto:Auto",
        "linear": "sdl.solvers.linear:Linear",
        "pls": "sdl.solvers.pls:Pls",
        "gmm": "sdl.solvers.gmm:Gmm",
        "forest": "sdl.solvers.forest:Forest",
        "bayes": "sdl.solvers.bayes:Bayes",
        "gp": "sdl.solvers.gp:Gp",
        "quadratic": "sdl.solvers.quadratic:Quadratic",
        "broyden": "sdl.solvers.broyden:Broyden",
        "mcmc": "sdl.solvers.mcmc:Mcmc",
        "continuation": "sdl.solvers.continuation:Continuation",
        "random": "sdl.solvers.random:Random",
    },
    "drivers": {
        "twin": "sdl.drivers.twin.config:Twin",
        "claude-light": "sdl.drivers.claude_light.config:ClaudeLight",
        "sdl-light": "sdl.drivers.sdl_light.config:SdlLight",
        "command": "sdl.drivers.command.config:Command",
        "http": "sdl.drivers.http_api.config:HttpApi",
        "scpi": "sdl.drivers.scpi.config:Scpi",
        "python": "sdl.drivers.python_function:PythonFunction",
        "manual": "sdl.drivers.manual:Manual",
        "external": "sdl.drivers.external:External",
        "replay": "sdl.drivers.replay:Replay",
    },
    "designs": {
        "axis": "sdl.designs.filling:Axis",
        "latin-hypercube": "sdl.designs.filling:LatinHypercube",
        "sobol": "sdl.designs.filling:Sobol",
        "farthest": "sdl.designs.filling:Farthest",
        "factorial": "sdl.designs.classical:Factorial",
        "box-behnken": "sdl.designs.classical:BoxBehnken",
        "central-composite": "sdl.designs.classical:CentralComposite",
        "d-optimal": "sdl.designs.classical:DOptimal",
        "adaptive": "sdl.designs.adaptive:Adaptive",
        "points": "sdl.designs.filling:Points",
    },
    "rules": {},  # ours are keys of `stop`
    "figures": {},  # ours are in `sdl.report.figures`
}

# Old names of kinds, which files and records may still have.
ALIASES: dict[str, dict[str, str]] = {"solvers": {"secant": "broyden", "bsi": "mcmc", "path": "continuation"}}


def kinds(group: str) -> tuple[str, ...]:
    """The kinds that `group` knows, ours first, then those of installed packages."""
    return tuple(dict.fromkeys([*OURS[group], *(e.name for e in entry_points(group=f"sdl.{group}"))]))


def find(group: str, kind: object) -> type[Any]:
    """The class of `kind`.

    Raises:
        ConfigError: no such kind (the message lists the allowed ones), its package cannot be imported, or it is not a
            class.
    """
    if not isinstance(target := load(group, kind), type):
        raise ConfigError(f"kind {kind!r} of {_source(group, kind)[1]} is not a class")
    return target


def load(group: str, kind: object) -> Any:
    """The object of `kind`, imported.

    Raises:
        ConfigError: no such kind (the message lists the allowed ones), or its package cannot be imported.
    """
    kind = ALIASES.get(group, {}).get(str(kind), kind)
    if kind not in OURS[group] and kind not in (allowed := kinds(group)):
        given = "kind is missing" if kind is None else f"unknown kind {kind!r}"
        listed = ", ".join(allowed) or "none, no installed package has any"
        raise ConfigError(f"{given}; allowed: {listed}{did_you_mean(kind, allowed)}")
    place, owner = _source(group, kind)
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may fail in any way at import
        log.debug("kind %r cannot be loaded", kind, exc_info=error)
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConfigError(f"kind {kind!r} of {owner} cannot be loaded: {cause} (SDL_LOG=debug shows where)") from error


def _source(group: str, kind: object) -> tuple[str, str]:
    """The place of a known kind, `module:name`, and its owner as text."""
    if place := OURS[group].get(str(kind)):
        return place, "sdl"
    entry = next(e for e in entry_points(group=f"sdl.{group}") if e.name == kind)
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
    return entry.value, f"the package {package}, entry point {entry.value}"
