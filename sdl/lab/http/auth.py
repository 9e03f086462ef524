"""Checks of every request to a lab's API and page, before the application receives it.

    421  a Host other than this server: a foreign name made to resolve to this machine (DNS rebinding)
    403  an Origin other than this server, or a browser that reports a page of another site; a token others could read
    401  no token or a wrong one, except for GET and HEAD
    413  a body over 16 kB          408  a body that does not arrive
    400  an invalid path

Every refusal, also those of the application, is one line in the log, at most 60 a minute, without the token.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sdl.errors import ConfigError, RecordError
from sdl.lab.http.token import Credentials

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 16 * 1024
MAX_DRAINED = 4 * 1024 * 1024  # bytes of a refused body that are still read, so that the client reads the answer
BODY_SECONDS = 10.0
LINES_A_MINUTE = 60  # in the log
READING = ("GET", "HEAD")  # methods that change nothing and need no token
Headers = Mapping[bytes, Sequence[str]]  # values of each header, by its name in lower case
_log = logging.getLogger(__name__)


class Refused(Exception):
    """A refused request, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


class RequestFilter:
    """Refuses requests before the application receives them, and logs each refusal."""

    def __init__(
        self, app: ASGIApp, credentials: Credentials, port: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._credentials, self._clock = app, credentials, clock
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        self._minute, self._lines = clock(), 0
        self._ending = asyncio.Event()
        self._answering: set[tuple[str, int]] = set()

    def end(self) -> None:
        """End every open request; called in the event loop of the server."""
        self._ending.set()

    def answers(self, client: tuple[str, int]) -> bool:
        """Whether a whole request of this address and port is being answered."""
        return client in self._answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:  # no websockets here
                await send({"type": "websocket.close", "code": 1008})
            return
        receive = self._until_the_end(receive)
        refused = self._check(scope)
        try:
            body = await _body(receive)
        except Refused as error:
            refused = refused or error
        if refused is not None:
            self._log_refusal(scope, refused.status, refused.message)
            await _refuse(send, refused)
            return

        started = False

        async def checked_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
                if 400 <= message["status"] < 500:
                    self._log_refusal(scope, message["status"], str(scope.get("refused", "")))
            await send(message)

        client = tuple(scope.get("client") or ("", 0))
        self._answering.add(client)
        try:
            await self._app(scope, _once(body, receive), checked_send)
        except asyncio.CancelledError:  # the answer takes longer than the ending server waits
            if started or not self._ending.is_set():
                raise
            await _refuse(
                send, Refused(503, "the server ended before it could answer; the request may have been executed")
            )
        finally:
            self._answering.discard(client)

    def _until_the_end(self, receive: Receive) -> Receive:
        """`receive`, which reports a disconnection once the server ends."""

        async def receive_or_end() -> Message:
            message, end = asyncio.ensure_future(receive()), asyncio.ensure_future(self._ending.wait())
            try:
                await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
                return message.result() if message.done() else {"type": "http.disconnect"}
            finally:
                message.cancel()
                end.cancel()

        return receive_or_end

    def _check(self, scope: Scope) -> Refused | None:
        """The first refusal by host, origin, path and token: in this order, so that a stranger learns little."""
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        try:
            for check in (self._check_host, self._check_origin, _check_path, self._check_token):
                check(scope, headers)
        except Refused as error:
            return error
        return None

    def _check_host(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            raise Refused(421, "the Host of a request must be 127.0.0.1 or localhost, with the port")

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origins = [value.lower() for value in headers.get(b"origin", [])]
        if any(origin.removeprefix("http://") not in self._hosts or "://" not in origin for origin in origins):
            raise Refused(403, "requests from pages of other sites are refused")
        sites = [value.lower() for value in headers.get(b"sec-fetch-site", [])]
        if scope["method"] not in READING and any(site not in ("same-origin", "none") for site in sites):
            raise Refused(403, "changes requested by pages of other sites are refused")

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if scope["method"] in READING:
            return
        given = headers.get(b"authorization", [])
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(401, "Enter the access token (programs: Authorization: Bearer …).")
        try:
            if not self._credentials.accepts(token.strip()):
                raise Refused(401, "wrong access token; the lab has a new one after every start")
        except ConfigError as error:
            raise Refused(403, str(error)) from error
        except RecordError as error:
            raise Refused(503, str(error)) from error

    def _log_refusal(self, scope: Scope, status: int, why: str) -> None:
        now = self._clock()
        if now - self._minute >= 60:
            if self._lines > LINES_A_MINUTE:
                _log.warning("refused %d further requests", self._lines - LINES_A_MINUTE)
            self._minute, self._lines = now, 0
        self._lines += 1
        if self._lines <= LINES_A_MINUTE:
            client = scope.get("client") or ("?", 0)
            _log.warning("refused %s from %s:%s: %d %s", request_line(scope), *client, status, why)


def _check_path(scope: Scope, headers: Headers) -> None:
    path = scope["path"]
    if not path.isprintable() or "\\" in path or any(part in (".", "..") for part in path.split("/")):
        raise Refused(400, "invalid path")


async def _body(receive: Receive) -> bytes:
    """The body, if it is small enough and arrives in time; a larger one is read and discarded."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while size <= MAX_DRAINED:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refused(400, "the connection was closed")
                size += len(message.get("body", b""))
                if size <= MAX_BODY:
                    parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    break
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {BODY_SECONDS:g} s") from None
    if size > MAX_BODY:
        raise Refused(413, f"the body must have at most {MAX_BODY} bytes")
    return b"".join(parts)


def quoted(text: str) -> str:
    """Text of a client for a message: quoted, at most 60 characters."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


def request_line(scope: Scope) -> str:
    """Method and path for a log, shortened, without query and control characters."""
    return f"{scope['method'][:12]!a} {quoted(scope['path'])!s}".replace("'", "")


def _once(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, then what the connection sends."""
    given = False

    async def body_first() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return body_first


async def _refuse(send: Send, error: Refused) -> None:
    text = json.dumps({"error": error.message, "status": error.status}).encode()
    heads = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    heads += [(b"www-authenticate", b"Bearer")] if error.status == 401 else []
    heads += [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": heads})
    await send({"type": "http.response.body", "body": text})
