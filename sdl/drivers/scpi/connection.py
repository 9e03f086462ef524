"""Lines of text to and from a device through VISA: the only module that uses pyvisa and translates its exceptions.

After any failure the connection is closed, so that a late answer is lost with it; only a serial port keeps such an
answer.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from sdl.clock import Clock
from sdl.errors import BadReply, InstrumentError, Unreachable
from sdl.extras import missing

LONGEST = 4096  # bytes of an answer
OPENING = 5.0  # seconds for the connection to be made
STREAMS = re.compile(r"ASRL|.*::SOCKET$", re.IGNORECASE)  # resources without marks between messages
QUIET = 0.001  # seconds without a byte, after which nothing was left over
MOST_LEFT = 64 * 1024  # bytes left over


class ScpiConnection:
    """A VISA resource, opened when it is first needed and again after every failure.

    Args:
        resource: its VISA name.
        visa: the VISA library, `@py` for pyvisa-py.
        termination: characters at the end of each line, in both directions.
        baud: speed of a serial port; None: left unchanged.
        timeout: seconds to wait for a whole answer.
        pause: seconds to wait after opening, for devices that restart then.
        clock: clock for the waits.

    Raises:
        InstrumentError: pyvisa or what it needs is not installed.
    """

    def __init__(
        self, resource: str, visa: str, termination: str, baud: int | None, timeout: float, pause: float, clock: Clock
    ) -> None:
        try:
            import pyvisa
        except ImportError as error:
            raise InstrumentError(missing("SCPI instruments", "scpi", error)) from error
        self._pyvisa: Any = pyvisa
        self._name, self._visa, self._termination, self._baud = resource, visa, termination, baud
        self.timeout, self._pause, self._clock = timeout, pause, clock
        self._stream = STREAMS.match(resource) is not None
        self._resource: Any = None

    @property
    def is_open(self) -> bool:
        return self._resource is not None

    def open(self) -> None:
        """Open the resource unless it is open.

        Raises:
            Unreachable: nothing answers there.
        """
        if self.is_open:
            return
        try:
            manager = self._pyvisa.ResourceManager(self._visa)
            self._resource = manager.open_resource(self._name, open_timeout=int(OPENING * 1000))
            self._resource.read_termination = self._resource.write_termination = self._termination
            if self._baud is not None:
                self._resource.baud_rate = self._baud
        except Exception as error:  # pyvisa-py raises plain exceptions here
            self.close()
            raise Unreachable(f"{self._name} cannot be opened: {_words(error)}") from error
        self._clock.sleep(self._pause)

    def write(self, command: str) -> None:
        """Send one line.

        Raises:
            Unreachable: the connection broke.
        """
        try:
            self._resource.timeout = self.timeout * 1000
            self._resource.write_raw((command + self._termination).encode())
        except (self._pyvisa.Error, OSError) as error:
            raise self._broken(error, f"while {command!r} was sent") from error

    def query(self, command: str) -> str:
        """Send a line, and return the next line that arrives.

        Raises:
            Unreachable: no whole answer in time.
            BadReply: the answer is too long, or not text.
        """
        self.write(command)
        return self.read(f"to {command!r}")

    def read(self, what: str) -> str:
        """The next line, without its termination.

        Raises:
            Unreachable: no whole line in time.
            BadReply: it is too long, or not text.
        """
        line, end = bytearray(), self._clock.monotonic() + self.timeout
        stop = self._termination[-1:].encode()
        try:
            self._resource.timeout = self.timeout * 1000
            while not line.endswith(stop):
                # A stream is read byte by byte, since pyvisa-py waits for as long as bytes drip in.
                chunk, status = self._read(1 if self._stream else LONGEST)
                line += chunk
                if len(line) > LONGEST:
                    raise self._wrong(f"the answer {what} is longer than {LONGEST} bytes")
                if self._clock.monotonic() > end:
                    raise self._late(what)
                if not self._stream and status != self._pyvisa.constants.StatusCode.success_max_count_read:
                    break
        except (self._pyvisa.Error, OSError) as error:
            if isinstance(error, self._pyvisa.VisaIOError) and "TMO" in error.abbreviation:
                raise self._late(what) from error
            raise self._broken(error, f"before the answer {what} was complete") from error
        try:
            return line.decode().strip()
        except UnicodeDecodeError as error:
            raise self._wrong(f"the answer {what} is not text: {bytes(line[:40])!r}") from error

    def close(self) -> None:
        resource, self._resource = self._resource, None
        if resource is not None:
            with suppress(self._pyvisa.Error, OSError):
                resource.close()

    def _read(self, count: int) -> tuple[bytes, Any]:
        codes = self._pyvisa.constants.StatusCode
        with self._resource.ignore_warning(codes.success_max_count_read, codes.success_device_not_present):
            chunk, status = self._resource.visalib.read(self._resource.session, count)
        return bytes(chunk), status

    def drop_leftovers(self) -> None:
        """Discard input that answers no question.

        Raises:
            Unreachable: the connection broke. BadReply: input keeps arriving.
        """
        if not self._stream:  # its messages are marked, and a new question ends the old one
            return
        self._resource.timeout = QUIET * 1000
        try:
            for _ in range(MOST_LEFT):
                if not self._read(1)[0]:
                    return
        except self._pyvisa.Error:  # nothing more
            return
        except OSError as error:
            raise self._broken(error, "while it was idle") from error
        raise self._wrong("it sends without being asked, and does not stop")

    def _late(self, what: str) -> Unreachable:
        self.close()
        return Unreachable(f"{self._name}: no whole answer {what} within {self.timeout:g} s", maybe_measured=True)

    def _wrong(self, why: str) -> BadReply:
        self.close()
        return BadReply(f"{self._name}: {why}")

    def _broken(self, error: Exception, when: str) -> Unreachable:
        self.close()
        return Unreachable(f"{self._name}: the connection broke {when}: {_words(error)}", maybe_measured=True)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__)
