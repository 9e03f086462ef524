"""A process a campaign: how it begins, is told things, dies, hangs, and what is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import processes as commands
import pytest
from drivers.server import OUT, Server, good, says
from waiting import PATIENCE

from sdl import config
from sdl.core.events import AbortAsked, Continued, Event, Interrupted, Measured, Opened, Paused, Resumed, Safe, Stopped
from sdl.lab.workers import supervisor as handle
from sdl.lab.workers.base import NOT_YET, JobOrder, WorkerUpdate
from sdl.lab.workers.supervisor import Supervisor
from sdl.store import lease, record
from sdl.twin.faults import Fault
from sdl.twin.led.serve import TwinServer

PARTS = """
import ctypes, os, signal, time
from typing import Literal
from sdl.types import Frozen

class Part(Frozen):
    kind: Literal["part"] = "part"
    how: str = "exit"

    def fit(self, data):
        match self.how:
            case "exit":
                os._exit(7)
            case "crash":
                ctypes.string_at(0)
            case "hang":
                time.sleep(3600)
            case "deaf":
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
                time.sleep(3600)
"""
"""A solver of another package that crashes or blocks its process."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "bad_part.py").write_text(PARTS)
    metadata = folder / "bad_part-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-part\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[sdl.solvers]\npart = bad_part:Part\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture
def lab(parts: None) -> Iterator[Supervisor]:
    """Processes; the warm one is the same for all tests."""
    result = Supervisor()
    yield result
    result.close()


@pytest.fixture
def light() -> Iterator[TwinServer]:
    with TwinServer(latency=0.02) as server:
        yield server


def tree(light: TwinServer | str, **changes: Any) -> dict[str, Any]:
    url = light if isinstance(light, str) else light.url
    plain: dict[str, Any] = {
        "name": "led",
        "instrument": {"kind": "claude-light", "url": url, "background": "none"},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
        "solver": "linear",
    }
    return config.parse({**plain, **changes}).plain()


def endless(light: TwinServer | str, **changes: Any) -> dict[str, Any]:
    goal = {"445nm": {"target": 16384, "tolerance": 0.001}}
    rules = {"stop": {"trials": 100_000, "unreachable": None}}
    return tree(light, **{"goal": goal, "solver": "random", **rules, **changes})


def order(
    folder: Path, campaign: Mapping[str, Any], start: int = 1, hung: float = PATIENCE, **suspend: Any
) -> JobOrder:
    return JobOrder(start, campaign, folder, "led", hung, suspend)


def pid(lab: Supervisor) -> int | None:
    """The process of start 1."""
    return lab._children[1].process.pid


def until(lab: Supervisor, done: Callable[[list[WorkerUpdate]], Any], seconds: float = PATIENCE) -> list[WorkerUpdate]:
    """The news until something is among them."""
    result: list[WorkerUpdate] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        result += lab.updates()
        if done(result):
            return result
        time.sleep(0.005)
    raise TimeoutError(f"only {result[-5:]}")


def last(lab: Supervisor, seconds: float = PATIENCE) -> WorkerUpdate:
    """How the only start comes to its end; nothing may follow it."""
    result = until(lab, lambda news: news and news[-1].what in ("ended", "died"), seconds)
    assert [news.what in ("ended", "died") for news in result].count(True) == 1
    assert lab.updates() == []
    return result[-1]


def made_safe(lab: Supervisor, instrument: Mapping[str, Any]) -> str:
    """The first word of who makes an instrument safe."""
    ends = time.monotonic() + PATIENCE
    while (answer := lab.make_safe(instrument)) == NOT_YET and time.monotonic() < ends:
        time.sleep(0.01)
        assert lab.updates() == []  # as the loop does; no word is lost by it
    return answer


def measuring(lab: Supervisor, readings: int = 2) -> int:
    """Waits until some readings are taken; the process."""
    until(lab, lambda news: news and news[-1].readings >= readings)
    process = pid(lab)
    assert process is not None
    return process


def kinds(folder: Path) -> list[type]:
    return [type(event) for event in record.read(folder)]


def of(folder: Path, kind: type[Event]) -> list[Any]:
    return [event for event in record.read(folder) if isinstance(event, kind)]


# --- from begin to end --------------------------------------------------------------------------------------------


def test_an_order_is_carried_out_in_the_folder_that_it_names(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    lab.begin(order(tmp_path / "led" / "mine", tree(light)))
    news = last(lab)
    assert (news.what, news.outcome) == ("ended", "reached")
    assert news.text.startswith("All channels within tolerance")
    assert news.readings == len(of(tmp_path / "led" / "mine", Measured)) == light.world.taken - 1  # the last put it out
    assert record.check(tmp_path / "led" / "mine").sealed
    assert 1 not in lab._children


def test_a_start_has_one_process_only(lab: Supervisor, light: TwinServer, tmp_path: Path) -> None:
    lab.begin(order(tmp_path / "a", endless(light)))
    with pytest.raises(ValueError, match="start 1 has a process already"):
        lab.begin(order(tmp_path / "b", endless(light)))


def test_an_interrupted_start_dies_resumable_and_goes_on_where_it_was(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    campaign = endless(light, stop={"trials": 40, "unreachable": None})
    lab.begin(order(tmp_path / "a", campaign))
    measuring(lab)
    lab.interrupt(1, "ada")
    news = last(lab)
    assert (news.what, news.text) == ("died", "interrupted by ada; interrupted (SIGTERM)")
    assert kinds(tmp_path / "a")[-2:] == [Interrupted, Safe]
    assert not light.world.lit
    lab.begin(order(tmp_path / "a", campaign))
    assert last(lab).outcome == "spent"
    assert kinds(tmp_path / "a").count(Opened) == kinds(tmp_path / "a").count(Resumed) == 1
    assert len(of(tmp_path / "a", Measured)) == 40


def test_a_record_that_is_closed_is_not_opened_again(lab: Supervisor, light: TwinServer, tmp_path: Path) -> None:
    """As where the process was killed between the last line and its last word."""
    lab.begin(order(tmp_path / "a", tree(light, stop={"trials": 2})))
    first = last(lab)
    before = (tmp_path / "a" / "record.jsonl").read_bytes()
    lab.begin(order(tmp_path / "a", tree(light, stop={"trials": 2})))
    again = last(lab)
    assert (again.what, again.outcome, again.text, again.readings) == ("ended", "spent", first.text, first.readings)
    assert (tmp_path / "a" / "record.jsonl").read_bytes() == before


@pytest.mark.parametrize("existing", [b"", b'{"event": "Ope'])
def test_a_record_without_a_whole_line_is_put_aside(
    lab: Supervisor, light: TwinServer, tmp_path: Path, existing: bytes
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "record.jsonl").write_bytes(existing)
    lab.begin(order(tmp_path / "a", tree(light, stop={"trials": 2})))
    assert last(lab).outcome == "spent"
    assert (tmp_path / "a.empty-1" / "record.jsonl").read_bytes() == existing


def test_what_cannot_be_carried_out_dies_with_its_reason(lab: Supervisor, light: TwinServer, tmp_path: Path) -> None:
    lab.begin(order(tmp_path / "a", {**tree(light), "goal": {"infrared": 3}}))
    news = last(lab)
    assert news.what == "died"
    assert "ConfigError" in news.text
    assert "infrared" in news.text


def test_an_instrument_in_use_is_waited_for(lab: Supervisor, light: TwinServer, tmp_path: Path) -> None:
    campaign = tree(light, stop={"trials": 2})
    by_name = {**campaign["instrument"], "url": light.url.replace("127.0.0.1", "localhost")}
    with lease.lease(config.parse_kind("instrument", by_name).identity, "(by hand, bob)"):
        lab.begin(order(tmp_path / "a", campaign, hung=3.0))
        [news] = until(lab, lambda news: news)
        assert news.what == "paused"
        assert f"is in use by process {os.getpid()}" in news.text
        assert "(by hand, bob)" in news.text
        assert not (tmp_path / "a").exists()
    assert last(lab).outcome == "spent"


def test_a_start_that_waits_for_its_instrument_can_be_aborted(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    campaign = tree(light)
    with lease.lease(config.parse_kind("instrument", campaign["instrument"]).identity):
        lab.begin(order(tmp_path / "a", campaign))
        until(lab, lambda news: news)
        lab.command(1, "abort", "enough", "ada")
        news = last(lab)
    assert (news.what, light.world.taken) == ("died", 0)
    assert "InUse" in news.text


def test_what_a_campaign_logs_is_logged_with_its_start_and_trial(
    lab: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    four = {"kind": "twin", "variant": "rgbw"}  # the twin that it is watched against has three inputs
    watched = {"name": "w", "instrument": four, "goal": {"445nm": 16384}, "watch": "twin", "stop": {"trials": 1}}
    lab.begin(order(tmp_path / "a", config.parse(watched).plain()))
    assert last(lab).what == "ended"
    [line] = [record for record in caplog.records if "they are not compared" in record.getMessage()]
    assert (line.start, line.run) == (1, str(tmp_path / "a"))  # type: ignore[attr-defined]


# --- told from outside --------------------------------------------------------------------------------------------


def test_a_start_is_paused_continued_and_aborted_and_its_record_says_by_whom(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    lab.begin(order(tmp_path / "a", endless(light)))
    measuring(lab)
    lab.command(1, "pause", "cleaning", "ada")
    [*_, news] = until(lab, lambda news: any(item.what == "paused" for item in news))
    assert (news.what, news.text) == ("paused", "cleaning (ada)")
    taken = light.world.taken
    assert not light.world.lit
    lab.command(1, "proceed", "bob")
    result = until(lab, lambda news: any(item.what == "continued" for item in news))
    assert taken <= light.world.taken <= taken + 2
    assert next(item for item in result if item.what == "continued").text == "bob"
    lab.command(1, "abort", "broken lamp", "eve")
    news = last(lab)
    assert (news.what, news.outcome, news.text) == ("ended", "aborted", "broken lamp")
    [paused], [continued], [abort] = (of(tmp_path / "a", kind) for kind in (Paused, Continued, AbortAsked))
    assert (paused.cause, paused.by, continued.by) == ("cleaning", "ada", "bob")
    assert (abort.reason, abort.by) == ("broken lamp", "eve")
    assert kinds(tmp_path / "a")[-2:] == [Stopped, Safe]
    assert not light.world.lit


def test_what_is_told_right_after_the_order_is_heard(lab: Supervisor, light: TwinServer, tmp_path: Path) -> None:
    lab.begin(order(tmp_path / "a", endless(light)))
    lab.command(1, "abort", "asked for before a crash", "ada")
    news = last(lab)
    assert (news.outcome, news.text) == ("aborted", "asked for before a crash")
    assert light.world.taken == 0


def test_the_conditions_of_an_order_are_judged_in_its_process(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    lab.begin(order(tmp_path / "a", endless(light), disk=10**18))
    [*_, news] = until(lab, lambda news: any(item.what == "paused" for item in news))
    assert news.text.startswith("the disk is nearly full")
    assert light.world.taken == 0


def test_one_that_died_in_a_pause_says_that_it_still_pauses_and_tells_no_pause_of_old(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    campaign = endless(light)
    lab.begin(order(tmp_path / "a", campaign))
    measuring(lab)
    for cause in ("cleaning", "lunch"):
        lab.command(1, "pause", cause, "ada")
        until(lab, lambda news: any(item.what == "paused" for item in news))
        if cause == "cleaning":
            lab.command(1, "proceed", "bob")
            until(lab, lambda news: any(item.what == "continued" for item in news))
    os.kill(pid(lab) or 0, signal.SIGKILL)
    last(lab)
    lab.begin(order(tmp_path / "a", campaign))
    lab.command(1, "pause", "lunch", "ada")
    news = until(lab, lambda news: news)
    assert [(item.what, item.text) for item in news] == [("paused", "lunch (ada)")]
    assert news[0].at == of(tmp_path / "a", Paused)[-1].at  # since when, and not since the resume
    lab.command(1, "proceed", "bob")
    until(lab, lambda news: any(item.what == "continued" for item in news))
    lab.command(1, "abort", "enough", "ada")  # while the server is there: it would look for it for a while
    last(lab)


def test_what_is_told_to_nobody_harms_nobody(lab: Supervisor) -> None:
    lab.interrupt(9, "ada")
    lab.command(9, "abort", "too late", "ada")
    assert lab.updates() == []


# --- deaths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit", "its process ended unexpectedly with exit code 7"),
        ("crash", "crashed (SIGSEGV): a fault in a compiled library"),
    ],
)
def test_a_part_that_brings_its_process_down_is_a_death_with_its_cause_in_words(
    lab: Supervisor, light: TwinServer, tmp_path: Path, how: str, words: str
) -> None:
    lab.begin(order(tmp_path / "a", tree(light, solver={"kind": "part", "how": how})))
    news = last(lab)
    assert news.what == "died"
    assert words in news.text
    assert len(of(tmp_path / "a", Measured)) == 4  # none lost


def test_a_killed_process_dies_with_its_cause_and_the_light_is_put_out(lab: Supervisor, tmp_path: Path) -> None:
    # An error of the sensor's bus leaves the LED on until the next request has failed, too.
    with TwinServer(speed=200, latency=4.0, faults=[Fault(name="html-500", at=(3,))]) as light:
        campaign = endless(light, retry={"times": 3, "wait": 3600.0, "longest": 3600.0})
        lab.begin(order(tmp_path / "a", campaign))
        measuring(lab, 3)
        until(lab, lambda _: light.world.left_open)
        os.kill(pid(lab) or 0, signal.SIGKILL)
        news = last(lab)
        assert news.what == "died"
        assert news.text.startswith("killed (SIGKILL)")
        assert light.world.lit
        ends = time.monotonic() + 60
        while answer := made_safe(lab, campaign["instrument"]):  # the first request finds the LED in use
            assert "status 500" in answer
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert not light.world.lit
        assert light.world.taken >= 4


def test_a_process_that_gives_no_sign_is_hung_and_ended(lab: Supervisor, light: TwinServer, tmp_path: Path) -> None:
    lab.begin(order(tmp_path / "a", tree(light, solver={"kind": "part", "how": "hang"}), hung=2.0))
    news = last(lab)
    assert news.what == "died"
    assert re.match(r"hung: no heartbeat for \d+ s; interrupted", news.text)
    assert kinds(tmp_path / "a")[-2:] == [Interrupted, Safe]


def test_one_that_does_not_listen_is_killed(
    lab: Supervisor, light: TwinServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "FINISH", 0.1)
    monkeypatch.setattr(handle, "SAFE", 0.2)
    lab.begin(order(tmp_path / "a", tree(light, solver={"kind": "part", "how": "deaf"}), hung=2.0))
    news = last(lab)
    assert re.match(r"hung: no heartbeat for \d+ s; killed \(SIGKILL\)", news.text)


def test_a_stopped_process_is_hung_too_and_gets_its_chance_to_close_the_record(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    lab.begin(order(tmp_path / "a", endless(light), hung=2.0))
    os.kill(measuring(lab), signal.SIGSTOP)
    news = last(lab)
    assert re.match(r"hung: no heartbeat for \d+ s; interrupted", news.text)
    assert kinds(tmp_path / "a")[-2:] == [Interrupted, Safe]


@pytest.mark.slow
def test_waiting_in_a_back_off_or_a_pause_is_not_hung(lab: Supervisor, tmp_path: Path) -> None:
    nowhere = endless("http://127.0.0.1:9/api", retry={"times": 9, "wait": 60.0, "longest": 60.0})
    lab.begin(order(tmp_path / "a", nowhere, start=1, hung=3.0))
    paused = endless("http://127.0.0.1:9/api/2")
    lab.begin(order(tmp_path / "b", paused, start=2, hung=3.0, disk=10**18))
    until(lab, lambda news: any(item.what == "paused" for item in news))
    ends = time.monotonic() + 4.5
    news = until(lab, lambda _: time.monotonic() > ends)
    assert not [item for item in news if item.what == "died"]
    lab.command(1, "abort", "enough", "ada")
    lab.command(2, "abort", "enough", "ada")
    result = until(lab, lambda news: sum(item.what == "ended" for item in news) == 2)
    assert {item.outcome for item in result if item.what == "ended"} == {"aborted"}


def test_closing_interrupts_what_runs_and_tells_of_it(lab: Supervisor, light: TwinServer, tmp_path: Path) -> None:
    lab.begin(order(tmp_path / "a", endless(light)))
    pid = measuring(lab)
    lab.close()
    [*_, news] = lab.updates()
    assert (news.what, news.text) == ("died", "interrupted: the lab is stopping; interrupted (SIGTERM)")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert kinds(tmp_path / "a")[-2:] == [Interrupted, Safe]


CTRL_C = """
import os, signal, sys, time
from multiprocessing import forkserver
from sdl.lab.workers.supervisor import Supervisor

if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: None)
    lab = Supervisor()
    lab.warm_up()
    assert signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.SIG_DFL)
    warm = forkserver._forkserver._forkserver_pid
    for _ in range(200):
        os.killpg(0, signal.SIGINT)
        time.sleep(0.005)
    while (said := lab.make_safe({"kind": "twin"})) == "no answer yet":
        time.sleep(0.02)
    print(repr(said), forkserver._forkserver._forkserver_pid == warm)
    lab.close()
"""


@pytest.mark.slow
def test_ctrl_c_while_the_warm_process_loads_is_not_for_it(tmp_path: Path) -> None:
    (tmp_path / "group.py").write_text(CTRL_C)
    done = subprocess.run(
        [sys.executable, tmp_path / "group.py"], cwd=commands.ROOT, env=commands.environment(),
        capture_output=True, text=True, timeout=PATIENCE, start_new_session=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("'' True\n", "")


@pytest.mark.slow
def test_the_death_of_the_warm_process_harms_no_campaign_and_the_next_one_begins_all_the_same(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    lab.begin(order(tmp_path / "a", endless(light)))
    pid = measuring(lab)
    warm = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert warm != os.getpid()
    os.kill(warm, signal.SIGKILL)
    taken = light.world.taken
    until(lab, lambda _: light.world.taken > taken + 5)
    with TwinServer(latency=0.001) as other:
        lab.begin(order(tmp_path / "b", tree(other, stop={"trials": 2}), start=2))
        until(lab, lambda news: any((item.start, item.what) == (2, "ended") for item in news))
    lab.interrupt(1, "ada")
    news = last(lab)
    assert news.text == "interrupted by ada; interrupted (SIGTERM)"
    assert kinds(tmp_path / "a")[-2:] == [Interrupted, Safe]


_LAB = """
import sys, time
from pathlib import Path
from sdl.lab.workers.base import JobOrder
from sdl.lab.workers.supervisor import Supervisor
import json
if __name__ == "__main__":
    lab = Supervisor()
    lab.begin(JobOrder(1, json.loads(sys.argv[2]), Path(sys.argv[1]), "led", 60.0, {}))
    print(lab._children[1].process.pid, flush=True)
    while True:
        lab.updates()
        time.sleep(.01)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_a_campaign_whose_lab_is_killed_interrupts_itself(light: TwinServer, tmp_path: Path, stopped: bool) -> None:
    campaign = json.dumps(endless(light))
    lab = subprocess.Popen(
        [sys.executable, "-c", _LAB, str(tmp_path / "a"), campaign],
        env=commands.environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert lab.stdout is not None
    pid = int(lab.stdout.readline())
    ends = time.monotonic() + PATIENCE
    while light.world.taken < 3 and time.monotonic() < ends:
        time.sleep(0.01)
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    lab.kill()
    lab.communicate()
    # Some .1 s on a quiet machine; benchmarks/chaos.py measures how soon the light is off.
    ends = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists() and time.monotonic() < ends:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()
    assert kinds(tmp_path / "a")[-2:] == [Interrupted, Safe]
    assert not light.world.lit


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc, as the code does")
def test_an_orphan_that_is_stopped_while_it_ends_is_woken_by_the_next_lab(lab: Supervisor, tmp_path: Path) -> None:
    with TwinServer(latency=3.0) as light:
        campaign = endless(light)
        other = subprocess.Popen(
            [sys.executable, "-c", _LAB, str(tmp_path / "a"), json.dumps(campaign)],
            env=commands.environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        ends = time.monotonic() + PATIENCE
        while light.world.taken < 1 and time.monotonic() < ends:
            time.sleep(0.01)
        made_safe(lab, {"kind": "twin"})  # this lab is warm
        warm = parent(pid)
        other.kill()
        other.wait()
        while parent(pid) == warm and time.monotonic() < ends:
            time.sleep(0.001)
        time.sleep(0.1)
        os.kill(pid, signal.SIGSTOP)  # after Linux has woken it for that
        ends = time.monotonic() + PATIENCE
        while (answer := lab.make_safe(campaign["instrument"])) and time.monotonic() < ends:
            time.sleep(0.1)
        assert answer == ""
        assert not light.world.lit
    other.stdout.close()
    assert kinds(tmp_path / "a")[-2:] == [Interrupted, Safe]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# --- made safe ----------------------------------------------------------------------------------------------------


def test_making_safe_is_tried_until_the_instrument_answers(lab: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    with TwinServer(latency=0.001) as light:
        port = int(light.url.split(":")[2].split("/")[0])
    instrument = tree(f"http://127.0.0.1:{port}/api")["instrument"]
    assert "nothing listens there" in made_safe(lab, instrument)
    with TwinServer(latency=0.001, port=port) as light:
        ends = time.monotonic() + PATIENCE
        while lab.make_safe(instrument) and time.monotonic() < ends:
            time.sleep(0.05)
        assert light.world.taken == 2, "one to be asked over this connection, one to say that it is off"
    assert lab.updates() == []


def test_nobody_waits_for_instruments_that_say_nothing_and_they_are_asked_side_by_side(
    lab: Supervisor, light: TwinServer
) -> None:
    made_safe(lab, {"kind": "twin"})  # the warm process is there
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        urls = [f"http://127.0.0.1:{server.getsockname()[1]}/api" for server in silent]
        trees = [tree(url)["instrument"] for url in urls]
        answer = [lab.make_safe(instrument) for instrument in trees]
        assert answer == [NOT_YET] * 3
        for server in silent:  # each of them has been asked, though none has answered
            server.settimeout(PATIENCE)
            stack.enter_context(server.accept()[0])
        assert made_safe(lab, tree(light)["instrument"]) == ""
        assert [lab.make_safe(instrument) for instrument in trees] == [NOT_YET] * 3


def test_no_word_of_who_makes_safe_is_lost_where_nobody_asks_for_it_at_once(lab: Supervisor, light: TwinServer) -> None:
    instrument = tree(light)["instrument"]
    assert lab.make_safe(instrument) == NOT_YET
    ends = time.monotonic() + PATIENCE
    while light.world.taken < 1 and time.monotonic() < ends:
        assert lab.updates() == []
        time.sleep(0.01)
    for _ in range(20):
        assert lab.updates() == []
        time.sleep(0.01)
    assert made_safe(lab, instrument) == ""
    assert light.world.taken == 2


def test_a_campaign_that_begins_takes_over_from_who_makes_safe(
    lab: Supervisor, light: TwinServer, tmp_path: Path
) -> None:
    campaign = tree(light, stop={"trials": 2})
    with lease.lease(config.parse_kind("instrument", campaign["instrument"]).identity, "(by hand, bob)"):
        answer = made_safe(lab, campaign["instrument"])
        assert "InUse" in answer
        assert "(by hand, bob)" in answer
    lab.begin(order(tmp_path / "a", campaign))
    assert last(lab).outcome == "spent"


def test_a_twin_in_virtual_time_is_always_safe(lab: Supervisor) -> None:
    assert made_safe(lab, {"kind": "twin"}) == ""


def test_an_instrument_that_does_not_apply_darkness_is_not_safe(lab: Supervisor) -> None:
    stubborn = Server()
    stubborn.then(*[says({"in": [0.5, 0.0, 0.0], "out": OUT})] * 2)  # then it does as it is told
    instrument = tree(stubborn.url)["instrument"]
    assert "told to switch off, it applied {'R': 0.5" in made_safe(lab, instrument)
    ends = time.monotonic() + PATIENCE
    while lab.make_safe(instrument) and time.monotonic() < ends:
        time.sleep(0.05)
    stubborn.close()
    assert stubborn.asked == [[0.0, 0.0, 0.0]] * 4


@pytest.mark.slow
def test_a_campaign_hands_an_instrument_that_stays_on_to_the_lab_which_goes_on_until_it_is_off(
    lab: Supervisor, tmp_path: Path
) -> None:
    server = Server()
    server.then(good, *[says({"in": [0.2, 0.2, 0.2], "out": OUT})] * 30)
    campaign = tree(server.url, stop={"trials": 1}, average=1)
    campaign["instrument"] = {**campaign["instrument"], "background": "none"}
    lab.begin(order(tmp_path / "a", campaign))
    news = last(lab)
    assert (news.what, news.outcome) == ("ended", "spent")
    assert news.on.startswith("the instrument may still be on: its last reply says that it is on")
    assert kinds(tmp_path / "a")[-2:] == [Stopped, Safe]
    ends = time.monotonic() + 60
    while (answer := lab.make_safe(campaign["instrument"])) and time.monotonic() < ends:
        time.sleep(0.05)
    server.close()
    assert answer == ""
    assert server.asked[-1] == [0.0] * 3


def test_what_can_never_be_made_safe_says_so_at_once(lab: Supervisor) -> None:
    answer = made_safe(lab, {"kind": "external", "inputs": {"red": {}}, "channels": {"R": {}}})
    assert "ConfigError" in answer
    assert "driven by others" in answer


def test_a_person_is_left_to_make_an_instrument_safe(lab: Supervisor) -> None:
    assert made_safe(lab, {"kind": "manual"}) == ""


# --- nothing is left ----------------------------------------------------------------------------------------------


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _zombies() -> list[str]:
    """Children of this process that nobody has buried."""
    mine = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            mine.append(stat.parent.name)
    return mine


@pytest.mark.parametrize("campaigns", [8, pytest.param(80, marks=pytest.mark.slow)])
def test_no_descriptor_and_no_zombie_is_left_by_many_campaigns(lab: Supervisor, tmp_path: Path, campaigns: int) -> None:
    virtual = config.parse({"name": "t", "instrument": "twin", "goal": {"445nm": 16384}, "stop": {"trials": 2}}).plain()

    def some(n: int, begin: int) -> None:
        for start in range(begin, begin + n):
            lab.begin(order(tmp_path / str(start), virtual, start=start))
        until(lab, lambda news: sum(item.what == "ended" for item in news) == n)

    some(2, 0)
    before = _descriptors()
    for begin in range(2, 2 + campaigns, 4):
        some(4, begin)
    assert _descriptors() == before
    assert _zombies() == []
