"""Ctrl-C and SIGTERM while a campaign runs."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from sdl.clock import Clock


class Signals:
    """Ctrl-C and SIGTERM while a campaign runs: the first ends it after the reading, the second at once.

    Only in the main thread; elsewhere the caller's handling stays as it is. Inside `shield` the second one waits, so
    that a line is never written without being counted.
    """

    def __init__(self, clock: Clock) -> None:
        self.asked, self.name, self.count = False, "", 0
        self._clock = clock
        self._shields, self._waiting = 0, False
        self._patience: float = math.inf
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def shield(self, *, last: bool = False, patience: float = math.inf) -> Iterator[None]:
        """Nothing is broken off inside; nor after it, where it is the `last` thing to be done anyway.

        With `patience` only so many signals are waited out: a driver that hangs must not hang for ever.
        """
        self._shields += 1
        before, self._patience = self._patience, patience
        try:
            yield
        finally:
            self._shields -= 1
            self._patience = before
        if last:
            self._waiting = False  # nor by the next line of the record
        elif self._waiting and not self._shields:
            self._waiting = False
            raise KeyboardInterrupt(self.name)

    def _handle(self, number: int, _: FrameType | None) -> None:
        again, self.asked = self.asked, True
        self.count += 1
        self.name = signal.Signals(number).name
        self._clock.interrupt()
        if self._shields and self._patience != math.inf:
            self._patience -= 1
            if self._patience < 0:
                raise KeyboardInterrupt(self.name)
            again = True
        if again and self._shields:
            self._waiting = True
        elif again:
            raise KeyboardInterrupt(self.name)
