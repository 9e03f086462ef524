"""One GET over HTTP, bounded in time and size: the only place that touches httpx and translates its exceptions.

httpx limits the wait for each piece of an answer, not the whole of it; an answer that drips in would take for ever.
So a timer cuts the connection when the whole is overdue. The same hook on the connection notes whether the request was
on its way when something broke: from then on the instrument may have measured. Every request has a connection of its
own: an idle one that the server just closed could not be told from one that broke while measuring.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sdl.errors import BadReply, ConfigError, InstrumentError, Unreachable

BODY_LIMIT = 64 * 1024
"""Bytes; a reading has some 200."""

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
    "LocalProtocolError": (InstrumentError, "the request could not be put into words of HTTP"),
    "RemoteProtocolError": (BadReply, "the answer is cut off or is not HTTP"),
    "UnsupportedProtocol": (InstrumentError, "the address is not http or https"),
    "InvalidURL": (InstrumentError, "the address is not a URL"),
    "DecodingError": (BadReply, "the answer cannot be decoded"),
    "TooManyRedirects": (BadReply, "the answer leads in circles"),
}
"""What each exception of httpx means here, by its name, so that httpx is only imported to ask something."""

_ROOTS: tuple[tuple[type[BaseException], str, bool], ...] = (
    (ssl.SSLCertVerificationError, "its certificate cannot be trusted", False),
    (ssl.SSLError, "no secure connection (TLS) could be made", True),
    (socket.gaierror, "the name of the host cannot be resolved", True),
    (ConnectionRefusedError, "the connection was refused: nothing listens there", True),
    (ConnectionResetError, "the connection was reset", True),
    (BrokenPipeError, "the connection was reset", True),
)
"""Plainer words where the exception underneath is known, and whether asking again may help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status code, the address it points to (redirects are not followed), body."""

    status: int
    location: str
    body: bytes


class _Watch:
    """Sees one request through: notes when it leaves, cuts the connection when the whole takes too long."""

    def __init__(self) -> None:
        self.sent = False
        self.overdue = False
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore at every step of a request (its `trace` extension)."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.overdue:
                self._cut()
        elif event.endswith(".send_request_headers.started"):
            # A proxy is first asked to connect; that is not our request yet.
            self.sent = self.sent or info["request"].method != b"CONNECT"

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Cuts the connection if the block is not left within `seconds`."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self.overdue = True
        self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # The plain socket's own method: that of ssl would pull the object from under the reading thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Link:
    """An HTTP address that is asked one thing at a time.

    Args:
        url: http or https, without query.
        connect: seconds to wait for a connection.
        read: seconds to wait for each piece of an answer.
        user_agent: who asks.
        environment: heed the machine's proxy and certificate variables.

    Raises:
        ConfigError: those variables make no sense.
    """

    def __init__(self, url: str, *, connect: float, read: float, user_agent: str, environment: bool = True) -> None:
        import httpx

        self.url = url
        self.ever_sent = False
        # Compressed answers are not asked for: they could be small on the way and huge when unpacked.
        headers = {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "identity"}
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

    def get(self, params: Mapping[str, str], within: float) -> Answer:
        """Asks once; the whole takes no longer than `within` seconds (and what the system needs to look up a name).

        Raises:
            InstrumentError: no whole answer; `maybe_measured` is true once the request was on its way.
        """
        import httpx

        watch = _Watch()
        body = bytearray()
        try:
            with (
                watch.limit(within),
                self._client.stream("GET", self.url, params=params, extensions={"trace": watch.trace}) as reply,
            ):
                for piece in reply.iter_raw():
                    body += piece
                    if len(body) > BODY_LIMIT:
                        raise BadReply(f"{self.url}: the answer is longer than {BODY_LIMIT} bytes", retryable=False)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            if not watch.overdue:
                raise translate(error, self.url, sent=watch.sent) from error
        finally:
            self.ever_sent = self.ever_sent or watch.sent
        if watch.overdue:
            raise Unreachable(f"{self.url}: no whole answer within {within:g} s", maybe_measured=watch.sent)
        return Answer(reply.status_code, reply.headers.get("location", ""), bytes(body))

    def close(self) -> None:
        self._client.close()


def translate(error: Exception, url: str, *, sent: bool) -> InstrumentError:
    """An exception of httpx, or of the system below it, as one of ours.

    Args:
        error: what was raised.
        url: where, for the message.
        sent: whether the request was on its way.
    """
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
