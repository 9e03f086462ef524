"""One request over HTTP, bounded in time and size: the only module that uses httpx and translates its exceptions.

httpx limits the wait for each piece of an answer, not for the whole answer, so an answer that arrives in small pieces
could take forever. A timer therefore cuts the connection when the whole answer is overdue. The hook that gives it the
socket also notes when the request
leaves: after that the instrument may have measured. No request is repeated.

No cache may answer, because a stored answer is not a measurement. Every request says so in its headers, `get` also adds
a parameter with a unique number (which the published server ignores), and an answer with a header `Age` is refused.

Each request has its own connection: a kept one that the server closes in the meantime could not be distinguished from
one that breaks during a measurement, and bytes after an answer would be taken for the next answer.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from sdl.drivers.environment import check_variables, proxy_for
from sdl.errors import BadReply, ConfigError, InstrumentError, Unreachable

NUMBER = "_"  # the parameter that makes every address another one, for a cache that heeds nothing else
BODY_LIMIT = 64 * 1024  # bytes; a reading has some 200

# The meaning of each exception of httpx; by name, so that httpx is imported only for a request.
CAUSES: dict[str, tuple[type[InstrumentError], str]] = {
    "ConnectTimeout": (Unreachable, "no connection in time"),
    "ReadTimeout": (Unreachable, "no answer in time"),
    "WriteTimeout": (Unreachable, "the request could not be sent in time"),
    "PoolTimeout": (Unreachable, "no free connection in time"),
    "ConnectError": (Unreachable, "no connection"),
    "ReadError": (Unreachable, "the connection broke before the answer was whole"),
    "WriteError": (Unreachable, "the connection broke while the request was sent"),
    "CloseError": (Unreachable, "the connection broke while it was closed"),
    "ProxyError": (Unreachable, "the proxy refused"),
    "LocalProtocolError": (InstrumentError, "the request cannot be expressed in HTTP"),
    "RemoteProtocolError": (BadReply, "the answer is cut off or is not HTTP"),
    "UnsupportedProtocol": (InstrumentError, "the address is not http or https"),
    "InvalidURL": (InstrumentError, "the address is not a URL"),
    "DecodingError": (BadReply, "the answer cannot be decoded"),
    "TooManyRedirects": (BadReply, "the answer redirects in a circle"),
}

# Plainer messages for known underlying exceptions, and whether a retry may help.
_ROOTS: tuple[tuple[type[BaseException], str, bool], ...] = (
    (ssl.SSLCertVerificationError, "its certificate cannot be trusted", False),
    (ssl.SSLError, "no secure connection (TLS) could be made", True),
    (socket.gaierror, "the name of the host cannot be resolved", True),
    (ConnectionRefusedError, "the connection was refused: nothing listens there", True),
    (ConnectionResetError, "the connection was reset", True),
    (BrokenPipeError, "the connection was reset", True),
)


def check_address(url: str) -> None:
    """Check the address of an instrument, before it is written anywhere.

    Raises:
        ValueError: it cannot be read, is not http or https, or holds a user name or password.
    """
    if not url.isprintable() or " " in url:
        raise ValueError("the url holds spaces or control characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError as error:
        raise ValueError(f"the url cannot be read: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the url must not hold a user name or password: it is written to the record")
    if parts.scheme not in ("http", "https") or not host:
        shown = "the url" if "@" in url else repr(url)
        raise ValueError(f"{shown} must look like https://host/api or http://host:port/api")


@dataclass(frozen=True, slots=True)
class HttpReply:
    """Status code, target of a redirect (not followed), body, and the seconds of a header `Retry-After` (0 without)."""

    status: int
    location: str
    body: bytes
    retry_after: float = 0.0


class _Watch:
    """Notes when a request leaves, and cuts its connection unless the block ends within `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.sent = self.overdue = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.name, self._timer.daemon = "sdl http watchdog", True

    def __enter__(self) -> _Watch:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the progress of a request; httpcore calls it at every step (extension `trace`)."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.overdue:
                self._cut()
        elif event.endswith(".send_request_headers.started"):
            # CONNECT to a proxy precedes the request itself.
            self.sent = self.sent or info["request"].method != b"CONNECT"

    def _expire(self) -> None:
        self.overdue = True
        self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # The method of the plain socket: that of ssl would remove the object that the other thread reads from.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class HttpConnection:
    """An HTTP address, one request at a time.

    Args:
        url: http or https, without query.
        connect: seconds to wait for a connection.
        read: seconds to wait for each piece of an answer.
        user_agent: header for the server's operator.
        environment: use the proxy and certificate variables of this machine.

    Raises:
        ConfigError: these variables cannot be used.
    """

    def __init__(self, url: str, *, connect: float, read: float, user_agent: str, environment: bool = True) -> None:
        check_variables(proxies=environment)
        import httpx

        self.url = url
        proxy = proxy_for(url) if environment else ""
        self._place = f"{url} (by the proxy in {proxy})" if proxy else url
        self.ever_sent = False
        # No compressed answers: they could be small in transit and huge when unpacked.
        headers = {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "identity"}
        headers |= {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache", "Connection": "close"}
        try:
            self._client = httpx.Client(
                timeout=httpx.Timeout(connect, read=read),
                limits=httpx.Limits(max_keepalive_connections=0),
                follow_redirects=False,
                trust_env=environment,
                headers=headers,
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise ConfigError(f"the proxy or certificate variables of this machine cannot be used: {error}") from error

    @property
    def closed(self) -> bool:
        return self._client.is_closed

    def get(self, params: Mapping[str, str], within: float) -> HttpReply:
        """Send one GET with these parameters, as `send`."""
        return self.send("GET", within, params={**params, NUMBER: uuid4().hex})

    def send(
        self,
        method: str,
        within: float,
        *,
        url: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> HttpReply:
        """Send one request, bounded to `within` seconds (plus the system's name look-up).

        `url`: in place of that of the connection, on the same host; messages show only that of the connection.

        Raises:
            InstrumentError: no whole answer; `maybe_measured` is true once the request was on its way.
        """
        import httpx

        watch = _Watch(within)
        body = bytearray()
        asked: dict[str, Any] = {"params": params, "headers": headers, "content": content}
        try:
            with (
                watch,
                self._client.stream(method, url or self.url, extensions={"trace": watch.trace}, **asked) as reply,
            ):
                for piece in reply.iter_raw():
                    body += piece
                    if len(body) > BODY_LIMIT:
                        raise BadReply(f"{self._place}: the answer is longer than {BODY_LIMIT} bytes", retryable=False)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            if not watch.overdue:
                raise translate(error, self._place, sent=watch.sent) from error
        finally:
            self.ever_sent = self.ever_sent or watch.sent
        if watch.overdue:
            raise Unreachable(f"{self._place}: no whole answer within {within:g} s", maybe_measured=watch.sent)
        if (age := reply.headers.get("age", "")).isdecimal() and age.strip("0"):
            raise BadReply(
                f"{self._place}: a cache answered (Age: {age[:20]}) and not the instrument; exclude this address from "
                "the cache"
            )
        wait = reply.headers.get("retry-after", "")
        pause = float(wait) if wait.isdecimal() else 0.0
        return HttpReply(reply.status_code, reply.headers.get("location", ""), bytes(body), pause)

    def close(self) -> None:
        self._client.close()


def translate(error: Exception, url: str, *, sent: bool) -> InstrumentError:
    """Translate an exception of httpx or the system; `sent` says whether the request had left for `url`."""
    known = (CAUSES[base.__name__] for base in type(error).__mro__ if base.__name__ in CAUSES)
    leaf, words = next(known, (Unreachable, f"{type(error).__name__}: {error}"))
    retryable = leaf.retryable
    if "without sending a response" in str(error):
        leaf, words, retryable = Unreachable, "the connection was closed without an answer", True
    for kind, plainer, again in _ROOTS:
        if any(isinstance(cause, kind) for cause in _causes(error)):
            words, retryable = plainer, again
            break
    return leaf(f"{url}: {words}", retryable=retryable, maybe_measured=sent)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
