"""Bayesian statistical inversion: the draws follow the density, with all solutions, the likeliest is proposed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from led import GAINS, LOW, ask, data, measure, night, space, targets
from pydantic import ValidationError

from sdl.models.inversion.mcmc import Cloud, FittedMcmc
from sdl.models.inversion.modes import LogPosterior, Modes, find_modes, slopes
from sdl.models.training_set import TrainingSet
from sdl.solvers.base import Targets
from sdl.solvers.linear import Linear
from sdl.solvers.mcmc import Mcmc
from sdl.space import Space
from sdl.space.region import Region
from sdl.testing.solver_contract import AffinePlant
from sdl.types import Channel, Input, Verdict

GOAL = [16384.0] * 3
ONE = (Input(name="x", low=-1.0, high=1.0, step=None),)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def parabola(n: int = 14, seed: int = 0) -> Any:
    """Rows of y = x², which two settings answer."""
    x = np.linspace(-1, 1, n)[:, None]
    y = 10_000 * x**2 + 500 + rng(seed).normal(0, 30, x.shape)
    return data(x, y, inputs=ONE, channels=(Channel(name="y"),))


@dataclass(frozen=True)
class Known:
    """A forward model that is what it is: mean and standard deviation of the readings in units of the bounds."""

    training: TrainingSet
    mean: Any
    std: Any

    def predict(self, X: Any) -> Any:
        mean = self.mean(U := self.training.units(X))
        return mean, self.std(U) if callable(self.std) else np.full_like(mean, self.std)


def known(mean: Any, std: float, d: int = 1, X: Any = None, **options: Any) -> FittedMcmc:
    inputs = tuple(Input(name=f"x{i}") for i in range(d))
    X = rng(5).random((12, d)) if X is None else X
    training = TrainingSet.from_data(
        data(X, mean(X), inputs=inputs, channels=tuple(Channel(name=f"c{i}") for i in range(len(mean(X)[0]))))
    )
    usual = {"kind": "gp", "answer": "mean", "walkers": 64, "steps": 60, "burn": 20}
    return FittedMcmc(Known(training, mean, std), training, **{**usual, **options})


# The density ---------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("model", ["gp", "bayes", "linear"])
def test_on_a_line_the_draws_are_what_the_delta_method_says(model: Any) -> None:
    """Affine readings and Gaussian noise: the density is a Gaussian of known covariance."""
    rows = night(40)
    bsi = ask(Mcmc(model=model, walkers=100, steps=200), rows, GOAL)
    line = ask(Linear(), rows, GOAL)
    assert bsi.settings == pytest.approx(line.settings, abs=4e-4)
    assert bsi.spread == pytest.approx(line.spread, rel=0.2)
    assert (bsi.uncertainty < 0.5 * bsi.spread).all()
    most = 2.0 if model == "gp" else 1.3  # a process allows for curvature that the rows do not exclude
    assert ((bsi.uncertainty > 0.7 * line.uncertainty) & (bsi.uncertainty < most * line.uncertainty)).all()
    assert bsi.verdict == (Verdict.REACHABLE,)


def test_the_draws_follow_a_density_that_is_known() -> None:
    fitted = known(lambda U: 100 * U**3, 5.0, walkers=200, steps=400)
    drawn = fitted.sample(np.array([12.5]), 20_000, rng())[:, 0]
    x = np.linspace(0, 1, 20_001)
    density = np.exp(-0.5 * ((100 * x**3 - 12.5) / 5) ** 2)
    cumulated = np.cumsum(density) / density.sum()
    for part in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.quantile(drawn, part) == pytest.approx(np.interp(part, cumulated, x), abs=0.01)


def test_where_readings_are_noisier_a_given_one_is_less_probable() -> None:
    """The mean is at the goal everywhere: what is left is one over the noise, which grows from 1 to 9."""
    fitted = known(lambda U: 50 + 1e-6 * U, lambda U: 1 + 8 * U, walkers=100, steps=300)
    drawn = fitted.sample(np.array([50.0]), 10_000, rng())[:, 0]
    for part in (0.25, 0.5, 0.75):  # the distribution is log(1 + 8x) / log(9)
        assert np.quantile(drawn, part) == pytest.approx((9**part - 1) / 8, abs=0.03)


def test_solutions_are_as_probable_as_their_slopes_say() -> None:
    """Rising to .75 and falling three times as steeply: a quarter of the draws is on the way down."""
    fitted = known(lambda U: 100 * np.minimum(U / 0.75, (1 - U) / 0.25), 1.0, walkers=100, steps=300)
    for seed in range(3):
        drawn = fitted.sample(np.array([40.0]), 4000, rng(seed))[:, 0]
        assert (drawn > 0.75).mean() == pytest.approx(0.25, abs=0.06)
        assert drawn[drawn < 0.75].mean() == pytest.approx(0.3, abs=0.005)
        assert drawn[drawn > 0.75].mean() == pytest.approx(0.9, abs=0.005)


def test_hills_are_told_from_one_another_and_a_ridge_is_one_hill() -> None:
    zero, one = np.zeros(2), np.ones(2)
    four = known(lambda U: (U - 0.5) ** 2 * 100, 0.5, 2)
    density = LogPosterior(four.model, np.array([4.0, 4.0]), np.array([0, 1]), Region.box(zero, one))
    modes = find_modes(density, np.array([0.5, 0.6]), rng())
    assert sorted(map(tuple, modes.maxima.round(3).tolist())) == [(0.3, 0.3), (0.3, 0.7), (0.7, 0.3), (0.7, 0.7)]
    assert sorted(modes.of) == [0, 1, 2, 3]
    ridge = known(lambda U: 100 * U.sum(axis=1, keepdims=True), 0.5, 2)
    density = LogPosterior(ridge.model, np.array([100.0]), np.array([0]), Region.box(zero, one))
    assert set(find_modes(density, np.array([0.5, 0.6]), rng()).of) == {0}


# Many solutions ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(3))
def test_a_parabola_has_two_solutions_one_is_proposed_and_both_are_drawn(seed: int) -> None:
    rows = parabola(seed=seed)
    fitted = Mcmc(model="smooth").fit(rows)
    answer = fitted.propose(targets([4100.0]), space(-np.ones(1), np.ones(1)), rng(seed))
    x = np.sqrt(0.36)
    assert abs(answer.settings[0, 0]) == pytest.approx(x, abs=0.005)
    assert "on one of 2 solutions" in answer.why[0]
    assert 0.001 < answer.spread[0, 0] < 0.01
    assert 0 < answer.uncertainty[0, 0] < answer.spread[0, 0]
    assert answer.verdict == (Verdict.REACHABLE,)
    drawn = fitted.sample(np.array([4100.0]), 1000, rng(1))[:, 0]
    assert 0.3 < (drawn > 0).mean() < 0.7
    assert np.abs(drawn) == pytest.approx(x, abs=0.04)


def test_of_equal_solutions_the_one_close_to_what_was_measured_is_proposed() -> None:
    x = np.array([-1.0, -0.9, -0.75, -0.65, -0.59, -0.45, -0.3, -0.1, 0.05, 0.2, 0.35, 0.8, 0.9, 1.0])[:, None]
    for sign in (1, -1):
        rows = data(sign * x, 10_000 * x**2 + 500, inputs=ONE, channels=(Channel(name="y"),))
        for seed in range(3):
            answer = (
                Mcmc(model="smooth").fit(rows).propose(targets([4100.0]), space(-np.ones(1), np.ones(1)), rng(seed))
            )
            assert answer.settings[0, 0] == pytest.approx(-0.6 * sign, abs=0.02)


def test_a_solution_is_close_to_a_row_that_is_close_to_it_in_every_input() -> None:
    """Sum and product of two inputs: they may change places. A row shares one input with the farther solution."""
    swap = lambda U: 100 * np.column_stack([U.sum(axis=1), U.prod(axis=1)])  # noqa: E731
    X = [[0.32, 0.68], [0.7, 0.95], [0.05, 0.1], [0.1, 0.9], [0.95, 0.6], [0.5, 0.05], [0.9, 0.05], [0.05, 0.5]]
    answer = known(swap, 0.3, 2, np.array(X)).propose(targets([100.0, 21.0]), space(np.zeros(2), np.ones(2)), rng())
    assert answer.settings[0] == pytest.approx([0.3, 0.7], abs=0.01)


def test_where_the_readings_alone_are_noisy_the_uncertainty_is_that_of_the_model() -> None:
    """Affine readings that are known exactly: all of the spread is that of one reading, by the delta method."""
    gains = np.array([[100.0, 20.0], [0.0, 400.0]])
    answer = known(lambda U: U @ gains.T, 1.0, 2, steps=400).propose(
        targets([60.0, 200.0]), space(np.zeros(2), np.ones(2)), rng()
    )  # fmt: skip
    inverse = np.linalg.inv(gains)
    assert answer.spread[0] == pytest.approx(np.sqrt((inverse**2).sum(axis=1)), rel=0.1)
    assert answer.uncertainty[0] == pytest.approx([0.0, 0.0], abs=1e-4)


def test_the_uncertainty_of_a_free_choice_is_what_the_spread_has_beyond_that_of_one_reading() -> None:
    """One channel sees the sum of two inputs: a reading alone would tell each to 0.2, as squares add up."""
    answer = known(lambda U: 100 * U.sum(axis=1, keepdims=True), 40.0, 2, steps=400).propose(
        targets([100.0]), space(np.zeros(2), np.ones(2)), rng()
    )  # fmt: skip
    assert (answer.spread[0] > 0.26).all()
    assert answer.uncertainty[0] == pytest.approx(np.sqrt(answer.spread[0] ** 2 - 0.2**2), rel=1e-3)


def test_four_inputs_for_three_goals_leave_a_ridge_whose_every_draw_hits() -> None:
    plant, X = AffinePlant(4, 3), np.array([[0.4, 0.5, 0.6, 0.5]])
    rows, goal = plant.data(30), plant.targets(X)
    fitted = Mcmc(model="bayes").fit(rows)
    answer = fitted.propose(goal, Space(plant.inputs), rng())
    assert np.abs(plant.clean(answer.settings) / goal.value - 1).max() < 0.01
    assert answer.spread.max() > 0.1
    assert answer.uncertainty.max() > 0.1  # without noise the choice is still there
    drawn = fitted.sample(goal.value[0], 500, rng())
    assert np.ptp(drawn, axis=0).max() > 0.5
    assert np.quantile(np.abs(plant.clean(drawn) / goal.value - 1).max(axis=1), 0.9) < 0.03


def test_where_the_middle_of_a_bent_cloud_misses_its_most_probable_point_is_proposed() -> None:
    circle = known(lambda U: 100 * ((U[:, :1] - 0) ** 2 + (U[:, 1:] - 0) ** 2), 0.5, 2)
    answer = circle.propose(targets([64.0]), space(np.zeros(2), np.ones(2)), rng())
    assert np.hypot(*answer.settings[0]) == pytest.approx(0.8, abs=0.01)
    assert "lies off them" in answer.why[0]


@pytest.mark.parametrize(("d", "lower", "is_off"), [(1, 3.4, False), (1, 3.6, True), (2, 3.9, False), (2, 4.1, True)])
def test_the_middle_is_off_the_draws_if_its_density_is_lower_than_that_of_most_of_a_normal_cloud(
    d: int, lower: float, is_off: bool
) -> None:
    """Lower than the maximum by more than d / 2, the mean of a normal distribution, and the depth that parts modes."""
    U = np.array([[0.2] * d, [0.3] * d, [0.7] * d])
    modes = Modes(U[:1], np.eye(d)[None], np.zeros(1, dtype=np.intp))
    cloud = Cloud(U, np.array([-1.0, 0.0, -2.0]), np.zeros(3, dtype=np.intp), modes)
    density: Any = lambda at: np.full(len(at), -lower)  # noqa: E731
    u, _, note = known(lambda at: 100 * at, 1.0, d)._answer(cloud, density)
    assert u.tolist() == pytest.approx([0.3] * d if is_off else [0.4] * d)
    assert ("lies off them" in note) == is_off


# Bounds, seeds, few rows ---------------------------------------------------------------------------------------------
def test_every_draw_and_answer_keeps_to_the_bounds() -> None:
    top = GAINS @ np.array([1.0, 0.5, 0.02])
    fitted = Mcmc().fit(night(20))
    answer = fitted.propose(targets(top), space(), rng())
    assert ((answer.settings >= 0) & (answer.settings <= 1)).all()
    assert answer.settings[0] == pytest.approx([1, 0.5, 0.02], abs=0.01)
    drawn = fitted.sample(top, 1000, rng())
    assert ((drawn >= 0) & (drawn <= 1)).all()
    narrow = fitted.propose(targets(top), space(LOW, np.array([0.7, 1, 1])), rng())
    assert narrow.settings[0, 0] <= 0.7


def test_the_same_seed_draws_the_same_settings_and_the_global_generator_is_left_alone() -> None:
    fitted = Mcmc().fit(night(12))
    np.random.seed(42)
    before = np.random.get_state()[1].tobytes()
    one, again, other = (fitted.sample(np.array(GOAL), 100, rng(seed)) for seed in (1, 1, 2))
    assert np.random.get_state()[1].tobytes() == before
    assert (one == again).all()
    assert not (one == other).any()
    np.random.seed(43)
    assert (fitted.sample(np.array(GOAL), 100, rng(1)) == one).all()


def test_with_no_degree_of_freedom_it_answers_and_does_not_pretend_to_know_how_well() -> None:
    answer = ask(Mcmc(model="linear"), night(4), GOAL)
    assert np.abs(GAINS @ answer.settings[0] / 16384 - 1).max() < 0.05
    assert np.isnan(answer.spread).all()
    assert np.isnan(answer.uncertainty).all()


def test_more_draws_than_the_chains_have_are_drawn_again() -> None:
    fitted = Mcmc(walkers=16, steps=10).fit(night(12))
    assert fitted.sample(np.array(GOAL), 1000, rng()).shape == (1000, 3)
    assert fitted.sample(np.full(3, np.nan), 50, rng()).shape == (50, 3)


def test_an_even_number_of_walkers_at_least_four_for_each_input_gives_a_draw_at_each_step() -> None:
    for walkers, draws in ((17, 160), (8, 120)):
        found = ask(Mcmc(model="bayes", walkers=walkers, steps=10, burn=5), night(12), GOAL)
        assert f"{draws} of {draws} draws" in found.why[0]


def test_residuals_are_those_of_the_settings_and_their_slopes_those_of_finite_differences() -> None:
    """Where the model knows no noise, or none at all, it is 0.4 % of the response of the channel."""
    bent = lambda U: np.column_stack([100 * U[:, 0] ** 2 + 40 * U[:, 1], 300 * U[:, 1]])  # noqa: E731
    U = rng().uniform(0.1, 0.9, (4, 2))
    for std in (2.0, 0.0, np.nan):
        fitted = known(bent, std, 2)
        density = LogPosterior(fitted.model, np.array([50.0, 90.0]), np.arange(2), Region.box(np.zeros(2), np.ones(2)))
        sd = np.full(2, std) if std > 0 else 0.004 * np.abs(fitted.training.linear.slope).sum(axis=1)
        off, J = slopes(density, U)
        assert off == pytest.approx((np.array([50.0, 90.0]) - bent(U)) / sd, rel=1e-9)
        assert J[:, 0] == pytest.approx(np.column_stack([200 * U[:, 0], np.full(4, 40.0)]) / sd[0], rel=1e-6)
        assert J[:, 1] == pytest.approx(np.tile([0.0, 300.0], (4, 1)) / sd[1], rel=1e-6, abs=1e-6)
        assert np.diff(density(U)) == pytest.approx(np.diff(-0.5 * (off**2).sum(axis=1)), rel=1e-9)


@pytest.mark.parametrize("answer", ["mean", "median", "top"])
def test_mean_median_and_top_of_a_narrow_cloud_agree(answer: Any) -> None:
    found = ask(Mcmc(model="bayes", answer=answer), night(30), GOAL)
    assert np.abs(GAINS @ found.settings[0] / 16384 - 1).max() < 0.02


@pytest.mark.parametrize("wrong", [{"model": "pls"}, {"walkers": 4}, {"steps": 0}, {"answer": "best"}, {"burn": -1}])
def test_options_that_cannot_be_meant_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        Mcmc(**wrong)


def test_the_least_options_that_can_be_meant_are_taken() -> None:
    answer = ask(Mcmc(model="bayes", walkers=8, steps=10, burn=0), night(12), GOAL)
    assert "120 of 120 draws" in answer.why[0]


def test_a_band_without_a_target_is_kept() -> None:
    """At most 8000 at 630 nm, where red light for the other goals alone would leave it free."""
    inf = np.inf
    goal = Targets(*(np.array([part]) for part in ([16384, 16384, np.nan], [16000, 16000, -inf], [16700, 16700, 8000])))
    answer = Mcmc(model="bayes").fit(night(30)).propose(goal, space(), rng())
    readings = GAINS @ answer.settings[0]
    assert readings[:2] == pytest.approx(16384, rel=0.02)
    assert readings[2] < 8000
    assert measure(answer.settings, rng(1))[0, 2] < 8100
