"""The text of a choice on its way: checked, recorded, read from tables, typed, printed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import space_kit

import sdl
from sdl import formatting
from sdl.core.events import Proposed
from sdl.core.history import History
from sdl.core.trials import Trial
from sdl.drivers.base import off_settings
from sdl.drivers.checks import checked, checked_numbers, checked_reading
from sdl.drivers.manual import Manual, ManualDriver
from sdl.errors import ConfigError, NotApplied, Rejected
from sdl.report.figures import draw
from sdl.report.table import TrialTable
from sdl.space import Space
from sdl.store import datasets
from sdl.types import Channel, Input, Reading, numbers

benches = space_kit.benches
INPUTS = (Input(name="T", high=100.0, unit="°C"), Input(name="solvent", choices=("water", "ethanol", "37")))
CHANNELS = (Channel(name="y"),)
HOT = {"T": 50.0, "solvent": "ethanol"}


def test_settings_are_checked_by_kind() -> None:
    assert checked({"solvent": "water", "T": 5}, INPUTS) == {"T": 5.0, "solvent": "water"}
    assert checked_numbers(HOT, INPUTS) == numbers(HOT) == {"T": 50.0}
    with pytest.raises(Rejected, match="solvent = 'acetone' is none of water, ethanol, 37"):
        checked({"T": 5.0, "solvent": "acetone"}, INPUTS)
    with pytest.raises(Rejected, match="T = '5' is not a finite number"):
        checked({"T": "5", "solvent": "water"}, INPUTS)


def test_another_choice_than_asked_for_is_a_fault_and_a_number_in_its_place_none_applied() -> None:
    asked = checked_reading(Reading(HOT, {"y": 1.0}), HOT, {"y"})
    assert (asked.fault, asked.applied) == (None, HOT)
    other = checked_reading(Reading(HOT | {"solvent": "water"}, {"y": 1.0}), HOT, {"y"})
    assert other.fault == "not-applied"
    with pytest.raises(NotApplied):
        checked_reading(Reading(HOT | {"solvent": 1.0}, {"y": 1.0}), HOT, {"y"})


def test_off_is_the_first_choice_where_nothing_is_declared() -> None:
    instrument = Manual(inputs=INPUTS, channels=CHANNELS)
    assert off_settings(instrument) == {"T": 0.0, "solvent": "water"}
    declared = Manual(inputs=INPUTS, channels=CHANNELS, off={"solvent": "ethanol"})
    assert off_settings(declared) == {"T": 0.0, "solvent": "ethanol"}
    with pytest.raises(ValueError, match="must be one of water, ethanol, 37, not 'acetone'"):
        Manual(inputs=INPUTS, channels=CHANNELS, off={"solvent": "acetone"})


def test_a_person_is_told_the_choice_and_may_type_another() -> None:
    asks = io.StringIO()
    driver = ManualDriver(
        Manual(inputs=INPUTS, channels=CHANNELS), io.StringIO("solvent=oil 3\nsolvent=water 3.5\n"), asks
    )
    reading = driver.measure(HOT)
    assert "solvent = ethanol" in asks.getvalue()
    assert "solvent is one of water, ethanol, 37, not 'oil'" in asks.getvalue()
    assert (reading.applied["solvent"], reading.readings, reading.fault) == ("water", {"y": 3.5}, "not-applied")


def test_a_trial_whose_choices_differ_between_readings_has_no_common_settings() -> None:
    proposed = Proposed(0, HOT, {}, "gp", 0, "", {}, {}, {}, None, (), 0.0)
    trial = Trial(proposed, None)
    trial.add(Reading(HOT, {"y": 1.0}))
    trial.add(Reading({"T": 50.0 + 1e-9, "solvent": "ethanol"}, {"y": 1.0}))
    assert trial.applied == HOT
    trial.add(Reading(HOT | {"solvent": "water"}, {"y": 1.0}))
    assert trial.applied is None


def test_a_history_has_a_column_for_each_further_choice() -> None:
    history = History(("T", "solvent"), ("y",), space=Space(INPUTS))
    history.add_row(Reading(HOT, {"y": 1.0}), 0)
    assert history.X.tolist() == [[50.0, 1.0, 0.0]]


@pytest.mark.parametrize("form", ["csv", "jsonl", "log"])
def test_a_prior_has_choices_as_texts_and_names_a_line_that_has_none(tmp_path: Path, form: str) -> None:
    rows: list[tuple[float, Any, float]] = [(10.0 + i, ("water", "ethanol", "37")[i % 3], float(i)) for i in range(20)]
    rows.append((50.0, "acetone", 1.0))
    file = tmp_path / "prior.txt"
    if form == "csv":
        file.write_text("T (°C),solvent,y\n" + "".join(f"{t},{s},{y}\n" for t, s, y in rows))
    elif form == "jsonl":
        file.write_text("".join(json.dumps({"T": t, "solvent": s, "y": y}) + "\n" for t, s, y in rows))
    else:
        lines = [{"in": {"T": t, "solvent": s}, "out": {"y": y}} for t, s, y in rows]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    loaded = datasets.load(file, INPUTS, CHANNELS, ("y",))
    assert [row.reading.applied["solvent"] for row in loaded.rows[:3]] == ["water", "ethanol", "37"]
    assert loaded.left_out == {"solvent is none of its choices, water, ethanol, 37": 1}
    datasets.save(tmp_path / "copy.jsonl", [loaded])
    names = [item.name if item.numeric else item for item in INPUTS]
    again = datasets.load(tmp_path / "copy.jsonl", names, CHANNELS, (), tolerated=0)
    assert [row.reading.applied for row in again.rows] == [row.reading.applied for row in loaded.rows]


def test_an_empty_cell_is_no_choice(tmp_path: Path) -> None:
    file = tmp_path / "prior.csv"
    file.write_text("T,solvent,y\n" + "5,water,1\n" * 20 + "5,,1\n")
    assert datasets.load(file, INPUTS, CHANNELS, ("y",)).left_out == {"no value of solvent": 1}


def test_columns_of_texts_are_described_as_choices(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("T,solvent,note,y\n1,water,a,1\n2,ethanol,a,2\n3,water,a,3\n")
    assert datasets.describe_columns(file).texts == {"solvent": ("ethanol", "water")}


def test_a_choice_is_printed_as_its_text_without_control_characters() -> None:
    assert formatting.setting("ethanol", {"name": "solvent", "choices": ["water", "ethanol"]}) == "ethanol"
    assert formatting.setting("a\x1b[1m", {"choices": ["a\x1b[1m"]}) == "a\\x1b[1m"
    colour = {"R": 0.5, "G": 0.5, "B": 0.5}
    inputs = [{"name": name, "low": 0.0, "high": 1.0} for name in "RGB"]
    other = {"name": "solvent", "choices": ["water", "ethanol"]}
    assert formatting.swatch(colour | {"solvent": "water"}, [*inputs, other]) == formatting.swatch(colour, inputs)


@pytest.mark.usefixtures("benches")
def test_a_report_shows_every_choice(tmp_path: Path) -> None:
    goal = {"y": {"target": 95, "tolerance": 1.5}, "z": {"target": 28, "tolerance": 1.5}}
    campaign = {"name": "s", "instrument": {"kind": "solvents"}, "goal": goal, "solver": "gp", "stop": {"trials": 9}}
    table = TrialTable.of(sdl.open_run(sdl.run(campaign, runs=tmp_path).run))
    assert set(table.X[:, 2]) == {0.0, 1.0, 2.0}
    assert table.ticks("solvent") == ([0.0, 1.0, 2.0], ["water", "ethanol", "dmso"])
    assert table.ticks("T", middle=True) == ([20.0, 50.0, 80.0], ["20", "50", "80"])
    figure = draw(table, "settings")
    assert figure is not None
    for name in ("space", "pairs", "spread", "parity"):
        draw(table, name)


def test_a_choice_without_its_instrument_is_refused_in_a_table(tmp_path: Path) -> None:
    file = tmp_path / "prior.csv"
    file.write_text("T,solvent,y\n" + "5,water,1\n" * 20)
    with pytest.raises(ConfigError, match="solvent is 'water', not a number"):
        datasets.load(file, ["T", "solvent"], CHANNELS, ("y",))
