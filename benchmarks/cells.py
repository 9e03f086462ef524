"""The measurements behind `solvers.py`: each takes a solver and some pairs, and gives plain numbers back.

Everything is a function of (what is measured, solver, pair), so that a run can be broken off and taken up again.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import replace
from typing import Any

import numpy as np
from baselines import BASELINES
from numpy.typing import NDArray
from plants import (
    PLANTS,
    SCENARIOS,
    SPECTRUM,
    Perfect,
    Plant,
    Scenario,
    campaign,
    spread_out,
    targets,
    targets_of_columns,
)

from sdl.errors import SolverError
from sdl.registry import find
from sdl.solvers.base import Data, Proposals, Solver, Targets
from sdl.space import Space
from sdl.types import Verdict

Floats = NDArray[np.float64]
Row = dict[str, Any]

UPSTREAM = "upstream forest"
"""ForestDiffusion as it comes, on raw pairs: for the cost alone."""
FEASIBLE = ("affine", "curved .3", "curved .8", "gamma 1.8", "droop", "jitter", "noise 1 %", "corner")
FOUR = [SPECTRUM.index(name) for name in ("445nm", "515nm", "590nm", "630nm")]
BIG = 2.0**17
PAPER = np.array([[-2000.0] * 3, [BIG] * 3, [-BIG, BIG, BIG], [2 * BIG, 2 * BIG, -2 * BIG]])
"""The paper's unphysical goals."""


def solver_of(label: str, options: dict[str, Any] | None = None) -> Solver:
    """From `kind` or `kind:option=value,...`; `options` are set where the solver has them and the label is silent."""
    kind, _, rest = label.partition(":")
    if kind == "perfect":
        return Perfect()
    if kind in BASELINES:
        found: Solver = BASELINES[kind]()
        return found
    given = dict(part.split("=", 1) for part in rest.split(",") if part)
    chosen = find("solvers", kind)
    values = {key: _value(text) for key, text in given.items()}
    fitting = {key: value for key, value in (options or {}).items() if key in chosen.model_fields}
    made: Solver = chosen(**{**fitting, **values})
    return made


def campaigns(case: str, label: str, first: int, last: int) -> Row:
    """Campaigns of a scenario, pairs first ... last - 1."""
    scenario: Scenario = SCENARIOS[case]
    solver = solver_of(label, dict(scenario.options))
    ended = [campaign(scenario, solver, pair) for pair in range(first, last)]
    return {
        "trials": [e.trials if e.reached else None for e in ended],
        "ms": [1e3 * e.cpu / e.proposals for e in ended if e.proposals],
        "alarms": sum(e.alarms for e in ended),
        "errors": [e.error for e in ended if e.error],
    }


def one_shot(case: str, label: str, first: int, last: int) -> Row:
    """Worst channel's miss in per cent without noise, after one fit to 80 rows of a Latin hypercube."""
    name, n = _split(case)
    misses = []
    for pair in range(first, last):
        plant, data, rng = _rows(name, n, pair)
        truth = plant.draw(np.random.default_rng([pair, 0]))
        wanted = plant.noise_free(truth)[plant.goal]
        given = _answers(label, data, targets(plant, wanted[None], 2.0), rng)
        if given is not None:
            got = plant.noise_free(np.clip(given.settings[0], 0, 1))[plant.goal]
            misses.append(float(np.abs(got / wanted - 1).max() * 100))
    return {"misses": misses}


def coverage(case: str, label: str, first: int, last: int) -> Row:
    """How many of the inputs lie within 1 and 2 standard deviations of the truth.

    `uncertainty` for the goal without noise, `spread` for one noisy reading taken as the goal; `unknown` are NaN.
    """
    name, n = _split(case)
    count = {kind: [0, 0, 0, 0] for kind in ("uncertainty", "spread")}  # within 1, within 2, known, unknown
    for pair in range(first, last):
        plant, data, rng = _rows(name, n, pair)
        truth = plant.draw(np.random.default_rng([pair, 0]))
        wanted = np.stack([plant.noise_free(truth), plant.read(truth, n, rng)])[:, plant.goal]
        given = _answers(label, data, targets(plant, wanted, 2.0), rng)
        if given is None:
            continue
        for row, kind in enumerate(count):
            sd = getattr(given, kind)[row]
            known = np.isfinite(sd)
            far = np.abs(given.settings[row] - truth)[known] / np.maximum(sd[known], 1e-12)
            seen = ((far <= 1).sum(), (far <= 2).sum(), known.sum(), (~known).sum())
            count[kind] = [have + int(more) for have, more in zip(count[kind], seen, strict=True)]
    return dict(count)


def verdicts(case: str, label: str, first: int, last: int) -> Row:
    """How many goals of 0.5 % tolerance are called unreachable, by class; independent rows for every goal."""
    name, n = _split(case)
    called: dict[str, list[int]] = {}
    for pair in range(first, last):
        for kind, plant, columns, wanted in _goals(name, pair):
            data = plant.rows(spread_out(n, plant.d, _rng(pair, 6)), _rng(pair, 7))
            data = replace(data, goal=np.isin(np.arange(len(plant.channels)), columns))
            goals = targets_of_columns(np.atleast_2d(wanted), 0.5, columns, len(plant.channels))
            given = _answers(label, data, goals, _rng(pair, 8))
            said = [v is Verdict.UNREACHABLE for v in given.verdict] if given else [False] * len(goals.value)
            yes, total = called.get(kind, [0, 0])
            called[kind] = [yes + sum(said), total + len(said)]
    return {"called": called}


def cost(case: str, label: str, first: int, last: int) -> Row:
    """CPU milliseconds of a fit and a proposal, and the most memory, in a process of its own; at most 4 GB, 10 min."""
    if label == UPSTREAM and int(case) > 1000:
        return {"error": "not tried: hours"}
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_cost, args=(there, int(case), label))
    child.start()
    there.close()
    try:
        found: Row = here.recv() if here.poll(600) else {"error": "more than 10 min"}
    except EOFError:
        found = {"error": "out of memory (4 GB), or crashed"}
    child.kill()
    child.join()
    return found


def _cost(pipe: Any, n: int, label: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    took = []
    try:
        _timed(label, 20, 0)  # imports, and whatever is made once
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for seed in range(1, 2 if n > 1000 or label == UPSTREAM else 6):
            took.append(_timed(label, n, seed))
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send({"ms": float(np.median(took)), "mb": most / 1024, "base_mb": base / 1024})
    except (SolverError, MemoryError) as error:
        pipe.send({"error": f"{type(error).__name__}: {error}"[:200]})


def _timed(label: str, n: int, seed: int) -> float:
    plant, data, rng = _rows("jitter", n, seed)
    truth = plant.draw(rng)
    goal = targets(plant, plant.noise_free(truth)[None, plant.goal], 2.0)
    began = time.process_time()
    if label == UPSTREAM:
        _upstream(data, goal, tiny=seed == 0)
    else:
        solver_of(label).fit(data).propose(goal, Space(data.inputs), rng)
    return (time.process_time() - began) * 1e3


def _upstream(data: Data, goal: Targets, *, tiny: bool) -> None:
    from ForestDiffusion import ForestDiffusionModel

    Y = data.Y[:, data.goal]
    small = {"n_t": 3, "duplicate_K": 2, "n_estimators": 2} if tiny else {}
    model = ForestDiffusionModel(data.X, X_covs=Y, n_jobs=1, **small)
    model.generate(batch_size=200, X_covs=np.tile(goal.value[:, data.goal], (200, 1)))


MEASURES = {
    "campaigns": campaigns,
    "one-shot": one_shot,
    "coverage": coverage,
    "verdicts": verdicts,
    "cost": cost,
}


def _goals(name: str, pair: int) -> list[tuple[str, Plant, list[int], Floats]]:
    """(class, plant, columns of the goal, goals) of one pair: impossible ones, or one that the plant can reach."""
    rng = _rng(pair, 0)
    if name != "impossible":
        plant = PLANTS[name](rng)
        return [(name, plant, plant.goal.tolist(), plant.noise_free(plant.draw(rng))[plant.goal])]
    three, four = PLANTS["affine"](rng), PLANTS["spectrum"](rng)
    outside = rng.uniform(0.1, 0.9, 3)
    beyond = rng.uniform(0.02, 0.10)
    outside[rng.integers(3)] = 1 + beyond if rng.random() < 0.5 else -beyond
    mixed = four.noise_free(four.draw(rng))[FOUR]
    mixed[2] *= 1 + rng.choice([-1, 1]) * rng.uniform(0.03, 0.06)
    return [
        ("unphysical goals of the paper", three, three.goal.tolist(), PAPER),
        ("2–10 % outside one face", three, three.goal.tolist(), three.gains @ outside),
        ("590 nm against 630 nm by 3–6 %", four, FOUR, mixed),
    ]


def _rows(name: str, n: int, pair: int) -> tuple[Plant, Data, np.random.Generator]:
    """A plant, n readings of it (axis points, then a Latin hypercube), and what is left of the random numbers."""
    plant, rng = PLANTS[name](_rng(pair, 4)), _rng(pair, 7)
    return plant, plant.rows(spread_out(n, plant.d, _rng(pair, 6)), rng), rng


def _answers(label: str, data: Data, goals: Targets, rng: np.random.Generator) -> Proposals | None:
    try:
        return solver_of(label).fit(data).propose(goals, Space(data.inputs), rng)
    except SolverError:
        return None


def _rng(pair: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([pair, stream])


def _split(case: str) -> tuple[str, int]:
    name, n = case.rsplit(" n=", 1)
    return name, int(n)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
