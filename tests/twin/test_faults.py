"""When faults happen: by number, by time, by chance; and what they do to an answer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from sdl.twin.faults import MEANING, NAMES, Fault, due, spoil

OUT = {"515nm": 10, "630nm": 20, "clear": 30}


def names(plan: list[Fault], n: int = 0, time: float = 0.0, seed: int = 0, draw: int | None = None) -> list[str]:
    return [fault.name for fault in due(plan, seed, n, time, draw)]


def test_a_fault_at_numbers_happens_at_these_and_no_others() -> None:
    plan = [Fault(name="busy", at=(1, 4))]
    assert [n for n in range(8) if names(plan, n)] == [1, 4]


def test_a_fault_after_a_time_lasts_as_long_as_it_is_told() -> None:
    plan = [Fault(name="dead-led", after=10.0, lasts=5.0), Fault(name="light-step", after=12.0)]
    assert [names(plan, time=t) for t in (9.9, 10.0, 12.0, 15.0)] == [
        [],
        ["dead-led"],
        ["dead-led", "light-step"],
        ["light-step"],
    ]


def test_chance_hangs_on_seed_and_time_and_comes_out_as_often_as_asked() -> None:
    plan = [Fault(name="refused", probability=0.1)]
    hits = [bool(names(plan, time=0.78 * k, seed=7)) for k in range(4000)]
    assert hits == [bool(names(plan, n=9, time=0.78 * k, seed=7)) for k in range(4000)]
    assert sum(hits) == pytest.approx(400, abs=80)
    assert hits != [bool(names(plan, time=0.78 * k, seed=8)) for k in range(4000)]
    assert names([Fault(name="refused", probability=1.0)]) == ["refused"]


def test_where_time_is_real_chance_can_hang_on_the_number() -> None:
    plan = [Fault(name="refused", probability=0.5)]
    one, other = ([bool(names(plan, n, time, draw=n)) for n in range(50)] for time in (1.0, 2.5))
    assert one == other
    assert len(set(one)) == 2


def test_two_faults_of_one_plan_do_not_share_their_chance() -> None:
    plan = [Fault(name="refused", probability=0.5), Fault(name="busy", probability=0.5)]
    assert {tuple(names(plan, time=float(t))) for t in range(60)} == {(), ("refused",), ("busy",), ("refused", "busy")}


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("missing-channel", {"515nm": 10, "clear": 30}),
        ("null-channel", {**OUT, "630nm": None}),
        ("negative-channel", {**OUT, "630nm": -1}),
        ("text-channel", {**OUT, "630nm": "overflow"}),
        ("huge-channel", {**OUT, "630nm": 1e300}),
        ("busy", OUT),
    ],
)
def test_an_answer_is_spoiled_in_the_channel_that_is_named(name: str, left: dict[str, object]) -> None:
    assert spoil(Fault(name=name, at=(0,), channel="630nm"), OUT) == left  # type: ignore[arg-type]
    assert OUT == {"515nm": 10, "630nm": 20, "clear": 30}


def test_nan_and_swapped_channels() -> None:
    assert math.isnan(spoil(Fault(name="nan-channel", at=(0,)), OUT)["515nm"])
    assert spoil(Fault(name="swapped-channels", at=(0,)), OUT) == {"515nm": 20, "630nm": 10, "clear": 30}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "bsuy", "at": (1,)}, "Input should be 'busy'"),
        ({"name": "busy"}, "needs one of probability, at, after; it has none"),
        ({"name": "busy", "at": (1,), "after": 3.0}, "it has at, after"),
        ({"name": "busy", "at": (-1,)}, "counted from 0, not -1"),
        ({"name": "busy", "at": (1,), "lasts": 3.0}, "only with after"),
        ({"name": "busy", "probability": 1.5}, "less than or equal to 1"),
        ({"name": "frozen", "at": (1,), "seconds": 3.0}, "frozen has none; allowed for busy, time-out"),
        ({"name": "busy", "at": (1,), "size": 3.0}, "busy has none; allowed for clamp, light-step"),
        ({"name": "clamp", "at": (1,), "size": 1.5}, "0 to 1, not 1.5"),
    ],
)
def test_a_plan_that_makes_no_sense_says_why(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Fault(**options)  # type: ignore[arg-type]


def test_every_fault_has_a_row_in_the_table() -> None:
    assert tuple(MEANING) == NAMES


def test_the_documentation_has_the_same_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "twin.md").read_text(encoding="utf-8")
    for name, row in MEANING.items():
        assert f"| `{name}` | {row.does} | {row.outcome} |" in page
