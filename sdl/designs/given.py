"""Designs of given points: on the axes, or listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.designs.base import MAX_POINTS, Planned, Random, farthest
from sdl.types import Frozen, Input

if TYPE_CHECKING:
    from sdl.arrays import Floats


class Axis(Planned):
    """One point with all inputs low, then one per input with it high.

    With points at .1 and .9 of the range the ends, where a PWM-driven LED leaves its line, are avoided, and each input
    is told from the others by one difference.
    """

    kind: Literal["axis"] = "axis"

    def size(self, inputs: tuple[Input, ...]) -> int:
        return len(inputs) + 1

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats:
        import numpy as np

        unit = np.full(len(inputs), self.low)
        unit[trial - 1 : trial] = self.high  # the first point has none high
        return unit


class Points(Frozen):
    """Listed points, in their order."""

    kind: Literal["points"] = "points"
    points: tuple[Mapping[str, float], ...] = Field(
        min_length=1, max_length=MAX_POINTS, description="settings, each with every input: [{R: .5, G: .2, B: .1}, …]"
    )

    def size(self, inputs: tuple[Input, ...]) -> int:
        return len(self.points)

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        import numpy as np

        if trial >= len(self.points):
            return farthest(taken, inputs, random(trial))
        return np.array([self.points[trial][item.name] for item in inputs])
