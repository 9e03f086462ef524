"""The twin of any instrument on the command line: fit, check, serve, and campaigns on it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from waiting import TIMEOUT

from sdl import yamlfile
from sdl.clock import RealClock
from sdl.config import parse_kind
from sdl.types import Power
from tests.twin.fitted_kit import KEYS, MIXER, NOISE, csv, mixer, readings, written

from .conftest import Sdl

AT = {"red": 100.0, "blue": 50.0}
RIG = {**KEYS, "kind": "command", "command": ["no-such-program"], "twin": "rig-twin.toml"}
CAMPAIGN = {
    "name": "mix",
    "instrument": {"use": "rig.yaml"},
    "goal": {"R": 120, "T": 20.2},
    "tolerance": 3,
    "solver": {"kind": "auto"},
    "stop": {"trials": 20},
    "expect": {"trials": 15, "seeds": 2},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rig's file, its log, its twin and a campaign."""
    (tmp_path / "rig.yaml").write_text(yamlfile.dump(RIG))
    (tmp_path / "mix.yaml").write_text(yamlfile.dump(CAMPAIGN))
    csv(tmp_path, readings())
    written(tmp_path)
    return tmp_path


# Fit and check -------------------------------------------------------------------------------------------------------
def test_a_twin_is_fitted_written_and_matches_its_log(folder: Path, sdl: Sdl) -> None:
    (folder / "rig-twin.toml").unlink()
    done = sdl("twin", "fit", "log.csv", "--instrument", "rig.yaml", "-o", "rig-twin.toml")
    assert done.code == 0
    assert "60 readings in 1 session" in done.out
    assert "in rig.yaml: twin: rig-twin.toml" in done.out
    assert "# log.csv: 60 readings" in (folder / "rig-twin.toml").read_text()
    checked = sdl("twin", "check", "log.csv", "--twin", "rig-twin.toml")
    assert (checked.code, checked.out.splitlines()[-1]) == (0, "the instrument matches its twin")


def test_a_twin_that_foresees_its_readings_badly_says_so(folder: Path, sdl: Sdl) -> None:
    volts = {12: -0.309, 108: 4.19, 110.3: 4.183, 111.7: 4.187, 116.8: 4.194, 120: 4.198, 111.6: 4.182, 97.7: 4.124}
    lines = [f"{current},{volt}" for current, volt in volts.items()]
    Path("diode.csv").write_text("\n".join(["I,V", *lines]), encoding="utf-8")
    instrument = {"inputs": {"I": {"high": 120}}, "channels": {"V": {}}, "off": {"I": 0}}
    Path("diode.yaml").write_text(
        yamlfile.dump({"kind": "command", "command": ["none"], **instrument}), encoding="utf-8"
    )
    done = sdl("twin", "fit", "diode.csv", "--instrument", "diode.yaml", "-o", "diode.toml")
    assert done.code == 0
    assert re.search(r"V is predicted to [\d.]+ only, \d+ times its noise", done.out)
    good = sdl("twin", "fit", "log.csv", "--instrument", "rig.yaml", "-o", "rig-twin.toml")
    assert "is predicted to" not in good.out


def test_the_numbers_of_a_fit_are_given_as_json(folder: Path, sdl: Sdl) -> None:
    found = sdl("twin", "fit", "log.csv", "--instrument", "mix.yaml", "-o", "new.toml", "--json").json
    assert (found["output"], found["readings"], found["sessions"]) == ("new.toml", 60, 1)
    assert {c["channel"]: c["noise"] for c in found["channels"]} == pytest.approx(NOISE, rel=0.3)


def test_an_instrument_that_changed_no_longer_matches_its_twin(folder: Path, sdl: Sdl) -> None:
    csv(folder, readings(response=lambda s: {**mixer(s), "R": mixer(s)["R"] + 4}), "later.csv")
    done = sdl("twin", "check", "later.csv", "--twin", "rig-twin.toml", "--json")
    assert (done.code, done.json["divergent"]) == (1, True)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("red,blue\n1,2\n", "has no column of the instrument's channels R, T"),
        ("red,R,T\n1,2,3\n", "blue"),
        ("red,blue,R,T\n" + "10,20,30,40\n" * 5, "5 readings of R are too few to fit a twin to; 9 are needed"),
        ("red,blue,R,T\n" + "10,20,30,40\n" * 20, "all 20 usable rows are at one setting"),
        ("red,blue,R,T\n" + "900,20,30,40\n" * 20, "900"),
    ],
)
def test_a_log_that_does_not_fit_the_instrument_is_refused_with_what_is_wrong(
    folder: Path, sdl: Sdl, lines: str, says: str
) -> None:
    (folder / "bad.csv").write_text(lines)
    done = sdl("twin", "fit", "bad.csv", "--instrument", "rig.yaml", "-o", "new.toml")
    assert done.code == 2
    assert says in done.err
    assert not (folder / "new.toml").exists()


def test_options_of_a_claude_light_are_refused(folder: Path, sdl: Sdl) -> None:
    done = sdl("twin", "fit", "log.csv", "--instrument", "rig.yaml", "-o", "new.toml", "--from", "night-2025-10")
    assert (done.code, "--from is for a Claude-Light" in done.err) == (2, True)
    assert sdl("twin", "check", "log.csv", "--twin", "rig-twin.toml", "--dark").code == 2


# Campaigns -----------------------------------------------------------------------------------------------------------
def test_a_campaign_runs_on_the_twin_and_verify_takes_it_by_itself(folder: Path, sdl: Sdl) -> None:
    done = sdl("run", "mix.yaml", "--on-twin", "--json", "-q")
    assert (done.code, done.json["outcome"]) == (0, "reached")
    for flags in ([], ["--on-twin"]):
        verified = sdl("verify", "mix.yaml", *flags)
        assert (verified.code, "all as expected" in verified.out) == (0, True)


def test_without_a_twin_the_campaign_is_refused(folder: Path, sdl: Sdl) -> None:
    (folder / "rig.yaml").write_text(yamlfile.dump({k: v for k, v in RIG.items() if k != "twin"}))
    for command in (["run", "mix.yaml", "--on-twin"], ["verify", "mix.yaml", "--on-twin"]):
        done = sdl(*command)
        assert (done.code, "missing: without a twin it cannot be simulated" in done.err) == (2, True)


def test_a_sweep_runs_on_the_twin(folder: Path, sdl: Sdl) -> None:
    pytest.importorskip("pyarrow")
    sweep = {"name": "tolerances", "campaign": "mix.yaml", "grid": {"tolerance": [3, 6]}, "seeds": 2}
    (folder / "sweep.yaml").write_text(yamlfile.dump(sweep))
    done = sdl("sweep", "sweep.yaml", "--on-twin", "--jobs", "1", "-q", "--json")
    assert (done.code, done.json["ran"]) == (0, 4)


def test_solvers_are_compared_on_the_twin(folder: Path, sdl: Sdl) -> None:
    given = ["--goals", "2", "--seeds", "1", "--tolerance", "10%", "--solvers", "gp", "--jobs", "1", "--json"]
    for twin in (["--instrument", "rig.yaml"], ["--twin", "rig-twin.toml"]):
        done = sdl("bench", *twin, *given)
        assert done.code == 0
        (gp,) = done.json["solvers"]
        assert (gp["reached"], gp["campaigns"]) == (2, 2)
    assert "--data fits the twin of a Claude-Light" in sdl("bench", "--instrument", "rig.yaml", "--data", "x").err


def test_a_week_of_a_lab_is_simulated_on_the_twin(folder: Path, sdl: Sdl) -> None:
    campaign = {key: value for key, value in CAMPAIGN.items() if key not in ("instrument", "expect")}
    job = {"campaign": campaign, "instrument": "rig", "when": {"cron": "0 */12 * * *"}}
    rig = {**RIG, "twin": str(folder / "rig-twin.toml"), "settle": "60 s"}
    lab = {"name": "week", "instruments": {"rig": {"instrument": rig}}, "jobs": {"mix": job}}
    (folder / "lab.yaml").write_text(yamlfile.dump(lab))
    done = sdl("lab", "simulate", "lab.yaml", "--days", "7", "--json")
    assert done.code == 0
    assert "14" in done.out


# Served --------------------------------------------------------------------------------------------------------------
@contextmanager
def served(folder: Path, interface: str) -> Iterator[str]:
    """The address of a served twin."""
    command = [sys.executable, "-m", "sdl", "twin", "serve", "rig-twin.toml", "--as", interface, "--port", "0"]
    process = subprocess.Popen(
        [*command, "--speed", "1000"], cwd=folder, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r" at (\S+), 1000 × real time", line)
        assert match, line
        yield match[1]
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0


def drive(keys: dict[str, Any], folder: Path) -> None:
    """One reading of the served twin by a declared instrument, a constraint, and off, proven."""
    instrument = parse_kind("instrument", {**KEYS, "takes": "0.02 s", **keys}, folder)
    driver = instrument.open(RealClock())
    try:
        reading = driver.measure(AT)
        assert dict(reading.applied) == AT
        assert reading.readings["R"] == pytest.approx(mixer(AT)["R"], abs=5 * NOISE["R"])
        assert reading.readings["T"] == pytest.approx(mixer(AT)["T"], abs=5 * NOISE["T"])
        assert driver.measure(AT).readings != reading.readings
        assert driver.safe().state is Power.OFF
    finally:
        driver.close()


def test_as_a_command_it_is_driven_by_kind_command(folder: Path) -> None:
    command = [sys.executable, "-m", "sdl", "twin", "serve", "rig-twin.toml", "--as", "command", "--speed", "1000"]
    drive({"kind": "command", "command": command, "timeout": TIMEOUT}, folder)


def test_over_http_it_is_driven_by_kind_http(folder: Path) -> None:
    with served(folder, "http") as address:
        names = ("red", "blue")
        read = {name: f"readings.{name}" for name in "RT"}
        keys = {"measure": {"url": f"{address}?red={{red}}&blue={{blue}}"}, "read": read}
        drive({"kind": "http", **keys, "applied": {name: f"applied.{name}" for name in names}}, folder)
        with urlopen(f"{address}off", timeout=TIMEOUT) as answer:
            assert json.load(answer) == {"applied": {"red": 0.0, "blue": 0.0}}


def test_as_scpi_it_is_driven_by_kind_scpi(folder: Path) -> None:
    pytest.importorskip("pyvisa")
    with served(folder, "scpi") as address:
        names = ("red", "blue")
        keys = {"set": {n: f"SET:{n} {{value}}" for n in names}, "read": {n: f"MEAS:{n}?" for n in "RT"}}
        keys |= {"applied": {n: f"SET:{n}?" for n in names}, "off_commands": ["OUTP:OFF"]}
        drive({"kind": "scpi", "resource": address, "identify": "sdl", "error": "SYST:ERR?", **keys}, folder)
        _, host, port, _ = address.split("::")
        with socket.create_connection((host, int(port)), TIMEOUT) as line:
            line.settimeout(TIMEOUT)
            line.sendall(b"*CLS\nSET:red 250\nSET:blue 200\nMEAS:R?\nSYST:ERR?\nWHAT?\nSYST:ERR?\n")
            line.sendall(b"SET:green 1\nSYST:ERR?\n")
            with line.makefile() as answers:
                assert float(answers.readline()) > 9e37
                assert "break the constraint red + blue <= 300" in answers.readline()
                assert float(answers.readline()) > 9e37
                assert answers.readline().startswith('-113,"Undefined header; WHAT?"')
                assert "no green; allowed: red, blue" in answers.readline()


def test_requests_that_make_no_sense_are_answered_with_what_is_allowed(folder: Path) -> None:
    import io

    from sdl.twin.fitted.serve import ServedInstrument, serve_lines

    twin = parse_kind("instrument", {"kind": "twin", "state": str(folder / "rig-twin.toml"), "latency": 0.0})
    driver = twin.open(RealClock())
    instrument = ServedInstrument("rig", twin.inputs, twin.channels, twin.off, driver.measure, driver.safe)
    asks = ['{"measure": {"red": 1}, "id": 1}', "garbage", "[1]", '{"what": 1}', '{"measure": {"red": "x", "blue": 1}}']
    out = io.StringIO()
    serve_lines(instrument, io.StringIO("\n".join(asks)), out)
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [("error" in answer, answer.get("id")) for answer in answers] == [(True, 1)] + [(True, None)] * 4
    assert "missing: blue" in answers[0]["error"]
    assert instrument.taken == 0


def test_only_a_fitted_twin_is_served_as_something_else(folder: Path, sdl: Sdl) -> None:
    assert "--as is for a fitted twin" in sdl("twin", "serve", "--as", "scpi").err
    (folder / "led.toml").write_text('about = "an LED"\n')
    assert "led.toml: not a twin that `sdl twin fit --instrument` wrote" in sdl("twin", "serve", "led.toml").err
    assert MIXER.takes == 20.0
