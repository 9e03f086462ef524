"""The loop: begin and end of a lab, what is asked of it, a full disk, a clock that is set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sdl import runner
from sdl.clock import VirtualClock
from sdl.errors import ConfigError, Full, InUse
from sdl.lab import journal
from sdl.lab.core.events import (
    Asked,
    ClockJumped,
    Died,
    Due,
    Ended,
    GaveUp,
    LabEvent,
    LabStopped,
    MadeSafe,
    Missed,
    Released,
    Started,
)
from sdl.lab.core.state import fold
from sdl.lab.http.control import Controller
from sdl.lab.loop import LabLoop
from sdl.lab.watches import ClockWatch
from sdl.lab.workers.base import NOT_YET
from sdl.runner import MemoryRecord
from sdl.store import record
from tests.lab.lab_kit import BEGIN, CAMPAIGN, Asking, Bench, Fate, Scripted, fates, job, lab_file, long


def minutely(**keys: object) -> dict[str, object]:
    return job(when={"cron": "* * * * *"}, **keys)


# Begin and end --------------------------------------------------------------------------------------------------------
def test_a_lab_makes_every_instrument_safe_before_it_goes_on_with_what_was_running(tmp_path: Path) -> None:
    loaded = lab_file(tmp_path, {"j": minutely()})
    first = Bench(loaded, script=long).open().go(70)
    assert first.lab.running()
    again = Bench(loaded, now=first.clock.now() + 5, before=first.events).open().tick()
    new = again.events[len(first.events) :]
    assert [type(event).__name__ for event in new] == [
        "LabStarted",
        "Died",
        "MadeSafe",
        "MadeSafe",
        "MadeSafe",
        "Started",
    ]
    assert again.of(Died)[0].cause == "the lab's process crashed or was killed"
    assert not again.of(Died)[0].own
    assert [event.attempt for event in again.of(Started)] == [0, 1]
    assert again.processes.orders[0].folder == first.processes.orders[0].folder


def test_instruments_that_say_nothing_yet_keep_neither_the_loop_nor_another_waiting(tmp_path: Path) -> None:
    loaded = lab_file(tmp_path, {"j": minutely()})
    first = Bench(loaded, script=long).open().go(70)
    again = Bench(loaded, now=first.clock.now() + 5, before=first.events)
    again.processes.unsafe = {"1": NOT_YET, "2": NOT_YET}
    again.open().tick()
    assert {command for command in again.processes.commands if command[0] == "make_safe"} == {
        ("make_safe", n) for n in range(3)
    }
    made = [event.instrument for event in again.events[len(first.events) :] if isinstance(event, MadeSafe)]
    assert made == ["a"]
    assert again.of(Started)[-1].attempt == 1, "what ran on the one that answered goes on"
    assert again.loop.until_next() <= 0.1, "most answer at once"
    assert not again.loop.safe_states_tried()
    again.processes.unsafe = {"2": NOT_YET}
    again.tick(0.1)
    assert again.of(MadeSafe)[-1].instrument == "b"
    again.go(60)
    assert again.lab.lost == {"c": NOT_YET}
    assert again.loop.safe_states_tried()
    attempts = again.processes.commands.count(("make_safe", 2))
    assert attempts <= 5 / 0.1 + 60 / 2 + 3


def test_an_instrument_that_a_campaign_leaves_on_is_told_of_and_asked_without_end_before_anything_begins_on_it(
    tmp_path: Path,
) -> None:
    why = "the instrument may still be on: no reply confirms that it is off (status 500)"
    bench = Bench(lab_file(tmp_path, {"j": minutely()}), script=lambda start, attempt: Fate(20.0, on=why)).open()
    bench.go(70)
    bench.processes.unsafe = {"0": "InstrumentError: it is still lit"}
    bench.go(20)
    assert [type(event) for event in bench.events[-2:]] == [Ended, MadeSafe]
    assert bench.events[-1] == MadeSafe("a", why, bench.of(Ended)[-1].at)
    assert (bench.lab.unsafe, bench.lab.lost) == ({"a"}, {"a": why})
    began, attempts = len(bench.of(Started)), len(bench.processes.commands)
    bench.go(3600)
    assert len(bench.of(Started)) == began, "nothing begins on it"
    assert len(bench.processes.commands) - attempts > 3600 / 30, "every thirty seconds at least"
    bench.processes.unsafe = {}
    bench.go(60)
    assert bench.of(MadeSafe)[-1].error == ""
    assert not bench.lab.lost
    assert len(bench.of(Started)) > began


def test_a_warm_process_that_loads_for_long_is_no_silence_of_an_instrument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(lab_file(tmp_path, {"j": minutely()}))
    bench.processes.unsafe = {"0": NOT_YET}
    make_safe = bench.processes.make_safe

    def loading(instrument: Mapping[str, Any]) -> str:
        monkeypatch.setattr(bench.processes, "make_safe", make_safe)
        bench.clock.sleep(25.0)
        return make_safe(instrument)

    monkeypatch.setattr(bench.processes, "make_safe", loading)
    bench.open().go(5)
    assert not bench.lab.lost
    bench.processes.unsafe = {}
    bench.go(5)
    assert [event.error for event in bench.of(MadeSafe)] == [""] * 3


def test_a_lab_that_is_asked_to_end_interrupts_what_runs_and_the_next_goes_on_with_it(tmp_path: Path) -> None:
    loaded = lab_file(tmp_path, {"j": minutely()})
    first = Bench(loaded, script=long).open().go(70)
    first.loop.close("SIGTERM")
    assert isinstance(first.events[-1], LabStopped)
    assert first.of(Died)[0].cause == "interrupted by SIGTERM"
    again = Bench(loaded, now=first.clock.now() + 5, before=first.events).open().tick()
    assert [event.attempt for event in again.of(Started)] == [0, 1]
    assert len(again.of(Died)) == 1


def test_ends_of_the_lab_itself_never_make_it_give_a_campaign_up(tmp_path: Path) -> None:
    loaded, events, now = lab_file(tmp_path, {"j": minutely()}, supervise={"restarts": 0}), list[LabEvent](), BEGIN
    for _ in range(5):
        bench = Bench(loaded, now=now, before=events, script=long).open().go(70)
        events, now = bench.events, bench.clock.now() + 1
    assert fates(events)[1] == []
    assert [event.attempt for event in events if isinstance(event, Started)] == [0, 1, 2, 3, 4]


def test_a_campaign_that_ended_while_the_lab_was_down_has_ended(tmp_path: Path) -> None:
    loaded = lab_file(tmp_path, {"j": job(when={"at": ["2026-11-24 00:01"]})})
    first = Bench(loaded, script=long).open().go(70)
    done = runner.run(CAMPAIGN | {"instrument": "twin"}, folder=first.processes.orders[0].folder)
    again = Bench(loaded, now=first.clock.now() + 5, before=first.events).open().tick()
    (end,) = again.of(Ended)
    assert (end.outcome, end.reason, end.readings) == (str(done.outcome), done.reason, done.readings)
    assert again.processes.orders == []


def test_the_readings_of_a_campaign_whose_lab_was_killed_count_towards_the_day(tmp_path: Path) -> None:
    loaded = lab_file(tmp_path, {"j": job(when={"at": ["2026-11-24 00:01"]})})
    first = Bench(loaded, script=long).open().go(70)
    folder = first.processes.orders[0].folder
    runner.run(CAMPAIGN | {"instrument": "twin"}, folder=folder)
    lines = (folder / "record.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "record.jsonl").write_bytes(b"".join(lines[:-1]))  # as before its end
    (folder / "record.seal").unlink()
    again = Bench(loaded, now=first.clock.now() + 5, before=first.events).open()
    taken = sum(b'"event": "Measured"' in line for line in lines)
    assert taken > 0
    assert again.of(Died)[0].readings == taken == again.lab.readings_last_day("a", again.clock.now())


def test_what_cannot_be_begun_has_died_and_is_tried_again(tmp_path: Path) -> None:
    class Refusing(Scripted):
        def begin(self, order: Any) -> None:
            if not self.orders:
                self.orders.append(order)
                raise OSError(11, "no more processes")
            super().begin(order)

    bench = Bench(lab_file(tmp_path, {"j": job(when={"at": ["2026-11-24 00:01"]})}))
    bench.loop.processes = Refusing(bench.clock)
    bench.open().go(200)
    assert "no more processes" in bench.of(Died)[0].cause
    assert fates(bench.events) == {1: ["Ended"]}


# The journal ----------------------------------------------------------------------------------------------------------
def kept(folder: Path, loaded: Any, clock: VirtualClock) -> tuple[LabLoop, record.Record]:
    book = journal.open_journal(folder)
    return LabLoop(fold(book.events), book, Scripted(clock, long), clock, runs=loaded.runs), book


def test_a_journal_is_checked_mended_and_for_one_process_alone(tmp_path: Path) -> None:
    loaded, clock, place = lab_file(tmp_path, {"j": minutely()}), VirtualClock(BEGIN), tmp_path / "runs" / "test.lab"
    loop, book = kept(place, loaded, clock)
    loop.open(loaded, 1, "ada")
    clock.sleep(65)
    loop.tick()
    with pytest.raises(InUse, match="process"):
        journal.open_journal(place)
    book.close()
    events = list(journal.read(place))
    assert journal.check(place).lines == len(events) == 7
    file = place / "journal.jsonl"
    with file.open("ab") as stream:
        stream.write(b'{"event": "Ended", "sta')
    again, book = kept(place, loaded, clock)
    assert book.notes == ("line 8 was torn (23 bytes); kept as journal.torn-1 and cut off",)
    assert again.lab == fold(events) == loop.lab
    changed = lab_file(tmp_path, {"k": minutely()})
    again.open(changed, 2, "ada")
    book.close()
    assert fold(journal.read(place)).lab == changed.lab


def test_a_changed_line_of_a_journal_is_found(tmp_path: Path) -> None:
    loaded, place = lab_file(tmp_path, {"j": minutely()}), tmp_path / "runs" / "test.lab"
    loop, book = kept(place, loaded, VirtualClock(BEGIN))
    loop.open(loaded, 1, "ada")
    book.close()
    file = place / "journal.jsonl"
    file.write_text(file.read_text().replace('"user": "ada"', '"user": "eve"'))
    with pytest.raises(record.Damaged, match=r"journal\.jsonl:2"):
        journal.open_journal(place)


class Jammed(MemoryRecord):
    """A journal on a disk that is full for a while."""

    full = False

    def append(self, event: LabEvent) -> None:
        if self.full:
            raise Full("no room; the line was: {}")
        super().append(event)


def test_a_full_disk_stops_what_begins_and_loses_nothing_of_what_ends(tmp_path: Path) -> None:
    bench = Bench(lab_file(tmp_path, {"j": minutely(), "k": minutely(instrument="b")}))
    book = Jammed()
    bench.journal = bench.loop._journal = book
    bench.open().go(65, step=1)
    book.full = True
    bench.go(175)
    assert "no room" in bench.loop.trouble
    assert [event.start for event in bench.of(Due)] == [1, 2]
    book.full = False
    bench.go(120)
    assert bench.loop.trouble == ""
    ends = fates(bench.events)
    assert ends[1] == ends[2] == ["Ended"]
    assert [event.due for event in bench.of(Due) if event.job == "j"] == [BEGIN + 60 * n for n in range(1, 7)]
    assert all(len(end) == 1 for start, end in ends.items() if start < 9)


def test_a_full_disk_is_said_once_and_without_the_lines_that_did_not_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(lab_file(tmp_path, {"j": minutely(), "k": minutely(instrument="b")}))
    book = Jammed()
    bench.journal = bench.loop._journal = book
    bench.open().go(65, step=1)
    book.full = True
    bench.go(200, step=1)
    assert bench.loop.trouble == "no room"
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == [
        "no campaign begins: no room"
    ]


def test_a_lab_whose_journal_is_deleted_begins_nothing_more_and_says_so(tmp_path: Path) -> None:
    loaded, place = lab_file(tmp_path, {"j": minutely()}), tmp_path / "runs" / "test.lab"
    bench = Bench(loaded)
    book = journal.open_journal(place)
    bench.loop._journal = book  # type: ignore[assignment]
    bench.open().go(65, step=1)
    begun = len(bench.processes.orders)
    shutil.rmtree(place)
    bench.go(200, step=1)
    book.close()
    assert begun == len(bench.processes.orders) == 1
    assert bench.loop.lost
    assert "journal.jsonl: was deleted while it was being written" in bench.loop.trouble
    saved = list(journal.read(tmp_path / "runs" / "test.lab.rescued"))
    assert isinstance(saved[-1], (Started, Ended, Due)), "what could not be written did not happen"
    assert fold(saved).starts == bench.lab.starts


def test_a_death_is_logged_once_however_long_it_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(lab_file(tmp_path, {"j": minutely()}), script=lambda start, attempt: Fate(10, died="Lost: gone"))
    book = Jammed()
    bench.journal = bench.loop._journal = book
    bench.open().go(62, step=1)
    book.full = True
    bench.go(60, step=1)
    assert [line.getMessage() for line in caplog.records if "died" in line.getMessage()] == ["died: Lost: gone"]


def test_a_lab_goes_on_once_its_journal_is_back(tmp_path: Path) -> None:
    loaded, place = lab_file(tmp_path, {"j": minutely()}), tmp_path / "runs" / "test.lab"
    bench = Bench(loaded)
    book = journal.open_journal(place)
    bench.loop._journal = book  # type: ignore[assignment]
    bench.open().go(65, step=1)
    place.rename(tmp_path / "away")
    bench.go(60, step=1)
    assert "its folder was moved" in bench.loop.trouble
    (tmp_path / "away").rename(place)
    bench.go(60, step=1)
    book.close()
    assert (bench.loop.trouble, bench.loop.lost) == ("", False)
    assert fold(list(journal.read(place))).starts == bench.lab.starts
    assert len(bench.processes.orders) > 1


def test_a_start_whose_record_is_lost_is_given_up_at_once_and_says_where_the_copy_is(tmp_path: Path) -> None:
    cause = "Lost: record.jsonl: was deleted while it was being written; a complete copy is saved in run.rescued"
    bench = Bench(lab_file(tmp_path, {"j": minutely()}), script=lambda start, attempt: Fate(10, died=cause))
    bench.open().go(100)
    assert [event.attempt for event in bench.of(Started)] == [0]
    assert bench.of(GaveUp)[0].reason == cause


def test_a_campaign_that_dies_of_a_full_disk_is_gone_on_with_however_long_that_lasts(tmp_path: Path) -> None:
    def script(start: int, attempt: int) -> Fate:
        return Fate(1, died="Full: record.jsonl: no room; the line was: {}") if attempt < 20 else Fate(30)

    loaded = lab_file(tmp_path, {"j": job(when={"asked": True})}, supervise={"restarts": 2, "backoff": "30s"})
    desk = Controller()
    bench = Bench(loaded, script=script, requests=desk.requests).open()
    desk.serve(bench.loop)
    bench.loop.write(Asked("run-now", "job j", "", "ada", bench.clock.now()))
    bench.go(1200)
    assert fates(bench.events)[1] == ["Ended"]
    deaths = bench.of(Died)
    assert len(deaths) == 20
    assert {death.cause for death in deaths} == {"Full: record.jsonl: no room"}
    assert min(b.at - a.at for a, b in pairwise(deaths)) >= 30


def test_a_listener_that_fails_keeps_nothing_from_beginning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Deaf:
        def handle(self, event: LabEvent) -> None:
            raise OSError("the outbox is full")

        update = tick = handle

    bench = Bench(lab_file(tmp_path, {"j": minutely()}), listeners=[Deaf()]).open().go(100)
    assert fates(bench.events) == {1: ["Ended"]}
    assert "Deaf failed" in caplog.text


def test_a_month_away_is_accounted_for_a_piece_at_a_time(tmp_path: Path) -> None:
    loaded = lab_file(tmp_path, {"j": minutely()})
    first = Bench(loaded).open().tick()
    first.loop.close("SIGTERM")
    again = Bench(loaded, now=BEGIN + 2 * 86400, before=first.events).open().tick()
    assert again.loop.until_next() < 0.01
    assert len(again.of(Started)) == 0
    for _ in range(20):
        again.tick(0.01)
    assert len(again.of(Due)) == 2880
    assert [event.start for event in again.of(Started)] == [2880]
    assert sum(end == ["Missed"] for end in fates(again.events).values()) == 2879


# The clock ------------------------------------------------------------------------------------------------------------
def watched(folder: Path, awake: Callable[[], float], slept: Callable[[], float] = lambda: 0.0) -> Bench:
    return Bench(lab_file(folder, {"j": minutely()}), jumps=ClockWatch(awake, slept)).open()


def test_a_clock_that_is_set_back_runs_nothing_twice(tmp_path: Path) -> None:
    awake = 0.0
    bench = watched(tmp_path, lambda: awake)
    for _ in range(30):
        awake += 10
        bench.tick(10)
    bench.clock._now -= 3600
    for _ in range(400):
        awake += 10
        bench.tick(10)
    (jump,) = bench.of(ClockJumped)
    assert (round(jump.seconds), jump.cause) == (-3600, "the clock was set back")
    due = [event.due for event in bench.of(Due)]
    assert due == sorted(set(due))
    assert all(end == ["Ended"] for end in list(fates(bench.events).values())[:-1])


def test_a_laptop_that_slept_wakes_to_one_late_start_and_the_others_accounted_for(tmp_path: Path) -> None:
    awake = slept = 0.0
    bench = watched(tmp_path, lambda: awake, lambda: slept)
    awake += 10
    bench.tick(10)
    slept += 600
    awake += 1
    bench.tick(601)
    (jump,) = bench.of(ClockJumped)
    assert (round(jump.seconds), jump.cause) == (600, "the machine slept")
    assert len(bench.of(Due)) == 10
    assert len(bench.of(Missed)) == 9
    assert [event.start for event in bench.of(Started)] == [10]
    assert "the machine slept" in bench.of(Missed)[0].cause


def test_nobody_waits_an_hour_longer_because_the_clock_was_set_back_an_hour(tmp_path: Path) -> None:
    awake = 0.0
    bench = watched(tmp_path, lambda: awake)
    bench.processes.script = lambda start, attempt: Fate(5, died="" if attempt else "killed")
    for n in range(30):
        awake += 10
        bench.tick(10)
        if n == 7:
            assert bench.of(Died)
            bench.clock._now -= 3600
    assert fates(bench.events)[1] == ["Ended"]


# What is asked --------------------------------------------------------------------------------------------------------
@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    jobs = {"j": minutely(), "k": job("b", when={"asked": True}), "l": job("b", when={"every": "1h"})}
    made = Asking(lab_file(tmp_path, jobs))
    made.bench.go(70)
    return made


def test_a_hold_lets_nothing_begin_and_pauses_what_runs_until_it_is_released(asking: Asking) -> None:
    assert asking("pause", "instrument a", "cleaning", "ada") == (
        "Pausing instrument a: no start begins; running campaigns pause after the current reading."
    )
    assert ("pause", 1, "instrument a is paused: cleaning", "ada") in asking.bench.processes.commands
    with pytest.raises(ConfigError, match="instrument a is already paused by ada: cleaning"):
        asking("pause", "instrument a", "", "bob")
    asking.bench.go(600)
    assert len(asking.bench.of(Started)) == 1
    assert asking("queue")[0]["why"] == "instrument a is paused: cleaning"
    asking("resume", "instrument a", "bob")
    assert [event.start for event in asking.bench.of(Started)] == [1, 11]
    with pytest.raises(ConfigError, match="instrument a is not paused"):
        asking("resume", "instrument a", "bob")
    assert isinstance(asking.bench.of(Released)[0], Released)


def test_a_hold_survives_a_crash(asking: Asking) -> None:
    asking("pause", "lab", "holidays", "ada")
    again = Bench(asking.bench.loaded, now=asking.bench.clock.now() + 200, before=asking.bench.events).open().go(300)
    assert len(again.of(Started)) == 1
    assert again.lab.pauses["lab"].cause == "holidays"


def test_an_abort_ends_what_runs_and_two_at_once_are_one(asking: Asking) -> None:
    assert asking("abort", "start 1", "smoke", "ada") == "Aborted start 1."
    assert ("abort", 1, "smoke", "ada") in asking.bench.processes.commands
    assert asking.bench.of(Ended)[0].outcome == "aborted"
    with pytest.raises(ConfigError, match="start 1 is neither running nor waiting"):
        asking("abort", "start 1", "smoke", "bob")
    assert len(asking.bench.of(Asked)) == 1


def test_an_abort_that_a_crash_overtook_is_carried_out_afterwards(asking: Asking) -> None:
    events = [*asking.bench.events, Asked("abort", "start 1", "smoke", "ada", asking.bench.clock.now())]
    again = Bench(asking.bench.loaded, now=asking.bench.clock.now() + 5, before=events, script=long).open().go(60)
    assert again.of(GaveUp)[0].reason == "aborted by ada: smoke"
    assert fates(again.events)[1] == ["GaveUp"]
    assert isinstance(again.of(MadeSafe)[0], MadeSafe)


def test_a_job_that_is_asked_for_runs_once_also_where_a_crash_comes_between(asking: Asking) -> None:
    assert asking("run_now", "k", "ada") == "Queued k on b as start 2."
    assert [(e.job, e.cause, e.by) for e in asking.bench.of(Due)][1] == ("k", "asked", "ada")
    cut = asking.bench.events.index(asking.bench.of(Asked)[0]) + 1
    again = Bench(asking.bench.loaded, now=asking.bench.clock.now(), before=asking.bench.events[:cut]).open().go(30)
    assert [event.job for event in again.of(Due) if event.cause == "asked"] == ["k"]


def test_the_next_start_of_a_job_is_skipped_once_and_by_name(asking: Asking) -> None:
    asking("skip", "job j", "visitors", "ada")
    with pytest.raises(ConfigError, match="already skipped, by ada"):
        asking("skip", "job j", "visitors", "bob")
    asking.bench.go(130)
    (missed,) = [event for event in asking.bench.of(Missed) if event.by == "ada"]
    assert (missed.start, missed.cause) == (2, "skipped: visitors")
    with pytest.raises(ConfigError, match="has begun; abort it"):
        asking("skip", "start 1", "", "ada")
    with pytest.raises(ConfigError, match="no scheduled start"):
        asking("skip", "job k", "", "ada")


@pytest.mark.parametrize("target", ["job nobody", "instrument d", "start 77", "nonsense", "start x"])
def test_a_target_that_is_not_there_is_refused_and_changes_nothing(asking: Asking, target: str) -> None:
    before = len(asking.bench.events)
    for verb, given in (("pause", (target, "", "a")), ("abort", (target, "", "a")), ("resume", (target, "a"))):
        with pytest.raises(ConfigError):
            asking(verb, *given)
    assert len(asking.bench.events) == before


def test_the_status_says_what_runs_waits_and_comes(asking: Asking) -> None:
    status = asking("status")
    assert [row["start"] for row in status["running"]] == [1]
    assert {row["name"]: row["busy"] for row in status["instruments"]} == {"a": 1, "b": None, "c": None}
    assert [row["job"] for row in status["next"]] == ["j", "l"]
    asking.bench.go(60)
    queue = asking("queue")
    assert (queue[0]["start"], queue[0]["why"]) == (2, "a is in use by start 1 (j)")
    asking.bench.go(600)
    assert [row["fate"] for row in asking("history", 2)] == ["missed", "ended"]
    assert asking("history", 9, "k") == []


def test_a_question_that_nobody_answers_is_given_up_and_never_done_later(tmp_path: Path) -> None:
    made = Asking(lab_file(tmp_path, {"j": minutely()}))
    made.desk.answer_seconds = 0.01
    with pytest.raises(TimeoutError):
        made.desk.pause("lab", "", "ada")
    made.bench.tick()
    assert made.bench.lab.pauses == {}
