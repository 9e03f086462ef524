"""How far something long has come, with the time left; nothing where nobody looks."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
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
def working(what: str, *, quiet: bool) -> Iterator[None]:
    """Says after two seconds that it is at it, and since when; for one step whose length nobody knows.

    Args:
        what: it does, such as `fitting forest`.
        quiet: nothing is said.
    """
    if not shown(quiet=quiet):
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn(what), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=True) as progress:
        task = progress.add_task(what, total=None, visible=False)
        timer = threading.Timer(PATIENCE, lambda: progress.update(task, visible=True))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
