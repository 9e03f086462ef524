"""One command and its answer over MQTT: the only driver module that uses paho and translates its exceptions.

paho keeps a command that it cannot send and sends it when the connection is back: the light would go on after the
campaign has given up. So a broken connection is never repaired: the client is discarded with everything it still
holds, and the next command creates a new one with its own client id. Nothing is sent before the broker has granted the
subscription, and at most one command is in progress. There is no thread: the network is served while we wait.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from sdl.errors import InstrumentError, Rejected, Unreachable

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

T = TypeVar("T")

IDLE = 5.0  # seconds without traffic after which a connection is replaced
BODY_LIMIT = 64 * 1024  # bytes; a longer message is not a reading


@dataclass(frozen=True, slots=True)
class Broker:
    """The address of a broker and the credentials for it.

    Attributes:
        host, port: address of the broker.
        tls: whether the connection is encrypted and the broker's certificate checked.
        ca_file: certificates to trust instead of the system's.
        user, password: None if the broker needs none.
        connect: seconds for connection, greeting and subscription together.
    """

    host: str
    port: int
    tls: bool
    ca_file: str | None
    user: str | None
    password: str | None
    connect: float

    def __repr__(self) -> str:  # no secret in a log
        return f"{self.host}:{self.port}"


class Exchange:
    """Sends a command to one topic and waits for its answer on another."""

    def __init__(self, broker: Broker, command: str, answers: str) -> None:
        self.broker, self._command, self._answers = broker, command, answers
        self._client: Client | None = None
        self._inbox: deque[bytes] = deque(maxlen=1000)
        self._ready = False
        self._refused = ""
        self._last = 0.0

    def ask(self, payload: bytes, answer: Callable[[bytes], T | None], within: float) -> T:
        """Send the command `payload`; return the first result of `answer` that is not None.

        Args:
            payload: the command.
            answer: called with each message that arrives, including answers to other users.
            within: seconds to wait for the answer once the command is sent.

        Raises:
            Unreachable: no connection, it broke, or no answer in time. `maybe_measured` is set once it was sent.
            Rejected: the broker refuses us.
        """
        client = self._connected()
        self._inbox.clear()
        sent = client.publish(self._command, payload, qos=1)
        if sent.rc:  # nothing was sent; what paho keeps of it is discarded with the client
            self.drop()
            raise Unreachable(f"{self.broker}: the command could not be sent: {_words(sent.rc)}")
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            self._serve(client, min(0.2, deadline - time.monotonic()), maybe_measured=True)
            while self._inbox:
                accepted = answer(self._inbox.popleft())
                if accepted is not None:
                    return accepted
        taken = "the broker took the command, but" if sent.is_published() else "the broker never took the command:"
        self.drop()
        raise Unreachable(f"{self.broker}: {taken} no answer came within {within:g} s", maybe_measured=True)

    def drop(self) -> None:
        """Close the connection; commands that were not sent are discarded."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()

    # The connection ------------------------------------------------------------------------------------------------
    def _connected(self) -> Client:
        if self._client is not None and time.monotonic() - self._last < IDLE:
            return self._client
        self.drop()
        client = self._new()
        self._ready, self._refused = False, ""
        deadline = time.monotonic() + self.broker.connect
        try:
            # paho allows the TLS handshake its keep-alive time.
            client.connect(self.broker.host, self.broker.port, keepalive=max(int(IDLE), round(self.broker.connect)))
        except (OSError, ValueError) as error:
            raise _translated(self.broker, error) from error
        self._client = client
        while not self._ready:
            if time.monotonic() >= deadline:
                self.drop()
                raise Unreachable(
                    f"{self.broker}: the broker did not accept the connection within {self.broker.connect:g} s"
                )
            self._serve(client, 0.1, maybe_measured=False)
        return client

    def _new(self) -> Client:
        from paho.mqtt.client import Client, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"sdl-{uuid4().hex[:16]}",  # a broker disconnects a client whose id another one uses
            protocol=MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self.broker.connect
        if self.broker.tls:
            client.tls_set_context(ssl.create_default_context(cafile=self.broker.ca_file))
        if self.broker.user is not None:
            client.username_pw_set(self.broker.user, self.broker.password)
        client.on_connect = self._greeted
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        return client

    def _serve(self, client: Client, seconds: float, *, maybe_measured: bool) -> None:
        """Let paho read and write for a while."""
        failed = client.loop(timeout=max(seconds, 0.01))
        self._last = time.monotonic()
        if self._refused:
            self.drop()
            raise Rejected(f"{self.broker} refuses access: {self._refused}", maybe_measured=maybe_measured)
        if failed:
            self.drop()
            raise Unreachable(f"{self.broker}: the connection broke: {_words(failed)}", maybe_measured=maybe_measured)

    def _greeted(self, client: Client, _user: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
        else:
            client.subscribe(self._answers, qos=1)

    def _subscribed(self, _client: Client, _user: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refused = f"no reading of {self._answers}: {reasons[0]}"
        self._ready = True

    def _received(self, _client: Client, _user: Any, message: Any) -> None:
        if message.retain or len(message.payload) > BODY_LIMIT:
            log.debug("ignored: %s, %d bytes, retained: %s", message.topic, len(message.payload), message.retain)
            return
        self._inbox.append(message.payload)


def _translated(broker: Broker, error: Exception) -> InstrumentError:
    if isinstance(error, ssl.SSLCertVerificationError):
        words = f"its certificate cannot be trusted ({error.verify_message}); give ca_file, or correct host"
        return Unreachable(f"{broker}: {words}", retryable=False)
    greeting = isinstance(error, ConnectionResetError) or "handshake" in str(error)
    if isinstance(error, ssl.SSLError) or (broker.tls and greeting):
        return Unreachable(f"{broker}: no secure connection (TLS): {error}; does this port speak TLS?")
    reasons: dict[type[Exception], str] = {
        socket.gaierror: "the name of the host cannot be resolved",
        ConnectionRefusedError: "the connection was refused: nothing listens there",
        TimeoutError: "no connection in time",
    }
    known = (words for kind, words in reasons.items() if isinstance(error, kind))
    return Unreachable(f"{broker}: {next(known, f'no connection: {error}')}")


def _words(code: int) -> str:
    from paho.mqtt.client import error_string

    return error_string(code).rstrip(".").lower()
