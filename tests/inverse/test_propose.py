"""Between names and matrices: what a solver is shown, and what becomes of its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from core_kit import reading

from sdl.core.goal import Band, Direction, Goal
from sdl.core.history import History
from sdl.errors import Degenerate, NotEnoughData, SolverError
from sdl.inverse.propose import Proposal, _off_full_scale, data_of, propose, propose_fitted, targets_of
from sdl.solvers.base import Data, Proposals, Solver, Targets
from sdl.solvers.linear import Linear
from sdl.space import Space
from sdl.types import Channel, Input, Reading, Verdict

INPUTS = (Input(name="R"), Input(name="G", low=-10, high=10, step=0.5))
CHANNELS = tuple(Channel(name=name) for name in ("red", "green", "clear"))
GOAL = Goal({"red": Band.around(100.0, 10.0), "green": Band(200.0, 190.0, 230.0)})


@dataclass
class Scripted:
    """A solver that answers what it was told to, or raises it, and keeps what it was shown."""

    settings: tuple[float, float] = (0.5, 1.0)
    expected: tuple[float, ...] | None = (90.0, 180.0, math.nan)
    spread: tuple[float, float] = (0.01, math.nan)
    fit_raises: Exception | None = None
    propose_raises: Exception | None = None
    kind: str = "scripted"
    seen: dict[str, Any] = field(default_factory=dict)

    def fit(self, data: Data) -> Scripted:
        self.seen["data"] = data
        if self.fit_raises:
            raise self.fit_raises
        return self

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        self.seen |= {"targets": targets, "low": space.low, "high": space.high, "rng": rng}
        if self.propose_raises:
            raise self.propose_raises
        expected = None if self.expected is None else np.array([self.expected])
        spread = np.array([self.spread])
        return Proposals(np.array([self.settings]), spread, spread / 2, expected, (Verdict.REACHABLE,), ("as told",))


def history(*readings: Reading) -> History:
    found = History(tuple(i.name for i in INPUTS), tuple(c.name for c in CHANNELS), GOAL)
    for item in readings:
        found.add_reading(item)
    return found


def asked(solver: Scripted, background: Mapping[str, float] | None = None, **kept: Any) -> Proposal:
    data = data_of(history(reading()), INPUTS, CHANNELS, GOAL.channels)
    return propose(solver, data, GOAL, kept.get("rng") or np.random.default_rng(0), background)


def test_an_answer_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(SolverError, match="no number for G"):
        asked(Scripted((0.5, math.nan)))


# What a solver is shown -------------------------------------------------------------------------------------------
def test_a_solver_sees_the_rows_without_background_oldest_first_and_copies_nothing() -> None:
    values = {"red": 7.0, "green": 5.0}
    found = history(
        Reading({"R": 0.1, "G": 1.0}, values, {"red": 2.0}, ("green",)),
        Reading({"R": 0.2, "G": 2.0}, values),
        reading(),
    )
    data = data_of(found, INPUTS, CHANNELS, ("green",))
    assert data.X[:2].tolist() == [[0.1, 1.0], [0.2, 2.0]]
    assert data.Y[:2, :2].tolist() == [[5.0, 5.0], [7.0, 5.0]]
    assert data.saturated[:2].tolist() == [[False, True, False], [False] * 3]
    assert data.goal.tolist() == [False, True, False]
    assert data.age.tolist() == [2.0, 1.0, 0.0]
    assert data.session.tolist() == [0.0, 0.0, 0.0]
    assert (data.inputs, data.channels) == (INPUTS, CHANNELS)
    assert np.shares_memory(data.X, found.X)
    assert np.shares_memory(data.Y, found.Y)
    with pytest.raises(ValueError, match="read-only"):
        data.X[0, 0] = 9.0


def test_targets_are_the_goal_without_the_background_and_free_where_nothing_is_asked() -> None:
    targets = targets_of(GOAL, CHANNELS, {"red": 30.0, "clear": 99.0})
    assert targets.value[0, :2].tolist() == [70.0, 200.0]
    assert math.isnan(targets.value[0, 2])
    assert targets.low.tolist() == [[60.0, 190.0, -math.inf]]
    assert targets.high.tolist() == [[80.0, 230.0, math.inf]]
    assert targets_of(GOAL, CHANNELS, None).value[0, :2].tolist() == [100.0, 200.0]


def test_a_solver_is_given_the_bounds_and_the_generator_it_was_promised() -> None:
    solver, rng = Scripted(), np.random.default_rng(3)
    assert isinstance(solver, Solver)
    asked(solver, rng=rng)
    assert solver.seen["low"].tolist() == [0.0, -10.0]
    assert solver.seen["high"].tolist() == [1.0, 10.0]
    assert solver.seen["rng"] is rng


# What becomes of its answer ---------------------------------------------------------------------------------------
def test_the_background_is_taken_off_the_goal_and_added_back_to_what_is_expected() -> None:
    solver = Scripted()
    answer = asked(solver, {"red": 30.0})
    assert solver.seen["targets"].value[0, :2].tolist() == [70.0, 200.0]
    assert answer.expected == {"red": 120.0, "green": 180.0}


def test_the_estimate_of_an_objective_is_a_raw_reading_and_its_improvement_a_difference() -> None:
    """An estimate of 40 above a background of 5 is a reading of 45; an improvement by 3 stays 3."""

    class Improving(Scripted):
        def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
            row, number = np.array([[0.25, 2.0]]), np.array
            known = {"estimate": number([40.0]), "estimate_error": number([0.5]), "expected_improvement": number([3.0])}
            return replace(super().propose(targets, space, rng), incumbent=row, **known)

    data = data_of(history(reading()), INPUTS, CHANNELS, GOAL.channels)
    band = Band(None, -math.inf, math.inf, direction=Direction.MAXIMISE)
    goal = Goal({"red": band, "green": Band.around(200.0, 10.0)})
    given = propose_fitted(Improving(), data, goal, np.random.default_rng(0), {"red": 5.0, "green": 7.0})
    assert given.incumbent == {"R": 0.25, "G": 2.0}
    assert (given.estimate, given.estimate_error, given.expected_improvement) == (45.0, 0.5, 3.0)
    plain = propose_fitted(Improving(), data, goal, np.random.default_rng(0))
    assert plain.estimate == 40.0


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, -1.0, "unreachable"),
        (0.0, 1.0, "reachable"),
        (None, -1.0, "reachable"),
        (-200.0, -1.0, "reachable"),
        (-0.5, -1.0, "unreachable"),
    ],
)
def test_a_channel_never_reads_below_its_low_end(low: float | None, high: float, verdict: str) -> None:
    channels = (Channel(name="red", low=low, high=1000.0), *CHANNELS[1:])
    goal = Goal({"red": Band(-10.0, -20.0, high)})
    answer = propose(
        Scripted(), data_of(history(reading()), INPUTS, channels, goal.channels), goal, np.random.default_rng(0)
    )
    assert answer.verdict == verdict
    said = f"red never reads below {low:g}, and at most" if low is not None else "never reads below"
    assert answer.why.startswith(said) == (verdict == "unreachable")  # and no doubt before it


def test_a_channel_with_negative_readings_reaches_a_negative_goal() -> None:
    redox = Channel(name="redox", unit="mV", low=-200.0, high=200.0)
    corners = [(0.0, -2.0), (0.8, -2.0), (0.0, 6.0), (0.8, 6.0)]
    rows = History(("R", "G"), ("redox",))
    for R, G in corners:
        rows.add_reading(Reading({"R": R, "G": G}, {"redox": 100 - 200 * R - 10 * G}))
    goal = Goal({"redox": Band.around(-60.0, 2.0)})
    answer = propose(Linear(), data_of(rows, INPUTS, (redox,), goal.channels), goal, np.random.default_rng(0))
    assert answer.verdict == "reachable"
    assert answer.expected["redox"] == pytest.approx(-60.0, abs=2.0)


def test_what_a_fit_cannot_settle_is_not_said_to_be_open_where_an_end_of_a_channel_settles_it() -> None:
    corners = [(0.05, -2.0), (0.8, -2.0), (0.05, 6.0), (0.8, 6.0)]
    rows = history(*[Reading({"R": R, "G": G}, {"red": 10 + 1e3 * R, "green": 500 + 50 * G}) for R, G in corners])
    goal = Goal({"red": Band(-10.0, -11.0, -9.0), "green": Band(500.0, 450.0, 550.0)})
    counts = tuple(Channel(name=channel.name, low=0.0, high=65535.0) for channel in CHANNELS)
    answers = [
        propose(Linear(), data_of(rows, INPUTS, channels, goal.channels), goal, np.random.default_rng(0))
        for channels in (CHANNELS, counts)
    ]
    assert answers[1].verdict == "unreachable"
    assert "the model misses it by 19 × tolerance, which is within its uncertainty" in answers[0].why
    assert answers[1].why == "red never reads below 0, and at most -9 is asked for"


def test_an_answer_is_by_name_and_what_is_unknown_is_none() -> None:
    answer = asked(Scripted(settings=(1.5, 1.26)))
    assert answer == Proposal(
        settings={"R": 1.0, "G": 1.5},
        raw={"R": 1.5, "G": 1.26},
        clipped=("R",),
        spread={"R": 0.01, "G": None},
        uncertainty={"R": 0.005, "G": None},
        expected={},  # what it expected was at R 1.5
        verdict=Verdict.REACHABLE,
        why="as told",
    )
    assert asked(Scripted(expected=None)).expected == {}


def test_an_answer_of_no_numbers_is_a_solver_error() -> None:
    with pytest.raises(SolverError, match="no number for R"):
        asked(Scripted(settings=(math.nan, 1.0)))


@pytest.mark.parametrize("where", ["fit_raises", "propose_raises"])
@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), KeyError("red"), np.linalg.LinAlgError("Singular"), MemoryError()]
)
def test_a_solver_that_fails_in_any_way_is_named_with_its_rows_and_its_cause(where: str, error: Exception) -> None:
    with pytest.raises(SolverError, match="scripted failed on 1 rows: ") as found:
        asked(Scripted(**{where: error}))
    assert repr(error) in str(found.value)
    assert found.value.__cause__ is error


@pytest.mark.parametrize("where", ["fit_raises", "propose_raises"])
@pytest.mark.parametrize("error", [NotEnoughData(1, 4), Degenerate("all at one setting"), SolverError("no")])
def test_what_a_solver_says_on_purpose_comes_through_as_it_is(where: str, error: SolverError) -> None:
    with pytest.raises(SolverError) as found:
        asked(Scripted(**{where: error}))
    assert found.value is error


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Proposals(np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 2)), None, (), ()),
        lambda: Proposals(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((1, 3)), None, (Verdict.REACHABLE,), ("",)),
        lambda: Proposals(
            np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 9)), (Verdict.REACHABLE,), ("",)
        ),
        lambda: None,
    ],
)
def test_an_answer_of_the_wrong_shape_is_a_solver_error(wrong: Callable[[], Any]) -> None:
    class Wrong(Scripted):
        def propose(self, *_: Any) -> Any:
            return wrong()

    with pytest.raises(SolverError, match="scripted failed"):
        asked(Wrong())


def test_a_solver_that_is_fitted_already_can_be_asked_again_without_fitting() -> None:
    solver = Scripted()
    data = data_of(history(reading()), INPUTS, CHANNELS, GOAL.channels)
    answer = propose_fitted(solver, data, GOAL, np.random.default_rng(0))
    assert answer.settings == {"R": 0.5, "G": 1.0}
    assert "data" not in solver.seen


def test_an_interrupt_is_not_a_failure_of_the_solver() -> None:
    class Slow(Scripted):
        def fit(self, data: Data) -> Scripted:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(Slow())


# Settings that were saturated ---------------------------------------------------------------------------------------
def saturated_rows() -> Data:
    """Four rows of two inputs, the last at full scale in `red`."""
    X = np.array([[0.1, 2.0], [0.9, 0.2], [0.5, 1.7], [0.9, 1.8]])
    Y = np.array([[10.0, 5.0], [40.0, 5.0], [70.0, 5.0], [250.0, 5.0]])
    full = np.zeros((4, 2), bool)
    full[3, 0] = True
    inputs = (Input(name="R", low=0.0, high=1.0), Input(name="G", low=0.0, high=2.0))
    return Data(X, Y, full, np.ones(2, bool), np.zeros(4), np.zeros(4), inputs, CHANNELS)


@pytest.mark.parametrize("settings", [{"R": 0.9, "G": 1.8}, {"R": 0.895, "G": 1.81}])
def test_from_settings_that_were_saturated_the_proposal_goes_halfway_to_the_nearest_row_that_was_not(
    settings: dict[str, float],
) -> None:
    """The third row is the nearest in units of the ranges."""
    rows = saturated_rows()
    moved = _off_full_scale(dict(settings), rows, GOAL, rows.space)
    assert moved == pytest.approx({"R": (settings["R"] + 0.5) / 2, "G": (settings["G"] + 1.7) / 2})


def test_elsewhere_or_where_full_scale_keeps_the_goal_the_settings_stay() -> None:
    rows = saturated_rows()
    away = {"R": 0.9, "G": 1.7}
    assert _off_full_scale(dict(away), rows, GOAL, rows.space) == away
    high = Goal({"red": Band.at_least(200.0, 1.0), "green": Band(200.0, 190.0, 230.0)})
    at = {"R": 0.9, "G": 1.8}
    assert _off_full_scale(dict(at), rows, high, rows.space) == at
    all_full = replace(rows, saturated=np.ones((4, 2), bool))
    assert _off_full_scale(dict(at), all_full, GOAL, rows.space) == at


def test_settings_that_share_one_input_with_a_saturated_row_are_not_called_saturated() -> None:
    full = Reading({"R": 0.5, "G": 8.0}, {"red": 100.0, "green": 200.0}, None, ("red",))
    for settings, said in (((0.5, 1.0), Verdict.REACHABLE), ((0.5, 8.0), Verdict.SATURATED)):
        rows = data_of(history(full), INPUTS, CHANNELS, GOAL.channels)
        answer = propose(Scripted(settings), rows, GOAL, np.random.default_rng(0))
        assert answer.verdict is said


@pytest.mark.parametrize(("saturated", "verdict"), [("0111", Verdict.SATURATED), ("1011", Verdict.REACHABLE)])
def test_the_last_three_readings_at_the_settings_tell_whether_they_are_saturated(saturated: str, verdict: str) -> None:
    here = {"R": 0.5, "G": 1.0}
    rows = [Reading(here, {"red": 90.0, "green": 200.0}, None, ("red",) * int(one)) for one in saturated]
    data = data_of(history(*rows), INPUTS, CHANNELS, GOAL.channels)
    assert propose(Scripted((0.5, 1.0)), data, GOAL, np.random.default_rng(0)).verdict == verdict
