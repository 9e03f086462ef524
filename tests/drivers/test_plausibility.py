"""Which replies cannot be readings; and that real and simulated ones, night and day, all pass."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdl.drivers.claude_light.plausibility import Plausible
from sdl.drivers.claude_light.reply import FULL_SCALE, NAMES
from sdl.errors import BadReply
from sdl.twin.led.ambient import Sky, load_room
from sdl.twin.led.model import Plant
from sdl.twin.led.state import load
from sdl.types import Reading

MIDDLE = dict.fromkeys("RGB", 0.5)
DARK = dict.fromkeys("RGB", 0.0)
broken = pytest.raises(BadReply)


def at(settings: dict[str, float], *counts: float) -> Reading:
    """A reading with these counts, the last of them in all channels that are left."""
    filled = [*counts, *[counts[-1]] * (len(NAMES) - len(counts))]
    return Reading(applied=settings, readings=dict(zip(NAMES, filled, strict=True)))


def day(seed: int, minutes: float, settings: dict[str, float]) -> list[Reading]:
    """Pairs through a simulated day: the light off, then on 0.8 s later."""
    plant = Plant(load("night-2025-10"), seed, Sky(load_room("day"), seed))
    start = plant.state.start.timestamp()
    pairs = []
    for step in range(int(24 * 60 / minutes)):
        time = start + step * minutes * 60
        dark = plant.read(DARK, time)
        pairs += [dark, replace(plant.read(settings, time + 0.8), background=dark.readings)]
    return pairs


def test_all_readings_of_a_simulated_day_pass() -> None:
    check = Plausible(FULL_SCALE)
    refused = 0
    for seed in range(3):
        for reading in day(seed, 7, {"R": 0.05, "G": 0.0, "B": 0.0}):
            check.reply(reading)
            try:
                check.pair(reading)
            except BadReply:
                refused += 1
    assert refused <= 6, "of 617 pairs; the sun may move between two readings, but seldom"


def test_all_real_readings_pass(real_readings: Path) -> None:
    check, seen = Plausible(FULL_SCALE), 0
    for line in real_readings.read_text().splitlines():
        row = json.loads(line)
        if set(row["out"]) == set(NAMES):
            check.reply(Reading(applied=dict(zip("RGB", row["in"], strict=True)), readings=row["out"]))
            seen += 1
    assert seen > 400


def test_a_lit_reading_without_light_is_none() -> None:
    with broken as caught:
        Plausible(FULL_SCALE).reply(at(MIDDLE, 0))
    assert "no channel reads more than 0" in str(caught.value)
    assert caught.value.retryable
    Plausible(FULL_SCALE).reply(at(DARK, 0))
    Plausible(FULL_SCALE).reply(at({**DARK, "R": 0.001}, 0, 3))


def test_a_reply_that_repeats_itself_at_other_settings_is_frozen() -> None:
    check = Plausible(FULL_SCALE)
    check.reply(at(MIDDLE, 900, 4000))
    with broken as caught:
        check.reply(at({**MIDDLE, "G": 0.52}, 900, 4000))
    assert "taken at other settings: the sensor is frozen" in str(caught.value)


def test_three_equal_replies_at_the_same_settings_are_frozen_and_two_are_not() -> None:
    check = Plausible(FULL_SCALE)
    check.reply(at(MIDDLE, 900, 4000))
    check.reply(at(MIDDLE, 900, 4000))
    with broken:
        check.reply(at(MIDDLE, 900, 4000))
    check.reply(at(MIDDLE, 901, 4000))


def test_lit_readings_that_repeat_themselves_are_found_between_dark_ones() -> None:
    check = Plausible(FULL_SCALE)
    for dark in (3, 4):
        check.reply(at(DARK, dark, 0))
        check.reply(at(MIDDLE, 900, 4000))
    check.reply(at(DARK, 2, 0))
    with pytest.raises(BadReply, match="3 readings in a row with the light on are the same"):
        check.reply(at(MIDDLE, 900, 4000))
    check.reply(at(MIDDLE, 901, 4000))


def test_a_sensor_that_is_frozen_only_while_lit_is_found_at_the_second_settings() -> None:
    check = Plausible(FULL_SCALE)
    check.reply(at(MIDDLE, 900, 4000))
    check.reply(at(DARK, 3, 0))
    with pytest.raises(BadReply, match="repeats an earlier reading, taken at other settings"):
        check.reply(at({**MIDDLE, "B": 0.9}, 900, 4000))


def test_a_stored_answer_for_a_room_that_is_not_dark_is_found_between_lit_ones() -> None:
    check = Plausible(FULL_SCALE)
    for lit in (900, 901):
        check.reply(at(DARK, 3000, 2000))
        check.reply(at(MIDDLE, lit, 4000))
    with pytest.raises(BadReply, match="3 readings in a row with the light off are the same"):
        check.reply(at(DARK, 3000, 2000))


def test_darkness_may_repeat_itself_and_so_may_full_scale() -> None:
    check = Plausible(FULL_SCALE)
    for _ in range(5):
        check.reply(at(DARK, 0, 1, 2))
    for red in (0.1, 0.5, 0.9):
        check.reply(at({**MIDDLE, "R": red}, 3000, FULL_SCALE))


@pytest.mark.parametrize("light", [0, 3000])
def test_a_light_that_makes_no_difference_is_dead(light: float) -> None:
    reading = replace(at(MIDDLE, light + 9), background=at(DARK, light).readings)
    with broken as caught:
        Plausible(FULL_SCALE).pair(reading)
    assert "the LED is dead" in str(caught.value)
    Plausible(FULL_SCALE).pair(replace(reading, applied={**DARK, "R": 0.001}))


def test_a_light_that_is_always_on_makes_no_difference_beyond_its_noise() -> None:
    plant, check = Plant(load("night-2025-10"), 1), Plausible(FULL_SCALE)
    for step in range(30):
        dark, lit = (plant.read(MIDDLE, 1e9 + 2 * step + half) for half in (0, 1))
        with pytest.raises(BadReply, match="or it is always on"):
            check.pair(replace(lit, background=dark.readings))


def test_a_room_that_got_darker_between_the_two_spoils_the_pair() -> None:
    lit, dark = at(MIDDLE, 5000, 3000), at(DARK, 2000, 3500)
    with broken as caught:
        Plausible(FULL_SCALE).pair(replace(lit, background=dark.readings))
    assert "reads 3000 with the light on and 3500 with the light off" in str(caught.value)
    a_little = replace(lit, background=at(DARK, 2000, 3200).readings)
    assert Plausible(FULL_SCALE).pair(a_little) is a_little


def test_a_blinding_light_is_no_dead_one() -> None:
    full = replace(at(MIDDLE, FULL_SCALE), background=at(DARK, FULL_SCALE).readings)
    assert Plausible(FULL_SCALE).pair(full) is full


def test_noise_alone_tells_a_live_sensor() -> None:
    plant, check = Plant(load("night-2025-10"), 1), Plausible(FULL_SCALE)
    for step in np.arange(300):
        check.reply(plant.read({"R": 1.0, "G": 0.0, "B": 0.0}, 1e9 + float(step)))
