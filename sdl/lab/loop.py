"""The performer: writes what is due into the lab's journal, and acts on it. The same in real and in virtual time.

One tick: the clock is looked at, what was asked is done, news of the campaigns is written, then whatever is due until
nothing is. Each event is written and folded before anything follows from it. A disk that is full stops that and
nothing else: news is kept, and everything is tried again at the next tick.

At its start a lab makes every instrument safe before anything begins on it, and then goes on with what was running.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from sdl.clock import Clock
from sdl.core.events import Measured, Safe, Stopped
from sdl.errors import Full, Lost, RecordError, SdlError
from sdl.extras import versions_of
from sdl.lab.clock_watch import ClockWatch
from sdl.lab.config.file import ResolvedLab
from sdl.lab.core import scheduler
from sdl.lab.core.events import SCHEMA, Died, Ended, LabEvent, LabOpened, LabStarted, LabStopped, MadeSafe, Started
from sdl.lab.core.job_runs import Start
from sdl.lab.core.state import Lab
from sdl.lab.core.views import is_requested_pause
from sdl.lab.journal import Journal
from sdl.lab.logs import log_context
from sdl.lab.workers.base import JobOrder, Workers, WorkerUpdate
from sdl.lab.workers.safe_state import SafeStateWatch
from sdl.store import record

TICK = 1.0
"""Seconds between two looks at the clock at most, so that a machine that slept is noticed when it wakes."""
EVENTS_PER_TICK = 500
"""Events that one tick writes, more or less."""
CLOSE_TIMEOUT = 30.0
"""How long campaigns have to end when the lab does, before their processes are closed."""

log = logging.getLogger("sdl.lab")


class Listener(Protocol):
    """Who is told what happens in a lab."""

    def handle(self, event: LabEvent) -> None: ...
    def update(self, item: WorkerUpdate) -> None: ...
    def tick(self, now: float) -> None: ...


@dataclass(slots=True)
class LiveStart:
    """What is known of a running start beyond the journal: readings so far, why it pauses, and what it was told."""

    readings: int = 0
    paused: str = ""
    told: str = ""


class LabLoop:
    """A lab that runs.

    Args:
        lab: the fold of the journal.
        journal: where its events go.
        processes: carries campaigns out.
        clock: what time it is.
        runs: where the runs go.
        requests: does what was asked from outside; called once a tick.
        listeners: told of every event, news and tick.
        jumps: notices a clock that was set; None: nobody looks.
    """

    def __init__(
        self,
        lab: Lab,
        journal: Journal,
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
        self._heard: WorkerUpdate | None = None
        self._safe_states = SafeStateWatch()
        self._ending = self._more = False

    # Begin and end -----------------------------------------------------------------------------------------------
    def open(self, loaded: ResolvedLab, process: int, user: str) -> None:
        """Takes the lab over: its file where that has changed, and what an earlier process left behind.

        Raises:
            RecordError: the journal cannot be written.
        """
        now = self.clock.now()
        config = loaded.lab.plain()
        if self.lab.config != config:
            if self.lab.file is not None:  # what was due by the old file is due, whatever the new one says
                while found := scheduler.new_starts(self.lab, now):
                    self._write_all(found)
            self.write(LabOpened(SCHEMA, loaded.lab.name, config, _versions(), now))
        crashed = self.lab.alive
        self.write(LabStarted(process, user, now))
        for start in self.lab.running():
            self.write(self._left_behind(start, crashed, now))

    def _left_behind(self, start: Start, crashed: bool, now: float) -> LabEvent:
        """What became of a start whose lab ended: its own end, where its record has one."""
        readings, last = start.readings, None
        try:
            events = list(record.read(self.runs / start.run))
            readings = sum(isinstance(event, Measured) for event in events)
            last = next((event for event in reversed(events) if not isinstance(event, Safe)), None)
        except SdlError as error:  # never begun, or damaged: whoever goes on with it will say so
            log.info("start %d: %s", start.number, error)
        if isinstance(last, Stopped):
            return Ended(start.number, str(last.outcome), last.reason, readings, now)
        cause = "the lab's process ended without a word" if crashed else "the lab was stopped"
        return Died(start.number, cause, readings, now, own=False)

    def close(self, by: str) -> None:
        """Interrupts what runs, leaves it resumable and the instruments safe, and says so in the journal."""
        self._ending = True
        running = self.lab.running()
        for start in running:
            self.processes.interrupt(start.number, by)
        until = self.clock.monotonic() + CLOSE_TIMEOUT
        while self.lab.running() and self.clock.monotonic() < until:
            self._take_updates()
            if self.lab.running():
                self.clock.sleep(0.1)
        while self.lab.unsafe and not self.safe_states_tried() and self.clock.monotonic() < until:
            self._make_safe()  # a campaign that was killed may have left its light on
            self.clock.sleep(0.1)
        self.processes.close()
        self._take_updates()
        now = self.clock.now()
        for start in self.lab.running():
            readings = self.live.get(start.number, LiveStart()).readings
            self.write(Died(start.number, f"did not end when the lab did ({by})", readings, now, own=False))
        self.write(LabStopped(by, now))

    # One tick ----------------------------------------------------------------------------------------------------
    def tick(self) -> None:
        """Does whatever is due."""
        try:
            if self._jumps is not None and (jump := self._jumps.look(self.clock.now())) is not None:
                log.warning("%s: %+.0f s", jump.cause, jump.seconds)
                self.write(jump)
            self.requests()
            self._take_updates()
            self._make_safe()
            self._do_due()
            self._make_safe()
            self._pauses()
            self._well()
        except RecordError as error:
            if not self.trouble:  # once, however many lines do not fit
                log.error("nothing begins: %s", error)
            self.trouble, self.lost = str(error), isinstance(error, Lost)
        self._tell(lambda listener: listener.tick(self.clock.now()))

    def until_next(self) -> float:
        """Seconds until the next tick has something to do, at most `TICK`."""
        soon = 0.0 if self._more and not self.trouble else scheduler.next_time(self.lab) - self.clock.now()
        soon = min(soon, self._safe_states.until_next(self.clock.now()))
        return min(max(soon, 0.001), TICK)

    def write(self, event: LabEvent) -> None:
        """Writes one event, folds it, tells who listens.

        Raises:
            RecordError: it is not written, and nothing follows from it.
        """
        try:
            self._journal.append(event)
        except Lost:
            raise
        except RecordError as error:
            raise (Full if isinstance(error, Full) else RecordError)(_without_line(str(error))) from error
        self.lab.handle(event)
        self._tell(lambda listener: listener.handle(event))

    def _tell(self, what: Callable[[Listener], None]) -> None:
        """Tells everybody; who cannot hear it (a full disk, a bug) must not keep the lab from acting on it."""
        for listener in self.listeners:
            try:
                what(listener)
            except Exception:
                log.exception("%s could not be told", type(listener).__name__)

    def _well(self) -> None:
        if self.trouble:
            log.warning("the journal can be written again")
        self.trouble, self.lost = "", False

    def _write_all(self, events: Sequence[LabEvent]) -> None:
        for event in events:
            self.write(event)

    def _do_due(self) -> None:
        """Until nothing is due, or for as long as a tick may take: after a month away there is much to account for."""
        written, self._more = 0, True
        while written < EVENTS_PER_TICK:
            if not (found := scheduler.due(self.lab, self.clock.now())):
                self._more = False
                return
            for event in found:
                self.write(event)
                if isinstance(event, Started):
                    self._begin(event)
            written += len(found)

    def _begin(self, event: Started) -> None:
        start, lab = self.lab.starts[event.start], self.lab.lab
        campaign = start.spec.campaign
        order = JobOrder(
            start.number,
            {} if isinstance(campaign, str) else campaign,
            self.runs / event.run,
            event.instrument,
            lab.supervise.hung,
            lab.suspend_of(event.instrument).model_dump(mode="json"),
            after_death=event.attempt > 0,
        )
        self.live[start.number] = LiveStart(start.readings)
        with log_context(start=start.number, job=start.job, instrument=event.instrument, run=event.run):
            log.info("%s: %s", "goes on" if event.attempt else "begins", event.run)
            try:
                self.processes.begin(order)
            except (OSError, SdlError) as error:
                self._updates.append(WorkerUpdate(start.number, "died", f"it could not be begun: {error}", at=event.at))
                return
        if start.abort is not None:  # asked before a crash
            self.processes.abort(start.number, *start.abort)

    # What comes back ---------------------------------------------------------------------------------------------
    def _take_updates(self) -> None:
        self._updates.extend(self.processes.updates())
        while self._updates:
            item = self._updates[0]
            start = self.lab.starts.get(item.start)
            if start is not None and start.running:
                self._handle_update(start, item)  # where the disk is full it stays in line
                self._tell(lambda listener, item=item: listener.update(item))  # type: ignore[misc]
            self._updates.popleft()

    def _handle_update(self, start: Start, item: WorkerUpdate) -> None:
        live = self.live.setdefault(start.number, LiveStart())
        live.readings = max(live.readings, item.readings)
        at = item.at or self.clock.now()
        again, self._heard = item is self._heard, item  # while nothing can be written it is heard at every tick
        with log_context(start=start.number, job=start.job, instrument=start.instrument, run=start.run):
            match item.what:
                case "paused":
                    live.paused = item.text
                    log.info("paused: %s", item.text)
                case "running" | "continued":
                    live.paused = ""
                case "ended":
                    if not again:
                        log.info("%s: %s", item.outcome, item.text)
                    self.write(Ended(start.number, item.outcome, item.text, live.readings, at))
                    if item.on and start.instrument in self.lab.lab.instruments:
                        log.warning("%s: %s", start.instrument, item.on)
                        self.write(MadeSafe(start.instrument, item.on, at))
                    self.live.pop(start.number, None)
                case "died":
                    if not again:
                        log.log(logging.INFO if self._ending else logging.WARNING, "died: %s", item.text)
                    death = Died(start.number, _without_line(item.text), live.readings, at)
                    self.write(replace(death, own=not (self._ending or death.full)))
                    self.live.pop(start.number, None)

    # Instruments -------------------------------------------------------------------------------------------------
    def _make_safe(self) -> None:
        """Has every light put out that nobody drives, and asks again and again until it is."""
        for event in self._safe_states.tick(self.lab, self.processes, self.clock):
            self.write(event)

    def safe_states_tried(self) -> bool:
        """Whether every instrument was tried to be made safe at least once since the lab began."""
        return all(name in self.lab.lost for name in self.lab.unsafe)

    def _pauses(self) -> None:
        """Tells what runs to pause and to go on: pauses asked for, black-outs, windows, the day's readings."""
        now = self.clock.now()
        for start in self.lab.running():
            live = self.live.setdefault(start.number, LiveStart())
            reason = scheduler.reason_to_pause(self.lab, start, now, live.readings)
            if reason is not None and reason[0] != live.told:
                self.processes.pause(start.number, *reason)
                live.told = reason[0]
            elif reason is None and live.told:
                by = self.lab.resumed_by if is_requested_pause(live.told) else "lab file"
                self.processes.proceed(start.number, by or "lab")
                live.told = ""


def _without_line(said: str) -> str:
    """What went wrong with a record, without the line that was to be written; the log has that of a campaign."""
    return said.partition("; the line was: ")[0]


def _versions() -> dict[str, str]:
    return versions_of("apscheduler", "pydantic", "tzdata")
