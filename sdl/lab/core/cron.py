"""When a job is due: pure functions of the lab file and of time.

Cron is asked in wall-clock time that knows no changes (APScheduler's trigger in UTC, which stands for the wall), and
each wall-clock time is then mapped to real time by one rule. Asked with a real zone the trigger (3.11.3) leaves starts
out where the clocks go forward: `0,30 2 * * *` gives one start on that day in New York, `0 0 * * *` none in Havana.

A wall-clock time that does not exist (spring) is due as much later as the clocks are put forward: 02:30 at 03:30. One
that comes twice (autumn) is due at the first, or at both: `Job.clock_change`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sdl.notify.model import inside

if TYPE_CHECKING:
    from sdl.lab.config.model import Blackout, Job, LabFile

MARGIN = 4 * 3600.0
"""Seconds: more than clocks are ever put forward or back at once."""
NEVER = float("inf")
MAX_OUTSIDE = 3000
"""So many times in a row outside a window, and none is inside: more than two days of minutes."""
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""By the number that a crontab gives them; APScheduler 3 counts from Monday, so it is only ever told names."""


@lru_cache(maxsize=256)
def cron_trigger(text: str) -> Any:
    """The trigger of five cron fields, in wall-clock time.

    Raises:
        ValueError: with the reason; also for a day of the month together with one of the week, which cron programs
            read in two ways.
    """
    from apscheduler.triggers.cron import CronTrigger

    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError(f"must be five fields: minute, hour, day, month, day of the week; {text!r} has {len(fields)}")
    minute, hour, day, month, week = fields
    if day != "*" and week != "*":
        raise ValueError("has a day of the month and one of the week, which cron programs read in two ways: give one")
    try:
        trigger = CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_named(week), second="0", timezone=UTC
        )
    except ValueError as error:
        raise ValueError(f"{text!r} cannot be read: {error}") from None
    if trigger.get_next_fire_time(None, datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise ValueError(f"{text!r}: no such day ever comes")
    return trigger


def _named(week: str) -> str:
    """The days of the week by name: `1-5` is `mon,tue,wed,thu,fri`."""
    found: list[str] = []
    for part in week.split(","):
        first, dash, last = part.partition("-")
        if part == "*":
            return "*"
        numbers = [_day(name) for name in ((first, last) if dash else (first, first))]
        if dash and numbers[1] < numbers[0]:
            numbers[1] += 7
        found += [DAYS[number % 7] for number in range(numbers[0], numbers[1] + 1)]
    return ",".join(dict.fromkeys(found))


def _day(name: str) -> int:
    if name in DAYS:
        return DAYS.index(name)
    if name in tuple("01234567"):
        return int(name)
    raise ValueError(f"{name!r} is no day of the week; allowed: sun … sat, or 0 … 7 with 0 and 7 for Sunday")


def times(job: Job, lab: LabFile, after: float) -> Iterator[float]:
    """The times after `after` at which a job's schedule says so, inside its window, in order; seconds since 1970 UTC.

    None for a job that follows another or is asked for. Without end for cron and every.
    """
    zone, left_out = lab.zone, 0
    for at in _times(job, zone, after):
        if job.between is None or inside(job.between, clock(at, zone)):
            left_out = 0
            yield at
        elif (left_out := left_out + 1) > MAX_OUTSIDE:
            return  # its window and its times do not meet


def next_due(job: Job, lab: LabFile, after: float) -> float:
    """The first of `times`; never (infinity) where there is none."""
    return next(times(job, lab, after), NEVER)


def upcoming(job: Job, lab: LabFile, after: float, most: int) -> list[float]:
    """The first of `times`, at most so many."""
    return list(islice(times(job, lab, after), most))


def blackout(lab: LabFile, instrument: str, at: float) -> Blackout | None:
    """The black-out of an instrument at a time, if there is one."""
    zone = lab.zone
    for span in lab.blackouts:
        named = not span.instruments or instrument in span.instruments
        if named and seconds(span.from_, zone) <= at < seconds(span.to, zone):
            return span
    return None


def schedule_conflict(job: Job, lab: LabFile, at: float) -> str:
    """Why a campaign of the job has to wait at this time, or empty: a black-out, or its window is closed."""
    span = blackout(lab, job.instrument, at)
    if span is not None:
        return f"black-out until {span.to}" + (f": {span.why}" if span.why else "")
    if job.between is not None and not inside(job.between, clock(at, lab.zone)):
        return f"outside {job.between}"
    return ""


def clock(at: float, zone: ZoneInfo) -> str:
    """The local time of day, `23:10`."""
    return datetime.fromtimestamp(at, zone).strftime("%H:%M")


@lru_cache(maxsize=1024)
def seconds(text: str, zone: ZoneInfo) -> float:
    """A date and time of a lab file in seconds since 1970 UTC."""
    found = datetime.fromisoformat(text)
    return real(found, zone)[0] if found.tzinfo is None else found.timestamp()


def real(wall: datetime, zone: ZoneInfo) -> tuple[float, ...]:
    """When a wall clock shows this: once, or twice where the clocks go back.

    Where they are put forward over it, it is due as much later.
    """
    first, second = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return (first, second) if second > first else (first,)  # in a gap fold 1 comes before fold 0


def _times(job: Job, zone: ZoneInfo, after: float) -> Iterator[float]:
    """The due times after `after`, in order, windows left out of account."""
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
    held: list[float] = []  # walls come in order; the real times of two may not, where the clocks go back
    last = after
    release = -NEVER
    while release < NEVER:
        found = trigger.get_next_fire_time(None, wall)
        if found is None or found.year > 9000:
            release = NEVER
        else:
            shown = real(found.replace(tzinfo=None), zone)
            held += shown if twice else shown[:1]
            release = shown[0] - _margin(shown[0], zone)  # no later wall is due before this
            wall = found + timedelta(microseconds=1)
        for at in sorted(held):
            if at > release:
                break
            held.remove(at)
            if at > last:
                last = at
                yield at


def _margin(at: float, zone: ZoneInfo) -> float:
    """How far real times may be out of the order of the wall clock around a time: not at all, on most days."""
    before, behind = (datetime.fromtimestamp(at + day, zone).utcoffset() for day in (-86400.0, 86400.0))
    return 0.0 if before == behind else MARGIN
