"""The fold of a lab's events and what follows: misfires, priorities, restarts, and crashes between any two events."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdl.errors import OutOfTurn
from sdl.lab.config.file import ResolvedLab
from sdl.lab.core.due_times import times
from sdl.lab.core.events import (
    Asked,
    Died,
    Due,
    Ended,
    GaveUp,
    Held,
    LabEvent,
    LabOpened,
    LabStarted,
    MadeSafe,
    Missed,
    Released,
    Started,
)
from sdl.lab.core.scheduler import due
from sdl.lab.core.state import Lab, fold
from tests.lab.lab_kit import BEGIN, Bench, Fate, at, fates, job, lab_file, overlaps

HOUR = 3600.0


def minutely(**keys: object) -> dict[str, object]:
    return job(when={"cron": "* * * * *"}, **keys)


# Down for three hours over five due starts ----------------------------------------------------------------------------
FIVE = ["13:00", "13:30", "14:00", "14:45", "14:55"]


def after_three_hours(folder: Path, missed: object) -> Bench:
    """A lab that ran at 12:00 UTC, was stopped, and comes back at 15:00."""
    loaded = lab_file(folder, {"j": job(when={"at": [f"2026-11-24 {time}" for time in FIVE]}, missed=missed)})
    bench = Bench(loaded, now=at("2026-11-24T12:00+00:00")).open().tick()
    bench.loop.close("SIGTERM")
    again = Bench(loaded, now=at("2026-11-24T15:00+00:00"), before=bench.events).open()
    return again.go(300)


@pytest.mark.parametrize(
    ("missed", "ends"),
    [
        ("late", ["Missed", "Missed", "Missed", "Missed", "Ended"]),
        ("skip", ["Missed", "Missed", "Missed", "Missed", "Missed"]),
        ({"grace": "10min"}, ["Missed", "Missed", "Missed", "Missed", "Ended"]),
        ({"grace": "4min"}, ["Missed", "Missed", "Missed", "Missed", "Missed"]),
        ({"grace": "1h"}, ["Missed", "Missed", "Missed", "Missed", "Ended"]),
    ],
    ids=str,
)
def test_five_starts_while_the_lab_was_down_are_five_events_and_one_run_at_most(
    tmp_path: Path, missed: object, ends: list[str]
) -> None:
    bench = after_three_hours(tmp_path, missed)
    assert [event.due for event in bench.of(Due)] == [at(f"2026-11-24T{time}+00:00") for time in FIVE]
    assert list(fates(bench.events).values()) == [[end] for end in ends]
    assert len(bench.processes.orders) == ends.count("Ended")


def test_what_was_missed_says_why(tmp_path: Path) -> None:
    causes = {event.start: event.cause for event in after_three_hours(tmp_path, {"grace": "20min"}).of(Missed)}
    assert causes[1] == "too late by 1 h 40 min (20 min allowed): the lab was not running"
    assert causes[4] == "replaced by the later start 5: the lab was not running"


# One instrument, one campaign -----------------------------------------------------------------------------------------
def test_of_jobs_that_wait_for_one_instrument_the_highest_priority_begins(tmp_path: Path) -> None:
    when = {"at": ["2026-11-24 00:01"]}
    jobs = {"low": job(when=when), "high": job(when=when, priority=5), "other": job("b", when=when)}
    bench = Bench(lab_file(tmp_path, jobs)).open().go(200)
    jobs_of = {event.start: event.job for event in bench.of(Due)}
    assert [jobs_of[event.start] for event in bench.of(Started)] == ["high", "other", "low"]
    assert overlaps(bench.events) == []
    assert bench.of(Started)[2].at >= bench.of(Ended)[0].at


def test_a_job_whose_last_start_still_runs_has_one_waiting_and_the_others_replaced(tmp_path: Path) -> None:
    bench = Bench(lab_file(tmp_path, {"j": minutely()}), script=lambda start, attempt: Fate(200)).open().go(330)
    assert [event.start for event in bench.of(Started)] == [1, 4]
    assert [event.start for event in bench.of(Missed)] == [2, 3]
    assert bench.of(Missed)[0].cause == "replaced by the later start 3: a is in use by start 1 (j)"


def test_a_start_that_must_be_punctual_is_missed_because_the_instrument_was_taken(tmp_path: Path) -> None:
    jobs = {
        "long": job(when={"at": ["2026-11-24 00:01"]}),
        "short": job(when={"at": ["2026-11-24 00:02"]}, missed="skip"),
    }
    bench = Bench(lab_file(tmp_path, jobs), script=lambda start, attempt: Fate(600)).open().go(300)
    assert [event.cause for event in bench.of(Missed)] == [
        "too late by 10 s (1 min allowed): a is in use by start 1 (long)"
    ]


def test_a_start_that_has_just_become_too_late_is_not_late_by_nothing(tmp_path: Path) -> None:
    jobs = {
        "long": job(when={"at": ["2026-11-24 00:01"]}),
        "short": job(when={"at": ["2026-11-24 00:02"]}, missed="skip"),
    }
    bench = Bench(lab_file(tmp_path, jobs), script=lambda start, attempt: Fate(600)).open().go(200, step=0.2)
    assert [event.cause for event in bench.of(Missed)] == [
        "too late by 1 s (1 min allowed): a is in use by start 1 (long)"
    ]


def test_the_days_readings_are_shared_by_all_jobs_and_come_back_after_24_hours(tmp_path: Path) -> None:
    jobs = {"x": job(when={"every": "1h", "from": "2026-11-24 00:10"}), "y": job(when={"every": "5h"})}
    few = {"a": {"instrument": {"kind": "twin"}, "readings_a_day": 12}}
    bench = Bench(lab_file(tmp_path, jobs, instruments=few)).open().go(30 * HOUR, step=60)
    begun = [event.at for event in bench.of(Started)]
    for moment in begun:
        before = [event.readings for event in bench.of(Ended) if moment - 24 * HOUR < event.at <= moment]
        assert sum(before) < 12
    assert len(begun) == 6  # three in the first day, and one more whenever one of these is a day old
    assert all("readings in the last" in event.cause for event in bench.of(Missed))


# After one another, asked for, left out -------------------------------------------------------------------------------
def test_a_job_follows_another_that_ended_as_it_should_and_no_other_end(tmp_path: Path) -> None:
    jobs = {
        "first": job(when={"at": ["2026-11-24 00:01", "2026-11-24 00:05", "2026-11-24 00:10"]}),
        "then": job("b", when={"after": "first", "outcome": ["spent", "reached"]}),
        "last": job("c", when={"after": "then"}),
    }
    outcomes = {1: "reached", 4: "failed"}
    bench = Bench(lab_file(tmp_path, jobs), script=lambda s, a: Fate(20, outcomes.get(s, "reached"))).open().go(900)
    assert [event.job for event in bench.of(Due)] == ["first", "then", "last", "first", "first", "then", "last"]
    assert [event.cause for event in bench.of(Due)][:3] == ["schedule", "after", "after"]
    assert bench.of(Due)[1].by == "start 1"


def test_a_window_that_closes_pauses_what_runs_and_one_that_opens_lets_what_waits_begin(tmp_path: Path) -> None:
    jobs = {"j": job(when={"cron": "58 5 * * *"}, between="20:00-06:00")}
    bench = Bench(lab_file(tmp_path, jobs), now=at("2026-11-24T05:57+00:00"), script=lambda s, a: Fate(600)).open()
    bench.go(300)
    assert ("pause", 1, "outside 20:00-06:00", "lab file") in bench.processes.commands
    assert not any(word[0] == "proceed" for word in bench.processes.commands)


def test_a_blackout_leaves_out_what_is_due_in_it_and_pauses_what_runs(tmp_path: Path) -> None:
    dark = [{"from": "2026-11-24 00:02", "to": "2026-11-24 00:04", "why": "paint"}]
    loaded = lab_file(tmp_path, {"j": minutely()}, blackouts=dark)
    bench = Bench(loaded, script=lambda s, a: Fate(90)).open().go(330)
    assert [event.cause for event in bench.of(Missed)] == ["black-out: paint", "black-out: paint"]
    words = [word[:3] for word in bench.processes.commands if word[0] in ("pause", "proceed")]
    assert words == [("pause", 1, "black-out until 2026-11-24 00:04: paint")]


def test_the_end_of_a_blackout_is_not_put_down_to_who_ended_a_pause_before_it(tmp_path: Path) -> None:
    dark = [{"from": "2026-11-24 00:02", "to": "2026-11-24 00:04", "why": "paint"}]
    loaded = lab_file(tmp_path, {"j": minutely()}, blackouts=dark)
    bench = Bench(loaded, script=lambda s, a: Fate(900)).open().go(70)
    bench.loop.write(Held("lab", "", "ada", bench.clock.now()))
    bench.tick()
    bench.loop.write(Released("lab", "bob", bench.clock.now()))
    bench.go(300)
    assert [word for word in bench.processes.commands if word[0] == "proceed"] == [
        ("proceed", 1, "bob"),
        ("proceed", 1, "lab file"),
    ]


@pytest.mark.parametrize("died", ["", "killed"])
def test_a_start_that_is_too_late_the_moment_its_instrument_comes_free_says_who_was_on_it(
    tmp_path: Path, died: str
) -> None:
    jobs = {"long": job(when={"at": ["2026-11-24 00:01"]}), "j": job(when={"at": ["2026-11-24 00:02"]}, missed="skip")}
    bench = Bench(lab_file(tmp_path, jobs), script=lambda s, a: Fate(118, died=died)).open()
    bench.go(125, step=1)
    bench.tick(58)  # nobody looked for a minute, and now the other has just come to its end
    assert [event.cause for event in bench.of(Missed)] == [
        "too late by 3 s (1 min allowed): a was in use by start 1 (long)"
    ]


# Deaths ---------------------------------------------------------------------------------------------------------------
def test_a_start_whose_process_dies_is_gone_on_with_later_and_later_and_then_given_up(tmp_path: Path) -> None:
    loaded = lab_file(
        tmp_path, {"j": job(when={"at": ["2026-11-24 00:01"]})}, supervise={"restarts": 2, "backoff": "1min"}
    )
    bench = Bench(loaded, script=lambda s, a: Fate(10, died="SIGSEGV")).open().go(600, step=1)
    assert [event.attempt for event in bench.of(Started)] == [0, 1, 2]
    deaths, begins = [e.at for e in bench.of(Died)], [e.at for e in bench.of(Started)]
    assert [round(b - d) for d, b in zip(deaths, begins[1:], strict=False)] == [60, 120]
    assert len({event.run for event in bench.of(Started)}) == 1
    assert bench.of(GaveUp)[0].reason == "its process died 3 times; last cause: SIGSEGV"


def test_an_instrument_is_made_safe_after_a_death_and_nothing_begins_on_it_before(tmp_path: Path) -> None:
    bench = Bench(lab_file(tmp_path, {"j": minutely()}), script=lambda s, a: Fate(10, died="killed")).open()
    bench.go(60)
    bench.processes.unsafe["0"] = "Unreachable: no answer"
    bench.go(300)
    assert [event.error for event in bench.of(MadeSafe) if event.instrument == "a"] == ["", "Unreachable: no answer"]
    assert len(bench.of(Started)) == 1
    assert bench.lab.lost == {"a": "Unreachable: no answer"}
    bench.processes.unsafe.clear()
    bench.go(60)
    assert bench.of(MadeSafe)[-1].error == ""
    assert bench.of(Started)[1].attempt == 1


@pytest.mark.parametrize(("outcome", "failures"), [("reached", 0), ("aborted", 1), ("failed", 1), ("spent", 1)])
def test_an_instrument_that_may_be_away_at_the_end_is_made_safe_before_the_next_start(
    tmp_path: Path, outcome: str, failures: int
) -> None:
    bench = Bench(lab_file(tmp_path, {"j": minutely()}), script=lambda s, a: Fate(10, outcome=outcome)).open()
    bench.go(60)
    bench.processes.unsafe["0"] = "Unreachable: no answer"
    bench.go(300)
    causes = [event.error for event in bench.of(MadeSafe) if event.instrument == "a"]
    assert causes == ["", "Unreachable: no answer"][: 1 + failures]
    assert (len(bench.of(Started)) == 1) == bool(failures)
    bench.processes.unsafe.clear()
    bench.go(60)
    assert len(bench.of(Started)) > 1


# A lab file that changes ----------------------------------------------------------------------------------------------
def test_a_changed_file_accounts_for_what_was_due_by_the_old_one(tmp_path: Path) -> None:
    old = lab_file(tmp_path, {"stays": minutely(), "goes": minutely(instrument="b")})
    bench = Bench(old, script=lambda s, a: Fate(5)).open().go(90)
    bench.loop.close("SIGTERM")
    new = lab_file(tmp_path, {"stays": job(when={"cron": "*/10 * * * *"}), "comes": minutely(instrument="c")})
    again = Bench(new, now=bench.clock.now() + 185, before=bench.events, script=lambda s, a: Fate(5)).open().go(90)
    assert len(again.of(LabOpened)) == 2
    gone = [event.start for event in again.of(Due) if event.job == "goes"]
    assert len(gone) == 4
    assert [fates(again.events)[start] for start in gone] == [["Ended"], ["Missed"], ["Missed"], ["Missed"]]
    assert "the job is no longer in the lab file" in {event.cause for event in again.of(Missed)}
    first = min(event.due for event in again.of(Due) if event.job == "comes")
    assert first > again.of(LabOpened)[1].at
    unchanged = Bench(new, now=again.clock.now() + 1, before=again.events).open()
    assert len(unchanged.of(LabOpened)) == 2


def test_a_lab_that_moves_accounts_by_the_old_zone_until_then_and_is_due_by_the_new_one_afterwards(
    tmp_path: Path,
) -> None:
    jobs = {"j": job(when={"cron": "0 8 * * *"})}
    berlin = Bench(lab_file(tmp_path, jobs, timezone="Europe/Berlin"), now=at("2026-11-24T06:00+00:00")).open().tick()
    berlin.loop.close("SIGTERM")
    moved = lab_file(tmp_path, jobs, timezone="America/New_York")
    bench = Bench(moved, now=at("2026-11-24T09:00+00:00"), before=berlin.events).open().go(30 * HOUR, step=300)
    assert [event.due for event in bench.of(Due)] == [
        at("2026-11-24T08:00+01:00"), at("2026-11-24T08:00-05:00"), at("2026-11-25T08:00-05:00")
    ]  # fmt: skip
    assert list(fates(bench.events).values()) == [["Ended"]] * 3


# Refusals -------------------------------------------------------------------------------------------------------------
def opened(folder: Path) -> Lab:
    loaded = lab_file(folder, {"j": minutely()})
    return fold([LabOpened(1, "test", loaded.lab.plain(), {}, BEGIN), LabStarted(1, "ada", BEGIN)])


@pytest.mark.parametrize(
    "event",
    [
        Due(7, "j", BEGIN + 60, "schedule", "schedule", BEGIN + 60),
        Due(1, "nobody", BEGIN + 60, "schedule", "schedule", BEGIN + 60),
        Due(1, "j", BEGIN - 60, "schedule", "schedule", BEGIN),
        Due(1, "j", BEGIN, "asked", "ada", BEGIN),
        Started(1, "a", "x", 0, BEGIN),
        Ended(1, "reached", "", 3, BEGIN),
        Died(1, "", 3, BEGIN),
        Missed(1, "", "", BEGIN),
        GaveUp(1, "", BEGIN),
        Released("lab", "ada", BEGIN),
        Asked("abort", "start 9", "", "ada", BEGIN),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_that_does_not_follow_is_refused_and_changes_nothing(tmp_path: Path, event: LabEvent) -> None:
    lab = opened(tmp_path)
    before = repr(lab)
    with pytest.raises(OutOfTurn):
        lab.handle(event)
    assert repr(lab) == before


def test_a_start_that_had_begun_cannot_be_missed_nor_two_be_on_one_instrument(tmp_path: Path) -> None:
    lab = opened(tmp_path)
    for n in (1, 2):
        lab.handle(Due(n, "j", BEGIN + 60 * n, "schedule", "schedule", BEGIN))
    lab.handle(Started(1, "a", "x", 0, BEGIN))
    with pytest.raises(OutOfTurn, match="a is in use by start 1"):
        lab.handle(Started(2, "a", "y", 0, BEGIN))
    lab.handle(Died(1, "killed", 0, BEGIN))
    with pytest.raises(OutOfTurn, match="has begun"):
        lab.handle(Missed(1, "late", "schedule", BEGIN))


# A crash between any two events ---------------------------------------------------------------------------------------
def busy(folder: Path) -> ResolvedLab:
    jobs = {
        "often": minutely(),
        "grace": job("a", when={"every": "2min"}, missed={"grace": "90s"}, priority=1),
        "skip": job("b", when={"cron": "*/3 * * * *"}, missed="skip"),
        "then": job("b", when={"after": "often", "outcome": ["reached", "spent"]}),
        "once": job("c", when={"at": ["2026-11-24 00:04", "2026-11-24 00:07"]}),
    }
    return lab_file(folder, jobs, supervise={"restarts": 1, "backoff": "20s"})


def some(seed: int) -> object:
    def script(start: int, attempt: int) -> Fate:
        dice = random.Random(f"{seed} {start} {attempt}")
        died = "killed" if dice.random() < 0.5 else ""
        outcome = dice.choice(["reached", "spent", "failed"])
        return Fate(dice.uniform(0, 100), outcome, died, dice.randrange(9))

    return script


def sound(loaded: ResolvedLab, events: list[LabEvent], until: float) -> None:
    """Every start that was due is there once and ended once at most; what did not end is still known to the lab."""
    wanted: set[tuple[str, float]] = set()
    for name, spec in loaded.lab.jobs.items():
        for t in times(spec, loaded.lab, BEGIN):
            if t > until:
                break
            wanted.add((name, t))
    result = [(event.job, event.due) for event in events if isinstance(event, Due) and event.cause == "schedule"]
    assert len(result) == len(set(result)), "a start twice"
    assert set(result) == wanted
    lab, ends = fold(events), fates(events)
    assert {n for n, end in ends.items() if not end} == set(lab.starts)
    assert all(len(end) <= 1 for end in ends.values())
    assert overlaps(events) == []
    follows = sum(
        isinstance(e, Ended) and e.outcome in ("reached", "spent") for e in events if _job(e, events) == "often"
    )
    assert sum(isinstance(e, Due) and e.cause == "after" for e in events) + len(lab.pending) == follows


def _job(event: LabEvent, events: list[LabEvent]) -> str:
    number = getattr(event, "start", None)
    return next((e.job for e in events if isinstance(e, Due) and e.start == number), "")


def test_replaying_a_journal_gives_the_same_state_and_the_same_decisions(tmp_path: Path) -> None:
    bench = Bench(busy(tmp_path), script=some(1)).open().go(900)
    again, now = fold(bench.events), bench.clock.now()
    assert again == bench.lab
    assert due(again, now + 60) == due(bench.lab, now + 60) != []


def test_a_crash_after_any_event_loses_and_doubles_nothing(tmp_path: Path) -> None:
    loaded = busy(tmp_path)
    whole = Bench(loaded, script=some(2)).open().go(500).events
    assert {type(event).__name__ for event in whole} >= {"Died", "Ended", "Missed", "GaveUp", "Due", "Started"}
    for cut in range(2, len(whole) + 1):
        now = max(event.at for event in whole[:cut]) + 1
        bench = Bench(loaded, now=now, before=whole[:cut], script=some(cut)).open()
        bench.go(BEGIN + 720 - now, step=15)
        sound(loaded, bench.events, bench.clock.now())


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(1, 25), st.floats(0, 400)), max_size=4))
def test_crashes_again_and_again_lose_and_double_nothing(seed: int, crashes: list[tuple[int, float]]) -> None:
    loaded, now, before = LOADED[0], BEGIN, list[LabEvent]()
    for n, (ticks, down) in enumerate(crashes):
        bench = Bench(loaded, now=now, before=before, script=some(seed + n)).open().go(ticks * 10)
        before, now = bench.events, bench.clock.now() + down
    bench = Bench(loaded, now=now, before=before, script=some(seed)).open().go(600)
    sound(loaded, bench.events, bench.clock.now())


LOADED: list[ResolvedLab] = []


@pytest.fixture(autouse=True, scope="module")
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    LOADED[:] = [busy(tmp_path_factory.mktemp("lab"))]
