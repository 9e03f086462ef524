"""When a goal is called unreachable: surely where it is, never where it is not, on plants that bend or drift too."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from led import GAINS, ask, axis, data, hypercube, measure, night, space, targets

from sdl.models.forward.forward_model import Prediction
from sdl.models.inversion.search import Bands, Search
from sdl.models.reachability import (
    _best_of_blocks,
    _chi_square,
    _each_choice_examined,
    _probability,
    assess,
    in_unmeasured_blocks,
)
from sdl.models.training_set import TrainingSet
from sdl.registry import find
from sdl.solvers.bayes import Bayes
from sdl.solvers.gmm import Gmm
from sdl.solvers.linear import Linear
from sdl.space.region import Region
from sdl.types import Channel, Input, Verdict

FOUR = np.vstack([GAINS, [15393.0, 1283.0, 485.0]])
"""The same LED with a fourth channel that sees red, as 630 nm does."""
CHANNELS = tuple(Channel(name=name, low=0.0, high=65535.0) for name in ("445nm", "515nm", "630nm", "590nm"))


def flat(gains, n, rng, bend=0.0, drift=0.0):
    """Rows with proportional noise, of a plant that may bend and lose light."""
    X = np.vstack([axis(), hypercube(n - 4, rng)])
    light = X + bend * X * (1 - X)
    Y = light @ gains.T * (1 - drift) ** np.arange(n)[:, None]
    return X, np.floor((Y * (1 + 0.0035 * rng.normal(size=Y.shape))).clip(0, 65535))


@pytest.mark.slow
@pytest.mark.parametrize("solver", [Linear(), Bayes(), Gmm()], ids=lambda solver: solver.kind)
def test_two_channels_that_see_the_same_light_and_contradict_each_other_by_three_percent(solver):
    said = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = data(*flat(FOUR, 24, rng), channels=CHANNELS)
        goal = FOUR @ rng.uniform(0.1, 0.9, 3)
        goal[3] *= 1 + rng.choice([-1, 1]) * rng.uniform(0.03, 0.06)
        said += ask(solver, rows, goal, tolerance=0.005).verdict
    assert said.count(Verdict.UNREACHABLE) >= 11


@pytest.mark.parametrize("solver", [Linear(), Bayes()], ids=lambda solver: solver.kind)
@pytest.mark.parametrize(("bend", "drift"), [(0.0, 0.0), (0.3, 0.0), (0.8, 0.0), (-0.5, 0.0), (0.0, 0.001)])
@pytest.mark.parametrize("n", [20, 60])
def test_what_can_be_reached_is_never_called_unreachable(solver, bend, drift, n):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rows = data(*flat(FOUR, n, rng, bend, drift), channels=CHANNELS)
        u = rng.uniform(0, 1, (5, 3))
        u[:3] = np.where(rng.random((3, 3)) < 0.5, u[:3] / 20, 1 - u[:3] / 20)  # close to the corners
        goals = (u + bend * u * (1 - u)) @ FOUR.T * (1 - drift) ** n
        assert Verdict.UNREACHABLE not in ask(solver, rows, goals, tolerance=0.005).verdict


def test_on_a_plant_that_bends_the_nearest_readings_follow_the_bend():
    rows = data(*flat(GAINS, 40, np.random.default_rng(0), bend=0.8))
    answer = ask(Linear(), rows, [60000.0, 16384.0, 16384.0])
    assert answer.verdict == (Verdict.UNREACHABLE,)
    assert answer.nearest[0, 0] == pytest.approx(30700, rel=0.03)  # the line alone would promise 34000


def test_few_rows_call_nothing_unreachable_that_a_bend_might_reach():
    goal = [31500.0, 16384.0, 16384.0]
    assert ask(Linear(), night(8), goal).verdict != (Verdict.UNREACHABLE,)
    assert "which is within its uncertainty" in ask(Linear(), night(8), goal).why[0]


def test_a_row_that_was_measured_inside_every_band_outweighs_the_lines():
    rows = night(30)
    X, Y = np.vstack([rows.X, [[0.5, 0.25, 1.0]]]), np.vstack([rows.Y, [[32000.0, 16200.0, 15340.0]]])
    goal = [32000.0, 16200.0, 15340.0]
    assert ask(Linear(), night(30), goal).verdict == (Verdict.UNREACHABLE,)
    assert ask(Linear(), data(X, Y), goal).verdict != (Verdict.UNREACHABLE,)


# Below the noise --------------------------------------------------------------------------------------------------
def pass_rate(u, average, tolerance, tries=4000):
    rng = np.random.default_rng(5)
    Y = np.mean([measure(np.tile(u, (tries, 1)), rng) for _ in range(average)], axis=0)
    wanted = GAINS @ u
    return (np.abs(Y / wanted - 1) <= tolerance).all(axis=1).mean()


def test_a_tolerance_below_the_noise_says_how_many_readings_to_average():
    u = np.array([0.5, 0.3, 0.5])
    answer = ask(Linear(), night(60), GAINS @ u, tolerance=0.005)
    assert answer.verdict == (Verdict.BELOW_NOISE,)
    said = answer.why[0].partition("; ")[2]
    percent, many = map(int, re.findall(r"about (\d+) % of the time; average (\d+)", said)[0])
    assert said.lower().startswith("at the best settings a single reading would be within tolerance about ")
    assert percent / 100 == pytest.approx(pass_rate(u, 1, 0.005), abs=0.15)  # sixty rows know their noise to a tenth
    assert 0.88 < pass_rate(u, many, 0.005) < 0.99
    enough = replace(night(60), average=many)
    assert ask(Linear(), enough, GAINS @ u, tolerance=0.005).verdict == (Verdict.REACHABLE,)


def test_without_repeated_settings_noise_and_lack_of_fit_are_not_told_apart_and_that_is_said():
    X, Y = flat(GAINS, 40, np.random.default_rng(0))
    once = ask(Linear(), data(X, Y), [16384.0] * 3, tolerance=0.001)
    again = np.vstack([X, np.repeat(X[10:14], 4, axis=0)])
    light = again @ GAINS.T * (1 + 0.0035 * np.random.default_rng(1).normal(size=(len(again), 3)))
    repeated = ask(Linear(), data(again, np.floor(light)), [16384.0] * 3, tolerance=0.001)
    assert once.verdict == repeated.verdict == (Verdict.BELOW_NOISE,)
    assert "noise or lack of fit: repeat a setting to tell" in once.why[0]
    assert "repeat a setting" not in repeated.why[0]


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "gp", "bayes"])
def test_a_restless_day_says_nothing_of_the_noise_of_a_still_night(kind):
    rng, parts = np.random.default_rng(3), []
    for restless in (900.0, 700.0, 0.0):
        X = hypercube(30, rng)
        parts.append((X, measure(X, rng) + rng.normal(0, restless, (30, 1))))
    X, Y = (np.concatenate(part) for part in zip(*parts, strict=True))
    sitting = np.repeat([0.0, 1.0, 2.0], 30)
    solver, goal = find("solvers", kind)(), GAINS @ [0.5, 0.3, 0.5]
    together = ask(solver, data(X, Y), goal)
    apart = ask(solver, replace(data(X, Y), session=sitting), goal)
    alike = ask(solver, replace(data(X[:60], Y[:60]), session=sitting[:60]), goal)
    assert (together.verdict, alike.verdict) == ((Verdict.BELOW_NOISE,), (Verdict.BELOW_NOISE,))
    assert apart.verdict == (Verdict.REACHABLE,)


def test_a_tolerance_that_readings_can_hold_is_reachable():
    assert ask(Linear(), night(60), GAINS @ [0.5, 0.3, 0.5], tolerance=0.03).verdict == (Verdict.REACHABLE,)


# Limits and preferences -------------------------------------------------------------------------------------------
def limited(rows, limit, channel=2, value=(16384.0, 16384.0, np.nan)):
    goal = targets(list(value))
    goal.low[0, channel], goal.high[0, channel] = limit
    return goal, rows


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "gp", "bayes"])
def test_a_limit_is_kept_with_room_for_the_noise_and_the_targets_are_hit(kind):
    X, Y = night(30).X, night(30).Y
    for limit, check in [((-np.inf, 9000.0), np.less), ((14000.0, np.inf), np.greater)]:
        goal, rows = limited(data(X, Y), limit)
        answer = find("solvers", kind)().fit(rows).propose(goal, space(), np.random.default_rng(0))
        got = GAINS @ answer.settings[0]
        assert got[:2] == pytest.approx([16384, 16384], rel=0.02)
        edge = limit[1] if np.isinf(limit[0]) else limit[0]
        assert check(got[2], edge)
        assert abs(got[2] / edge - 1) > 0.005  # not on the edge, where every other reading would miss


def test_a_limit_that_is_kept_anyway_changes_nothing():
    free, rows = limited(night(30), (-np.inf, np.inf))
    wide, _ = limited(rows, (-np.inf, 40000.0))
    fitted = Linear().fit(rows)
    one, other = (fitted.propose(goal, space(), np.random.default_rng(0)).settings for goal in (free, wide))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "gp", "bayes"])
@pytest.mark.parametrize(("prefer", "red"), [((0.0, 0.0, 1.0), None), ((1.0, 0.0, 0.0), 0.0), ((-1.0, 0.0, 0.0), 1.0)])
def test_a_preference_takes_the_cheapest_of_the_settings_that_hit(kind, prefer, red):
    rows = replace(night(30), goal=np.array([True, True, False]), prefer=prefer)
    goal, _ = limited(rows, (-np.inf, np.inf))
    answer = find("solvers", kind)().fit(rows).propose(goal, space(), np.random.default_rng(0))
    assert (GAINS @ np.clip(answer.settings[0], 0, 1))[:2] == pytest.approx([16384, 16384], rel=0.02)
    assert "the preferred among the settings that hit" in answer.why[0]
    if red is not None:
        assert answer.settings[0, 0] == pytest.approx(red, abs=0.01)


def test_where_the_goal_leaves_no_choice_the_answer_stays_and_says_so():
    goal = targets(GAINS @ [0.5, 0.3, 0.5])
    plain, preferring = (
        Linear().fit(rows).propose(goal, space(), np.random.default_rng(0))
        for rows in (night(30), replace(night(30), prefer=(1.0, 1.0, 1.0)))
    )
    assert plain.settings.tobytes() == preferring.settings.tobytes()
    assert "the goal leaves no choice to prefer" in preferring.why[0]


def test_of_each_combination_of_choices_the_closest_end_of_a_search_counts():
    categorical, codes = np.array([False, True]), np.array([[0.0, 0.0], [0.0, 1.0]])
    region = replace(Region.box(np.zeros(2), np.ones(2)), categorical=categorical, codes=codes)
    U = np.array([[0.1, 0.0], [0.2, 1.0], [0.3, 0.0], [0.4, 1.0], [0.5, 0.0]])
    ends = Search(U, np.array([5.0, 1.0, 3.0, 2.0, 4.0]), np.ones(5, bool))
    assert _best_of_blocks(ends, region).tolist() == [[0.3, 0.0], [0.2, 1.0]]


@dataclass(frozen=True)
class Lines:
    """Two channels that rise with x, one known ten times as well as the other."""

    training: TrainingSet
    slope: np.ndarray
    unsure: float = 1.0  # factor of the standard errors beyond x = 0.7

    def mean(self, U):
        return 100 + U * self.slope

    def jacobian(self, U):
        return np.broadcast_to(self.slope[:, None], (*U.shape[:-1], 2, 1))

    def predict(self, U):
        variance = np.where(U > 0.7, self.unsure, 1.0) ** 2 * [1.0, 100.0]
        return Prediction(self.mean(U), variance, np.ones((len(U), 2)))


@pytest.mark.parametrize("unsure", [1.0, 5.0])
def test_the_mean_misses_contradicting_bands_by_the_least_sum_of_squares_in_standard_errors(unsure):
    """The first wants x = 0.2 or less, the second 0.6 or more; beyond 0.7 standard errors may be greater."""
    x = (Input(name="x"),)
    X = np.linspace(0, 1, 9)[:, None]
    training = TrainingSet.from_data(data(X, 100 + X * [50.0, 50.0], inputs=x, channels=CHANNELS[:2]))
    model = Lines(training, np.full(2, 50.0), unsure)
    bands = Bands(np.arange(2), *np.array([[-np.inf, 130.0], [110.0, np.inf]] * 2), np.ones(2))
    at = np.linspace(0, 1, 100_001)
    off = np.stack([np.maximum(100 + 50 * at - 110, 0) / 1.0, np.maximum(130 - 100 - 50 * at, 0) / 10.0])
    exact = ((off / np.where(at > 0.7, unsure, 1.0)) ** 2).sum(axis=0).min()
    found = _chi_square(model, bands, np.array([[0.4]]), model.training.own_region, np.random.default_rng(0))
    assert found == pytest.approx(exact, rel=1e-3)


class Certain(Lines):
    """The same, without any doubt."""

    def predict(self, U):
        return super().predict(U)._replace(model_var=np.full((len(U), 2), 1e-6))

    def sample_paths(self, n, rng):
        return self

    def __call__(self, U):
        return self.mean(U)


@pytest.mark.parametrize(("saturated", "unreachable"), [(4, True), (5, False)])
def test_a_goal_missed_by_half_a_tolerance_is_unreachable_if_five_rows_tell_its_channel(saturated, unreachable):
    """With one input; the other channel has nine rows."""
    X = np.linspace(0, 1, 9)[:, None]
    rows = data(X, 100 + X * [50.0, 50.0], inputs=(Input(name="x"),), channels=CHANNELS[:2])
    training = TrainingSet.from_data(rows)
    training.usable[9 - saturated :, 1] = False
    bands = Bands(np.arange(2), *np.array([[0.0, 150.5], [np.inf, np.inf]] * 2), np.ones(2))
    reach = assess(Certain(training, np.full(2, 50.0)), bands, np.array([0.5]), training.own_region)
    assert reach.readings.tolist() == [150.0, 150.0]
    assert reach.is_unreachable == unreachable


DYED = (Input(name="x"), Input(name="dye", choices=("a", "b")))


@pytest.mark.parametrize(("n", "at"), [(2, 0.2), (2, 0.95), (3, 0.2)])
def test_a_combination_of_choices_is_examined_by_three_rows_or_one_where_it_comes_closest(n, at):
    """Two rows of dye b far from where it comes closest leave open whether it reaches the goal."""
    x = np.concatenate([np.linspace(0, 1, 9), at + 0.01 * np.arange(n)])
    X = np.column_stack([x, np.arange(9 + n) >= 9])
    training = TrainingSet.from_data(data(X, 100 * X[:, :1], inputs=DYED, channels=CHANNELS[:1]))
    ends = Search(np.array([[1.0, 0.0], [1.0, 1.0]]), np.zeros(2), np.ones(2, bool))
    region = training.own_region
    assert _each_choice_examined(training, ends, region) == ((n, at) != (2, 0.2))
    unmeasured = [False, True] if at == 0.2 else [True, True]  # all, if none has been left out
    assert in_unmeasured_blocks(training, ends, region).tolist() == unmeasured


@pytest.mark.parametrize(("dyes", "vessels", "searched"), [(6, 10, True), (8, 8, False)])
def test_of_more_than_sixty_combinations_of_choices_not_all_were_examined(dyes, vessels, searched):
    numbers = (("dye", dyes), ("vessel", vessels))
    choices = [Input(name=name, choices=tuple(f"{name}{i}" for i in range(number))) for name, number in numbers]
    i, x = np.divmod(np.arange(2 * dyes * vessels), 2)
    of = [np.eye(number)[part][:, 1:] for part, (_, number) in zip(np.divmod(i, vessels), numbers, strict=True)]
    X = np.column_stack([x * 1.0, *of])
    rows = data(X, 100 * X[:, :1], inputs=(Input(name="x"), *choices), channels=CHANNELS[:1])
    training = TrainingSet.from_data(rows)
    ends = Search(X, np.zeros(len(X)), np.ones(len(X), bool))
    assert _each_choice_examined(training, ends, training.own_region) == searched


@dataclass(frozen=True)
class Shifted:
    """Functions 100 + 50 x + shift of one channel, with evenly spaced shifts."""

    n: int = 0

    def sample_paths(self, n, rng):
        return Shifted(n)

    def __call__(self, U):
        shift = np.linspace(-30.0, 30.0, self.n)[:, None, None]
        return 100 + 50 * np.broadcast_to(U, (self.n, *U.shape[-2:])) + shift

    def jacobian(self, U):
        return np.full((self.n, U.shape[-2], 1, 1), 50.0)


@pytest.mark.parametrize(("least", "share"), [(115.0, 1.0), (160.2, 0.33), (140.0, 0.67), (181.0, 0.0)])
def test_the_probability_is_the_share_of_a_hundred_functions_that_reach_the_goal(least, share):
    """Of shifts in steps of 60 / 99; also from the further starts where the first one does not lead there."""
    bands = Bands(np.arange(1), *np.array([[least], [np.inf]] * 2), np.ones(1))
    region = Region.box(np.zeros(1), np.ones(1))
    starts = np.array([[0.5], [0.1], [0.9]])
    assert _probability(Shifted(), bands, starts, region, np.random.default_rng(0)) == share


@dataclass(frozen=True)
class Hump(Shifted):
    """The same, with a narrow hump at 0.6 instead of the slope, and a lower, wide one at 0.2."""

    def sample_paths(self, n, rng):
        return Hump(n)

    def __call__(self, U):
        narrow, wide = np.exp(-(((U - 0.6) / 0.008) ** 2)), np.exp(-(((U - 0.2) / 0.3) ** 2))
        return super().__call__(U) - 50 * U + 100 * narrow + 10 * wide

    def jacobian(self, U):
        narrow, wide = np.exp(-(((U - 0.6) / 0.008) ** 2)), np.exp(-(((U - 0.2) / 0.3) ** 2))
        slope = -200 * (U - 0.6) / 0.008**2 * narrow - 20 * (U - 0.2) / 0.3**2 * wide
        return np.broadcast_to(slope, (self.n, *U.shape[-2:]))[..., None]


def test_before_a_goal_is_called_improbable_it_is_searched_from_random_settings():
    """From starts beside the wide hump every search ends on its top, below the goal."""
    bands = Bands(np.arange(1), *np.array([[150.0], [160.0], [152.0], [158.0]]), np.ones(1))
    starts, region = np.array([[0.1], [0.3]]), Region.box(np.zeros(1), np.ones(1))
    assert _probability(Hump(), bands, starts, region, np.random.default_rng(0)) > 0.95
