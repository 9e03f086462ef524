"""The Gaussian process: a line until the rows say otherwise, and then a bend of each input's own."""

from __future__ import annotations

import numpy as np
import pytest
from led import CHANNELS, GAINS, LOW, ask, axis, data, hypercube, measure, night, space, targets
from pydantic import ValidationError

from sdl.solvers.gp import Gp
from sdl.solvers.linear import Linear
from sdl.types import Channel, Input

GOAL = np.array([16384.0] * 3)
TRUE = np.linalg.solve(GAINS, GOAL)


def bent(X, size=0.8):
    return X + size * X * (1 - X)


def curve(n, seed=0, size=0.8):
    """Rows of an instrument that bends, noisy in proportion to the reading."""
    rng = np.random.default_rng(seed)
    X = hypercube(n, rng)
    return data(X, bent(X, size) @ GAINS.T * (1 + 0.0035 * rng.normal(size=X.shape)))


def test_where_nothing_bends_it_is_nearly_as_good_as_a_line():
    off = np.array(
        [[np.abs(ask(s, night(60, k), GOAL).settings[0] - TRUE).max() for k in range(10)] for s in (Gp(), Linear())]
    )
    assert np.median(off[0]) < 2.0 * np.median(off[1])


@pytest.mark.parametrize("size", [0.3, 0.8])
def test_a_bend_is_learnt_where_lines_miss_by_far(size):
    rng = np.random.default_rng(0)
    true = rng.uniform(0.15, 0.85, (6, 3))
    rows, goals = curve(80, size=size), bent(true, size) @ GAINS.T
    got, lines = (bent(np.clip(ask(s, rows, goals).settings, 0, 1), size) @ GAINS.T for s in (Gp(), Linear()))
    assert np.abs(got / goals - 1).max() < 0.01
    assert np.median(np.abs(lines / goals - 1).max(axis=1)) > 0.03


@pytest.mark.parametrize("size", [0.3, 0.8])
def test_a_bent_instrument_is_hit_by_the_fifth_proposal(size):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        goal = bent(rng.uniform(0.2, 0.8, 3), size) @ GAINS.T
        rows = data(axis(), bent(axis(), size) @ GAINS.T)
        off = []
        for _ in range(5):
            u = np.clip(ask(Gp(), rows, goal).settings[0], 0, 1)
            off.append(np.abs(bent(u, size) @ GAINS.T / goal - 1).max())
            Y = bent(u[None], size) @ GAINS.T * (1 + 0.0035 * rng.normal(size=(1, 3)))
            rows = data(np.vstack([rows.X, u]), np.vstack([rows.Y, Y]))
        assert min(off) < 0.012


def test_one_input_that_bends_teaches_nothing_of_the_others():
    rng = np.random.default_rng(0)
    X = hypercube(60, rng)
    only = np.column_stack([X[:, 0], bent(X[:, 1]), X[:, 2]])
    fitted = Gp().fit(data(X, measure(only, rng)))
    mean, _ = fitted.predict(np.array([[0.1, 0.5, 0.9], [0.9, 0.5, 0.1]]))
    expected = bent(np.full((2, 3), 0.5)) * [[0, 1, 0]] + np.array([[0.1, 0, 0.9], [0.9, 0, 0.1]])
    assert mean == pytest.approx(expected @ GAINS.T, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 40])
def test_its_doubt_holds_what_it_claims(n):
    far = []
    for seed in range(40):
        answer = ask(Gp(), night(n, seed), GOAL)
        far.append(np.abs(answer.settings[0] - TRUE) / answer.uncertainty[0])
    assert 0.52 < np.mean(np.array(far) < 1) < 0.82
    assert np.mean(np.array(far) < 2) > 0.86


def test_predicted_readings_come_with_the_noise_of_one():
    mean, std = Gp().fit(night(60)).predict(np.array([[0.5, 0.5, 0.5], [0.02, 0.02, 0.02]]))
    assert mean[0] == pytest.approx(GAINS @ ([0.5] * 3), rel=0.01)
    assert std[0] == pytest.approx(0.00225 * GAINS.max(axis=1), rel=0.4)
    assert (std[1] < 0.8 * std[0]).all()


def test_fewer_than_ten_rows_to_learn_from_are_refused():
    with pytest.raises(ValidationError):
        Gp(rows=9)


def test_a_goal_beyond_the_bounds_gets_the_nearest_inside_them():
    answer = (
        Gp()
        .fit(night(20))
        .propose(targets(GAINS @ [0.9, 0.5, 0.5]), space(LOW, np.full(3, 0.6)), np.random.default_rng(0))
    )
    assert answer.settings[0] == pytest.approx([0.6, 0.5, 0.5], abs=0.02)
    assert answer.verdict == ("unreachable",)


def test_a_free_channel_leaves_the_others_their_goal():
    answer = ask(Gp(), night(30), [np.nan, 16384.0, np.nan])
    assert answer.settings[0, 1] == pytest.approx(0.254, abs=0.01)


def test_one_input_and_one_channel_are_enough():
    X = np.linspace(0, 1, 12)[:, None]
    rows = data(X, bent(X) * 100, inputs=(Input(name="x", low=0.0, high=1.0),), channels=(Channel(name="y"),))
    answer = (
        Gp().fit(rows).propose(targets([bent(0.37) * 100]), space(np.zeros(1), np.ones(1)), np.random.default_rng(0))
    )
    assert answer.settings[0] == pytest.approx([0.37], abs=0.005)


def test_the_same_rows_give_the_same_bits_whatever_the_draw():
    rows = curve(40)
    first, again = (ask(Gp(), rows, GOAL, seed) for seed in (1, 2))
    assert (first.settings == again.settings).all()
    assert (first.uncertainty == again.uncertainty).all()
    assert len(CHANNELS) == first.expected.shape[1]


def test_each_channel_is_as_noisy_as_its_own_rows_say():
    claimed = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = np.vstack([axis(), hypercube(36, rng)])
        shaken = X + rng.normal(size=X.shape) * 0.0045 * np.array([3.0, 1.0, 1.0]) * np.sqrt(X * (1 - X))
        claimed.append(Gp().fit(data(X, np.floor(shaken @ GAINS.T))).predict(np.full((1, 3), 0.5))[1][0])
    share = np.mean(claimed, axis=0) / (GAINS.sum(axis=1) * 0.0045 / 2)
    assert share == pytest.approx([1.0, 1.0, 3.0], rel=0.25)


@pytest.mark.slow
def test_a_gentle_bend_is_not_flattened_where_twenty_rows_show_it():
    off = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        X = np.vstack([axis(), hypercube(16, rng)])
        rows = data(X, bent(X, 0.3) @ GAINS.T * (1 + 0.0035 * rng.normal(size=X.shape)))
        off.append(ask(Gp(), rows, bent(np.full(3, 0.75), 0.3) @ GAINS.T).settings[0] - 0.75)
    assert abs(np.mean(off)) < 0.0006


def test_no_more_rows_are_used_than_were_asked_for():
    model = Gp(rows=12).fit(night(30)).model
    assert len(model.rows) == 12
    assert {28, 29} <= set(model.rows.tolist())  # a fifth are the newest
    assert len(Gp().fit(night(30)).model.rows) == 30
