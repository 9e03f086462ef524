"""The training set: limits and preferences against scipy's linear programs, and the scales of errors by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from led import CHANNELS, GAINS, ask, data, night, space, targets
from scipy.optimize import linprog, lsq_linear

from sdl.arrays import Floats
from sdl.errors import Degenerate
from sdl.models.data import Data, Targets
from sdl.models.training_set import TrainingSet
from sdl.registry import find
from sdl.solvers.auto import Auto
from sdl.solvers.linear import Linear
from sdl.space.region import Region
from sdl.types import Input, Verdict

BOX = Region.box(np.zeros(3), np.ones(3))


def goal(value: list[float], *limits: tuple[int, float, float], tolerance: float = 0.02) -> Targets:
    """One goal: targets, and limits (channel, low, high)."""
    one = Targets(*(part[0] for part in targets(value, tolerance)))
    for channel, low, high in limits:
        one.low[channel], one.high[channel] = low, high
    return one


@pytest.fixture(scope="module")
def training() -> TrainingSet:
    return TrainingSet.from_data(night(30))


COSTS = [(1.0, 0.3, -0.5), (-1.0, 0.2, 0.1), (0.0, 0.0, 1.0)]


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("band", [(9000.0, 13000.0), (9000.0, 22000.0), (-np.inf, 9000.0), (14000.0, np.inf)])
def test_the_preferred_settings_are_the_optimum_of_a_linear_program(
    training: TrainingSet, cost: tuple[float, ...], band: tuple[float, float]
) -> None:
    """One target is kept, one range or limit with its margin, and one channel is free."""
    target = goal([np.nan, 16384.0, np.nan], (2, *band))
    low, high = training.guarded_limits(target)
    slope, base = training.linear.slope, training.linear.mean(np.zeros((1, 3)))[0]
    A, b = np.vstack([slope[2], -slope[2]]), np.array([high[2] - base[2], base[2] - low[2]])
    use = np.isfinite(b)
    exact = linprog(cost, A[use], b[use], slope[1:2], [16384.0 - base[1]], bounds=[(0, 1)] * 3)
    found = replace(training, prefer=cost).nearest(target, BOX)
    assert cost @ found == pytest.approx(exact.fun, abs=1e-6)
    y = training.linear.mean(found[None])[0]
    assert y[1] == pytest.approx(16384.0, rel=1e-6)
    assert low[2] - 0.1 <= y[2] <= high[2] + 0.1


def test_of_two_broken_limits_the_one_that_is_missed_by_more_tolerances_becomes_a_target(training: TrainingSet) -> None:
    target = goal([np.nan, 16384.0, np.nan], (0, 20000.0, np.inf), (2, -np.inf, 9000.0))
    free = np.array([0, 2])
    scale, (low, high) = training.tolerance_scale(target), training.guarded_limits(target)
    for beyond in ([3.0, 2.0], [2.0, 3.0]):
        active = target._replace(value=target.value.copy())
        y = np.array([low[0] - beyond[0] * scale[0], 16384.0, high[2] + beyond[1] * scale[2]])
        assert training.activate_worst(active, y, free)
        worst = int(np.argmax(beyond))
        assert np.isnan(active.value[[2, 0][worst]])
        assert active.value[[0, 2][worst]] == pytest.approx([low[0], high[2]][worst])
    other, both = goal([np.nan, np.nan, 16384.0], (0, 20000.0, np.inf), (1, -np.inf, 9000.0)), np.array([0, 1])
    (low_, high_), unit = training.guarded_limits(other), training.tolerance_scale(other)
    assert unit[1] > 2 * unit[0]  # fewer tolerances may be more counts
    y = np.array([low_[0] - 3.0 * unit[0], high_[1] + 2.0 * unit[1], 16384.0])
    assert training.activate_worst(other, y, both)
    assert np.isfinite(other.value).tolist() == [True, False, True]
    inside = np.array([low[0] + 1.0, 16384.0, high[2] - 1.0])
    assert not training.activate_worst(target._replace(value=target.value.copy()), inside, free)


def test_limits_that_targets_would_break_are_reached_exactly(training: TrainingSet) -> None:
    """With both limits active the settings solve a square system of equations."""
    target = goal([np.nan, 16384.0, np.nan], (0, 20000.0, np.inf), (2, -np.inf, 9000.0))
    low, high = training.guarded_limits(target)
    assert training.activate_limits(target, BOX).value == pytest.approx([low[0], 16384.0, high[2]])
    free = goal([np.nan, 16384.0, np.nan], (0, 100.0, np.inf), (2, -np.inf, 60000.0))
    assert np.isnan(training.activate_limits(free, BOX).value[[0, 2]]).all()


def test_limits_are_guarded_by_three_standard_deviations_in_the_middle_of_the_range(training: TrainingSet) -> None:
    noise = np.sqrt(np.diag(training.linear.covariance(np.full(3, 0.5))[0]))
    low, high = training.guarded_limits(goal([np.nan] * 3, (0, 9000.0, 20000.0), (1, 9000.0, 9001.0), (2, 1.0, np.inf)))
    assert low == pytest.approx([9000.0 + 3 * noise[0], 9000.5, 1.0 + 3 * noise[2]])
    assert high[:2] == pytest.approx([20000.0 - 3 * noise[0], 9000.5])
    assert high[2] == np.inf


def test_errors_are_measured_in_tolerances_of_at_least_a_hundredth_of_the_response(training: TrainingSet) -> None:
    response = np.abs(training.linear.slope).sum(axis=1)
    wide, narrow = targets([20000.0] * 3, 0.1), targets([200.0] * 3, 0.01)
    scales = [training.tolerance_scale(Targets(*(part[0] for part in one))) for one in (wide, narrow)]
    assert scales[0] == pytest.approx([2000.0] * 3)
    assert scales[1] == pytest.approx(0.01 * response)
    limits = goal([np.nan] * 3, (0, 9000.0, 20000.0), (1, 9000.0, 9001.0), (2, 1.0, np.inf))
    assert training.tolerance_scale(limits) == pytest.approx([0.01 * response[0], 0.5, 0.01 * response[2]])


def test_fewer_independent_targets_than_inputs_leave_a_choice(training: TrainingSet) -> None:
    assert not training.is_underdetermined(goal([16384.0] * 3))
    assert training.is_underdetermined(goal([np.nan, 16384.0, 16384.0]))
    assert training.is_underdetermined(goal([np.nan] * 3, (0, 1.0, 2.0)))


def test_without_noise_in_the_way_the_nearest_settings_are_bounded_least_squares(training: TrainingSet) -> None:
    """Also under a linear constraint: both ways of `nearest` give what scipy's bounded least squares gives."""
    rng = np.random.default_rng(0)
    loose = replace(BOX, A=np.ones((1, 3)), b=np.array([10.0]))
    for _ in range(10):
        target = goal((GAINS @ rng.uniform(-0.2, 1.2, 3)).tolist())
        scale = training.tolerance_scale(target)
        gap = target.value - training.linear.mean(np.zeros((1, 3)))[0]
        exact = lsq_linear(training.linear.slope / scale[:, None], gap / scale, (0, 1), method="bvls", tol=1e-12).x
        assert training.nearest(target, BOX) == pytest.approx(exact, abs=1e-6)
        assert training.nearest(target, loose) == pytest.approx(exact, abs=1e-4)


def test_a_free_channel_gets_the_reading_expected_at_the_nearest_settings(training: TrainingSet) -> None:
    both = targets([[16384.0, np.nan, 9000.0], [16384.0] * 3])
    filled = training.fill_free_targets(both, space())
    u: Floats = training.nearest(Targets(*(part[0] for part in both)), BOX)
    assert filled[0] == pytest.approx([16384.0, training.linear.mean(u[None])[0, 1], 9000.0])
    assert filled[1] == pytest.approx([16384.0] * 3)


def test_units_are_fractions_of_the_bounds() -> None:
    rows = night(12)
    inputs = tuple(item.model_copy(update={"low": -1.0, "high": 3.0}) for item in rows.inputs)
    training = TrainingSet.from_data(data(4.0 * rows.X - 1.0, rows.Y, inputs=inputs))
    assert pytest.approx(rows.X) == training.U
    assert training.settings(training.U) == pytest.approx(4.0 * rows.X - 1.0)
    assert training.units(np.array([[1.0, -1.0, 3.0]])) == pytest.approx(np.array([[0.5, 0.0, 1.0]]))


def test_slopes_may_differ_between_choices_so_that_far_from_rows_of_the_same_choice_readings_are_uncertain() -> None:
    """The standard deviation is 30 % of the response over the distance to the nearest row of the same choice."""
    inputs = (Input(name="x"), Input(name="y"), Input(name="dye", choices=("a", "b")))
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.random((20, 2)), np.arange(20) % 2])
    Y = 1000 + X @ np.array([[3000.0, 200.0], [100.0, 5000.0], [500.0, -300.0]])
    rows = data(X[X[:, 2] < 1], Y[X[:, 2] < 1], inputs=inputs, channels=CHANNELS[:2])
    training = replace(TrainingSet.from_data(data(X, Y, inputs=inputs, channels=CHANNELS[:2])))
    measured = replace(training, U=training.U[X[:, 2] < 1], Y=training.Y[X[:, 2] < 1])
    response = np.array([3100.0, 5200.0])
    U = np.array([[0.3, 0.6, 0.0], [0.3, 0.6, 1.0]])
    near = np.linalg.norm(rows.X[:, :2] - U[0, :2], axis=1).min()
    exact = [(0.3 * near * response) ** 2, (0.3 * np.sqrt(2.0) * response) ** 2]
    assert measured.interaction_variance(U) == pytest.approx(np.array(exact), rel=1e-6)
    assert training.interaction_variance(training.U) == pytest.approx(np.zeros((20, 2)))


def test_a_goal_that_asks_nothing_of_any_channel_is_answered_and_nothing_is_said_of_the_fit() -> None:
    answer = Linear().fit(night(12)).propose(targets([np.nan] * 3), space(), np.random.default_rng(0))
    assert answer.verdict == (Verdict.REACHABLE,)
    assert answer.lack_of_fit is not None
    assert np.isnan(answer.lack_of_fit).all()
    assert answer.lack_of_fit.shape == (1, 3)


def test_a_row_is_near_if_it_is_within_a_tenth_of_the_range_in_every_input(training: TrainingSet) -> None:
    row = training.U[5]
    beside = row + np.array([[0.09, -0.09, 0.09], [0.0, 0.0, 0.0]])
    alone = replace(training, U=training.U[5:6], Y=training.Y[5:6])
    assert alone.has_row_near(beside).all()
    for j in range(3):
        assert not alone.has_row_near((row + 0.11 * np.eye(3)[j])[None])[0]


def test_without_a_word_one_reading_is_compared_with_the_goal_and_the_old_name_of_sessions_is_kept() -> None:
    rows = night(12)
    assert TrainingSet.from_data(rows).average == rows.average == 1
    with pytest.warns(DeprecationWarning, match=r"Data\.session"):
        assert rows.sitting is rows.session


def test_two_channels_that_see_the_same_leave_a_choice_however_many_targets_there_are() -> None:
    rows = night(30)
    same = data(rows.X, np.column_stack([rows.Y[:, 0], 0.5 * rows.Y[:, 0], rows.Y[:, 1]]))
    alike = TrainingSet.from_data(same)
    assert alike.is_underdetermined(goal([16384.0, 8192.0, 16384.0]))
    assert not TrainingSet.from_data(rows).is_underdetermined(goal([16384.0] * 3))


# Channels with few readings -------------------------------------------------------------------------------------------
RED, BLUE = (0.9, 0.1, 0.7, 0.8), (0.1, 0.9, 0.8, 0.3)


def flat_in_green() -> Data:
    """The second channel is below its end in five rows, all with the same G."""
    X = np.array([[0.1, 0.9, 0.1], [0.4, 0.5, 0.7], [0.1] * 3, *([r, 0.1, b] for r, b in zip(RED, BLUE, strict=True))])
    Y = 2000.0 + X @ GAINS.T
    end = np.array([np.inf, 1.02 * Y[2:, 1].max(), np.inf])
    return replace(data(X, np.minimum(Y, end)), saturated=end <= Y)


def test_a_channel_whose_readings_do_not_determine_its_slopes_counts_by_complete_rows_only() -> None:
    rows = flat_in_green()
    assert rows.saturated[:, 1].sum() == 2
    with pytest.raises(Degenerate, match="G never changed in 5 usable rows"):
        TrainingSet.from_data(rows, by_channel=True)
    with pytest.raises(Degenerate):
        Linear().fit(rows)


def test_such_a_channel_is_learnt_with_its_bounds() -> None:
    rows = flat_in_green()
    fitted = Auto().fit(rows)
    assert fitted.why.startswith("gp")
    mean, sd = fitted.predict(rows.X)
    assert np.isfinite([mean, sd]).all()
    assert (mean[rows.saturated] > 0.99 * rows.Y[rows.saturated]).all()


def test_settings_are_one_of_a_family_where_they_can_move_without_a_change_of_the_targets(
    training: TrainingSet,
) -> None:
    middle, region, free = np.full(3, 0.5), training.own_region, goal([np.nan, 16384.0, 16384.0])
    assert training.has_family(free, region, middle)
    assert not training.has_family(goal([16384.0] * 3), region, middle)
    assert not training.has_family(goal([np.nan] * 3, (0, 1.0, 2.0)), region, middle)  # a range of its own leaves room
    pinned = replace(region, low=middle, high=middle)
    assert not training.has_family(free, pinned, middle)
    rows = night(30)
    same = TrainingSet.from_data(data(rows.X, np.column_stack([rows.Y[:, 0], 0.5 * rows.Y[:, 0], rows.Y[:, 1]])))
    assert same.has_family(goal([16384.0, 8192.0, 16384.0]), region, middle)


def test_at_a_corner_a_family_is_found_wherever_some_input_can_move() -> None:
    """With two free directions, against linear programmes that move each input as far as it goes."""
    rng, box, said = np.random.default_rng(0), Region.box(np.zeros(4), np.ones(4)), []
    inputs = tuple(Input(name=name) for name in "abcd")
    for _ in range(40):
        X, slope = rng.random((12, 4)), rng.normal(size=(2, 4))
        rows = data(X, 50.0 + X @ slope.T, inputs=inputs, channels=CHANNELS[:2])
        u = np.where(rng.random(4) < 0.6, rng.integers(0, 2, 4), 0.5).astype(float)
        target = Targets(*(part[0] for part in targets((50.0 + slope @ u)[None])))
        limits = np.column_stack([-u, 1 - u])
        ends = [
            linprog(sign * row, A_eq=slope, b_eq=[0, 0], bounds=limits).fun for sign in (1, -1) for row in np.eye(4)
        ]
        moves = -min(ends)
        said.append(TrainingSet.from_data(rows).has_family(target, box, u))
        assert said[-1] == (moves > 0.05) or abs(moves - 0.05) < 0.01
    assert 5 < sum(said) < 40


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "bayes", "gp"])
def test_a_solver_says_that_its_settings_are_one_of_a_family(kind: str) -> None:
    rows = night(30)
    solver = find("solvers", kind)()
    one_free = ask(solver, rows, [np.nan, 16384.0, 16384.0])
    assert "one of a family of solutions" in one_free.why[0]
    assert "family" not in ask(solver, rows, [16384.0] * 3).why[0]
