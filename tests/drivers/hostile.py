"""A lamp behind a server that means no good: what is true of the lamp, and what the server makes of it."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sdl.clock import VirtualClock
from sdl.twin.led.model import Plant
from sdl.twin.led.state import load

from .server import NAMES, Script, Server, drips, http, reset, says, sends, silent

OFF = [0.0, 0.0, 0.0]
SLOW, GIVEN_UP = 30.0, 0.1
"""Seconds, of the campaign's time and of ours, that a request takes which is not answered in time."""


@dataclass
class Lamp:
    """What is true: the light that is set, and what the sensor reads of it.

    Attributes:
        light: the settings that the LED is at, now.
        room: counts that the room adds to every channel.
        time: when the next reading is taken; each takes a second.
        plant: the physics.
    """

    light: list[float] = field(default_factory=lambda: list(OFF))
    room: float = 0.0
    time: float = 1.76e9
    plant: Plant = field(default_factory=lambda: Plant(load("night-2025-10"), 1))

    @property
    def lit(self) -> bool:
        return any(self.light)

    def out(self, light: list[float]) -> dict[str, int]:
        """What the sensor reads at this light."""
        self.time += 1.0
        seen = self.plant.read(dict(zip("RGB", light, strict=True)), self.time).readings
        return {name: min(int(seen[name] + self.room), 65535) for name in NAMES}

    def measure(self, asked: list[float]) -> dict[str, Any]:
        """What the published server does: on, read, off."""
        self.light = list(OFF)
        return {"in": asked, "out": self.out(asked)}


Act = Callable[[Lamp, list[float]], Script]
"""What a server does with a request: to the lamp, and on the wire."""


def honest(lamp: Lamp, asked: list[float]) -> Script:
    return says(lamp.measure(asked))


def breaks(script: Script) -> Act:
    """It fails in the middle of its work, before it switched the light off."""

    def act(lamp: Lamp, asked: list[float]) -> Script:
        lamp.light = asked if any(asked) else lamp.light
        return script

    return act


def lies(change: Callable[[Lamp, list[float], dict[str, Any]], Any], **wire: str) -> Act:
    """It measures, and says something else."""
    return lambda lamp, asked: says(change(lamp, asked, lamp.measure(asked)), **wire)


def channel(name: str, value: object) -> Act:
    return lies(lambda lamp, asked, body: {**body, "out": {**body["out"], name: value}})


def echo(value: object) -> Act:
    return lies(lambda lamp, asked, body: {**body, "in": value})


def text(change: Callable[[str], str | bytes]) -> Act:
    return lies(lambda lamp, asked, body: change(json.dumps(body)))


# What breaks, or cannot be a reading. Each is done now and then, and for good ---------------------------------------
PAGE = "<!doctype html><title>500</title><h1>Internal Server Error</h1>"
GZIP = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
BOMB = gzip.compress(b"0" * 10_000_000)


def pours(head: bytes, piece: bytes) -> Script:
    """As much as the client takes, as fast as it takes it."""

    def script(server: Server, peer: socket.socket, asked: list[float]) -> None:
        peer.sendall(head)
        while not server.over.is_set():
            peer.sendall(piece)

    return script


def closes_in_the_middle(server: Server, peer: socket.socket, asked: list[float]) -> None:
    peer.sendall(http(json.dumps({"in": asked, "out": dict.fromkeys(NAMES, 700)}))[:-30])


ANSWER = json.dumps({"in": OFF, "out": dict.fromkeys(NAMES, 700)})

FAULTS: dict[str, Act] = {
    # the connection
    "reset": breaks(reset),
    "closed without a word": breaks(sends(b"")),
    "closed in the middle of the body": breaks(closes_in_the_middle),
    "closed in the middle of the head": breaks(sends(b"HTTP/1.1 200 OK\r\nContent-Le")),
    "no HTTP": breaks(sends(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")),
    "an HTTP version of the future": breaks(sends(b"HTTP/7.0 200 OK\r\n\r\n")),
    "a status that is no number": breaks(sends(b"HTTP/1.1 OK 200\r\n\r\n")),
    "a head without end": breaks(pours(b"HTTP/1.1 200 OK\r\n", b"X-Pad: " + b"x" * 50_000 + b"\r\n")),
    "a length that is too long": breaks(sends(http(ANSWER).replace(b"Content-Length: ", b"Content-Length: 9"))),
    "a length that is too short": breaks(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + ANSWER.encode())),
    "a negative length": breaks(sends(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + ANSWER.encode())),
    "two lengths": breaks(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}")),
    "chunks that are none": breaks(sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")),
    "a bomb": breaks(says(BOMB, headers=GZIP)),
    "a bomb that was not asked for by name": breaks(says(BOMB)),
    # the status
    "500 with a page": breaks(says(PAGE, status="500 Internal Server Error")),
    "501": breaks(says(PAGE, status="501 Not Implemented")),
    "502": breaks(says(PAGE, status="502 Bad Gateway")),
    "503": breaks(says("", status="503 Service Unavailable", headers="Retry-After: 1\r\n")),
    "504": breaks(says(PAGE, status="504 Gateway Timeout")),
    "204": breaks(sends(b"HTTP/1.1 204 No Content\r\n\r\n")),
    "206 with a reading": lies(lambda lamp, asked, body: body, status="206 Partial Content"),
    "429": breaks(says("", status="429 Too Many Requests")),
    "599": breaks(says("", status="599 Odd")),
    "100 for ever": breaks(sends(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)),
    # the body
    "a page that says 200": breaks(says(PAGE, headers="Content-Type: text/html\r\n")),
    "nothing": breaks(says("")),
    "null": text(lambda body: "null"),
    "a list": text(lambda body: f"[{body}]"),
    "a text": text(json.dumps),
    "a number": text(lambda body: "42"),
    "JSON that is cut off": text(lambda body: body[:-9]),
    "JSON twice": text(lambda body: body + body),
    "UTF-16": text(lambda body: body.encode("utf-16")),
    "a byte order mark": text(lambda body: b"\xef\xbb\xbf" + body.encode()),
    "NUL at its end": text(lambda body: body + "\0"),
    "lists in lists": text(lambda body: "[" * 30_000),
    "objects in objects": text(lambda body: '{"in":' * 9_000),
    "a name twice": text(lambda body: body[:-2] + ', "nir": 1}}'),
    "no readings": lies(lambda lamp, asked, body: {"in": asked}),
    "readings in a list": lies(lambda lamp, asked, body: {**body, "out": list(body["out"].values())}),
    "a channel too few": lies(lambda lamp, asked, body: {**body, "out": {k: body["out"][k] for k in NAMES[1:]}}),
    "null for a count": channel("515nm", None),
    "a text for a count": channel("515nm", "12"),
    "true for a count": channel("515nm", True),
    "NaN": channel("515nm", float("nan")),
    "infinity": channel("515nm", float("inf")),
    "less than nothing": channel("515nm", -1),
    "half a count": channel("515nm", 0.5),
    "more than full scale": channel("515nm", 65536),
    "400 digits": channel("515nm", 10**400),
    "5000 digits": text(lambda body: body.replace('"nir": ', '"nir": ' + "9" * 5000)),
    "an exponent of a thousand": text(lambda body: body.replace('"nir": ', '"nir": 1e999, "x": ')),
    "a stored answer that says so": lies(lambda lamp, asked, body: body, headers="Age: 3\r\n"),
}

FINAL: dict[str, Act] = {
    # what asking again cannot mend
    "chunks without end": breaks(
        pours(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4000\r\n" + b" " * 0x4000 + b"\r\n")
    ),
    "a body of a gigabyte": breaks(pours(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b" " * 65536)),
    "a body without end": breaks(pours(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536)),
    "sent on in a circle": breaks(sends(b"HTTP/1.1 302 Found\r\nLocation: /api\r\nContent-Length: 0\r\n\r\n")),
    "sent elsewhere": breaks(
        sends(b"HTTP/1.1 301 Moved\r\nLocation: https://192.0.2.1/api\r\nContent-Length: 0\r\n\r\n")
    ),
    "sent on to a file": breaks(
        sends(b"HTTP/1.1 307 Moved\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")
    ),
    "404": breaks(says(PAGE, status="404 Not Found")),
    "401": breaks(says("", status="401 Unauthorized", headers='WWW-Authenticate: Basic realm="x"\r\n')),
    "more than 64 kB of JSON": lies(lambda lamp, asked, body: {**body, "more": "x" * 70_000}),
    "no echo": lies(lambda lamp, asked, body: {"out": body["out"]}),
    "a text as echo": echo("0.1, 0.2, 0.3"),
    "two echoed": echo([0.1, 0.2]),
    "four echoed": echo([0.1, 0.2, 0.3, 0.4]),
    "NaN as echo": text(lambda body: body.replace("[", "[1e999, ", 1)),
    "true as echo": echo([True, True, True]),
    "an echo above 1": echo([0.1, 1.2, 0.3]),
    "an echo below 0": echo([-0.1, 0.2, 0.3]),
}

LATE: dict[str, Act] = {
    # what takes its time; a request is given up after a fraction of a second
    "silence": breaks(silent),
    "a head that drips": breaks(drips(b"HTTP/1.1 200 OK\r\n", b"X")),
    "a body that drips": breaks(drips(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" ")),
    "chunks that drip": breaks(drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")),
    "100 that drips": breaks(drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
}


# What has the form of a reading and lies ------------------------------------------------------------------------------
def stuck_on(lamp: Lamp, asked: list[float]) -> Script:
    """The LED stays as bright as it once was; the server says what it was asked for."""
    lamp.light = [0.6, 0.5, 0.4]
    return says({"in": asked, "out": lamp.out(lamp.light)})


def stuck_off(lamp: Lamp, asked: list[float]) -> Script:
    lamp.light = list(OFF)
    return says({"in": asked, "out": lamp.out(OFF)})


def at_least(low: float) -> Act:
    """The LED never gets darker than this, and the server says so."""

    def act(lamp: Lamp, asked: list[float]) -> Script:
        applied = [max(low, value) for value in asked]
        lamp.light = applied if not any(asked) else list(OFF)
        return says({"in": applied, "out": lamp.out(applied)})

    return act


def at_most(high: float) -> Act:
    def act(lamp: Lamp, asked: list[float]) -> Script:
        return says(lamp.measure([min(high, value) for value in asked]))

    return act


def stays_on(lamp: Lamp, asked: list[float]) -> Script:
    """Asked to be off it does nothing, and says so."""
    if any(asked):
        return honest(lamp, asked)
    lamp.light = lamp.light if lamp.lit else [0.5, 0.5, 0.5]
    return says({"in": lamp.light, "out": lamp.out(lamp.light)})


def stores(key: Callable[[str, list[float]], object]) -> Act:
    """Answers what it has an answer for with that, whatever the lamp would read by now.

    Args:
        key: what it looks an answer up by, of the address and the settings asked for.
    """
    kept: dict[object, dict[str, Any]] = {}

    def act(lamp: Lamp, asked: list[float]) -> Script:
        def script(server: Server, peer: socket.socket, asked: list[float]) -> None:
            body = kept.setdefault(key(server.heads[-1].split()[1], asked), lamp.measure(asked))
            says({**body, "in": asked})(server, peer, asked)

        return script

    return act


def answers_twice(lamp: Lamp, asked: list[float]) -> Script:
    """Promises to keep the connection, and sends its answer once more when the next request is on its way."""
    answer = http(json.dumps(lamp.measure(asked)), headers="Connection: keep-alive\r\n")

    def script(server: Server, peer: socket.socket, asked: list[float]) -> None:
        peer.sendall(answer)
        if (later := server.request(peer)) is not None:
            lamp.measure(later)
            peer.sendall(answer)

    return script


When = Callable[[int, int, list[float]], bool]
"""Whether the server is hostile to a request: its number (from 1), that among its kind (lit or dark), its settings."""


class Hostile:
    """Does as it is told with some requests, and is honest to the others.

    Args:
        lamp: behind it.
        act: what it does.
        when: to which requests.
        clock: of the campaign; a request that is not answered takes `SLOW` of it.

    Attributes:
        met: to how many it was hostile.
    """

    def __init__(self, lamp: Lamp, act: Act, when: When, clock: VirtualClock, *, slow: bool) -> None:
        self._lamp, self._act, self._when, self._clock, self._slow = lamp, act, when, clock, slow
        self._number, self._own, self._due = 0, {True: 0, False: 0}, False
        self.met = 0

    def time_limit(self, asked: list[float], within: float) -> float:
        """Real seconds for which the next request is waited for: few where its answer will not come."""
        self._number += 1
        self._own[any(asked)] += 1
        self._due = self._when(self._number, self._own[any(asked)], asked)
        self.met += self._due
        if not (self._due and self._slow):
            return within
        self._clock.sleep(SLOW)
        return GIVEN_UP

    def __call__(self, server: Server, peer: socket.socket, asked: list[float]) -> None:
        (self._act if self._due else honest)(self._lamp, asked)(server, peer, asked)
