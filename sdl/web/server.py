"""The server of `sdl web`: the pages over a directory of runs, without a lab."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from sdl.errors import ConfigError
from sdl.extras import missing
from sdl.lab.http.app import HOST, POLL_SECONDS, HttpServer, listen
from sdl.lab.http.auth import Refused, RequestFilter
from sdl.lab.http.token import TOKEN, Credentials

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def create_app(runs: Path, credentials: Credentials, port: int) -> RequestFilter:
    """The pages behind request checks.

    Args:
        runs: directory of the runs.
        credentials: the access token.
        port: of the server; part of every accepted Host and Origin.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse

    from sdl.web.pages import routes

    async def refused(request: Request, error: Exception) -> Response:
        status = int(getattr(error, "status", 0) or getattr(error, "status_code", 500))
        message = str(getattr(error, "message", "") or getattr(error, "detail", ""))
        request.scope["refused"] = message
        return JSONResponse({"error": message, "status": status}, status)

    handlers: dict[Any, Any] = {Refused: refused, HTTPException: refused}
    return RequestFilter(
        Starlette(routes=routes(None, runs, credentials), exception_handlers=handlers), credentials, port
    )


def serve(runs: Path, *, port: int = 0, on_listen: Callable[[str, Path], None]) -> str:
    """Serve until a signal stops the server.

    Args:
        runs: directory of the runs.
        port: 0 for any free one.
        on_listen: called with the address and the file of the token.

    Returns:
        The name of the signal.

    Raises:
        ConfigError: the port is taken, or the directory or a package is missing.
        RecordError: the token cannot be written.
    """
    try:
        import starlette  # noqa: F401 - reported now, not with the first page
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(missing("pages", "web", error)) from error
    if not runs.is_dir():
        raise ConfigError(f"--runs {runs}: no such directory")
    signals: list[str] = []
    with contextlib.ExitStack() as stack:
        listener = listen(port)
        stack.callback(listener.close)
        number = listener.getsockname()[1]
        credentials = Credentials(f"web-{number}", runs, runs)
        stack.callback(credentials.close)
        server = HttpServer(create_app(runs, credentials, number), listener, "sdl web")

        def stop(number: int, _: FrameType | None) -> None:
            signals.append(signal.Signals(number).name)  # and no lock, which the interrupted thread may hold

        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            server.start()
            on_listen(f"http://{HOST}:{number}", credentials.folder / TOKEN)
            while not signals:
                time.sleep(POLL_SECONDS)
                if not server.alive:
                    raise ConfigError("the server stopped unexpectedly")
        finally:
            server.close()
            for one, handler in before.items():
                signal.signal(one, handler)
    return signals[0]
