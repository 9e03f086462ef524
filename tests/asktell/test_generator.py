"""Solvers behind the verbs of the Generator Standard; no other framework is needed."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sdl
from sdl.asktell import Generator
from sdl.types import Verdict

GAINS = np.array([[4.0, 1.0], [0.5, 3.0]])


class LessThanConstraint(SimpleNamespace):
    """Stands for the class of this name of gest-api; only names and attributes count."""


class GreaterThanConstraint(SimpleNamespace): ...


class BoundsConstraint(SimpleNamespace): ...


class MaximizeObjective(SimpleNamespace): ...


class MinimizeObjective(SimpleNamespace): ...


class ExploreObjective(SimpleNamespace): ...


def vocs(**parts: Any) -> Any:
    """A stand-in with the attributes of gest_api.vocs.VOCS."""
    domain = SimpleNamespace(domain=[0.0, 100.0])
    names = ("objectives", "constraints", "constants", "observables")
    return SimpleNamespace(**{"variables": {"red": domain, "blue": domain}, **{name: {} for name in names}, **parts})


TWO = {"R": object(), "B": object()}


def plant(point: dict[str, Any]) -> dict[str, Any]:
    light = GAINS @ [point["red"], point["blue"]]
    return {**point, "R": 5 + light[0], "B": 2 + light[1]}


def evaluated(generator: Generator, most: int) -> list[dict[str, Any]]:
    """The results of the loop that Xopt, Optimas and libEnsemble have in common."""
    results = []
    for _ in range(most):
        result = [plant(point) for point in generator.suggest(1)]
        generator.ingest(result)
        results += result
    return results


def test_the_point_after_the_design_reaches_the_goal() -> None:
    generator = Generator(vocs(observables=TWO), "linear", goal={"R": 300, "B": 200})
    last = evaluated(generator, 4)[-1]
    assert (last["R"], last["B"]) == (pytest.approx(300, rel=0.02), pytest.approx(200, rel=0.02))
    assert generator.proposal is not None
    assert generator.proposal.verdict is Verdict.REACHABLE


def test_it_suggests_what_a_campaign_of_the_same_design_and_seed_measures() -> None:
    tree = {
        "name": "same",
        "instrument": {
            "kind": "python",
            "off": "nothing",
            "inputs": {"red": {"low": 0, "high": 100}, "blue": {"low": 0, "high": 100}},
            "channels": {"R": {"unit": ""}, "B": {"unit": ""}},
        },
        "goal": {"R": 300, "B": 200},
        "solver": "auto",
        "confirm": 0,
    }
    result = sdl.run(tree, runs=None, measure=lambda settings: {k: v for k, v in plant(settings).items() if k in TWO})
    points = evaluated(Generator(vocs(observables=TWO), "auto", goal={"R": 300, "B": 200}), result.trials)
    assert points[-1]["red"] == pytest.approx(result.settings["red"], rel=1e-6)
    assert points[-1]["blue"] == pytest.approx(result.settings["blue"], rel=1e-6)


def test_constraints_of_the_vocs_are_the_goal() -> None:
    limits = {
        "R": BoundsConstraint(range=[290.0, 310.0]),
        "B": GreaterThanConstraint(value=150.0),
    }
    last = evaluated(Generator(vocs(constraints=limits), "linear"), 4)[-1]
    assert 290 <= last["R"] <= 310
    assert last["B"] >= 150
    below = evaluated(Generator(vocs(constraints={"B": LessThanConstraint(value=100.0)}), "linear"), 4)[-1]
    assert below["B"] <= 100


@pytest.mark.parametrize(("objective", "end"), [(MaximizeObjective(), 1), (MinimizeObjective(), -1)])
def test_an_objective_is_followed_within_its_constraints(objective: Any, end: int) -> None:
    limits = {"B": LessThanConstraint(value=200.0)}
    results = evaluated(Generator(vocs(objectives={"R": objective}, constraints=limits), "auto"), 10)
    feasible = [result["R"] for result in results if result["B"] <= 200]
    best = 405 + 49.33 if end == 1 else 5
    assert max(end * value for value in feasible) == pytest.approx(end * best, abs=0.05 * 500)


def test_a_goal_takes_the_place_of_objectives_and_constraints() -> None:
    parts = {"objectives": {"R": ExploreObjective()}, "constraints": {"B": LessThanConstraint(value=1.0)}}
    last = evaluated(Generator(vocs(**parts), "auto", goal={"R": 300, "B": 200}), 4)[-1]
    assert (last["R"], last["B"]) == (pytest.approx(300, rel=0.02), pytest.approx(200, rel=0.02))


def test_a_batch_has_so_many_different_points_within_the_bounds() -> None:
    generator = Generator(vocs(observables=TWO), "linear", goal={"R": 300, "B": 200})
    generator.ingest([plant(point) for point in generator.suggest(5)])
    batch = generator.suggest(4)
    assert len({(point["red"], point["blue"]) for point in batch}) == 4
    assert all(0 <= value <= 100 for point in batch for value in point.values())
    assert len(generator.suggest()) == 1


def test_earlier_results_take_the_place_of_the_design() -> None:
    generator = Generator(vocs(observables=TWO), "linear", goal={"R": 300, "B": 200})
    generator.ingest([plant({"red": red, "blue": blue}) for red, blue in [(10, 10), (80, 20), (30, 90), (60, 60)]])
    assert plant(generator.suggest(1)[0])["R"] == pytest.approx(300, rel=0.02)


def test_constants_and_variables_of_one_value_are_passed_on() -> None:
    parts = {"variables": {**vocs().variables, "gain": SimpleNamespace(values={2})}, "observables": TWO}
    generator = Generator(vocs(constants={"lamp": SimpleNamespace(value="D65")}, **parts), goal={"R": 300})
    assert {key: generator.suggest(1)[0][key] for key in ("gain", "lamp")} == {"gain": 2, "lamp": "D65"}


def test_discrete_variables_keep_their_values() -> None:
    variables = {
        "red": SimpleNamespace(values={0, 25, 50, 75, 100}),
        "blue": SimpleNamespace(domain=[0.0, 100.0]),
        "dye": SimpleNamespace(values={"eosin", "rhodamine"}),
    }
    generator = Generator(vocs(variables=variables, observables=TWO), "auto", goal={"R": 300})
    points = evaluated(generator, 8)
    assert {point["red"] for point in points} <= {0, 25, 50, 75, 100}
    assert {point["dye"] for point in points} == {"eosin", "rhodamine"}


def test_the_same_seed_suggests_the_same_and_a_copy_goes_on_alone() -> None:
    one, two = (
        Generator(vocs(observables=TWO), goal={"R": 300, "B": 200}, design="latin-hypercube", seed=7) for _ in range(2)
    )
    assert evaluated(one, 5) == evaluated(two, 5)
    copied = copy.deepcopy(one)  # Xopt copies its generator
    copied.ingest([plant({"red": 50, "blue": 50})])
    assert one.suggest(1) == two.suggest(1)


def test_a_result_that_was_not_measured_or_failed_is_no_reading() -> None:
    generator = Generator(vocs(observables=TWO), "linear", goal={"R": 300, "B": 200})
    point = generator.suggest(1)[0]
    generator.ingest([{**point, "R": float("nan"), "B": float("nan")}, {**point, "xopt_error": True}])
    assert plant(evaluated(generator, 5)[-1])["R"] == pytest.approx(300, rel=0.02)


@pytest.mark.parametrize(
    ("parts", "options", "words"),
    [
        ({"observables": TWO}, {}, "there is no goal"),
        ({"observables": TWO}, {"goal": {"r": 3}}, "allowed: R, B"),
        ({"observables": TWO}, {"goal": {"R": 3}, "solver": "lineer"}, "did you mean 'linear'"),
        ({"observables": TWO}, {"goal": {"R": 3}, "tolerance": "0%"}, "must be above 0"),
        ({"objectives": {"R": ExploreObjective()}}, {}, "ExploreObjective is not supported"),
        ({"objectives": {"R": MaximizeObjective(), "B": MinimizeObjective()}}, {}, "only one channel"),
        ({"objectives": {"R": MaximizeObjective()}}, {"solver": "pls"}, "pls cannot maximise R"),
        ({"variables": {"x": SimpleNamespace(domain=[0, 1], dtype=(float, 3))}}, {"goal": {"R": 3}}, "dtype"),
        ({"variables": {"x": SimpleNamespace()}}, {"goal": {"R": 3}}, "neither a domain nor values"),
        ({"variables": {}}, {"goal": {"R": 3}}, "no variable"),
    ],
)
def test_what_the_solver_cannot_handle_is_refused(parts: dict[str, Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Generator(vocs(**parts), **options)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"red": 3, "blue": 4, "R": 5}, "a result has no B"),
        ({"red": float("inf"), "blue": 4, "R": 5, "B": 6}, "no finite number"),
    ],
)
def test_an_impossible_result_is_refused_and_none_of_its_batch_taken(result: dict[str, Any], words: str) -> None:
    generator = Generator(vocs(observables=TWO), "linear", goal={"R": 300, "B": 200})
    rows = [plant({"red": red, "blue": blue}) for red, blue in [(10, 10), (80, 20), (30, 90)]]
    with pytest.raises(ValueError, match=words):
        generator.ingest([*rows, result])
    assert generator.suggest(1) == Generator(vocs(observables=TWO), goal={"R": 1}).suggest(1)  # still the design
    with pytest.raises(ValueError, match="num_points"):
        generator.suggest(0)


def test_the_classes_of_the_standard_are_understood() -> None:
    standard = pytest.importorskip("gest_api.vocs")
    given = standard.VOCS(
        variables={"red": [0, 100], "blue": [0, 100], "dye": {"eosin", "rhodamine"}},
        objectives={"R": "MAXIMIZE"},
        constraints={"B": ["LESS_THAN", 200.0]},
        constants={"lamp": "D65"},
    )
    results = evaluated(Generator(given), 10)
    assert results[0]["lamp"] == "D65"
    assert max(result["R"] for result in results if result["B"] < 200) > 400
