"""`sdl ask`, `tell`, `attach`, `skip`, `correct`: what is printed, refused, and with which exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Sdl

CAMPAIGN = """\
name: rig
instrument:
  kind: external
  inputs: {red: {low: 0, high: 100, unit: uL}, dye: {choices: [rose, indigo]}}
  channels: {R: {}}
goal: {R: 30}
solver: linear
design: {kind: latin-hypercube, trials: 3}
stop: {trials: 2}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rig.yaml"
    path.write_text(CAMPAIGN)
    return path


def test_settings_are_printed_with_units_and_with_what_to_type_next(sdl: Sdl, file: Path) -> None:
    done = sdl("ask", file)
    assert done.code == 0
    assert "  set   red = " in done.out
    assert " uL\n" in done.out
    assert "  then  sdl tell runs/rig/" in done.out
    assert sdl("ask", file, "--json").json["settings"]["dye"] in ("rose", "indigo")


def test_at_the_end_json_has_no_settings_and_the_exit_code_is_that_of_a_run(sdl: Sdl, file: Path) -> None:
    for _ in range(2):
        sdl("ask", file)
        assert sdl("tell", "latest", "R=1", "--applied", "dye=rose").code == 0
    end = sdl("ask", "latest", "--json")
    assert (end.code, end.json["settings"], end.json["outcome"]) == (1, None, "spent")
    assert "sdl ask" in end.json["next"]
    assert sdl("ask", "latest", "--set", "stop.trials=3", "--json").json["trial"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tell", "latest", "R=1"), "nothing is asked for; first: sdl ask runs/rig/"),
        (("tell", "latest", "R=much", "--trial", "0", "--repeat", "0"), "R=much: must be CHANNEL=NUMBER"),
        (("tell", "latest", "R=1", "--applied", "pink=1", "--trial", "0", "--repeat", "0"), "allowed: red, dye"),
        (("tell", "latest", "--trial", "0", "--repeat", "0"), "tell either the readings or"),
        (("attach", "latest", "red=5", "dye=mauve", "R=1"), "is none of rose, indigo"),
        (("skip", "latest", "--why", "x"), "nothing is asked for"),
        (("correct", "latest", "R=1", "--trial", "0", "--why", "x"), "has not been asked for"),
        (("correct", "latest", "--trial", "0", "--why", "x"), "give either the right values, R=140.2, or --exclude"),
        (("ask", "nowhere"), "nowhere is no run"),
        (("ask", "latest", "--new"), "is not a campaign file"),
        (("run", "rig.yaml"), "`sdl ask`"),
    ],
)
def test_mistakes_are_refused_with_exit_code_2(sdl: Sdl, file: Path, words: tuple[str, ...], message: str) -> None:
    from sdl.asktell import open_campaign

    open_campaign(file)
    done = sdl(*words)
    assert (done.code, message in done.err) == (2, True), done.err


def test_show_says_that_it_waits(sdl: Sdl, file: Path) -> None:
    sdl("ask", file)
    assert "it waits for a reading, or to be asked" in sdl("show", "latest").out
