"""The joint Gaussian mixture, and what gmr leaves to its caller."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from led import GAINS, ask, data, hypercube, measure, night, space, targets
from pydantic import ValidationError

from sdl.errors import ConfigError
from sdl.models.backward.gaussian_mixture import _bic, _fitted, _log_likelihood
from sdl.solvers.gmm import Gmm
from sdl.solvers.linear import Linear
from sdl.types import Channel, Input

GOAL = [16384.0] * 3
ONE = (Input(name="x", low=-1.0, high=1.0, step=None),)


def many_to_one(n=120, seed=0):
    """Rows of y = x², which two settings answer."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, n)[:, None]
    return data(x, x**2 + 0.01 * rng.normal(size=x.shape), inputs=ONE, channels=(Channel(name="y"),))


@pytest.mark.slow
def test_small_n_does_not_shrink_the_spread():
    few = np.mean([ask(Gmm(), night(8, seed), GOAL).spread[0] for seed in range(100)])
    many = np.mean([ask(Gmm(), night(80, seed), GOAL).spread[0] for seed in range(10)])
    assert few == pytest.approx(many, rel=0.15)


@pytest.mark.parametrize("n", [4, 5])
def test_the_spread_is_unknown_until_a_degree_of_freedom_is_left(n):
    answer = ask(Gmm(), night(n), GOAL)
    assert np.isnan(answer.spread).all() == (n == 4)


def test_no_warning_leaks_however_few_the_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(4, 20):
            fitted = Gmm(components="bic").fit(night(n))
            fitted.sample(np.array(GOAL), 5, np.random.default_rng(0))


def test_a_free_channel_is_left_out_of_the_condition():
    rows = night(40)
    answer = ask(Gmm(), rows, [np.nan, 16384.0, np.nan])
    assert answer.settings[0, 1] == pytest.approx(0.254, abs=0.01)
    assert answer.spread[0, 1] < 0.02
    assert (answer.spread[0, [0, 2]] > 0.2).all()  # as wide as the rows: nothing was said about them


def test_two_branches_give_one_of_them_and_not_the_middle():
    rows = many_to_one()
    low, high = np.array([-1.0]), np.array([1.0])
    fitted = Gmm(components=4).fit(rows)
    answer = fitted.propose(targets([0.49]), space(low, high), np.random.default_rng(0))
    assert abs(answer.settings[0, 0]) == pytest.approx(0.7, abs=0.05)
    drawn = fitted.sample(np.array([0.49]), 400, np.random.default_rng(0))[:, 0]
    assert np.abs(drawn).mean() == pytest.approx(0.7, abs=0.05)
    assert 0.2 < (drawn > 0).mean() < 0.8
    straight = Gmm(trend="none").fit(rows).propose(targets([0.49]), space(low, high), np.random.default_rng(0))
    assert straight.settings[0, 0] == pytest.approx(0.0, abs=0.1)


def test_bic_asks_for_one_where_one_is_right_and_for_more_where_not():
    assert Gmm(components="bic").fit(night(60)).mixture.n_components == 1
    assert Gmm(components="bic").fit(many_to_one()).mixture.n_components > 2


def test_few_rows_get_fewer_gaussians_than_asked():
    why = ask(Gmm(components=5), night(20), GOAL).why[0]
    assert "of 2 Gaussians, 20 readings" in why


def test_pairs_are_drawn_as_the_rows_lie_and_channels_that_are_not_modelled_stay_unknown():
    rows = night(60)
    settings, readings = Gmm(channels=()).fit(rows).pairs(4000, np.random.default_rng(0))
    modelled = np.isfinite(readings).all(axis=0)
    assert modelled.tolist() == rows.goal.tolist()
    drawn, seen = np.hstack([settings, readings[:, modelled]]), np.hstack([rows.X, rows.Y[:, modelled]])
    assert np.corrcoef(drawn.T) == pytest.approx(np.corrcoef(seen.T), abs=0.06)
    assert drawn.mean(axis=0) == pytest.approx(seen.mean(axis=0), rel=0.05)


def test_samples_go_with_the_goal():
    drawn = Gmm().fit(night(60)).sample(np.array(GOAL), 3000, np.random.default_rng(0))
    assert (drawn @ GAINS.T).mean(axis=0) == pytest.approx(GOAL, rel=0.01)
    assert drawn.std(axis=0) == pytest.approx([0.0019] * 3, rel=0.35)


def test_readings_are_predicted_with_their_noise():
    mean, std = Gmm().fit(night(60)).predict(np.array([[0.5, 0.5, 0.5]]))
    assert mean[0] == pytest.approx(GAINS @ ([0.5] * 3), rel=0.01)
    assert std[0] == pytest.approx(0.0019 * GAINS.max(axis=1), rel=0.35)


def test_further_channels_are_modelled_and_cost_the_rows_without_them():
    rng = np.random.default_rng(0)
    X = hypercube(40, rng)
    Y = np.column_stack([measure(X, rng), 500 * X[:, 0]])
    Y[:7, 3] = np.nan
    channels = tuple(Channel(name=name, low=0.0, high=65535.0) for name in "abcd")
    rows = data(X, Y, goal=(0, 1, 2), channels=channels)
    answer = ask(Gmm(channels=("d",)), rows, [*GOAL, np.nan])
    assert answer.why[0].startswith("joint Gaussian, 33 readings (7 incomplete left out)")
    assert answer.expected[0, 3] == pytest.approx(500 * answer.settings[0, 0], rel=1e-3)


def test_an_unknown_channel_is_a_mistake_of_the_configuration():
    with pytest.raises(ConfigError, match="unknown channel 'x'; allowed: 445nm, 515nm, 630nm"):
        Gmm(channels=("x",)).fit(night(10))


@pytest.mark.parametrize("components", [0, -1, "aic", 1.5, True])
def test_components_are_a_number_or_bic(components):
    with pytest.raises(ValidationError):
        Gmm(components=components)


def test_a_list_from_yaml_names_the_channels():
    assert Gmm.model_validate({"kind": "gmm", "channels": ["a"]}).channels == ("a",)


def test_a_goal_that_leaves_a_choice_is_answered_by_the_joint_gaussian_whatever_the_trend():
    rng = np.random.default_rng(0)
    four = tuple(Input(name=name, low=0.0, high=1.0) for name in "RGBW")
    X = rng.random((60, 4))
    Y = 500 + X @ np.vstack([GAINS.T, [9000.0, 12000.0, 7000.0]]) * 0.5
    rows = data(X, Y * (1 + 0.003 * rng.standard_normal(Y.shape)), inputs=four)
    wanted = targets(500 + np.array([0.4, 0.5, 0.6, 0.3]) @ np.vstack([GAINS.T, [9000.0, 12000.0, 7000.0]]) * 0.5)
    one, other = (
        Gmm(trend=trend).fit(rows).propose(wanted, space(np.zeros(4), np.ones(4)), np.random.default_rng(0))
        for trend in ("affine", "none")
    )
    assert one.settings == pytest.approx(other.settings, abs=1e-9)


@pytest.mark.parametrize(("slope", "joint"), [(1000.3, True), (700.0, False)])
def test_where_the_slopes_are_nearly_singular_the_joint_gaussian_answers(slope, joint):
    """Two channels that see nearly the same: inverting the slopes would give settings far from every row."""
    rng, two = np.random.default_rng(0), tuple(Channel(name=name) for name in "ab")
    X = rng.random((40, 2))
    gains = np.array([[1000.0, 1000.0], [1000.0, slope]])
    rows = data(X, X @ gains.T + 5 * rng.standard_normal(X.shape), inputs=ONE * 2, channels=two)
    rows = data(2 * X - 1, rows.Y, inputs=(ONE[0], Input(name="y", low=-1.0, high=1.0)), channels=two)
    wanted = targets(gains @ [0.4, 0.6])
    one, other, line = (
        solver.fit(rows).propose(wanted, space(-np.ones(2), np.ones(2)), np.random.default_rng(0))
        for solver in (Gmm(), Gmm(trend="none"), Linear())
    )
    for name in ("settings", "spread", "uncertainty"):
        expected = getattr(other if joint else line, name)
        assert getattr(one, name) == pytest.approx(expected, rel=1e-6)
    assert (np.abs(line.settings - other.settings).max() > 1e-5) or joint


def test_components_are_compared_by_the_criterion_of_scikit_learn():
    from sklearn.mixture import GaussianMixture

    D = np.random.default_rng(0).standard_normal((80, 3)) * [1.0, 1.0, 0.2]
    D[:40] += 1.5
    mixture = _fitted(D, 2)
    other = GaussianMixture(2)
    other.weights_, other.means_ = mixture.priors, mixture.means
    other.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(mixture.covariances))
    assert _log_likelihood(mixture, D) == pytest.approx(other.score(D) * 80, rel=1e-9)
    assert _bic(mixture, D) == pytest.approx(other.bic(D), rel=1e-9)
