"""Least squares from settings to readings, inverted by a nonlinear program (paper, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.backward.least_squares import FittedLeastSquares
    from sdl.models.inversion.forward import FittedForward


class Linear(Frozen):
    """A linear model of the readings, and an optimizer that finds the settings closest to the goal."""

    kind: Literal["linear"] = "linear"
    intercept: bool = Field(
        default=True,
        description="Fit an intercept, with rows weighted by their expected noise. "
        "false: an unweighted plane through the origin, as in the paper.",
    )
    bounded: bool = Field(default=True, description="Search inside the bounds only. false: anywhere, as in the paper.")
    starts: int = Field(
        default=4, ge=1, le=1000, description="Starting points: the middle of the data, then random ones."
    )
    local: float | None = Field(
        default=None,
        gt=0,
        description="Width, as a fraction of the range, of the neighbourhood used for the fit: rows are weighted by "
        "their distance from the settings found, and the fit is repeated there. Not given: equal weights.",
    )
    memory: float | None = Field(
        default=None,
        gt=0,
        description="Number of readings after which the weight of a row falls to 1/e. Not given: it never falls.",
    )

    @model_validator(mode="after")
    def _weighted(self) -> Linear:
        if not self.intercept and (self.local or self.memory):
            raise ValueError("local and memory need `intercept: true`; without an intercept all rows have equal weight")
        return self

    @property
    def optimises(self) -> bool:
        """Whether it can maximise or minimise a channel: not without an intercept or with weights."""
        return self.intercept and self.local is None and self.memory is None

    @property
    def takes_choices(self) -> bool:
        """Whether inputs may have choices: each is an offset from the first, which needs an intercept."""
        return self.intercept

    def fit(self, data: Data) -> FittedLeastSquares | FittedForward:
        """Fit the readings.

        Raises:
            NotEnoughData, Degenerate: the rows do not suffice for the fit.
        """
        from sdl.models.backward.least_squares import fit_least_squares
        from sdl.models.forward.forward_model import LinearForward
        from sdl.models.inversion.objective import fitted_forward
        from sdl.models.training_set import TrainingSet

        if data.objective is not None:
            training = TrainingSet.from_data(data, by_channel=True)
            return fitted_forward(LinearForward(training, training.linear), data.objective)
        return fit_least_squares(
            data,
            intercept=self.intercept,
            bounded=self.bounded,
            starts=self.starts,
            local=self.local,
            memory=self.memory,
        )
