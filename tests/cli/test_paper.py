"""paper: what is refused before the work, and the page and pictures that it leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import Sdl


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "none.jsonl"], "no such file"),
        (["--state", "nowhere"], "--state: unknown state 'nowhere'"),
        (["--state", "sdl-light"], "which the paper uses"),
        (["--data", "x", "--state", "night-2025-10"], "which --data replaces"),
        (["-o", "missing/paper.html"], "there is no folder missing"),
        (["-o", "."], "is a folder"),
        (["--rows", "5"], "greater than or equal to 20"),
    ],
)
def test_mistakes_are_told_before_the_work(sdl: Sdl, args: list[str], message: str):
    done = sdl("paper", "--quick", *args)
    assert done.code == 2
    assert message in done.err
    assert not Path("paper.html").exists()


def test_a_file_that_is_no_page_of_ours_is_left_alone(sdl: Sdl, tmp_path: Path):
    (tmp_path / "rgb.jsonl").write_text("precious", encoding="utf-8")
    done = sdl("paper", "--quick", "-o", "rgb.jsonl", "--data", "none.jsonl")  # told first: it costs no work
    assert done.code == 2
    assert "not made by sdl" in done.err
    assert (tmp_path / "rgb.jsonl").read_text(encoding="utf-8") == "precious"


def test_a_log_that_is_no_log_is_told_with_its_line(sdl: Sdl, tmp_path: Path):
    (tmp_path / "rgb.jsonl").write_text('{"in": [0, 0, 0], "out": {"445nm": 1}}\n{"in": [1]}\n', encoding="utf-8")
    done = sdl("paper", "--quick", "--data", "rgb.jsonl")
    assert done.code == 2
    assert "rgb.jsonl:2" in done.err


@pytest.mark.slow
def test_one_command_leaves_a_page_that_needs_nothing_else_and_every_figure(sdl: Sdl, tmp_path: Path):
    done = sdl("paper", "--quick", "--png", "figures", "--json")
    assert (done.code, done.err) == (0, "")
    page = (tmp_path / "paper.html").read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', page)) == {"https://doi.org/10.1039/D5DD00137D"}
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == sorted([*(f"figure-{n}.png" for n in range(2, 12)), "table-1.png", "ours.png"])
    assert len(re.findall(r"<img ", page)) == len(names)
    printed = done.json
    assert printed["paper"][0]["published"] == [0.49, 0.24, 0.52]
    assert {one["solver"] for one in printed["ours"]} >= {"bayes", "gp", "auto", "forest"}
