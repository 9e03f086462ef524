"""Flow matching with boosted trees, through ForestDiffusion (paper, section 3.5)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.errors import ConfigError, SolverError
from sdl.extras import missing
from sdl.solvers.base import Data
from sdl.types import Channel, Frozen, Input

if TYPE_CHECKING:
    from sdl.models.backward.flow_matching import FittedFlow


def not_installed() -> str:
    """The message if ForestDiffusion, an optional package, is not installed; empty if it is."""
    if find_spec("ForestDiffusion"):
        return ""
    return missing("forest solvers", "forest", ImportError(name="ForestDiffusion"))


class Forest(Frozen):
    """A generative model of the settings given the readings.

    The paper's options: n_t 50, duplicate_K 100, n_estimators 100, max_depth 7, trend none.
    """

    kind: Literal["forest"] = "forest"
    n_t: int = Field(
        default=10, ge=2, description="Steps of the flow from noise to settings, one forest per step (paper: 50)."
    )
    duplicate_K: int = Field(default=10, ge=1, description="Noise samples for each row (paper: 100).")  # noqa: N815 (its name)
    n_estimators: int = Field(default=20, ge=1, description="Trees per forest (paper: 100).")
    max_depth: int | None = Field(
        default=None, ge=1, description="Depth of a tree. Not given: 2 with a trend, 7 without (as in the paper)."
    )
    trend: Literal["affine", "none"] = Field(
        default="affine",
        description="What is subtracted from the settings first. affine: an affine fit, with local weights if the "
        "instrument is nonlinear. none: nothing, as in the paper.",
    )
    samples: int = Field(
        default=200, ge=2, le=100_000, description="Settings drawn for a proposal, which is their mean."
    )

    def suits(self, inputs: tuple[Input, ...], channels: tuple[Channel, ...]) -> None:
        """Accept any instrument if ForestDiffusion is installed.

        Raises:
            ConfigError: ForestDiffusion is not installed.
        """
        if absent := not_installed():
            raise ConfigError(absent)

    def fit(self, data: Data) -> FittedFlow:
        """Grow the forests.

        Raises:
            NotEnoughData, Degenerate: the rows do not suffice for the fit.
            SolverError: ForestDiffusion is not installed.
        """
        if absent := not_installed():
            raise SolverError(absent)
        from sdl.models.backward.flow_matching import FlowOptions, fit_flow_matching

        options = FlowOptions(self.n_t, self.duplicate_K, self.n_estimators, self.max_depth, self.trend, self.samples)
        return fit_flow_matching(data, options)
