"""Every kind in the table of drivers keeps the contract that is shipped for outsiders."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdl.clock import VirtualClock
from sdl.config import parse_kind
from sdl.drivers.base import Instrument
from sdl.errors import ConfigError
from sdl.registry import OURS, find
from sdl.testing.instrument_contract import InstrumentContract
from sdl.twin.led.serve import TwinServer

DECLARED: dict[str, Any] = {
    "inputs": {"a": {"high": 100.0, "step": 0.5}, "b": {"low": -1.0}},
    "channels": {"R": {"high": 100.0}, "Q": {}},
    "derived": {"half": "R / 2"},
    "off": {"a": 0, "b": 0},
}
RIG = """
import json, sys
for line in sys.stdin:
    ask = json.loads(line)
    settings = ask.get("measure") or ask["off"]
    readings = {"R": settings["a"], "Q": 1.0}
    print(json.dumps({"id": ask["id"], "readings": readings, "applied": settings}), flush=True)
"""
ELSEWHERE = {"sdl-light": "test_sdl_light.py", "http": "test_http_api.py", "scpi": "test_scpi.py"}
"""Kinds that need more around them than the server here: where their contract is tested."""


UNDRIVEN = "external"  # it is declared, and others drive it


class TestDrivers(InstrumentContract):
    @pytest.fixture(params=[kind for kind in OURS["drivers"] if kind not in (*ELSEWHERE, UNDRIVEN)])
    def instrument(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Instrument]:
        model = find("drivers", request.param)
        match request.param:
            case "claude-light":  # what would go out into the world is given a twin to talk to
                with TwinServer(speed=1000, latency=0.1) as server:
                    yield model(url=server.url)
            case "command":
                (tmp_path / "rig.py").write_text(RIG)
                yield parse_kind(
                    "instrument", {**DECLARED, "kind": "command", "command": [sys.executable, "rig.py"]}, tmp_path
                )
            case "python":
                (tmp_path / "my_rig.py").write_text(
                    "def measure(settings):\n    return {'R': settings['a'], 'Q': 1.0}\n"
                )
                yield parse_kind(
                    "instrument", {**DECLARED, "kind": "python", "function": "my_rig.py:measure"}, tmp_path
                )
            case "manual":
                monkeypatch.setattr(sys, "stdin", Person())
                yield model(background="each")
            case "replay":
                yield model(source=str(log_of(tmp_path)))
            case _:
                yield model()


class Person(io.StringIO):
    """Sits at a terminal and types the same three numbers again and again."""

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1) -> str:
        return "12000 24000 18000.5\n"


def log_of(folder: Path) -> Path:
    """A log with what the contract asks for: the middle and both ends of every input."""
    driver = find("drivers", "twin")().open(VirtualClock())
    readings = [driver.measure(dict.fromkeys("RGB", value)) for value in (0.0, 0.5, 0.5, 1.0)]
    lines = [{"in": list(r.applied.values()), "out": dict(r.readings), "time": k} for k, r in enumerate(readings)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "log.jsonl"


class TestPaperTwin(InstrumentContract):
    @pytest.fixture
    def instrument(self) -> Instrument:
        return find("drivers", "twin")(state="paper-2025-03", seed=7, latency=0.0)


class TestRealtimeTwin(InstrumentContract):
    @pytest.fixture
    def instrument(self) -> Instrument:
        return find("drivers", "twin")(realtime=True, latency=0.001)


@pytest.mark.parametrize("file", ELSEWHERE.values())
def test_a_kind_that_is_tested_elsewhere_is_tested_there(file: str) -> None:
    assert "(InstrumentContract):" in (Path(__file__).parent / file).read_text()


def test_the_kind_that_others_drive_is_an_instrument_that_cannot_be_opened() -> None:
    inputs, channels = {"red": {"high": 3, "unit": "uL"}}, {"R": {}}
    instrument = parse_kind("instrument", {"kind": UNDRIVEN, "inputs": inputs, "channels": channels, "name": "rig"})
    assert isinstance(instrument, Instrument)
    assert (instrument.identity, instrument.simulated, instrument.off) == ("external:rig", False, None)
    with pytest.raises(ConfigError, match="`sdl ask`"):
        instrument.open(VirtualClock())
