"""Progress of long work with the time left; nothing where output is not on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

SILENT_SECONDS = 2.0
"""Seconds before the progress of a single step is shown."""
LINE_SECONDS = 5.0
"""Seconds between two lines of a `ProgressBar` that is not on a terminal."""


def is_visible(*, quiet: bool) -> bool:
    """Whether progress is shown: on a terminal that can move its cursor, and not with `quiet`."""
    return not quiet and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def tracked(things: Sequence[T], what: str, *, quiet: bool) -> Iterator[T]:
    """Iterate over items with a bar and the time left on stderr.

    Args:
        things: the items.
        what: their name in the plural.
        quiet: show no bar.
    """
    if len(things) < 2 or not is_visible(quiet=quiet):
        yield from things
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(things)


@contextlib.contextmanager
def working(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show the name, duration and, where known, the time left of work that lasts more than two seconds.

    Args:
        what: the name of the work, such as `2/5 forest`.
        quiet: show nothing.

    Yields:
        A function to call with the number of parts done and the number of all.
    """
    if not is_visible(quiet=quiet):
        yield lambda done, parts: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, visible=False)
        timer = threading.Timer(SILENT_SECONDS, lambda: progress.update(task, visible=True))
        timer.daemon = True
        timer.start()
        try:
            yield lambda done, parts: progress.update(task, completed=done, total=parts)
        finally:
            timer.cancel()


class ProgressBar:
    """A bar with counts and the time left; call it with `done` and `of`.

    The time left is estimated from the work of this process alone, not from results found on the disk.
    """

    def __init__(self, noun: str, *, quiet: bool = False) -> None:
        self._noun, self._quiet = noun, quiet
        self._began, self._first, self._last_line = 0.0, -1, 0.0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, of: int) -> None:
        if self._quiet or not of:
            return
        if self._first < 0:
            self._first = done
            self._began = self._last_line = time.monotonic()
            if done:
                print(f"{done} of {of} {self._noun} are already done", file=sys.stderr)
        if sys.stderr.isatty():
            self._draw(done, of)
        elif done > self._first and ((now := time.monotonic()) > self._last_line + LINE_SECONDS or done == of):
            self._last_line = now
            remaining = (now - self._began) / (done - self._first) * (of - done)
            print(f"{done} of {of} {self._noun}, {clock(remaining)} left", file=sys.stderr, flush=True)

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
