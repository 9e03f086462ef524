"""`sdl twin serve` and `sdl instrument check`, in processes of their own."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from pathlib import Path
from typing import Any

import processes
import pytest
from waiting import PATIENCE

from tests.drivers.broker import MqttBroker

CAMPAIGN = """\
name: served
instrument: {kind: claude-light}
goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}
solver: linear
"""


@pytest.mark.slow
def test_a_campaign_runs_against_a_served_twin_until_it_is_told_to_end(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN, encoding="utf-8")
    server = processes.start("twin", "serve", "--port", "0", "--speed", "500", "--log", "log.jsonl", cwd=tmp_path)
    try:
        assert server.stdout
        url = re.findall(r"http://[\d.:]+/api", server.stdout.readline())[0]
        hint = server.stdout.readline().split()[3:]
        assert hint == ["--set", "instrument.kind=claude-light", "--set", f"instrument.url={url}"]
        checked = processes.sdl("instrument", "check", "c.yaml", *hint, cwd=tmp_path)
        assert checked.returncode == 0, checked.stdout
        assert "NOT OK" not in checked.stdout
        done = processes.sdl("run", "c.yaml", *hint, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["outcome"] == "reached"
        with urllib.request.urlopen(f"{url}?G=2") as answer:
            assert json.load(answer)["in"] == [0.0, 1.0, 0.0]
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=PATIENCE)
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 0, err
    taken = len((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines())
    assert f"ended after {taken} readings" in out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--faults", "buzy=0.1"], "unknown fault 'buzy'; allowed: all, busy"),
        (["--faults", "busy=often"], "must be NAME=PROBABILITY"),
        (["--faults", "busy=2"], "faults.0.probability"),
        (["--faults", "none.yaml"], "none.yaml"),
        (["--state", "noon"], "unknown state 'noon'"),
        (["--start", "noon"], "is not a date and time"),
        (["--set", "colour=blue"], "colour"),
        (["--host", "192.0.2.1"], "cannot listen at 192.0.2.1:5000"),
    ],
)
def test_a_wrong_option_of_serve_is_a_clear_error(sdl: Any, args: list[str], says: str) -> None:
    done = sdl("twin", "serve", *args)
    assert done.code == 2
    assert says in done.err


def test_faults_can_be_given_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("- {name: refused, at: [5]}\n- {name: busy, after: 1e9}\n", encoding="utf-8")
    server = processes.start(
        "twin", "serve", "--port", "0", "--faults", "plan.yaml", "--faults", "all=0.01", cwd=tmp_path
    )
    try:
        assert server.stdout
        assert "http://" in server.stdout.readline()
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.communicate()


def test_check_tells_what_is_wrong_with_exit_code_1_and_as_json(sdl: Any, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN.replace("claude-light", "twin, state: paper-2025-03"), encoding="utf-8")
    assert sdl("instrument", "check", tmp_path / "c.yaml").code == 0
    done = sdl("instrument", "check", tmp_path / "c.yaml", "--set", "goal.445nm=300", "--json")
    printed = json.loads(done.out)
    assert (done.code, printed["exit_code"], printed["not_ok"]) == (1, 1, ["goal"])
    assert {finding["what"] for finding in printed["findings"]} >= {"identity", "noise", "settling", "inputs"}


def test_check_of_an_instrument_that_is_not_there_is_exit_code_3(sdl: Any, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN, encoding="utf-8")
    done = sdl("instrument", "check", tmp_path / "c.yaml", "--set", "instrument.url=http://127.0.0.1:1/api")
    assert done.code == 3
    assert "no reading was obtained" in done.err
    waited = done.err.splitlines()[0]
    assert waited.startswith("reading 1 of about 25, at R = 0, G = 0, B = 0; waiting for 160 s at most … failed: ")


@pytest.mark.slow
def test_a_played_device_answers_a_campaign_and_ends_when_told(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt")
    with MqttBroker(tmp_path) as broker:
        (tmp_path / "c.yaml").write_text(
            "name: mqtt\n"
            f"instrument: {{kind: sdl-light, host: 127.0.0.1, port: {broker.port}, tls: false, device: pico}}\n"
            "goal: {ch440: 3000, ch510: 8000, ch620: 3000}\ntolerance: 4%\nsolver: linear\n",
            encoding="utf-8",
        )
        options = ("--port", broker.port, "--device", "pico", "--latency", "0.01")
        played = processes.start("twin", "device", *map(str, options), cwd=tmp_path)
        try:
            assert played.stdout
            assert "SDL-Light pico at the broker" in played.stdout.readline()
            done = processes.sdl("run", "c.yaml", "--json", cwd=tmp_path)
            assert json.loads(done.stdout)["outcome"] == "reached"
            played.send_signal(signal.SIGTERM)
            out, err = played.communicate(timeout=PATIENCE)
        finally:
            played.kill()
            played.wait()
        assert played.returncode == 0, err
        assert "ended after" in out
