"""How far a long piece of work is: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

EVERY = 5.0
"""Seconds between two lines where nobody watches."""


class Bar:
    """Shows `done` of `of`; called with both.

    The time left is that of what this call has done, so that work taken up again is not thought quick.
    """

    def __init__(self, noun: str, *, quiet: bool = False) -> None:
        self._noun, self._quiet = noun, quiet
        self._began, self._first, self._told = 0.0, -1, 0.0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, of: int) -> None:
        if self._quiet or not of:
            return
        if self._first < 0:
            self._first = done
            self._began = self._told = time.monotonic()
            if done:
                print(f"{done} of {of} {self._noun} are done already", file=sys.stderr)
        if sys.stderr.isatty():
            self._draw(done, of)
        elif done > self._first and ((now := time.monotonic()) > self._told + EVERY or done == of):
            self._told = now
            left = (now - self._began) / (done - self._first) * (of - done)
            print(f"{done} of {of} {self._noun}, {clock(left)} left", file=sys.stderr, flush=True)

    def _draw(self, done: int, of: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn(self._noun), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("left"), console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=of, completed=done)
            self._bar.start()
        self._bar.update(self._task, completed=done)


def clock(seconds: float) -> str:
    """`12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
