"""The stopping rules, one by one, and the plan that they make together."""

from __future__ import annotations

import math

import pytest
from core_kit import CHANNELS, GOAL, HIT, INPUTS, MISS, proposed, reading
from pydantic import ValidationError

from sdl.core.history import History
from sdl.core.stopping import Failures, Minutes, Stagnation, StopRules, Trials, UnreachableGoal
from sdl.types import Outcome, Verdict

FAR = {"red": 200.0, "green": 200.0, "clear": 5.0}


def history(**facts: object) -> History:
    found = History(INPUTS, CHANNELS, GOAL)
    for name, value in facts.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("rule", "before", "at", "outcome", "name"),
    [
        (Trials(limit=5), {"trials": 4}, {"trials": 5}, Outcome.SPENT, "trials"),
        (Minutes(limit=0.5), {"active": 29.999}, {"active": 30.0}, Outcome.SPENT, "minutes"),
        (Failures(limit=2), {"failures": 1}, {"failures": 2}, Outcome.FAILED, "failures"),
        (UnreachableGoal(times=2), {"unreachable": 1}, {"unreachable": 2}, Outcome.UNREACHABLE, "unreachable"),
        (
            UnreachableGoal(times=2),
            {"resolution_limited_streak": 1},
            {"resolution_limited_streak": 2},
            Outcome.UNREACHABLE,
            "unreachable",
        ),
        (Stagnation(trials=2), {"misses": [3.0, 3.0]}, {"misses": [3.0, 3.0, 3.0]}, Outcome.STALLED, "stagnation"),
    ],
)
def test_a_rule_fires_exactly_at_its_limit(
    rule: Trials, before: dict[str, object], at: dict[str, object], outcome: Outcome, name: str
) -> None:
    assert rule.check(history(**before), GOAL) is None
    reason = rule.check(history(**at), GOAL)
    assert reason is not None
    assert (reason.outcome, reason.rule) == (outcome, name)


def test_no_rule_fires_on_an_empty_history() -> None:
    rules = StopRules(minutes=1, stagnation=Stagnation(trials=2)).active()
    assert [rule.check(history(), GOAL) for rule in rules] == [None] * 5


def test_stagnation_forgives_nothing_less_than_the_improvement_asked_for() -> None:
    rule = Stagnation(trials=2, by=0.1)
    assert rule.check(history(misses=[10.0, 9.5, 8.9]), GOAL) is None
    assert rule.check(history(misses=[10.0, 9.5, 9.0]), GOAL) is not None
    assert rule.check(history(misses=[99.0, 10.0, 9.5, 9.0]), GOAL) is not None  # looks back over two trials only


def test_stagnation_waits_for_a_first_trial_that_can_be_ranked() -> None:
    rule = Stagnation(trials=2)
    assert rule.check(history(misses=[math.inf] * 9), GOAL) is None
    assert rule.check(history(misses=[math.inf, math.inf, 4.0]), GOAL) is None
    assert rule.check(history(misses=[math.inf, 4.0, 4.0, 4.0]), GOAL) is not None


def test_stagnation_with_an_improvement_of_nothing_fires_where_nothing_changed() -> None:
    rule = Stagnation(trials=2, by=0.0)
    assert rule.check(history(misses=[4.0, 4.0, 3.999]), GOAL) is None
    assert rule.check(history(misses=[4.0, 4.0, 4.0]), GOAL) is not None


def test_rules_about_the_goal_say_nothing_without_one() -> None:
    assert Stagnation(trials=2).check(history(misses=[4.0] * 9), None) is None
    assert UnreachableGoal(times=1).check(history(unreachable=5), None) is None


def test_the_reason_names_the_nearest_trial_where_there_is_one() -> None:
    spent = history()
    for values in (FAR, MISS, FAR):
        spent.begin(proposed(spent.trials))
        spent.add_reading(reading(values))
        spent.close()
    reason = Trials(limit=3).check(spent, GOAL)
    assert reason is not None
    assert reason.text == "all 3 trials used; closest: trial 1, red off by +50 (tolerance ± 10)"
    blind = history(trials=3)
    blind.begin(proposed(verdict=Verdict.REACHABLE))
    blind.add_reading(reading(HIT, saturated=("red",)))
    blind.close()
    reason = Trials(limit=3).check(blind, GOAL)
    assert reason is not None
    assert reason.text == "all 3 trials used"


def test_the_closest_readings_of_an_unreachable_goal_are_named_once() -> None:
    found = history(unreachable=2)
    found.begin(proposed(verdict=Verdict.UNREACHABLE))
    found.add_reading(reading(FAR))
    found.close()
    known = UnreachableGoal(times=2).check(found, GOAL)
    assert known is not None
    assert " Closest: trial 0, red off by " in known.text
    found.shortfall = GOAL.shortfall(FAR)
    known = UnreachableGoal(times=2).check(found, GOAL)
    assert known is not None
    assert "Closest readings: red" in known.text
    assert known.text.lower().count("closest") == 2  # at the closest settings; closest readings
    assert "trial 0" not in known.text


def test_the_reason_of_failures_tells_the_last_error() -> None:
    reason = Failures(limit=1).check(history(failures=1, last_error="Busy: another user"), GOAL)
    assert reason is not None
    assert reason.text == "a trial failed: Busy: another user"


def test_checking_a_rule_changes_nothing() -> None:
    found = history(trials=99, failures=9, unreachable=9, active=900.0, misses=[3.0] * 9)
    before = repr(vars(found))
    for rule in StopRules(minutes=1, stagnation=Stagnation(trials=2)).active():
        assert rule.check(found, GOAL) is not None
    assert repr(vars(found)) == before


def test_only_the_rules_that_are_switched_on_are_asked() -> None:
    assert StopRules().active() == (Failures(limit=5), UnreachableGoal(times=2), Trials(limit=40))
    assert StopRules(unreachable=None, failures=1, trials=3).active() == (Failures(limit=1), Trials(limit=3))
    every = StopRules(minutes=2, stagnation=Stagnation(trials=4, by=0.2)).active()
    assert [type(rule).__name__ for rule in every] == ["Failures", "UnreachableGoal", "Stagnation", "Trials", "Minutes"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"trials": 0},
        {"trials": 1_000_001},
        {"minutes": 0},
        {"failures": 0},
        {"unreachable": 0},
        {"stagnation": {"trials": 1}},
        {"stagnation": {"trials": 3, "by": 1}},
        {"trails": 40},
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StopRules.model_validate(wrong)
