"""The web pages and their routes, for the server of a lab or of `sdl web`; `sdl.lab.http.auth` checks requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sdl import formatting
from sdl.errors import ConfigError, SdlError
from sdl.extras import own_version
from sdl.lab.http.auth import Refused, quoted
from sdl.lab.http.token import TOKEN, Credentials
from sdl.lab.workers.base import Control
from sdl.runs.listing import start_time
from sdl.store.resolve import FILE
from sdl.web import notes, render
from sdl.web.feeds import HomeFeed, LabFeed, RunCache, RunFeed
from sdl.web.index import Index, cache_folder
from sdl.web.query import parse_query
from sdl.web.reports import Reports
from sdl.web.sse import Hub

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

ROWS = 50
EXAMPLE = """\
name: by-hand
goal: {515nm: 20000}      # raw reading of a channel
tolerance: 2%
solver: auto
stop: {trials: 30}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """What all pages of a server have in common."""

    name: str
    lab: bool
    runs: str
    token: str
    zone: str
    version: str


def routes(
    control: Control | None, runs: Path, credentials: Credentials, *, name: str = "", zone: str = ""
) -> list[BaseRoute]:
    """The routes of all pages.

    Args:
        control: of the lab; None without a lab: then only notes can be changed.
        runs: directory of the runs.
        credentials: the access token, of which only the path is shown.
        name: of the lab.
        zone: time zone of the lab; empty: that of this machine.

    Raises:
        ConfigError: Jinja is not installed.
    """
    render.environment()
    return Pages(control, runs, credentials, name=name, zone=zone).routes()


def _page(view: Callable[[Pages, Request], Response]) -> Callable[[Pages, Request], Response]:
    """Show a refusal as a page."""

    @wraps(view)
    def shown(self: Pages, request: Request) -> Response:
        try:
            return view(self, request)
        except Refused as error:
            request.scope["refused"] = error.message  # logged by the guard
            title = {404: "Not found", 400: "Invalid request"}.get(error.status, "Not available")
            return self.page("error.html.j2", error.status, title=title, status=error.status, message=error.message)

    return shown


class Pages:
    """All pages of one server; arguments as in `routes`."""

    def __init__(self, control: Control | None, runs: Path, credentials: Credentials, *, name: str, zone: str) -> None:
        self._runs = runs
        self._site = Site(
            name or "sdl", control is not None, str(runs), str(credentials.folder / TOKEN), zone, own_version()
        )
        folder = cache_folder(runs)
        self._index, self._reports = Index(runs, folder), Reports(folder)
        self._lab, self._hub = LabFeed(control), Hub()
        self._cache, self._saving = RunCache(runs, self._lab), threading.Lock()

    def routes(self) -> list[BaseRoute]:
        from starlette.routing import Route

        run = "/runs/{campaign}/{run}"
        return [
            Route("/", self.home),
            Route("/runs", self.runs),
            Route("/start", self.start),
            Route("/events", _Stream(self._home_events), methods=["GET"]),
            Route(run, self.run),
            Route(f"{run}/events", _Stream(self._run_events), methods=["GET"]),
            Route(f"{run}/report", self.report),
            Route(f"{run}/notes", self.notes, methods=["POST"]),
            Route("/static/{mark}/{name}", self.static),
        ]

    def page(self, template: str, code: int = 200, **values: Any) -> Response:
        """A page from its template."""
        return render.page(template, code, **{"site": self._site, "here": "", "events": "", **values})

    # Pages -------------------------------------------------------------------------------------------------------
    @_page
    def home(self, request: Request) -> Response:
        shown = self._home().look() or {}
        title = f"Lab {self._site.name}" if self._site.lab else "Runs on this machine"
        return self.page("home.html.j2", here="/", events="/events", title=title, parts=shown["parts"])

    @_page
    def runs(self, request: Request) -> Response:
        query, number = parse_query(request.query_params, self._site.zone)
        complete = self._index.poke()
        rows, count = self._index.page(query, number, ROWS)
        for row in rows:
            row["error_text"] = formatting.percent(row["error"]) if row["error"] is not None else ""
        filters = {key: value for key, value in request.query_params.items() if key != "page" and value}
        values: dict[str, Any] = {name: self._index.choices(name[:-1]) for name in ("outcomes", "solvers", "tags")}
        return self.page(
            "runs.html.j2",
            here="/runs",
            title="Runs",
            query=query,
            rows=rows,
            count=count,
            number=number,
            pages=-(-count // ROWS),
            first=(number - 1) * ROWS + 1,
            last=(number - 1) * ROWS + len(rows),
            link=urlencode(filters) + "&" if filters else "",
            this=f"/runs?{urlencode(filters)}",
            asked=filters,
            reading=None if complete else (self._index.known, self._index.total),
            trouble=self._index.trouble,
            **values,
        )

    @_page
    def run(self, request: Request) -> Response:
        folder = self._folder(request.path_params)
        trouble = notes_trouble = ""
        noted = notes.Notes()
        try:
            noted = notes.read(folder)
        except ConfigError as error:
            notes_trouble = str(error)
        source = self._cache.of(folder)
        try:
            shown = source.whole()
        except SdlError as error:
            self._cache.forget(folder)
            trouble = str(error).replace(str(self._runs), "runs", 1)
            shown = source.parts(None)  # the part that could be read
        path = f"/runs/{render.part(folder.parent.name)}/{render.part(folder.name)}"
        return self.page(
            "run.html.j2",
            title=folder.parent.name,
            events="" if source.ended or trouble else f"{path}/events",
            campaign=folder.parent.name,
            started=start_time(folder.name),
            run=folder.name,
            path=path,
            live=source.picture.shown(""),
            parts=shown["parts"],
            notes=noted,
            trouble=trouble,
            notes_trouble=notes_trouble,
        )

    @_page
    def start(self, request: Request) -> Response:
        instruments = self._lab.status().get("instruments", ())
        return self.page("start.html.j2", here="/start", title="Start", instruments=instruments, example=EXAMPLE)

    @_page
    def report(self, request: Request) -> Response:
        body = self._reports.page(self._folder(request.path_params))
        # The report declares a policy with the hash of its style sheet; these headers add what a page cannot declare.
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
        return render.answer(body, "text/html; charset=utf-8", content_security_policy=policy)

    def static(self, request: Request) -> Response:
        response = render.static(str(request.path_params["name"]), str(request.path_params["mark"]))
        if response is None:
            raise Refused(404, "no such file")
        return response

    async def notes(self, request: Request) -> Response:
        """Replace note and tags; the guard has checked the token."""
        from starlette.concurrency import run_in_threadpool

        folder = self._folder(request.path_params)
        try:
            given = json.loads(await request.body())
            note, tags, seen = given.pop("note"), given.pop("tags"), given.pop("version")
            by = given.pop("by", "") or "unknown"
            good = all(isinstance(text, str) for text in (note, by, *tags)) and type(seen) is int and not given
            if not good or not isinstance(tags, list) or len(by) > 80 or not by.isprintable():
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Refused(400, "the body must be {note, tags, version, by}") from None

        def save() -> notes.Notes:
            with self._saving:
                return notes.write(folder, note, tags, seen, by, time.time())

        try:
            after = await run_in_threadpool(save)
        except ConfigError as error:
            raise Refused(409, str(error)) from error
        except SdlError as error:
            raise Refused(503, str(error)) from error
        self._index.forget()
        answer = {"done": "Notes saved.", "version": after.version}
        return render.answer(json.dumps(answer).encode(), "application/json")

    # Streams -----------------------------------------------------------------------------------------------------
    async def _home_events(self, params: Mapping[str, Any], receive: Receive, send: Send) -> None:
        await self._hub.stream("/", self._home, receive, send)

    async def _run_events(self, params: Mapping[str, Any], receive: Receive, send: Send) -> None:
        folder = self._folder(params)
        await self._hub.stream(_short(folder), lambda: RunFeed(folder, self._lab), receive, send)

    def _home(self) -> HomeFeed:
        return HomeFeed(self._lab, self._index, self._cache, self._site.zone)

    # Runs --------------------------------------------------------------------------------------------------------
    def _folder(self, params: Mapping[str, Any]) -> Path:
        """The directory of a run.

        Raises:
            Refused: no such run.
        """
        campaign, run = str(params["campaign"]), str(params["run"])
        names = (campaign, run)
        missing = Refused(404, f"no run {quoted(f'{campaign}/{run}')}")
        if any(not n or n.startswith(".") or len(n) > 255 or set(n) & {"/", "\\", "\0"} for n in names):
            raise missing
        folder = self._runs / campaign / run
        try:
            inside = (folder / FILE).resolve(strict=True) == self._runs.resolve() / campaign / run / FILE
        except (OSError, ValueError, RuntimeError):
            raise missing from None
        if not inside:  # a link to somewhere else
            raise missing
        return folder


class _Stream:
    """A stream of events as an ASGI application."""

    def __init__(self, serve: Callable[[Mapping[str, Any], Receive, Send], Any]) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": render.HEADERS})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._serve(scope["path_params"], receive, send)


def _short(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"
