"""`sdl instrument check` on instruments of every kind: constraints, choices, steps, lags, dead inputs, limits."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import PrivateAttr
from waiting import TIMEOUT

from sdl import config
from sdl.clock import VirtualClock
from sdl.drivers.base import constraints_of, off_settings
from sdl.drivers.checks import checked_safe
from sdl.drivers.commissioning.readings import CommissioningCheck
from sdl.drivers.commissioning.survey import Examination
from sdl.drivers.declared.config import Declared
from sdl.errors import InstrumentError, Rejected, Unreachable
from sdl.space import Space
from sdl.types import Power, Reading, SafeState, Settings


class Rig(Declared):
    """A declared instrument over a function of the settings and the seconds since they were set."""

    kind: Literal["rig"] = "rig"
    _raw: Any = PrivateAttr(None)

    @property
    def address(self) -> str:
        return "rig"

    def connect(self, clock: VirtualClock) -> Raw:
        self._raw.clock = clock
        return self._raw


Response = Callable[[Settings], Mapping[str, float]]


class Raw:
    """Answers with the response to the settings, with noise and a lag.

    Attributes:
        sent: all settings.
    """

    def __init__(
        self, response: Response, noise: float = 1.0, seconds: float = 1.0, lag: float = 0.0, seed: int = 0
    ) -> None:
        self.response, self.noise, self.seconds, self.lag = response, noise, seconds, lag
        self.rng = np.random.default_rng(seed)
        self.sent: list[dict[str, Any]] = []
        self.state: dict[str, float] = {}
        self.was_off, self.last = 0, 0.0
        self.fails: Callable[[Settings], InstrumentError | None] = lambda _: None
        self.off: Settings = {}
        self.steps: dict[str, float] = {}
        self.clock = VirtualClock()

    def measure(self, settings: Settings) -> Reading:
        self.sent.append(dict(settings))
        if (error := self.fails(settings)) is not None:
            raise error
        self.clock.sleep(self.seconds)
        aim, passed = self.response(settings), self.clock.monotonic() - self.last
        self.last += passed
        if self.sent[-1] != self.sent[-2 if len(self.sent) > 1 else -1]:
            passed = self.seconds  # they were set when the request came
        left = math.exp(-passed / self.lag) if self.lag else 0.0
        self.state = {name: value + left * (self.state.get(name, value) - value) for name, value in aim.items()}
        values = {n: v + self.noise * self.rng.standard_normal() for n, v in self.state.items()}
        return Reading(settings, values | {n: step * round(values[n] / step) for n, step in self.steps.items()})

    def safe(self) -> SafeState:
        self.was_off += 1
        return SafeState(Power.OFF, self.off)

    def close(self) -> None: ...


MIXTURE: dict[str, Any] = {
    "inputs": {name: {"high": 300, "step": 5, "unit": "uL"} for name in ("red", "yellow", "blue")},
    "channels": {"R": {"low": 0, "high": 255}, "G": {"low": 0, "high": 255}},
    "constraints": ["red + yellow + blue <= 300"],
    "off": {"red": 0, "yellow": 0, "blue": 0},
}


def colours(settings: Any) -> Mapping[str, float]:
    red, yellow, blue = (settings[name] for name in ("red", "yellow", "blue"))
    return {
        "R": 240 * 10 ** -(0.0006 * red + 0.0002 * yellow + 0.007 * blue),
        "G": 240 * 10 ** -(0.0075 * red + 0.0009 * yellow + 0.0035 * blue),
    }


def tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def rig(raw: Raw, **keys: Any) -> Rig:
    made = Rig.model_validate(tuples({**MIXTURE, **keys}))
    made._raw, raw.off = raw, off_settings(made)
    return made


def checked(made: Rig, goal: Mapping[str, Any] | None = None, **how: Any) -> dict[str, CommissioningCheck]:
    def off(driver: Any) -> SafeState:
        return checked_safe(driver.safe(), virtual=True)

    campaign = config.parse({"name": "x", "instrument": made, **({"goal": goal} if goal else {})}, collect=True)
    return {one.what: one for one in Examination(made, made._raw.clock, campaign.goals(), off, **how).findings()}


def bad(findings: Mapping[str, CommissioningCheck]) -> list[str]:
    return [what for what, finding in findings.items() if finding.good is False]


def at_ends(made: Rig, settings: Settings) -> set[str]:
    return {item.name for item in made.inputs if item.numeric and settings[item.name] in (item.low, item.high)}


def test_a_rig_with_a_constraint_is_never_driven_beyond_it_nor_two_inputs_to_an_end() -> None:
    raw = Raw(colours, noise=0.6)
    made = rig(raw)
    findings = checked(made, {"R": 140, "G": 42})
    assert bad(findings) == []
    assert all(sum(sent.values()) <= 300 for sent in raw.sent)
    assert all(len(at_ends(made, sent)) <= 1 for sent in raw.sent[6:]), "from the middle on"
    assert max(sent["red"] for sent in raw.sent) >= 140
    assert findings["inputs"].figures["dead"] == []
    assert findings["noise"].figures["sd"]["R"] == pytest.approx(0.6, rel=0.8)
    assert raw.was_off == 1


def test_each_step_from_off_to_the_middle_moves_one_input() -> None:
    raw = Raw(colours)
    checked(rig(raw))
    for before, after in zip(raw.sent, raw.sent[1:], strict=False):
        moved = [name for name in before if before[name] != after[name]]
        assert len(moved) <= 1


def test_a_ph_at_rest_is_no_light_of_a_room() -> None:
    """What the goal asks for lies below what the instrument reads when it is off."""
    raw = Raw(lambda s: {"pH": 8.0 - 0.03 * s["acid"]}, noise=0.01)
    keys = {"inputs": {"acid": {"high": 100}}, "channels": {"pH": {}}, "constraints": [], "off": {"acid": 0}}
    findings = checked(rig(raw, **keys), {"pH": 6.8})
    assert bad(findings) == []
    assert "background" not in findings
    assert findings["at rest"].says.startswith("with the instrument off: pH 8.0")


def test_a_slow_channel_is_found_with_its_time_and_waited_for_afterwards() -> None:
    raw = Raw(lambda s: {"T": 20.0 + s["power"]}, noise=0.02, seconds=2.0, lag=8.0)
    keys = {"inputs": {"power": {"high": 60}}, "channels": {"T": {}}, "constraints": [], "off": {"power": 0}}
    findings = checked(rig(raw, **keys), {"T": 50})
    assert bad(findings) == ["settling"]
    # 30 K fall to three standard deviations of the noise in 8 s * ln(30 / 0.06) = 50 s.
    assert 30 < findings["settling"].figures["seconds"] < 80
    assert "T moved for" in findings["settling"].says
    assert "the file has no `settle`" in findings["settling"].says
    assert "until: T" in findings["settling"].says
    assert findings["inputs"].figures["change"]["power"]["T"] == pytest.approx(60, rel=0.01)
    assert "not within the noise" not in findings["repeatability"].says
    enough = rig(Raw(lambda s: {"T": 20.0 + s["power"]}, noise=0.02, seconds=2.0, lag=8.0), **keys, settle=80.0)
    assert bad(checked(enough)) == []
    short = rig(Raw(lambda s: {"T": 20.0 + s["power"]}, noise=0.02, seconds=2.0, lag=8.0), **keys, settle=10.0)
    found = checked(short)
    assert bad(found) == ["settling"]
    assert "`settle` in the file is too short" in found["settling"].says


def test_a_channel_that_never_settles_is_said() -> None:
    raw = Raw(lambda s: {"T": 20.0 + s["power"]}, noise=0.001, seconds=1.0, lag=1000.0)
    keys = {"inputs": {"power": {"high": 60}}, "channels": {"T": {}}, "constraints": [], "off": {"power": 0}}
    findings = checked(rig(raw, **keys))
    assert "settling" in bad(findings)
    assert "T still moved" in findings["settling"].says
    assert len(raw.sent) < 120


def test_an_input_without_effect_and_one_that_changes_several_channels_are_named() -> None:
    raw = Raw(lambda s: {"R": 10 + 0.3 * s["red"] + 0.06 * s["yellow"], "G": 5 + 0.2 * s["yellow"]}, noise=0.1)
    findings = checked(rig(raw))
    assert bad(findings) == ["inputs"]
    assert findings["inputs"].figures["dead"] == ["blue"]
    assert "no channel changes beyond its noise with blue" in findings["inputs"].says
    assert findings["cross-talk"].figures["R"]["main"] == "red"
    assert findings["cross-talk"].figures["R"]["others"] == {"yellow": pytest.approx(0.2, abs=0.02)}
    assert findings["cross-talk"].says.startswith("R: red (100 %), yellow +2")


def test_choices_are_tried_one_after_the_other() -> None:
    raw = Raw(lambda s: {"R": 100.0 + {"water": 0, "ethanol": 50, "oil": 0}[s["solvent"]] + 0.1 * s["red"]}, noise=0.2)
    keys: dict[str, Any] = {
        "inputs": {"red": {"high": 100}, "solvent": {"choices": ["water", "ethanol", "oil"]}},
        "channels": {"R": {}}, "constraints": ["red <= 80"], "off": {"red": 0, "solvent": "water"},
    }  # fmt: skip
    findings = checked(rig(raw, **keys))
    assert bad(findings) == []
    assert {sent["solvent"] for sent in raw.sent} == {"water", "ethanol", "oil"}
    assert all(0 < sent["red"] < 80 for sent in raw.sent if sent["solvent"] != "water")
    assert findings["inputs"].figures["change"]["solvent"]["R"] == pytest.approx(50, abs=1.5)


def test_it_asks_before_it_goes_where_it_has_not_been_and_leaves_out_what_is_refused() -> None:
    raw, asked = Raw(colours), []

    def consent(place: str) -> bool:
        asked.append((place, len(raw.sent)))
        return "blue" not in place

    findings = checked(rig(raw), consent=consent)
    assert asked[0] == ("red = 75 uL (so far 0)", 3)
    assert any(place.startswith("red = ") and place.endswith(" uL (so far 0 … 75)") for place, _ in asked)
    assert {sent["blue"] for sent in raw.sent} == {0}
    assert len([place for place, _ in asked if place.startswith("red")]) == 2
    assert "left out: blue = " in findings["readings"].says


def test_where_nobody_can_be_asked_it_goes_half_of_the_way() -> None:
    raw = Raw(lambda s: {"R": 1.0 * s["red"], "G": 1.0 * s["yellow"] + s["blue"]})
    keys = {name: {"high": 100} for name in ("red", "yellow", "blue")}
    findings = checked(rig(raw, inputs=keys, constraints=[]), {"R": 95}, part=0.5)
    assert {sent["red"] for sent in raw.sent} == {0, 25, 50, 75}
    assert findings["goal"].good is None
    assert findings["settings"].says == "all settings were applied as asked"


def test_a_limit_ends_it_and_is_said() -> None:
    raw = Raw(colours)
    findings = checked(rig(raw, limits={"R": {"at least": 200}}))
    assert "limits" in bad(findings)
    assert "below its limit 200" in findings["limits"].says
    assert raw.was_off >= 1
    assert sum(colours(sent)["R"] < 197 for sent in raw.sent) <= 1


def test_settings_that_the_instrument_refuses_are_said_and_the_rest_is_examined() -> None:
    raw = Raw(colours)
    raw.fails = lambda s: Rejected("the well holds 300 uL") if sum(s.values()) > 300 else None  # type: ignore[arg-type]
    findings = checked(rig(raw, constraints=[]))
    assert bad(findings) == ["settings"]
    assert "declare `constraints`" in findings["settings"].says
    assert "red" in findings["inputs"].figures["change"]


def test_steps_coarser_than_the_noise_are_said() -> None:
    raw = Raw(lambda s: {"R": 20 + s["red"] / 2, "G": 5 + 0.5 * s["yellow"]}, noise=0.2)
    raw.steps = {"R": 2.0}
    findings = checked(rig(raw))
    assert "R reads in steps of 2, coarser than its noise: declare its `resolution`" in findings["resolution"].says


def test_an_instrument_that_may_be_left_alone_is_never_sent_to_off() -> None:
    raw, asked = Raw(colours), []
    findings = checked(rig(raw, off="nothing"), consent=lambda place: not asked.append(place))
    assert asked[0].startswith("red = ")
    assert ", blue = " in asked[0]
    assert {"red": 0, "yellow": 0, "blue": 0} not in raw.sent
    assert raw.was_off == 0
    assert findings["off"].figures["state"] is Power.NOT_NEEDED


@pytest.mark.parametrize(("retryable", "times"), [(True, 3), (False, 1)])
def test_an_instrument_that_never_answers_is_given_up(retryable: bool, times: int) -> None:
    raw = Raw(colours)
    raw.fails = lambda _: Unreachable("no answer", retryable=retryable)
    with pytest.raises(InstrumentError, match="no reading was obtained: Unreachable: no answer"):
        checked(rig(raw))
    assert len(raw.sent) == times


@pytest.mark.parametrize("seed", range(60))
def test_a_rig_at_random_is_kept_inside_and_has_nothing_against_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["a", "b", "c", "d"][: rng.integers(1, 5)]
    inputs: dict[str, Any] = {}
    for name in names:
        low, width = float(rng.choice([-50.0, 0.0, 10.0])), float(rng.choice([1.0, 30.0, 400.0]))
        inputs[name] = {"low": low, "high": low + width}
        if rng.random() < 0.4:
            inputs[name]["step"] = width / float(rng.choice([8, 50]))
    middle = sum(item["low"] + 0.6 * (item["high"] - item["low"]) for item in inputs.values())
    kind = rng.choice(["none", "sum", "mixture"]) if len(names) > 1 else "none"
    constraints = {"none": [], "sum": [f"{' + '.join(names)} <= {middle}"], "mixture": []}[str(kind)]
    if kind == "mixture" and not any("step" in item for item in inputs.values()):
        constraints = [f"{' + '.join(names)} = {middle}"]
    if rng.random() < 0.4:
        inputs["way"] = {"choices": ["left", "right", "up"]}
    channels = {name: {} for name in ("R", "pH")}
    slopes = {n: rng.uniform(0.5, 2.0, 2) * rng.choice([-1, 1], 2) for n in inputs}
    codes = {"left": 0.0, "right": 0.7, "up": -0.5}

    def response(settings: Settings) -> Mapping[str, float]:
        unit = {
            name: codes[value] if isinstance(value, str) else (value - inputs[name]["low"])
            / (inputs[name]["high"] - inputs[name]["low"])
            for name, value in settings.items()
        }  # fmt: skip
        total = sum(slopes[name] * value for name, value in unit.items())
        return {"R": 100 + 50 * float(total[0]), "pH": 7 + float(total[1])}

    raw = Raw(response, seed=seed)
    raw.noise = 0.005
    made = rig(raw, inputs=inputs, channels=channels, constraints=constraints, off="nothing")
    findings = checked(made)
    space = Space(made.inputs, constraints_of(made))
    assert all(space.contains(sent) for sent in raw.sent)
    if kind != "mixture":
        assert all(len(at_ends(made, sent)) <= 1 for sent in raw.sent)
    assert bad(findings) == []


# The command ----------------------------------------------------------------------------------------------------------
FILE = """
kind: python
function: rig.py:measure
inputs: {red: {high: 10}, blue: {high: 10}}
channels: {R: {}}
off: {red: 0, blue: 0}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rig.yaml").write_text(FILE)
    (tmp_path / "rig.py").write_text(
        "import random\ndef measure(s):\n    return {'R': 3 * s['red'] - s['blue'] + random.gauss(0, 0.01)}\n"
    )
    return tmp_path


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "sdl", "instrument", "check", "rig.yaml", *words]
    return subprocess.run(line, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT)


@pytest.mark.slow
def test_the_file_of_an_instrument_alone_is_checked_and_half_of_the_way_without_a_terminal(folder: Path) -> None:
    for words, change in (((), 15), (("--yes",), 30)):
        done = command(folder, "--json", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        findings = {finding["what"]: finding["figures"] for finding in json.loads(done.stdout)["findings"]}
        assert findings["inputs"]["change"]["red"]["R"] == pytest.approx(change, abs=0.1)


def test_a_mistake_in_it_is_said_with_its_line(folder: Path) -> None:
    (folder / "rig.yaml").write_text(FILE.replace("blue: {high: 10}}", "blue: {hihg: 10}}"))
    done = command(folder)
    assert done.returncode == 2
    assert "rig.yaml:4: " in done.stderr
    assert "inputs.blue.hihg" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal")
def test_at_a_terminal_it_asks(folder: Path) -> None:
    import pty

    master, slave = pty.openpty()
    line = [sys.executable, "-P", "-m", "sdl", "instrument", "check", "rig.yaml", "--json"]
    process = subprocess.Popen(line, cwd=folder, stdin=slave, stderr=slave, stdout=subprocess.PIPE, text=True)
    os.close(slave)
    os.write(master, b"y\nn\na\n")
    shown, _ = process.communicate(timeout=TIMEOUT)
    screen = os.read(master, 65536).decode()
    os.close(master)
    assert "Set red = 5 (so far 0)? [y]es, [n]o, [a]ll that follows" in screen
    assert process.returncode == 0, screen
    findings = {finding["what"]: finding["figures"] for finding in json.loads(shown)["findings"]}
    assert findings["readings"]["left_out"] == ["blue = 5 (so far 0)"]
    assert findings["inputs"]["change"]["red"]["R"] == pytest.approx(30, abs=0.1)
