"""`sdl twin serve`: the twin behind the HTTP surface of the real server, so that its clients work unchanged.

    with TwinServer(speed=100) as server:
        ClaudeLight(url=server.url)

Read from the source of the real one (github.com/jkitchin/claude-light, claude/app.py): `/api` clamps to 0 … 1, takes
what is missing or empty as 0, and answers a word with status 500 and a page; `/csv` clamps nothing and says the count
of 515nm alone; four requests are looked at at once; a client that hangs up does not stop its reading. Its web forms
(`/gm`, `/rgb`, `/session`) and its statistics are not served.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sdl.twin.faults import Fault
from sdl.twin.model import Plant
from sdl.twin.state import load
from sdl.twin.world import NotMeasured, Taken, World

THREADS = 4
"""Requests that the real server (waitress) looks at at once; the others wait in line."""
HOME = "https://github.com/jkitchin/claude-light?tab=readme-ov-file#Usage"
REFUSED_SECONDS = 0.5
"""How long nobody listens when a connection is refused, in real seconds."""
CSV_PAUSE = 1.0
METHODS = {"/": "GET", "/api": "GET", "/about": "GET", "/csv": "GET POST"}
PAGES = {
    404: ("Not Found", "The server has no such page."),
    405: ("Method Not Allowed", "This page cannot be asked for in that way."),
    500: ("Internal Server Error", "The server failed in the middle of its work."),
}


class TwinServer:
    """The twin on a port of this machine.

    Args:
        plant: the physics; a dark room by default.
        host: where to listen; other machines can only ask if it is one of this machine's own addresses.
        port: 0 for any that is free.
        start: when its time begins, seconds since 1970 UTC; the day of the plant's state by default.
        speed: how much faster than real time it lives.
        latency: seconds (of its time) that a reading takes; scattered as the state says by default.
        faults: what may go wrong.
        log: where every reading is written, one JSON object a line.

    Attributes:
        url: address of `/api`.
        world: what happens behind the wire.
    """

    def __init__(
        self,
        plant: Plant | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        start: float | None = None,
        speed: float = 1.0,
        latency: float | None = None,
        faults: Sequence[Fault] = (),
        log: Path | None = None,
    ) -> None:
        plant = plant or Plant(load("night-2025-10"))
        self.world = World(
            plant,
            start=plant.state.start.timestamp() if start is None else start,
            speed=speed,
            latency=latency,
            faults=faults,
            log=log,
        )
        self._http = _Server((host, port), self.world)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._http.server_address[1]}/api"
        self._thread = threading.Thread(target=self._http.listen, name="sdl twin", daemon=True)

    def __enter__(self) -> TwinServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self) -> None:
        """Serves in this thread until `close` is called from another, or a signal ends it."""
        self._http.listen()

    def close(self) -> None:
        """Ends every request, gives the port back, waits for the threads. May be called twice."""
        self.world.end()
        if self._thread.ident is not None:
            self._thread.join()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    """Listens, and stops listening where a connection is to be refused."""

    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], world: World) -> None:
        self.world = world
        self.timeout = 0.05
        self.workers = threading.BoundedSemaphore(THREADS)
        self.broken: set[Any] = set()  # connections that end with a reset
        self._open: set[Any] = set()
        self._shut, self._is_shut = threading.Event(), threading.Event()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer would look its own name up, which takes seconds where nobody knows it

    def listen(self) -> None:
        while not self.world.ended:
            if self._shut.is_set() or self.world.refuses():
                self._refuse()
            self.handle_request()

    def shut(self) -> None:
        """Stops listening before the answer goes out, so that whoever got it is refused when he comes back."""
        self._shut.set()
        self._is_shut.wait(1.0)

    def _refuse(self) -> None:
        self.socket.close()
        self._is_shut.set()
        again = True
        while again and self.world.wait_really(REFUSED_SECONDS):
            again = self.world.refuses()
        self.socket = socket.socket(self.address_family, self.socket_type)
        self._shut.clear()
        self._is_shut.clear()
        self.server_bind()
        self.server_activate()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(connection)
        return connection, peer

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if request in self.broken:
            self.broken.discard(request)
            self.close_request(request)  # without the polite end that would come before the reset
        else:
            super().shutdown_request(request)

    def server_close(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # ends a thread that waits for its client's next request
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    timeout = 120  # seconds that a connection may idle

    def version_string(self) -> str:
        return "waitress"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are in the log of readings."""

    def do_GET(self) -> None:
        with self.server.workers:
            self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815 - as the base class calls them

    def _answer(self) -> None:
        self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1 << 20))
        parts = urlsplit(self.path)
        methods = METHODS.get(parts.path, "").split()
        query = parse_qs(parts.query, keep_blank_values=True)
        if not methods:
            self._page(404)
        elif self.command == "OPTIONS":
            self._send(200, b"", "text/html; charset=utf-8", {"Allow": _allow(methods)})
        elif self.command not in (*methods, "HEAD"):
            self._page(405, {"Allow": _allow(methods)})
        elif parts.path == "/":
            self._send(302, b"", "text/html; charset=utf-8", {"Location": HOME})
        elif parts.path == "/about":
            self._send(200, b"<!doctype html>\n<title>A twin</title>\n<p>A simulated Claude-Light.</p>\n", "text/html")
        else:
            try:
                (self._api if parts.path == "/api" else self._csv)(query)
            except (NotMeasured, ValueError):
                self._page(500)

    def _api(self, query: dict[str, list[str]]) -> None:
        asked = {name: float(query.get(name, [""])[0] or 0) for name in self.server.world.inputs}
        clamped = {name: min(max(value, 0.0), 1.0) for name, value in asked.items()}  # lets nan pass, as there
        faults = self.server.world.befalls()
        if (taken := self._measured(clamped, faults, "api")) is not None:
            body = {"in": list(taken.applied.values()), "out": dict(taken.out)}
            self._reading(json.dumps(body, separators=(",", ":")) + "\n", "application/json", faults)

    def _csv(self, query: dict[str, list[str]]) -> None:
        asked = dict.fromkeys(self.server.world.inputs, 0.0) | {"G": float(query.get("G", ["0"])[0])}
        faults = self.server.world.befalls()
        if (taken := self._measured(asked, faults, None)) is not None:
            self.server.world.wait(CSV_PAUSE)
            self._reading(str(taken.out["515nm"]), "text/csv; charset=utf-8", faults)

    def _measured(self, settings: dict[str, float], faults: Sequence[Fault], origin: str | None) -> Taken | None:
        """The reading; None where the connection breaks instead."""
        names = {fault.name for fault in faults}
        if names & {"reset-before", "refused"}:  # refused: several clients at once, and this one was through the door
            self._break()
            return None
        taken = self.server.world.measure(settings, faults, origin, self.headers.get("X-Real-Ip", self._peer))
        if self.server.world.refuses():
            self.close_connection = True
            self.server.shut()
        if "reset-after" in names:
            self._break()
            return None
        for fault in faults:
            if fault.name == "time-out":
                self._keep_waiting(fault.duration)
                self._break()
                return None
        return taken

    def _keep_waiting(self, seconds: float) -> None:
        """Waits until the client has given up, or so many seconds of the server's time."""
        ends = self.server.world.now() + seconds
        while self.server.world.now() < ends and not self.server.world.ended:
            with suppress(OSError):
                if select.select([self.connection], [], [], 0.02)[0]:  # nothing more is asked: he hung up
                    return

    @property
    def _peer(self) -> str:
        return str(self.client_address[0])

    def _reading(self, body: str, kind: str, faults: Sequence[Fault]) -> None:
        """Sends what was read, as whole as the faults let it be."""
        content = body.encode()
        names = {fault.name for fault in faults}
        if "html-500" in names:
            return self._page(500)
        if "not-json" in names:
            content = b"Traceback (most recent call last):\n" + content
        if "truncated" in names:
            self.close_connection = True
            return self._send(200, content[: len(content) // 2], kind, length=len(content))
        drip = next((fault for fault in faults if fault.name == "slow-drip"), None)
        if drip is None:
            return self._send(200, content, kind)
        self._send(200, b"", kind, length=len(content))
        for byte in content:
            if not self.server.world.wait(drip.duration / len(content)):
                break
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def _break(self) -> None:
        """Ends the connection with a reset."""
        self.close_connection = True
        self.server.broken.add(self.connection)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _page(self, status: int, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        title, text = PAGES[status]
        page = f"<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n"
        self._send(status, page.encode(), "text/html; charset=utf-8", headers)

    def _send(
        self,
        status: int,
        body: bytes,
        kind: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        # Said by nginx, which stands before the real one.
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


def _allow(methods: Sequence[str]) -> str:
    return ", ".join(sorted({*methods, "HEAD", "OPTIONS"}))
