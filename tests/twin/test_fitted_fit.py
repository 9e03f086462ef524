"""A twin of any instrument: what a fit finds in readings, and what it says of readings that do not suffice."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdl.models.forward.gaussian_process import condition, fit_gaussian_process, hyperparameters_of
from sdl.store.datasets import DatasetRow
from sdl.twin.fitted.fit import Declaration, SurrogateFit, fit
from sdl.twin.fitted.state import FittedState, is_fitted, load
from sdl.twin.fitted.surrogate import Surrogate
from sdl.twin.fitted.write import toml
from sdl.types import Channel, Input, Reading

from .fitted_kit import CHANNELS, MIXER, NOISE, fitted_mixer, mixer, readings, written

SOLVENTS = ("water", "ethanol", "acetone")
LEVEL = {"water": 3.0, "ethanol": 6.0, "acetone": 4.0}
DISH = Declaration(
    (Input(name="dose", high=10.0), Input(name="solvent", choices=SOLVENTS)), (Channel(name="pH", unit=""),)
)


def dish(settings: Any) -> dict[str, float]:
    return {"pH": LEVEL[settings["solvent"]] + 0.2 * settings["dose"]}


def errors(found: SurrogateFit, *, response: Any = mixer, n: int = 300) -> dict[str, float]:
    """Root mean square distance from the truth, by channel, at settings that were not measured."""
    twin = Surrogate(found.state, noise=False)
    space = twin.space
    rows = [space.project(space.decode(row))[0] for row in space.sample(n, np.random.default_rng(5))]
    pairs = [(twin.noise_free(row), response(row)) for row in rows]
    return {
        name: float(np.sqrt(np.mean([(guess[name] - truth[name]) ** 2 for guess, truth in pairs])))
        for name in found.state.channels
    }


@pytest.mark.parametrize("seed", range(3))
def test_readings_that_it_was_not_fitted_to_are_predicted_within_their_noise(seed: int) -> None:
    found = fit(readings(seed=seed), MIXER)
    for name, error in errors(found).items():
        # 1.25 × noise of a reading is the root mean square of the noise and .75 × noise.
        assert error < 0.75 * NOISE[name]


def test_the_noise_is_found_and_still_rows_show_neither_drift_nor_lag_nor_sessions() -> None:
    found = fit(readings(), MIXER)
    for channel in found.channels:
        assert channel.noise == pytest.approx(NOISE[channel.channel], rel=0.3)
        assert (channel.drift, channel.settling, channel.offset, channel.gain) == (0.0, 0.0, 0.0, 0.0)
    assert (found.rows, found.sessions) == (60, 1)


def test_a_twin_that_is_read_from_its_file_predicts_as_the_one_that_was_fitted(tmp_path: Path) -> None:
    state = fitted_mixer()
    again = load(str(written(tmp_path)))
    assert again == state
    U = np.random.default_rng(0).random((50, 2))
    here, there = Surrogate(state).mean(U), Surrogate(again).mean(U)
    assert np.abs(there / here - 1.0).max() < 1e-9


def test_one_process_given_the_rows_predicts_as_the_mixture_that_was_fitted() -> None:
    from sdl.models.data import Data

    rng = np.random.default_rng(2)
    X = rng.random((60, 2))
    Y = np.column_stack([np.sin(3 * X[:, 0]) + X[:, 1] + 0.02 * rng.standard_normal(60)])
    nothing = np.zeros(Y.shape, bool)
    inputs, channels = (Input(name="a"), Input(name="b")), (Channel(name="y"),)
    ages = np.arange(59, -1, -1.0)
    model = fit_gaussian_process(Data(X, Y, nothing, np.ones(1, bool), ages, np.zeros(60), inputs, channels))
    alone = condition(hyperparameters_of(model.channels[0]), X[model.rows], Y[model.rows, 0], nothing[model.rows, 0])
    U = rng.random((200, 2))
    assert np.abs(alone.mean(U) - model.mean(U)[:, 0]).max() < 0.02


def test_a_drift_is_not_estimated_from_seconds() -> None:
    slow, _ = fit(readings(drift=12.0, pace=(8.0, 60.0), seed=1), MIXER).state.channels.values()
    assert slow.drift == pytest.approx(12.0, abs=3.0)
    for seed in range(3):
        quick = fit(readings(drift=12.0 * 2000, pace=(0.004, 0.03), seed=seed), MIXER).state.channels.values()
        assert [channel.drift for channel in quick] == [0.0, 0.0]


@pytest.mark.parametrize("drift", [0.0, 12.0])
def test_a_lag_and_a_drift_are_found_in_the_times_of_the_rows(drift: float) -> None:
    found = fit(readings(lag=15.0, drift=drift, pace=(8.0, 60.0), seed=1), MIXER)
    slow, quick = found.channels
    assert slow.settling == pytest.approx(15.0, rel=0.15)
    assert slow.drift == pytest.approx(drift, abs=3.0)
    assert (quick.settling, quick.drift) == (0.0, 0.0)
    assert errors(found)["R"] < 1.5


def test_equal_times_between_rows_tell_the_lag_too() -> None:
    found = fit(readings(lag=15.0, seed=4), MIXER)
    assert found.channels[0].settling == pytest.approx(15.0, rel=0.15)


def test_differences_between_sessions_are_found_and_taken_off() -> None:
    offsets = [0.0, 8.0, -6.0, 3.0, -7.0, 5.0]
    found = fit(readings(120, sessions=offsets), MIXER)
    first, second = found.channels
    assert first.offset == pytest.approx(np.std(offsets, ddof=1), rel=0.3)
    assert second.offset < 0.1
    assert errors(found, response=lambda s: mixer(s) | {"R": mixer(s)["R"] + offsets[-1]})["R"] < 2.0


def test_readings_at_the_end_of_a_channel_are_bounds() -> None:
    low_end = MIXER._replace(channels=(Channel(name="R", low=0.0, high=60.0), CHANNELS[1]))
    rows = readings(90, instrument=low_end)
    full = sum("R" in row.reading.saturated for row in rows)
    assert full > 10
    twin = Surrogate(fit(rows, low_end).state, noise=False)
    blank = {"red": 0.0, "blue": 0.0}
    assert twin.noise_free(blank)["R"] == 60.0
    assert twin.respond(blank, 0.0, 1.0).saturated == ("R",)
    inside = {"red": 100.0, "blue": 100.0}
    assert twin.noise_free(inside)["R"] == pytest.approx(mixer(inside)["R"], abs=1.0)


def test_choices_are_inputs_like_others() -> None:
    found = fit(readings(40, instrument=DISH, response=dish, noise={"pH": 0.02}), DISH)
    twin = Surrogate(found.state, noise=False)
    for solvent in SOLVENTS:
        settings = {"dose": 4.0, "solvent": solvent}
        assert twin.noise_free(settings)["pH"] == pytest.approx(dish(settings)["pH"], abs=0.05)
    assert "choices" in toml(found.state)


def test_a_wrong_reading_is_left_out() -> None:
    rows = readings()
    spoiled = Reading(rows[33].reading.applied, {**rows[33].reading.readings, "R": 5.0})
    rows[33] = DatasetRow(spoiled, 0, "", rows[33].at)
    assert errors(fit(rows, MIXER))["R"] < 1.0


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (readings(8), "8 readings of R are too few to fit a twin to; 9 are needed"),
        (
            [DatasetRow(Reading(r.reading.applied, {"R": r.reading.readings["R"]}), 0, "", r.at) for r in readings(20)],
            "0 readings of T are too few",
        ),
        (
            [
                DatasetRow(Reading({**r.reading.applied, "blue": 10.0}, r.reading.readings), 0, "", r.at)
                for r in readings(20)
            ],
            "blue never changed in 20 usable rows",
        ),
    ],
)
def test_rows_that_do_not_suffice_are_refused_with_what_is_missing(rows: list[DatasetRow], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fit(rows, MIXER)


# The file ------------------------------------------------------------------------------------------------------------
def test_the_file_is_text_that_people_can_read(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert is_fitted(str(file))
    tree = tomllib.loads(file.read_text())
    assert tree["inputs"]["red"] == {"low": 0.0, "high": 300.0, "step": 5.0, "unit": "uL"}
    assert tree["channels"]["R"]["process"]["transform"] == "log"
    assert len(tree["rows"]["values"]) == 60
    assert all(isinstance(value, float) for row in tree["rows"]["values"] for value in row)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('kind = "fitted"', 'kind = "fitted"\nspeed = 3', r"speed: Extra inputs"),
        ("takes = 20.0", "takes = -1", r"takes: Input should be greater than or equal to 0"),
        ("step = 5.0", "step = 0", r"inputs.red.step: Input should be greater than 0"),
        ("low = 0.0, high = 300.0", "low = 400.0, high = 300.0", r"inputs.red: low \(400\) must be below high \(300\)"),
        ('"red + blue <= 300"', '"red + green <= 300"', r"constraints.0: green is no input with numbers; allowed: red"),
        ("[off]\nred = 0.0", "[off]\ngreen = 0.0", r"off: must give red, blue; it gives green, blue"),
        ('transform = "log"', 'transform = "sqrt"', r"process.transform: Input should be 'none' or 'log'"),
        (
            'columns = ["red", "blue"',
            'columns = ["blue", "red"',
            r"rows.columns: must be red, blue, R, T, not blue, red",
        ),
        ("values = [\n", "values = [\n  [1.0, 2.0],\n", r"rows.values.0: 2 values; allowed: 4, one for each column"),
        (
            "values = [\n",
            'values = [\n  [1.0, "x", 3.0, 4.0],\n',
            r"rows.values.0: blue must be a finite number, not 'x'",
        ),
        ("[rows]", "[rows", r"Expected ']' at the end"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = toml(fitted_mixer())
    assert old in text
    file = tmp_path / "rig-twin.toml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=says):
        load(str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load(str(tmp_path / "none.toml"))
    assert not is_fitted(str(tmp_path / "none.toml"))
    assert not is_fitted("night-2025-10")


def test_every_number_of_a_state_survives_its_file() -> None:
    state = fitted_mixer()
    odd = state.model_copy(update={"about": 'a "quoted" µL\nname', "takes": 1 / 3})
    assert FittedState.model_validate(tomllib.loads(toml(odd))) == odd
