"""Messages between the lab and a worker process: JSON lines over a pair of sockets.

When either process ends, however it does, its side closes, and the other side detects that by reading.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Mapping
from typing import Any

SEND_TIMEOUT = 10.0  # seconds of trying to send a message with `must`
MAX_LINE_BYTES = 1 << 24  # maximum length of a line, bytes; a campaign has a few thousand


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

        `must` waits for buffer space; without it the message is dropped if there is none.
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
