"""The forward models that `bsi` and `path` invert: readings from settings, with what they do not know."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from sdl.arrays import Floats
from sdl.models.additive_gp import FittedAdditiveGp, fit_additive_gp
from sdl.models.backward.least_squares import fit_least_squares
from sdl.models.bayesian_line import fit_bayesian_line
from sdl.models.data import Data
from sdl.models.gaussian_process import FittedGaussianProcess, fit_gaussian_process
from sdl.models.linear_model import t_factor
from sdl.models.training_set import TrainingSet

ForwardKind = Literal["gp", "bayes", "linear", "smooth"]


class FittedForward(Protocol):
    """What is asked of a fitted model."""

    @property
    def training(self) -> TrainingSet: ...
    def predict(self, X: Floats) -> tuple[Floats, Floats]: ...


def fit_forward(kind: ForwardKind, data: Data) -> FittedForward:
    """The model `kind`, fitted with its default options.

    Raises:
        NotEnoughData, Degenerate: as the model does.
    """
    if kind == "smooth":
        return fit_gaussian_process(data)
    if kind == "gp":
        return fit_additive_gp(data)
    return fit_bayesian_line(data) if kind == "bayes" else fit_least_squares(data)


def std_error(model: FittedForward, X: Floats) -> Floats:
    """(n, m) standard error of the noise-free reading at settings (n, d); NaN = unknown."""
    training, U = model.training, model.training.units(X)
    if isinstance(model, FittedGaussianProcess):
        return model.std_error(X)
    if isinstance(model, FittedAdditiveGp):
        std = np.full((len(X), len(training.channels)), np.nan)
        for c, one, size in zip(training.goal, model.models, model.response, strict=True):
            std[:, c] = size * one.predict(U, return_std=True)[1]
        return std
    variance = [np.diag(training.linear.covariance(u)[1]) for u in U]
    return np.asarray(np.sqrt(np.reshape(variance, (len(U), -1))) * t_factor(training.linear.dof), dtype=np.float64)
