"""Adaptive design: the next point is where the solver's proposal would be most uncertain.

The paper leaves open how to choose the data for a generative model (section 4). Here any solver chooses its own data.
For each candidate point, the solver proposes settings for the readings that are expected there. The candidate is taken
with the largest product of two numbers: the uncertainty of the proposed settings, as a fraction of the inputs' ranges,
and the distance to all measured settings. Without the distance, a linear model would always choose corners, and
nonlinearity between them would remain unnoticed.

Measured in benchmarks/learning.py, it is better than a Latin hypercube and no better than `farthest`, which needs no
model: docs/reference/designs.md has the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from sdl import registry
from sdl.designs.base import Random, Ranged
from sdl.designs.filling import Farthest
from sdl.designs.placed import placed
from sdl.errors import ConfigError
from sdl.solvers.base import Data
from sdl.types import Input

if TYPE_CHECKING:
    from sdl.arrays import Floats


class Adaptive(Ranged):
    """The axis points, then the point where a solver would be most uncertain; `farthest` performs equally well."""

    kind: Literal["adaptive"] = "adaptive"
    trials: int = Field(20, ge=1, le=10_000, description="how many points, the axis points among them")
    solver: str = Field("gp", description="kind of the solver that chooses, with its default options")
    channels: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="channels that goals will be set for; none given: those of the campaign's goal, or, without one, "
        "all that are rarely saturated",
    )

    @field_validator("solver")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            registry.find("solvers", value)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return value

    def size(self, inputs: tuple[Input, ...]) -> int:
        return self.trials

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        """Return an axis point, or after those the farthest point; readings are used by `choose` alone."""
        return Farthest(low=self.low, high=self.high, trials=self.trials).point(trial, taken, inputs, random)

    def choose(self, trial: int, data: Data, random: Random) -> tuple[Floats, str]:
        from sdl.designs import uncertainty

        count, axis = len(data.space.columns) + 1, None
        if trial < count:
            point = placed(self, data.inputs, data.constraints).point(trial, data.X, random)
            axis = (point, f"axis point {trial + 1} of {count}")
        return uncertainty.choose(data, self.solver, self.channels, (self.low, self.high), random(trial), axis)
