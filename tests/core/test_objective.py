"""A channel to maximise or minimise: which settings are the best, how they are confirmed, and when it is done."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import core_kit as kit
import numpy as np
import pytest
from core_kit import failed, interrupted, measured, opened, proposed, resumed, snapshot, stopped

from sdl.core.campaign import Campaign, Plan, State
from sdl.core.events import Event, Measure, Measured, Propose, Stop
from sdl.core.goal import Band, Direction, Goal, Tolerance
from sdl.core.history import History
from sdl.core.prices import Prices
from sdl.core.stopping import CostLimit, Failures, Minutes, Trials
from sdl.core.trials import CONFIRMATION
from sdl.types import Outcome, Verdict

GOAL = Goal({"red": Band.objective(Direction.MAXIMISE), "green": Band.at_most(250.0, 5.0)})
ONE_PERCENT = Tolerance(1.0, percent=True)
A, B, C, D = ({"R": r, "G": 0.5} for r in (0.1, 0.2, 0.3, 0.4))


def campaign(goal: Goal = GOAL, trials: int = 20, **plan) -> Campaign:
    rules = (Failures(limit=5), Trials(limit=trials))
    plan = {"confirm": 2, "improvement": ONE_PERCENT, "collect": trials, **plan}
    return Campaign(Plan(goal, rules, **plan), History(kit.INPUTS, kit.CHANNELS, goal))


def of_solver(trial: int, settings, best, estimate: float, expected: float) -> Event:
    """A proposal that names the best settings so far, and what it expects to gain."""
    return proposed(
        trial, settings=settings, verdict=Verdict.REACHABLE, by="gp",
        incumbent=best, estimate=estimate, estimate_error=0.5, expected_improvement=expected,
    )  # fmt: skip


def read(trial: int, settings, red: float, green: float = 200.0, repeat: int = 0, **changes) -> Event:
    return measured(trial, repeat, readings={"red": red, "green": green}, applied=settings, **changes)


def confirmation(trial: int, settings) -> Event:
    return proposed(trial, settings=settings, by=CONFIRMATION)


def done() -> list[Event]:
    """A campaign that is done: two proposals expect little, the best is confirmed, a third expects little as well."""
    return [
        opened(),
        proposed(0, settings=A), read(0, A, 100.0),
        of_solver(1, B, A, 100.0, 30.0), read(1, B, 130.0),
        of_solver(2, C, B, 130.0, 1.0), read(2, C, 125.0),
        of_solver(3, C, B, 130.0, 1.0), read(3, C, 124.0),
        confirmation(4, B), read(4, B, 126.0), read(4, B, 128.0, repeat=1),
        of_solver(5, C, B, 128.0, 1.0), read(5, C, 126.0),
    ]  # fmt: skip


def play(events: Sequence[Event], *, at: Campaign | None = None) -> Campaign:
    found = at or campaign()
    for event in events:
        found.handle(event)
    return found


def test_it_is_done_once_two_proposals_running_expect_little_and_the_best_is_confirmed() -> None:
    events = done()
    after_two = play(events[:9])
    assert after_two.due() == [Propose(4, B)]  # the best is measured again
    confirming = play(events[:10])
    assert confirming.due() == [Measure(4, B, 0, 0, 0.0)]
    assert play(events[:11]).due() == [Measure(4, B, 1, 0, 0.0)]  # confirm × average readings
    assert play(events[:12]).due() == [Propose(5)]  # the model has not seen them yet
    (stop,) = play(events).due()
    assert isinstance(stop, Stop)
    assert (stop.outcome, stop.by) == (Outcome.DONE, "improvement")
    assert "1 % improvement" in stop.reason
    assert "trial 1, red 128.0 ± 1.2 (mean of 3 readings)" in stop.reason


def test_the_result_is_the_mean_of_all_readings_at_the_best_settings_with_its_standard_error() -> None:
    found = play(done()).objective()
    assert found is not None
    readings = np.array([130.0, 126.0, 128.0])
    assert found.value == pytest.approx(readings.mean())
    assert found.std_error == pytest.approx(readings.std(ddof=1) / np.sqrt(3))
    assert (found.readings, found.confirmed, found.channel, found.direction) == (3, True, "red", "maximise")
    assert (found.estimate, found.estimate_error, found.expected_improvement) == (128.0, 0.5, 1.0)


def test_the_luckiest_reading_is_not_the_best_where_the_solver_names_others() -> None:
    events = [opened(), proposed(0, settings=A), read(0, A, 200.0), of_solver(1, B, A, 150.0, 9.0), read(1, B, 140.0)]
    assert play(events).history.best.trial == 0
    named = play([*events, of_solver(2, C, B, 145.0, 9.0)])
    assert named.history.best.trial == 1
    assert named.objective().value == 140.0


def test_settings_that_break_a_constraint_or_are_saturated_are_never_the_best() -> None:
    events = [
        opened(),
        proposed(0, settings=A), read(0, A, 100.0),
        proposed(1, settings=B), read(1, B, 180.0, green=260.0),
        proposed(2, settings=C), read(2, C, 190.0, saturated=("red",)),
    ]  # fmt: skip
    assert play(events).history.best.trial == 0
    assert play([*events, of_solver(3, C, B, 180.0, 5.0)]).history.best.trial == 0  # even if the solver says so
    only_broken = play([opened(), proposed(0, settings=B), read(0, B, 180.0, green=260.0)])
    assert (only_broken.objective().value, only_broken.objective().readings) == (None, 0)
    assert only_broken.history.best.miss > 1  # the closest to the constraints


def test_a_mean_that_leaves_a_constraint_when_it_is_confirmed_makes_others_the_best() -> None:
    events = done()
    events[10:12] = [read(4, B, 126.0, green=300.0), read(4, B, 128.0, green=300.0, repeat=1)]
    broken = play(events[:12])
    assert broken.history.best.trial == 2
    assert broken.due() == [Propose(5)]


def test_readings_of_a_failed_trial_count_and_a_failure_does_not() -> None:
    found = campaign(average=2, retries=0)
    play([opened(), proposed(0, settings=A), read(0, A, 100.0), failed(0, 1)], at=found)
    assert found.history.failed == 1
    assert found.objective().readings == 1
    play([of_solver(1, B, A, 100.0, 0.1), failed(1, 0)], at=found)
    assert found.converged == 0  # nothing was measured
    assert found.due() == [Propose(2)]


def test_a_confirmation_that_fails_is_tried_again() -> None:
    found = play([*done()[:10], failed(4, 0)])
    assert found.due() == [Propose(5, B)]


def test_a_proposal_that_expects_more_begins_anew() -> None:
    events = done()[:7]
    found = play([*events, of_solver(3, A, B, 130.0, 5.0), read(3, A, 100.0), of_solver(4, C, B, 130.0, 1.0)])
    play([read(4, C, 129.0)], at=found)
    assert found.due() == [Propose(5)]


@pytest.mark.parametrize(("improvement", "ends"), [(Tolerance(1.5), True), (Tolerance(0.5), False), (None, False)])
def test_the_improvement_may_be_given_in_the_unit_of_the_channel(improvement: Tolerance | None, ends: bool) -> None:
    found = campaign(improvement=improvement, confirm=0)
    play(done()[:9], at=found)
    assert (found.state is State.STOP) is ends


def test_without_confirmations_it_is_done_at_the_second_proposal() -> None:
    found = play(done()[:9], at=campaign(confirm=0))
    assert found.due()[0].outcome is Outcome.DONE


def test_confirmed_settings_stay_the_best_until_others_are_better_by_the_improvement() -> None:
    events = done()[:12]
    slightly = play([*events, of_solver(5, C, C, 128.5, 0.5), read(5, C, 127.0)])
    assert (slightly.history.best.trial, slightly.due()[0].outcome) == (1, Outcome.DONE)
    clearly = play([*events, of_solver(5, D, B, 128.0, 2.0), read(5, D, 135.0), of_solver(6, C, D, 134.0, 0.5)])
    assert clearly.history.best.trial == 5
    play([read(6, C, 130.0), of_solver(7, C, D, 134.0, 0.5), read(7, C, 130.0)], at=clearly)
    assert clearly.due() == [Propose(8, D)]


def test_the_last_trial_of_the_budget_confirms_the_best() -> None:
    found = campaign(trials=3, improvement=None)
    play(done()[:5], at=found)
    assert found.due() == [Propose(2, B)]
    play([confirmation(2, B), read(2, B, 126.0), read(2, B, 128.0, repeat=1)], at=found)
    (stop,) = found.due()
    assert (stop.outcome, stop.by) == (Outcome.SPENT, "trials")
    assert "best: trial 1, red 128.0 ± 1.2 (mean of 3 readings)" in stop.reason


@pytest.mark.parametrize(("limit", "confirms"), [(4.9, True), (5.0, False)])
def test_a_budget_of_cost_keeps_what_the_confirmation_of_the_best_needs(limit: float, confirms: bool) -> None:
    prices, rules = Prices(reading=1), (CostLimit(limit=limit),)
    found = Campaign(Plan(GOAL, rules, prices=prices, collect=20), History(kit.INPUTS, kit.CHANNELS, GOAL))
    play(done()[:5], at=found)  # 2 spent; another trial and the two readings of a confirmation cost 3
    assert found.due() == [Propose(2, B if confirms else None)]
    if confirms:
        play([confirmation(2, B), read(2, B, 126.0), read(2, B, 128.0, repeat=1)], at=found)
        (stop,) = found.due()
        assert (stop.outcome, stop.by) == (Outcome.SPENT, "cost")
        assert "(mean of 3 readings)" in stop.reason


@pytest.mark.parametrize(("limit", "confirms"), [(4.9, True), (5.1, False)])
def test_a_budget_of_time_keeps_as_long_as_a_trial_and_the_confirmation_take_by_the_pace_so_far(
    limit: float, confirms: bool
) -> None:
    found = Campaign(Plan(GOAL, (Minutes(limit=limit),), collect=20), History(kit.INPUTS, kit.CHANNELS, GOAL))
    events = done()[:5]  # a reading a minute
    begun = [
        replace(event, at=60.0 * sum(isinstance(e, Measured) for e in events[: i + 1]))
        for i, event in enumerate(events)
    ]
    play(begun, at=found)
    assert found.due() == [Propose(2, B if confirms else None)]


def test_settings_that_only_a_prior_has_measured_are_confirmed_as_well() -> None:
    found = campaign()
    events = [opened(), of_solver(0, A, C, 150.0, 0.1), read(0, A, 100.0)]
    play([*events, of_solver(1, A, C, 150.0, 0.1), read(1, A, 101.0)], at=found)
    assert found.due() == [Propose(2, C)]
    applied = {"R": 0.3000004, "G": 0.5}  # not quite as in the prior
    play([confirmation(2, C), read(2, applied, 149.0), read(2, applied, 151.0, repeat=1)], at=found)
    assert (found.history.best.trial, found.objective().value) == (2, 150.0)


def test_to_minimise_is_to_maximise_the_negative() -> None:
    low = Goal({"red": Band.objective(Direction.MINIMISE)})
    found = play([opened(), proposed(0, settings=A), read(0, A, 100.0), proposed(1, settings=B)], at=campaign(low))
    play([read(1, B, 90.0), proposed(2, settings=C), read(2, C, 95.0)], at=found)
    assert found.history.best.trial == 1


def test_an_objective_is_never_reached() -> None:
    found = play([opened(), proposed(0, settings=A), *(read(0, A, 1e6, repeat=i) for i in range(1))])
    assert found.due() == [Propose(1)]


def test_left_at_any_event_and_resumed_it_ends_as_if_undisturbed() -> None:
    events = [*done(), stopped(Outcome.DONE)]
    whole = play(events)
    for cut in range(1, len(events)):
        left = play(events[:cut])
        disturbed = copy.deepcopy(left)
        assert snapshot(disturbed) == snapshot(left)
        play([interrupted(), resumed()] if left.state is not State.STOP else [resumed()], at=disturbed)
        assert disturbed.due() == left.due(), f"after {cut} events"
        play(events[cut:], at=disturbed)
        assert disturbed.objective() == whole.objective()
        assert disturbed.history.outcome is Outcome.DONE


def test_only_one_channel_can_be_an_objective() -> None:
    with pytest.raises(ValueError, match="only one channel can be maximised or minimised, not red and green"):
        Goal({name: Band.objective(Direction.MAXIMISE) for name in ("red", "green")})
    with pytest.raises(ValueError, match="or else a direction"):
        Band(None, 0.0, 1.0, direction=Direction.MAXIMISE)


def test_what_was_applied_is_known_again_in_any_order_and_beside_other_inputs() -> None:
    applied = {"extra": 4.0, "G": 0.5, "R": 0.2}
    found = campaign()
    play(
        [opened(), proposed(0, settings=A), read(0, A, 140.0), proposed(1, settings=B), read(1, applied, 130.0)],
        at=found,
    )
    play([of_solver(2, C, B, 130.0, 5.0)], at=found)
    assert found.history.best.trial == 1
