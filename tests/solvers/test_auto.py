"""The solver that chooses: whom it takes, on what grounds, and that it says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from led import CHANNELS, GAINS, RGB, ask, axis, data, hypercube, measure, night, space, targets
from pydantic import ValidationError
from scipy import stats

import sdl
from sdl.config import parse_kind
from sdl.errors import ConfigError, Degenerate, NotEnoughData
from sdl.inverse.knowledge import fit, with_knowledge
from sdl.models.model_selection import MANY, predictive_score, select_model
from sdl.solvers.auto import Auto
from sdl.solvers.bayes import Bayes
from sdl.solvers.gp import Gp
from sdl.solvers.linear import Linear
from sdl.solvers.quadratic import Quadratic
from sdl.types import Input

GOAL = [16384.0, 16384.0, 16384.0]


def bent(n, seed=0):
    """Rows of an LED that gives .2 too much in the middle of its range."""
    rng = np.random.default_rng(seed)
    X = np.vstack([axis(), hypercube(n - 4, rng)])
    return data(X, measure(X + 0.8 * X * (1 - X), rng))


def fading(n, seed=0):
    """Rows of an LED that loses a thousandth of its light with every reading."""
    rng = np.random.default_rng(seed)
    X = np.vstack([axis(), hypercube(n - 4, rng)])
    Y = np.vstack([measure(x[None], rng, GAINS * 0.999**i) for i, x in enumerate(X)])
    return data(X, Y)


def foreseen(solver, rows, row):
    """How far off the readings of one row were (3,), and with what standard deviation they had been predicted."""
    before = replace(
        rows,
        X=rows.X[:row],
        Y=rows.Y[:row],
        saturated=rows.saturated[:row],
        age=np.arange(row)[::-1].astype(float),
        session=rows.session[:row],
        current_session=0.0,
    )
    mean, std = fit(solver, before).predict(rows.X[row : row + 1])
    return rows.Y[row] - mean[0], std[0]


# Whom it takes -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(5))
def test_an_instrument_that_bends_is_left_to_the_gaussian_process(seed):
    assert Auto().fit(bent(12, seed)).why.startswith("gp: predicted each reading from the others best")


def test_an_instrument_that_is_linear_is_left_to_a_linear_model():
    taken = [Auto().fit(night(40, seed)).why.split(":")[0] for seed in range(10)]
    assert sum(kind in ("linear", "bayes") for kind in taken) >= 8


def test_a_surface_of_products_is_left_to_the_quadratic_model():
    rng = np.random.default_rng(0)
    X = hypercube(20, rng)
    Y = measure(X, rng) + 9000 * X[:, [0, 1, 2]] * X[:, [1, 2, 0]]
    assert Auto().fit(data(X, Y)).why.startswith("quadratic: ")


@pytest.mark.parametrize("seed", range(5))
def test_an_instrument_that_fades_is_left_to_the_model_that_drifts(seed):
    assert Auto().fit(fading(24, seed)).why.startswith("bayes: predicted the last 3 settings best")


def test_the_answer_is_that_of_the_one_it_took_and_its_sentence_says_so():
    rows = bent(10)
    given, own = ask(Auto(), rows, GOAL), ask(Gp(), rows, GOAL)
    assert given.settings.tobytes() == own.settings.tobytes()
    assert (given.verdict, given.spread.tobytes()) == (own.verdict, own.spread.tobytes())
    assert given.why[0].startswith("auto chose gp: predicted each reading from the others best ")
    assert given.why[0].endswith(f". {own.why[0]}")
    X = np.full((2, 3), 0.4)
    for mine, its in zip(Auto().fit(rows).predict(X), Gp().fit(rows).predict(X), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_before_any_reading_could_be_foreseen_the_first_candidate_answers():
    assert "auto chose linear: too few readings to compare solvers yet" in ask(Auto(), night(4), GOAL).why[0]
    turned = ask(Auto(candidates=("bayes", "gp")), night(4), GOAL)
    assert "auto chose bayes: too few readings" in turned.why[0]


def test_one_candidate_is_taken_without_ado():
    rows = night(9)
    assert Auto(candidates=("linear",)).fit(rows).why == "linear"
    assert (
        ask(Auto(candidates=("linear",)), rows, GOAL).settings.tobytes() == ask(Linear(), rows, GOAL).settings.tobytes()
    )


def test_who_knows_the_twin_answers_before_the_first_row_and_the_others_are_named():
    solver = Auto(knows="twin")
    assert (solver.needs(RGB), Auto().needs(RGB)) == (0, None)
    none = night(4)
    none = replace(none, **{name: getattr(none, name)[:0] for name in ("X", "Y", "saturated", "age", "session")})
    said = ask(solver, none, GOAL).why[0]
    assert "auto chose bayes: the others cannot answer yet; linear: 0 usable rows, 4 needed; quadratic: " in said


def test_it_needs_as_many_design_points_as_the_candidate_that_can_propose_first():
    class Others(Auto):
        def solvers(self):
            return tuple(SimpleNamespace(needs=lambda inputs, n=n: n) for n in (4, None, 2, 3))

    assert Others(knows="twin").needs(RGB) == 2


def test_the_error_of_the_first_candidate_is_raised_where_none_can_answer():
    with pytest.raises(NotEnoughData, match="2 usable rows, 4 needed"):
        Auto().fit(night(2))
    with pytest.raises(Degenerate):
        Auto().fit(data(np.full((9, 3), 0.4), np.full((9, 3), 1000.0)))


# On what grounds -----------------------------------------------------------------------------------------------------
def test_scores_are_log_densities_of_predictions_from_the_rows_before():
    rows, solvers = night(9), [Gp(), Bayes()]
    found = np.array([[foreseen(solver, rows, row) for row in (7, 8)] for solver in solvers])  # solver, row, off/std, c
    least = found[:, :, 1].min(axis=0)
    expected = stats.norm.logpdf(found[:, :, 0], scale=found[:, :, 1]) + np.log(np.sqrt(2 * np.pi) * least)
    scores, settings = predictive_score(solvers, rows, 2)
    assert settings == 2
    np.testing.assert_allclose(scores, expected.sum(axis=(1, 2)), rtol=1e-9)


def test_only_settings_that_all_have_foreseen_are_compared():
    rows, knows = night(6), Bayes(knows="twin")
    errors, settings = predictive_score([Gp(), knows], with_knowledge(knows, rows), 6)  # gp: from 4 rows
    assert settings == 2
    off, std = foreseen(Gp(), rows, 5)
    other, std2 = foreseen(knows, rows, 5)
    errors, settings = predictive_score([Gp(), knows], with_knowledge(knows, rows), 1)
    least = np.minimum(std, std2)
    expected = [(-0.5 * (o / s) ** 2 - np.log(s / least)).sum() for o, s in ((off, std), (other, std2))]
    np.testing.assert_allclose(errors, expected, rtol=1e-9)


def test_a_candidate_that_is_too_sure_loses_though_its_errors_are_the_same():
    @dataclass
    class Claims:
        sd: float

        def fit(self, data):
            return self

        def predict(self, X):
            return np.full((len(X), 3), 1000.0), np.full((len(X), 3), self.sd)

    rng = np.random.default_rng(0)
    rows = data(hypercube(12, rng), 1000 + 10 * rng.standard_normal((12, 3)))
    honest, sure, vague = predictive_score([Claims(10.0), Claims(2.0), Claims(50.0)], rows, 8)[0]
    assert honest > max(sure, vague)


def test_few_readings_do_not_overrule_the_first_candidate():
    class Says:
        def __init__(self, off):
            self.off = off

        def fit(self, data):
            return self

        def predict(self, X):
            return X.sum(axis=1, keepdims=True) * 1000 + self.off, np.full((len(X), 1), 10.0)

    X = hypercube(9, np.random.default_rng(0))
    rows = data(X, X.sum(axis=1, keepdims=True) * 1000, channels=CHANNELS[:1])
    near = select_model(rows, {"first": Says(12.0), "second": Says(0.0)}, 1)  # .7 nats apart
    assert near.why.startswith("first: no other predicted the last settings clearly better")
    assert select_model(rows, {"first": Says(30.0), "second": Says(0.0)}, 1).why.startswith("second: predicted")


def test_readings_in_a_row_at_one_setting_are_one_trial():
    rows = bent(8)
    X, Y = np.vstack([rows.X, rows.X[-1:], rows.X[-1:]]), np.vstack([rows.Y, rows.Y[-1:], rows.Y[-1:]])
    again, once = predictive_score([Gp(), Bayes()], data(X, Y), 4), predictive_score([Gp(), Bayes()], rows, 4)
    assert again[1] == once[1] == 4
    np.testing.assert_allclose(again[0], once[0], rtol=0.02)  # the age of the rows before is two readings more


def test_a_saturated_reading_is_not_held_against_anybody():
    rows = bent(9)
    Y = rows.Y.copy()
    Y[-1] = 65535.0
    spoilt = data(rows.X, Y)
    assert spoilt.saturated[-1].all()
    before = data(rows.X[:-1], rows.Y[:-1])
    np.testing.assert_allclose(
        predictive_score([Gp(), Bayes()], spoilt, 3)[0], predictive_score([Gp(), Bayes()], before, 3)[0]
    )


def test_a_model_that_predicts_less_than_a_bound_at_saturated_settings_is_not_taken():
    """Four rows fit a plane exactly; that settings beyond them were saturated, contradicts it."""
    X = np.vstack([0.3 * axis(), [[0.35, 0.35, 0.35]], [[0.4, 0.4, 0.4]]])
    Y = measure(X, np.random.default_rng(0))
    Y[4:] = measure(X, np.random.default_rng(0))[4:].max() * 1.3
    full = [channel.model_copy(update={"high": float(Y[4, i])}) for i, channel in enumerate(CHANNELS)]
    rows = replace(data(X, Y, channels=tuple(full)), saturated=np.repeat(np.arange(6) >= 4, 3).reshape(6, 3))
    assert select_model(rows, {"linear": Linear(), "gp": Gp()}, 6).why.startswith("gp")
    clear = replace(
        rows, saturated=np.zeros((6, 3), bool), X=X[:4], Y=Y[:4], age=rows.age[2:], session=rows.session[2:]
    )
    assert select_model(
        replace(clear, saturated=clear.saturated[:4]), {"linear": Linear(), "gp": Gp()}, 6
    ).why.startswith("linear")


def test_with_many_rows_the_latest_are_foreseen_by_one_fit_each():
    rows, fits = bent(MANY + 10), []

    class Counting:
        kind = "counting"

        def fit(self, data):
            fits.append(len(data.X))
            return Linear().fit(data)

    assert predictive_score([Counting()], rows, 4)[1] == 4
    assert fits == [MANY + 6]
    fits.clear()
    predictive_score([Counting()], bent(20), 4)
    assert fits == [16, 17, 18, 19]
    fits.clear()
    predictive_score([Counting()], replace(rows, session=(np.arange(MANY + 10) > MANY + 7) * 1.0), 4)
    assert fits == [MANY + 6, MANY + 7, MANY + 8, MANY + 9]


def test_a_candidate_that_knows_no_noise_can_be_judged():
    errors, settings = predictive_score([Linear()], night(5), 4)  # from four rows a line has no residual
    assert settings == 1
    assert np.isfinite(errors[0])


# Options -------------------------------------------------------------------------------------------------------------
def test_options_are_passed_on_to_those_that_have_them():
    *others, bayes = Auto(knows="twin", state="paper-2025-03").solvers()
    assert others == [Linear(), Quadratic(), Gp()]
    assert bayes == Bayes(knows="twin", state="paper-2025-03")
    assert Auto().solvers() == (Linear(), Quadratic(), Gp(), Bayes())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"candidates": ("gp", "gp")}, "twice"),
        ({"candidates": ()}, "at least 1"),
        ({"candidates": ("auto",)}, "'gp', 'bayes', 'linear', 'quadratic' or 'gmm'"),
        ({"candidates": ("gp", "linear"), "knows": "twin"}, "none of the candidates .gp, linear. has the option"),
        ({"window": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, said):
    with pytest.raises(ValidationError, match=said):
        Auto(**options)


def test_a_state_that_nobody_knows_is_refused_at_once():
    with pytest.raises(ConfigError, match="state: unknown state 'nowhere'; allowed:"):
        parse_kind("solver", {"kind": "auto", "knows": "twin", "state": "nowhere"})


# In a campaign -------------------------------------------------------------------------------------------------------
def test_the_record_says_whom_it_took():
    tree = {
        "name": "chooses",
        "instrument": {"kind": "twin"},
        "goal": {c.name: g for c, g in zip(CHANNELS, GOAL, strict=True)},
        "tolerance": "0.5%",
        "confirm": 0,
        "solver": {"kind": "auto"},
        "stop": {"trials": 12},
    }
    why = []
    sdl.run(tree, runs=None, watch=lambda event, _: why.append(getattr(event, "why", "")))
    assert any("auto chose linear: too few readings" in said for said in why)


def test_several_goals_are_answered_at_once():
    given = Auto().fit(bent(12)).propose(targets([GOAL, [9000.0, 20000.0, 8000.0]]), space(), np.random.default_rng(0))
    assert given.settings.shape == (2, 3)
    assert all(why.startswith("auto chose") for why in given.why)


def test_inputs_with_choices_suit_it_as_long_as_one_candidate_handles_them():
    choices = (Input(name="x"), Input(name="dye", choices=("a", "b")))
    Auto().suits(choices, CHANNELS)
    Auto(candidates=("bayes", "linear")).suits(choices, CHANNELS)
    with pytest.raises(ConfigError, match="bayes cannot handle the choices of dye"):
        Auto(candidates=("bayes",)).suits(choices, CHANNELS)
