"""The contract of a solver: *which settings give these readings?*

A solver is a frozen model of its options, as in the YAML file. `fit` returns a fitted solver, whose `propose` gives the
settings for goals.
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
    """A fitted solver.

    It may also have `predict(X) -> (mean, std)`, each (n, m), and `sample(target, n, rng) -> (n, d)`.
    """

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals: ...


def ask(fitted: Any, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
    """Call `propose` of a fitted solver, also of one with the arguments of sdl 0.1: `(targets, low, high, rng)`."""
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
    """A solver's options, with the method `fit`.

    `fit` raises NotEnoughData(have, need) or Degenerate if the rows do not suffice; a design point is then measured.
    """

    @property
    def kind(self) -> str: ...
    def fit(self, data: Data) -> Fitted: ...  # deterministic; all randomness comes with `propose`

    # Optional: `needs(inputs) -> int | None`, the number of design points to measure before the first proposal.
    # 0 if the solver knows the instrument beforehand; None, or no such method: the whole design.
    # Optional: `optimises`, whether `fit` handles `Data.objective`, a channel to maximise or minimise; without it: no.
    # Optional: `suits(inputs, channels)`, which raises ConfigError for an instrument that the solver cannot handle.


def optimises(solver: object) -> bool:
    """Whether a solver can maximise or minimise a channel."""
    return bool(getattr(solver, "optimises", False))
