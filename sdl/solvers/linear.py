"""Least squares from settings to readings, inverted by a nonlinear program (paper, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.affine import Affine, fit_affine
from sdl.solvers.base import Data, Proposals, Targets
from sdl.solvers.footing import Footing, stand_on
from sdl.types import Frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Linear(Frozen):
    """A forward model, affine in the settings, and an optimizer that finds the settings nearest to the goal."""

    kind: Literal["linear"] = "linear"
    intercept: bool = Field(
        default=True,
        description="Fit the readings at zero too, weighting rows by the noise expected of them. "
        "false: a plane through the origin, unweighted, as in the paper.",
    )
    bounded: bool = Field(default=True, description="Search inside the bounds only. false: anywhere, as in the paper.")
    starts: int = Field(
        default=4, ge=1, le=1000, description="Starting points: the middle of the data, then random ones."
    )

    def fit(self, data: Data) -> FittedLinear:
        footing = stand_on(data)
        if self.intercept:
            return FittedLinear(self, footing, footing.affine)
        origin = footing.low / footing.range  # settings of zero, not the lower bounds, give no reading
        return FittedLinear(self, footing, fit_affine(footing.U, footing.Y, footing.usable, origin=origin))


@dataclass(frozen=True)
class FittedLinear:
    """A fitted forward model."""

    solver: Linear
    footing: Footing
    model: Affine

    def propose(self, targets: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Proposals:
        import numpy as np

        ends = self.footing.units(low), self.footing.units(high)
        settings, doubts = [], []
        for value, *band in zip(*targets, strict=True):
            target = Targets(value, *band)
            u = self._search(target, *ends, rng)
            settings.append(u)
            columns = self.footing.wanted(value)
            doubts.append(self.model.doubt(columns, u) if len(columns) else np.full((2, len(u)), np.nan))
        U = np.array(settings)
        spread, uncertainty = np.swapaxes(np.array(doubts), 0, 1)
        name = "least squares" if self.solver.intercept else "least squares through the origin"
        expected = self.model.mean(U)
        return self.footing.answer(name, U, (spread, uncertainty), targets, (low, high), expected)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        return self.model.predict(self.footing.units(X))

    def _search(self, target: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
        """(d,) settings in units. The misses are taken in tolerances: in counts the search ends in lost precision."""
        import numpy as np
        from scipy.optimize import minimize

        columns = self.footing.wanted(target.value)
        middle = np.clip(self.model.middle, low, high)
        starts = [middle, *rng.uniform(low, high, (self.solver.starts - 1, len(low)))]
        if not len(columns):
            return middle
        room = self.footing.room(target)[columns]
        slope = self.model.slope[columns] / room[:, None]
        gap = (target.value[columns] - self.model.mean(np.zeros((1, len(low))))[0, columns]) / room
        steep = (slope**2).sum() or 1.0

        def objective(u: Floats) -> tuple[float, Floats]:
            miss = slope @ u - gap
            return float(miss @ miss) / steep, 2.0 * (miss @ slope) / steep

        bounds = list(zip(low, high, strict=True)) if self.solver.bounded else None
        best, least = middle, np.inf
        for start in starts:
            # Started at the middle, the steps keep to the directions that the goal depends on; a later start must
            # be truly better to replace it, so that a goal that leaves a choice gets the answer nearest to the data.
            found = minimize(
                objective,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 500},
            )
            if found.fun < least * (1 - 1e-6) - 1e-15:
                best, least = found.x, found.fun
        return np.asarray(best, dtype=np.float64)
