"""An open connection to an instrument that answers HTTP requests of its own form."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sdl.clock import Clock
from sdl.drivers.base import OpenDriver
from sdl.drivers.declared import placeholders
from sdl.drivers.http import HttpConnection, HttpReply
from sdl.drivers.http_api import reply
from sdl.drivers.http_api.request import RequestTemplate
from sdl.errors import InstrumentError
from sdl.store import hosts
from sdl.types import Input, Power, Reading, SafeState, Settings

CONNECT = 5.0  # seconds to wait for a connection
SAFE_REQUEST = 55.0  # most seconds for a request to be off
LONGEST_PAUSE = 600.0  # most seconds of a server's `Retry-After` that are waited
UNPROVEN = "its answer does not say which settings it applied; `applied` in the file reads that from it"
USER_AGENT = "sdl (one request per reading)"


class HttpApiDriver(OpenDriver):
    """An open instrument: one request per reading, no retries.

    Args:
        measure: the request for a reading.
        inputs: all of the instrument.
        read: JMESPath expression of each channel.
        applied: JMESPath expressions of inputs that the server says it used; other inputs count as applied as
            requested, but never as confirmed off.
        off: the settings at which it is off; None: it may be left alone.
        off_request: the request that switches off; None: `measure` at the settings `off`.
        clock: clock for the pause that a busy server asks for.

    Raises:
        ConfigError: an environment variable is missing, or the proxy or certificate variables cannot be used.
    """

    def __init__(
        self,
        measure: RequestTemplate,
        inputs: Sequence[Input],
        read: Mapping[str, str],
        applied: Mapping[str, str],
        off: Settings | None,
        off_request: RequestTemplate | None,
        clock: Clock,
    ) -> None:
        requests = [measure, *([off_request] if off_request is not None else [])]
        self._secrets = placeholders.secrets(name for request in requests for name in request.variables())
        for library in ("httpx", "httpcore") if self._secrets else ():  # they log addresses, and a secret may be in one
            logging.getLogger(library).setLevel(logging.WARNING)
        self._routes = [(request, _connection(request)) for request in requests]
        self._choices = {item.name: item.choices for item in inputs}
        self._read = reply.Expressions(read)
        self._applied = reply.Expressions(applied)
        self._off, self._clock, self._not_before = off, clock, 0.0

    def measure(self, settings: Settings) -> Reading:
        """Take one reading, after the pause that a busy server asked for.

        Raises:
            Rejected: the server refuses the settings.
            Unreachable: no answer.
            Busy: the server is in use.
            BadReply: the answer has no number for a channel.
            NotApplied: the answer lacks the applied value of an input that `applied` names.
        """
        self.require_open()
        self._clock.sleep(self._not_before - self._clock.monotonic())
        request, _ = self._routes[0]
        with self._redacted():
            answer = reply.document(self._send(0, settings, request.timeout))
            applied = self._applied.settings(answer, self._choices)
            return Reading({**settings, **applied}, self._read.numbers(answer))

    def safe(self) -> SafeState:
        """Send one request that switches off; only its answer says which settings were applied."""
        self.require_open()
        if self._off is None:
            return SafeState(Power.NOT_NEEDED)
        request, _ = self._routes[-1]
        with self._redacted():
            answer = self._send(-1, self._off, min(SAFE_REQUEST, request.timeout))
            if self._applied:
                return SafeState(Power.OFF, self._applied.settings(reply.document(answer), self._choices))
            reply.check_status(answer, reply.DONE)
        return SafeState(Power.UNKNOWN, None, UNPROVEN)

    def close(self) -> None:
        super().close()
        for _, connection in self._routes:
            connection.close()

    def _send(self, route: int, settings: Settings, within: float) -> HttpReply:
        request, connection = self._routes[route]
        filled = request.fill(settings, self._secrets)
        answer = connection.send(filled.method, within, url=filled.url, headers=filled.headers, content=filled.content)
        self._not_before = self._clock.monotonic() + min(answer.retry_after, LONGEST_PAUSE)
        return answer

    @contextmanager
    def _redacted(self) -> Iterator[None]:
        """Raise errors without the secrets that a server may repeat."""
        try:
            yield
        except InstrumentError as error:
            message = placeholders.redact(str(error), self._secrets)
            raise type(error)(message, retryable=error.retryable, maybe_measured=error.maybe_measured) from None


def _connection(request: RequestTemplate) -> HttpConnection:
    return HttpConnection(
        request.url,
        connect=min(CONNECT, request.timeout),
        read=request.timeout,
        user_agent=USER_AGENT,
        environment=not hosts.is_local(request.host),  # a proxy would look for this machine on itself
    )
