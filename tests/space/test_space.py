"""The inputs as one space: rows and back, and what the instrument can take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdl.grammar import parse_constraint
from sdl.space import Space
from sdl.types import Input

INPUTS = (Input(name="R"), Input(name="G", low=-10.0, high=10.0, step=0.5))


def test_a_row_has_the_inputs_in_their_order_and_gives_the_settings_back() -> None:
    space = Space(INPUTS)
    row = space.encode({"G": -3.5, "R": 0.25})
    assert row.tolist() == [0.25, -3.5]
    assert space.decode(row) == {"R": 0.25, "G": -3.5}
    assert space.names == ("R", "G")
    assert (space.low.tolist(), space.high.tolist(), space.width.tolist()) == ([0, -10], [1, 10], [1, 20])


@pytest.mark.parametrize(
    ("settings", "inside"),
    [
        ({"R": 0.3, "G": 9.5}, True),
        ({"R": 0.123456789, "G": -10.0}, True),
        ({"R": 1.1, "G": 0.0}, False),
        ({"R": 0.5, "G": 0.2}, False),
        ({"R": 0.5, "G": math.nan}, False),
        ({"R": 0.5}, False),
        ({"R": 0.5, "G": 0.0, "B": 0.0}, False),
    ],
)
def test_settings_are_inside_where_every_input_is_in_its_bounds_and_on_a_step(
    settings: dict[str, float], inside: bool
) -> None:
    assert Space(INPUTS).contains(settings) is inside


def test_settings_that_break_a_constraint_are_outside() -> None:
    space = Space(INPUTS, [parse_constraint("R + G <= 5")])
    assert space.contains({"R": 1.0, "G": 4.0})
    assert not space.contains({"R": 1.0, "G": 4.5})


def test_the_steps_near_a_row_stay_inside_and_an_input_without_steps_keeps_its_value() -> None:
    space = Space((*INPUTS, Input(name="B", step=0.3)))
    assert space.steps_near(np.array([0.37, 0.2, 1.0]), reach=1) == [
        [0.37],
        [0.0, 0.5],
        [pytest.approx(0.9)],
    ]


def test_a_setting_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no number for G"):
        Space(INPUTS).project({"R": 0.5, "G": math.nan})


@pytest.mark.parametrize(
    ("raw", "settings", "clipped"),
    [
        ({"R": 0.123456789, "G": 1.3}, {"R": 0.123457, "G": 1.5}, ()),
        ({"R": -0.2, "G": 11.0}, {"R": 0.0, "G": 10.0}, ("R", "G")),
        ({"R": 1.0 + 1e-9, "G": -10.0 - 1e-9}, {"R": 1.0, "G": -10.0}, ()),
        ({"R": math.inf, "G": -math.inf}, {"R": 1.0, "G": -10.0}, ("R", "G")),
    ],
)
def test_settings_are_rounded_to_their_step_and_clipped_and_clipping_is_told(
    raw: dict[str, float], settings: dict[str, float], clipped: tuple[str, ...]
) -> None:
    assert Space(INPUTS).project(raw) == (settings, clipped)


def test_the_highest_step_is_taken_where_the_range_ends_between_two() -> None:
    item = Input(name="x", low=0.0, high=1.0, step=0.3)
    assert Space([item]).project({"x": 1.0}) == ({"x": 0.9}, ())
    assert Space([item]).project({"x": 7.0}) == ({"x": 0.9}, ("x",))


@given(
    st.floats(allow_nan=False),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
    st.none() | st.floats(1e-3, 2),
)
def test_whatever_a_solver_answers_the_instrument_can_take(
    value: float, low: float, span: float, step: float | None
) -> None:
    item = Input(name="x", low=low, high=low + span, step=step and step * span)
    settings, clipped = Space([item]).project({"x": value})
    assert item.low <= settings["x"] <= item.high
    assert (clipped == ("x",)) == (not low - 1e-6 * span <= value <= item.high + 1e-6 * (item.high - low))
    if item.step is None:
        assert abs(settings["x"] - min(max(value, item.low), item.high)) <= 1e-6 * span
    else:
        steps = (settings["x"] - low) / item.step
        assert abs(steps - round(steps)) * item.step <= 1e-5 * span
        assert abs(settings["x"] - min(max(value, item.low), item.high)) <= item.step * 1.01
    assert Space([item]).project(settings) == (settings, ())
