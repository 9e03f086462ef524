"""Old names, for solvers written for sdl 0.1: `stand_on` and `Footing`. Use `sdl.models.training_set.TrainingSet`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from sdl.arrays import Floats
from sdl.models.data import Data, Proposals, Targets
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space
from sdl.types import Input

RENAMED = {
    "affine": "linear",
    "about": "summary",
    "apart": "session_cov",
    "sitting": "session",
    "room": "tolerance_scale",
    "inner": "guarded_limits",
    "aimed": "activate_limits",
    "wanted": "target_columns",
    "choice": "is_underdetermined",
    "doubted": "add_session_variance",
}


class Footing(TrainingSet):
    """A training set that also answers to its old names."""

    def __getattr__(self, name: str) -> Any:
        if name not in RENAMED:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self, RENAMED[name])

    def aims(self, targets: Targets, low: Floats, high: Floats) -> Floats:
        """Old name of `active_targets`."""
        return self.active_targets(targets, self._space(low, high))

    def filled(self, targets: Targets, low: Floats, high: Floats) -> Floats:
        """Old name of `fill_free_targets`."""
        return self.fill_free_targets(targets, self._space(low, high))

    def answer(
        self,
        model: str,
        settings: Floats,
        doubt: tuple[Floats, Floats],
        targets: Targets,
        bounds: tuple[Floats, Floats],
        expected: Floats | None = None,
        notes: Sequence[str] = (),
        *,
        prefers: bool = False,
    ) -> Proposals:
        """Old name of `sdl.models.verdict.to_proposals`."""
        space = self._space(*bounds)
        return to_proposals(self, model, settings, doubt, targets, space, expected, notes, prefers=prefers)

    def _space(self, low: Floats, high: Floats) -> Space:
        bounds = enumerate(zip(low.tolist(), high.tolist(), strict=True))
        return Space([Input(name=f"x{i}", low=start, high=end) for i, (start, end) in bounds])


def stand_on(data: Data, also: Sequence[int] = (), *, level: bool = True) -> Footing:
    """Old name of `TrainingSet.from_data`."""
    warnings.warn("stand_on is called TrainingSet.from_data", DeprecationWarning, stacklevel=2)
    return Footing.from_data(data, also, level=level)
