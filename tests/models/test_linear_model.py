"""The affine fit: right, weighted, and honest about what it does not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from led import CHANNELS, GAINS, LOW, RGB, ask, axis, data, hypercube, measure, night, space, targets
from pydantic import ValidationError
from scipy import stats

from sdl.errors import Degenerate, NotEnoughData
from sdl.models.forward.forward_model import LinearForward, leave_one_out_t
from sdl.models.forward.linear_model import _noise, fit_linear, t_factor
from sdl.models.noise import bounded_below, variance_of
from sdl.models.training_set import TrainingSet
from sdl.registry import find
from sdl.solvers.linear import Linear
from sdl.types import Channel, Input

GOAL = np.array([16384.0] * 3)
TRUE = np.linalg.solve(GAINS, GOAL)


def test_readings_without_noise_are_fitted_exactly():
    X = axis()
    fit = fit_linear(X, 100 + X @ GAINS.T, np.ones((4, 3), bool))
    assert fit.slope == pytest.approx(GAINS, rel=1e-9)
    assert fit.mean(np.zeros((1, 3)))[0] == pytest.approx([100] * 3, rel=1e-6)
    assert fit.solve_for_settings((100 + GAINS @ [0.2, 0.9, 0.4])[None], np.arange(3))[0] == pytest.approx(
        [0.2, 0.9, 0.4]
    )


def test_weights_follow_the_jitter_and_earn_their_keep():
    plain, weighted = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        X = hypercube(40, rng)
        Y = measure(X, rng)
        A = np.column_stack([np.ones(40), X])
        plain.append(np.linalg.lstsq(A, Y, rcond=None)[0][0])
        weighted.append(fit_linear(X, Y, np.ones(Y.shape, bool)).coef[0])
    assert (np.std(weighted, axis=0) < 0.92 * np.std(plain, axis=0)).all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 6, 8, 20, 80])
def test_spread_and_uncertainty_hold_what_they_claim(n):
    off, noisy = [], []
    for seed in range(300):
        answer = ask(Linear(), night(n, seed), GOAL)
        rng = np.random.default_rng([seed, 1])
        one = TRUE + rng.normal(size=3) * 0.0045 * np.sqrt(TRUE * (1 - TRUE))
        off.append(np.abs(answer.settings[0] - TRUE) < answer.uncertainty[0])
        noisy.append(np.abs(answer.settings[0] - one) < answer.spread[0])
    assert 0.60 < np.mean(off) < 0.80  # 0.683 of the time, as one standard deviation
    assert 0.58 < np.mean(noisy) < 0.80


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "forest"])
def test_four_rows_carry_an_answer_whose_doubt_is_unknown(kind):
    answer = ask(find("solvers", kind)(), night(4), GOAL)
    assert answer.settings[0] == pytest.approx(TRUE, abs=0.01)
    assert np.isnan(answer.spread).all()
    assert np.isnan(answer.uncertainty).all()


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "forest"])
def test_three_rows_do_not(kind):
    with pytest.raises(NotEnoughData, match="3 usable rows, 4 needed"):
        find("solvers", kind)().fit(night(3))


def test_a_plane_through_the_origin_doubts_itself_by_its_residuals():
    answer = ask(Linear(intercept=False), night(60), GOAL)  # no ambient light at night: the plane is right
    assert answer.spread[0] == pytest.approx([0.0019] * 3, rel=0.35)
    assert (answer.uncertainty[0] < 0.001).all()


def test_student_widens_few_degrees_of_freedom():
    assert t_factor(np.array([0.0, 1.0, 4.0, 1e6])) == pytest.approx([np.nan, 1.837, 1.142, 1.0], abs=1e-3, nan_ok=True)


def test_the_error_names_what_never_changed():
    X = axis()
    X[:, 1] = 0.5
    rows = data(np.vstack([X, X]), measure(np.vstack([X, X]), np.random.default_rng(0)))
    with pytest.raises(Degenerate, match="G never changed in 8 usable rows"):
        Linear().fit(rows)


def test_inputs_that_move_together_do_not_determine_anything():
    X = np.repeat(np.linspace(0.1, 0.9, 9)[:, None], 3, axis=1)
    with pytest.raises(Degenerate, match="not varied independently"):
        Linear().fit(data(X, measure(X, np.random.default_rng(0))))


def test_units_of_the_inputs_change_nothing_but_the_units():
    inputs = tuple(Input(name=i.name, low=-50.0, high=200.0, step=None) for i in RGB)
    rows = night(12)
    low, high = np.full(3, -50.0), np.full(3, 200.0)
    scaled = data(low + rows.X * 250, rows.Y, inputs=inputs)
    for kind in ("linear", "pls", "gmm", "forest"):
        solver = find("solvers", kind)()
        plain = ask(solver, rows, GOAL)
        other = solver.fit(scaled).propose(targets(GOAL), space(low, high), np.random.default_rng(0))
        assert (other.settings + 50) / 250 == pytest.approx(plain.settings, abs=1e-6)
        assert other.spread / 250 == pytest.approx(plain.spread, rel=1e-4)


def test_a_plane_through_the_origin_means_the_origin_of_the_inputs():
    inputs = tuple(Input(name=i.name, low=0.5, high=1.5, step=None) for i in RGB)
    rng = np.random.default_rng(0)
    X = 0.5 + hypercube(20, rng)
    rows = data(X, X @ GAINS.T * 0.4, inputs=inputs)
    answer = (
        Linear(intercept=False)
        .fit(rows)
        .propose(targets(0.4 * GAINS @ [0.7, 0.8, 0.9]), space(np.full(3, 0.5), np.full(3, 1.5)), rng)
    )
    assert answer.settings[0] == pytest.approx([0.7, 0.8, 0.9], abs=1e-6)


def test_a_channel_that_saturates_often_costs_the_goal_no_rows():
    rng = np.random.default_rng(0)
    X = hypercube(30, rng)
    clear = np.where(X.sum(axis=1) > 1.2, 65535, 20000 * X.sum(axis=1))
    rows = data(
        X,
        np.column_stack([measure(X, rng), clear]),
        goal=(0, 1, 2),
        channels=(*CHANNELS, Channel(name="clear", low=0.0, high=65535.0)),
    )
    training = TrainingSet.from_data(rows)
    assert training.summary == "30 readings"
    assert training.linear.slope[3] == pytest.approx([20000] * 3, rel=1e-6)


def test_a_goal_that_leaves_a_choice_gets_the_settings_nearest_to_the_data():
    answer = ask(Linear(), night(20), [np.nan, 16384.0, np.nan])
    middle = night(20).X.mean(axis=0)
    assert answer.settings[0, 1] == pytest.approx(0.254, abs=0.01)
    assert answer.settings[0, [0, 2]] == pytest.approx(middle[[0, 2]], abs=0.02)
    assert answer.verdict == ("reachable",)


def test_the_bounded_answer_stays_inside_and_the_unbounded_does_not():
    goal = GAINS @ [1.2, 0.5, -0.1]
    inside, outside = (ask(Linear(bounded=b), night(20), goal).settings[0] for b in (True, False))
    assert inside.min() >= 0
    assert inside.max() <= 1
    assert outside == pytest.approx([1.2, 0.5, -0.1], abs=0.01)


def test_predicted_readings_come_with_the_noise_of_one():
    mean, std = Linear().fit(night(60)).predict(np.array([[0.5, 0.5, 0.5], [0.02, 0.02, 0.02]]))
    assert mean[0] == pytest.approx(GAINS @ ([0.5] * 3), rel=0.01)
    assert std[0] == pytest.approx(0.00225 * GAINS.max(axis=1), rel=0.35)
    assert (std[1] < 0.7 * std[0]).all()


def test_the_bounds_that_count_are_those_of_the_question():
    fitted = Linear().fit(night(20))
    answer = fitted.propose(targets([[1.0] * 3]), space(LOW + 0.05, np.ones(3)), np.random.default_rng(0))
    assert answer.settings.min() >= 0.05


@pytest.mark.parametrize("n", [8, 20, 80])
def test_the_likelier_shape_of_the_noise_is_taken(n):
    found = {"jitter": 0, "proportional": 0}
    for seed in range(30):
        rows = night(n, seed)
        found["jitter"] += fit_linear(rows.X, rows.Y, rows.Y < 65535).shape == "jitter"
        Y = (100 + rows.X @ GAINS.T) * (1 + 0.0035 * np.random.default_rng(seed).normal(size=rows.Y.shape))
        found["proportional"] += fit_linear(rows.X, Y, Y < 65535).shape == "proportional"
    assert min(found.values()) >= (20 if n == 8 else 27)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "gmm", "gp", "bayes"])
@pytest.mark.parametrize("n", [8, 30])
def test_the_doubt_holds_where_the_noise_goes_with_the_reading(kind, n):
    off, noisy, goals = [], [], np.random.default_rng(0).uniform(0.1, 0.9, (40 if kind == "gp" else 120, 3))
    for seed, true in enumerate(goals):
        rng = np.random.default_rng(seed)
        X = night(n, seed).X
        Y = X @ GAINS.T
        rows = data(X, Y * (1 + 0.0035 * rng.normal(size=Y.shape)))
        wanted = np.stack([GAINS @ true, GAINS @ true * (1 + 0.0035 * rng.normal(size=3))])
        answer = ask(find("solvers", kind)(), rows, wanted)
        off.append(np.abs(answer.settings[0] - true) / answer.uncertainty[0])
        noisy.append(np.abs(answer.settings[1] - true) / answer.spread[1])
    most = 0.95 if (kind, n) == ("gp", 8) else 0.79  # eight rows do not exclude a turn, which the process allows for
    for far in (off, noisy):
        assert 0.58 < np.mean(np.array(far) < 1) < most
        assert np.mean(np.array(far) < 2) > 0.86


def test_a_channel_that_answers_to_nothing_does_not_make_the_others_noisy():
    rows = night(20)
    Y = np.column_stack([rows.Y, np.random.default_rng(0).normal(100, 5, 20)])
    usable = np.ones(Y.shape, bool)
    with_it, without = fit_linear(rows.X, Y, usable), fit_linear(rows.X, rows.Y, usable[:, :3])
    assert np.diag(with_it.noise)[:3] == pytest.approx(np.diag(without.noise), rel=0.3)


def test_a_reading_is_predicted_with_the_standard_error_of_statsmodels_widened_by_student_s_t():
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    U = hypercube(30, rng)
    Y = 1000 + U @ GAINS.T + 50 * rng.standard_normal((30, 3))
    fit = fit_linear(U, Y, np.ones(Y.shape, bool))
    at = np.array([[0.2, 0.9, 0.4]])
    mean, std = fit.predict(at)
    for c in range(3):
        other = sm.WLS(Y[:, c], sm.add_constant(U), weights=fit.weight[:, c]).fit()
        predicted = other.get_prediction(sm.add_constant(at, has_constant="add"), weights=1.0 / fit.variance(at)[0, c])
        scale = np.sqrt(fit.noise[c, c] / other.scale)  # ours has a share of the other channels' noise
        assert mean[0, c] == pytest.approx(predicted.predicted_mean[0], rel=1e-5)  # shapes of the noise are averaged
        assert std[0, c] == pytest.approx(t_factor(fit.dof[c]) * scale * predicted.se_obs[0], rel=1e-4)


def test_settings_for_more_readings_than_inputs_are_weighted_by_the_noise():
    """Generalised least squares of the settings on the readings, with the variances of one reading in the middle."""
    rng = np.random.default_rng(0)
    U, gains = hypercube(40, rng, 2), np.array([[3000.0, 200.0], [100.0, 5000.0], [2000.0, 2500.0]])
    Y = 500 + U @ gains.T + rng.standard_normal((40, 3)) * [2.0, 20.0, 200.0]
    fit = fit_linear(U, Y, np.ones(Y.shape, bool))
    wanted, columns = np.array([[2100.0, 3100.0, 2900.0]]), np.arange(3)
    weight = 1.0 / np.diag(fit.covariance(fit.middle)[0])
    slope, gap = fit.slope, wanted[0] - fit.mean(fit.middle[None])[0]
    step = np.linalg.solve((slope.T * weight) @ slope, (slope.T * weight) @ gap)
    assert fit.solve_for_settings(wanted, columns)[0] == pytest.approx(fit.middle + step, rel=1e-9)
    inverse = np.linalg.solve((slope.T * weight) @ slope, slope.T * weight)
    noise, model = fit.covariance(fit.middle)
    spread, uncertainty = fit.std_errors(columns, fit.middle)
    factor = t_factor(fit.dof.min())
    assert spread == pytest.approx(factor * np.sqrt(np.diag(inverse @ (noise + model) @ inverse.T)), rel=1e-9)
    assert uncertainty == pytest.approx(factor * np.sqrt(np.diag(inverse @ model @ inverse.T)), rel=1e-9)


def test_the_noise_of_a_channel_is_pooled_with_the_lower_median_of_all_as_two_degrees_of_freedom():
    residual = np.random.default_rng(0).standard_normal((12, 4)) * [1.0, 2.0, 3.0, 400.0]
    dof = np.array([8.0, 8.0, 5.0, 0.0])  # none is left in the last channel
    noise, pooled = _noise(residual, dof)
    square = (residual**2).sum(axis=0)
    common = sorted(square[:3] / dof[:3])[1]
    assert np.diag(noise)[:3] == pytest.approx((square[:3] + 2 * common) / (dof[:3] + 2))
    assert np.isnan(noise[3, 3])
    assert pooled.tolist() == [10.0, 10.0, 7.0, 0.0]
    alike = residual[:, 0] @ residual[:, 2] / np.sqrt(square[0] * square[2]) * 5 / (5 + 2)  # shrunk by the fewer
    assert noise[0, 2] == pytest.approx(alike * np.sqrt(noise[0, 0] * noise[2, 2]))
    assert np.isnan(_noise(residual, np.zeros(4))[0]).all()


def test_the_channel_with_the_fewest_degrees_of_freedom_widens_the_standard_errors_of_settings():
    rows = night(14)
    rows.Y[:9, 2] = np.nan
    fit = fit_linear(rows.X, np.nan_to_num(rows.Y), np.isfinite(rows.Y))
    assert fit.dof.tolist() == [12.0, 12.0, 3.0]
    columns, u = np.arange(3), np.full(3, 0.5)
    inverse, (noise, model) = fit.inverse(columns, u), fit.covariance(u)
    spread, _ = fit.std_errors(columns, u)
    assert spread == pytest.approx(t_factor(3.0) * np.sqrt(np.diag(inverse @ (noise + model) @ inverse.T)))


def test_the_shapes_of_the_noise_are_those_of_their_formulas():
    """At the middle and at the lower end of the first input, for a channel of slopes 3 and -4, and one of 10 and 0."""
    U, mean = np.array([[0.5, 0.5], [0.0, 0.5]]), np.array([[20.0, 5.0], [18.5, 0.0]])
    slope = np.array([[3.0, -4.0], [10.0, 0.0]])
    jitter = [[25 * 0.3, 100 * 0.3], [9 * 0.05 + 16 * 0.3, 100 * 0.05]]
    assert variance_of("jitter", U, mean, slope) == pytest.approx(np.array(jitter))
    assert variance_of("jitter", U - 7.0, mean, slope)[0] == pytest.approx([25 * 0.05, 100 * 0.05])  # as at the end
    proportional = [[400 + 0.07**2, 25 + 0.1**2], [18.5**2 + 0.07**2, 0.1**2]]
    assert variance_of("proportional", U, mean, slope) == pytest.approx(np.array(proportional))
    assert (variance_of("even", U, mean, slope) == 1.0).all()
    assert bounded_below(np.array([0.0, 5.0]), 5.0).tolist() == [5e-12, 5.0]
    assert bounded_below(np.zeros(2), 0.0).tolist() == [1.0, 1.0]


def test_directions_that_the_readings_hardly_tell_are_left_at_the_middle_of_the_data():
    """Two channels whose slopes are parallel but for a hundred-thousandth: of the noise, not of the settings."""
    U = hypercube(20, np.random.default_rng(0), 2)
    fit = fit_linear(U, 500 + U @ np.array([[1000.0, 1000.0], [1000.0, 1000.01]]), np.ones((20, 2), bool))
    assert np.abs(fit.inverse(np.arange(2), fit.middle)).max() < 1e-3
    base = fit.mean(fit.middle[None])
    moved = fit.solve_for_settings(base + np.array([[100.0, 100.2]]), np.arange(2))[0] - fit.middle
    assert moved == pytest.approx([0.05, 0.05], abs=1e-3)


def test_inputs_that_move_together_leave_a_channel_without_coefficients():
    u = np.linspace(0, 1, 9)
    fit = fit_linear(np.column_stack([u, u]), 500 + 1000 * u[:, None], np.ones((9, 1), bool))
    assert np.isnan(fit.coef).all()
    assert fit.dof.tolist() == [-1.0]


def test_a_row_is_about_as_probable_given_the_others_as_its_noise_says():
    rows = night(40)
    training = TrainingSet.from_data(rows)
    model = LinearForward(training, training.linear)
    prediction, density = model.predict(rows.X), model.leave_one_out()
    typical = stats.norm(prediction.mean, np.sqrt(prediction.noise_var + prediction.model_var)).logpdf(rows.Y)
    assert density.mean(axis=0) == pytest.approx(typical.mean(axis=0), abs=0.3)
    assert (density.mean(axis=0) < typical.mean(axis=0)).all()  # a row helps to predict itself


def test_drawn_lines_have_the_standard_errors_of_the_model_and_its_correlation_between_channels():
    """Student's t: the interquartile range of the draws is that of its distribution. Their derivatives are slopes."""
    rng = np.random.default_rng(0)
    U = hypercube(12, rng)
    common = rng.standard_normal((12, 1))
    Y = 1000 + U @ GAINS.T + 30 * common * [1.0, -1.0, 0.0] + 30 * rng.standard_normal((12, 3))
    training = TrainingSet.from_data(data(U, Y))
    model, at = LinearForward(training, training.linear), np.array([[0.2, 0.9, 0.4], [0.5, 0.5, 0.5]])
    paths = model.sample_paths(20_000, np.random.default_rng(0))
    drawn, prediction, dof = paths(at), model.predict(at), training.linear.dof
    assert np.median(drawn, axis=0) == pytest.approx(prediction.mean, abs=1.0)
    sd = np.sqrt(prediction.model_var) / t_factor(dof)
    quartiles = np.quantile(drawn, [0.25, 0.75], axis=0)
    assert np.diff(quartiles, axis=0)[0] == pytest.approx(2 * stats.t(dof).ppf(0.75) * sd, rel=0.05)
    above, noise = drawn[:, 1] > np.median(drawn[:, 1], axis=0), training.linear.noise
    alike = noise / np.sqrt(np.outer(np.diag(noise), np.diag(noise)))
    assert alike[0, 1] < -0.3
    for c in (1, 2):  # normal variables have the same sign with this probability
        assert (above[:, 0] == above[:, c]).mean() == pytest.approx(0.5 + np.arcsin(alike[0, c]) / np.pi, abs=0.03)
    slopes, h = paths.jacobian(at), 1e-3
    for j in range(3):
        step = h * np.eye(3)[j]
        assert slopes[:10, :, :, j] == pytest.approx((paths(at + step) - paths(at - step))[:10] / (2 * h), rel=1e-6)
    assert paths(np.tile(at, (20_000, 1, 1))) == pytest.approx(drawn)


def test_without_degrees_of_freedom_lines_are_drawn_with_the_nominal_noise_of_the_response():
    """Four rows of three inputs: each coefficient scatters by 0.4 % of the channel's response."""
    training = TrainingSet.from_data(night(4))
    model = LinearForward(training, training.linear)
    paths = model.sample_paths(4000, np.random.default_rng(0))
    base = paths(np.zeros((1, 3)))[:, 0]
    steps = paths(np.eye(3)) - base[:, None]
    response = 0.004 * np.abs(training.linear.slope).sum(axis=1)
    assert base.std(axis=0) == pytest.approx(response, rel=0.1)
    assert steps.std(axis=0) == pytest.approx(np.tile(response, (3, 1)), rel=0.1)


def test_lines_through_the_origin_are_drawn_through_the_origin_of_the_inputs():
    rng = np.random.default_rng(0)
    inputs = tuple(Input(name=i.name, low=0.5, high=1.5, step=None) for i in RGB)
    X = 0.5 + hypercube(20, rng)
    fitted = Linear(intercept=False).fit(data(X, 0.4 * X @ GAINS.T + 30 * rng.standard_normal((20, 3)), inputs=inputs))
    model = fitted.forward
    paths, at = model.sample_paths(50, rng), np.array([[-0.5] * 3, [0.0] * 3, [0.5, 0.2, 0.9]])  # the first is 0
    drawn = paths(at)
    assert np.abs(drawn[:, 0]).max() < 1e-9
    assert drawn[:, 2] == pytest.approx(drawn[:, 1] + (paths.jacobian(at)[:, 0] @ at[2]), rel=1e-9)
    assert drawn.mean(axis=0)[1:] == pytest.approx(model.mean(at)[1:], rel=0.01)
    assert model.predict(at).model_var[0] == pytest.approx([0.0] * 3, abs=1e-9)


def test_degrees_of_freedom_are_the_readings_of_each_channel_less_its_coefficients():
    rows = night(12)
    rows.Y[:3, 2] = np.nan
    training = TrainingSet.from_data(replace(rows, goal=np.array([True, True, False])))
    assert LinearForward(training, training.linear).residual_dof.tolist() == [8.0, 8.0, 5.0]


def test_a_row_that_alone_determines_a_coefficient_cannot_be_predicted_from_the_others():
    leverage = np.array([[0.5], [1.0 - 1e-5], [1.0 - 1e-7], [1.0]])
    one, dof = np.ones((4, 1)), np.array([6.0])
    density = leave_one_out_t(1e-9 * one, leverage, one, np.ones(1), dof)
    assert np.isfinite(density[:, 0]).tolist() == [True, True, False, False]


@pytest.mark.parametrize("options", [{"local": 0.3}, {"memory": 5}])
def test_local_or_fading_rows_need_an_intercept(options):
    assert Linear(**options).intercept
    with pytest.raises(ValidationError, match="intercept"):
        Linear(intercept=False, **options)
