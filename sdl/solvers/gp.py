"""The solver `gp`: a Gaussian process for the readings, with a linear part and smooth parts of the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.inversion.forward import FittedForward


class Gp(Frozen):
    """A Gaussian process for each channel over all inputs together, for instruments that are not linear."""

    optimises: ClassVar[bool] = True
    takes_choices: ClassVar[bool] = True

    kind: Literal["gp"] = "gp"
    rows: int = Field(
        default=200,
        ge=10,
        le=2000,
        description="Largest number of rows used: the newest and some of the others; CPU time grows as its cube.",
    )

    def fit(self, data: Data) -> FittedForward:
        """Fit a process to each channel of the goal.

        Raises:
            NotEnoughData, Degenerate: the rows do not suffice for the fit.
        """
        from sdl.models.forward.gaussian_process import fit_gaussian_process
        from sdl.models.inversion.objective import fitted_forward

        return fitted_forward(fit_gaussian_process(data, rows=self.rows), data.objective)
