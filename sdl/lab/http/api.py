"""The HTTP API of a running lab on 127.0.0.1: `/api/v1`, health and metrics.

    GET   /api/v1/status, queue, history?most=100&job=NAME, runs/RUN?after=LINE
    POST  /api/v1/pause, abort, skip            {"target": "job NAME", "reason": "…", "by": "…"}
          /api/v1/resume                        {"target": "start 7", "by": "…", "since": "AT"}: that pause only
          /api/v1/run-now                       {"job": "NAME", "by": "…"}
          /api/v1/start, check                  {"campaign": "YAML", "instrument": "NAME", "by": "…"}
    GET   /healthz, /readyz, /metrics

POST requires the access token (`Authorization: Bearer …`). GET does not: nothing in it is secret, records are readable
files anyway, and Prometheus should not hold a token that can abort a campaign. `sdl.lab.http.auth` checks
every request, also those to the page.

    400  invalid target, name or body     404  no such page or run     405  GET instead of POST
    409  no such target, or not possible in its present state; nothing was changed
    503  the loop does not answer

Errors are `{"error": …, "status": …}`.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import to_json

from sdl.errors import ConfigError, SdlError
from sdl.lab.http.auth import Refused, RequestFilter, quoted, request_line
from sdl.lab.http.token import Credentials
from sdl.lab.workers.base import Control
from sdl.store.plainfile import open_existing

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

MAX_ROWS = 1000
ALIVE_SECONDS = 60.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TARGET = re.compile(rf"lab|(?:instrument|job) {NAME.pattern}|start [0-9]{{1,12}}")
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_log = logging.getLogger(__name__)


def create_app(
    control: Control,
    credentials: Credentials,
    port: int,
    *,
    runs: Path,
    alive: Callable[[], float],
    unready: Callable[[], Sequence[str]],
    metrics: Callable[[], bytes],
    routes: Sequence[BaseRoute] = (),
) -> RequestFilter:
    """The application with its request checks.

    Args:
        control: queries and commands of the lab.
        credentials: the access token.
        port: of the server; part of every accepted Host and Origin.
        runs: directory of the runs.
        alive: seconds since the last tick of the loop.
        unready: reasons why the lab could not run a campaign now.
        metrics: the text of `/metrics`.
        routes: further routes, such as those of the page.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    queries = _ReadRoutes(control, runs)
    commands = _CommandRoutes(control)

    async def health(request: Request) -> Response:
        age = alive()
        ticked = round(age, 3) if math.isfinite(age) else None
        return JSONResponse(
            {"alive": age <= ALIVE_SECONDS, "seconds_since_tick": ticked}, 200 if age <= ALIVE_SECONDS else 503
        )

    def ready(request: Request) -> Response:
        why = list(unready())
        return JSONResponse({"ready": not why, "why_not": why}, 503 if why else 200)

    def measured(request: Request) -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def refused(request: Request, error: Exception) -> Response:
        status = int(getattr(error, "status", 0) or getattr(error, "status_code", 500))
        message = str(getattr(error, "message", "") or getattr(error, "detail", ""))
        request.scope["refused"] = message  # logged by the guard
        return JSONResponse({"error": message, "status": status}, status, getattr(error, "headers", None))

    async def broken(request: Request, error: Exception) -> Response:
        _log.exception("answering %s", request_line(request.scope), exc_info=error)
        return JSONResponse({"error": "internal error; see the log of the lab", "status": 500}, 500)

    app = Starlette(
        routes=[
            *(Route(f"/api/v1/{name}", getattr(queries, name)) for name in ("status", "queue", "history")),
            Route("/api/v1/runs/{run:path}", queries.run),
            *(Route(f"/api/v1/{verb}", partial(commands.ask, verb), methods=["POST"]) for verb in commands.VERBS),
            Route("/healthz", health),
            Route("/readyz", ready),
            Route("/metrics", measured),
            *routes,
        ],
        exception_handlers={Refused: refused, HTTPException: refused, Exception: broken},
    )
    return RequestFilter(app, credentials, port)


class _ReadRoutes:
    def __init__(self, control: Control, runs: Path) -> None:
        self._control, self._runs = control, runs

    def status(self, request: Request) -> Response:
        return _json(_call(self._control.status))

    def queue(self, request: Request) -> Response:
        return _json({"queue": list(_call(self._control.queue))})

    def history(self, request: Request) -> Response:
        limit = _number(request, "most", 100, MAX_ROWS)
        job = request.query_params.get("job", "")
        if job and not NAME.fullmatch(job):
            raise Refused(400, "job: not a valid name")
        return _json({"history": list(_call(self._control.history, limit, job))})

    def run(self, request: Request) -> Response:
        """Events of a record written by a start of the lab; only the lab supplies the path."""
        name = str(request.path_params["run"])
        if not RUN.fullmatch(name) or ".." in name:
            raise Refused(400, "run: not a valid name of a run")
        after, limit = _number(request, "after", 0, 10**9), _number(request, "most", 500, MAX_ROWS)
        rows = [*_call(self._control.history, MAX_ROWS, ""), *_call(self._control.status).get("running", ())]
        row = next((row for row in rows if Path(str(row.get("run") or "")).name == name), None)
        if row is None:
            raise Refused(404, f"no run {name} among the lab's last {MAX_ROWS}")
        return _json({"start": row, "events": _lines(self._runs / str(row["run"]), after, limit)})


class _CommandRoutes:
    """Handlers of POST: each verb calls a method of `Control` with the values of the body, in the order of `VERBS`."""

    VERBS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pause": ("target", "reason", "by"),
        "resume": ("target", "by", "since"),
        "abort": ("target", "reason", "by"),
        "skip": ("target", "reason", "by"),
        "run-now": ("job", "by"),
        "start": ("campaign", "instrument", "by"),
        "check": ("campaign", "instrument", "by"),
    }
    MAX_LENGTH: ClassVar[Mapping[str, int]] = {"by": 80, "reason": 500, "since": 40}
    NAMES: ClassVar[Mapping[str, tuple[re.Pattern[str], str]]] = {
        "target": (TARGET, "lab, instrument NAME, job NAME or start NUMBER"),
        "job": (NAME, "the name of a job"),
        "instrument": (NAME, "the name of an instrument"),
    }

    def __init__(self, control: Control) -> None:
        self._control = control

    async def ask(self, verb: str, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        try:
            body = json.loads(await request.body() or b"{}")
        except (ValueError, RecursionError):
            raise Refused(400, "the body must be a JSON object") from None
        keys = self.VERBS[verb]
        if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
            raise Refused(400, "the body must be a JSON object with text values")
        if unknown := sorted(set(body) - set(keys)):
            raise Refused(400, f"unknown key {quoted(unknown[0])}; allowed: {', '.join(sorted(keys))}")
        defaults = {"target": "lab"} if verb == "pause" else {}
        values = {key: body.get(key, defaults.get(key, "")) for key in keys}
        for key, limit in self.MAX_LENGTH.items():
            if key in values:
                values[key] = _one_line(key, values[key], limit)
        for key, (pattern, allowed) in self.NAMES.items():
            if key in values and not pattern.fullmatch(values[key]):
                raise Refused(400, f"{key}: must be {allowed}")
        values["by"] = values["by"] or "unknown"
        if verb == "check":
            del values["by"]
        method = getattr(self._control, verb.replace("-", "_"))
        return _json({"done": await run_in_threadpool(_call, method, *values.values())})


def _call(call: Callable[..., Any], *given: Any) -> Any:
    """The result of a call to the lab; its errors as HTTP errors."""
    try:
        return call(*given)
    except ConfigError as error:
        raise Refused(409, str(error)) from error
    except TimeoutError as error:
        raise Refused(503, f"the lab does not answer: {error}") from error
    except SdlError as error:
        raise Refused(503, str(error)) from error


def _lines(folder: Path, after: int, limit: int) -> list[Any]:
    """Events of a record after a line number, as written."""
    events: list[Any] = []
    try:
        with open_existing(folder / "record.jsonl") as stream:
            for number, line in enumerate(stream, 1):
                if number > after and line.endswith(b"\n"):
                    events.append(json.loads(line))
                if len(events) == limit:
                    break
    except FileNotFoundError:
        pass  # not begun yet
    except (OSError, ValueError) as error:
        raise Refused(503, f"the record cannot be read: {error}") from error
    return events


def _json(value: Mapping[str, Any]) -> Response:
    from starlette.responses import Response

    text = to_json(value, inf_nan_mode="null", fallback=str)
    return Response(text, media_type="application/json", headers={"cache-control": "no-store"})


def _number(request: Request, name: str, default: int, limit: int) -> int:
    text = request.query_params.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > limit:
        raise Refused(400, f"{name}: must be a whole number up to {limit}")
    return int(text)


def _one_line(name: str, text: str, limit: int) -> str:
    if len(text := text.strip()) > limit or not text.isprintable():
        raise Refused(400, f"{name}: must be one line of at most {limit} characters")
    return text
