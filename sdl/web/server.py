"""The server of `sdl web`, without a lab: the pages of a directory of runs, and the API of ask and tell."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdl.errors import ConfigError
from sdl.extras import require
from sdl.lab.http.token import TOKEN, Credentials


def serve(
    runs: Path,
    *,
    port: int = 0,
    url: str | None = None,
    instruments: Mapping[str, Mapping[str, Any]] | None = None,
    on_listen: Callable[[str, Path], None],
    on_close: Callable[[Sequence[str]], None] = lambda runs: None,
) -> str:
    """Serve until a signal stops the server.

    Args:
        runs: directory of the runs; made if only that is missing.
        port: 0 for any free one.
        url: address at which a proxy serves the page; requests to it are accepted.
        instruments: instruments of files, as plain values by name, on which the page may start campaigns.
        on_listen: called with the address of the server and the file of the token.
        on_close: called with the campaigns that were started from the page and are interrupted now.

    Returns:
        The name of the signal.

    Raises:
        ConfigError: the port is taken, or the directory or a package is missing.
        RecordError: the token cannot be written.
    """
    require("pages", "web", "starlette", "uvicorn")
    from sdl.lab.http.app import HOST, POLL_SECONDS, HttpServer, listen, stop_signals
    from sdl.lab.http.asking import ask_routes
    from sdl.lab.http.auth import filtered_app, whoami_route
    from sdl.web.pages import routes
    from sdl.web.start.launcher import Launcher

    _make_folder(runs)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(listen(port)))
        number = listener.getsockname()[1]
        credentials = stack.enter_context(contextlib.closing(Credentials(f"web-{number}", runs, runs)))
        launcher = Launcher(runs, instruments)
        pages = routes(None, runs, credentials, launcher=launcher)
        app = filtered_app([*pages, *ask_routes(runs), whoami_route()], credentials, number, url=url)
        server = HttpServer(app, listener, "sdl web")
        stack.callback(lambda: on_close(launcher.close()))
        signals = stack.enter_context(stop_signals(lambda: None))
        stack.callback(server.close)
        server.start()
        on_listen(f"http://{HOST}:{number}", credentials.folder / TOKEN)
        while not signals:
            time.sleep(POLL_SECONDS)
            if not server.alive:
                raise ConfigError("the server stopped unexpectedly")
    return signals[0]


def _make_folder(runs: Path) -> None:
    """Make the directory of the runs, before the first one.

    Raises:
        ConfigError: it cannot be made, or the directory around it is missing.
    """
    try:
        runs.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise ConfigError(f"--runs {runs}: there is no directory {runs.parent}") from error
    except OSError as error:
        raise ConfigError(f"--runs {runs}: no directory: {error.strerror}") from error
