"""The solver `bayes`: a Bayesian linear model with noise, drift and prior knowledge of the twin."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.errors import SolverError
from sdl.solvers.base import Data
from sdl.types import Frozen, Input

if TYPE_CHECKING:
    from sdl.models.forward.bayesian_line import FittedBayesianLine


class Bayes(Frozen):
    """A Bayesian linear model of the readings with noise, drift and offsets between sessions; keeps to the bounds."""

    kind: Literal["bayes"] = "bayes"
    knows: Literal["nothing", "twin"] = Field(
        default="nothing",
        description="Prior knowledge. nothing: it needs inputs + 1 rows. twin: the gains of a twin's state "
        "± 20 %, so that it proposes from the first trial on, without a design.",
    )
    state: str = Field(
        default="night-2025-10",
        description="With `knows: twin`, the state of the twin: its name, or the path of your own .toml file.",
    )

    def needs(self, inputs: tuple[Input, ...]) -> int | None:
        """Number of design points to measure before the first proposal; None: the whole design."""
        return 0 if self.knows == "twin" else None

    def fit(self, data: Data) -> FittedBayesianLine:
        """Fit the linear model at the next reading.

        Raises:
            NotEnoughData, Degenerate: the rows do not suffice for the fit.
            SolverError: `knows` asks for prior knowledge that `data` does not have.
        """
        from sdl.models.forward.bayesian_line import fit_bayesian_line

        if self.knows == "nothing":
            return fit_bayesian_line(replace(data, knowledge=None))
        if data.knowledge is None:
            raise SolverError(f"knows: {self.knows} needs `Data.knowledge`; `sdl.inverse.knowledge.fit` adds it")
        return fit_bayesian_line(data)
