"""A channel to maximise or minimise, as a campaign file has it, and what cannot stand beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdl import config
from sdl.core.goal import Direction, Tolerance
from sdl.errors import ConfigError
from sdl.registry import OURS

BASE = {"name": "x", "instrument": {"kind": "twin"}, "solver": "auto"}


def parse(goal: Any, **more: Any) -> config.CampaignFile:
    return config.parse({**BASE, "goal": goal, **more})


def mistakes(goal: Any, **more: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as refused:
        parse(goal, **more)
    return {problem.path: problem.message for problem in refused.value.problems}


@pytest.mark.parametrize("written", ["maximise", {"objective": "maximise"}])
def test_an_objective_is_written_back_as_a_word_and_becomes_a_band_without_limits(written: Any) -> None:
    campaign = parse({"clear": written, "445nm": {"at most": 9000}})
    assert campaign.plain()["goal"]["clear"] == "maximise"
    assert config.parse(json.loads(json.dumps(campaign.plain()))) == campaign
    goal = campaign.goals()
    assert goal is not None
    assert (goal.objective, goal.direction) == ("clear", Direction.MAXIMISE)
    assert str(goal) == "clear maximise, 445nm at most 9000"
    assert goal.bands["clear"].plain() == {"target": None, "low": None, "high": None, "direction": "maximise"}


@pytest.mark.parametrize(
    ("written", "improvement"), [("1%", Tolerance(1.0, percent=True)), (25, Tolerance(25.0)), (None, None)]
)
def test_the_improvement_is_a_percentage_or_in_the_unit_of_the_channel(written: Any, improvement: Any) -> None:
    campaign = parse({"clear": "minimise"}, stop={"improvement": written})
    assert campaign.plan().improvement == improvement
    assert config.parse(campaign.plain()) == campaign


def test_the_schema_offers_both_words() -> None:
    (words,) = [form["enum"] for form in config.schema()["$defs"]["Target"]["anyOf"] if "enum" in form]
    assert words == ["maximise", "minimise"]


@pytest.mark.parametrize(
    ("goal", "more", "where", "message"),
    [
        ({"clear": "largest"}, {}, "goal.clear", "maximise or minimise"),
        ({"clear": "maximise", "nir": "minimise"}, {}, "goal.nir", "only one channel can be maximised or minimised"),
        ({"clear": {"objective": "maximise", "at most": 9}}, {}, "goal.clear", "has at most and objective; give one"),
        ({"clear": {"objective": "minimise", "tolerance": 9}}, {}, "goal.clear", "an objective has none"),
        ({"clear": 900}, {"stop": {"improvement": "1%"}}, "stop.improvement", "needs a channel to maximise"),
        ({"clear": "maximise"}, {"stop": {"improvement": 0}}, "stop.improvement", "must be above 0"),
        ({"clear": "maximise"}, {"stop": {"improvement": "x"}}, "stop.improvement", "must be 1% (of the best reading)"),
        ({"clear": "maximise"}, {"stop": {"stagnation": {"trials": 9}}}, "stop.stagnation", "use stop.improvement"),
        (
            {"clear": "maximise"},
            {"prefer": {"minimise": "power"}},
            "prefer",
            "has no effect in a campaign that maximises clear",
        ),
        ({"clear": "maximise"}, {"expect": {"outcome": "reached"}}, "expect.outcome", "ends as done or spent"),
        ({"clear": "maximise"}, {"expect": {"outcome": "done", "error": "1%"}}, "expect.error", "has no error"),
        ({"clear": 900}, {"expect": {"outcome": "done"}}, "expect.outcome", "with an objective, ends as done"),
        ({"clear": "maximise"}, {"solver": {"kind": "linear", "memory": 9}}, "solver", "with these options"),
        ({"clear": "maximise"}, {"solver": {"kind": "auto", "candidates": ["gmm"]}}, "solver", "with these options"),
    ],
)
def test_what_has_no_meaning_is_refused_where_it_stands(
    goal: Any, more: dict[str, Any], where: str, message: str
) -> None:
    found = mistakes(goal, **more)
    assert message in found[where]


@pytest.mark.parametrize("kind", OURS["solvers"])
def test_every_solver_maximises_or_says_in_one_sentence_that_it_cannot(kind: str) -> None:
    if kind in ("auto", "gp", "quadratic", "linear"):
        assert parse({"clear": "maximise"}, solver=kind).solver.kind == kind
        return
    found = mistakes({"clear": "maximise"}, solver=kind)
    assert found["solver"] == f"{kind} cannot maximise clear; use auto, gp, quadratic or linear"


def test_the_cost_counts_a_confirmation_as_a_trial_and_a_missing_improvement_is_told() -> None:
    campaign = parse({"clear": "maximise"}, stop={"trials": 20}, average=2, confirm=3)
    assert config.cost(campaign).readings == 20 * 6
    (caution,) = config.cautions(campaign)
    assert caution.startswith("stop.improvement: not given, so that all 20 trials are used")
    assert config.cautions(parse({"clear": "maximise"}, stop={"improvement": "1%"})) == []
