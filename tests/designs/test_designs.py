"""Designs: a point for every trial, always inside the bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sdl import config
from sdl.designs import plans
from sdl.designs.adaptive import Adaptive
from sdl.designs.base import MAX_POINTS, Design, farthest, scale
from sdl.designs.classical import BoxBehnken, CentralComposite, DOptimal, Factorial
from sdl.designs.filling import Axis, Farthest, LatinHypercube, Points, Sobol
from sdl.designs.plans import terms
from sdl.errors import ConfigError
from sdl.registry import kinds
from sdl.space import Space
from sdl.types import Input

RGB = tuple(Input(name=name) for name in "RGB")
UNEVEN = (Input(name="R", low=-5, high=5), Input(name="T", low=200, high=1200), Input(name="d", low=0, high=1e-3))
DESIGNS: list[Any] = [
    Axis(),
    Axis(low=0, high=1),
    LatinHypercube(),
    LatinHypercube(trials=1),
    LatinHypercube(low=0.2, high=0.3),
    Sobol(trials=21),
    Farthest(trials=9),
    Factorial(),
    Factorial(levels={"R": 4, "T": 2, "d": 3}, low=0, high=1),
    BoxBehnken(),
    CentralComposite(),
    CentralComposite(star="faced"),
    DOptimal(),
    DOptimal(model="quadratic", trials=12, levels=5),
    Adaptive(trials=6),
    Points(points=({"R": 0.0, "T": 200.0, "d": 1e-3}, {"R": 5.0, "T": 700.0, "d": 0.0})),
]


def random_of(seed: int) -> Any:
    return lambda n: np.random.default_rng([seed, 0, n])


def walk(design: Any, inputs: tuple[Input, ...], trials: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """The points that a campaign gets that has nothing but its design, (trials, d)."""
    taken = np.empty((0, len(inputs)))
    for trial in range(trials):
        taken = np.vstack([taken, design.point(trial, taken, inputs, random_of(seed))])
    return taken


@pytest.mark.parametrize("design", DESIGNS, ids=repr)
def test_a_design_answers_for_every_trial_inside_the_bounds_and_the_same_for_the_same_seed(design: Any) -> None:
    assert isinstance(design, Design)
    trials = design.size(UNEVEN) + 10
    points = walk(design, UNEVEN, trials)
    assert points.shape == (trials, 3)
    assert (points >= [item.low for item in UNEVEN]).all()
    assert (points <= [item.high for item in UNEVEN]).all()
    assert (walk(design, UNEVEN, trials) == points).all()
    if design.kind != "d-optimal":  # which may measure a point twice
        assert len(np.unique(points, axis=0)) == trials


@pytest.mark.parametrize("design", [d for d in DESIGNS if d.kind != "points"], ids=repr)
@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_any_number_of_inputs_gets_its_plan_or_hears_what_to_take_instead(design: Any, count: int) -> None:
    inputs = tuple(Input(name=f"x{i}", low=-1, high=3) for i in range(count))
    if isinstance(getattr(design, "levels", None), dict) or (getattr(design, "trials", 99) == 12 and count > 3):
        with pytest.raises(ConfigError, match=r"must give every input|coefficients"):
            design.size(inputs)
        return
    least = {"box-behnken": 3, "central-composite": 2}.get(design.kind, 1)
    if count < least:
        with pytest.raises(
            ConfigError, match=f"needs at least {least} inputs, and this instrument has .*use .kind: factorial"
        ):
            design.size(inputs)
        return
    points = walk(design, inputs, count + 1 if design.kind == "adaptive" else design.size(inputs))
    low, high = (getattr(design, end) * 4 - 1 for end in ("low", "high"))
    assert points.shape[1] == count
    assert points.min() >= low - 1e-12
    assert points.max() <= high + 1e-12


@pytest.mark.parametrize("design", [d for d in DESIGNS if d.kind != "points"], ids=repr)
def test_on_an_instrument_with_steps_every_point_ends_on_one(design: Any) -> None:
    inputs = (
        Input(name="R", high=255, step=1),
        Input(name="T", low=20, high=80, step=0.5),
        Input(name="d", high=1, step=0.25),
    )
    for point in walk(design, inputs, design.size(inputs)):
        settings, clipped = Space(inputs).project(Space(inputs).decode(point))
        assert not clipped
        for item in inputs:
            steps = (settings[item.name] - item.low) / item.step
            assert steps == pytest.approx(round(steps), abs=1e-6)


def test_every_kind_of_design_is_walked_here() -> None:
    assert {design.kind for design in DESIGNS} == set(kinds("designs"))


@given(st.integers(1, 6), st.floats(0, 0.49), st.floats(0.51, 1))
def test_axis_points_are_all_low_and_then_each_input_high_in_turn(count: int, low: float, high: float) -> None:
    inputs = tuple(Input(name=f"x{i}", low=0, high=1) for i in range(count))
    design = Axis(low=low, high=high)
    assert design.size(inputs) == count + 1
    expected = np.vstack([np.full(count, low), np.where(np.eye(count) == 1, high, low)])
    assert walk(design, inputs, count + 1) == pytest.approx(expected)


def test_the_usual_axis_is_at_a_tenth_and_nine_tenths_of_the_range() -> None:
    assert walk(Axis(), RGB, 4).tolist() == [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]]
    assert walk(Axis(), UNEVEN[:1], 2) == pytest.approx(np.array([[-4.0], [4.0]]))


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_each_point_of_a_latin_hypercube_is_alone_in_its_slice_of_every_input(trials: int, seed: int) -> None:
    design = LatinHypercube(trials=trials)
    points = np.array([design.point(i, np.empty((0, 3)), RGB, random_of(seed)) for i in range(trials)])
    slices = np.floor(points * trials).astype(int)
    assert (np.sort(slices, axis=0) == np.arange(trials)[:, None]).all()


def test_a_point_of_a_plan_does_not_depend_on_what_was_measured() -> None:
    design = LatinHypercube(trials=5)
    elsewhere = np.full((7, 3), 0.5)
    for trial in range(5):
        alone = design.point(trial, np.empty((0, 3)), RGB, random_of(3))
        assert (design.point(trial, elsewhere, RGB, random_of(3)) == alone).all()


def test_another_seed_gives_other_points() -> None:
    design = LatinHypercube(trials=5)
    assert not (walk(design, RGB, 5, seed=1) == walk(design, RGB, 5, seed=2)).any()


def test_given_points_are_taken_as_they_are_whatever_the_order_of_their_names() -> None:
    points = Points(points=({"B": 0.3, "R": 0.1, "G": 0.2}, {"R": 1.0, "G": 0.0, "B": 0.5}))
    assert points.size(RGB) == 2
    assert walk(points, RGB, 2).tolist() == [[0.1, 0.2, 0.3], [1.0, 0.0, 0.5]]


@pytest.mark.parametrize("design", DESIGNS, ids=repr)
def test_beyond_the_plan_comes_the_point_farthest_from_those_taken(design: Any) -> None:
    low, span = np.array([i.low for i in UNEVEN]), np.array([i.high - i.low for i in UNEVEN])
    crowd = low + span * np.random.default_rng(1).uniform(0, 0.2, (50, 3))
    point = design.point(design.size(UNEVEN), crowd, UNEVEN, random_of(0))
    assert (((point - low) / span) > 0.6).all()


def test_far_is_judged_in_fractions_of_the_range() -> None:
    inputs = (Input(name="small", low=0, high=1), Input(name="large", low=0, high=1000))
    taken = np.array([[0.0, 0.0], [0.0, 500.0], [0.0, 1000.0]])  # large is covered from end to end, small is not
    assert farthest(taken, inputs, np.random.default_rng(0))[0] > 0.9


def test_of_many_random_points_none_is_farther() -> None:
    taken = np.random.default_rng(2).random((6, 2))
    inputs = RGB[:2]
    point = farthest(taken, inputs, np.random.default_rng(5))
    others = np.random.default_rng(5).random((256, 2))

    def nearest(candidate: np.ndarray[Any, Any]) -> float:
        return float(np.linalg.norm(taken - candidate, axis=1).min())

    assert nearest(point) == pytest.approx(max(map(nearest, others)))


def test_points_beyond_the_plan_spread_out() -> None:
    points = walk(Axis(), RGB[:2], 13)[3:]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(points) for b in points[:i]]
    assert min(apart) > 0.15


def test_a_design_draws_nothing_from_the_global_generator() -> None:
    before = np.random.get_state()[1].tolist()
    for design in DESIGNS:
        walk(design, UNEVEN, design.size(UNEVEN) + 2)
    assert np.random.get_state()[1].tolist() == before


def test_fractions_become_settings() -> None:
    assert scale(np.array([[0.0, 0.5, 1.0]]), UNEVEN).tolist() == [[-5.0, 700.0, 1e-3]]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Axis(low=0.9, high=0.1),
        lambda: Axis(low=0.5, high=0.5),
        lambda: Axis(high=1.1),
        lambda: LatinHypercube(trials=0),
        lambda: LatinHypercube(trials=2.0),
        lambda: Points(points=()),
        lambda: LatinHypercube(low=0.6, high=0.4),
        lambda: Factorial(levels=1),
        lambda: Factorial(levels=1001),
        lambda: Factorial(levels={"R": 1}),
        lambda: Factorial(levels=2.0),
        lambda: BoxBehnken(centre=0),
        lambda: CentralComposite(star="square"),
        lambda: CentralComposite(low=-0.1),
        lambda: Sobol(trials=0),
        lambda: DOptimal(model="cubic"),
        lambda: DOptimal(levels=1),
        lambda: Adaptive(trials=0),
        lambda: Adaptive(solver="oracle"),
    ],
)
def test_a_design_that_cannot_be_meant_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        wrong()


# One by one ----------------------------------------------------------------------------------------------------------
def test_a_factorial_is_every_combination_once() -> None:
    points = walk(Factorial(levels={"R": 3, "G": 2, "B": 2}), RGB, 12)
    combinations = {(r, g, b) for r in (0.1, 0.5, 0.9) for g in (0.1, 0.9) for b in (0.1, 0.9)}
    assert {tuple(np.round(p, 9)) for p in points.tolist()} == combinations
    assert Factorial(levels=3).size(RGB) == 27


def test_a_factorial_has_no_more_levels_than_its_inputs_have_steps() -> None:
    inputs = (Input(name="a", high=1, step=0.5), Input(name="b", high=1))
    design = Factorial(levels=5, low=0, high=1)
    assert design.size(inputs) == 3 * 5
    assert sorted(set(walk(design, inputs, 15)[:, 0])) == [0, 0.5, 1]


def test_the_farthest_points_start_on_the_axes_and_leave_no_hole() -> None:
    from scipy.spatial.distance import cdist

    everywhere = 0.1 + 0.8 * np.random.default_rng(0).random((2000, 3))
    for seed in range(3):
        points = walk(Farthest(trials=30), RGB, 30, seed)
        assert (points[:4] == walk(Axis(), RGB, 4)).all()
        alone = 0.1 + 0.8 * np.random.default_rng(seed).random((30, 3))
        assert cdist(everywhere, points).min(axis=1).max() < 0.85 * cdist(everywhere, alone).min(axis=1).max()


def test_levels_go_to_the_nearest_step() -> None:
    inputs = (Input(name="a", high=1, step=0.25), Input(name="b", low=10, high=18, step=3))
    points = walk(Factorial(levels=2), inputs, 4)
    assert sorted(set(points[:, 0])) == [0, 1]  # .1 and .9
    assert sorted(set(points[:, 1])) == [10, 16]  # 10.8 and 17.2; there is no step at 18


@pytest.mark.parametrize(
    ("design", "inputs", "said"),
    [
        (Factorial(levels=1000), 3, "1000 × 1000 × 1000 levels are 1,000,000,000 points; at most 100,000"),
        (Factorial(levels=2), 17, "131,072 points"),
        (CentralComposite(), 40, "at most 100,000"),
        (BoxBehnken(), 300, "179,401 points"),
        (DOptimal(levels=100), 4, "100,000,000 candidates"),
        (DOptimal(model="quadratic", trials=9), 3, "has 10 coefficients, so at least 10 trials; not 9"),
        (DOptimal(model="quadratic", levels=2), 3, "levels: 3 or more"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_it_takes_memory(design: Any, inputs: int, said: str) -> None:
    import tracemalloc

    many = tuple(Input(name=f"x{i}") for i in range(inputs))
    tracemalloc.start()
    with pytest.raises(ConfigError, match=said):
        design.size(many)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_a_campaign_file_hears_of_such_a_plan_where_it_stands() -> None:
    tree = {"name": "big", "instrument": {"kind": "twin"}, "goal": {"445nm": 16384}}
    for design, place in (
        ({"kind": "factorial", "levels": 1000}, "design.levels"),
        ({"kind": "factorial", "levels": {"R": 3, "G": 3}}, "design.levels"),
        ({"kind": "d-optimal", "trials": 3}, "design.trials"),
        ({"kind": "adaptive", "solver": "oracle"}, "design.solver"),
        ({"kind": "adaptive", "channels": ("444nm",)}, "design.channels.0"),
    ):
        with pytest.raises(ConfigError) as caught:
            config.parse({**tree, "design": design})
        assert [problem.path for problem in caught.value.problems] == [place]


def test_the_largest_plan_is_drawn_up_once_and_not_for_every_point() -> None:
    design = Factorial(levels={"R": 100, "G": 100, "B": 10})
    assert design.size(RGB) == MAX_POINTS
    taken = np.empty((0, 3))
    before = plans.factorial.cache_info().misses
    for trial in range(0, MAX_POINTS, 1000):
        design.point(trial, taken, RGB, random_of(0))
    assert plans.factorial.cache_info().misses - before <= 1


def test_box_behnken_measures_no_corner_and_turns_two_inputs_at_a_time() -> None:
    points = walk(BoxBehnken(centre=2), RGB, 14)
    off = (np.abs(points - 0.5) > 1e-9).sum(axis=1)
    assert sorted(off) == [0, 0] + [2] * 12
    assert BoxBehnken().size(tuple(Input(name=n) for n in "RGBW")) == 25


def test_a_central_composite_design_is_rotatable_unless_it_keeps_to_the_faces() -> None:
    def variance_at(U: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Of a model with squares, at settings U from -1 to 1."""
        X = terms((walk(design, RGB, design.size(RGB)) - 0.5) / 0.4, "quadratic")
        F = terms(U, "quadratic")
        return np.einsum("np,pq,nq->n", F, np.linalg.inv(X.T @ X), F)

    directions = np.random.default_rng(0).normal(size=(50, 3))
    sphere = 0.7 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    design = CentralComposite(centre=3)
    assert np.ptp(variance_at(sphere)) < 1e-9
    design = CentralComposite(star="faced", centre=3)
    assert np.ptp(variance_at(sphere)) > 1e-3
    assert set(np.round(walk(design, RGB, 17), 9).ravel()) == {0.1, 0.5, 0.9}


def test_sobol_points_fill_the_space_wherever_they_are_broken_off() -> None:
    from scipy.stats import qmc

    for seed in range(5):
        points = (walk(Sobol(trials=64), RGB, 64, seed) - 0.1) / 0.8
        alone = np.random.default_rng(seed).random((64, 3))
        for n in (8, 16, 32, 64):
            assert qmc.discrepancy(points[:n]) < qmc.discrepancy(alone[:n])


@pytest.mark.parametrize(
    ("model", "trials", "expected"),
    # The corners of half a cube; 12 of them, three times each: known optima. The quadratic one: Box and Draper 1971.
    [("linear", 4, 4**4), ("linear", 12, 12**4), ("quadratic", 10, 1.327e6)],
)
def test_a_d_optimal_design_is_as_good_as_the_known_optimum(model: Any, trials: int, expected: float) -> None:
    for seed in range(3):
        points = walk(DOptimal(model=model, trials=trials), RGB, trials, seed)
        X = terms((points - 0.5) / 0.4, model)
        assert np.linalg.det(X.T @ X) >= 0.999 * expected


def test_a_d_optimal_design_tells_every_coefficient_from_the_fewest_trials_on() -> None:
    for count in (1, 2, 4):
        inputs = tuple(Input(name=f"x{i}") for i in range(count))
        for model in ("linear", "interactions", "quadratic"):
            p = terms(np.zeros((1, count)), model).shape[1]
            X = terms(2 * walk(DOptimal(model=model, trials=p), inputs, p) - 1, model)
            assert X.shape == (p, p)
            assert np.linalg.matrix_rank(X) == p
            assert DOptimal(model=model).size(inputs) == p + 2


def test_a_design_loads_nothing_heavy_until_it_is_asked_for_a_point() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from sdl.config import parse_kind\n"
        "for k in ('factorial', 'box-behnken', 'sobol', 'd-optimal', 'adaptive'): parse_kind('design', k)\n"
        "print([m for m in ('numpy', 'scipy', 'pydoe', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.numeric
@pytest.mark.parametrize("model", ["linear", "interactions", "quadratic"])
def test_rounding_does_not_choose_among_points_that_are_equally_good(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [walk(DOptimal(model=model, trials=12, levels=5), inputs, 12) for inputs in (RGB, UNEVEN)]
    rng, right = np.random.default_rng(3), np.linalg.inv
    monkeypatch.setattr(np.linalg, "inv", lambda m: right(m) * (1 + 1e-10 * rng.uniform(-1, 1, m.shape)))
    plans.d_optimal.cache_clear()
    again = [walk(DOptimal(model=model, trials=12, levels=5), inputs, 12) for inputs in (RGB, UNEVEN)]
    for one, other in zip(plain, again, strict=True):
        assert other == pytest.approx(one)
    plans.d_optimal.cache_clear()
