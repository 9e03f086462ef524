"""The learning curves: fair between designs, counted as the tables say, and one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from waiting import TIMEOUT

sys.path.append(str(ROOT / "benchmarks"))

import learning
from plants import PLANTS


def test_rows_are_needed_until_all_larger_numbers_are_good_too():
    curve = {n: np.array([miss] * 10) for n, miss in zip((6, 8, 12, 16), (0.9, 1.4, 0.8, 0.4), strict=True)}
    assert learning.needed(curve, 1.0) == 12
    assert learning.needed(curve, 0.5) == 16
    assert learning.needed(curve, 2.0) == 6
    assert learning.needed(curve, 0.3) is None
    curve[16] = np.array([0.1] * 8 + [5.0] * 2)  # one of ten goals may be missed, not two
    assert learning.needed(curve, 1.0) is None


@pytest.mark.slow
def test_every_design_measures_the_same_plant_with_its_number_of_rows_inside_the_bounds():
    plant = PLANTS["affine"](np.random.default_rng(0))
    for design in learning.DESIGNS:
        found = learning.rows_of(design, plant, 3, "pls", (4, 5))
        assert [len(X) for X, _ in found.values()] == [4, 5]
        low, high = (0.0, 1.0) if design == "latin-hypercube" else (0.1, 0.9)
        for X, Y in found.values():
            assert X.min() >= low - 1e-9
            assert X.max() <= high + 1e-9
            assert pytest.approx(plant.noise_free(X), rel=0.02, abs=2) == Y
        if not design.startswith("latin"):
            assert (found[4][0] == found[5][0][:4]).all()
            assert found[4][0] == pytest.approx(np.vstack([np.full(3, 0.1), np.where(np.eye(3) == 1, 0.9, 0.1)]))


def test_the_goals_that_are_asked_do_not_depend_on_design_or_solver():
    plant = PLANTS["affine"](np.random.default_rng(0))
    exact = np.vstack([np.full(3, 0.1), np.where(np.eye(3) == 1, 0.9, 0.1), np.full((2, 3), 0.5)])
    for solver in ("linear", "pls"):
        assert max(learning.misses(plant, exact, plant.noise_free(exact), solver, 0)) < 0.05
    assert learning.misses(plant, exact[:2], plant.noise_free(exact[:2]), "linear", 0) == [np.inf] * learning.GOALS


@pytest.mark.slow
def test_one_command_gives_tables_and_a_figure_and_measures_nothing_twice(tmp_path: Path):
    pytest.importorskip("matplotlib")

    def run() -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "learning.py"), "--quick", "--out", str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    text = run()
    assert "Rows needed until nine of ten goals are missed" in text
    assert "2 seeds × 8 goals" in text
    results = tmp_path / "learning.jsonl"
    lines = results.read_text().splitlines()
    assert len(lines) == 2 * (5 + 4)  # linear does not choose for itself
    assert all(sorted(json.loads(line)["misses"]) == ["5"] for line in lines)
    assert (tmp_path / "learning.png").stat().st_size > 1000
    results.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:30])  # killed while it wrote
    assert run() == text
    stamp = results.read_bytes()
    assert run() == text
    assert results.read_bytes() == stamp
