"""Settings drawn evenly within the bounds: the baseline that every solver has to beat. It looks at no reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sdl.solvers.base import Data, Proposals, Targets
from sdl.types import Frozen, Verdict

if TYPE_CHECKING:
    import numpy as np

    from sdl.arrays import Floats


class Random(Frozen):
    """Settings at random, evenly within the bounds: a baseline."""

    kind: Literal["random"] = "random"

    def fit(self, data: Data) -> FittedRandom:
        """Nothing to learn, so the cost does not grow with the rows."""
        return FittedRandom(asked=data.prefer is not None)


@dataclass(frozen=True)
class FittedRandom:
    """Knows nothing, and says so: spread and uncertainty are NaN, no readings are expected."""

    asked: bool = False
    """Whether some settings are preferred."""

    def propose(self, targets: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Proposals:
        import numpy as np

        k, d = len(targets.value), len(low)
        unknown = np.full((k, d), np.nan)
        return Proposals(
            settings=low + (high - low) * rng.random((k, d)),
            spread=unknown,
            uncertainty=unknown.copy(),
            expected=None,
            verdict=(Verdict.REACHABLE,) * k,
            why=("drawn at random within the bounds" + ", whatever is preferred" * self.asked,) * k,
        )
