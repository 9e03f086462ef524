"""Messages between the lab's process and that of a campaign: one JSON object a line, over a pair of sockets.

The end of either process closes its side, however it ended, and the other finds that out by reading.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Mapping
from typing import Any

SEND_TIMEOUT = 10.0
"""Seconds for which a message that must arrive is tried."""
MAX_LINE_BYTES = 1 << 24
"""Bytes of a line; a campaign has some thousand."""


class WorkerPipe:
    """One side. May be written to by several threads, read by one.

    Args:
        end: of a pair of sockets; taken over.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket, self._rest, self.open = end, b"", True
        end.setblocking(False)
        self._writing = threading.Lock()

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def send(self, message: Mapping[str, Any], *, must: bool = True) -> bool:
        """Sends a message; False where the other side is gone or does not read.

        Args:
            message: plain values.
            must: wait for room; else a message for which there is none is left out.
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
                            self.open = False  # half a line: nothing after it could be read
                        return False
                    continue
                except (OSError, ValueError):
                    return False
                line, begun = line[sent:], True
        return not line

    def receive(self, timeout: float | None = 0.0) -> list[dict[str, Any]]:
        """The messages that are there, waiting at most `timeout` seconds for the first (None: for ever).

        `open` is False once the other side is gone and everything is read.
        """
        found: list[dict[str, Any]] = []
        while self.open and not found:
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
            found += [message for line in lines if isinstance(message := _plain(line), dict)]
        return found

    def close(self) -> None:
        """May be called twice."""
        self.open = False
        self._socket.close()


def _plain(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
