"""A design in the space of a campaign, also one with choices or constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sdl.designs.base import Design, Random
from sdl.grammar import LinearConstraint
from sdl.types import Input

if TYPE_CHECKING:
    from sdl.arrays import Floats


class Placed(Protocol):
    """A design in one space."""

    @property
    def size(self) -> int: ...
    def point(self, trial: int, taken: Floats, random: Random) -> Floats: ...


@dataclass(frozen=True)
class _InBox:
    """A design in a space of bounds alone."""

    design: Design
    inputs: tuple[Input, ...]

    @property
    def size(self) -> int:
        return self.design.size(self.inputs)

    def point(self, trial: int, taken: Floats, random: Random) -> Floats:
        return self.design.point(trial, taken, self.inputs, random)


def placed(design: Design, inputs: tuple[Input, ...], constraints: Sequence[LinearConstraint] = ()) -> Placed:
    """Place a design in a space; choices and constraints are handled here, so that no design has to.

    Its `size` raises ConfigError where there is no such plan or it is too large. Its `point` returns settings (p,) for
    a trial, counted from 0, given those taken so far (n, p).
    """
    if not constraints and all(item.numeric for item in inputs):
        return _InBox(design, inputs)
    from sdl.designs.inside import DesignInside
    from sdl.space import Space

    return DesignInside(design, Space(inputs, constraints))
