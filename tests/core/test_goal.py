"""Goals, bands and tolerances: what counts as hit, and how far off a reading is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from core_kit import GOAL, HIT
from hypothesis import given
from hypothesis import strategies as st

from sdl.core.goal import Band, Goal, Tolerance, background_exceeds, format_shortfall

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
    text = str(tolerance)
    assert Tolerance.parse(text if percent else float(text)) == tolerance


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


# Limits without a target --------------------------------------------------------------------------------------------
def test_inside_a_limit_nothing_is_missed_and_outside_it_is_counted_from_one() -> None:
    between, most, least = Band.between(100.0, 300.0), Band.at_most(1000.0, 20.0), Band.at_least(50.0, 1.0)
    assert [between.miss(value) for value in (100.0, 101.0, 200.0, 300.0)] == [0.0] * 4
    assert [between.miss(value) for value in (50.0, 400.0)] == [1.5, 2.0]  # in half widths
    assert [most.miss(value) for value in (-1e9, 1000.0, 1020.0, 1100.0)] == [0.0, 0.0, 2.0, 6.0]  # in tolerances
    assert [least.miss(value) for value in (1e9, 50.0, 48.0)] == [0.0, 0.0, 3.0]
    assert most.miss(math.nan) == math.inf


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(-3e6, 3e6))
def test_a_miss_of_at_most_one_is_a_hit_with_or_without_a_target(low: float, width: float, value: float) -> None:
    for band in (Band.between(low, low + width), Band.at_most(low, width), Band.at_least(low, width)):
        assert (band.miss(value) <= 1) == Goal({"red": band}).reached({"red": value})
        assert (band.beyond(value) == 0) == Goal({"red": band}).reached({"red": value})


def test_a_limit_of_zero_is_counted_in_units_of_the_channel() -> None:
    assert Band.at_least(0.0, 0.0).miss(-3.0) == 4.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Band.between(5.0, 4.0),
        lambda: Band.between(5.0, 5.0),
        lambda: Band(None, -math.inf, math.inf),
        lambda: Band(None, 0.0, 1.0, unit=0.0),
        lambda: Band(None, 0.0, 1.0, unit=math.inf),
    ],
)
def test_a_band_without_a_target_needs_a_limit_and_a_unit(make: Callable[[], Band]) -> None:
    with pytest.raises(ValueError, match=r"must be below|needs"):
        make()


LIMITED = Goal({"red": Band.around(100.0, 10.0), "clear": Band.at_most(1000.0, 20.0)})


def test_a_limit_beside_a_target_is_kept_and_ranks_nothing_while_it_is() -> None:
    assert LIMITED.targets == {"red": 100.0}
    assert LIMITED.miss({"red": 105.0, "clear": 999.0}) == 0.5
    assert LIMITED.error({"red": 105.0, "clear": 999.0}) == pytest.approx(0.05)
    assert LIMITED.miss({"red": 105.0, "clear": 1020.0}) == 2.0
    assert LIMITED.error({"red": 105.0, "clear": 1100.0}) == pytest.approx(0.1)
    assert not LIMITED.reached({"red": 105.0, "clear": 999.0}, saturated=["clear"])
    assert Goal({"clear": Band.at_least(0.0, 0.0)}).error({"clear": -1.0}) is None


def test_a_goal_says_itself_in_words_and_in_plain_values() -> None:
    assert str(LIMITED) == "red 100 ± 10, clear at most 1000"
    assert str(Goal({"a": Band.between(1.0, 2.0), "b": Band.at_least(5.0, 1.0)})) == "a 1 … 2, b at least 5"
    assert LIMITED.bands["clear"].plain() == {"target": None, "low": None, "high": 1000.0}


def test_a_shortfall_names_band_nearest_and_distance_of_each_channel() -> None:
    short = LIMITED.shortfall({"red": 80.0, "clear": 900.0, "other": 1.0})
    assert short == {
        "red": {"low": 90.0, "high": 110.0, "nearest": 80.0, "by": 10.0},
        "clear": {"low": None, "high": 1000.0, "nearest": 900.0, "by": 0.0},
    }
    assert format_shortfall(short) == "red 80, 10 outside 90…110; clear 900"
    assert format_shortfall(LIMITED.shortfall({"clear": 1100.0})) == "clear 1100, 100 above 1000"


def test_the_room_outshines_a_goal_only_where_its_light_is_known() -> None:
    goal = Goal({"445nm": Band.around(-2000, 40), "515nm": Band.around(300, 10)})
    assert background_exceeds(goal, None) == ""
    assert background_exceeds(goal, {"630nm": 900.0, "515nm": 200.0}) == ""
    assert background_exceeds(goal, {"515nm": 900.0}) == "the background alone is 900 at 515nm, above 310"


def test_a_shortfall_is_told_in_the_digits_that_a_person_needs() -> None:
    goal = Goal({"445nm": Band.around(40000, 800), "volts": Band.around(3.3, 0.1)})
    short = goal.shortfall({"445nm": 37691.3, "volts": 2.51234})
    assert format_shortfall(short) == "445nm 37691, 1509 outside 39200…40800; volts 2.51, 0.688 outside 3.20…3.40"


@pytest.mark.parametrize(
    ("band", "value", "deviation"),
    [
        (Band(100.0, 90.0, 120.0), 110.0, 0.5),
        (Band(100.0, 90.0, 120.0), 95.0, -0.5),
        (Band(100.0, 90.0, 120.0), 60.0, -4.0),
        (Band.between(10.0, 30.0), 20.0, 0.0),
        (Band.between(10.0, 30.0), 5.0, -1.5),
        (Band.at_most(50.0, 5.0), 60.0, 3.0),
        (Band.at_most(50.0, 5.0), 47.5, 0.5),
        (Band.at_most(50.0, 5.0), 0.0, 0.0),
        (Band.at_least(50.0, 5.0), 45.0, -2.0),
        (Band.at_least(50.0, 5.0), 90.0, 0.0),
    ],
)
def test_the_deviation_has_the_size_of_the_tolerance_ratio_outside_and_a_sign(
    band: Band, value: float, deviation: float
) -> None:
    assert band.deviation(value) == pytest.approx(deviation)
    if band.miss(value) > 1:
        assert abs(band.deviation(value)) == pytest.approx(band.miss(value))
