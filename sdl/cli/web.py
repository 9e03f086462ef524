"""The command `sdl web`, and the page of a lab."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sdl.cli.options import RUNS, Runs, option
from sdl.cli.terminal import say
from sdl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute

    from sdl.lab.config.file import ResolvedLab
    from sdl.lab.http.control import Controller
    from sdl.lab.http.token import Credentials


def web(
    runs: Runs = RUNS,
    port: Annotated[int, option("--port", "Port of the page on 127.0.0.1; 0: any free one.", min=0, max=65535)] = 0,
    url: Annotated[
        str | None,
        option(
            "--url URL", "Address at which a proxy serves the page to phones and others: https://bench.example.org."
        ),
    ] = None,
    instrument: Annotated[
        list[Path] | None,
        option(
            "--instrument FILE",
            "An instrument that campaigns may be started on: its file, or a campaign's with one. May be repeated.",
        ),
    ] = None,
) -> None:
    """Serve a web page with all runs, live views and reports.

    \b
    sdl web --port 8080
    sdl web --instrument my-rig.yaml       campaigns on an instrument of your own
    sdl web --port 8080 --url https://bench.example.org
    sdl lab run lab.yaml                   the same page, with instruments, schedule and controls of the lab

    With the access token a person can start and continue campaigns on the page, change notes and tags, and enter the
    readings that campaigns of kind manual ask for. Ctrl-C or SIGTERM stops it, with exit code 0; the campaigns
    that were started from the page are interrupted, and can be continued.
    """
    from sdl.cli.instrument import load_instrument
    from sdl.notify.model import parse_page
    from sdl.web.server import serve
    from sdl.web.start.instruments import of_files

    try:
        address = parse_page(url) if url is not None else None
    except ValueError as error:
        raise ConfigError(f"--url: {error}") from error

    def announce(url: str, token: Path) -> None:
        say(f"{url} shows the runs in {runs} until Ctrl-C; the access token for changes is in {token}")
        sys.stdout.flush()

    def interrupted(started: Sequence[str]) -> None:
        for run in started:
            say(f"interrupted: {run}; continue it with sdl resume {runs / run}")

    own = of_files({file: load_instrument(file, ()) for file in instrument or ()})
    serve(runs, port=port, url=address, instruments=own, on_listen=announce, on_close=interrupted)


class LabPage:
    """The page of a lab, for `sdl.lab.serve`."""

    def __init__(self, loaded: ResolvedLab) -> None:
        self._loaded = loaded

    def routes(self, control: Controller, runs: Path, credentials: Credentials) -> Sequence[BaseRoute]:
        """The routes of the page."""
        from sdl.web.pages import routes

        return routes(control, runs, credentials, name=self._loaded.lab.name, zone=self._loaded.lab.timezone)

    def announce(self, url: str) -> None:
        """Print the address."""
        say(f"page: {url}")
        sys.stdout.flush()
