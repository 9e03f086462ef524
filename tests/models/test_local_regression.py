"""The trend from readings to settings, and the solvers that stand on it: gmm, forest, and linear with its weights."""

from __future__ import annotations

import numpy as np
import pytest
from led import GAINS, ask, data, hypercube, measure, night, space, targets
from pydantic import ValidationError

from sdl.models.backward.least_squares import fit_least_squares, wide_enough
from sdl.models.backward.local_regression import fit_inverse_regression
from sdl.models.training_set import TrainingSet
from sdl.solvers.forest import Forest
from sdl.solvers.gmm import Gmm
from sdl.solvers.linear import Linear
from sdl.types import Channel, Input

GOALS = np.array([[0.15, 0.6, 0.4], [0.5, 0.25, 0.8], [0.85, 0.45, 0.2], [0.3, 0.8, 0.6]])


def bent(X, size=0.8):
    return X + size * X * (1 - X)


def curve(n=80, seed=0, size=0.8, noise=0.0035):
    """Rows of an instrument that bends, noisy in proportion to the reading."""
    rng = np.random.default_rng(seed)
    X = hypercube(n, rng)
    Y = bent(X, size) @ GAINS.T
    return data(X, Y * (1 + noise * rng.normal(size=Y.shape)))


def misses(solver, seeds=3, size=0.8):
    """Worst miss of each goal, in per cent, without noise."""
    goals = bent(GOALS, size) @ GAINS.T
    found = [ask(solver, curve(seed=seed, size=size), goals, seed).settings for seed in range(seeds)]
    got = bent(np.clip(np.concatenate(found), 0, 1), size) @ GAINS.T
    return np.abs(got / np.tile(goals, (seeds, 1)) - 1).max(axis=1) * 100


def test_an_instrument_that_does_not_bend_keeps_its_lines():
    for seed in range(20):
        for n in (8, 12, 20, 60):
            training = TrainingSet.from_data(night(n, seed))
            trend = fit_inverse_regression(training)
            assert np.isinf(trend.width).all()
            value = training.Y[:3, training.goal]
            assert (
                trend.at(trend.linear_settings(value)) == training.linear.solve_for_settings(value, training.goal)
            ).all()


@pytest.mark.parametrize(("size", "half", "most"), [(0.3, 0.5, 1.1), (0.8, 1.0, 2.5)])
@pytest.mark.parametrize("solver", [Gmm(), Forest()], ids=lambda solver: solver.kind)
def test_a_bent_instrument_is_hit_where_lines_miss_by_far(solver, size, half, most):
    found = misses(solver, size=size)
    assert np.median(found) < half
    assert found.max() < most
    assert np.median(misses(Linear(), size=size)) > 5 * half


def test_the_forest_takes_up_what_its_trend_leaves():
    assert np.median(misses(Forest())) < 0.8 * np.median(misses(Gmm()))


def test_each_input_bends_for_itself():
    rng = np.random.default_rng(0)
    X = hypercube(80, rng)
    only = np.column_stack([X[:, 0], bent(X[:, 1]), X[:, 2]])
    width = fit_inverse_regression(TrainingSet.from_data(data(X, measure(only, rng)))).width
    assert np.isfinite(width).tolist() == [False, True, False]


def test_of_many_rows_four_hundred_are_used_evenly_spaced_from_the_first_to_the_last():
    X = np.random.default_rng(0).choice([0.0, 0.5, 1.0], (1999, 3))  # three levels: no width is tried
    trend = fit_inverse_regression(TrainingSet.from_data(data(X, measure(X, np.random.default_rng(1)))))
    assert len(trend.rows) == len(trend.U) == 400
    assert (trend.rows[0], trend.rows[-1]) == (0, 1998)
    assert set(np.diff(trend.rows)) <= {5, 6} | {4}
    assert len(fit_inverse_regression(TrainingSet.from_data(night(60))).rows) == 60


@pytest.mark.parametrize(("n", "bends"), [(5, False), (6, True)])
def test_a_width_needs_two_rows_for_each_coefficient(n, bends):
    """One channel that sees one of two inputs: three coefficients."""
    X = np.column_stack([np.linspace(0.02, 0.98, n), np.random.default_rng(1).random(n)])
    Y = (1000 + 5000 * X[:, 0] ** 3 + 1e-3 * X[:, 1])[:, None]
    rows = data(X, Y, inputs=DYED[:2], channels=(Channel(name="c"),))
    width = fit_inverse_regression(TrainingSet.from_data(rows)).width
    assert np.isfinite(width).tolist() == [bends, False]


def test_the_trend_turned_round_gives_the_readings_back():
    trend = fit_inverse_regression(TrainingSet.from_data(curve()))
    mean, std = trend.predict(GOALS)
    assert mean == pytest.approx(bent(GOALS) @ GAINS.T, rel=0.02)
    assert trend.at(trend.linear_settings(mean)) == pytest.approx(GOALS, abs=1e-6)
    assert (std > 0).all()


def test_beyond_the_rows_the_trend_goes_on_as_it_was_at_their_edge():
    trend = fit_inverse_regression(TrainingSet.from_data(curve()))
    edge = trend.V.max(axis=0)
    off = trend.at(edge[None] + np.array([[0.0], [0.5], [50.0]])) - edge - np.array([[0.0], [0.5], [50.0]])
    assert off[1] == pytest.approx(off[0])
    assert off[2] == pytest.approx(off[0])


def test_the_doubt_of_a_bent_answer_is_that_of_the_rows_around_it():
    inside = []
    for seed in range(40):
        fitted = Gmm().fit(curve(seed=seed, size=0.3))
        rng = np.random.default_rng([seed, 1])
        goals = (bent(GOALS, 0.3) @ GAINS.T) * (1 + 0.0035 * rng.normal(size=(4, 3)))
        answer = fitted.propose(targets(goals), space(np.zeros(3), np.ones(3)), rng)
        inside.append(np.abs(answer.settings - GOALS) < answer.spread)
        assert (answer.spread < 0.01).all()
    assert 0.55 < np.mean(inside) < 0.85


def test_a_trend_goes_with_one_gaussian():
    with pytest.raises(ValidationError, match="trend: affine needs components: 1, not bic"):
        Gmm(components="bic", trend="affine")
    assert Gmm(components="bic").fit(night(20)).trend is None
    assert Gmm(trend="none").fit(night(20)).trend is None


# --- linear: rows that count more than others -----------------------------------------------------------------------


def test_rows_near_the_answer_count_more_where_a_width_is_given():
    assert np.median(misses(Linear(local=0.15))) < 0.6 * np.median(misses(Linear()))


def test_where_hardly_a_row_is_near_the_neighbourhood_widens():
    answer = ask(Linear(local=0.001), night(12), [16384.0] * 3)
    assert answer.settings[0] == pytest.approx(np.linalg.solve(GAINS, [16384.0] * 3), abs=0.01)
    assert (answer.uncertainty[0] < 0.02).all()


def test_a_short_memory_follows_a_drift_that_all_rows_together_do_not():
    rng = np.random.default_rng(0)
    X = hypercube(80, rng)
    faded = (1 - 0.001) ** np.arange(80.0)[:, None]
    rows = data(X, faded * measure(X, rng))
    goal = 0.5 * GAINS.sum(axis=1)
    off = [np.abs(ask(Linear(memory=m), rows, goal).settings[0] * faded[-1] - 0.5).max() for m in (10, None)]
    assert off[0] < 0.008
    assert off[1] > 0.012


def test_weights_are_not_for_the_papers_plane():
    with pytest.raises(ValidationError, match="local and memory need `intercept: true`"):
        Linear(intercept=False, memory=10)


def test_the_doubt_of_fading_rows_holds_what_it_claims():
    true, far = np.linalg.solve(GAINS, [16384.0] * 3), []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        X = hypercube(60, rng)
        answer = ask(Linear(memory=8), data(X, measure(X, rng)), [16384.0] * 3)
        far.append(np.abs(answer.settings[0] - true) / answer.uncertainty[0])
    assert 0.60 < np.mean(np.array(far) < 1) < 0.77


def test_a_memory_of_no_row_is_lengthened_until_it_carries_a_line():
    answer = ask(Linear(memory=0.1), night(60), [16384.0] * 3)
    assert answer.settings[0] == pytest.approx(np.linalg.solve(GAINS, [16384.0] * 3), abs=0.01)
    assert np.isfinite(answer.uncertainty[0]).all()


@pytest.mark.parametrize("width", [0.02, 0.1, 10.0])
def test_a_width_grows_by_halves_until_one_and_a_half_rows_count_for_each_coefficient(width):
    """The effective number of rows is the square of the sum of their weights over the sum of the squares."""
    training = TrainingSet.from_data(night(40))
    away = ((training.U - 0.3) ** 2).sum(axis=1)
    near = lambda width: np.exp(-0.5 * away / width**2)  # noqa: E731
    widths = width * 1.5 ** np.arange(40)
    enough = next(one for one in widths if near(one).sum() ** 2 / (near(one) ** 2).sum() >= 1.5 * 4)
    assert wide_enough(near, width, training) == pytest.approx(near(enough))
    few = TrainingSet.from_data(night(5))  # with fewer rows than that, all but one must count
    equal = lambda width: np.where(np.arange(5) < width, 1.0, 1e-9)  # noqa: E731
    assert wide_enough(equal, 1.0, few).sum() == pytest.approx(4.0, abs=1e-6)


def test_rows_count_by_their_distance_their_age_and_a_twentieth_if_their_choice_is_another():
    """Against statsmodels, with the product of these weights and that from the noise of each reading."""
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    X = np.column_stack([rng.random((60, 2)), np.arange(60) % 2])
    Y = 2000 + X @ np.array([[9000.0], [4000.0], [500.0]]) + 3000 * X[:, :1] * X[:, 2:]
    Y += 20 * rng.standard_normal(Y.shape)
    rows = data(X, Y, inputs=DYED, channels=(Channel(name="c"),))
    fitted = fit_least_squares(rows, memory=30.0, local=0.4)
    for u in np.array([[0.3, 0.6, 0.0], [0.7, 0.2, 1.0]]):
        away = ((fitted.training.U - u) ** 2).sum(axis=1)
        counts = np.exp(-0.5 * (away - away.min()) / 0.4**2) * np.exp(-rows.age / 30.0)
        counts *= np.where(X[:, 2] == u[2], 1.0, 0.05)
        assert counts.sum() ** 2 > 1.5 * 4 * (counts**2).sum()  # wide enough
        found = fitted.local_fit(u)
        weight = found.weight[:, 0] / counts**2  # from the noise alone
        other = sm.WLS(Y[:, 0], sm.add_constant(X), weights=counts * weight).fit()
        assert found.coef[:, 0] == pytest.approx(other.params, rel=1e-6)
        mean, std = fitted.predict(u[None])
        assert mean[0] == pytest.approx(found.mean(u[None])[0])
        assert std == pytest.approx(found.predict(u[None])[1])


def test_where_no_row_has_the_same_choices_all_rows_count_in_full():
    rng = np.random.default_rng(0)
    vessel = Input(name="vessel", choices=("v", "w"))
    choices = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])[np.arange(30) % 3]
    X = np.column_stack([rng.random((30, 2)), choices])
    Y = 2000 + X @ np.array([[9000.0], [4000.0], [500.0], [300.0]]) + 20 * rng.standard_normal((30, 1))
    fitted = fit_least_squares(data(X, Y, inputs=(*DYED, vessel), channels=(Channel(name="c"),)))
    at = np.array([[0.5, 0.5, 1.0, 1.0]])
    assert np.array(fitted.predict(at)) == pytest.approx(np.array(fitted.model.predict(at)), rel=1e-9)


DYED = (Input(name="x"), Input(name="y"), Input(name="dye", choices=("a", "b")))


def test_linear_takes_the_choice_where_a_reading_is_most_probably_inside():
    """Both choices can reach the goal; the one that was measured close by is the surer one."""
    rng = np.random.default_rng(0)
    for dye in (0.0, 1.0):
        X = np.column_stack([rng.random((40, 2)), np.arange(40) % 2])
        X[X[:, 2] != dye, :2] *= 0.2  # the other choice was measured at low settings alone
        Y = 2000 + X @ np.array([[9000.0], [4000.0], [0.0]]) + 20 * rng.standard_normal((40, 1))
        rows = data(X, Y, inputs=DYED, channels=(Channel(name="c"),))
        wanted = targets([2000 + 0.7 * 9000 + 0.7 * 4000], 0.02)
        answer = Linear().fit(rows).propose(wanted, rows.space, np.random.default_rng(0))
        assert answer.settings[0, 2] == dye
        assert 2000 + answer.settings[0, :2] @ [9000.0, 4000.0] == pytest.approx(wanted.value[0, 0], rel=0.01)


def test_a_choice_that_meets_the_goal_comes_first_and_if_none_does_one_that_was_not_measured_there():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.random((40, 2)), np.arange(40) % 2])
    X[X[:, 2] == 1, :2] *= 0.2
    X[0] = [1.0, 1.0, 0.0]
    Y = 2000 + X @ np.array([[9000.0], [4000.0], [-1500.0]]) + 20 * rng.standard_normal((40, 1))
    rows = data(X, Y, inputs=DYED, channels=(Channel(name="c"),))
    goals = targets([[14500.0], [17000.0]], 0.02)  # the second choice reads at most 13500 or so, the first 15000
    answer = Linear().fit(rows).propose(goals, rows.space, np.random.default_rng(0))
    assert answer.settings[:, 2].tolist() == [0.0, 1.0]
