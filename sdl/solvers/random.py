"""Settings drawn evenly within the bounds: the baseline that every solver has to beat. It looks at no reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.inversion.random_search import FittedRandom


class Random(Frozen):
    """Settings at random, evenly within the bounds: a baseline."""

    kind: Literal["random"] = "random"

    def fit(self, data: Data) -> FittedRandom:
        """Nothing to learn, so the cost does not grow with the rows."""
        from sdl.models.inversion.random_search import FittedRandom

        return FittedRandom(has_preference=data.prefer is not None)
