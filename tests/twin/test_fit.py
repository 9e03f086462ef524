"""Fitting a twin: it finds what it was made of, keeps what it was not told, and writes what can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdl.drivers.twin.config import Twin
from sdl.twin.led.ambient import Sky, load_room
from sdl.twin.led.check import check
from sdl.twin.led.evidence import collect, dark_sessions
from sdl.twin.led.fit import Fit, fit
from sdl.twin.led.state import TwinState, load
from sdl.twin.led.variants import vary
from sdl.twin.led.write import toml

from .kit import MAIN, part, sessions

NIGHT = load("night-2025-10")
OTHER = vary(NIGHT, "other-unit", 5).model_copy(
    update={"jitter": {"A": 0.006, "B": 0.005, "C": 0.015}, "start": NIGHT.start}
)


@pytest.fixture(scope="module")
def fitted() -> Fit:
    return fit(sessions(OTHER, days=4, readings=80, seed=1), NIGHT)


def test_the_gains_of_another_unit_are_found_within_their_errors(fitted: Fit) -> None:
    z = []
    for p in fitted.parameters:
        if ".gain." in p.name:
            _, channel, _, name = p.name.split(".")
            assert p.told, p
            z.append((p.value - OTHER.channels[channel].gain[name]) / p.error)
    assert len(z) == 30
    assert np.abs(z).max() < 5
    assert np.sqrt(np.mean(np.square(z))) < 2
    gain = fitted.state.channels["515nm"].gain["G"]
    assert gain == pytest.approx(OTHER.channels["515nm"].gain["G"], rel=0.005)


def test_ends_and_noise_are_found_within_their_errors(fitted: Fit) -> None:
    truth = {f"inputs.{n}.{e}": getattr(d, e) for n, d in OTHER.inputs.items() for e in ("above_zero", "below_one")}
    truth |= {f"jitter.{window}": s for window, s in OTHER.jitter.items()}
    found = {p.name: p for p in fitted.parameters if p.name in truth}
    assert found.keys() == truth.keys()
    for name, p in found.items():
        assert p.told
        assert abs(p.value - truth[name]) < 4 * p.error + (0.1 * truth[name] if "jitter" in name else 0), p


def test_a_fitted_twin_predicts_readings_that_it_has_not_seen(fitted: Fit) -> None:
    found = check(sessions(OTHER, days=3, readings=60, seed=9), fitted.state)
    assert not found.divergent
    assert max(channel.ratio for channel in found.channels) < 1.3


def test_too_few_readings_are_refused() -> None:
    with pytest.raises(ValueError, match="19 readings are too few to fit a twin to; 20 are needed"):
        fit(sessions(NIGHT, days=1, readings=19), NIGHT)


def test_what_the_readings_do_not_tell_is_kept_and_said_so() -> None:
    data = sessions(OTHER, days=3, readings=800)
    inside = ((data.X > 0.25) & (data.X < 0.75)).all(axis=1)  # nothing of the ends
    narrow = data.only(inside & (data.X[:, 0] == 0.5))  # an input that never changed
    narrow.Y[:, 1] = np.nan  # a channel that was not read
    found = {p.name: p for p in fit(narrow, NIGHT).parameters}
    untold = {name for name, p in found.items() if not p.told}
    assert untold >= {"channels.630nm.gain.R", "channels.445nm.gain.B", "inputs.G.below_one", "drift.daily"}
    assert {name: found[name].value for name in untold} == {name: found[name].was for name in untold}
    assert found["channels.515nm.gain.G"].told
    assert found["channels.515nm.gain.G"].value != found["channels.515nm.gain.G"].was


def test_a_channel_that_is_bent_by_itself_is_found_and_written(tmp_path: Path) -> None:
    red = NIGHT.channels["590nm"].model_copy(update={"curve": {"R": 0.02}})
    odd = NIGHT.model_copy(update={"channels": {**NIGHT.channels, "590nm": red}})
    found = fit(sessions(odd, days=4, readings=80, seed=3), NIGHT)
    curves = {p.name: p for p in found.parameters if ".curve." in p.name}
    assert 0.01 < curves["channels.590nm.curve.R"].value < 0.025  # between what is so and what is usual
    assert abs(curves["channels.630nm.curve.R"].value) < 0.008
    assert check(sessions(odd, days=3, readings=60, seed=9), found.state).channels[5].ratio < 1.15
    file = tmp_path / "twin.toml"
    file.write_text(toml(found.state))
    assert load(str(file)).channels["590nm"].curve["R"] == pytest.approx(found.state.channels["590nm"].curve["R"], 1e-4)
    assert "curve" not in toml(NIGHT).partition("[channels]")[2]


def test_drift_from_day_to_day_is_found() -> None:
    restless = NIGHT.model_copy(update={"drift": NIGHT.drift.model_copy(update={"daily": 0.01, "slow": 0.0})})  # type: ignore[union-attr]
    found = fit(sessions(restless, days=10, readings=30, seed=4, drifts=True), NIGHT)
    assert found.state.drift is not None
    assert 0.005 < found.state.drift.daily < 0.016
    assert len({day.day for day in found.days}) == 10
    still = fit(sessions(NIGHT, days=10, readings=30, seed=4), NIGHT)
    assert still.state.drift is not None
    assert still.state.drift.daily < 0.001


def test_ambient_light_is_fitted_and_a_moving_room_is_not_taken_for_noise() -> None:
    day = NIGHT.model_copy(update={"start": NIGHT.start.replace(hour=18)})
    found = fit(sessions(day, days=4, readings=60, sky=Sky(load_room("day"), 3)), NIGHT)
    assert found.state.channels["nir"].ambient > 1000
    assert found.state.jitter["A"] == pytest.approx(NIGHT.jitter["A"], rel=0.25)
    assert found.state.channels["445nm"].gain["B"] == pytest.approx(NIGHT.channels["445nm"].gain["B"], rel=0.005)


def test_a_bent_state_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="without curve, gamma and droop"):
        fit(sessions(NIGHT), vary(NIGHT, "curved", 0))


@pytest.mark.parametrize("name", ["night-2025-10", "paper-2025-03", "night-2024-09"])
def test_a_written_state_is_the_state_that_is_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / "twin.toml"
    file.write_text(toml(load(name), ["where it is from", "", 'with "quotes"']))
    assert load(str(file)) == load(name)
    odd = load(name).model_copy(update={"about": 'a "quoted" \\ name\nin two lines'})
    file.write_text(toml(odd))
    assert load(str(file)) == odd


def test_a_fitted_state_can_be_named_by_a_campaign(tmp_path: Path, fitted: Fit) -> None:
    file = tmp_path / "twin.toml"
    file.write_text(toml(fitted.state))
    twin = Twin(state=str(file))
    assert twin.identity.startswith("twin:twin@")
    read = load(str(file)).channels["515nm"].gain["G"]
    assert read == pytest.approx(fitted.state.channels["515nm"].gain["G"], abs=0.1)


# --- the real readings ----------------------------------------------------------------------------------------------


def dark_rows(log: Path, folder: Path, state: TwinState) -> tuple[Path, list[str]]:
    """The autumn's rows of ten channels, and the days of those taken in the dark."""
    file = part(log, folder / "ten.jsonl", lambda row: "version_251123" in row["source"])
    data = collect([file], state)
    return file, sorted(set(data.day[dark_sessions(data, state)].tolist()))


def test_the_night_state_predicts_the_real_dark_readings(real_readings: Path, tmp_path: Path) -> None:
    file, days = dark_rows(real_readings, tmp_path, NIGHT)
    data = collect([file], NIGHT)
    found = check(data.only(dark_sessions(data, NIGHT)), NIGHT)
    assert days == ["2025-10-28", "2025-10-29", "2025-10-30", "2025-10-31"]
    assert (found.readings, found.divergent) == (100, False)
    for channel in found.channels:
        if channel.channel in MAIN:
            assert channel.ratio <= 1.25, channel
            assert 0.60 <= channel.coverage <= 0.76, channel


@pytest.mark.parametrize(
    "first", [["2025-10-28", "2025-10-29"], ["2025-10-28", "2025-10-30"], ["2025-10-29", "2025-10-31"]]
)
def test_a_fit_to_half_of_the_real_days_predicts_the_other_half(
    real_readings: Path, tmp_path: Path, first: list[str]
) -> None:
    file, days = dark_rows(real_readings, tmp_path, NIGHT)
    data = collect([file], NIGHT)
    dark = data.only(dark_sessions(data, NIGHT))
    half = np.isin(dark.day, first)
    found = check(dark.only(~half), fit(dark.only(half), NIGHT).state)
    assert len(days) == 4
    assert not found.divergent
    main = [channel for channel in found.channels if channel.channel in MAIN]
    for channel in main:
        assert channel.ratio <= 1.2 * 1.25, channel
        assert channel.coverage >= 0.5, channel
    assert np.mean([channel.coverage for channel in main]) > 0.58


@pytest.mark.slow
def test_the_benchmark_s_nights_have_a_twin_of_their_own(real_readings: Path, tmp_path: Path) -> None:
    file = part(real_readings, tmp_path / "bench.jsonl", lambda row: "gm.jsonl" in row["source"])
    shipped = load("night-2024-09")
    data = collect([file], shipped)
    dark = data.only(dark_sessions(data, shipped))
    assert not check(dark, shipped).divergent
    assert check(dark, NIGHT).divergent  # a year later green is 2.7 % brighter
    found = fit(dark, NIGHT).state
    assert found.channels["515nm"].gain["G"] == pytest.approx(shipped.channels["515nm"].gain["G"], rel=0.002)
    assert found.jitter["A"] == pytest.approx(shipped.jitter["A"], rel=0.1)
    assert found.channels["630nm"].gain == NIGHT.channels["630nm"].gain
