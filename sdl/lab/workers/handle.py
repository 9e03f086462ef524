"""One process of a lab, seen from the lab: what it said last, how it is ended, and how its end is put into words.

interrupted    SIGTERM, after `FINISH` s again, after `SAFE` s more SIGKILL
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from sdl.lab.workers.worker_pipe import WorkerPipe

log = logging.getLogger("sdl.lab")

FINISH, SAFE = 5.0, 30.0
"""Seconds that an interrupted process has to finish its reading; then to make safe and close its record."""
SIGNAL_TEXTS = {
    signal.SIGKILL: "killed (SIGKILL): by somebody's `kill -9`, or by the system for want of memory",
    signal.SIGSEGV: "crashed (SIGSEGV): a fault in a compiled library",
    signal.SIGBUS: "crashed (SIGBUS): a fault in a compiled library, or a disk that is gone",
    signal.SIGABRT: "crashed (SIGABRT): a compiled library gave up",
    signal.SIGFPE: "crashed (SIGFPE): a fault in a compiled library",
    signal.SIGILL: "crashed (SIGILL): a library for another processor",
    signal.SIGTERM: "ended by SIGTERM",
}
EXIT_UNKNOWN = 255
"""What the exit code reads as when the warm process, which would have told it, is gone as well."""


@dataclass
class WorkerHandle:
    """A process, and what is known of it."""

    process: BaseProcess
    link: WorkerPipe
    hung: float
    begun: float
    sign: float
    about: dict[str, Any] = field(default_factory=dict)  # for its log lines
    signs: int = 0
    readings: int = 0
    end: dict[str, Any] | None = None
    why: str = ""  # it was asked to end, and why
    asked: float = 0.0
    signals: int = 0
    safe: str | None = None  # the last word of one that makes safe
    again: bool = True

    def drain(self) -> list[dict[str, Any]]:
        """What it said since the last look; signs of life are noted, its log lines logged."""
        found = []
        while messages := self.link.receive():
            self.sign, self.signs = time.monotonic(), self.signs + 1
            for message in messages:
                if "log" in message:
                    about = {**self.about, "trial": message.get("trial")}
                    log.log(int(message["log"]), "%s", message["text"], extra=about)
                elif "end" in message:
                    self.end = message
                elif "safe" in message:
                    self.safe, self.again = message["safe"], message["again"]
                else:
                    found.append(message)
        return found

    @property
    def gone(self) -> bool:
        """Whether its process is; where nobody is left who would know, its link tells."""
        code = self.process.exitcode
        return code is not None and not (code == EXIT_UNKNOWN and self.link.open)

    def signal(self, number: int) -> None:
        """Sends a signal, unless it is gone."""
        if not self.gone and self.process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def press(self) -> None:
        """Ends it step by step, once it was asked to."""
        since = time.monotonic() - self.asked
        due = 1 + (since >= FINISH) + (since >= FINISH + SAFE)
        if self.signals < due:
            self.signals = due
            self.signal(signal.SIGKILL if due == 3 else signal.SIGTERM)
            self.signal(signal.SIGCONT)  # one that was stopped gets its chance

    def ask_to_end(self, why: str) -> None:
        """Interrupts it; the first reason is the one that is told."""
        if not self.why:
            self.why, self.asked = why, time.monotonic()
        self.press()

    def dispose(self) -> None:
        """Gives everything back; it must be gone, or it is killed."""
        self.signal(signal.SIGKILL)
        self.process.join(FINISH)
        self.link.close()
        if self.process.exitcode is not None:
            self.process.close()


def describe_exit(code: int | None) -> str:
    """How a process ended that said nothing of it."""
    if code is None:
        return "its process does not end"
    if code == EXIT_UNKNOWN:
        return "its process is gone, and the warm one that would have known why"
    if code >= 0:
        return f"its process ended with code {code} and without a word"
    try:
        return SIGNAL_TEXTS.get(signal.Signals(-code), f"ended by {signal.Signals(-code).name}")
    except ValueError:
        return f"ended by signal {-code}"
