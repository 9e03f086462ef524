"""One operating-system process a campaign, copied from a warm one, so that it starts at once and takes nothing with it.

`multiprocessing`'s fork server is the warm process (`sdl.runner.preload`). What a process is told and says goes as
JSON lines
over a pair of sockets (`sdl.lab.workers.worker_pipe`); nothing that comes from outside this program is ever
unpickled. Whoever calls
is never kept waiting for a campaign or an instrument: only for the first start of all (the warm process must be ready).

    no sign of life for `JobOrder.hung` s   SIGTERM, after `FINISH` s again, after `SAFE` s more SIGKILL → died
    interrupted, closed                  the same
    gone without a word                  died, with the cause in words
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import multiprocessing
import select
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from sdl import config
from sdl.errors import ConfigError
from sdl.lab.workers.base import NOT_YET, JobOrder, WorkerUpdate
from sdl.lab.workers.handle import EXIT_UNKNOWN, WorkerHandle, describe_exit
from sdl.lab.workers.orphans import Orphans
from sdl.lab.workers.worker_pipe import WorkerPipe
from sdl.parallel import children

log = logging.getLogger("sdl.lab")

FIRST_SIGN = 60.0
"""Least seconds until the first sign of life: a busy machine may be slow to begin."""
TIMEOUT, TIMEOUT_MARGIN = 120.0, 30.0
"""Seconds after which a process that makes safe and says nothing is ended: the driver's time-outs, and some more."""


class Supervisor:
    """Carries orders out with a process each; see `sdl.lab.workers.base.Workers`. Not for several threads."""

    def __init__(self) -> None:
        if "forkserver" not in multiprocessing.get_all_start_methods():
            raise ConfigError("a lab needs a system that can copy processes, such as Linux or macOS")
        self._context = children.fork_server(["sdl.runner.preload", "sdl.lab.workers.worker"])
        self._children: dict[int, WorkerHandle] = {}
        self._makers: dict[str, WorkerHandle] = {}
        self._updates: list[WorkerUpdate] = []
        self._orphans = Orphans()
        # multiprocessing waits for its processes when this one ends, so they must be told before.
        atexit.register(self._let_go)

    def warm_up(self) -> None:
        """Starts the warm process where it does not run, without waiting for it; else the first `begin` does.

        Ctrl-C reaches everybody in the terminal's group and is the lab's alone. Ignored here for the moment in which
        the process is made, it is ignored there from the first line; `multiprocessing` does so once all is loaded.
        """
        from multiprocessing import forkserver

        with children.starting():
            if threading.current_thread() is not threading.main_thread():  # nobody else may
                forkserver.ensure_running()
                return
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                forkserver.ensure_running()
            finally:
                signal.signal(signal.SIGINT, before)

    def begin(self, order: JobOrder) -> None:
        """Starts a process for an order.

        Raises:
            ValueError: this start has one already.
        """
        if order.start in self._children:
            raise ValueError(f"start {order.start} has a process already")
        if maker := self._makers.pop(_key(order.campaign["instrument"]), None):
            maker.dispose()  # the campaign makes the instrument safe itself
        plain = {**asdict(order), "folder": str(order.folder)}
        child = self._children[order.start] = self._start({"order": plain}, f"sdl start {order.start}", order.hung)
        child.about = {"start": order.start, "instrument": order.instrument, "run": str(order.folder)}

    def updates(self) -> Sequence[WorkerUpdate]:
        """What happened since the last look; never blocks."""
        for start, child in list(self._children.items()):
            gone = child.process.exitcode not in (None, EXIT_UNKNOWN)  # asked before the last of its words is read
            for message in child.drain():
                self._heard(start, child, message)
            if gone or child.gone:
                self._gone(start, child)
            else:
                self._watch(child)
        for maker in self._makers.values():
            maker.drain()  # what came of it is `make_safe`'s to tell
        found, self._updates = self._updates, []
        return found

    def pause(self, start: int, cause: str, by: str) -> None:
        self._tell(start, do="pause", cause=cause, by=by)

    def proceed(self, start: int, by: str) -> None:
        self._tell(start, do="proceed", by=by)

    def resume(self, start: int, by: str) -> None:
        self._tell(start, do="resume", by=by)

    def abort(self, start: int, reason: str, by: str) -> None:
        self._tell(start, do="abort", reason=reason, by=by)

    def interrupt(self, start: int, by: str) -> None:
        if start in self._children:
            self._children[start].ask_to_end(f"interrupted by {by}")

    def make_safe(self, instrument: Mapping[str, Any]) -> str:
        """Has an instrument's light put out by a process of its own, which tries until it is, or a campaign begins.

        Never waits: ask again for what became of it since.

        Returns:
            Empty: the instrument said that its light is off. Else why it did not, or `NOT_YET`.
        """
        key, hung = _key(instrument), _timeout(instrument) + TIMEOUT_MARGIN
        maker = self._makers.get(key)
        if maker is None:
            maker = self._makers[key] = self._start({"safe": dict(instrument)}, "sdl make safe", hung)
        said = self._look(key, maker)
        if said.startswith("InUse: "):
            self._orphans.end(key)
        return said

    def close(self) -> None:
        """Interrupts what runs, waits `FINISH` + `SAFE` seconds, kills what is left; `news` tells of it after."""
        heard: list[WorkerUpdate] = []
        for child in self._children.values():
            child.ask_to_end("interrupted: the lab ends")
        while self._children:
            heard += self.updates()
            select.select([child.link for child in self._children.values() if child.link.open], [], [], 0.05)
        for maker in self._makers.values():
            maker.dispose()
        self._makers.clear()
        self._updates = heard
        atexit.unregister(self._let_go)

    def pid(self, start: int) -> int | None:
        """The process of a start; None where it has none."""
        child = self._children.get(start)
        return child.process.pid if child else None

    def _start(self, message: dict[str, Any], name: str, hung: float) -> WorkerHandle:
        from sdl.lab.workers.worker import main

        for left in (1, 0):
            ours, theirs = socket.socketpair()
            with theirs:
                process = self._context.Process(target=main, args=(theirs,), name=name)
                try:
                    self.warm_up()
                    process.start()
                    break
                except (EOFError, OSError) as error:  # the warm process died this moment; the next try makes another
                    ours.close()
                    if not left:
                        raise OSError(f"no process could be started: {error}") from error
        link = WorkerPipe(ours)
        link.send(message)
        now = time.monotonic()
        return WorkerHandle(process, link, hung, now, now)

    def _tell(self, start: int, **message: Any) -> None:
        child = self._children.get(start)
        if child is None or not child.link.send(message, must=False):
            log.warning("start %d could not be told to %s: its process does not listen", start, message["do"])

    def _heard(self, start: int, child: WorkerHandle, message: Mapping[str, Any]) -> None:
        sign = message.get("sign")
        if sign == "waiting":
            return
        child.readings = max(child.readings, int(message["readings"]))
        what: Literal["running", "paused", "continued"] = "running"
        if sign in ("Paused", "Continued"):
            what = "paused" if sign == "Paused" else "continued"
        self._updates.append(
            WorkerUpdate(start, what, str(message.get("text", "")), readings=child.readings, at=float(message["at"]))
        )

    def _watch(self, child: WorkerHandle) -> None:
        """Ends one that hangs, or goes on ending one that was asked to end."""
        silent = time.monotonic() - child.sign
        if child.why:
            child.press()
        elif silent > (child.hung if child.signs else max(child.hung, FIRST_SIGN)):
            child.ask_to_end(f"hung: no sign of life for {silent:.0f} s")

    def _gone(self, start: int, child: WorkerHandle) -> None:
        del self._children[start]
        code = child.process.exitcode
        child.dispose()
        end, at = child.end or {}, time.time()
        if end.get("end") == "ended":
            readings = int(end["readings"])
            self._updates.append(
                WorkerUpdate(start, "ended", str(end["text"]), str(end["outcome"]), readings, at, str(end["on"]))
            )
            return
        cause = str(end.get("text") or describe_exit(code))
        text = f"{child.why}; {cause}" if child.why else cause
        self._updates.append(WorkerUpdate(start, "died", text, readings=child.readings, at=at))

    def _look(self, key: str, maker: WorkerHandle) -> str:
        """How far one that makes safe has come; put away where it is done."""
        maker.drain()
        gone = maker.gone
        maker.drain()
        if gone or (maker.safe is not None and not maker.again):
            del self._makers[key]
            code = maker.process.exitcode
            maker.dispose()
            return maker.safe if maker.safe is not None and not maker.again else describe_exit(code)
        if time.monotonic() - maker.sign > maker.hung:
            del self._makers[key]
            maker.dispose()
            return f"no answer in {maker.hung:g} s"
        return maker.safe or NOT_YET

    def _let_go(self) -> None:
        for child in [*self._children.values(), *self._makers.values()]:
            child.link.close()


def _key(instrument: Any) -> str:
    """What tells instruments apart: the identity, or else everything that is said of it."""
    try:
        return str(config.parse_kind("instrument", instrument).identity)
    except Exception:  # the order's own process says what is wrong with it
        return json.dumps(instrument, sort_keys=True, default=str)


def _timeout(instrument: Any) -> float:
    """Seconds that a reading may take."""
    with contextlib.suppress(Exception):
        return float(getattr(config.parse_kind("instrument", instrument), "timeout_seconds", TIMEOUT))
    return TIMEOUT
