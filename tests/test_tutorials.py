"""docs/tutorial/own-instrument.md, done from top to bottom."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from waiting import TIMEOUT

BLOCK = re.compile(r"^```(?:python|yaml)\n(# (\S+\.(?:py|yaml))\n.*?)^```", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^\$ sdl (.*)$", re.MULTILINE)


@pytest.mark.slow
def test_an_instrument_is_declared_commissioned_simulated_and_reaches_its_goal(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial" / "own-instrument.md").read_text(encoding="utf-8")
    for text, name in BLOCK.findall(page):
        (tmp_path / name).write_text(text, encoding="utf-8")
    lines = CONSOLE.findall(page)
    verbs = ["validate", "instrument", "collect", "twin", "run", "run", "report"]
    assert [line.split()[0] for line in lines] == verbs
    for line in lines:
        words = [*line.split(), *(["--json"] if line.startswith("run ") else [])]
        command = [sys.executable, "-P", "-m", "sdl", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 0, line + done.stdout + done.stderr
        if line.startswith("run "):
            result = json.loads(done.stdout)
            assert result["outcome"] == "reached"
            assert abs(result["measured"]["T"] - 37) <= 0.5
    assert (tmp_path / "warm.html").stat().st_size > 10_000


def test_what_the_tutorial_calls_a_mistake_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial" / "own-instrument.md").read_text(encoding="utf-8")
    for text, name in BLOCK.findall(page):
        (tmp_path / name).write_text(text.replace("37 °C", "37 K"), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "sdl", "validate", "warm.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 2
    assert "°C" in done.stderr
