"""Ctrl-C and SIGTERM, sent to real processes: the record stays sound, the light goes off, the exit code tells."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import processes
import pytest
import scripted
from drivers.server import Server
from waiting import TIMEOUT

from sdl import runner
from sdl.core.events import Interrupted, Measured
from sdl.runner import guardian
from sdl.store import record
from sdl.types import Outcome

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of another system")


def start(tmp_path: Path, *, latency: float, **changes: Any) -> tuple[subprocess.Popen[str], Path]:
    """A real-time campaign that will not end by itself, its second reading under way."""
    tree = {
        "name": "long",
        "instrument": {"kind": "twin", "realtime": True, "latency": latency},
        "goal": {"445nm": 16384},
        "tolerance": 1,
        "solver": "random",
        "stop": {"trials": 100_000},
        **changes,
    }
    (tmp_path / "long.yaml").write_text(json.dumps(tree), encoding="utf-8")
    process = processes.start("run", "long.yaml", "--runs", "runs", "--json", cwd=tmp_path)
    file = processes.wait_for(tmp_path / "runs", 2, process, "Proposed")
    assert file, process.communicate()
    return process, file


def events_of(file: Path) -> list[str]:
    return [line["event"] for line in processes.lines_of(file)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_once_finishes_the_reading_and_leaves_a_run_that_can_be_resumed(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process, file = start(tmp_path, latency=0.8)
    time.sleep(0.2)  # into the reading
    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert events_of(file) == ["Opened", "Proposed", "Measured", "Proposed", "Measured", "Interrupted", "Safe"]
    last = list(record.read(file))[-2]
    assert isinstance(last, Interrupted)
    assert last.by == number.name
    told = json.loads(out)
    assert (told["outcome"], told["trials"], told["readings"]) == (None, 2, 2)
    assert "sdl resume" in told["next"]
    done = runner.resume(file.parent, changes=["stop.trials=2"])
    assert done.outcome is Outcome.SPENT
    assert record.check(file.parent).finished


def test_twice_ends_at_once_and_the_reading_under_way_is_taken_again(tmp_path: Path) -> None:
    # The first one cuts a paced wait short, so the reading has to hang in something else: a server without an answer.
    server, asked = Server(), threading.Event()

    def never(server: Server, peer: socket.socket, settings: list[float]) -> None:
        asked.set()
        peer.settimeout(2 * TIMEOUT)
        peer.recv(1)

    server.then(never)  # and an answer to the next request, which switches the light off
    process, file = _start_http(tmp_path, {"kind": "claude-light", "url": server.url, "background": "none"})
    assert asked.wait(TIMEOUT)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the reading may still come
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)
    server.close()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert events_of(file) == ["Opened", "Proposed", "Interrupted", "Safe"]
    assert record.check(file.parent).lines == 4


def test_a_wait_of_a_minute_before_the_next_attempt_ends_promptly_and_nothing_is_asked_after_it(tmp_path: Path) -> None:
    instrument = {"kind": "claude-light", "url": "http://127.0.0.1:1/api"}
    process, file = _start_http(tmp_path, instrument, retry={"wait": 60})
    assert processes.wait_for(tmp_path / "runs", 1, process, "Failed")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    assert events_of(file) == ["Opened", "Proposed", "Failed", "Interrupted"]


def _start_http(tmp_path: Path, instrument: dict[str, Any], **changes: Any) -> tuple[subprocess.Popen[str], Path]:
    tree = {"name": "http", "instrument": instrument, "goal": {"445nm": 16384}, **changes}
    (tmp_path / "http.yaml").write_text(json.dumps(tree), encoding="utf-8")
    process = processes.start("run", "http.yaml", "--runs", "runs", "--quiet", cwd=tmp_path)
    file = processes.wait_for(tmp_path / "runs", 1, process, "Proposed")
    assert file, process.communicate()
    return process, file


SOLVER = """
import collections
import itertools
from pathlib import Path
from typing import Literal

import numpy as np

from sdl.types import Frozen


class Endless(Frozen):
    kind: Literal["endless"] = "endless"
    how: str

    def fit(self, data):
        matrix = np.random.default_rng(0).normal(size=(4000, 4000)) if self.how == "blas" else None
        Path("computing").touch()
        while self.how == "loop":
            pass
        while True:
            try:
                while self.how == "catches":
                    pass
                if self.how == "blas":
                    np.linalg.svd(matrix)
                collections.deque(itertools.repeat(None), maxlen=0)
            except BaseException:
                pass
"""
"""Solvers that do not come to an end: one in Python; one that catches every exception as well, and two that do so in
compiled code: of a library that lets other threads run (minutes for one call), and one that lets none run."""


def computing(tmp_path: Path, how: str, server: Server, command: str = "run") -> tuple[subprocess.Popen[str], Path]:
    """A campaign on an instrument that its last reading left lit, its solver at work."""
    package = tmp_path / "endless-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: endless\nVersion: 1\n", encoding="utf-8")
    (package / "entry_points.txt").write_text("[sdl.solvers]\nendless = endless:Endless\n", encoding="utf-8")
    (tmp_path / "endless.py").write_text(SOLVER, encoding="utf-8")
    tree = {
        "name": "endless",
        "instrument": {"kind": "claude-light", "url": server.url, "background": "none"},
        "goal": {"445nm": 16384},
        "design": {"kind": "points", "points": [{"R": 0.5, "G": 0.5, "B": 0.5}]},
        "solver": {"kind": "endless", "how": how},
    }
    tree = {"name": "many", "campaign": tree, "seeds": 1} if command == "sweep" else tree
    (tmp_path / "endless.yaml").write_text(json.dumps(tree), encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(processes.ROOT)])
    process = processes.start(command, "endless.yaml", "--quiet", cwd=tmp_path, PYTHONPATH=path)
    end = time.monotonic() + 60
    while not (tmp_path / "computing").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    (file,) = tmp_path.rglob("record.jsonl")
    assert any(server.asked[-1])
    return process, file


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_solver_that_computes_is_broken_off_by_the_first_one(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    server = Server()
    process, file = computing(tmp_path, "loop", server)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    server.close()
    assert (process.returncode, "Traceback" in err) == (code, False), err
    assert not any(server.asked[-1])
    assert events_of(file) == ["Opened", "Proposed", "Measured", "Interrupted", "Safe"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "how"), [("run", "catches"), ("run", "blas"), ("run", "holds"), ("sweep", "holds")]
)
def test_a_solver_that_cannot_be_broken_off_is_ended_after_sigterm_with_the_light_off_and_the_record_as_if_it_could(
    command: str, how: str, tmp_path: Path
) -> None:
    server = Server()
    process, file = computing(tmp_path, how, server, command)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)  # until all writers, including the process that switched off, have ended
    server.close()
    assert process.returncode == -signal.SIGKILL, err
    assert not any(server.asked[-1])
    assert events_of(file) == ["Opened", "Proposed", "Measured", "Interrupted", "Safe"]
    assert "interrupted by SIGTERM" in out
    assert "sdl resume" in out
    assert "the solver continued after SIGTERM, so its process was killed" in err
    assert record.check(file.parent).lines == 5


COPIES = """
import multiprocessing
import os
import signal
import time
from typing import Literal

from sdl.types import Frozen


class Copies(Frozen):
    kind: Literal["copies"] = "copies"
    how: str

    def fit(self, data):
        if self.how == "pool":
            with multiprocessing.get_context("fork").Pool(2) as pool:  # which sends SIGTERM to each at its end
                pool.map(abs, range(4))
        elif not (copy := os.fork()):
            if self.how == "signal":
                os.kill(os.getpid(), signal.SIGTERM)
            if self.how == "raise":
                raise ValueError("of the copy")
            if self.how == "return":
                return None
        else:
            os.waitpid(copy, 0)
        time.sleep(2.5)  # longer than the guard waits after SIGTERM
        raise ValueError("the solver's own end")
"""
"""A solver that copies its process, and goes on for longer than one may after SIGTERM."""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pool", "signal", "raise", "return"])
def test_what_becomes_of_a_copy_of_the_process_is_nothing_to_the_campaign(how: str, tmp_path: Path) -> None:
    package = tmp_path / "copies-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: copies\nVersion: 1\n", encoding="utf-8")
    (package / "entry_points.txt").write_text("[sdl.solvers]\ncopies = copies:Copies\n", encoding="utf-8")
    (tmp_path / "copies.py").write_text(COPIES, encoding="utf-8")
    tree = {
        "name": "copies",
        "instrument": "twin",
        "goal": {"445nm": 16384},
        "design": {"kind": "points", "points": [{"R": 0.5, "G": 0.5, "B": 0.5}]},
        "solver": {"kind": "copies", "how": how},
    }
    (tmp_path / "copies.yaml").write_text(json.dumps(tree), encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(processes.ROOT)])
    done = processes.sdl("run", "copies.yaml", "--quiet", cwd=tmp_path, PYTHONPATH=path)
    (file,) = tmp_path.rglob("record.jsonl")
    assert (done.returncode, events_of(file)[-1]) == (4, "Stopped"), done.stderr
    assert "the solver's own end" in done.stdout
    assert record.check(file.parent).finished


def test_the_guard_waits_for_a_reading_and_for_a_solver_that_comes_to_an_end() -> None:
    there, here = os.pipe()
    try:
        for said in (
            [guardian.SOLVES],  # no signal
            [guardian.SOLVES, guardian.SOLVED, signal.SIGTERM],  # a reading is under way
            [guardian.SOLVES, signal.SIGTERM, guardian.SOLVED],  # it came to an end
            [guardian.SOLVES, signal.SIGINT],
        ):
            os.write(here, bytes(said))
            waiting = threading.Thread(target=guardian.overruns, args=(there, 0.0), daemon=True)
            waiting.start()
            waiting.join(0.2)
            assert waiting.is_alive(), said
            os.write(here, bytes([guardian.SOLVED, signal.SIGTERM, guardian.SOLVES]))
            waiting.join(20)
            assert not waiting.is_alive(), said
    finally:
        os.close(here)
    assert not guardian.overruns(there, 0.0)  # the campaign has ended
    os.close(there)


# --- in this process ----------------------------------------------------------------------------------------------


def _signal(times: int) -> Any:
    def step(driver: scripted.ScriptedDriver, settings: Any) -> Any:
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        return scripted.answer(settings)

    return step


@pytest.mark.usefixtures("scripted_kinds")
@pytest.mark.parametrize(("times", "readings"), [(1, 3), (2, 2)])
def test_the_light_is_off_and_what_was_asked_once_is_finished_and_what_was_asked_twice_is_not(
    times: int, readings: int, tmp_path: Path
) -> None:
    instrument = scripted.with_script(None, None, _signal(times))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(runner.CampaignInterrupted) as caught:
        runner.run(scripted.campaign(instrument), runs=tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert not scripted.script_of(instrument).lit
    assert scripted.script_of(instrument).calls[-2:] == ["safe", "close"]
    (folder,) = tmp_path.glob("*/*")
    events = list(record.read(folder))
    assert sum(isinstance(e, Measured) for e in events) == readings
    assert isinstance(events[-1], Interrupted)
    assert (caught.value.signal, caught.value.result.readings) == ("SIGINT", readings)
    assert runner.resume(folder).outcome is Outcome.REACHED


@pytest.mark.usefixtures("scripted_kinds")
def test_a_third_one_while_the_light_goes_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safe = scripted.ScriptedDriver.safe

    def slow(driver: scripted.ScriptedDriver) -> None:
        signal.raise_signal(signal.SIGINT)
        safe(driver)

    monkeypatch.setattr(scripted.ScriptedDriver, "safe", slow)
    instrument = scripted.with_script(_signal(2))
    with pytest.raises(runner.CampaignInterrupted):  # as after the second: who hears of it says how to go on
        runner.run(scripted.campaign(instrument), runs=tmp_path)
    assert not scripted.script_of(instrument).lit
    (folder,) = tmp_path.glob("*/*")
    assert isinstance(list(record.read(folder))[-1], Interrupted)


@pytest.mark.usefixtures("scripted_kinds")
def test_one_that_comes_while_a_line_is_written_waits_until_it_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, left = os.fsync, [12]

    def interrupted(fd: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        fsync(fd)

    monkeypatch.setattr(record.os, "fsync", interrupted)
    with pytest.raises(runner.CampaignInterrupted) as caught:
        runner.run(scripted.campaign(scripted.with_script()), runs=tmp_path)
    (folder,) = tmp_path.glob("*/*")
    written = sum(isinstance(e, Measured) for e in record.read(folder))
    assert caught.value.result.readings == written
    assert runner.resume(folder).outcome is Outcome.REACHED


@pytest.mark.usefixtures("scripted_kinds")
def test_beside_the_main_thread_the_caller_s_signals_are_left_alone() -> None:
    outcome: list[Any] = []
    instrument = scripted.with_script()
    thread = threading.Thread(target=lambda: outcome.append(runner.run(scripted.campaign(instrument), runs=None)))
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join(TIMEOUT)
    assert outcome[0].outcome is Outcome.REACHED
    assert signal.getsignal(signal.SIGINT) is before
