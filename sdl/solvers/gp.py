"""A Gaussian process on the readings: a line, and a smooth nonlinear part of each input (scikit-learn)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.additive_gp import FittedAdditiveGp


class Gp(Frozen):
    """A Gaussian process on the readings, for instruments that bend; the search for the goal is a damped Newton's."""

    kind: Literal["gp"] = "gp"
    rows: int = Field(
        default=200, ge=10, le=2000, description="Rows to learn from at most, the newest; the cost grows as their cube."
    )

    def fit(self, data: Data) -> FittedAdditiveGp:
        """Find the most probable nonlinearity and noise, and condition a process for each channel of the goal.

        Raises:
            NotEnoughData, Degenerate: the rows cannot carry the fit.
        """
        from sdl.models.additive_gp import fit_additive_gp

        return fit_additive_gp(data, rows=self.rows)
