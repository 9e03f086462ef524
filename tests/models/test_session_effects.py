"""Rows of several sittings: the room and the gains were not the same, and the present sitting has few rows or none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from led import CHANNELS, GAINS, RGB, ask, axis, data, hypercube, measure, night

from sdl.core.history import History
from sdl.inverse.propose import data_of
from sdl.models.constants import NOMINAL
from sdl.models.session_effects import GAINS as GAIN_SDS
from sdl.models.session_effects import OFFSETS
from sdl.models.training_set import TrainingSet
from sdl.registry import find
from sdl.solvers.forest import Forest
from sdl.solvers.gmm import Gmm
from sdl.solvers.linear import Linear
from sdl.solvers.pls import Pls
from sdl.types import Reading

GOAL = np.array([16384.0] * 3)
TRUE = np.linalg.solve(GAINS, GOAL)
KINDS = ("linear", "pls", "gmm", "forest", "gp", "bayes")
PAPER = (Linear(intercept=False), Pls(level=False), Gmm(trend="none"), Forest(trend="none", n_t=3, n_estimators=3))


def days(seed=0, sittings=8, rows=15, present=()):
    """Rows of earlier sittings, each in a room and with gains of its own, and then those at `present`, by night."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(sittings):
        X = hypercube(rows, rng)
        gains = GAINS * rng.normal(1.0, 0.01, 3)
        parts.append((X, measure(X, rng, gains, rng.uniform(500, 3000, 3)), np.full(rows, float(number))))
    if len(present):
        X = np.array(present)
        parts.append((X, measure(X, rng), np.full(len(X), float(sittings))))
    X, Y, sitting = (np.concatenate(part) for part in zip(*parts, strict=True))
    return replace(data(X, Y), session=sitting, current_session=float(sittings))


def miss(settings):
    return np.abs(GAINS @ np.clip(settings, 0, 1) / GOAL - 1).max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_prior_of_other_days_is_overruled_within_three_readings(kind):
    solver, off, missed = find("solvers", kind)(), [], []
    for seed in range(3):
        present = []
        for _ in range(4):
            answer = ask(solver, days(seed, present=present), GOAL)
            off.append(miss(answer.settings[0]))
            present.append(np.clip(answer.settings[0], 0, 1))
        missed.append(off[-1])
        assert off[-4] > 0.04  # nothing told it how dark it is now
    assert max(missed) < 0.011


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "forest"])
def test_rows_of_one_sitting_are_left_as_they_are_to_the_last_bit(kind):
    rows, solver = night(20), find("solvers", kind)()
    plain = ask(solver, rows, GOAL)
    for other in (replace(rows, session=np.full(20, 7.0)), replace(rows, current_session=3.0)):
        assert (ask(solver, other, GOAL).settings == plain.settings).all()
        assert (ask(solver, other, GOAL).uncertainty == plain.uncertainty).all()


def test_moved_rows_lie_on_the_present_line_and_the_present_ones_stay():
    present = hypercube(12, np.random.default_rng(5))
    rows = days(present=present)
    training = TrainingSet.from_data(rows)
    noise = 0.003 * GAINS.max(axis=1)
    assert (training.Y[-12:] == rows.Y[-12:]).all()
    assert np.abs((training.Y - rows.X @ GAINS.T).mean(axis=0)) == pytest.approx([0] * 3, abs=0.5 * noise.max())
    assert ((training.Y - rows.X @ GAINS.T).std(axis=0) < 2 * noise).all()
    assert training.linear.slope == pytest.approx(GAINS, abs=0.01 * GAINS.max())
    assert training.summary == "132 readings; offsets of 8 earlier sessions removed"


def test_a_sitting_of_one_row_says_nothing_of_the_slopes():
    rows = night(30)
    odd = data(np.vstack([rows.X, [[0.9, 0.1, 0.1]]]), np.vstack([rows.Y, [[12000.0, 15000.0, 40000.0]]]))
    odd = replace(odd, session=np.append(np.zeros(30), 1.0), current_session=0.0)
    kept, alike = TrainingSet.from_data(odd).linear.slope, TrainingSet.from_data(odd, level=False).linear.slope
    assert kept == pytest.approx(TrainingSet.from_data(rows).linear.slope, abs=0.002 * GAINS.max())
    assert np.abs(alike - GAINS).max() > 0.02 * GAINS.max()


def test_another_lamp_is_believed_as_soon_as_it_has_shown_its_gains():
    rng = np.random.default_rng(0)
    X, new = hypercube(60, rng), np.vstack([axis(), hypercube(4, rng)])
    Y = np.vstack([measure(X, rng, 0.85 * GAINS), measure(new, rng)])
    rows = replace(data(np.vstack([X, new]), Y), session=np.repeat([0.0, 1.0], [60, 8]))
    assert TrainingSet.from_data(rows).linear.slope == pytest.approx(GAINS, abs=0.015 * GAINS.max())


def test_rows_before_the_present_sitting_are_judged_by_their_own_even_when_it_came_in_between():
    rows = days(present=[TRUE, TRUE])
    turned = np.r_[120:122, 0:120]
    mixed = replace(rows, X=rows.X[turned], Y=rows.Y[turned], session=rows.session[turned])
    assert ask(Linear(), mixed, GOAL).settings[0] == pytest.approx(ask(Linear(), rows, GOAL).settings[0], abs=1e-9)


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "forest"])
def test_before_the_first_reading_all_days_count_alike_and_the_doubt_is_theirs(kind):
    solver = find("solvers", kind)()
    rows = days()
    answer = ask(solver, rows, GOAL)
    alike = ask(solver, replace(rows, session=np.zeros(120), current_session=0.0), GOAL)
    assert answer.settings[0] == pytest.approx(alike.settings[0], abs=0.002)
    assert "120 readings; at the mean level of 8 sessions" in answer.why[0]
    assert (answer.uncertainty[0] > 0.01).all()
    assert (alike.uncertainty[0] < 0.02).all()
    free = ask(solver, rows, [np.nan, 16384.0, np.nan])
    assert free.uncertainty[0, 1] > 0.01


def test_without_degrees_of_freedom_the_variance_of_a_new_session_is_that_of_generalised_least_squares():
    """The second channel has two coefficients and two rows, one of each session."""
    X = np.array([[0.1], [0.9], [0.4], [0.7]])
    Y = np.column_stack([1000.0 + 5000 * X[:, 0], np.where(np.arange(4) < 2, 2000.0 + 800 * X[:, 0], np.nan)])
    rows = replace(
        data(X, Y, inputs=RGB[:1], channels=CHANNELS[:2]),
        goal=np.array([True, False]),
        session=np.array([0.0, 1.0, 0.0, 1.0]),
        current_session=2.0,
    )
    training = TrainingSet.from_data(rows)
    A = np.column_stack([np.ones(2), X[:2]])
    D = np.diag([(OFFSETS[0] * 800.0) ** 2, (GAIN_SDS[0] * 800.0) ** 2])  # exact readings: the least of the grid
    noise = NOMINAL**2 * training.linear.variance(X[:2])[:, 1]
    inverse = np.linalg.inv(A)
    V = np.diag(noise + np.einsum("ij,jk,ik->i", A, D, A))  # one row of each session
    assert training.session_cov[1] == pytest.approx(inverse @ V @ inverse.T + D, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "gmm"])
def test_the_doubt_of_a_new_level_holds_what_it_claims(kind):
    inside, beside = [], TRUE + np.array([0.1, -0.05, 0.1])
    for seed in range(120):
        answer = ask(find("solvers", kind)(), days(seed, sittings=4, present=[beside]), GOAL)
        inside.append(np.abs(answer.settings[0] - TRUE) < answer.uncertainty[0])
    assert 0.60 < np.mean(inside) < 0.88  # 0.683 if the gains' scatter were known exactly


@pytest.mark.parametrize("solver", PAPER, ids=lambda solver: solver.kind)
def test_the_papers_variants_take_all_rows_as_they_are(solver):
    rows = days(present=[TRUE, TRUE])
    alike = replace(rows, session=np.zeros(122), current_session=None)
    assert (ask(solver, rows, GOAL).settings == ask(solver, alike, GOAL).settings).all()


def test_of_thousands_of_sittings_only_some_tell_how_far_they_lie_apart(monkeypatch):
    """Each size on the grid is tried on them alone: on all it would cost minutes."""
    solved, solve = [], np.linalg.solve

    def spied(matrices, sides):
        solved.append(int(np.prod(matrices.shape[:-2])))
        return solve(matrices, sides)

    monkeypatch.setattr(np.linalg, "solve", spied)
    rng = np.random.default_rng(0)
    X = hypercube(4000, rng)
    rows = replace(data(X, measure(X, rng) + rng.normal(0, 200, (4000, 1))), session=np.arange(4000.0))
    assert ask(Linear(), rows, GOAL).settings[0] == pytest.approx(TRUE, abs=0.02)
    assert max(solved) == 4000 * len(CHANNELS)


def test_a_campaign_with_a_prior_tells_its_solver_which_sitting_is_its_own():
    history = History(("R", "G", "B"), tuple(channel.name for channel in CHANNELS))
    reading = Reading(dict.fromkeys("RGB", 0.5), {channel.name: 100.0 for channel in CHANNELS})
    history.add_prior([(reading, 0), (reading, 4)])
    assert data_of(history, RGB, CHANNELS, ["445nm"]).current_session == 5
    history.add_reading(reading)
    asked = data_of(history, RGB, CHANNELS, ["445nm"])
    assert asked.session.tolist() == [0, 4, 5]
    assert asked.current_session == 5
