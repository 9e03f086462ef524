"""Flow matching with boosted trees, through ForestDiffusion (paper, section 3.5).

Trees answer in steps: on some eighty rows of raw pairs their answers miss a goal by several percent, however large they
are made. By default they therefore learn only what a trend leaves over.

The library reseeds numpy's global generator when it fits, and draws from it when it generates. Both happen here between
a saved and a restored state, on one thread: many threads on so few rows cost more than they give, and one thread sums
in one order, so that the same seed gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sdl.errors import ConfigError, SolverError
from sdl.extras import missing
from sdl.models.local_regression import InverseRegression, fit_inverse_regression
from sdl.models.training_set import TrainingSet, stand_on
from sdl.solvers.base import Data, Proposals, Targets
from sdl.types import Channel, Frozen, Input

if TYPE_CHECKING:
    import numpy as np

    from sdl.arrays import Floats


SEED = 666
"""Of the noise that a fit is made on: ForestDiffusion's own default."""


def not_installed() -> str:
    """What to say where ForestDiffusion, which is an extra, is not installed; empty where it is."""
    if find_spec("ForestDiffusion"):
        return ""
    return missing("forest solvers", "forest", ImportError(name="ForestDiffusion"))


class Forest(Frozen):
    """A generative model of the settings given the readings.

    The paper's: n_t 50, duplicate_K 100, n_estimators 100, trend none.
    """

    kind: Literal["forest"] = "forest"
    n_t: int = Field(
        default=10, ge=2, description="Steps of the flow from noise to settings, a forest each (paper: 50)."
    )
    duplicate_K: int = Field(default=10, ge=1, description="Noise samples for each row (paper: 100).")  # noqa: N815 (its name)
    n_estimators: int = Field(default=20, ge=1, description="Trees a forest (paper: 100).")
    max_depth: int | None = Field(
        default=None, ge=1, description="Depth of a tree; not given: 2 beside a trend, without one 7 (as in the paper)."
    )
    trend: Literal["affine", "none"] = Field(
        default="affine",
        description="What is taken off the settings first: an affine fit, weighted about the goal where the instrument "
        "bends, or nothing (paper).",
    )
    samples: int = Field(
        default=200, ge=2, le=100_000, description="Settings drawn for an answer, which is their mean."
    )

    def suits(self, inputs: tuple[Input, ...], channels: tuple[Channel, ...]) -> None:
        """Any instrument, where ForestDiffusion is installed.

        Raises:
            ConfigError: it is not.
        """
        if absent := not_installed():
            raise ConfigError(absent)

    def fit(self, data: Data) -> FittedForest:
        if absent := not_installed():
            raise SolverError(absent)
        import numpy as np

        footing = stand_on(data, level=self.trend == "affine")
        readings = footing.Y[:, footing.goal]
        if self.trend == "none":
            return FittedForest(self, footing, self._grow(footing.U, readings))
        trend = fit_inverse_regression(footing)
        # Nothing is left over where the affine fit takes up every row, or where rows without noise lie on it.
        grown = footing.affine.dof[footing.goal].min() > 0 and np.abs(trend.rest).max() > 1e-9
        forest = self._grow(trend.rest, readings[-len(trend.rest) :]) if grown else None
        return FittedOnTrend(self, footing, forest, trend)

    def _grow(self, settings: Floats, readings: Floats) -> Any:
        import numpy as np
        from ForestDiffusion import ForestDiffusionModel

        if settings.shape[1] == 1:  # a single column to generate crashes it
            settings = np.column_stack([settings, np.zeros(len(settings))])
        with _library(SEED):
            return ForestDiffusionModel(
                settings,
                X_covs=readings,
                n_t=self.n_t,
                duplicate_K=self.duplicate_K,
                n_estimators=self.n_estimators,
                max_depth=self.max_depth or (2 if self.trend == "affine" else 7),
                n_batch=0,  # in memory; through its iterator it computes the same noise twice and ignores `model`
                n_jobs=1,  # of its own
                nthread=1,  # of xgboost's, in every version
                seed=SEED,
            )


@dataclass(frozen=True)
class FittedForest:
    """A grown forest over what the trend leaves; None where it leaves nothing."""

    solver: Forest
    footing: TrainingSet
    forest: Any
    trend: InverseRegression | None = None

    def propose(self, targets: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Proposals:
        import numpy as np

        value = self.footing.filled(targets, low, high)
        drawn = self._draw(value, self.solver.samples, rng)
        U, spread = drawn.mean(axis=1), drawn.std(axis=1, ddof=1)
        uncertainty = np.full_like(U, np.nan)  # trees know no doubt of their own
        name = "flow matching"
        if self.trend is not None:
            name = "flow matching on the residuals of an affine fit" if self.forest else "the affine trend alone"
            V = self.trend.lines(value)
            # How far the trees moved the answer is doubted too: on few rows it is noise that they have learnt.
            moved = np.sqrt(((U - self.trend.at(V)) ** 2).mean(axis=1, keepdims=True))
            spread, uncertainty = (np.hypot(part, moved) for part in self.trend.doubt(U, V))
        expected = None if self.trend is None else self.trend.predict(self.footing.settings(U))[0]
        return self.footing.answer(name, U, (spread, uncertainty), targets, (low, high), expected)

    def sample(self, target: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Draws n settings (n, d) that go with the readings `target` (m,)."""
        return self.footing.settings(self._draw(target[None, self.footing.goal], n, rng)[0])

    def _draw(self, value: Floats, n: int, rng: np.random.Generator) -> Floats:
        """(k, n, d) settings in units: n for each of the goals (k, g), all drawn at once."""
        import numpy as np

        k, d = len(value), self.footing.U.shape[1]
        base: Floats = np.zeros((k, 1, d))
        if self.trend is not None:
            base = self.trend.at(self.trend.lines(value))[:, None]
        if self.forest is None:
            return np.repeat(base, n, axis=1)
        with _library(int(rng.integers(2**32))):
            drawn = self.forest.generate(batch_size=k * n, X_covs=np.repeat(value, n, axis=0))
        return base + np.asarray(drawn, dtype=np.float64)[:, :d].reshape(k, n, d)


@dataclass(frozen=True)
class FittedOnTrend(FittedForest):
    """Trees on what a trend leaves over. The trend can predict; trees by themselves cannot."""

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d), by the trend, without the trees."""
        predicted: tuple[Floats, Floats] = (self.trend or fit_inverse_regression(self.footing)).predict(X)
        return predicted


@contextmanager
def _library(seed: int) -> Iterator[None]:
    """Numpy's global generator at `seed` and xgboost (from 3.0 on) on one thread; both as they were afterwards."""
    import numpy as np
    import xgboost

    state = np.random.get_state()
    try:
        np.random.seed(seed)
        with xgboost.config_context(**({"nthread": 1} if "nthread" in xgboost.get_config() else {})):
            yield
    finally:
        np.random.set_state(state)
