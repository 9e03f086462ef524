"""The Bayesian line: it notices drift, starts from the twin, learns from saturated readings, and knows its doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from led import CHANNELS, GAINS, LOW, RGB, ask, axis, data, hypercube, measure, night, space, targets

from sdl.config import parse_kind
from sdl.errors import ConfigError, Degenerate, NotEnoughData, SolverError
from sdl.inverse.knowledge import with_knowledge
from sdl.solvers.bayes import Bayes
from sdl.solvers.linear import Linear
from sdl.types import Channel, Input

GOAL = np.array([16384.0] * 3)
TRUE = np.linalg.solve(GAINS, GOAL)


def no_rows():
    return data(np.empty((0, 3)), np.empty((0, 3)))


def fading(n, seed, rate=0.001):
    """Rows of a lamp that fades by a part `rate` a reading; and how much of it is left at the next reading."""
    rng = np.random.default_rng(seed)
    X, left = hypercube(n, rng), (1 - rate) ** np.arange(n + 1)
    return data(X, measure(X, rng) * left[:n, None]), left[n]


def test_a_lamp_that_fades_is_followed_where_lines_stay_behind():
    off, behind, said = [], [], []
    for seed in range(8):
        rows, left = fading(40, seed)
        goal = 0.5 * GAINS.sum(axis=1)
        answer = ask(Bayes(), rows, goal)
        off.append(np.abs(answer.settings[0] * left - 0.5).max())
        behind.append(np.abs(ask(Linear(), rows, goal).settings[0] * left - 0.5).max())
        said.append("trend" in answer.why[0] or "wander" in answer.why[0])
    assert np.median(off) < 0.004
    assert np.median(off) < 0.5 * np.median(behind)
    assert np.mean(said) > 0.7


def test_rows_without_drift_are_not_suspected_of_one():
    whys = [ask(Bayes(), night(40, seed), GOAL).why[0] for seed in range(10)]
    assert sum("(jitter)," in why for why in whys) >= 8


def test_noise_that_goes_with_the_reading_is_told_from_jitter():
    rng = np.random.default_rng(0)
    X = hypercube(40, rng)
    rows = data(X, (X @ GAINS.T) * (1 + 0.0035 * rng.normal(size=X.shape)))
    assert "proportional noise" in ask(Bayes(), rows, GOAL).why[0]


def test_another_room_costs_one_reading_and_not_a_design():
    off = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, room = hypercube(30, rng), rng.uniform(500, 4000, 3)
        before = measure(X, rng, ambient=room)
        first = np.clip(ask(Bayes(), data(X, before), GOAL).settings[0], 0, 1)  # as bright as it was
        rows = data(np.vstack([X, first]), np.vstack([before, measure(first[None], rng)]))
        again = ask(Bayes(), replace(rows, session=np.repeat([0.0, 1.0], [30, 1])), GOAL).settings[0]
        off.append([np.abs(GAINS @ u / GOAL - 1).max() for u in (first, again)])
    assert np.min(off, axis=0)[0] > 0.03
    assert np.max(off, axis=0)[1] < 0.015


def test_a_channel_that_sees_the_room_rather_than_the_lamp_does_not_spoil_the_others():
    rng = np.random.default_rng(0)
    X, room = hypercube(120, rng), np.repeat(rng.uniform(300, 3000, (8, 1)), 15, axis=0)
    window = 500 * X.sum(axis=1, keepdims=True) + room + rng.normal(0, 800, (120, 1))
    X, Y = np.vstack([X, TRUE, TRUE]), np.hstack([measure(X, rng, ambient=room), window])
    night = np.column_stack([measure(X[-2:], rng), [500.0, 600.0]])
    channels = (*CHANNELS, Channel(name="nir", low=0.0, high=65535.0))
    rows = data(X, np.vstack([Y, night]), goal=(0, 1, 2), channels=channels)
    rows = replace(rows, session=np.append(np.repeat(np.arange(8.0), 15), [8.0, 8.0]))
    assert ask(Bayes(), rows, [*GOAL, np.nan]).settings[0] == pytest.approx(TRUE, abs=0.008)


def test_a_drift_within_each_sitting_says_nothing_of_the_next_one():
    rng = np.random.default_rng(1)
    X, levels = hypercube(120, rng), np.array([2500.0, 300, 1900, 900, 2800, 600, 2200, 3000])
    room = np.repeat(levels, 15) + np.tile(40.0 * np.arange(15), 8)
    rows = data(X, measure(X, rng, ambient=room[:, None]))
    answer = ask(Bayes(), replace(rows, session=np.repeat(np.arange(8.0), 15), current_session=8.0), GOAL)
    assert GOAL - GAINS @ answer.settings[0] == pytest.approx([room.mean()] * 3, abs=450)  # the last one reached 3560


def test_before_the_present_sitting_has_a_row_the_doubt_is_that_of_a_new_room():
    rng = np.random.default_rng(0)
    X = hypercube(60, rng)
    rows = data(X, measure(X, rng, ambient=np.repeat(rng.uniform(0, 3000, (4, 1)), 15, axis=0)))
    sitting = np.repeat(np.arange(4.0), 15)
    unseen, seen = (ask(Bayes(), replace(rows, session=sitting, current_session=now), GOAL) for now in (9.0, 3.0))
    assert (unseen.uncertainty[0] > 3 * seen.uncertainty[0]).all()


def test_knowing_the_twin_it_answers_without_a_row():
    answer = ask(Bayes(knows="twin"), no_rows(), GOAL)
    assert answer.settings[0] == pytest.approx(TRUE, abs=0.1)
    assert (answer.uncertainty[0] > 0.02).all()
    assert Bayes(knows="twin").needs(RGB) == 0
    assert Bayes().needs(RGB) is None
    with pytest.raises(NotEnoughData, match="0 usable rows of 445nm, 4 needed"):
        Bayes().fit(no_rows())


def test_knowing_nothing_it_does_not_use_what_the_data_know_of_the_twin():
    rows = night(9)
    knowing = with_knowledge(Bayes(knows="twin"), rows)
    plain, given = (ask(Bayes(), data, GOAL) for data in (rows, knowing))
    assert (
        plain.settings.tobytes() == given.settings.tobytes() != ask(Bayes(knows="twin"), rows, GOAL).settings.tobytes()
    )


def test_knowing_the_twin_another_unit_is_hit_by_the_third_trial():
    missed = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        gains, room = GAINS * rng.uniform(0.8, 1.2, GAINS.shape), rng.uniform(0, 5000, 3)
        rows = no_rows()
        for _ in range(3):
            u = np.clip(ask(Bayes(knows="twin"), rows, GOAL).settings[0], 0, 1)
            rows = data(np.vstack([rows.X, u]), np.vstack([rows.Y, measure(u[None], rng, gains, room)]))
        missed.append(np.abs((room + gains @ u) / GOAL - 1).max())
    assert np.mean(np.array(missed) < 0.02) >= 0.9


def test_what_it_knows_has_to_be_of_this_instrument():
    inputs = tuple(Input(name=name, low=0.0, high=1.0) for name in "XYZ")
    with pytest.raises(ConfigError, match=r"is of another instrument\. It has the inputs R, G, B"):
        ask(Bayes(knows="twin"), data(np.empty((0, 3)), np.empty((0, 3)), inputs=inputs), GOAL)
    with pytest.raises(ConfigError, match="state: unknown state 'nowhere'"):
        parse_kind("solver", {"kind": "bayes", "state": "nowhere"})
    with pytest.raises(SolverError, match=r"needs `Data\.knowledge`"):
        Bayes(knows="twin").fit(no_rows())


def test_a_saturated_reading_is_a_bound_that_is_learnt_from():
    knows = Bayes(knows="twin")
    bright = np.array([[0.5, 0.8, 0.5]])
    full = data(bright, np.array([[16000.0, 65535.0, 16000.0]]))
    with_bound, without = ask(knows, full, GOAL), ask(knows, data(bright, np.array([[16000.0, np.nan, 16000.0]])), GOAL)
    # Green reads 65535 or more at .8, not the 51000 that it was thought to: less of it is needed.
    assert with_bound.settings[0, 1] < without.settings[0, 1] - 0.02
    assert with_bound.uncertainty[0, 1] < without.uncertainty[0, 1]
    assert "1 saturated, 1 of them used as bounds" in with_bound.why[0]


def test_a_reading_that_is_saturated_in_one_channel_counts_in_the_others():
    rows = night(12)
    Y = rows.Y.copy()
    Y[4:8, 1] = 65535.0
    fitted = Bayes().fit(data(rows.X, Y))
    assert fitted.dynamic.dof[0] == pytest.approx(fitted.dynamic.dof[1] + 4)


@pytest.mark.parametrize(("size", "most"), [(0.3, 0.01), (0.8, 0.02)])
def test_a_bent_instrument_is_hit_after_some_trials(size, most):
    bent = lambda X: X + size * X * (1 - X)  # noqa: E731
    for seed in range(4):
        rng = np.random.default_rng(seed)
        goal = bent(rng.uniform(0.2, 0.8, 3)) @ GAINS.T
        rows = data(axis(), bent(axis()) @ GAINS.T)
        off = []
        for _ in range(12):
            u = np.clip(ask(Bayes(), rows, goal).settings[0], 0, 1)
            off.append(np.abs(bent(u) @ GAINS.T / goal - 1).max())
            Y = bent(u[None]) @ GAINS.T * (1 + 0.0035 * rng.normal(size=(1, 3)))
            rows = data(np.vstack([rows.X, u]), np.vstack([rows.Y, Y]))
        assert min(off) < most
        assert off[0] > 0.05


@pytest.mark.parametrize("n", [5, 8, 30])
def test_its_doubt_holds_what_it_claims(n):
    far = []
    for seed in range(150):
        answer = ask(Bayes(), night(n, seed), GOAL)
        far.append(np.abs(answer.settings[0] - TRUE) / answer.uncertainty[0])
    assert 0.62 < np.mean(np.array(far) < 1) < 0.82
    assert np.mean(np.array(far) < 2) > 0.9


def test_ten_thousand_rows_are_summed_up_and_not_forgotten(monkeypatch):
    sizes, cholesky = [], np.linalg.cholesky

    def spied(matrix):
        sizes.append(matrix.shape[-1])
        return cholesky(matrix)

    monkeypatch.setattr(np.linalg, "cholesky", spied)
    rng = np.random.default_rng(0)
    X = hypercube(10_000, rng)
    rows = data(X, measure(X, rng))
    answer = ask(Bayes(), rows, GOAL)
    assert 24 < max(sizes) < 100  # the cost grows as the cube of it
    few = ask(Bayes(), data(X[-60:], rows.Y[-60:]), GOAL)
    assert (answer.uncertainty < 0.5 * few.uncertainty).all()


def test_the_same_rows_give_the_same_bits_whatever_the_draw():
    rows = night(30)
    first, again = (ask(Bayes(), rows, GOAL, seed) for seed in (1, 2))
    assert (first.settings == again.settings).all()
    assert (first.uncertainty == again.uncertainty).all()


def test_answers_keep_to_the_bounds_that_are_asked_for():
    answer = (
        Bayes()
        .fit(night(20))
        .propose(targets(GAINS @ [0.9, 0.5, 0.5]), space(LOW, np.full(3, 0.6)), np.random.default_rng(0))
    )
    assert answer.settings.max() <= 0.6
    assert answer.verdict == ("unreachable",)


def test_the_error_names_the_input_that_never_changed():
    X = np.vstack([axis(), axis()])
    X[:, 1] = 0.5
    with pytest.raises(Degenerate, match="G never changed in 8 usable rows of 445nm"):
        Bayes().fit(data(X, measure(X, np.random.default_rng(0))))


def test_a_channel_that_is_not_of_the_goal_may_be_missing():
    rows = night(12)
    Y = np.column_stack([rows.Y, np.full(12, np.nan)])
    asked = data(rows.X, Y, goal=(0, 1, 2), channels=(*CHANNELS, Channel(name="clear", low=0.0, high=65535.0)))
    answer = ask(Bayes(), asked, [*GOAL, np.nan])
    assert answer.settings[0] == pytest.approx(ask(Bayes(), rows, GOAL).settings[0], abs=1e-9)
    assert np.isnan(answer.expected[0, 3])


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_its_doubt_holds_where_the_noise_of_the_channels_goes_together(share):
    """Ninety percent of the noise is common to all channels, as from a lamp that flickers; or none of it."""
    gains = np.array([[20000.0, 9000, 4000], [8000, 25000, 9000], [3000, 9000, 18000]])
    spread, uncertainty = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)

        def relative(n, rng=rng):
            common, own = rng.standard_normal((n, 1)), rng.standard_normal((n, 3))
            return 1 + 0.004 * (np.sqrt(share) * common + np.sqrt(1 - share) * own)

        X, u = np.vstack([axis(), hypercube(16, rng)]), rng.uniform(0.3, 0.7, 3)
        rows, reading = data(X, (2000 + X @ gains.T) * relative(20)), 2000 + gains @ u
        clean, noisy = ask(Bayes(), rows, reading), ask(Bayes(), rows, reading * relative(1)[0])
        uncertainty.append(np.abs(clean.settings[0] - u) < clean.uncertainty[0])
        spread.append(np.abs(noisy.settings[0] - u) < noisy.spread[0])
    assert 0.58 < np.mean(spread) < 0.82
    assert 0.58 < np.mean(uncertainty) < 0.85
