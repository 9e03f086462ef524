"""`sdl archive`, and the filters of `sdl list`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sdl.runs import notes
from tests.cli.conftest import Sdl


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """Two finished runs of the campaign led, one of them of January."""
    below = tmp_path / "some"
    shutil.copytree(finished, below / "led" / finished.name)
    shutil.copytree(finished, below / "led" / "20260101T120000.000000Z-0ld123")
    return below


def test_old_runs_are_archived_shown_and_restored(sdl: Sdl, runs: Path) -> None:
    place = ("--runs", str(runs))
    code, before, _ = sdl("show", "0ld123", *place)
    assert code == 0
    code, out, _ = sdl("archive", "--older-than", "1d", *place)
    assert code == 0
    assert out.startswith("1 run archived: ")
    assert (runs / "led" / "20260101T120000.000000Z-0ld123.zip").is_file()
    code, after, _ = sdl("show", "0ld123", *place)
    assert code == 0
    assert [text for text in after.splitlines() if "record:" not in text and "sdl " not in text] == [
        text for text in before.splitlines() if "record:" not in text and "sdl " not in text
    ]
    code, out, _ = sdl("compare", "led", *place)
    assert "medians of 2 runs" in out
    code, _, err = sdl("resume", "0ld123", *place, "--set", "stop.trials=50")
    assert code == 5
    assert "restore it first: sdl archive --restore" in err
    code, out, _ = sdl("archive", "--restore", "0ld123", *place, "--json")
    assert json.loads(out)["restored"][0]["run"].endswith("0ld123")
    assert (runs / "led" / "20260101T120000.000000Z-0ld123").is_dir()


def test_what_cannot_be_archived_is_said(sdl: Sdl, runs: Path) -> None:
    place = ("--runs", str(runs))
    (runs / "led" / "20260101T120000.000000Z-0ld123" / "record.seal").unlink()
    code, out, err = sdl("archive", "--older-than", "1d", *place)
    assert (code, out) == (0, "0 runs archived\n")
    assert "left as it is: " in err
    assert "only finished and sealed runs are archived" in err
    code, _, err = sdl("archive", "0ld123", *place)
    assert code == 2
    for words, said in (
        ((), "name runs, or give --older-than AGE"),
        (("led", "--older-than", "1d"), "name runs, or give --older-than AGE"),
        (("--older-than", "long"), "--older-than long"),
        (("--restore", "--older-than", "1d"), "name the runs to restore"),
        (("nothing-like-it",), "is no run"),
        (("--restore", "0ld123"), "is not archived"),
    ):
        code, _, err = sdl("archive", *words, *place)
        assert code == 2
        assert said in err


def test_the_list_has_the_filters_of_the_page(sdl: Sdl, runs: Path) -> None:
    place = ("--runs", str(runs), "--json")
    notes.write(runs / "led" / "20260101T120000.000000Z-0ld123", "by the window", ["blue"], 0, "ada", 5.0)

    def ids(*words: str) -> list[str]:
        code, out, err = sdl("list", *words, *place)
        assert code == 0, err
        return [row["id"] for row in json.loads(out)["runs"]]

    every = ids()
    assert len(every) == 2
    assert ids("--tag", "blue") == ids("window") == ids("--until", "2026-01-01") == ["0ld123"]
    assert ids("--goal", "16384 515nm") == every
    assert ids("--goal", "16384 415nm") == ids("--solver", "gp") == ids("--outcome", "budget used up") == []
    assert ids("--sort", "started") == every[::-1]
    code, out, _ = sdl("list", "--tag", "none", *place[:2])
    assert out == f"no runs in {runs} match these filters\n"
    for words in (("--outcome", "fine"), ("--sort", "colour"), ("--since", "yesterday")):
        code, _, err = sdl("list", *words, *place[:2])
        assert code == 2
        assert words[1] in err
