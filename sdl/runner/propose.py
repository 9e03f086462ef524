"""Settings for a trial: a point of the design, or the solver's proposal.

The design comes first: all of its points, or as many as the solver says it needs. Prior rows never replace single
points of it, because the points of a design belong together (each point of an axis design separates one input from the
others, and it is unknown which of them a prior row could replace): with at least as many prior rows as planned points
the solver proposes at once, with fewer the whole design is measured. Later the design supplies a point whenever the
solver cannot propose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sdl.clock import Clock
from sdl.config import ResolvedCampaign, design_points
from sdl.core.campaign import Campaign
from sdl.core.events import Failed, Proposed
from sdl.core.goal import Goal
from sdl.core.trials import CONFIRMATION
from sdl.designs.base import Learning
from sdl.designs.placed import placed
from sdl.errors import Degenerate, NotEnoughData, SolverError, cut
from sdl.inverse.propose import data_of, objective_of, propose
from sdl.solvers.base import Data
from sdl.types import Settings

DESIGN, SOLVER = 0, 1  # streams of random numbers: default_rng([seed, stream, n])

# `by` of a point beyond a design's plan: the one farthest from the points measured so far.
FARTHEST = "farthest"


class Proposer:
    """Gets settings from the design and the solver of one campaign."""

    def __init__(self, config: ResolvedCampaign, campaign: Campaign, clock: Clock) -> None:
        self._config, self._campaign, self._clock = config, campaign, clock
        self._inputs, self._channels = config.free_inputs, config.instrument.channels
        self._space = config.space()
        self._design = placed(config.design, self._inputs, self._space.constraints)
        self._size = self._design.size
        self._first = design_points(config)
        self._unknown: dict[str, float | None] = {item.name: None for item in self._inputs}

    def propose(self, trial: int, confirm: Settings | None = None) -> Proposed | Failed:
        """The next settings, or the reason why there are none; `confirm` are settings to be measured again."""
        if confirm is not None:
            why = "the best settings so far, measured again: the result is the mean of all readings there"
            return self._without_model(trial, confirm, CONFIRMATION, why)
        history, goal = self._campaign.history, self._campaign.plan.goal
        why = ""
        if goal is not None and (trial >= self._first or history.prior_rows >= self._first):
            try:
                return self._by_solver(trial, goal)
            except (NotEnoughData, Degenerate) as error:
                why = f"{self._config.solver.kind} cannot answer yet ({error}); "
            except SolverError as error:
                return self._failed(trial, str(error))
        return self._by_design(trial, why)

    def _by_solver(self, trial: int, goal: Goal) -> Proposed:
        history, prefer = self._campaign.history, self._config.prefer
        cost = (
            self._space.cost(dict(zip(self._space.names, prefer.cost(self._inputs), strict=True))) if prefer else None
        )
        data = replace(
            self._data(goal.channels),
            prefer=cost,
            average=self._config.average,
            objective=objective_of(goal, self._channels),
        )
        answer = propose(self._config.solver, data, goal, self._random(SOLVER, trial), history.background)
        return Proposed(
            trial,
            answer.settings,
            self._targets(),
            self._config.solver.kind,
            history.rows,
            cut(answer.why),
            answer.spread,
            answer.uncertainty,
            answer.expected,
            answer.verdict,
            answer.clipped,
            self._clock.now(),
            answer.shortfall,
            answer.probability,
            answer.model,
            answer.lack_of_fit,
            answer.expected_error,
            answer.readings_needed,
            answer.incumbent,
            answer.estimate,
            answer.estimate_error,
            answer.expected_improvement,
        )

    def _without_model(self, trial: int, settings: Settings, by: str, why: str) -> Proposed:
        feasible, clipped = self._space.project(settings)
        return Proposed(
            trial,
            feasible,
            self._targets(),
            by,
            self._campaign.history.rows,
            cut(why),
            self._unknown,
            self._unknown,
            {},
            None,
            clipped,
            self._clock.now(),
        )

    def _by_design(self, trial: int, why: str) -> Proposed | Failed:
        design, history = self._config.design, self._campaign.history
        planned = trial < self._size
        why += f"point {trial + 1} of {self._size}" if planned else "the point farthest from those measured"
        try:
            if planned and isinstance(design, Learning):
                point, reason = design.choose(trial, self._rows(), lambda n: self._random(DESIGN, n))
                why += f": {reason}"
            else:
                point = self._design.point(trial, history.X, lambda n: self._random(DESIGN, n))
            if bad := [name for name, x in zip(self._space.columns, point, strict=True) if not math.isfinite(x)]:
                raise ValueError(f"it gave no number for {', '.join(bad)}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plug-in design may fail in any way
            return self._failed(trial, f"the design {design.kind} failed: {error!r}")
        return self._without_model(trial, self._space.decode(point), design.kind if planned else FARTHEST, why)

    def _rows(self) -> Data:
        """The rows for a design that learns from them; without a goal, all channels count."""
        goal = self._campaign.plan.goal
        channels = goal.channels if goal is not None else [channel.name for channel in self._channels]
        return self._data(channels)

    def _data(self, channels: Sequence[str]) -> Data:
        history, constraints = self._campaign.history, self._space.constraints
        return data_of(history, self._inputs, self._channels, channels, constraints)

    def _failed(self, trial: int, error: str) -> Failed:
        return Failed(trial, 0, 0, "propose", cut(error), False, False, self._clock.now())

    def _targets(self) -> dict[str, float]:
        goal, base = self._campaign.plan.goal, self._campaign.history.background or {}
        return {name: target - base.get(name, 0.0) for name, target in goal.targets.items()} if goal else {}

    def _random(self, stream: int, n: int) -> np.random.Generator:
        return np.random.default_rng([self._config.seed, stream, n])
