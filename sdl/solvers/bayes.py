"""A linear model that knows its noise, lets the instrument drift, and can start from what is known of the twin."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.errors import SolverError
from sdl.solvers.base import Data
from sdl.types import Frozen, Input

if TYPE_CHECKING:
    from sdl.models.bayesian_line import FittedBayesianLine


class Bayes(Frozen):
    """A Bayesian affine model of the readings; noise, offset and drift are learnt, proposals keep to the bounds."""

    kind: Literal["bayes"] = "bayes"
    knows: Literal["nothing", "twin"] = Field(
        default="nothing",
        description="What it starts from. nothing: rows alone, inputs + 1 of them. twin: the gains of a twin's state, "
        "give or take 20 %, so that it answers from the first trial on, without a design.",
    )
    state: str = Field(
        default="night-2025-10",
        description="The twin's state that it knows: the name of one, or the path of your own .toml file.",
    )

    def needs(self, inputs: tuple[Input, ...]) -> int | None:
        """How many design points it wants before its first answer; None: the whole design."""
        return 0 if self.knows == "twin" else None

    def fit(self, data: Data) -> FittedBayesianLine:
        """Fit the lines at the next reading.

        Raises:
            NotEnoughData, Degenerate: the rows cannot carry the fit.
            SolverError: it is to start from knowledge that `data` does not hold.
        """
        from sdl.models.bayesian_line import fit_bayesian_line

        if self.knows == "nothing":
            return fit_bayesian_line(replace(data, knowledge=None))
        if data.knowledge is None:
            raise SolverError(f"knows: {self.knows} needs data with knowledge; `sdl.inverse.knowledge` adds it")
        return fit_bayesian_line(data)
