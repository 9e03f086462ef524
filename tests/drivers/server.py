"""A small server on a real socket that answers as it is told: whole, wrong, in pieces, late or not at all."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from waiting import TIMEOUT

NAMES = ("415nm", "445nm", "480nm", "515nm", "555nm", "590nm", "630nm", "680nm", "clear", "nir")
OUT = {name: 1000 + k for k, name in enumerate(NAMES)}
DARK = {name: 20 + k for k, name in enumerate(NAMES)}

Script = Callable[["Server", socket.socket, list[float]], None]


def http(body: bytes | str, status: str = "200 OK", headers: str = "Content-Type: application/json\r\n") -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def good(server: Server, peer: socket.socket, asked: list[float]) -> None:
    """What the instrument does: clamps, measures, echoes."""
    applied = [min(max(value, 0.0), 1.0) for value in asked]
    peer.sendall(http(json.dumps({"in": applied, "out": OUT if any(applied) else DARK})))


def says(body: object, **more: str) -> Script:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return lambda server, peer, asked: peer.sendall(http(text, **more))


def sends(raw: bytes) -> Script:
    return lambda server, peer, asked: peer.sendall(raw)


def reset(server: Server, peer: socket.socket, asked: list[float]) -> None:
    """Closes with RST instead of FIN."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_at_once(server: Server, peer: socket.socket, asked: list[float]) -> None:
    """The same, before the request is read."""


def silent(server: Server, peer: socket.socket, asked: list[float]) -> None:
    """Says nothing until the client hangs up."""
    peer.settimeout(2 * TIMEOUT)
    peer.recv(1)


def drips(first: bytes, drop: bytes, every: float = 0.02) -> Script:
    """Keeps the connection alive with a drop at a time, for ever."""

    def script(server: Server, peer: socket.socket, asked: list[float]) -> None:
        peer.sendall(first)
        while not server.over.wait(every):
            peer.sendall(drop)

    return script


class Server:
    """Takes one script a request, in order; `otherwise`, which is `good`, when they have run out."""

    def __init__(self) -> None:
        self.asked: list[list[float]] = []
        self.heads: list[str] = []
        self.scripts: list[Script] = []
        self.otherwise: Script = good
        self.over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/api"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def then(self, *scripts: Script) -> None:
        self.scripts.extend(scripts)

    def close(self) -> None:
        self.over.set()
        with socket.create_connection(self._socket.getsockname()):
            pass  # wakes `accept`
        self._thread.join(TIMEOUT)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            peer, _ = self._socket.accept()
            with peer:
                if self.over.is_set():
                    return
                with suppress(OSError):  # the client hung up: some scripts are there for that
                    self._answer(peer)

    def _answer(self, peer: socket.socket) -> None:
        script = self.scripts.pop(0) if self.scripts else self.otherwise
        if script is reset_at_once:
            return reset(self, peer, [])
        if (asked := self.request(peer)) is not None:
            script(self, peer, asked)

    def request(self, peer: socket.socket) -> list[float] | None:
        """The settings that the next request asks for; None where the client hung up."""
        head = b""
        peer.settimeout(30)
        while b"\r\n\r\n" not in head:
            piece = peer.recv(4096)
            if not piece:
                return None
            head += piece
        self.heads.append(head.decode())
        query = parse_qs(urlsplit(head.split()[1].decode()).query)
        self.asked.append([float(query[name][0]) for name in "RGB"])
        return self.asked[-1]
