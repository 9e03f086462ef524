"""`sdl web`: the pages by themselves, over a directory of runs that no lab of this process writes to."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from sdl.errors import ConfigError
from sdl.extras import missing
from sdl.lab.http.app import HOST, START_SECONDS, http_server, listen
from sdl.lab.http.auth import Guard, Refused
from sdl.lab.http.token import TOKEN, Credentials

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def create_app(runs: Path, door: Credentials, port: int) -> Guard:
    """The pages behind their guard.

    Args:
        runs: where the runs are.
        door: knows the token, which notes need.
        port: where it is served: part of every Host and Origin that is let in.
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
    return Guard(Starlette(routes=routes(None, runs, door), exception_handlers=handlers), door, port)


def serve(runs: Path, *, port: int = 0, told: Callable[[str, Path], None]) -> str:
    """Serves until it is asked to end.

    Args:
        runs: where the runs are.
        port: 0 for any that is free.
        told: called with the address and the file of the token once it listens.

    Returns:
        The signal that ended it.

    Raises:
        ConfigError: the port is taken, there is no such directory, or a package is missing.
        RecordError: the token cannot be written.
    """
    try:
        import starlette  # noqa: F401 - told now, and not with the first page
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(missing("pages", "web", error)) from error
    if not runs.is_dir():
        raise ConfigError(f"--runs {runs}: no such directory")
    asked: list[str] = []
    with contextlib.ExitStack() as stack:
        place = listen(port)
        stack.callback(place.close)
        number = place.getsockname()[1]
        door = Credentials(f"web-{number}", runs, runs)
        stack.callback(door.close)
        server = http_server(create_app(runs, door, number))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, name="sdl web", daemon=True)
        end = threading.Event()

        def stop(number: int, _: FrameType | None) -> None:
            asked.append(signal.Signals(number).name)
            end.set()

        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            thread.start()
            until = time.monotonic() + START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > until:
                    raise ConfigError(f"http://{HOST}:{number}: the page's server did not come up")
                end.wait(0.01)
            told(f"http://{HOST}:{number}", door.folder / TOKEN)
            while not end.wait(1.0):
                if not thread.is_alive():
                    raise ConfigError("the page's server ended by itself")
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)
            for one, handler in before.items():
                signal.signal(one, handler)
    return asked[0]
