"""Adaptive design: the next point is where the solver's proposal would be most uncertain.

The paper leaves open how to choose the data for a generative model (section 4). Here any solver chooses its own: of
some candidate settings it is asked for the goals that they would give, and the ones are taken whose answer is the most
uncertain, in parts of the inputs' ranges, times the distance to what has been measured. Without the distance a model
that takes the instrument for straight would measure corners for ever and never see it bend.

Measured in benchmarks/learning.py, it is better than a Latin hypercube and no better than `farthest`, which needs no
model: docs/reference/designs.md has the figures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from sdl import registry
from sdl.designs.base import Random, Ranged, scale
from sdl.designs.filling import Farthest
from sdl.errors import ConfigError, Degenerate, NotEnoughData
from sdl.solvers.base import Data, Targets, ask
from sdl.types import Input

if TYPE_CHECKING:
    import numpy as np

    from sdl.arrays import Bools, Floats
    from sdl.space import Space


CANDIDATES = 64
CLIPPED = 0.1
"""A channel saturated or missing in a larger fraction of the rows is left out, unless it is configured."""
BAND = 0.01
"""Tolerance of the goals, relative to the reading: solvers need one; the result hardly depends on it."""


class Adaptive(Ranged):
    """The axis points, then the point where a solver would be most uncertain; `farthest` performs equally well."""

    kind: Literal["adaptive"] = "adaptive"
    trials: int = Field(20, ge=1, le=10_000, description="how many points, the axis points among them")
    solver: str = Field("gp", description="kind of the solver that chooses, with its default options")
    channels: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="channels that goals will be set for; none given: those of the campaign's goal, or, without one, "
        "all that are rarely saturated",
    )

    @field_validator("solver")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            registry.find("solvers", value)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return value

    def size(self, inputs: tuple[Input, ...]) -> int:
        return self.trials

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        """Return an axis point; beyond them, without readings, the farthest point."""
        return Farthest(low=self.low, high=self.high, trials=self.trials).point(trial, taken, inputs, random)

    def choose(self, trial: int, data: Data, random: Random) -> tuple[Floats, str]:
        import numpy as np
        from scipy.spatial.distance import cdist
        from scipy.stats import qmc

        from sdl.space import Space

        inputs, rng = data.inputs, random(trial)
        space = Space(inputs)
        unit = self.between(qmc.Sobol(len(inputs), rng=rng).random(CANDIDATES))
        apart = cdist(unit, (data.X - space.low) / space.width).min(axis=1) if len(data.X) else np.ones(CANDIDATES)
        candidates = scale(unit, inputs)
        try:
            doubt = self._doubt(replace(data, goal=self._listened(data)), candidates, space, rng)
        except (NotEnoughData, Degenerate) as error:
            if trial <= len(inputs):
                return self.point(trial, data.X, inputs, random), f"axis point {trial + 1} of {len(inputs) + 1}"
            return candidates[int(apart.argmax())], f"{self.solver} cannot say yet ({error}); the farthest point"
        if not np.isfinite(doubt).any():
            return candidates[int(apart.argmax())], f"{self.solver} does not know how sure it is; the farthest point"
        doubt = np.where(np.isfinite(doubt), doubt, 0.0)
        best = int((doubt * apart).argmax())
        said = f"{self.solver} would be {doubt[best]:.2%} of the range unsure of these settings, the median is"
        return candidates[best], f"{said} {np.median(doubt):.2%}"

    def _listened(self, data: Data) -> Bools:
        """(m,) channels of the goals."""
        import numpy as np

        names = [channel.name for channel in data.channels]
        if self.channels:
            return np.isin(names, self.channels)
        if not data.goal.all():
            return data.goal
        bad = (data.saturated | ~np.isfinite(data.Y)).sum(axis=0)
        return np.asarray(bad <= CLIPPED * len(data.Y), dtype=np.bool_)

    def _doubt(self, data: Data, candidates: Floats, space: Space, rng: np.random.Generator) -> Floats:
        """(k,) uncertainty of the settings that the solver proposes for each candidate's readings."""
        import numpy as np

        fitted = registry.find("solvers", self.solver)().fit(data)
        forward: Any = fitted if hasattr(fitted, "predict") else registry.find("solvers", "gp")().fit(data)
        value = np.where(data.goal, forward.predict(candidates)[0], np.nan)
        half = np.where(data.goal, BAND * np.abs(value) + 1e-9, np.inf)
        targets = Targets(value, np.where(data.goal, value - half, -np.inf), np.where(data.goal, value + half, np.inf))
        given = ask(fitted, targets, space, rng).uncertainty / space.width
        return np.asarray(np.sqrt((given**2).sum(axis=1)), dtype=np.float64)
