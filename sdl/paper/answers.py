"""Answers of the paper's four methods, run as in the paper, and of our solvers, to the same goals on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdl.arrays import Bools, Floats
from sdl.config import parse_kind
from sdl.core.goal import Band, Goal
from sdl.errors import SolverError
from sdl.inverse.propose import Proposal, propose_fitted, translated
from sdl.paper.pairs import Pairs
from sdl.paper.published import BEYOND, CHANNELS, GOAL, INPUTS, METHODS, PAIR, QUICK, TARGET
from sdl.report.figures.parity import ParityScore, score
from sdl.solvers.base import Targets
from sdl.space import Space
from sdl.types import numbers

Tell = Callable[[str], None]  # called with the name of the step that begins, one of `steps`

OURS = ("linear", "pls", "gmm", "forest", "bayes", "gp", "auto", "broyden", "continuation", "mcmc")
"""Our solvers with their defaults; `random` uses no data and is left out."""
TOLERANCE = 2e-2  # tolerance of the goals, as a fraction of each target, for the verdict
DRAWS = 100  # draws from the conditional mixture (section 3.4)
MIXTURE = 500  # pairs drawn from the mixture (figure 5)


def steps(quick: bool = False) -> dict[str, float]:
    """The steps of the work, with the seconds that each takes on one core."""
    return {
        "the readings": 2.0,
        "the paper's linear, PLS and mixture": 1.0,
        "the paper's ForestDiffusion": 0.7 if quick else 32.0,
        "its answers, row by row": 2.5 if quick else 9.0,
        "our own solvers": 4.0,
        "two Gaussians": 0.5,
        "the parabola": 4.0 if quick else 16.0,
        "figures": 8.0,
    }


@dataclass(frozen=True)
class Parity:
    """Predicted values next to known ones.

    Attributes:
        columns: names, k of them.
        unit: unit of the values.
        known, predicted: (n, k) values.
        train: (n,) whether the row is a training row.
    """

    columns: tuple[str, ...]
    unit: str
    known: Floats
    predicted: Floats
    train: Bools

    def score(self, column: str, train: bool) -> ParityScore:
        """Agreement in one column, for the training or the test rows."""
        i, rows = self.columns.index(column), self.train == train
        return score(self.predicted[rows, i], self.known[rows, i])


@dataclass(frozen=True)
class GoalAnswer:
    """A solver's answer to one goal.

    Attributes:
        answer: the proposal, as in a campaign: settings, raw settings, spread, verdict, reason.
        drawn: mean and standard deviation, (3,) each, of draws from the mixture; None for other solvers.
        miss: noise-free error of the worst channel (% of the goal); None where the truth is unknown.
    """

    answer: Proposal
    drawn: tuple[Floats, Floats] | None
    miss: float | None

    @property
    def raw(self) -> list[float]:
        """(3,) settings before clipping to the bounds."""
        return list(numbers(self.answer.raw).values())


@dataclass(frozen=True)
class SolverAnswers:
    """A solver's answers.

    Attributes:
        key: its kind.
        name: display name.
        answers: answers to the paper's goal, then to each of `BEYOND`; empty if it failed.
        rmse: (3,) root mean square error of the settings predicted for the test rows; empty if it failed.
        seconds: CPU time of the fit and of the first answer.
        error: why it failed, else empty.
    """

    key: str
    name: str
    answers: tuple[GoalAnswer, ...] = ()
    rmse: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""

    @property
    def goal(self) -> GoalAnswer:
        """The answer to the paper's goal."""
        return self.answers[0]


@dataclass(frozen=True)
class Findings:
    """All results on the pairs.

    Attributes:
        pairs: the data.
        paper, ours: the paper's four methods, and our solvers.
        parity: parity of the paper's methods, by key: readings for `linear` and `gmm`, settings for `pls` and `forest`.
        mixture: (500, 7) settings and readings drawn from the mixture.
        printed: (4,) readings expected at the settings of the one pair that the paper prints.
        quick: whether the forest is smaller than the paper's.
    """

    pairs: Pairs
    paper: tuple[SolverAnswers, ...]
    ours: tuple[SolverAnswers, ...]
    parity: Mapping[str, Parity]
    mixture: Floats
    printed: Floats
    quick: bool


def answer_all(
    pairs: Pairs, *, seed: int = 0, quick: bool = False, ours: Sequence[str] = OURS, tell: Tell = lambda _: None
) -> Findings:
    """The results of sections 3.1 to 3.6, and of our solvers `ours`; other arguments as for `page.reproduce`.

    Raises:
        SolverError: one of the paper's methods failed; a failure of ours is a result.
    """
    rng = np.random.default_rng([seed, 1, 0])
    paper, parity = [], {}
    mixture = np.empty((0, len(INPUTS) + len(CHANNELS)))
    tell("the paper's linear, PLS and mixture")
    for method in METHODS:
        forest = method.key == "forest"
        if forest:
            tell("the paper's ForestDiffusion")
        fitted, answers = _answers(dict(method.solver) | (QUICK if quick and forest else {}), method.name, pairs, rng)
        paper.append(answers)
        if forest:
            tell("its answers, row by row")
        parity[method.key] = _parity(method.key, fitted, pairs, rng)
        if method.key == "gmm":
            mixture = np.hstack(fitted.pairs(MIXTURE, rng))
    tell("our own solvers")
    own = []
    for kind in ours:
        try:
            own.append(_answers({"kind": kind}, kind, pairs, rng)[1])
        except SolverError as error:
            own.append(SolverAnswers(kind, kind, error=str(error)))
    printed = _fit({"kind": "linear"}, pairs).predict(np.array([[PAIR[0][name] for name in INPUTS]]))[0][0]
    return Findings(pairs, tuple(paper), tuple(own), parity, mixture, printed, quick)


def _answers(
    options: Mapping[str, Any], name: str, pairs: Pairs, rng: np.random.Generator
) -> tuple[Any, SolverAnswers]:
    """The fitted solver and its answers."""
    key, began = str(options["kind"]), time.process_time()
    fitted = _fit(options, pairs)
    first = _answer(fitted, key, (TARGET,) * 3, pairs, rng)
    seconds = time.process_time() - began
    rest = [_answer(fitted, key, goal.target, pairs, rng) for goal in BEYOND]
    errors = _settings(fitted, pairs, rng, pairs.test) - pairs.data.X[pairs.test]
    rmse = tuple(np.sqrt((errors**2).mean(axis=0)).tolist())
    return fitted, SolverAnswers(key, name, (first, *rest), rmse, seconds)


def _fit(options: Mapping[str, Any], pairs: Pairs) -> Any:
    solver = parse_kind("solver", options)
    with translated(solver.kind, len(pairs.train)):
        return solver.fit(pairs.learnt)


def _answer(fitted: Any, key: str, target: Sequence[float], pairs: Pairs, rng: np.random.Generator) -> GoalAnswer:
    bands = {name: Band.around(value, TOLERANCE * abs(value)) for name, value in zip(GOAL, target, strict=True)}
    goal = Goal(bands)
    answer = propose_fitted(fitted, pairs.learnt, goal, rng)
    drawn = miss = None
    if key == "gmm":  # the paper draws settings from it
        samples = fitted.sample(np.array([goal.targets.get(name, np.nan) for name in CHANNELS]), DRAWS, rng)
        drawn = samples.mean(axis=0), samples.std(axis=0)
    if pairs.plant is not None:
        truth = pairs.plant.noise_free(numbers(answer.settings))
        miss = max(abs(truth[name] / value - 1.0) for name, value in goal.targets.items()) * 100
    return GoalAnswer(answer, drawn, miss)


def _parity(key: str, fitted: Any, pairs: Pairs, rng: np.random.Generator) -> Parity:
    data = pairs.data
    train = np.isin(np.arange(len(data.X)), pairs.train)
    if key in ("linear", "gmm"):
        shown = CHANNELS if key == "linear" else GOAL  # as in figures 3 and 6
        columns = [CHANNELS.index(name) for name in shown]
        return Parity(shown, "counts", data.Y[:, columns], fitted.predict(data.X)[0][:, columns], train)
    if key == "forest":  # one draw per row, as in figure 7
        predicted = np.vstack([fitted.sample(row, 1, rng) for row in np.where(data.goal, data.Y, np.nan)])
    else:
        predicted = _settings(fitted, pairs, rng)
    return Parity(INPUTS, "of full light", data.X, predicted, train)


def _settings(fitted: Any, pairs: Pairs, rng: np.random.Generator, rows: Any = slice(None)) -> Floats:
    """(n, 3) settings that a solver predicts for measured readings."""
    data = pairs.data
    target = np.where(data.goal, data.Y[rows], np.nan)
    width = TOLERANCE * np.abs(target) + 1.0
    low, high = np.where(data.goal, target - width, -np.inf), np.where(data.goal, target + width, np.inf)
    proposals = fitted.propose(Targets(target, low, high), Space(data.inputs), rng)
    return np.asarray(proposals.settings, dtype=np.float64)
