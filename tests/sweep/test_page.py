"""The page about sweeps: its file is a sweep, and its commands run, in their order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT
from waiting import TIMEOUT

from sdl.sweep import load
from sdl.sweep.model import Sweep

PAGE = (ROOT / "docs" / "how-to" / "sweep.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("sdl ")
]


@pytest.fixture
def home(tmp_path):
    """A directory with the page's file."""
    (block,) = re.findall(r"^```yaml\n(# tolerances\.yaml\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "tolerances.yaml").write_text(block, encoding="utf-8")
    return tmp_path


def run(line, home):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", *shlex.split(line)]
    return subprocess.run(
        words, env=environment, cwd=home, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )


def test_the_file_of_the_page_is_as_large_as_it_says(home):
    found = re.search(r"\(2 × 2 × 3 × 4 = (\d+)\)", PAGE)
    assert len(load(home / "tolerances.yaml")) == int(found[1])


def test_every_key_of_a_sweep_is_in_the_page():
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == set(Sweep.ORDER) - {"name", "description"}


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in COMMANDS if "tcp://" not in line])
def test_a_command_of_the_page_runs(home, line):
    done = run(line, home)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_page_s_scheduler_and_worker_are_what_the_command_wants(home, cluster):
    """The words of the page, on a free port and this machine alone."""
    scheduler, worker = re.findall(r"^dask (\w+ ?\S*) ?(--nthreads 1)?", PAGE, re.MULTILINE)[:2]
    assert scheduler[0].strip() == "scheduler"
    assert worker == ("worker tcp://lab-7:8786", "--nthreads 1")
    address, _ = cluster([])
    (line,) = [line for line in COMMANDS if "tcp://" in line]
    done = run(line.replace("tcp://lab-7:8786", address), home)
    assert done.returncode == 0, done.stderr
    assert (home / "on-the-cluster/results.parquet").exists()
