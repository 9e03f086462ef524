"""Progress of long work on stderr, with the time left."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Show = Callable[..., None]  # called as `show(done, parts)` or `show(done, parts, description)`

SILENT_SECONDS = 2.0  # seconds before the progress of a single step is shown
LINE_SECONDS = 5.0  # seconds between two lines of a `ProgressBar` that is not on a terminal


def is_movable(stream: Any) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return bool(stream.isatty()) and os.environ.get("TERM") not in ("dumb", "unknown")


def tracked(things: Sequence[T], what: str, *, quiet: bool) -> Iterator[T]:
    """Iterate over items and show the progress as `working` does; `what` names the items in the plural."""
    with working(what, quiet=quiet or len(things) < 2) as show:
        for done, thing in enumerate(things):
            show(done, len(things), f"{what} {done}/{len(things)}")
            yield thing


@contextlib.contextmanager
def working(what: str, *, quiet: bool) -> Iterator[Show]:
    """Show on a terminal the progress of work that lasts more than two seconds.

    Yields:
        A function to call with the number of parts done, the number of all and, optionally, another description.
    """
    if quiet or not is_movable(sys.stderr):
        yield lambda *_: None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    with _rich(*columns, TextColumn("left"), TimeRemainingColumn(compact=True), speed_estimate_period=600) as progress:
        task = progress.add_task(what, total=None, visible=False)
        timer = threading.Timer(SILENT_SECONDS, lambda: progress.update(task, visible=True))
        timer.daemon = True
        timer.start()
        try:
            yield lambda done, parts, text=what: progress.update(task, completed=done, total=parts, description=text)
        finally:
            timer.cancel()


class ProgressBar:
    """A bar with counts and the time left; lines where stderr is not a terminal. Call it with `done` and `of`.

    The time left is estimated from the work of this process alone, not from results found on the disk. Nothing is shown
    in the first `after` seconds.
    """

    def __init__(self, noun: str, *, quiet: bool = False, after: float = 0.0) -> None:
        self._noun, self._quiet, self._after = noun, quiet, after
        self._began, self._first, self._last_line = 0.0, -1, 0.0
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, of: int) -> None:
        if self._quiet or not of:
            return
        now = time.monotonic()
        if self._first < 0:
            self._first, self._began, self._last_line = done, now, now
            if done:
                print(f"{done} of {of} {self._noun} are already done", file=sys.stderr)
        if now < self._began + self._after:
            return
        if sys.stderr.isatty():
            self._draw(done, of)
        elif done > self._first and (now > self._last_line + LINE_SECONDS or done == of):
            self._last_line = now
            remaining = (now - self._began) / (done - self._first) * (of - done)
            print(f"{done} of {of} {self._noun}, {clock(remaining)} left", file=sys.stderr, flush=True)

    def _draw(self, done: int, of: int) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn(self._noun), TimeRemainingColumn())
            self._bar = _rich(*columns, TextColumn("left"))
            self._bar.add_task("", total=of, completed=done)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)


def _rich(*columns: Any, **options: Any) -> Any:
    """A rich progress display on stderr that disappears at its end."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True, **options)


def clock(seconds: float) -> str:
    """A duration as text: `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
