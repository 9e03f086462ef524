"""The contract of a design: where to measure before anything is known, or when a solver cannot answer.

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

MOST = 100_000
"""Points that a plan may have."""


@runtime_checkable
class Design(Protocol):
    """Contract: `size` planned points for so many inputs, and a point for every trial."""

    @property
    def kind(self) -> str: ...

    def size(self, inputs: tuple[Input, ...]) -> int:
        """How many points the plan has.

        Raises:
            ConfigError: there is no such plan for these inputs, or it is too large.
        """
        ...

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        """Settings for `trial`, counted from 0.

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
    """A design that also looks at the readings: within its plan it is asked `choose` instead of `point`."""

    def choose(self, trial: int, data: Data, random: Random) -> tuple[Floats, str]:
        """Settings (d,) for `trial`, and a sentence that says why, given the rows measured so far."""
        ...


class Ranged(Frozen):
    """Keeps off the ends of the range, where a PWM-driven LED leaves its line."""

    low: float = Field(0.1, ge=0, le=1, description="the low level, as a fraction of each input's range")
    high: float = Field(0.9, ge=0, le=1, description="the high level, as a fraction of each input's range")

    @model_validator(mode="after")
    def _apart(self) -> Ranged:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self

    def between(self, unit: Floats) -> Floats:
        """Numbers from 0 to 1 as fractions of the range, low to high."""
        return self.low + unit * (self.high - self.low)


def scale(unit: Floats, inputs: tuple[Input, ...]) -> Floats:
    """Fractions of the range, (…, d), as settings."""
    import numpy as np

    low, high = np.array([i.low for i in inputs]), np.array([i.high for i in inputs])
    return np.asarray(low + unit * (high - low), dtype=np.float64)


def on_steps(unit: Floats, item: Input) -> Floats:
    """Fractions of one input's range, moved to its steps where it has them; equal ones are dropped."""
    import numpy as np

    if item.step is None:
        return np.unique(unit)
    part = item.step / (item.high - item.low)
    return np.asarray(np.unique(np.clip(np.round(unit / part), 0, np.floor(1 / part + 1e-9)) * part))


def farthest(
    taken: Floats, inputs: tuple[Input, ...], rng: np.random.Generator, low_end: float = 0.0, high_end: float = 1.0
) -> Floats:
    """Of 256 random points the one farthest from all of `taken` (n, d), distances in fractions of the range.

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
