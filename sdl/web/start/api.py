"""Starting, continuing and forecasting campaigns over HTTP, for the page of a lab and of `sdl web`.

    POST  /api/v1/draft       {"instrument": "NAME", "campaign": "YAML", "form": {…} or null}
                              → campaign and form made from each other, problems by field, the largest cost
          /api/v1/forecast    {"instrument": "NAME", "campaign": "YAML"} → what simulated campaigns take

In `sdl web` also, where a lab has its own (`sdl.lab.http.api`):

          /api/v1/check       {"campaign": "YAML", "instrument": "NAME"}
          /api/v1/start       the same, with "real": "yes" if the instrument is not simulated
          /api/v1/resume-run  {"run": "CAMPAIGN/RUN", "changes": "stop.trials=80"}, one a line
          /api/v1/interrupt   {"run": "CAMPAIGN/RUN"}: as Ctrl-C, after the current reading

A client names instruments and runs; it never says what an instrument is, and names no path.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sdl import config, yamlfile
from sdl.config import CampaignFile
from sdl.errors import ConfigError, Problem
from sdl.formatting import count
from sdl.lab.config.file import parse_text
from sdl.lab.http import asking
from sdl.lab.http.api import http_result
from sdl.lab.http.auth import identity_of, json_response
from sdl.lab.http.control import Controller
from sdl.parallel import children
from sdl.web.start.form import apply_form, form_of
from sdl.web.start.instruments import plain_instrument
from sdl.web.start.launcher import Launcher

FORECAST_SECONDS = 8.0
"""Time for the simulated campaigns of a forecast, without that of starting its process."""
FORECAST_CAMPAIGNS = 5
GRACE_SECONDS = 25.0
"""Further time after which the process of a forecast is killed."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What the page starts campaigns with.

    Attributes:
        runs: directory of the runs.
        base: directory that relative paths refer to.
        instrument: the plain values of an instrument, by its name on the page.
        launcher: launcher of `sdl web`; None in a lab, which has its own queue.
    """

    runs: Path
    base: Path
    instrument: Callable[[str], Mapping[str, Any]]
    launcher: Launcher | None

    def parsed(self, text: str, instrument: str) -> CampaignFile:
        """The campaign of a text on an instrument.

        Raises:
            ConfigError: every mistake, with its line.
        """
        return parse_text(text, dict(self.instrument(instrument)), base=self.base, runs=self.runs)


def backend(control: Controller | None, runs: Path, launcher: Launcher | None) -> Backend:
    """The backend of a lab, or of `sdl web`."""
    if control is None:
        own = {} if launcher is None else launcher.instruments
        return Backend(runs, runs, partial(plain_instrument, runs=runs, own=own), launcher)
    return Backend(runs, control.base, lambda name: control.instrument(name)[0], None)


def start_routes(behind: Backend) -> list[Route]:
    """The routes of all calls."""
    forecasts = Forecasts(behind)
    calls: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {"forecast": forecasts.answer}
    if behind.launcher is not None:
        own = _Starting(behind, behind.launcher)
        calls |= {"check": own.check, "start": own.start, "resume-run": own.resume, "interrupt": own.interrupt}
    routes = [Route(f"/api/v1/{name}", partial(_texts, name, call), methods=["POST"]) for name, call in calls.items()]
    return [Route("/api/v1/draft", partial(_draft, behind), methods=["POST"]), *routes]


KEYS: Mapping[str, tuple[str, ...]] = {
    "forecast": ("campaign", "instrument"),
    "check": ("campaign", "instrument"),
    "start": ("campaign", "instrument", "real"),
    "resume-run": ("run", "changes"),
    "interrupt": ("run",),
}
"""Keys of each body, all texts."""


async def _texts(name: str, call: Callable[[dict[str, str]], dict[str, Any]], request: Request) -> Response:
    _refuse_agents(request)
    given = asking.texts(await request.body(), KEYS[name])
    values = {key: given.get(key, "") for key in KEYS[name]}
    if "run" in values and (not asking.RUN.fullmatch(values["run"]) or ".." in values["run"]):
        raise HTTPException(400, "run: must be CAMPAIGN/RUN")
    return json_response(await run_in_threadpool(http_result, partial(call, values)))


def _refuse_agents(request: Request) -> None:
    """Agents have calls of their own, within the limits of the lab file."""
    if identity_of(request).agent:
        raise HTTPException(403, "not for agents; allowed: check, rehearse, submit, stop")


# Draft --------------------------------------------------------------------------------------------------------------
async def _draft(behind: Backend, request: Request) -> Response:
    _refuse_agents(request)
    given = asking.parsed(await request.body())
    text, name, form = given.get("campaign", ""), given.get("instrument", ""), given.get("form")
    if not isinstance(text, str) or not isinstance(name, str) or not (form is None or isinstance(form, dict)):
        raise HTTPException(400, "the body must be {instrument: text, campaign: text, form: object or null}")
    return json_response(await run_in_threadpool(http_result, lambda: draft(behind, name, text, form)))


def draft(behind: Backend, instrument: str, text: str, form: Mapping[str, Any] | None) -> dict[str, Any]:
    """Campaign and form, each made from the other, and their problems.

    Args:
        behind: knows the instruments.
        instrument: its name.
        text: the campaign as YAML; with a form it supplies the keys that the form has no field for.
        form: None if the YAML was edited.

    Raises:
        ConfigError: no such instrument.
    """
    behind.instrument(instrument)
    tree: Any = {}
    try:
        tree = yamlfile.parse(text).value if text.strip() else {}
    except ConfigError as error:
        if form is None:
            return {"campaign": text, "form": None, "problems": _problems(error), "valid": False, "at_most": ""}
    if form is not None:
        tree = apply_form(tree if isinstance(tree, Mapping) else {}, form)
        text = yamlfile.dump(tree) if tree else ""
    shown = form_of(tree) if isinstance(tree, Mapping) else None
    try:
        campaign = behind.parsed(text, instrument)
    except ConfigError as error:
        return {"campaign": text, "form": shown, "problems": _problems(error), "valid": False, "at_most": ""}
    problems = [] if campaign.goal else [_problem(Problem("choose a channel and give its target", "goal"))]
    cautions = [{"path": c.partition(":")[0], "message": c.partition(": ")[2]} for c in config.cautions(campaign)]
    return {
        "campaign": text, "form": shown, "problems": problems, "valid": not problems, "at_most": _at_most(campaign),
        "cautions": cautions,
    }  # fmt: skip


def _problems(error: ConfigError) -> list[dict[str, Any]]:
    return [_problem(problem) for problem in error.problems]


def _problem(problem: Problem) -> dict[str, Any]:
    return {"path": problem.path, "message": problem.message, "line": problem.line}


def _at_most(campaign: CampaignFile) -> str:
    """`at most 40 trials, 120 readings, 2.5 min`, as `sdl validate` says it."""
    most = config.cost(campaign)
    text = f"at most {count(most.trials, 'trial')}, {count(most.readings, 'reading')}, {most.seconds / 60:.1f} min"
    return text + ("" if most.price is None else f", cost {most.price:g}")


# Forecast -----------------------------------------------------------------------------------------------------------
class Forecasts:
    """Forecasts in a process of their own, one at a time: a new one ends the one before."""

    def __init__(self, behind: Backend) -> None:
        self._behind = behind
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def answer(self, values: Mapping[str, str]) -> dict[str, Any]:
        """The forecast of a campaign.

        Raises:
            ConfigError: a mistake in it, no twin, or a later forecast was asked for.
        """
        campaign = self._behind.parsed(values["campaign"], values["instrument"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "campaign.yaml"
            file.write_text(yamlfile.dump(campaign.plain()), encoding="utf-8")
            options = (f"--seconds={FORECAST_SECONDS:g}", f"--campaigns={FORECAST_CAMPAIGNS}")
            process = self._begin("forecast", str(file), "--runs", str(self._behind.runs), *options, "--json")
            try:
                out, _ = process.communicate(timeout=FORECAST_SECONDS + GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise ConfigError("the forecast took too long") from None
        try:
            found = dict(json.loads(out))
        except ValueError:
            raise ConfigError("a later forecast was asked for") from None
        if "text" not in found:
            raise ConfigError(str(found.get("reason", "no forecast")))
        return found

    def _begin(self, *words: str) -> subprocess.Popen[str]:
        with self._lock, children.child_environment():
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
            self._process = subprocess.Popen(
                children.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            return self._process


# Starting, without a lab --------------------------------------------------------------------------------------------
class _Starting:
    """The calls of `sdl web`; the arguments are checked texts."""

    def __init__(self, behind: Backend, launcher: Launcher) -> None:
        self._behind, self._launcher = behind, launcher

    def check(self, values: Mapping[str, str]) -> dict[str, Any]:
        campaign = self._behind.parsed(values["campaign"], values["instrument"])
        return {"done": f"{campaign.name} on {campaign.instrument.identity}: {_at_most(campaign)}"}

    def start(self, values: Mapping[str, str]) -> dict[str, Any]:
        campaign = self._behind.parsed(values["campaign"], values["instrument"])
        if not campaign.goal:
            raise ConfigError(Problem("missing; give a target for at least one channel: {R: 140}", "goal"))
        if not campaign.instrument.simulated and values["real"] != "yes":
            raise ConfigError(f"{campaign.instrument.identity} is a real instrument; confirm that it may be driven")
        run = self._launcher.start(campaign)
        return {"done": f"Started {campaign.name} on {campaign.instrument.identity}.", "run": run}

    def resume(self, values: Mapping[str, str]) -> dict[str, Any]:
        lines = tuple(line.strip() for line in values["changes"].splitlines() if line.strip())
        run = self._launcher.resume(values["run"], lines)
        return {"done": "Continued.", "run": run}

    def interrupt(self, values: Mapping[str, str]) -> dict[str, Any]:
        self._launcher.interrupt(values["run"])
        return {"done": "Stopping after the current reading; it can be continued."}
