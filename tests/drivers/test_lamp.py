"""A lamp is told by its colours: real room light is never taken for it, and its own light at any brightness is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sdl.drivers.claude_light.config import CHANNELS, INPUTS
from sdl.drivers.claude_light.reply import NAMES
from sdl.drivers.lamp import Lamp
from sdl.drivers.sdl_light.config import SdlLight
from sdl.twin.led.state import load
from sdl.types import Power, Reading

OFF = dict.fromkeys("RGB", 0.0)
ROOM = {
    "daylight": (583, 1019, 1255, 1893, 2081, 2252, 2197, 2586, 16726, 9400),
    "autumn noon": (294, 499, 625, 816, 896, 999, 868, 1084, 6277, 2733),
    "office lamps": (292, 549, 682, 956, 1811, 1961, 2074, 980, 7399, 1614),
    "lamps and daylight": (482, 904, 1097, 1528, 2313, 2395, 3021, 1351, 14652, 7375),
    "summer noon": (398, 742, 950, 1432, 1484, 1665, 1624, 1908, 10003, 3257),
    "night": (0, 0, 0, 2, 4, 4, 4, 0, 13, 0),
}
"""Counts with the LED off, as the public instrument read them, 2024-09 to 2025-10."""
GAIN = {name: channel.gain for name, channel in load("night-2025-10").channels.items()}


def light(settings: Mapping[str, float], room: tuple[float, ...] = ROOM["night"], times: float = 1.0) -> dict[str, Any]:
    """What the sensor reads at these settings in this room, so many times as bright as it was."""
    counts = [sum(GAIN[name][i] * v for i, v in settings.items()) for name in NAMES]
    return {name: min(round(c + times * r), 65535) for name, c, r in zip(NAMES, counts, room, strict=True)}


def reading(settings: Mapping[str, float], values: Mapping[str, float], dark: Mapping[str, float] | None) -> Reading:
    full = tuple(name for name, value in values.items() if value >= 65535)
    return Reading(dict(settings), values, dark, full)


def lamp(*settings: tuple[float, float, float], room: str | None = "night") -> Lamp:
    """One that was seen at these settings; without a room no background was taken."""
    found = Lamp(INPUTS, CHANNELS, "night-2025-10")
    for values in settings:
        lit = dict(zip("RGB", values, strict=True))
        dark = light(OFF, ROOM[room]) if room is not None else None
        found.observe(reading(lit, light(lit, ROOM[room or "night"]), dark))
    return found


SEEN = [(0.47, 0.23, 0.52), (0.5, 0.25, 0.5), (0.1, 0.8, 0.3)]


@pytest.mark.parametrize("room", ROOM)
@pytest.mark.parametrize("times", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("seen", [SEEN, SEEN[:1], []])
@pytest.mark.parametrize("before", ["night", None])
def test_room_light_however_bright_is_not_the_lamp(room: str, times: float, seen: Any, before: str | None) -> None:
    """The sun comes up, the office lamps go on: the background seen was a night's, or none was seen."""
    state = lamp(*seen, room=before).judge(reading(OFF, light(OFF, ROOM[room], times), None))
    assert (state.state, state.applied) == (Power.OFF, OFF)


@pytest.mark.parametrize(
    "stuck", [(0.47, 0.23, 0.52), (0.05, 0.05, 0.05), (0.2, 0.2, 0.2), (1, 0, 0), (0, 0.1, 0), (0, 0, 1)]
)
@pytest.mark.parametrize("seen", [SEEN, SEEN[:1], []])
def test_the_lamp_is_told_at_any_brightness_and_in_any_colour(stuck: Any, seen: Any) -> None:
    state = lamp(*seen).judge(reading(OFF, light(dict(zip("RGB", stuck, strict=True))), None))
    assert state.state is Power.ON
    assert "its readings are those of the lit lamp" in state.why


@pytest.mark.parametrize("room", ROOM)
def test_the_lamp_is_told_through_the_light_of_a_room_whose_background_was_seen(room: str) -> None:
    stuck = light(dict(zip("RGB", SEEN[0], strict=True)), ROOM[room], 1.05)
    assert lamp(*SEEN, room=room).judge(reading(OFF, stuck, None)).state is Power.ON


def test_a_lamp_that_was_on_from_the_first_reading_is_no_background() -> None:
    found, stuck = Lamp(INPUTS, CHANNELS, "night-2025-10"), light({"R": 0.3, "G": 0.3, "B": 0.3})
    found.observe(reading({"R": 0.3, "G": 0.3, "B": 0.3}, stuck, stuck))
    assert found.judge(reading(OFF, stuck, None)).state is Power.ON


def test_a_lamp_that_no_twin_knows_is_told_where_it_repeats_its_last_reading() -> None:
    found, grey = Lamp(INPUTS, CHANNELS, "night-2025-10"), dict.fromkeys(NAMES, 20000.0)
    found.observe(reading({"R": 0.3, "G": 0.3, "B": 0.3}, grey, None))
    assert found.judge(reading(OFF, dict.fromkeys(NAMES, 20200.0), None)).state is Power.ON
    assert found.judge(reading(OFF, dict.fromkeys(NAMES, 15000.0), None)).state is Power.OFF


def test_a_reply_says_itself_that_it_is_on_or_that_nothing_can_be_judged() -> None:
    said = lamp(*SEEN).judge(reading({"R": 0.2, "G": 0.0, "B": 0.0}, light(OFF), None))
    assert (said.state, said.why) == (Power.ON, "told to switch off, it says that it applied R = 0.2, G = 0, B = 0")
    full = lamp(*SEEN).judge(reading(OFF, dict.fromkeys(NAMES, 65535), None))
    assert (full.state, full.applied) == (Power.UNKNOWN, OFF)


def test_an_sdl_light_is_judged_by_its_own_twin() -> None:
    light_of, gains = SdlLight(host="localhost"), load("sdl-light").channels
    found = Lamp(light_of.inputs, light_of.channels, "sdl-light")
    stuck = {name: round(0.1 * sum(channel.gain.values())) for name, channel in gains.items()}
    dark = dict(zip(stuck, ROOM["daylight"], strict=False))
    assert found.judge(reading(OFF, stuck, None)).state is Power.ON
    assert found.judge(reading(OFF, dark, None)).state is Power.OFF


def test_no_real_dark_reading_is_taken_for_the_lamp_and_hardly_a_lit_one_for_darkness(real_readings: Path) -> None:
    rows = [json.loads(line) for line in real_readings.read_text(encoding="utf-8").splitlines()]
    dark, missed, lit = 0, 0, 0
    for row in rows:
        if row["out"].keys() != set(NAMES):
            continue
        settings = dict(zip("RGB", row["in"], strict=True))
        state = Lamp(INPUTS, CHANNELS, "night-2025-10").judge(reading(OFF, row["out"], None))
        if not any(row["in"]):
            dark += 1
            assert state.state is Power.OFF, row
        elif max(settings.values()) >= 0.1:
            lit += 1
            missed += state.state is Power.OFF
    assert (dark, lit) == (8, 415)
    assert missed <= 0.05 * lit, f"{missed} of {lit}, the room's light not even taken away"
