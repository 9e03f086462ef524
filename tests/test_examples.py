"""The packages in examples/, installed into a folder of their own as anybody would."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from test_project import ROOT, install, python


@pytest.mark.slow
def test_the_optuna_package_keeps_the_contract_and_its_campaign_its_expectation(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    folder = tmp_path / "sdl-optuna"
    shutil.copytree(ROOT / "examples" / "sdl-optuna", folder, ignore=shutil.ignore_patterns("__pycache__"))
    install(folder)
    path = os.pathsep.join([str(folder), str(ROOT)])
    tests = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_sdl_optuna.py", cwd=folder, PYTHONPATH=path)
    passed = re.search(r"(\d+) passed", tests.stdout)
    assert tests.returncode == 0, tests.stdout[-3000:]
    assert passed
    assert int(passed[1]) > 25
    verified = python("-m", "sdl", "verify", "campaign.yaml", cwd=folder, PYTHONPATH=path)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "all as expected: 1 file, 10 campaigns" in verified.stdout
    mistyped = ("--set", "solver.kind=optima")
    listed = python("-m", "sdl", "validate", "campaign.yaml", *mistyped, cwd=folder, PYTHONPATH=path)
    assert "optuna; did you mean 'optuna'?" in listed.stderr


@pytest.mark.slow
def test_the_bluesky_package_runs_campaigns_as_plans(tmp_path: Path) -> None:
    for module in ("bluesky", "ophyd_async", "event_model"):
        pytest.importorskip(module)
    folder = tmp_path / "sdl-bluesky"
    shutil.copytree(ROOT / "examples" / "sdl-bluesky", folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join([str(folder), str(ROOT)])
    tests = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_sdl_bluesky.py", cwd=folder, PYTHONPATH=path)
    assert tests.returncode == 0, tests.stdout[-3000:]
    assert "5 passed" in tests.stdout
