"""Partial least squares from readings to settings: a backward model, without a search (paper, section 3.3)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.exceptions import ConvergenceWarning

from sdl.arrays import Floats
from sdl.errors import Degenerate
from sdl.models.data import Data, Proposals, Targets
from sdl.models.forward.linear_model import t_factor
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space


def fit_partial_least_squares(
    data: Data, *, components: int | None = None, level: bool = True, weighted: bool = True
) -> FittedPartialLeastSquares:
    """Fit the regressions; the options are those of the solver `pls`.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    training = TrainingSet.from_data(data, level=level)
    Y, U = training.Y[:, training.goal], training.U
    varied = np.ptp(Y, axis=0) > 0
    if not varied.any():
        raise Degenerate("no channel of the goal changed with the settings: there is nothing to regress on")
    rank = int(np.linalg.matrix_rank((Y - Y.mean(axis=0))[:, varied] / np.ptp(Y[:, varied], axis=0)))
    limit = max(1, min(U.shape[1], rank, len(U) - 1))
    components = min(components or limit, limit)
    if weighted:
        weight = _weight(training)
        maps = tuple(_fit(Y, U[:, [j]], weight[:, j], components) for j in range(U.shape[1]))
    else:
        maps = (_fit(Y, U, np.ones(len(U)), components),)
    return FittedPartialLeastSquares(training, maps, components)


def _weight(training: TrainingSet) -> Floats:
    """(n, d) weight of each row for each input, with mean 1: the inverse variance of the setting from its readings."""
    inverse = training.linear.inverse(training.goal, training.linear.middle)  # (d, g)
    variance = (training.linear.variance(training.U) * np.diag(training.linear.noise))[:, training.goal] @ inverse.T**2
    if not np.isfinite(variance).all() or not (variance.max(axis=0) > 0).all():
        return np.ones_like(training.U)  # too few rows to estimate the noise
    weight = 1 / np.maximum(variance, 1e-6 * variance.max(axis=0))
    scaled: Floats = weight / weight.mean(axis=0)
    return scaled


def _fit(Y: Floats, U: Floats, weight: Floats, components: int) -> RegressionMap:
    """Weighted partial least squares of settings U (n, e) on readings Y (n, g)."""
    middle = weight @ Y / weight.sum(), weight @ U / weight.sum()
    root = np.sqrt(weight)[:, None]
    V, W = root * (Y - middle[0]), root * (U - middle[1])
    with warnings.catch_warnings():
        # A last direction that is only noise does not converge to ten digits, which does not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # The library subtracts the unweighted mean again; with the mirrored rows added, that mean is 0.
        model = PLSRegression(n_components=components, scale=True).fit(np.vstack([V, -V]), np.vstack([W, -W]))
    dof = len(U) - 1 - components
    sigma = np.full(U.shape[1], np.nan)
    if dof > 0:
        sigma = np.sqrt(((W - model.predict(V)) ** 2).sum(axis=0) / dof) * t_factor(np.array(dof))
    seen = model.transform(V)
    return RegressionMap(model, middle, sigma, np.linalg.pinv(seen.T @ seen), 1 / len(U))


@dataclass(frozen=True)
class RegressionMap:
    """A regression of e inputs on the g channels of the goal.

    Attributes:
        model: partial least squares of the centred readings and settings.
        middle: weighted means of the readings (g,) and of the settings (e,).
        sigma: (e,) standard deviation of the residuals, in units of the bounds.
        inverse: inverse of the normal matrix of the scores.
        least: 1 / n, the leverage at the mean.
    """

    model: Any
    middle: tuple[Floats, Floats]
    sigma: Floats
    inverse: Floats
    least: float

    def answer(self, value: Floats) -> tuple[Floats, Floats, Floats]:
        """Settings for readings (k, g), their spread and their uncertainty, (k, e) each, in units of the bounds."""
        centred = value - self.middle[0]
        latent = self.model.transform(centred)
        U = self.middle[1] + np.asarray(self.model.predict(centred), dtype=np.float64).reshape(len(value), -1)
        # Leverage of the goal, as in any regression: 1/n + t' (T'T)^-1 t.
        far = self.least + np.einsum("ij,jk,ik->i", latent, self.inverse, latent)[:, None]
        return U, np.sqrt(1 + far) * self.sigma, np.sqrt(far) * self.sigma


@dataclass(frozen=True)
class FittedPartialLeastSquares:
    """A fitted backward model: one regression for each input, or one for all."""

    training: TrainingSet
    maps: tuple[RegressionMap, ...]
    components: int

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        value = self.training.fill_free_targets(targets, space)
        U, spread, uncertainty = (np.hstack(part) for part in zip(*(m.answer(value) for m in self.maps), strict=True))
        std_errors = self.training.add_session_variance(spread, uncertainty, U)
        name = f"partial least squares with {self.components} component{'s' if self.components > 1 else ''}"
        return to_proposals(self.training, name, U, std_errors, targets, space)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d), by the training set's linear model."""
        return self.training.predict(X)
