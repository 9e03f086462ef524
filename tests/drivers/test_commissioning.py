"""What `sdl instrument check` finds, on instruments that have what there is to find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sdl import config, runner
from sdl.clock import RealClock, VirtualClock
from sdl.drivers.base import Driver
from sdl.drivers.checks import checked_safe
from sdl.drivers.claude_light.config import ClaudeLight
from sdl.drivers.commissioning.readings import CommissioningCheck
from sdl.drivers.commissioning.survey import Examination
from sdl.errors import InstrumentError
from sdl.twin.faults import Fault
from sdl.twin.led.serve import TwinServer
from sdl.types import SafeState

from .server import Server, silent
from .test_repeats import Bath

GOAL: Mapping[str, Any] = {"445nm": 16384, "515nm": 16384, "630nm": 16384}


def found(instrument: Any, goal: Mapping[str, Any] = GOAL, repeats: int = 5) -> dict[str, CommissioningCheck]:
    tree = {"name": "x", "instrument": instrument, "goal": goal}
    campaign = config.parse(tree, collect=True)
    clock = runner.clock_for(campaign.instrument)
    findings = list(Examination(campaign.instrument, clock, campaign.goals(), off, repeats).findings())
    return {finding.what: finding for finding in findings}


def bad(findings: Mapping[str, CommissioningCheck]) -> list[str]:
    return [what for what, finding in findings.items() if finding.good is False]


def test_a_twin_in_good_order_has_nothing_against_it() -> None:
    findings = found({"kind": "twin", "background": "each"})
    assert list(findings) == [
        "identity", "readings", "background", "noise", "repeatability", "settling", "resolution", "inputs",
        "cross-talk", "settings", "goal", "off",
    ]  # fmt: skip
    assert bad(findings) == []
    assert findings["identity"].says == "twin:night-2025-10:0 (simulated)"
    assert findings["readings"].figures["median"] == pytest.approx(2 * 0.78)
    assert findings["background"].figures["mean"]["515nm"] < 5
    assert 60 < findings["noise"].figures["sd"]["515nm"] < 260


def test_a_clamped_answer_says_so() -> None:
    findings = found({"kind": "twin", "faults": [{"name": "clamp", "probability": 1.0, "size": 0.7}]})
    assert bad(findings) == ["settings"]
    assert " readings not-applied; one at R = 0.7, G = 0.5, B = 0.5" in findings["settings"].says


def test_a_sensor_that_repeats_itself_says_so() -> None:
    findings = found({"kind": "twin", "faults": [{"name": "frozen", "at": list(range(1, 20))}]})
    assert "noise" in bad(findings)
    assert "is the sensor frozen?" in findings["noise"].says


def test_a_goal_below_the_light_of_the_room_or_above_the_lamp_says_so() -> None:
    bright = {"kind": "twin", "background": "each", "faults": [{"name": "light-step", "after": 0, "size": 9000}]}
    findings = found(bright, {"515nm": 5000})
    assert bad(findings) == ["goal"]
    assert "the background alone is 90" in findings["goal"].says
    dim = found({"kind": "twin", "background": "each", "faults": [{"name": "clamp", "probability": 1.0, "size": 0.2}]})
    assert "at least 16056.3 is needed" in dim["goal"].says


def test_a_room_that_saturates_a_channel_of_the_goal_says_so() -> None:
    findings = found({"kind": "twin", "background": "each", "faults": [{"name": "saturating-light", "after": 0}]})
    assert "background" in bad(findings)
    assert "already saturated" in findings["background"].says


def test_single_failures_are_told_and_the_rest_is_looked_at_all_the_same() -> None:
    findings = found({"kind": "twin", "faults": [{"name": "null-channel", "at": [4]}]})
    assert bad(findings) == ["readings"]
    assert findings["readings"].figures["taken"] >= 24
    assert "1 failed, the last: BadReply" in findings["readings"].says


def test_an_instrument_that_never_answers_is_an_error_after_three_tries() -> None:
    with pytest.raises(InstrumentError, match="no reading was obtained: Unreachable"):
        found({"kind": "claude-light", "url": "http://127.0.0.1:1/api"})


def off(driver: Driver) -> SafeState:
    return checked_safe(driver.safe(), virtual=True)


def test_what_is_waited_for_is_said_before_it_comes_and_what_came_of_it_after(server: Server) -> None:
    server.then(silent)
    light = ClaudeLight(url=server.url, background="none", connect_timeout=0.2, read_timeout=0.2)
    said: list[str] = []

    def begun(what: str) -> None:
        said.append(f"{len(server.asked)} asked: {what}")

    examination = Examination(light, RealClock(), None, off, repeats=1, begun=begun, ended=said.append)
    findings = list(examination.findings())
    assert said[0] == "0 asked: reading 1 of about 21, at R = 0, G = 0, B = 0; waiting for 0.4 s at most"
    assert said[1].startswith("failed: ")
    assert "no answer in time" in said[1] or "no whole answer" in said[1]
    assert said[2].startswith("1 asked: reading 2 of about 21, at R = 0, G = 0, B = 0")
    assert said[-2].endswith(" asked: switching it off")
    assert said[-1] == "off"
    assert findings[1].figures["failed"] >= 1


def test_equal_readings_of_an_instrument_that_reads_in_coarse_steps_are_not_called_frozen() -> None:
    for steps, frozen in (((None, None), True), ((0.5, None), True), ((0.5, 0.1), False)):
        examination = Examination(Bath(steps=steps), VirtualClock(), None, off)
        findings = {finding.what: finding for finding in examination.findings()}
        assert ("noise" in bad(findings)) is frozen
        assert ("is the sensor frozen?" in findings["noise"].says) is frozen


def test_it_works_over_http_and_leaves_the_light_off() -> None:
    with TwinServer(speed=1000, faults=[Fault(name="html-500", at=(20,))]) as server:
        campaign = config.parse({"name": "x", "instrument": ClaudeLight(url=server.url)}, collect=True)
        examination = Examination(campaign.instrument, runner.clock_for(campaign.instrument), None, off)
        findings = {finding.what: finding for finding in examination.findings()}
        assert "goal" not in findings
        assert bad(findings) == ["readings"]
        assert not server.world.lit
        pairs = findings["readings"].figures["taken"]
        assert pairs >= 20
        assert server.world.taken == 2 * pairs + 1, "half of a pair failed, and once more for darkness at the end"
