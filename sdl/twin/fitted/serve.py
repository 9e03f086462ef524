"""A fitted twin with the interface of a real instrument: over HTTP, as a program on its input and output, as SCPI.

    http       GET /?red=30&yellow=5   ->  {"readings": {"R": 120}, "applied": {"red": 30, "yellow": 5}};  GET /off
    command    {"measure": {"red": 30, "yellow": 5}, "id": 7}   ->  {"id": 7, "readings": {…}, "applied": {…}}
    scpi       SET:red 30    SET:red?    MEAS:R?    *IDN?    SYST:ERR?    OUTP:OFF

One request is served at a time. Over SCPI a reading is taken at the first question for a channel after a change, or
when a channel is asked for again; the other channels are those of the same reading.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any
from urllib.parse import parse_qsl, urlsplit

from sdl.errors import InstrumentError
from sdl.types import Channel, Input, Reading, Settings, Value

NO_NUMBER = "9.91E37"  # SCPI's "not a number"
ERRORS = 20  # errors that the queue of a device holds
LONGEST = 10_000  # bytes of a line or a request


Server = ThreadingHTTPServer | socketserver.ThreadingTCPServer


class ScaledClock:
    """Real time from `start` on, `speed` times as fast."""

    kind = "real"

    def __init__(self, start: float, speed: float = 1.0) -> None:
        self._start, self._speed, self._began = start, speed, time.monotonic()

    def now(self) -> float:
        return self._start + self.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self._speed

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, 0.0) / self._speed)

    def interrupt(self) -> None:
        """Do nothing: waits are short."""


@dataclass
class ServedInstrument:
    """A simulated instrument that several clients share.

    Attributes:
        name: name in the answer to `*IDN?`.
        inputs: the inputs that can be set.
        channels: the channels that are read.
        off: the settings `off`.
        take: takes one reading at settings; raises InstrumentError.
        switch_off: sets the settings `off`.
        taken: number of readings so far.
    """

    name: str
    inputs: tuple[Input, ...]
    channels: tuple[Channel, ...]
    off: Settings
    take: Callable[[Settings], Reading]
    switch_off: Callable[[], Any]
    taken: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def measure(self, settings: Settings) -> Reading:
        """Take one reading.

        Raises:
            InstrumentError: it does not have these settings, or a fault occurred.
        """
        with self._lock:
            reading = self.take(settings)
            self.taken += 1
            return reading

    def be_off(self) -> Settings:
        """Set the settings `off`, and return them."""
        with self._lock:
            self.switch_off()
            return self.off

    def value(self, name: str, text: str) -> Value:
        """The value of an input from its text; for an unknown input the text itself."""
        numeric = any(item.name == name and item.numeric for item in self.inputs)
        return float(text) if numeric else text


def answer_of(reading: Reading) -> dict[str, Any]:
    """A reading as JSON."""
    return {"readings": dict(reading.readings), "applied": dict(reading.applied)}


# HTTP ----------------------------------------------------------------------------------------------------------------
def http_server(instrument: ServedInstrument, host: str, port: int) -> ThreadingHTTPServer:
    """The instrument behind an HTTP server; `serve_forever` serves it.

    Raises:
        OSError: it cannot listen there.
    """

    class _PageHandler(BaseHTTPRequestHandler):
        timeout = 60

        def do_GET(self) -> None:
            status, answer = _page(instrument, self.path)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: stdout is the user's."""

    server = ThreadingHTTPServer((host, port), _PageHandler)
    server.daemon_threads = True
    return server


def _page(instrument: ServedInstrument, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer to one request."""
    place = urlsplit(path)
    try:
        if place.path == "/off":
            return 200, {"applied": dict(instrument.be_off())}
        if place.path != "/":
            return 404, {"error": f"there is no {place.path}; allowed: / with the inputs as a query, /off"}
        query = parse_qsl(place.query, keep_blank_values=True)
        if len(dict(query)) != len(query):
            return 400, {"error": "an input is given twice"}
        return 200, answer_of(instrument.measure({name: instrument.value(name, text) for name, text in query}))
    except ValueError as error:
        return 400, {"error": str(error)}
    except InstrumentError as error:
        return 503 if error.retryable else 400, {"error": str(error)}


# A program -----------------------------------------------------------------------------------------------------------
def serve_lines(instrument: ServedInstrument, requests: IO[str], answers: IO[str]) -> None:
    """Answer each line of `requests`, one JSON object, with one line of `answers`, until the requests end."""
    for line in requests:
        if line.strip():
            print(json.dumps(_answer(instrument, line)), file=answers, flush=True)


def _answer(instrument: ServedInstrument, line: str) -> dict[str, Any]:
    head: dict[str, Any] = {}
    try:
        ask = json.loads(line)
        if not isinstance(ask, Mapping):
            raise ValueError("a request must be a JSON object")
        head = {"id": ask["id"]} if "id" in ask else {}
        if isinstance(settings := ask.get("measure"), Mapping):
            return head | answer_of(instrument.measure(settings))
        if "off" in ask:
            return head | {"applied": dict(instrument.be_off())}
        raise ValueError('a request must be {"measure": {…}} or {"off": {…}}')
    except ValueError as error:
        return head | {"error": str(error), "retryable": False}
    except InstrumentError as error:
        flags = {"retryable": error.retryable, "maybe_measured": error.maybe_measured}
        return head | {"error": str(error), **flags}


# SCPI ----------------------------------------------------------------------------------------------------------------
class ScpiDevice:
    """The state of a device that is set and read by lines of text: settings, the last reading, the queue of errors."""

    def __init__(self, instrument: ServedInstrument) -> None:
        self._instrument, self._settings = instrument, dict(instrument.off)
        self._fresh: dict[str, float] = {}  # channels of the last reading that were not asked for yet
        self._errors: deque[str] = deque(maxlen=ERRORS)
        self._lock = threading.Lock()

    def answer(self, line: str) -> str | None:
        """The answer to one line; None if it is no question."""
        with self._lock:
            head, _, value = line.strip().partition(" ")
            if not head:
                return None
            try:
                return self._execute(head, value.strip())
            except ValueError as error:
                self._errors.append(f'-222,"Data out of range; {error}"')
            except InstrumentError as error:
                self._errors.append(f'-200,"Execution error; {error}"')
            return NO_NUMBER if head.endswith("?") else None

    def _execute(self, head: str, value: str) -> str | None:
        upper, name = head.upper(), head.partition(":")[2].removesuffix("?")
        if upper == "*IDN?":
            return f"sdl,twin,{self._instrument.name},1"
        if upper == "SYST:ERR?":
            return self._errors.popleft() if self._errors else '0,"No error"'
        if upper == "*CLS":
            self._errors.clear()
        elif upper == "OUTP:OFF":
            self._settings, self._fresh = dict(self._instrument.be_off()), {}
        elif upper.startswith("SET:"):
            known = _known(name, self._settings)
            if head.endswith("?"):
                return _text(self._settings[known])
            new = self._instrument.value(known, value)
            if new != self._settings[known]:
                self._settings[known], self._fresh = new, {}
        elif upper.startswith("MEAS:") and head.endswith("?"):
            known = _known(name, [channel.name for channel in self._instrument.channels])
            if known not in self._fresh:
                self._fresh = dict(self._instrument.measure(self._settings).readings)
            return _text(self._fresh.pop(known))
        else:
            self._errors.append(f'-113,"Undefined header; {head}"')
            return NO_NUMBER if head.endswith("?") else None
        return None


def scpi_server(instrument: ServedInstrument, host: str, port: int) -> socketserver.ThreadingTCPServer:
    """The instrument behind a TCP socket; `serve_forever` serves it.

    Raises:
        OSError: it cannot listen there.
    """
    device = ScpiDevice(instrument)

    class _LineHandler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in _lines(self.rfile):
                answer = device.answer(line)
                if answer is not None:
                    self.wfile.write(answer.encode() + b"\n")

    class _LineServer(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    return _LineServer((host, port), _LineHandler)


def _lines(stream: Any) -> Iterator[str]:
    """The lines of a connection until it ends or breaks."""
    try:
        while raw := stream.readline(LONGEST):
            yield raw.decode("ascii", errors="replace")
    except OSError:
        return


def _known(name: str, names: Any) -> str:
    """The name as the instrument writes it.

    Raises:
        ValueError: there is none.
    """
    found = [one for one in names if one == name] or [one for one in names if one.upper() == name.upper()]
    if not found:
        raise ValueError(f"no {name}; allowed: {', '.join(names)}")
    return str(found[0])


def _text(value: Value) -> str:
    return value if isinstance(value, str) else repr(float(value))
