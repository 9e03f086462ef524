"""A Gaussian process on the readings: a line, and a smooth part of each input and of all together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.forward_solver import FittedForward


class Gp(Frozen):
    """A Gaussian process on the readings of all inputs together, for instruments that are not linear."""

    kind: Literal["gp"] = "gp"
    rows: int = Field(
        default=200,
        ge=10,
        le=2000,
        description="Rows to learn from at most, the newest and some of the others; the cost grows as their cube.",
    )

    def fit(self, data: Data) -> FittedForward:
        """Fit a process to each channel of the goal.

        Raises:
            NotEnoughData, Degenerate: the rows cannot carry the fit.
        """
        from sdl.models.forward_solver import FittedForward
        from sdl.models.gaussian_process import fit_gaussian_process

        return FittedForward(fit_gaussian_process(data, rows=self.rows))
