"""Least squares from settings to readings, inverted by a nonlinear program (paper, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.backward.least_squares import FittedLeastSquares


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
        "distance from the answer, and the fit is repeated at the new answer. Not given: all rows count alike.",
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

    def fit(self, data: Data) -> FittedLeastSquares:
        """Fit the readings.

        Raises:
            NotEnoughData, Degenerate: the rows cannot carry the fit.
        """
        from sdl.models.backward.least_squares import fit_least_squares

        return fit_least_squares(
            data,
            intercept=self.intercept,
            bounded=self.bounded,
            starts=self.starts,
            local=self.local,
            memory=self.memory,
        )
