"""Settings for a goal from any forward model, with their spread and uncertainty.

If the mean of the model can enter every band, it is inverted; of several solutions the one with the smallest
uncertainty is taken. If it cannot, each sample path is solved, and of these settings those are taken at which a reading
most probably lies inside every band. A measurement there also shows best whether the goal can be reached. If some
paths reach the goal, their settings far from the closest ones count as well, and beside a row only the uncertainty of
the model counts, not the noise: another reading there could be inside only by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.special import logsumexp

from sdl.arrays import Floats, Ints
from sdl.models.constants import FREE, NOMINAL, SEED
from sdl.models.data import Proposals, Targets
from sdl.models.forward.forward_model import ForwardModel
from sdl.models.inversion.search import Bands, cheapest, search, starting_points
from sdl.models.reachability import UNREACHABLE_NEAR, find_settings, in_unmeasured_blocks, search_paths
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space
from sdl.space.region import Region

PATHS, STEPS = 64, 12
"""Number of sample paths that are solved if the mean does not enter every band, and steps of each search."""
SAMPLES, STARTS = 24, 14
"""Number of sample paths that are solved to find all solutions, and random starts on each; two starts miss modes."""
CANDIDATES, WIDTH = 4000, 0.05
"""Number of candidates from which settings are drawn again, and the standard deviation along directions that the
readings do not tell, as a fraction of the range."""
KEPT = 1e8
"""Precision of the columns of choices, in units of the range: candidates keep to the choices of their solution."""
SOLVED = 1e-3
"""A search ended at a solution if half the sum of its squared residuals, in tolerances, is below this."""
LINKED, WIDE = 0.06, 0.3
"""Solutions closer than LINKED (as a fraction of the range) belong to one mode; a mode wider than WIDE is a
continuum."""
LIKELY = 0.3
"""Share of the paths that must have a solution in a mode for it to be listed."""


class SolutionMode(NamedTuple):
    """One of several solutions.

    Attributes:
        u: (d,) settings, in units of the bounds.
        probability: share of the sample paths that have a solution there.
        members: (k, d) the solutions of these paths.
        is_continuum: whether the members form a continuous family rather than a point.
    """

    u: Floats
    probability: float
    members: Floats
    is_continuum: bool


@dataclass(frozen=True)
class FittedForward:
    """A forward model that is inverted for goals."""

    model: ForwardModel

    @property
    def training(self) -> TrainingSet:
        return self.model.training

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        region = self.training.region(space)
        goals = [Targets(*parts) for parts in zip(*targets, strict=True)]
        U = np.array([self.settings(goal, region, np.random.default_rng(SEED)) for goal in goals])
        pairs = [self.std_errors(goal, u) for goal, u in zip(goals, U, strict=True)]
        spread, uncertainty = np.swapaxes(np.array(pairs), 0, 1)
        expected, name = self.model.mean(U), self.model.summary.removesuffix(self.training.summary)
        return to_proposals(
            self.training,
            name.rstrip(", "),
            U,
            (spread, uncertainty),
            targets,
            space,
            expected,
            prefers=True,
            forward=self.model,
        )

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d); NaN for channels not of the goal."""
        prediction = self.model.predict(self.training.units(X))
        return prediction.mean, np.sqrt(prediction.model_var + prediction.noise_var)

    def leave_one_out(self) -> Floats:
        """(n, m) log density of each reading of the training set given the others; NaN if it is not used."""
        return self.model.leave_one_out()

    def std_error(self, X: Floats) -> Floats:
        """(n, m) standard deviation of the noise-free reading."""
        return np.sqrt(self.model.predict(self.training.units(X)).model_var)

    def sample(self, target: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Draw n settings (n, d) from their posterior given one reading `target` (m,); NaN = no target.

        The prior is uniform inside the bounds. Importance sampling (Robert and Casella, Monte Carlo Statistical
        Methods, 2nd ed., section 14.4): candidates come from a mixture of normal distributions around the solutions of
        the sample paths, and are drawn again with weights proportional to posterior over mixture.
        """
        value = np.where(np.isfinite(target), target, np.nan)
        free = np.isnan(value)
        band = Targets(value, np.where(free, -np.inf, value), np.where(free, np.inf, value))
        bands = Bands.of(self.training, band)
        if not len(bands.columns):
            return self.training.settings(self._region.sample(n, rng))
        U = self.solutions(bands, self._region, rng)[0]
        if not len(U):
            U = self.settings(band, self._region, rng)[None]
        candidates, density = self._mixture(U, bands.columns, CANDIDATES + 4 * n, rng)
        weight = self._log_likelihood(candidates, value, bands.columns) - density
        weight = np.exp(weight - weight.max())
        steps = (rng.random() + np.arange(n)) / n  # systematic resampling
        drawn = np.searchsorted(np.cumsum(weight) / weight.sum(), steps).clip(max=len(weight) - 1)
        return self.training.settings(candidates[rng.permutation(drawn)])

    def _mixture(self, U: Floats, columns: Ints, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Settings (≤ n, d) drawn around the solutions U (k, d), inside the bounds, and their log density (≤ n,).

        Each normal distribution has the curvature of the likelihood at its solution, and a standard deviation of WIDTH
        along directions that the readings do not tell.
        """
        J, sd = self.model.jacobian(U)[:, columns], self._reading_sd(U)[:, columns]
        fixed = self._region.categorical  # each distribution keeps to the choices of its solution
        slope = np.where(fixed, 0.0, J / sd[..., None])
        precision = np.swapaxes(slope, 1, 2) @ slope + np.diag(np.where(fixed, KEPT, 1.0 / WIDTH**2))
        root = np.linalg.cholesky(precision)
        which = rng.integers(len(U), size=n)
        z = rng.standard_normal((n, U.shape[1]))
        drawn = U[which] + np.linalg.solve(np.swapaxes(root[which], 1, 2), z[..., None])[..., 0]
        drawn = np.where(fixed, U[which], drawn)
        drawn = drawn[((drawn >= 0) & (drawn <= 1)).all(axis=1) & self._region.keeps(drawn)]
        drawn = drawn if len(drawn) else U
        volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        parts = [v - 0.5 * (((drawn - u) @ L) ** 2).sum(axis=1) for u, L, v in zip(U, root, volume, strict=True)]
        return drawn, np.asarray(logsumexp(parts, axis=0), dtype=np.float64)

    def _reading_sd(self, U: Floats) -> Floats:
        """(k, m) standard deviation of one reading at settings U (k, d), never 0."""
        prediction = self.model.predict(U)
        sd = np.sqrt(prediction.model_var + prediction.noise_var)
        least = NOMINAL * np.abs(self.training.linear.slope).sum(axis=1) + 1e-12
        return np.asarray(np.where(np.isfinite(sd), np.maximum(sd, 1e-3 * least), least), dtype=np.float64)

    def _log_likelihood(self, U: Floats, value: Floats, columns: Ints) -> Floats:
        """(k,) log density of the readings `value` (m,) at settings U (k, d), up to a constant."""
        sd = self._reading_sd(U)[:, columns]
        off = (value[columns] - self.model.mean(U)[:, columns]) / sd
        return np.asarray(-0.5 * (off**2).sum(axis=1) - np.log(sd).sum(axis=1), dtype=np.float64)

    def solutions(self, bands: Bands, region: Region, rng: np.random.Generator) -> tuple[Floats, Ints]:
        """Settings (k, d) that solve some sample path, and the number (k,) of that path."""
        paths = self.model.sample_paths(SAMPLES, rng)
        starts = region.sample(SAMPLES * STARTS, rng).reshape(SAMPLES, STARTS, -1)
        ended = search(paths, paths.jacobian, bands, starts, region)
        solved = ended.cost < SOLVED
        return ended.U[solved], np.nonzero(solved)[0]

    def modes(self, target: Targets, region: Region, rng: np.random.Generator) -> list[SolutionMode]:
        """All solutions of one goal inside a region, the most probable first."""
        bands = Bands.of(self.training, target)
        if not len(bands.columns):
            return []
        U, path = self.solutions(bands, region, rng)
        if len(U) < 2:
            return []
        labels = fcluster(linkage(U, "single", metric="chebyshev"), LINKED, "distance")
        modes = []
        for label in np.unique(labels):
            members = U[labels == label]
            probability = len(np.unique(path[labels == label])) / SAMPLES
            if probability < LIKELY:
                continue
            middle = members[int(np.abs(members - np.median(members, axis=0)).max(axis=1).argmin())]
            u = find_settings(self.model, bands, middle[None], region).U[0]
            if np.abs(members - u).max(axis=1).min() > LINKED:
                u = middle
            modes.append(SolutionMode(u, probability, members, bool(np.ptp(members, axis=0).max() > WIDE)))
        return sorted(modes, key=lambda mode: -mode.probability)

    def settings(self, target: Targets, region: Region, rng: np.random.Generator) -> Floats:
        """(d,) settings inside a region for one goal."""
        training, model = self.training, self.model
        bands = Bands.of(training, target)
        if not len(bands.columns):
            return training.nearest(target, region)
        starts = np.vstack([training.nearest(target, region), starting_points(training, bands, region, rng)])
        ended = find_settings(model, bands, starts, region)
        prediction = model.predict(ended.U)
        met = bands.are_met(prediction.mean) & (ended.cost <= ended.cost.min() + SOLVED)
        if met.any():
            variance = prediction.model_var + training.interaction_variance(ended.U)
            uncertainty = (variance[:, bands.columns] / bands.unit**2).sum(axis=1)
            u = np.asarray(ended.U[int(np.where(met, uncertainty, np.inf).argmin())], dtype=np.float64)
        else:
            new = in_unmeasured_blocks(training, ended, region)
            u = self._most_probable(bands, ended.U[new], region, rng)
        if training.prefer is None:
            return u
        return cheapest(model.mean, model.jacobian, bands, u, np.array(training.prefer), region)

    def _most_probable(self, bands: Bands, near: Floats, region: Region, rng: np.random.Generator) -> Floats:
        """(d,) those of the settings `near` (k, d) and of the solved paths where a reading most probably is inside."""
        paths = self.model.sample_paths(PATHS, rng)
        starts = near[rng.integers(len(near), size=PATHS)][:, None]
        ended = search(paths, paths.jacobian, bands, starts, region, STEPS).U
        elsewhere = search_paths(paths, PATHS, bands, region, rng)
        ends = np.concatenate([ended, elsewhere], axis=1)
        explores = bands.are_met(paths(ends)).any(axis=1).mean() >= UNREACHABLE_NEAR
        U = np.vstack([near, (ends if explores else ended).reshape(-1, near.shape[1])])
        prediction = self.model.predict(U)
        # Beside a row another reading could only be inside by chance; the goal may be reached elsewhere.
        known = explores & self.training.has_row_near(U)[:, None]
        noise = np.where(known, 0.0, prediction.noise_var)
        variance = prediction.model_var + noise + self.training.interaction_variance(U)
        return np.asarray(U[int(bands.log_probability(prediction.mean, variance).argmax())], dtype=np.float64)

    def std_errors(self, target: Targets, u: Floats) -> tuple[Floats, Floats]:
        """Spread and uncertainty (d,) of the settings u (d,), by the delta method; NaN without a target."""
        columns = self.training.target_columns(self.training.activate_limits(target, self._region).value)
        if not len(columns):
            return np.full(len(u), np.nan), np.full(len(u), np.nan)
        prediction = self.model.predict(u[None])
        model, noise = prediction.model_var[0, columns], prediction.noise_var[0, columns]
        scale = np.sqrt(
            np.where(np.isfinite(noise) & (noise > 0), noise, self.training.tolerance_scale(target)[columns] ** 2)
        )
        slope = np.where(self._region.categorical, 0.0, self.model.jacobian(u[None])[0, columns])
        inverse = (np.linalg.pinv(slope / scale[:, None], rcond=FREE) / scale) ** 2
        return np.sqrt(inverse @ (model + noise)), np.sqrt(inverse @ model)

    @property
    def _region(self) -> Region:
        """The settings that the rows belong to."""
        return self.training.own_region
