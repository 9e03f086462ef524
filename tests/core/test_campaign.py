"""The state machine: what it awaits, what it asks for, how it ends; and that its state is the fold of what happened."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import core_kit as kit
import pytest
from core_kit import (
    GOAL,
    HIT,
    MISS,
    SETTINGS,
    abort,
    attached,
    continued,
    corrected,
    failed,
    interrupted,
    measured,
    new_campaign,
    opened,
    paused,
    perform,
    play,
    proposed,
    resumed,
    run_on,
    skipped,
    snapshot,
    stopped,
    unproposed,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sdl.core.campaign import Campaign, Plan, State
from sdl.core.events import Event, Failed, Measure, Measured, Propose, Proposed, Resumed, Safe, Stop, Stopped
from sdl.core.history import History
from sdl.core.stopping import Failures, Minutes, Rule, Stagnation, Trials, UnreachableGoal
from sdl.errors import OutOfTurn
from sdl.store.record import decode, encode
from sdl.types import Outcome, Power, Verdict

# Every state × every event -----------------------------------------------------------------------------------------
WAYS: dict[str, list[Event]] = {
    "new": [],
    "propose": [opened()],
    "measure": [opened(), proposed()],
    "measure again": [opened(), proposed(), measured()],
    "measure, second attempt": [opened(), proposed(), failed(retryable=True)],
    "stop": [opened(), abort()],
    "stopped": [opened(), abort(), stopped()],
    "stopped, reached": [opened(), proposed(), *(measured(repeat=i) for i in range(4)), stopped(Outcome.REACHED)],
    "paused, propose": [opened(), paused()],
    "paused, measure": [opened(), proposed(), paused()],
    "paused, stop": [opened(), abort(), paused()],
    "interrupted, propose": [opened(), interrupted()],
    "interrupted, measure": [opened(), proposed(), interrupted()],
    "interrupted, stop": [opened(), abort(), interrupted()],
    "interrupted, paused": [opened(), proposed(), paused(), interrupted()],
}
MOVES: dict[str, Event] = {
    "opened": opened(),
    "resumed": resumed(),
    "proposed 0": proposed(0),
    "proposed 1": proposed(1),
    "measured 0 0 0": measured(0, 0, 0),
    "measured 0 1 0": measured(0, 1, 0),
    "measured 0 0 1": measured(0, 0, 1),
    "measured 1 0 0": measured(1, 0, 0),
    "failed 0 0 0": failed(0, 0, 0),
    "failed 0 1 0": failed(0, 1, 0),
    "failed 0 0 1": failed(0, 0, 1),
    "failed 1 0 0": failed(1, 0, 0),
    "unproposed 0": unproposed(0),
    "unproposed 1": unproposed(1),
    "paused": paused(),
    "continued": continued(),
    "interrupted": interrupted(),
    "abort": abort(),
    "stopped aborted": stopped(Outcome.ABORTED),
    "stopped reached": stopped(Outcome.REACHED),
    "attached": attached(),
    "skipped 0": skipped(0),
    "skipped 1": skipped(1),
    "corrected 0 0": corrected(0, 0),
    "corrected 0 1": corrected(0, 1),
    "excluded 0 0": corrected(0, 0, None),
}
ANYTIME = {"resumed", "paused", "interrupted", "abort", "attached"}
PAUSED = {"resumed", "continued", "interrupted", "abort", "attached"}
FIRST = {"corrected 0 0", "excluded 0 0"}  # where there is a first reading
AWAITED: dict[str, set[str]] = {
    "new": {"opened"},
    "propose": {"proposed 0", "unproposed 0"} | ANYTIME,
    "measure": {"measured 0 0 0", "failed 0 0 0", "skipped 0"} | ANYTIME,
    "measure again": {"measured 0 1 0", "failed 0 1 0", "skipped 0"} | ANYTIME | FIRST,
    "measure, second attempt": {"measured 0 0 1", "failed 0 0 1", "skipped 0"} | ANYTIME,
    "stop": {"stopped aborted"} | ANYTIME,
    "stopped": {"resumed", "attached"},
    "stopped, reached": {"attached", "corrected 0 1"} | FIRST,
    "paused, propose": PAUSED,
    "paused, measure": PAUSED,
    "paused, stop": PAUSED,
    "interrupted, propose": {"resumed", "attached"},
    "interrupted, measure": {"resumed", "attached"},
    "interrupted, stop": {"resumed", "attached"},
    "interrupted, paused": {"resumed", "attached"},
}


def at(state: str) -> Campaign:
    campaign = new_campaign(rules=(Trials(limit=9),), average=2, confirm=1, retries=1)
    play(campaign, *WAYS[state])
    return campaign


@pytest.mark.parametrize("state", WAYS)
def test_an_event_is_either_awaited_or_out_of_turn_and_then_changes_nothing(state: str) -> None:
    awaited = set()
    for move, event in MOVES.items():
        campaign = at(state)
        before, due = snapshot(campaign), campaign.due()
        try:
            now_due = campaign.handle(event)
        except OutOfTurn:
            assert snapshot(campaign) == before, move
            assert campaign.due() == due, move
        else:
            awaited.add(move)
            assert now_due == campaign.due(), move
    assert awaited == AWAITED[state]


def test_out_of_turn_says_what_came_and_what_was_due() -> None:
    with pytest.raises(OutOfTurn, match=r"Measured in paused state measure, due \[\]"):
        at("paused, measure").handle(measured())
    with pytest.raises(OutOfTurn, match=r"Proposed in state measure, due \[Measure\(trial=0"):
        at("measure").handle(proposed())


@pytest.mark.parametrize("state", WAYS)
def test_asking_what_is_due_changes_nothing_and_gives_one_action_at_most(state: str) -> None:
    campaign = at(state)
    before = snapshot(campaign)
    due = campaign.due()
    assert (len(due), snapshot(campaign)) == (
        1 if state.startswith(("propose", "measure")) or state == "stop" else 0,
        before,
    )


# Trials, repeats, confirmation ------------------------------------------------------------------------------------
def test_a_campaign_asks_for_a_proposal_then_for_its_measurement() -> None:
    campaign = new_campaign()
    assert campaign.due() == []
    assert campaign.handle(opened()) == [Propose(0)]
    assert campaign.handle(proposed()) == [Measure(0, SETTINGS, repeat=0, attempt=0, wait=0.0)]
    assert campaign.handle(measured(readings=MISS)) == [Propose(1)]


@pytest.mark.parametrize("average", [1, 2, 3])
@pytest.mark.parametrize("confirm", [0, 1, 2])
def test_a_hit_takes_average_readings_and_confirm_times_as_many_more(average: int, confirm: int) -> None:
    campaign = new_campaign(average=average, confirm=confirm)
    campaign.handle(opened())
    written = run_on(campaign)
    assert [type(event).__name__ for event in written] == [
        "Proposed",
        *["Measured"] * average * (1 + confirm),
        "Stopped",
    ]
    assert [e.repeat for e in written if isinstance(e, Measured)] == list(range(average * (1 + confirm)))
    last = campaign.history.last
    assert last is not None
    assert (last.readings, last.reached, campaign.history.outcome) == (average * (1 + confirm), True, Outcome.REACHED)


@pytest.mark.parametrize("average", [1, 2, 3])
def test_a_miss_takes_average_readings_and_no_confirmation(average: int) -> None:
    campaign = new_campaign(average=average, confirm=2, rules=(Trials(limit=2),))
    campaign.handle(opened())
    written = run_on(campaign, MISS)
    assert [type(event).__name__ for event in written] == [*["Proposed", *["Measured"] * average] * 2, "Stopped"]
    assert campaign.history.outcome is Outcome.SPENT


def red(*values: float) -> list[dict[str, float]]:
    return [{**HIT, "red": value} for value in values]


def measure_trial(campaign: Campaign, readings: list[dict[str, float]]) -> None:
    play(campaign, opened(), proposed())
    for repeat, values in enumerate(readings):
        campaign.handle(measured(repeat=repeat, readings=values))


def test_single_readings_may_lie_outside_where_the_mean_of_all_lies_inside() -> None:
    campaign = new_campaign(average=2, confirm=1)
    measure_trial(campaign, red(80.0, 120.0, 130.0, 80.0))  # mean 102.5 of 90…110
    assert campaign.due() == [Stop(Outcome.REACHED, "All channels within tolerance (mean of 4 readings).", "goal")]


def test_it_is_not_reached_where_the_confirmations_are_inside_but_the_mean_of_all_is_not() -> None:
    campaign = new_campaign(average=1, confirm=2)
    measure_trial(campaign, red(109.0, 109.0, 115.0))  # 111
    assert campaign.due() == [Propose(1)]
    last = campaign.history.last
    assert last is not None
    assert (last.reached, last.readings, last.failed) == (False, 3, False)
    assert last.miss == pytest.approx(1.1)


def test_the_mean_of_all_decides_and_not_that_of_the_confirmations() -> None:
    campaign = new_campaign(average=1, confirm=1)
    measure_trial(campaign, red(92.0, 115.0))  # 103.5, though the confirmation alone misses
    assert [type(action) for action in campaign.due()] == [Stop]


def test_a_confirmation_is_not_broken_off_early() -> None:
    campaign = new_campaign(average=1, confirm=2)
    measure_trial(campaign, red(100.0, 999.0))
    assert campaign.due() == [Measure(0, SETTINGS, 2, 0, 0.0)]


def test_a_failed_confirmation_is_simply_more_rows() -> None:
    campaign = new_campaign(average=1, confirm=2)
    measure_trial(campaign, red(100.0, 150.0, 150.0))
    assert (campaign.history.rows, campaign.history.trials, campaign.history.failures) == (3, 1, 0)


def test_the_tolerance_is_two_sided() -> None:
    for value, hit in [(89.9, False), (90.0, True), (110.0, True), (110.1, False)]:
        campaign = new_campaign(confirm=0)
        measure_trial(campaign, red(value))
        assert isinstance(campaign.due()[0], Stop) is hit


def test_saturation_in_a_channel_of_the_goal_is_never_a_hit() -> None:
    campaign = new_campaign(confirm=0)
    play(campaign, opened(), proposed(), measured(saturated=("green",)))
    assert campaign.due() == [Propose(1)]


def test_saturation_in_any_other_channel_does_not_matter() -> None:
    campaign = new_campaign(confirm=0)
    play(campaign, opened(), proposed(), measured(saturated=("clear",)))
    assert isinstance(campaign.due()[0], Stop)


def test_saturation_in_a_confirmation_undoes_the_hit() -> None:
    campaign = new_campaign(confirm=1)
    play(campaign, opened(), proposed(), measured(), measured(repeat=1, saturated=("red",)))
    assert campaign.due() == [Propose(1)]


def test_readings_at_other_settings_than_asked_are_judged_where_they_were_taken() -> None:
    campaign = new_campaign(confirm=1)
    clamped = {"R": 0.4, "G": 0.25}
    change = {"applied": clamped, "fault": "not-applied"}
    play(campaign, opened(), proposed(), measured(**change), measured(repeat=1, **change))
    assert isinstance(campaign.due()[0], Stop)
    assert campaign.history.best is not None
    assert campaign.history.best.applied == clamped
    assert campaign.history.X.tolist() == [[0.4, 0.25]] * 2


def test_a_mean_over_different_settings_reaches_nothing() -> None:
    campaign = new_campaign(confirm=1)
    play(campaign, opened(), proposed(), measured(), measured(repeat=1, applied={"R": 0.4, "G": 0.25}))
    assert campaign.due() == [Propose(1)]
    averaged = new_campaign(average=2, confirm=0)
    play(averaged, opened(), proposed(), measured(), measured(repeat=1, applied={"R": 0.4, "G": 0.25}))
    assert averaged.due() == [Propose(1)]


def test_without_a_goal_the_planned_points_are_taken_and_nothing_is_confirmed() -> None:
    campaign = new_campaign(goal=None, collect=3, average=2, confirm=5)
    campaign.handle(opened())
    run_on(campaign)
    assert (campaign.history.outcome, campaign.history.trials, campaign.history.readings) == (Outcome.DONE, 3, 6)


def test_a_failed_point_counts_among_those_collected() -> None:
    campaign = new_campaign(goal=None, collect=1)
    play(campaign, opened(), proposed(), failed())
    assert campaign.due() == [Stop(Outcome.DONE, "0 of 1 point measured; the last failure: no answer", "design")]


# Failures, retries, back-off --------------------------------------------------------------------------------------
def test_a_retry_waits_twice_as_long_each_time_up_to_the_longest() -> None:
    campaign = new_campaign(retries=4, backoff=1.5, backoff_most=5.0)
    play(campaign, opened(), proposed())
    seen = []
    for attempt in range(4):
        campaign.handle(failed(attempt=attempt, retryable=True))
        seen.append(campaign.due())
    assert seen == [[Measure(0, SETTINGS, 0, n, wait)] for n, wait in [(1, 1.5), (2, 3.0), (3, 5.0), (4, 5.0)]]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_reading_is_tried_once_and_then_as_often_as_retries_say(retries: int) -> None:
    campaign = new_campaign(retries=retries)
    play(campaign, opened(), proposed())
    for attempt in range(retries + 1):
        assert campaign.history.trials == 0
        campaign.handle(failed(attempt=attempt, retryable=True))
    assert campaign.due() == [Propose(1)]
    assert (campaign.history.trials, campaign.history.failures, campaign.history.attempts) == (1, 1, retries + 1)
    assert (campaign.history.readings, campaign.history.rows) == (0, 0)


def test_what_no_retry_can_help_fails_the_trial_at_once() -> None:
    campaign = new_campaign(retries=3)
    play(campaign, opened(), proposed(), failed(retryable=False))
    assert campaign.due() == [Propose(1)]


def test_a_reading_that_came_puts_attempts_and_waits_back() -> None:
    campaign = new_campaign(average=2, retries=2, backoff=1.0)
    play(campaign, opened(), proposed(), failed(retryable=True), measured(attempt=1))
    assert campaign.due() == [Measure(0, SETTINGS, repeat=1, attempt=0, wait=0.0)]
    campaign.handle(failed(repeat=1, retryable=True))
    assert campaign.due() == [Measure(0, SETTINGS, 1, 1, 1.0)]


def test_the_next_trial_starts_without_a_wait() -> None:
    campaign = new_campaign(retries=1)
    play(campaign, opened(), proposed(), failed(retryable=True), failed(attempt=1, retryable=True), proposed(1))
    assert campaign.due() == [Measure(1, SETTINGS, 0, 0, 0.0)]


def test_a_trial_that_fails_half_way_keeps_its_rows_and_has_no_rank() -> None:
    campaign = new_campaign(average=2)
    play(campaign, opened(), proposed(), measured(), failed(repeat=1))
    assert campaign.history.rows == 1
    assert campaign.history.best is None
    assert campaign.history.failures == 1


def test_a_campaign_ends_after_so_many_failed_trials_in_a_row() -> None:
    campaign = new_campaign(retries=0, rules=(Failures(limit=2),))
    play(campaign, opened(), proposed(0), failed(0), proposed(1), measured(1, readings=MISS), proposed(2), failed(2))
    assert campaign.due() == [Propose(3)]
    play(campaign, proposed(3), failed(3))
    assert campaign.due() == [Stop(Outcome.FAILED, "2 failed trials in a row; the last: no answer", "failures")]


def test_a_solver_that_fails_ends_the_campaign_and_is_named() -> None:
    campaign = new_campaign()
    assert play(campaign, opened(), unproposed()) == [Stop(Outcome.FAILED, "no proposal: singular", "solver")]


# Rules ------------------------------------------------------------------------------------------------------------
def test_one_wrong_fit_ends_nothing_but_a_verdict_that_stands_does() -> None:
    campaign = new_campaign(rules=(UnreachableGoal(times=2),))
    verdicts = [Verdict.UNREACHABLE, Verdict.REACHABLE, Verdict.UNREACHABLE, Verdict.UNREACHABLE]
    campaign.handle(opened())
    for trial, verdict in enumerate(verdicts):
        assert campaign.due() == [Propose(trial)]
        play(campaign, proposed(trial, verdict=verdict), measured(trial, readings=MISS))
    assert isinstance(campaign.due()[0], Stop)
    assert campaign.due()[0].outcome is Outcome.UNREACHABLE


def test_reached_comes_before_every_rule() -> None:
    campaign = new_campaign(confirm=0, rules=(Trials(limit=1), UnreachableGoal(times=1)))
    play(campaign, opened(), proposed(verdict=Verdict.UNREACHABLE), measured())
    assert [action.outcome for action in campaign.due() if isinstance(action, Stop)] == [Outcome.REACHED]


def test_no_improvement_in_so_many_trials_ends_it() -> None:
    campaign = new_campaign(rules=(Stagnation(trials=3, by=0.1),))
    campaign.handle(opened())
    for trial, value in enumerate([150.0, 130.0, 131.0, 129.0]):
        play(campaign, proposed(trial), measured(trial, readings={**HIT, "red": value}))
        assert campaign.due() == [Propose(trial + 1)]
    play(campaign, proposed(4), measured(4, readings=MISS))
    assert [action.outcome for action in campaign.due() if isinstance(action, Stop)] == [Outcome.STALLED]


def test_minutes_run_from_opened_to_the_last_event_and_end_a_trial_under_way() -> None:
    campaign = new_campaign(average=3, rules=(Minutes(limit=1),))
    play(campaign, opened(at=1000.0), proposed(at=1030.0), measured(at=1059.9))
    assert campaign.due() == [Measure(0, SETTINGS, 1, 0, 0.0)]
    play(campaign, measured(repeat=1, at=1060.0))
    assert [action.outcome for action in campaign.due() if isinstance(action, Stop)] == [Outcome.SPENT]


def test_minutes_leave_pauses_out() -> None:
    campaign = new_campaign(average=9, rules=(Minutes(limit=1),))
    play(campaign, opened(), proposed(at=10.0), paused(at=20.0), continued(at=500.0), measured(at=530.0))
    assert campaign.history.active == 50.0
    assert isinstance(campaign.due()[0], Measure)


def test_minutes_start_again_with_resumed_and_leave_the_time_between_out() -> None:
    campaign = new_campaign(average=9, rules=(Minutes(limit=1),))
    play(campaign, opened(), proposed(at=10.0), measured(at=59.0), interrupted(at=59.5))
    play(campaign, resumed(at=9000.0), measured(repeat=1, at=9055.0))
    assert campaign.history.active == 55.0
    killed = new_campaign(average=9, rules=(Minutes(limit=1),))  # no Interrupted was written
    play(killed, opened(), proposed(at=10.0), measured(at=59.0), resumed(at=9000.0), measured(repeat=1, at=9055.0))
    assert killed.history.active == 55.0


def test_a_clock_that_was_set_back_takes_no_time_away() -> None:
    campaign = new_campaign(average=9)
    play(campaign, opened(at=100.0), proposed(at=130.0), measured(at=20.0), measured(repeat=1, at=25.0))
    assert campaign.history.active == 35.0


# Pause, interrupt, abort, resume ----------------------------------------------------------------------------------
@pytest.mark.parametrize("state", ["propose", "measure", "measure again", "measure, second attempt", "stop"])
def test_nothing_is_due_while_paused_and_the_same_as_before_after_it(state: str) -> None:
    campaign = at(state)
    due = campaign.due()
    assert campaign.handle(paused()) == []
    assert campaign.handle(continued()) == due


@pytest.mark.parametrize("state", ["propose", "measure", "measure again", "measure, second attempt", "stop"])
def test_nothing_is_due_while_interrupted_and_the_same_as_before_after_resumed(state: str) -> None:
    campaign = at(state)
    due = campaign.due()
    assert campaign.handle(interrupted()) == []
    assert campaign.handle(resumed()) == due


def test_a_pause_outlasts_the_process() -> None:
    campaign = at("interrupted, paused")
    assert campaign.handle(resumed()) == []
    assert campaign.handle(continued()) == [Measure(0, SETTINGS, 0, 0, 0.0)]


@pytest.mark.parametrize("state", ["propose", "measure", "measure again", "paused, propose", "paused, measure"])
def test_an_abort_ends_it_wherever_it_is(state: str) -> None:
    campaign = at(state)
    assert campaign.handle(abort()) == [Stop(Outcome.ABORTED, "smoke", "ada")]
    assert campaign.handle(stopped()) == []
    assert (campaign.state, campaign.history.outcome) == (State.STOPPED, Outcome.ABORTED)


def test_an_abort_that_comes_too_late_does_not_change_the_outcome() -> None:
    campaign = new_campaign(confirm=0)
    play(campaign, opened(), proposed(), measured(), abort())
    assert [action.outcome for action in campaign.due() if isinstance(action, Stop)] == [Outcome.REACHED]


def replan(campaign: Campaign, **plan: Any) -> None:
    campaign.plan = Plan(GOAL, **plan)


def test_a_spent_campaign_goes_on_with_a_larger_plan() -> None:
    campaign = new_campaign(rules=(Trials(limit=2),))
    campaign.handle(opened())
    run_on(campaign, MISS)
    assert campaign.history.outcome is Outcome.SPENT
    replan(campaign, rules=(Trials(limit=4),))
    assert campaign.handle(resumed()) == [Propose(2)]
    assert campaign.history.outcome is None
    run_on(campaign, MISS)
    assert (campaign.history.trials, campaign.history.outcome) == (4, Outcome.SPENT)


def test_a_resume_forgets_that_the_instrument_was_off() -> None:
    campaign = new_campaign()
    play(campaign, opened(), interrupted(), Safe(Power.OFF, None, "", 1, 0.1, 1.0))
    assert campaign.safe is not None
    campaign.handle(resumed())
    assert campaign.safe is None


def test_a_spent_campaign_resumed_with_the_same_plan_stops_again_at_once() -> None:
    campaign = new_campaign(rules=(Trials(limit=2),))
    campaign.handle(opened())
    run_on(campaign, MISS)
    campaign.handle(resumed())
    assert [type(event) for event in run_on(campaign, MISS)] == [Stopped]


def test_a_trial_broken_off_by_the_clock_is_taken_up_where_it_was() -> None:
    campaign = new_campaign(average=3, rules=(Minutes(limit=1),))
    play(campaign, opened(), proposed(), measured(at=70.0), stopped(Outcome.SPENT, at=71.0))
    assert campaign.handle(resumed(at=80.0)) == [Measure(0, SETTINGS, 1, 0, 0.0)]


def test_a_stop_that_was_not_written_is_reconsidered_with_the_new_plan() -> None:
    campaign = new_campaign(rules=(Trials(limit=1),))
    play(campaign, opened(), proposed(), measured(readings=MISS))
    assert isinstance(campaign.due()[0], Stop)
    replan(campaign, rules=(Trials(limit=2),))
    assert campaign.handle(resumed()) == [Propose(1)]


def test_a_goal_that_was_reached_stays_reached_over_a_resume() -> None:
    campaign = new_campaign(confirm=0)
    play(campaign, opened(), proposed(), measured())
    assert campaign.handle(resumed()) == [Stop(Outcome.REACHED, "All channels within tolerance (1 reading).", "goal")]


def test_after_failures_a_resume_gives_the_instrument_its_chances_again() -> None:
    campaign = new_campaign(retries=0, rules=(Failures(limit=1),))
    play(campaign, opened(), proposed(), failed(), stopped(Outcome.FAILED))
    assert campaign.handle(resumed()) == [Propose(1)]


def test_after_unreachable_a_resume_asks_the_solver_again() -> None:
    campaign = new_campaign(rules=(UnreachableGoal(times=1),))
    unreachable = proposed(verdict=Verdict.UNREACHABLE)
    play(campaign, opened(), unreachable, measured(readings=MISS), stopped(Outcome.UNREACHABLE))
    assert campaign.handle(resumed()) == [Propose(1)]


def test_fewer_confirmations_after_a_resume_end_a_trial_that_has_more_already() -> None:
    campaign = new_campaign(average=1, confirm=4)
    measure_trial(campaign, red(100.0, 100.0, 100.0))
    replan(campaign, average=1, confirm=1)
    campaign.handle(resumed())
    assert [type(event) for event in run_on(campaign)] == [Measured, Stopped]
    assert campaign.history.outcome is Outcome.REACHED


# The state is the fold --------------------------------------------------------------------------------------------
def plan_of(numbers: dict[str, Any]) -> Plan:
    rules: list[Rule] = [Failures(limit=numbers["failures"]), UnreachableGoal(times=2), Stagnation(trials=3)]
    rules += [Trials(limit=numbers["trials"]), Minutes(limit=numbers["minutes"])]
    goal = GOAL if numbers["goal"] else None
    return Plan(
        goal, tuple(rules), numbers["average"], numbers["confirm"], numbers["retries"], 0.5, 3.0, numbers["trials"]
    )


changeable = {
    "trials": st.integers(1, 8),
    "failures": st.integers(1, 3),
    "minutes": st.sampled_from([0.5, 5.0, 50.0]),
    "confirm": st.integers(0, 3),
    "retries": st.integers(0, 2),
}
any_numbers = st.fixed_dictionaries(
    {**changeable, "average": st.integers(1, 3), "goal": st.sampled_from([True, True, False])}
)
any_changes = st.fixed_dictionaries({}, optional=changeable)


def fold(numbers: dict[str, Any], events: Iterable[Event]) -> Iterator[Campaign]:
    """The campaign before the first event and after each: one and the same, going on."""
    plan = plan_of(numbers)
    campaign = Campaign(plan, History(kit.INPUTS, kit.CHANNELS, plan.goal))
    yield campaign
    for event in events:
        if isinstance(event, Resumed):
            numbers = {**numbers, **event.changes}
            campaign.plan = plan_of(numbers)
        campaign.handle(event)
        yield campaign


def draw_event(data: st.DataObject, campaign: Campaign, now: float) -> Event:
    """Mostly what is due, well or badly performed; now and then something from outside, or out of the blue."""
    due = campaign.due()
    small = st.integers(0, 3)
    outside: list[st.SearchStrategy[Event]] = [
        st.builds(lambda changes: resumed(now, **changes), any_changes),
        st.sampled_from([paused(now), continued(now), interrupted(now), abort(now)]),
        st.builds(lambda t, r, a: measured(t, r, a, at=now), small, small, small),
        st.builds(lambda t, r, a: failed(t, r, a, at=now), small, small, small),
        st.sampled_from([opened(now), proposed(1, now), unproposed(0, now), stopped(Outcome.SPENT, now)]),
    ]
    if not due or data.draw(st.integers(0, 3), "outside if 0") == 0:
        if due or data.draw(st.booleans(), "stray"):
            return data.draw(st.one_of(outside))
        return continued(now) if campaign.paused and not campaign.interrupted else data.draw(outside[0])
    action = due[0]
    if isinstance(action, Propose):
        return perform(action, now, verdict=data.draw(st.sampled_from([None, Verdict.REACHABLE, Verdict.UNREACHABLE])))
    if isinstance(action, Measure):
        how = data.draw(st.sampled_from(["hit", "hit", "hit", "miss", "saturated", "mixed", "retry", "fail"]))
        if how in ("retry", "fail"):
            return failed(action.trial, action.repeat, action.attempt, retryable=how == "retry", at=now)
        changes: dict[str, Any] = {"saturated": ("red",)} if how == "saturated" else {}
        if how == "mixed":
            changes["applied"] = {**SETTINGS, "R": data.draw(st.sampled_from([0.1, 0.9]))}
        return perform(action, now, MISS if how == "miss" else HIT, **changes)
    return perform(action, now)


def check_invariants(campaign: Campaign, written: list[Event], most_trials: int) -> None:
    history, due = campaign.history, campaign.due()
    readings = [event for event in written if isinstance(event, Measured)]
    failures = [event for event in written if isinstance(event, Failed) and event.stage == "measure"]
    places = [(event.trial, event.repeat) for event in readings]
    proposals = [event.trial for event in written if isinstance(event, Proposed)]
    assert len(due) <= 1
    assert not (due and (campaign.paused or campaign.interrupted or campaign.state in (State.NEW, State.STOPPED)))
    assert due or campaign.paused or campaign.interrupted or campaign.state in (State.NEW, State.STOPPED)
    assert len(set(places)) == len(places)
    assert proposals == list(range(len(proposals)))
    assert history.trials <= most_trials
    assert not isinstance(due[0] if due else None, Propose) or history.trials < most_trials
    assert history.readings == history.rows == len(readings)
    assert history.attempts == len(readings) + len(failures)
    if history.outcome is Outcome.REACHED:
        last = [event for event in readings if event.trial == history.trials - 1]
        mean = {name: sum(event.readings[name] for event in last) / len(last) for name in HIT}
        assert GOAL.reached(mean, [name for event in last for name in event.saturated])
        assert len({repr(event.applied) for event in last}) == 1


@pytest.mark.slow
@settings(max_examples=50)
@given(st.data())
def test_replaying_what_was_written_gives_the_same_state_and_the_same_due_after_every_event(
    data: st.DataObject,
) -> None:
    first = data.draw(any_numbers, "plan")
    numbers, most_trials, now = first, first["trials"], 0.0
    campaign = next(fold(first, []))
    written: list[Event] = []
    seen, sha = [(snapshot(campaign), campaign.due())], "0" * 32
    for event in [opened(), *[None] * data.draw(st.integers(0, 40), "events")]:
        now += data.draw(st.sampled_from([0.0, 0.5, 20.0]))
        event = event or draw_event(data, campaign, now)
        plan, changed = campaign.plan, numbers
        if isinstance(event, Resumed):
            changed = {**numbers, **event.changes}
            campaign.plan = plan_of(changed)
        try:
            due = campaign.handle(event)
        except OutOfTurn:
            campaign.plan = plan
            assert snapshot(campaign) == seen[-1][0]
            continue
        numbers, most_trials = changed, max(most_trials, changed["trials"])
        line, after = encode(event, sha)
        written.append(decode(line[:-1], sha)[0])
        sha = after
        assert due == campaign.due()
        check_invariants(campaign, written, most_trials)
        seen.append((snapshot(campaign), due))

    for (state, due), again in zip(seen, fold(first, written), strict=True):
        assert snapshot(again) == state
        assert again.due() == due

    # From wherever it was left it comes to an end, resumed with whatever plan, whether it hits from now on or not.
    changes = data.draw(any_changes, "the last resume")
    for readings in (HIT, MISS):
        rest = copy.deepcopy(campaign)
        if rest.history.outcome not in (Outcome.REACHED, Outcome.DONE):
            rest.plan = plan_of({**numbers, **changes})
            play(rest, resumed(now, **changes), *[continued(now)] * rest.paused)
        run_on(rest, readings, most=200)
        assert (rest.state, rest.due()) == (State.STOPPED, [])


def test_a_reading_beyond_a_limit_ends_the_campaign_as_failed() -> None:
    campaign = new_campaign()
    play(campaign, opened(), proposed())
    failure = failed(stage="interlock", error="pH = 9.5 is above its limit 9; it was switched off", maybe_measured=True)
    assert campaign.handle(failure) == [
        Stop(Outcome.FAILED, "interlock: pH = 9.5 is above its limit 9; it was switched off", "interlock")
    ]


# Skipped, attached, corrected ----------------------------------------------------------------------------------------
def test_a_skipped_trial_counts_as_one_and_is_neither_a_failure_nor_ranked() -> None:
    campaign = new_campaign(rules=(Trials(limit=2), Failures(limit=1)), average=2)
    play(campaign, opened(), proposed(0), measured(0, 0), skipped(0))
    history = campaign.history
    assert (history.trials, history.skipped, history.failed, history.failures, history.rows) == (1, 1, 0, 0, 1)
    assert (history.best, history.misses) == (None, [float("inf")])
    play(campaign, proposed(1), skipped(1))
    assert campaign.due() == [Stop(Outcome.SPENT, "all 2 trials used", "trials")]


def test_a_skipped_trial_neither_extends_nor_ends_a_streak_of_failures() -> None:
    campaign = new_campaign(rules=(Failures(limit=2),))
    play(campaign, opened(), proposed(0), failed(0), proposed(1), skipped(1), proposed(2), failed(2))
    assert isinstance(campaign.due()[0], Stop)


def test_skipped_points_of_a_design_are_named_at_its_end() -> None:
    campaign = new_campaign(goal=None, collect=2)
    play(campaign, opened(), proposed(0), measured(0), proposed(1), skipped(1))
    assert campaign.due() == [Stop(Outcome.DONE, "1 of 2 points measured, 1 skipped", "design")]


def test_an_attached_row_changes_nothing_that_is_due() -> None:
    campaign = at("measure again")
    before = campaign.due()
    assert campaign.handle(attached()) == before
    assert (campaign.history.rows, campaign.history.readings, campaign.history.trials) == (2, 1, 0)


def test_a_correction_of_a_pending_end_takes_it_back() -> None:
    campaign = new_campaign(average=1, confirm=1)
    play(campaign, opened(), proposed(0), measured(0, 0), measured(0, 1))
    assert isinstance(campaign.due()[0], Stop)
    assert campaign.handle(corrected(0, 1, {**HIT, "red": 150.0})) == [Propose(1)]
    assert campaign.history.outcome is None


def test_a_goal_that_is_reached_by_a_correction_ends_a_trial_under_way() -> None:
    campaign = new_campaign(average=1, confirm=1)
    play(campaign, opened(), proposed(0), measured(0, 0), measured(0, 1, readings={**HIT, "red": 150.0}), proposed(1))
    (stop,) = campaign.handle(corrected(0, 1))
    assert isinstance(stop, Stop)
    assert (stop.outcome, campaign.history.best) == (Outcome.REACHED, campaign.history.trial(0))


def test_a_correction_leaves_what_a_person_ended_as_it_ended() -> None:
    campaign = new_campaign(average=1, confirm=1)
    miss = measured(0, 1, readings={**HIT, "red": 150.0})
    play(campaign, opened(), proposed(0), measured(0, 0), miss, abort(), stopped(), corrected(0, 1))
    assert (campaign.state, campaign.history.outcome) == (State.STOPPED, Outcome.ABORTED)
    assert campaign.history.trial(0).reached


def test_excluding_a_confirmation_of_a_reached_goal_undoes_it() -> None:
    campaign = at("stopped, reached")
    assert campaign.handle(corrected(0, 1, None)) == [Propose(1)]
    assert (campaign.history.readings, campaign.history.rows) == (3, 3)


READINGS = st.lists(st.tuples(st.sampled_from([HIT, MISS, None]), st.integers(0, 30)), max_size=12)


@pytest.mark.slow
@given(changes=READINGS, average=st.integers(1, 3), confirm=st.integers(0, 2))
@settings(max_examples=200)
def test_after_any_corrections_rows_and_means_are_those_of_the_readings_that_count(
    changes: list[tuple[dict[str, float] | None, int]], average: int, confirm: int
) -> None:
    """Against a plain list of the readings: the oracle."""
    campaign = new_campaign(rules=(Trials(limit=6),), average=average, confirm=confirm)
    campaign.handle(opened())
    values: dict[tuple[int, int], dict[str, float] | None] = {}
    for step, (readings, which) in enumerate(changes * 3):
        for action in campaign.due()[:1]:
            event = perform(action, readings=MISS if step % 3 else HIT)
            campaign.handle(event)
            if isinstance(event, Measured):
                values[event.trial, event.repeat] = dict(event.readings)
        if values:
            place = list(values)[which % len(values)]
            values[place] = readings
            campaign.handle(corrected(*place, readings))
    count = [row for row in values.values() if row is not None]
    assert campaign.history.Y.tolist() == [[row[name] for name in kit.CHANNELS] for row in count]
    assert campaign.history.readings == len(count)
    for trial in [*campaign.history.closed, *filter(None, [campaign.history.open_trial])]:
        own = [row for (number, _), row in values.items() if number == trial.trial and row is not None]
        mean = {name: sum(row[name] for row in own) / len(own) for name in kit.CHANNELS} if own else {}
        assert trial.mean == pytest.approx(mean)
        enough = len(own) >= average * (1 + confirm)
        assert trial.reached == (trial.over and enough and GOAL.reached(mean, frozenset()))
