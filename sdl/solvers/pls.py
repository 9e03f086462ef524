"""Partial least squares from readings to settings: a backward model, no search (paper, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.backward.partial_least_squares import FittedPartialLeastSquares


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
        description="Align the readings of earlier sessions to the current one. "
        "false: all rows as they are, as in the paper.",
    )
    weighted: bool = Field(
        default=True,
        description="Rows that tell an input badly count less for it. "
        "false: one regression for all inputs in which all rows count the same, as in the paper.",
    )

    def fit(self, data: Data) -> FittedPartialLeastSquares:
        """Fit the regression.

        Raises:
            NotEnoughData, Degenerate: the rows cannot carry the fit.
        """
        from sdl.models.backward.partial_least_squares import fit_partial_least_squares

        return fit_partial_least_squares(data, components=self.components, level=self.level, weighted=self.weighted)
