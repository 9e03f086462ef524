"""validate, schema and init."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sdl import config

from .conftest import CAMPAIGN, Sdl


def test_validate_tells_what_a_campaign_will_ask_of_its_instrument(sdl: Sdl, file: str) -> None:
    done = sdl("validate", file)
    assert done.code == 0
    words = "valid; at most 40 trials, 120 readings, 1.6 minutes of twin:night-2025-10:0"
    assert done.out.startswith(f"led.yaml: {words}")
    printed = sdl("validate", file, "--set", "average=2", "--json").json
    assert printed["files"][0]["at_most"] == {"trials": 40, "readings": 240, "minutes": 3.12}
    assert sdl("validate", file, "--set", "stop.minutes=1", "--json").json["files"][0]["at_most"]["minutes"] == 1


def test_validate_tells_the_mistakes_of_every_file_at_once(sdl: Sdl, file: str) -> None:
    Path("a.yaml").write_text("name: a\nspeed: 3\nseed: -1\n", encoding="utf-8")
    Path("b.yaml").write_text(CAMPAIGN.replace("445nm", "446nm"), encoding="utf-8")
    done = sdl("validate", "a.yaml", file, "b.yaml", "c.yaml")
    assert done.code == 2
    assert done.out.startswith("led.yaml: valid")
    for place in (
        "a.yaml:2: speed",
        "a.yaml:3: seed",
        "a.yaml:1: instrument",
        "b.yaml:3: goal.446nm",
        "c.yaml: cannot",
    ):
        assert place in done.err
    printed = sdl("validate", "a.yaml", file, "b.yaml", "--json").json
    assert (printed["valid"], [f["valid"] for f in printed["files"]]) == (False, [False, True, False])
    assert {(p["line"], p["path"]) for p in printed["files"][0]["problems"]} == {
        (1, "instrument"),
        (2, "speed"),
        (3, "seed"),
    }


def test_validate_says_of_a_file_without_a_goal_what_it_is_good_for(sdl: Sdl) -> None:
    Path("c.yaml").write_text("name: c\ninstrument: twin\n", encoding="utf-8")
    done = sdl("validate", "c.yaml")
    assert (done.code, "for `sdl collect`" in done.out) == (0, True)


def test_validate_warns_of_a_file_that_the_instrument_lacks_on_this_machine_and_tells_long_times_in_hours(
    sdl: Sdl,
) -> None:
    instrument = "{kind: python, function: rig.py:measure, inputs: {a: {low: 0}}, channels: {y: {}}, off: nothing}"
    Path("c.yaml").write_text(f"name: c\ninstrument: {instrument}\ngoal: {{y: 1}}\naverage: 1000\n", encoding="utf-8")
    done = sdl("validate", "c.yaml")
    assert done.code == 0
    assert "120000 readings, 1 d 9 h of python:" in done.out
    assert "c.yaml: warning: instrument.function: there is no file " in done.out
    Path("rig.py").write_text("def measure(settings):\n    raise SystemExit\n", encoding="utf-8")
    assert "warning: instrument" not in sdl("validate", "c.yaml").out


def test_schema_prints_the_schema(sdl: Sdl) -> None:
    done = sdl("schema")
    assert done.code == 0
    assert json.loads(done.out) == json.loads(json.dumps(config.schema()))


def test_init_writes_a_file_that_is_valid_and_names_its_schema(sdl: Sdl) -> None:
    assert sdl("init", "mine.yaml").code == 0
    text = Path("mine.yaml").read_text(encoding="utf-8")
    assert "$schema=" in text
    assert sdl("validate", "mine.yaml").code == 0
    assert sdl("init", "-").out == text
    assert sdl("init").code == 0
    assert Path("campaign.yaml").read_text(encoding="utf-8") == text


def test_init_overwrites_nothing(sdl: Sdl) -> None:
    Path("mine.yaml").write_text("precious", encoding="utf-8")
    done = sdl("init", "mine.yaml")
    assert (done.code, "exists already" in done.err) == (2, True)
    assert Path("mine.yaml").read_text(encoding="utf-8") == "precious"
    assert sdl("init", "no/such/folder/mine.yaml").code == 2


@pytest.mark.skipif(os.name != "posix", reason="names that are no text are a thing of POSIX")
def test_a_file_whose_name_is_no_text_can_be_told_about(sdl: Sdl, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.yaml")
    try:
        (tmp_path / name).write_text(CAMPAIGN, encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes only text as names")
    assert sdl("validate", name).code == 0
    assert sdl("validate", name, "--json").json["files"][0]["file"] == name
