"""Partial least squares from readings to settings: a backward model, no search (paper, section 3.3)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sdl.errors import Degenerate
from sdl.models.linear_model import t_factor
from sdl.models.training_set import TrainingSet, stand_on
from sdl.solvers.base import Data, Proposals, Targets
from sdl.types import Frozen

if TYPE_CHECKING:
    import numpy as np

    from sdl.arrays import Floats


class Pls(Frozen):
    """A linear map from the goal's channels straight to the settings, safe with channels that say the same."""

    kind: Literal["pls"] = "pls"
    components: int | None = Field(
        default=None,
        ge=1,
        description="Latent directions; at most min(inputs, channels of the goal, rows - 1), "
        "which is also what is used where none is given.",
    )
    level: bool = Field(
        default=True,
        description="Move the readings of earlier sittings to the level of the present one. "
        "false: all rows as they are, as in the paper.",
    )
    weighted: bool = Field(
        default=True,
        description="Rows that tell an input badly count less for it. "
        "false: one regression for all inputs in which all rows count the same, as in the paper.",
    )

    def fit(self, data: Data) -> FittedPls:
        import numpy as np

        footing = stand_on(data, level=self.level)
        Y, U = footing.Y[:, footing.goal], footing.U
        varied = np.ptp(Y, axis=0) > 0
        if not varied.any():
            raise Degenerate("no channel of the goal changed with the settings: there is nothing to regress on")
        rank = int(np.linalg.matrix_rank((Y - Y.mean(axis=0))[:, varied] / np.ptp(Y[:, varied], axis=0)))
        most = max(1, min(U.shape[1], rank, len(U) - 1))
        components = min(self.components or most, most)
        if self.weighted:
            weight = _weight(footing)
            maps = tuple(_fit(Y, U[:, [j]], weight[:, j], components) for j in range(U.shape[1]))
        else:
            maps = (_fit(Y, U, np.ones(len(U)), components),)
        return FittedPls(footing, maps, components)


def _weight(footing: TrainingSet) -> Floats:
    """(n, d) what a row counts for each input, of mean 1: 1 over the variance of the setting that its readings give."""
    import numpy as np

    inverse = footing.affine.inverse(footing.goal, footing.affine.middle)  # (d, g)
    variance = (footing.affine.variance(footing.U) * np.diag(footing.affine.noise))[:, footing.goal] @ inverse.T**2
    if not np.isfinite(variance).all() or not (variance.max(axis=0) > 0).all():
        return np.ones_like(footing.U)  # too few rows to tell their noise
    weight = 1 / np.maximum(variance, 1e-6 * variance.max(axis=0))
    scaled: Floats = weight / weight.mean(axis=0)
    return scaled


def _fit(Y: Floats, U: Floats, weight: Floats, components: int) -> Map:
    """Partial least squares of U (n, e) on Y (n, g), rows weighted."""
    import numpy as np
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.exceptions import ConvergenceWarning

    middle = weight @ Y / weight.sum(), weight @ U / weight.sum()
    root = np.sqrt(weight)[:, None]
    V, W = root * (Y - middle[0]), root * (U - middle[1])
    with warnings.catch_warnings():
        # A last direction that is noise alone is not found to ten digits, nor need it be.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # It takes the plain mean off once more, which of these rows and their mirror images is 0.
        model = PLSRegression(n_components=components, scale=True).fit(np.vstack([V, -V]), np.vstack([W, -W]))
    dof = len(U) - 1 - components
    sigma = np.full(U.shape[1], np.nan)
    if dof > 0:
        sigma = np.sqrt(((W - model.predict(V)) ** 2).sum(axis=0) / dof) * t_factor(np.array(dof))
    seen = model.transform(V)
    return Map(model, middle, sigma, np.linalg.pinv(seen.T @ seen), 1 / len(U))


@dataclass(frozen=True)
class Map:
    """From readings to some of the inputs.

    Attributes:
        model: of what is left of readings and settings without their means.
        middle: (g,) and (e,), the means.
        sigma: (e,) the residual's standard deviation, in units of the bounds.
        inverse: of the scores' normal matrix.
        least: 1 / n.
    """

    model: Any
    middle: tuple[Floats, Floats]
    sigma: Floats
    inverse: Floats
    least: float

    def answer(self, value: Floats) -> tuple[Floats, Floats, Floats]:
        """For readings (k, g) the settings, their spread and their uncertainty, (k, e) each, in units of the bounds."""
        import numpy as np

        left = value - self.middle[0]
        latent = self.model.transform(left)
        U = self.middle[1] + np.asarray(self.model.predict(left), dtype=np.float64).reshape(len(value), -1)
        # How far a goal lies from the rows, as in any regression: 1/n + t' (T'T)^-1 t.
        far = self.least + np.einsum("ij,jk,ik->i", latent, self.inverse, latent)[:, None]
        return U, np.sqrt(1 + far) * self.sigma, np.sqrt(far) * self.sigma


@dataclass(frozen=True)
class FittedPls:
    """A fitted backward model: a map for each input, or one for all."""

    footing: TrainingSet
    maps: tuple[Map, ...]
    components: int

    def propose(self, targets: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Proposals:
        import numpy as np

        value = self.footing.filled(targets, low, high)
        U, spread, uncertainty = (np.hstack(part) for part in zip(*(m.answer(value) for m in self.maps), strict=True))
        doubt = self.footing.doubted(spread, uncertainty, U)
        name = f"partial least squares with {self.components} component{'s' if self.components > 1 else ''}"
        return self.footing.answer(name, U, doubt, targets, (low, high))

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d), by the lines that all solvers share."""
        return self.footing.predict(X)
