"""Numerical continuation: settings are followed from a measured pair to the goal along a straight line of readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.inversion.continuation import FittedContinuation


class Continuation(Frozen):
    """Starts at the measured readings closest to the goal and integrates dx/ds = J⁺ dy/ds on a straight line to it."""

    kind: Literal["continuation", "path"] = "continuation"
    model: Literal["gp", "bayes", "linear", "smooth"] = Field(
        "gp", description="the forward model that gives the derivatives J"
    )
    precision: float = Field(
        1e-5, ge=1e-10, le=1e-2, description="error of an integration step, as a fraction of each input's range"
    )

    def fit(self, data: Data) -> FittedContinuation:
        """Fit the forward model.

        Raises:
            NotEnoughData, Degenerate: the forward model cannot be fitted, or there is no measured pair to start from.
        """
        from sdl.models.inversion.continuation import fit_continuation

        return fit_continuation(data, model=self.model, precision=self.precision)
