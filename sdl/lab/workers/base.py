"""The interface between the loop (`sdl.lab.loop`) and the workers that run campaigns for it, and their messages.

Messages are JSON lines over a pair of sockets. When a process ends, however it does, its side closes, and the other
side detects that by reading.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from sdl.core.events import Continued, Event, Paused

NOT_YET = "no answer yet"  # returned by `Workers.make_safe` until the result is known
FINISH, SAFE = 5.0, 30.0
"""Seconds that an interrupted process has to finish its reading; then to switch off and close its record."""
SEND_TIMEOUT = 10.0  # seconds of trying to send a message with `must`
MAX_LINE_BYTES = 1 << 24  # maximum length of a line, bytes; a campaign has a few thousand


@dataclass(frozen=True, slots=True)
class JobOrder:
    """One campaign to run.

    Attributes:
        campaign: the resolved campaign (`CampaignFile.plain()`), with the lab's instrument.
        folder: directory of the run, recorded before anything begins; an existing record in it is resumed.
        hung: seconds without an event after which the process counts as hung.
        suspend: the resolved pause conditions (`sdl.lab.config.model`) as plain values.
        changes: `key=value` each, where an ended run is continued; None elsewhere.
        attempt: 0 the first time.
    """

    start: int
    campaign: Mapping[str, Any]
    folder: Path
    instrument: str
    hung: float
    suspend: Mapping[str, Any]
    changes: tuple[str, ...] | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class WorkerUpdate:
    """A change in the state of a job order.

    Attributes:
        what: running (an event was written), asked (a person is asked for a reading), paused, continued, ended or died.
        text: cause of a pause or death, reason of an end; the reading that is asked for, and what to set in the lines
            after.
        outcome: outcome of an ended campaign, as in the record.
        readings: number of readings taken in this run so far.
        on: why the instrument of an ended campaign is not known to be off; empty if it is off.
        cost: cost of this run so far.
    """

    start: int
    what: Literal["running", "asked", "paused", "continued", "ended", "died"]
    text: str = ""
    outcome: str = ""
    readings: int = 0
    at: float = 0.0
    on: str = ""
    cost: float = 0.0


def update_of(event: Event, start: int, readings: int, cost: float = 0.0) -> WorkerUpdate:
    """The update that an event of a campaign causes; readings and cost are those so far."""
    match event:
        case Paused():
            return WorkerUpdate(start, "paused", f"{event.cause} ({event.by})", "", readings, event.at, cost=cost)
        case Continued():
            return WorkerUpdate(start, "continued", event.by, "", readings, event.at, cost=cost)
    return WorkerUpdate(start, "running", "", "", readings, event.at, cost=cost)


Command = Literal["pause", "proceed", "resume", "abort"]
"""A method of `sdl.lab.workers.gate.LabGate` that the lab calls while a campaign runs."""


class Workers(Protocol):
    """Runs job orders: `sdl.lab.workers.supervisor` in one process each, `sdl.lab.simulate` in this process."""

    def begin(self, order: JobOrder) -> None: ...
    def updates(self) -> Sequence[WorkerUpdate]: ...  # never blocks; one `ended` or `died` per order
    def command(self, start: int, verb: Command, *given: str) -> None: ...  # calls that method of `LabGate`
    def interrupt(self, start: int, by: str) -> None: ...  # stays resumable; update: died
    def make_safe(self, instrument: Mapping[str, Any]) -> str: ...  # never blocks; an error, NOT_YET, or empty
    def close(self) -> None: ...  # interrupts what runs, waits, kills the rest


class WorkerPipe:
    """One side of the pipe. Several threads may send, one may receive.

    Args:
        end: one socket of a pair, owned from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket, self._rest, self.open = end, b"", True
        end.setblocking(False)
        self._writing = threading.Lock()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Mapping[str, Any], *, must: bool = True) -> bool:
        """Send a message of plain values; False if the other side is gone or does not read.

        With `must` it waits for buffer space; otherwise the message is dropped if the buffer is full.
        """
        line = json.dumps(message).encode() + b"\n"
        with self._writing:
            begun = False
            while line and self.open:
                try:
                    sent = self._socket.send(line)
                except BlockingIOError:
                    if not (must or begun) or not select.select([], [self._socket], [], SEND_TIMEOUT)[1]:
                        if begun:
                            self.open = False  # a partial line makes all later ones unreadable
                        return False
                    continue
                except (OSError, ValueError):
                    return False
                line, begun = line[sent:], True
        return not line

    def receive(self, timeout: float | None = 0.0) -> list[dict[str, Any]]:
        """The pending messages, waiting at most `timeout` seconds for the first (None: no limit).

        `open` is False once the other side is gone and everything has been read.
        """
        messages: list[dict[str, Any]] = []
        while self.open and not messages:
            try:
                if not select.select([self._socket], [], [], timeout)[0]:
                    break
                piece = self._socket.recv(1 << 16)
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                piece = b""
            if not piece or len(self._rest) > MAX_LINE_BYTES:
                self.open = False
                break
            *lines, self._rest = (self._rest + piece).split(b"\n")
            messages += [message for line in lines if isinstance(message := _plain(line), dict)]
        return messages

    def close(self) -> None:
        """Close this side; callable twice."""
        self.open = False
        self._socket.close()


def _plain(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
