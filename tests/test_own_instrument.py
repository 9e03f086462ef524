"""The page about instruments of one's own, done from top to bottom."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from waiting import TIMEOUT

PAGE = ROOT / "docs" / "how-to" / "own-instrument.md"
BLOCK = re.compile(r"^```(?:python|yaml)\n(# (\S+)\n.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page."""
    for text, name in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", *words]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize("campaign", ["rig.yaml", "function.yaml"])
def test_the_campaigns_of_the_page_reach_their_goals(folder: Path, campaign: str) -> None:
    command(folder, "-m", "sdl", "validate", campaign)
    done = command(folder, "-m", "sdl", "run", campaign, "--json")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["outcome"] == "reached"
    assert result["safe"]["state"] == "off"


def test_the_script_of_the_page_runs(folder: Path) -> None:
    assert command(folder, "notebook.py").stdout.splitlines()[-1].startswith("reached")


def test_the_program_has_ten_lines() -> None:
    text = next(text for text, name in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if name == "rig.py")
    assert len([line for line in text.splitlines()[1:] if line.strip()]) <= 10
