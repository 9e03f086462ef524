"""The HTTP API of a running lab on 127.0.0.1: `/api/v1`, health and metrics.

    GET   /api/v1/status, queue, instruments, history?most=100&job=NAME, submissions?most=100, runs/RUN?after=LINE
    POST  /api/v1/pause, abort, skip            {"target": "job NAME", "reason": "…"}
          /api/v1/resume                        {"target": "start 7", "since": "AT"}: that pause only
          /api/v1/run-now                       {"job": "NAME"}
          /api/v1/start, check                  {"campaign": "YAML", "instrument": "NAME"}
          /api/v1/resume-run                    {"run": "CAMPAIGN/RUN", "changes": "stop.trials=80"}: one a line
          /api/v1/whoami                        {}: name and scopes of the token, limits of an agent
          /api/v1/rehearse                      {"campaign": "YAML", "instrument": "NAME"}
          /api/v1/submit                        {"campaign": "YAML", "instrument": "NAME", "rehearsal": "…"}
          /api/v1/approve, refuse               {"submission": "3", "reason": "…"}
          /api/v1/stop                          {"target": "start 7", "reason": "…"}: with any valid token
          /api/v1/ask, tell, attach, skip, correct      {"run": "CAMPAIGN/RUN", …}: `sdl.lab.http.asking`
    GET   /healthz, /readyz, /metrics

POST requires an access token (`Authorization: Bearer …`) with the scope that `sdl.lab.http.auth` gives the path. Its
name is `by` in journal and notes; a `by` in the body is ignored. GET requires none: nothing in it is secret, records
are readable files anyway, and Prometheus should not hold a token that can abort a campaign. `sdl.lab.http.auth` checks
every request, also those to the page.

    400  invalid target, name or body     404  no such page or run     405  GET instead of POST
    409  no such target, or not possible in its present state; nothing was changed
    429  too many calls of an agent        503  the loop does not answer

Errors are `{"error": …, "status": …}`.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sdl.errors import ConfigError, SdlError
from sdl.lab.http import asking
from sdl.lab.http.auth import RequestFilter, filtered_app, identity_of, json_response, whoami_route
from sdl.lab.http.control import Controller
from sdl.lab.http.named_tokens import Identity
from sdl.lab.http.submissions import Submissions, TooManyCalls
from sdl.lab.http.token import Credentials
from sdl.store.plainfile import open_existing

MAX_ROWS = 1000
ALIVE_SECONDS = 60.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TARGET = re.compile(rf"lab|(?:instrument|job) {NAME.pattern}|start [0-9]{{1,12}}")
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "pause": ("target", "reason", "by"),
    "resume": ("target", "by", "since"),
    "abort": ("target", "reason", "by"),
    "skip": ("target", "reason", "by"),
    "run-now": ("job", "by"),
    "start": ("campaign", "instrument", "by"),
    "check": ("campaign", "instrument"),
    "resume-run": ("run", "changes", "by"),
    "rehearse": ("campaign", "instrument"),
    "submit": ("campaign", "instrument", "rehearsal"),
    "approve": ("submission", "reason"),
    "refuse": ("submission", "reason"),
    "stop": ("target", "reason"),
}
"""Commands of POST: the arguments of the method of `Controller` or `Submissions`, in order: keys of the body, but for
`by`, which is the name of the token."""
OF_AGENTS = ("rehearse", "submit", "stop", "approve", "refuse")
"""Commands of `Submissions`; the last two are for people."""
MAX_LENGTH = {"reason": 500, "since": 40}
MAX_LINES = {"changes": (20, 500)}
"""Keys of several lines: their number, and the characters of each."""
NAMES = {
    "target": (TARGET, "lab, instrument NAME, job NAME or start NUMBER"),
    "job": (NAME, "the name of a job"),
    "instrument": (NAME, "the name of an instrument"),
    "rehearsal": (re.compile(r"(?:[0-9a-f]{32})?"), "what `rehearse` returned, or empty"),
    "run": (asking.RUN, "CAMPAIGN/RUN"),
    "submission": (re.compile(r"[0-9]{1,9}"), "the number of a submission"),
}


def create_app(
    control: Controller,
    credentials: Credentials,
    port: int,
    *,
    runs: Path,
    alive: Callable[[], float],
    unready: Callable[[], Sequence[str]],
    metrics: Callable[[], bytes],
    routes: Sequence[BaseRoute] = (),
    url: str | None = None,
    submissions: Submissions | None = None,
) -> RequestFilter:
    """The application with its request checks.

    `alive` gives the seconds since the last tick of the loop, `unready` the reasons why no campaign could run now,
    `metrics` the text of `/metrics`; `routes` are further ones, such as those of the page; `url` is its address behind
    a proxy; `submissions` handles rehearsals and submissions of agents.
    """

    async def health(request: Request) -> Response:
        age = alive()
        ticked = round(age, 3) if math.isfinite(age) else None
        good = age <= ALIVE_SECONDS
        return JSONResponse({"alive": good, "seconds_since_tick": ticked}, 200 if good else 503)

    def ready(request: Request) -> Response:
        why = list(unready())
        return JSONResponse({"ready": not why, "why_not": why}, 503 if why else 200)

    def measured(request: Request) -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def status(request: Request) -> Response:
        return json_response(http_result(control.status))

    def queue(request: Request) -> Response:
        return json_response({"queue": list(http_result(control.queue))})

    def instruments(request: Request) -> Response:
        return json_response({"instruments": list(http_result(control.instruments))})

    def history(request: Request) -> Response:
        job = request.query_params.get("job", "")
        if job and not NAME.fullmatch(job):
            raise HTTPException(400, "job: not a valid name")
        return json_response(
            {"history": list(http_result(control.history, _number(request, "most", 100, MAX_ROWS), job))}
        )

    def run(request: Request) -> Response:
        """Events of a record written by a start of the lab; only the lab supplies the path."""
        name = str(request.path_params["run"])
        if not RUN.fullmatch(name) or ".." in name:
            raise HTTPException(400, "run: not a valid name of a run")
        after, limit = _number(request, "after", 0, 10**9), _number(request, "most", 500, MAX_ROWS)
        rows = [*http_result(control.history, MAX_ROWS, ""), *http_result(control.status).get("running", ())]
        row = next((row for row in rows if Path(str(row.get("run") or "")).name == name), None)
        if row is None:
            raise HTTPException(404, f"no run {name} among the lab's last {MAX_ROWS}")
        return json_response({"start": row, "events": _lines(runs / str(row["run"]), after, limit)})

    async def command(name: str, request: Request) -> Response:
        if name == "skip" and "run" in asking.parsed(await request.body()):  # a trial, not a start
            return await asking.answer(runs, name, request)
        identity = identity_of(request)
        values = _arguments(name, await request.body(), identity.name)
        if name in OF_AGENTS or (identity.agent and name == "check"):
            return json_response(await run_in_threadpool(http_result, of_agents, name, identity, *values))
        if identity.agent:
            raise HTTPException(403, f"{name}: not for agents; allowed: check, {', '.join(OF_AGENTS)}")
        method = getattr(control, name.replace("-", "_"))
        return json_response({"done": await run_in_threadpool(http_result, method, *values)})

    def of_agents(name: str, identity: Identity, *values: str) -> Mapping[str, Any]:
        if submissions is None:
            raise HTTPException(404, "this server takes no submissions")
        match name:
            case "approve" | "refuse":
                return {"done": submissions.review(int(values[0]), name == "approve", values[1], identity.name)}
            case "check" | "stop":
                return {"done": getattr(submissions, name)(*values, identity)}
        result: Mapping[str, Any] = getattr(submissions, name)(*values, identity)
        return result

    def limits(identity: Identity) -> Any:
        return http_result(submissions.describe, identity.name) if submissions is not None and identity.agent else None

    def submitted(request: Request) -> Response:
        most = _number(request, "most", 100, MAX_ROWS)
        return json_response(
            {"submissions": list(http_result(submissions.all, most)) if submissions is not None else []}
        )

    api: dict[str, Callable[[Request], Any]] = {
        "status": status,
        "queue": queue,
        "history": history,
        "submissions": submitted,
        "instruments": instruments,
    }
    return filtered_app(
        [
            *(Route(f"/api/v1/{name}", handler) for name, handler in api.items()),
            Route("/api/v1/runs/{run:path}", run),
            *(Route(f"/api/v1/{name}", partial(command, name), methods=["POST"]) for name in COMMANDS),
            whoami_route(limits),
            *asking.ask_routes(runs, without=("skip",)),
            Route("/healthz", health),
            Route("/readyz", ready),
            Route("/metrics", measured),
            *routes,
        ],
        credentials,
        port,
        url=url,
        note_refused=None if submissions is None else submissions.note_refused,
    )


def _arguments(command: str, body: bytes, by: str) -> list[str]:
    keys = COMMANDS[command]
    given = asking.texts(body, keys)
    defaults = {"target": "lab"} if command == "pause" else {}
    values = {key: given.get(key, defaults.get(key, "")) for key in keys}
    for key in values.keys() & MAX_LENGTH.keys():
        values[key] = values[key].strip()
        if len(values[key]) > MAX_LENGTH[key] or not values[key].isprintable():
            raise HTTPException(400, f"{key}: must be one line of at most {MAX_LENGTH[key]} characters")
    for key in values.keys() & MAX_LINES.keys():
        lines, (most, length) = values[key].splitlines(), MAX_LINES[key]
        if len(lines) > most or not all(len(line) <= length and line.isprintable() for line in lines):
            raise HTTPException(400, f"{key}: must be at most {most} lines of at most {length} characters")
    for key in values.keys() & NAMES.keys():
        pattern, allowed = NAMES[key]
        if not pattern.fullmatch(values[key]):
            raise HTTPException(400, f"{key}: must be {allowed}")
    return [by if key == "by" else values[key] for key in keys]


def http_result(call: Callable[..., Any], *given: Any) -> Any:
    """The result of a call to the lab; its errors as HTTP errors."""
    try:
        return call(*given)
    except TooManyCalls as error:
        raise HTTPException(429, str(error)) from error
    except ConfigError as error:
        raise HTTPException(409, str(error)) from error
    except TimeoutError as error:
        raise HTTPException(503, f"the lab does not answer: {error}") from error
    except SdlError as error:
        raise HTTPException(503, str(error)) from error


def _lines(folder: Path, after: int, limit: int) -> list[Any]:
    """Events of a record after a line number, as written."""
    try:
        with open_existing(folder / "record.jsonl") as stream:
            lines = (line for number, line in enumerate(stream, 1) if number > after and line.endswith(b"\n"))
            return [json.loads(line) for line in itertools.islice(lines, limit)]
    except FileNotFoundError:  # not begun yet
        return []
    except (OSError, ValueError) as error:
        raise HTTPException(503, f"the record cannot be read: {error}") from error


def _number(request: Request, name: str, default: int, limit: int) -> int:
    text = request.query_params.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > limit:
        raise HTTPException(400, f"{name}: must be a whole number up to {limit}")
    return int(text)
