"""Numbers with the unit of their channel in the goal of a campaign file."""

from __future__ import annotations

from typing import Any

import pytest

from sdl import config
from sdl.core.goal import Band
from sdl.errors import ConfigError


def campaign(goal: Any, **options: Any) -> dict[str, Any]:
    instrument = {
        "kind": "manual",
        "inputs": [{"name": "salt", "high": 10}],
        "channels": [
            {"name": "EC", "unit": "mS/cm"}, {"name": "pH", "unit": ""}, {"name": "yield", "unit": "%"},
            {"name": "dose", "unit": "µL"},
        ],
    }  # fmt: skip
    return {"name": "units", "instrument": instrument, "goal": goal, **options}


@pytest.mark.parametrize(
    ("goal", "name", "band"),
    [
        ({"EC": "3 mS/cm"}, "EC", Band.around(3, 0.1)),
        ({"EC": "-1.5e1mS/cm"}, "EC", Band.around(-15, 0.1)),
        ({"EC": {"at least": "3 mS/cm"}}, "EC", Band.at_least(3, 0.1)),
        ({"EC": {"at most": "3 mS/cm"}}, "EC", Band.at_most(3, 0.1)),
        ({"EC": {"between": ["1 mS/cm", 3]}}, "EC", Band.between(1, 3)),
        ({"EC": {"target": "3 mS/cm", "tolerance": "0.2 mS/cm"}}, "EC", Band.around(3, 0.2)),
        ({"EC": {"target": "3 mS/cm", "tolerance": "2%"}}, "EC", Band.around(3, 0.06)),
        ({"yield": "60 %"}, "yield", Band.around(60, 0.1)),
        ({"yield": {"target": "60%", "tolerance": "2%"}}, "yield", Band.around(60, 1.2)),
        ({"dose": "5 \N{GREEK SMALL LETTER MU}L"}, "dose", Band.around(5, 0.1)),  # the other of the two letters
    ],
)
def test_a_number_may_carry_the_unit_of_its_channel(goal: Any, name: str, band: Band) -> None:
    parsed = config.parse(campaign(goal, tolerance=0.1)).goals()
    assert parsed is not None
    found = parsed.bands[name]
    assert (found.target, found.low, found.high) == pytest.approx((band.target, band.low, band.high))


def test_the_tolerance_of_the_campaign_may_carry_the_unit_of_all_channels_that_use_it() -> None:
    parsed = config.parse(campaign({"EC": "3 mS/cm", "pH": {"target": 7, "tolerance": 1}}, tolerance="0.5 mS/cm"))
    assert str(parsed.tolerance) == "0.5"
    with pytest.raises(ConfigError, match="tolerance: pH has no unit, not in 'mS/cm'"):
        config.parse(campaign({"EC": 3, "pH": 7}, tolerance="0.5 mS/cm"))


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ({"EC": "3 mS"}, "goal.EC: EC is in mS/cm, not in 'mS'"),
        ({"EC": {"at least": "3 S/cm"}}, "goal.EC: EC is in mS/cm, not in 'S/cm'"),
        ({"EC": {"target": 3, "tolerance": "1 mS"}}, "goal.EC: EC is in mS/cm, not in 'mS'"),
        ({"pH": "7 pH"}, "goal.pH: pH has no unit, not in 'pH'"),
        ({"ph": "7 mM"}, "goal.ph: unknown channel"),
        ({"EC": "three mS/cm"}, "goal.EC: must be 16384"),
        ({"EC": "3"}, "goal.EC: must be 16384"),
    ],
)
def test_another_unit_is_one_mistake_with_its_place(goal: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.parse(campaign(goal))
    assert len(refused.value.problems) == 1
    assert said in str(refused.value)


def test_what_is_recorded_are_numbers() -> None:
    plain = config.parse(campaign({"EC": {"at least": "3 mS/cm"}}, tolerance="0.1 mS/cm")).plain()
    assert plain["goal"] == {"EC": {"at least": 3.0}}
    assert plain["tolerance"] == 0.1
    assert config.parse(plain).plain() == plain
