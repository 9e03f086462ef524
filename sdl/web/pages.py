"""The web pages and their routes, for the server of a lab or of `sdl web`; `sdl.lab.http.auth` checks requests."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sdl import formatting
from sdl.errors import ConfigError, SdlError
from sdl.extras import own_version
from sdl.lab.http.auth import identity_of, quoted
from sdl.lab.http.control import Controller
from sdl.lab.http.token import TOKEN, Credentials
from sdl.parallel import children
from sdl.runs import notes
from sdl.runs.index import Index, cache_folder
from sdl.store import trial_files
from sdl.store.plainfile import open_existing
from sdl.store.resolve import FILE, lies_below, start_time
from sdl.web import render
from sdl.web.feeds import HomeFeed, LabFeed, RunCache, RunFeed
from sdl.web.query import parse_query
from sdl.web.sse import Feed, Hub
from sdl.web.start.api import Backend, backend, start_routes
from sdl.web.start.launcher import Launcher
from sdl.web.start.page import start_page

ROWS = 50
REPORT_SECONDS = 120.0
MAX_WAITING = 8  # requests for reports that are not ready; more would occupy the threads that an abort needs
CACHED_REPORTS = 40
"""Reports in the cache; an unchanged record is not drawn again."""
BUSY = "the server is making other reports; try again in a minute"


def routes(
    control: Controller | None,
    runs: Path,
    credentials: Credentials,
    *,
    name: str = "sdl",
    zone: str = "",
    launcher: Launcher | None = None,
) -> list[BaseRoute]:
    """The routes of all pages.

    Without a lab (`control` is None) campaigns are started by `launcher`; without that too only notes can be changed.
    Pages show the path of the access token, not the token. An empty `zone` is that of this machine.

    Raises:
        ConfigError: Jinja is not installed.
    """
    render.environment()
    site = {
        "name": name, "lab": control is not None, "runs": str(runs), "token": str(credentials.folder / TOKEN),
        "zone": zone, "version": own_version(), "starts": control is not None or launcher is not None,
    }  # fmt: skip
    behind = backend(control, runs, launcher)
    pages, run = _Pages(control, runs, site, behind), "/runs/{campaign}/{run}"
    return [
        *(start_routes(behind) if site["starts"] else ()),
        Route("/", pages.home),
        Route("/runs", pages.runs),
        Route("/start", pages.start),
        Route("/events", pages.home_events),
        Route(run, pages.run),
        Route(f"{run}/events", pages.run_events),
        Route(f"{run}/report", pages.report),
        Route(f"{run}/notes", pages.notes, methods=["POST"]),
        Route(f"{run}/files", pages.add_file, methods=["POST"]),
        Route(f"{run}/files/{{name}}", pages.file),
        Route("/static/{mark}/{name}", pages.static),
    ]


def _page(view: Callable[[_Pages, Request], Response]) -> Callable[[_Pages, Request], Response]:
    @wraps(view)
    def shown(self: _Pages, request: Request) -> Response:
        try:
            return view(self, request)
        except HTTPException as error:
            status = error.status_code
            request.scope["refused"] = error.detail  # logged by the filter of requests
            title = {404: "Not found", 400: "Invalid request"}.get(status, "Not available")
            return self.page("error.html.j2", status, title=title, status=status, message=error.detail)

    return shown


class _Pages:
    """All pages of one server; `site` holds what they have in common."""

    def __init__(self, control: Controller | None, runs: Path, site: Mapping[str, Any], behind: Backend) -> None:
        self._runs, self._site, self._behind = runs, site, behind
        folder = cache_folder(runs)
        self._index, self._reports = Index(runs, folder), Reports(folder)
        self._lab, self._hub = LabFeed(control, behind.launcher), Hub()
        self._cache, self._saving = RunCache(runs, self._lab), threading.Lock()

    def page(self, template: str, code: int = 200, **values: Any) -> Response:
        return render.page(template, code, **{"site": self._site, "here": "", "events": "", **values})

    # Pages -------------------------------------------------------------------------------------------------------
    @_page
    def home(self, request: Request) -> Response:
        shown = self._home().look()
        title = f"Lab {self._site['name']}" if self._site["lab"] else "Runs on this machine"
        return self.page("home.html.j2", here="/", events="/events", title=title, parts=shown["parts"])

    @_page
    def runs(self, request: Request) -> Response:
        query, number = parse_query(request.query_params, self._site["zone"])
        complete = self._index.poke()
        rows, count = self._index.page(query, number, ROWS)
        for row in rows:
            row["error_text"] = formatting.percent(row["error"]) if row["error"] is not None else ""
        filters = {key: value for key, value in request.query_params.items() if key != "page" and value}
        first = (number - 1) * ROWS
        return self.page(
            "runs.html.j2",
            here="/runs",
            title="Runs",
            query=query,
            rows=rows,
            count=count,
            number=number,
            pages=-(-count // ROWS),
            first=first + 1,
            last=first + len(rows),
            link=urlencode(filters) + "&" if filters else "",
            this=f"/runs?{urlencode(filters)}",
            filtered=filters,
            reading=None if complete else (self._index.known, self._index.total),
            trouble=self._index.trouble,
            outcomes=self._index.choices("outcome"),
            solvers=self._index.choices("solver"),
            tags=self._index.choices("tag"),
        )

    @_page
    def run(self, request: Request) -> Response:
        folder = self._folder(request.path_params)
        trouble = notes_trouble = ""
        try:
            noted = notes.read(folder)
        except ConfigError as error:
            noted, notes_trouble = notes.Notes(), str(error)
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
            later=f"{path}/events",
            campaign=folder.parent.name,
            started=start_time(folder.name),
            run=folder.name,
            path=path,
            live=source.view.shown(""),
            parts=shown["parts"],
            notes=noted,
            trouble=trouble,
            notes_trouble=notes_trouble,
        )

    @_page
    def start(self, request: Request) -> Response:
        values = start_page(self._behind, self._lab.control, request.query_params)
        return self.page("start.html.j2", here="/start", title="Start a campaign", **values)

    @_page
    def report(self, request: Request) -> Response:
        body = self._reports.page(self._folder(request.path_params))
        # The report declares a policy with the hash of its style sheet; these headers add what a page cannot declare.
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
        return render.answer(body, "text/html; charset=utf-8", content_security_policy=policy)

    def static(self, request: Request) -> Response:
        response = render.static(str(request.path_params["name"]), str(request.path_params["mark"]))
        if response is None:
            raise HTTPException(404, "no such file")
        return response

    async def notes(self, request: Request) -> Response:
        """Replace note and tags; the name of the token is kept with them."""
        identity = identity_of(request)
        folder = self._folder(request.path_params)
        try:
            change = notes.NotesChange.model_validate_json(await request.body())
        except ValueError:
            raise HTTPException(400, "the body must be {note, tags, version}") from None

        def save() -> notes.Notes:
            with self._saving:
                return notes.write(folder, change.note, change.tags, change.version, identity.name, time.time())

        try:
            after = await run_in_threadpool(save)
        except ConfigError as error:
            raise HTTPException(409, str(error)) from error
        except SdlError as error:
            raise HTTPException(503, str(error)) from error
        self._index.forget()
        return render.answer(
            json.dumps({"done": "Notes saved.", "version": after.version}).encode(), "application/json"
        )

    async def add_file(self, request: Request) -> Response:
        """Put a file beside a trial; the filter of requests has checked how large it is.

        The body is the file; `trial` and `name` are in the query. Only safe characters of the name's last part count.
        """
        folder, query = self._folder(request.path_params), request.query_params
        if not re.fullmatch(r"[0-9]{1,9}", trial := query.get("trial", "")):
            raise HTTPException(400, "trial: must be a whole number from 0 on")
        content = await request.body()

        def save() -> str:
            if int(trial) >= self._cache.of(folder).count():
                raise ConfigError(f"there is no trial {int(trial)} yet")
            with self._saving:
                return trial_files.add(folder, int(trial), query.get("name", ""), content)

        try:
            name = await run_in_threadpool(save)
        except ConfigError as error:
            raise HTTPException(409, str(error)) from error
        except SdlError as error:
            raise HTTPException(503, str(error)) from error
        return render.answer(json.dumps({"done": "File added.", "name": name}).encode(), "application/json")

    def file(self, request: Request) -> Response:
        """A file beside a trial, to be kept and not shown."""
        name = str(request.path_params["name"])
        try:
            content = trial_files.read(self._folder(request.path_params), name)
        except ConfigError as error:
            raise HTTPException(404, str(error)) from error
        except SdlError as error:
            raise HTTPException(503, str(error)) from error
        policy = "default-src 'none'; frame-ancestors 'none'; sandbox"
        kept = f'attachment; filename="{name}"'
        return render.answer(
            content, "application/octet-stream", content_security_policy=policy, content_disposition=kept
        )

    # Streams -----------------------------------------------------------------------------------------------------
    async def home_events(self, request: Request) -> ASGIApp:
        return self._stream(request, "/", self._home)

    async def run_events(self, request: Request) -> ASGIApp:
        folder = self._folder(request.path_params)
        return self._stream(request, f"{folder.parent.name}/{folder.name}", lambda: RunFeed(folder, self._lab))

    def _stream(self, request: Request, key: str, feed: Callable[[], Feed]) -> ASGIApp:
        """The answer to a request for the events of a feed."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await self._hub.stream(key, feed, receive, send)

        return render.answer(b"", "text/event-stream") if request.method == "HEAD" else serve

    def _home(self) -> HomeFeed:
        return HomeFeed(self._lab, self._index, self._cache, self._site["zone"], self._site["runs"])

    # Runs --------------------------------------------------------------------------------------------------------
    def _folder(self, params: Mapping[str, Any]) -> Path:
        """The directory of a run.

        Raises:
            HTTPException: no such run.
        """
        names = str(params["campaign"]), str(params["run"])
        strange = any(not n or n.startswith(".") or len(n) > 255 or set(n) & {"/", "\\", "\0"} for n in names)
        if not strange and lies_below(self._runs, *names):
            return self._runs.joinpath(*names)
        raise HTTPException(404, f"no run {quoted('/'.join(names))}")


class Reports:
    """The reports of runs, kept below `cache`; made in a separate process because drawing takes seconds."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache / "reports"
        self._lock, self._waiting = threading.Lock(), threading.BoundedSemaphore(MAX_WAITING)

    def page(self, folder: Path) -> bytes:
        """The report of a run as of now.

        Raises:
            HTTPException: it cannot be made, or others take too long.
        """
        try:
            info = (folder / FILE).stat()
            key = f"{folder.resolve()}\0{info.st_size}\0{info.st_mtime_ns}"
            file = self._cache / f"{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:24]}.html"
            if not file.exists():
                if not self._waiting.acquire(blocking=False):
                    raise HTTPException(503, BUSY)
                try:
                    self._make_alone(folder, file)
                finally:
                    self._waiting.release()
            with open_existing(file) as stream:
                return stream.read()
        except OSError as error:
            raise HTTPException(503, f"the report cannot be stored: {error}") from error

    def _make_alone(self, folder: Path, file: Path) -> None:
        """Make a report that is not ready, after those that other requests wait for."""
        if not self._lock.acquire(timeout=REPORT_SECONDS / 2):
            raise HTTPException(503, BUSY)
        try:
            if not file.exists():
                self._make(folder, file)
        finally:
            self._lock.release()

    def _make(self, folder: Path, file: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        command = children.command("report", str(folder.resolve()), "-o", str(file), "--quiet")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=REPORT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise HTTPException(
                503, f"the report was not ready within {REPORT_SECONDS:g} s; try `sdl report`"
            ) from None
        if done.returncode or not file.exists():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise HTTPException(503, f"the report cannot be made: {lines[-1]}")
        for path in sorted(self._cache.glob("*.html"), key=lambda path: path.stat().st_mtime)[:-CACHED_REPORTS]:
            path.unlink(missing_ok=True)
