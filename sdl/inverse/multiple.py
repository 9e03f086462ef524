"""All settings that reach a goal, where several do.

Several settings reach a goal if the response is not monotonic (y = x²), or if there are more inputs than channels. They
come from the `sample` of a model, from a search on its `predict` from many starting points, or from both. If they form
a continuous family (four inputs, three channels), members that differ as much as possible are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.stats import qmc

from sdl.arrays import Floats
from sdl.core.goal import Goal
from sdl.errors import SolverError
from sdl.inverse.discrete import tolerance_ratios, units
from sdl.inverse.propose import targets_of
from sdl.models.constants import DIFFERENCE
from sdl.solvers.base import Data, Fitted, Targets, ask
from sdl.space.region import Region
from sdl.types import Settings

APART = 0.05
"""Settings that differ by less than this fraction of the range in every input are one solution."""
STARTS = 48
"""Number of starting points of a search, besides the solver's own proposal."""
ROUNDS, LONGEST = 30, 0.25
"""Search: largest number of steps, and longest step, as a fraction of the range."""
DRAWN = 300
"""Number of settings drawn from a model that can only sample; a solution must hold at least one in twenty of them."""
MAX_SOLUTIONS = 12
"""Largest number of solutions listed."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One of the settings that reach a goal.

    Attributes:
        settings: rounded and clipped, ready for the instrument.
        expected: raw readings expected there; empty if the model does not predict readings.
        miss: tolerance ratio of the worst channel; None if the model does not predict readings.
        probability: share of the model's sample paths that have a solution there; None = unknown.
        continuum: whether it belongs to a continuous family of solutions.
    """

    settings: Settings
    expected: Mapping[str, float]
    miss: float | None
    probability: float | None = None
    continuum: bool = False


def solutions(fitted: Fitted, data: Data, goal: Goal, rng: np.random.Generator) -> list[Mode]:
    """List the different settings that reach `goal`, the preferred first, or else sorted by the inputs.

    Args:
        fitted: a solver fitted to `data`.
        data: the rows.
        goal: the goal, in raw readings.
        rng: generator for starting points and samples.

    Returns:
        An empty list if the model finds no settings that reach the goal.

    Raises:
        SolverError: the model can neither predict readings nor sample settings.
    """
    space = data.space
    low, high = space.low, space.high
    region = space.region.scaled(low, space.width)
    targets = targets_of(goal, data.channels, None)
    one = Targets(*(part[0] for part in targets))
    predict, sample = getattr(fitted, "predict", None), getattr(fitted, "sample", None)
    if predict is None and sample is None:
        raise SolverError("it can list no other solutions: its model neither predicts readings nor samples settings")
    drawn = np.empty((0, len(low)))
    if sample is not None:
        drawn = space.region.project(sample(np.where(np.isfinite(one.value), one.value, np.nan), DRAWN, rng))
    if predict is None:
        candidates = _clusters((drawn - low) / (high - low))
    else:
        own = space.region.project(ask(fitted, targets, space, rng).settings)
        spread = _hypercube(STARTS, low, high, rng) if space.is_box else space.sample(STARTS, rng)
        starts = np.vstack([own, spread, drawn[:: max(len(drawn) // STARTS, 1)]])
        candidates = _search(predict, one, (starts - low) / (high - low), low, high, region)
    modes = _modes(fitted, one, rng)
    lone = [mode.u for mode in modes if not (np.abs(candidates - mode.u).max(axis=1, initial=0.0) < APART).any()]
    if lone and not all(mode.is_continuum for mode in modes):
        candidates = np.vstack([candidates, lone])
    if data.prefer is not None:
        candidates = candidates[np.argsort(candidates @ np.array(data.prefer), kind="stable")]
    distinct = _farthest_first(candidates)
    if data.prefer is None:
        distinct = distinct[np.lexsort(distinct.T[::-1])] if len(distinct) else distinct
    named = [_named(low + u * (high - low), predict, data, one) for u in distinct]
    listed = [_likely(one, u, modes) for one, u in zip(named, distinct, strict=True)]
    training = getattr(fitted, "training", None)
    if modes or training is None or len(listed) < 2:
        return listed
    in_family = [training.has_family(one, region, u) for u in distinct]
    return [replace(mode, continuum=family) for mode, family in zip(listed, in_family, strict=True)]


def _modes(fitted: Fitted, target: Targets, rng: np.random.Generator) -> list[Any]:
    """The modes of the sample paths, if the model has sample paths."""
    modes = getattr(fitted, "modes", None)
    if modes is None:
        return []
    return list(modes(target, fitted.training.own_region, rng))  # type: ignore[attr-defined]


def _likely(solution: Mode, u: Floats, modes: list[Any]) -> Mode:
    """The solution with the probability of its mode, which is the one with the closest member."""
    if not modes:
        return solution
    far = [float(np.abs(mode.members - u).max(axis=1).min()) for mode in modes]
    mode = modes[int(np.argmin(far))]
    if min(far) > 2 * APART:
        return replace(solution, probability=0.0)
    return replace(solution, probability=mode.probability, continuum=mode.is_continuum)


def _search(
    predict: Callable[[Floats], Any], target: Targets, starts: Floats, low: Floats, high: Floats, region: Region
) -> Floats:
    """(n, d) settings, as fractions of the ranges, that are predicted to reach the goal; the best first.

    A damped Gauss-Newton search from all starts at once, because a model predicts many settings as quickly as few. It
    takes the shortest steps, so that each search ends at a solution close to its start.
    """
    aimed = np.isfinite(target.value)
    used = aimed | np.isfinite(target.low) | np.isfinite(target.high)
    unit = units(target)[used]
    lowest, highest = (np.where(aimed, target.value, end)[used] for end in (target.low, target.high))

    def off(U: Floats) -> Floats:
        Y = predict(low + U * (high - low))[0][:, used]
        outside: Floats = (np.minimum(Y - lowest, 0.0) + np.maximum(Y - highest, 0.0)) / unit
        return outside

    U, d = region.project(starts), starts.shape[1]
    fixed = region.categorical
    miss, reach = off(U), np.full(len(starts), LONGEST)
    for _ in range(ROUNDS):
        # Differences towards the middle, inside the bounds.
        side = np.where(U > 0.5, -DIFFERENCE, DIFFERENCE)
        shifted = (U[:, None] + np.eye(d) * side[:, None]).reshape(-1, d)
        slope = ((off(shifted).reshape(len(U), d, -1) - miss[:, None]) / side[..., None]).swapaxes(1, 2)  # (n, g, d)
        slope[..., fixed] = 0.0  # each search keeps to the choices of its start
        step = _shortest(slope, miss)
        outward = ((U <= 0) & (step < 0)) | ((U >= 1) & (step > 0))
        step = _shortest(np.where(outward[:, None], 0.0, slope), miss)
        length = np.abs(step).max(axis=1)
        step *= np.minimum(1.0, reach / np.maximum(length, 1e-300))[:, None]
        trial = region.project(U + step)
        then = off(trial)
        better = (then**2).sum(axis=1) < (miss**2).sum(axis=1)
        U, miss = np.where(better[:, None], trial, U), np.where(better[:, None], then, miss)
        reach = np.where(better, np.minimum(2.0 * reach, LONGEST), 0.25 * np.minimum(reach, length))
        if ((reach < 1e-6) | (np.abs(miss).max(axis=1) < 1e-6)).all():
            break
    missed = np.round(tolerance_ratios(target, predict(low + U * (high - low))[0]), 3)
    order = np.argsort(missed, kind="stable")
    return np.asarray(U[order[missed[order] <= 1]], dtype=np.float64)


def _shortest(slope: Floats, miss: Floats) -> Floats:
    """(n, d) the shortest steps that remove residuals (n, g), for slopes (n, g, d)."""
    step: Floats = -(np.linalg.pinv(slope, rcond=1e-6) @ miss[..., None])[..., 0]
    return step


def _clusters(drawn: Floats) -> Floats:
    """(n, d) centres of the clusters of drawn settings, the largest first."""
    labels = fcluster(linkage(drawn, "single", metric="chebyshev"), APART, "distance")
    sizes = np.bincount(labels)
    large = [k for k in np.argsort(-sizes, kind="stable") if sizes[k] >= len(drawn) / 20]
    return np.array([drawn[labels == k].mean(axis=0) for k in large]).reshape(len(large), drawn.shape[1])


def _farthest_first(candidates: Floats) -> Floats:
    """Pick the first candidate, then repeatedly the one farthest from those picked, while it differs by APART."""
    distinct = candidates[:1]
    while 0 < len(distinct) < MAX_SOLUTIONS:
        far = np.abs(candidates[:, None] - distinct[None]).max(axis=2).min(axis=1)
        if far.max() < APART:
            break
        distinct = np.vstack([distinct, candidates[int(far.argmax())]])
    return distinct


def _named(x: Floats, predict: Callable[[Floats], Any] | None, data: Data, target: Targets) -> Mode:
    space = data.space
    settings, _ = space.project(space.decode(x))
    if predict is None:
        return Mode(settings, {}, None)
    mean = predict(space.encode(settings)[None])[0]
    known = zip(data.channels, mean[0].tolist(), strict=True)
    expected = {channel.name: value for channel, value in known if np.isfinite(value)}
    return Mode(settings, expected, float(tolerance_ratios(target, mean)[0]))


def _hypercube(n: int, low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(low + qmc.LatinHypercube(len(low), rng=rng).random(n) * (high - low), dtype=np.float64)
