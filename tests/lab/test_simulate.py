"""A lab in virtual time on twins."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from sdl.cli.commands import make_app
from sdl.cli.display.progress import ProgressBar
from sdl.errors import ConfigError
from sdl.lab import journal
from sdl.lab.config.file import ResolvedLab, load
from sdl.lab.core.events import Due, Ended, LabEvent, Missed, Started
from sdl.lab.core.state import fold
from sdl.lab.simulate import SharedTwin, Usage, generic_cause, simulate
from sdl.runner import MemoryRecord
from sdl.store import record
from tests.lab.lab_kit import BEGIN, Bench, at, fates, job, lab_file, overlaps
from tests.processes import ROOT

POINT = {"name": "point", "design": {"kind": "points", "points": [{"R": 0.1, "G": 0.2, "B": 0.3}]}}


def played(loaded: ResolvedLab, start: float, days: float) -> list[LabEvent]:
    book = MemoryRecord()
    simulate(loaded, start, days, journal=book)
    return book.events


def point(instrument: str = "a", **keys: object) -> dict[str, object]:
    return job(instrument, **keys) | {"campaign": POINT}


def test_a_day_of_an_hourly_job_is_24_campaigns_and_the_same_every_time(tmp_path: Path) -> None:
    loaded = lab_file(tmp_path, {"j": point(when={"cron": "0 * * * *"})})
    first, again = played(loaded, BEGIN, 1), played(loaded, BEGIN, 1)
    assert first == again
    assert Counter(type(event).__name__ for event in first)["Ended"] == 24
    assert {event.outcome for event in first if isinstance(event, Ended)} == {"done"}
    assert all(len(end) == 1 for end in fates(first).values())


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-10-25"),
        ("America/New_York", "2026-03-08", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-10-04", "2026-04-05"),
        ("UTC", "2026-03-29", "2026-10-25"),
    ],
)
def test_on_the_days_when_the_clocks_change_each_job_runs_as_often_as_documented(
    tmp_path: Path, zone: str, spring: str, autumn: str
) -> None:
    jobs = {
        "daily": point(when={"cron": "30 2 * * *"}),
        "early": point("b", when={"cron": "30 1 * * *"}),
        "both": point("c", when={"cron": "45 1,2 * * *"}, clock_change="twice"),
        "hourly": point(when={"cron": "10 * * * *"}),
        "interval": point("b", when={"every": "1h", "from": "2026-01-01 00:20"}),
    }
    loaded = lab_file(tmp_path, jobs, timezone=zone)
    hours = {"UTC": (24, 24), "Australia/Lord_Howe": (23.5, 24.5)}.get(zone, (23, 25))
    expected = {
        # zone: (daily, early, both, hourly, interval) in spring, in autumn
        "Europe/Berlin": ((1, 1, 2, 23, 23), (1, 1, 3, 25, 25)),
        "America/New_York": ((1, 1, 2, 23, 23), (1, 1, 3, 25, 25)),
        # its half hour: 02:10 is due at 02:40; 01:30 … 02:00 come twice, 01:10 does not
        "Australia/Lord_Howe": ((1, 1, 2, 24, 23), (1, 1, 3, 24, 25)),
        "UTC": ((1, 1, 2, 24, 24), (1, 1, 2, 24, 24)),
    }[zone]
    for day, long, counts in zip((spring, autumn), hours, expected, strict=True):
        midnight = at(f"{day}T00:00+00:00") - _offset(day, zone)
        bench = Bench(loaded, now=midnight - 1).open().go(long * 3600, step=300)
        result = Counter(event.job for event in bench.of(Due))
        assert tuple(result[name] for name in jobs) == counts, day
        assert all(end in (["Ended"], []) for end in fates(bench.events).values())


def _offset(day: str, zone: str) -> float:
    from datetime import datetime

    moment = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).utcoffset()
    assert moment is not None
    return moment.total_seconds()


def test_a_lab_that_moves_to_another_zone_runs_its_jobs_at_that_zones_times(tmp_path: Path) -> None:
    for zone, hour in (("Europe/Berlin", 7), ("America/New_York", 13)):
        loaded = lab_file(tmp_path, {"j": point(when={"cron": "0 8 * * *"})}, timezone=zone)
        (start,) = [event for event in played(loaded, BEGIN, 1) if isinstance(event, Started)]
        assert start.at == BEGIN + hour * 3600


def test_daylight_pauses_a_campaign_and_the_starts_behind_it_are_accounted_for(tmp_path: Path) -> None:
    window = {"instrument": {"kind": "twin", "ambient": "day", "background": "each"}}
    window["suspend"] = {"ambient": {"above": {"clear": 3000}}, "good_for": "10min"}
    jobs = {"j": job(when={"cron": "0 * * * *"})}
    loaded = lab_file(tmp_path, jobs, instruments={"a": window}, timezone="America/New_York")
    account, book = Usage(), MemoryRecord()
    simulate(loaded, at("2026-06-15T05:00-04:00"), 1, listeners=[account], journal=book)
    assert any("too high" in text for text in account.pauses)
    missed = [event for event in book.events if isinstance(event, Missed)]
    assert missed
    assert {generic_cause(event.cause) for event in missed} == {
        "replaced by a later one: a is in use by another start (j)"
    }
    assert overlaps(book.events) == []


def test_the_windows_end_pauses_a_campaign_until_the_window_opens_again(tmp_path: Path) -> None:
    slow = {"a": {"instrument": {"kind": "twin", "latency": 120.0}}}
    jobs = {"j": job(when={"cron": "55 5 * * *"}, between="20:00-06:00")}
    account, book = Usage(), MemoryRecord()
    loaded = lab_file(tmp_path, jobs, instruments=slow)
    simulate(loaded, BEGIN, 1, listeners=[account], journal=book)
    (end,) = [event for event in book.events if isinstance(event, Ended)]
    assert BEGIN + 20 * 3600 <= end.at < BEGIN + 20.5 * 3600
    assert account.pauses == {"outside 20:00-06:00 (lab file)": 1}


def test_faults_of_a_twin_go_on_from_campaign_to_campaign(tmp_path: Path) -> None:
    faulty = {"a": {"instrument": {"kind": "twin", "faults": [{"name": "refused", "at": [2]}]}}}
    loaded = lab_file(tmp_path, {"j": point(when={"cron": "0 * * * *"})}, instruments=faulty)
    keep = tmp_path / "kept"
    simulate(loaded, BEGIN, 5 / 24, keep=keep)
    failed = [b'"event": "Failed"' in (folder / "record.jsonl").read_bytes() for folder in sorted(keep.glob("*/*"))]
    assert failed == [False, False, True, False, False]


def test_an_instrument_away_for_ten_minutes_costs_no_campaign_and_one_away_for_good_is_waited_for_to_the_end(
    tmp_path: Path,
) -> None:
    fault = {"name": "refused", "after": 3601.0}
    for more, ended in (({"lasts": 600.0}, 3), ({}, 1)):
        faulty = {"a": {"instrument": {"kind": "twin", "faults": [fault | more]}}}
        loaded = lab_file(tmp_path, {"j": job(when={"cron": "0 * * * *"})}, instruments=faulty)
        account = Usage()
        simulate(loaded, BEGIN, 3 / 24, listeners=[account])
        assert account.jobs["j"].outcomes == {"reached": ended}
        assert sum(account.pauses.values()) == 1


def test_looks_at_an_instrument_that_is_away_meet_the_faults_that_its_campaign_meets(tmp_path: Path) -> None:
    faulty = {"a": {"instrument": {"kind": "twin", "faults": [{"name": "refused", "at": [*range(2, 40)]}]}}}
    loaded = lab_file(tmp_path, {"j": job(when={"cron": "0 * * * *"})}, instruments=faulty)
    account = Usage()
    simulate(loaded, BEGIN, 1 / 24, listeners=[account])
    assert account.jobs["j"].outcomes == {"reached": 1}
    assert sum(account.pauses.values()) == 1


@pytest.mark.parametrize(
    "instrument",
    [
        {"kind": "claude-light", "url": "http://127.0.0.1:9/api"},
        {"kind": "sdl-light", "host": "127.0.0.1", "port": 9, "tls": False},
    ],
    ids=lambda instrument: instrument["kind"],
)
def test_a_real_instrument_is_replaced_by_its_twin_and_never_asked(
    tmp_path: Path, instrument: dict[str, object]
) -> None:
    whole = instrument["kind"] == "sdl-light"
    design = {"kind": "points", "points": [{"R": 30 if whole else 0.3, "G": 0, "B": 10 if whole else 0.1}]}
    jobs = {"j": job(when={"cron": "0 * * * *"}) | {"campaign": {"name": "real", "design": design}}}
    loaded = lab_file(tmp_path, jobs, instruments={"a": {"instrument": instrument}})
    account = Usage()
    simulate(loaded, BEGIN, 2 / 24, listeners=[account], keep=tmp_path / "kept")
    assert account.jobs["j"].outcomes == {"done": 2}
    run = next((tmp_path / "kept").glob("*/*"))
    measured = next(event for event in record.read(run) if hasattr(event, "applied"))
    assert measured.applied == design["points"][0]
    assert measured.background is not None
    standing = SharedTwin(loaded.campaigns["j"].instrument, BEGIN, 1)
    assert set(measured.readings) == {channel.name for channel in standing.channels}
    assert standing.virtual


def test_what_is_kept_is_sound_and_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = lab_file(tmp_path, {"j": job(when={"cron": "0 * * * *"})})
    arguments = ["lab", "simulate", str(loaded.path), "--days", "0.1", "--from", "2026-11-24", "--keep", "kept"]
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(make_app(), arguments).exit_code == 0
    for name in ("kept/test.lab", "test.lab", "latest"):
        assert "sound" in CliRunner().invoke(make_app(), ["check", name, "--runs", "kept"]).stdout
    assert len(fold(journal.read(tmp_path / "kept" / "test.lab")).past) == 3
    assert isinstance(CliRunner().invoke(make_app(), arguments).exception, ConfigError)


def test_the_command_reports_what_ran_what_was_missed_and_what_would_be_sent(tmp_path: Path) -> None:
    mail = {"to": {"ada": {"url": {"env": "NOT_SET"}, "tell": ["missed", "digest"]}}, "digest": "07:30"}
    jobs = {"j": job(when={"cron": "0 * * * *"}), "gone": job("b", when={"at": ["2026-11-24 02:00"]})}
    dark = [{"from": "2026-11-24 01:30", "to": "2026-11-24 02:30", "why": "paint", "instruments": ["b"]}]
    loaded = lab_file(tmp_path, jobs, notify=mail, blackouts=dark)
    arguments = ["lab", "simulate", str(loaded.path), "--days", "0.5", "--from", "2026-11-24"]
    done = CliRunner().invoke(make_app(), arguments)
    assert done.exit_code == 0, done.stderr
    assert "1 × black-out: paint" in done.stdout
    assert "Tue 24 Nov #.#.#.#.#.#.#.#.#.#.#.#........................." in done.stdout
    assert "Tue 24 Nov ....x..........................................." in done.stdout
    assert "1 message would have been sent" in done.stdout
    output = json.loads(CliRunner().invoke(make_app(), [*arguments, "--json"]).stdout)
    assert output["jobs"]["j"]["outcomes"] == {"reached": 12}
    assert [message["kind"] for message in output["messages"]] == ["digest"]  # a black-out is no news
    assert not (tmp_path / "runs").exists()


def test_where_nobody_watches_lines_tell_how_far_a_simulation_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = lab_file(tmp_path, {"j": point(when={"cron": "0 * * * *"})})
    monkeypatch.setattr("sdl.cli.display.progress.LINE_SECONDS", 0.0)
    arguments = ["lab", "simulate", str(loaded.path), "--days", "0.5", "--from", "2026-11-24"]
    output = CliRunner().invoke(make_app(), arguments).stderr
    assert re.search(r"^6 of 12 virtual hours, \d+ s left$", output, re.MULTILINE), output
    assert CliRunner().invoke(make_app(), [*arguments, "--quiet"]).stderr == ""


def test_a_simulation_that_is_interrupted_tells_what_came_of_it_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = lab_file(tmp_path, {"j": point(when={"cron": "0 * * * *"})})

    def ctrl_c(bar: ProgressBar, done: int, of: int) -> None:
        assert of == 12, "virtual hours"
        if done >= 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "__call__", ctrl_c)
    arguments = ["lab", "simulate", str(loaded.path), "--days", "0.5", "--from", "2026-11-24"]
    done = CliRunner().invoke(make_app(), arguments)
    assert done.exit_code != 0
    assert "interrupted after 0.25 of 0.5 days" in done.stdout
    assert "Tue 24 Nov #.#.#.#.#.#." in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_thousand_campaigns_leave_the_memory_as_it_was(tmp_path: Path) -> None:
    loaded = lab_file(tmp_path, {"j": point(when={"cron": "*/10 * * * *"})})
    sizes: list[int] = []

    def progress(now: float) -> None:
        if (now - BEGIN) % (100 * 600) < 61:
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE"))

    lab = simulate(loaded, BEGIN, 1200 * 600 / 86400, progress=progress)
    assert lab.past[-1]["start"] == 1200
    assert (sizes[-1] - sizes[len(sizes) // 6]) / 1e6 < 10


@pytest.mark.slow
def test_the_week_that_is_shipped_is_504_campaigns() -> None:
    """One of its days."""
    loaded, account = load(ROOT / "configs" / "lab-week.yaml"), Usage()
    simulate(loaded, at("2026-11-24T00:00-05:00"), 1, listeners=[account])
    assert sum(usage.due for usage in account.jobs.values()) == 504 / 7
    assert account.open <= 2
    assert account.jobs["north-hourly"].outcomes == {"reached": 24}
