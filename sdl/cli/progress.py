"""How far something long has come, with the time left; nothing where nobody looks."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds before a single step says that it is at it."""


def shown(*, quiet: bool) -> bool:
    """Whether somebody looks: a terminal that can move its cursor, and nobody asked for quiet."""
    return not quiet and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def tracked(things: Sequence[T], what: str, *, quiet: bool) -> Iterator[T]:
    """The things one by one, with a bar and the time left on stderr.

    Args:
        things: to be worked on.
        what: their name, in the plural.
        quiet: no bar.
    """
    if len(things) < 2 or not shown(quiet=quiet):
        yield from things
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(things)


@contextlib.contextmanager
def working(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Says, once it has lasted two seconds, what is done and since when, and how long it will take where that is known.

    Args:
        what: is done, such as `2/5 forest`.
        quiet: nothing is said.

    Yields:
        To be told how many of how many parts are done.
    """
    if not shown(quiet=quiet):
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
        timer = threading.Timer(PATIENCE, lambda: progress.update(task, visible=True))
        timer.daemon = True
        timer.start()
        try:
            yield lambda done, parts: progress.update(task, completed=done, total=parts)
        finally:
            timer.cancel()
