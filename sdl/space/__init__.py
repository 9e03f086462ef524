"""The inputs of an instrument as one space: between settings by name and rows of numbers, and onto what can be set.

A row has one column per numeric input, in the input's own unit, in the order of the inputs; `low` and `high` are the
bounds of the columns. Models scale by them; nothing else needs to know how an input becomes columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from sdl.arrays import Floats
from sdl.space.numeric import Numeric
from sdl.types import Input


class Constraint(Protocol):
    """A condition on several inputs at once."""

    def holds(self, settings: Mapping[str, float]) -> bool: ...


class Space:
    """The settings that an instrument can take.

    Args:
        inputs: in the order of the columns.
        constraints: what settings inside all bounds must keep as well.

    Attributes:
        names: of the inputs.
        low, high: (p,) bounds of the columns.
    """

    def __init__(self, inputs: Sequence[Input], constraints: Sequence[Constraint] = ()) -> None:
        self.inputs, self.constraints = tuple(inputs), tuple(constraints)
        self.names = tuple(item.name for item in self.inputs)
        self._dimensions = [Numeric(item) for item in self.inputs]
        self.low: Floats = np.array([item.low for item in self.inputs], dtype=np.float64)
        self.high: Floats = np.array([item.high for item in self.inputs], dtype=np.float64)

    @property
    def width(self) -> Floats:
        return self.high - self.low

    def encode(self, settings: Mapping[str, float]) -> Floats:
        """(p,) row of settings that give every input."""
        return np.array([settings[name] for name in self.names], dtype=np.float64)

    def decode(self, row: Floats) -> dict[str, float]:
        """Settings of a row (p,), unchanged; `project` makes them feasible."""
        return dict(zip(self.names, row.tolist(), strict=True))

    def steps_near(self, row: Floats, reach: int = 2) -> list[list[float]]:
        """For each column the steps on either side of a row's value, `reach` each; without steps the value itself."""
        return [one.steps_near(value, reach) for one, value in zip(self._dimensions, row, strict=True)]

    def contains(self, settings: Mapping[str, float]) -> bool:
        """Whether the instrument can take these settings: each input in its bounds, on a step, constraints kept."""
        return (
            settings.keys() == set(self.names)
            and all(one.contains(settings[one.name]) for one in self._dimensions)
            and all(constraint.holds(settings) for constraint in self.constraints)
        )

    def project(self, settings: Mapping[str, float]) -> tuple[dict[str, float], tuple[str, ...]]:
        """Round each input to its step and clip it to its bounds; constraints are not looked at.

        Inputs without a step are rounded to a millionth of their range, far below any instrument's jitter.

        Returns:
            The settings, and the inputs that lay outside their bounds by more than that.

        Raises:
            ValueError: a setting is NaN.
        """
        clipped = tuple(one.name for one in self._dimensions if one.is_outside(settings[one.name]))
        return {one.name: one.project(settings[one.name]) for one in self._dimensions}, clipped
