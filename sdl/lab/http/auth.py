"""Checks of every request to a lab's API and page, before the application receives it.

    421  a Host other than this server, by name or by its configured address: a foreign name made to resolve to this
         machine (DNS rebinding)
    403  an Origin other than this server, or a browser that reports a page of another site; a token others could read,
         or one without the scope that the request needs (`SCOPE_OF`; `operate` for every other path)
    401  no token or a wrong one, except for GET and HEAD
    413  a body over 16 kB, a file over 10 MB          408  a body that does not arrive
    400  an invalid path

Every refusal, also those of the application, is one line in the log, at most 60 a minute, without the token.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdl.errors import ConfigError, RecordError, SdlError
from sdl.lab.http.named_tokens import Identity
from sdl.lab.http.token import Credentials
from sdl.store.trial_files import MAX_BYTES as MAX_FILE

MAX_BODY = 16 * 1024
UPLOAD = re.compile(r"/runs/[^/]+/[^/]+/files")  # the path to which files are sent
MAX_DRAINED = 4 * 1024 * 1024  # bytes of a refused body that are still read, so that the client reads the answer
BODY_SECONDS, UPLOAD_SECONDS = 10.0, 120.0
LINES_A_MINUTE = 60  # in the log
SCOPE_OF = {
    "/api/v1/check": "read", "/api/v1/draft": "read", "/api/v1/forecast": "read",
    "/api/v1/start": "submit", "/api/v1/rehearse": "submit", "/api/v1/submit": "submit",
    "/api/v1/approve": "approve", "/api/v1/refuse": "approve", "/api/v1/stop": "", "/api/v1/whoami": "",
}  # fmt: skip
"""By path, the scope that a token needs; empty: any token will do. Every other path needs `operate`. Any scope includes
`read`."""
READING = ("GET", "HEAD")  # methods that change nothing and need no token
_log = logging.getLogger(__name__)


def filtered_app(
    routes: Sequence[BaseRoute],
    credentials: Credentials,
    port: int,
    *,
    url: str | None = None,
    note_refused: Callable[[str, str, str], None] | None = None,
) -> RequestFilter:
    """An application with request checks, whose errors are `{"error": …, "status": …}`.

    `port` is that of the server, and part of every accepted Host and Origin; `url` is an address of the same server
    behind a proxy, which is accepted too. `note_refused` receives agent, path and reason of a request of an agent that
    is refused, unless the application has noted it (409, 429).
    """
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    return RequestFilter(app, credentials, port, url=url, note_refused=note_refused)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    request.scope["refused"] = error.detail  # logged by the filter
    return _error(error)


async def _failed(request: Request, error: Exception) -> Response:
    _log.exception("answering %s", _request_line(request.scope), exc_info=error)
    return _error(HTTPException(500, "internal error; see the log of the server"))


def _error(error: HTTPException) -> Response:
    status = error.status_code
    return JSONResponse({"error": error.detail, "status": status}, status, error.headers)


class RequestFilter:
    """Refuses requests before the application receives them, and logs each refusal."""

    def __init__(
        self,
        app: ASGIApp,
        credentials: Credentials,
        port: int,
        *,
        url: str | None = None,
        note_refused: Callable[[str, str, str], None] | None = None,
    ) -> None:
        self._note_refused = note_refused
        self._app, self._credentials = app, credentials
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        self._origins = {f"http://{host}" for host in self._hosts}
        if url:
            self._hosts.add(url.partition("://")[2])
            self._origins.add(url)
        self._minute, self._lines = time.monotonic(), 0
        self._ending = asyncio.Event()
        self._answering: set[tuple[str, int]] = set()

    def end(self) -> None:
        """End every open request; called in the event loop of the server."""
        self._ending.set()

    def answers(self, client: tuple[str, int]) -> bool:
        """Whether a whole request of this address and port is being answered."""
        return client in self._answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        receive = self._until_the_end(receive)
        scope["identity"] = None
        refused = self._check(scope)
        try:
            body = await _body(receive, upload=refused is None and bool(UPLOAD.fullmatch(scope["path"])))
        except HTTPException as error:
            refused = refused or error
        if refused is not None:
            self._log_refusal(scope, refused.status_code, refused.detail)
            scope["refused"] = refused.detail
            await self._note(scope, refused.status_code)
            await _refuse(refused, scope, receive, send)
            return

        started = False
        first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_body() -> Message:
            return first.pop() if first else await receive()

        async def checked_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
                if 400 <= message["status"] < 500:
                    self._log_refusal(scope, message["status"], str(scope.get("refused", "")))
                    await self._note(scope, message["status"])
            await send(message)

        client = tuple(scope.get("client") or ("", 0))
        self._answering.add(client)
        try:
            await self._app(scope, receive_body, checked_send)
        except asyncio.CancelledError:  # the answer takes longer than the ending server waits
            if started or not self._ending.is_set():
                raise
            text = "the server ended before it could answer; the request may have been executed"
            await _refuse(HTTPException(503, text), scope, receive, send)
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

    def _check(self, scope: Scope) -> HTTPException | None:
        """The first refusal by host, origin, path and token: in this order, so that a stranger learns little."""
        headers, path = Headers(scope=scope), scope["path"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return HTTPException(421, "the Host of a request must be 127.0.0.1 or localhost, with the port")
        if any(origin.lower() not in self._origins for origin in headers.getlist("origin")):
            return HTTPException(403, "requests from pages of other sites are refused")
        reading = scope["method"] in READING
        sites = {site.lower() for site in headers.getlist("sec-fetch-site")}
        if not reading and sites - {"same-origin", "none"}:
            return HTTPException(403, "changes requested by pages of other sites are refused")
        if not path.isprintable() or "\\" in path or any(part in (".", "..") for part in path.split("/")):
            return HTTPException(400, "invalid path")
        return None if reading else self._check_token(scope, headers.getlist("authorization"))

    def _check_token(self, scope: Scope, given: Sequence[str]) -> HTTPException | None:
        """Find out whose token the request has, for `identity_of`."""
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        try:
            if scheme.lower() != "bearer" or not token.strip():
                text = "Enter the access token (programs: Authorization: Bearer …)."
            elif (identity := self._credentials.identify(token.strip())) is not None:
                scope["identity"] = identity
                return _missing_scope(identity, scope["path"])
            else:
                text = "wrong access token, or a revoked one; the lab's own is new after every start"
            return HTTPException(401, text, {"www-authenticate": "Bearer"})
        except ConfigError as error:
            return HTTPException(403, str(error))
        except RecordError as error:
            return HTTPException(503, str(error))

    async def _note(self, scope: Scope, status: int) -> None:
        identity = scope["identity"]
        if self._note_refused is None or status in (409, 429) or identity is None or not identity.agent:
            return
        try:
            await run_in_threadpool(self._note_refused, identity.name, scope["path"], str(scope.get("refused", "")))
        except (SdlError, TimeoutError) as error:
            _log.warning("a refusal could not be recorded: %s", error)

    def _log_refusal(self, scope: Scope, status: int, why: str) -> None:
        now = time.monotonic()
        if now - self._minute >= 60:
            if self._lines > LINES_A_MINUTE:
                _log.warning("refused %d further requests", self._lines - LINES_A_MINUTE)
            self._minute, self._lines = now, 0
        self._lines += 1
        if self._lines <= LINES_A_MINUTE:
            client = scope.get("client") or ("?", 0)
            _log.warning("refused %s from %s:%s: %d %s", _request_line(scope), *client, status, why)


async def _refuse(error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    error.headers = {**(error.headers or {}), "connection": "close"}
    await _error(error)(scope, receive, send)


async def _body(receive: Receive, *, upload: bool = False) -> bytes:
    """The body, if it is small enough and arrives in time; a larger one is read and discarded.

    `upload` allows for a file; refused requests are never given that much.
    """
    body, size = bytearray(), 0
    limit, seconds = (MAX_FILE, UPLOAD_SECONDS) if upload else (MAX_BODY, BODY_SECONDS)
    try:
        async with asyncio.timeout(seconds):
            while size <= limit + MAX_DRAINED:
                message = await receive()
                if message["type"] != "http.request":
                    raise HTTPException(400, "the connection was closed")
                size += len(message.get("body", b""))
                if size <= limit:
                    body += message.get("body", b"")
                if not message.get("more_body"):
                    break
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {seconds:g} s") from None
    if size > limit:
        large = f"a file may have at most {limit // 1024**2} MB"
        raise HTTPException(413, large if upload else f"the body must have at most {limit} bytes")
    return bytes(body)


def _missing_scope(identity: Identity, path: str) -> HTTPException | None:
    needed = SCOPE_OF.get(path, "operate")
    if not needed or needed in identity.scopes or (needed == "read" and identity.scopes):
        return None
    scopes = ", ".join(sorted(identity.scopes)) or "none"
    return HTTPException(403, f"the token {identity.name} lacks the scope {needed}; it has: {scopes}")


def identity_of(request: Request) -> Identity:
    """Who sent a request that changes something.

    Raises:
        HTTPException: the request has no token.
    """
    identity = request.scope["identity"]
    if not isinstance(identity, Identity):
        raise HTTPException(401, "Enter the access token (programs: Authorization: Bearer …).")
    return identity


def whoami_route(limits: Callable[[Identity], Any] = lambda _: None) -> Route:
    """`POST /api/v1/whoami`: name and scopes of the token, and the `limits` of an agent."""

    def whoami(request: Request) -> Response:
        identity = identity_of(request)
        known = {
            "name": identity.name, "scopes": sorted(identity.scopes), "agent": identity.agent,
            "limits": limits(identity), "account": os.geteuid() if hasattr(os, "geteuid") else None,
        }  # fmt: skip
        return json_response(known)

    return Route("/api/v1/whoami", whoami, methods=["POST"])


def json_response(value: Mapping[str, Any]) -> Response:
    """A value as JSON that no cache keeps; NaN and infinity become null."""
    text = to_json(value, inf_nan_mode="null", fallback=str)
    return Response(text, media_type="application/json", headers={"cache-control": "no-store"})


def quoted(text: str) -> str:
    """Text of a client for a message: quoted, at most 60 characters."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _request_line(scope: Scope) -> str:
    """Method and path for a log, shortened, without query and control characters."""
    return f"{scope['method'][:12]!a} {quoted(scope['path'])!s}".replace("'", "")
