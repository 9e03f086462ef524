"""Points that a person names: on the axes, or one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.designs.base import MOST, Random, Ranged, farthest, scale
from sdl.types import Frozen, Input

if TYPE_CHECKING:
    from sdl.arrays import Floats


class Axis(Ranged):
    """inputs + 1 points: all inputs low, then each in turn high.

    With points at .1 and .9 of the range the ends, where a PWM-driven LED leaves its line, are avoided, and each input
    is told from the others by one difference.
    """

    kind: Literal["axis"] = "axis"

    def size(self, inputs: tuple[Input, ...]) -> int:
        return len(inputs) + 1

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        import numpy as np

        if trial >= self.size(inputs):
            return farthest(taken, inputs, random(trial))
        unit = np.full(len(inputs), self.low)
        if trial > 0:
            unit[trial - 1] = self.high
        return scale(unit, inputs)


class Points(Frozen):
    """Points that you give, in their order."""

    kind: Literal["points"] = "points"
    points: tuple[Mapping[str, float], ...] = Field(
        min_length=1, max_length=MOST, description="settings, each with every input: [{R: .5, G: .2, B: .1}, …]"
    )

    def size(self, inputs: tuple[Input, ...]) -> int:
        return len(self.points)

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        import numpy as np

        if trial >= len(self.points):
            return farthest(taken, inputs, random(trial))
        return np.array([self.points[trial][item.name] for item in inputs])
