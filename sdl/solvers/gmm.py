"""A joint Gaussian mixture over settings and readings, conditioned on the goal (paper, section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.backward.gaussian_mixture import FittedMixture


class Gmm(Frozen):
    """A joint distribution of settings and readings, conditioned on the channels of the goal."""

    kind: Literal["gmm"] = "gmm"
    components: Annotated[int, Field(ge=1)] | Literal["bic"] = Field(
        default=1,
        description="Number of Gaussians in the mixture: 1 for an instrument that is affine in its settings; "
        "bic: chosen by the Bayesian information criterion. At most one per (columns + 2) rows.",
    )
    channels: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Further channels to model besides those of the goal. Rows without them are left out.",
    )
    trend: Literal["affine", "none"] | None = Field(
        default=None,
        description="affine: the single Gaussian is replaced by an affine fit weighted by the noise, with local "
        "weights if the instrument is nonlinear. none: equal weights, earlier sessions included, as in the paper. "
        "Not given: affine with one component, none with several, which describe nonlinearity themselves.",
    )

    @model_validator(mode="after")
    def _one(self) -> Gmm:
        if self.trend == "affine" and self.components != 1:
            raise ValueError(f"trend: affine needs components: 1, not {self.components}; with several use trend: none")
        return self

    def fit(self, data: Data) -> FittedMixture:
        """Fit the mixture.

        Raises:
            NotEnoughData, Degenerate: the rows do not suffice for the fit.
            ConfigError: `channels` names a channel that the instrument does not have.
        """
        from sdl.models.backward.gaussian_mixture import fit_gaussian_mixture

        return fit_gaussian_mixture(data, components=self.components, channels=self.channels, trend=self.trend)
