"""Run a lab: journal, worker processes, loop, HTTP server and notifications."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdl.clock import Clock, RealClock
from sdl.errors import SdlError
from sdl.lab import journal
from sdl.lab.config.file import ResolvedLab
from sdl.lab.core.state import fold
from sdl.lab.http.control import Controller
from sdl.lab.http.token import Credentials
from sdl.lab.logs import close_log, open_log
from sdl.lab.loop import LabLoop
from sdl.lab.rules.dispatch import Dispatcher
from sdl.lab.systemd import Watchdog
from sdl.lab.watches import ClockWatch
from sdl.lab.workers.supervisor import Supervisor
from sdl.runner import user

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

log = logging.getLogger("sdl.lab")


def serve(
    loaded: ResolvedLab,
    *,
    port: int = 0,
    page: Callable[[Controller, Path, Credentials], Sequence[BaseRoute]] | None = None,
    on_listen: Callable[[str], None] = lambda url: None,
    clock: Clock | None = None,
) -> str:
    """Run a lab until a signal stops it.

    The HTTP server listens at `port` (0: any free one) and serves the API and the routes that `page` makes; `on_listen`
    is called with its address.

    Returns:
        The name of the signal.

    Raises:
        InUse: another process runs this lab.
        Damaged: the journal was changed; nothing was started.
        ConfigError: a secret of the notifications is missing, or the port is taken.
    """
    from sdl.lab.http.app import LabServer, stop_signals  # with an extra
    from sdl.lab.http.submissions import Submissions

    lab, clock, base = loaded.lab, clock or RealClock(), loaded.path.parent
    supervisor = Supervisor()
    supervisor.warm_up()
    folder = journal.folder(loaded.runs, lab.name)
    record = journal.open_journal(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(record.close)
        stack.callback(close_log, open_log(folder))
        for note in record.notes:
            log.warning("%s: %s", folder, note)
        state, history = fold(record.events), record.events
        record.events = ()  # frees weeks of events
        controller, watchdog = Controller(base=base), Watchdog()
        loop = LabLoop(
            state, record, supervisor, clock, runs=loaded.runs, requests=controller.requests, jumps=ClockWatch()
        )
        dispatcher = Dispatcher(lab.name, lab.notify, folder=folder, base=base, zone=lab.zone, loop=loop)
        stack.callback(dispatcher.close)
        server = LabServer(
            controller, lab=lab.name, record=folder, file=loaded.path, runs=loaded.runs, watchdog=watchdog, port=port,
            waiting=dispatcher.outbox.count, agents=lab.tiers,
            submissions=Submissions(controller, folder),
            page=lambda credentials: page(controller, loaded.runs, credentials) if page is not None else (),
            address=lab.notify.url,
        )  # fmt: skip
        stack.callback(server.close)
        dispatcher.start(history)
        del history
        loop.listeners.append(dispatcher)
        with stop_signals(controller.wake) as signals:
            loop.open(loaded, os.getpid(), user())
            controller.serve(loop)
            server.start()
            log.info("lab %s: %s", lab.name, server.url)
            on_listen(server.url)
            try:
                _run_loop(loop, controller, watchdog, signals)
            finally:
                watchdog.stopping()
                try:
                    loop.close(signals[0] if signals else "an error")
                except SdlError as error:  # such as a full disk; the next start finds out what was running
                    log.error("the stop could not be recorded: %s", error)
        return signals[0]


def _run_loop(loop: LabLoop, controller: Controller, watchdog: Watchdog, signals: list[str]) -> None:
    ready = False
    while not signals:
        loop.tick()
        if not ready and loop.safe_states_tried():
            watchdog.ready("all instruments checked")
            ready = True
        running = len(loop.lab.running())
        watchdog.tick(loop.trouble or f"{running} running, {len(loop.lab.starts) - running} waiting")
        controller.wait(loop.until_next())
