"""The forward models that `bsi` and `path` invert: readings from settings, with what they do not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from sdl.models.gaussian_process import FittedGaussianProcess, fit_gaussian_process
from sdl.models.linear_model import t_factor
from sdl.models.training_set import TrainingSet
from sdl.solvers.base import Data
from sdl.solvers.bayes import Bayes
from sdl.solvers.gp import FittedGp, Gp
from sdl.solvers.linear import Linear

if TYPE_CHECKING:
    from sdl.arrays import Floats


Model = Literal["gp", "bayes", "linear", "smooth"]


class Forward(Protocol):
    """What is asked of a fitted model."""

    @property
    def footing(self) -> TrainingSet: ...
    def predict(self, X: Floats) -> tuple[Floats, Floats]: ...


def forward(kind: Model, data: Data) -> Forward:
    """The model `kind`, fitted with its default options.

    Raises:
        NotEnoughData, Degenerate: as the model does.
    """
    if kind == "smooth":
        return fit_gaussian_process(data)
    if kind == "gp":
        return Gp().fit(data)
    return Bayes().fit(data) if kind == "bayes" else Linear().fit(data)


def doubt(model: Forward, X: Floats) -> Floats:
    """(n, m) standard deviation of the noise-free reading at settings (n, d): the model's own doubt; NaN = unknown."""
    import numpy as np

    footing, U = model.footing, model.footing.units(X)
    if isinstance(model, FittedGaussianProcess):
        return model.doubt(X)
    if isinstance(model, FittedGp):
        std = np.full((len(X), len(footing.channels)), np.nan)
        for c, one, size in zip(footing.goal, model.models, model.response, strict=True):
            std[:, c] = size * one.predict(U, return_std=True)[1]
        return std
    variance = [np.diag(footing.affine.covariance(u)[1]) for u in U]
    return np.asarray(np.sqrt(np.reshape(variance, (len(U), -1))) * t_factor(footing.affine.dof), dtype=np.float64)
