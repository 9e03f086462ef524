"""The contract itself can fail: instruments that break one promise each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sdl.clock import VirtualClock
from sdl.drivers.twin.config import Twin
from sdl.drivers.twin.driver import TwinDriver, plant_of
from sdl.testing.instrument_contract import InstrumentContract, check_reading, check_refused
from sdl.types import Input, Reading

MIDDLE = {"R": 0.5, "G": 0.5, "B": 0.5}
GOOD = Twin().open(VirtualClock()).measure(MIDDLE)
broken = pytest.raises(pytest.fail.Exception)


@pytest.mark.parametrize(
    "change",
    [
        {"readings": {"515nm": 1.0}},
        {"readings": {**GOOD.readings, "515nm": float("nan")}},
        {"readings": {**GOOD.readings, "515nm": True}},
        {"readings": {**GOOD.readings, "515nm": "1"}},
        {"readings": {**GOOD.readings, "999nm": 1.0}},
        {"readings": {**GOOD.readings, "clear": 65535.0}},
        {"saturated": ("445nm",)},
        {"saturated": ("no such channel",)},
        {"applied": {"R": 0.5, "G": 0.5}},
        {"background": {"R": 0.5}},
        {"fault": ""},
    ],
)
def test_a_reading_that_breaks_a_promise_is_found(change: dict[str, Any]) -> None:
    check_reading(GOOD, Twin())
    with broken:
        check_reading(replace(GOOD, **change), Twin())


class Careless(TwinDriver):
    """Moves what is outside to the nearest bound, and takes what is missing as 0."""

    def measure(self, settings: Mapping[str, float]) -> Reading:
        return super().measure({name: min(max(settings.get(name, 0.0), 0.0), 1.0) for name in "RGB"})


def test_a_driver_that_clamps_silently_is_found() -> None:
    driver = Careless(Twin(), plant_of(Twin()), VirtualClock())
    with broken:
        InstrumentContract().test_settings_outside_the_bounds_are_refused_and_do_no_harm(Twin(), driver, MIDDLE)
    with broken:
        InstrumentContract().test_missing_and_unknown_inputs_are_refused(Twin(), driver, MIDDLE)
    with broken:
        check_refused(driver, MIDDLE)


def test_a_simulation_with_randomness_of_its_own_is_found() -> None:
    opened: list[int] = []

    class Counting(Twin):
        def open(self, clock: Any) -> TwinDriver:
            opened.append(1)
            twin = Twin(seed=len(opened))
            return TwinDriver(twin, plant_of(twin), clock)

    with broken:
        InstrumentContract().test_the_same_time_gives_the_same_reading_where_it_is_simulated(Counting(), MIDDLE)


def test_two_inputs_of_one_name_are_found() -> None:
    class Twice(Twin):
        @property
        def inputs(self) -> tuple[Input, ...]:
            return (Input(name="R"), Input(name="R"))

    with broken:
        InstrumentContract().test_inputs_and_channels_have_names_of_their_own(Twice())


def test_an_instrument_that_is_no_frozen_model_is_found() -> None:
    with broken:
        InstrumentContract().test_it_is_a_frozen_model_that_survives_a_round_trip(object())  # type: ignore[arg-type]
