"""Least squares from settings to readings, inverted by a nonlinear program (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from sdl.models.linear_model import LinearModel, fit_linear
from sdl.models.training_set import TrainingSet, stand_on
from sdl.solvers.base import Data, Proposals, Targets
from sdl.types import Frozen

if TYPE_CHECKING:
    import numpy as np

    from sdl.arrays import Floats


ROUNDS, CLOSE = 8, 1e-5
"""How often a neighbourhood is fitted anew at most, and by how little the answer moves when it is enough."""
NEAR = 1.5
"""Rows for each coefficient that a neighbourhood, or a memory, must be worth; it is widened until it is."""


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
    local: float | None = Field(
        default=None,
        gt=0,
        description="Width, as a part of the range, of the neighbourhood that the fit is made in: rows count by their "
        "distance from the answer, which is fitted anew a few times. Not given: all rows count alike.",
    )
    memory: float | None = Field(
        default=None,
        gt=0,
        description="Readings after which a row counts only 1/e of a new one. Not given: they never fade.",
    )

    @model_validator(mode="after")
    def _weighted(self) -> Linear:
        if not self.intercept and (self.local or self.memory):
            raise ValueError("local and memory need the intercept: without one all rows count alike, as in the paper")
        return self

    def fit(self, data: Data) -> FittedLinear:
        import numpy as np

        footing = stand_on(data, level=self.intercept)
        if self.intercept:
            if self.memory is None:
                return FittedLinear(self, footing, footing.affine, np.ones(len(footing.U)))
            fading = wide_enough(lambda memory: np.exp(-np.asarray(footing.age) / memory), self.memory, footing)
            return FittedLinear(self, footing, weighted(footing, fading), fading)
        origin = footing.low / footing.range  # settings of zero, not the lower bounds, give no reading
        return FittedLinear(self, footing, fit_linear(footing.U, footing.Y, footing.usable, origin=origin))


def wide_enough(counts: Callable[[float], Floats], width: float, footing: TrainingSet) -> Floats:
    """(n,) how much rows count with this width, or with the next wider one that is worth enough rows."""
    n, p = len(footing.U), footing.U.shape[1] + 1
    for _ in range(40):
        found = counts(width)
        if found.sum() ** 2 >= min(NEAR * p, n - 1.0) * (found**2).sum():
            break
        width *= 1.5
    return found


def weighted(footing: TrainingSet, counts: Floats) -> LinearModel:
    """The lines of all rows, each counting as much as `counts` (n,) says."""
    fit = fit_linear(footing.U, footing.Y, footing.usable, counts=counts)
    if footing.apart is None or fit.extra is None:
        return fit
    return replace(fit, extra=fit.extra + footing.apart)


@dataclass(frozen=True)
class FittedLinear:
    """A fitted forward model."""

    solver: Linear
    footing: TrainingSet
    model: LinearModel
    fading: Floats | None = None

    def propose(self, targets: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Proposals:
        import numpy as np

        ends = self.footing.units(low), self.footing.units(high)
        settings, doubts, expected = [], [], []
        for value, *band in zip(*targets, strict=True):
            target = self.footing.aimed(Targets(value, *band), *ends)
            u, model = self._search(self.model, target, *ends, rng), self.model
            for _ in range(ROUNDS if self.solver.local else 0):
                before, model = u, self.about(u)
                u = self._search(model, target, *ends, rng)
                if np.abs(u - before).max() < CLOSE:
                    break
            settings.append(u)
            columns = self.footing.wanted(value)
            doubts.append(model.doubt(columns, u) if len(columns) else np.full((2, len(u)), np.nan))
            expected.append(model.mean(u[None])[0])
        U = np.array(settings)
        spread, uncertainty = np.swapaxes(np.array(doubts), 0, 1)
        name = "least squares" if self.solver.intercept else "least squares through the origin"
        return self.footing.answer(name, U, (spread, uncertainty), targets, (low, high), np.array(expected))

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d)."""
        import numpy as np

        U = self.footing.units(X)
        if self.solver.local is None:
            return self.model.predict(U)
        found = [self.about(u).predict(u[None]) for u in U]
        return np.vstack([mean for mean, _ in found]), np.vstack([std for _, std in found])

    def about(self, u: Floats) -> LinearModel:
        """The fit of the neighbourhood of settings u (d,); wider where too few rows are near."""
        import numpy as np

        away = ((self.footing.U - u) ** 2).sum(axis=1)
        away -= away.min()
        width = self.solver.local or np.inf
        near = wide_enough(lambda width: self.fading * np.exp(-0.5 * away / width**2), width, self.footing)
        return weighted(self.footing, near)

    def _search(
        self, model: LinearModel, target: Targets, low: Floats, high: Floats, rng: np.random.Generator
    ) -> Floats:
        """(d,) settings in units. The misses are taken in tolerances: in counts the search ends in lost precision."""
        import numpy as np
        from scipy.optimize import minimize

        columns = self.footing.wanted(target.value)
        middle = np.clip(model.middle, low, high)
        starts = [middle, *rng.uniform(low, high, (self.solver.starts - 1, len(low)))]
        if not len(columns):
            return middle
        room = self.footing.room(target)[columns]
        slope = model.slope[columns] / room[:, None]
        gap = (target.value[columns] - model.mean(np.zeros((1, len(low))))[0, columns]) / room
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
