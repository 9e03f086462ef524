"""Reachability of a goal: the probability that some settings bring every channel into its band.

It is the share of the sample paths of a forward model (functions drawn from its posterior) for which the bounded search
finds settings with all readings inside their bands. It concerns the noise-free readings. Where the model is uncertain,
its paths differ: with few rows some of them curve back and reach the goal. A goal is called unreachable only if a
chi-square test of the mean agrees.

Where a row was measured inside every band the probability is 1, whatever the model says. With fewer than 2 d + 3 rows
no goal is called unreachable, because so few rows cannot exclude a maximum or minimum; nor while a combination of
choices has not been measured where it comes closest, because its slopes may differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import DISTINCT
from sdl.models.forward.forward_model import ForwardModel, Paths
from sdl.models.inversion.search import MOST_BLOCKS, Bands, Search, search, starting_points
from sdl.models.training_set import TrainingSet
from sdl.space.region import Region

PATHS = 100
"""Number of functions drawn; UNREACHABLE = 0.01 corresponds to one of them."""
STEPS, MORE_STARTS = 12, 4
"""Largest number of steps of the search on each function, which starts where the mean comes closest to the goal; and
further starting points if fewer than half of the functions reach the goal from there; with choices, one for each
combination."""
UNREACHABLE, UNREACHABLE_NEAR = 0.01, 0.05
"""Probability below which a goal is called unreachable: in general, and if the closest settings were measured."""
NEAR = 0.02
"""The closest settings count as measured if a row is within this fraction of the range of each input."""
LEANS = 0.1
"""If an input has two levels, settings farther than this fraction of the range from both depend on its curvature, which
two levels do not determine."""
CANDIDATES, BEST = 200, 2
"""Random settings that are tried before a goal is called unreachable, and how many of them begin a search; on each
function, and for the least chi-square. Without them settings far from all rows were missed: of 360 campaigns on random
plants of 1 to 4 inputs, 2 ended falsely."""
SEED = 0
"""Seed of the sample paths; the same for every goal and solver, so that equal rows get equal verdicts."""


@dataclass(frozen=True)
class Reachability:
    """The reachability of one goal.

    Attributes:
        probability: share of the sample paths that reach the goal; 1 if it has been measured inside every band.
        settings: (d,) settings where the mean comes closest to the goal, in units of the bounds.
        readings: (m,) the mean there.
        met: whether the mean is inside every band there.
        is_unreachable: whether the verdict is `unreachable`.
        untested: the inputs for which the settings depend on a curvature that their two levels do not determine.
    """

    probability: float
    settings: Floats
    readings: Floats
    met: bool
    is_unreachable: bool
    untested: Ints


def find_settings(model: ForwardModel, bands: Bands, starts: Floats, region: Region) -> Search:
    """Search, from starts (k, d), for the settings where the mean of a model comes closest to a goal."""
    return search(model.mean, model.jacobian, bands, starts, region)


def assess(model: ForwardModel, bands: Bands, u: Floats, region: Region) -> Reachability:
    """Assess one goal.

    Args:
        model: fitted forward model.
        bands: the goal.
        u: (d,) settings that come close to the goal, in units of the bounds.
        region: the feasible settings.
    """
    training, rng = model.training, np.random.default_rng(SEED)
    starts = np.vstack([u, starting_points(training, bands, region, rng)])
    ends = find_settings(model, bands, starts, region)
    means = model.mean(ends.U)
    outside = bands.beyond(means).max(axis=-1)
    best = int(np.lexsort([ends.cost, outside > 0])[0])  # of those inside, if any is
    nearest = ends.U[best]
    others = starts[1 : 1 + MORE_STARTS] if region.is_box else _best_of_blocks(ends, region)
    probability, n = _probability(model, bands, np.vstack([nearest, others]), region, rng), len(training.Y)
    rows = training.usable[:, bands.columns].all(axis=1)
    missed = bands.columns[bands.beyond(means[best][None])[0] > 0]
    seen_inside = bool((bands.are_met(training.Y) & rows).any())
    measured = bool((np.abs(training.U[:n][rows] - nearest) <= NEAR).all(axis=1).any())
    enough = int(training.usable[:, missed].sum(axis=0).min(initial=n)) >= 2 * len(u) + 3
    enough = enough and _each_choice_examined(training, ends, region)
    limit = UNREACHABLE_NEAR if measured else UNREACHABLE
    is_unreachable = enough and not seen_inside and probability < limit
    if is_unreachable:
        is_unreachable = _chi_square(model, bands, ends.U, region, rng) > float(chdtri(len(bands.columns), 2 * limit))
    return Reachability(
        1.0 if seen_inside else probability,
        nearest,
        means[best],
        bool(outside[best] == 0),
        is_unreachable,
        untested_curvature(training.U[:n], u),
    )


def _each_choice_examined(training: TrainingSet, ends: Search, region: Region) -> bool:
    """Whether each combination of choices has d + 2 rows (d numeric inputs), or a row at its closest settings."""
    if not region.categorical.any():
        return True
    if len(region.codes) > MOST_BLOCKS:  # not all of them were searched
        return False
    best = _best_of_blocks(ends, region)
    blocks, enough = region.nearest_block(training.U[: len(training.Y)]), int((~region.categorical).sum()) + 2
    count = np.array([(blocks == region.nearest_block(u)).all(axis=1).sum() for u in best])
    return bool((training.has_row_near(best) | (count >= enough)).all())


def in_unmeasured_blocks(training: TrainingSet, ends: Search, region: Region) -> Bools:
    """(k,) which results have choices without a row near the closest settings of these choices; all, if none has."""
    if not region.categorical.any():
        return np.ones(len(ends.U), bool)
    best = _best_of_blocks(ends, region)
    new = region.nearest_block(best[~training.has_row_near(best)])
    chosen: Bools = (region.nearest_block(ends.U)[:, None] == new).all(axis=2).any(axis=1)
    return chosen if chosen.any() else np.ones(len(ends.U), bool)


def _best_of_blocks(ends: Search, region: Region) -> Floats:
    """(B, d) where the searches came closest to the goal, for each combination of choices that they started in."""
    of_block = np.unique(region.nearest_block(ends.U), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(ends.cost, kind="stable")
    return np.asarray(ends.U[order[np.unique(of_block[order], return_index=True)[1]]], dtype=np.float64)


def _probability(model: ForwardModel, bands: Bands, starts: Floats, region: Region, rng: np.random.Generator) -> float:
    """Share of the paths that enter every band; if it is below half, the other starts are tried on every path."""
    paths = model.sample_paths(PATHS, rng)
    first = search(paths, paths.jacobian, bands, np.tile(starts[0], (PATHS, 1, 1)), region, STEPS)
    entered: Bools = bands.are_met(paths(first.U))[:, 0]
    if entered.mean() < 0.5 and len(starts) > 1:
        rest = search(paths, paths.jacobian, bands, np.tile(starts[1:], (PATHS, 1, 1)), region, STEPS)
        entered = entered | bands.are_met(paths(rest.U)).any(axis=1)
    if entered.mean() < UNREACHABLE_NEAR:
        entered = entered | bands.are_met(paths(search_paths(paths, PATHS, bands, region, rng))).any(axis=1)
    return float(entered.mean())


def search_paths(paths: Paths, n: int, bands: Bands, region: Region, rng: np.random.Generator) -> Floats:
    """(n, BEST, d) where searches on each of n paths end that start at the best of CANDIDATES random settings."""
    drawn = region.sample(n * CANDIDATES, rng).reshape(n, CANDIDATES, -1)
    best = np.argsort((bands.residuals(paths(drawn)) ** 2).sum(axis=-1), axis=1)[:, :BEST]
    starts = np.take_along_axis(drawn, best[..., None], axis=1)
    return search(paths, paths.jacobian, bands, starts, region, STEPS).U


def _chi_square(model: ForwardModel, bands: Bands, U: Floats, region: Region, rng: np.random.Generator) -> float:
    """The least sum, over the settings, of the squares of the mean's distances beyond the bands, in standard errors.

    At settings that reach the goal the sum is that of a chi-square distribution, with a degree of freedom for each
    channel, at most. The probability alone would not be enough: with more channels than inputs and a tolerance below
    the standard error, hardly any path passes through all bands, even of a reachable goal.

    The settings are searched from the best of U (k, d), with the standard errors there; with more channels than inputs
    also of random ones.
    """

    def in_std_errors(U: Floats) -> tuple[Floats, Floats]:
        """(k,) sums of squares at settings (k, d), and the standard errors (k, g)."""
        prediction = model.predict(U)
        sd = np.maximum(np.sqrt(prediction.model_var[:, bands.columns]), 1e-12 * bands.unit)
        return ((bands.beyond(prediction.mean) * bands.unit / sd) ** 2).sum(axis=1), sd

    if len(bands.columns) > U.shape[1]:
        U = np.vstack([U, region.sample(CANDIDATES, rng)])
    square, sd = in_std_errors(U)
    if not np.isfinite(square).all():
        return 0.0
    best = np.argsort(square)[:BEST]
    aims = bands._replace(aim_low=bands.low, aim_high=bands.high, unit=sd[best])
    ends = find_settings(model, aims, U[best], region).U
    return float(min(square.min(), in_std_errors(ends)[0].min()))


def untested_curvature(U: Floats, u: Floats) -> Ints:
    """Inputs with at most two levels in the rows U (n, d), if the settings u (d,) are farther than LEANS from them."""
    untested = []
    for j in range(U.shape[1]):
        levels = np.unique(np.round(U[:, j] / DISTINCT)) * DISTINCT
        if len(levels) <= 2 and np.abs(levels - u[j]).min(initial=1.0) > LEANS:
            untested.append(j)
    return np.array(untested, dtype=np.intp)
