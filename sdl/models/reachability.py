"""Reachability of a goal: how probable it is that any settings bring every channel into its band.

The probability is the share of the sample paths of a forward model (functions drawn from its posterior) for which the
bounded search finds settings inside every band. Noise has no part in it: it is the noise-free reading that has to lie
inside. What the model does not know, its paths differ in: with few rows some of them turn back and reach the goal.

A row that was measured inside every band is evidence that no model outweighs. Fewer than 2 d + 3 rows call nothing
unreachable: d + 1 of them cannot exclude a turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import DISTINCT
from sdl.models.forward_model import ForwardModel
from sdl.models.inverse_search import Bands, Search, search, starting_points

PATHS = 100
"""Functions drawn; a share of .01 is one of them."""
STEPS, MORE_STARTS = 12, 4
"""Of the search on each of them, which starts where the mean comes nearest; and starts beside that, if needed."""
UNREACHABLE, UNREACHABLE_NEAR = 0.01, 0.05
"""Probability below which a goal is unreachable: on these readings, and where the nearest settings were measured."""
QUANTILE, QUANTILE_NEAR = 2.326, 1.645
"""Standard errors by which the mean must miss at least one band, the normal quantiles of these: with more channels than
inputs and a tolerance below the standard error, hardly any path would pass through all bands of a reachable goal."""
NEAR = 0.02
"""Settings within this part of the range of each input are the same, for that rule."""
LEANS = 0.1
"""An answer that lies farther than this part of the range from both levels of an input leans on its curvature."""
SEED = 0
"""Of the paths: the same for every goal and solver, so that equal rows get equal verdicts."""


@dataclass(frozen=True)
class Reachability:
    """What the rows say of one goal.

    Attributes:
        probability: share of the sample paths with settings inside every band.
        settings: (d,) where the mean comes nearest to the goal, in units of the bounds.
        readings: (m,) the mean there.
        met: whether the mean enters every band there.
        is_unreachable: whether the verdict is `unreachable`.
        untested: inputs with two levels in the rows, between which the settings lie.
    """

    probability: float
    settings: Floats
    readings: Floats
    met: bool
    is_unreachable: bool
    untested: Ints


def find_settings(model: ForwardModel, bands: Bands, starts: Floats, low: Floats, high: Floats) -> Search:
    """Search the settings where the mean of a model comes nearest to a goal, from starts (k, d)."""
    return search(model.mean, model.jacobian, bands, starts, low, high)


def assess(model: ForwardModel, bands: Bands, u: Floats, low: Floats, high: Floats) -> Reachability:
    """Assess one goal; u (d,) are settings that come near, low…high (d,) the bounds, all in units."""
    training, rng = model.training, np.random.default_rng(SEED)
    starts = np.vstack([u, starting_points(training, bands, low, high, rng)])
    ends = find_settings(model, bands, starts, low, high)
    means = model.mean(ends.U)
    outside = bands.beyond(means).max(axis=-1)
    best = int(np.lexsort([ends.cost, outside > 0])[0]) if (outside == 0).any() else int(outside.argmin())
    nearest = ends.U[best]
    probability, n = _probability(model, bands, np.vstack([nearest, starts[1:]]), low, high, rng), len(training.Y)
    rows = training.usable[:, bands.columns].all(axis=1)
    missed = bands.columns[bands.beyond(means[best][None])[0] > 0]
    seen_inside = bool((bands.are_met(training.Y) & rows).any())
    measured = bool((np.abs(training.U[:n][rows] - nearest) <= NEAR).all(axis=1).any())
    enough = int(training.usable[:, missed].sum(axis=0).min(initial=n)) >= 2 * len(u) + 3
    limit, quantile = (UNREACHABLE_NEAR, QUANTILE_NEAR) if measured else (UNREACHABLE, QUANTILE)
    is_unreachable = enough and not seen_inside and probability < limit
    is_unreachable = is_unreachable and _standard_errors_beyond(model, bands, nearest, low, high) > quantile
    return Reachability(
        1.0 if seen_inside else probability,
        nearest,
        means[best],
        bool(outside[best] == 0),
        is_unreachable,
        untested_curvature(training.U[:n], u),
    )


def _probability(
    model: ForwardModel, bands: Bands, starts: Floats, low: Floats, high: Floats, rng: np.random.Generator
) -> float:
    """Share of the paths that enter every band; those that do not from the first start are searched from all."""
    paths = model.sample_paths(PATHS, rng)
    first = search(paths, paths.jacobian, bands, np.tile(starts[0], (PATHS, 1, 1)), low, high, STEPS)
    entered: Bools = bands.are_met(paths(first.U))[:, 0]
    if entered.mean() < 0.5 and len(starts) > 1:
        rest = search(
            paths, paths.jacobian, bands, np.tile(starts[1 : 1 + MORE_STARTS], (PATHS, 1, 1)), low, high, STEPS
        )
        entered = entered | bands.are_met(paths(rest.U)).any(axis=1)
    return float(entered.mean())


def _standard_errors_beyond(model: ForwardModel, bands: Bands, u: Floats, low: Floats, high: Floats) -> float:
    """By how many standard errors the mean misses the worst band, at the settings where they are fewest."""
    std_error = np.sqrt(model.predict(u[None]).model_var[0, bands.columns])
    if not np.isfinite(std_error).all():
        return 0.0
    aims = bands._replace(aim_low=bands.low, aim_high=bands.high, unit=np.maximum(std_error, 1e-12 * bands.unit))
    best = find_settings(model, aims, u[None], low, high).U
    prediction = model.predict(best)
    std_error = np.sqrt(prediction.model_var[0, bands.columns])
    return float((aims.beyond(prediction.mean)[0] * aims.unit / np.maximum(std_error, 1e-300)).max())


def untested_curvature(U: Floats, u: Floats) -> Ints:
    """Inputs of which rows U (n, d) have at most two levels, where settings u (d,) lie away from both."""
    untested = []
    for j in range(U.shape[1]):
        levels = np.unique(np.round(U[:, j] / DISTINCT)) * DISTINCT
        if len(levels) <= 2 and np.abs(levels - u[j]).min(initial=1.0) > LEANS:
            untested.append(j)
    return np.array(untested, dtype=np.intp)
