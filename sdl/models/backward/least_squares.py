"""Least squares from settings to readings, inverted by a nonlinear program (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from sdl.arrays import Bools, Floats
from sdl.models.data import Data, Proposals, Targets
from sdl.models.forward.forward_model import LinearForward
from sdl.models.forward.linear_model import LinearModel, fit_linear
from sdl.models.inversion.search import Bands
from sdl.models.training_set import TrainingSet, nearest_by_lines
from sdl.models.verdict import to_proposals
from sdl.space import Space
from sdl.space.region import Region

ROUNDS, CLOSE = 8, 1e-5
"""Largest number of refits of a neighbourhood, and the change of the settings below which they end."""
OTHERS = 0.05
"""Weight of the rows of other choices in a fit for one combination of choices, whose slopes may differ."""
NEAR = 1.5
"""Least number of effective rows for each coefficient; a neighbourhood or a memory is widened until it holds them."""


def fit_least_squares(
    data: Data,
    *,
    intercept: bool = True,
    bounded: bool = True,
    starts: int = 4,
    local: float | None = None,
    memory: float | None = None,
) -> FittedLeastSquares:
    """Fit the readings; the options are those of the solver `linear`.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    training = TrainingSet.from_data(data, level=intercept, by_channel=intercept)
    if not intercept:
        origin = training.low / training.range  # readings are 0 at settings of 0, not at the lower bounds
        model, recency = fit_linear(training.U, training.Y, training.usable, origin=origin), None
    elif memory is None:
        model, recency = training.linear, np.ones(len(training.U))
    else:
        recency = wide_enough(lambda memory: np.exp(-np.asarray(training.age) / memory), memory, training)
        model = weighted(training, recency)
    return FittedLeastSquares(training, model, recency, intercept, bounded, starts, local)


def wide_enough(counts: Callable[[float], Floats], width: float, training: TrainingSet) -> Floats:
    """(n,) weights of the rows with this width, or with the next wider one that has enough effective rows."""
    n, p = len(training.U), training.U.shape[1] + 1
    for _ in range(40):
        weights = counts(width)
        if weights.sum() ** 2 >= min(NEAR * p, n - 1.0) * (weights**2).sum():
            break
        width *= 1.5
    return weights


def weighted(training: TrainingSet, counts: Floats) -> LinearModel:
    """Fit the linear model to all rows, with weights `counts` (n,)."""
    fit = fit_linear(training.U, training.Y, training.usable, counts=counts)
    if training.session_cov is None or fit.extra is None:
        return fit
    return replace(fit, extra=fit.extra + training.session_cov)


@dataclass(frozen=True)
class FittedLeastSquares:
    """A fitted linear model, inverted by a bounded search.

    Attributes:
        training: the usable rows.
        model: the linear model of all rows.
        recency: (n,) weight of each row by its age; None without an intercept.
        intercept, bounded, starts, local: the options.
    """

    training: TrainingSet
    model: LinearModel
    recency: Floats | None
    intercept: bool
    bounded: bool
    starts: int
    local: float | None

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        region = self.training.region(space)
        settings, std_errors, expected = [], [], []
        choices = region.categorical.any()
        for value, *band in zip(*targets, strict=True):
            target = self.training.activate_limits(Targets(value, *band), region)
            u, model = self._search(self.model, target, region, rng), self.model
            if choices:
                u, model = self._best_of_choices(target, region, rng)
            for _ in range(ROUNDS if self.local else 0):
                before, model = u, self.local_fit(u)
                u = self._search(model, target, region, rng)
                if np.abs(u - before).max() < CLOSE:
                    break
            settings.append(u)
            columns = self.training.target_columns(value)
            std_errors.append(model.std_errors(columns, u) if len(columns) else np.full((2, len(u)), np.nan))
            expected.append(model.mean(u[None])[0])
        U = np.array(settings)
        spread, uncertainty = np.swapaxes(np.array(std_errors), 0, 1)
        name = "least squares" if self.intercept else "least squares through the origin"
        return to_proposals(self.training, name, U, (spread, uncertainty), targets, space, np.array(expected))

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d)."""
        U = self.training.units(X)
        if self.local is None and not self._categorical.any():
            return self.model.predict(U)
        predictions = [self.local_fit(u).predict(u[None]) for u in U]
        return np.vstack([mean for mean, _ in predictions]), np.vstack([std for _, std in predictions])

    @property
    def forward(self) -> LinearForward:
        """The linear model of all rows as a forward model."""
        return LinearForward(self.training, self.model)

    def leave_one_out(self) -> Floats:
        """(n, m) log density of each reading of the training set given the others; NaN = unknown."""
        return self.forward.leave_one_out()

    def local_fit(self, u: Floats) -> LinearModel:
        """Fit the neighbourhood of settings u (d,); it is widened if it holds too few rows."""
        away = ((self.training.U - u) ** 2).sum(axis=1)
        away -= away.min()
        width, other = self.local or np.inf, np.ones(len(away))
        if self._categorical.any():
            apart = np.abs(self.training.U - u)[:, self._categorical].max(axis=1) > 0.5
            other = np.where(apart & ~apart.all(), OTHERS, 1.0)
        recency = other if self.recency is None else self.recency * other
        near = wide_enough(lambda width: recency * np.exp(-0.5 * away / width**2), width, self.training)
        return weighted(self.training, near)

    @property
    def _categorical(self) -> Bools:
        """(d,) the columns of choices."""
        return self.training.own_region.categorical

    def _best_of_choices(self, target: Targets, region: Region, rng: np.random.Generator) -> tuple[Floats, LinearModel]:
        """The settings of one combination of choices where a reading most probably is inside, and the fit there.

        Each combination has a fit of its own, to which the rows of others contribute little where its own suffice. If
        none meets the goal, those that were not measured where they come closest are taken first.
        """
        bands, middle, answers = Bands.of(self.training, target), self.model.middle, []
        for block in region.blocks():
            model = self.local_fit(block.project(middle))
            u = self._search(model, target, block, rng)
            mean, std = model.predict(u[None])
            variance = std**2 + self.training.interaction_variance(u[None])
            chance = float(bands.log_probability(mean, variance)[0])
            rank = 2 if bands.are_met(mean)[0] else int(not self.training.has_row_near(u[None])[0])
            answers.append(((rank, chance), (u, model)))
        return max(answers, key=lambda answer: answer[0])[1]

    def _search(self, model: LinearModel, target: Targets, region: Region, rng: np.random.Generator) -> Floats:
        """(d,) settings in units of the bounds with the smallest error.

        Errors are in tolerances; with errors in counts the search would stop early for lack of numerical precision.
        """
        columns = self.training.target_columns(target.value)
        low, high = region.low, region.high
        middle = region.project(model.middle)
        starts = [middle, *rng.uniform(low, high, (self.starts - 1, len(low)))]
        if not len(columns):
            return middle
        scale = self.training.tolerance_scale(target)[columns]
        if not region.is_box:
            return nearest_by_lines(model, target.value[columns], columns, scale, region)
        slope = model.slope[columns] / scale[:, None]
        gap = (target.value[columns] - model.mean(np.zeros((1, len(low))))[0, columns]) / scale
        steep = (slope**2).sum() or 1.0

        def objective(u: Floats) -> tuple[float, Floats]:
            miss = slope @ u - gap
            return float(miss @ miss) / steep, 2.0 * (miss @ slope) / steep

        bounds = list(zip(low, high, strict=True)) if self.bounded else None
        best, least = middle, np.inf
        for start in starts:
            # From the middle of the data, steps keep to directions that the goal depends on. A later start must be
            # clearly better to replace the first, so of several solutions the one closest to the data is taken.
            result = minimize(
                objective,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 500},
            )
            if result.fun < least * (1 - 1e-6) - 1e-15:
                best, least = result.x, result.fun
            if least <= 1e-15:  # no later start can be clearly better
                break
        return np.asarray(best, dtype=np.float64)
