"""The how-to pages of kinds http and scpi, done from top to bottom; and the files that `sdl instrument new` writes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import ROOT
from waiting import TIMEOUT

import sdl.drivers
from sdl import config

BLOCK = re.compile(r"^```(?:python|yaml)\n(# (\S+)\n.*?)^```", re.MULTILINE | re.DOTALL)


@contextmanager
def started(program: Path, port: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-P", str(program)])
    try:
        end = time.monotonic() + TIMEOUT
        while True:
            assert process.poll() is None
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            assert time.monotonic() < end
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait(TIMEOUT)


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "sdl", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "port", "program", "campaign"),
    [("http-instrument", 8765, "lamp_server.py", "lamp.yaml"), ("scpi-instrument", 5025, "ph_cell.py", "cell.yaml")],
)
def test_the_campaign_of_a_page_reaches_its_goal(
    tmp_path: Path, page: str, port: int, program: str, campaign: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    for text, name in BLOCK.findall((ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")):
        assert str(port) in text
        (tmp_path / name).write_text(text.replace(str(port), str(own)), encoding="utf-8")
    with started(tmp_path / program, own):
        validated = command(tmp_path, "validate", campaign)
        assert validated.returncode == 0, validated.stdout + validated.stderr
        checked = command(tmp_path, "instrument", "check", campaign, "--json", "--yes")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        done = command(tmp_path, "run", campaign, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["outcome"] == "reached"


@pytest.mark.parametrize("kind", ["http", "scpi"])
def test_a_template_is_a_valid_campaign_and_so_is_everything_that_it_offers(kind: str, tmp_path: Path) -> None:
    text = (Path(sdl.drivers.__file__).parent / "templates" / f"{kind}.yaml").read_text(encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    assert config.load(file).instrument.kind == kind
    optional = re.sub(r"^(\s*)# (\w+: )", r"\1\2", text, flags=re.MULTILINE)
    assert optional != text
    optional = optional.replace("baud: 9600", "# baud: 9600").replace("method: GET", "method: POST")
    file.write_text(optional, encoding="utf-8")
    config.load(file)
