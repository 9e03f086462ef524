"""The twin of any instrument as an instrument: alone, and in the place of the declared one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sdl
from sdl import config
from sdl.clock import VirtualClock
from sdl.config import parse_kind
from sdl.drivers.base import RealInstrument
from sdl.drivers.twin.fitted import FittedTwin
from sdl.errors import BadReply, Busy, ConfigError, Interlock, Rejected, Unreachable
from sdl.runs.runs import open_run
from sdl.twin.faults import GENERAL
from sdl.types import Channel, Input, Outcome, Power
from tests.twin.fitted_kit import KEYS, NOISE, fitted_mixer, mixer, written

AT = {"red": 100.0, "blue": 50.0}
RIG: dict[str, Any] = {**KEYS, "kind": "command", "command": ["no-such-program"], "twin": "rig-twin.toml"}
GOAL = {"R": 120, "T": 20.2}


@pytest.fixture
def alone(tmp_path: Path) -> FittedTwin:
    """The twin as `instrument: {kind: twin, state: …}`."""
    return parse_kind("instrument", {"kind": "twin", "state": str(written(tmp_path)), "seed": 0})


def rig(folder: Path, **options: Any) -> Any:
    """A declared instrument beside its twin."""
    written(folder)
    return parse_kind("instrument", {**RIG, **options}, folder)


def campaign(folder: Path, **options: Any) -> dict[str, Any]:
    written(folder)
    return {
        "name": "mix",
        "instrument": dict(RIG),
        "goal": GOAL,
        "tolerance": 3,
        "solver": {"kind": "auto"},
        "stop": {"trials": 20},
        **options,
    }


# Alone ---------------------------------------------------------------------------------------------------------------
def test_it_declares_what_the_instrument_declared(alone: FittedTwin) -> None:
    declared = parse_kind("instrument", RIG)
    assert (alone.inputs, alone.channels) == (declared.inputs, declared.channels)
    assert list(map(str, alone.constraints)) == ["red + blue <= 300"]
    assert alone.off == {"red": 0.0, "blue": 0.0}
    assert (alone.reading_seconds, alone.virtual, alone.simulated) == (20.0, True, True)
    assert alone.identity.startswith("twin:rig-twin@")
    assert alone.reading_noise("R", 60.0) == pytest.approx(NOISE["R"], rel=0.4)


def test_a_reading_takes_its_time_and_is_near_the_instrument_s(alone: FittedTwin) -> None:
    clock = VirtualClock(alone.start_time)
    driver = alone.open(clock)
    reading = driver.measure(AT)
    assert clock.now() == alone.start_time + 20.0
    assert reading.readings["R"] == pytest.approx(mixer(AT)["R"], abs=5 * NOISE["R"])
    assert driver.safe().state is Power.OFF
    assert driver.plant.noise_free(AT)["T"] == pytest.approx(mixer(AT)["T"], abs=0.1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"red": 200.0, "blue": 150.0}, r"break the constraint red \+ blue <= 300"),
        ({"red": 400.0, "blue": 0.0}, "red = 400.0 is outside 0 … 300"),
        ({"red": 100.0}, "missing: blue"),
    ],
)
def test_settings_that_the_instrument_cannot_take_are_rejected(
    alone: FittedTwin, settings: dict[str, float], says: str
) -> None:
    with pytest.raises(Rejected, match=says):
        alone.open(VirtualClock()).measure(settings)


def test_a_campaign_on_it_ends_the_same_if_it_is_broken_off_and_resumed(tmp_path: Path) -> None:
    tree = campaign(tmp_path, instrument={"kind": "twin", "state": str(written(tmp_path))})
    whole = sdl.run(tree, runs=tmp_path / "whole")
    part = sdl.run({**tree, "stop": {"trials": 4}}, runs=tmp_path / "part")
    assert (whole.outcome, part.outcome) == (Outcome.REACHED, Outcome.SPENT)
    again = sdl.resume(part.run, changes=["stop.trials=20"])
    assert [e.readings for e in open_run(again.run).measured()] == [e.readings for e in open_run(whole.run).measured()]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"variant": "curved"}, "variant"),
        ({"ambient": "day"}, "ambient"),
        (
            {"faults": [{"name": "dead-led", "at": [0]}]},
            "only the twin of the LED has dead-led; allowed: busy, refused",
        ),
        ({"faults": [{"name": "null-channel", "at": [0]}]}, "unknown '515nm'; allowed: R, T"),
        ({"latency": "real"}, "latency"),
        ({"start": "yesterday"}, "is not a date and time"),
        ({"of": {"kind": "twin"}}, "kind twin: its inputs and channels are not declared in a file"),
    ],
)
def test_options_without_a_meaning_here_are_refused(tmp_path: Path, options: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_kind("instrument", {"kind": "twin", "state": str(written(tmp_path)), **options})


@pytest.mark.parametrize("name", GENERAL)
def test_every_fault_that_any_instrument_may_have_does_what_its_row_says(tmp_path: Path, name: str) -> None:
    fault = {"name": name, "at": [1], "channel": "R", "other": "T"}
    fault |= {"seconds": 80.0} if name in ("busy", "slow-drip") else {"size": 0.1} if name == "clamp" else {}
    twin = parse_kind("instrument", {"kind": "twin", "state": str(written(tmp_path)), "seed": 0, "faults": [fault]})
    driver = twin.open(VirtualClock(twin.start_time))
    first = driver.measure(AT)
    refused = {"busy": Busy, **dict.fromkeys(["refused", "reset-before", "reset-after", "time-out"], Unreachable)}
    refused |= {"slow-drip": Unreachable} | {n: BadReply for n in GENERAL if n.endswith("-channel")}
    refused |= {"truncated": BadReply, "not-json": BadReply}
    if name in refused:
        with pytest.raises(refused[name], match=rf"fault {name}|channel R"):
            driver.measure(AT)
        return
    reading = driver.measure(AT)
    match name:
        case "clamp":
            assert (reading.fault, dict(reading.applied)) == ("not-applied", {"red": 30.0, "blue": 30.0})
        case "swapped-channels":
            assert reading.readings["R"] < 30 < reading.readings["T"]
        case "frozen":
            assert reading.readings == first.readings
        case "clock-jump":
            assert reading.readings != first.readings
        case _:
            pytest.fail(f"no expectation for {name}")


def test_the_shipped_states_are_read_as_before_and_a_fitted_one_is_none_of_them(
    tmp_path: Path,
) -> None:
    from sdl.drivers.twin.config import Twin
    from sdl.twin.led.state import load

    assert isinstance(parse_kind("instrument", {"kind": "twin"}), Twin)
    with pytest.raises(ValueError, match="a twin of a declared instrument"):
        load(str(written(tmp_path)))


# In the place of the declared instrument -----------------------------------------------------------------------------
def test_a_campaign_runs_on_the_twin_that_its_instrument_names_and_can_be_resumed(tmp_path: Path) -> None:
    on_twin = config.on_twin(config.parse(campaign(tmp_path), base=tmp_path))
    done = sdl.run(on_twin, runs=tmp_path / "runs")
    assert done.reached
    opened = open_run(done.run).opened
    assert opened.instrument["kind"] == "twin"
    assert opened.config["instrument"]["of"]["kind"] == "command"
    part = sdl.run(on_twin, runs=tmp_path / "part", changes=["stop.trials=3"])
    assert sdl.resume(part.run, changes=["stop.trials=20"]).trials == done.trials


def test_derived_channels_limits_and_settling_are_those_of_the_declared_instrument(tmp_path: Path) -> None:
    keys = {"derived": {"absorbance": "-log10(R / 240)"}, "limits": {"T": {"at least": 16}}, "settle": "50 s"}
    twin = rig(tmp_path, **keys).simulation(None, 0)
    clock = VirtualClock(twin.start_time)
    driver = twin.open(clock)
    reading = driver.measure(AT)
    assert reading.readings["absorbance"] == pytest.approx(0.5, abs=0.02)
    assert clock.now() - twin.start_time == 20.0 + 50.0 + 20.0
    assert [channel.name for channel in twin.channels] == ["R", "T", "absorbance"]
    with pytest.raises(Interlock, match="below its limit 16"):
        driver.measure({"red": 0.0, "blue": 250.0})


def test_settling_until_a_channel_is_stable_waits_for_the_lag_of_the_twin(tmp_path: Path) -> None:
    state = fitted_mixer()
    tree = state.model_dump()
    tree["channels"]["R"]["settling"] = 30.0
    written(tmp_path, type(state).model_validate(tree))
    until = {"until": "R", "within": 3, "for": "20 s", "at most": "10 min"}
    declared = parse_kind("instrument", {**RIG, "takes": "1 s", "settle": until}, tmp_path)
    twin = declared.simulation(None, 0)
    clock = VirtualClock(twin.start_time)
    driver = twin.open(clock)
    reading = driver.measure({"red": 250.0, "blue": 50.0})
    assert clock.now() - twin.start_time > 60.0
    assert reading.readings["R"] == pytest.approx(mixer({"red": 250.0, "blue": 50.0})["R"], abs=6.0)


def test_it_is_off_where_the_declared_instrument_is_off(tmp_path: Path) -> None:
    twin = rig(tmp_path, off={"red": 10, "blue": 5}).simulation(None, 0)
    driver = twin.open(VirtualClock(twin.start_time))
    driver.measure(AT)
    state = driver.safe()
    assert (state.state, dict(state.applied)) == (Power.OFF, {"red": 10.0, "blue": 5.0})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"twin": None}, "instrument.twin: missing: without a twin it cannot be simulated"),
        ({"twin": "other.toml"}, "no such file"),
        ({"twin": "led.toml"}, "is no twin of a declared instrument"),
        ({"channels": {"X": {}}}, "it has no channel X; allowed: R, T; fit it again"),
        ({"inputs": {**KEYS["inputs"], "red": {"high": 400}}}, "red was 0 … 300 there"),
        ({"inputs": {**KEYS["inputs"], "red": {"choices": ["a", "b"]}}, "constraints": []}, "red has numbers there"),
        ({"inputs": {"red": {"high": 300}}, "constraints": [], "off": {"red": 0}}, "it has the inputs red, blue, the"),
    ],
)
def test_a_twin_that_does_not_fit_is_refused_with_what_differs(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    (tmp_path / "led.toml").write_text('about = "an LED"\n')
    declared = {**RIG, **options}
    if "red" in options.get("inputs", {}) and "choices" in options["inputs"]["red"]:
        declared["off"] = {"red": "a", "blue": 0}
    written(tmp_path)
    with pytest.raises(ConfigError, match=says):
        parse_kind("instrument", declared, tmp_path).simulation(None, 0)


def test_kinds_without_a_twin_are_named_with_those_that_have_one() -> None:
    class Stirrer(RealInstrument):
        kind: str = "stirrer"
        inputs = property(lambda self: (Input(name="a"),))
        channels = property(lambda self: (Channel(name="y"),))
        identity = property(lambda self: "stirrer")
        reading_seconds = property(lambda self: 1.0)

        def open(self, clock: object) -> None:
            pytest.fail("a real instrument was opened")

    tree = {"name": "stir", "instrument": Stirrer(), "goal": {"y": 3}, "tolerance": "1%"}
    with pytest.raises(ConfigError, match=r"stirrer has no twin to run on; allowed: .*command"):
        config.on_twin(config.parse(tree))


def test_on_its_twin_a_claude_light_is_the_shipped_one_and_a_simulated_instrument_stays() -> None:
    real = config.parse({"name": "x", "instrument": {"kind": "claude-light"}, "goal": {"515nm": 30000}, "seed": 7})
    twin = config.on_twin(real).instrument
    assert (twin.kind, twin.seed) == ("twin", 7)
    simulated = config.parse({"name": "x", "instrument": {"kind": "twin"}, "goal": {"515nm": 30000}})
    assert config.on_twin(simulated) is simulated


def test_the_noise_of_two_seeds_differs_and_that_of_one_does_not(tmp_path: Path) -> None:
    def first(seed: int) -> float:
        twin = rig(tmp_path).simulation(None, seed)
        return float(twin.open(VirtualClock(twin.start_time)).measure(AT).readings["R"])

    assert first(1) == first(1) != first(2)
    assert not math.isnan(first(1))
    assert np.std([first(seed) for seed in range(30)]) == pytest.approx(NOISE["R"], rel=0.5)
