"""When jobs are due: ordinary days, both changes of the clocks, windows, black-outs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdl.lab.config.model import Blackout, Job, LabFile, When
from sdl.lab.core.due_times import NEVER, blackout, next_due, schedule_conflict, times, upcoming
from tests.lab.lab_kit import at

ZONES = {
    # zone: (the day before the clocks go forward, the day before they go back) in 2026
    "Europe/Berlin": ("2026-03-28", "2026-10-24"),
    "America/New_York": ("2026-03-07", "2026-10-31"),
    "Australia/Lord_Howe": ("2026-10-03", "2026-04-04"),
    "America/Havana": ("2026-03-07", "2026-10-31"),
    "UTC": ("2026-03-28", "2026-10-24"),
}


def lab(zone: str = "UTC", **keys: object) -> LabFile:
    instruments = {"a": {"instrument": {"kind": "twin"}}}
    jobs = {"j": {"campaign": {}, "instrument": "a", "when": {"asked": True}}}
    return LabFile.model_validate({"name": "x", "timezone": zone, "instruments": instruments, "jobs": jobs, **keys})


def job(when: dict[str, object], **keys: object) -> Job:
    return Job.model_validate({"campaign": {}, "instrument": "a", "when": when, **keys})


def midnight(day: str, zone: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shown(cron: str, zone: str, day: str, days: int, change: str | None = None) -> list[str]:
    """The due times of some days, by the wall clock: `08 03:30-0400`."""
    begin = midnight(day, zone)
    result = []
    for due in times(job({"cron": cron}, clock_change=change), lab(zone), begin - 1):
        wall = datetime.fromtimestamp(due, ZoneInfo(zone))
        if wall.replace(tzinfo=None) >= datetime.fromisoformat(day) + timedelta(days=days):
            break
        result.append(wall.strftime("%d %H:%M%z"))
    return result


@pytest.mark.parametrize(
    ("zone", "cron", "day", "expected"),
    [
        # 02:30 does not exist: an hour later, once
        ("America/New_York", "30 2 * * *", "2026-03-07", ["07 02:30-0500", "08 03:30-0400", "09 02:30-0400"]),
        ("Europe/Berlin", "30 2 * * *", "2026-03-28", ["28 02:30+0100", "29 03:30+0200", "30 02:30+0200"]),
        # both of two that do not exist
        ("America/New_York", "0,30 2 * * sun", "2026-03-07", ["08 03:00-0400", "08 03:30-0400"]),
        # midnight itself does not exist
        ("America/Havana", "0 0 * * *", "2026-03-07", ["07 00:00-0500", "08 01:00-0400", "09 00:00-0400"]),
        # the clocks go forward by half an hour
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03", ["03 02:15+1030", "04 02:45+1100", "05 02:15+1100"]),
        # 01:30 (02:30) comes twice: the first
        ("America/New_York", "30 1 * * *", "2026-10-31", ["31 01:30-0400", "01 01:30-0400", "02 01:30-0500"]),
        ("Europe/Berlin", "30 2 * * *", "2026-10-24", ["24 02:30+0200", "25 02:30+0200", "26 02:30+0100"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04", ["04 01:45+1100", "05 01:45+1100", "06 01:45+1030"]),
        ("UTC", "30 2 * * *", "2026-03-28", ["28 02:30+0000", "29 02:30+0000", "30 02:30+0000"]),
    ],
)
def test_a_daily_job_runs_once_on_every_day_also_when_the_clocks_change(
    zone: str, cron: str, day: str, expected: list[str]
) -> None:
    assert shown(cron, zone, day, 3) == expected


def test_who_asks_for_it_has_a_time_that_comes_twice_run_twice() -> None:
    both = ["31 01:30-0400", "01 01:30-0400", "01 01:30-0500", "02 01:30-0500"]
    assert shown("30 1 * * *", "America/New_York", "2026-10-31", 3, "twice") == both


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [("Europe/Berlin", 23, 25), ("America/New_York", 23, 25), ("Australia/Lord_Howe", 24, 25), ("UTC", 24, 24)],
)
def test_an_hourly_job_runs_in_every_real_hour(zone: str, spring: int, autumn: int) -> None:
    """Lord Howe's clocks move by half an hour: the hour with its half twice is 1.5 h long, and holds two starts."""
    for day, count in zip(ZONES[zone], (spring, autumn), strict=True):
        change = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
        begin, end = midnight(change, zone), midnight(str(datetime.fromisoformat(change).date() + timedelta(1)), zone)
        due = [t for t in upcoming(job({"cron": "45 * * * *"}), lab(zone), begin - 1, 40) if t < end]
        assert len(due) == count
        gaps = {round(b - a) for a, b in pairwise(due)}
        assert gaps <= {1800, 3600}


def test_an_hourly_job_may_be_told_to_run_once_an_hour_of_the_clock() -> None:
    assert len(shown("0 * * * *", "Europe/Berlin", "2026-10-25", 1, "once")) == 24
    assert len(shown("0 * * * *", "Europe/Berlin", "2026-10-25", 1)) == 25


def walls(begin: float, end: float, zone: ZoneInfo) -> Iterator[tuple[float, datetime]]:
    """Every real minute and what the wall clock shows; where it leaps, also what it never shows, with its real time."""
    before = None
    for n in range(round((end - begin) / 60)):
        real = begin + n * 60
        wall = datetime.fromtimestamp(real, zone).replace(tzinfo=None)
        if before is not None and wall - before > timedelta(minutes=1):
            left_out = round((wall - before).total_seconds() / 60) - 1
            for k in range(left_out):
                yield real + k * 60, before + timedelta(minutes=1 + k)  # as much later as the clocks leap
        yield real, wall
        before = wall


numbers = st.lists(st.integers(0, 59), min_size=1, max_size=3, unique=True).map(lambda n: ",".join(map(str, n)))
hours = st.sampled_from(["*", "0", "1", "2", "3", "1-3", "*/2", "0-4"])


@settings(max_examples=50)
@given(st.sampled_from(sorted(ZONES)), st.booleans(), numbers, hours, st.sampled_from([None, "once", "twice"]))
def test_what_is_due_is_what_a_look_at_the_wall_clock_every_minute_finds(
    zone: str, spring: bool, minute: str, hour: str, change: str | None
) -> None:
    begin = midnight(ZONES[zone][0 if spring else 1], zone) + 12 * 3600
    end = begin + 36 * 3600
    allowed = {int(n) for n in minute.split(",")}
    span = {"*": range(24), "1-3": range(1, 4), "*/2": range(0, 24, 2), "0-4": range(5)}.get(hour)
    wanted = set(span) if span is not None else {int(hour)}
    twice = change == "twice" or (change is None and hour == "*")
    result: set[float] = set()
    seen: set[datetime] = set()
    for real, wall in walls(begin - 6 * 3600, end, ZoneInfo(zone)):
        if wall.minute in allowed and wall.hour in wanted and (twice or wall not in seen):
            seen.add(wall)
            result.add(real)
    expected = sorted(real for real in result if real > begin)
    made = job({"cron": f"{minute} {hour} * * *"}, clock_change=change)
    assert [t for t in upcoming(made, lab(zone), begin, len(expected) + 1) if t < end] == expected


@settings(max_examples=20)
@given(st.floats(0, 36 * 3600), st.sampled_from(sorted(ZONES)), st.booleans())
def test_asked_at_any_moment_the_next_is_the_first_of_all_that_follow(offset: float, zone: str, spring: bool) -> None:
    begin = midnight(ZONES[zone][0 if spring else 1], zone) + 12 * 3600
    for cron in ("30 * * * *", "45 1 * * *", "*/20 1-2 * * *"):
        made = job({"cron": cron})
        every = [t for t in upcoming(made, lab(zone), begin, 200) if t > begin + offset]
        assert next_due(made, lab(zone), begin + offset) == every[0]


def test_times_that_the_change_puts_out_of_order_are_still_due_in_order() -> None:
    """02:20 does not exist on Lord Howe and is due at 02:50, after the 02:45 that does."""
    due = shown("20,45 2 * * *", "Australia/Lord_Howe", "2026-10-03", 2)
    assert due == ["03 02:20+1030", "03 02:45+1030", "04 02:45+1100", "04 02:50+1100"]
    made, zone = job({"cron": "30 1 * * *"}, clock_change="twice"), lab("America/New_York")
    between = at("2026-11-01T01:40-04:00")
    assert next_due(made, zone, between) == at("2026-11-01T01:30-05:00")


def test_an_interval_counts_real_time_whatever_the_clocks_show() -> None:
    made = job({"every": "90min", "from": "2026-03-28 22:00"})
    due = upcoming(made, lab("Europe/Berlin"), at("2026-03-28T20:00+01:00"), 4)
    assert [datetime.fromtimestamp(t, UTC).strftime("%H:%M") for t in due] == ["21:00", "22:30", "00:00", "01:30"]


def test_times_without_a_zone_are_the_labs_and_past_ones_are_over() -> None:
    made = job({"at": ("2026-07-01 10:00", "2026-07-01T10:00+00:00", "2026-06-01 00:00")})
    due = upcoming(made, lab("Europe/Berlin"), at("2026-06-15T00:00+00:00"), 5)
    assert due == [at("2026-07-01T08:00+00:00"), at("2026-07-01T10:00+00:00")]
    assert next_due(made, lab(), due[-1]) == NEVER


def test_another_zone_in_the_lab_file_is_another_time() -> None:
    made, after = job({"cron": "0 8 * * *"}), at("2026-06-15T00:00+00:00")
    assert next_due(made, lab("Europe/Berlin"), after) == at("2026-06-15T06:00+00:00")
    assert next_due(made, lab("America/New_York"), after) == at("2026-06-15T12:00+00:00")


def test_a_window_that_passes_midnight_leaves_out_the_day() -> None:
    due = upcoming(job({"cron": "0 * * * *"}, between="20:00-06:00"), lab(), at("2026-06-15T04:30+00:00"), 3)
    assert [datetime.fromtimestamp(t, UTC).hour for t in due] == [5, 20, 21]


def test_a_window_that_no_time_meets_is_never_due_and_one_that_a_long_interval_meets_is() -> None:
    assert next_due(job({"cron": "* 8-19 * * *"}, between="20:00-06:00"), lab(), 0.0) == NEVER
    assert next_due(job({"every": "24h"}, between="20:00-22:00"), lab(), 0.0) == NEVER
    drifts = next_due(job({"every": "23h59min"}, between="12:00-12:01"), lab(), 0.0)
    assert datetime.fromtimestamp(drifts, UTC).strftime("%H:%M") == "12:00"


def test_days_of_the_week_count_from_sunday_as_every_crontab_does() -> None:
    sunday = at("2026-06-14T00:00+00:00")
    for days in ("0", "7", "sun", "SUN"):
        assert next_due(job({"cron": f"0 9 * * {days}"}), lab(), sunday) == at("2026-06-14T09:00+00:00")
    weekdays = upcoming(job({"cron": "0 9 * * 1-5"}), lab(), sunday, 6)
    names = [datetime.fromtimestamp(t, UTC).strftime("%a") for t in weekdays]
    assert names == ["Mon", "Tue", "Wed", "Thu", "Fri", "Mon"]
    weekend = upcoming(job({"cron": "0 9 * * fri-sun"}), lab(), sunday, 4)
    assert [datetime.fromtimestamp(t, UTC).strftime("%a") for t in weekend] == ["Sun", "Fri", "Sat", "Sun"]


def test_a_blackout_is_that_of_its_instruments_and_ends_when_it_says() -> None:
    span = Blackout.model_validate({"from": "2026-06-01 12:00", "to": "2026-06-02 12:00", "instruments": ("a",)})
    file = lab("Europe/Berlin", blackouts=(span,))
    inside, after = at("2026-06-01T10:00+00:00"), at("2026-06-02T10:00+00:00")
    assert blackout(file, "a", inside) == span
    assert blackout(file, "b", inside) is None
    assert blackout(file, "a", inside - 1) is None
    assert blackout(file, "a", after) is None
    assert schedule_conflict(job({"asked": True}), file, inside).startswith("black-out until 2026-06-02 12:00")


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 * * *", "five fields"),
        ("61 * * * *", "cannot be read"),
        ("0 0 30 2 *", "no such date exists"),
        ("0 0 13 * fri", "day of the month and a day of the week"),
        ("0 0 * * 8", "not a day of the week"),
    ],
)
def test_a_cron_that_cannot_be_meant_is_refused(cron: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        When(cron=cron)
