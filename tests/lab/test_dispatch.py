"""Messages to a real mail server and a real webhook server of this machine, both away for a while."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE, until

from sdl.errors import ConfigError
from sdl.lab import journal
from sdl.lab.core.events import Due, LabEvent, LabOpened, Missed
from sdl.lab.rules.dispatch import Dispatcher, addresses, recipients
from sdl.lab.rules.notices import Notices
from sdl.notify.model import Notify
from sdl.notify.outbox import Outbox
from sdl.notify.sender import NotSent, send_by_apprise

from .lab_kit import Bench, job, lab_file
from .receivers import Hook, Mail, ids

pytest.importorskip("apprise")
pytest.importorskip("aiosmtpd")
NOW = 1_780_000_000.0


def missed(n: int) -> list[LabEvent]:
    """Two events that are one notice."""
    return [Due(n, f"job{n}", NOW + n, "schedule", "", NOW + n), Missed(n, "too late", "schedule", NOW + n)]


def notify(*names: str) -> Notify:
    return Notify.model_validate({"to": {n: {"url": {"env": n.upper()}, "an_hour": 1000} for n in names}})


def teller(folder: Path, clock: list[float], *names: str) -> Dispatcher:
    return Dispatcher("bench", notify(*names), folder=folder, base=folder, clock=lambda: clock[0])


def test_with_both_servers_away_for_a_while_and_a_restart_each_message_arrives_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mail, hook, clock = Mail(), Hook(), [NOW]
    monkeypatch.setenv("MAIL", mail.url)
    monkeypatch.setenv("HOOK", hook.url)
    missed_starts = [event for n in range(12) for event in missed(n)]
    wanted = [f"missed-job-job{n}-{n}" for n in range(12)]

    def go(lab: Dispatcher, seconds: float) -> None:
        until = clock[0] + seconds
        while clock[0] < until:
            clock[0] = min(until, clock[0] + max(0.5, min(sender.step(clock[0]) for sender in lab.senders)))

    lab = teller(tmp_path, clock, "mail", "hook")
    with mail, hook:
        for event in missed_starts[:8]:
            lab.handle(event)
        go(lab, 10)
    for event in missed_starts[8:16]:  # both are away
        lab.handle(event)
    go(lab, 120)
    assert len(ids(mail.got)) == len(ids(hook.got)) == 4
    lab = teller(tmp_path, clock, "mail", "hook")  # killed, and started again: it folds everything once more
    for event in missed_starts[:16]:
        lab.handle(event)
    with hook:
        hook.status = 500
        go(lab, 60)
        assert len(ids(hook.got)) == 4
        for event in missed_starts[16:]:
            lab.handle(event)
        hook.status = 200
        with mail:
            go(lab, 1800)
    assert ids(mail.got) == wanted
    assert ids(hook.got) == wanted
    assert lab.outbox.count() == 0
    failures = [r.getMessage() for r in caplog.records if "not sent to" in r.getMessage()]
    assert {name for name in ("mail", "hook") if any(f"to {name} (" in line for line in failures)} == {"mail", "hook"}
    assert "hunter2" not in caplog.text


SENDS = """
import sys, time
from pathlib import Path
from sdl.lab.rules.dispatch import Dispatcher
from lab.test_dispatch import missed, notify
lab = Dispatcher("bench", notify("hook"), folder=Path(sys.argv[1]), base=Path("."), clock=lambda: 1_780_000_000.0)
lab.start([event for n in range(int(sys.argv[2])) for event in missed(n)])
print("began", flush=True)
while lab.outbox.count():
    time.sleep(0.01)
lab.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_while_it_sends_it_loses_nothing_and_repeats_at_most_what_was_in_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, kills = Hook(), 3
    monkeypatch.setenv("HOOK", hook.url)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent.parent)]))
    command = [sys.executable, "-W", "ignore", "-c", SENDS, str(tmp_path), "60"]
    with hook:
        for kill in range(kills):
            child = subprocess.Popen(command, stdout=subprocess.PIPE)
            until(lambda: len(hook.got) >= 12 * (kill + 1), child)  # noqa: B023
            child.send_signal(signal.SIGKILL)
            child.communicate()
        assert 12 * kills <= len(hook.got) < 60
        subprocess.run(command, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    assert set(ids(hook.got)) == {f"missed-job-job{n}-{n}" for n in range(60)}
    assert len(hook.got) <= 60 + kills


def test_a_slow_mail_server_does_not_delay_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setenv("MAIL", "json://127.0.0.1:9")
    held, let_go = threading.Event(), threading.Event()

    def slow(url: str, title: str, body: str) -> None:
        held.set()
        in_time.append(let_go.wait(PATIENCE))

    in_time: list[bool] = []
    lab = Dispatcher("bench", notify("mail"), folder=tmp_path, base=tmp_path, deliver=slow, clock=lambda: NOW)
    lab.start([])
    for event in missed(1):
        lab.handle(event)
    assert held.wait(PATIENCE)
    for n in range(2, 30):
        for event in missed(n):
            lab.handle(event)
    assert in_time == []  # the first is still being sent
    assert lab.outbox.count() == 29
    let_go.set()
    lab.close()


def test_secrets_that_are_not_there_are_all_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("A", raising=False)
    monkeypatch.setenv("B", "nonsense")
    (tmp_path / "open").write_text("json://user:hunter2@h")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "good").write_text("json://user:hunter2@h\n")
    (tmp_path / "good").chmod(0o600)
    urls = {"a": {"env": "A"}, "b": {"env": "B"}, "c": {"file": "open"}, "d": {"file": "gone"}, "e": {"file": "good"}}
    model = Notify.model_validate({"to": {name: {"url": url} for name, url in urls.items()}})
    with pytest.raises(ConfigError) as caught:
        addresses(model, tmp_path)
    text = str(caught.value)
    assert "notify.to.a.url: environment variable A: not set" in text
    assert "notify.to.b.url" in text
    assert "others can read this secret" in text
    assert "notify.to.d.url" in text
    assert "notify.to.e" not in text
    assert "nonsense" not in text
    ours = [record.getMessage() for record in caplog.records if record.name != "apprise"]  # which only pytest hears
    assert "nonsense" not in " ".join(ours)
    assert not logging.getLogger("apprise").propagate
    assert "hunter2" not in text
    only = Notify.model_validate({"to": {"e": {"url": urls["e"]}}})
    assert addresses(only, tmp_path) == {"e": "json://user:hunter2@h"}


def test_a_target_is_told_of_its_jobs_and_kinds_alone() -> None:
    model = Notify.model_validate(
        {"to": {"one": {"url": {"env": "A"}, "jobs": ("job1",)}, "two": {"url": {"env": "A"}, "tell": ("failed",)}}}
    )
    notices = Notices("bench", model)
    new_notices = [n for k in (1, 2) for event in missed(k) for n in notices.handle(event)]
    assert [recipients(model, notice) for notice in new_notices] == [["one"], []]


def test_what_happened_long_before_a_restart_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL", "json://127.0.0.1:9")
    sent: list[str] = []
    lab = Dispatcher(
        "bench", notify("mail"), folder=tmp_path, base=tmp_path,
        deliver=lambda *what: sent.append(what[1]), clock=lambda: NOW + 3 * 86400,
    )  # fmt: skip
    lab.start([LabOpened(1, "bench", {}, {}, NOW), *missed(1)])
    lab.close()
    assert sent == []
    assert Outbox(tmp_path, NOW).count() == 0


def test_a_refusal_names_no_part_of_the_address() -> None:
    with pytest.raises(NotSent) as caught:
        send_by_apprise("json://user:hunter2@127.0.0.1:9/pathsecret", "t", "b")
    assert str(caught.value).startswith("json://…: ")
    assert not any(word in str(caught.value) for word in ("hunter2", "pathsecret", "user"))


def test_people_are_told_of_a_lab_whose_folder_was_deleted_although_its_outbox_went_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "json://127.0.0.1:9/hook")
    loaded = lab_file(tmp_path, {"j": job(when={"cron": "* * * * *"})})
    place = tmp_path / "runs" / "test.lab"
    bench, book = Bench(loaded), journal.open_journal(place)
    bench.loop._journal = book  # type: ignore[assignment]
    dispatcher = Dispatcher("bench", notify("hook"), folder=place, base=place, clock=lambda: NOW, loop=bench.loop)
    bench.loop.listeners.append(dispatcher)
    bench.open().go(65, step=1)
    assert dispatcher.outbox.count() == 0
    shutil.rmtree(tmp_path / "runs")
    bench.go(60, step=1)
    (message,) = [item for item in dispatcher.outbox.waiting("hook") if item.kind == "failed"]
    assert message.title == "bench: journal lost"
    assert "test.lab.rescued" in message.body
    dispatcher.close()
    book.close()
