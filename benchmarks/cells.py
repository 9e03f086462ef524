"""The measurements behind `solvers.py`: each takes a solver and some pairs, and gives plain numbers back.

Everything is a function of (what is measured, solver, pair), so that a run can be broken off and taken up again.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Sequence
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
    linear_plant,
    outside,
    spread_out,
    targets,
    targets_of_columns,
)

from sdl.core.goal import Band, Goal
from sdl.errors import SolverError
from sdl.inverse.multiple import solutions
from sdl.models.inversion.forward_models import std_error
from sdl.registry import find
from sdl.solvers.base import Data, Proposals, Solver, Targets
from sdl.space import Space
from sdl.types import Verdict

Floats = NDArray[np.float64]
Row = dict[str, Any]

UPSTREAM = "upstream forest"
"""ForestDiffusion as it comes, on raw pairs: for the cost alone."""
NO_ANSWER = 999.0
"""Miss in per cent of a solver that gives no answer."""
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
        if given is None:
            misses.append(NO_ANSWER)
            continue
        got = plant.noise_free(np.clip(given.settings[0], 0, 1))[plant.goal]
        misses.append(float(np.abs(got / wanted - 1).max() * 100))
    return {"misses": misses}


def expected(case: str, label: str, first: int, last: int) -> Row:
    """How many expected readings at the answer lie within 1 and 2 standard errors of the model of those without noise.

    Of a solver that gives only the standard deviation of a reading, the plant's true noise is taken off.
    """
    name, n = _split(case)
    count = [0, 0, 0]
    for pair in range(first, last):
        plant, data, rng = _rows(name, n, pair)
        wanted = plant.noise_free(plant.draw(np.random.default_rng([pair, 0])))[plant.goal]
        try:
            fitted = solver_of(label).fit(data)
            x = np.clip(fitted.propose(targets(plant, wanted[None], 2.0), Space(data.inputs), rng).settings, 0, 1)
        except SolverError:
            continue
        mean, sd = _model_error(fitted, x, plant.noise)
        far = (np.abs(mean - plant.noise_free(x)) / sd)[0, plant.goal]
        seen = ((far <= 1).sum(), (far <= 2).sum(), np.isfinite(far).sum())
        count = [have + int(more) for have, more in zip(count, seen, strict=True)]
    return {"count": count}


def _model_error(fitted: Any, x: Floats, noise: float) -> tuple[Floats, Floats]:
    """Expected readings (1, m) at settings and the standard errors of them, by the forward model where there is one."""
    model = fitted
    while model is not None and not hasattr(model, "sample_paths"):
        if hasattr(model, "dynamic"):
            return model.predict(x)[0], std_error(model, x)
        model = getattr(model, "forward", None) or getattr(model, "model", None)
    if model is not None:
        given = model.predict(model.training.units(x))
        return given.mean, np.sqrt(given.model_var)
    mean, sd = fitted.predict(x)
    return mean, np.sqrt(np.maximum(sd**2 - (noise * mean) ** 2, 1e-12))


def coverage(case: str, label: str, first: int, last: int) -> Row:
    """How many of the inputs lie within 1 and 2 standard deviations of the truth.

    `uncertainty` for the goal without noise, `spread` for one noisy reading taken as the goal; `unknown` are NaN.
    """
    name, n = _split(case)
    count = {kind: [0, 0, 0, 0] for kind in ("uncertainty", "spread")}  # within 1, within 2, known, unknown
    for pair in range(first, last):
        plant, data, rng = _rows(name, n, pair)
        truth = plant.draw(np.random.default_rng([pair, 0]))
        wanted = np.stack([plant.noise_free(truth), plant.read(truth, len(data.X), rng)])[:, plant.goal]
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
    """How many goals of 0.5 % tolerance are called unreachable, by class; independent rows for every goal.

    `below`: how many of those that can be reached are called below the noise at a tolerance of 1 %.
    """
    name, n = _split(case)
    called: dict[str, list[int]] = {}
    below = [0, 0]
    for pair in range(first, last):
        for kind, plant, columns, wanted in _goals(name, pair):
            data = plant.rows(_settings(n, plant.d, _rng(pair, 6)), _rng(pair, 7))
            data = replace(data, goal=np.isin(np.arange(len(plant.channels)), columns))
            goals = targets_of_columns(np.atleast_2d(wanted), 0.5, columns, len(plant.channels))
            given = _answers(label, data, goals, _rng(pair, 8))
            said = [v is Verdict.UNREACHABLE for v in given.verdict] if given else [False] * len(goals.value)
            yes, total = called.get(kind, [0, 0])
            called[kind] = [yes + sum(said), total + len(said)]
            if kind in PLANTS:
                goals = targets_of_columns(np.atleast_2d(wanted), 1.0, columns, len(plant.channels))
                given = _answers(label, data, goals, _rng(pair, 8))
                below = [below[0] + bool(given and given.verdict[0] is Verdict.BELOW_NOISE), below[1] + 1]
    return {"called": called, "below": below}


def modes(case: str, label: str, first: int, last: int) -> Row:
    """Solutions found, solutions there are and solutions invented, and MMD² of `sample` to the posterior by a grid.

    A solution is a connected region of settings whose readings are within 1 %. It is found where a listed one is within
    .05 of the region; one is invented where its reading is 5 % off. A continuum counts as 0.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    name, n = _split(case)
    count, distances = [0, 0, 0], []
    axis = (np.arange(300) + 0.5) / 300
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    for pair in range(first, last):
        plant, data, rng = _rows(name, n, pair)
        wanted = plant.noise_free(plant.draw(np.random.default_rng([pair, 0])))
        off = np.abs(plant.noise_free(grid) / wanted - 1)
        near = grid[off.max(axis=1) <= 0.01]
        labels = fcluster(linkage(near, "single", metric="chebyshev"), 0.02, "distance")
        regions = [near[labels == k] for k in np.unique(labels)]
        bands = {key: Band.around(t, 0.01 * t) for key, t in zip(plant.goals, wanted.tolist(), strict=True)}
        try:
            fitted = solver_of(label).fit(data)
            listed = solutions(fitted, data, Goal(bands), rng)
        except SolverError:
            count[1] += len(regions) * (name != "ring")
            continue
        X = np.array([[one.settings[item.name] for item in data.inputs] for one in listed]).reshape(-1, 2)
        if name != "ring":
            count[0] += sum(bool((np.abs(X[:, None] - one).max(axis=2) < 0.05).any()) for one in regions)
            count[1] += len(regions)
        count[2] += int((np.abs(plant.noise_free(X) / wanted - 1).max(axis=1) > 0.05).sum())
        if hasattr(fitted, "sample"):
            distances.append(_mmd(fitted.sample(wanted, 300, rng), _posterior(plant, wanted, 300, rng)))
    return {"modes": count, "mmd": distances}


def _posterior(plant: Plant, wanted: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Draw n settings (n, 2) from the posterior of one reading, on a grid finer than the noise."""
    axis = (np.arange(3000) + 0.5) / 3000
    kept, weight = [], []
    for x in np.array_split(axis, 30):
        part = np.stack(np.meshgrid(x, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        height = -0.5 * (((plant.noise_free(part) / wanted - 1) / plant.noise) ** 2).sum(axis=1)
        kept.append(part[height > -20])
        weight.append(np.exp(height[height > -20]))
    p = np.concatenate(weight)
    drawn: Floats = np.concatenate(kept)[rng.choice(len(p), n, p=p / p.sum())]
    return drawn


def _mmd(A: Floats, B: Floats) -> float:
    """Squared maximum mean discrepancy of two samples, Gaussian kernel of width .1 (Gretton, JMLR 13 (2012) 723)."""

    def kernel(P: Floats, Q: Floats) -> Floats:
        return np.exp(-((P[:, None] - Q[None]) ** 2).sum(axis=2) / (2 * 0.1**2))

    n, k = len(A), len(B)
    own = (kernel(A, A).sum() - n) / (n * (n - 1)) + (kernel(B, B).sum() - k) / (k * (k - 1))
    return float(own - 2 * kernel(A, B).mean())


def cost(case: str, label: str, first: int, last: int) -> Row:
    """CPU milliseconds of a fit and a proposal, and the most memory, in a process of its own; at most 4 GB, 10 min."""
    if label == UPSTREAM and case != "100":
        return {"error": "not tried: hours"}
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_cost, args=(there, case, label))
    child.start()
    there.close()
    try:
        found: Row = here.recv() if here.poll(600) else {"error": "more than 10 min"}
    except EOFError:
        found = {"error": "out of memory (4 GB), or crashed"}
    child.kill()
    child.join()
    return found


def _cost(pipe: Any, case: str, label: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    took = []
    try:
        _timed(label, "20", 0)  # imports, and whatever is made once
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for seed in range(1, 6 if len(case) == 3 and label != UPSTREAM else 2):
            took.append(_timed(label, case, seed))
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send({"ms": float(np.median(took)), "mb": most / 1024, "base_mb": base / 1024})
    except (SolverError, MemoryError) as error:
        pipe.send({"error": f"{type(error).__name__}: {error}"[:200]})


def _timed(label: str, case: str, seed: int) -> float:
    """CPU milliseconds; the case: rows of the LED with its jitter, or rows×inputs×channels of an affine plant."""
    n, *shape = case.split("×")
    plant, data, rng = _rows("jitter", n, seed)
    if shape:
        d, m = map(int, shape)
        plant = linear_plant(rng.uniform(500, 5000, (m, d)))
        data = plant.rows(spread_out(int(n), d, rng), rng)
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
    "expected": expected,
    "verdicts": verdicts,
    "modes": modes,
    "cost": cost,
}


def _goals(name: str, pair: int) -> list[tuple[str, Plant, list[int], Floats]]:
    """(class, plant, columns of the goal, goals) of one pair: impossible ones, or one that the plant can reach."""
    rng = _rng(pair, 0)
    if name.startswith("beyond"):
        _, part, _, shape = name.split(" ", 3)
        plant = PLANTS[shape](_rng(pair, 4))
        return [(name, plant, plant.goal.tolist(), outside(plant, 0.005 + float(part) / 100, rng))]
    if name != "impossible":
        plant = PLANTS[name](rng)
        return [(name, plant, plant.goal.tolist(), plant.noise_free(plant.draw(rng))[plant.goal])]
    three, four = PLANTS["affine"](rng), PLANTS["spectrum"](rng)
    past = rng.uniform(0.1, 0.9, 3)
    beyond = rng.uniform(0.02, 0.10)
    past[rng.integers(3)] = 1 + beyond if rng.random() < 0.5 else -beyond
    mixed = four.noise_free(four.draw(rng))[FOUR]
    mixed[2] *= 1 + rng.choice([-1, 1]) * rng.uniform(0.03, 0.06)
    return [
        ("unphysical goals of the paper", three, three.goal.tolist(), PAPER),
        ("2–10 % outside one face", three, three.goal.tolist(), three.gains @ past),
        ("590 nm against 630 nm by 3–6 %", four, FOUR, mixed),
    ]


def _factorial(levels: Sequence[float], repeats: int = 1, centre: int = 0) -> Floats:
    """(n, 3) settings: all combinations of the levels, so often, and so many points in the middle."""
    full = np.stack(np.meshgrid(*[levels] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.vstack([np.tile(full, (repeats, 1)), np.full((centre, 3), 0.5)])


DESIGNS = {
    "3³": _factorial((0.0, 0.5, 1.0)),
    "3³ shrunk": _factorial((0.2, 0.5, 0.8)),
    "5³": _factorial(np.linspace(0, 1, 5).tolist()),
    "2³×5": _factorial((0.0, 1.0), 5),
    "2³+centre": _factorial((0.0, 1.0), centre=4),
}
"""Settings of designed data, for `--rows`; besides numbers of rows."""


def _settings(n: str, d: int, rng: np.random.Generator) -> Floats:
    """(n, d) settings to learn from: a design by name, `random 27`, or axis points and a Latin hypercube."""
    if n in DESIGNS:
        return DESIGNS[n]
    return rng.random((int(n.split()[1]), d)) if n.startswith("random") else spread_out(int(n), d, rng)


def _rows(name: str, n: str, pair: int) -> tuple[Plant, Data, np.random.Generator]:
    """A plant, n readings of it (axis points, then a Latin hypercube), and what is left of the random numbers."""
    plant, rng = PLANTS[name](_rng(pair, 4)), _rng(pair, 7)
    return plant, plant.rows(_settings(n, plant.d, _rng(pair, 6)), rng), rng


def _answers(label: str, data: Data, goals: Targets, rng: np.random.Generator) -> Proposals | None:
    try:
        return solver_of(label).fit(data).propose(goals, Space(data.inputs), rng)
    except SolverError:
        return None


def _rng(pair: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([pair, stream])


def _split(case: str) -> tuple[str, str]:
    name, n = case.rsplit(" n=", 1)
    return name, n


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
