"""The contract of a design: where to measure before a solver can propose.

A design is a frozen model with the method `point`, which gives a point for every trial: after the planned points, the
one farthest from those already measured, so that a campaign whose solver cannot propose still learns something.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pydantic import Field, model_validator

from sdl.types import Frozen, Input

if TYPE_CHECKING:
    import numpy as np  # here, since `sdl validate` loads this module

    from sdl.arrays import Floats
    from sdl.solvers.base import Data


Random = Callable[[int], "np.random.Generator"]  # the generator for the n-th draw of the design's stream

MAX_POINTS = 100_000  # most points of a plan


@runtime_checkable
class Design(Protocol):
    """A design: `size` planned points, and a further point for every trial after them."""

    @property
    def kind(self) -> str: ...

    def size(self, inputs: tuple[Input, ...]) -> int:
        """Return the number of points of the plan.

        Raises:
            ConfigError: there is no such plan for these inputs, or it is too large.
        """
        ...

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        """Return the settings for `trial`, counted from 0.

        Args:
            trial: number of the point, from 0; may lie beyond the plan.
            taken: (n, d) settings measured so far.
            inputs: the d inputs with their bounds.
            random: generator for the n-th draw; whole plans are drawn with n = 0.

        Returns:
            (d,) settings inside the bounds.
        """
        ...


@runtime_checkable
class Learning(Design, Protocol):
    """A design that uses the readings: within its plan `choose` is called instead of `point`."""

    def choose(self, trial: int, data: Data, random: Random) -> tuple[Floats, str]:
        """Return settings (d,) for `trial`, given the rows so far, and a sentence that says why."""
        ...


class Ranged(Frozen):
    """The levels of a design as fractions of the range: by default away from its ends, where responses often bend."""

    low: float = Field(0.1, ge=0, le=1, description="the low level, as a fraction of each input's range")
    high: float = Field(0.9, ge=0, le=1, description="the high level, as a fraction of each input's range")

    @model_validator(mode="after")
    def _apart(self) -> Ranged:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self

    def between(self, unit: Floats) -> Floats:
        """Map numbers from 0 to 1 to fractions of the range from low to high."""
        return self.low + unit * (self.high - self.low)


class Planned(Ranged):
    """A design of `size` points; later trials get the point farthest from those measured."""

    @abstractmethod
    def size(self, inputs: tuple[Input, ...]) -> int:
        """Return the number of points of the plan."""

    @abstractmethod
    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats | list[float]:
        """Return point `trial` of the plan (d,), as fractions of the inputs' ranges."""

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        if trial >= self.size(inputs):
            return farthest(taken, inputs, random(trial))
        return scale(self.fractions(trial, inputs, random), inputs)

    def levels_of(self, item: Input, count: int) -> tuple[float, ...]:
        """Return `count` evenly spaced levels of an input, as fractions of its range; fewer where it has few steps."""
        from sdl.designs import plans

        return plans.levels(self.low, self.high, count, item)


def scale(unit: Floats | list[float], inputs: tuple[Input, ...]) -> Floats:
    """Convert fractions of the range (…, d) to settings."""
    import numpy as np

    low, high = np.array([i.low for i in inputs]), np.array([i.high for i in inputs])
    return np.asarray(low + np.asarray(unit) * (high - low), dtype=np.float64)


def farthest(
    taken: Floats, inputs: tuple[Input, ...], rng: np.random.Generator, low: float = 0.0, high: float = 1.0
) -> Floats:
    """Return the one of 256 random points that is farthest from all settings `taken` (n, d).

    `low` and `high` bound the points, as fractions of each input's range.
    """
    from sdl.designs import plans

    return scale(plans.farthest(taken, inputs, rng, low, high), inputs)
