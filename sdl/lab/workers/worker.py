"""A worker process: runs or resumes one campaign as ordered over its pipe, and reports what happens.

    ← {"order": {...}}                     or  {"safe": {...}}: switch an instrument off, nothing else
    → {"update": {...}} | {"waiting": true} | {"log": 30, …} | {"safe": error, "again": …} | {"died": cause}
    ← {"do": "pause" | "proceed" | "resume" | "abort", "given": […]}; an interruption is a signal

Every message is a heartbeat: an event was written, or the campaign is waiting in a back-off or a pause. If the pipe
breaks the lab is gone, and the campaign is interrupted as by Ctrl-C: instrument off, record resumable.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, get_args

from sdl import config, runner
from sdl.asktell.attending import attend, require_told
from sdl.asktell.campaign import OpenCampaign, Request
from sdl.asktell.open import begin_run
from sdl.clock import RealClock
from sdl.core.campaign import Campaign, State
from sdl.core.events import Event, Paused, Resumed
from sdl.drivers.base import names, off_settings
from sdl.errors import InstrumentError, InUse, SdlError
from sdl.lab.config.model import Suspend
from sdl.lab.workers.base import FINISH, SAFE, Command, WorkerPipe, WorkerUpdate, update_of
from sdl.lab.workers.gate import LabGate
from sdl.parallel import children
from sdl.runner.shutdown import WARN_AFTER, SwitchOffPolicy, not_off_warning
from sdl.runner.start import allowed_changes
from sdl.runs.runs import Result, Run, open_run
from sdl.store import lease
from sdl.store.record import FILE, Line, scan
from sdl.types import SafeState

log = logging.getLogger("sdl")

HEARTBEAT = 1.0  # minimum seconds between two heartbeats while waiting
AGAIN, HANDOVER = 1.0, 15.0
"""Seconds between two attempts to switch off; how long to wait for a lease held by another process."""
ORPHANED = 75  # exit code of an orphan that had to end itself at once


def main(end: socket.socket) -> NoReturn:
    """Run the worker process from start to exit."""
    link = WorkerPipe(end)
    faulthandler.enable()
    children.restore_environment()
    with contextlib.suppress(OSError):
        os.setsid()  # Ctrl-C in the lab's terminal must reach only the lab
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)
    _wake_when_the_lab_dies()
    forward = _Forward(link)
    log.handlers, log.propagate = [forward], False
    code, failure = 0, ""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # the fork server blocks it
        match link.receive(None):
            case [{"safe": tree}, *_]:
                _make_safe(link, tree)
            case [{"order": order}, *more]:
                _carry_out(link, order, more, forward)
    except KeyboardInterrupt as interrupted:
        code, failure = 143, f"interrupted ({interrupted.args[0]})"
    except (SdlError, MemoryError) as error:
        code, failure = getattr(error, "exit_code", 70), f"{type(error).__name__}: {error}"
    except BaseException as error:
        log.error("a campaign's process failed", exc_info=error)
        code, failure = 70, f"a bug: {type(error).__name__}: {error}"
    if failure:
        link.send({"died": failure})
    link.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # at once, whatever threads libraries have left


# A campaign ----------------------------------------------------------------------------------------------------------
def _carry_out(link: WorkerPipe, order: Mapping[str, Any], more: list[dict[str, Any]], forward: _Forward) -> None:
    start, folder, campaign_tree = order["start"], Path(order["folder"]), order["campaign"]
    gate = LabGate(Suspend.model_validate(order["suspend"]), folder, beat=_heartbeat(link))
    _apply(gate, more)
    threading.Thread(target=_listen, args=(link, gate), daemon=True, name="sdl lab link").start()
    written = 0
    paused: Paused | None = None
    cost = 0.0

    def watch(event: Event, campaign: Campaign) -> None:
        nonlocal written, paused, cost
        cost = campaign.history.cost
        gate.observe(event, campaign)
        forward.trial = campaign.history.trials
        paused = event if isinstance(event, Paused) else paused
        if written:  # events of an earlier process, which reported them
            written -= 1
            return
        if isinstance(event, Resumed) and campaign.paused and paused is not None:
            event = paused  # it was left in a pause, and stays there until the gate lets it continue
        update = update_of(event, start, campaign.history.readings, cost)
        link.send({"update": asdict(update)}, must=update.what != "running")

    _wait_for_instrument(campaign_tree.get("instrument"), start, gate, link)
    policy = SwitchOffPolicy(WARN_AFTER)  # afterwards the lab continues without limit and sends the notices
    if is_manual(campaign_tree.get("instrument")):
        result = _attend(campaign_tree, folder, start, gate, watch, link)
    elif _has_begun(folder):
        run = open_run(folder)
        changes = _outstanding(order, run)
        if run.campaign.state is State.STOPPED and changes is None:  # killed between its last event and last message
            result, cost = run.result, run.campaign.history.cost
        else:
            written = len(run.events)
            result = runner.resume(folder, changes=changes or (), watch=watch, gate=gate, switch_off=policy)
    else:
        result = runner.run(
            campaign_tree, runs=folder.parent.parent, folder=folder, watch=watch, gate=gate,
            collect=campaign_tree.get("goal") is None, switch_off=policy,
        )  # fmt: skip
    safe = result.safe
    on = "" if safe is None or safe.proven else not_off_warning(SafeState(safe.state, safe.applied, safe.why))
    end = WorkerUpdate(start, "ended", result.reason, str(result.outcome), result.readings, time.time(), on, cost)
    link.send({"update": asdict(end)})


def _outstanding(order: Mapping[str, Any], run: Run) -> Sequence[str] | None:
    """The changes with which an ended run is still to be continued; None where that was done, or is not wanted."""
    changes: Sequence[str] | None = order.get("changes")
    if changes is None:
        return None
    resumed = [event for event in run.events if isinstance(event, Resumed)]
    done = order["attempt"] > 0 and bool(resumed) and resumed[-1].changes == allowed_changes(changes)
    return None if done else changes


def is_manual(instrument: Any) -> bool:
    """Whether an instrument, as plain values, is a person, who answers on the page."""
    return isinstance(instrument, Mapping) and instrument.get("kind") == "manual"


def _attend(
    tree: Mapping[str, Any], folder: Path, start: int, gate: LabGate, watch: runner.Watch, link: WorkerPipe
) -> Result:
    """Ask a person on the page for the readings of a campaign, to its end."""
    if not _has_begun(folder):
        resolved = config.parse(tree, collect=True, runs=folder.parent.parent)
        require_told(resolved)
        begin_run(resolved, folder)
    campaign = OpenCampaign(folder, watch)

    def asked(request: Request) -> None:
        words = campaign.in_words(request)
        text = f"trial {words.trial}, reading {words.repeat + 1}\n{words.body}"
        link.send({"update": asdict(WorkerUpdate(start, "asked", text, at=words.at))})

    return attend(campaign, gate=gate, on_request=asked)


def _wait_for_instrument(tree: Any, start: int, gate: LabGate, link: WorkerPipe) -> None:
    """Wait while another process of this machine drives the instrument.

    Raises:
        InUse: the start was aborted meanwhile.
    """
    try:
        instrument = config.parse_kind("instrument", tree)
    except SdlError:
        return  # reported later with every other mistake
    if instrument.virtual:
        return
    known = names(instrument)
    if (other := lease.holder(*known)) is None:
        return
    text = f"{instrument.identity} is in use by {other.name}"
    link.send({"update": asdict(WorkerUpdate(start, "paused", text, at=time.time()))})
    while other is not None:
        gate.beat()
        if gate.aborted:
            raise InUse(instrument.identity, other.name)
        time.sleep(HEARTBEAT / 2)
        other = lease.holder(*known)
    link.send({"update": asdict(WorkerUpdate(start, "continued", "its holder", at=time.time()))})


def _has_begun(folder: Path) -> bool:
    """Whether there is a record to resume; one without a complete line is renamed, to begin again."""
    if (folder / FILE).exists() and isinstance(next(scan(folder)), Line):
        return True
    if folder.exists():
        places = (folder.with_name(f"{folder.name}.empty-{n}") for n in itertools.count(1))
        folder.rename(next(place for place in places if not place.exists()))
    return False


def _heartbeat(link: WorkerPipe) -> Callable[[], None]:
    """A function that sends a heartbeat, at most one per `HEARTBEAT`."""
    last = -HEARTBEAT

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= HEARTBEAT:
            last = time.monotonic()
            link.send({"waiting": True}, must=False)

    return beat


def _apply(gate: LabGate, messages: list[dict[str, Any]]) -> None:
    for message in messages:
        if message.get("do") in get_args(Command):
            getattr(gate, message["do"])(*message["given"])


def _listen(link: WorkerPipe, gate: LabGate | None = None) -> None:
    """Apply the commands from the pipe to the gate, if any, until it breaks; then end this process, an orphan."""
    while link.open:
        messages = link.receive(None)
        if gate is not None:
            _apply(gate, messages)
    for seconds in (FINISH, SAFE) if gate is not None else ():  # to finish the reading; to break it off
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
    os._exit(ORPHANED)


# Switching off -------------------------------------------------------------------------------------------------------
def _make_safe(link: WorkerPipe, tree: Mapping[str, Any]) -> None:
    """Switch the instrument off, and retry as long as that can help."""
    threading.Thread(target=_listen, args=(link,), daemon=True).start()
    waited = time.monotonic()
    while True:
        error, again = _switch_off(tree)
        if isinstance(error, InUse):
            again = time.monotonic() - waited < HANDOVER
        else:
            waited = time.monotonic()
        link.send({"safe": f"{type(error).__name__}: {error}" if error else "", "again": again})
        if not again:
            return
        time.sleep(AGAIN)


def _switch_off(tree: Mapping[str, Any]) -> tuple[SdlError | None, bool]:
    """Switch the instrument off once; the error, and whether to retry."""
    instrument = config.parse_kind("instrument", tree)
    if instrument.virtual or is_manual(tree):  # the person leaves it safe
        return None, False
    if getattr(instrument, "background", None) is not None:
        instrument = instrument.model_copy(update={"background": "none"})  # one request is enough
    off = off_settings(instrument)
    try:
        with runner.instrument_lease(instrument, "making it safe"):
            driver = instrument.open(RealClock())
            try:
                applied = dict(driver.measure(off).applied)  # only a reply over this connection proves it
                if applied != off:
                    return InstrumentError(f"told to switch off, it applied {applied}"), True
                answer = driver.safe()
                if answer is not None and not answer.proven:  # a driver of before 0.2 says nothing: its reply did
                    return InstrumentError(not_off_warning(answer)), True
            finally:
                driver.close()
    except InUse as error:
        return error, True
    except SdlError as error:
        return error, getattr(error, "retryable", False)
    return None, False


# The process ---------------------------------------------------------------------------------------------------------
def _interrupted(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _wake_when_the_lab_dies() -> None:
    """Have this process woken when the lab dies (Linux); a stopped process cannot notice that its pipe is broken.

    The signal comes when the fork server dies, which it does when no process holds the other end of its pipe: the lab,
    and this process unless it closes it.
    """
    if sys.platform == "linux":
        import ctypes
        from multiprocessing import forkserver

        with contextlib.suppress(OSError, AttributeError, TypeError):
            os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
            ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGCONT)  # PR_SET_PDEATHSIG


class _Forward(logging.Handler):
    def __init__(self, link: WorkerPipe) -> None:
        super().__init__()
        self._link = link
        self.trial: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line; never raises, never waits."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._link.send({"log": record.levelno, "text": text[:20_000], "trial": self.trial}, must=False)
