"""Settings drawn uniformly within the bounds, without regard to any reading: the baseline for other solvers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdl.models.data import Proposals, Targets
from sdl.space import Space
from sdl.types import Verdict


@dataclass(frozen=True)
class FittedRandom:
    """Draws settings at random; spread, uncertainty and expected readings are unknown."""

    has_preference: bool = False
    """Whether the campaign has a `prefer`, which is ignored."""

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        k, d = len(targets.value), len(space.low)
        unknown = np.full((k, d), np.nan)
        return Proposals(
            settings=space.low + space.width * rng.random((k, d)) if space.is_box else space.sample(k, rng),
            spread=unknown,
            uncertainty=unknown.copy(),
            expected=None,
            verdict=(Verdict.REACHABLE,) * k,
            why=("drawn at random within the bounds" + ", whatever is preferred" * self.has_preference,) * k,
        )
