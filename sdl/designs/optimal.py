"""D-optimal designs: the settings that determine the coefficients of a polynomial most precisely."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.designs.base import Planned, Random
from sdl.errors import ConfigError, Problem
from sdl.types import Input

if TYPE_CHECKING:
    from sdl.arrays import Floats

CANDIDATES = 10_000  # most settings to choose from


class DOptimal(Planned):
    """D-optimal: the points that determine a linear or quadratic model most precisely."""

    kind: Literal["d-optimal"] = "d-optimal"
    model: Literal["linear", "interactions", "quadratic"] = Field(
        "linear", description="interactions: and all products; quadratic: and all squares too"
    )
    trials: int | None = Field(
        None, ge=1, le=500, description="how many points; null: two more than the model has coefficients"
    )
    levels: int = Field(3, ge=2, le=100, description="settings of each input to choose among, low and high among them")

    def size(self, inputs: tuple[Input, ...]) -> int:
        d = len(inputs)
        p = 1 + d + {"linear": 0, "interactions": d * (d - 1) // 2, "quadratic": d * (d + 1) // 2}[self.model]
        size = p + 2 if self.trials is None else self.trials
        if size < p:
            name = f"a {self.model} model" if self.model != "interactions" else "a model with interactions"
            text = f"{name} of {d} inputs has {p} coefficients, so at least {p} trials; not {size}"
            raise ConfigError(Problem(text, "trials"))
        counts = [len(values) for values in self.values(inputs)]
        if math.prod(counts) > CANDIDATES:
            text = f"{' × '.join(map(str, counts))} are {math.prod(counts):,} candidates; at most {CANDIDATES:,}"
            raise ConfigError(Problem(text, "levels"))
        if self.model == "quadratic" and min(counts) < 3:
            raise ConfigError(Problem("a square needs three settings of every input; give levels: 3 or more", "levels"))
        return size

    def values(self, inputs: tuple[Input, ...]) -> tuple[tuple[float, ...], ...]:
        """The candidate settings of each input as fractions of its range."""
        return tuple(self.levels_of(item, self.levels) for item in inputs)

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats:
        from sdl.designs import plans

        seed = int(random(0).integers(2**63))
        point: Floats = plans.d_optimal(self.values(inputs), self.model, self.size(inputs), seed)[trial]
        return point
