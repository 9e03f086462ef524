"""What a lab does next: pure functions of its state and the time.

`due` returns the next events to write. The loop writes each, folds it, acts on it, and calls `due` again until nothing
is left. Every start therefore ends exactly once, whichever process is killed meanwhile: an event that was not written
is due again, one that was written is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from sdl.durations import format_duration
from sdl.lab.core import agents
from sdl.lab.core.due_times import NEVER, blackout, schedule_conflict, times
from sdl.lab.core.events import Due, GaveUp, LabEvent, Missed, Started
from sdl.lab.core.state import DAY, Lab, Start
from sdl.lab.core.views import pause_reason

MAX_NEW_STARTS = 500  # starts created in one step


def due(lab: Lab, now: float) -> list[LabEvent]:
    """The events to write now, in order; fold them, then call again."""
    for step in (new_starts, _missed, _replaced, _given_up, _begin):
        if events := list(step(lab, now)):
            return events
    return []


def new_starts(lab: Lab, now: float) -> list[LabEvent]:
    """The starts due up to now: requested, triggered by the end of another, or scheduled."""
    starts = [(item.due, item.job, item.cause, item.by) for item in lab.pending]
    for name, job in lab.lab.jobs.items():
        if lab.next_due(name) <= now:
            scheduled = takewhile(lambda at: at <= now, times(job, lab.lab, lab.horizon[name]))
            starts += [(at, name, "schedule", "schedule") for at in scheduled]
    starts.sort(key=lambda item: item[0])
    return [
        Due(lab.number + n, job, at, cause, by, now) for n, (at, job, cause, by) in enumerate(starts[:MAX_NEW_STARTS])
    ]


def next_time(lab: Lab) -> float:
    """The next scheduled time of any job; infinity if there is none."""
    return min(map(lab.next_due, lab.lab.jobs), default=NEVER)


def _waiting(lab: Lab) -> list[Start]:
    return [start for start in lab.starts.values() if not start.attempts]


def _missed(lab: Lab, now: float) -> Iterator[LabEvent]:
    for start in _waiting(lab):
        if cause := _missed_cause(lab, start, now):
            yield Missed(start.number, *cause, now)


def _missed_cause(lab: Lab, start: Start, now: float) -> tuple[str, str] | None:
    """Why a waiting start will never run, and who decided that; None if it may still run."""
    if start.abort is not None:
        return f"aborted before it began: {start.abort[0]}", start.abort[1]
    if start.skip is not None:
        return f"skipped: {start.skip[0]}", start.skip[1]
    if start.job not in lab.lab.jobs and not start.single:
        return "the job is no longer in the lab file", "lab file"
    if start.single and start.instrument not in lab.lab.instruments:
        return f"{start.instrument} is no longer in the lab file", "lab file"
    if start.cause == "asked":
        return None
    span = blackout(lab.lab, start.instrument, start.due)
    if start.cause == "schedule" and span is not None:
        return "black-out" + (f": {span.why}" if span.why else ""), "lab file"
    grace = start.spec.missed.grace
    if grace is not None and now - start.due > grace:
        late = f"too late by {format_duration(max(now - start.due - grace, 1.0))} ({format_duration(grace)} allowed)"
        return f"{late}: {_delay_cause(lab, start, now)}", "schedule"
    return None


def _delay_cause(lab: Lab, start: Start, now: float) -> str:
    if lab.since > start.due:
        return "the lab was not running"
    return blocked(lab, start, now) or _instrument_holder(lab, start) or "the machine slept, or was too busy"


def _instrument_holder(lab: Lab, start: Start) -> str:
    """The start that used the instrument when this one was due, if it has just finished or died; else empty."""
    for other in lab.starts.values():
        if other.instrument == start.instrument and other.begun is not None and other.begun <= start.due:
            return f"{start.instrument} was in use by start {other.number} ({other.job})"
    for past in reversed(lab.past):
        if past["ended"] <= start.due:
            break
        if past["instrument"] == start.instrument and past["begun"] is not None and past["begun"] <= start.due:
            return f"{start.instrument} was in use by start {past['start']} ({past['job']})"
    return ""


def _replaced(lab: Lab, now: float) -> Iterator[LabEvent]:
    """Waiting scheduled starts of a job, except its latest."""
    waiting = [start for start in _waiting(lab) if start.cause == "schedule"]
    latest = {start.job: start.number for start in sorted(waiting, key=lambda start: start.due)}
    for start in waiting:
        if (later := latest[start.job]) != start.number:
            cause = f"replaced by the later start {later}: {_delay_cause(lab, start, now)}"
            yield Missed(start.number, cause, "schedule", now)


def _given_up(lab: Lab, now: float) -> Iterator[LabEvent]:
    """Starts whose process died and that are not resumed."""
    for start in lab.starts.values():
        if start.attempts and not start.running:
            if start.abort is not None:
                yield GaveUp(start.number, f"aborted by {start.abort[1]}: {start.abort[0]}", now)
            elif start.lost:  # a restart would repeat every measurement
                yield GaveUp(start.number, start.last, now)
            elif start.deaths > lab.lab.supervise.restarts:
                yield GaveUp(start.number, f"its process died {start.deaths} times; last cause: {start.last}", now)
            elif start.instrument not in lab.lab.instruments:
                yield GaveUp(start.number, f"{start.instrument} is no longer in the lab file", now)


def _begin(lab: Lab, now: float) -> Iterator[LabEvent]:
    """The first start in line on each free instrument."""
    for name in lab.lab.instruments:
        ready = (s for s in lab.starts.values() if s.instrument == name and not blocked(lab, s, now))
        if (start := min(ready, key=queue_order, default=None)) is not None:
            yield Started(start.number, name, start.run or _new_run(start, now), start.attempts, now)


def queue_order(start: Start) -> tuple[Any, ...]:
    """Sort key of starts on one instrument: priority, begun before others, due time, number."""
    return -start.spec.priority, not start.attempts, start.due, start.number


def _new_run(start: Start, now: float) -> str:
    """The directory of a new run below the lab's runs; names sort by time, as those of `sdl run`."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{start.spec.resolved.get('name', start.job)}/{stamp}-s{start.number}"


def blocked(lab: Lab, start: Start, now: float) -> str:
    """Why a waiting or died start cannot begin now; empty if it can."""
    if start.ready > now:
        return f"its process died ({start.last}); retry in {format_duration(start.ready - now)}"
    if pause := reason_to_pause(lab, start, now):
        return pause[0]
    if start.instrument not in lab.lab.instruments:
        return f"{start.instrument} is no longer in the lab file"
    if (other := lab.on(start.instrument)) is not None:
        return f"{start.instrument} is in use by start {other.number} ({other.job})"
    if start.instrument in lab.unsafe:
        why = lab.lost.get(start.instrument)
        return f"{start.instrument} is not known to be safe" + (f": {why}" if why else "")
    return ""


def reason_to_pause(lab: Lab, start: Start, now: float, readings: int = 0) -> tuple[str, str] | None:
    """Why a start may not measure now, and who decided that: a requested pause, a black-out, its window, the quota.

    `readings` is the number taken in its run so far.
    """
    for pause in lab.pauses_of(start.targets):
        return pause_reason(pause.what, pause.cause), pause.by
    if start.agent and (why := agents.reason_to_pause(lab, start, now, readings)):
        return why, "lab file"
    spec = start.spec.model_copy(update={"between": None}) if start.cause == "asked" else start.spec
    if why := schedule_conflict(spec, lab.lab, now):
        return why, "lab file"
    instrument = lab.lab.instruments.get(start.instrument)
    if instrument is not None and (allowed := instrument.readings_a_day) is not None:
        taken = lab.readings_last_day(start.instrument, now) + max(readings - start.readings, 0)
        if taken >= allowed:
            return f"{taken} readings in the last {format_duration(DAY)} ({allowed} allowed)", "lab file"
    return None
