"""Points on the axes, listed points, and space-filling designs (by scipy.stats.qmc)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.designs.base import MAX_POINTS, Planned, Random, Ranged, farthest
from sdl.types import Frozen, Input, Settings

if TYPE_CHECKING:
    from sdl.arrays import Floats


class Axis(Planned):
    """One point with all inputs low, then one per input with it high.

    With points at 0.1 and 0.9 of the range, the ends are avoided, where a PWM-driven LED is nonlinear. The slope for
    each input is the difference of one point to the first.
    """

    kind: Literal["axis"] = "axis"

    def size(self, inputs: tuple[Input, ...]) -> int:
        return len(inputs) + 1

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats:
        import numpy as np  # here, since `sdl validate` loads this module

        unit = np.full(len(inputs), self.low)
        unit[trial - 1 : trial] = self.high  # the first point has none high
        return unit


class Points(Frozen):
    """A list of points, measured in the given order."""

    kind: Literal["points"] = "points"
    points: tuple[Settings, ...] = Field(
        min_length=1, max_length=MAX_POINTS, description="settings, each with every input: [{R: .5, G: .2, B: .1}, …]"
    )

    def size(self, inputs: tuple[Input, ...]) -> int:
        return len(self.points)

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        import numpy as np

        if trial >= len(self.points):
            return farthest(taken, inputs, random(trial))
        return np.array([self.points[trial][item.name] for item in inputs], dtype=np.float64)


class _Counted(Planned):
    """A design with as many points as its option `trials` says."""

    trials: int

    def size(self, inputs: tuple[Input, ...]) -> int:
        return self.trials


class LatinHypercube(_Counted):
    """Latin hypercube of `trials` points (McKay 1979), by scipy.stats.qmc."""

    kind: Literal["latin-hypercube"] = "latin-hypercube"
    trials: int = Field(8, ge=1, le=MAX_POINTS, description="how many points")
    low: float = Field(0.0, ge=0, le=1, description="the lowest setting, as a fraction of each input's range")
    high: float = Field(1.0, ge=0, le=1, description="the highest setting, as a fraction of each input's range")

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats:
        from sdl.designs import plans

        return self.between(plans.latin_hypercube(self.trials, len(inputs), random(0))[trial])


class Sobol(_Counted):
    """The first `trials` points of a scrambled Sobol' sequence (Sobol' 1967, Owen 1998), by scipy.stats.qmc.

    Unlike a Latin hypercube it may be stopped after any point: the points so far always fill the space. It fills it
    most evenly with 8, 16, 32 … points.
    """

    kind: Literal["sobol"] = "sobol"
    trials: int = Field(16, ge=1, le=MAX_POINTS, description="how many points")

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats:
        from sdl.designs import plans

        return self.between(plans.sobol(trial, len(inputs), random(0)))


class Farthest(Ranged):
    """The axis points, then always the point farthest from all measured ones (sequential maximin).

    It uses only settings, not readings, and may be stopped after any point (Kennard and Stone, Technometrics 11 (1969)
    137).
    """

    kind: Literal["farthest"] = "farthest"
    trials: int = Field(16, ge=1, le=10_000, description="how many points, the axis points among them")

    def size(self, inputs: tuple[Input, ...]) -> int:
        return self.trials

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        if trial < min(self.trials, len(inputs) + 1):
            return Axis(low=self.low, high=self.high).point(trial, taken, inputs, random)
        return farthest(taken, inputs, random(trial), self.low, self.high)
