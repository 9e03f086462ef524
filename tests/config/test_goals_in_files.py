"""Targets, limits and preferences as a campaign file has them, and the mistakes that can be made."""

from __future__ import annotations

from typing import Any

import pytest

from sdl import config
from sdl.config.goals import Target, goal_problems
from sdl.core.goal import Tolerance
from sdl.errors import ConfigError
from sdl.types import Channel

BASE = {"name": "x", "instrument": {"kind": "twin"}}


def parse(goal: Any, **more: Any) -> config.CampaignFile:
    return config.parse({**BASE, "goal": goal, **more})


@pytest.mark.parametrize(
    ("written", "low", "high", "target"),
    [
        (16384, 16056.32, 16711.68, 16384),
        ({"target": 16384, "tolerance": 300}, 16084, 16684, 16384),
        ({"between": [1000, 2000.5]}, 1000, 2000.5, None),
        ({"at most": 60000}, None, 60000, None),
        ({"at_most": 60000}, None, 60000, None),
        ({"at least": 0}, 0, None, None),
    ],
)
def test_every_form_becomes_a_band_and_is_written_back_to_the_same(
    written: Any, low: float | None, high: float | None, target: float | None
) -> None:
    campaign = parse({"clear": written})
    goal = campaign.goals()
    assert goal is not None
    assert goal.bands["clear"].plain() == pytest.approx({"target": target, "low": low, "high": high})
    again = config.parse(campaign.plain())
    assert again == campaign
    assert again.plain() == campaign.plain()


def test_a_recorded_campaign_is_read_back_from_json_values() -> None:
    import json

    campaign = parse({"clear": {"between": [1, 2]}}, prefer={"minimise": "power"})
    loop = config.CampaignRules.model_validate(
        {k: v for k, v in json.loads(json.dumps(campaign.plain())).items() if k in config.CampaignRules.model_fields}
    )
    assert loop.goals() == campaign.goals()
    assert loop.prefer == campaign.prefer


@pytest.mark.parametrize(
    ("written", "where", "message"),
    [
        ({"between": [2, 1]}, "goal.clear", "the first number must be below the second, not [2, 1]"),
        ({"between": [1, 1]}, "goal.clear", "the first number must be below the second"),
        ({"between": [1]}, "goal.clear", "must be two numbers, [lowest, highest]"),
        ({"between": 5}, "goal.clear", "must be two numbers"),
        ({"between": ["a", 2]}, "goal.clear", "must be two numbers"),
        ({"between": [True, 2]}, "goal.clear", "must be two numbers"),
        ({"target": 5, "between": [1, 9]}, "goal.clear", "has target and between; give one of them"),
        ({"target": 5, "at most": 9}, "goal.clear", "has target and at most; give one of them"),
        ({"at most": 9, "at least": 5}, "goal.clear", "write between: [5, 9]"),
        ({"at most": 9, "tolerance": 2}, "goal.clear", "a tolerance belongs to a target"),
        ({"tolerance": 2}, "goal.clear", "{at most: 60000}"),
        ({}, "goal.clear", "{between: [1000, 60000]}"),
        ("bright", "goal.clear", "not 'bright'"),
        ({"atmost": 9}, "goal.clear.atmost", "did you mean 'at most'?"),
        ({"at least": 65535}, "goal.clear", "at least 65535 cannot be read: the channel saturates at 65535"),
        ({"at most": 70000}, "goal.clear", "is not below saturation (65535)"),
        ({"between": [1, 65535]}, "goal.clear", "reaches saturation (65535)"),
        ({"at most": "x"}, "goal.clear.at most", "number"),
    ],
)
def test_a_mistake_in_a_goal_says_where_and_what_would_be_right(written: Any, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"clear": written})
    assert [problem.path for problem in caught.value.problems] == [where]
    assert message in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("prefer", "where", "message"),
    [
        ({"minimise": "Q"}, "prefer.minimise", "must be one of power, R, G, B, not 'Q'"),
        ({"maximise": "powr"}, "prefer.maximise", "did you mean 'power'?"),
        ({}, "prefer", "must be {minimise: power}"),
        ({"minimise": "R", "maximise": "G"}, "prefer", "must be {minimise: power}"),
        ("power", "prefer", "must be {minimise: power}"),
        ({"minimize": "power"}, "prefer.minimize", "did you mean 'minimise'?"),
    ],
)
def test_a_mistake_in_a_preference_says_where_and_what_is_allowed(prefer: Any, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"clear": 5000}, prefer=prefer)
    assert [problem.path for problem in caught.value.problems] == [where]
    assert message in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("prefer", "cost"),
    [
        ({"minimise": "power"}, (1, 1, 1)),
        ({"maximise": "power"}, (-1, -1, -1)),
        ({"minimise": "G"}, (0, 1, 0)),
        ({"maximise": "G"}, (0, -1, 0)),
    ],
)
def test_a_preference_is_a_cost_of_each_input_over_its_range(prefer: dict[str, str], cost: tuple[float, ...]) -> None:
    campaign = parse({"clear": 5000}, prefer=prefer)
    assert campaign.prefer is not None
    assert campaign.prefer.cost(campaign.instrument.inputs) == cost


def test_a_tolerance_below_the_noise_of_the_twin_is_warned_of_with_what_would_do() -> None:
    goal = {"445nm": 16384, "515nm": 16384, "630nm": 16384}
    assert config.cautions(parse(goal)) == []
    (warning,) = config.cautions(parse(goal, tolerance="0.5%"))
    assert "average 11 readings per trial" in warning
    assert config.cautions(parse(goal, tolerance="0.5%", average=11)) == []
    (warning,) = config.cautions(parse(goal, tolerance="0.1%"))
    assert "averaging alone would need" in warning
    assert "; widen the tolerance" in warning
    assert config.cautions(parse({"clear": {"at most": 5000}})) == []
    still = {"kind": "twin", "noise": False}
    assert config.cautions(config.parse({**BASE, "instrument": still, "goal": goal, "tolerance": "0.5%"})) == []


def test_a_band_may_come_close_to_saturation_but_not_reach_it() -> None:
    channels = {"A": Channel(name="A", high=65535.0)}

    def mistakes(tolerance: float) -> list[str]:
        goal = {"A": Target(target=65000.0, tolerance=Tolerance(tolerance))}
        return [problem.message for problem in goal_problems(goal, Tolerance(2.0, percent=True), channels)]

    assert mistakes(534.9) == []
    assert mistakes(535.0) == ["65000 + tolerance 535 reaches saturation (65535); lower one of them"]


def test_a_goal_below_the_range_of_its_channel_cannot_be_read() -> None:
    channels = {"V": Channel(name="V", unit="V", low=-5.0, high=5.0)}

    def mistakes(**target: Any) -> list[str]:
        goal = {"V": Target.model_validate(target)}
        return [problem.message for problem in goal_problems(goal, Tolerance(0.1), channels)]

    assert mistakes(target=-5.0) == mistakes(between=[-6, -4]) == mistakes(at_most=-5.0) == []
    assert mistakes(target=-7.0) == ["-7 cannot be read: the range of the channel begins at -5"]
    assert mistakes(at_most=-6.0) == ["-6 cannot be read: the range of the channel begins at -5"]
    assert mistakes(between=[-9, -6]) == ["-6 cannot be read: the range of the channel begins at -5"]


def test_a_tolerance_that_leaves_no_width_is_refused_with_its_reason() -> None:
    channels = {"V": Channel(name="V", unit="V")}

    def mistakes(target: float, tolerance: Tolerance) -> list[str]:
        return [one.message for one in goal_problems({"V": Target(target=target)}, tolerance, channels)]

    assert mistakes(0.0, Tolerance(2.0, percent=True)) == [
        "a tolerance of 2% of 0 is 0; give it in the unit of the channel"
    ]
    assert mistakes(1.0, Tolerance(1e-300)) == [
        "a tolerance of 1e-300 is too narrow: no other number than 1 would be within it"
    ]


@pytest.mark.parametrize(("tolerance", "warned"), [(0.001, 1), (0.049, 1), (0.05, 0), (1.0, 0)])
def test_a_tolerance_narrower_than_half_the_resolution_of_the_channel_is_warned_of(
    tolerance: float, warned: int
) -> None:
    instrument = {
        "kind": "external", "inputs": {"power": {"high": 100}}, "channels": {"T": {"resolution": 0.1}, "p": {}}
    }  # fmt: skip
    tree = {"name": "x", "instrument": instrument, "goal": {"T": 180, "p": 3}, "tolerance": tolerance}
    cautions = config.cautions(config.parse(tree))
    assert len(cautions) == warned
    assert all("goal.T: the tolerance is narrower than half the resolution of the channel (0.1)" in c for c in cautions)
