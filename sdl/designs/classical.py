"""Classical designs by pydoe (full factorial, Box-Behnken, central composite), and D-optimal designs.

Montgomery, Design and Analysis of Experiments (2017), chapters 5 to 11.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from sdl.designs.base import MAX_POINTS, Planned, Random
from sdl.errors import ConfigError, Problem
from sdl.types import Input

if TYPE_CHECKING:
    from sdl.arrays import Floats


CANDIDATES = 10_000  # maximum number of settings that a D-optimal design chooses from
Count = Annotated[int, Field(ge=2, le=1000)]


class Factorial(Planned):
    """Full factorial: every combination of `levels` evenly spaced settings of each input."""

    kind: Literal["factorial"] = "factorial"
    levels: Count | Mapping[str, Count] = Field(
        2, description="how many settings of every input, low and high among them; or of each: {R: 3, G: 2, B: 2}"
    )

    def size(self, inputs: tuple[Input, ...]) -> int:
        counts = [len(values) for values in self.values(inputs)]
        size = math.prod(counts)
        if size > MAX_POINTS:
            text = " × ".join(map(str, counts))
            raise ConfigError(Problem(f"{text} levels are {size:,} points; at most {MAX_POINTS:,}", "levels"))
        return size

    def values(self, inputs: tuple[Input, ...]) -> list[tuple[float, ...]]:
        """The levels of each input as fractions of its range; fewer where it has too few steps."""
        names = [item.name for item in inputs]
        counts = self.levels if isinstance(self.levels, Mapping) else dict.fromkeys(names, self.levels)
        if set(counts) != set(names):
            wrong = f"must give every input ({', '.join(names)}) and no other; has {', '.join(counts)}"
            raise ConfigError(Problem(wrong, "levels"))
        return [self.levels_of(item, counts[item.name]) for item in inputs]

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> list[float]:
        from sdl.designs import plans

        values = self.values(inputs)
        levels = plans.factorial(tuple(map(len, values)))[trial]
        return [of_input[level] for of_input, level in zip(values, levels, strict=True)]


class BoxBehnken(Planned):
    """Box-Behnken: each pair of inputs at low and high with the others in the middle, and the centre; no corners.

    12 + 1 points for three inputs, 24 + 1 for four; enough for a model with all squares and products (Box and Behnken,
    Technometrics 2 (1960) 455).
    """

    kind: Literal["box-behnken"] = "box-behnken"
    centre: int = Field(1, ge=1, le=1000, description="how often the centre is measured")

    def size(self, inputs: tuple[Input, ...]) -> int:
        d = len(inputs)
        return _checked_size(2 * d * (d - 1) + self.centre, 3, self.kind, inputs)

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats:
        from sdl.designs import plans

        return self.between(plans.box_behnken(len(inputs), self.centre)[trial])


class CentralComposite(Planned):
    """Central composite: the corners of a cube, a star on its axes, and the centre; fits a full quadratic model.

    15 points for three inputs, 25 for four (Box and Wilson, J. R. Stat. Soc. B 13 (1951) 1). The star reaches low and
    high; `rotatable` draws the corners in until the standard error of such a model is the same in every direction.
    """

    kind: Literal["central-composite"] = "central-composite"
    star: Literal["rotatable", "faced"] = Field(
        "rotatable",
        description="rotatable: five levels, corners drawn in. faced: three levels, corners at low and high",
    )
    centre: int = Field(1, ge=1, le=1000, description="how often the centre is measured")

    def size(self, inputs: tuple[Input, ...]) -> int:
        d = len(inputs)
        return _checked_size(2**d + 2 * d + self.centre, 2, self.kind, inputs)

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats:
        from sdl.designs import plans

        face: Literal["inscribed", "faced"] = "faced" if self.star == "faced" else "inscribed"
        return self.between(plans.central_composite(len(inputs), face, self.centre)[trial])


class DOptimal(Planned):
    """D-optimal: the points that determine a linear or quadratic model most precisely."""

    kind: Literal["d-optimal"] = "d-optimal"
    model: Literal["linear", "interactions", "quadratic"] = Field(
        "linear", description="terms: linear; interactions adds all products; quadratic adds all products and squares"
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
            raise ConfigError(
                Problem("a quadratic term needs three settings of every input; give levels: 3 or more", "levels")
            )
        return size

    def values(self, inputs: tuple[Input, ...]) -> tuple[tuple[float, ...], ...]:
        """The candidate settings of each input as fractions of its range."""
        return tuple(self.levels_of(item, self.levels) for item in inputs)

    def fractions(self, trial: int, inputs: tuple[Input, ...], random: Random) -> Floats:
        from sdl.designs import plans

        seed = int(random(0).integers(2**63))
        point: Floats = plans.d_optimal(self.values(inputs), self.model, self.size(inputs), seed)[trial]
        return point


def _checked_size(size: int, least: int, kind: str, inputs: tuple[Input, ...]) -> int:
    """The number of points.

    Raises:
        ConfigError: the design needs more than these inputs, or has too many points.
    """
    if (d := len(inputs)) < least:
        names = ", ".join(item.name for item in inputs)
        instead = f"{{kind: factorial, levels: {3 if d == 1 else 2}}}"
        raise ConfigError(
            Problem(f"{kind} needs at least {least} inputs, and this instrument has {names}; use {instead}", "kind")
        )
    if size > MAX_POINTS:
        raise ConfigError(Problem(f"{size:,} points; at most {MAX_POINTS:,} are possible", "kind"))
    return size
