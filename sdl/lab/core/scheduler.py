"""What a lab has to do next: pure functions of its state and of time.

`due` gives the events that are to be written now, a few at a time; whoever writes one folds it, acts on it, and asks
again until nothing is due. So every start that was due ends exactly once, whatever is killed in between: what is not
written is due again, and what is written is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile

from sdl.config.durations import format_duration
from sdl.lab.core.cron import NEVER, blackout, outside, times
from sdl.lab.core.events import Due, GaveUp, LabEvent, Missed, Started
from sdl.lab.core.job_runs import Start
from sdl.lab.core.state import DAY, Lab
from sdl.lab.core.views import is_paused

MOST = 500
"""Due starts that are made out at one go."""


def due(lab: Lab, now: float) -> list[LabEvent]:
    """The events that are to be written now, in order; asked again after they were folded."""
    for step in (new_starts, _missed, _replaced, _given_up, _begin):
        if found := step(lab, now):
            return found
    return []


def new_starts(lab: Lab, now: float) -> list[LabEvent]:
    """The starts that came due up to now: asked for, following an end, by schedule."""
    found = [(owed.due, owed.job, owed.cause, owed.by) for owed in lab.owed]
    for name in lab.lab.jobs:
        found += [(at, name, "schedule", "schedule") for at in _scheduled(lab, name, now)]
    found.sort(key=lambda item: item[0])
    return [Due(lab.number + n, job, at, cause, by, now) for n, (at, job, cause, by) in enumerate(found[:MOST])]


def _scheduled(lab: Lab, job: str, now: float) -> Iterator[float]:
    if lab.next_due(job) <= now:
        yield from takewhile(lambda at: at <= now, times(lab.lab.jobs[job], lab.lab, lab.horizon[job]))


def next_time(lab: Lab) -> float:
    """When the next start is due by schedule; never where there is none."""
    return min((lab.next_due(name) for name in lab.lab.jobs), default=NEVER)


def _waiting(lab: Lab) -> list[Start]:
    """Starts that never began."""
    return [start for start in lab.starts.values() if not start.attempts]


def _missed(lab: Lab, now: float) -> list[LabEvent]:
    """Starts that will never run, each for a reason of its own."""
    found: list[LabEvent] = []
    for start in _waiting(lab):
        if reason := _never(lab, start, now):
            found.append(Missed(start.number, *reason, now))
    return found


def _never(lab: Lab, start: Start, now: float) -> tuple[str, str] | None:
    """Why, and by whom."""
    if start.abort is not None:
        return f"aborted before it began: {start.abort[0]}", start.abort[1]
    if start.skip is not None:
        return f"skipped: {start.skip[0]}", start.skip[1]
    if start.job not in lab.lab.jobs and not start.single:
        return "its job is no longer in the lab file", "lab file"
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
        return f"{late}: {_held_up(lab, start, now)}", "schedule"
    return None


def _held_up(lab: Lab, start: Start, now: float) -> str:
    """Why a start did not begin in time."""
    if lab.since > start.due:
        return "the lab was not running"
    return blocked(lab, start, now) or _was_taken(lab, start) or "the machine slept, or was too busy"


def _was_taken(lab: Lab, start: Start) -> str:
    """Which start was on its instrument when it was due, where that has left it this moment; or empty."""
    for other in lab.starts.values():  # it died, and is not gone on with yet
        if other.instrument == start.instrument and other.begun is not None and other.begun <= start.due:
            return f"start {other.number} ({other.job}) was on {start.instrument}"
    for past in reversed(lab.past):
        if past["ended"] <= start.due:
            break
        if past["instrument"] == start.instrument and past["begun"] is not None and past["begun"] <= start.due:
            return f"start {past['start']} ({past['job']}) was on {start.instrument}"
    return ""


def _replaced(lab: Lab, now: float) -> list[LabEvent]:
    """Of the scheduled starts of a job that wait only the last one runs."""
    last: dict[str, Start] = {}
    waiting = [start for start in _waiting(lab) if start.cause == "schedule"]
    for start in waiting:
        if start.job not in last or start.due >= last[start.job].due:
            last[start.job] = start
    found: list[LabEvent] = []
    for start in waiting:
        if (later := last[start.job]) is not start:
            cause = f"replaced by the later start {later.number}: {_held_up(lab, start, now)}"
            found.append(Missed(start.number, cause, "schedule", now))
    return found


def _given_up(lab: Lab, now: float) -> list[LabEvent]:
    """Starts whose process died, and that are not gone on with."""
    found: list[LabEvent] = []
    for start in lab.starts.values():
        if start.running or not start.attempts:
            continue
        if start.abort is not None:
            found.append(GaveUp(start.number, f"aborted by {start.abort[1]}: {start.abort[0]}", now))
        elif start.lost:  # begun again it would measure everything again
            found.append(GaveUp(start.number, start.last, now))
        elif start.deaths > lab.lab.supervise.restarts:
            found.append(GaveUp(start.number, f"its process died {start.deaths} times; the last: {start.last}", now))
        elif start.instrument not in lab.lab.instruments:
            found.append(GaveUp(start.number, f"{start.instrument} is no longer in the lab file", now))
    return found


def _begin(lab: Lab, now: float) -> list[LabEvent]:
    """On each free instrument the start that comes first: by priority, what had begun before, then by its time."""
    found: list[LabEvent] = []
    for name in lab.lab.instruments:
        ready = [s for s in lab.starts.values() if s.instrument == name and not blocked(lab, s, now)]
        if ready:
            first = min(ready, key=lambda s: (-s.spec.priority, not s.attempts, s.due, s.number))
            found.append(Started(first.number, name, first.run or _run(first, now), first.attempts, now))
    return found


def _run(start: Start, now: float) -> str:
    """The directory of a new run, below the lab's runs: sorts by time, as those of `sdl run` do."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    name = start.spec.campaign["name"] if not isinstance(start.spec.campaign, str) else start.job
    return f"{name}/{stamp}-s{start.number}"


def blocked(lab: Lab, start: Start, now: float) -> str:
    """Why a start that does not run cannot begin now; empty where it can."""
    if start.ready > now:
        return f"its process died ({start.last}); again in {format_duration(start.ready - now)}"
    if pause := reason_to_pause(lab, start, now):
        return pause[0]
    if start.instrument not in lab.lab.instruments:
        return f"{start.instrument} is no longer in the lab file"
    if (other := lab.on(start.instrument)) is not None:
        return f"start {other.number} ({other.job}) is on {start.instrument}"
    if start.instrument in lab.unsafe:
        why = lab.lost.get(start.instrument)
        return f"{start.instrument} is not known to be safe" + (f": {why}" if why else "")
    return ""


def reason_to_pause(lab: Lab, start: Start, now: float, readings: int = 0) -> tuple[str, str] | None:
    """Why a start may not measure now, and by whom: a pause asked for, a black-out, its window, the day's readings.

    Args:
        lab: the lab.
        start: which.
        now: seconds since 1970 UTC.
        readings: taken in its run so far, where it runs.
    """
    for hold in lab.pauses_of(start.number, start.job, start.instrument):
        return is_paused(hold.what, hold.cause), hold.by
    spec = start.spec.model_copy(update={"between": None}) if start.cause == "asked" else start.spec
    if why := outside(spec, lab.lab, now):
        return why, "lab file"
    bench = lab.lab.instruments.get(start.instrument)
    if bench is not None and bench.readings_a_day is not None:
        taken = lab.taken(start.instrument, now) + max(readings - start.readings, 0)
        if taken >= bench.readings_a_day:
            return f"{taken} readings in the last {format_duration(DAY)} ({bench.readings_a_day} allowed)", "lab file"
    return None
