"""A joint Gaussian mixture over settings and readings, conditioned on the goal (paper, section 3.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gmr import GMM
from scipy.special import logsumexp

from sdl.arrays import Floats, Ints
from sdl.errors import ConfigError
from sdl.models.backward.local_regression import InverseRegression, fit_inverse_regression
from sdl.models.data import Data, Proposals, Targets
from sdl.models.forward.linear_model import t_factor
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space

MOST = 6
"""Largest number of components that `bic` tries."""
LOST = 3.0
"""The trend is not used if its spread exceeds that of the joint Gaussian by this factor: its slopes are then too close
to singular."""
TRIES = 5
"""Number of starting points of a fit with several components; the most likely fit is kept."""


def fit_gaussian_mixture(
    data: Data,
    *,
    components: int | Literal["bic"] = 1,
    channels: tuple[str, ...] = (),
    trend: Literal["affine", "none"] | None = None,
) -> FittedMixture:
    """Fit the mixture to standardised columns; the options are those of the solver `gmm`.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
        ConfigError: `channels` names a channel that the instrument does not have.
    """
    names = [channel.name for channel in data.channels]
    if unknown := [name for name in channels if name not in names]:
        raise ConfigError(f"solver.channels: unknown channel {unknown[0]!r}; allowed: {', '.join(names)}")
    also = [names.index(name) for name in channels]
    beside = components == 1 and trend != "none"
    training = TrainingSet.from_data(data, also, level=trend != "none")
    columns = np.union1d(training.goal, np.array(also, dtype=np.intp)).astype(np.intp)
    D = np.column_stack([training.U, training.Y[:, columns]])
    mean, scale = D.mean(axis=0), D.std(axis=0)
    scale = np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)
    mixture = _mixture((D - mean) / scale, components)
    return FittedMixture(training, mixture, columns, mean, scale, fit_inverse_regression(training) if beside else None)


def _mixture(D: Floats, components: int | Literal["bic"]) -> Any:
    limit = max(1, len(D) // (D.shape[1] + 2))  # with fewer rows for each Gaussian, some would be degenerate
    if components != "bic":
        return _fitted(D, min(components, limit))
    candidates = [_fitted(D, k) for k in range(1, min(MOST, limit) + 1)]
    return min(candidates, key=lambda mixture: _bic(mixture, D))


@dataclass(frozen=True)
class FittedMixture:
    """A mixture over the inputs, followed by `columns` of the readings; all standardised by `mean` and `scale`."""

    training: TrainingSet
    mixture: Any
    columns: Ints
    mean: Floats
    scale: Floats
    trend: InverseRegression | None = None

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        """Propose the mean of the most probable Gaussian, given the goal.

        The mean of the whole mixture would be wrong where two different settings give the same readings: it lies
        between them.
        """
        d = self.training.U.shape[1]
        aims = self.training.active_targets(targets, space)
        parts = [self._given(*self._fixed(value)) for value in aims]
        U = np.array([mean[:d] for mean, _, _ in parts])
        spread, uncertainty = (np.array([pair[i][:d] for *_, pair in parts]) for i in (0, 1))
        std_errors = self.training.add_session_variance(spread, uncertainty, U)
        if self.trend is not None:
            goal = aims[:, self.training.goal]
            V = self.trend.linear_settings(np.where(np.isfinite(goal), goal, 0.0))
            better = self.trend.at(V)
            surer = self.trend.std_errors(better, V)
            # The joint Gaussian answers goals that leave a choice, and goals where the trend is nearly singular.
            sure = np.array([not self.training.is_underdetermined(targets._replace(value=value)) for value in aims])
            use = sure & np.isfinite(goal).all(axis=1) & ~(surer[0] > LOST * std_errors[0]).any(axis=1)
            U[use] = better[use]
            for part, other in zip(std_errors, surer, strict=True):
                part[use] = other[use]
        expected = self.predict(self.training.settings(U))[0]
        count = self.mixture.n_components
        name = "joint Gaussian" if count == 1 else f"likeliest of {count} Gaussians"
        return to_proposals(self.training, name, U, std_errors, targets, space, expected)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d); NaN for channels not modelled."""
        if self.trend is not None:
            return self.trend.predict(X)
        d = X.shape[1]
        mean, std = (np.full((len(X), len(self.training.channels)), np.nan) for _ in range(2))
        for i, u in enumerate(self.training.units(X)):
            given, _, (spread, _) = self._given(np.arange(d), u)
            mean[i, self.columns], std[i, self.columns] = given, spread
        return mean, std

    def sample(self, target: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Draw n settings (n, d) from the whole mixture, given the readings `target` (m,); NaN = free."""
        return self.training.settings(self._draw(*self._fixed(target), n, rng)[:, : self.training.U.shape[1]])

    def pairs(self, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw n settings (n, d) and their readings (n, m) from the whole mixture; NaN for channels not modelled."""
        drawn, d = self._draw(np.array([], dtype=np.intp), np.array([]), n, rng), self.training.U.shape[1]
        readings = np.full((n, len(self.training.channels)), np.nan)
        readings[:, self.columns] = drawn[:, d:]
        return self.training.settings(drawn[:, :d]), readings

    def _draw(self, index: Ints, value: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Draw n values of the other columns of the mixture, with the columns `index` fixed at `value`."""
        given = self._condition(index, value)
        which = rng.choice(len(given.priors), size=n, p=given.priors / given.priors.sum())
        rest = np.setdiff1d(np.arange(len(self.mean)), index)
        drawn = np.empty((n, len(rest)))
        for k in np.unique(which):
            values, vectors = np.linalg.eigh(given.covariances[k])  # rounding may leave a variance just below zero
            root = vectors * np.sqrt(np.maximum(values, 0.0))
            z = rng.standard_normal((int((which == k).sum()), len(rest)))
            drawn[which == k] = (given.means[k] + z @ root.T) * self.scale[rest] + self.mean[rest]
        return drawn

    def _fixed(self, target: Floats) -> tuple[Ints, Floats]:
        """The columns of the mixture that a target (m,) fixes, and their values."""
        value = target[self.columns]
        fixed = np.flatnonzero(np.isfinite(value) & np.isin(self.columns, self.training.goal))
        return fixed + self.training.U.shape[1], value[fixed]

    def _condition(self, index: Ints, value: Floats) -> Any:
        if not len(index):
            return self.mixture
        return self.mixture.condition(index, (value - self.mean[index]) / self.scale[index])

    def _given(self, index: Ints, value: Floats) -> tuple[Floats, float, tuple[Floats, Floats]]:
        """The most probable Gaussian of the other columns: its mean, probability, spread and uncertainty.

        gmr divides by the number of rows; this is corrected to the degrees of freedom left after fixing `index`. The
        uncertainty of the regression is added: the variance of one reading is sigma² (1 + 1/n + D²/n), with D the
        distance of the goal from the mean of the rows in standard deviations. Without degrees of freedom both are NaN.
        """
        given = self._condition(index, value)
        k = int(np.argmax(given.priors))
        rest = np.setdiff1d(np.arange(len(self.mean)), index)
        n = float(self.mixture.priors[k]) * len(self.training.U)
        dof = np.floor(n + 1e-6) - 1 - len(index)
        away = (value - self.mean[index]) / self.scale[index] - self.mixture.means[k][index]
        far = away @ np.linalg.pinv(self.mixture.covariances[k][np.ix_(index, index)], hermitian=True) @ away
        variance = np.maximum(np.diag(given.covariances[k]), 0.0) * n / max(dof, 1.0)
        sigma = np.sqrt(variance) * self.scale[rest] * t_factor(np.array(dof))
        lever = (1 + far) / n
        mean = given.means[k] * self.scale[rest] + self.mean[rest]
        return mean, float(given.priors[k]), (sigma * np.sqrt(1 + lever), sigma * np.sqrt(lever))


def _fitted(D: Floats, components: int) -> Any:
    """The most likely of TRIES fits, always from the same starting points."""

    def fit(seed: int) -> Any:
        mixture = GMM(n_components=components, random_state=np.random.RandomState(seed))
        return mixture.from_samples(D, init_params="kmeans++" if components > 1 else "random")

    if components == 1:
        return fit(0)
    # A Gaussian that has collapsed onto a few rows has an unbounded likelihood and is useless.
    sound = [m for m in map(fit, range(TRIES)) if (m.priors * len(D)).min() >= D.shape[1] + 1]
    return max(sound, key=lambda m: _log_likelihood(m, D)) if sound else _fitted(D, components - 1)


def _log_likelihood(mixture: Any, D: Floats) -> float:
    n, p = D.shape
    terms = np.empty((n, mixture.n_components))
    for k in range(mixture.n_components):
        values, vectors = np.linalg.eigh(mixture.covariances[k])
        values = np.maximum(values, 1e-12)  # far below any noise, because columns are standardised
        z = (D - mixture.means[k]) @ vectors / np.sqrt(values)
        terms[:, k] = np.log(mixture.priors[k]) - 0.5 * ((z**2).sum(axis=1) + np.log(values).sum())
    return float(logsumexp(terms, axis=1).sum() - 0.5 * n * p * np.log(2 * np.pi))


def _bic(mixture: Any, D: Floats) -> float:
    """Bayesian information criterion; lower is better."""
    n, p = D.shape
    parameters = mixture.n_components * (1 + p + p * (p + 1) / 2) - 1
    return float(parameters * math.log(n) - 2.0 * _log_likelihood(mixture, D))
