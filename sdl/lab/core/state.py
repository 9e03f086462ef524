"""The state of a lab: the fold of its events. Pure; what follows from it: `sdl.lab.core.scheduler`.

A start is waiting (from Due), running (Started … Died or Ended), or died (Died, until it is Started again):

    Due ──► waiting ──Started──► running ──Ended──► gone
              │  │                 │  ▲
              │  └──Missed──► gone └Died──► died ──GaveUp──► gone
              └─────GaveUp──► gone          (Started: running again)

An event that does not fit is refused and leaves the state as it was; in a file it is damage.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sdl.errors import OutOfTurn
from sdl.lab.config.file import parse
from sdl.lab.config.model import Job, LabFile, When
from sdl.lab.core.cron import next_due
from sdl.lab.core.events import (
    Asked,
    ClockJumped,
    Died,
    Due,
    Ended,
    GaveUp,
    Held,
    LabEvent,
    LabOpened,
    LabStarted,
    LabStopped,
    MadeSafe,
    Missed,
    Released,
    Started,
)
from sdl.lab.core.job_runs import PendingStart, Start
from sdl.lab.core.views import EndedStart
from sdl.types import Outcome

DAY = 86400.0
HISTORY = 1000
"""Ended starts that are remembered; the journal has all."""
MAX_BACKOFF = 3600.0
SAFE_OUTCOMES = (Outcome.REACHED, Outcome.UNREACHABLE)
"""Ends that follow from a reading that just came."""


@dataclass
class Lab:
    """The fold of a lab's journal.

    Attributes:
        file: the resolved lab file; None before LabOpened.
        config: the same as plain values, as it stands in the journal.
        starts: by number, those that have not come to their end.
        past: the newest that have, oldest first.
        horizon: by job, the time up to which its schedule has been made due.
        owed: starts that have to be made due, in order.
        skips: by job, who wants its next start left out, and why.
        holds: by what is held; `resumed_by` is who released the last one.
        unsafe: the instruments whose light may be on with nobody driving them.
        lost: by instrument, why it could not be made safe.
        alive: whether a process has the lab, for all the journal says.
        since: when that process took it over; `process` is its number.
    """

    file: LabFile | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    starts: dict[int, Start] = field(default_factory=dict)
    past: deque[EndedStart] = field(default_factory=lambda: deque(maxlen=HISTORY))
    horizon: dict[str, float] = field(default_factory=dict)
    pending: list[PendingStart] = field(default_factory=list)
    skips: dict[str, tuple[str, str]] = field(default_factory=dict)
    pauses: dict[str, Held] = field(default_factory=dict)
    unsafe: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    resumed_by: str = ""
    number: int = 1
    alive: bool = False
    since: float = 0.0
    process: int = 0
    _taken: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)
    _next: dict[str, tuple[float, float]] = field(default_factory=dict, repr=False, compare=False)

    def handle(self, event: LabEvent) -> None:
        """Folds one event.

        Raises:
            OutOfTurn: it does not fit; the state is as before.
        """
        if self.file is None and not isinstance(event, LabOpened):
            raise OutOfTurn(f"{type(event).__name__} before LabOpened")
        _HANDLERS[type(event)](self, event)

    # What others ask ---------------------------------------------------------------------------------------------
    @property
    def lab(self) -> LabFile:
        """The lab file; there is one from LabOpened on."""
        if self.file is None:
            raise OutOfTurn("the lab is not opened yet")
        return self.file

    def running(self) -> list[Start]:
        """The starts whose process is there."""
        return [start for start in self.starts.values() if start.running]

    def on(self, instrument: str) -> Start | None:
        """The start that runs on an instrument."""
        return next((s for s in self.starts.values() if s.running and s.instrument == instrument), None)

    def pauses_of(self, start: int, job: str, instrument: str) -> list[Held]:
        """The pauses asked for that a start is under, the widest first."""
        covering = ("lab", f"instrument {instrument}", f"job {job}", f"start {start}")
        return [self.pauses[what] for what in covering if what in self.pauses]

    def readings_last_day(self, instrument: str, now: float) -> int:
        """Readings of an instrument in the last 24 hours, those of what runs left out."""
        return sum(n for at, n in self._taken.get(instrument, ()) if now - DAY < at)

    def next_due(self, job: str) -> float:
        """When a job is due next by its schedule; kept, because it is asked every second."""
        horizon = self.horizon[job]
        if self._next.get(job, (None, 0.0))[0] != horizon:
            self._next[job] = (horizon, next_due(self.lab.jobs[job], self.lab, horizon))
        return self._next[job][1]

    # One method an event -----------------------------------------------------------------------------------------
    def _opened(self, event: LabOpened) -> None:
        old, new = self.file, parse(event.config)
        for name, job in new.jobs.items():
            before = old.jobs.get(name) if old is not None else None
            same = before is not None and old is not None and _schedule(before, old) == _schedule(job, new)
            if not same or name not in self.horizon:
                self.horizon[name] = max(self.horizon.get(name, event.at), event.at)
        self.file, self.config, self._next = new, event.config, {}
        for start in self.starts.values():
            if start.attempts == 0 and start.job in new.jobs:
                start.spec = new.jobs[start.job]
        self.pending = [owed for owed in self.pending if owed.job in new.jobs or owed.spec is not None]
        self.unsafe &= new.instruments.keys()
        self.lost = {name: why for name, why in self.lost.items() if name in new.instruments}

    def _started_lab(self, event: LabStarted) -> None:
        self.alive, self.since, self.process = True, event.at, event.process
        self.unsafe = set(self.lab.instruments)  # whatever was left behind

    def _stopped_lab(self, event: LabStopped) -> None:
        self.alive = False

    def _due(self, event: Due) -> None:
        owed = next((o for o in self.pending if (o.job, o.due, o.cause) == (event.job, event.due, event.cause)), None)
        spec = owed.spec if owed is not None and owed.spec is not None else self.lab.jobs.get(event.job)
        if event.start != self.number or spec is None:
            raise OutOfTurn(f"start {event.start} of {event.job}: {self.number} is the next number")
        if event.cause != "schedule" and owed is None:
            raise OutOfTurn(f"start {event.start} of {event.job}: nobody asked for it")
        if event.cause == "schedule" and event.due <= self.horizon[event.job]:
            raise OutOfTurn(f"start {event.start} of {event.job}: was due before")
        handed_in = owed is not None and owed.spec is not None
        start = Start(event.start, event.job, event.due, event.cause, event.by, spec, single=handed_in)
        if owed is not None:
            self.pending.remove(owed)
        if event.cause == "schedule":
            self.horizon[event.job] = event.due
            start.skip = self.skips.pop(event.job, None)
        self.starts[event.start] = start
        self.number += 1

    def _missed(self, event: Missed) -> None:
        start = self._find(event.start, running=False)
        if start.attempts:
            raise OutOfTurn(f"start {event.start} had begun; it cannot be missed")
        self._gone(start, event.at, "missed", "", event.cause)

    def _began(self, event: Started) -> None:
        start = self._find(event.start, running=False)
        if event.attempt != start.attempts or event.instrument != start.instrument:
            raise OutOfTurn(f"start {event.start}: attempt {start.attempts} on {start.instrument} is the next")
        if (other := self.on(event.instrument)) is not None:
            raise OutOfTurn(f"start {event.start}: start {other.number} is on {event.instrument}")
        start.running, start.attempts, start.run = True, start.attempts + 1, event.run
        start.begun = event.at if start.begun is None else start.begun

    def _ended(self, event: Ended) -> None:
        start = self._find(event.start, running=True)
        self._count(start, event.readings, event.at)
        self._gone(start, event.at, "ended", event.outcome, event.reason)
        if event.outcome not in SAFE_OUTCOMES and start.instrument in self.lab.instruments:
            self.unsafe.add(start.instrument)  # perhaps it was away, and did not hear that its light is to go out
        for name, job in self.lab.jobs.items():
            if job.when.after == start.job and Outcome(event.outcome) in job.when.outcome:
                self.pending.append(PendingStart(name, event.at, "after", f"start {start.number}"))

    def _died(self, event: Died) -> None:
        start = self._find(event.start, running=True)
        self._count(start, event.readings, event.at)
        start.running, start.last, start.lost = False, event.cause, event.lost
        if event.own:
            start.deaths += 1
            wait = self.lab.supervise.backoff * 2.0 ** (start.deaths - 1)
            start.ready = event.at + min(wait, MAX_BACKOFF)
        elif event.full:
            start.ready = event.at + min(self.lab.supervise.backoff, MAX_BACKOFF)
        if start.instrument in self.lab.instruments:
            self.unsafe.add(start.instrument)

    def _gave_up(self, event: GaveUp) -> None:
        self._gone(self._find(event.start, running=False), event.at, "gave up", "", event.reason)

    def _made_safe(self, event: MadeSafe) -> None:
        if event.error:
            self.lost[event.instrument] = event.error
            self.unsafe.add(event.instrument)  # a campaign that ended as it should may leave it on
        else:
            self.lost.pop(event.instrument, None)
            self.unsafe.discard(event.instrument)

    def _held(self, event: Held) -> None:
        self.pauses[event.what] = event

    def _released(self, event: Released) -> None:
        if self.pauses.pop(event.what, None) is None:
            raise OutOfTurn(f"{event.what} is not held")
        self.resumed_by = event.by

    def _asked(self, event: Asked) -> None:
        kind, _, name = event.target.partition(" ")
        if event.verb == "run-now":
            self.pending.append(PendingStart(name, event.at, "asked", event.by))
        elif event.verb == "start":
            self.pending.append(
                PendingStart(
                    single_job_name(event.campaign), event.at, "asked", event.by, _single_job(event.campaign, name)
                )
            )
        elif event.verb == "skip" and kind == "job":
            self.skips[name] = (event.reason, event.by)
        elif event.verb in ("skip", "abort"):
            start = self.starts.get(int(name))
            if start is None:
                raise OutOfTurn(f"there is no start {name}")
            if event.verb == "skip":
                start.skip = (event.reason, event.by)
            else:
                start.abort = (event.reason, event.by)

    def _jumped(self, event: ClockJumped) -> None:
        if event.seconds < 0:  # nobody waits longer because the clock was set back
            for start in self.starts.values():
                start.ready += event.seconds

    # What follows from them --------------------------------------------------------------------------------------
    def _find(self, number: int, *, running: bool) -> Start:
        start = self.starts.get(number)
        if start is None or start.running != running:
            state = "is not there" if start is None else "is running" if start.running else "does not run"
            raise OutOfTurn(f"start {number} {state}")
        return start

    def _count(self, start: Start, readings: int, at: float) -> None:
        if readings > start.readings:
            taken = self._taken.setdefault(start.instrument, deque())
            taken.append((at, readings - start.readings))
            start.readings = readings
            while taken[0][0] < at - 2 * DAY:
                taken.popleft()

    def _gone(self, start: Start, at: float, fate: str, outcome: str, reason: str) -> None:
        del self.starts[start.number]
        self.pauses.pop(f"start {start.number}", None)
        self.past.append(start.ended(at, fate, outcome, reason))


_HANDLERS: dict[type, Callable[[Lab, Any], None]] = {
    LabOpened: Lab._opened,
    LabStarted: Lab._started_lab,
    LabStopped: Lab._stopped_lab,
    Due: Lab._due,
    Missed: Lab._missed,
    Started: Lab._began,
    Ended: Lab._ended,
    Died: Lab._died,
    GaveUp: Lab._gave_up,
    MadeSafe: Lab._made_safe,
    Held: Lab._held,
    Released: Lab._released,
    Asked: Lab._asked,
    ClockJumped: Lab._jumped,
}


def single_job_name(campaign: Mapping[str, Any]) -> str:
    """What stands for a job where a campaign was handed in; no job can be called so, for its space."""
    return f"campaign {campaign['name']}"


def _single_job(campaign: Mapping[str, Any], instrument: str) -> Job:
    return Job(campaign=campaign, instrument=instrument, when=When(asked=True))


def fold(events: Iterable[LabEvent]) -> Lab:
    """The state after all of these events.

    Raises:
        OutOfTurn: one does not fit those before it.
    """
    lab = Lab()
    for event in events:
        lab.handle(event)
    return lab


def _schedule(job: Job, lab: LabFile) -> tuple[Any, ...]:
    """What decides when a job is due."""
    return job.when, job.between, job.clock_change, lab.timezone
