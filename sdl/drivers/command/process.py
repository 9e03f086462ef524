"""A program that answers lines with lines: started in a group of its own, so that it ends with all that it started."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sdl.errors import BadReply, InstrumentError, Unreachable

log = logging.getLogger("sdl")

LONGEST = 64 * 1024  # bytes of a line
WAITING = 1000  # lines that wait to be read; a program that writes more is held up
GRACE = 2.0  # seconds for a program to end by itself, and again after SIGTERM


class LineProcess:
    """A running program with its lines of output; what it writes to stderr goes to the log.

    Args:
        command: program and arguments.
        folder: its working directory.

    Raises:
        InstrumentError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._name = Path(command[-1] if len(command) > 1 else command[0]).name
        try:
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InstrumentError(f"the command {' '.join(command)} cannot be started in {folder}: {reason}") from error
        self._lines: queue.Queue[bytes] = queue.Queue(WAITING)
        self._errors: deque[str] = deque(maxlen=1)
        self._stopped = threading.Event()
        self._readers = [
            threading.Thread(target=self._read_answers, name=f"{self._name} stdout", daemon=True),
            threading.Thread(target=self._read_errors, name=f"{self._name} stderr", daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def alive(self) -> bool:
        return self._exit_code() is None

    def send(self, line: str) -> None:
        """Write one line to its input.

        Raises:
            Unreachable: it has ended.
        """
        try:
            self._input.write(line.encode() + b"\n")
        except (OSError, ValueError) as error:
            raise Unreachable(f"the command has ended{self._end()}", maybe_measured=False) from error

    def receive(self, seconds: float, limit: float | None = None) -> bytes:
        """The next line of its output.

        Args:
            seconds: longest wait.
            limit: longest wait for the whole answer, for the message; by default `seconds`.

        Raises:
            Unreachable: none within `seconds`, or it has ended. BadReply: a line that is too long.
        """
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            limit = seconds if limit is None else limit
            raise Unreachable(f"the command did not answer within {limit:g} s", maybe_measured=True) from None
        if not line:
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait(b"")  # for the next call
            raise Unreachable(f"the command ended before it answered{self._end()}", maybe_measured=True)
        if len(line) > LONGEST:
            raise BadReply(f"the command wrote a line of more than {LONGEST} bytes")
        return line

    def unread(self) -> list[bytes]:
        """The lines that arrived unasked."""
        lines: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            while line := self._lines.get_nowait():
                lines.append(line)
                if len(lines) == WAITING:
                    return lines
            self._lines.put_nowait(b"")  # the end of its output, which `receive` must see
        return lines

    def stop(self, *, gently: bool = True) -> None:
        """End the program and all processes that it started: by the end of its input, then by signals.

        Without `gently`, signals are sent at once.
        """
        self._stopped.set()
        with contextlib.suppress(OSError, ValueError):
            self._input.close()
        if not gently or not self._has_ended(GRACE):
            self._end_all(kill=False)
            self._has_ended(GRACE)
        self._end_all(kill=True)  # what it started and left behind
        self._process.wait()
        for reader in self._readers:
            reader.join(GRACE)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None and not any(reader.is_alive() for reader in self._readers):
                stream.close()

    @property
    def _input(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise ValueError("it has no input")
        return self._process.stdin

    def _exit_code(self) -> int | None:
        """Its exit code, or − the number of the signal that ended it; None while it runs.

        It stays a zombie until `stop`, so that no other process can take the number of its group.
        """
        if not hasattr(os, "waitid"):
            return self._process.poll()
        end = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None:
            return None
        return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status

    def _has_ended(self, seconds: float) -> bool:
        """Whether it ends in time."""
        until = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def _end_all(self, *, kill: bool) -> None:
        """End it with all that it started; where there are no process groups (Windows), itself alone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL if kill else signal.SIGTERM)
            else:
                self._process.terminate()

    def _end(self) -> str:
        """How it ended, with the last line that it wrote to stderr: ` (exit code 1): KeyError: 'red'`."""
        self._has_ended(GRACE)  # its output may end a little earlier
        self._readers[1].join(GRACE)
        code = self._exit_code()
        how = "" if code is None else f" (exit code {code})" if code >= 0 else f" ({_signal_name(-code)})"
        return how + (f": {self._errors[-1]}" if self._errors else "")

    def _read_answers(self) -> None:
        stream = self._process.stdout
        pending = b""
        while stream is not None and not self._stopped.is_set():
            piece = stream.read(LONGEST)
            if not piece:
                break
            *lines, pending = (pending + piece).split(b"\n")
            if len(pending) > LONGEST:
                lines, pending = [*lines, pending], b""
            for line in lines:
                if line.strip():
                    self._put(line)
        self._put(b"")

    def _put(self, line: bytes) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._lines.put(line, timeout=0.5)
                return

    def _read_errors(self) -> None:
        stream, pending = self._process.stderr, b""
        while stream is not None and (piece := stream.read(LONGEST)):
            *lines, pending = (pending + piece).split(b"\n")
            if len(pending) > LONGEST:
                lines, pending = [*lines, pending], b""
            for line in lines:
                self._log(line)
        self._log(pending)

    def _log(self, line: bytes) -> None:
        if text := line.decode(errors="replace").strip()[:500]:
            self._errors.append(text)
            log.info("%s: %s", self._name, text)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
