"""The contract of a solver: *which settings give these readings?*

A solver is a frozen model of hyper-parameters, straight from YAML; `fit` gives a fitted value, `propose` asks it.
Import numpy, scipy and the like inside `fit`, or in a module that `fit` imports, never at the top of the file.
The shapes: n rows, d inputs, m channels, k goals asked at once.
"""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sdl.models.data import Data as Data
from sdl.models.data import Proposals as Proposals
from sdl.models.data import Targets as Targets

if TYPE_CHECKING:
    import numpy as np

    from sdl.space import Space


class Fitted(Protocol):
    """May also offer `predict(X) -> (mean, std)`, each (n, m), and `sample(target, n, rng) -> (n, d)`."""

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals: ...


def ask(fitted: Any, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
    """Call `propose` of a fitted solver, also with the arguments of sdl 0.1: `(targets, low, high, rng)`."""
    proposals: Proposals
    if "high" not in inspect.signature(fitted.propose).parameters:
        proposals = fitted.propose(targets, space, rng)
        return proposals
    name = type(fitted).__name__
    warnings.warn(f"{name}.propose must take (targets, space, rng), not low and high", DeprecationWarning, stacklevel=2)
    proposals = fitted.propose(targets, space.low, space.high, rng)
    return proposals


@runtime_checkable
class Solver(Protocol):
    """Raises NotEnoughData(have, need) or Degenerate where the rows cannot carry it: a design point is measured."""

    @property
    def kind(self) -> str: ...
    def fit(self, data: Data) -> Fitted: ...  # deterministic; all randomness comes with `propose`

    # It may also say `needs(inputs) -> int | None`: how many design points it wants before it is asked first.
    # 0 where it knows its instrument beforehand; None, or without it: the whole design.
    # And `suits(inputs, channels)`, which raises ConfigError for an instrument that it cannot work for.
