"""Space-filling designs by scipy.stats.qmc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.designs.base import MAX_POINTS, Random, Ranged, farthest, scale
from sdl.designs.given import Axis
from sdl.types import Input

if TYPE_CHECKING:
    from sdl.arrays import Floats


class LatinHypercube(Ranged):
    """Latin hypercube of `trials` points (McKay 1979), by scipy.stats.qmc."""

    kind: Literal["latin-hypercube"] = "latin-hypercube"
    trials: int = Field(8, ge=1, le=MAX_POINTS, description="how many points")
    low: float = Field(0.0, ge=0, le=1, description="the lowest setting, as a fraction of each input's range")
    high: float = Field(1.0, ge=0, le=1, description="the highest setting, as a fraction of each input's range")

    def size(self, inputs: tuple[Input, ...]) -> int:
        return self.trials

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        from scipy.stats import qmc

        if trial >= self.trials:
            return farthest(taken, inputs, random(trial))
        plan = qmc.LatinHypercube(len(inputs), rng=random(0)).random(self.trials)
        return scale(self.between(plan[trial]), inputs)


class Sobol(Ranged):
    """The first `trials` points of a scrambled Sobol' sequence (Sobol' 1967, Owen 1998), by scipy.stats.qmc.

    Unlike a Latin hypercube it may be broken off anywhere: whatever has been measured so far fills the space. It is at
    its best with 8, 16, 32 … points.
    """

    kind: Literal["sobol"] = "sobol"
    trials: int = Field(16, ge=1, le=MAX_POINTS, description="how many points")

    def size(self, inputs: tuple[Input, ...]) -> int:
        return self.trials

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        from scipy.stats import qmc

        if trial >= self.trials:
            return farthest(taken, inputs, random(trial))
        sequence = qmc.Sobol(len(inputs), rng=random(0))
        if trial > 0:  # scipy cannot go forward by nothing
            sequence.fast_forward(trial)
        return scale(self.between(sequence.random(1)[0]), inputs)


class Farthest(Ranged):
    """The axis points, then always the point farthest from all measured ones (sequential maximin).

    It looks at settings alone, never at readings, and may be broken off anywhere (Kennard and Stone, Technometrics 11
    (1969) 137).
    """

    kind: Literal["farthest"] = "farthest"
    trials: int = Field(16, ge=1, le=10_000, description="how many points, the axis points among them")

    def size(self, inputs: tuple[Input, ...]) -> int:
        return self.trials

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        if trial < min(self.trials, len(inputs) + 1):
            return Axis(low=self.low, high=self.high).point(trial, taken, inputs, random)
        return farthest(taken, inputs, random(trial), self.low, self.high)
