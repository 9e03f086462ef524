"""A running lab's HTTP server, in a thread of its process: opened before the loop begins, closed after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sdl.errors import ConfigError
from sdl.extras import missing
from sdl.lab.http.token import Credentials
from sdl.lab.systemd import Watchdog
from sdl.lab.workers.base import Control

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from sdl.lab.http.auth import RequestFilter

HOST = "127.0.0.1"
START_SECONDS = 10.0
STALLED_SECONDS = 30.0  # after so long a connection whose other side takes nothing is ended by the system
POLL_SECONDS = 0.05  # how often the server looks whether it is to end
GRACE_SECONDS = 3  # what is being answered when the server ends has so long; open streams end at once
MAX_CONNECTIONS = 128
"""Connections, the page's streams of events (at most 64) among them; each is an open file of the lab's process."""


def require_packages() -> None:
    """Looks whether what a lab's server is made of is installed.

    Raises:
        ConfigError: starlette, uvicorn or prometheus-client is not.
    """
    try:
        import prometheus_client  # noqa: F401 - told now, and not with the first question
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(missing("labs", "lab", error)) from error


class LabServer:
    """Serves `/api/v1`, `/healthz`, `/readyz` and `/metrics` of one lab on this machine.

    Args:
        control: what may be asked of the lab.
        lab: its name.
        record: the folder of its record.
        file: the lab file.
        runs: where the runs go.
        watchdog: knows when the loop last went round.
        port: 0 for any that is free.
        waiting: how many messages wait to be sent.
        page: makes further routes, once the door is there.

    Attributes:
        url: where it is served.
        door: its token.

    Raises:
        ConfigError: the port is taken, or starlette, uvicorn or prometheus-client is not installed.
        RecordError: the token cannot be written.
    """

    def __init__(
        self,
        control: Control,
        *,
        lab: str,
        record: Path,
        file: Path,
        runs: Path,
        watchdog: Watchdog,
        port: int = 0,
        waiting: Callable[[], int] = lambda: 0,
        page: Callable[[Credentials], Sequence[BaseRoute]] = lambda door: (),
    ) -> None:
        require_packages()
        from sdl.lab.http.api import create_app
        from sdl.lab.http.health import Readiness
        from sdl.lab.http.metrics import Metrics

        self._socket = listen(port)
        number = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{number}"
        try:
            self.door = Credentials(lab, record, file)
            self.door.announce("")  # one that is starting is a lab too: who asks for the only one must not get another
            app = create_app(
                control,
                self.door,
                number,
                runs=runs,
                alive=watchdog.age,
                unready=Readiness(control, record, runs),
                metrics=Metrics(control, runs, waiting=waiting).text,
                routes=page(self.door),
            )
        except BaseException:
            self._socket.close()
            raise
        self._server = HttpServer(app, self._socket, "sdl lab server")

    def start(self) -> None:
        """Begin to serve, and announce the address to the command line.

        Raises:
            ConfigError: it did not come up.
        """
        self._server.start()
        self.door.announce(self.url)

    def close(self) -> None:
        """Remove the door's files, answer open requests, and end. May be called twice."""
        self.door.close()
        self._server.close()


class HttpServer:
    """An application of a lab or of `sdl web`, served by uvicorn in a thread.

    Args:
        app: the application behind its guard.
        listening: the socket, closed with the server.
        name: of the thread.
    """

    def __init__(self, app: RequestFilter, listening: socket.socket, name: str) -> None:
        import uvicorn

        self._app, self._socket = app, listening
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=_bounded(app, MAX_CONNECTIONS),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to serve.

        Raises:
            ConfigError: it did not come up.
        """
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self.alive or time.monotonic() > until:
                host, port = self._socket.getsockname()
                raise ConfigError(f"http://{host}:{port}: the server did not come up")
            time.sleep(0.01)

    def close(self) -> None:
        """Answer open requests, and end. May be called twice."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(START_SECONDS)
        with contextlib.suppress(OSError):
            self._socket.close()

    async def _serve(self) -> None:
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        while not (self._server.should_exit or serving.done()):
            await asyncio.sleep(POLL_SECONDS)
        self._app.end()  # open streams, which uvicorn would wait for
        await serving


def _bounded(app: RequestFilter, limit: int) -> type[asyncio.Protocol]:
    """HTTP as uvicorn speaks it; beyond `limit` connections, the oldest that has sent no whole request is closed.

    So nobody keeps others, and an abort, out by opening connections and sending nothing, or half of a request.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    connections: list[asyncio.BaseTransport] = []  # the oldest first

    class Bounded(asyncio.Protocol):
        def __init__(self, **options: Any) -> None:
            self._http = H11Protocol(**options)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connections[:] = [*(each for each in connections if not each.is_closing()), transport]
            transport.set_protocol(self._http)
            self._http.connection_made(cast(asyncio.Transport, transport))
            if len(connections) > limit:
                idle = (each for each in connections if not app.answers(each.get_extra_info("peername")))
                cast(asyncio.Transport, next(idle, transport)).abort()

    return Bounded


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine alone.

    Args:
        port: 0 for any that is free.

    Raises:
        ConfigError: it is taken.
    """
    # With its protocol named: asyncio sends small answers at once (TCP_NODELAY) only where it is.
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # a port just left can be taken again; on Windows it would let two have one
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; each connection has it from here
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED_SECONDS * 1000))
        found.bind((HOST, port))
        found.listen(64)
    except OSError as error:
        found.close()
        raise ConfigError(f"cannot listen at {HOST}:{port}: {error.strerror}; another lab may have the port") from error
    return found
