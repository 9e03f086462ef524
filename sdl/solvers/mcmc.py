"""Bayesian inversion by Markov chains: the probability of settings, given the goal and a forward model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.inversion.mcmc import FittedMcmc


class Mcmc(Frozen):
    """Draws settings from their posterior distribution given the goal, by Markov chains on a forward model."""

    kind: Literal["mcmc", "bsi"] = "mcmc"
    model: Literal["gp", "bayes", "linear", "smooth"] = Field(
        "gp",
        description="the forward model; gp for a goal with several solutions, as with y = x²; smooth: older name of gp",
    )
    answer: Literal["mean", "median", "top"] = Field(
        "mean",
        description="which point of the most probable solution is proposed: mean, median, or top (the maximum)",
    )
    walkers: int = Field(64, ge=8, le=1000, description="number of parallel chains; at least four for each input")
    steps: int = Field(60, ge=10, le=100_000, description="steps of each chain that are used")
    burn: int = Field(20, ge=0, le=100_000, description="steps of each chain that are discarded first")

    def fit(self, data: Data) -> FittedMcmc:
        """Fit the forward model.

        Raises:
            NotEnoughData, Degenerate: the forward model cannot be fitted.
        """
        from sdl.models.inversion.mcmc import fit_mcmc

        return fit_mcmc(
            data, model=self.model, answer=self.answer, walkers=self.walkers, steps=self.steps, burn=self.burn
        )
