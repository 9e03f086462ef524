"""Broyden's method: a matrix of slopes that every new reading corrects along the step that was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.inversion.broyden import FittedBroyden


class Broyden(Frozen):
    """Broyden's method, with smaller corrections from steps that change a reading by less than its noise."""

    kind: Literal["broyden", "secant"] = "broyden"
    noise: float = Field(
        0.004,
        ge=0,
        le=1,
        description="relative standard deviation of one reading. 0: Broyden's original method, undamped and from the "
        "latest row",
    )

    def fit(self, data: Data) -> FittedBroyden:
        """Fit the slopes to the oldest rows, as few as determine them, and correct them with each of the last 200.

        Raises:
            NotEnoughData, Degenerate: the rows do not suffice for the fit.
        """
        from sdl.models.inversion.broyden import fit_broyden

        return fit_broyden(data, noise=self.noise)
