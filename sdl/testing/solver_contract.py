"""The contract of a solver as tests to inherit.

    class TestMine(SolverContract):
        @pytest.fixture
        def solver(self):
            return Mine()

Most tests fit the solver to a small plant whose readings are affine in its settings, with constant and proportional
noise; one runs campaigns on the instruments of `sdl.testing.small_instruments`. If a solver cannot meet a requirement,
override the attribute of `SolverContract` and state the reason.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from sdl.arrays import Floats
from sdl.core.events import Proposed
from sdl.drivers.base import space_of
from sdl.errors import Degenerate, NotEnoughData
from sdl.runner import run
from sdl.solvers.base import Data, Proposals, Solver, Targets, ask
from sdl.space import Space
from sdl.testing.instrument_contract import fail, need
from sdl.testing.small_instruments import SMALL, SmallInstrument
from sdl.types import Channel, Frozen, Input, Outcome, Verdict

FULL_SCALE = 100.0  # mV: the end of every channel's range
CONSTANT, PROPORTIONAL = 0.02, 0.002  # standard deviation of a reading: mV, and as a fraction of it

TRIALS = 25  # of a campaign on a small instrument, those of the design included

SHAPES = {
    "three inputs, three channels": (3, 3, (0, 1, 2)),
    "one input, one channel": (1, 1, (0,)),
    "one input, three channels": (1, 3, (0, 1, 2)),
    "four inputs, three channels": (4, 3, (0, 1, 2)),
    "three inputs, two goals": (3, 3, (0, 2)),
    "three inputs, ten channels, three goals": (3, 10, (1, 3, 6)),
    "three inputs, ten channels, eight goals": (3, 10, (0, 1, 2, 3, 4, 5, 6, 7)),
}


class AffinePlant:
    """An affine plant with noise, inputs from 0 to 1, channels in mV: each channel depends mostly on one input."""

    def __init__(self, inputs: int = 3, channels: int = 3, goal: tuple[int, ...] = (0, 1, 2)) -> None:
        rng = np.random.default_rng(20251028)
        self.gain = rng.uniform(0.3, 1.5, (channels, inputs))
        self.gain[np.arange(channels), np.arange(channels) % inputs] += rng.uniform(30.0, 75.0, channels)
        self.base = rng.uniform(0.2, 2.0, channels)
        self.goal = np.isin(np.arange(channels), goal)
        self.inputs = tuple(Input(name=f"x{i}", low=0.0, high=1.0, step=None) for i in range(inputs))
        self.channels = tuple(Channel(name=f"c{i}", unit="mV", low=0.0, high=FULL_SCALE) for i in range(channels))
        self.low, self.high = np.zeros(inputs), np.ones(inputs)

    def clean(self, X: Floats) -> Floats:
        """Readings (n, m) without noise."""
        clean: Floats = self.base + X @ self.gain.T
        return clean

    def data(self, n: int, seed: int = 0, X: Floats | None = None) -> Data:
        """Rows at random settings, or at given ones."""
        rng = np.random.default_rng(seed)
        d, m = len(self.inputs), len(self.channels)
        if X is None:
            X = np.column_stack([(rng.permutation(n) + rng.uniform(size=n)) / max(n, 1) for _ in range(d)])
        clean = self.clean(X)
        noise = np.hypot(CONSTANT, PROPORTIONAL * clean) * rng.normal(size=clean.shape)
        Y = np.clip(clean + noise, 0.0, FULL_SCALE)
        age = np.arange(len(X) - 1, -1, -1, dtype=float)
        saturated = np.asarray(Y.reshape(len(X), m) >= FULL_SCALE)
        return Data(X, Y, saturated, self.goal, age, np.zeros(len(X)), self.inputs, self.channels)

    def targets(self, X: Floats, tolerance: float = 0.02) -> Targets:
        """Goals (k, m) that settings (k, d) meet."""
        value = np.where(self.goal, self.clean(X), np.nan)
        half = tolerance * np.abs(value)
        low = np.where(self.goal, value - half, -np.inf)
        return Targets(value, low, np.where(self.goal, value + half, np.inf))


class SolverContract:
    """The contract tests of a solver: inherit from this class, and override the fixture `solver`.

    Attributes:
        hits: whether, from 12 noisy rows of an affine plant, its proposal reaches the goal within 2 %.
        needs_data: whether it must refuse to fit no row, one row, or rows all at one setting.
        needs_readings: whether it must leave out rows that are saturated or incomplete in the goal's channels.
        rows: number of rows that the tests use.
        unsuited: the small instruments (names of `SMALL`) on which its campaigns need not reach their goals.
    """

    hits: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    needs_readings: ClassVar[bool] = True
    rows: ClassVar[int] = 12
    unsuited: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture
    def solver(self) -> Solver:
        """The solver under test."""
        raise NotImplementedError("override the fixture `solver`")

    def ask(self, solver: Solver, plant: AffinePlant, data: Data, targets: Targets, seed: int = 0) -> Proposals:
        return ask(solver.fit(data), targets, Space(plant.inputs), np.random.default_rng(seed))

    def test_it_is_a_frozen_model_that_its_kind_names(self, solver: Solver) -> None:
        need(isinstance(solver, Solver), "it lacks `kind` or `fit`")
        need(bool(solver.kind), f"kind must be a word, not {solver.kind!r}")
        if not isinstance(solver, Frozen):
            fail("a solver that a YAML file can name is a subclass of sdl.types.Frozen")
        need(
            type(solver).model_validate(solver.model_dump()) == solver, "its options do not survive being written down"
        )
        text = solver.model_dump_json()
        need(type(solver).model_validate_json(text) == solver, f"its options do not survive JSON: {text}")
        default = type(solver).model_fields["kind"].default
        need(default == solver.kind, "kind needs itself as its default")
        with pytest.raises((TypeError, ValueError)):
            solver.kind = "other"  # type: ignore[misc]

    def test_what_it_needs_is_a_number_of_design_points(self, solver: Solver) -> None:
        if not hasattr(solver, "needs"):
            pytest.skip("it takes the whole design")
        wanted = solver.needs(AffinePlant().inputs)
        whole = wanted is None or (isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 0)
        need(whole, f"needs(inputs) must be a number, 0 or more, or None for the whole design; it is {wanted!r}")

    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    @pytest.mark.parametrize("goals", [1, 3])
    def test_an_answer_has_the_shape_of_the_question(
        self, solver: Solver, shape: tuple[int, int, tuple[int, ...]], goals: int
    ) -> None:
        plant = AffinePlant(*shape)
        d, m = shape[:2]
        X = np.linspace(0.3, 0.6, goals)[:, None] + np.linspace(0, 0.1, d)
        answer = self.ask(solver, plant, plant.data(self.rows), plant.targets(X))
        need(answer.settings.shape == (goals, d), f"settings are {answer.settings.shape}, not {(goals, d)}")
        need(bool(np.isfinite(answer.settings).all()), f"settings must be finite: {answer.settings}")
        for name in ("spread", "uncertainty"):
            value = getattr(answer, name)
            need(value.shape == (goals, d), f"{name} is {value.shape}, not {(goals, d)}")
            need(bool((np.isnan(value) | (value >= 0)).all()), f"{name} must be NaN (unknown) or not negative: {value}")
            need(not np.isinf(value).any(), f"unknown is NaN, not inf: {name} {value}")
        need(bool((~(answer.uncertainty > answer.spread * (1 + 1e-9))).all()), "one reading cannot tell more than many")
        if answer.expected is not None:
            need(answer.expected.shape == (goals, m), f"expected is {answer.expected.shape}, not {(goals, m)}")
        need(len(answer.verdict) == goals == len(answer.why), "one verdict and one sentence for each goal")
        need(all(isinstance(v, Verdict) for v in answer.verdict), f"not verdicts: {answer.verdict}")
        need(all(answer.why), "each answer says how it came about")

    def test_it_hits_an_affine_goal(self, solver: Solver) -> None:
        if not self.hits:
            pytest.skip(f"{solver.kind} does not claim to")
        plant, X = AffinePlant(), np.array([[0.47, 0.3, 0.55]])
        targets = plant.targets(X)
        for seed in range(5):
            answer = self.ask(solver, plant, plant.data(12, seed), targets, seed)
            miss = np.abs(plant.clean(answer.settings) / targets.value - 1).max()
            need(float(miss) <= 0.02, f"error {miss:.1%} with {answer.settings[0]}, where {X[0]} is right")
            need(answer.verdict[0] is Verdict.REACHABLE, f"it calls a goal {answer.verdict[0]} that can be reached")

    def test_a_goal_with_some_channels_left_free_is_answered(self, solver: Solver) -> None:
        plant = AffinePlant()
        value, low, high = plant.targets(np.full((1, 3), 0.4))
        value[0, 1], low[0, 1], high[0, 1] = np.nan, -np.inf, np.inf
        answer = self.ask(solver, plant, plant.data(self.rows), Targets(value, low, high))
        need(bool(np.isfinite(answer.settings).all()), f"settings must be finite: {answer.settings}")

    def test_same_seed_same_bits(self, solver: Solver) -> None:
        plant = AffinePlant()
        data, targets = plant.data(self.rows), plant.targets(np.full((2, 3), 0.4))
        fitted = solver.fit(data)
        first, again = (
            ask(f, targets, Space(plant.inputs), np.random.default_rng(7)) for f in (fitted, solver.fit(data))
        )
        third = ask(fitted, targets, Space(plant.inputs), np.random.default_rng(7))
        for other, what in ((again, "fitted twice"), (third, "asked twice")):
            for name in ("settings", "spread", "uncertainty"):
                same = getattr(first, name).tobytes() == getattr(other, name).tobytes()
                need(same, f"{what} with the same seed, {name} differ")
            need((first.verdict, first.why) == (other.verdict, other.why), f"{what}, verdict or sentence differ")

    def test_nothing_outside_is_touched(
        self, solver: Solver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        plant = AffinePlant()
        data, targets = plant.data(self.rows), plant.targets(np.full((1, 3), 0.4))
        arrays = [data.X, data.Y, data.saturated, data.goal, data.age, data.session, *targets, plant.low, plant.high]
        before = [array.tobytes() for array in arrays]
        for array in arrays:
            array.setflags(write=False)
        threads, plain = threading.active_count(), random.getstate()
        legacy = _numpy_state()
        capfd.readouterr()
        self.ask(solver, plant, data, targets)
        now = _numpy_state()
        need(legacy == now, "numpy's global generator is the caller's: put it back")
        need(plain == random.getstate(), "random's global generator is the caller's: put it back")
        need([array.tobytes() for array in arrays] == before, "it changed an array it was given")
        need(threading.active_count() == threads, "it left a thread behind")
        need(not any(tmp_path.iterdir()), f"it left files behind: {[p.name for p in tmp_path.iterdir()]}")
        need(tuple(capfd.readouterr()) == ("", ""), "it printed something")

    def test_a_fit_keeps_no_hold_on_the_rows(self, solver: Solver) -> None:
        plant = AffinePlant()
        data, targets = plant.data(self.rows), plant.targets(np.full((1, 3), 0.4))
        fitted = solver.fit(data)
        before = ask(fitted, targets, Space(plant.inputs), np.random.default_rng(0)).settings
        data.X[:], data.Y[:] = 0.5, 1.0
        after = ask(fitted, targets, Space(plant.inputs), np.random.default_rng(0)).settings
        need(before.tobytes() == after.tobytes(), "the answer changed when the caller went on using its arrays")

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_rows_are_refused(self, solver: Solver, n: int) -> None:
        self.must_refuse(solver, AffinePlant().data(n), NotEnoughData)

    def test_rows_all_at_one_setting_are_refused(self, solver: Solver) -> None:
        self.must_refuse(solver, AffinePlant().data(9, X=np.full((9, 3), 0.4)), Degenerate, NotEnoughData)

    def test_an_input_that_never_changed_is_refused(self, solver: Solver) -> None:
        X = AffinePlant().data(9).X
        X[:, 1] = 0.4
        self.must_refuse(solver, AffinePlant().data(9, X=X), Degenerate)

    def must_refuse(self, solver: Solver, data: Data, *errors: type[Exception]) -> None:
        """Fail unless fitting `data` raises one of `errors`."""
        if not self.needs_data:
            solver.fit(data)
            return
        with pytest.raises(errors) as caught:
            solver.fit(data)
        if isinstance(caught.value, NotEnoughData):
            have, need_ = caught.value.have, caught.value.need
            need(0 <= have < need_, f"it has {have} rows and needs {need_}")

    def test_saturated_and_incomplete_rows_do_not_mislead(self, solver: Solver) -> None:
        """Such rows must be left out; a saturated one may also be used as a bound of the reading."""
        plant = AffinePlant()
        plant.gain[0] *= 1.5 * FULL_SCALE / plant.gain[0].sum()
        X = AffinePlant().data(self.rows).X * [0.5, 1.0, 1.0]
        good, targets = plant.data(self.rows, X=X), plant.targets(np.full((1, 3), 0.4))
        X = np.vstack([X, np.ones((2, 3)), X[:2]])
        Y = np.vstack([good.Y, plant.data(0, X=np.ones((2, 3))).Y, good.Y[:2]])
        Y[-2:, 1] = np.nan
        saturated = Y >= FULL_SCALE
        age = np.concatenate([good.age + 4, [3.0, 2.0, 1.0, 0.0]])
        bad = Data(X, Y, saturated, good.goal, age, np.zeros(len(X)), good.inputs, good.channels)
        clean, dirty = (self.ask(solver, plant, data, targets).settings for data in (good, bad))
        need(bool(np.isfinite(dirty).all()), f"settings must be finite: {dirty}")
        if self.needs_readings:
            need(bool(np.abs(clean - dirty).max() < 0.01), f"they changed the answer from {clean[0]} to {dirty[0]}")
            bad.saturated[:, 0] = True
            with pytest.raises(NotEnoughData):
                solver.fit(bad)

    @pytest.mark.parametrize("name", SMALL)
    def test_its_campaigns_stay_inside_and_reach_their_goals(self, solver: Solver, name: str) -> None:
        """Without a prior, from the design `axis`; no goal that can be reached may be called unreachable."""
        for seed, goal in enumerate(SMALL[name].goals):
            instrument = SmallInstrument(name=name, seed=seed)
            if any(item.choices for item in instrument.inputs) and not getattr(solver, "takes_choices", False):
                pytest.skip(f"{solver.kind} is refused for choices")
            space, outside = space_of(instrument), list[str]()

            def watch(event: object, *_: object, space: Space = space, outside: list[str] = outside) -> None:
                if isinstance(event, Proposed) and not space.contains(event.settings):
                    outside.append(f"trial {event.trial} by {event.by}: {event.settings}")

            campaign = {
                "name": "small",
                "instrument": instrument,
                "goal": SMALL[name].response(goal),
                "tolerance": SMALL[name].tolerance,
                "solver": solver,
                "stop": {"trials": TRIALS},
                "seed": seed,
            }
            result = run(campaign, runs=None, watch=watch)
            need(not outside, f"{name}: settings outside the space: {outside[:3]}")
            need(result.outcome is not Outcome.UNREACHABLE, f"{name}: it calls the goal of {goal} unreachable")
            need(result.outcome is not Outcome.FAILED, f"{name}: {result.reason}")
            if name not in self.unsuited:
                need(result.outcome is Outcome.REACHED, f"{name}: the goal of {goal} is not reached: {result.reason}")


def _numpy_state() -> tuple[str, bytes, int, int, float]:
    """The state of numpy's global generator, as values that can be compared."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return str(name), np.asarray(keys).tobytes(), int(rest[0]), int(rest[1]), float(rest[2])
