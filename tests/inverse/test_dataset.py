"""One shot on a data set: settings for a target, and how far they can be trusted."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sdl
from sdl import config
from sdl.errors import ConfigError, NotEnoughData, SdlError
from sdl.grammar import parse_constraint
from sdl.inverse import dataset
from sdl.solvers.base import Solver, Targets
from sdl.space import Space
from sdl.store import datasets
from sdl.store.datasets import DatasetRow
from sdl.types import Channel, Input, Reading, Verdict

GAIN = np.array([[29264.0, 365, 122], [1322, 63597, 365], [753, 428, 30226]])
TRUE = np.array([0.5, 0.25, 0.5])


def data(n: int = 40, seed: int = 0) -> tuple[Any, Any]:
    """Noisy pairs of an affine instrument."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.05, 0.95, (n, 3))
    return X, X @ GAIN + 300 + rng.normal(0, 30, (n, 3))


TARGET = TRUE @ GAIN + 300


@pytest.mark.parametrize("solver", ["linear", "pls", "gmm"])
def test_a_target_gives_its_settings_back(solver: str) -> None:
    found = sdl.solve(*data(), TARGET, solver)
    assert np.allclose(found.settings, TRUE, atol=0.01)
    assert found.verdict is Verdict.REACHABLE
    assert found.settings.shape == found.spread.shape == found.uncertainty.shape == (3,)
    assert np.allclose(found.expected, TARGET, rtol=0.02) or np.isnan(found.expected).all()
    assert found.why


@pytest.mark.parametrize("solver", ["linear", "pls", "gmm", "bayes", "gp"])
@pytest.mark.parametrize("target", [[-2000.0] * 3, [-(2.0**17), 2.0**17, 2.0**17], [2.0**18, 2.0**18, -(2.0**18)]])
def test_what_no_sensor_can_read_is_unreachable(solver: str, target: list[float]) -> None:
    """Goals that the paper shows to get unphysical answers."""
    assert sdl.solve(*data(), target, solver).verdict is Verdict.UNREACHABLE


def test_a_solver_may_be_a_kind_a_mapping_or_a_model() -> None:
    ways = ["linear", {"kind": "linear"}, config.parse_kind("solver", "linear")]
    answers = [sdl.solve(*data(), TARGET, way).settings for way in ways]
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
    other = sdl.solve(*data(), TARGET, {"kind": "linear", "intercept": False}).settings
    assert not np.array_equal(other, answers[0])


def test_data_frames_go_in_and_series_come_out_by_name() -> None:
    pd = pytest.importorskip("pandas")
    X, Y = data()
    frames = pd.DataFrame(X, columns=list("RGB")), pd.DataFrame(Y, columns=["red", "green", "blue"])
    found = sdl.solve(*frames, {"green": TARGET[1], "red": TARGET[0], "blue": TARGET[2]}, "linear")
    assert list(found.settings.index) == ["R", "G", "B"]
    assert list(found.expected.index) == ["red", "green", "blue"]
    assert np.allclose(found.settings, sdl.solve(X, Y, TARGET, "linear").settings)


class Indexed:
    """What sdl.solve must know of a pandas Series, which is no Mapping: keys, items, and iteration over values."""

    def __init__(self, values: dict[Any, float]) -> None:
        self.values = values

    def keys(self) -> list[Any]:
        return list(self.values)

    def items(self) -> Any:
        return self.values.items()

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Any:
        return iter(self.values.values())

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(list(self), dtype)


def test_a_target_with_an_index_is_taken_by_name_and_not_by_place() -> None:
    X = np.random.default_rng(0).random((20, 3))
    Y = X @ np.diag([30000.0, 60000.0, 20000.0])
    wanted = {"y2": 5000.0, "y0": 15000.0, "y1": 12000.0}
    by_name = dataset.solve(X, Y, Indexed(wanted), solver="linear")
    assert by_name.settings == pytest.approx([0.5, 0.2, 0.25], abs=1e-5)
    assert by_name.settings.tolist() == dataset.solve(X, Y, wanted, solver="linear").settings.tolist()
    counted = dataset.solve(X, Y, Indexed({0: 15000.0, 1: 12000.0, 2: 5000.0}), solver="linear")
    assert counted.settings.tolist() == by_name.settings.tolist()
    with pytest.raises(ConfigError, match="unknown channels red"):
        dataset.solve(X, Y, Indexed({"red": 5.0}), solver="linear")


def test_a_channel_may_be_left_free() -> None:
    X, Y = data()
    by_position = sdl.solve(X[:, :1], Y, [TARGET[0], np.nan, np.nan], "linear")
    by_name = sdl.solve(X[:, :1], Y, {"y0": TARGET[0]}, "linear")
    assert by_position.settings == pytest.approx(by_name.settings)


def test_one_input_and_one_channel_may_be_plain_rows_of_numbers() -> None:
    x = np.linspace(0, 1, 11)
    assert sdl.solve(x, 200 * x + 5, 105, "linear").settings == pytest.approx([0.5], abs=1e-3)


def test_what_lies_outside_is_clipped_and_the_raw_answer_is_beside_it() -> None:
    found = sdl.solve(*data(), [1e6, 1e4, 1e4], "pls")
    assert found.settings[0] == 1
    assert found.raw[0] > 1
    assert found.verdict is Verdict.UNREACHABLE


def test_bounds_are_0_and_1_where_the_data_lies_inside_and_the_data_s_range_elsewhere() -> None:
    X, Y = data()
    far = [1e6, 1e6, 1e6]
    assert sdl.solve(X, Y, far, "linear").settings.max() == 1
    assert sdl.solve(X * 200, Y, far, "linear").settings.max() == pytest.approx((X * 200).max(), abs=0.01)
    assert sdl.solve(X, Y, far, "linear", high=0.8).settings.max() == 0.8
    assert sdl.solve(X, Y, far, "linear", high=[0.6, 0.7, 0.8]).settings == pytest.approx([0.6, 0.7, 0.8])


def test_an_input_that_varies_by_less_than_a_hundredth_gets_its_own_range_as_bounds() -> None:
    x = np.array([[0.2, 0.5, 0.300], [0.8, 0.5, 0.305]])
    low, high = dataset.bounds_of(x, None, None)
    assert low.tolist() == [0.0, 0.0, 0.300]
    assert high.tolist() == [1.0, 1.0, 0.305]
    low, high = dataset.bounds_of(x + 3.0, None, None)  # outside 0 … 1, and an input that never varied
    assert low.tolist() == [3.2, 3.5, 3.3]
    assert high.tolist() == [3.8, 4.5, 3.305]


def test_an_input_that_never_varied_keeps_its_value_whose_uncertainty_is_unknown() -> None:
    X, Y = data()
    found = sdl.solve(np.insert(X, 1, 0.7, axis=1), Y, TARGET, "linear")
    plain = sdl.solve(X, Y, TARGET, "linear")
    assert found.settings[1] == found.raw[1] == 0.7
    assert found.settings[[0, 2, 3]] == pytest.approx(plain.settings)
    assert found.spread[[0, 2, 3]] == pytest.approx(plain.spread)
    assert np.isnan([found.spread[1], found.uncertainty[1]]).all()
    assert found.why.endswith("held as in every row: x1 0.7")


def test_an_input_that_follows_from_the_others_is_not_taken_for_one_that_never_varied() -> None:
    inputs = tuple(Input(name=name) for name in "abc")
    constraints = (parse_constraint("a + b + c = 1"),)
    settings = [{"a": a, "b": 0.25, "c": 0.75 - a} for a in (0.1, 0.3, 0.6)]
    rows = [DatasetRow(Reading(one, {"y": 100 * one["a"]}), 0, "") for one in settings]
    found, held = dataset.hold(dataset.data_from(rows, inputs, (Channel(name="y"),), ["y"], constraints=constraints))
    assert held == {"b": 0.25}
    assert [item.name for item in found.inputs] == ["a", "c"]
    still = [rows[0]] * 3
    assert dataset.hold(dataset.data_from(still, inputs, (Channel(name="y"),), ["y"]))[1] == {}


def test_readings_of_records_become_rows_without_their_background_the_newest_of_age_0() -> None:
    """The next reading is of a session after all of theirs."""
    inputs, channels = (Input(name="a"), Input(name="b")), tuple(Channel(name=name) for name in "xyz")
    rows = [
        DatasetRow(Reading({"a": 0.1, "b": 0.2}, {"x": 7.0, "y": 9.0}, {"x": 2.0}, ("y",)), 0, "Monday"),
        DatasetRow(Reading({"a": 0.3, "b": 0.4}, {"x": 5.0, "z": 1.0}), 0, "Monday"),
        DatasetRow(Reading({"a": 0.5, "b": 0.6}, {"x": 6.0, "y": 8.0, "z": 2.0}), 3, "Tuesday"),
    ]
    found = dataset.data_from(rows, inputs, channels, ["y", "z"])
    assert found.X.tolist() == [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    assert pytest.approx(np.array([[5, 9, np.nan], [5, np.nan, 1], [6, 8, 2]]), nan_ok=True) == found.Y
    assert found.saturated.tolist() == [[False, True, False], [False] * 3, [False] * 3]
    assert found.goal.tolist() == [False, True, True]
    assert found.age.tolist() == [2.0, 1.0, 0.0]
    assert found.session.tolist() == [0.0, 0.0, 3.0]
    assert found.current_session is not None
    assert found.current_session > 3.0
    none = dataset.data_from([], inputs, channels, ["x"])
    assert (none.X.shape, none.Y.shape, none.current_session) == ((0, 2), (0, 3), 0.0)


def test_of_a_channel_to_maximise_the_best_settings_and_the_next_ones_are_given() -> None:
    X = np.random.default_rng(0).random((30, 2))
    Y = np.column_stack([1000 - 900 * ((X - [0.7, 0.4]) ** 2).sum(axis=1), 100 * X[:, 0]])
    found = sdl.solve(X, Y, {"y0": "maximise", "y1": {"at most": 60}}, "quadratic")
    assert found.settings == pytest.approx([0.6, 0.4], abs=0.01)
    assert found.raw.tolist() == found.settings.tolist()
    assert found.estimate == pytest.approx(1000 - 900 * 0.01, abs=1.0)
    assert 0 <= found.estimate_error < 1.0
    assert found.expected == pytest.approx([991.0, 60.0], abs=1.0)
    assert found.next.shape == (2,)
    assert found.expected_improvement > 0
    assert found.verdict is Verdict.REACHABLE
    assert "expected improvement of y0" in found.why


def test_saturated_rows_are_left_out() -> None:
    X, Y = data(60)
    clipped = np.minimum(Y, 20000)
    target = np.array([0.3, 0.15, 0.3]) @ GAIN + 300
    found = sdl.solve(X, clipped, target, "linear", saturation=20000)
    assert found.settings == pytest.approx([0.3, 0.15, 0.3], abs=0.01)
    assert sdl.solve(X, clipped, target, "linear").settings != pytest.approx([0.3, 0.15, 0.3], abs=0.01)


def test_the_callers_random_state_and_arrays_are_left_alone() -> None:
    X, Y = data()
    copies = X.copy(), Y.copy()
    np.random.seed(4)
    before = np.random.get_state()[1].copy()
    for solver in ("linear", "pls", "gmm", "random"):
        sdl.solve(X, Y, TARGET, solver)
    assert np.array_equal(np.random.get_state()[1], before)
    assert np.array_equal(X, copies[0])
    assert np.array_equal(Y, copies[1])


def test_the_seed_decides_what_is_random() -> None:
    first, again, other = (sdl.solve(*data(), TARGET, "random", seed=seed).settings for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


X_, Y_ = data(8)


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ((X_, Y_[:5], TARGET), {}, "8 rows and Y 5"),
        ((X_, Y_, TARGET[:2]), {}, "2 values, Y has 3"),
        ((X_, Y_, {"y9": 1}), {}, "unknown channels y9"),
        ((X_, Y_, {"y0": "bright"}), {}, "target"),
        ((X_, Y_, [np.nan] * 3), {}, "at least one finite"),
        ((X_, Y_, [np.inf, 1, 1]), {}, "finite"),
        ((X_, Y_, "bright"), {}, "target"),
        ((X_, Y_, TARGET, "gnm"), {}, "did you mean 'gmm'"),
        ((X_, Y_, TARGET, {"kind": "gmm", "n": 3}), {}, "unknown key"),
        ((X_, Y_, TARGET, 5), {}, "one of the kinds"),
        ((np.full((8, 3), np.nan), Y_, TARGET), {}, "finite"),
        (([["a"]], [[1]], [1]), {}, "X must be numbers"),
        ((np.zeros((2, 2, 2)), Y_, TARGET), {}, "shape"),
        (([], [], []), {}, "shape"),
        ((X_, Y_, TARGET), {"tolerance": "wide"}, "2%"),
        ((X_, Y_, TARGET), {"tolerance": 0}, "above 0"),
        ((X_, Y_, TARGET), {"low": 1, "high": 0}, "below its high"),
        ((X_, Y_, TARGET), {"low": [0, 0]}, "one number or 3"),
        ((X_, Y_, TARGET), {"seed": -1}, "seed"),
        ((X_, Y_, TARGET), {"prefer": {"minimise": "x9"}}, "must be one of"),
        ((X_, Y_, TARGET), {"prefer": {"lessen": "x0"}}, "prefer"),
    ],
)
def test_what_does_not_fit_is_told(args: tuple[Any, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        sdl.solve(*args, **options)


def test_too_few_rows_are_told_with_numbers() -> None:
    with pytest.raises(NotEnoughData):
        sdl.solve(X_[:2], Y_[:2], TARGET, "linear")


def test_any_shape_of_data_gives_an_answer_or_an_error_of_ours() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        n, d, m = rng.integers(1, 9), rng.integers(1, 4), rng.integers(1, 5)
        X = rng.choice([rng.uniform(-1, 2, (n, d)), np.zeros((n, d)), rng.integers(0, 2, (n, d)).astype(float)], 1)[0]
        Y = rng.normal(0, 1, (n, m)) * 10.0 ** rng.integers(-3, 6)
        Y[rng.random((n, m)) < 0.1] = np.nan
        for solver in ("linear", "pls", "gmm", "random"):
            try:
                found = sdl.solve(X, Y, np.nanmean(np.nan_to_num(Y), axis=0), solver)
            except SdlError:
                continue
            assert np.isfinite(found.settings).all()


# --- left out -----------------------------------------------------------------------------------------------------


def _data(X: Any, Y: Any) -> Any:
    from sdl.solvers.base import Data

    inputs = tuple(Input(name=n) for n in "RGB")
    channels = tuple(Channel(name=n) for n in "xyz")
    n = len(X)
    return Data(
        X, Y, np.zeros(Y.shape, bool), np.ones(3, bool), np.arange(n)[::-1] * 1.0, np.zeros(n), inputs, channels
    )


def _linear() -> Solver:
    solver: Solver = config.parse_kind("solver", "linear")
    return solver


def test_whole_days_are_left_out_where_there_are_several_and_fifths_elsewhere() -> None:
    X, Y = data(50)
    days = [f"day {i // 10}" for i in range(50)]
    by_day = dataset.cross_validate(_linear(), _data(X, Y), days)
    assert (by_day.by, by_day.folds, by_day.rows) == ("day", 5, 50)
    by_fold = dataset.cross_validate(_linear(), _data(X, Y), [""] * 50)
    assert (by_fold.by, by_fold.folds, by_fold.rows) == ("fold", 5, 50)
    assert all(0 < value < 0.01 for value in by_day.rmse.values())


def test_a_day_that_is_another_world_shows_in_the_error() -> None:
    X, Y = data(50)
    Y[:10] *= 1.3
    days = ["odd"] * 10 + ["usual"] * 40
    assert max(dataset.cross_validate(_linear(), _data(X, Y), days).rmse.values()) > 0.05


def test_rows_that_lack_a_channel_of_the_goal_are_neither_learnt_from_nor_predicted() -> None:
    X, Y = data(50)
    Y[::5, 1] = np.nan
    assert dataset.cross_validate(_linear(), _data(X, Y), [""] * 50).rows == 40


def _designed() -> tuple[Any, Any]:
    """Pairs of an instrument that bends by a quarter of the range, at three levels of each input, each twice."""
    X = np.repeat(list(itertools.product((0.1, 0.5, 0.9), repeat=3)), 2, axis=0)
    Y = (X + X * (1 - X)) @ GAIN + 300
    return X, Y + np.random.default_rng(0).normal(0, 30, Y.shape)


def test_whole_inner_levels_are_left_out_of_designed_data() -> None:
    X, Y = _designed()
    checked = dataset.cross_validate(_linear(), _data(X, Y), [""] * 54)
    assert (checked.by, checked.folds, checked.rows) == ("level", 3, 54)
    rows, rng = _data(X, Y), np.random.default_rng(0)
    at = np.array([[0.3, 0.3, 0.3], [0.7, 0.3, 0.7]])
    goals = (at + at * (1 - at)) @ GAIN + 300
    asked = Targets(goals, goals - 1, goals + 1)
    suffered = _linear().fit(rows).propose(asked, Space(rows.inputs), rng).settings - at
    assert min(checked.rmse.values()) > 0.5 * np.abs(suffered).max() > 0.01


def test_days_that_repeat_a_design_do_not_hide_what_its_levels_miss() -> None:
    X, Y = _designed()
    days = ["first", "second"] * 27
    checked = dataset.cross_validate(_linear(), _data(X, Y), days)
    assert (checked.by, checked.folds, checked.rows) == ("day and level", 6, 54)
    assert min(checked.rmse.values()) > 0.02


def test_a_replicate_of_a_row_that_is_left_out_is_not_learnt_from() -> None:
    X, Y = data(10)
    X, Y = np.repeat(X, 5, axis=0), np.repeat(Y, 5, axis=0)
    learnt: list[set[float]] = []

    class Spy:
        kind = "spy"

        def fit(self, rows: Any) -> Any:
            learnt.append(set(rows.X[:, 0].tolist()))
            return _linear().fit(rows)

    for days in ([""] * 50, ["Monday", "Tuesday"] * 25):
        learnt.clear()
        checked = dataset.cross_validate(Spy(), _data(X, Y), days)
        assert checked.rows == 50
        assert [len(settings) for settings in learnt] == [8] * checked.folds


def test_left_out_readings_are_asked_for_within_two_per_cent_and_one_count() -> None:
    X, Y = data(20)
    asked: list[Targets] = []
    rows = replace(_data(X, Y), goal=np.array([True, True, False]), current_session=4.0)

    class Spy:
        kind = "spy"

        def fit(self, rows: Any) -> Any:
            assert rows.current_session == 4.0
            return self

        def propose(self, targets: Targets, space: Space, rng: Any) -> Any:
            asked.append(targets)
            return _linear().fit(rows).propose(targets, space, rng)

    dataset.cross_validate(Spy(), rows, [""] * 20)
    value, low, high = (np.concatenate(part) for part in zip(*asked, strict=True))
    order = np.argsort(value[:, 0])
    assert value[order, :2] == pytest.approx(Y[np.argsort(Y[:, 0]), :2])
    assert (value - low)[:, :2] == pytest.approx(0.02 * value[:, :2] + 1.0)
    assert (high - value)[:, :2] == pytest.approx(0.02 * value[:, :2] + 1.0)
    assert np.isnan(value[:, 2]).all()
    assert (low[:, 2] == -np.inf).all()
    assert (high[:, 2] == np.inf).all()


def test_inputs_that_keep_a_constraint_are_validated_under_it() -> None:
    """Three parts of a mixture: each of them has an error, and the errors add up to nothing."""
    rng, inputs = np.random.default_rng(0), tuple(Input(name=name) for name in "abc")
    rows = []
    for a, b in rng.uniform(0.0, 0.5, (30, 2)):
        applied = {"a": a, "b": b, "c": 1 - a - b}
        rows.append(DatasetRow(Reading(applied, {"y": 100 * a + 30, "z": 50 * b + 20 * a + 9}), 0, ""))
    channels = tuple(Channel(name=name) for name in "yz")
    table = dataset.data_from(rows, inputs, channels, "yz", constraints=(parse_constraint("a + b + c = 1"),))
    checked = dataset.cross_validate(_linear(), table, [""] * 30)
    assert checked.rows == 30
    assert [*checked.rmse] == ["a", "b", "c"]
    assert max(checked.rmse.values()) < 1e-3


@pytest.mark.slow
def test_the_real_readings_give_their_own_settings_back(real_readings: Path) -> None:
    instrument = config.parse_kind("instrument", "claude-light")
    wanted = ["445nm", "515nm", "630nm"]
    found = datasets.load(real_readings, "RGB", instrument.channels, wanted)
    table = dataset.data_from(found.rows, instrument.inputs, instrument.channels, wanted)
    assert table.X.shape == (len(found.rows), 3)
    assert len(found.rows) > 300
    checked = dataset.cross_validate(_linear(), table, [row.day for row in found.rows])
    assert checked.by == "day"
    assert max(checked.rmse.values()) < 0.1


def test_an_unknown_solver_is_a_mistake_in_solver() -> None:
    X, Y = data(20)
    with pytest.raises(ConfigError, match=r"^solver: unknown kind 'nope'"):
        dataset.solve(X, Y, [1.0, 2.0, 3.0], solver="nope")


def test_a_campaign_without_an_instrument_says_that_it_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"instrument: missing; must be \{kind: …\} with one of the kinds twin, "):
        sdl.run({"name": "x"})
