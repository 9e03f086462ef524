"""Worker processes: one per campaign, forked from a preloaded process so that it starts at once.

The fork server of `multiprocessing` is the preloaded process (`sdl.runner.preload`). Messages are JSON lines over a
pair of sockets (`sdl.lab.workers.base`); nothing from outside is unpickled. Calls never wait for a campaign or
an instrument, except the first start, which waits for the fork server.

    no heartbeat for `JobOrder.hung` s   SIGTERM, again after `FINISH` s, SIGKILL after `SAFE` s more → died
    interrupted, closed                  the same
    gone without a final message         died, with a description of the exit
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import multiprocessing
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.process import BaseProcess
from typing import Any

from sdl import config
from sdl.errors import ConfigError
from sdl.lab.workers.base import FINISH, NOT_YET, SAFE, Command, JobOrder, WorkerPipe, WorkerUpdate
from sdl.lab.workers.orphans import Orphans
from sdl.parallel import children

log = logging.getLogger("sdl.lab")

SIGNAL_TEXTS: dict[int, str] = {
    signal.SIGKILL: "killed (SIGKILL): by `kill -9`, or by the system because memory ran out",
    signal.SIGSEGV: "crashed (SIGSEGV): a fault in a compiled library",
    signal.SIGBUS: "crashed (SIGBUS): a fault in a compiled library, or a disk that is gone",
    signal.SIGABRT: "crashed (SIGABRT): a compiled library gave up",
    signal.SIGFPE: "crashed (SIGFPE): a fault in a compiled library",
    signal.SIGILL: "crashed (SIGILL): a library for another processor",
    signal.SIGTERM: "ended by SIGTERM",
}
EXIT_UNKNOWN = 255  # exit code reported when the fork server is gone too
FIRST_SIGN = 60.0  # minimum seconds allowed until the first heartbeat, for a busy machine
TIMEOUT, TIMEOUT_MARGIN = 120.0, 30.0
"""Default time-out of a driver; seconds beyond it after which a silent process that switches off is killed."""


@dataclass
class WorkerHandle:
    """A worker process and its latest state."""

    process: BaseProcess
    link: WorkerPipe
    hung: float  # seconds without a message after which it counts as hung
    heard: float = field(default_factory=time.monotonic)  # time of its last message
    messages: int = 0
    log_fields: dict[str, Any] = field(default_factory=dict)
    readings: int = 0
    cost: float = 0.0
    end: WorkerUpdate | None = None  # its final update
    failure: str = ""  # cause of its death that it reported
    why: str = ""  # reason of its termination, once requested
    requested: float = 0.0  # time of that request
    signals: int = 0
    safe: str | None = None  # latest result of switching off
    again: bool = True  # whether it retries to switch off

    def drain(self) -> list[WorkerUpdate]:
        """The updates since the last call, without the final one; log lines are logged."""
        updates = []
        while messages := self.link.receive():
            self.heard, self.messages = time.monotonic(), self.messages + 1
            for message in messages:
                if "log" in message:
                    fields = {**self.log_fields, "trial": message.get("trial")}
                    log.log(int(message["log"]), "%s", message["text"], extra=fields)
                elif "safe" in message:
                    self.safe, self.again = message["safe"], message["again"]
                elif "died" in message:
                    self.failure = message["died"]
                elif "update" in message:
                    update = WorkerUpdate(**message["update"])
                    self.readings = max(self.readings, update.readings)
                    self.cost = max(self.cost, update.cost)
                    if update.what == "ended":
                        self.end = update
                    else:
                        updates.append(replace(update, readings=self.readings))
        return updates

    @property
    def gone(self) -> bool:
        """Whether its process has ended, judged by the pipe if the fork server is gone too."""
        code = self.process.exitcode
        return code is not None and not (code == EXIT_UNKNOWN and self.link.open)

    def signal(self, number: int) -> None:
        if not self.gone and self.process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def press(self) -> None:
        """Send the next signal of the termination, if due."""
        since = time.monotonic() - self.requested
        due = 1 + (since >= FINISH) + (since >= FINISH + SAFE)
        if self.signals < due:
            self.signals = due
            self.signal(signal.SIGKILL if due == 3 else signal.SIGTERM)
            self.signal(signal.SIGCONT)  # wakes a stopped process

    def ask_to_end(self, why: str) -> None:
        """Terminate the process. If called again, the first reason `why` is kept."""
        if not self.why:
            self.why, self.requested = why, time.monotonic()
        self.press()

    def dispose(self) -> None:
        """Kill the process if it still runs, and release its resources."""
        self.signal(signal.SIGKILL)
        self.process.join(FINISH)
        self.link.close()
        if self.process.exitcode is not None:
            self.process.close()


def describe_exit(code: int | None) -> str:
    """Describe the end of a process that sent no final message."""
    if code is None:
        return "its process does not end"
    if code == EXIT_UNKNOWN:
        return "its process and the fork server have ended, for an unknown reason"
    if code >= 0:
        return f"its process ended unexpectedly with exit code {code}"
    return SIGNAL_TEXTS.get(-code, f"ended by signal {-code} ({signal.strsignal(-code)})")


class Supervisor:
    """Runs each job order in a process; see `sdl.lab.workers.base.Workers`. Not thread-safe."""

    def __init__(self) -> None:
        if "forkserver" not in multiprocessing.get_all_start_methods():
            raise ConfigError("a lab needs a system that can copy processes, such as Linux or macOS")
        self._context = children.fork_server(["sdl.runner.preload", "sdl.lab.workers.worker"])
        self._children: dict[int, WorkerHandle] = {}
        self._makers: dict[str, WorkerHandle] = {}
        self._updates: list[WorkerUpdate] = []
        self._orphans = Orphans()
        # multiprocessing waits for its processes at exit, so their pipes must be closed before.
        atexit.register(self._let_go)

    def warm_up(self) -> None:
        """Start the fork server if it does not run, without waiting for it.

        Ctrl-C reaches every process of the terminal but concerns only the lab. Ignoring it while the fork server is
        created makes the server ignore it from its first line; `multiprocessing` does so only once all is loaded.
        """
        from multiprocessing import forkserver

        with children.child_environment():
            if threading.current_thread() is not threading.main_thread():  # cannot set signal handlers
                forkserver.ensure_running()
                return
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                forkserver.ensure_running()
            finally:
                signal.signal(signal.SIGINT, before)

    def begin(self, order: JobOrder) -> None:
        """Start a process for a job order.

        Raises:
            ValueError: this start already has one.
        """
        if order.start in self._children:
            raise ValueError(f"start {order.start} has a process already")
        if maker := self._makers.pop(_identity(order.campaign["instrument"])[0], None):
            maker.dispose()  # the campaign switches the instrument off itself
        plain = {**asdict(order), "folder": str(order.folder)}
        child = self._children[order.start] = self._start({"order": plain}, f"sdl start {order.start}", order.hung)
        child.log_fields = {"start": order.start, "instrument": order.instrument, "run": str(order.folder)}

    def updates(self) -> Sequence[WorkerUpdate]:
        """The updates since the last call; never blocks."""
        for start, child in list(self._children.items()):
            gone = child.process.exitcode not in (None, EXIT_UNKNOWN)  # before its last messages are read
            self._updates += child.drain()
            if gone or child.gone:
                self._gone(start, child)
                continue
            silent = time.monotonic() - child.heard
            if child.why:
                child.press()
            elif silent > (child.hung if child.messages else max(child.hung, FIRST_SIGN)):
                child.ask_to_end(f"hung: no heartbeat for {silent:.0f} s")
        for maker in self._makers.values():
            maker.drain()  # `make_safe` returns the result
        updates, self._updates = self._updates, []
        return updates

    def command(self, start: int, verb: Command, *given: str) -> None:
        child = self._children.get(start)
        if child is None or not child.link.send({"do": verb, "given": given}, must=False):
            log.warning("start %d did not receive %s: its process is not listening", start, verb)

    def interrupt(self, start: int, by: str) -> None:
        if start in self._children:
            self._children[start].ask_to_end(f"interrupted by {by}")

    def make_safe(self, instrument: Mapping[str, Any]) -> str:
        """Switch an instrument off in a process of its own, which retries until it succeeds or a campaign begins.

        Never waits; call again for the result.

        Returns:
            Empty if the instrument confirmed that it is off, else the error, or `NOT_YET`.
        """
        key, timeout = _identity(instrument)
        if key not in self._makers:
            hung = timeout + TIMEOUT_MARGIN
            self._makers[key] = self._start({"safe": dict(instrument)}, "sdl make safe", hung)
        error = self._look(key, self._makers[key])
        if error.startswith("InUse: "):
            self._orphans.end(key)
        return error

    def close(self) -> None:
        """Interrupt all workers, wait `FINISH` + `SAFE` seconds, kill the rest; `updates` then reports their ends."""
        updates: list[WorkerUpdate] = []
        for child in self._children.values():
            child.ask_to_end("interrupted: the lab is stopping")
        while self._children:
            updates += self.updates()
            select.select([child.link for child in self._children.values() if child.link.open], [], [], 0.05)
        for maker in self._makers.values():
            maker.dispose()
        self._makers.clear()
        self._updates = updates
        atexit.unregister(self._let_go)

    def _start(self, message: dict[str, Any], name: str, hung: float) -> WorkerHandle:
        from sdl.lab.workers.worker import main

        for last in (False, True):
            ours, theirs = socket.socketpair()
            with theirs:
                process = self._context.Process(target=main, args=(theirs,), name=name)
                try:
                    self.warm_up()
                    process.start()
                    break
                except (EOFError, OSError) as error:  # the fork server just died; the next attempt starts another
                    ours.close()
                    if last:
                        raise OSError(f"no process could be started: {error}") from error
        link = WorkerPipe(ours)
        link.send(message)
        return WorkerHandle(process, link, hung)

    def _gone(self, start: int, child: WorkerHandle) -> None:
        del self._children[start]
        code = child.process.exitcode
        child.dispose()
        text = "; ".join(filter(None, (child.why, child.failure or describe_exit(code))))
        died = WorkerUpdate(start, "died", text, readings=child.readings, at=time.time(), cost=child.cost)
        self._updates.append(child.end or died)

    def _look(self, key: str, maker: WorkerHandle) -> str:
        """The result of switching off so far; the process is disposed of once it is done."""
        gone = maker.gone  # before its last messages are read
        maker.drain()
        if not maker.again and maker.safe is not None:
            result = maker.safe
        elif gone:
            result = describe_exit(maker.process.exitcode)
        elif time.monotonic() - maker.heard > maker.hung:
            result = f"no answer in {maker.hung:g} s"
        else:
            return maker.safe or NOT_YET
        del self._makers[key]
        maker.dispose()
        return result

    def _let_go(self) -> None:
        for child in [*self._children.values(), *self._makers.values()]:
            child.link.close()


def _identity(instrument: Any) -> tuple[str, float]:
    """The identity of an instrument, or all its options if they are invalid; the time-out of its driver."""
    try:
        parsed = config.parse_kind("instrument", instrument)
        return str(parsed.identity), float(getattr(parsed, "timeout_seconds", TIMEOUT))
    except Exception:  # the worker reports what is wrong with it
        return json.dumps(instrument, sort_keys=True, default=str), TIMEOUT
