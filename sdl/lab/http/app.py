"""A running lab's HTTP server, in a thread of its process: opened before the loop begins, closed after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.routing import BaseRoute
from uvicorn.protocols.http.h11_impl import H11Protocol

from sdl.errors import ConfigError
from sdl.lab.http.api import create_app
from sdl.lab.http.auth import RequestFilter
from sdl.lab.http.control import Controller
from sdl.lab.http.monitoring import Metrics, Readiness
from sdl.lab.http.named_tokens import NamedTokens
from sdl.lab.http.submissions import Submissions
from sdl.lab.http.token import Credentials
from sdl.lab.systemd import Watchdog

HOST = "127.0.0.1"
START_SECONDS = 10.0  # for the server thread to begin and to end
STALLED_SECONDS = 30.0  # after which the system ends a connection whose client takes no data
POLL_SECONDS = 0.05  # between two checks of whether the server is to end
GRACE_SECONDS = 3  # for requests that are being answered when the server ends; open streams end at once
MAX_CONNECTIONS = 128  # with up to 64 event streams of the page; each is an open file of the lab's process


class LabServer:
    """Serves `/api/v1`, `/healthz`, `/readyz` and `/metrics` of one lab on this machine.

    Args:
        record: directory of its journal.
        watchdog: knows the time of the last tick.
        port: 0 for any free one.
        waiting: number of messages waiting to be sent.
        page: makes further routes.
        address: the address at which people reach the server behind a proxy.
        agents: tier of each agent of the lab file.
        submissions: handles rehearsals and submissions of agents.

    Attributes:
        url: address of the server.
        credentials: its address and access token on disk.

    Raises:
        ConfigError: the port is taken.
        RecordError: the access token cannot be written.
    """

    def __init__(
        self,
        control: Controller,
        *,
        lab: str,
        record: Path,
        file: Path,
        runs: Path,
        watchdog: Watchdog,
        port: int = 0,
        waiting: Callable[[], int] = lambda: 0,
        page: Callable[[Credentials], Sequence[BaseRoute]] = lambda credentials: (),
        address: str | None = None,
        agents: Mapping[str, str] | None = None,
        submissions: Submissions | None = None,
    ) -> None:
        with contextlib.ExitStack() as stack:
            listening = listen(port)
            stack.callback(listening.close)
            number = listening.getsockname()[1]
            self.url, self.credentials = (
                f"http://{HOST}:{number}",
                Credentials(lab, record, file, NamedTokens(record, agents)),
            )
            self.credentials.announce("")  # a lab that is starting counts: "the only lab" must not be another one
            app = create_app(
                control,
                self.credentials,
                number,
                runs=runs,
                alive=watchdog.age,
                unready=Readiness(control, record, runs),
                metrics=Metrics(control, runs, waiting=waiting).text,
                routes=page(self.credentials),
                url=address,
                submissions=submissions,
            )
            self._server = HttpServer(app, listening, "sdl lab server")
            stack.pop_all()

    def start(self) -> None:
        """Begin to serve, and announce the address to the command line.

        Raises:
            ConfigError: the server did not start.
        """
        self._server.start()
        self.credentials.announce(self.url)

    def close(self) -> None:
        """Remove address and token, answer open requests, and end. May be called twice."""
        self.credentials.close()
        self._server.close()


class HttpServer:
    """An application of a lab or of `sdl web`, served by uvicorn in a thread.

    Args:
        listening: the socket, closed with the server.
    """

    def __init__(self, app: RequestFilter, listening: socket.socket, name: str) -> None:
        self._app, self._socket = app, listening
        config = uvicorn.Config(
            app, http=_bounded(app, MAX_CONNECTIONS), ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_keep_alive=5, timeout_graceful_shutdown=GRACE_SECONDS,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name=name, daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to serve.

        Raises:
            ConfigError: the server did not start.
        """
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self.alive or time.monotonic() > until:
                host, port = self._socket.getsockname()
                raise ConfigError(f"http://{host}:{port}: the server did not start")
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
    """The HTTP protocol of uvicorn; beyond `limit` connections it closes the oldest one without a complete request.

    Clients that open connections and send nothing, or half a request, therefore cannot block others, or an abort.
    """
    connections: list[asyncio.BaseTransport] = []  # oldest first

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


@contextlib.contextmanager
def stop_signals(on_signal: Callable[[], None]) -> Iterator[list[str]]:
    """The names of the stop signals received so far; handlers are installed in the main thread only.

    Args:
        on_signal: called in the handler, so it must take no lock that the interrupted thread may hold.
    """
    signals: list[str] = []
    before = {}

    def handle(number: int, _: FrameType | None) -> None:
        signals.append(signal.Signals(number).name)
        on_signal()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine alone.

    Args:
        port: 0 for any free one.

    Raises:
        ConfigError: the port is taken.
    """
    # The protocol is named because asyncio sends small answers at once (TCP_NODELAY) only then.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # reuse a port just left; on Windows two servers could share it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED_SECONDS * 1000))
        listening.bind((HOST, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen at {HOST}:{port}: {error.strerror}; another lab may have the port") from error
    return listening
