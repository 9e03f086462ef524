"""sdl's contract for solvers, kept by this one; and a campaign."""

import numpy as np
import pytest
from sdl_optuna import Optuna

import sdl
from sdl.solvers.base import Targets
from sdl.space import Space
from sdl.testing import SolverContract
from sdl.testing.small_instruments import SMALL
from sdl.testing.solver_contract import AffinePlant


class TestOptuna(SolverContract):
    hits = False  # it is told one number a row, and needs many more rows than twelve
    unsuited = frozenset(SMALL)

    @pytest.fixture
    def solver(self):
        return Optuna()


def test_more_rows_bring_it_nearer():
    plant = AffinePlant()
    wanted = np.array([[0.47, 0.3, 0.55]])
    targets = plant.targets(wanted)

    def far(rows):
        fitted = Optuna().fit(plant.data(rows))
        return np.median([
            np.abs(fitted.propose(targets, Space(plant.inputs), np.random.default_rng(i)).settings - wanted).max()
            for i in range(20)
        ])  # fmt: skip

    assert far(400) < far(8) / 1.5


def test_a_row_inside_a_limit_is_as_good_as_any_other():
    plant = AffinePlant()
    fitted = Optuna().fit(plant.data(12))
    value, low, high = np.full(3, np.nan), np.array([-np.inf, 5000.0, -np.inf]), np.array([1e9, np.inf, 1000.0])
    misses = fitted._misses(Targets(value, low, high))
    Y = plant.data(12).Y
    expected = np.maximum(np.maximum(5000 - Y[:, 1], 0) / 50, np.maximum(Y[:, 2] - 1000, 0) / 10)
    np.testing.assert_allclose(misses, expected)


def test_a_campaign_comes_nearer_and_says_how(tmp_path):
    tree = {
        "name": "optuna", "instrument": "twin", "goal": {"445nm": 16384}, "tolerance": "5%",
        "solver": {"kind": "optuna"}, "stop": {"trials": 60},
    }  # fmt: skip
    run = sdl.open_run(sdl.run(tree, runs=tmp_path).run)
    assert run.result.reached
    assert "Optuna's TPE, the best of" in run.proposals[max(run.proposals)].why
