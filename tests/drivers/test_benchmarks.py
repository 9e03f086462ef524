"""The benchmarks of the instruments run, and say where a figure is not reached."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT
from processes import environment
from waiting import TIMEOUT


def run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"benchmarks/{script}", *args]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=TIMEOUT
    )  # fmt: skip


@pytest.mark.slow
def test_campaigns_by_day_end_as_they_should() -> None:
    done = run("daylight.py", "--starts", "8", "--backgrounds", "each")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| 8/8 |") == 4


@pytest.mark.slow
def test_a_short_soak_leaks_nothing() -> None:
    done = run("soak.py", "--measurements", "150", "--warm-up", "50", "--faults", "0.2", "--speed", "100")
    assert "descriptors" in done.stdout, done.stderr
    assert int(re.findall(r"descriptors \d+, grown by (\S+)", done.stdout)[0]) <= 1
    assert float(re.findall(r"grown by (\S+) MB", done.stdout)[0]) < 10
    assert "throughput" in done.stdout  # how much of it depends on what else the machine does
