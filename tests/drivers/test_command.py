"""A program as the instrument: its protocol, and what the driver makes of a program that breaks it."""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import TIMEOUT, some, until

import sdl
from sdl.clock import RealClock
from sdl.config import parse_kind
from sdl.drivers.checks import checked_reading
from sdl.drivers.declared.driver import DeclaredDriver
from sdl.errors import BadReply, ConfigError, InstrumentError, NotApplied, Unreachable
from sdl.types import Power
from tests.drivers.rig import response

RIG = Path(__file__).parent / "rig.py"
KEYS: dict[str, Any] = {
    "kind": "command",
    "inputs": {"a": {"high": 100}, "b": {"high": 100}},
    "channels": {"R": {}, "Q": {}},
    "off": {"a": 0, "b": 0},
    "timeout": TIMEOUT,
}
TEN_LINES = """
import json, sys
for line in sys.stdin:
    ask = json.loads(line)
    if "off" in ask:
        answer = {"applied": ask["off"]}
    else:
        set = ask["measure"]
        answer = {"readings": {"R": 3 * set["a"] + set["b"], "Q": set["a"] - 2 * set["b"]}, "applied": set}
    print(json.dumps(answer | {"id": ask["id"]}), flush=True)
"""
SETTINGS = {"a": 2.0, "b": 1.0}
Open = Callable[..., DeclaredDriver]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens a driver on a program given as text; all are closed at the end."""
    drivers: list[DeclaredDriver] = []

    def open_(program: str = TEN_LINES, **more: Any) -> DeclaredDriver:
        (tmp_path / "rig.py").write_text(program)
        tree = {**KEYS, "command": [sys.executable, "rig.py"], **more}
        drivers.append(parse_kind("instrument", tree, tmp_path).open(RealClock()))
        return drivers[-1]

    yield open_
    for driver in drivers:
        driver.close()


def answering(answer: str, off: str = "{}") -> str:
    """A program that answers every request with the same Python expression of `ask` and `n`, its number."""
    return f"""
import json, os, sys, time
for n, line in enumerate(sys.stdin, 1):
    ask = json.loads(line)
    answer = {off} if "off" in ask else {answer}
    if answer is not None:
        print(answer if isinstance(answer, str) else json.dumps(answer), flush=True)
"""


GOOD = '{"id": ask["id"], "readings": {"R": 1.0, "Q": n}, "applied": ask["measure"]}'


def test_a_reading_comes_from_a_program_of_ten_lines_in_the_folder_of_the_campaign(opened: Open):
    reading = opened().measure(SETTINGS)
    assert reading.readings == {"R": 7.0, "Q": 0.0}
    assert reading.applied == SETTINGS


def test_the_program_is_started_once_and_ended_with_the_connection(opened: Open, tmp_path: Path):
    pid = '{"id": ask["id"], "readings": {"R": os.getpid(), "Q": 0}}'
    driver = opened(answering(pid))
    pids = {int(driver.measure(SETTINGS).readings["R"]) for _ in range(3)}
    assert len(pids) == 1
    driver.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


def test_what_the_program_started_ends_with_it(opened: Open):
    child = "import subprocess; child = subprocess.Popen(['sleep', '1000'])\n"
    driver = opened(child + answering('{"readings": {"R": child.pid, "Q": 0}}'))
    pid = int(driver.measure(SETTINGS).readings["R"])
    driver.close()
    until(lambda: not Path(f"/proc/{pid}/stat").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text())


def test_a_program_that_died_is_started_anew(opened: Open):
    died = answering("os._exit(3) if n == 2 else " + GOOD)
    driver = opened(died)
    driver.measure(SETTINGS)
    with pytest.raises(Unreachable, match=r"the command ended before it answered \(exit code 3\)") as caught:
        driver.measure(SETTINGS)
    assert (caught.value.retryable, caught.value.maybe_measured) == (True, True)
    assert driver.measure(SETTINGS).readings["Q"] == 1


def test_a_program_that_never_answered_is_not_asked_again(opened: Open):
    with pytest.raises(Unreachable, match=r"exit code 1\): KeyError: 'nothing'") as caught:
        opened("{}['nothing']").measure(SETTINGS)
    assert not caught.value.retryable


def test_its_errors_go_to_the_log(opened: Open, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "sdl")
    noisy = "import sys; print('valve 3 sticks', file=sys.stderr, flush=True)\n"
    opened(noisy + answering(GOOD)).measure(SETTINGS)
    until(lambda: "rig.py: valve 3 sticks" in caplog.text)


def test_a_program_that_hangs_is_ended_and_started_anew(opened: Open):
    driver = opened(answering(f"time.sleep(1000) if n == 2 else {GOOD}"), timeout=2)
    driver.measure(SETTINGS)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="did not answer within 2 s") as caught:
        driver.measure(SETTINGS)
    assert time.monotonic() - began < TIMEOUT
    assert (caught.value.retryable, caught.value.maybe_measured) == (True, True)
    assert driver.measure(SETTINGS).readings["Q"] == 1


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ('"hello"', BadReply, "'hello', which is no JSON .*only answers may go to its output"),
        ('"[1]"', BadReply, "no JSON object"),
        ('{"id": ask["id"]}', BadReply, "holds no `readings`"),
        ('{"id": ask["id"], "readings": 3}', BadReply, "holds no `readings`"),
        ('{"id": ask["id"], "readings": {"R": 1}}', BadReply, "lacks Q"),
        ('{"id": ask["id"], "readings": {"R": 1, "Q": 2, "T": 3}}', BadReply, "unknown T"),
        ('{"id": ask["id"], "readings": {"R": 1, "Q": "2"}}', BadReply, "no finite number"),
        ('{"id": ask["id"], "readings": {"R": 1, "Q": True}}', BadReply, "no finite number"),
        ('\'{"readings": {"R": NaN, "Q": 1}}\'', BadReply, "NaN is not a number"),
        ('\'{"readings": {"R": 1, "R": 2, "Q": 1}}\'', BadReply, "a name appears twice"),
        ('\'{"readings": {"R": 1e999, "Q": 1}}\'', BadReply, "no finite number"),
        ('"x" * 100000', BadReply, "more than 65536 bytes"),
        ('{"id": ask["id"], "readings": {"R": 1, "Q": 2}, "applied": 3}', NotApplied, "must hold the value"),
        ('{"id": ask["id"], "readings": {"R": 1, "Q": 2}, "applied": {"a": 1}}', NotApplied, "what was applied"),
    ],
)
def test_what_is_no_reading_is_refused_and_said(opened: Open, answer: str, error: type[InstrumentError], message: str):
    with pytest.raises(error, match=message) as caught:
        opened(answering(answer)).measure(SETTINGS)
    assert caught.value.maybe_measured


@pytest.mark.parametrize(("more", "retryable"), [("", False), (', "retryable": True', True)])
def test_an_error_that_it_reports_is_passed_on(opened: Open, more: str, retryable: bool):
    driver = opened(answering('{"id": ask["id"], "error": "no water"' + more + "} if n == 1 else " + GOOD))
    with pytest.raises(InstrumentError, match="the command reports: no water") as caught:
        driver.measure(SETTINGS)
    assert caught.value.retryable is retryable
    assert driver.measure(SETTINGS).readings["Q"] == 2  # it was not started anew


def test_an_error_of_several_lines_is_told_on_one(opened: Open):
    driver = opened(answering('{"id": ask["id"], "error": "no water\\n\\n  valve 3 open"}'))
    with pytest.raises(InstrumentError) as caught:
        driver.measure(SETTINGS)
    assert str(caught.value) == "the command reports: no water; valve 3 open"


def test_the_wait_that_is_told_is_the_whole_one_after_a_late_answer_to_an_earlier_request(opened: Open):
    driver = opened(answering('{"id": ask["id"] - 1, "readings": {"R": 0, "Q": 0}}'), timeout=2)
    with pytest.raises(Unreachable, match="did not answer within 2 s"):
        driver.measure(SETTINGS)


def test_settings_that_were_not_applied_are_marked_and_stated(opened: Open):
    driver = opened(answering('{"readings": {"R": 1, "Q": 2}, "applied": {"a": 2, "b": 5}}'))
    reading = driver.measure(SETTINGS)
    assert (reading.applied, reading.fault) == ({"a": 2, "b": 5}, "not-applied")


def test_an_answer_to_an_earlier_request_is_discarded(opened: Open, caplog: pytest.LogCaptureFixture):
    late = 'json.dumps({"id": ask["id"] - 1, "readings": {"R": 0, "Q": 0}}) + "\\n" + json.dumps(' + GOOD + ")"
    driver = opened(answering(late))
    assert driver.measure(SETTINGS).readings == {"R": 1.0, "Q": 1}
    assert "answered an earlier request" in caplog.text


def test_two_answers_without_id_are_no_reading(opened: Open):
    plain = '{"readings": {"R": 1.0, "Q": n}}'
    driver = opened(answering(f'json.dumps({plain}) + "\\n" + json.dumps({plain})'))
    with pytest.raises(BadReply, match=r"gave a second answer.*let it repeat the `id`"):
        driver.measure(SETTINGS)


def test_a_line_that_nobody_asked_for_starts_the_program_anew(opened: Open, caplog: pytest.LogCaptureFixture):
    stray = 'os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", "sleep 0.2; echo stray") and ' + GOOD
    driver = opened(answering(stray))
    driver.measure(SETTINGS)
    time.sleep(1.5)
    assert driver.measure(SETTINGS).readings["Q"] == 1
    assert "'stray' without a request and is restarted" in caplog.text


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ('{"applied": ask["off"], "id": ask["id"]}', Power.OFF),
        ('{"applied": ask["off"]}', Power.OFF),
        ('{"applied": {"a": 0.0, "b": 3.0}}', Power.ON),
        ('{"applied": {"a": 0.0}}', Power.UNKNOWN),
        ("{}", Power.UNKNOWN),
    ],
)
def test_off_is_proven_only_by_the_answer(opened: Open, answer: str, state: Power):
    driver = opened(answering(GOOD, answer))
    assert driver.safe().state is Power.NOT_NEEDED
    driver.measure(SETTINGS)
    assert driver.safe().state is state


def test_off_is_asked_of_a_new_program_where_the_old_one_died(opened: Open):
    driver = opened(answering(f"os._exit(1) if n == 2 else {GOOD}", '{"applied": ask["off"]}'))
    driver.measure(SETTINGS)
    with pytest.raises(Unreachable):
        driver.measure(SETTINGS)
    assert driver.safe().state is Power.OFF


def test_a_program_that_is_not_there_is_a_mistake_of_the_campaign(tmp_path: Path):
    instrument = parse_kind("instrument", {**KEYS, "command": ["no-such-program"]}, tmp_path)
    with pytest.raises(ConfigError, match="there is no program no-such-program"):
        instrument.ready()
    with pytest.raises(InstrumentError, match="cannot be started"):
        instrument.open(RealClock())


@pytest.mark.parametrize("mode", ["ids", "plain"])
@pytest.mark.parametrize("seed", some(20, first=5))
def test_no_fault_gives_a_reading_of_other_settings(tmp_path: Path, seed: int, mode: str):
    log, rng = tmp_path / "log", random.Random(seed)
    command = [sys.executable, str(RIG), str(log), str(seed), mode]
    driver = parse_kind("instrument", {**KEYS, "command": command, "timeout": 0.7}, tmp_path).open(RealClock())
    try:
        for _ in range(8):
            asked = {"a": round(rng.uniform(0, 99), 3), "b": round(rng.uniform(0, 99), 3)}
            try:
                reading = checked_reading(driver.measure(asked), asked, {"R", "Q"})
            except InstrumentError as error:
                assert error.retryable or error.maybe_measured or "no water" in str(error)  # noqa: PT017
                continue
            assert reading.readings == pytest.approx(response(reading.applied))
            played = [json.loads(line) for line in log.read_text().splitlines()]
            mine = [item for item in played if item["ask"].get("measure") == asked]
            if reading.fault is None:
                assert reading.applied == asked
            elif mode == "ids":
                assert [item["fault"] for item in mine] == ["wrong applied"]
        for _ in range(40):
            try:
                state = driver.safe()
            except InstrumentError:
                continue
            last = json.loads(log.read_text().splitlines()[-1])
            if state.state is Power.OFF:
                assert "off" in last["ask"]
                break
        else:
            pytest.fail("it was never proven to be off")
    finally:
        driver.close()


def test_a_campaign_reaches_its_goal_with_a_program(tmp_path: Path):
    (tmp_path / "rig.py").write_text(TEN_LINES.replace('"R": 3 *', '"R": random.gauss(0, 0.05) + 3 *', 1).replace(
        "import json", "import random, json").replace('"Q":', '"Q": random.gauss(0, 0.05) +', 1))  # fmt: skip
    campaign = tmp_path / "rig.yaml"
    keys = {key: value for key, value in KEYS.items() if key != "timeout"}
    instrument = {**keys, "command": ["python", "rig.py"]}
    campaign.write_text(
        f"name: rig\ninstrument: {json.dumps(instrument)}\ngoal: {{R: 150, Q: 20}}\ntolerance: 2\n"
        "solver: linear\nstop: {trials: 12}\n"
    )
    result = sdl.run(campaign, runs=tmp_path / "runs")
    assert result.outcome == "reached"
    assert result.safe is not None
    assert result.safe.state is Power.OFF
