"""The forward model of a run, fitted again to its readings, for figures."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sdl import config
from sdl.arrays import Bools, Floats
from sdl.core.goal import Goal
from sdl.errors import SdlError
from sdl.inverse.knowledge import with_knowledge
from sdl.inverse.propose import data_of, objective_of, targets_of, translated
from sdl.models.backward.least_squares import FittedLeastSquares
from sdl.models.data import Data, Targets
from sdl.models.forward.forward_model import ForwardModel, LinearForward
from sdl.models.inversion.forward import FittedForward
from sdl.models.model_selection import SelectedModel
from sdl.store import datasets
from sdl.store.record import FILE

if TYPE_CHECKING:
    from sdl.report.table import TrialTable
    from sdl.space import Space

log = logging.getLogger("sdl")

NEWEST, OLDER = 150, 50
"""Largest number of the newest readings that the model is fitted to, and of the earlier ones, evenly spaced."""
NEAR = 0.15
"""Settings are near others if they differ by at most this fraction of the range."""
WITH_FORWARD_MODEL = ("auto", "linear", "quadratic", "gp", "bayes")
"""Solvers with a forward model; the runs of the others are shown by the model that `auto` chooses."""


@dataclass(frozen=True, slots=True)
class RunModel:
    """The forward model of a run, and what figures show beside it.

    The shapes: d columns of settings (`sdl.space`) in units of their bounds, m channels.

    Attributes:
        forward: the fitted model.
        space: the settings of the instrument.
        answer: (d,) settings of the best trial, or of the last one that has a reading.
        target: the goal with the background subtracted, (m,) each.
        base: (m,) the background that was subtracted.
        summary: name of the model and number of readings, one line.
        goal: the goal, in raw readings.
    """

    forward: ForwardModel
    space: Space
    answer: Floats
    target: Targets
    base: Floats
    summary: str
    goal: Goal

    def predict(self, U: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (k, m) of one raw reading at settings U (k, d)."""
        prediction = self.forward.predict(U)
        return prediction.mean + self.base, np.sqrt(prediction.model_var + prediction.noise_var)

    def columns_of(self, name: str) -> slice | None:
        """The columns of an input; None for one that follows from the others by a constraint."""
        columns = self.space.columns_of(name)
        return columns if columns.stop > columns.start else None

    def units(self, table: TrialTable) -> Floats:
        """(n, d) settings of the trials in units of the bounds; NaN where one is unknown."""
        rows = np.full((len(table.trials), len(self.space.columns)), np.nan)
        for n, trial in enumerate(table.trials):
            settings = trial.shown_settings
            if all(name in settings for name in self.space.names):
                rows[n] = self.space.encode(settings)
        return self.forward.training.units(rows)

    def is_near(self, U: Floats, except_for: tuple[int, ...]) -> Bools:
        """(n,) which settings U (n, d) are near the answer in all columns except the given ones."""
        others = np.setdiff1d(np.arange(U.shape[1]), except_for)
        apart = np.abs(U[:, others] - self.answer[others]).max(axis=1, initial=0.0)
        return np.asarray(apart <= NEAR, dtype=np.bool_)

    def sample_answers(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw n settings (n, d), in units of the bounds, from their posterior given readings at the targets."""
        drawn = FittedForward(self.forward).sample(self.target.value, n, rng)
        return self.forward.training.units(drawn)


def fit_model(table: TrialTable) -> RunModel | None:
    """Fit the model of the run's solver to its readings; None without a goal, or where they do not suffice."""
    goal, final = table.goal, table.final
    if goal is None or final is None or not final.readings:
        return None
    try:
        data = _data(table, goal)
        solver = _solver(table)
        with translated(solver.kind, len(data.X)):
            forward = _forward(solver.fit(with_knowledge(solver, data)))
    except SdlError as error:  # too few readings, or options that this version does not know
        log.info("%s: no model: %s", table.run.folder, error)
        return None
    history = table.run.campaign.history
    base = np.array([(history.background or {}).get(channel.name, 0.0) for channel in data.channels])
    target = Targets(*(part[0] for part in targets_of(goal, data.channels, history.background)))
    answer = forward.training.units(data.space.encode(final.shown_settings)[None])[0]
    if not np.isfinite(answer).all():
        return None
    return RunModel(forward, data.space, answer, target, base, forward.summary, goal)


def _data(table: TrialTable, goal: Goal) -> Data:
    """The rows of a run as its solver saw them, or an even selection of many."""
    run = table.run
    inputs, channels = datasets.recorded_instrument(run.opened, run.folder / FILE)
    history = run.campaign.history
    constraints = history.space.constraints if history.space is not None else ()
    data = data_of(history, inputs, channels, tuple(goal.bands), constraints=constraints)
    n = len(data.X)
    if n > NEWEST + OLDER:
        kept = np.r_[np.linspace(0, n - NEWEST - 1, OLDER).astype(int), n - NEWEST : n]
        rows = {name: getattr(data, name)[kept] for name in ("X", "Y", "saturated", "age", "session")}
        data = replace(data, **rows)
    return replace(data, objective=objective_of(goal, channels), average=run.campaign.plan.average)


def _solver(table: TrialTable) -> Any:
    """The solver of the run, or `auto` in place of one without a forward model."""
    options = table.run.config.get("solver", {})
    own = options.get("kind") in WITH_FORWARD_MODEL
    return config.parse_kind("solver", options if own else {"kind": "auto"})


def _forward(fitted: Any) -> ForwardModel:
    """The forward model of a fitted solver in WITH_FORWARD_MODEL."""
    if isinstance(fitted, SelectedModel):
        fitted = fitted.model
    if isinstance(fitted, FittedForward):
        return fitted.model
    if isinstance(fitted, FittedLeastSquares):
        return fitted.forward
    return LinearForward(fitted.training, fitted.training.linear, "Bayesian linear model")
