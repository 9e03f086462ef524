"""Settings drawn uniformly within the bounds, without regard to any reading: the baseline for other solvers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.inversion.random_search import FittedRandom


class Random(Frozen):
    """Settings drawn uniformly at random within the bounds: a baseline."""

    takes_choices: ClassVar[bool] = True

    kind: Literal["random"] = "random"

    def fit(self, data: Data) -> FittedRandom:
        """Return a fitted solver without using the rows."""
        from sdl.models.inversion.random_search import FittedRandom

        return FittedRandom(has_preference=data.prefer is not None)
