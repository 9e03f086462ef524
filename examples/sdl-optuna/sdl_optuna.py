"""Optuna as a solver of sdl: a general optimiser, told one number a trial, behind sdl's contract.

Optuna looks for the settings with the smallest *miss*, the worst channel's distance from its target in tolerances. It
does not know that readings are a smooth function of the settings, as sdl's own solvers do; that is what makes it a fair
comparison, and a pattern for any other optimiser that is told points and values and asked for the next point.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.solvers.base import Data, Proposals, Targets
from sdl.space import Space
from sdl.types import Frozen

Floats = NDArray[np.float64]


class Optuna(Frozen):
    """Optuna's tree-structured Parzen estimator on the worst channel's miss."""

    kind: Literal["optuna"] = "optuna"
    multivariate: bool = Field(True, description="inputs are looked at together, not one by one")
    candidates: int = Field(
        24, ge=1, le=10_000, description="points that are drawn, of which the most promising is taken"
    )

    def fit(self, data: Data) -> FittedOptuna:
        """Keeps the usable rows.

        Raises:
            NotEnoughData, Degenerate: they cannot carry a judgement of the goal; a design point is measured instead.
        """
        # As if all rows were of one session: an optimiser of single numbers cannot distinguish drift from progress.
        return FittedOptuna(self, TrainingSet.from_data(data, level=False))


@dataclass(frozen=True)
class FittedOptuna:
    """The rows, and what to make of them."""

    options: Optuna
    rows: TrainingSet

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        """The next point that Optuna would try for each of k goals."""
        goals = [Targets(*(part[i] for part in targets)) for i in range(len(targets.value))]
        region = self.rows.region(space)
        with _quiet():
            U = np.array(
                [self._next(self._misses(goal), region.low, region.high, int(rng.integers(2**32))) for goal in goals]
            )
        unknown = np.full_like(U, np.nan)  # Optuna gives no uncertainty: NaN, never 0
        about = f"Optuna's TPE, the best of {len(self.rows.U)} rows missed by"
        notes = [f"{about} {self._misses(goal).min():.2f} tolerances" for goal in goals]
        return to_proposals(self.rows, "optuna", U, (unknown, unknown), targets, space, notes=notes)

    def _misses(self, goal: Targets) -> Floats:
        """(n,) how far each row is off, the worst channel, in tolerances: 1 is the edge of what counts as hit."""
        Y, columns = self.rows.Y, self.rows.goal
        off = []
        for column in columns:
            y, value, least, most = Y[:, column], goal.value[column], goal.low[column], goal.high[column]
            if np.isfinite(value):
                off.append(np.abs(y - value) / np.where(y > value, most - value, value - least))
            else:  # only limits: nothing inside is better than another, each percent beyond counts as one
                beyond = np.maximum(np.maximum(least - y, y - most), 0.0)
                ends = [abs(end) for end in (least, most) if np.isfinite(end)]
                off.append(beyond / (0.01 * max(ends, default=1.0) or 1.0))
        misses: Floats = np.max(off, axis=0)
        return misses

    def _next(self, misses: Floats, low: Floats, high: Floats, seed: int) -> Floats:
        """(d,) the next point, in units of the bounds: a study is told the rows, and asked once."""
        import optuna  # heavy; only a campaign that uses it waits for it

        names = [f"x{i}" for i in range(len(low))]
        ranges: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.FloatDistribution(float(a), float(b))
            for name, a, b in zip(names, low, high, strict=True)
        }
        sampler = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=0,
            multivariate=self.options.multivariate,
            n_ei_candidates=self.options.candidates,
        )
        study = optuna.create_study(sampler=sampler)
        inside = np.clip(self.rows.U, low, high)
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params=dict(zip(names, map(float, u), strict=True)), distributions=ranges, value=float(miss)
                )
                for u, miss in zip(inside, misses, strict=True)
            ]
        )
        asked = study.ask(ranges).params
        return np.array([asked[name] for name in names])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No line for every study, no warning that an option of Optuna's may change; as it was afterwards."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
