"""Inputs with choices, and linear constraints: columns and back, the closest feasible settings, random ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from space_kit import random_bench

from sdl.drivers.base import space_of
from sdl.grammar import parse_constraint
from sdl.space import Space, polytope
from sdl.types import Input

DYES = tuple(Input(name=name, high=300.0, step=5.0, unit="uL") for name in ("red", "yellow", "blue"))
SOLVENT = Input(name="solvent", choices=("water", "ethanol", "dmso"))
WELL = parse_constraint("red + yellow + blue <= 300")


def test_a_choice_has_one_column_for_each_further_text_and_comes_back_from_the_closest() -> None:
    space = Space([Input(name="T", low=20.0, high=80.0), SOLVENT])
    assert space.columns == ("T", "solvent=ethanol", "solvent=dmso")
    assert space.encode({"T": 50.0, "solvent": "water"}).tolist() == [50.0, 0.0, 0.0]
    assert space.encode({"T": 50.0, "solvent": "dmso"}).tolist() == [50.0, 0.0, 1.0]
    assert space.decode(np.array([50.0, 0.4, 0.9])) == {"T": 50.0, "solvent": "dmso"}
    assert space.decode(np.array([50.0, 0.3, 0.2])) == {"T": 50.0, "solvent": "water"}
    assert [block["solvent"] for block in space.blocks] == ["water", "ethanol", "dmso"]
    assert space.categorical.tolist() == [False, True, True]
    assert not space.is_box


def test_a_text_that_is_no_choice_is_an_unknown_row_and_no_setting() -> None:
    space = Space([Input(name="T"), SOLVENT])
    assert np.isnan(space.encode({"T": 0.5, "solvent": "acetone"})[1:]).all()
    assert not space.contains({"T": 0.5, "solvent": "acetone"})
    assert not space.contains({"T": 0.5, "solvent": 1.0})
    assert not space.contains({"T": "0.5", "solvent": "water"})
    assert space.contains({"T": 0.5, "solvent": "water"})
    with pytest.raises(ValueError, match="'acetone' is none of the choices water, ethanol, dmso"):
        space.project({"T": 0.5, "solvent": "acetone"})
    with pytest.raises(ValueError, match="T: 'hot' is no number"):
        space.project({"T": "hot", "solvent": "water"})


@pytest.mark.parametrize(
    ("raw", "nearest"),
    [
        ((100.0, 100.0, 50.0), (100.0, 100.0, 50.0)),
        ((300.0, 300.0, 300.0), (100.0, 100.0, 100.0)),
        ((400.0, 0.0, -5.0), (300.0, 0.0, 0.0)),
        ((152.0, 152.0, 0.0), (150.0, 150.0, 0.0)),
    ],
)
def test_settings_beyond_a_constraint_are_moved_to_the_closest_that_keep_it(
    raw: tuple[float, ...], nearest: tuple[float, ...]
) -> None:
    settings, _ = Space(DYES, [WELL]).project(dict(zip(("red", "yellow", "blue"), raw, strict=True)))
    assert tuple(settings.values()) == nearest


def test_projection_is_as_close_as_any_settings_on_the_steps() -> None:
    coarse = [Input(name=name, high=10.0, step=1.0) for name in "ab"]
    space = Space(coarse, [parse_constraint("3 * a + 2 * b <= 17"), parse_constraint("a - b <= 1.5")])
    grid = [(a, b) for a in range(11) for b in range(11) if 3 * a + 2 * b <= 17 and a - b <= 1.5]
    rng = np.random.default_rng(0)
    for _ in range(100):
        a, b = rng.uniform(-2, 12, 2)
        settings, _ = space.project({"a": a, "b": b})
        inside = np.clip([a, b], 0, 10)
        distances = [math.hypot(x - inside[0], y - inside[1]) for x, y in grid]
        found = math.hypot(float(settings["a"]) - inside[0], float(settings["b"]) - inside[1])
        assert space.contains(settings)
        assert found <= min(distances) + 1.0  # steps beside the closest point without steps come first


def test_an_equality_removes_the_column_of_an_input_that_follows_from_the_others() -> None:
    space = Space([*DYES, SOLVENT], [parse_constraint("red + yellow + blue = 300")])
    assert space.columns == ("red", "yellow", "solvent=ethanol", "solvent=dmso")
    settings = {"red": 50.0, "yellow": 100.0, "blue": 150.0, "solvent": "dmso"}
    assert space.decode(space.encode(settings)) == settings
    for row in space.sample(50, np.random.default_rng(0)):
        projected, _ = space.project(space.decode(row))
        assert space.contains(projected)
        assert sum(float(projected[name]) for name in ("red", "yellow", "blue")) == 300.0
    assert space.by_input(np.array([3.0, 4.0, 1.0, 1.0]))["blue"] == 5.0
    assert math.isnan(space.by_input(np.array([3.0, 4.0, 1.0, 1.0]))["solvent"])
    assert space.cost({"red": 0.0, "yellow": 0.0, "blue": 1.0}) == (-1.0, -1.0, 0.0, 0.0)


def test_random_rows_lie_inside_and_fill_it_also_where_almost_nothing_does() -> None:
    rng = np.random.default_rng(1)
    triangle = Space(DYES, [WELL]).sample(2000, rng)
    assert triangle.sum(axis=1).max() <= 300.0
    assert triangle.mean(axis=0) == pytest.approx([75.0] * 3, rel=0.1)  # the centre of a simplex
    many = [Input(name=f"x{i}") for i in range(10)]
    rows = Space(many, [parse_constraint(" + ".join(f"x{i}" for i in range(10)) + " <= 0.3")]).sample(200, rng)
    assert rows.sum(axis=1).max() <= 0.3 + 1e-9
    assert rows.mean() == pytest.approx(0.3 / 11, rel=0.15)


def test_choices_take_turns_in_random_rows() -> None:
    space = Space([Input(name="T"), SOLVENT])
    texts = [space.decode(row)["solvent"] for row in space.sample(30, np.random.default_rng(0))]
    assert [texts.count(text) for text in SOLVENT.choices or ()] == [10, 10, 10]


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        (["red + green <= 300"], "unknown input green; allowed: red, yellow, blue"),
        (["red + solvent <= 300"], "solvent has choices and no numbers"),
        (["red + yellow = 100", "red + yellow = 200"], "contradict"),
        (["red = 1", "yellow = 1", "blue = 1"], "leave nothing to set"),
    ],
)
def test_a_constraint_that_cannot_be_kept_or_is_about_no_number_is_refused(constraints: list[str], said: str) -> None:
    inputs = DYES if "leave" in said else (*DYES, SOLVENT)
    with pytest.raises(ValueError, match=said):
        Space(inputs, [parse_constraint(text) for text in constraints])


@pytest.mark.slow
def test_a_space_without_settings_says_so() -> None:
    assert Space(DYES, [parse_constraint("red + yellow >= 700")]).is_empty()
    assert Space(DYES, [parse_constraint("red + yellow + blue = 302")]).is_empty()  # between two steps
    assert not Space(DYES, [WELL]).is_empty()
    with pytest.raises(ValueError, match="no settings keep"):
        Space(DYES, [parse_constraint("red + yellow >= 700")]).project({"red": 1.0, "yellow": 1.0, "blue": 1.0})


def test_least_squares_inside_a_polytope_are_those_of_a_general_optimiser() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    for _ in range(20):
        E, f, A = rng.normal(size=(4, 3)), rng.normal(size=4) * 3, rng.normal(size=(2, 3))
        low, high, b = np.zeros(3), np.ones(3), A @ np.full(3, 0.4)
        ours = polytope.least_squares(E, f, np.full(3, 0.5), low, high, A, b)
        rest = [{"type": "ineq", "fun": lambda x, A=A, b=b: b - A @ x}]
        other = minimize(
            lambda x, E=E, f=f: ((E @ x - f) ** 2).sum(), np.full(3, 0.4), bounds=[(0, 1)] * 3, constraints=rest
        )
        assert ours is not None
        assert (A @ ours <= b + 1e-8).all()
        assert ((E @ ours - f) ** 2).sum() == pytest.approx(other.fun, rel=1e-4, abs=1e-6)


def test_whatever_is_asked_of_drawn_spaces_the_answer_is_inside_and_stays_where_it_is() -> None:
    rng = np.random.default_rng(4)
    for _ in range(60):
        bench = random_bench(rng)
        space = space_of(bench)
        for row in space.sample(5, rng):
            away = space.decode(row + rng.normal(size=len(row)) * 0.5 * space.width)
            settings, _ = space.project(away)
            assert bench.why_outside(settings) == "", (bench, away)
            assert space.contains(settings)
            again, clipped = space.project(settings)
            assert (again, clipped) == (settings, ())


def test_an_input_without_steps_gives_way_to_one_that_is_on_its_step() -> None:
    inputs = [Input(name="volume", high=300.0), Input(name="T", low=20.0, high=21.0, step=0.1)]
    space = Space(inputs, [parse_constraint("volume / 300 + 2 * T <= 40.55667022732625")])
    settings, _ = space.project({"volume": 107.00106819787, "T": 20.1})
    assert settings["T"] == 20.1
    assert settings["volume"] == pytest.approx(107.001, abs=1e-3)
    assert space.contains(settings)
