"""Classical designs by pydoe: full factorial, Box-Behnken, central composite.

Montgomery, Design and Analysis of Experiments (2017), chapters 5 to 11.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from sdl.designs.base import MAX_POINTS, Random, Ranged, farthest, on_steps, scale
from sdl.errors import ConfigError, Problem
from sdl.types import Input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdl.arrays import Floats


Count = Annotated[int, Field(ge=2, le=1000)]


class Factorial(Ranged):
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

    def values(self, inputs: tuple[Input, ...]) -> list[Floats]:
        """The levels of each input as fractions of its range; fewer where it has too few steps."""
        import numpy as np

        names = [item.name for item in inputs]
        asked = self.levels if isinstance(self.levels, Mapping) else dict.fromkeys(names, self.levels)
        if set(asked) != set(names):
            wrong = f"must give every input ({', '.join(names)}) and no other; has {', '.join(asked)}"
            raise ConfigError(Problem(wrong, "levels"))
        return [on_steps(self.between(np.linspace(0, 1, asked[item.name])), item) for item in inputs]

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        import numpy as np

        if trial >= self.size(inputs):
            return farthest(taken, inputs, random(trial))
        values = self.values(inputs)
        plan = _factorial(tuple(len(one) for one in values))
        return scale(np.array([one[k] for one, k in zip(values, plan[trial], strict=True)]), inputs)


class BoxBehnken(Ranged):
    """Box-Behnken: each pair of inputs at low and high with the others in the middle, and the centre; no corners.

    12 + 1 points for three inputs, 24 + 1 for four; enough for a model with all squares and products (Box and Behnken,
    Technometrics 2 (1960) 455).
    """

    kind: Literal["box-behnken"] = "box-behnken"
    centre: int = Field(1, ge=1, le=1000, description="how often the centre is measured")

    def size(self, inputs: tuple[Input, ...]) -> int:
        d = len(inputs)
        _at_least(3, "box-behnken", inputs)
        return _capped(2 * d * (d - 1) + self.centre)

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        if trial >= self.size(inputs):
            return farthest(taken, inputs, random(trial))
        return scale(self.between(_box_behnken(len(inputs), self.centre)[trial]), inputs)


class CentralComposite(Ranged):
    """Central composite: the corners of a cube, a star on its axes, and the centre; fits a full quadratic model.

    15 points for three inputs, 25 for four (Box and Wilson, J. R. Stat. Soc. B 13 (1951) 1). The star reaches low and
    high; `rotatable` draws the corners in until the doubt of such a model is the same in every direction.
    """

    kind: Literal["central-composite"] = "central-composite"
    star: Literal["rotatable", "faced"] = Field(
        "rotatable",
        description="rotatable: five levels, corners drawn in. faced: three levels, corners at low and high",
    )
    centre: int = Field(1, ge=1, le=1000, description="how often the centre is measured")

    def size(self, inputs: tuple[Input, ...]) -> int:
        d = len(inputs)
        _at_least(2, "central-composite", inputs)
        return _capped(2**d + 2 * d + self.centre)

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        if trial >= self.size(inputs):
            return farthest(taken, inputs, random(trial))
        plan = _central_composite(len(inputs), self.star, self.centre)
        return scale(self.between(plan[trial]), inputs)


def _at_least(least: int, kind: str, inputs: tuple[Input, ...]) -> None:
    if (d := len(inputs)) < least:
        names = ", ".join(item.name for item in inputs)
        instead = f"{{kind: factorial, levels: {3 if d == 1 else 2}}}"
        raise ConfigError(Problem(f"{kind} needs {least} inputs or more, here is {names}; take {instead}", "kind"))


def _capped(size: int) -> int:
    if size > MAX_POINTS:
        raise ConfigError(Problem(f"{size:,} points; at most {MAX_POINTS:,} are planned", "kind"))
    return size


# Plans are drawn up once, not once a trial; in units of 0 (low) to 1 (high) ------------------------------------------
@lru_cache(maxsize=4)
def _factorial(counts: tuple[int, ...]) -> NDArray[np.intp]:
    """(size, d) level number of each input at each point."""
    import numpy as np
    from pydoe import fullfact

    return np.asarray(fullfact(list(counts)), dtype=np.intp)


@lru_cache(maxsize=4)
def _box_behnken(d: int, centre: int) -> Floats:
    import numpy as np
    from pydoe import bbdesign

    return np.asarray((bbdesign(d, center=centre) + 1) / 2, dtype=np.float64)


@lru_cache(maxsize=4)
def _central_composite(d: int, star: str, centre: int) -> Floats:
    import numpy as np
    from pydoe import ccdesign

    face: Literal["inscribed", "faced"] = "faced" if star == "faced" else "inscribed"
    return np.asarray((ccdesign(d, center=(centre, 0), alpha="rotatable", face=face) + 1) / 2, dtype=np.float64)
