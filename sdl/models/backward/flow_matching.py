"""Flow matching with boosted trees, through ForestDiffusion (paper, section 3.5).

The output of trees is a step function: trees of any size, fitted to eighty rows, give settings that are wrong by
several per cent. By default the trees therefore learn only the residuals of a trend.

The library reseeds numpy's global generator when it fits, and draws from it when it generates. The state of that
generator is saved before and restored afterwards. Everything runs on one thread: several would be slower on so few
rows, and would sum in a varying order, so that the same seed would not give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import xgboost
from ForestDiffusion import ForestDiffusionModel

from sdl.arrays import Bools, Floats
from sdl.models.backward.local_regression import MIN_LEVELS, InverseRegression, fit_inverse_regression, levels
from sdl.models.data import Data, Proposals, Targets
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space

SEED = 666
"""Seed of the noise samples of a fit; ForestDiffusion's own default."""
FOLDS = 4
"""Number of parts into which the levels of an input are divided for cross-validation."""
FORESEEN = 0.8
"""Trees are used if they reduce the mean squared residual of the trend, at levels left out, below this fraction."""
MODE, SHIFTS = 0.15, 10
"""Draws of one mode differ from its mean by less than this fraction of the range in every input; mean shift steps."""
NOTHING = 1e-9
"""Residuals below this fraction of the range count as 0."""


class FlowOptions(NamedTuple):
    """The options of the solver `forest`."""

    n_t: int
    duplicate_K: int  # noqa: N815 (the library's name)
    n_estimators: int
    max_depth: int | None
    trend: Literal["affine", "none"]
    samples: int


def fit_flow_matching(data: Data, options: FlowOptions) -> FittedFlow:
    """Fit the trend, and grow the forests on its residuals.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    training = TrainingSet.from_data(data, level=options.trend == "affine")
    readings = training.Y[:, training.goal]
    if options.trend == "none":
        return FittedFlow(options.samples, training, _grow(options, training.U, readings))
    trend = fit_inverse_regression(training)
    readings = readings[trend.rows]
    learnable = _learnable(options, trend, readings)
    forest = _grow(options, trend.rest[:, learnable], readings) if learnable.any() else None
    return FittedFlowOnTrend(options.samples, training, forest, trend, learnable)


def _learnable(options: FlowOptions, trend: InverseRegression, readings: Floats) -> Bools:
    """(d,) the inputs for which trees predict part of the trend's residuals at levels that were left out.

    Residuals that are only noise cannot be predicted. Whole levels are left out, because rows of one level differ by
    noise alone and would make the prediction seem good.
    """
    learnable = np.zeros(trend.U.shape[1], bool)
    # The residuals are 0 if there are no more rows than coefficients, or if the rows are exactly affine.
    if trend.training.linear.dof[trend.training.goal].min() <= 0:
        return learnable
    for j, rest in enumerate(trend.rest.T):
        lows = levels(trend.U[:, j])
        if len(lows) < MIN_LEVELS or np.abs(rest).max() <= NOTHING:
            continue
        fold = np.searchsorted(lows, trend.U[:, j], side="right") % FOLDS
        foreseen = np.empty_like(rest)
        for part in range(FOLDS):
            trees = xgboost.XGBRegressor(
                n_estimators=options.n_estimators, max_depth=options.max_depth or 2, n_jobs=1, tree_method="hist"
            )
            with _library(SEED):
                trees.fit(readings[fold != part], rest[fold != part])
                foreseen[fold == part] = trees.predict(readings[fold == part])
        learnable[j] = ((rest - foreseen) ** 2).sum() < FORESEEN * (rest**2).sum()
    return learnable


def _grow(options: FlowOptions, settings: Floats, readings: Floats) -> Any:
    """The library's model of settings (n, d) given readings (n, g)."""
    if settings.shape[1] == 1:  # the library crashes if only one column is generated
        settings = np.column_stack([settings, np.zeros(len(settings))])
    with _library(SEED):
        return ForestDiffusionModel(
            settings,
            X_covs=readings,
            n_t=options.n_t,
            duplicate_K=options.duplicate_K,
            n_estimators=options.n_estimators,
            max_depth=options.max_depth or (2 if options.trend == "affine" else 7),
            n_batch=0,  # in memory; its iterator computes the same noise twice and ignores `model`
            n_jobs=1,  # jobs of the library
            nthread=1,  # threads of xgboost, in every version
            seed=SEED,
        )


def _densest(drawn: Floats) -> Floats:
    """Those of the draws (n, d) that belong to the most probable mode, because the mean of two modes is no solution.

    The mode is found by mean shift with radius MODE, starting from the draw with the most others around it.
    """
    beside = np.abs(drawn[:, None] - drawn).max(axis=2) < MODE
    own = beside[int(beside.sum(axis=1).argmax())]
    for _ in range(SHIFTS):
        centre = drawn[own].mean(axis=0)
        shifted = np.abs(drawn - centre).max(axis=1) < MODE
        if shifted.sum() <= own.sum():
            break
        own = shifted
    return np.asarray(drawn[own] if own.sum() > 1 else drawn, dtype=np.float64)


@dataclass(frozen=True)
class FittedFlow:
    """A forest fitted to the residuals of a trend, or to the settings themselves.

    Attributes:
        samples: number of settings drawn for a proposal.
        training: the usable rows.
        forest: None if trees cannot predict any residual of the trend.
        trend: subtracted first; None: no trend.
        learnable: (d,) the inputs whose residuals the forest generates; None: all.
    """

    samples: int
    training: TrainingSet
    forest: Any
    trend: InverseRegression | None = None
    learnable: Bools | None = None

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        value = self.training.fill_free_targets(targets, space)
        drawn = self._draw(value, self.samples, rng)
        modes = [_densest(settings) for settings in drawn]
        U = np.array([mode.mean(axis=0) for mode in modes])
        spread = np.array([mode.std(axis=0, ddof=1) for mode in modes])
        uncertainty = np.full_like(U, np.nan)  # trees alone give no uncertainty
        name = "flow matching"
        if self.trend is not None:
            name = "flow matching on the residuals of a linear model" if self.forest else "linear trend alone"
            V = self.trend.linear_settings(value)
            # With few rows trees learn noise, so their correction of the settings is added to the uncertainty.
            moved = np.sqrt(((U - self.trend.at(V)) ** 2).mean(axis=1, keepdims=True))
            spread, uncertainty = (np.hypot(part, moved) for part in self.trend.std_errors(U, V))
        expected = None if self.trend is None else self.trend.predict(self.training.settings(U))[0]
        return to_proposals(self.training, name, U, (spread, uncertainty), targets, space, expected)

    def sample(self, target: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Draw n settings (n, d) given the readings `target` (m,)."""
        value = target[None, self.training.goal]
        drawn = self._draw(value, n, rng)[0]
        if self.trend is not None:  # inputs that the trees do not generate scatter with the noise of the readings
            V = self.trend.linear_settings(value)
            spread = np.nan_to_num(self.trend.std_errors(self.trend.at(V), V)[0])
            drawn = drawn + rng.normal(size=drawn.shape) * (
                spread if self.learnable is None else np.where(self.learnable, 0.0, spread)
            )
        return self.training.settings(drawn)

    def _draw(self, value: Floats, n: int, rng: np.random.Generator) -> Floats:
        """(k, n, d) settings in units of the bounds: n for each of k goals (k, g), all drawn at once."""
        k, d = len(value), self.training.U.shape[1]
        base: Floats = np.zeros((k, 1, d))
        if self.trend is not None:
            base = self.trend.at(self.trend.linear_settings(value))[:, None]
        if self.forest is None:
            return np.repeat(base, n, axis=1)
        with _library(int(rng.integers(2**32))):
            drawn = self.forest.generate(batch_size=k * n, X_covs=np.repeat(value, n, axis=0))
        rest = np.zeros((k, n, d))
        learnable = np.ones(d, bool) if self.learnable is None else self.learnable
        rest[..., learnable] = np.asarray(drawn, dtype=np.float64)[:, : learnable.sum()].reshape(k, n, -1)
        return base + rest


@dataclass(frozen=True)
class FittedFlowOnTrend(FittedFlow):
    """Trees fitted to the residuals of a trend. Unlike trees alone, it can predict readings, by the trend."""

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d), by the trend, without the trees."""
        return cast(InverseRegression, self.trend).predict(X)


@contextmanager
def _library(seed: int) -> Iterator[None]:
    """Set numpy's global generator to `seed` and xgboost (from 3.0 on) to one thread; restore both afterwards."""
    state = np.random.get_state()
    try:
        np.random.seed(seed)
        with xgboost.config_context(**({"nthread": 1} if "nthread" in xgboost.get_config() else {})):
            yield
    finally:
        np.random.set_state(state)
