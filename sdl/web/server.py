"""The server of `sdl web`: the pages over a directory of runs, and asking and telling, without a lab."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from sdl.errors import ConfigError
from sdl.extras import require
from sdl.lab.http.token import TOKEN, Credentials


def serve(runs: Path, *, port: int = 0, url: str | None = None, on_listen: Callable[[str, Path], None]) -> str:
    """Serve until a signal stops the server; `on_listen` is called with its address and the file of the token.

    `url` is an address at which a proxy serves the page; requests to it are accepted.

    Returns:
        The name of the signal.

    Raises:
        ConfigError: the port is taken, or the directory or a package is missing.
        RecordError: the token cannot be written.
    """
    require("pages", "web", "starlette", "uvicorn")
    from sdl.lab.http.app import HOST, POLL_SECONDS, HttpServer, listen, stop_signals
    from sdl.lab.http.asking import ask_routes
    from sdl.lab.http.auth import filtered_app
    from sdl.web.pages import routes

    if not runs.is_dir():
        raise ConfigError(f"--runs {runs}: no such directory")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(listen(port)))
        number = listener.getsockname()[1]
        credentials = stack.enter_context(contextlib.closing(Credentials(f"web-{number}", runs, runs)))
        app = filtered_app([*routes(None, runs, credentials), *ask_routes(runs)], credentials, number, url=url)
        server = HttpServer(app, listener, "sdl web")
        signals = stack.enter_context(stop_signals(lambda: None))
        stack.callback(server.close)
        server.start()
        on_listen(f"http://{HOST}:{number}", credentials.folder / TOKEN)
        while not signals:
            time.sleep(POLL_SECONDS)
            if not server.alive:
                raise ConfigError("the server stopped unexpectedly")
    return signals[0]
