"""A joint Gaussian mixture over settings and readings, conditioned on the goal (paper, section 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from sdl.solvers.base import Data
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.models.backward.gaussian_mixture import FittedMixture


class Gmm(Frozen):
    """One distribution of settings and readings together; the goal's channels are fixed, the settings read off."""

    kind: Literal["gmm"] = "gmm"
    components: Annotated[int, Field(ge=1)] | Literal["bic"] = Field(
        default=1,
        description="Gaussians in the mixture: one for an instrument that is affine in its settings; "
        "bic: as many as the Bayesian information criterion asks for. Never more than the rows can carry.",
    )
    channels: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Channels to model beside those of the goal. Rows without them are left out.",
    )
    trend: Literal["affine", "none"] | None = Field(
        default=None,
        description="affine: one Gaussian, replaced by an affine fit with weights for the noise, and local weights "
        "where the instrument is nonlinear. none: all rows alike, earlier sessions included, as in the paper. "
        "Not given: affine with one component, none with several, which describe nonlinearity themselves.",
    )

    @model_validator(mode="after")
    def _one(self) -> Gmm:
        if self.trend == "affine" and self.components != 1:
            raise ValueError(f"trend affine goes with components 1, not {self.components}; several need trend none")
        return self

    def fit(self, data: Data) -> FittedMixture:
        """Fit the mixture.

        Raises:
            NotEnoughData, Degenerate: the rows cannot carry the fit.
            ConfigError: `channels` names one that the instrument does not have.
        """
        from sdl.models.backward.gaussian_mixture import fit_gaussian_mixture

        return fit_gaussian_mixture(data, components=self.components, channels=self.channels, trend=self.trend)
