"""The state of a lab, folded from its events. Pure; `sdl.lab.core.scheduler` decides what to do next.

A start is waiting (from Due), running (from Started to Died or Ended), or died (from Died until it is Started again):

    Due ──► waiting ──Started──► running ──Ended──► gone
              │  │                 │  ▲
              │  └──Missed──► gone └Died──► died ──GaveUp──► gone
              └─────GaveUp──► gone          (Started: running again)

An event out of turn is refused and leaves the state unchanged; in a journal it counts as damage.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sdl.durations import format_duration
from sdl.errors import OutOfTurn
from sdl.lab.config.file import parse
from sdl.lab.config.model import Job, LabFile, When
from sdl.lab.core import events as ev
from sdl.lab.core.agents import MAX_CALLS, is_valid
from sdl.lab.core.due_times import next_due
from sdl.types import Outcome

DAY = 86400.0
HISTORY = 1000  # number of ended starts kept in memory; the journal has all
MAX_BACKOFF = 3600.0
SAFE_OUTCOMES = (Outcome.REACHED, Outcome.UNREACHABLE)
"""Outcomes that follow directly from a reading: the instrument was connected and has been switched off."""


class PendingStart(NamedTuple):
    """A start that was requested, or triggered by another, and is not yet Due.

    `spec` is its job if the lab file has no such job. `agent` submitted it, and `reserved` are the most readings and
    cost that it can take. If `run` is given, the start continues that run with `changes`.
    """

    job: str
    due: float
    cause: str
    by: str
    spec: Job | None = None
    agent: str = ""
    reserved: tuple[int, float] = (0, 0.0)
    run: str = ""
    changes: tuple[str, ...] | None = None


@dataclass(slots=True)
class Start:
    """A start that has not ended.

    Attributes:
        number, job, due, cause, by: as in Due.
        spec: the job as configured when the start was created or begun.
        single: the campaign was submitted on its own and belongs to no job of the lab file.
        running: whether the journal says that its process is running.
        attempts: number of times its process was started.
        deaths: number of times its process died, without interruptions by the lab itself.
        lost: whether its record was deleted, replaced or truncated while being written.
        ready: earliest time of the next attempt, seconds since 1970 UTC.
        skip, abort: reason and requester, if requested.
        agent: who submitted its campaign, if that was an agent.
        reserved: the most readings and cost that it can take.
        cost: cost of its run, as far as the journal says.
        run: directory of its record; before it begins, empty unless it continues an ended run.
        changes: changes of the run that it continues, each `key=value`; None: it is a new run.
    """

    number: int
    job: str
    due: float
    cause: str
    by: str
    spec: Job
    single: bool = False
    running: bool = False
    attempts: int = 0
    deaths: int = 0
    lost: bool = False
    ready: float = 0.0
    begun: float | None = None
    run: str = ""
    readings: int = 0
    last: str = ""
    skip: tuple[str, str] | None = None
    abort: tuple[str, str] | None = None
    agent: str = ""
    reserved: tuple[int, float] = (0, 0.0)
    cost: float = 0.0
    changes: tuple[str, ...] | None = None

    @property
    def instrument(self) -> str:
        return self.spec.instrument

    @property
    def targets(self) -> tuple[str, ...]:
        return covering_targets(self.number, self.job, self.instrument)

    def ended(self, at: float, fate: str, outcome: str, reason: str) -> dict[str, Any]:
        """Its row of the history (`sdl.lab.core.views`)."""
        return {
            "start": self.number, "job": self.job, "instrument": self.instrument, "run": self.run, "due": self.due,
            "begun": self.begun, "ended": at, "fate": fate, "outcome": outcome, "reason": reason,
            "readings": self.readings,
        }  # fmt: skip


def covering_targets(number: int, job: str, instrument: str) -> tuple[str, ...]:
    """The targets of requests that cover a start, widest first."""
    return "lab", f"instrument {instrument}", f"job {job}", f"start {number}"


@dataclass
class Lab:
    """The state of a lab.

    Attributes:
        file: the resolved lab file; None before LabOpened.
        config: the same as plain values, as stored in the journal.
        starts: the starts that have not ended, by number.
        past: the most recently ended starts, oldest first.
        horizon: the time up to which scheduled starts have been created, by job.
        pending: starts requested or triggered but not yet Due, in order.
        skips: reason and requester of skipping the next start, by job.
        pauses: requested pauses by target; `resumed_by` is who ended the last one.
        unsafe: instruments not known to be off that no campaign is driving.
        lost: why an instrument could not be switched off, by instrument.
        alive: whether a process runs the lab, according to the journal.
        since: when that process took over; `process` is its id.
        submissions: submissions that wait for a person, by number.
        reviewed: the most recently submitted or reviewed ones, as rows (`sdl.lab.core.views`), oldest first.
        rehearsals: rehearsals of the last hour, by name; `used_rehearsals` are those that a submission has used.
        submission: number of the next submission.
    """

    file: LabFile | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    starts: dict[int, Start] = field(default_factory=dict)
    past: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    horizon: dict[str, float] = field(default_factory=dict)
    pending: list[PendingStart] = field(default_factory=list)
    skips: dict[str, tuple[str, str]] = field(default_factory=dict)
    pauses: dict[str, ev.Held] = field(default_factory=dict)
    unsafe: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    resumed_by: str = ""
    number: int = 1
    alive: bool = False
    since: float = 0.0
    process: int = 0
    submissions: dict[int, ev.Submitted] = field(default_factory=dict)
    reviewed: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    rehearsals: dict[str, ev.Rehearsed] = field(default_factory=dict)
    used_rehearsals: set[str] = field(default_factory=set)
    submission: int = 1
    _calls: dict[str, deque[float]] = field(default_factory=dict)
    _used: dict[str, deque[tuple[float, int, float]]] = field(default_factory=dict)
    _taken: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)
    _next: dict[str, tuple[float, float]] = field(default_factory=dict, repr=False, compare=False)

    def handle(self, event: ev.LabEvent) -> None:
        """Fold one event.

        Raises:
            OutOfTurn: the event is out of turn; the state is unchanged.
        """
        if self.file is None and not isinstance(event, ev.LabOpened):
            raise OutOfTurn(f"{type(event).__name__} before LabOpened")
        match event:
            case ev.LabOpened():
                self._open(event)
            case ev.LabStarted():
                self.alive, self.since, self.process = True, event.at, event.process
                self.unsafe = set(self.lab.instruments)  # a previous process may have left any of them on
            case ev.LabStopped():
                self.alive = False
            case ev.Due():
                self._create(event)
            case ev.Missed():
                start = self._find(event.start, running=False)
                if start.attempts:
                    raise OutOfTurn(f"start {event.start} has begun and cannot be missed")
                self._remove(start, event.at, "missed", "", event.cause)
            case ev.Started():
                self._begin(event)
            case ev.Ended():
                self._end(event)
            case ev.Died():
                self._die(event)
            case ev.GaveUp():
                self._remove(self._find(event.start, running=False), event.at, "gave up", "", event.reason)
            case ev.MadeSafe(error=""):
                self.lost.pop(event.instrument, None)
                self.unsafe.discard(event.instrument)
            case ev.MadeSafe():
                self.lost[event.instrument] = event.error
                self.unsafe.add(event.instrument)  # a campaign that ended normally may still have left it on
            case ev.Held():
                self.pauses[event.what] = event
            case ev.Released():
                if self.pauses.pop(event.what, None) is None:
                    raise OutOfTurn(f"{event.what} is not paused")
                self.resumed_by = event.by
            case ev.Asked():
                self._request(event)
            case ev.Rehearsed():
                self._count_call(event.agent, event.at)
                self.rehearsals = {name: one for name, one in self.rehearsals.items() if is_valid(one, event.at)}
                self.used_rehearsals &= self.rehearsals.keys()
                self.rehearsals[event.rehearsal] = event
            case ev.Submitted():
                self._submit(event)
            case ev.Reviewed():
                self._review(event)
            case ev.CallRefused():
                self._count_call(event.agent, event.at)
            case ev.ClockJumped():
                for start in self.starts.values():
                    start.ready += min(event.seconds, 0.0)  # a clock set back must not lengthen the back-off

    # Queries -----------------------------------------------------------------------------------------------------
    @property
    def lab(self) -> LabFile:
        """The lab file; available from LabOpened on."""
        if self.file is None:
            raise OutOfTurn("the lab is not opened yet")
        return self.file

    def running(self) -> list[Start]:
        """The starts whose campaign process is running."""
        return [start for start in self.starts.values() if start.running]

    def on(self, instrument: str) -> Start | None:
        """The start running on an instrument."""
        return next((s for s in self.starts.values() if s.running and s.instrument == instrument), None)

    def pauses_of(self, targets: Iterable[str]) -> list[ev.Held]:
        """The requested pauses of these targets, such as `Start.targets`."""
        return [self.pauses[what] for what in targets if what in self.pauses]

    def readings_last_day(self, instrument: str, now: float) -> int:
        """Readings of an instrument in the last 24 hours, without those of the running start."""
        return sum(n for at, n in self._taken.get(instrument, ()) if now - DAY < at)

    def used(self, agent: str, now: float) -> tuple[int, float]:
        """Readings and cost of an agent's campaigns whose process ended in the last 24 hours."""
        recent = [(readings, cost) for at, readings, cost in self._used.get(agent, ()) if now - DAY < at]
        return sum(readings for readings, _ in recent), sum(cost for _, cost in recent)

    def committed(self, agent: str, now: float) -> tuple[int, float]:
        """As `used`, plus the most that its unfinished campaigns can take."""
        readings, cost = self.used(agent, now)
        open_ones = [
            *(one.reserved for one in self.starts.values() if one.agent == agent),
            *(one.reserved for one in self.pending if one.agent == agent),
        ]
        return readings + sum(most for most, _ in open_ones), cost + sum(most for _, most in open_ones)

    def too_many_calls(self, agent: str, now: float) -> str:
        """The limit of recorded calls that an agent has reached; empty if none."""
        calls = self._calls.get(agent, ())
        for seconds, most in MAX_CALLS.items():
            if len(calls) >= most and sum(now - seconds < at for at in calls) >= most:
                return f"{most} calls in {format_duration(seconds)}"
        return ""

    def next_due(self, job: str) -> float:
        """The next scheduled time of a job; cached, since it is needed every second."""
        horizon = self.horizon[job]
        if self._next.get(job, (None, 0.0))[0] != horizon:
            self._next[job] = (horizon, next_due(self.lab.jobs[job], self.lab, horizon))
        return self._next[job][1]

    # Larger transitions ------------------------------------------------------------------------------------------
    def _open(self, event: ev.LabOpened) -> None:
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
        self.pending = [item for item in self.pending if item.job in new.jobs or item.spec is not None]
        self.unsafe &= new.instruments.keys()
        self.lost = {name: why for name, why in self.lost.items() if name in new.instruments}

    def _create(self, event: ev.Due) -> None:
        key = (event.job, event.due, event.cause)
        pending = next((item for item in self.pending if (item.job, item.due, item.cause) == key), None)
        own_spec = None if pending is None else pending.spec
        spec = own_spec or self.lab.jobs.get(event.job)
        if event.start != self.number or spec is None:
            raise OutOfTurn(f"start {event.start} of {event.job}: expected number {self.number}")
        scheduled = event.cause == "schedule"
        if not scheduled and pending is None:
            raise OutOfTurn(f"start {event.start} of {event.job}: was never requested")
        if scheduled and event.due <= self.horizon[event.job]:
            raise OutOfTurn(f"start {event.start} of {event.job}: already created")
        start = self.starts[event.start] = Start(event.start, *key, event.by, spec, single=own_spec is not None)
        if pending is not None:
            start.agent, start.reserved = pending.agent, pending.reserved
            start.run, start.changes = pending.run, pending.changes
            self.pending.remove(pending)
        if scheduled:
            self.horizon[event.job] = event.due
            start.skip = self.skips.pop(event.job, None)
        self.number += 1

    def _begin(self, event: ev.Started) -> None:
        start = self._find(event.start, running=False)
        if event.attempt != start.attempts or event.instrument != start.instrument:
            raise OutOfTurn(f"start {event.start}: expected attempt {start.attempts} on {start.instrument}")
        if (other := self.on(event.instrument)) is not None:
            raise OutOfTurn(f"start {event.start}: {event.instrument} is in use by start {other.number}")
        start.running, start.attempts, start.run = True, start.attempts + 1, event.run
        start.begun = event.at if start.begun is None else start.begun

    def _end(self, event: ev.Ended) -> None:
        start = self._find(event.start, running=True)
        self._count(start, event.readings, event.cost, event.at)
        self._remove(start, event.at, "ended", event.outcome, event.reason)
        if event.outcome not in SAFE_OUTCOMES and start.instrument in self.lab.instruments:
            self.unsafe.add(start.instrument)  # it may not have received the request to switch off
        for name, job in self.lab.jobs.items():
            if job.when.after == start.job and Outcome(event.outcome) in job.when.outcome:
                self.pending.append(PendingStart(name, event.at, "after", f"start {start.number}"))

    def _die(self, event: ev.Died) -> None:
        start = self._find(event.start, running=True)
        self._count(start, event.readings, event.cost, event.at)
        start.running, start.last, start.lost = False, event.cause, event.lost
        start.deaths += event.own
        if event.own or event.full:
            doublings = start.deaths - 1 if event.own else 0
            start.ready = event.at + min(self.lab.supervise.backoff * 2.0**doublings, MAX_BACKOFF)
        if start.instrument in self.lab.instruments:
            self.unsafe.add(start.instrument)

    def _request(self, event: ev.Asked) -> None:
        kind, _, name = event.target.partition(" ")
        if event.verb == "run-now":
            self.pending.append(PendingStart(name, event.at, "asked", event.by))
        elif event.verb in ("start", "continue"):
            job = Job(campaign=event.campaign, instrument=name, when=When(asked=True))
            pending = PendingStart(single_job_name(event.campaign), event.at, "asked", event.by, job)
            if event.verb == "continue":
                pending = pending._replace(run=event.run, changes=event.changes)
            self.pending.append(pending)
        elif event.verb == "skip" and kind == "job":
            self.skips[name] = (event.reason, event.by)
        elif event.verb in ("skip", "abort"):
            if (start := self.starts.get(int(name))) is None:
                raise OutOfTurn(f"no start {name}")
            setattr(start, event.verb, (event.reason, event.by))

    def _submit(self, event: ev.Submitted) -> None:
        if event.number != self.submission:
            raise OutOfTurn(f"submission {event.number}: expected number {self.submission}")
        self.submission += 1
        self._count_call(event.agent, event.at)
        if event.decision == "accepted":
            self.used_rehearsals.add(event.rehearsal)
            self._queue(event, event.at)
        elif event.decision == "waits":
            self.submissions[event.number] = event
        self.reviewed.append(submission_row(event))

    def _review(self, event: ev.Reviewed) -> None:
        submitted = self.submissions.pop(event.number, None)
        if submitted is None:
            raise OutOfTurn(f"submission {event.number} does not wait for a person")
        row = next((row for row in self.reviewed if row["submission"] == event.number), None)
        if row is not None:
            decision = "approved" if event.approved else "refused"
            row |= {"decision": decision, "by": event.by, "why": event.reason, "decided": event.at}
        if event.approved:
            self.used_rehearsals.add(submitted.rehearsal)
            self._queue(submitted, event.at)

    def _queue(self, event: ev.Submitted, at: float) -> None:
        """Request the start of a submission."""
        job = Job(campaign=event.campaign, instrument=event.instrument, when=When(asked=True))
        name, reserved = single_job_name(event.campaign), (event.readings, event.cost)
        self.pending.append(PendingStart(name, at, "asked", event.agent, job, event.agent, reserved))

    # Helpers -----------------------------------------------------------------------------------------------------
    def _find(self, number: int, *, running: bool) -> Start:
        start = self.starts.get(number)
        if start is None or start.running != running:
            state = "does not exist" if start is None else "is running" if start.running else "is not running"
            raise OutOfTurn(f"start {number} {state}")
        return start

    def _count_call(self, agent: str, at: float) -> None:
        calls = self._calls.setdefault(agent, deque())
        calls.append(at)
        while calls[0] < at - max(MAX_CALLS):
            calls.popleft()

    def _count(self, start: Start, readings: int, cost: float, at: float) -> None:
        if start.agent:
            used = self._used.setdefault(start.agent, deque())
            used.append((at, max(readings - start.readings, 0), max(cost - start.cost, 0.0)))
            start.cost = max(start.cost, cost)
            while used[0][0] < at - 2 * DAY:
                used.popleft()
        if readings > start.readings:
            taken = self._taken.setdefault(start.instrument, deque())
            taken.append((at, readings - start.readings))
            start.readings = readings
            while taken[0][0] < at - 2 * DAY:
                taken.popleft()

    def _remove(self, start: Start, at: float, fate: str, outcome: str, reason: str) -> None:
        del self.starts[start.number]
        self.pauses.pop(f"start {start.number}", None)
        self.past.append(start.ended(at, fate, outcome, reason))


def single_job_name(campaign: Mapping[str, Any]) -> str:
    """The job name of a campaign submitted on its own; it contains a space, as no job of a lab file does."""
    return f"campaign {campaign['name']}"


def submission_row(event: ev.Submitted) -> dict[str, Any]:
    """The row of a submission (`sdl.lab.core.views`)."""
    return {
        "submission": event.number, "agent": event.agent, "instrument": event.instrument,
        "campaign": event.campaign["name"], "readings": event.readings, "cost": event.cost,
        "rehearsal": event.rehearsal, "decision": event.decision, "reasons": list(event.reasons), "at": event.at,
        "by": "", "why": "", "decided": None,
    }  # fmt: skip


def fold(events: Iterable[ev.LabEvent]) -> Lab:
    """The state after all events.

    Raises:
        OutOfTurn: an event is out of turn.
    """
    lab = Lab()
    for event in events:
        lab.handle(event)
    return lab


def _schedule(job: Job, lab: LabFile) -> tuple[Any, ...]:
    """Everything that determines when a job is due."""
    return job.when, job.between, job.clock_change, lab.timezone
