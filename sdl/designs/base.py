"""The contract of a design: where to measure before a solver can propose.

A design is a frozen model with one verb. It answers for every trial: beyond its plan it gives the point farthest from
those already taken, so that a campaign whose solver keeps refusing still learns something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pydantic import Field, model_validator

from sdl.types import Frozen, Input

if TYPE_CHECKING:
    import numpy as np

    from sdl.arrays import Floats
    from sdl.solvers.base import Data


Random = Callable[[int], "np.random.Generator"]
"""The generator for the n-th draw of the design's stream."""

MAX_POINTS = 100_000
"""Most points of a plan."""


@runtime_checkable
class Design(Protocol):
    """A plan of `size` points, and a point for every trial, also beyond the plan."""

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
            trial: which point; may lie beyond the plan.
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


def scale(unit: Floats, inputs: tuple[Input, ...]) -> Floats:
    """Convert fractions of the range (…, d) to settings."""
    import numpy as np

    low, high = np.array([i.low for i in inputs]), np.array([i.high for i in inputs])
    return np.asarray(low + unit * (high - low), dtype=np.float64)


def on_steps(unit: Floats, item: Input) -> Floats:
    """Round fractions of one input's range to its steps and drop duplicates."""
    import numpy as np

    if item.step is None:
        return np.unique(unit)
    part = item.step / (item.high - item.low)
    return np.asarray(np.unique(np.clip(np.round(unit / part), 0, np.floor(1 / part + 1e-9)) * part))


def farthest(
    taken: Floats, inputs: tuple[Input, ...], rng: np.random.Generator, low_end: float = 0.0, high_end: float = 1.0
) -> Floats:
    """Return the one of 256 random points that is farthest from all of `taken` (n, d), in fractions of the range.

    The points lie from `low_end` to `high_end` of the range.
    """
    import numpy as np
    from scipy.spatial.distance import cdist

    low, high = np.array([i.low for i in inputs]), np.array([i.high for i in inputs])
    candidates = low_end + (high_end - low_end) * rng.random((256, len(inputs)))
    if not len(taken):
        return scale(candidates[0], inputs)
    distance = cdist(candidates, (taken - low) / (high - low)).min(axis=1)
    return scale(candidates[int(distance.argmax())], inputs)
