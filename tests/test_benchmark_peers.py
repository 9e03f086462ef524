"""The comparison with peers: resumed by campaign, a peer that dies is a failure with its reason, one report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from waiting import TIMEOUT

pytestmark = pytest.mark.slow


def benchmark(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / words[0]), *words[1:]]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)


def test_a_peer_gets_the_same_goals_and_a_broken_off_run_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    asked = ("peers.py", "--sets", "2", "--scenarios", "affine, 1 %", "--out", str(tmp_path))
    asked = (*asked, "--python", f"Optuna={sys.executable}")
    first = benchmark(*asked)
    assert first.returncode == 0, first.stderr
    assert "| affine, 1 % | **5 / 5** | >30 / >30 · 2 |" in first.stdout
    assert "`auto` is first or level in every row." in first.stdout
    assert "Optuna: optuna " in first.stdout
    file = tmp_path / "peers.jsonl"
    lines = file.read_text().splitlines()
    assert sorted(json.loads(line)["cell"] for line in lines) == [
        ["affine, 1 %", solver, n] for solver in ("Optuna", "auto") for n in (0, 1)
    ]
    file.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])  # killed while it wrote
    again = benchmark(*asked)
    assert "1 of 1" in again.stderr
    assert len(file.read_text().splitlines()) == 5
    assert benchmark(*asked).stderr == ""
    assert (tmp_path / "peers.png").stat().st_size > 1000


def test_a_peer_that_dies_has_failed_with_its_reason(tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    dead.write_text(f"#!{sys.executable}\nraise SystemExit(3)\n")
    dead.chmod(0o755)
    done = benchmark(
        "peers.py", "--sets", "1", "--scenarios", "affine, 1 %", "--out", str(tmp_path), "--python", f"Ax={dead}"
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "peers.jsonl").read_text().splitlines()]
    assert [row["error"] for row in rows if row["cell"][1] == "Ax"] in (
        ["Ax ended with exit code 3"],
        ["[Errno 32] Broken pipe"],
    )
    assert "| affine, 1 % | **5 / 5** | >30 / >30 · 1 |" in done.stdout


def test_one_report_has_every_section_and_an_unchanged_one_is_not_run_again(tmp_path: Path) -> None:
    asked = ("bench.py", "--only", "peers", "--sets", "1", "--out", str(tmp_path))
    first = benchmark(*asked)
    assert first.returncode == 0, first.stderr
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Goals with a tolerance, beside peers" in report
    assert "| affine, 1 % | **5 / 5** |" in report
    assert "![Goals with a tolerance, beside peers](peers.png)" in report
    again = benchmark(*asked)
    assert again.stderr == ""
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == report
