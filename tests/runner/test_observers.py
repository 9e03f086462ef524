"""`watch: twin`: a campaign says when its instrument leaves its twin, and goes on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdl import config, runner
from sdl.errors import ConfigError
from sdl.twin.led.state import FOLDER
from tests.twin.fitted_kit import KEYS, NOISE, mixer, written

WARNING = "no longer matches its twin"


def campaign(caplog: pytest.LogCaptureFixture, watch: str | None, **instrument: Any) -> list[str]:
    """Collects 30 readings; what was said meanwhile."""
    tree = {
        "name": "watched",
        "instrument": {"kind": "twin", **instrument},
        "design": {"kind": "latin-hypercube", "trials": 30},
        "watch": watch,
    }
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert runner.run(tree, runs=None, collect=True).readings == 30
    return [record.getMessage() for record in caplog.records]


def test_another_unit_is_told_from_the_twin_once(caplog: pytest.LogCaptureFixture) -> None:
    (said,) = campaign(caplog, "twin", variant="other-unit", seed=2)
    assert WARNING in said
    assert said.startswith("trial 7: ")  # as soon as there are readings enough
    assert said.endswith("(watch: twin)")


def test_an_instrument_that_is_its_twin_is_left_alone_by_night_and_by_day(caplog: pytest.LogCaptureFixture) -> None:
    assert campaign(caplog, "night-2025-10", seed=2) == []
    for hour in ("09", "12", "17"):
        assert campaign(caplog, "twin", ambient="day", start=f"2025-10-28T{hour}:00:00-04:00") == []


def test_an_led_that_dies_and_comes_back_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    fault = {"name": "dead-led", "after": 10.0, "lasts": 1.0}
    assert campaign(caplog, "twin", faults=[fault]) == []  # one or two readings of thirty is no departure
    said = campaign(caplog, "twin", faults=[{"name": "dead-led", "after": 10.0}])
    assert len(said) == 1
    assert WARNING in said[0]


def test_without_the_key_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert campaign(caplog, None, variant="other-unit", seed=2) == []


def test_a_twin_with_other_inputs_watches_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert campaign(caplog, "twin", variant="green") == [
        "watch: twin has the inputs R, G, B, the instrument G: they are not compared"
    ]


def test_a_twin_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    tree = {"name": "watched", "instrument": "twin", "goal": {"515nm": 16384}}
    with pytest.raises(ConfigError, match="unknown state 'twn'; allowed: night-2024-09"):
        config.parse({**tree, "watch": "twn"})
    mine = tmp_path / "mine.toml"
    mine.write_text((FOLDER / "night-2025-10.toml").read_text())
    assert config.parse({**tree, "watch": str(mine)}).watch == str(mine.resolve())


def mixing(folder: Path, caplog: pytest.LogCaptureFixture, watch: str | None, factor: float = 1.0) -> list[str]:
    """Collects 30 readings of a rig of its own whose dye is stronger by a factor; what was said meanwhile."""
    written(folder)
    rng = np.random.default_rng(1)

    def measure(settings: Any) -> dict[str, float]:
        exact = mixer({name: factor * value for name, value in settings.items()})
        return {name: value + NOISE[name] * rng.standard_normal() for name, value in exact.items()}

    instrument = {"kind": "python", **KEYS, "takes": "1 s", "twin": str(folder / "rig-twin.toml")}
    tree = {"name": "mixed", "instrument": instrument, "design": {"kind": "latin-hypercube", "trials": 30}}
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert runner.run({**tree, "watch": watch}, runs=None, collect=True, measure=measure).readings == 30
    return [record.getMessage() for record in caplog.records if "watch" in record.getMessage()]


def test_any_instrument_is_compared_with_its_own_twin(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert mixing(tmp_path, caplog, "twin") == []
    (said,) = mixing(tmp_path, caplog, "twin", factor=1.1)
    assert WARNING in said
    (said,) = mixing(tmp_path, caplog, str(tmp_path / "rig-twin.toml"), factor=1.1)
    assert WARNING in said


def test_a_twin_that_the_instrument_names_and_lacks_is_a_mistake(tmp_path: Path) -> None:
    instrument = {"kind": "command", "command": ["x"], **KEYS, "twin": "gone.toml"}
    tree = {"name": "mixed", "instrument": instrument, "goal": {"R": 120}, "watch": "twin"}
    with pytest.raises(ConfigError, match=r"watch: no such file: '.*gone.toml'"):
        config.parse(tree, base=tmp_path)


def test_the_twin_of_the_led_or_of_another_instrument_cannot_watch_ones_own(tmp_path: Path) -> None:
    instrument = {"kind": "command", "command": ["true"], **KEYS}
    tree = {"name": "mixed", "instrument": instrument, "goal": {"R": 120}, "watch": "twin"}
    with pytest.raises(ConfigError, match=r"watch: the twin is the LED's: .* R, G, B, .* so nothing can be compared"):
        config.parse(tree, base=tmp_path)
    written(tmp_path)
    mine = str(tmp_path / "rig-twin.toml")
    assert config.parse({**tree, "watch": mine}, base=tmp_path).watch == mine
    light = {"kind": "command", "command": ["true"], "inputs": {"lamp": {}}, "channels": {"R": {}}, "off": "nothing"}
    with pytest.raises(ConfigError, match=r"watch: the twin is of another instrument.*sdl twin fit"):
        config.parse({**tree, "instrument": light, "watch": mine}, base=tmp_path)
