"""Every fault on the wire has the outcome that the docs of instruments promise; more seeds: benchmarks/faults.py."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from waiting import TIMEOUT

from sdl.clock import RealClock
from sdl.drivers.claude_light.config import ClaudeLight
from sdl.errors import BadReply
from sdl.runner import MonotonicClock, SwitchOff
from sdl.twin.faults import MEANING, Fault
from sdl.twin.led.serve import TwinServer
from sdl.types import Power

sys.path.append(str(ROOT / "benchmarks"))

import faults


def test_something_is_promised_of_every_fault() -> None:
    assert set(faults.OUTCOMES) == set(MEANING)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MEANING))
def test_a_fault_ends_as_promised_loses_no_reading_and_leaves_no_light_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = name in ("time-out", "slow-drip")  # a driver that gave up early on a slow machine would do it for another
    never = faults.OUTCOMES[name].safe is Power.UNKNOWN  # proof that the light is off is waited for in vain
    for limit, seconds in {
        "READ": 3.0 if waits else 30.0,
        "SAFE": 5.0 if never else TIMEOUT,
        "SLACK": TIMEOUT,
    }.items():
        monkeypatch.setattr(faults, limit, seconds)
    done = faults.run(name, 3, tmp_path)
    assert done.wrong == ()
    assert done.befell


def after_an_error_in_the_middle(server: TwinServer) -> float:
    """Leaves the light on, then makes the instrument safe; seconds that this took."""
    driver = ClaudeLight(url=server.url, background="none", read_timeout=30.0).open(RealClock())
    with pytest.raises(BadReply, match="status 500"):
        driver.measure({"R": 0.5, "G": 0.5, "B": 0.5})
    assert server.world.lit
    assert server.world.left_open
    began = time.monotonic()
    assert SwitchOff(driver.safe, MonotonicClock(), virtual=False).until(60.0).state is Power.OFF
    driver.close()
    assert not server.world.lit
    return time.monotonic() - began


@pytest.mark.slow
def test_the_light_goes_out_when_the_server_returns() -> None:
    gone = 3.0
    plan = [Fault(name="html-500", at=(0,)), Fault(name="refused", after=5.0, lasts=gone * 10)]
    with TwinServer(speed=10, latency=6.0, faults=plan) as server:
        began = server.world.now()
        after_an_error_in_the_middle(server)
        assert server.world.now() - began > 5.0 + gone * 10 - 1.0, "it was gone until then"


@pytest.mark.slow
def test_the_light_goes_out_when_the_led_becomes_free() -> None:
    busy = 2.0
    plan = [Fault(name="html-500", at=(0,)), Fault(name="busy", at=(1,), seconds=busy * 20)]
    with TwinServer(speed=20, faults=plan) as server:
        assert after_an_error_in_the_middle(server) > busy - 0.5
