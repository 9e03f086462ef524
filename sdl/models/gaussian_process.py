"""A forward model for instruments that turn back, such as y = x²: a plain Gaussian process on the readings.

    y_c = process(u) + noise,    covariance A² exp(-sum_j (u_j - u'_j)² / 2 l_j²),    the noise alike everywhere

for each channel by itself; A, the lengths l and the noise are the most probable given the rows (scikit-learn). Unlike
the process of the solver `gp` it expects no line, so it needs more rows: some ten for one input, some fifty for three.
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapters 2 and 5. It answers no goals by itself:
`bsi` and `path` invert it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from sdl.arrays import Floats
from sdl.models.data import Data
from sdl.models.training_set import TrainingSet

ROWS = 200
"""Rows to learn from at most, the newest; the cost grows as their cube."""


@dataclass(frozen=True)
class FittedGaussianProcess:
    """A process for each channel of the goal, of readings less `centre` in units of `size` (g,)."""

    training: TrainingSet
    models: tuple[Any, ...]
    centre: Floats
    size: Floats

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d); NaN for channels not of the goal."""
        mean, std = (np.full((len(X), len(self.training.channels)), np.nan) for _ in range(2))
        for c, model in zip(self.training.goal, self.models, strict=True):
            mean[:, c], std[:, c] = model.predict(self.training.units(X), return_std=True)
        mean[:, self.training.goal] = self.centre + self.size * mean[:, self.training.goal]
        std[:, self.training.goal] *= self.size
        return mean, std

    def std_error(self, X: Floats) -> Floats:
        """(n, m) standard deviation of the noise-free reading alone."""
        std = self.predict(X)[1]
        noise = np.array([np.sqrt(model.kernel_.k2.noise_level) for model in self.models])
        std[:, self.training.goal] = np.sqrt(
            np.maximum(std[:, self.training.goal] ** 2 - (self.size * noise) ** 2, 0.0)
        )
        return std


def fit_gaussian_process(data: Data) -> FittedGaussianProcess:
    """Fits a process to each channel of the goal.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    training = TrainingSet.from_data(data)
    U, Y = training.U[-ROWS:], training.Y[-ROWS:][:, training.goal]
    centre, size = Y.mean(axis=0), np.maximum(Y.std(axis=0), 1e-300)
    models = []
    for z in ((Y - centre) / size).T:
        lengths = RBF(np.ones(U.shape[1]), (0.05, 20.0))
        kernel = ConstantKernel(4.0, (0.01, 1e4)) * lengths + WhiteKernel(1e-4, (1e-8, 1.0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its limit: the input hardly matters
            models.append(GaussianProcessRegressor(kernel, random_state=0).fit(U, z))
    return FittedGaussianProcess(training, tuple(models), centre, size)
