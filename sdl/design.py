"""Points without a solver: where to measure before anything is known, or when a solver cannot answer.

A design is a frozen model with one verb. It answers for every trial: beyond its plan it gives the point farthest from
those already taken, so that a campaign whose solver keeps refusing still learns something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from sdl.types import Frozen, Input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Random = Callable[[int], "np.random.Generator"]
"""The generator for the n-th draw of the design's stream."""


@runtime_checkable
class Design(Protocol):
    """Contract: `size` planned points for so many inputs, and a point for every trial."""

    @property
    def kind(self) -> str: ...

    def size(self, inputs: tuple[Input, ...]) -> int:
        """How many points the plan has."""
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


class Axis(Frozen):
    """inputs + 1 points: all inputs low, then each in turn high.

    With points at .1 and .9 of the range the ends, where a PWM-driven LED leaves its line, are avoided, and each input
    is told from the others by one difference.
    """

    kind: Literal["axis"] = "axis"
    low: float = Field(0.1, ge=0, le=1, description="the low level, as a fraction of each input's range")
    high: float = Field(0.9, ge=0, le=1, description="the high level, as a fraction of each input's range")

    @model_validator(mode="after")
    def _apart(self) -> Axis:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self

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


class LatinHypercube(Frozen):
    """`trials` points, each alone in its slice of every input's range (McKay 1979), by scipy.stats.qmc."""

    kind: Literal["latin-hypercube"] = "latin-hypercube"
    trials: int = Field(8, ge=1, le=100_000, description="how many points")

    def size(self, inputs: tuple[Input, ...]) -> int:
        return self.trials

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        from scipy.stats import qmc

        if trial >= self.trials:
            return farthest(taken, inputs, random(trial))
        plan = qmc.LatinHypercube(len(inputs), rng=random(0)).random(self.trials)
        return scale(plan[trial], inputs)


class Points(Frozen):
    """Points that you give, in their order."""

    kind: Literal["points"] = "points"
    points: tuple[Mapping[str, float], ...] = Field(
        min_length=1, max_length=100_000, description="settings, each with every input: [{R: .5, G: .2, B: .1}, …]"
    )

    def size(self, inputs: tuple[Input, ...]) -> int:
        return len(self.points)

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        import numpy as np

        if trial >= len(self.points):
            return farthest(taken, inputs, random(trial))
        return np.array([self.points[trial][item.name] for item in inputs])


def scale(unit: Floats, inputs: tuple[Input, ...]) -> Floats:
    """Fractions of the range, (…, d), as settings."""
    import numpy as np

    low, high = np.array([i.low for i in inputs]), np.array([i.high for i in inputs])
    return np.asarray(low + unit * (high - low), dtype=np.float64)


def farthest(taken: Floats, inputs: tuple[Input, ...], rng: np.random.Generator) -> Floats:
    """Of 256 random points the one farthest from all of `taken` (n, d), distances in fractions of the range."""
    import numpy as np
    from scipy.spatial.distance import cdist

    low, high = np.array([i.low for i in inputs]), np.array([i.high for i in inputs])
    candidates = rng.random((256, len(inputs)))
    if not len(taken):
        return scale(candidates[0], inputs)
    distance = cdist(candidates, (taken - low) / (high - low)).min(axis=1)
    return scale(candidates[int(distance.argmax())], inputs)
