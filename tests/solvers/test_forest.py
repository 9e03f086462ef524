"""ForestDiffusion, tamed: repeatable, on one thread, leaving the caller's world alone."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from led import GAINS, ask, data, hypercube, measure, night, space, targets
from pydantic import ValidationError

from sdl.errors import ConfigError, SolverError
from sdl.models.backward.flow_matching import FlowOptions, _densest, _learnable
from sdl.models.backward.local_regression import fit_inverse_regression
from sdl.models.training_set import TrainingSet
from sdl.solvers.forest import Forest
from sdl.solvers.linear import Linear

GOAL = np.array([16384.0] * 3)
TREES = Forest(trend="none")
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, os, sys
import numpy as np
from sdl.solvers.forest import Forest
sys.path.append("tests")
from led import ask, night
import ForestDiffusion  # whatever threads its import starts are not ours
tasks = lambda: len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0
before = tasks()
np.random.seed(int(sys.argv[1]))
answer = ask(Forest(trend="none"), night(30), [16384.0] * 3, seed=5)
print(json.dumps({"bits": answer.settings.tobytes().hex(), "threads": tasks() - before}))
"""


def run(number):
    """One answer from a process of its own, with threads left to themselves."""
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(number)], cwd=ROOT, env=keep, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.slow
def test_two_processes_give_the_same_bits_on_one_thread_each():
    first, second = run(1), run(2)
    assert first["bits"] == second["bits"]
    assert first["bits"] == ask(TREES, night(30), GOAL, seed=5).settings.tobytes().hex()
    assert first["threads"] == second["threads"] == 0


def test_an_xgboost_before_3_that_takes_no_number_of_threads_for_all_gives_the_same(monkeypatch):
    import xgboost

    now = ask(TREES, night(30), GOAL, seed=5).settings
    known, context = xgboost.get_config(), xgboost.config_context

    def older(**given):
        assert "nthread" not in given
        return context(**given)

    monkeypatch.setattr(xgboost, "get_config", lambda: {k: v for k, v in known.items() if k != "nthread"})
    monkeypatch.setattr(xgboost, "config_context", older)
    assert ask(TREES, night(30), GOAL, seed=5).settings.tobytes() == now.tobytes()


def test_eighty_rows_hit_within_half_a_percent():
    missed = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = hypercube(80, rng)
        answer = ask(Forest(), data(X, measure(X, rng)), GOAL, seed)
        missed.append(np.abs(GAINS @ answer.settings[0] / GOAL - 1).max())
    assert np.median(missed) < 0.003
    assert max(missed) < 0.01


def test_its_doubt_covers_the_truth():
    true = np.linalg.solve(GAINS, GOAL)
    inside = []
    for seed in range(15):
        answer = ask(Forest(), night(30, seed), GOAL, seed)
        inside.append(np.abs(answer.settings[0] - true) < 2 * answer.uncertainty[0])
    assert np.mean(inside) > 0.85


def test_other_seeds_draw_other_settings():
    assert (ask(TREES, night(30), GOAL, 1).settings != ask(TREES, night(30), GOAL, 2).settings).any()


def test_the_trees_take_up_what_the_trend_cannot_bend_to():
    rng = np.random.default_rng(0)
    X, goals = hypercube(120, rng), rng.uniform(0.1, 0.9, (40, 3))
    bent = lambda at: (at + 0.1 * np.sin(np.pi * at)) @ GAINS.T  # noqa: E731
    rows = data(X, bent(X))
    trees, line = (
        np.median(np.abs(ask(solver, rows, bent(goals)).settings - goals)) for solver in (Forest(), Linear())
    )
    assert trees < 0.3 * line


def test_rows_without_noise_leave_the_trees_nothing_to_learn():
    X = hypercube(20, np.random.default_rng(0))
    answer = ask(Forest(), data(X, X @ GAINS.T), GOAL)
    assert answer.settings[0] == pytest.approx(np.linalg.solve(GAINS, GOAL), abs=1e-8)
    assert "linear trend alone" in answer.why[0]


def test_options_reach_the_library_and_the_papers_trees_see_every_session_as_it_is():
    X, Y, session = night(20).X, night(20).Y, np.arange(20) // 10 * 1.0
    rows = replace(data(X, Y * (1 + 0.1 * session[:, None])), session=session)
    fitted = Forest(trend="none", n_t=3, duplicate_K=4, n_estimators=5, max_depth=6).fit(rows)
    library = fitted.forest
    assert (library.n_t, library.duplicate_K, library.n_estimators, library.max_depth) == (3, 4, 5, 6)
    assert library.n_jobs == 1
    assert fitted.training.Y.tolist() == rows.Y.tolist()
    aligned = Forest(n_t=3, duplicate_K=4, n_estimators=5).fit(rows).training.Y
    assert aligned[:10] == pytest.approx(1.1 * Y[:10], rel=0.05)
    assert Forest(trend="none", n_t=2, duplicate_K=2, n_estimators=2).fit(rows).forest.max_depth == 7


def test_of_two_modes_the_draws_of_the_one_with_more_of_them_are_taken_and_none_between():
    rng = np.random.default_rng(0)
    few, many, between = (m + 0.02 * rng.standard_normal((n, 2)) for m, n in ((0.2, 30), (0.7, 60), (0.45, 3)))
    found = _densest(np.vstack([few, between, many]))
    assert np.sort(found, axis=0) == pytest.approx(np.sort(many, axis=0))
    apart = np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    assert _densest(apart).tolist() == apart.tolist()  # no two of them belong together


def test_the_spread_of_trees_alone_is_the_sample_standard_deviation_of_their_draws():
    fitted = Forest(trend="none", n_t=3, duplicate_K=4, n_estimators=5, samples=5).fit(night(20))
    answer = fitted.propose(targets(GOAL), space(), np.random.default_rng(0))
    drawn = fitted._draw(GOAL[None], 5, np.random.default_rng(0))[0]
    mode = _densest(drawn)
    assert answer.settings[0] == pytest.approx(mode.mean(axis=0))
    assert answer.spread[0] == pytest.approx([statistics.stdev(column) for column in mode.T.tolist()])
    assert np.isnan(answer.uncertainty).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_trees_learn_what_they_predict_at_levels_that_were_left_out_and_no_noise(sign):
    """A wave of the first setting, noise of the second, and less than nothing of the third."""
    rows = night(60)
    trend = fit_inverse_regression(TrainingSet.from_data(rows))
    wave, noise = np.sin(6 * rows.X[:, 0]), np.random.default_rng(1).standard_normal(60)
    rest = np.column_stack([wave - wave.mean(), noise - noise.mean(), 1e-12 * wave])
    options = FlowOptions(10, 10, 20, None, "affine", 200)
    found = _learnable(options, replace(trend, rest=0.01 * sign * rest), rows.Y)
    assert found.tolist() == [True, False, False]
    other = replace(trend, rest=0.01 * sign * rest[:, [1, 0, 2]])  # the wave of the first setting, in the second
    assert _learnable(options, other, rows.Y).tolist() == [False, True, False]
    three_levels = replace(other, U=np.round(2 * trend.U) / 2)
    assert not _learnable(options, three_levels, rows.Y).any()


def test_without_its_package_the_solver_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("sdl.solvers.forest.not_installed", lambda: "no trees here")
    with pytest.raises(SolverError, match="no trees here"):
        Forest().fit(night(20))
    with pytest.raises(ConfigError, match="no trees here"):
        Forest().suits((), ())


@pytest.mark.parametrize("name", ["n_t", "duplicate_K", "n_estimators", "max_depth", "samples"])
def test_options_that_cannot_be_meant_are_refused(name):
    least = {"n_t": 2, "duplicate_K": 1, "n_estimators": 1, "max_depth": 1, "samples": 2}
    assert Forest(**least).samples == 2
    with pytest.raises(ValidationError):
        Forest(**{**least, name: least[name] - 1})


def test_samples_scatter_as_one_reading_does():
    fitted = Forest().fit(night(60))
    drawn = fitted.sample(GOAL, 500, np.random.default_rng(0))
    assert drawn.shape == (500, 3)
    assert (drawn @ GAINS.T).mean(axis=0) == pytest.approx(GOAL, rel=0.01)
    assert (drawn.std(axis=0) < 0.004).all()
