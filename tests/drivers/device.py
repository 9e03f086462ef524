"""A device on a real socket that is set and read by lines, and answers as told: late, twice, garbled, not at all."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from waiting import TIMEOUT

IDENTITY = "ACME,PS1,0042,1.3"

Fault = Callable[["Device", socket.socket, str], None]
"""What is done instead of sending an answer."""


class Device:
    """A supply with voltage and range: `VOLT 1.5`, `VOLT?`, `RANG low`, `MEAS:LIGHT?`, `SYST:ERR?`, `OUTP OFF`.

    Args:
        keeps: whether late answers come on the connection that is open then, as at a serial port.

    Attributes:
        lines: every line that came.
        faults: one for each of the next answers, by number from 1 on, counted over all connections.
        answers: how many were due.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self.volt, self.range, self.output = 0.0, "low", False
        self.errors: list[str] = []
        self.lines: list[str] = []
        self.faults: dict[int, Fault] = {}
        self.always: Fault | None = None
        self.answers = self.connections = 0
        self.keeps, self.kept = keeps, b""
        self.noise: Callable[[], float] = lambda: 0.0
        self.stuck = False  # whether it ignores new voltages
        self.over = threading.Event()
        self._timers: list[threading.Timer] = []
        self._peer: socket.socket | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.resource = f"TCPIP::127.0.0.1::{self._socket.getsockname()[1]}::SOCKET"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def light(self) -> float:
        """What is true of the channel at the present settings."""
        return 100.0 * self.volt * (10.0 if self.range == "high" else 1.0)

    def close(self) -> None:
        self.over.set()
        for timer in self._timers:
            timer.cancel()
        if self._peer is not None:
            with suppress(OSError):
                self._peer.shutdown(socket.SHUT_RDWR)
        with suppress(OSError), socket.create_connection(self._socket.getsockname()):
            pass
        self._thread.join(TIMEOUT)
        self._socket.close()

    def later(self, peer: socket.socket, answer: str, seconds: float) -> None:
        """Send an answer on the connection that is open then, if the port keeps it, else on this one."""

        def send() -> None:
            with suppress(OSError):
                (self._peer or peer if self.keeps else peer).sendall(f"{answer}\n".encode())

        timer = threading.Timer(seconds, send)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _serve(self) -> None:
        while not self.over.is_set():
            peer, _ = self._socket.accept()
            with peer:
                if self.over.is_set():
                    return
                self._peer, self.connections = peer, self.connections + 1
                with suppress(OSError):
                    self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        rest = b""
        while b"\n" in rest or (piece := peer.recv(4096)):
            if b"\n" not in rest:
                rest += piece
                continue
            line, _, rest = rest.partition(b"\n")
            command = line.decode(errors="replace").strip()
            self.lines.append(command)
            answer = self._done(command)
            if answer is None:
                continue
            self.answers += 1
            fault = self.always or self.faults.get(self.answers)
            if fault is None:
                peer.sendall(f"{answer}\n".encode())
            else:
                fault(self, peer, answer)

    def _done(self, command: str) -> str | None:
        """Do what a line says; the answer, if it is a question."""
        name, _, value = command.partition(" ")
        match name:
            case "*IDN?":
                return IDENTITY
            case "VOLT?":
                return f"{self.volt:.6E}"
            case "RANG?":
                return f'"{self.range}"'
            case "MEAS:LIGHT?":
                return f"{self.light + self.noise():.6E}"
            case "MEAS:ALL?":
                return f"{self.light:.6E},{self.volt:g} V"
            case "SYST:ERR?":
                return self.errors.pop(0) if self.errors else '+0,"No error"'
            case "VOLT" if 0 <= float(value) <= 5:
                self.volt = self.volt if self.stuck else float(value)
            case "VOLT":
                self.errors.append('-222,"Data out of range"')
            case "RANG":
                self.range = value
            case "OUTP":
                self.output = value == "ON"
            case "*CLS":
                self.errors.clear()
            case _:
                self.errors.append('-113,"Undefined header"')
        return None


# Faults ---------------------------------------------------------------------------------------------------------------
def silent(device: Device, peer: socket.socket, answer: str) -> None:
    """The answer is lost."""


def late(seconds: float) -> Fault:
    return lambda device, peer, answer: device.later(peer, answer, seconds)


def twice(seconds: float) -> Fault:
    """The answer, and once more later."""

    def act(device: Device, peer: socket.socket, answer: str) -> None:
        peer.sendall(f"{answer}\n".encode())
        if seconds:
            device.later(peer, answer, seconds)
        else:
            peer.sendall(f"{answer}\n".encode())

    return act


def says(text: str | bytes) -> Fault:
    raw = text.encode() if isinstance(text, str) else text
    return lambda device, peer, answer: peer.sendall(raw)


def hangs_up(device: Device, peer: socket.socket, answer: str) -> None:
    peer.shutdown(socket.SHUT_RDWR)


def resets(device: Device, peer: socket.socket, answer: str) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def half(device: Device, peer: socket.socket, answer: str) -> None:
    """The first half, and then nothing."""
    peer.sendall(answer[: len(answer) // 2].encode())


def drips(device: Device, peer: socket.socket, answer: str) -> None:
    """A digit at a time, without end."""
    for _ in range(2000):
        if device.over.wait(0.01):
            return
        peer.sendall(b"1")


def floods(device: Device, peer: socket.socket, answer: str) -> None:
    while not device.over.is_set():
        peer.sendall(b"1" * 4096)
