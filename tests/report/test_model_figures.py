"""The figures of the forward model, against closed forms and the record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from report import kit
from sdl.models.forward.forward_model import LinearForward
from sdl.models.inversion.forward import FittedForward
from sdl.report.figures import draw
from sdl.report.figures.contours import grid_of
from sdl.report.figures.importance import _change, total_effects
from sdl.report.figures.panels import distinct
from sdl.report.figures.posterior import DRAWN
from sdl.report.figures.predictions import standardised
from sdl.report.figures.slices import slice_of
from sdl.report.model import NEWEST, OLDER, RunModel
from sdl.report.table import TrialTable
from sdl.runs.runs import Run


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> TrialTable:
    below = tmp_path_factory.mktemp("runs")
    return TrialTable(Run(kit.campaign(below, "spent", tolerance="0.1%", stop={"trials": 14, "stagnation": None})))


@pytest.fixture(scope="module")
def model(table: TrialTable) -> RunModel:
    assert table.model is not None
    return table.model


def test_the_model_is_that_of_the_run_s_solver_on_all_its_readings(table: TrialTable, model: RunModel) -> None:
    assert isinstance(model.forward, LinearForward)
    assert len(model.forward.training.Y) == table.run.result.readings
    assert model.forward.training.settings(model.answer[None])[0] == pytest.approx(table.X[table.best.trial])
    assert table.model is model  # fitted once


def test_sobol_indices_of_a_line_are_its_squared_slopes(model: RunModel) -> None:
    slope = model.forward.linear.slope
    expected = slope**2 / (slope**2).sum(axis=1, keepdims=True)
    assert total_effects(model, ["R", "G", "B"]) == pytest.approx(expected, abs=0.02)


def test_the_change_at_the_answer_is_a_hundredth_of_the_slope_in_tolerances(table: TrialTable, model: RunModel) -> None:
    change = _change(table, model, ["G"])
    column = table.channels.index("515nm")
    assert change[column, 0] == pytest.approx(0.01 * model.forward.linear.slope[column, 1] / 16.384)
    assert np.isnan(change[table.channels.index("clear"), 0])  # no channel of the goal


def test_a_slice_passes_through_the_prediction_at_the_answer(table: TrialTable, model: RunModel) -> None:
    cut = slice_of(table, model, "G")
    assert cut is not None
    assert (cut.x[0], cut.x[-1]) == (0.0, 1.0)
    mean, sd = model.predict(model.answer[None])
    column = table.channels.index("515nm")
    at = float(model.answer[1])
    assert np.interp(at, cut.x, cut.mean[:, column]) == pytest.approx(mean[0, column])  # it is a line
    assert np.interp(at, cut.x, cut.sd[:, column]) == pytest.approx(sd[0, column], rel=0.1)


def test_contours_are_the_model_on_a_grid_of_two_inputs(table: TrialTable, model: RunModel) -> None:
    x, y, mean = grid_of(table, model, "R", "B")
    i, j = 7, 30
    U = np.array([[x[j], model.answer[1], y[i]]])
    assert mean[i, j] == pytest.approx(model.predict(U)[0][0])


def test_the_posterior_has_the_spread_of_the_delta_method(model: RunModel) -> None:
    drawn = model.sample_answers(DRAWN, np.random.default_rng(1))
    spread, _ = FittedForward(model.forward).std_errors(model.target, drawn.mean(axis=0))
    assert drawn.std(axis=0) == pytest.approx(spread, rel=0.15)
    mean = model.forward.mean(drawn.mean(axis=0)[None])[0]
    goal = np.isfinite(model.target.value)
    assert mean[goal] == pytest.approx(model.target.value[goal], rel=2e-3)


def test_predictions_are_those_in_the_record(table: TrialTable) -> None:
    z = standardised(table, "445nm")
    trial = table.trials[-1]
    expected, error = trial.proposed.expected["445nm"], trial.proposed.expected_error["445nm"]
    assert z[-1] == pytest.approx((trial.mean["445nm"] - expected) / error)
    assert np.isnan(z[:4]).all()  # a design expects nothing


def test_a_background_is_added_to_what_the_model_predicts(tmp_path: Path) -> None:
    lit = {"kind": "twin", "ambient": "day", "background": "each"}
    table = TrialTable(Run(kit.campaign(tmp_path, "day", instrument=lit, tolerance="3%")))
    assert table.model is not None
    goal = [table.channels.index(name) for name in kit.GOAL]
    assert (table.model.base[goal] > 0).all()
    mean, _ = table.model.predict(table.model.answer[None])
    assert mean[0, goal] == pytest.approx([16384.0] * 3, rel=0.03)


def test_a_long_run_is_fitted_to_some_of_its_readings(tmp_path: Path) -> None:
    never = {"tolerance": "0.01%", "solver": {"kind": "random"}, "stop": {"trials": 420, "stagnation": None}}
    table = TrialTable(Run(kit.campaign(tmp_path, "long", **never)))
    assert table.model is not None
    training = table.model.forward.training
    assert training.age is not None
    assert training.age.min() == 0
    assert training.age.max() == 419
    assert len(training.Y) <= NEWEST + OLDER


def test_choices_and_constraints_have_slices_and_importance(tmp_path: Path) -> None:
    (tmp_path / "rig.py").write_text(
        "def measure(s):\n"
        "    k = {'water': 1.0, 'ethanol': 0.5}[s['solvent']]\n"
        "    return {'A': k * s['dye'] / 100 + s['acid'] / 400}\n"
    )
    instrument = {
        "kind": "python",
        "function": f"{tmp_path / 'rig.py'}:measure",
        "inputs": {
            "solvent": {"choices": ["water", "ethanol"]},
            "dye": {"low": 0, "high": 100, "unit": "uL"},
            "acid": {"low": 0, "high": 100, "unit": "uL"},
        },
        "channels": {"A": {}},
        "constraints": ["dye + acid <= 150"],
        "off": "nothing",
    }
    table = TrialTable(
        Run(kit.campaign(tmp_path, "rig", instrument=instrument, goal={"A": 0.5}, tolerance=0.01, solver="auto"))
    )
    assert table.model is not None
    cut = slice_of(table, table.model, "solvent")
    assert cut is not None
    assert len(cut.x) == 2
    assert np.isnan(grid_of(table, table.model, "dye", "acid")[2][-1, -1]).all()  # 100 + 100 breaks the constraint
    for name in ("slices", "contours", "importance", "posterior"):
        assert draw(table, name) is not None, name


def test_points_that_hide_each_other_are_drawn_once() -> None:
    x, y = np.array([0.0, 0.001, 0.5, 0.5]), np.array([0.0, 0.001, 1.0, 9.0])
    assert distinct(x, y, 1.0, 10.0).tolist() == [1, 2, 3]
