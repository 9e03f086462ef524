"""Imports modules of `sdl` one by one, each in a copy of a process that has loaded the libraries but no part of `sdl`.

Run as a script: a module's name on stdin is answered with one line of JSON on stdout: its error, or the libraries that
importing it loads and the classes in it that a YAML file can name.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
import traceback
from typing import Any

PRELOADED = ("pydantic", "typer", "yaml", "numpy", "scipy.optimize", "scipy.stats", "matplotlib.figure", "sklearn")


def answer(name: str) -> dict[str, Any]:
    """Imports a module and notes the libraries that modules of `sdl` ask for on the way."""
    loaded, original = set(), builtins.__import__

    def noting(wanted: str, globals: Any = None, *rest: Any, **named: Any) -> Any:
        if str((globals or {}).get("__name__", "")).startswith("sdl"):
            loaded.add(wanted.partition(".")[0])
        return original(wanted, globals, *rest, **named)

    builtins.__import__ = noting
    try:
        module = importlib.import_module(name)
    except BaseException:
        return {"error": traceback.format_exc()}
    from sdl.types import Frozen

    own = [thing for thing in vars(module).values() if isinstance(thing, type) and thing.__module__ == name]
    nameable = [thing.__name__ for thing in own if issubclass(thing, Frozen) and "kind" in thing.model_fields]
    return {"loaded": sorted(loaded), "nameable": nameable}


if __name__ == "__main__":
    for library in PRELOADED:
        importlib.import_module(library)
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if not child:
            print(json.dumps(answer(line.strip())), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
