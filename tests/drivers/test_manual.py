"""A person at a terminal: the questions, the answers that are allowed, and no question without a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from processes import COMMAND, environment, lines_of, the_record
from pydantic import ValidationError
from waiting import TIMEOUT

from sdl.clock import RealClock
from sdl.drivers.manual import Manual, ManualDriver
from sdl.errors import InstrumentError, Interlock, Rejected
from sdl.types import Power, SafeState

ASKED = {"R": 0.1, "G": 0.2, "B": 0.3}


def person(typed: str, **options: Any) -> tuple[ManualDriver, io.StringIO]:
    said = io.StringIO()
    return ManualDriver(Manual(**options), io.StringIO(typed), said), said


def test_what_is_typed_is_the_reading() -> None:
    driver, said = person("12000 16000.5 9e3\n")
    reading = driver.measure(ASKED)
    assert reading.readings == {"445nm": 12000, "515nm": 16000.5, "630nm": 9000}
    assert reading.applied == ASKED
    assert (reading.fault, reading.background, reading.saturated) == (None, None, ())
    assert "R = 0.1   G = 0.2   B = 0.3" in said.getvalue()


def test_what_was_set_otherwise_is_told_with_the_reading() -> None:
    driver, _ = person("R=0.12 1 2 3\n")
    reading = driver.measure(ASKED)
    assert reading.applied == {"R": 0.12, "G": 0.2, "B": 0.3}
    assert reading.fault == "not-applied"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("1 2\n", "2 numbers for 3 channels"),
        ("1 2 3 4\n", "4 numbers for 3 channels"),
        ("1 2 x\n", "'x' is not a number"),
        ("1 2 nan\n", "not a finite number"),
        ("W=1 1 2 3\n", "'W' is not an input; they are R, G, B"),
        ("R= 1 2 3\n", "'R=' is not a number"),
    ],
)
def test_what_cannot_be_a_reading_is_asked_again(typed: str, says: str) -> None:
    driver, said = person(typed + "4 5 6\n")
    assert driver.measure(ASKED).readings == {"445nm": 4, "515nm": 5, "630nm": 6}
    assert says in said.getvalue()


@pytest.mark.parametrize(
    ("typed", "says", "retryable"),
    [
        ("", "terminal was closed", False),
        ("\n", "nothing was typed", True),
        ("fail the lamp smokes\n", "the person reported no reading: the lamp smokes", False),
        ("FAIL\n", "no reason", False),
    ],
)
def test_no_reading_is_a_failure_with_its_reason(typed: str, says: str, retryable: bool) -> None:
    driver, _ = person(typed)
    with pytest.raises(InstrumentError, match=says) as caught:
        driver.measure(ASKED)
    assert caught.value.retryable is retryable


def test_nobody_is_asked_for_settings_outside_the_bounds() -> None:
    driver, said = person("1 2 3\n")
    with pytest.raises(Rejected):
        driver.measure({**ASKED, "R": 2.0})
    assert said.getvalue() == ""


def test_a_background_is_asked_for_with_the_light_off_and_saturation_is_seen() -> None:
    driver, said = person(
        "10\n70\n",
        inputs=({"name": "power", "low": 0.0, "high": 5.0, "unit": "W"},),
        channels=({"name": "lux", "unit": "lx", "saturation": 60.0},),
        background="each",
    )
    reading = driver.measure({"power": 2.5})
    assert (reading.background, reading.readings, reading.saturated) == ({"lux": 10}, {"lux": 70}, ("lux",))
    assert said.getvalue().index("power = 0 W") < said.getvalue().index("power = 2.5 W")


def test_a_person_is_asked_to_switch_off_what_was_set_and_to_confirm_it() -> None:
    driver, said = person("1 2 3\n2 is stuck\n\n")
    assert driver.safe().state is Power.NOT_NEEDED
    assert said.getvalue() == ""
    driver.measure(ASKED)
    assert driver.safe() == SafeState(Power.ON, None, "the person says: 2 is stuck")
    assert driver.safe() == SafeState(Power.OFF, {"R": 0.0, "G": 0.0, "B": 0.0}, "the person says so")
    assert driver.safe().state is Power.NOT_NEEDED
    assert said.getvalue().count("leave it safe: R = 0, G = 0, B = 0") == 2
    driver.close()
    with pytest.raises(InstrumentError, match="closed"):
        driver.measure(ASKED)


def test_without_a_terminal_it_says_so_instead_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin in (io.StringIO("1 2 3\n"), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(InstrumentError, match="there is no terminal here"):
            Manual().open(RealClock())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channels": ()}, "at least 1"),
        ({"channels": ({"name": "R"},)}, "given twice: R"),
        ({"channels": ({"name": "a b"},)}, "one word"),
        ({"channels": ({"name": "a=b"},)}, "one word"),
        ({"label": "two\nlines"}, "pattern"),
    ],
)
def test_a_wrong_option_is_refused_with_a_reason(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Manual(**options)


CAMPAIGN = """\
name: by-hand
instrument: {kind: manual, channels: [{name: 515nm}]}
goal: {515nm: 30000}
design: {kind: points, points: [{R: 0, G: 0.5, B: 0}]}
confirm: 0
"""


def test_a_campaign_without_a_terminal_ends_at_once_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN, encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "run", "c.yaml", "--set", "stop.failures=1"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 3
    assert "there is no terminal here" in done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals on this system")
def test_a_campaign_is_typed_through_in_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN, encoding="utf-8")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", "c.yaml"], cwd=tmp_path, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while b"or `fail` and why" not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, b"30100\n")
        ended = time.monotonic() + TIMEOUT
        while b"leave it safe" not in shown and time.monotonic() < ended:
            shown += os.read(ours, 4096)
        os.write(ours, b"\n")
        assert process.wait(TIMEOUT) == 0, shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    record = the_record(tmp_path / "runs")
    assert record
    assert b"\x1b[2K" not in shown.partition(b"Set ")[2], "nothing is redrawn while a person types"
    events = [line["event"] for line in lines_of(record)]
    assert events == ["Opened", "Proposed", "Measured", "Stopped", "Safe"]


def test_a_mapping_by_name_and_the_list_of_older_files_are_the_same_instrument() -> None:
    listed = Manual(
        inputs=({"name": "red", "high": 300.0}, {"name": "dye", "choices": ("a", "b")}), channels=({"name": "R"},)
    )
    named = Manual(inputs={"red": {"high": 300.0}, "dye": {"choices": ("a", "b")}}, channels={"R": {"unit": "counts"}})
    assert listed == named
    assert Manual.model_validate(named.model_dump()) == named
    assert named.off == {"red": 0.0, "dye": "a"}


def test_a_person_has_derived_channels_limits_and_constraints_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    manual = Manual(
        inputs={"red": {"high": 300.0}, "yellow": {"high": 300.0}},
        channels={"R": {}},
        constraints=("red + yellow <= 300",),
        derived={"A": "-log10(R / 240)"},
        limits={"R": {"at most": 250}},
    )
    answers, said = io.StringIO("24\n251\n"), io.StringIO()
    monkeypatch.setattr(answers, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", answers)
    monkeypatch.setattr("sys.stderr", said)
    driver = manual.open(RealClock())
    assert driver.measure({"red": 1.0, "yellow": 0.0}).readings == {"R": 24.0, "A": 1.0}
    with pytest.raises(Rejected, match="breaks the constraint"):
        driver.measure({"red": 200.0, "yellow": 200.0})
    with pytest.raises(Interlock, match="R = 251 is above its limit 250"):
        driver.measure({"red": 1.0, "yellow": 0.0})
    assert "Please leave it safe: red = 0, yellow = 0" in said.getvalue()
