"""The bounded search: against scipy's, on lines, curves, ranges, many solutions, and sample paths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares, linprog, lsq_linear, minimize
from scipy.special import logsumexp
from scipy.stats import norm

from sdl.arrays import Floats
from sdl.models.data import Targets
from sdl.models.inversion.search import Bands, cheapest, log_inside, maximise, search, starting_points
from sdl.models.training_set import TrainingSet
from sdl.space.region import Region
from sdl.types import Channel, Input
from tests import led


def box(d: int) -> Region:
    return Region.box(np.zeros(d), np.ones(d))


def bands_of(value: Floats, half: float = 0.01) -> Bands:
    value = np.asarray(value, float)
    return Bands(np.arange(len(value)), value - half, value + half, value, value, np.full(len(value), half))


def plane(rng: np.random.Generator, m: int, d: int):
    slope, base = rng.normal(size=(m, d)) + 2 * np.eye(m, d), rng.normal(size=m)
    return slope, base, lambda U: base + U @ slope.T, lambda U: np.broadcast_to(slope, (*U.shape[:-1], m, d))


@pytest.mark.parametrize(("m", "d"), [(1, 1), (3, 3), (4, 3)])
def test_on_a_plane_the_search_ends_where_bounded_least_squares_ends(m: int, d: int) -> None:
    rng = np.random.default_rng(m)
    for _ in range(20):
        slope, base, mean, jacobian = plane(rng, m, d)
        value = base + slope @ rng.uniform(-0.3, 1.3, d)
        found = search(mean, jacobian, bands_of(value), np.full((1, d), 0.5), box(d))
        exact = lsq_linear(slope, value - base, (0, 1), method="bvls").x
        assert found.U[0] == pytest.approx(exact, abs=1e-6)
        assert found.converged.all()


def curve(U: Floats) -> Floats:
    return np.stack([(U[..., 0] - 0.4) ** 2 + 0.2 * U[..., 1], np.exp(-1.5 * U[..., 1]) + 0.1 * U[..., 0]], -1)


def slopes(U: Floats) -> Floats:
    rows = [[2 * (U[..., 0] - 0.4), np.full(U.shape[:-1], 0.2)]]
    rows.append([np.full(U.shape[:-1], 0.1), -1.5 * np.exp(-1.5 * U[..., 1])])
    return np.stack([np.stack(row, -1) for row in rows], -2)


def off(u: Floats, goal: Bands) -> Floats:
    return goal.residuals(curve(u[None]))[0]


def test_on_a_curve_the_best_of_the_starts_is_as_good_as_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        goal = bands_of(curve(rng.uniform(-0.2, 1.2, (1, 2)))[0])
        starts = rng.random((6, 2))
        ours = search(curve, slopes, goal, starts, box(2)).cost.min()
        theirs = min(least_squares(off, start, bounds=(0, 1), xtol=1e-12, args=(goal,)).cost for start in starts)
        assert ours <= theirs * (1 + 1e-5) + 1e-9


def test_each_search_ends_at_the_solution_on_its_side() -> None:
    def parabola(U: Floats) -> Floats:
        return (2 * U - 1) ** 2

    found = search(parabola, lambda U: 4 * (2 * U - 1)[..., None], bands_of([0.25]), np.array([[0.1], [0.9]]), box(1))
    assert found.U.ravel() == pytest.approx([0.25, 0.75], abs=1e-6)


def test_every_sample_path_is_searched_at_settings_of_its_own() -> None:
    gains = np.array([1.0, 2.0, 4.0])[:, None, None]
    found = search(
        lambda U: gains * U,
        lambda U: np.broadcast_to(gains[..., None], (*U.shape, 1)),
        bands_of([0.8]),
        np.full((3, 2, 1), 0.5),
        box(1),
    )
    assert found.U[..., 0] == pytest.approx(np.array([[0.8, 0.8], [0.4, 0.4], [0.2, 0.2]]), abs=1e-6)


def test_a_range_asks_nothing_of_a_reading_inside_and_its_nearer_end_of_one_outside() -> None:
    goal = Bands(np.array([0]), np.array([0.2]), np.array([0.4]), np.array([0.25]), np.array([0.35]), np.array([0.1]))
    starts = np.array([[0.3], [0.9], [0.0]])
    found = search(lambda U: U, lambda U: np.ones((*U.shape, 1)), goal, starts, box(1))
    assert found.U.ravel() == pytest.approx([0.3, 0.35, 0.25], abs=1e-6)


def test_what_no_settings_reach_ends_at_the_bound_and_in_time() -> None:
    steps = 0

    def rough(U: Floats) -> Floats:  # its slope is a lie: no step is ever better
        nonlocal steps
        steps += 1
        return 1.0 + 0.1 * np.sin(1e4 * U)

    found = search(rough, lambda U: np.ones((*U.shape, 1)), bands_of([0.0]), np.array([[0.5]]), box(1))
    assert steps <= 41
    assert ((found.U >= 0) & (found.U <= 1)).all()
    far = search(lambda U: U, lambda U: np.ones((*U.shape, 1)), bands_of([9.0]), np.array([[0.5]]), box(1))
    assert far.U[0, 0] == 1.0
    assert far.converged.all()


def test_the_cheapest_of_a_continuum_is_found_on_a_curve() -> None:
    def product(U: Floats) -> Floats:
        return (U[..., :1] + 0.5) * (U[..., 1:] + 0.5)

    def jacobian(U: Floats) -> Floats:
        return np.stack([U[..., 1:] + 0.5, U[..., :1] + 0.5], -1)

    goal = bands_of([1.0], 0.001)
    start = search(product, jacobian, goal, np.array([[0.2, 0.8]]), box(2)).U[0]
    u = cheapest(product, jacobian, goal, start, np.array([1.0, 4.0]), box(2))
    # (x + .5)(y + .5) = 1, least x + 4 y: x = 1 and y = 1 / 6, the bound of x
    assert u == pytest.approx([1.0, 1 / 6], abs=2e-3)


def test_under_linear_constraints_the_search_ends_where_a_general_optimiser_ends() -> None:
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(30):
        slope, base, mean, jacobian = plane(rng, 3, 3)
        A = rng.normal(size=(2, 3))
        A /= np.linalg.norm(A, axis=1)[:, None]
        region = replace(box(3), A=A, b=A @ np.full(3, 0.5) + 0.05)
        value = base + slope @ rng.uniform(0, 1, 3)
        starts = region.sample(6, rng)
        found = search(mean, jacobian, bands_of(value), starts, region)
        best = found.U[int(found.cost.argmin())]
        exact = nearest_by(slope, value - base, region)
        assert (A @ best <= region.b + 1e-9).all()
        assert best == pytest.approx(exact, abs=1e-4)
        inside += bool((A @ exact < region.b - 1e-6).all())
    assert 0 < inside < 30


def nearest_by(slope: Floats, gap: Floats, region: Region) -> Floats:
    kept = [{"type": "ineq", "fun": lambda u: region.b - region.A @ u}]
    found = minimize(
        lambda u: ((slope @ u - gap) ** 2).sum(), np.full(3, 0.5), bounds=[(0, 1)] * 3, constraints=kept,
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return np.asarray(found.x)


def test_bounds_that_are_not_0_and_1_are_kept_beside_a_constraint_as_by_a_general_optimiser() -> None:
    """Goals beyond every side, so that the ends lie on lower and upper bounds and on the constraint."""
    rng, low, high = np.random.default_rng(2), np.array([-0.8, 0.3, 0.1]), np.array([0.2, 1.4, 0.6])
    region = replace(Region.box(low, high), A=np.ones((1, 3)), b=np.array([1.2]))
    on = np.zeros((2, 3), bool)
    for _ in range(20):
        slope, base, mean, jacobian = plane(rng, 3, 3)
        value = base + slope @ rng.uniform(-2, 2, 3)
        found = search(mean, jacobian, bands_of(value), region.sample(3, rng), region)
        exact = minimize(
            lambda u, slope=slope, gap=value - base: ((slope @ u - gap) ** 2).sum(), np.array([0.0, 0.5, 0.2]),
            bounds=list(zip(low, high, strict=True)), options={"ftol": 1e-14, "maxiter": 500},
            constraints=[{"type": "ineq", "fun": lambda u: 1.2 - u.sum()}],
        ).x  # fmt: skip
        best = found.U[int(found.cost.argmin())]
        assert best == pytest.approx(exact, abs=1e-4)
        on |= np.abs(best - np.stack([low, high])) < 1e-6
    assert on.sum() >= 5


def test_bands_aim_at_targets_and_at_limits_moved_inwards() -> None:
    training = TrainingSet.from_data(led.night(30))
    value, ends = [16384.0, np.nan, np.nan], ([16000.0, 9000.0, -np.inf], [16700.0, 20000.0, np.inf])
    target = Targets(np.array(value), *(np.array(end) for end in ends))
    bands, (low, high) = Bands.of(training, target), training.guarded_limits(target)
    assert bands.columns.tolist() == [0, 1]
    assert bands.aim_low == pytest.approx([16384.0, low[1]])
    assert bands.aim_high == pytest.approx([16384.0, high[1]])
    assert bands.low.tolist() == [16000.0, 9000.0]
    assert bands.high.tolist() == [16700.0, 20000.0]
    assert bands.unit == pytest.approx(training.tolerance_scale(target)[:2])
    assert 9000.0 < low[1] < high[1] < 20000.0


def test_a_search_starts_in_every_combination_of_choices_from_the_rows_closest_to_the_goal_and_at_random() -> None:
    inputs = (Input(name="x"), Input(name="dye", choices=("a", "b", "c")))
    X = np.column_stack([np.linspace(0, 1, 9), np.arange(9) % 3 == 1, np.arange(9) % 3 == 2]).astype(float)
    training = TrainingSet.from_data(led.data(X, 100 * X[:, :1], inputs=inputs, channels=(Channel(name="y"),)))
    bands, region = bands_of([52.0], 1.0), training.own_region
    starts = starting_points(training, bands, region, np.random.default_rng(0))
    blocks, count = np.unique(starts[:, 1:], axis=0, return_counts=True)
    assert blocks.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert count.tolist() == [9, 9, 9]  # three rows and six random settings in each
    for block in blocks:
        of_rows = set(starts[(starts[:, 1:] == block).all(axis=1), 0].tolist())
        assert {0.5, 0.375, 0.625} <= of_rows
        assert len(of_rows) == 9


@pytest.mark.parametrize("miss", [0.5, 20.0])
def test_the_cheapest_settings_miss_a_goal_that_none_reaches_by_at_most_a_hundredth_more(miss: float) -> None:
    jacobian = lambda U: np.ones((*U.shape[:-1], 1, 2))  # noqa: E731
    total = lambda U: U.sum(axis=-1, keepdims=True)  # noqa: E731
    u = cheapest(total, jacobian, bands_of([2.0 + 0.01 * miss]), np.ones(2), np.array([1.0, 0.5]), box(2))
    assert 0.999 * miss <= (2.0 + 0.01 * miss - u.sum()) / 0.01 <= 1.011 * miss


def test_each_search_keeps_to_the_choices_of_its_start() -> None:
    categorical = np.array([False, True])
    region = replace(box(2), categorical=categorical, codes=np.array([[0.0, 0.0], [0.0, 1.0]]))
    starts = np.array([[0.5, 0.0], [0.5, 1.0]])
    found = search(
        lambda U: U[..., :1] + 0.5 * U[..., 1:],
        lambda U: np.broadcast_to([[1.0, 0.5]], (*U.shape[:-1], 1, 2)),
        bands_of([0.9]),
        starts,
        region,
    )
    assert pytest.approx(np.array([[0.9, 0.0], [0.4, 1.0]]), abs=1e-6) == found.U


def test_on_a_plane_the_cheapest_settings_inside_a_range_are_the_optimum_of_a_linear_program() -> None:
    rng, found_cheaper = np.random.default_rng(5), 0
    for _ in range(10):
        slope, base, mean, jacobian = plane(rng, 2, 4)
        start, cost = rng.uniform(0.2, 0.8, 4), rng.normal(size=4)
        y = base + slope @ start
        low, high = np.array([y[0], y[1] - 0.3]), np.array([y[0], y[1] + 0.2])
        goal = Bands(np.arange(2), low, high, low, high, np.full(2, 0.01))
        A, b = np.vstack([slope[1], -slope[1]]), np.array([high[1] - base[1], base[1] - low[1]])
        exact = linprog(cost, A, b, slope[:1], [y[0] - base[0]], bounds=[(0, 1)] * 4)
        u = cheapest(mean, jacobian, goal, start, cost, box(4))
        assert cost @ u == pytest.approx(exact.fun, abs=1e-3)
        assert np.abs(goal.residuals(mean(u[None]))).max() < 2e-3
        found_cheaper += bool(cost @ u < cost @ start - 0.1)
    assert found_cheaper > 5


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (-np.inf, 0.3), (3.0, np.inf), (7.0, 9.0), (-9.0, -7.0)])
def test_the_probability_inside_a_range_is_that_of_scipy_also_in_a_tail(low: float, high: float) -> None:
    sides = (low, high) if low < 0 else (-high, -low)  # scipy's differences are exact in the lower tail only
    exact = logsumexp([norm.logcdf(sides[1]), norm.logcdf(sides[0])], b=[1.0, -1.0])
    assert log_inside(np.array([low]), np.array([high])) == pytest.approx([exact], rel=1e-9)


def test_the_probability_of_a_goal_is_the_product_over_its_channels() -> None:
    """A variance of zero counts as a millionth of the tolerance, an unknown standard deviation as the tolerance."""
    low, high, unit = np.array([1.0, -np.inf]), np.array([3.0, 5.0]), np.array([1.0, 2.0])
    goal = Bands(np.array([2, 0]), low, high, low, high, unit)
    mean, variance = np.array([[4.0, 9.0, 1.5], [5.5, 9.0, 3.2]]), np.array([[1.0, 9.0, 4.0], [0.25, 9.0, 0.01]])
    exact = np.log(
        norm.cdf(3.0, mean[:, 2], np.sqrt(variance[:, 2])) - norm.cdf(1.0, mean[:, 2], np.sqrt(variance[:, 2]))
    )
    exact += norm.logcdf(5.0, mean[:, 0], np.sqrt(variance[:, 0]))
    assert goal.log_probability(mean, variance) == pytest.approx(exact, rel=1e-9)
    assert goal.log_probability(mean[None], variance[None]) == pytest.approx(exact[None], rel=1e-9)
    assert goal.log_probability(mean[:1], np.zeros((1, 3))) == pytest.approx([0.0])
    unknown = goal.log_probability(mean[:1], np.full((1, 3), np.nan))
    assert unknown == pytest.approx([np.log(norm.cdf(1.5) - norm.cdf(-0.5)) + norm.logcdf(0.5)])


def test_distances_beyond_a_band_and_from_its_aim_are_in_tolerances() -> None:
    goal = Bands(np.array([1]), np.array([1.0]), np.array([4.0]), np.array([1.5]), np.array([3.5]), np.array([0.5]))
    Y = np.array([[9.0, 0.0], [9.0, 1.2], [9.0, 2.0], [9.0, 3.8], [9.0, 6.0]])
    assert goal.beyond(Y).ravel() == pytest.approx([2.0, 0.0, 0.0, 0.0, 4.0])
    assert goal.residuals(Y).ravel() == pytest.approx([-3.0, -0.6, 0.0, 0.6, 5.0])
    assert goal.are_met(Y).tolist() == [False, True, True, True, False]


def test_the_highest_of_three_peaks_is_found_though_its_candidate_is_the_lowest() -> None:
    """Many candidates lie close together on the lower peaks; climbs start from one of each group."""
    tops, heights, width = np.array([0.2, 0.5, 0.83]), np.array([1.0, 0.95, 1.5]), 0.04

    def peaks(U: Floats) -> Floats:
        return (heights * np.exp(-0.5 * ((U[:, :1] - tops) / width) ** 2)).sum(axis=1)

    crowd = np.concatenate([0.2 + np.linspace(-0.01, 0.01, 9), 0.5 + np.linspace(-0.01, 0.01, 9), [0.76]])[:, None]
    assert peaks(crowd).argmin() == 18
    assert maximise(peaks, crowd, box(1)) == pytest.approx([0.83], abs=1e-4)


def test_a_maximum_beyond_the_bounds_or_a_constraint_is_taken_at_the_edge() -> None:
    def rising(U: Floats) -> Floats:
        return U[:, 0] + 2.0 * U[:, 1] - 0.5 * U[:, 1] ** 2

    candidates = np.random.default_rng(0).random((20, 2)) * 0.5
    assert maximise(rising, candidates, box(2)) == pytest.approx([1.0, 1.0], abs=1e-6)
    kept = replace(box(2), A=np.ones((1, 2)), b=np.array([1.2]))
    assert maximise(rising, candidates, kept) == pytest.approx([0.2, 1.0], abs=1e-5)
