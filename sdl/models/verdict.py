"""The verdict on a goal, the same whichever model proposes the settings.

The first verdict that applies is given: unreachable, outside the data, lack of fit, below the noise, reachable.
`sdl.inverse.propose` adds the checks that need the names of channels and the steps of inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, ndtr

from sdl.arrays import Floats
from sdl.core.trials import MANY_READINGS
from sdl.errors import SolverError
from sdl.models.data import Proposals, Targets
from sdl.models.forward.forward_model import ForwardModel, LinearForward, Prediction
from sdl.models.forward.gaussian_process import GaussianProcess, fit_processes
from sdl.models.forward.linear_model import POOL, t_factor
from sdl.models.forward.quadratic import QuadraticModel, fit_quadratic
from sdl.models.inversion.search import Bands
from sdl.models.lack_of_fit import LackOfFit, assess_fit
from sdl.models.reachability import UNREACHABLE_NEAR, Reachability, assess
from sdl.models.training_set import TrainingSet
from sdl.space import Space
from sdl.space.region import Region
from sdl.types import Verdict

MARGIN = 0.1
"""Settings up to this fraction of the range beyond the measured ones are not yet called `outside the data`."""
WORTH_TELLING = 0.1
"""Errors below this fraction of `TrainingSet.tolerance_scale` are not reported."""
PASS = 0.95
"""Fraction of readings at the best settings that must lie within tolerance."""
FAMILY = "one of a family of solutions"
"""Said of settings where the goal leaves a continuum of others."""
MAX_READINGS = 1_000_000
"""Largest number of readings to average that is suggested."""
SURE = 0.05
"""Probability that the noise is below the lower limit that is compared with the tolerance."""
DOF_NEEDED = 4
"""Least degrees of freedom for a noise estimate from replicates alone, or from the rows of one session alone."""


class Assessment(NamedTuple):
    """The verdict on one goal.

    Attributes:
        verdict: the first that applies.
        message: the reason, for the proposal's `why`.
        nearest: (m,) closest readings that can be reached, if the goal is unreachable; else None.
        probability: probability that any settings reach the goal; NaN if the goal constrains no channel.
        lack_of_fit: (m,) standard deviation of the lack of fit at the settings; NaN = not significant.
        measure: (d,) settings closest to a goal that is probably out of reach, whose readings would settle it.
        readings_needed: number of readings to average for a mean within tolerance, if the tolerance is below the noise;
            NaN if no number is enough.
    """

    verdict: Verdict
    message: str = ""
    nearest: Floats | None = None
    probability: float = np.nan
    lack_of_fit: Floats | None = None
    measure: Floats | None = None
    readings_needed: float = np.nan


class Judge:
    """Gives the verdict on goals by a forward model, its lack of fit, and the noise.

    Args:
        training: the rows.
        model: the forward model. None: a quadratic surface fitted to the rows, or the linear model of the training set
            if there are too few rows for a surface.
    """

    def __init__(self, training: TrainingSet, model: ForwardModel | None = None) -> None:
        self.training = training
        self.model = model if model is not None else _surface(training)
        self.fit = _lack_of_fit(training, self.model)

    @cached_property
    def process(self) -> GaussianProcess | None:
        """A Gaussian process fitted to the rows, which must agree before a goal is called unreachable.

        If the judging model is one itself, it is one with only the prior of functions that turn inside the range: rows
        in one place exclude no turn elsewhere. None if none can be fitted.
        """
        try:
            return fit_processes(self.training, turning=isinstance(self.model, GaussianProcess))
        except SolverError:
            return None

    def assess_goal(self, target: Targets, region: Region, u: Floats) -> Assessment:
        """Assess one goal (each part (m,)) for settings u (d,) inside a region, both in units of the bounds."""
        training, inside = self.training, region.project(u)
        bands = Bands.of(training, target)
        if not len(bands.columns):
            return Assessment(Verdict.REACHABLE)
        reach = assess(self.model, bands, inside, region)
        if reach.is_unreachable and self.process is not None:
            other = assess(self.process, bands, inside, region)
            unreachable, probability = other.is_unreachable, max(other.probability, reach.probability)
            reach = replace(reach, is_unreachable=unreachable, probability=probability)
        missed = self._missed(target, bands, reach)
        lack = self.fit.sd * np.sqrt(training.linear.variance(inside[None])[0])
        rest = (reach.probability, np.where(self.fit.is_sure, lack, np.nan))
        if reach.is_unreachable:
            message = f"out of reach on these readings (probability {100 * reach.probability:.2g} %)"
            return Assessment(Verdict.UNREACHABLE, message, reach.readings, *rest)
        untested = ""
        if len(reach.untested):
            names = ", ".join(training.inputs[j] for j in reach.untested) if training.inputs else "an input"
            untested = f"curvature untested in {names}: the rows have two levels"
        beyond = np.maximum(training.U.min(axis=0) - inside, inside - training.U.max(axis=0))
        if (beyond > MARGIN + 1e-9).any():
            message = f"{100 * beyond.max():.0f} % of the range beyond the measured settings"
            return Assessment(Verdict.OUTSIDE, _joined(message, untested), None, *rest)
        if missed > 0:
            # By the model alone; `sdl.inverse.propose` may still find the goal unreachable from the channel's range.
            message = f"the model misses it by {missed:.2g} × tolerance, which is within its uncertainty"
            measure = reach.settings if reach.probability < UNREACHABLE_NEAR else None
            return Assessment(Verdict.REACHABLE, _joined(message, untested), None, *rest, measure)
        half = (bands.high - bands.low) / 2
        off = np.where(self.fit.is_sure, lack, 0.0)[bands.columns]
        if (off > half).any():
            c = int(np.argmax(off / half))
            name = training.channels[bands.columns[c]]
            message = f"the model misses {name} by about {off[c]:.3g}, more than the tolerance; readings repeat better"
            return Assessment(Verdict.LACK_OF_FIT, _joined(message, untested), None, *rest)
        message, readings_needed = self._below_noise(target, inside)
        if message:
            repeated = np.isfinite(self.fit.dof[training.goal]).all()
            ambiguous = "" if repeated else "noise or lack of fit: repeat a setting to tell"
            message = _joined(message, ambiguous, untested)
            return Assessment(Verdict.BELOW_NOISE, message, None, *rest, readings_needed=readings_needed)
        return Assessment(Verdict.REACHABLE, untested, None, *rest)

    def _missed(self, target: Targets, bands: Bands, reach: Reachability) -> float:
        """Distance of the worst channel beyond its band at the closest settings, in tolerances; 0 if negligible."""
        beyond = bands.beyond(reach.readings[None])[0]
        if not (beyond > WORTH_TELLING).any():
            return 0.0
        half = (bands.high - bands.low) / 2
        has_target = np.isfinite(target.value[bands.columns]) & np.isfinite(half) & (half > 0)
        return float((beyond * bands.unit / np.where(has_target, half, bands.unit)).max())

    def noise(self, u: Floats) -> tuple[Floats, Floats]:
        """(m,) standard deviation of one reading at settings (d,), and its degrees of freedom; NaN = unknown.

        The smallest of three estimates: from the residuals of the model, from replicates, and from the residuals of the
        session with the least scatter.
        """
        training = self.training
        shape = np.sqrt(training.linear.variance(u[None])[0])
        own = self.model.residual_dof
        dof = np.where(own >= DOF_NEEDED, own + POOL, 0.0)  # with fewer the noise is mostly that of the prior
        noise = np.sqrt(self.model.predict(u[None]).noise_var[0]) / t_factor(dof)
        others = [(self.fit.noise * shape, self.fit.dof), *self._by_session(shape)]
        for other, other_dof in others:
            less = (other_dof >= DOF_NEEDED) & ~(other >= noise)
            noise, dof = np.where(less, other, noise), np.where(less, other_dof, dof)
        return noise, dof

    def _least_noise(self, u: Floats, noise: Floats, dof: Floats) -> Floats:
        """(g,) lower confidence limits of the noise of the goal's channels, given the estimates and degrees of freedom.

        Few rows do not tell the noise of faint readings from that of bright ones: a Gaussian process has a limit of its
        own, over its hyperparameters.
        """
        least = noise * np.sqrt(dof / chdtri(dof, SURE))
        if isinstance(self.model, GaussianProcess):
            least = np.minimum(least, _least_noise_of(self.model, u))
        return np.asarray(least, dtype=np.float64)

    def _by_session(self, shape: Floats) -> list[tuple[Floats, Floats]]:
        """Noise and degrees of freedom, each (m,), of each session with enough rows.

        Each session has its own affine correction to the model, so that differences between sessions are no noise.
        """
        training = self.training
        if training.session is None or len(np.unique(training.session)) < 2:
            return []
        result, p = [], training.U.shape[1] + 1
        variance = training.linear.variance(training.U[: len(training.Y)])
        scale = np.sqrt(np.where(variance > 0, variance, 1.0))
        readings = training.Y / scale
        residual = readings - self.model.predict(training.U[: len(training.Y)]).mean / scale
        for number in np.unique(training.session):
            rows = (training.session == number) & training.usable[:, training.goal].all(axis=1)
            dof = int(rows.sum()) - p
            if dof < DOF_NEEDED:
                continue
            lines = np.column_stack([np.ones(dof + p), training.U[: len(training.Y)][rows]])
            sd = np.full(len(shape), np.nan)
            for c in training.goal:
                # The less of the scatter of the residuals and that of the readings: restless sessions mislead a model.
                A, y = lines / scale[rows, c][:, None], np.column_stack([residual[rows, c], readings[rows, c]])
                sd[c] = np.sqrt(((y - A @ np.linalg.lstsq(A, y, rcond=None)[0]) ** 2).sum(axis=0).min() / dof)
            result.append((sd * shape, np.full(len(shape), float(dof))))
        return result

    def _below_noise(self, target: Targets, u: Floats) -> tuple[str, float]:
        """Say how many readings to average if readings at the best settings would often be outside; else an empty text.

        Only noise is considered, at the lower limit of its confidence interval; lack of fit does not count. The number
        follows the text; NaN where there is none.
        """
        training = self.training
        noise, dof = (part[training.goal] for part in self.noise(u))
        if not (noise > 0).all():  # or unknown
            return "", np.nan
        low, high = target.low[training.goal], target.high[training.goal]
        guarded_low, guarded_high = (limit[training.goal] for limit in training.guarded_limits(target))
        value = target.value[training.goal]
        expected = self.model.predict(u[None]).mean[0, training.goal]
        aim = np.where(np.isfinite(value), value, np.clip(expected, guarded_low, guarded_high))

        def hit_rate(readings: int, sd: Floats) -> float:
            parts = ndtr((high - aim) * readings**0.5 / sd) - ndtr((low - aim) * readings**0.5 / sd)
            return float(np.prod(parts))

        least = self._least_noise(u, noise, dof)
        if hit_rate(training.average, least) >= PASS:
            return "", np.nan
        repeated = np.isfinite(self.fit.dof[training.goal]).all()
        if not repeated and self.process is not None:  # a step, for example, is lack of fit and no noise
            least = np.minimum(least, _least_noise_of(self.process, u))
            if hit_rate(training.average, least) >= PASS:
                return "", np.nan
        enough = 1
        while enough < MAX_READINGS and hit_rate(enough, noise) < PASS:
            enough *= 2
        if enough >= MAX_READINGS:
            return "no number of readings is enough for this tolerance", np.nan
        too_few = enough // 2
        while enough - too_few > 1:
            between = (too_few + enough) // 2
            too_few, enough = (too_few, between) if hit_rate(between, noise) >= PASS else (between, enough)
        if enough <= training.average:
            return "", np.nan
        of = "a single reading" if training.average == 1 else f"the mean of {training.average} readings"
        share = f"{100 * hit_rate(training.average, noise):.0f} % of the time"
        advice = f"average {enough} readings per trial, or widen the tolerance"
        if enough > MANY_READINGS:
            wider = f"{(enough / MANY_READINGS) ** 0.5:.2g} times the tolerance would need {MANY_READINGS}"
            advice = f"averaging alone would need {enough} readings per trial; {wider}"
        return f"at the best settings {of} would be within tolerance about {share}; {advice}", float(enough)


def _least_noise_of(model: GaussianProcess, u: Floats) -> Floats:
    """(g,) quantile SURE of the noise of the goal's channels, over the hyperparameters."""
    return np.array([channel.least_noise(u[None], SURE)[0] for channel in model.channels])


def _error_of_mean(prediction: Prediction, readings: int) -> Floats:
    """(k, m) standard deviation of the mean of some readings about the prediction."""
    return np.asarray(np.sqrt(prediction.model_var + prediction.noise_var / readings), dtype=np.float64)


def _surface(training: TrainingSet) -> ForwardModel:
    try:
        return fit_quadratic(training, drifts=True)
    except SolverError:
        return LinearForward(training, training.linear)


def _lack_of_fit(training: TrainingSet, model: ForwardModel) -> LackOfFit:
    n, m = training.Y.shape
    session = np.zeros(n) if training.session is None else training.session
    variance = training.linear.variance(training.U[:n])
    scale = np.sqrt(np.where(variance > 0, variance, np.nan))  # a channel that never changed has no shape
    mean = model.fitted() if isinstance(model, QuadraticModel) else model.mean(training.U[:n])
    residual = (training.Y - mean) / scale
    usable = training.usable & np.isfinite(residual) & np.isin(np.arange(m), training.goal)
    return assess_fit(training.U[:n], np.where(usable, residual, 0.0), usable, training.U.shape[1] + 1, session)


def _joined(*sentences: str) -> str:
    return "; ".join(filter(None, sentences))


def to_proposals(
    training: TrainingSet,
    model: str,
    settings: Floats,
    std_errors: tuple[Floats, Floats],
    targets: Targets,
    space: Space,
    expected: Floats | None = None,
    notes: Sequence[str] = (),
    *,
    prefers: bool = False,
    forward: ForwardModel | None = None,
) -> Proposals:
    """Turn a model's k settings into proposals: move them to the preferred ones, and add the verdict and its reason.

    Args:
        training: the rows that the goals are judged by.
        model: name of the model that gave the settings, for `why`.
        settings: (k, d) in units of the bounds.
        std_errors: spread and uncertainty, each (k, d) in units of the bounds.
        targets: the goals, each part (k, m).
        space: bounds and steps of the settings.
        expected: (k, m) readings at the settings; NaN or None: those of the linear model.
        notes: one for each goal, added to its `why`.
        prefers: whether the model has chosen the preferred settings itself; else the linear model finds them.
        forward: the forward model that goals are judged by; None: a quadratic surface fitted to the rows.
    """
    region = training.region(space)
    goals = [Targets(*(part[i] for part in targets)) for i in range(len(settings))]
    if training.prefer is not None and not prefers:
        moved = np.array([training.preferred(u, goal, region) for u, goal in zip(settings, goals, strict=True)])
        if expected is not None:  # add the change that the linear model predicts for the move; a target keeps its value
            expected = expected + training.linear.mean(moved) - training.linear.mean(settings)
        settings = moved
    settings, linear = settings.copy(), training.linear.mean(settings)
    nearest = np.full(linear.shape, np.nan)
    judge = Judge(training, forward)
    assessments, why = [], []
    for i, (u, goal) in enumerate(zip(settings, goals, strict=True)):
        assessment = judge.assess_goal(goal, region, u)
        if assessment.nearest is not None:
            nearest[i] = assessment.nearest
        explores = region.categorical.any() and not training.has_row_near(u[None])[0]  # a choice not yet examined
        if assessment.measure is not None and forward is None and not explores:  # a backward model would stay
            settings[i], linear[i] = assessment.measure, judge.model.mean(assessment.measure[None])[0]
            expected = None if expected is None else np.where(np.arange(len(linear))[:, None] == i, linear, expected)
        preference = ""
        if training.prefer is not None:
            free = training.is_underdetermined(goal)
            preference = "the preferred among the settings that hit" if free else "the goal leaves no choice to prefer"
        elif assessment.verdict is not Verdict.UNREACHABLE and training.has_family(goal, region, settings[i]):
            preference = FAMILY
        assessments.append(assessment)
        sentences = [f"{model}, {training.summary}", *notes[i : i + 1], preference, assessment.message]
        why.append("; ".join(filter(None, sentences)))
    return Proposals(
        settings=training.settings(settings),
        spread=std_errors[0] * training.range,
        uncertainty=std_errors[1] * training.range,
        expected=linear if expected is None else np.where(np.isfinite(expected), expected, linear),
        verdict=tuple(assessment.verdict for assessment in assessments),
        why=tuple(why),
        nearest=nearest,
        probability=np.array([assessment.probability for assessment in assessments]),
        lack_of_fit=np.array(
            [np.full(linear.shape[1], np.nan) if a.lack_of_fit is None else a.lack_of_fit for a in assessments]
        ).reshape(linear.shape),
        model=judge.model.summary,
        expected_error=_error_of_mean(judge.model.predict(settings), training.average),
        readings_needed=np.array([assessment.readings_needed for assessment in assessments]),
    )
