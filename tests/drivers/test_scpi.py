"""Devices that are set and read by lines of text, on a socket that misbehaves and in pyvisa-sim."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from waiting import TIMEOUT, some

import sdl
from sdl.clock import RealClock, VirtualClock
from sdl.config import parse_kind
from sdl.drivers.base import names
from sdl.drivers.scpi.config import Scpi
from sdl.drivers.scpi.connection import ScpiConnection
from sdl.drivers.scpi.driver import ChannelQuery, Commands, ScpiDriver
from sdl.errors import BadReply, ConfigError, InstrumentError, NotApplied, Rejected, Unreachable
from sdl.testing.instrument_contract import InstrumentContract
from sdl.types import Input, Power, Settings

from . import device as faults
from .device import IDENTITY, Device, Fault

T = TypeVar("T")
INPUTS = (Input(name="power", high=5.0, unit="V"), Input(name="range", choices=("low", "high")))
AT: Settings = {"power": 1.5, "range": "high"}
OFF: Settings = {"power": 0.0, "range": "low"}
COMMANDS: dict[str, Any] = {
    "identify": "PS1",
    "init": ("*CLS", "OUTP ON"),
    "set": {"power": "VOLT {value}", "range": "RANG {value}"},
    "read": {"light": ChannelQuery("MEAS:LIGHT?")},
    "applied": {"power": "VOLT?", "range": "RANG?"},
    "off_commands": ("OUTP OFF",),
    "error": "SYST:ERR?",
}


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    device.close()


def driver(device: Device, *, timeout: float = 10.0, inputs: Sequence[Input] = INPUTS, **commands: Any) -> ScpiDriver:
    connection = ScpiConnection(device.resource, "@py", "\n", None, timeout, 0.0, RealClock())
    return ScpiDriver(connection, Commands(**{**COMMANDS, **commands}), inputs, OFF)


def test_a_reading_is_set_asked_for_and_checked(device: Device) -> None:
    d = driver(device)
    reading = d.measure(AT)
    assert (dict(reading.applied), dict(reading.readings)) == (AT, {"light": 1500.0})
    asked = ["*IDN?", "SYST:ERR?", "*CLS", "OUTP ON", "SYST:ERR?", "VOLT 1.5", "RANG high", "SYST:ERR?", "VOLT?"]
    assert device.lines == [*asked, "RANG?", "MEAS:LIGHT?", "SYST:ERR?", "*IDN?"]
    d.measure({**AT, "power": 2.0})
    assert device.lines[13:15] == ["VOLT 2", "RANG high"], "what prepares it is sent once a connection"
    d.close()


def test_off_is_answered_by_the_questions_of_applied_and_prepares_again_afterwards(device: Device) -> None:
    d = driver(device)
    d.measure(AT)
    state = d.safe()
    assert (state.state, state.applied) == (Power.OFF, OFF)
    assert (device.volt, device.output) == (0.0, False)
    d.measure(AT)
    assert device.output
    d.close()
    unproven = driver(device, applied={})
    assert unproven.safe().state is Power.UNKNOWN
    unproven.close()


def test_it_is_switched_off_without_what_prepares_it(device: Device) -> None:
    d = driver(device)
    d.safe()
    assert "OUTP ON" not in device.lines
    d.close()


def test_settings_that_the_device_refuses_are_rejected_with_its_words(device: Device) -> None:
    d = driver(device)
    with pytest.raises(Rejected, match='after the settings the device reports -222,"Data out of range"') as caught:
        d.measure({"power": 7.0, "range": "low"})
    assert caught.value.maybe_measured
    assert d.measure(AT).readings == {"light": 1500.0}
    d.close()


def test_an_error_after_what_prepares_it_is_said(device: Device) -> None:
    d = driver(device, init=("NONSENSE",))
    with pytest.raises(InstrumentError, match="after `init` the device reports -113") as caught:
        d.measure(AT)
    assert not caught.value.retryable
    d.close()


def test_what_the_device_applied_is_reported_as_it_says(device: Device) -> None:
    d = driver(device, set={"power": "VOLT 1", "range": "RANG low"})
    assert d.measure(AT).applied == {"power": 1.0, "range": "low"}
    d.close()
    d = driver(device, applied={"power": "RANG?"})
    with pytest.raises(NotApplied, match="'RANG\\?': the answer '\"high\"' is not a number"):
        d.measure(AT)
    d.close()


def test_one_answer_may_hold_several_channels_and_their_units(device: Device) -> None:
    d = driver(device, read={"light": ChannelQuery("MEAS:ALL?"), "U": ChannelQuery("MEAS:ALL?", 2, "V")})
    assert d.measure(AT).readings == {"light": 1500.0, "U": 1.5}
    assert device.lines.count("MEAS:ALL?") == 1
    d.close()
    for query, message in (
        (ChannelQuery("MEAS:ALL?", 3), "no value number 3"),
        (ChannelQuery("MEAS:ALL?", 2, "mV"), "allowed.*mV"),
    ):
        d = driver(device, read={"light": query})
        with pytest.raises(BadReply, match=message):
            d.measure(AT)
        d.close()


def test_another_device_is_refused(device: Device) -> None:
    d = driver(device, identify="KEITHLEY", timeout=0.3)
    with pytest.raises(InstrumentError, match=f"is '{IDENTITY}', which does not contain 'KEITHLEY'") as caught:
        d.measure(AT)
    assert not caught.value.retryable
    assert not caught.value.maybe_measured
    assert device.lines == ["*IDN?"]
    d.close()


def test_nothing_listens(device: Device) -> None:
    device.close()
    d = driver(device, timeout=0.5)
    with pytest.raises(Unreachable) as caught:
        d.measure(AT)
    assert caught.value.retryable
    assert not caught.value.maybe_measured
    d.close()


def test_a_port_that_does_not_exist_cannot_be_opened() -> None:
    connection = ScpiConnection("ASRL/dev/no-such-port::INSTR", "@py", "\n", 9600, 1.0, 0.0, RealClock())
    with pytest.raises(Unreachable, match=r"ASRL/dev/no-such-port::INSTR cannot be opened: .*[Nn]o such file"):
        connection.open()


def test_without_pyvisa_the_requirement_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvisa", None)
    message = r"SCPI instruments need pyvisa, which is not installed; the extra `scpi` .* requires .*pyvisa-py"
    with pytest.raises(InstrumentError, match=message):
        ScpiConnection("ASRL1::INSTR", "@py", "\n", None, 1.0, 0.0, RealClock())


def test_a_device_that_restarts_when_it_is_opened_is_waited_for(device: Device) -> None:
    clock = VirtualClock()
    connection = ScpiConnection(device.resource, "@py", "\n", None, 10.0, 2.0, clock)
    connection.open()
    assert clock.monotonic() == 2.0
    connection.open()
    assert clock.monotonic() == 2.0
    connection.close()


# Faults ---------------------------------------------------------------------------------------------------------------
FAULTS: dict[str, Fault] = {
    "lost": faults.silent,
    "late": faults.late(0.5),
    "hangs up": faults.hangs_up,
    "resets": faults.resets,
    "half": faults.half,
    "drips": faults.drips,
    "floods": faults.floods,
    "garbage": faults.says("?!x\n"),
    "no text": faults.says(b"\xff\xfe\x80\n"),
    "an empty line": faults.says("\n"),
    "overflow": faults.says("9.9E37\n"),
    "not a number": faults.says("9.91E37\n"),
    "nan": faults.says("NaN\n"),
    "two numbers": faults.says("1.0 2.0\n"),
    "at once twice": faults.twice(0.0),
    "twice": faults.twice(0.01),
    "late twice": faults.twice(0.5),
}


def attempts(ask: Callable[[], T], times: int = 1) -> tuple[T | None, list[InstrumentError]]:
    """The result of the first attempt that has one, and the errors of those before."""
    errors = []
    for _ in range(times):
        try:
            return ask(), errors
        except InstrumentError as error:
            errors.append(error)
    return None, errors


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [False, True], ids=["socket", "serial"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_an_error_and_the_readings_after_it_are_right(name: str, keeps: bool) -> None:
    for number in range(1, 7):  # the answers of the second reading: errors, power, range, light, errors, identity
        device = Device(keeps=keeps)
        d, errors, good = driver(device, timeout=0.15), [], 0
        try:
            assert attempts(partial(d.measure, AT), 5)[0], "a busy machine may take 0.15 s for an answer"
            device.faults = {device.answers + number: FAULTS[name]}
            for volt in (0.5, 1.0, 2.0, 2.5, 3.0):
                reading, failed = attempts(partial(d.measure, {"power": volt, "range": "low"}))
                errors += failed
                if reading is not None:
                    assert dict(reading.applied) == {"power": volt, "range": "low"}
                    assert dict(reading.readings) == {"light": pytest.approx(100.0 * volt)}
                    good += 1
                time.sleep(0.02)
            state, failed = attempts(d.safe, 3)
            assert state is not None
            assert state.applied == OFF
            assert good
            assert all(error.retryable for error in [*errors, *failed])
        finally:
            d.close()
            device.close()


@pytest.mark.parametrize("seconds", [0.0, 0.005])
def test_a_second_answer_is_never_taken_for_that_to_the_next_question(device: Device, seconds: float) -> None:
    d = driver(device, error="", applied={"power": "VOLT?"}, set={"power": "VOLT {value}"}, inputs=INPUTS[:1])
    d.measure({"power": 1.0})
    wrong = 0
    for volt in (2.0, 3.0, 4.0):
        device.faults = {device.answers + 1: faults.twice(seconds)}  # of `VOLT?`; once more as the light
        for _ in range(2):
            reading, errors = attempts(partial(d.measure, {"power": volt}), 3)
            assert reading is not None
            assert reading.readings == {"light": pytest.approx(100.0 * volt)}
            assert all("no longer belong to their questions" in str(error) for error in errors)
            wrong += len(errors)
    assert wrong or seconds, "a later one may come when nothing is asked"
    d.close()


def test_it_gives_up_in_time(device: Device) -> None:
    for fault in (faults.silent, faults.drips, faults.floods, faults.half):
        d = driver(device, timeout=0.3)
        device.always = fault
        began = time.monotonic()
        with pytest.raises(InstrumentError):
            d.measure(AT)
        assert time.monotonic() - began < 8.0
        device.always = None
        d.close()


# Kind scpi ------------------------------------------------------------------------------------------------------------
KEYS: dict[str, Any] = {
    "kind": "scpi",
    "inputs": {"power": {"high": 5, "unit": "V"}, "range": {"choices": ["low", "high"]}},
    "channels": {"light": {"unit": "lx", "low": 0, "high": 5000}},
    "off": {"power": 0, "range": "low"},
    "takes": "0.1 s",
    "resource": "TCPIP::127.0.0.1::5025::SOCKET",
    "identify": "PS1",
    "init": ["*CLS", "OUTP ON"],
    "set": {"power": "VOLT {value}", "range": "RANG {value}"},
    "read": {"light": "MEAS:LIGHT?"},
    "applied": {"power": "VOLT?", "range": "RANG?"},
    "off_commands": ["OUTP OFF"],
    "error": "SYST:ERR?",
}


def scpi(**keys: Any) -> Scpi:
    instrument = parse_kind("instrument", {**KEYS, **keys})
    assert isinstance(instrument, Scpi)
    return instrument


class TestContract(InstrumentContract):
    @pytest.fixture
    def instrument(self, device: Device) -> Scpi:
        numeric = {key: {"power": KEYS[key]["power"]} for key in ("inputs", "off", "set", "applied")}
        return scpi(resource=device.resource, **numeric)


@pytest.mark.parametrize(
    ("keys", "path", "message"),
    [
        ({"resource": "192.168.1.5"}, "resource", "must be the VISA name of a device, such as TCPIP::192.168.1.5"),
        ({"resource": "TCPIP::h::1::SOCKET\nX"}, "resource", "must be the VISA name"),
        ({"set": {"power": "VOLT {value}"}}, "set", "must set every input; missing: range"),
        ({"set": {"power": "VOLT", "range": "RANG {value}"}}, "set.power", "must hold {value}"),
        ({"set": {"power": "V {vaule}", "range": "RANG {value}"}}, "set.power", r"unknown \{vaule\}; .*'value'"),
        ({"set": {"power": "V {value}${X}", "range": "RANG {value}"}}, "set.power", "environment variables"),
        ({"set": {**KEYS["set"], "x": "X {value}"}}, "set.x", "unknown input"),
        (
            {"set": {**KEYS["set"], "power": "VOLT {value}\nOUTP ON"}},
            "set.power",
            "must be one line of letters, digits and signs",
        ),
        ({"read": {}}, "read", "must give every channel; missing: light"),
        ({"read": {"light": "MEAS?", "lihgt": "MEAS?"}}, "read.lihgt", "unknown channel; .*did you mean 'light'"),
        (
            {"read": {"light": {"query": "MEAS?", "field": 0}}},
            "read.light.field",
            "must be a number of at least 1, not 0",
        ),
        ({"applied": {"volt": "VOLT?"}}, "applied.volt", "unknown input"),
        ({"baud": 9600}, "baud", "is for serial ports"),
        ({"off": "nothing"}, "off_commands", "never sent"),
        ({"timeout": "2 weeks"}, "timeout", "must be a time"),
        ({"termination": ";"}, "termination", "must be .* not ';'"),
    ],
)
def test_a_wrong_key_is_said_with_its_place(keys: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        scpi(**keys)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_one_line_may_set_several_inputs() -> None:
    instrument = scpi(set={"power": "SET {value},{range}"})
    assert instrument.set_commands == {"power": "SET {value},{range}"}


def test_the_same_device_has_one_identity_however_it_is_written() -> None:
    def identity(resource: str) -> str:
        return scpi(resource=resource).identity

    assert identity("tcpip::LAB.example::5025::socket") == identity("TCPIP0::lab.example.::5025::SOCKET")
    assert identity("ASRL/dev/ttyUSB0::INSTR") == identity("asrl/dev/./ttyUSB0") != identity("ASRL/dev/ttyUSB1")
    here = scpi(resource="TCPIP::localhost::5025::SOCKET"), scpi(resource="TCPIP::127.0.0.1::5025::SOCKET")
    assert set(names(here[0])) & set(names(here[1]))
    named = scpi(name="left"), scpi(name="right")
    assert not set(names(named[0])) & set(names(named[1]))


def test_what_is_missing_is_found_before_a_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    scpi().ready()
    for module, resource in (("pyvisa", KEYS["resource"]), ("serial", "ASRL1::INSTR"), ("usb", "USB::1::2::3::INSTR")):
        monkeypatch.setattr(
            "sdl.drivers.scpi.config.find_spec", lambda name, module=module: None if name == module else 1
        )
        with pytest.raises(ConfigError, match=f"SCPI instruments need {module}, which is not installed"):
            scpi(resource=resource).ready()
    scpi(visa="@ivi", resource="USB::1::2::3::INSTR").ready()


def test_validation_and_opening_do_not_import_pyvisa_before_it_is_needed() -> None:
    code = f"import sys; from sdl.config import parse_kind; parse_kind('instrument', {KEYS!r}).ready()"
    code += "; print([name for name in ('pyvisa', 'serial', 'usb') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    assert done.stdout.strip() == "[]"


RATE = 0.06
"""Share of the answers of a device on a bad line that something happens to."""


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [False, True], ids=["socket", "serial"])
@pytest.mark.parametrize("seed", some(20, first=4))
def test_a_bad_line_gives_no_reading_of_other_settings_and_no_false_off(seed: int, keeps: bool) -> None:
    rng, device = random.Random(seed), Device(keeps=keeps)
    device.faults = {n: FAULTS[rng.choice(list(FAULTS))] for n in range(1, 2000) if rng.random() < RATE}
    d = scpi(resource=device.resource, timeout=0.15).open(RealClock())
    good = 0
    try:
        for _ in range(12):
            device.stuck = rng.random() < 0.2
            asked = {"power": round(rng.uniform(0, 5), 3), "range": rng.choice(["low", "high"])}
            reading, errors = attempts(partial(d.measure, asked))
            assert not [error for error in errors if not error.retryable]
            if reading is None:
                continue
            good += 1
            assert reading.readings == {"light": pytest.approx(device.light)}
            assert reading.applied == {"power": pytest.approx(device.volt), "range": device.range}
            assert (reading.fault == "not-applied") is (abs(device.volt - asked["power"]) > 1e-6)
        assert good >= 3
        device.stuck, device.volt = True, 2.0
        state, _ = attempts(d.safe, 20)
        assert state is not None
        assert (state.state, device.output) == (Power.ON, False)
        device.stuck = False
        state, _ = attempts(d.safe, 20)
        assert state is not None
        assert (state.state, device.volt, device.output) == (Power.OFF, 0.0, False)
    finally:
        d.close()
        device.close()


def test_a_campaign_reaches_its_goal_with_a_device(device: Device, tmp_path: Path) -> None:
    rng = random.Random(1)
    device.noise = lambda: rng.gauss(0, 0.2)
    instrument = {**KEYS, "resource": device.resource}
    campaign = {"name": "cell", "instrument": instrument, "goal": {"light": 1234}, "tolerance": 5, "solver": "gp"}
    result = sdl.run(campaign, runs=tmp_path)
    assert result.outcome == "reached"
    assert result.safe is not None
    assert result.safe.state is Power.OFF
    assert (device.volt, device.output) == (0.0, False)


SIMULATED = """
spec: "1.0"
devices:
  supply:
    eom:
      TCPIP SOCKET: {q: "\\n", r: "\\n"}
      ASRL INSTR: {q: "\\r\\n", r: "\\r\\n"}
      USB INSTR: {q: "\\n", r: "\\n"}
    error: ERROR
    dialogues:
      - {q: "*IDN?", r: "ACME,SIM1,7,1.0"}
    properties:
      voltage:
        default: 0.0
        getter: {q: "VOLT?", r: "{:.4f}"}
        setter: {q: "VOLT {}"}
        specs: {min: 0, max: 5, type: float}
resources:
  TCPIP0::localhost::5025::SOCKET: {device: supply}
  ASRL1::INSTR: {device: supply}
  USB0::0x1111::0x2222::0x1234::0::INSTR: {device: supply}
"""


@pytest.mark.parametrize(
    ("resource", "more"),
    [
        ("TCPIP0::localhost::5025::SOCKET", {}),
        ("ASRL1::INSTR", {"termination": "\r\n", "baud": 9600}),
        ("USB0::0x1111::0x2222::0x1234::0::INSTR", {}),
    ],
)
def test_simulated_devices_of_pyvisa_are_read(tmp_path: Path, resource: str, more: dict[str, Any]) -> None:
    (tmp_path / "sim.yaml").write_text(SIMULATED)
    keys = {"kind": "scpi", "inputs": {"U": {"high": 5}}, "channels": {"V": {"resolution": 1e-4}}, "off": {"U": 0}}
    keys |= {"set": {"U": "VOLT {value}"}, "read": {"V": "VOLT?"}, "applied": {"U": "VOLT?"}, "identify": "SIM1"}
    instrument = parse_kind("instrument", {**keys, "visa": "sim.yaml@sim", "resource": resource, **more}, tmp_path)
    d = instrument.open(RealClock())
    assert d.measure({"U": 2.5}).readings == {"V": 2.5}
    assert d.safe().state is Power.OFF
    d.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", some(20, first=4))
def test_a_campaign_on_a_bad_line_records_only_true_readings_and_ends_off(seed: int, tmp_path: Path) -> None:
    rng, device = random.Random(seed), Device(keeps=seed % 2 == 0)
    device.faults = {n: FAULTS[rng.choice(list(FAULTS))] for n in range(1, 5000) if rng.random() < RATE / 2}
    device.noise = lambda: rng.gauss(0, 0.2)
    campaign = {
        "name": "cell",
        "instrument": {**KEYS, "resource": device.resource, "timeout": 0.15},
        "goal": {"light": 900},
        "tolerance": 5,
        "solver": "gp",
        "retry": {"times": 5, "wait": 0.05},
        "stop": {"trials": 25},
        "seed": seed,
    }
    result = sdl.run(campaign, runs=tmp_path)
    try:
        assert result.outcome == "reached", result.reason
        assert result.safe is not None
        assert result.safe.state is Power.OFF
        assert (device.volt, device.output) == (0.0, False)
        for line in (Path(result.run) / "record.jsonl").read_text(encoding="utf-8").splitlines():
            if (event := json.loads(line))["event"] == "Measured":
                true = 100 * event["applied"]["power"] * (10 if event["applied"]["range"] == "high" else 1)
                assert event["readings"]["light"] == pytest.approx(true, abs=2)
                assert event["fault"] is None
    finally:
        device.close()
