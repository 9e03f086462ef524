"""The physics of the twin: what it promises about noise, ends, rounding and time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState, load

MIDDLE = {"R": 0.5, "G": 0.5, "B": 0.5}
DARK = {"R": 0.0, "G": 0.0, "B": 0.0}
NOISELESS = {"jitter": {"A": 0.0, "B": 0.0, "C": 0.0}, "proportional_noise": 0.0, "dark_noise": 0.0}


@pytest.fixture
def plant() -> Plant:
    return Plant(load("night-2025-10"), seed=1)


def changed(**update: object) -> TwinState:
    return TwinState.model_validate(load("night-2025-10").model_dump() | update)


def many(plant: Plant, settings: dict[str, float], n: int = 2000) -> np.ndarray:
    return np.array([list(plant.read(settings, 1000.0 + k).readings.values()) for k in range(n)])


def test_the_same_seed_and_time_give_the_same_reading(plant: Plant) -> None:
    assert plant.read(MIDDLE, 1.76e9) == Plant(plant.state, seed=1).read(MIDDLE, 1.76e9)


def test_another_seed_or_the_next_microsecond_give_another_reading(plant: Plant) -> None:
    first = plant.read(MIDDLE, 1.76e9).readings
    assert plant.read(MIDDLE, 1.76e9 + 1e-6).readings != first
    assert Plant(plant.state, seed=2).read(MIDDLE, 1.76e9).readings != first


def test_the_order_in_which_readings_are_taken_does_not_matter(plant: Plant) -> None:
    forward = [plant.read(MIDDLE, t) for t in (1.0, 2.0)]
    backward = [plant.read(MIDDLE, t) for t in (2.0, 1.0)]
    assert forward == backward[::-1]


def test_a_channel_with_a_curve_sees_so_much_more_in_the_middle_and_nothing_at_the_ends(plant: Plant) -> None:
    channel = plant.state.channels["590nm"]
    bent = {**plant.state.channels, "590nm": channel.model_copy(update={"curve": {"R": 0.02}})}
    odd = Plant(plant.state.model_copy(update={"channels": bent}), seed=1)
    more = 0.02 * 0.25 * channel.gain["R"]
    red = {**DARK, "R": 0.5}
    assert odd.noise_free(red)["590nm"] == pytest.approx(plant.noise_free(red)["590nm"] + more)
    assert abs(odd.read(red, 5.0).readings["590nm"] - plant.read(red, 5.0).readings["590nm"] - more) <= 1.0
    assert odd.read(red, 5.0).readings["630nm"] == plant.read(red, 5.0).readings["630nm"]
    assert odd.read({**DARK, "R": 1.0}, 5.0) == plant.read({**DARK, "R": 1.0}, 5.0)
    with pytest.raises(ValueError, match="curve"):
        changed(channels={"590nm": {"window": "B", "gain": channel.gain, "curve": {"W": 0.1}}})


def test_the_global_random_state_is_left_alone(plant: Plant) -> None:
    before = np.random.get_state()[1].copy()
    plant.read(MIDDLE, 5.0)
    assert (np.random.get_state()[1] == before).all()


def test_the_light_is_exact_at_the_ends_and_off_the_line_in_between(plant: Plant) -> None:
    ambient, gain = plant.state.channels["515nm"].ambient, plant.state.channels["515nm"].gain["G"]
    ends = plant.state.inputs["G"]

    def light(duty: float) -> float:
        return (plant.noise_free({**DARK, "G": duty})["515nm"] - ambient) / gain

    assert light(0.0) == 0.0
    assert light(1.0) == pytest.approx(1.0)
    assert light(1e-9) == pytest.approx(ends.above_zero)
    assert light(1 - 1e-9) == pytest.approx(1 - ends.below_one)
    assert light(0.5) == pytest.approx(0.5 + (ends.above_zero - ends.below_one) / 2)


def test_half_the_input_gives_a_little_less_than_half_the_light_as_measured(plant: Plant) -> None:
    """INSTRUMENT: 213 night runs of the real one give net(1)/net(.5) = 2.0055 ± .004 at 515 nm."""
    dark = plant.noise_free(DARK)["515nm"]
    half, full = (plant.noise_free({**DARK, "G": duty})["515nm"] - dark for duty in (0.5, 1.0))
    assert full / half == pytest.approx(2.0055, abs=0.006)


def test_without_noise_a_reading_is_the_noise_free_one_rounded_down() -> None:
    plant = Plant(changed(**NOISELESS))
    exact = plant.noise_free(MIDDLE)
    assert plant.read(MIDDLE, 7.0).readings == {name: math.floor(value) for name, value in exact.items()}


def test_a_reading_above_the_sensor_s_range_is_cut_and_called_saturated(plant: Plant) -> None:
    reading = plant.read({"R": 1.0, "G": 1.0, "B": 1.0}, 3.0)
    assert reading.readings["clear"] == 65535
    assert "clear" in reading.saturated
    assert plant.noise_free({"R": 1.0, "G": 1.0, "B": 1.0})["clear"] == 65535


def test_a_reading_below_full_scale_is_not_called_saturated(plant: Plant) -> None:
    assert plant.read(DARK, 3.0).saturated == ()


def test_counts_never_fall_below_zero() -> None:
    assert many(Plant(changed(dark_noise=50.0)), DARK, 200).min() == 0


def test_jitter_is_largest_in_the_middle_and_gone_at_the_ends(plant: Plant) -> None:
    sd = {duty: many(plant, {**DARK, "G": duty}, 800)[:, 3].std() for duty in (0.0, 0.5, 1.0)}
    assert sd[0.0] < 0.7
    assert sd[0.5] == pytest.approx(64142 * 0.0045 / 2, rel=0.1)
    assert sd[1.0] == pytest.approx(2.8e-4 * 64142, rel=0.15)


def test_noise_goes_together_inside_a_window_and_not_across(plant: Plant) -> None:
    names = list(plant.state.channels)
    r = np.corrcoef(many(plant, {"R": 0.147, "G": 0.372, "B": 0.394}).T)

    def between(one: str, other: str) -> float:
        return float(r[names.index(one), names.index(other)])

    assert between("445nm", "515nm") == pytest.approx(0.8, abs=0.05)
    assert between("590nm", "630nm") > 0.97
    assert abs(between("555nm", "630nm")) < 0.3
    assert abs(between("515nm", "630nm")) < 0.1
    assert abs(between("515nm", "clear")) < 0.1


def test_the_mean_of_many_readings_is_the_noise_free_reading(plant: Plant) -> None:
    readings = many(plant, {"R": 0.3, "G": 0.2, "B": 0.4})
    exact = np.array(list(plant.noise_free({"R": 0.3, "G": 0.2, "B": 0.4}).values()))
    error = readings.std(axis=0) / math.sqrt(len(readings))
    assert (np.abs(readings.mean(axis=0) + 0.5 - exact) < 4 * error + 0.05).all()
