"""The model of the solver `bayes`: a Bayesian linear model with noise, drift and prior knowledge of the instrument.

The mathematics is in `sdl.models.forward.dynamic_linear`. This module picks the rows, separately for each channel: a
row that is saturated in one channel is used in the other channels, and as a lower bound in that one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdl.arrays import Bools, Floats
from sdl.errors import Degenerate, NotEnoughData
from sdl.models.constants import DISTINCT, NOMINAL
from sdl.models.data import Data, Proposals, Targets
from sdl.models.forward.dynamic_linear import (
    CoefficientPrior,
    DynamicLinearModel,
    DynamicRows,
    condition_on_censored,
    expand_to,
    fit,
)
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.models.wrong_rows import wrong_rows_of
from sdl.space import Space

SURE = 4.0
"""Degrees of freedom that NOMINAL, as the noise of one reading, counts as beside prior knowledge of the instrument."""
BOUNDS = 100
"""Number of latest rows whose saturated readings are used as bounds."""


def fit_bayesian_line(data: Data) -> FittedBayesianLine:
    """Fit the linear model at the next reading, with `data.knowledge` as a prior if there is any.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    low, span = data.space.low, data.space.width
    channels = tuple(channel.name for channel in data.channels)
    goal = np.flatnonzero(data.goal)
    if not len(goal):
        raise Degenerate("the goal names no channel that was measured")
    prior = CoefficientPrior(*data.knowledge, NOMINAL, SURE) if data.knowledge is not None else None
    wrong = wrong_rows_of(data)
    placed = np.isfinite(data.X).all(axis=1) & ~wrong
    X, Y, saturated = data.X[placed], data.Y[placed], data.saturated[placed]
    U = (X - low) / span
    usable = np.isfinite(Y) & ~saturated
    rows = DynamicRows(
        np.column_stack([np.ones(len(U)), U]),
        np.where(usable, Y, 0.0),
        usable,
        data.age[placed] + 1.0,
        data.session[placed],
        past=data.current_session not in (None, *data.session[placed]) and len(np.unique(data.session[placed])) > 1,
    )
    known = np.flatnonzero(np.ones(len(channels), bool) if prior else _determined(rows, data))
    part = rows._replace(Y=rows.Y[:, known], usable=usable[:, known])
    dynamic = expand_to(fit(part, np.searchsorted(known, goal), prior), known, len(channels))
    # Only the latest ones of the last session, because the background may have been different before.
    late = slice(max(int(np.searchsorted(rows.session, rows.session[-1:].sum())), len(U) - BOUNDS), None)
    dynamic, used = condition_on_censored(dynamic, rows.X[late], np.where(saturated & data.goal, Y, np.nan)[late])
    n, full = len(U), int(saturated[:, goal].any(axis=1).sum())
    notes = [f"{full} saturated, {used} of them used as bounds"] * bool(full)
    notes += [f"{wrong.sum()} contradicted by the others left out"] * bool(wrong.any())
    summary = f"{n} readings" + (f" ({'; '.join(notes)})" if notes else "")
    seen = U if prior is None else np.vstack([U, np.zeros_like(low), np.ones_like(low)])
    rest = (data.prefer, data.average, None, None, rows.session, data.space.columns, data.space)
    training = TrainingSet(seen, rows.Y, usable, goal, low, span, dynamic, summary, channels, *rest)
    return FittedBayesianLine(training, dynamic)


@dataclass(frozen=True)
class FittedBayesianLine:
    """The linear model at the next reading, as a fitted solver."""

    training: TrainingSet
    dynamic: DynamicLinearModel

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        """Propose the settings inside the bounds whose readings come closest to each goal, in tolerances."""
        region = self.training.region(space)
        settings, std_errors = [], []
        for parts in zip(*targets, strict=True):
            target = Targets(*parts)
            u = self.training.nearest(target, region)
            columns = self.training.target_columns(target.value)
            settings.append(u)
            std_errors.append(self.dynamic.std_errors(columns, u) if len(columns) else np.full((2, len(u)), np.nan))
        spread, uncertainty = np.swapaxes(np.array(std_errors), 0, 1)
        name = f"Bayesian linear model ({self.dynamic.belief})"
        return to_proposals(
            self.training, name, np.array(settings), (spread, uncertainty), targets, space, prefers=True
        )

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        return self.training.predict(X)


def _determined(rows: DynamicRows, data: Data) -> Bools:
    """(m,) the channels whose usable rows determine a linear model.

    Raises:
        NotEnoughData, Degenerate: a channel of the goal is not among them.
    """
    p = rows.X.shape[1]
    enough = np.zeros(len(data.channels), bool)
    for c, channel in enumerate(data.channels):
        X = rows.X[rows.usable[:, c]]
        least = np.sqrt(np.linalg.eigvalsh(X.T @ X)[0].clip(0.0)) if len(X) else 0.0
        enough[c] = len(X) >= p and least > DISTINCT
        if data.goal[c] and len(X) < p:
            full = int(data.saturated[:, c].sum())
            raise NotEnoughData(len(X), p, f"usable rows of {channel.name}" + (f" ({full} saturated)" if full else ""))
        if data.goal[c] and not enough[c]:
            widths = np.ptp(X[:, 1:], axis=0)
            still = [name for name, width in zip(data.space.columns, widths, strict=True) if width < DISTINCT]
            what = f"{', '.join(still)} never changed" if still else "the inputs were not varied independently"
            raise Degenerate(f"{what} in {len(X)} usable rows of {channel.name}")
    return enough
