"""A Python function as the instrument, from a file or handed over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import processes
import pytest
from waiting import TIMEOUT

import sdl
from sdl.clock import RealClock
from sdl.config import parse_kind
from sdl.drivers.declared.driver import DeclaredDriver
from sdl.errors import ConfigError, InstrumentError
from sdl.types import Outcome, Power

KEYS: dict[str, Any] = {
    "kind": "python",
    "inputs": {"a": {"high": 100}, "b": {"high": 100}},
    "channels": {"R": {}, "Q": {}},
    "off": {"a": 0, "b": 0},
    "function": "my_rig.py:measure",
}
RIG = """
def measure(settings):
    return {"R": 3 * settings["a"] + settings["b"], "Q": settings["a"] - 2 * settings["b"]}
"""
SETTINGS = {"a": 2.0, "b": 1.0}
CAMPAIGN = {
    "name": "rig", "instrument": KEYS, "goal": {"R": 150, "Q": 20}, "tolerance": 1, "solver": "linear",
}  # fmt: skip


def opened(folder: Path, program: str = RIG, **more: Any) -> DeclaredDriver:
    (folder / "my_rig.py").write_text(program)
    driver: DeclaredDriver = parse_kind("instrument", {**KEYS, **more}, folder).open(RealClock())
    return driver


def linear(settings: dict[str, float]) -> dict[str, float]:
    return {"R": 3 * settings["a"] + settings["b"], "Q": settings["a"] - 2 * settings["b"]}


def test_a_function_beside_the_campaign_takes_settings_and_returns_readings(tmp_path: Path):
    before = list(sys.path)
    reading = opened(tmp_path).measure(SETTINGS)
    assert reading.readings == {"R": 7.0, "Q": 0.0}
    assert reading.applied == SETTINGS
    assert sys.path == before


def test_it_may_say_what_was_applied(tmp_path: Path):
    program = "def measure(settings):\n    return {'readings': {'R': 1, 'Q': 2}, 'applied': {'a': 2.5, 'b': 1}}"
    reading = opened(tmp_path, program).measure(SETTINGS)
    assert (reading.applied, reading.fault) == ({"a": 2.5, "b": 1}, "not-applied")


def test_two_rigs_of_one_file_name_are_two(tmp_path: Path):
    (tmp_path / "other").mkdir()
    one = opened(tmp_path)
    other = opened(tmp_path / "other", "def measure(settings):\n    return {'R': 0, 'Q': 0}")
    assert one.measure(SETTINGS).readings["R"] == 7
    assert other.measure(SETTINGS).readings["R"] == 0


@pytest.mark.parametrize(
    ("off", "state"),
    [
        ("return None", Power.OFF),
        ("return settings", Power.OFF),
        ("return {'applied': settings}", Power.OFF),
        ("return {'a': 0, 'b': 3}", Power.ON),
        ("return {'a': 0}", Power.UNKNOWN),
    ],
)
def test_a_function_of_its_own_switches_it_off(tmp_path: Path, off: str, state: Power):
    driver = opened(tmp_path, RIG + f"\ndef stop(settings):\n    {off}\n", off_function="my_rig.py:stop")
    driver.measure(SETTINGS)
    assert driver.safe().state is state


def test_without_one_it_is_called_with_the_settings_off(tmp_path: Path):
    driver = opened(
        tmp_path, "seen = []\ndef measure(settings):\n    seen.append(settings)\n    return {'R': 1, 'Q': len(seen)}"
    )
    driver.measure(SETTINGS)
    assert driver.safe().state is Power.OFF
    assert driver.measure(SETTINGS).readings["Q"] == 3


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("def measure(settings:\n    pass", r"my_rig.py.*SyntaxError"),
        ("import no_such_library", r"my_rig.py:1: ModuleNotFoundError"),
        ("x = 1\n\ny = {}['nothing']", r"my_rig.py:3: KeyError"),
        ("x = 1", "there is no function measure"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_a_mistake_with_its_line(tmp_path: Path, program: str, message: str):
    with pytest.raises(ConfigError, match=message):
        opened(tmp_path, program)


def test_a_file_that_is_missing_is_said_before_the_campaign_begins(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"instrument.function: there is no file .*my_rig.py"):
        sdl.run(CAMPAIGN, runs=None)


def test_a_mistake_in_the_function_ends_the_campaign_and_names_its_line(tmp_path: Path):
    (tmp_path / "my_rig.py").write_text("def measure(settings):\n    return settings + 1\n")
    (tmp_path / "rig.json").write_text(json.dumps(CAMPAIGN))
    result = sdl.run(tmp_path / "rig.json", runs=None)
    assert result.outcome is Outcome.FAILED
    assert "TypeError" in result.reason
    assert "my_rig.py:2 in measure" in result.reason


def test_the_functions_may_be_handed_over(tmp_path: Path):
    calls: list[dict[str, Any]] = []
    tree = {**CAMPAIGN, "instrument": {key: value for key, value in KEYS.items() if key != "function"}}
    result = sdl.run(tree, runs=tmp_path, measure=linear, off=calls.append)
    assert result.outcome is Outcome.REACHED
    assert calls == [{"a": 0.0, "b": 0.0}]
    with pytest.raises(ConfigError, match=r"sdl.resume\(…, measure=…\)"):
        sdl.resume(
            sdl.run({**tree, "stop": {"trials": 1}}, runs=tmp_path, measure=linear).run, changes=["stop.trials=20"]
        )


def test_a_run_is_resumed_with_the_functions(tmp_path: Path):
    tree = {**CAMPAIGN, "stop": {"trials": 1}, "instrument": {k: v for k, v in KEYS.items() if k != "function"}}
    first = sdl.run(tree, runs=tmp_path, measure=linear)
    assert first.outcome is Outcome.SPENT
    assert sdl.resume(first.run, changes=["stop.trials=20"], measure=linear).outcome is Outcome.REACHED


def test_only_kind_python_takes_functions():
    with pytest.raises(ConfigError, match="measure and off go with instrument kind python, not twin"):
        sdl.run({"name": "x", "instrument": "twin", "goal": {"445nm": 20000}}, runs=None, measure=linear)


def test_what_the_function_raises_fails_the_reading(tmp_path: Path):
    driver = opened(tmp_path, "def measure(settings):\n    raise OSError('no port')")
    with pytest.raises(OSError, match="no port"):
        driver.measure(SETTINGS)
    driver.close()
    with pytest.raises(InstrumentError, match="closed"):
        driver.measure(SETTINGS)


DYING = """
import os, pathlib
log = pathlib.Path(__file__).with_name("log")

def measure(settings):
    with log.open("a") as file:
        file.write(f"{settings['a']:g} {settings['b']:g}\\n")
    if len(log.read_text().splitlines()) == 3:
        os._exit(9)
    return {"R": 3 * settings["a"] + settings["b"], "Q": settings["a"] - 2 * settings["b"]}
"""


@pytest.mark.slow
def test_after_a_process_died_a_ramp_begins_where_the_instrument_is_off(tmp_path: Path):
    (tmp_path / "my_rig.py").write_text(DYING)
    instrument = {**KEYS, "ramp": {"a": "100 per s"}}
    (tmp_path / "rig.json").write_text(json.dumps({**CAMPAIGN, "instrument": instrument}))
    code = "import sys, sdl; sdl.run(sys.argv[1], runs=sys.argv[2])"
    words = [sys.executable, "-P", "-c", code, str(tmp_path / "rig.json"), str(tmp_path / "runs")]
    assert subprocess.run(words, check=False, timeout=TIMEOUT, env=processes.environment()).returncode == 9
    (run,) = (tmp_path / "runs").glob("*/*")
    assert sdl.resume(run).outcome is Outcome.REACHED
    asked = (tmp_path / "log").read_text().splitlines()
    assert asked[3] == "0 0"
    assert asked[2] in asked[4:7]
    assert asked[-1] == "0 0"


def test_after_a_process_died_an_instrument_that_may_be_left_alone_is_not_touched(tmp_path: Path):
    (tmp_path / "my_rig.py").write_text(DYING)
    (tmp_path / "rig.json").write_text(json.dumps({**CAMPAIGN, "instrument": {**KEYS, "off": "nothing"}}))
    code = "import sys, sdl; sdl.run(sys.argv[1], runs=sys.argv[2])"
    words = [sys.executable, "-P", "-c", code, str(tmp_path / "rig.json"), str(tmp_path / "runs")]
    assert subprocess.run(words, check=False, timeout=TIMEOUT, env=processes.environment()).returncode == 9
    (run,) = (tmp_path / "runs").glob("*/*")
    assert sdl.resume(run).outcome is Outcome.REACHED
    assert "0 0" not in (tmp_path / "log").read_text().splitlines()
