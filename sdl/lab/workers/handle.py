"""The lab's handle of one worker process: its messages, its termination, and a description of its end.

Termination: SIGTERM, again after `FINISH` s, SIGKILL after `SAFE` s more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from typing import Any

from sdl.lab.workers.base import FINISH, SAFE, WorkerUpdate
from sdl.lab.workers.worker_pipe import WorkerPipe

log = logging.getLogger("sdl.lab")

SIGNAL_TEXTS: dict[int, str] = {
    signal.SIGKILL: "killed (SIGKILL): by `kill -9`, or by the system because memory ran out",
    signal.SIGSEGV: "crashed (SIGSEGV): a fault in a compiled library",
    signal.SIGBUS: "crashed (SIGBUS): a fault in a compiled library, or a disk that is gone",
    signal.SIGABRT: "crashed (SIGABRT): a compiled library gave up",
    signal.SIGFPE: "crashed (SIGFPE): a fault in a compiled library",
    signal.SIGILL: "crashed (SIGILL): a library for another processor",
    signal.SIGTERM: "ended by SIGTERM",
}
EXIT_UNKNOWN = 255  # exit code reported when the fork server is gone too


@dataclass
class WorkerHandle:
    """A worker process and its latest state."""

    process: BaseProcess
    link: WorkerPipe
    hung: float  # seconds without a message after which it counts as hung
    heard: float = field(default_factory=time.monotonic)  # time of its last message
    messages: int = 0
    log_fields: dict[str, Any] = field(default_factory=dict)
    readings: int = 0
    end: WorkerUpdate | None = None  # its final update
    failure: str = ""  # cause of its death that it reported
    why: str = ""  # reason of its termination, once requested
    requested: float = 0.0  # time of that request
    signals: int = 0
    safe: str | None = None  # latest result of switching off
    again: bool = True  # whether it retries to switch off

    def drain(self) -> list[WorkerUpdate]:
        """The updates since the last call, without the final one; log lines are logged."""
        updates = []
        while messages := self.link.receive():
            self.heard, self.messages = time.monotonic(), self.messages + 1
            for message in messages:
                if "log" in message:
                    fields = {**self.log_fields, "trial": message.get("trial")}
                    log.log(int(message["log"]), "%s", message["text"], extra=fields)
                elif "safe" in message:
                    self.safe, self.again = message["safe"], message["again"]
                elif "died" in message:
                    self.failure = message["died"]
                elif "update" in message:
                    update = WorkerUpdate(**message["update"])
                    self.readings = max(self.readings, update.readings)
                    if update.what == "ended":
                        self.end = update
                    else:
                        updates.append(replace(update, readings=self.readings))
        return updates

    @property
    def gone(self) -> bool:
        """Whether its process has ended, judged by the pipe if the fork server is gone too."""
        code = self.process.exitcode
        return code is not None and not (code == EXIT_UNKNOWN and self.link.open)

    def signal(self, number: int) -> None:
        if not self.gone and self.process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def press(self) -> None:
        """Send the next signal of the termination, if due."""
        since = time.monotonic() - self.requested
        due = 1 + (since >= FINISH) + (since >= FINISH + SAFE)
        if self.signals < due:
            self.signals = due
            self.signal(signal.SIGKILL if due == 3 else signal.SIGTERM)
            self.signal(signal.SIGCONT)  # wakes a stopped process

    def ask_to_end(self, why: str) -> None:
        """Terminate it; the first reason is kept."""
        if not self.why:
            self.why, self.requested = why, time.monotonic()
        self.press()

    def dispose(self) -> None:
        """Kill it if it still runs, and release its resources."""
        self.signal(signal.SIGKILL)
        self.process.join(FINISH)
        self.link.close()
        if self.process.exitcode is not None:
            self.process.close()


def describe_exit(code: int | None) -> str:
    """The end of a process that sent no final message."""
    if code is None:
        return "its process does not end"
    if code == EXIT_UNKNOWN:
        return "its process and the fork server have ended, for an unknown reason"
    if code >= 0:
        return f"its process ended unexpectedly with exit code {code}"
    return SIGNAL_TEXTS.get(-code, f"ended by signal {-code} ({signal.strsignal(-code)})")
