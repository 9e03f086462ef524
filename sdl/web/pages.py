"""The web pages and their routes, for the server of a lab or of `sdl web`; `sdl.lab.http.auth` checks requests."""

from __future__ import annotations

import html
import re
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sdl.errors import ConfigError, SdlError
from sdl.extras import own_version
from sdl.lab.http.api import http_result
from sdl.lab.http.auth import identity_of, quoted
from sdl.lab.http.control import Controller
from sdl.lab.http.token import TOKEN, Credentials
from sdl.report.page import THEMES, inline_figures, with_theme
from sdl.runs import notes
from sdl.runs.index import Index, cache_folder
from sdl.store import trial_files
from sdl.store.archived import CACHE, opened
from sdl.store.resolve import run_below, start_time
from sdl.web import render
from sdl.web.feeds import HomeFeed, LabFeed, RunCache, RunFeed
from sdl.web.made_files import DOWNLOADS, BeingMade, FileJob, MadeFiles, comparison_of, download_of, model_of, report_of
from sdl.web.sse import Feed, Hub
from sdl.web.start.api import Backend, backend, start_routes
from sdl.web.start.launcher import Launcher
from sdl.web.start.page import start_page
from sdl.web.workbench import listing

MOST_COMPARED = 200
"""Most runs in one comparison."""


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
    """
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
        Route("/compare", pages.compare),
        Route("/start", pages.start),
        Route("/events", pages.home_events),
        Route(run, pages.run),
        Route(f"{run}/events", pages.run_events),
        Route(f"{run}/report", pages.report),
        Route(f"{run}/model", pages.model),
        Route(f"{run}/download/{{name}}", pages.download),
        Route(f"{run}/notes", pages.notes, methods=["POST"]),
        Route(f"{run}/files", pages.add_file, methods=["POST"]),
        Route(f"{run}/files/{{name}}", pages.file),
        Route("/static/{mark}/{name}", pages.static),
    ]


def address(folder: Path) -> str:
    """The address of the page of a run."""
    return f"/runs/{render.part(folder.parent.name)}/{render.part(folder.name)}"


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
        self._index, self._made = Index(runs, folder), MadeFiles(folder)
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
        values = listing(self._index, request.query_params, self._site["zone"])
        return self.page("runs.html.j2", here="/runs", title="Runs", **values)

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
        path = address(folder)
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
            downloads=DOWNLOADS,
            archived=CACHE in folder.parts,
        )

    @_page
    def start(self, request: Request) -> Response:
        values = start_page(self._behind, self._lab.control, request.query_params)
        return self.page("start.html.j2", here="/start", title="Start a campaign", **values)

    @_page
    def report(self, request: Request) -> Response:
        folder = self._folder(request.path_params)
        return self._standalone(request, report_of(folder), address(folder), "Back to the run")

    @_page
    def model(self, request: Request) -> Response:
        """The figures of the forward model of a run."""
        folder = self._folder(request.path_params)
        job, path = model_of(folder), address(folder)
        if (content := self._content(request, job)) is None:
            return self._making(request, job, path, "Back to the run")
        figures = inline_figures(content.decode())
        return self.page("model.html.j2", title=f"Model of {folder.parent.name}", path=path, figures=figures)

    @_page
    def compare(self, request: Request) -> Response:
        """The comparison of the runs `campaign/run` that the parameters `run` name."""
        names = list(dict.fromkeys(request.query_params.getlist("run")))
        if not 0 < len(names) <= MOST_COMPARED:
            raise HTTPException(400, f"choose 1 to {MOST_COMPARED} runs to compare; these are {len(names)}")
        parts = [name.partition("/") for name in names]
        folders = [self._folder({"campaign": campaign, "run": run}) for campaign, _, run in parts]
        return self._standalone(request, comparison_of(folders), "/runs", "Back to the runs")

    @_page
    def download(self, request: Request) -> Response:
        """One of `DOWNLOADS`, to be kept."""
        folder, name = self._folder(request.path_params), str(request.path_params["name"])
        if name not in DOWNLOADS:
            raise HTTPException(404, f"no download {quoted(name)}; there are {', '.join(DOWNLOADS)}")
        job, path = download_of(folder, name), address(folder)
        if (content := self._content(request, job)) is None:
            return self._making(request, job, path, "Back to the run", "The file is ready, and is being downloaded.")
        title = re.sub(r"[^A-Za-z0-9._-]", "_", f"{folder.parent.name}-{folder.name.rpartition('-')[2]}")
        return render.attachment(content, f"{title}-{name}")

    def _standalone(self, request: Request, job: FileJob, back: str, back_text: str) -> Response:
        """A page that `sdl` has made, with a link back, in the theme of the parameter `theme`."""
        if (body := self._content(request, job)) is None:
            return self._making(request, job, back, back_text)
        link = f'<nav aria-label="Back"><a href="{html.escape(back)}">{back_text}</a></nav>'
        if (theme := request.query_params.get("theme")) in THEMES:
            body = with_theme(body, theme)
        body = body.replace(b"<header>", b"<header>" + link.encode(), 1)
        # The page declares a policy with the hash of its style sheet; these headers add what a page cannot declare.
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
        return render.answer(body, "text/html; charset=utf-8", content_security_policy=policy)

    def _content(self, request: Request, job: FileJob) -> bytes | None:
        """The file; None where a browser is told that it is being made."""
        try:
            return self._made.content(job, wait="text/html" not in request.headers.get("accept", ""))
        except BeingMade:
            return None

    def _making(self, request: Request, job: FileJob, back: str, back_text: str, ready: str = "") -> Response:
        this = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        title = f"{job.noun.capitalize()} being made"
        values = {"noun": job.noun, "this": this, "back": back, "back_text": back_text, "ready": ready}
        return self.page("making.html.j2", 202, title=title, **values)

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

        def save() -> notes.Notes | notes.NotesChanged:
            with self._saving:
                try:
                    return notes.write(folder, change.note, change.tags, change.version, identity.name, time.time())
                except notes.NotesChanged as changed:
                    return changed

        after = await run_in_threadpool(http_result, save)
        if isinstance(after, notes.NotesChanged):
            return render.json_answer({"error": str(after), "now": after.now.model_dump(mode="json")}, 409)
        self._index.forget()
        return render.json_answer({"done": "Notes saved.", "version": after.version})

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

        name = await run_in_threadpool(http_result, save)
        return render.json_answer({"done": "File added.", "name": name})

    def file(self, request: Request) -> Response:
        """A file beside a trial, to be kept and not shown."""
        name = str(request.path_params["name"])
        try:
            content = trial_files.read(self._folder(request.path_params), name)
        except ConfigError as error:
            raise HTTPException(404, str(error)) from error
        except SdlError as error:
            raise HTTPException(503, str(error)) from error
        return render.attachment(content, name)

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
        """The directory of a run; of an archived one that of its unpacked copy.

        Raises:
            HTTPException: no such run, or its archive is damaged.
        """
        name = f"{params['campaign']}/{params['run']}"
        if (folder := run_below(self._runs, name)) is None:
            raise HTTPException(404, f"no run {quoted(name)}")
        try:
            return opened(folder)
        except SdlError as error:
            raise HTTPException(503, str(error)) from error
