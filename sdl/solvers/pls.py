"""Partial least squares from readings to settings: a backward model, without a search (paper, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.backward.partial_least_squares import FittedPartialLeastSquares


class Pls(Frozen):
    """A linear regression of the settings on the goal's channels, which may be collinear."""

    kind: Literal["pls"] = "pls"
    components: int | None = Field(
        default=None,
        ge=1,
        description="Number of latent directions, at most min(inputs, channels of the goal, rows - 1). "
        "Not given: that maximum.",
    )
    level: bool = Field(
        default=True,
        description="Align the readings of earlier sessions to the current one. "
        "false: all rows as they are, as in the paper.",
    )
    weighted: bool = Field(
        default=True,
        description="One regression for each input, with rows weighted by how well their readings determine it. "
        "false: one unweighted regression for all inputs, as in the paper.",
    )

    def fit(self, data: Data) -> FittedPartialLeastSquares:
        """Fit the regression.

        Raises:
            NotEnoughData, Degenerate: the rows do not suffice for the fit.
        """
        from sdl.models.backward.partial_least_squares import fit_partial_least_squares

        return fit_partial_least_squares(data, components=self.components, level=self.level, weighted=self.weighted)
