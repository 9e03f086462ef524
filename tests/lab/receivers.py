"""A mail server and a webhook server on this machine that keep what they get, and can be away for a while."""

from __future__ import annotations

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

ID = re.compile(r"\[([a-z]+-[A-Za-z0-9.:-]+)\]")


def free_port() -> int:
    with socket.socket() as result:
        result.bind(("127.0.0.1", 0))
        return int(result.getsockname()[1])


def ids(texts: list[str]) -> list[str]:
    """The ids of the messages in them, in order."""
    return [one for text in texts for one in ID.findall(text)]


class Mail:
    """A mail server."""

    def __init__(self) -> None:
        self.port, self.got = free_port(), list[str]()
        self._server: Controller | None = None

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=lab@example.org&to=anna@example.org&mode=insecure&format=text"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        import email
        import email.policy

        mail = email.message_from_bytes(bytes(envelope.content or b""), policy=email.policy.default)
        body = mail.get_body(("plain",))
        self.got.append("" if body is None else body.get_content())
        return "250 OK"

    def __enter__(self) -> Mail:
        self._server = Controller(self, hostname="127.0.0.1", port=self.port)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()


class Hook:
    """A webhook server; `status` is what it answers."""

    def __init__(self) -> None:
        self.port, self.got, self.status = free_port(), list[str](), 200
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"json://user:hunter2@127.0.0.1:{self.port}/hook"

    def __enter__(self) -> Hook:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.got.append(json.loads(body)["message"])
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
