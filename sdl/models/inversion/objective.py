"""Settings that maximise or minimise one channel, by constrained expected improvement on any forward model.

    a(u) = E[max(f(u) - best, 0)] · P(f_c(u) inside its limits, for every constraint c)

f is the noise-free reading, of which the model gives mean and variance (Jones et al., J. Global Optim. 13 (1998) 455;
Gardner et al., ICML 2014). Readings are noisy, so that `best` is not known either: it is the best noise-free reading
at the measured settings that keep the constraints. The expectation is taken over its values on sample paths (Letham et
al., Bayesian Anal. 14 (2019) 495). Logarithms keep the gradient where hardly any improvement is expected (Ament et
al., NeurIPS 2023). As long as no measured settings keep the constraints, a(u) is the probability alone.

The incumbent is the measured settings with the best mean of the model among those whose means keep the constraints.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.special import erfcx, logsumexp, ndtr

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import MOST_COMBINATIONS, NOMINAL, SEED
from sdl.models.data import Objective, Proposals, Targets
from sdl.models.forward.forward_model import ForwardModel
from sdl.models.inversion.forward import FittedForward
from sdl.models.inversion.search import Function, log_inside, maximise
from sdl.models.verdict import Judge
from sdl.space import Space
from sdl.space.region import Region
from sdl.types import Verdict

PATHS = 64
"""Number of sample paths over which the expectation over the best noise-free reading is taken."""
RIVALS = 100
"""Largest number of measured settings, those with the best means, whose readings are drawn to find the best."""
CANDIDATES, BEST, NEAR, WIDTH = 1000, 3, 60, 0.05
"""Number of random settings that are compared; NEAR further ones around each of the BEST best settings measured; and
the standard deviation of these, as a fraction of the range."""
DECIMALS = 4
"""Decimals of settings, in units of the bounds: a maximum is flat, and its last digits differ between processors."""
ROUNDED = 1e-5
"""Settings that break a linear constraint by at most this fraction of the range were rounded, and keep it."""
INSIDE, PENALTY = 1e-4, 1e4
"""Margin by which the best mean keeps each constraint, as a fraction of the channel's response; and the weight of the
squared violation of that margin, so large that the solution violates less than half of it."""
FARTHEST = -1e5
"""Lower bound of (mean - best) / sd in the logarithm of the expected improvement, so that it stays finite."""
LEAST = -1e6
"""Lower bound of log a(u), so that differences of it are finite."""
LOG_2PI = float(np.log(2.0 * np.pi))


class Limits(NamedTuple):
    """The constraints: accepted readings low…high (c,) of the channels `columns` (c,)."""

    columns: Ints
    low: Floats
    high: Floats

    @classmethod
    def of(cls, target: Targets) -> Limits:
        """The limits of one goal, each part (m,)."""
        columns = np.flatnonzero(np.isfinite(target.low) | np.isfinite(target.high))
        return cls(columns, target.low[columns], target.high[columns])

    def are_kept(self, Y: Floats) -> Bools:
        """(…,) whether readings (…, m) keep every limit."""
        y = Y[..., self.columns]
        return np.asarray(((y >= self.low) & (y <= self.high)).all(axis=-1), dtype=np.bool_)

    def log_probability(self, mean: Floats, sd: Floats) -> Floats:
        """(k,) log probability that independent normal readings, mean and sd (k, m), keep every limit."""
        y, scale = mean[:, self.columns], sd[:, self.columns]
        inside: Floats = log_inside((self.low - y) / scale, (self.high - y) / scale).sum(axis=1)
        return inside


def log_expected_improvement(mean: Floats, sd: Floats, best: Floats) -> Floats:
    """Logarithm of E[max(f - best, 0)] for f normal with `mean` and `sd`; the arguments are broadcast."""
    z = (mean - best) / sd
    near, far = np.maximum(z, -1.0), np.clip(z, FARTHEST, -1.0)
    # Below -1 by the scaled complementary error function, without the cancellation of φ(z) + z Φ(z).
    tail = np.log1p(far * np.sqrt(0.5 * np.pi) * erfcx(-far / np.sqrt(2.0))) - 0.5 * z**2 - 0.5 * LOG_2PI
    body = np.log(np.exp(-0.5 * near**2 - 0.5 * LOG_2PI) + near * ndtr(near))
    log_ei: Floats = np.log(sd) + np.where(z > -1.0, body, tail)
    return log_ei


class Incumbent(NamedTuple):
    """The best settings measured: (d,) in units of the bounds, the noise-free reading there, its standard error."""

    u: Floats
    estimate: float
    std_error: float


@dataclass(frozen=True)
class Improvement:
    """The acquisition function a(u) of a fitted model.

    Attributes:
        model: the forward model.
        objective: the channel.
        limits: the constraints.
        incumbent: None if no measured settings keep the constraints.
        best: (s,) values of the best noise-free reading, times the sign of the objective, from s sample paths.
    """

    model: ForwardModel
    objective: Objective
    limits: Limits
    incumbent: Incumbent | None
    best: Floats

    @classmethod
    def of(
        cls, model: ForwardModel, objective: Objective, target: Targets, measured: Floats, rng: np.random.Generator
    ) -> Improvement:
        """The acquisition function from the settings `measured` (n, d), for one goal (each part (m,))."""
        limits, sign, column = Limits.of(target), objective.sign, objective.column
        mean, sd = _predict(model, measured)
        kept = limits.are_kept(mean)
        if not kept.any():
            return cls(model, objective, limits, None, np.empty(0))
        i = int(np.where(kept, sign * mean[:, column], -np.inf).argmax())
        incumbent = Incumbent(measured[i], float(mean[i, column]), float(sd[i, column]))
        likely = np.argsort(np.where(kept, -sign * mean[:, column], np.inf), kind="stable")[:RIVALS]
        drawn = model.sample_paths(PATHS, rng)(measured[likely])
        best = np.where(limits.are_kept(drawn), sign * drawn[..., column], -np.inf).max(axis=1)
        best = best[np.isfinite(best)]
        return cls(model, objective, limits, incumbent, best if len(best) else np.array([sign * incumbent.estimate]))

    def __call__(self, U: Floats) -> Floats:
        """(k,) log a(u) at settings (k, d)."""
        mean, sd = _predict(self.model, U)
        value = self.limits.log_probability(mean, sd)
        if self.incumbent is None:
            return np.maximum(value, LEAST)
        column = self.objective.column
        gain = log_expected_improvement(self.objective.sign * mean[:, [column]], sd[:, [column]], self.best)
        total: Floats = np.maximum(value + logsumexp(gain, axis=1) - np.log(len(self.best)), LEAST)
        return total


def _predict(model: ForwardModel, U: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (k, m) of the noise-free readings.

    Where the rows do not determine it the standard deviation is NOMINAL × the channel's response.
    """
    prediction = model.predict(U)
    response = np.abs(model.training.linear.slope).sum(axis=1)
    sd = np.sqrt(prediction.model_var + model.training.interaction_variance(U))
    least = 1e-9 * np.maximum(np.where(np.isfinite(response), response, 0.0), 1e-290)
    return prediction.mean, np.maximum(np.where(np.isfinite(sd), sd, NOMINAL * response), least)


@dataclass(frozen=True)
class FittedObjective(FittedForward):
    """A forward model that proposes where the objective is expected to improve."""

    objective: Objective

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        """The settings with the greatest constrained expected improvement; spread and uncertainty are unknown (NaN)."""
        training, model = self.training, self.model
        region = training.region(space)
        judge, parts = Judge(training, model), []
        for goal in (Targets(*part) for part in zip(*targets, strict=True)):
            own = np.random.default_rng(SEED)
            measured = self._measured(region)
            improvement = Improvement.of(model, self.objective, goal, measured, own)
            u = self._maximise(improvement, measured, space, own)
            value = float(np.exp(improvement(u[None])[0]))
            parts.append(self._proposal(improvement, u, value, goal, judge, region))
        U = np.array([part.u for part in parts])
        unknown = np.full(U.shape, np.nan)
        return Proposals(
            settings=training.settings(U),
            spread=unknown,
            uncertainty=unknown.copy(),
            expected=model.mean(U),
            verdict=tuple(part.verdict for part in parts),
            why=tuple(part.why for part in parts),
            nearest=np.array([part.nearest for part in parts]),
            probability=np.array([part.probability for part in parts]),
            model=model.summary,
            incumbent=training.settings(np.array([part.incumbent.u for part in parts])),
            estimate=np.array([part.incumbent.estimate for part in parts]),
            estimate_error=np.array([part.incumbent.std_error for part in parts]),
            expected_improvement=np.array([part.expected for part in parts]),
        )

    def optimum(self, target: Targets, space: Space) -> tuple[Floats, Floats, Floats]:
        """The settings (d,) with the best mean that keeps the constraints, and mean and standard error (m,) there.

        `target` is one goal, each part (m,). If no mean keeps the constraints, the settings closest to them are
        returned.
        """
        training, column, limits = self.training, self.objective.column, Limits.of(target)
        response = np.maximum(np.abs(training.linear.slope).sum(axis=1), 1e-300)
        margin = INSIDE * response[limits.columns]

        def value(U: Floats) -> Floats:
            mean = self.model.mean(U)
            y = mean[:, limits.columns]
            beyond = np.maximum(np.maximum(limits.low + margin - y, y - limits.high + margin), 0.0)
            penalty = ((beyond / response[limits.columns]) ** 2).sum(axis=1)
            scored: Floats = self.objective.sign * mean[:, column] / response[column] - PENALTY * penalty
            return scored

        u = self._maximise(value, self._measured(training.region(space)), space, np.random.default_rng(SEED))
        mean, sd = _predict(self.model, u[None])
        return training.settings(u), mean[0], sd[0]

    def _measured(self, region: Region) -> Floats:
        """(n, d) the different settings inside a region with a reading of the objective that is no bound."""
        training = self.training
        U = training.U[: len(training.Y)][training.usable[:, self.objective.column]]
        inside = ((region.low - 1e-9 <= U) & (region.high + 1e-9 >= U)).all(axis=1) & region.keeps(U, ROUNDED)
        return np.unique(U[inside], axis=0)

    def _maximise(self, function: Function, measured: Floats, space: Space, rng: np.random.Generator) -> Floats:
        """The settings (d,) that can be set with the greatest value of a function, all in units of the bounds."""
        region = self.training.region(space)
        mean = self.model.mean(measured)[:, self.objective.column] * self.objective.sign
        near = measured[np.argsort(-mean, kind="stable")[:BEST]].repeat(NEAR, axis=0)
        near = near + WIDTH * (region.high - region.low) * rng.standard_normal(near.shape)
        u = maximise(function, np.vstack([region.sample(CANDIDATES, rng), region.project(near)]), region)
        u = region.project(np.where(region.categorical, u, np.round(u, DECIMALS)))
        settings = self.training.settings(u)
        grids = space.steps_near(settings)
        if any(len(grid) > 1 for grid in grids):
            if np.prod([float(len(grid)) for grid in grids]) > MOST_COMBINATIONS:
                grids = space.steps_near(settings, reach=1)
            stepped = np.array(list(product(*grids))[:MOST_COMBINATIONS])
            U = self.training.units(stepped)
            U = U[kept] if (kept := region.keeps(U)).any() else U
            u = np.asarray(U[int(function(U).argmax())], dtype=np.float64)
        return u

    def _proposal(
        self,
        improvement: Improvement,
        u: Floats,
        value: float,
        goal: Targets,
        judge: Judge,
        region: Region,
    ) -> _Proposal:
        """Add the verdict on the constraints and the reason."""
        limits, incumbent, objective = improvement.limits, improvement.incumbent, self.objective
        summary = self.model.summary
        verdict, probability, nearest = Verdict.REACHABLE, np.nan, np.full(len(goal.low), np.nan)
        if len(limits.columns):
            assessment = judge.assess_goal(goal, region, u)
            probability = assessment.probability
            if assessment.verdict is Verdict.UNREACHABLE:
                verdict, summary = assessment.verdict, f"{summary}; {assessment.message}"
                nearest = assessment.nearest if assessment.nearest is not None else nearest
        if incumbent is None:
            chance = (
                f"no settings measured so far keep the constraints; here they are kept with probability {value:.2g}"
            )
            nothing = Incumbent(np.full(len(u), np.nan), np.nan, np.nan)
            return _Proposal(u, verdict, f"{summary}; {chance}", nearest, probability, nothing, np.nan)
        name = self.training.channels[objective.column]
        why = f"{summary}; expected improvement of {name} {value:.3g}, from {incumbent.estimate:.5g}"
        why += f" ± {incumbent.std_error:.2g} at the best settings measured"
        if len(limits.columns):
            kept = float(np.exp(limits.log_probability(*_predict(self.model, u[None]))[0]))
            why += f"; the constraints are kept with probability {kept:.2g}"
        return _Proposal(u, verdict, why, nearest, probability, incumbent, value)


class _Proposal(NamedTuple):
    """The proposal for one goal; `incumbent` is NaN where there is none."""

    u: Floats
    verdict: Verdict
    why: str
    nearest: Floats
    probability: float
    incumbent: Incumbent
    expected: float


def fitted_forward(model: ForwardModel, objective: Objective | None) -> FittedForward:
    """The fit of a solver: a model that is inverted for goals, or whose objective is improved."""
    return FittedForward(model) if objective is None else FittedObjective(model, objective)
