"""The contract of a solver: *which settings give these readings?*

A solver is a frozen model of its options, as in the YAML file. `fit` returns a fitted solver, whose `propose` gives the
settings for goals.
Import numpy, scipy and the like inside `fit`, or in a module that `fit` imports, never at the top of the file.
The shapes: n rows, d inputs, m channels, k goals asked at once.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sdl.errors import ConfigError
from sdl.models.data import Data as Data
from sdl.models.data import Proposals as Proposals
from sdl.models.data import Targets as Targets
from sdl.types import Input

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


def require_choices(solver: Any, inputs: Sequence[Input]) -> None:
    """Refuse inputs with choices for a solver that cannot handle them.

    Raises:
        ConfigError: its attribute `takes_choices` is missing or false.
    """
    names = [item.name for item in inputs if not item.numeric]
    if names and not getattr(solver, "takes_choices", False):
        of = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        raise ConfigError(f"{solver.kind} cannot handle the choices of {of}; use auto, linear, gp")


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
    # Optional: `takes_choices`, true if it can handle inputs with choices: columns of 0 and 1 (`Space.categorical`),
    # searched within each combination (`Space.region`). Settings that break a constraint are moved inside it later.
    # Optional: `suits(inputs, channels)`, which raises ConfigError for an instrument that the solver cannot handle.


def optimises(solver: object) -> bool:
    """Whether a solver can maximise or minimise a channel."""
    return bool(getattr(solver, "optimises", False))
