"""Goals, bands and tolerances: what counts as hit, and how far off a reading is."""

from __future__ import annotations

import math

import pytest
from core_kit import GOAL, HIT
from hypothesis import given
from hypothesis import strategies as st

from sdl.goal import Band, Goal, Tolerance

counts = st.floats(-1e6, 1e6)
widths = st.floats(1e-3, 1e6)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2%", Tolerance(2.0, percent=True)),
        (" 0.5 %", Tolerance(0.5, percent=True)),
        ("100%", Tolerance(100.0, percent=True)),
        (300, Tolerance(300.0)),
        (1.5, Tolerance(1.5)),
        (Tolerance(7.0), Tolerance(7.0)),
    ],
)
def test_a_tolerance_is_a_percentage_or_a_number_of_counts(written: object, meant: Tolerance) -> None:
    assert Tolerance.parse(written) == meant


@pytest.mark.parametrize(
    "written",
    [0, -1, "0%", "-2%", "101%", "nan%", "inf%", math.nan, math.inf, True, None, "", "%", "2", "two%", [2], 10**400],
)
def test_anything_else_is_refused_and_the_message_says_what_is_allowed(written: object) -> None:
    with pytest.raises(ValueError, match=r"must be (2% \(of the target\) or 300|above 0|at most 100%)"):
        Tolerance.parse(written)


@given(st.floats(1e-6, 100), st.booleans())
def test_a_tolerance_reads_back_what_it_says_of_itself(amount: float, percent: bool) -> None:
    tolerance = Tolerance(float(f"{amount:g}"), percent=percent)
    said = str(tolerance)
    assert Tolerance.parse(said if percent else float(said)) == tolerance


def test_a_percentage_is_of_the_target_whatever_its_sign() -> None:
    assert Tolerance.parse("2%").of(16384.0) == pytest.approx(327.68)
    assert Tolerance.parse("2%").of(-16384.0) == pytest.approx(327.68)
    assert Tolerance.parse(300).of(16384.0) == 300.0


@given(counts, widths)
def test_a_tolerance_is_two_sided(target: float, tolerance: float) -> None:
    band = Band.around(target, tolerance)
    goal = Goal({"red": band})
    for inside in (target, target - tolerance / 2, target + tolerance / 2, band.low, band.high):
        assert goal.reached({"red": inside})
    for outside in (math.nextafter(band.low, -math.inf), math.nextafter(band.high, math.inf)):
        assert not goal.reached({"red": outside})


@given(counts, widths, widths, st.floats(-3e6, 3e6))
def test_the_miss_is_at_most_one_exactly_where_the_band_is_hit(
    target: float, below: float, above: float, value: float
) -> None:
    band = Band(target, target - below, target + above)
    miss = band.miss(value)
    assert miss >= 0
    if band.low <= value <= band.high:
        assert miss <= 1
    else:
        assert miss >= 1


def test_the_miss_counts_in_tolerances_of_its_side() -> None:
    band = Band(target=100.0, low=90.0, high=140.0)
    assert [band.miss(value) for value in (100.0, 95.0, 120.0, 80.0, 180.0)] == [0.0, 0.5, 0.5, 2.0, 2.0]
    assert band.miss(math.nan) == math.inf


def test_a_target_on_the_edge_of_its_band_leaves_no_room_beyond_it() -> None:
    band = Band(target=90.0, low=90.0, high=140.0)
    assert band.miss(89.0) == math.inf
    assert band.miss(90.0) == 0.0


@pytest.mark.parametrize("wrong", [(5.0, 6.0, 7.0), (8.0, 6.0, 7.0), (6.0, 6.0, 6.0), (math.nan, 0.0, 1.0)])
def test_a_band_holds_its_target_and_has_some_width(wrong: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="low <= target <= high"):
        Band(*wrong)


def test_a_goal_without_channels_is_no_goal() -> None:
    with pytest.raises(ValueError, match="at least one channel"):
        Goal({})


def test_every_channel_must_be_inside() -> None:
    assert GOAL.channels == ("red", "green")
    assert GOAL.targets == {"red": 100.0, "green": 200.0}
    assert GOAL.reached(HIT)
    assert GOAL.reached({"red": 110.0, "green": 180.0})
    assert not GOAL.reached({"red": 110.1, "green": 200.0})
    assert not GOAL.reached({"red": 100.0, "green": 179.9})


def test_the_worst_channel_makes_the_miss_and_the_error() -> None:
    readings = {"red": 105.0, "green": 170.0}
    assert GOAL.miss(readings) == 1.5
    assert GOAL.error(readings) == pytest.approx(0.15)


def test_a_saturated_or_missing_channel_of_the_goal_is_never_a_hit() -> None:
    assert not GOAL.reached(HIT, saturated=["green"])
    assert GOAL.miss(HIT, saturated=["green"]) == math.inf
    assert not GOAL.reached({"red": 100.0})
    assert GOAL.miss({"red": 100.0}) == math.inf
    assert GOAL.error({"red": 100.0}) is None
    assert not GOAL.reached({**HIT, "red": math.nan})


def test_channels_outside_the_goal_do_not_matter() -> None:
    assert GOAL.reached({**HIT, "clear": 1e9}, saturated=["clear"])
    assert GOAL.miss({**HIT, "clear": math.nan}, saturated=["clear"]) == 0.0


def test_a_target_of_zero_has_no_relative_error() -> None:
    assert Goal({"red": Band.around(0.0, 5.0)}).error({"red": 1.0}) is None
