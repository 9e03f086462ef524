"""Asks the solvers: the paper's four as it ran them, and ours as they are, on the same rows and for the same goals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sdl.arrays import Bools, Floats
from sdl.errors import SolverError
from sdl.paper.published import BEYOND, CHANNELS, GOAL, INPUTS, METHODS, PAIR, QUICK, TARGET

if TYPE_CHECKING:
    from sdl.core.goal import Goal
    from sdl.inverse.propose import Proposal
    from sdl.paper.pairs import Pairs
    from sdl.report.figures.parity import ParityScore
    from sdl.solvers.base import Targets


Tell = Callable[[str], None]
"""Told what begins now; the names are those of `steps`."""

OURS = ("linear", "pls", "gmm", "forest", "bayes", "gp", "auto", "broyden", "continuation", "mcmc")
"""Our solvers with their own defaults; `random` knows nothing and is left out."""
ASKED = 2e-2
"""Tolerance of the goals, as a part of them, for the verdict."""
DRAWS = 100
"""Of the conditional mixture (section 3.4)."""
MIXTURE = 500
"""Pairs drawn from the mixture (figure 5)."""


def steps(quick: bool = False) -> dict[str, float]:
    """What is done, and about how many seconds each takes on one core of two."""
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
    """Known values beside those that a model finds.

    Attributes:
        columns: names, k of them.
        unit: of the values.
        known, found: (n, k) values.
        train: (n,) whether the row was learnt from.
    """

    columns: tuple[str, ...]
    unit: str
    known: Floats
    found: Floats
    train: Bools

    def score(self, column: str, train: bool) -> ParityScore:
        """Of one column, for the rows learnt from or for the others."""
        from sdl.report.figures.parity import score

        i, rows = self.columns.index(column), self.train == train
        return score(self.found[rows, i], self.known[rows, i])


@dataclass(frozen=True)
class Said:
    """A solver's answer to one goal.

    Attributes:
        answer: as for a campaign: settings, raw settings, spread, verdict, why.
        drawn: mean and standard deviation, (3,) each, of draws from the model; None where it was not asked to draw.
        miss: of the worst channel, without noise, in per cent of the goal; None where nobody knows the truth.
    """

    answer: Proposal
    drawn: tuple[Floats, Floats] | None
    miss: float | None


@dataclass(frozen=True)
class SolverAnswers:
    """A solver and its answers.

    Attributes:
        key: its kind.
        name: what it is called here.
        goal: its answer to the paper's goal; None where it has none.
        beyond: its answers to the goals that cannot be had, in the order of `BEYOND`.
        rmse: (3,) error of the settings that it finds for the test rows; None where it has none.
        seconds: CPU seconds of the fit and of the answer to the goal.
        error: why it has no answer; empty where it has.
    """

    key: str
    name: str
    goal: Said | None
    beyond: tuple[Said, ...] = ()
    rmse: Floats | None = None
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Findings:
    """All that was found about the pairs.

    Attributes:
        pairs: what was learnt from.
        paper, ours: the paper's four methods, and our solvers.
        parity: of the paper's methods, by key: readings for `linear` and `gmm`, settings for `pls` and `forest`.
        mixture: (500, 7) settings and readings drawn from the mixture.
        printed: (4,) readings expected at the settings of the one pair that the paper prints.
        quick: whether the forest was made smaller than the paper's.
    """

    pairs: Pairs
    paper: tuple[SolverAnswers, ...]
    ours: tuple[SolverAnswers, ...]
    parity: Mapping[str, Parity]
    mixture: Floats
    printed: Floats
    quick: bool


def find(
    pairs: Pairs,
    *,
    seed: int = 0,
    quick: bool = False,
    ours: Sequence[str] = OURS,
    tell: Tell = lambda _: None,
) -> Findings:
    """Everything on the pairs: sections 3.1 to 3.6.

    Args:
        pairs: to learn from.
        seed: of all draws.
        quick: a smaller forest.
        ours: kinds of our solvers to ask.
        tell: told what begins.

    Raises:
        SolverError: one of the paper's methods could not answer; of ours, that is only written down.
    """
    rng = np.random.default_rng([seed, 1, 0])
    asked: list[SolverAnswers] = []
    parity: dict[str, Parity] = {}
    mixture = np.empty((0, len(INPUTS) + len(CHANNELS)))
    tell("the paper's linear, PLS and mixture")
    for method in METHODS:
        if method.key == "forest":
            tell("the paper's ForestDiffusion")
        options = dict(method.solver) | (QUICK if quick and method.key == "forest" else {})
        fitted, told = _ask(options, method.name, pairs, rng)
        asked.append(told)
        if method.key == "forest":
            tell("its answers, row by row")
        parity[method.key] = _parity(method.key, fitted, pairs, rng)
        if method.key == "gmm":
            mixture = np.hstack(fitted.pairs(MIXTURE, rng))
    tell("our own solvers")
    own = tuple(_ours(kind, pairs, rng) for kind in ours)
    line = _fit({"kind": "linear"}, pairs)
    printed = line.predict(np.array([[PAIR[0][name] for name in INPUTS]]))[0][0]
    return Findings(pairs, tuple(asked), own, parity, mixture, printed, quick)


def _ours(kind: str, pairs: Pairs, rng: np.random.Generator) -> SolverAnswers:
    try:
        return _ask({"kind": kind}, kind, pairs, rng)[1]
    except SolverError as error:
        return SolverAnswers(kind, kind, None, error=str(error))


def _ask(options: Mapping[str, Any], name: str, pairs: Pairs, rng: np.random.Generator) -> tuple[Any, SolverAnswers]:
    """The fitted solver and its answers."""
    key = str(options["kind"])
    began = time.process_time()
    fitted = _fit(options, pairs)
    first = _say(fitted, key, (TARGET,) * 3, pairs, rng)
    seconds = time.process_time() - began
    rest = tuple(_say(fitted, key, goal.target, pairs, rng) for goal in BEYOND)
    found = _settings(fitted, pairs, pairs.test, rng)
    rmse = np.sqrt(((found - pairs.data.X[pairs.test]) ** 2).mean(axis=0))
    return fitted, SolverAnswers(key, name, first, rest, rmse, seconds)


def _fit(options: Mapping[str, Any], pairs: Pairs) -> Any:
    from sdl.config import parse_kind
    from sdl.inverse.propose import translated

    solver = parse_kind("solver", options)
    with translated(solver.kind, len(pairs.train)):
        return solver.fit(pairs.learnt)


def _say(fitted: Any, key: str, target: tuple[float, ...], pairs: Pairs, rng: np.random.Generator) -> Said:

    from sdl.inverse.propose import propose_fitted

    goal = _goal(target)
    answer = propose_fitted(fitted, pairs.learnt, goal, rng)
    drawn = None
    if key == "gmm":
        wanted = np.array([goal.targets.get(name, np.nan) for name in CHANNELS])
        samples = fitted.sample(wanted, DRAWS, rng)
        drawn = samples.mean(axis=0), samples.std(axis=0)
    return Said(answer, drawn, _miss(answer, goal, pairs))


def _goal(target: tuple[float, ...]) -> Goal:
    from sdl.core.goal import Band, Goal

    pairs = zip(GOAL, target, strict=True)
    return Goal({name: Band.around(value, ASKED * abs(value)) for name, value in pairs})


def _miss(answer: Proposal, goal: Goal, pairs: Pairs) -> float | None:
    if pairs.plant is None:
        return None
    truth = pairs.plant.noise_free(answer.settings)
    return max(abs(truth[name] / value - 1.0) for name, value in goal.targets.items()) * 100


def _parity(key: str, fitted: Any, pairs: Pairs, rng: np.random.Generator) -> Parity:

    data = pairs.data
    train = np.zeros(len(data.X), bool)
    train[pairs.train] = True
    if key in ("linear", "gmm"):
        shown = CHANNELS if key == "linear" else GOAL  # as in figures 3 and 6
        columns = [CHANNELS.index(name) for name in shown]
        return Parity(shown, "counts", data.Y[:, columns], fitted.predict(data.X)[0][:, columns], train)
    if key == "forest":  # one draw a row, as in figure 7
        wanted = np.where(data.goal, data.Y, np.nan)
        found = np.vstack([fitted.sample(row, 1, rng) for row in wanted])
    else:
        found = _settings(fitted, pairs, np.arange(len(data.X)), rng)
    return Parity(INPUTS, "of full light", data.X, found, train)


def _settings(fitted: Any, pairs: Pairs, rows: NDArray[np.intp], rng: np.random.Generator) -> Floats:
    """(n, 3) settings that a solver finds for readings that were measured."""
    from sdl.solvers.base import Targets
    from sdl.space import Space

    wanted = np.where(pairs.data.goal, pairs.data.Y[rows], np.nan)
    room = ASKED * np.abs(wanted) + 1.0
    low = np.where(pairs.data.goal, wanted - room, -np.inf)
    high = np.where(pairs.data.goal, wanted + room, np.inf)
    targets: Targets = Targets(wanted, low, high)
    given = fitted.propose(targets, Space(pairs.data.inputs), rng)
    return np.asarray(given.settings, dtype=np.float64)
