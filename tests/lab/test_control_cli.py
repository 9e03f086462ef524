"""The commands that ask a running lab, in this process; and a whole lab in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import processes
import pytest
from waiting import PATIENCE, until

from sdl.cli import main
from sdl.lab.http.app import LabServer
from sdl.lab.http.token import folder, labs, read
from sdl.lab.systemd import Watchdog
from sdl.runner import user
from sdl.twin.led.serve import TwinServer

from .receivers import Hook
from .surface_kit import ListLab

Sdl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sdl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sdl:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sdl", "lab", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def lab(tmp_path: Path, sdl: Sdl) -> Iterator[ListLab]:
    result = ListLab(tmp_path / "runs")
    result.begin(7)
    surface = LabServer(
        result, lab="bench", record=tmp_path / "bench.lab", file=tmp_path / "lab.yaml", runs=result.runs,
        watchdog=Watchdog({}),
    )  # fmt: skip
    surface.start()
    yield result
    surface.close()


def test_status_tells_what_runs_what_is_held_and_what_comes(sdl: Sdl, lab: ListLab) -> None:
    lab.pause("instrument led-1", "cleaning", "anna")
    code, out, _ = sdl("status")
    assert code == 0
    assert out.splitlines()[0].startswith(f"lab bench in {Path.cwd()}, up for 1 min 30 s")
    assert "instrument led-1: paused by anna: cleaning, since" in out
    assert "start 7 of night" in out
    assert "next: night on led-1" in out


def test_times_are_of_the_labs_zone_whatever_the_terminals_is(sdl: Sdl, lab: ListLab) -> None:
    lab.zone = "Asia/Kathmandu"
    assert re.search(r"start 7 of night +05:31:30", sdl("status")[1])
    lab.end(7)
    head, row = sdl("history")[1].splitlines()
    assert "due, Asia/Kathmandu" in head
    assert "05:31:" in row
    assert "due, Asia/Kathmandu" in sdl("queue")[1]


def test_every_view_is_one_json_object_where_it_is_asked_for(sdl: Sdl, lab: ListLab) -> None:
    lab.end(7)
    assert json.loads(sdl("status", "--json")[1])["lab"] == "bench"
    assert json.loads(sdl("queue", "--json")[1])["queue"][0]["job"] == "night"
    assert json.loads(sdl("history", "--json")[1])["history"][0]["outcome"] == "reached"
    assert json.loads(sdl("run-now", "night", "--json")[1]) == {
        "lab": "bench", "file": str(Path.cwd() / "lab.yaml"), "done": "run-now night: done"
    }  # fmt: skip


def test_queue_and_history_are_tables(sdl: Sdl, lab: ListLab) -> None:
    assert sdl("history")[1] == "no start has ended yet\n"
    lab.end(7)
    head, row = sdl("history")[1].splitlines()
    assert head.split()[:5] == ["start", "due,", "UTC", "job", "instrument"]
    assert row.split()[0] == "7"
    assert "reached" in row
    assert "night" in sdl("queue")[1]


@pytest.mark.parametrize(
    ("args", "done"),
    [
        (["pause"], ("pause", "lab", "")),
        (["pause", "instrument", "led-1", "--reason", "cleaning"], ("pause", "instrument led-1", "cleaning")),
        (["abort", "start", "7", "-r", "wrong filter"], ("abort", "start 7", "wrong filter")),
        (["abort", "7"], ("abort", "start 7", "")),
        (["skip", "job night"], ("skip", "job night", "")),
        (["run-now", "night"], ("run-now", "night")),
    ],
)
def test_each_verb_is_done_in_the_name_of_the_token_and_not_of_who_says_so(
    sdl: Sdl, lab: ListLab, monkeypatch: pytest.MonkeyPatch, args: list[str], done: tuple[str, ...]
) -> None:
    account = user()
    monkeypatch.setenv("LOGNAME", "anna")
    code, out, _ = sdl(*args)
    assert code == 0
    assert out.endswith("done\n")
    assert lab.done == [(*done, account)]


def test_a_resume_without_a_target_ends_nothing_and_says_what_is_paused(sdl: Sdl, lab: ListLab) -> None:
    assert sdl("resume")[2].endswith("error: name the pause to end: nothing is paused\n")
    lab.pause("lab", "person in enclosure", "anna")
    lab.running[7]["paused"] = "the background is too high (suspend)"
    code, _, err = sdl("resume")
    assert code == 2
    for words in (
        "sdl lab resume lab (paused by anna: person in enclosure)",
        "sdl lab resume start 7 (paused: the background",
    ):
        assert words in " ".join(err.split())
    assert list(lab.held) == ["lab"]


@pytest.mark.parametrize("verb", ["pause", "resume", "abort", "skip"])
@pytest.mark.parametrize("target", ["lab", "instrument led-1", "job night", "start 7"])
def test_the_target_that_is_named_is_the_one_that_the_lab_is_asked_for(
    sdl: Sdl, lab: ListLab, verb: str, target: str
) -> None:
    if verb == "resume":
        for other in ("lab", "instrument led-1", "job night", "start 7"):
            lab.pause(other, "", "anna")
        lab.done.clear()
    code = sdl(verb, *target.split())[0]
    done = (verb != "abort") or target == "start 7"  # an abort of more this small lab cannot do
    assert code == (0 if done else 2)
    assert [what[:2] for what in lab.done] == ([(verb, target)] if done else [])


def test_what_cannot_be_done_says_why(sdl: Sdl, lab: ListLab) -> None:
    assert sdl("resume", "lab")[::2] == (2, f"lab bench in {Path.cwd()}\nerror: lab is not held\n")
    assert sdl("abort", "job", "a/b")[0] == 2
    assert lab.done == []


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_token_that_others_can_read_is_not_shown_to_anybody(sdl: Sdl, lab: ListLab) -> None:
    (address,) = labs()
    (address.folder / "token").chmod(0o644)
    code, _, err = sdl("abort", "7")
    assert code == 2
    assert "others can read it (mode 644)" in err
    assert lab.done == []


def test_where_no_lab_runs_the_exit_code_says_so(sdl: Sdl) -> None:
    code, _, err = sdl("status")
    assert code == 3
    assert err == "error: no lab of this user is running; start one: sdl lab run FILE\n"
    assert json.loads(sdl("status", "--json")[1])["exit_code"] == 3


def test_a_lab_that_does_not_answer_is_exit_3(sdl: Sdl, lab: ListLab) -> None:
    lab.stuck = True
    code, _, err = sdl("status")
    assert code == 3
    assert "no tick for 30 s" in err


COMMANDS = [
    ["status"], ["queue"], ["history"], ["pause"], ["resume", "lab"], ["abort", "7"], ["skip", "job", "night"],
    ["run-now", "night"],
]  # fmt: skip


@pytest.mark.parametrize("args", COMMANDS, ids=[args[0] for args in COMMANDS])
def test_every_command_says_which_lab_it_speaks_to(sdl: Sdl, lab: ListLab, args: list[str]) -> None:
    _, out, err = sdl(*args)
    where = f"lab bench in {Path.cwd()}"
    assert (out if args == ["status"] else err).startswith(where)
    lab.held.clear()
    lab.begin(7)
    _, out, err = sdl(*args, "--json")
    assert where not in err
    if args != ["resume", "lab"]:  # which is refused: nothing is paused
        answer = json.loads(out)
        assert (answer["lab"], answer["file"]) == ("bench", str(Path.cwd() / "lab.yaml"))


@pytest.mark.parametrize("args", COMMANDS, ids=[args[0] for args in COMMANDS])
def test_beside_another_labs_file_nothing_is_done_until_the_lab_is_named(
    sdl: Sdl, lab: ListLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert sdl("pause", "job", "night")[0] == 0, "beside no lab file the only lab is meant"
    (other / "lab.yaml").write_text("name: other\n", encoding="utf-8")
    before = list(lab.done)
    code, out, err = sdl(*args)
    assert (code, out) == (2, "")
    for piece in (str(other / "lab.yaml"), str(tmp_path / "lab.yaml"), "bench", "--lab", "sdl lab run lab.yaml"):
        assert piece in err
    assert lab.done == before
    assert f"lab bench in {tmp_path}" in "".join(sdl(*args, "--lab", "bench")[1:])


def test_a_second_lab_on_its_way_up_is_not_taken_for_the_one_that_runs(
    sdl: Sdl, lab: ListLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, second = tmp_path / "away", tmp_path / "second"
    away.mkdir()
    second.mkdir()
    (second / "lab.yaml").write_text("name: second\n", encoding="utf-8")
    surface = LabServer(
        ListLab(second / "runs"), lab="second", record=second, file=second / "lab.yaml", runs=second / "runs",
        watchdog=Watchdog({}),
    )  # fmt: skip
    monkeypatch.chdir(away)
    code, _, err = sdl("pause")
    assert code == 2
    assert "several labs are running: bench" in err
    assert f"second ({second / 'lab.yaml'}, starting)" in err
    monkeypatch.chdir(second)
    assert sdl("pause")[::2] == (3, f"error: lab second in {second} is still starting; "
                                    "try again in a moment\n")  # fmt: skip
    surface.start()
    assert sdl("pause")[0] == 0
    assert lab.done == []
    surface.close()


def test_an_address_can_be_given(sdl: Sdl, lab: ListLab) -> None:
    (address,) = labs()
    assert sdl("pause", "--url", address.url)[0] == 0
    assert sdl("pause", "--url", "http://example.org:80")[0] == 2


LAB = """\
name: bench
instruments:
  led: {{instrument: {{kind: claude-light, url: "{url}"}}}}
jobs:
  asked: {{campaign: led.yaml, instrument: led, when: {{asked: true}}}}
supervise: {{backoff: 1s}}
notify:
  to: {{hook: {{url: {{env: SDL_HOOK}}}}}}
"""
CAMPAIGN = """\
name: led
instrument: {kind: twin}
goal: {445nm: {target: 16384, tolerance: 1}}
average: 3
solver: linear
stop: {trials: 400}
"""


def write_lab(tmp_path: Path, url: str = "http://127.0.0.1:9/api") -> None:
    (tmp_path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    (tmp_path / "lab.yaml").write_text(LAB.format(url=url), encoding="utf-8")


def test_install_writes_a_unit_and_says_the_two_commands(sdl: Sdl, tmp_path: Path) -> None:
    write_lab(tmp_path)
    code, out, _ = sdl("install", "lab.yaml")
    unit = tmp_path / "config" / "systemd" / "user" / "sdl-lab-bench.service"
    assert code == 0
    assert "systemctl --user daemon-reload" in out
    assert "systemctl --user enable --now sdl-lab-bench.service" in out
    text = unit.read_text(encoding="utf-8")
    assert f'"lab" "run" "{tmp_path / "lab.yaml"}"' in text
    assert "WatchdogSec=60" in text
    assert sdl("install", "lab.yaml", "--stdout")[1] == text
    (tmp_path / "lab.env").touch(mode=0o644)
    assert "other users can read the secrets" in sdl("install", "lab.yaml")[1]
    (tmp_path / "lab.env").chmod(0o600)
    assert "others can read" not in sdl("install", "lab.yaml")[1]
    (tmp_path / "lab.yaml").write_text("name: bench\n", encoding="utf-8")
    assert sdl("install", "lab.yaml")[0] == 2


def test_the_lab_files_of_the_page_are_valid(tmp_path: Path) -> None:
    from sdl.lab.config.file import load

    page = (processes.ROOT / "docs" / "how-to" / "lab-control.md").read_text(encoding="utf-8")
    whole, notify = (textwrap.dedent(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    (tmp_path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    (tmp_path / "one.yaml").write_text(whole, encoding="utf-8")
    (tmp_path / "two.yaml").write_text(whole[: whole.index("notify:")] + notify, encoding="utf-8")
    assert load(tmp_path / "one.yaml").lab.name == "bench-3"
    assert set(load(tmp_path / "two.yaml").lab.notify.to) == {"me", "chat"}


def test_tell_reaches_everyone_or_says_whom_it_did_not(
    sdl: Sdl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("apprise")
    write_lab(tmp_path)
    hook = Hook()
    monkeypatch.setenv("SDL_HOOK", hook.url)
    with hook:
        assert sdl("notify-test", "lab.yaml")[:2] == (0, "hook: sent\n")
    assert hook.got == ["This is a test of the notifications. Nothing has happened."]
    code, out, _ = sdl("notify-test", "lab.yaml")
    assert code == 1
    assert out.startswith("hook: json://…: ")
    assert "hunter2" not in out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="datagrams to a service manager, kill -9")
def test_a_whole_lab_aborts_once_comes_back_from_kill_and_ends_when_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    hook = Hook()
    monkeypatch.setenv("SDL_HOOK", hook.url)
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE)
    environ = processes.environment(
        NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="2000000", PYTHONWARNINGS="ignore"
    )

    def begin() -> subprocess.Popen[bytes]:
        output = (tmp_path / "output").open("ab")
        command = [*processes.COMMAND, "lab", "run", "lab.yaml"]
        started = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=output, stderr=output)
        output.close()
        while not manager.recv(4096).startswith(b"READY=1"):
            pass
        return started

    def ask(path: str, **body: str) -> httpx.Response:
        (address,) = labs()
        head = {"Authorization": f"Bearer {read(address.folder / 'token')}"}
        with httpx.Client(base_url=address.url, trust_env=False, verify=False) as http:
            return http.post(f"/api/v1/{path}", headers=head, json=body) if body else http.get(f"/api/v1/{path}")

    def readings() -> int:
        return sum(row["readings"] for row in ask("status").json()["running"])

    with TwinServer(speed=20) as twin, hook, manager:
        write_lab(tmp_path, twin.url)
        lab = begin()
        try:
            assert manager.recv(4096).startswith(b"WATCHDOG=1")
            assert ask("run-now", job="asked", by="anna").status_code == 200
            until(lambda: readings() >= 3)
            lab.kill()
            lab.wait()
            stale = next(folder().glob("*/token")).read_text()
            lab = begin()
            assert read(labs()[0].folder / "token") != stale.strip()
            before = until(readings)
            until(lambda: readings() > before)
            replies: list[int] = []
            body = {"target": "start 1", "reason": "wrong filter", "by": "anna"}
            both = [threading.Thread(target=lambda: replies.append(ask("abort", **body).status_code)) for _ in range(2)]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join()
            assert sorted(replies) == [200, 409]
            row = until(lambda: ask("history").json()["history"])[0]
            assert (row["fate"], row["outcome"]) == ("ended", "aborted")
            events = ask(f"runs/{Path(row['run']).name}?most=1000").json()["events"]
            aborts = [event for event in events if event["event"] == "AbortAsked"]
            assert [(event["reason"], event["by"]) for event in aborts] == [("wrong filter", user())]
            assert [event["event"] for event in events[-2:]] == ["Stopped", "Safe"]
            until(lambda: hook.got)
            lab.send_signal(signal.SIGTERM)
            assert lab.wait(PATIENCE) == 143
        finally:
            lab.kill()
            lab.wait()
    assert "ended without being stopped" in hook.got[0]
    assert labs() == []
    assert "Traceback" not in (tmp_path / "output").read_text(encoding="utf-8")
    checked = processes.sdl("check", str(tmp_path / "runs" / row["run"]), cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
