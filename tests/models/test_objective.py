"""Constrained expected improvement: the number is right, its maximum is found, and what is proposed can be set."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from led import data, space
from scipy.integrate import quad
from scipy.stats import norm

from sdl.models.data import Objective, Targets
from sdl.models.forward.gaussian_process import fit_gaussian_process
from sdl.models.forward.quadratic import fit_quadratic
from sdl.models.inversion.objective import FittedObjective, Improvement, Limits, _predict, log_expected_improvement
from sdl.models.training_set import TrainingSet
from sdl.registry import find
from sdl.space import Space
from sdl.space.region import Region
from sdl.types import Channel, Input, Verdict

PAIR = tuple(Input(name=name, low=0.0, high=1.0) for name in "xy")
TWO = tuple(Channel(name=name) for name in "ab")
UNIT = np.zeros(2), np.ones(2)


def hill(X):
    """A maximum of 1000 at (.7, .4); the second channel rises with x."""
    x, y = np.atleast_2d(X).T
    return np.column_stack([1000 - 900 * ((x - 0.7) ** 2 + (y - 0.4) ** 2), 100 * x])


def rows(n=25, f=hill, seed=0, noise=2.0, sign=1.0, **changes):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    found = data(X, f(X) + noise * rng.standard_normal((n, 2)), inputs=PAIR, channels=TWO)
    return replace(found, objective=Objective(0, sign), **changes)


def goal(low=-np.inf, high=np.inf):
    """No limit of the first channel, `low` and `high` of the second."""
    none = np.array([np.nan, np.nan])
    return Targets(none, np.array([-np.inf, low]), np.array([np.inf, high]))


def asked(target, k=1):
    return Targets(*(np.tile(part, (k, 1)) for part in target))


@pytest.mark.parametrize("mean", [-40.0, -3.0, -1.01, -0.99, 0.0, 0.7, 5.0])
@pytest.mark.parametrize("sd", [0.3, 2.0])
def test_expected_improvement_is_the_integral_over_all_better_readings(mean, sd):
    best = 0.5
    scale = norm.logpdf(max(best, mean), mean, sd)  # so that a tail of e^-1000 is integrated as well
    integral, _ = quad(
        lambda f: (f - best) * np.exp(norm.logpdf(f, mean, sd) - scale), best, max(best, mean) + 12 * sd, limit=400,
        points=[max(best, mean)],
    )  # fmt: skip
    found = log_expected_improvement(np.array(mean), np.array(sd), np.array(best))
    assert found == pytest.approx(np.log(integral) + scale, abs=1e-6)


def test_far_below_the_best_its_logarithm_stays_finite_and_rises():
    z = -np.logspace(1, 7, 200)[::-1]
    found = log_expected_improvement(z, np.ones(200), np.zeros(200))
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()
    assert found[-150] == pytest.approx(-0.5 * z[-150] ** 2 - np.log(z[-150] ** 2 * np.sqrt(2 * np.pi)), rel=1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("limits", [goal(high=55.0), goal(low=30.0, high=55.0), goal()])
def test_constrained_expected_improvement_is_what_monte_carlo_gives(sign, limits):
    model = fit_gaussian_process(rows(12, noise=20.0))
    measured = model.training.U
    improvement = Improvement.of(model, Objective(0, sign), limits, measured, np.random.default_rng(0))
    U = np.random.default_rng(1).random((500, 2))
    U = U[np.argsort(improvement(U))[[0, 250, 450, -2, -1]]]
    assert improvement(U).max() > 0.0
    mean, sd = _predict(model, U)
    rng, n = np.random.default_rng(2), 400_000
    best = rng.choice(improvement.best, n)
    for i, value in enumerate(np.exp(improvement(U))):
        f, c = (mean[i, j] + sd[i, j] * rng.standard_normal(n) for j in (0, 1))
        gain = np.maximum(sign * f - best, 0.0) * ((c >= limits.low[1]) & (c <= limits.high[1]))
        assert value == pytest.approx(gain.mean(), abs=5 * gain.std() / np.sqrt(n) + 1e-4)


def test_the_best_reading_is_drawn_from_paths_that_agree_with_the_model():
    model = fit_gaussian_process(rows(12, noise=20.0))
    improvement = Improvement.of(model, Objective(0, 1.0), goal(), model.training.U, np.random.default_rng(0))
    drawn = model.sample_paths(2000, np.random.default_rng(3))(model.training.U)[..., 0].max(axis=1)
    assert improvement.best.mean() == pytest.approx(drawn.mean(), abs=5 * drawn.std() / np.sqrt(len(improvement.best)))
    mean, sd = _predict(model, model.training.U)
    assert improvement.incumbent.estimate == mean[:, 0].max()
    assert improvement.incumbent.std_error == sd[mean[:, 0].argmax(), 0]


def test_the_best_reading_of_a_path_is_that_of_the_rows_where_the_path_keeps_the_limits():
    model = fit_gaussian_process(rows(12, noise=20.0))
    limits = goal(high=50.0)  # some paths keep it where others do not
    improvement = Improvement.of(model, Objective(0, 1.0), limits, model.training.U, np.random.default_rng(0))
    order = np.argsort(-np.where(model.mean(model.training.U)[:, 1] <= 50.0, model.mean(model.training.U)[:, 0], -9e9))
    drawn = model.sample_paths(64, np.random.default_rng(0))(model.training.U[order])
    exact = [max(y for y, c in path if c <= 50.0) for path in drawn]
    assert len({round(value, 6) for value in exact}) == 64
    assert improvement.best == pytest.approx(exact)


def test_the_proposal_is_the_maximum_of_a_fine_grid_or_better():
    fitted = FittedObjective(fit_gaussian_process(rows(14, noise=10.0)), Objective(0, 1.0))
    answer = fitted.propose(asked(goal(high=55.0)), space(*UNIT), np.random.default_rng(0))
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 101)] * 2), axis=-1).reshape(-1, 2)
    measured = np.unique(fitted.training.U, axis=0)
    improvement = Improvement.of(
        fitted.model, fitted.objective, goal(high=55.0), measured, np.random.default_rng(0)
    )  # fmt: skip
    assert improvement(answer.settings)[0] >= improvement(grid).max() - 1e-3
    assert np.log(answer.expected_improvement[0]) == pytest.approx(improvement(answer.settings)[0], abs=0.05)


def test_settings_are_on_the_steps_and_the_best_of_all_of_them():
    stepped = tuple(Input(name=name, low=0.0, high=1.0, step=0.1) for name in "xy")
    fitted = FittedObjective(fit_quadratic(TrainingSet.from_data(rows())), Objective(0, 1.0))
    answer = fitted.propose(asked(goal(high=55.0)), Space(stepped), np.random.default_rng(0))
    assert answer.settings[0] * 10 == pytest.approx(np.round(answer.settings[0] * 10), abs=1e-9)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 11)] * 2), axis=-1).reshape(-1, 2)
    measured = np.unique(fitted.training.U, axis=0)
    improvement = Improvement.of(fitted.model, fitted.objective, goal(high=55.0), measured, np.random.default_rng(0))
    assert improvement(answer.settings)[0] == pytest.approx(improvement(grid).max(), abs=1e-6)


@pytest.mark.parametrize("kind", ["auto", "gp", "quadratic"])
def test_a_maximum_inside_is_found_and_the_model_knows_how_well(kind):
    fitted = find("solvers", kind)().fit(rows(30))
    answer = fitted.propose(asked(goal()), space(*UNIT), np.random.default_rng(0))
    assert answer.settings[0] == pytest.approx([0.7, 0.4], abs=0.06)
    assert answer.verdict == (Verdict.REACHABLE,)
    truth = hill(answer.incumbent)[0, 0]
    assert abs(answer.estimate[0] - truth) < 4 * answer.estimate_error[0]
    assert 0 < answer.expected_improvement[0] < 20


@pytest.mark.parametrize("kind", ["auto", "gp", "quadratic", "linear"])
def test_a_constraint_is_kept_with_a_margin_for_what_is_not_known(kind):
    plane = lambda X: np.column_stack([1000 * X[:, 0] + 300 * X[:, 1], 100 * X[:, 0]])  # noqa: E731
    fitted = find("solvers", kind)().fit(rows(f=plane))
    answer = fitted.propose(asked(goal(high=50.0)), space(*UNIT), np.random.default_rng(0))
    assert answer.settings[0] == pytest.approx([0.5, 1.0], abs=0.04)
    assert answer.incumbent[0, 0] < 0.52


def test_to_minimise_is_to_maximise_the_negative_readings():
    up = find("solvers", "quadratic")().fit(rows())
    down = find("solvers", "quadratic")().fit(rows(f=lambda X: hill(X) * [-1, 1], sign=-1.0))
    target = asked(goal(high=55.0))
    given = [one.propose(target, space(*UNIT), np.random.default_rng(0)) for one in (up, down)]
    assert given[0].settings == pytest.approx(given[1].settings, abs=0.05)  # the noise has another sign
    assert given[0].estimate == pytest.approx(-given[1].estimate, rel=0.01)


def test_while_nothing_measured_keeps_the_constraints_settings_are_sought_that_do():
    found = rows()
    kept = found.X[:, 0] > 0.6  # only readings above 60 were seen
    seen = replace(found, **{name: getattr(found, name)[kept] for name in ("X", "Y", "saturated", "age", "session")})
    answer = find("solvers", "gp")().fit(seen).propose(
        asked(goal(high=40.0)), space(*UNIT), np.random.default_rng(0)
    )  # fmt: skip
    assert answer.settings[0, 0] < 0.4
    assert np.isnan(answer.expected_improvement[0])
    assert np.isnan(answer.incumbent).all()
    assert "no settings measured so far keep the constraints" in answer.why[0]


def test_constraints_that_nothing_keeps_are_called_unreachable():
    answer = find("solvers", "quadratic")().fit(rows(40)).propose(
        asked(goal(high=-50.0)), space(*UNIT), np.random.default_rng(0)
    )  # fmt: skip
    assert answer.verdict == (Verdict.UNREACHABLE,)
    assert answer.nearest[0, 1] == pytest.approx(0.0, abs=5.0)


def test_saturated_readings_are_no_incumbent_and_are_not_sought_again():
    found = rows(30, noise=2.0)
    full = found.Y[:, 0] > 900
    Y = np.where(full[:, None] & np.array([True, False]), 900.0, found.Y)
    cut = replace(found, Y=Y, saturated=np.column_stack([full, np.zeros(30, bool)]))
    target = Targets(np.full(2, np.nan), np.full(2, -np.inf), np.array([900.0, np.inf]))
    for kind in ("gp", "quadratic"):
        answer = find("solvers", kind)().fit(cut).propose(asked(target), space(*UNIT), np.random.default_rng(0))
        assert hill(answer.settings)[0, 0] < 915, kind
        assert answer.estimate[0] <= 900, kind


def test_a_reading_close_to_zero_does_not_make_the_model_expect_a_huge_one_there():
    """The logarithm of a tiny reading tells nothing of how large the noise-free reading may be."""
    sharp = lambda X: np.column_stack([np.exp(-60 * ((X - 0.5) ** 2).sum(axis=1)), 100 * X[:, 0]])  # noqa: E731
    found = rows(14, f=sharp, noise=0.0)
    for _ in range(8):
        answer = find("solvers", "gp")().fit(found).propose(asked(goal()), space(*UNIT), np.random.default_rng(0))
        assert answer.estimate[0] < 1.5
        found = replace(
            found,
            X=np.vstack([found.X, answer.settings]),
            Y=np.vstack([found.Y, sharp(answer.settings)]),
            saturated=np.zeros((len(found.X) + 1, 2), bool),
            age=np.arange(len(found.X), -1.0, -1.0),
            session=np.zeros(len(found.X) + 1),
        )
    assert found.Y[:, 0].max() > 0.95


def test_limits_of_one_goal_are_those_of_its_bounded_channels():
    limits = Limits.of(goal(low=1.0))
    assert limits.columns.tolist() == [1]
    assert limits.are_kept(np.array([[0.0, 1.0], [0.0, 0.9]])).tolist() == [True, False]


def test_a_thousand_rows_are_answered_quickly():
    found = rows(1500)
    began = time.process_time()
    answer = find("solvers", "gp")().fit(found).propose(asked(goal()), space(*UNIT), np.random.default_rng(0))
    assert time.process_time() - began < 10
    assert hill(answer.incumbent)[0, 0] > 995


def test_auto_does_not_end_a_search_on_a_line_that_fits_the_few_rows_so_far():
    """The readings of a peak at four corners of a small square lie on a plane."""
    X = np.array([[0.1, 0.1], [0.3, 0.1], [0.1, 0.3], [0.3, 0.3], [0.2, 0.2]])
    found = data(X, 50 * X.sum(axis=1, keepdims=True) * [1, 1], inputs=PAIR, channels=TWO)
    answer = find("solvers", "auto")().fit(replace(found, objective=Objective(0, 1.0))).propose(
        asked(goal()), space(*UNIT), np.random.default_rng(0)
    )  # fmt: skip
    assert answer.why[0].startswith("auto chose gp")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_optimum_of_the_model_is_the_best_mean_of_a_fine_grid_that_keeps_the_constraints(sign):
    fitted = FittedObjective(fit_gaussian_process(rows(25, f=lambda X: hill(X) * [sign, 1])), Objective(0, sign))
    u, mean, sd = fitted.optimum(goal(high=55.0), space(*UNIT))
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 201)] * 2), axis=-1).reshape(-1, 2)
    Y = fitted.model.mean(grid)
    best = np.where(Y[:, 1] <= 55.0, sign * Y[:, 0], -np.inf).max()
    assert mean[1] <= 55.0
    assert sign * mean[0] == pytest.approx(best, abs=2.0)
    assert u[0] == pytest.approx(0.55, abs=0.02)
    assert mean == pytest.approx(fitted.model.mean(u[None])[0])
    assert sd == pytest.approx(np.sqrt(fitted.model.predict(u[None]).model_var[0]))


def test_settings_measured_at_the_ends_of_the_inputs_may_be_the_incumbent():
    found = rows(20, f=lambda X: np.column_stack([1000 * X.sum(axis=1), 100 * X[:, 0]]))
    X, Y = np.vstack([found.X, [[1.0, 1.0]]]), np.vstack([found.Y, [[2000.0, 100.0]]])
    full = data(X, Y, inputs=PAIR, channels=TWO)
    answer = find("solvers", "gp")().fit(replace(full, objective=Objective(0, 1.0))).propose(
        asked(goal()), space(*UNIT), np.random.default_rng(0)
    )  # fmt: skip
    assert answer.incumbent[0] == pytest.approx([1.0, 1.0])


def test_only_different_settings_inside_the_region_with_a_reading_of_the_objective_count_as_measured():
    fitted = FittedObjective(fit_quadratic(TrainingSet.from_data(rows(25))), Objective(0, 1.0))
    training = fitted.training
    U = np.vstack([training.U[:5], training.U[:5], training.U[5:]])
    usable = np.ones((30, 2), bool)
    usable[[12, 14], 0], usable[20, 1] = False, False  # of the other channel a reading may be missing
    repeated = replace(training, U=U, Y=np.zeros((30, 2)), usable=usable)
    region = Region.box(np.array([0.2, 0.0]), np.array([0.9, 0.7]))
    found = replace(fitted, model=replace(fitted.model, training=repeated))._measured(region)
    exact = {tuple(u) for i, u in enumerate(U) if 0.2 <= u[0] <= 0.9 and u[1] <= 0.7 and i not in (12, 14)}
    assert [tuple(u) for u in found] == sorted(exact)
    assert 0 < len(found) < 25


def test_a_narrow_peak_is_sought_around_the_settings_with_the_best_mean():
    """In four inputs hardly one of a thousand random settings is close enough to feel its slope."""
    inputs, rng = tuple(Input(name=name) for name in "wxyz"), np.random.default_rng(0)
    X = rng.random((30, 4))
    found = replace(data(X, X.sum(axis=1, keepdims=True), inputs=inputs, channels=TWO[:1]), objective=Objective(0, 1.0))
    for sign in (1.0, -1.0):
        fitted = FittedObjective(fit_quadratic(TrainingSet.from_data(found)), Objective(0, sign))
        top = np.clip(X[(sign * X.sum(axis=1)).argmax()] - 0.02, 0, 1)
        peak = lambda U, top=top: np.exp(-0.5 * ((U - top) ** 2).sum(axis=1) / 0.015**2)  # noqa: E731
        u = fitted._maximise(peak, X, Space(inputs), np.random.default_rng(0))
        assert u == pytest.approx(top, abs=1e-3)


def test_with_too_many_combinations_of_four_steps_the_two_nearest_of_each_input_are_compared():
    inputs, rng = tuple(Input(name=f"x{i}", step=0.1) for i in range(7)), np.random.default_rng(0)
    X = rng.random((30, 7))
    found = replace(data(X, X.sum(axis=1, keepdims=True), inputs=inputs, channels=TWO[:1]), objective=Objective(0, 1.0))
    fitted, top = (
        FittedObjective(fit_quadratic(TrainingSet.from_data(found)), Objective(0, 1.0)),
        rng.uniform(0.3, 0.7, 7),
    )
    u = fitted._maximise(lambda U: -((U - top) ** 2).sum(axis=1), X, Space(inputs), np.random.default_rng(0))
    assert u == pytest.approx(np.round(top * 10) / 10)
