"""One trial, reading by reading: its mean, what was applied, how it is judged, and what one more reading costs."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import pytest
from core_kit import GOAL, HIT, SETTINGS, failed, measured, new_campaign, opened, paused, play, proposed, reading
from hypothesis import given
from hypothesis import strategies as st

from sdl.core.campaign import Campaign
from sdl.core.goal import Goal
from sdl.core.trials import Trial, TrialState
from sdl.types import Verdict


def trial(*values: dict[str, float], goal: Goal | None = GOAL) -> Trial:
    made = Trial(proposed(verdict=Verdict.REACHABLE), goal)
    for one in values:
        made.add(reading(one))
    return made


def latest(campaign: Campaign) -> Trial:
    assert campaign.history.latest is not None
    return campaign.history.latest


def test_a_trial_is_the_mean_of_its_raw_readings() -> None:
    made = trial({**HIT, "red": 90.0}, {**HIT, "red": 120.0})
    assert made.mean == {"red": 105.0, "green": 200.0, "clear": 5.0}
    assert (made.miss, made.worst, made.inside, made.readings) == (0.5, "red", True, 2)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=60))
def test_the_mean_is_that_of_exact_arithmetic_in_whatever_order_the_readings_come(values: list[float]) -> None:
    exact = float(sum(map(Fraction, values)) / len(values))
    scale = max(map(abs, values)) or 1.0
    assert trial(*({"red": value} for value in values)).mean["red"] == pytest.approx(
        exact, rel=1e-15, abs=1e-15 * scale
    )


def test_a_small_reading_is_not_lost_between_two_large_ones() -> None:
    assert trial({"red": 1e16}, {"red": 1.0}, {"red": -1e16}).mean["red"] == pytest.approx(1 / 3)
    assert trial({"red": math.inf}, {"red": 1.0}).mean["red"] == math.inf


def test_a_channel_that_a_later_reading_lacks_has_no_mean_and_the_trial_no_rank() -> None:
    made = trial(HIT, {"red": 100.0, "clear": 5.0})
    assert math.isnan(made.mean["green"])
    assert (made.miss, made.inside, made.worst) == (math.inf, False, "")


def test_readings_at_different_settings_have_no_settings_in_common_and_no_rank() -> None:
    made = trial(HIT)
    made.add(reading(HIT, applied={"R": 0.5, "G": 0.25 + 1e-9}))
    assert made.applied == SETTINGS
    made.add(reading(HIT, applied={"R": 0.5, "G": 0.26}))
    made.add(reading(HIT))
    assert (made.applied, made.miss, made.shown_settings) == (None, math.inf, SETTINGS)


def test_one_saturated_reading_takes_the_rank_from_the_whole_trial() -> None:
    made = trial(HIT)
    assert made.miss == 0
    made.add(reading(HIT, saturated=("red",)))
    made.add(reading(HIT))
    assert (made.miss, made.saturated) == (math.inf, {"red"})


def test_without_readings_or_without_a_goal_nothing_is_judged() -> None:
    assert (trial().mean, trial().miss, trial().applied, trial().worst) == ({}, math.inf, None, "")
    assert (trial(HIT, goal=None).miss, trial(HIT, goal=None).judged) == (math.inf, False)


def test_every_fault_is_named_once() -> None:
    made = trial()
    for fault in ("not-applied", None, "stale", "not-applied"):
        made.add(reading(fault=fault))
    assert made.faults == ("not-applied", "stale")


def test_the_state_follows_the_campaign() -> None:
    campaign = new_campaign(average=2, confirm=1, retries=1)
    play(campaign, opened(), proposed())
    seen = [latest(campaign).state]
    for repeat in range(4):
        campaign.handle(measured(repeat=repeat))
        seen.append(latest(campaign).state)
    assert seen == [TrialState.OPEN, TrialState.OPEN, TrialState.CONFIRMING, TrialState.CONFIRMING, TrialState.REACHED]
    assert latest(campaign).over


def test_a_trial_that_the_further_readings_do_not_confirm_says_so() -> None:
    campaign = new_campaign(average=1, confirm=1)
    play(campaign, opened(), proposed(), measured(), measured(repeat=1, readings={**HIT, "red": 150.0}))
    assert latest(campaign).state is TrialState.NOT_CONFIRMED
    play(campaign, proposed(1), measured(1, readings={**HIT, "red": 150.0}))
    assert (latest(campaign).trial, latest(campaign).state) == (1, TrialState.CLOSED)


def test_a_failed_attempt_is_remembered_until_a_reading_comes_and_the_last_one_for_good() -> None:
    campaign = new_campaign(average=2, retries=1)
    play(campaign, opened(), proposed(), failed(retryable=True, error="busy"))
    assert (latest(campaign).last_error, latest(campaign).state) == ("busy", TrialState.OPEN)
    play(campaign, measured(attempt=1), paused())
    assert (latest(campaign).last_error, latest(campaign).failures, latest(campaign).miss) == ("", 1, 0.0)
    campaign = new_campaign(average=2, retries=0)
    play(campaign, opened(), proposed(), measured(), failed(repeat=1, error="gone"))
    assert (latest(campaign).last_error, latest(campaign).failed, latest(campaign).miss) == ("gone", True, math.inf)
    assert latest(campaign).mean == HIT


def test_the_ten_thousandth_reading_costs_what_the_tenth_did() -> None:
    import sys

    made, counts = trial(HIT), []

    def trace(frame: object, what: str, _: object) -> object:
        frame.f_trace_opcodes = True  # type: ignore[attr-defined]
        counts[-1] += what == "opcode"
        return trace

    for number in range(10_000):
        if number in (10, 9_999):
            counts.append(0)
            before = sys.gettrace()
            sys.settrace(trace)  # type: ignore[arg-type]
            made.add(reading(HIT))
            _ = made.miss, made.mean, made.inside
            sys.settrace(before)
        else:
            made.add(reading(HIT))
            _ = made.mean  # as the live table asks after every reading; sums are made only when asked for
    assert 100 < counts[1] < 1.5 * counts[0]  # a collection of garbage may fall into either
    assert made.mean["red"] == statistics.fmean([HIT["red"]])
