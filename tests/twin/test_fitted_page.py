"""The section of docs/how-to/twin.md on a twin of one's own instrument, done from top to bottom."""

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
LED = re.compile(r"\b(light|lamp|dark|nm)\b", re.IGNORECASE)
FILES = ("twin/fitted/*.py", "twin/simulation.py", "drivers/twin/fitted.py", "config/on_twin.py", "bench/fitted.py")


@pytest.mark.slow
def test_a_twin_is_fitted_checked_and_used_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "twin.md").read_text(encoding="utf-8")
    section = page.split("## A twin of your own instrument")[1].split("\n## ")[0]
    for text, name in BLOCK.findall(section):
        (tmp_path / name).write_text(text, encoding="utf-8")
    *lines, serve = CONSOLE.findall(section)
    assert serve == "twin serve rig-twin.toml --as http"
    assert [line.split()[0] for line in lines] == ["collect", "twin", "twin", "run", "verify", "bench"]
    for line in lines:
        words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
        more = (
            ["--goals", "2", "--seeds", "1", "-q"] if words[0] == "bench" else ["--json"] if words[0] == "run" else []
        )
        command = [sys.executable, "-P", "-m", "sdl", *words, *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if words[0] == "run":
            assert json.loads(done.stdout)["outcome"] == "reached"


def test_the_twin_of_any_instrument_knows_no_word_of_an_led() -> None:
    files = [file for pattern in FILES for file in (ROOT / "sdl").glob(pattern)]
    assert len(files) > 10
    assert [(file.name, word) for file in files for word in LED.findall(file.read_text(encoding="utf-8"))] == []
