"""Holding a twin against readings: its own pass, another unit's do not, and the room is no fault of the instrument."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdl.store.datasets import DatasetRow
from sdl.twin.led.ambient import Sky, load_room
from sdl.twin.led.check import check
from sdl.twin.led.evidence import Evidence, collect, dark_sessions, matrices
from sdl.twin.led.fit import fit
from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState, load
from sdl.twin.led.variants import vary
from sdl.twin.monitor import departure
from sdl.types import Reading

from .kit import sessions

NIGHT = load("night-2025-10")


def stronger(factor: float, name: str = "G") -> TwinState:
    channels = {
        n: c.model_copy(update={"gain": {**c.gain, name: c.gain[name] * factor}}) for n, c in NIGHT.channels.items()
    }
    return NIGHT.model_copy(update={"channels": channels})


def bright(hour: float) -> TwinState:
    """The night's state in a day that begins at this hour of New York."""
    return NIGHT.model_copy(update={"start": NIGHT.start.replace(hour=int(hour + 4), minute=10)})


def test_readings_of_the_twin_itself_pass_with_the_figures_of_chance() -> None:
    found = check(sessions(NIGHT, days=6, readings=60), NIGHT)
    assert not found.divergent
    assert found.verdict == "the instrument matches its twin"
    assert found.readings + found.unused == 360
    assert 6 <= found.unused <= 8  # the dark readings tell of the room
    for channel in found.channels:
        assert channel.ratio == pytest.approx(1, abs=0.15), channel
        assert channel.bias == pytest.approx(0, abs=0.25), channel
        assert 0.6 < channel.coverage < 0.85, channel
        assert channel.typical < channel.limit
    for light in found.lights:
        assert abs(light.more) < 4 * light.error + 1e-3


@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_an_input_that_gives_more_or_less_light_is_found_and_told(factor: float) -> None:
    found = check(sessions(stronger(factor)), NIGHT)
    assert found.divergent
    assert "no longer matches its twin in 415nm, 480nm, 515nm" in found.verdict
    green = next(light for light in found.lights if light.input == "G")
    assert green.left
    assert green.more == pytest.approx(factor - 1, abs=0.003)
    assert f"G {100 * (factor - 1):+.0f}" in found.verdict
    assert not any(light.left for light in found.lights if light.input != "G")


def test_another_unit_a_curved_one_and_swapped_channels_have_left() -> None:
    assert check(sessions(vary(NIGHT, "other-unit", 1)), NIGHT).divergent
    assert check(sessions(vary(NIGHT, "curved", 0)), NIGHT).divergent
    data = sessions(NIGHT)
    assert check(replace(data, Y=data.Y[:, [0, 1, 2, 6, 4, 5, 3, 7, 8, 9]]), NIGHT).divergent


@pytest.mark.parametrize("hour", [8, 11, 15])
def test_daylight_is_no_departure(hour: int) -> None:
    state = bright(hour)
    for seed in range(3):
        data = sessions(state, seed=seed, sky=Sky(load_room("day"), seed))
        found = check(data, state)
        assert not found.divergent, (seed, found.verdict)


def test_a_departure_is_found_in_daylight_too() -> None:
    state = bright(14)
    twin = stronger(1.04).model_copy(update={"start": state.start})
    assert check(sessions(twin, sky=Sky(load_room("day"), 1)), state).divergent


def test_where_no_reading_tells_of_the_room_an_offset_is_fitted_and_said_so() -> None:
    data = sessions(NIGHT)
    lit = data.only(data.X.any(axis=1))
    told, fitted = check(data, NIGHT), check(lit, NIGHT)
    assert told.ambient == "4 sessions by their own dark readings"
    assert fitted.ambient == "4 sessions by a fitted offset"
    assert not fitted.divergent
    assert [c.ratio for c in fitted.channels] == pytest.approx([c.ratio for c in told.channels], abs=0.15)


def test_a_background_with_each_reading_takes_the_room_away() -> None:
    state = bright(10)
    plant = Plant(state, 2, Sky(load_room("day"), 2))
    rng = np.random.default_rng(0)
    rows = []
    for k in range(40):
        time = state.start.timestamp() + 1000.0 * k
        settings = dict(zip("RGB", rng.uniform(0, 0.5, 3).tolist(), strict=True))
        dark = plant.read(dict.fromkeys("RGB", 0.0), time).readings
        lit = plant.read(settings, time + 0.8)
        rows.append((Reading(lit.applied, lit.readings, dark, lit.saturated), 0, ""))
    found = check(matrices(rows, state), state)
    assert found.ambient == "40 readings with a background of their own"
    assert not found.divergent
    without = [(replace(reading, background=None), session, day) for reading, session, day in rows]
    assert check(matrices(without, state), state).channels[3].rmse > 5 * found.channels[3].rmse


def test_saturated_and_missing_readings_are_left_out() -> None:
    rows = [
        (Reading({"R": 0.5, "G": 0.5, "B": 0.1 * k}, {"515nm": 65535, "630nm": 15700.0 + k}, None, ("515nm",)), 0, "")
        for k in range(9)
    ]
    data = matrices(rows, NIGHT)
    assert np.isnan(data.Y[:, 3]).all()
    assert [channel.channel for channel in check(data, NIGHT).channels] == ["630nm"]


def test_counts_that_are_rounded_down_are_met_half_a_count_higher() -> None:
    exact = NIGHT.model_copy(
        update={"jitter": dict.fromkeys("ABC", 0.0), "proportional_noise": 0.0, "dark_noise": 0.0, "drift": None}
    )
    data = sessions(exact, days=3, readings=60)
    for rows in (data, data.only(data.X.any(axis=1))):
        for channel in check(rows, exact).channels:
            assert abs(channel.bias) < 0.9, channel  # half a count would be 1.7 deviations
            assert channel.spread < 1.3, channel


def test_a_session_that_tells_its_own_room_counts_one_reading_less() -> None:
    data = sessions(NIGHT, days=1, readings=200)
    lit = data.only(data.X.any(axis=1))
    pairs = replace(lit, session=np.arange(len(lit.X)) // 2)
    assert np.median([channel.ratio for channel in check(pairs, NIGHT).channels]) == pytest.approx(1, abs=0.15)
    alone = replace(lit, session=np.arange(len(lit.X)))
    with pytest.raises(ValueError, match="nothing to compare"):
        check(alone, NIGHT)


def test_nothing_to_compare_is_said() -> None:
    dark = sessions(NIGHT, days=3, readings=1)
    with pytest.raises(ValueError, match="nothing to compare"):
        check(dark, NIGHT)


def test_dark_sessions_are_told_from_bright_ones_with_or_without_dark_rows() -> None:
    night, day = sessions(NIGHT), sessions(bright(11), sky=Sky(load_room("day"), 1))
    assert dark_sessions(night, NIGHT).all()
    assert not dark_sessions(day, NIGHT).any()
    lit = [data.only(data.X.any(axis=1)) for data in (night, day)]
    assert dark_sessions(lit[0], stronger(1.02)).all()
    assert not dark_sessions(lit[1], stronger(1.02)).any()


def rows_of(data: Evidence) -> list[DatasetRow]:
    names = list(NIGHT.channels)
    return [
        DatasetRow(Reading(dict(zip("RGB", x, strict=True)), dict(zip(names, y, strict=True))), int(s), "")
        for x, y, s in zip(data.X.tolist(), np.nan_to_num(data.Y, nan=65535.0).tolist(), data.session, strict=True)
    ]


def test_a_campaign_that_watches_hears_of_a_departure_and_of_nothing_else() -> None:
    still, moved = rows_of(sessions(NIGHT, days=1)), rows_of(sessions(stronger(1.05), days=1))
    assert departure(NIGHT, still) is None
    assert departure(NIGHT, moved[:5]) is None  # too few to say
    said = departure(NIGHT, [*still, *moved])
    assert said is not None
    assert "no longer matches its twin" in said
    assert departure(NIGHT, [*moved, *still]) is None  # only the latest count


def shifted(sd: float, seed: int, change: float = 0.0) -> Evidence:
    """One day of readings; the light of each input is off by a normal deviate, that of one by `change` besides."""
    rng = np.random.default_rng(seed)
    factor = dict(zip("RGB", (1 + sd * rng.normal(size=3) + change * (np.arange(3) == seed % 3)).tolist(), strict=True))
    channels = {
        name: c.model_copy(update={"gain": {i: gain * factor[i] for i, gain in c.gain.items()}})
        for name, c in NIGHT.channels.items()
    }
    return sessions(NIGHT.model_copy(update={"channels": channels}), days=1, readings=30, seed=seed)


def test_days_that_differ_as_real_days_do_pass_and_a_change_of_the_light_of_one_and_a_half_percent_does_not() -> None:
    assert NIGHT.drift is not None
    state = NIGHT.model_copy(update={"drift": NIGHT.drift.model_copy(update={"daily": 0.002})})
    usual = [check(shifted(0.002, seed), state).divergent for seed in range(30)]
    changed = [check(shifted(0.0007, seed, 0.015 * (-1) ** seed), state).divergent for seed in range(30)]
    assert sum(usual) <= 1
    assert sum(changed) >= 28


def test_moves_of_a_lit_room_are_taken_off_and_a_change_of_the_light_is_not() -> None:
    state = bright(14)
    moving = sessions(stronger(1.03).model_copy(update={"start": state.start}), days=2, sky=Sky(load_room("day"), 4))
    found = check(moving, state)
    green = next(light for light in found.lights if light.input == "G")
    assert green.more == pytest.approx(0.03, abs=4 * green.error)
    assert green.error < 0.006


@pytest.mark.slow
def test_no_real_day_that_the_twin_was_not_fitted_to_has_left_it(real_readings: Path) -> None:
    data = collect([real_readings], NIGHT)
    wide = data.only(np.isfinite(data.Y).sum(axis=1) >= 8)  # all channels but those at full scale
    days = [day for day in np.unique(wide.day) if (wide.day == day).sum() >= 5]
    assert len(days) >= 7
    left = {day: check(wide.only(wide.day == day), fit(wide.only(wide.day != day), NIGHT).state) for day in days}
    assert {day: found.verdict for day, found in left.items() if found.divergent} == {}
