"""Partial least squares from readings to settings: a backward model, no search (paper, section 3.3)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sdl.solvers.affine import widen
from sdl.solvers.base import Data, Proposals, Targets
from sdl.solvers.footing import Footing, stand_on
from sdl.types import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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

    def fit(self, data: Data) -> FittedPls:
        import numpy as np
        from sklearn.cross_decomposition import PLSRegression
        from sklearn.exceptions import ConvergenceWarning

        footing = stand_on(data, level=self.level)
        Y, U = footing.Y[:, footing.goal], footing.U
        varied = np.ptp(Y, axis=0) > 0
        rank = int(np.linalg.matrix_rank((Y - Y.mean(axis=0))[:, varied] / np.ptp(Y[:, varied], axis=0)))
        most = max(1, min(U.shape[1], rank, len(U) - 1))
        components = min(self.components or most, most)
        with warnings.catch_warnings():
            # A last direction that is noise alone is not found to ten digits, nor need it be.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = PLSRegression(n_components=components, scale=True).fit(Y, U)
        dof = len(U) - 1 - components
        sigma = np.full(U.shape[1], np.nan)
        if dof > 0:
            sigma = np.sqrt(((U - model.predict(Y)) ** 2).sum(axis=0) / dof) * widen(np.array(dof))
        return FittedPls(footing, model, components, sigma)


@dataclass(frozen=True)
class FittedPls:
    """A fitted backward model; `sigma` (d,) is the residual's standard deviation, in units of the bounds."""

    footing: Footing
    model: Any
    components: int
    sigma: Floats

    def propose(self, targets: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Proposals:
        import numpy as np

        value = self.footing.filled(targets, low, high)
        U = np.asarray(self.model.predict(value), dtype=np.float64).reshape(len(value), -1)
        latent, seen = self.model.transform(value), self.model.x_scores_
        # How far a goal lies from the rows, as in any regression: 1/n + t' (T'T)^-1 t.
        far = 1 / len(seen) + np.einsum("ij,jk,ik->i", latent, np.linalg.pinv(seen.T @ seen), latent)
        doubt = self.footing.doubted(np.sqrt(1 + far)[:, None] * self.sigma, np.sqrt(far)[:, None] * self.sigma, U)
        name = f"partial least squares with {self.components} component{'s' if self.components > 1 else ''}"
        return self.footing.answer(name, U, doubt, targets, (low, high))

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d), by the lines that all solvers share."""
        return self.footing.predict(X)
