"""The loop of a lab: writes the events that are due to the journal and acts on them, in real or virtual time.

One tick checks the clock, executes requests, records updates from the campaigns, then writes events until none is due.
Every event is written and folded before it takes effect. A full disk stops only the writing: updates are kept, and
everything is retried at the next tick.

When it starts, a lab switches off every instrument before anything begins on it, then resumes the campaigns that were
running.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from sdl.clock import Clock
from sdl.core.events import Measured, Stopped
from sdl.errors import Lost, RecordError, SdlError
from sdl.extras import versions_of
from sdl.lab.config.file import ResolvedLab
from sdl.lab.core import scheduler
from sdl.lab.core.events import SCHEMA, Died, Ended, LabEvent, LabOpened, LabStarted, LabStopped, MadeSafe, Started
from sdl.lab.core.state import Lab, Start
from sdl.lab.core.views import is_requested_pause
from sdl.lab.logs import log_context
from sdl.lab.watches import ClockWatch, SafeStateWatch
from sdl.lab.workers.base import JobOrder, Workers, WorkerUpdate
from sdl.runs.runs import open_run
from sdl.store import record
from sdl.store.record import FILE

TICK = 1.0  # maximum seconds between ticks, so that sleep of the machine is detected when it wakes
EVENTS_PER_TICK = 500  # approximate number of events written per tick
CLOSE_TIMEOUT = 30.0  # seconds that campaigns have to end when the lab is stopped, before their processes are killed

log = logging.getLogger("sdl.lab")


class Journal(Protocol):
    """Keeps the events of a lab: a record, or a list in memory."""

    def append(self, event: LabEvent) -> None: ...


class Listener(Protocol):
    """Receives every event, worker update and tick of a lab."""

    def handle(self, event: LabEvent) -> None: ...
    def update(self, item: WorkerUpdate) -> None: ...
    def tick(self, now: float) -> None: ...


@dataclass(slots=True)
class LiveStart:
    """What the journal does not say of a running start: readings, cost, why it is paused, the last pause sent to it."""

    readings: int = 0
    paused: str = ""
    cost: float = 0.0
    pause_sent: str = ""


class LabLoop:
    """A running lab.

    Args:
        lab: the state folded from the journal.
        journal: keeps the events; None: not kept.
        processes: runs the campaigns.
        requests: executes pending requests; called once per tick.
        jumps: detects clock changes; None: no detection.
    """

    def __init__(
        self,
        lab: Lab,
        journal: Journal | None,
        processes: Workers,
        clock: Clock,
        *,
        runs: Path,
        requests: Callable[[], None] = lambda: None,
        listeners: Sequence[Listener] = (),
        jumps: ClockWatch | None = None,
    ) -> None:
        self.lab, self.clock, self.runs = lab, clock, runs
        self.requests, self.listeners = requests, list(listeners)
        self.processes = processes
        self.live: dict[int, LiveStart] = {}
        self.trouble, self.lost = "", False
        self._journal, self._jumps = journal, jumps
        self._updates: deque[WorkerUpdate] = deque()
        self._last_update: WorkerUpdate | None = None
        self._safe_states = SafeStateWatch()
        self._ending = self._backlog = False

    def live_of(self, start: Start) -> LiveStart:
        """What is known of a running start but not written to the journal."""
        return self.live.setdefault(start.number, LiveStart())

    # Begin and end -----------------------------------------------------------------------------------------------
    def open(self, loaded: ResolvedLab, process: int, user: str) -> None:
        """Take over the lab: record a changed lab file, and the fate of starts left running by an earlier process.

        Raises:
            RecordError: the journal cannot be written.
        """
        now = self.clock.now()
        config = loaded.lab.plain()
        if self.lab.config != config:
            if self.lab.file is not None:  # starts due under the old file remain due
                while starts := scheduler.new_starts(self.lab, now):
                    for event in starts:
                        self.write(event)
            versions = versions_of("apscheduler", "pydantic", "tzdata")
            self.write(LabOpened(SCHEMA, loaded.lab.name, config, versions, now))
        crashed = self.lab.alive
        self.write(LabStarted(process, user, now))
        for start in self.lab.running():
            self.write(self._left_behind(start, crashed, now))

    def _left_behind(self, start: Start, crashed: bool, now: float) -> LabEvent:
        """The end of a start whose lab ended: its own end if its record has one, else its death."""
        readings, last = start.readings, None
        try:
            events = [
                event for event in record.read(self.runs / start.run) if not isinstance(event, record.CAMPAIGN.after)
            ]
            readings = sum(isinstance(event, Measured) for event in events)
            last = events[-1] if events else None
        except SdlError as error:  # never begun, or damaged: resuming it reports that
            log.info("start %d: %s", start.number, error)
        cost = self._cost_left_behind(start)
        if isinstance(last, Stopped):
            return Ended(start.number, str(last.outcome), last.reason, readings, now, cost)
        cause = "the lab's process crashed or was killed" if crashed else "the lab was stopped"
        return Died(start.number, cause, readings, now, own=False, cost=cost)

    def _cost_left_behind(self, start: Start) -> float:
        """The cost of an agent's run by its record; the most that it can be, where that is damaged."""
        folder = self.runs / start.run
        if not start.agent or not (folder / FILE).exists():
            return start.cost
        try:
            return open_run(folder).campaign.history.cost
        except SdlError:
            return start.reserved[1]

    def close(self, by: str) -> None:
        """Interrupt the running campaigns, which stay resumable, switch the instruments off, and record the stop."""
        self._ending = True
        for start in self.lab.running():
            self.processes.interrupt(start.number, by)
        until = self.clock.monotonic() + CLOSE_TIMEOUT
        while self.lab.running() and self.clock.monotonic() < until:
            self._take_updates()
            if self.lab.running():
                self.clock.sleep(0.1)
        while self.lab.unsafe and not self.safe_states_tried() and self.clock.monotonic() < until:
            self._make_safe()  # a killed campaign may have left its instrument on
            self.clock.sleep(0.1)
        self.processes.close()
        self._take_updates()
        now = self.clock.now()
        for start in self.lab.running():
            live = self.live_of(start)
            cause = f"did not end when the lab was stopped ({by})"
            self.write(Died(start.number, cause, live.readings, now, own=False, cost=live.cost))
        self.write(LabStopped(by, now))

    # One tick ----------------------------------------------------------------------------------------------------
    def tick(self) -> None:
        try:
            if self._jumps is not None and (jump := self._jumps.look(self.clock.now())) is not None:
                log.warning("%s: %+.0f s", jump.cause, jump.seconds)
                self.write(jump)
            self.requests()
            self._take_updates()
            self._make_safe()
            self._do_due()
            self._make_safe()
            self._send_pauses()
            if self.trouble:
                log.warning("the journal can be written again")
            self.trouble, self.lost = "", False
        except RecordError as error:
            if not self.trouble:  # logged once
                log.error("no campaign begins: %s", error)
            self.trouble, self.lost = str(error), isinstance(error, Lost)
        self._notify(lambda listener: listener.tick(self.clock.now()))

    def until_next(self) -> float:
        """Seconds until the next tick is needed, at most `TICK`."""
        soon = 0.0 if self._backlog and not self.trouble else scheduler.next_time(self.lab) - self.clock.now()
        soon = min(soon, self._safe_states.until_next(self.clock.now()))
        return min(max(soon, 0.001), TICK)

    def write(self, event: LabEvent) -> None:
        """Write one event, fold it, notify the listeners.

        Raises:
            RecordError: the event was not written and takes no effect.
        """
        try:
            if self._journal is not None:
                self._journal.append(event)
        except Lost:
            raise
        except RecordError as error:
            raise type(error)(_without_line(str(error))) from error
        self.lab.handle(event)
        self._notify(lambda listener: listener.handle(event))

    def _notify(self, call: Callable[[Listener], None]) -> None:
        """Call every listener; an error in one (a full disk, a bug) must not stop the lab."""
        for listener in self.listeners:
            try:
                call(listener)
            except Exception:
                log.exception("%s failed", type(listener).__name__)

    def _do_due(self) -> None:
        """Write and execute due events until none is left or the tick is full, as after weeks of downtime."""
        written, self._backlog = 0, True
        while written < EVENTS_PER_TICK:
            if not (events := scheduler.due(self.lab, self.clock.now())):
                self._backlog = False
                return
            for event in events:
                self.write(event)
                if isinstance(event, Started):
                    self._begin(event)
            written += len(events)

    def _begin(self, event: Started) -> None:
        start, lab = self.lab.starts[event.start], self.lab.lab
        order = JobOrder(
            start.number,
            start.spec.resolved,
            self.runs / event.run,
            event.instrument,
            lab.supervise.hung,
            lab.suspend_of(event.instrument).model_dump(mode="json"),
            start.changes,
            event.attempt,
        )
        self.live[start.number] = LiveStart(start.readings, cost=start.cost)
        with log_context(start=start.number, job=start.job, instrument=event.instrument, run=event.run):
            log.info("%s %s", "resuming" if event.attempt else "starting", event.run)
            try:
                self.processes.begin(order)
            except (OSError, SdlError) as error:
                self._updates.append(WorkerUpdate(start.number, "died", f"could not be started: {error}", at=event.at))
                return
        if start.abort is not None:  # requested before a crash
            self.processes.command(start.number, "abort", *start.abort)

    # Updates from the campaigns ----------------------------------------------------------------------------------
    def _take_updates(self) -> None:
        self._updates.extend(self.processes.updates())
        while self._updates:
            item = self._updates[0]
            start = self.lab.starts.get(item.start)
            if start is not None and start.running:
                self._handle_update(start, item)  # stays queued if the disk is full
                self._notify(lambda listener, item=item: listener.update(item))  # type: ignore[misc]
            self._updates.popleft()

    def _handle_update(self, start: Start, item: WorkerUpdate) -> None:
        live = self.live_of(start)
        live.readings, live.cost = max(live.readings, item.readings), max(live.cost, item.cost)
        at = item.at or self.clock.now()
        level = logging.WARNING if item.what == "died" and not self._ending else logging.INFO
        if item is self._last_update:  # retried at every tick while the disk is full, logged once
            level = logging.DEBUG
        self._last_update = item
        with log_context(start=start.number, job=start.job, instrument=start.instrument, run=start.run):
            match item.what:
                case "paused":
                    live.paused = item.text
                    log.info("paused: %s", item.text)
                case "running" | "continued" | "asked":
                    live.paused = ""
                case "ended":
                    log.log(level, "%s: %s", item.outcome, item.text)
                    self.write(Ended(start.number, item.outcome, item.text, live.readings, at, live.cost))
                    if item.on and start.instrument in self.lab.lab.instruments:
                        log.warning("%s: %s", start.instrument, item.on)
                        self.write(MadeSafe(start.instrument, item.on, at))
                    self.live.pop(start.number, None)
                case "died":
                    log.log(level, "died: %s", item.text)
                    death = Died(start.number, _without_line(item.text), live.readings, at, cost=live.cost)
                    self.write(replace(death, own=not (self._ending or death.full)))
                    self.live.pop(start.number, None)

    # Instruments -------------------------------------------------------------------------------------------------
    def _make_safe(self) -> None:
        """Have every instrument that no campaign is driving switched off, and retry until it confirms."""
        for event in self._safe_states.tick(self.lab, self.processes, self.clock):
            self.write(event)

    def safe_states_tried(self) -> bool:
        """Whether switching off was tried on every instrument since the lab started."""
        return all(name in self.lab.lost for name in self.lab.unsafe)

    def _send_pauses(self) -> None:
        """Pause and continue running campaigns: requested pauses, black-outs, windows, the daily quota."""
        now = self.clock.now()
        for start in self.lab.running():
            live = self.live_of(start)
            reason = scheduler.reason_to_pause(self.lab, start, now, live.readings)
            if reason is not None and reason[0] != live.pause_sent:
                self.processes.command(start.number, "pause", *reason)
                live.pause_sent = reason[0]
            elif reason is None and live.pause_sent:
                by = self.lab.resumed_by if is_requested_pause(live.pause_sent) else "lab file"
                self.processes.command(start.number, "proceed", by or "lab")
                live.pause_sent = ""


def _without_line(message: str) -> str:
    """The message of a record error without the line that could not be written; the log has that of a campaign."""
    return message.partition("; the line was: ")[0]
