"""What the page on which a campaign is made shows at first: the instruments, and a campaign to begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from sdl import registry, yamlfile
from sdl.errors import ConfigError, SdlError
from sdl.lab.http.auth import quoted
from sdl.lab.http.control import Controller
from sdl.runs.runs import open_run
from sdl.store.resolve import run_below
from sdl.web.start.api import Backend
from sdl.web.start.form import form_of, of_run
from sdl.web.start.instruments import RUN, SHOWN, described, installed

FIRST: Mapping[str, Any] = {"name": "my-campaign", "tolerance": "2%", "stop": {"trials": 40, "minutes": 30}}
"""The campaign to begin with; its goal is missing."""


def start_page(behind: Backend, control: Controller | None, query: Mapping[str, str]) -> dict[str, Any]:
    """The values of the template.

    Args:
        behind: what campaigns are started with.
        control: commands and queries of the lab; None without one.
        query: `from`, a run `CAMPAIGN/RUN` whose campaign is run again; `prior`, whether that run is its prior.

    Raises:
        HTTPException: no such run.
    """
    instruments, note, tree = _instruments(behind, control), "", dict(FIRST)
    if behind.launcher is None and control is None:
        return {"setup": "", "note": ""}
    if source := query.get("from", ""):
        tree, chosen, note = _again(behind, control, source, instruments, prior=query.get("prior") == "1")
        instruments = chosen + [one for one in instruments if one["name"] not in [c["name"] for c in chosen]]
    setup = {
        "instruments": instruments,
        "solvers": registry.kinds("solvers"),
        "campaign": yamlfile.dump(tree),
        "form": form_of(tree),
        "lab": control is not None,
    }
    return {"setup": json.dumps(setup, default=str), "note": note}


def _instruments(behind: Backend, control: Controller | None) -> list[dict[str, Any]]:
    if control is None:
        own = {} if behind.launcher is None else behind.launcher.instruments
        return [described(name, plain) for name, plain in {**own, **installed()}.items()]
    try:
        return [{key: one.get(key) for key in SHOWN} for one in control.instruments()]
    except (SdlError, TimeoutError) as error:
        raise HTTPException(503, f"the lab: {error}") from error


def _again(
    behind: Backend, control: Controller | None, source: str, instruments: Sequence[Mapping[str, Any]], *, prior: bool
) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The campaign of a run, its instrument first, and what else to say."""
    folder = run_folder(behind.runs, source)
    try:
        run = open_run(folder)
        tree = of_run(run.config, behind.runs)
    except SdlError as error:
        raise HTTPException(409, f"{source} cannot be read: {error}") from error
    identity, note = str(run.opened.instrument.get("identity")), ""
    chosen = [dict(one) for one in instruments if one["identity"] == identity]
    if control is None and not chosen:
        name = f"{RUN}{source}"
        try:
            chosen = [described(name, behind.instrument(name))]
        except ConfigError as error:
            note = f"Not on its own instrument, {identity}: {error}"
    if control is not None and not chosen:
        note = f"Its instrument, {identity}, is none of this lab: choose another one."
    if prior:
        tree["prior"] = [source, *(name for name in tree.get("prior", ()) if name != source)]
    return tree, chosen[:1], note


def run_folder(runs: Path, source: str) -> Path:
    """The directory of a run that an address names.

    Raises:
        HTTPException: no such run.
    """
    if (folder := run_below(runs, source)) is None:
        raise HTTPException(404, f"no run {quoted(source)}")
    return folder
