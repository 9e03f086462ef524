"""A lab from its file to its end: journal, processes, loop, and whoever is told of it, put together."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sdl.clock import Clock, RealClock
from sdl.errors import SdlError
from sdl.lab import journal
from sdl.lab.clock_watch import ClockWatch
from sdl.lab.config.file import ResolvedLab
from sdl.lab.core.events import LabEvent
from sdl.lab.core.state import fold
from sdl.lab.http.control import Controller
from sdl.lab.http.health import disk_free
from sdl.lab.http.token import Credentials
from sdl.lab.logs import close_log, open_log
from sdl.lab.loop import LabLoop
from sdl.lab.rules.dispatch import Dispatcher
from sdl.lab.systemd import Watchdog
from sdl.lab.workers.base import Control, Workers, WorkerUpdate
from sdl.runner import user

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

DISK_SECONDS = 60.0
"""How often the free space is looked at, to be told of."""

log = logging.getLogger("sdl.lab")


class DispatchListener:
    """Passes on to the notices what the loop says, how much room the disk has, and that the journal is lost."""

    def __init__(self, teller: Dispatcher, loop: LabLoop) -> None:
        self._teller, self._loop, self._looked = teller, loop, -float("inf")

    def handle(self, event: LabEvent) -> None:
        self._teller.handle(event)

    def update(self, item: WorkerUpdate) -> None:
        self._teller.update(item)

    def tick(self, now: float) -> None:
        """Looks at the disk once a minute."""
        free = None
        if not 0 <= now - self._looked < DISK_SECONDS:
            self._looked, free = now, disk_free(self._loop.runs)
        self._teller.tick(now, free, self._loop.trouble if self._loop.lost else "")


def serve(
    loaded: ResolvedLab,
    *,
    port: int = 0,
    clock: Clock | None = None,
    processes: Workers | None = None,
    page: Callable[[Control, Path, Credentials], Sequence[BaseRoute]] | None = None,
    told: Callable[[str], None] = lambda url: None,
) -> str:
    """Runs a lab until it is asked to end.

    Args:
        loaded: the lab file.
        port: of the API; 0 for any that is free.
        clock: the machine's by default.
        processes: one for each campaign by default.
        page: makes the routes of a page over the lab, its runs and its door, beside those of the API.
        told: called with the address once it listens.

    Returns:
        The signal that ended it.

    Raises:
        InUse: another process runs this lab.
        Damaged: its journal was changed; nothing was begun.
        ConfigError: notifications whose secrets are not there, a port that is taken, a package that is missing.
    """
    from sdl.lab.http.app import LabServer

    if processes is None:
        from sdl.lab.workers.supervisor import Supervisor as Own

        own = Own()
        own.warm_up()
        processes = own
    clock = RealClock() if clock is None else clock
    place = journal.folder(loaded.runs, loaded.lab.name)
    book = journal.open_journal(place)
    with contextlib.ExitStack() as stack:
        stack.callback(book.close)
        stack.callback(close_log, open_log(place))
        for note in book.notes:
            log.warning("%s: %s", place, note)
        lab, before = fold(book.events), book.events
        book.events = ()  # weeks of events, which nobody needs twice
        desk, watchdog = Controller(base=loaded.path.parent), Watchdog()
        loop = LabLoop(lab, book, processes, clock, runs=loaded.runs, requests=desk.requests, jumps=ClockWatch())
        teller = Dispatcher(
            loaded.lab.name, loaded.lab.notify, folder=place, base=loaded.path.parent, zone=loaded.lab.zone
        )
        stack.callback(teller.close)
        surface = LabServer(
            desk, lab=loaded.lab.name, record=place, file=loaded.path, runs=loaded.runs, watchdog=watchdog, port=port,
            waiting=lambda: teller.outbox.count(),
            page=lambda door: page(desk, loaded.runs, door) if page is not None else (),
        )  # fmt: skip
        stack.callback(surface.close)
        teller.start(before)
        del before
        loop.listeners.append(DispatchListener(teller, loop))
        with _stop_signals(desk) as asked:
            loop.open(loaded, os.getpid(), user())
            desk.serve(loop)
            surface.start()
            log.info("lab %s: %s", loaded.lab.name, surface.url)
            told(surface.url)
            try:
                _run_loop(loop, desk, watchdog, asked)
            finally:
                watchdog.stopping()
                try:
                    loop.close(asked[0] if asked else "an error")
                except SdlError as error:  # such as a full disk; the next start finds out what was running
                    log.error("the end could not be written: %s", error)
        return asked[0]


def _run_loop(loop: LabLoop, desk: Controller, watchdog: Watchdog, asked: list[str]) -> None:
    """Ticks until somebody asks for the end."""
    ready = False
    while not asked:
        loop.tick()
        if not ready and loop.safe_states_tried():
            watchdog.ready("every instrument was looked at")
            ready = True
        running = len(loop.lab.running())
        watchdog.tick(loop.trouble or f"{running} running, {len(loop.lab.starts) - running} waiting")
        desk.wait(loop.until_next())


@contextlib.contextmanager
def _stop_signals(desk: Controller) -> Iterator[list[str]]:
    """The names of the signals that asked for the end so far; outside the main thread nobody can ask."""
    asked: list[str] = []
    before = {}

    def handle(number: int, _: FrameType | None) -> None:
        asked.append(signal.Signals(number).name)
        desk.wake()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
