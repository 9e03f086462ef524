"""The light of the room: by the hour, by the second, by the lamp switch, and the same whenever it is asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sdl.twin.led.ambient import FOLDER, QUANTILES, Sky, load_room, wander

MIDNIGHT = 1726718400.0  # 2024-09-19 00:00 in New York
HOUR = 3600.0


@pytest.fixture
def sky() -> Sky:
    return Sky(load_room("day"), seed=1)


def test_the_same_seed_and_time_give_the_same_light_whatever_was_asked_before(sky: Sky) -> None:
    moments = [MIDNIGHT + hour * HOUR for hour in (3.0, 10.0, 14.5, 40.1)]
    forward = [sky.at(moment) for moment in moments]
    assert [Sky(sky.room, 1).at(moment) for moment in reversed(moments)] == forward[::-1]
    assert Sky(sky.room, 2).at(moments[1]) != forward[1]


def test_nights_are_dark_and_days_are_not(sky: Sky) -> None:
    for day in range(20):
        assert sky.at(MIDNIGHT + day * 86400 + 2 * HOUR) == sky.room.dark
        assert sky.at(MIDNIGHT + day * 86400 + 22 * HOUR) == sky.room.dark
        assert sky.daylight(MIDNIGHT + day * 86400 + 11 * HOUR) > 1000


def test_the_hours_have_the_quantiles_of_the_file(sky: Sky) -> None:
    hour = next(row for row in sky.room.hour if row.at == 12.5)
    light = [Sky(sky.room, seed).daylight(MIDNIGHT + 12.5 * HOUR) for seed in range(800)]
    for q, count in zip(QUANTILES[1:-1], hour.counts[1:-1], strict=True):
        assert np.quantile(light, q) == pytest.approx(count, rel=0.12)
    assert max(light) <= hour.counts[-1] * 1.001


def test_light_moves_little_in_a_second_and_much_in_an_hour(sky: Sky) -> None:
    start = [MIDNIGHT + day * 86400 + 13 * HOUR for day in range(60)]
    second, hour = (
        np.std([math.log(sky.daylight(t + later) / sky.daylight(t)) for t in start]) for later in (0.87, HOUR)
    )
    assert second < 0.01
    assert 0.2 < hour < 1.0


def test_lamps_step_and_stay_off_at_night(sky: Sky) -> None:
    days = [[sky.lamps(MIDNIGHT + day * 86400 + minute * 60.0) for minute in range(1440)] for day in range(40)]
    values = {value for day in days for value in day}
    assert values == {0.0, sky.room.switch.counts}
    first, last = (int(60 * hour) for hour in sky.room.switch.hours)
    assert not any(any(day[:first]) or any(day[last:]) for day in days)
    working = [value > 0 for day in days for value in day[first:last]]
    assert np.mean(working) == pytest.approx(sky.room.switch.share, abs=0.1)
    switched = np.sum(np.diff(working) != 0) / len(days)
    assert 1 < switched < 12  # times a day: neither never nor flickering


def test_lamps_have_a_spectrum_of_their_own(sky: Sky) -> None:
    noon = MIDNIGHT + 12 * HOUR
    lit = next(t for t in (noon + 60 * k for k in range(10000)) if sky.lamps(t) and 10 < (t / HOUR - 4) % 24 < 17)
    light, day = sky.at(lit), sky.daylight(lit)
    for name, dark in sky.room.dark.items():
        assert light[name] - dark - day * sky.room.daylight[name] == pytest.approx(
            sky.room.switch.counts * sky.room.lamps[name]
        )


def test_a_wave_is_smooth_and_normal() -> None:
    x = np.arange(0, 3000, 0.37)
    wave = np.array([wander(5, 0, float(v)) for v in x])
    assert wave.mean() == pytest.approx(0, abs=0.1)
    assert wave.std() == pytest.approx(1, abs=0.06)
    assert abs(wander(5, 0, 7.0) - wander(5, 0, 7.0 - 1e-9)) < 1e-6


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("utc_offset = -4.0", "utc_offset = 20.0", "utc_offset"),
        ("at = 6.5\n", "at = 5.0\n", "must rise"),
        ("[0.0, 0.0", "[9.0, 0.0", "rising"),
        ("part = 0.55", "part = 0.9", "add up to 1"),
        ("nir = 4.16\n", "", "same channels"),
        ("[switch]", "[switch", "TOML|Expected"),
    ],
)
def test_a_mistake_in_a_room_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = (FOLDER / "day.toml").read_text().replace("[0, 0, 0, 0, 0, 0]", "[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]")
    assert old in text
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=says):
        load_room(str(mine))


def test_an_unknown_room_lists_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown room 'dya'; allowed: day"):
        load_room("dya")
    with pytest.raises(ValueError, match=r"no such file: .*none.toml'; shipped rooms: day"):
        load_room(str(tmp_path / "none.toml"))


def benchmark_runs(log: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times of the real benchmark's light-off readings, their counts at 515 nm, and the run they belong to."""
    lines = (json.loads(line) for line in log.read_text().splitlines())
    found = sorted(
        (row["time"], row["out"]["515nm"]) for row in lines if "gm.jsonl" in row["source"] and not any(row["in"])
    )
    times, counts = np.array(found).T
    return times, counts, np.concatenate([[0], np.cumsum(np.diff(times) > 120)])


def test_daylight_by_the_hour_is_within_a_factor_of_the_real_one(real_readings: Path) -> None:
    times, counts, run = benchmark_runs(real_readings)
    at = np.array([times[run == k].mean() for k in range(run[-1] + 1)])
    real = np.array([np.median(counts[run == k]) for k in range(run[-1] + 1)])
    skies = [Sky(load_room("day"), seed) for seed in range(12)]
    twin = np.array([[math.floor(sky.at(t)["515nm"]) for t in at] for sky in skies])
    hour = ((at / HOUR - 4) % 24).astype(int)
    checked = 0
    for h in range(24):
        here = hour == h
        if here.sum() < 12:  # so few runs have no quantiles; 8 o'clock has 6, and is within 1.5 where they are trusted
            continue
        for q in (0.25, 0.5, 0.75, 0.9):
            one, other = np.quantile(real[here], q), np.quantile(twin[:, here], q)
            if max(one, other) > 30:  # below, a count or two is a factor of its own
                checked += 1
                assert 1 / 1.5 < other / one < 1.5, (h, q, one, other)
            else:
                assert abs(one - other) < 20, (h, q, one, other)
    assert checked >= 40


def test_daylight_moves_as_fast_as_the_real_one(real_readings: Path) -> None:
    times, counts, run = benchmark_runs(real_readings)
    pairs = [k for k in range(len(times) - 1) if run[k] == run[k + 1]]

    def speed(light: np.ndarray) -> tuple[float, float]:
        one, other = light[pairs], light[np.array(pairs) + 1]
        day = one > 200
        change = np.log(other[day] / one[day])
        return float(np.quantile(change, 0.75) - np.quantile(change, 0.25)), float(np.quantile(np.abs(change), 0.95))

    real = speed(counts)
    twins = [speed(np.array([sky.at(t)["515nm"] for t in times])) for sky in (Sky(load_room("day"), s) for s in (1, 2))]
    for twin in twins:
        assert twin[0] == pytest.approx(real[0], rel=0.7)
        assert twin[1] == pytest.approx(real[1], rel=0.7)
