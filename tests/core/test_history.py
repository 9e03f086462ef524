"""The history: rows for the solvers, the best trial, the streaks, and what keeping it costs."""

from __future__ import annotations

import math
import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest
from core_kit import CHANNELS, GOAL, HIT, INPUTS, MISS, SETTINGS, new_campaign, opened, perform, proposed, reading

from sdl.core.goal import Goal
from sdl.core.history import GrowingArray, History
from sdl.core.stopping import StopRules
from sdl.core.trials import Trial, TrialState
from sdl.types import Reading, Verdict


def history(goal: Goal | None = GOAL) -> History:
    return History(INPUTS, CHANNELS, goal)


def begun(goal: Goal | None = GOAL, verdict: Verdict | None = None) -> History:
    found = history(goal)
    found.begin(proposed(verdict=verdict))
    return found


def close(
    found: History, values: dict[str, float], verdict: Verdict | None = None, state: TrialState = TrialState.CLOSED
) -> Trial:
    found.begin(proposed(found.trials, verdict=verdict))
    found.add_reading(reading(values))
    return found.close(state)


def miss_of(tolerances: float) -> dict[str, float]:
    return {**HIT, "red": 100.0 + 10.0 * tolerances}


# Arrays -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 129, 1000])
def test_a_column_keeps_every_row_however_often_it_grows(count: int) -> None:
    column = GrowingArray(2)
    for i in range(count):
        column.append([i, -i])
    assert column.view.tolist() == [[i, -i] for i in range(count)]


def test_a_view_cannot_be_written_and_stays_as_it_was_when_the_column_grows() -> None:
    column = GrowingArray(1)
    column.append([1.0])
    early = column.view
    with pytest.raises(ValueError, match="read-only"):
        early[0, 0] = 2.0
    for i in range(200):
        column.append([float(i)])
    assert early.tolist() == [[1.0]]


def test_looking_at_the_rows_copies_nothing() -> None:
    found = history()
    for _ in range(100):
        found.add_reading(reading())
    assert np.shares_memory(found.X, found.X)
    assert np.shares_memory(found.Y, found.Y)
    assert np.shares_memory(found.session, found.session)


def test_rows_are_what_was_applied_and_the_readings_without_their_background() -> None:
    found = history()
    found.add_reading(Reading({"G": 0.2, "R": 0.1}, {"green": 7.0, "red": 5.0}, {"red": 1.5}, ("green",)))
    assert found.X.tolist() == [[0.1, 0.2]]
    assert found.Y[0, :2].tolist() == [3.5, 7.0]
    assert math.isnan(found.Y[0, 2])  # clear was not measured
    assert found.saturated.tolist() == [[False, True, False]]
    assert (found.rows, found.readings) == (1, 1)


def test_prior_rows_come_first_and_are_no_readings_of_the_campaign() -> None:
    found = history()
    found.add_prior([(reading(MISS), 0), (reading(MISS), 4)])
    found.add_reading(reading(HIT))
    found.add_reading(reading(HIT))
    assert (found.rows, found.prior_rows, found.readings) == (4, 2, 2)
    assert found.Y[:, 0].tolist() == [150.0, 150.0, 100.0, 100.0]
    assert found.session.tolist() == [0, 4, 5, 5]  # the campaign is a session of its own


def test_the_latest_background_is_kept_until_there_is_a_newer_one() -> None:
    found = history()
    assert found.background is None
    found.add_reading(reading(background={"red": 3.0}))
    found.add_reading(reading(background=None))
    assert found.background == {"red": 3.0}


# Trials -----------------------------------------------------------------------------------------------------------
def test_closing_ends_the_open_trial_and_ranks_it() -> None:
    found = begun(verdict=Verdict.REACHABLE)
    found.add_reading(reading({**HIT, "red": 90.0}, background={"red": 50.0}))
    found.add_reading(reading({**HIT, "red": 120.0}, saturated=("clear",)))
    trial = found.latest
    assert found.close() is trial is found.last is found.latest is found.best
    assert trial is not None
    assert (trial.trial, trial.readings, trial.miss, trial.over, trial.reached) == (0, 2, 0.5, True, False)
    assert (trial.settings, trial.verdict, found.open_trial) == (SETTINGS, Verdict.REACHABLE, None)
    with pytest.raises(ValueError, match="no trial is open"):
        found.close()


def test_the_best_is_the_smallest_miss_and_the_earliest_of_equals() -> None:
    found = history()
    for tolerances in (4.0, 2.0, 3.0, 2.0, 1.5, 9.0):
        close(found, miss_of(tolerances))
    assert found.best is not None
    assert (found.best.trial, found.best.miss) == (4, 1.5)
    assert found.misses == [4.0, 2.0, 2.0, 2.0, 1.5, 1.5]
    again = history()
    for _ in range(3):
        close(again, miss_of(2.0))
    assert again.best is not None
    assert again.best.trial == 0


def test_a_failed_trial_is_never_the_best_nor_a_zero() -> None:
    found = history()
    closed = close(found, HIT, state=TrialState.FAILED)
    assert (closed.miss, closed.failed, found.best) == (math.inf, True, None)
    assert found.misses == [math.inf]
    assert found.rows == 1  # its readings are rows all the same
    found.begin(proposed(1))
    empty = found.close(TrialState.FAILED)
    assert (empty.readings, empty.mean, empty.applied) == (0, {}, None)


def test_without_a_goal_there_is_no_best() -> None:
    found = history(goal=None)
    assert close(found, HIT).miss == math.inf
    assert found.best is None


def test_failures_are_counted_in_a_row() -> None:
    found = history()
    counts = []
    for fails in (True, True, False, True):
        close(found, MISS, state=TrialState.FAILED if fails else TrialState.CLOSED)
        counts.append(found.failures)
    assert counts == [1, 2, 0, 1]
    assert found.trials == 4


def test_unreachable_counts_measured_trials_in_a_row_and_a_failed_one_neither_counts_nor_breaks_it() -> None:
    found = history()
    counts = []
    for verdict, fails in [
        (Verdict.UNREACHABLE, False),
        (Verdict.UNREACHABLE, True),
        (Verdict.UNREACHABLE, False),
        (Verdict.REACHABLE, True),
        (None, False),
        (Verdict.UNREACHABLE, False),
        (Verdict.REACHABLE, False),
    ]:
        close(found, MISS, verdict, TrialState.FAILED if fails else TrialState.CLOSED)
        counts.append(found.unreachable)
    assert counts == [1, 1, 2, 2, 0, 1, 0]


@pytest.mark.parametrize(
    ("expected", "red", "counted"),
    [(60.0, 70.0, 1), (60.0, 140.0, 0), (140.0, 130.0, 1), (140.0, 60.0, 0), (60.0, 100.0, 1), (None, 140.0, 1)],
)
def test_a_reading_on_the_other_side_of_the_band_than_expected_confirms_no_unreachable_goal(
    expected: float | None, red: float, counted: int
) -> None:
    found = history()
    part = {"low": 90.0, "high": 110.0, "nearest": expected, "by": 30.0}
    found.begin(proposed(verdict=Verdict.UNREACHABLE, shortfall={"red": part}))
    found.add_reading(reading({**HIT, "red": red}))
    found.close()
    assert found.unreachable == counted


def test_between_steps_counts_settings_that_were_said_to_be_so_before_and_measured_again() -> None:
    found = history()
    counts = []
    for red, verdict in [
        (0.2, Verdict.REACHABLE),
        (0.2, Verdict.BETWEEN_STEPS),
        (0.2, Verdict.BETWEEN_STEPS),
        (0.3, Verdict.BETWEEN_STEPS),
        (0.2, Verdict.BETWEEN_STEPS),
        (0.3, Verdict.BETWEEN_STEPS),
        (0.3, Verdict.REACHABLE),
    ]:
        found.begin(proposed(settings={"R": red, "G": 0.1, "B": 0.1}, verdict=verdict))
        found.add_reading(reading(MISS))
        found.close()
        counts.append(found.resolution_limited_streak)
    assert counts == [0, 0, 1, 0, 1, 2, 0]


def test_the_campaigns_own_sitting_is_none_of_the_priors() -> None:
    found = history()
    found.add_prior([(reading(MISS), 0), (reading(MISS), 3), (reading(MISS), 2)])
    found.add_reading(reading(MISS))
    assert found.session.tolist() == [0, 3, 2, 4]


# Cost -------------------------------------------------------------------------------------------------------------
class Steps:
    """Counts the bytecodes that Python executes inside the block, generators and callees included."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Steps:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, what: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        self.count += what == "opcode"
        return self._trace


def test_a_late_trial_costs_as_many_steps_as_an_early_one() -> None:
    rules = StopRules.model_validate(
        {"trials": 10_000, "minutes": 1e6, "stagnation": {"trials": 2, "by": 0.0}}
    ).active()
    campaign = new_campaign(rules=rules, average=2)
    campaign.handle(opened())

    def trial() -> int:
        number = campaign.history.trials
        with Steps() as steps:
            while campaign.history.trials == number:
                # Always a little nearer, so that every rule is asked and none fires.
                campaign.handle(perform(campaign.due()[0], number, miss_of(2.0 + 1.0 / (1 + number))))
                _ = campaign.history.X, campaign.history.Y, campaign.history.session
        return steps.count

    costs = [trial() for _ in range(10)]
    while campaign.history.trials < 3000:
        campaign.handle(perform(campaign.due()[0], 0, miss_of(2.0 + 1.0 / (1 + campaign.history.trials))))
    _ = campaign.history.X  # rows are made only when asked for, as a solver does before every trial
    late = [trial() for _ in range(10)]
    assert costs[5] > 100  # it does count
    assert max(late) <= 1.01 * costs[-1]
