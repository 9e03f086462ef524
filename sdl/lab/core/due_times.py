"""When a job is due: pure functions of the lab file and the time.

Cron expressions are evaluated in wall-clock time without clock changes (APScheduler's trigger with UTC standing for the
wall clock); one rule then maps each wall-clock time to real time. Evaluated with a real time zone, the trigger (3.11.3)
omits starts when the clocks go forward: `0,30 2 * * *` gives one start on that day in New York, `0 0 * * *` none in
Havana.

A wall-clock time that does not exist (spring) is shifted by the clock change: 02:30 becomes 03:30. One that occurs
twice (autumn) is due at the first or at both: `Job.clock_change`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sdl.notify.model import within_span

if TYPE_CHECKING:
    from sdl.lab.config.model import Blackout, Job, LabFile

MARGIN = 4 * 3600.0  # upper bound of a clock change, seconds
NEVER = float("inf")
MAX_OUTSIDE = 3000
"""Consecutive times outside the window after which a job counts as never due: more than two days of minutes."""
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Indexed by crontab number. APScheduler 3 counts from Monday, so it is always given names."""


@lru_cache(maxsize=256)
def cron_trigger(text: str) -> Any:
    """The trigger for five cron fields, in wall-clock time.

    Raises:
        ValueError: the fields are invalid, or give both a day of the month and a day of the week, which cron programs
            interpret in two ways.
    """
    from apscheduler.triggers.cron import CronTrigger

    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError(f"must be five fields: minute, hour, day, month, day of the week; {text!r} has {len(fields)}")
    minute, hour, day, month, week = fields
    if day != "*" and week != "*":
        raise ValueError(
            "gives a day of the month and a day of the week, which cron programs interpret in two ways: give only one"
        )
    try:
        trigger = CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_named(week), second="0", timezone=UTC
        )
    except ValueError as error:
        raise ValueError(f"{text!r} cannot be read: {error}") from None
    if trigger.get_next_fire_time(None, datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise ValueError(f"{text!r}: no such date exists")
    return trigger


def _named(week: str) -> str:
    """The days of the week by name: `1-5` is `mon,tue,wed,thu,fri`."""
    days: list[str] = []
    for part in week.split(","):
        first, dash, last = part.partition("-")
        if part == "*":
            return "*"
        begin, end = _day(first), _day(last if dash else first)
        days += [DAYS[number % 7] for number in range(begin, end + (7 if end < begin else 0) + 1)]
    return ",".join(dict.fromkeys(days))


def _day(name: str) -> int:
    if name not in (*DAYS, *"01234567"):
        raise ValueError(f"{name!r} is not a day of the week; allowed: sun … sat, or 0 … 7 with 0 and 7 for Sunday")
    return DAYS.index(name) if name in DAYS else int(name)


def times(job: Job, lab: LabFile, after: float) -> Iterator[float]:
    """The scheduled times of a job after `after` that lie inside its window, in order; seconds since 1970 UTC.

    Empty for a job that follows another or is started on request; infinite for `cron` and `every`.
    """
    zone, outside = lab.zone, 0
    for at in _times(job, zone, after):
        if job.between is None or within_span(job.between, at, zone):
            outside = 0
            yield at
        elif (outside := outside + 1) > MAX_OUTSIDE:
            return  # no scheduled time lies inside the window


def next_due(job: Job, lab: LabFile, after: float) -> float:
    """The first of `times`; infinity if there is none."""
    return next(times(job, lab, after), NEVER)


def upcoming(job: Job, lab: LabFile, after: float, n: int) -> list[float]:
    """The first `n` of `times`."""
    return list(islice(times(job, lab, after), n))


def blackout(lab: LabFile, instrument: str, at: float) -> Blackout | None:
    """The black-out of an instrument in force at a time."""
    own = (span for span in lab.blackouts if not span.instruments or instrument in span.instruments)
    return next((span for span in own if seconds(span.from_, lab.zone) <= at < seconds(span.to, lab.zone)), None)


def schedule_conflict(job: Job, lab: LabFile, at: float) -> str:
    """Why the schedule forbids a campaign of the job at this time: a black-out, or outside its window; else empty."""
    span = blackout(lab, job.instrument, at)
    if span is not None:
        return f"black-out until {span.to}" + (f": {span.why}" if span.why else "")
    if job.between is not None and not within_span(job.between, at, lab.zone):
        return f"outside {job.between}"
    return ""


@lru_cache(maxsize=1024)
def seconds(text: str, zone: ZoneInfo) -> float:
    """A date and time of a lab file in seconds since 1970 UTC."""
    moment = datetime.fromisoformat(text)
    return real(moment, zone)[0] if moment.tzinfo is None else moment.timestamp()


def real(wall: datetime, zone: ZoneInfo) -> tuple[float, ...]:
    """The real times of a wall-clock time: two if the clocks go back over it, else one.

    A time that the clocks skip is shifted by the clock change.
    """
    first, second = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return (first, second) if second > first else (first,)  # in a gap fold 1 comes before fold 0


def _times(job: Job, zone: ZoneInfo, after: float) -> Iterator[float]:
    """The scheduled times after `after`, in order, regardless of the window."""
    when = job.when
    if when.every is not None:
        start = seconds(when.from_ or "1970-01-01 00:00", zone)
        n = max(0, int((after - start) // when.every) + 1)
        while True:
            at = round(start + n * when.every, 6)
            if at > after:  # rounding may put it just before
                yield at
            n += 1
    elif when.at:
        yield from sorted({at for text in when.at if (at := seconds(text, zone)) > after})
    elif when.cron is not None:
        yield from _cron(when.cron, job.clock_change, zone, after)


def _cron(text: str, change: str | None, zone: ZoneInfo, after: float) -> Iterator[float]:
    twice = change == "twice" or (change is None and text.split()[1] == "*")
    trigger = cron_trigger(text)
    wall = datetime.fromtimestamp(after, zone).replace(tzinfo=UTC) - timedelta(seconds=_margin(after, zone))
    buffer: list[float] = []  # wall-clock times come in order; their real times may not when the clocks go back
    last = after
    horizon = -NEVER
    while horizon < NEVER:
        due = trigger.get_next_fire_time(None, wall)
        if due is None or due.year > 9000:
            horizon = NEVER
        else:
            moments = real(due.replace(tzinfo=None), zone)
            buffer += moments if twice else moments[:1]
            horizon = moments[0] - _margin(moments[0], zone)  # no later wall-clock time is due before this
            wall = due + timedelta(microseconds=1)
        for at in sorted(buffer):
            if at > horizon:
                break
            buffer.remove(at)
            if at > last:
                last = at
                yield at


def _margin(at: float, zone: ZoneInfo) -> float:
    """How far the order of real times may differ from that of the wall clock around a time: 0 on most days."""
    before, behind = (datetime.fromtimestamp(at + day, zone).utcoffset() for day in (-86400.0, 86400.0))
    return 0.0 if before == behind else MARGIN
