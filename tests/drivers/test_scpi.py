"""Devices that are set and read by lines of text, on a socket that misbehaves and in pyvisa-sim."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import pytest

from sdl.clock import RealClock, VirtualClock
from sdl.drivers.scpi.connection import ScpiConnection
from sdl.drivers.scpi.driver import Commands, Query, ScpiDriver
from sdl.errors import BadReply, InstrumentError, NotApplied, Rejected, Unreachable
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
    "read": {"light": Query("MEAS:LIGHT?")},
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
    d = driver(device, read={"light": Query("MEAS:ALL?"), "U": Query("MEAS:ALL?", 2, "V")})
    assert d.measure(AT).readings == {"light": 1500.0, "U": 1.5}
    assert device.lines.count("MEAS:ALL?") == 1
    d.close()
    for query, message in ((Query("MEAS:ALL?", 3), "no value number 3"), (Query("MEAS:ALL?", 2, "mV"), "allowed.*mV")):
        d = driver(device, read={"light": query})
        with pytest.raises(BadReply, match=message):
            d.measure(AT)
        d.close()


def test_another_device_is_refused(device: Device) -> None:
    d = driver(device, identify="KEITHLEY", timeout=0.3)
    with pytest.raises(InstrumentError, match=f"answers '{IDENTITY}', which does not hold 'KEITHLEY'") as caught:
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
            d.measure(AT)
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
