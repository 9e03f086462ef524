"""The contract of a solver: *which settings give these readings?*

A solver is a frozen model of hyper-parameters, straight from YAML; `fit` gives a fitted value, `propose` asks it.
Import numpy, scipy and the like inside the functions that use them, never at the top of the file.
The shapes: n rows, d inputs, m channels, k goals asked at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sdl.models.data import Data as Data
from sdl.models.data import Proposals as Proposals
from sdl.models.data import Targets as Targets

if TYPE_CHECKING:
    import numpy as np

    from sdl.arrays import Floats


class Fitted(Protocol):
    """May also offer `predict(X) -> (mean, std)`, each (n, m), and `sample(target, n, rng) -> (n, d)`."""

    def propose(self, targets: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Proposals: ...


@runtime_checkable
class Solver(Protocol):
    """Raises NotEnoughData(have, need) or Degenerate where the rows cannot carry it: a design point is measured."""

    @property
    def kind(self) -> str: ...
    def fit(self, data: Data) -> Fitted: ...  # deterministic; all randomness comes with `propose`

    # It may also say `needs(inputs) -> int | None`: how many design points it wants before it is asked first.
    # 0 where it knows its instrument beforehand; None, or without it: the whole design.
    # And `suits(inputs, channels)`, which raises ConfigError for an instrument that it cannot work for.
