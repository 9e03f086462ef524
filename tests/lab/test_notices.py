"""What people are told: which events are worth it, how often, and that a second fold says the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from sdl.formatting import display
from sdl.lab.core.events import (
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
    Submitted,
)
from sdl.lab.rules.notices import Notices
from sdl.lab.workers.base import WorkerUpdate
from sdl.notify.model import Notice, Notify, Recipient, within_span
from sdl.runner.shutdown import not_off_warning
from sdl.types import Power, SafeState

HOUR, DAY = 3600.0, 86400.0
BEGIN = datetime(2026, 3, 28, 6, 0, tzinfo=UTC).timestamp()


def run(start: int, outcome: str, at: float, *, job: str = "night", reason: str = "so", n: int = 9) -> list[LabEvent]:
    return [
        Due(start, job, at, "schedule", "", at),
        Started(start, "led-1", f"led/run-{start}", 0, at),
        Ended(start, outcome, reason, n, at + 60),
    ]


def test_a_lost_journal_is_reported_to_the_recipients_of_failures() -> None:
    notices = Notices("bench", Notify(digest=None))
    assert notices.tick(BEGIN - 1) == []
    (notice,) = notices.tick(BEGIN, lost="journal.jsonl: was deleted; a copy is saved in x")
    assert notices.tick(BEGIN + 9 * DAY, lost="journal.jsonl: was deleted; a copy is saved in x") == [], "once"
    assert (notice.kind, notice.title) == ("failed", "bench: journal lost")
    assert "No campaign begins" in notice.body
    assert "a copy is saved in x" in notice.body


def test_a_start_that_lost_its_record_does_not_send_people_to_the_record_that_is_gone() -> None:
    start = [Due(1, "night", BEGIN, "schedule", "", BEGIN), Started(1, "led-1", "led/run-1", 0, BEGIN)]
    (notice,) = fold([*start, GaveUp(1, "Lost: record.jsonl: was deleted; go on from the copy", BEGIN + 2)])
    assert "go on from the copy" in notice.body
    assert "led/run-1" not in notice.body


def fold(events: Sequence[LabEvent], notify: Notify | None = None) -> list[Notice]:
    notices = Notices("bench", notify or Notify())
    return [notice for event in events for notice in notices.handle(event)]


def test_a_submission_that_waits_is_told_to_people_and_others_are_not() -> None:
    campaign = {"name": "dye"}
    rest = ("claude", "rig", campaign, 12, 9.6, "")
    events = [
        Submitted(n, *rest, decision, ("not rehearsed",), BEGIN)
        for n, decision in enumerate(("accepted", "waits", "refused"), 1)
    ]
    (notice,) = fold(events)
    assert (notice.kind, notice.id) == ("approval", "approval-agent-claude-2")
    assert notice.title == "bench: dye of claude waits for approval"
    assert "at most 12 readings: not rehearsed" in notice.body


def test_each_end_has_its_kind_and_names_its_job_instrument_and_record() -> None:
    ends = [("reached", "finished"), ("spent", "finished"), ("unreachable", "unreachable"), ("failed", "failed")]
    for n, (outcome, kind) in enumerate(ends):
        (notice,) = fold(run(n, outcome, BEGIN))
        assert notice.kind == kind
        assert notice.title == f"bench: night: {display(outcome)}"
        assert f"Start {n} on led-1" in notice.body
        assert f"Record: led/run-{n}" in notice.body


def test_the_same_events_give_the_same_ids_so_that_a_restart_tells_nothing_twice() -> None:
    events = [e for n, o in enumerate(("reached", "failed", "unreachable")) for e in run(n, o, BEGIN + n)]
    assert fold(events) == fold(events)
    assert len({notice.id for notice in fold(events)}) == 3


def test_a_job_that_fails_every_hour_is_told_once_in_six_and_what_was_left_out_is_counted() -> None:
    events = [e for n in range(14) for e in run(n, "failed", BEGIN + n * HOUR)]
    sent = fold(events)
    assert [notice.at for notice in sent] == [BEGIN + n * HOUR + 60 for n in (0, 6, 12)]
    assert "5 similar notices left out" in sent[1].body
    assert "left out" not in sent[0].body


def test_another_job_is_told_all_the_same() -> None:
    assert len(fold(run(1, "failed", BEGIN) + run(2, "failed", BEGIN, job="day"))) == 2


@pytest.mark.parametrize(
    "gone",
    [
        "5 failed trials in a row; the last: Unreachable: no answer",
        "5 failed trials in a row; the last: InstrumentError: not asked: 12 requests in a row failed; no request "
        "is sent for another 300 s (breaker, rest); the last failure: the connection was refused",
    ],
)
def test_an_instrument_is_lost_once_and_back_once(gone: str) -> None:
    events = run(1, "failed", BEGIN, reason=gone) + run(2, "failed", BEGIN + HOUR, reason=gone)
    events += run(3, "reached", BEGIN + 2 * HOUR)
    sent = [notice for notice in fold(events) if notice.subject == "instrument led-1"]
    assert [notice.kind for notice in sent] == ["lost", "back"]
    assert "did not answer for 2 h" in sent[1].body


def test_an_instrument_that_could_not_be_made_safe_is_lost_until_it_is() -> None:
    events: list[LabEvent] = [MadeSafe("led-1", "no answer", BEGIN), MadeSafe("led-1", "no answer", BEGIN + 9)]
    events += [MadeSafe("led-1", "", BEGIN + 90), MadeSafe("led-1", "", BEGIN + 99)]
    assert [notice.kind for notice in fold(events)] == ["lost", "back"]


def test_an_instrument_that_answers_and_stays_on_is_not_called_silent() -> None:
    why = not_off_warning(SafeState(Power.ON, None, "it says that it applied R = 0.2"))
    sent = fold([*run(1, "reached", BEGIN), MadeSafe("led-1", why, BEGIN + 90), MadeSafe("led-1", "", BEGIN + 99)])
    assert [notice.title for notice in sent[1:]] == ["bench: led-1: not known to be off", "bench: led-1: answers again"]
    assert sent[1].body == why


def test_an_instrument_that_a_campaign_waits_for_is_lost_after_five_minutes_and_back_with_its_first_reading() -> None:
    notices, now = Notices("bench", Notify()), BEGIN
    for event in run(1, "reached", BEGIN)[:2]:
        notices.handle(event)
    waits = WorkerUpdate(
        1, "paused", "no reading in 3 attempts; last error: Unreachable: refused (suspend)", at=BEGIN + 10
    )
    sent = notices.update(waits)
    for now in range(int(BEGIN), int(BEGIN) + 1800, 60):
        sent += notices.tick(now)
    assert [(notice.kind, notice.subject) for notice in sent] == [("lost", "instrument led-1")]
    assert "refused" in sent[0].body
    assert sent[0].at == BEGIN + 10
    [back] = notices.update(WorkerUpdate(1, "continued", "suspend: it gives readings again", at=BEGIN + 1810))
    assert (back.kind, back.body.startswith("It did not answer for 30 min")) == ("back", True)


def test_a_short_absence_is_no_news_and_an_abort_meanwhile_does_not_say_that_it_is_back() -> None:
    waits = WorkerUpdate(
        1, "paused", "no reading in 3 attempts; last error: Unreachable: refused (suspend)", at=BEGIN + 10
    )
    for seconds, ends in ((200, []), (400, ["lost"])):
        notices = Notices("bench", Notify())
        begun, started, _ = run(1, "aborted", BEGIN)
        notices.handle(begun)
        notices.handle(started)
        notices.update(waits)
        sent = notices.tick(BEGIN + seconds) + notices.handle(Ended(1, "aborted", "by ada", 9, BEGIN + seconds))
        assert [notice.kind for notice in sent] == [*ends, "finished"]


def test_an_instrument_in_use_by_another_process_is_not_reported_as_silent() -> None:
    [sent] = fold([MadeSafe("led-1", "InUse: led-1: in use by process 7 (ada)", BEGIN)])
    assert (sent.kind, sent.title) == ("lost", "bench: led-1: in use by another process")


def test_a_campaign_that_fails_by_its_solver_does_not_make_its_instrument_lost() -> None:
    assert [n.kind for n in fold(run(1, "failed", BEGIN, reason="no proposal: Degenerate"))] == ["failed"]


@pytest.mark.parametrize(
    ("cause", "sent"),
    [("too late by 9 min", 1), ("replaced by the later start 2", 1), ("skipped: visitors", 0), ("black-out: x", 0)],
)
def test_a_missed_start_is_reported_unless_it_was_requested(cause: str, sent: int) -> None:
    result = fold([Due(1, "night", BEGIN, "schedule", "", BEGIN), Missed(1, cause, "schedule", BEGIN + 60)])
    assert len(result) == sent
    if sent:
        assert result[0].kind == "missed"
        assert f"Due at 2026-03-28 06:00: {cause}" in result[0].body


def test_a_start_that_was_given_up_is_failed_and_its_deaths_before_are_not_told() -> None:
    start: list[LabEvent] = [Due(1, "n", BEGIN, "schedule", "", BEGIN), Started(1, "led-1", "r", 0, BEGIN)]
    assert fold([*start, Died(1, "killed", 3, BEGIN + 1)]) == []
    (notice,) = fold([*start, Died(1, "killed", 3, BEGIN + 1), GaveUp(1, "died 4 times", BEGIN + 2)])
    assert (notice.kind, notice.title) == ("failed", "bench: n: given up")


def test_a_lab_that_crashed_says_so_and_one_that_was_stopped_does_not() -> None:
    begun = [LabOpened(1, "bench", {}, {}, BEGIN), LabStarted(1, "a", BEGIN)]
    assert fold([*begun, LabStopped("a", BEGIN + 1), LabStarted(2, "a", BEGIN + 2)]) == []
    (notice,) = fold([*begun, LabStarted(2, "a", BEGIN + 2)])
    assert "restarted after a crash" in notice.title


def test_a_hold_is_told_once_it_lasts_and_not_after_its_end() -> None:
    notices = Notices("bench", Notify.model_validate({"paused": "30min"}))
    notices.handle(Held("job night", "cleaning", "anna", BEGIN))
    assert notices.tick(BEGIN + 1799) == []
    (notice,) = notices.tick(BEGIN + 1800)
    assert (notice.kind, notice.subject) == ("paused", "job night")
    assert "cleaning (anna)" in notice.body
    assert notices.tick(BEGIN + DAY) == []
    notices.handle(Released("job night", "anna", BEGIN + DAY))
    notices.handle(Held("job night", "again", "anna", BEGIN + DAY + 1))
    notices.handle(Released("job night", "anna", BEGIN + DAY + 2))
    assert notices.tick(BEGIN + 2 * DAY) == []


def test_a_campaign_that_pauses_for_long_is_told_with_its_cause() -> None:
    notices = Notices("bench", Notify())
    notices.handle(Due(4, "night", BEGIN, "schedule", "", BEGIN))
    notices.update(WorkerUpdate(4, "paused", "ambient light above 500", at=BEGIN))
    notices.update(WorkerUpdate(4, "continued", at=BEGIN + 60))
    assert notices.tick(BEGIN + DAY) == []
    notices.update(WorkerUpdate(4, "paused", "ambient light above 500", at=BEGIN + DAY))
    (notice,) = notices.tick(BEGIN + DAY + HOUR)
    assert (notice.kind, notice.job) == ("paused", "night")
    assert "ambient light above 500" in notice.body


def test_a_pause_that_follows_from_a_hold_is_told_with_the_hold_alone() -> None:
    notices = Notices("bench", Notify())
    for event in (Due(4, "night", BEGIN, "schedule", "", BEGIN), Held("lab", "fire drill", "anna", BEGIN)):
        notices.handle(event)
    notices.update(WorkerUpdate(4, "paused", "the whole lab is paused: fire drill (ada)", at=BEGIN))
    assert [notice.subject for notice in notices.tick(BEGIN + DAY)] == ["lab"]


def test_a_pause_of_one_start_lasts_whatever_its_campaign_still_says() -> None:
    notices = Notices("bench", Notify())
    for event in (Due(4, "night", BEGIN, "schedule", "", BEGIN), Held("start 4", "a look", "anna", BEGIN)):
        notices.handle(event)
    notices.update(WorkerUpdate(4, "running", at=BEGIN + 1))  # the reading under way
    notices.update(WorkerUpdate(4, "paused", "start 4 is paused: a look (anna)", at=BEGIN + 1))
    notices.handle(Died(4, "killed", 1, BEGIN + 2))
    assert [notice.subject for notice in notices.tick(BEGIN + HOUR)] == ["start 4"]
    notices.handle(Released("start 4", "anna", BEGIN + HOUR))
    assert notices.tick(BEGIN + DAY) == []


def test_a_disk_that_fills_is_told_once_until_there_is_clearly_room_again() -> None:
    notices = Notices("bench", Notify())
    assert notices.tick(BEGIN, 600e6) == []
    assert [n.kind for n in notices.tick(BEGIN, 400e6)] == ["disk"]
    assert notices.tick(BEGIN + 1, 300e6) == notices.tick(BEGIN + 2, 550e6) == notices.tick(BEGIN + 3, 400e6) == []
    notices.tick(BEGIN + 4, 700e6)
    assert len(notices.tick(BEGIN + DAY, 400e6)) == 1


def test_the_digest_comes_once_a_day_at_its_local_time_over_the_change_to_summer_time() -> None:
    notices = Notices("bench", Notify(digest="07:30"), ZoneInfo("Europe/Berlin"))
    notices.handle(LabOpened(1, "bench", {}, {}, BEGIN))
    for event in [*run(1, "reached", BEGIN + HOUR), *run(2, "failed", BEGIN + HOUR, job="b")]:
        notices.handle(event)
    sent = [n for minute in range(3 * 24 * 60) for n in notices.tick(BEGIN + minute * 60)]
    assert [n.id for n in sent] == [f"digest-2026-03-{day}" for day in (28, 29, 30, 31)]
    local = [datetime.fromtimestamp(n.at, ZoneInfo("Europe/Berlin")).strftime("%d %H:%M") for n in sent]
    assert local == [f"{day} 07:30" for day in (28, 29, 30, 31)]
    assert "nothing" in sent[0].body
    assert "failed 1, reached 1, started 2; 18 readings" in sent[1].body


def test_a_digest_that_was_due_while_the_lab_was_down_comes_after_it() -> None:
    notices = Notices("bench", Notify(digest="07:30"))
    notices.handle(LabOpened(1, "bench", {}, {}, BEGIN))
    assert notices.tick(BEGIN) == []
    assert [n.id for n in notices.tick(BEGIN + 5 * HOUR)] == ["digest-2026-03-28"]


def test_nothing_grows_over_a_thousand_starts() -> None:
    notices = Notices("bench", Notify())
    for n in range(1000):
        for event in run(n, "reached", BEGIN + n * HOUR):
            notices.handle(event)
    assert not notices._starts
    assert not notices._requested
    assert len(notices._counts) <= 3 * 24 * 3 + 3
    assert len(notices._last) <= 1


@pytest.mark.parametrize(
    ("clock", "there"), [("21:59", False), ("22:00", True), ("23:59", True), ("06:59", True), ("07:00", False)]
)
def test_quiet_hours_may_go_over_midnight(clock: str, there: bool) -> None:
    at = datetime.fromisoformat(f"2026-11-24T{clock}+01:00").timestamp()
    assert within_span("22:00-07:00", at, ZoneInfo("Europe/Berlin")) is there


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"to": {"a": {"url": "mailto://u:hunter2@h"}}}, "write where it is stored"),
        ({"to": {"a": {"url": {}}}}, "must have exactly one of env and file"),
        ({"to": {"a": {"url": {"env": "A", "file": "b"}}}}, "must have exactly one of env and file"),
        ({"to": {"a": {"url": {"env": "A"}, "quiet": "22-7"}}}, "two different times of the day"),
        ({"digest": "7:30"}, "time of the day"),
        ({"paused": "soon"}, "must be a time such as"),
    ],
)
def test_a_mistake_is_named_and_a_secret_in_the_file_is_never_shown(value: object, message: str) -> None:
    from sdl.config.mistakes import problems_of

    with pytest.raises(ValidationError) as caught:
        Notify.model_validate(value)
    text = " ".join(str(problem) for problem in problems_of(caught.value, Notify, value))
    assert message in text
    assert "hunter2" not in text


def test_finished_campaigns_are_told_only_to_whom_asks_for_them() -> None:
    assert "finished" not in Recipient.model_validate({"url": {"env": "A"}}).tell
