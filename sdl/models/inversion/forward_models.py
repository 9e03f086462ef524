"""The forward models that the solvers `mcmc` and `continuation` invert."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from sdl.arrays import Floats
from sdl.models.backward.least_squares import fit_least_squares
from sdl.models.data import Data
from sdl.models.forward.bayesian_line import fit_bayesian_line
from sdl.models.forward.gaussian_process import fit_gaussian_process
from sdl.models.forward.linear_model import t_factor
from sdl.models.inversion.forward import FittedForward
from sdl.models.training_set import TrainingSet

ForwardKind = Literal["gp", "bayes", "linear", "smooth"]


class FittedModel(Protocol):
    """The interface of a fitted model that is inverted."""

    @property
    def training(self) -> TrainingSet: ...
    def predict(self, X: Floats) -> tuple[Floats, Floats]: ...


def fit_forward(kind: ForwardKind, data: Data) -> FittedModel:
    """Fit the model `kind` with its default options.

    Raises:
        NotEnoughData, Degenerate: the rows do not suffice for the model.
    """
    if kind in ("gp", "smooth"):
        return FittedForward(fit_gaussian_process(data))
    return fit_bayesian_line(data) if kind == "bayes" else fit_least_squares(data)


def std_error(model: FittedModel, X: Floats) -> Floats:
    """(n, m) standard error of the noise-free reading at settings (n, d); NaN = unknown."""
    if isinstance(model, FittedForward):
        return model.std_error(X)
    training, U = model.training, model.training.units(X)
    variance = [np.diag(training.linear.covariance(u)[1]) for u in U]
    return np.asarray(np.sqrt(np.reshape(variance, (len(U), -1))) * t_factor(training.linear.dof), dtype=np.float64)
