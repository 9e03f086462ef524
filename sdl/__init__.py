"""Closed-loop experiments on an instrument, or on its twin.

The public API: `run` and `resume` a campaign, `open_campaign` to ask for settings and tell readings, `open_run` to read
its record, `list_runs` for all runs, `solve` for settings from a data set. Everything else is imported from its module.
Names are loaded when they are first used, so that `import sdl` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdl.asktell import OpenCampaign, Request, open_campaign
    from sdl.errors import SdlError
    from sdl.inverse.dataset import Solution, solve
    from sdl.runner import resume, run
    from sdl.runs.listing import list_runs
    from sdl.runs.runs import Result, Run, open_run

_HOMES = {
    "OpenCampaign": "sdl.asktell",
    "Request": "sdl.asktell",
    "Result": "sdl.runs.runs",
    "Run": "sdl.runs.runs",
    "SdlError": "sdl.errors",
    "Solution": "sdl.inverse.dataset",
    "open_campaign": "sdl.asktell",
    "open_run": "sdl.runs.runs",
    "resume": "sdl.runner",
    "run": "sdl.runner",
    "list_runs": "sdl.runs.listing",
    "solve": "sdl.inverse.dataset",
}

__all__ = [
    "OpenCampaign",
    "Request",
    "Result",
    "Run",
    "SdlError",
    "Solution",
    "list_runs",
    "open_campaign",
    "open_run",
    "resume",
    "run",
    "solve",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdl' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
