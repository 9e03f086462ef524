"""The page about asking and telling, done from top to bottom."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from waiting import TIMEOUT

from sdl.runs.runs import open_run
from sdl.types import Outcome

PAGE = ROOT / "docs" / "how-to" / "ask-and-tell.md"
BLOCK = re.compile(r"^```(?:python|yaml)\n(# (\S+)\n.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page."""
    for text, name in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def done(folder: Path, *words: str) -> str:
    """What a command printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        words, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False, encoding="utf-8"
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_a_script_becomes_a_campaign_in_five_lines_and_reaches_its_goal(folder: Path) -> None:
    before, after = ((folder / name).read_text().splitlines()[1:] for name in ("scan.py", "campaign.py"))
    changed = [line for line in difflib.unified_diff(before, after, lineterm="", n=0) if re.match(r"\+(?!\+\+ )", line)]
    assert len(changed) <= 5, changed
    assert len([line for line in before if line.strip()]) <= 20
    done(folder, sys.executable, "scan.py")
    assert len((folder / "readings.csv").read_text().splitlines()) == 10
    done(folder, sys.executable, "campaign.py")
    (record,) = folder.glob("runs/colour/*/record.jsonl")
    run = open_run(record.parent)
    assert run.result.outcome is Outcome.REACHED
    assert len((folder / "readings.csv").read_text().splitlines()) == 1 + run.result.readings


@pytest.mark.slow
def test_the_commands_of_the_page_do_what_it_says(folder: Path) -> None:
    (block,) = SHELL.findall(PAGE.read_text(encoding="utf-8"))
    printed = done(folder, "bash", "-ec", block)
    (request,) = (json.loads(line) for line in printed.splitlines() if line.startswith("{"))
    assert (request["trial"], request["repeat"]) == (1, 0)
    (record,) = folder.glob("runs/colour/*/record.jsonl")
    run = open_run(record.parent)
    assert [trial.state for trial in run.trials] == ["closed", "closed", "failed", "skipped"]
    assert run.trials[0].mean["R"] == 200.3
    assert run.trials[1].applied is not None
    assert run.trials[1].applied["red"] == 225
    assert run.campaign.history.rows == 3
