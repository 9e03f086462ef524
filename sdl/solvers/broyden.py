"""Broyden's method: slopes that every new reading corrects along the step that was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.inversion.broyden import FittedBroyden


class Broyden(Frozen):
    """Broyden's secant method, damped where steps are lost in the noise; it looks at the last few rows only."""

    kind: Literal["broyden", "secant"] = "broyden"
    noise: float = Field(
        0.004,
        ge=0,
        le=1,
        description="standard deviation of one reading, as a part of it. 0: the method as Broyden has it, undamped and "
        "from the latest row",
    )

    def fit(self, data: Data) -> FittedBroyden:
        """Take the slopes from the oldest rows that determine them, and correct them with each of the last 200.

        Raises:
            NotEnoughData, Degenerate: the rows cannot carry the fit.
        """
        from sdl.models.inversion.broyden import fit_broyden

        return fit_broyden(data, noise=self.noise)
