"""Solvers and files written for sdl 0.1: old kinds, old arguments of `propose`, old names of the training set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from led import HIGH, LOW, ask, night, space, targets

from sdl.config import parse_kind
from sdl.models.training_set import TrainingSet
from sdl.registry import find, kinds
from sdl.solvers import base, footing
from sdl.solvers.linear import Linear

GOAL = [16384.0, 16384.0, 16384.0]


@pytest.mark.parametrize(("old", "new"), [("bsi", "mcmc"), ("path", "continuation"), ("secant", "broyden")])
def test_an_old_kind_is_kept_as_it_was_written_and_answers_as_the_new_one(old: str, new: str) -> None:
    solver = parse_kind("solver", old)
    assert solver.kind == old
    assert type(solver) is find("solvers", new)
    assert old not in kinds("solvers")
    assert (ask(solver, night(12), GOAL).settings == ask(parse_kind("solver", new), night(12), GOAL).settings).all()


def test_a_fitted_solver_with_the_old_arguments_is_warned_about_and_asked() -> None:
    class Old:
        def propose(self, targets: Any, low: Any, high: Any, rng: Any) -> Any:
            return low, high

    with pytest.warns(DeprecationWarning, match="Old.propose must take"):
        low, high = base.ask(Old(), targets(GOAL), space(), np.random.default_rng(0))
    assert (low == LOW).all()
    assert (high == HIGH).all()


def test_the_old_names_of_the_training_set_answer_as_the_new_ones() -> None:
    goal = targets(GOAL)
    with pytest.warns(DeprecationWarning, match=r"TrainingSet\.from_data"):
        old = footing.stand_on(night(12))
    new = TrainingSet.from_data(night(12))
    assert isinstance(old, footing.Footing)
    rows = replace(night(12), session=np.repeat([0.0, 1.0], 6))
    with pytest.warns(DeprecationWarning, match=r"TrainingSet\.from_data"):
        assert footing.stand_on(rows, level=False).Y.tolist() == rows.Y.tolist()
    assert old.about == new.summary
    assert (old.affine.coef == new.linear.coef).all()
    assert (old.filled(goal, LOW, HIGH) == new.fill_free_targets(goal, space())).all()
    assert (old.aims(goal, LOW, HIGH) == new.active_targets(goal, space())).all()
    unknown = np.full((1, 3), np.nan)
    answer = old.answer("a test", np.full((1, 3), 0.5), (unknown, unknown), goal, (LOW, HIGH))
    assert answer.verdict == ask(Linear(), night(12), GOAL).verdict
    with pytest.raises(AttributeError, match="nothing"):
        _ = old.nothing
