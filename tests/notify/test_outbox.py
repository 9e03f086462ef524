"""The outbox and its senders: once each, through restarts, damaged files, a full disk, quiet hours and limits."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from sdl.errors import RecordError
from sdl.notify.model import Notice, Recipient
from sdl.notify.outbox import FILE, JSON_LINES, REMEMBERED, Outbox
from sdl.notify.sender import FIRST_WAIT, LONGEST_WAIT, NotSent, Sender, compose, masked

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()
SECRET = "json://user:hunter2@127.0.0.1:9/hook"


def notice(n: int, at: float = NOW) -> Notice:
    return Notice(f"failed-job-{n}", "failed", f"job {n}", f"title {n}", f"body {n}", at)


class Post:
    """A way out that can be closed; keeps what went through."""

    def __init__(self) -> None:
        self.open, self.went, self.tries = True, list[str](), 0

    def __call__(self, url: str, title: str, body: str) -> None:
        self.tries += 1
        if not self.open:
            raise NotSent(f"{masked(url)}: refused")
        self.went.append(body)


def sender(outbox: Outbox, post: Post, **how: Any) -> Sender:
    target = Recipient.model_validate({"url": {"env": "A"}, "an_hour": 1000} | how)
    return Sender("staff", target, SECRET, outbox, deliver=post)


def test_a_message_is_taken_once_for_each_target(tmp_path: Path) -> None:
    box = Outbox(tmp_path, NOW)
    assert box.put(notice(1), ["a", "b"]) == ["a", "b"]
    assert box.put(notice(1), ["a", "b", "c"]) == ["c"]
    assert [m.id for m in box.waiting("a")] == ["failed-job-1"]
    assert box.count() == 3


def test_what_waits_waits_after_a_restart_and_what_was_sent_is_not_taken_again(tmp_path: Path) -> None:
    box = Outbox(tmp_path, NOW)
    for n in range(3):
        box.put(notice(n), ["a"])
    box.finish("a", ["failed-job-1"], NOW)
    # Not closed: a killed process closes nothing.
    for _ in range(3):
        again = Outbox(tmp_path, NOW + 1)
        assert [m.id for m in again.waiting("a")] == ["failed-job-0", "failed-job-2"]
        assert again.put(notice(1), ["a"]) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from sdl.notify.model import Notice
from sdl.notify.outbox import Outbox
box = Outbox(Path(sys.argv[1]), {now})
for n in range(10**6):
    box.put(Notice(f"failed-job-{{n}}", "failed", f"job {{n}}", "title", "body", {now}), ["a"])
    print(n, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 7, 30])
def test_a_process_killed_at_any_moment_loses_no_message_that_it_took(tmp_path: Path, lines: int) -> None:
    command = [sys.executable, "-c", KILLED.format(now=NOW), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        taken = [int(process.stdout.readline()) for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        taken += map(int, process.stdout.read().split())
    again = Outbox(tmp_path, NOW)
    result = [m.id for m in again.waiting("a")]
    assert result[: len(taken)] == [f"failed-job-{n}" for n in taken]
    assert len(result) <= len(taken) + 1, "one more may have been taken before it was said"
    assert again.put(notice(0), ["a"]) == []


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0 and no more"])
def test_a_file_that_is_no_database_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    (tmp_path / FILE).write_bytes(damage)
    box = Outbox(tmp_path, NOW)
    assert box.put(notice(1), ["a"]) == ["a"]
    box.close()
    assert len(Outbox(tmp_path, NOW).waiting("a")) == 1
    assert (tmp_path / f"{FILE}.damaged").read_bytes() == damage
    assert "damaged, renamed" in caplog.text


def test_an_outbox_is_reached_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("not ours\n")
    (tmp_path / FILE).symlink_to(tmp_path / "other")
    with pytest.raises(RecordError, match="it is a link"):
        Outbox(tmp_path, NOW)
    assert (tmp_path / "other").read_text() == "not ours\n"


def test_the_messages_of_an_outbox_of_json_lines_are_taken_over_once(tmp_path: Path) -> None:
    def put(n: int) -> dict[str, Any]:
        fields = {"id": f"failed-job-{n}", "target": "a", "kind": "failed", "title": "t", "body": "b", "at": NOW}
        return {"put": fields}

    old = tmp_path / JSON_LINES
    lines = [
        {"known": {"lost-1 a": NOW, "failed-job-0 a": NOW}},
        *map(put, range(4)),
        {"sent": ["failed-job-1"], "target": "a", "at": NOW},
        {"dropped": ["failed-job-2"], "target": "a", "at": NOW},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + json.dumps(put(9))[:-20]  # torn by a crash
    old.write_text(text)
    box = Outbox(tmp_path, NOW)
    assert not old.exists()
    assert [m.id for m in box.waiting("a")] == ["failed-job-0", "failed-job-3"]
    assert [box.put(notice(n), ["a"]) for n in (1, 2, 3)] == [[], [], []]
    assert box.put(Notice("lost-1", "lost", "lab", "", "", NOW), ["a"]) == []
    box.finish("a", ["failed-job-3"], NOW)
    old.write_text(text)  # as after a crash between the new file and the old one's removal
    assert [m.id for m in Outbox(tmp_path, NOW).waiting("a")] == ["failed-job-0"]


def test_a_message_is_on_the_disk_before_put_returns(tmp_path: Path) -> None:
    def stored() -> list[tuple[str, float | None]]:
        with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as other:
            return list(other.execute("SELECT id, done FROM messages"))

    box = Outbox(tmp_path, NOW)
    box.put(notice(1), ["a"])
    assert stored() == [("failed-job-1", None)]
    box.finish("a", ["failed-job-1"], NOW)
    assert stored() == [("failed-job-1", NOW)]


def test_a_full_disk_loses_nothing_and_is_caught_up_with(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    box = Outbox(tmp_path, NOW)
    box.put(notice(1), ["a"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = (tmp_path / FILE).read_bytes()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        box.put(notice(2), ["a"])
        box.finish("a", ["failed-job-1"], NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [m.id for m in box.waiting("a")] == ["failed-job-2"]
    assert (tmp_path / FILE).read_bytes() == before
    box.put(notice(3), ["a"])
    assert [m.id for m in Outbox(tmp_path, NOW).waiting("a")] == ["failed-job-2", "failed-job-3"]


@pytest.mark.parametrize("loss", ["deleted", "replaced", "cut", "folder deleted", "folder deleted for a while"])
def test_an_outbox_that_others_remove_is_written_again_with_all_that_is_known(tmp_path: Path, loss: str) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    box, file = Outbox(folder, NOW), folder / FILE
    box.put(notice(1), ["a"])
    box.put(notice(2), ["a"])
    box.finish("a", ["failed-job-1"], NOW)
    match loss:
        case "deleted":
            file.unlink()
        case "replaced":
            (folder / "other").write_text("not ours\n")
            (folder / "other").replace(file)
        case "cut":
            os.truncate(file, file.stat().st_size - 9)
        case _:
            shutil.rmtree(folder)
    if loss == "folder deleted for a while":
        box.put(notice(3), ["a"])
        folder.mkdir()
    elif loss == "folder deleted":
        folder.mkdir()
    box.put(notice(3), ["a"])
    box.put(notice(4), ["a"])
    box.close()
    again = Outbox(folder, NOW)
    assert [m.id for m in again.waiting("a")] == ["failed-job-2", "failed-job-3", "failed-job-4"]
    assert again.put(notice(1), ["a"]) == [], "what was sent is not sent again"
    again.close()


def test_ids_are_forgotten_long_after_they_could_come_again(tmp_path: Path) -> None:
    box = Outbox(tmp_path, NOW)
    for n in range(20):
        box.put(notice(n), ["a"])
        box.finish("a", [f"failed-job-{n}"], NOW)
    box.put(notice(100), ["a"])
    box.close()
    Outbox(tmp_path, NOW + REMEMBERED + 1).close()
    later = Outbox(tmp_path, NOW + REMEMBERED + 2)
    assert [m.id for m in later.waiting("a")] == ["failed-job-100"]
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as stored:
        assert stored.execute("SELECT count(*) FROM messages").fetchone() == (1,)


def test_a_failure_is_tried_again_with_doubled_waits_and_each_is_logged_without_the_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    box, post = Outbox(tmp_path, NOW), Post()
    post.open = False
    box.put(notice(1), ["staff"])
    one, now, waits = sender(box, post), NOW, []
    for _ in range(12):
        waits.append(one.step(now))
        assert one.step(now + waits[-1] / 2) > 0  # asked too early, it does not try
        now += waits[-1]
    assert post.tries == 12
    assert waits == [min(FIRST_WAIT * 2**n, LONGEST_WAIT) for n in range(12)]
    assert len([r for r in caplog.records if "not sent to staff" in r.getMessage()]) == 12
    post.open = True
    one.step(now)
    assert len(post.went) == 1
    assert box.count() == 0
    assert "hunter2" not in caplog.text


def test_messages_go_out_in_order_and_once(tmp_path: Path) -> None:
    box, post = Outbox(tmp_path, NOW), Post()
    for n in range(5):
        box.put(notice(n), ["staff"])
    one = sender(box, post)
    one.step(NOW)
    one.step(NOW + 1)
    assert [text.split("\n")[0] for text in post.went] == [f"body {n}" for n in range(5)]


def test_more_than_may_be_sent_in_an_hour_comes_together_in_one_message(tmp_path: Path) -> None:
    box, post = Outbox(tmp_path, NOW), Post()
    one = sender(box, post, an_hour=3)
    for n in range(2):
        box.put(notice(n), ["staff"])
    one.step(NOW)
    for n in range(2, 12):
        box.put(notice(n), ["staff"])
    one.step(NOW + 1)
    assert len(post.went) == 3
    assert all(f"[failed-job-{n}]" in post.went[2] for n in range(2, 12))
    box.put(notice(99), ["staff"])
    assert 0 < one.step(NOW + 2) <= 60
    assert len(post.went) == 3
    one.step(NOW + 3602)
    assert len(post.went) == 4


def test_a_clock_that_was_hours_ahead_and_is_set_back_keeps_no_message_for_hours(tmp_path: Path) -> None:
    box, post = Outbox(tmp_path, NOW), Post()
    one = sender(box, post, an_hour=1)
    box.put(notice(1), ["staff"])
    one.step(NOW + 7200)
    post.open = False
    box.put(notice(2), ["staff"])
    one.step(NOW + 10900)
    post.open, now = True, NOW
    while len(post.went) < 2 and now < NOW + 7200:
        now += one.step(now)
    assert now - NOW <= 3600 + LONGEST_WAIT


def ids(texts: list[str]) -> list[str]:
    return [one for text in texts for one in re.findall(r"\[(.+?)\]", text)]


def of_kind(box: Outbox, kind: Any, *numbers: int) -> None:
    for n in numbers:
        box.put(Notice(f"{kind}-{n}", kind, f"job {n}", f"{kind} {n}", "so", NOW), ["staff"])


def test_what_is_urgent_goes_first_and_a_quarter_of_the_hour_is_kept_for_it(tmp_path: Path) -> None:
    box, post = Outbox(tmp_path, NOW), Post()
    one = sender(box, post, an_hour=4)
    of_kind(box, "missed", 1, 2, 3)
    of_kind(box, "lost", 1)
    one.step(NOW)
    assert [ids([went]) for went in post.went] == [["lost-1"], ["missed-1", "missed-2", "missed-3"]]
    of_kind(box, "missed", 4, 5)
    one.step(NOW + 1)
    of_kind(box, "missed", 6)
    assert 0 < one.step(NOW + 2) <= 60
    assert ids(post.went[2:]) == ["missed-4", "missed-5"], "the fourth of this hour is kept"
    of_kind(box, "failed", 1)
    one.step(NOW + 3)
    assert ids(post.went[3:]) == ["failed-1"]
    of_kind(box, "disk", 1)
    assert 0 < one.step(NOW + 4) <= 60
    assert len(post.went) == 4, "never more than four an hour"
    one.step(NOW + 3601)
    assert ids(post.went[4:]) == ["disk-1", "missed-6"]


def test_where_one_message_an_hour_is_allowed_the_urgent_one_is_the_next(tmp_path: Path) -> None:
    box, post = Outbox(tmp_path, NOW), Post()
    one = sender(box, post, an_hour=1)
    of_kind(box, "missed", 1)
    one.step(NOW)
    of_kind(box, "missed", 2, 3)
    of_kind(box, "disk", 1)
    for hour in range(1, 3):
        assert one.step(NOW + 3600 * hour - 1) <= 1
        one.step(NOW + 3600 * hour)
    assert [ids([went]) for went in post.went] == [["missed-1"], ["disk-1"], ["missed-2", "missed-3"]]


def test_nobody_is_woken_in_the_quiet_hours_and_everything_comes_after_them(tmp_path: Path) -> None:
    box, post = Outbox(tmp_path, NOW), Post()
    one = sender(box, post, quiet="11:00-13:00")
    box.put(notice(1), ["staff"])
    one.step(NOW)
    assert post.tries == 0
    one.step(NOW + 3600)
    assert len(post.went) == 1


def test_a_message_is_given_up_after_a_week_and_that_is_an_error_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box, post = Outbox(tmp_path, NOW), Post()
    post.open = False
    box.put(notice(1), ["staff"])
    one = sender(box, post)
    one.step(NOW)
    one.step(NOW + 7 * 86400 + 1)
    assert box.count() == 0
    assert "given up after 7 d: title 1" in caplog.text
    assert Outbox(tmp_path, NOW + 8 * 86400).count() == 0


def test_many_messages_in_one_hold_each_id_once(tmp_path: Path) -> None:
    box = Outbox(tmp_path, NOW)
    for n in range(3):
        box.put(notice(n), ["a"])
    title, body = compose(box.waiting("a"))
    assert title.startswith("3 messages")
    assert [body.count(f"[failed-job-{n}]") for n in range(3)] == [1, 1, 1]
