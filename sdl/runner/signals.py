"""Ctrl-C and SIGTERM while a campaign runs.

A solver is interrupted at once: nothing is lost, because a resume asks it the same question again. A solver that cannot
be interrupted, because it is compiled code or catches every exception, is killed together with its process by a guard.

A plug-in may fork the process (`os.fork`, a pool of `multiprocessing`). Signals sent to the forked process affect only
that process: they neither reach the guard nor end the campaign. A forked process that returns to the campaign's code
is ended there.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from sdl.clock import Clock
from sdl.runner.guard import Guard

log = logging.getLogger("sdl")

COPY = 70  # exit code of a forked process that returns to the campaign's code


class Signals:
    """Handles Ctrl-C and SIGTERM: the first ends the campaign after the current reading, the second at once.

    Only in the main thread; in other threads the caller's handlers stay. Inside `shield` the second signal is delayed,
    so that no event is written without being folded. Inside `solving` the first signal interrupts.

    Args:
        clock: the campaign's clock; a signal ends its waits.
        guarded: the run's directory, if a guard process is to watch the solver (POSIX only).
    """

    def __init__(self, clock: Clock, guarded: Path | None = None) -> None:
        self.received, self.name, self.count = False, "", 0
        self._clock = clock
        self._guarded = guarded if os.name == "posix" else None
        self._guard: Guard | None = None
        self._solving = False
        self._shields, self._waiting = 0, False
        self._may_delay: float = math.inf
        self._before: dict[signal.Signals, Any] = {}
        self._process = os.getpid()

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            with contextlib.suppress(ValueError):  # no handlers in a sub-interpreter: the caller's stay there, too
                for number in (signal.SIGINT, signal.SIGTERM):
                    self._before[number] = signal.signal(number, self._handle)
            self._guard = _guard(self._guarded) if self._guarded is not None else None
            _handling.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self in _handling:
            _handling.remove(self)
        if self._guard is not None:
            self._guard.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def copied(self) -> None:
        """Restore the previous signal handlers in a forked process."""
        if self._guard is not None:
            self._guard.leave()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """End a process that was forked inside the block, before it continues the campaign."""
        try:
            yield
        finally:
            if os.getpid() != self._process:
                os._exit(COPY)

    @contextlib.contextmanager
    def shield(self, *, last: bool = False, delayed: float = math.inf) -> Iterator[None]:
        """Delay signals until the end of the block; discard them if this is the `last` step of the campaign.

        At most `delayed` signals are delayed, so that a driver that hangs can be interrupted.
        """
        self._shields += 1
        before, self._may_delay = self._may_delay, delayed
        try:
            yield
        finally:
            self._shields -= 1
            self._may_delay = before
        if last:
            self._waiting = False  # so that writing the next event is not interrupted either
        elif self._waiting and not self._shields:
            self._waiting = False
            raise KeyboardInterrupt(self.name)

    def request(self, name: str) -> None:
        """Act as if a signal had arrived."""
        self.received, self.name = True, name

    @contextlib.contextmanager
    def solving(self) -> Iterator[None]:
        """Let the first signal interrupt the code in the block."""
        try:
            self._tell(True)
            if self.received:  # a signal arrived just before the block
                raise KeyboardInterrupt(self.name)
            yield
        finally:
            self._tell(False)

    def _tell(self, solving: bool) -> None:
        self._solving = solving
        if self._guard is not None:
            self._guard.tell(solving)

    def _handle(self, number: int, _: FrameType | None) -> None:
        again, self.received = self.received or self._solving, True
        self.count += 1
        self.name = signal.Signals(number).name
        self._clock.interrupt()
        if self._shields and self._may_delay != math.inf:
            self._may_delay -= 1
            if self._may_delay < 0:
                raise KeyboardInterrupt(self.name)
            again = True
        if again and self._shields:
            self._waiting = True
        elif again:
            raise KeyboardInterrupt(self.name)


_handling: list[Signals] = []


def _copied() -> None:
    for signals in reversed(_handling):
        signals.copied()
    _handling.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_copied)


def _guard(folder: Path) -> Guard | None:
    try:
        return Guard(folder)
    except OSError as error:  # continue without a guard
        log.warning("the guard against solvers that ignore SIGTERM could not be started: %s", error.strerror)
        return None
