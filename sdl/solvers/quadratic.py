"""The solver `quadratic`: a quadratic surface of each channel, inverted for the goal."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.inversion.forward import FittedForward


class Quadratic(Frozen):
    """A quadratic surface of each channel, for parabolas and for inputs that act together."""

    optimises: ClassVar[bool] = True
    takes_choices: ClassVar[bool] = True

    kind: Literal["quadratic"] = "quadratic"

    def fit(self, data: Data) -> FittedForward:
        """Fit a surface to each channel of the goal.

        Raises:
            NotEnoughData, Degenerate: the rows do not suffice for the fit.
        """
        from sdl.models.forward.quadratic import fit_quadratic
        from sdl.models.inversion.objective import fitted_forward
        from sdl.models.training_set import TrainingSet

        return fitted_forward(fit_quadratic(TrainingSet.from_data(data, by_channel=True)), data.objective)
