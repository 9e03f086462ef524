"""Adaptive collection: the next point is where the solver that chooses is least sure, off what was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from led import HIGH, LOW, data, measure, night

import sdl
from sdl import registry
from sdl.core.events import Proposed
from sdl.designs.adaptive import Adaptive
from sdl.designs.base import Learning
from sdl.solvers.base import Proposals, Targets
from sdl.space import Space
from sdl.types import Channel, Frozen, Input, Verdict

ASKED: list[Any] = []


def random_of(seed: int) -> Any:
    return lambda n: np.random.default_rng([seed, 0, n])


def choose(design: Adaptive, rows: Any, trial: int = 9, seed: int = 0) -> tuple[np.ndarray[Any, Any], str]:
    return design.choose(trial, rows, random_of(seed))


class Unsure(Frozen):
    """Proposes what was asked, unsure of it the more red there is; remembers what it was fitted on."""

    kind: Literal["unsure"] = "unsure"

    def fit(self, rows: Any) -> Any:
        ASKED.append(rows)
        return FittedUnsure(rows.Y.shape[1])


@dataclass(frozen=True)
class FittedUnsure:
    channels: int

    def predict(self, X: Any) -> Any:
        mean = 1000 * np.column_stack([X, X])[:, : self.channels]
        return mean, np.ones_like(mean)

    def propose(self, targets: Targets, space: Space, rng: Any) -> Proposals:
        settings = np.nan_to_num(targets.value[:, :3]) / 1000
        deviation = np.column_stack([1e-6 + (settings[:, 0] > 0.5), np.zeros((len(settings), 2))])
        said = (Verdict.REACHABLE,) * len(settings)
        return Proposals(settings, deviation, deviation, None, said, ("so it is",) * len(settings))


@pytest.fixture
def unsure(monkeypatch: pytest.MonkeyPatch) -> Adaptive:
    monkeypatch.setitem(registry.OURS["solvers"], "unsure", f"{__name__}:Unsure")
    ASKED.clear()
    return Adaptive(solver="unsure")


def test_it_goes_where_the_solver_is_unsure_and_there_where_nothing_was_measured(unsure: Adaptive) -> None:
    X = np.random.default_rng(0).uniform(0.5, 0.9, (40, 3))
    point, why = choose(unsure, data(X, measure(X, np.random.default_rng(1))))
    assert point[0] > 0.5
    assert point[1:].min() < 0.4
    assert "with an uncertainty of 100.00% of the range" in why


def test_a_design_that_learns_says_so() -> None:
    assert isinstance(Adaptive(), Learning)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["gp", "linear", "bayes", "gmm", "pls"])
def test_rows_in_a_corner_send_it_out_of_the_corner(solver: str) -> None:
    X = np.random.default_rng(0).uniform(0.1, 0.3, (12, 3))
    for seed in range(1 if solver == "gp" else 3):  # a Gaussian process needs seconds
        point, _ = choose(Adaptive(solver=solver), data(X, measure(X, np.random.default_rng(1))), seed=seed)
        assert point.max() > 0.6
        assert ((point >= 0.1) & (point <= 0.9)).all()


def test_the_same_rows_and_seed_give_the_same_point() -> None:
    one, again, other = (choose(Adaptive(solver="bayes"), night(9), seed=seed)[0] for seed in (1, 1, 2))
    assert (one == again).all()
    assert not (one == other).all()


@pytest.mark.parametrize("count", [1, 4])
def test_it_starts_on_the_axes_while_the_solver_cannot_answer_whatever_the_number_of_inputs(count: int) -> None:
    inputs = tuple(Input(name=f"x{i}", low=-2, high=2) for i in range(count))
    channels = tuple(Channel(name=f"c{i}") for i in range(count))
    design, rng = Adaptive(trials=count + 4, solver="linear"), np.random.default_rng(0)
    X = np.empty((0, count))
    for trial in range(count + 4):
        Y = 1000 * X + 5000 + rng.normal(0, 5, X.shape)
        point, why = design.choose(trial, data(X, Y, inputs=inputs, channels=channels), random_of(0))
        X = np.vstack([X, point])
        assert why.startswith(f"axis point {trial + 1} of {count + 1}") == (trial <= count)
    axis = np.vstack([np.full(count, -1.6), np.where(np.eye(count) == 1, 1.6, -1.6)])
    assert X[: count + 1] == pytest.approx(axis)
    assert np.abs(X).max() <= 1.6 + 1e-9


@pytest.mark.slow
def test_rows_that_a_campaign_starts_with_make_axis_points_superfluous() -> None:
    assert "gp would propose" in choose(Adaptive(), night(12), trial=0)[1]


def test_where_the_solver_does_not_know_how_sure_it_is_the_farthest_point_is_taken() -> None:
    rows = night(4)
    point, why = choose(Adaptive(solver="gmm"), rows, trial=4)  # four rows of three inputs leave nothing to estimate it
    assert why == "gmm gives no uncertainty; the farthest point"
    assert np.linalg.norm(rows.X - point, axis=1).min() > 0.5


def test_without_a_goal_channels_that_are_often_saturated_are_not_listened_to(unsure: Adaptive) -> None:
    X = np.linspace(0.1, 0.9, 20)[:, None] * np.ones(3)
    Y = np.column_stack([1000 * X, np.full(20, 65535.0)])
    channels = tuple(Channel(name=name, low=0.0, high=65535.0) for name in ("a", "b", "c", "clear"))
    choose(unsure, data(X, Y, channels=channels))
    assert ASKED[-1].goal.tolist() == [True, True, True, False]
    choose(unsure, data(X, Y, goal=[1, 3], channels=channels))
    assert ASKED[-1].goal.tolist() == [False, True, False, True]  # a goal is a goal
    choose(Adaptive(solver="unsure", channels=("c", "clear")), data(X, Y, channels=channels))
    assert ASKED[-1].goal.tolist() == [False, False, True, True]


@pytest.mark.slow
def test_readings_below_zero_and_infinite_deviations_do_no_harm(unsure: Adaptive) -> None:
    rows = night(9)
    point, _ = choose(Adaptive(), replace(rows, Y=rows.Y - 30000))
    assert np.isfinite(point).all()
    assert ((point >= LOW) & (point <= HIGH)).all()


# In a campaign -------------------------------------------------------------------------------------------------------
TREE = {
    "name": "adaptive",
    "instrument": {"kind": "twin"},
    "design": {"kind": "adaptive", "trials": 8, "solver": "linear", "channels": ["445nm", "515nm", "630nm"]},
}


def proposals(tree: dict[str, Any], **options: Any) -> list[Proposed]:
    events: list[Any] = []
    sdl.run(tree, runs=None, watch=lambda event, _: events.append(event), **options)
    return [event for event in events if isinstance(event, Proposed)]


@pytest.mark.slow
def test_a_collection_is_adaptive_from_its_first_proposal_on_and_its_record_says_why() -> None:
    found = proposals(TREE, collect=True)
    assert [p.by for p in found] == ["adaptive"] * 8
    assert [p.rows for p in found] == list(range(8))
    assert "axis point 4 of 4" in found[3].why
    assert "gives no uncertainty" in found[4].why  # four rows leave nothing to tell the noise from
    assert all("linear would propose" in p.why for p in found[5:])
    assert [p.settings for p in proposals(TREE, collect=True)] == [p.settings for p in found]


def test_a_campaign_with_a_goal_collects_for_it_and_then_reaches_it() -> None:
    tree = {
        **TREE,
        "design": {"kind": "adaptive", "trials": 6, "solver": "linear"},
        "goal": {"445nm": 16384, "515nm": 16384},
    }
    found = proposals({**tree, "solver": {"kind": "linear"}})
    assert [p.by for p in found[:7]] == ["adaptive"] * 6 + ["linear"]


@pytest.mark.slow
def test_a_run_that_was_broken_off_goes_on_with_the_points_it_would_have_taken(tmp_path: Path) -> None:
    whole = sdl.run(TREE, collect=True, runs=tmp_path / "whole").run
    part = sdl.run(TREE, collect=True, runs=tmp_path / "part").run
    record = Path(part) / "record.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    cut = next(i for i, line in enumerate(lines) if json.loads(line).get("trial") == 6)
    record.write_text("".join(lines[:cut]))
    (Path(part) / "record.seal").unlink()
    sdl.runner.resume(part)
    took = []
    for run in (whole, part):
        events = [json.loads(line) for line in (Path(run) / "record.jsonl").read_text().splitlines()]
        took.append([event["settings"] for event in events if event.get("event") == "Proposed"])
    assert took[0] == took[1]
    assert len(took[0]) == 8
