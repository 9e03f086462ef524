"""Campaigns of every solver on the same goals with the same noise, as `sdl run` runs them.

A goal is the twin's noise-free reading at settings drawn from .1 to .9 of the inputs' ranges, so that every goal is
reachable. The noise is a function of seed and time, so that solvers that propose the same measure the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sdl import config, runner
from sdl.core.events import Proposed
from sdl.errors import ConfigError, Problem, SdlError
from sdl.parallel import pool
from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState

# Goals are drawn from settings between these fractions of the inputs' ranges: responses are nonlinear at the ends.
FIRST, LAST = 0.1, 0.9
DRAWS = 1000  # largest number of further draws for goals that would saturate a channel


@dataclass(frozen=True)
class BenchGoals:
    """The goals and noise for every solver.

    Attributes:
        instrument: the instrument, as in a campaign file.
        goals: target readings by channel.
        seeds: seeds of the noise; each goal is combined with each seed.
        tolerance: as in a campaign file.
        trials: largest number of trials per campaign.
    """

    instrument: Mapping[str, Any]
    goals: tuple[Mapping[str, float], ...]
    seeds: tuple[int, ...]
    tolerance: str = "2%"
    trials: int = 40


class BenchCampaign(NamedTuple):
    """A campaign of one solver.

    Attributes:
        trials: number of trials until the goal was reached; None if it was not.
        outcome: outcome of the campaign.
        ms: CPU milliseconds of the campaign per proposal of the solver.
        why: the reason if it could not be run.
    """

    solver: str
    goal: int
    seed: int
    trials: int | None
    outcome: str
    ms: float
    why: str = ""


def solver_of(label: str) -> dict[str, Any]:
    """The solver for `kind` or `kind:option=value,option=value`, validated.

    Raises:
        ConfigError: an unknown kind or option, or an invalid value.
    """
    kind, _, rest = label.partition(":")
    tree: dict[str, Any] = {"kind": kind}
    try:
        for part in filter(None, rest.split(",")):
            path, value = config.split(part)
            tree = config.put(tree, path, value)
        config.parse_kind("solver", tree)
    except ConfigError as error:
        raise ConfigError(
            *(Problem(p.message, f"--solvers {label}: {p.path}".rstrip(": ")) for p in error.problems)
        ) from error
    return tree


def channels_of(state: TwinState) -> tuple[str, ...]:
    """The default channels of a goal: for each input the one that responds most to it."""
    channels: dict[str, None] = {}
    for name in state.inputs:
        free = [channel for channel in state.channels if channel not in channels]
        if free:
            channels[max(free, key=lambda channel: state.channels[channel].gain[name])] = None
    return tuple(channel for channel in state.channels if channel in channels)


def goals_of(state: TwinState, channels: Sequence[str], n: int, seed: int) -> tuple[dict[str, float], ...]:
    """Draw `n` goals that a twin can reach.

    Raises:
        ConfigError: an unknown channel, or one that is saturated at nearly all settings.
    """
    if unknown := [name for name in channels if name not in state.channels]:
        raise ConfigError(f"unknown channel {unknown[0]}; allowed: {', '.join(state.channels)}")
    plant, rng = Plant(state), np.random.default_rng([seed, len(state.inputs)])
    goals: list[dict[str, float]] = []
    for _ in range(DRAWS + n):
        drawn = rng.uniform(FIRST, LAST, len(state.inputs)).round(4).tolist()
        seen = plant.noise_free(dict(zip(state.inputs, drawn, strict=True)))
        if all(0 < seen[name] < state.full_scale for name in channels):
            goals.append({name: round(seen[name], 1) for name in channels})
        if len(goals) == n:
            return tuple(goals)
    raise ConfigError(f"{', '.join(channels)}: saturated at nearly all settings; choose other channels for the goals")


def campaigns(
    task: BenchGoals,
    solvers: Sequence[str],
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
    limit: float | None = None,
) -> list[BenchCampaign]:
    """Run a campaign for every solver, goal and seed, sorted in this order.

    `solvers` are labels as for `solver_of`; `limit` is in real seconds per campaign; `progress` receives the numbers of
    campaigns done and in all.

    Raises:
        ConfigError: a mistake in `task` or `solvers`, found before anything runs.
    """
    trees = {label: solver_of(label) for label in solvers}
    for tree in trees.values():
        config.parse(_campaign(task, tree, 0, task.seeds[0]))
    places = [(goal, seed, label) for goal in range(len(task.goals)) for seed in task.seeds for label in solvers]
    items = ((label, goal, seed, _campaign(task, trees[label], goal, seed)) for goal, seed, label in places)
    results: list[BenchCampaign] = []
    progress(0, len(places))

    def crashed(error: pool.Crashed) -> BenchCampaign:
        goal, seed, label = places[error.index]
        return BenchCampaign(label, goal, seed, None, "crashed", math.nan, str(error).partition(": ")[2])

    for _, ended in pool.each(_ended, items, jobs, ordered=False, crashed=crashed, limit=limit):
        results.append(ended)
        progress(len(results), len(places))
    return sorted(results, key=lambda e: (solvers.index(e.solver), e.goal, e.seed))


def _campaign(task: BenchGoals, solver: Mapping[str, Any], goal: int, seed: int) -> dict[str, Any]:
    return {
        "name": "bench",
        "instrument": dict(task.instrument),
        "goal": dict(task.goals[goal]),
        "tolerance": task.tolerance,
        "solver": dict(solver),
        "stop": {"trials": task.trials},
        "seed": seed,
    }


def _ended(item: tuple[str, int, int, dict[str, Any]]) -> BenchCampaign:
    label, goal, seed, tree = item
    kind = tree["solver"]["kind"]
    proposals = 0

    def count(event: object, _: object) -> None:
        nonlocal proposals
        proposals += isinstance(event, Proposed) and event.by == kind

    began = time.process_time()
    try:
        done = runner.run(tree, runs=None, watch=count)
    except (SdlError, Exception) as error:  # a plug-in may fail in any way
        return BenchCampaign(label, goal, seed, None, "failed", math.nan, f"{type(error).__name__}: {error}"[:300])
    ms = 1000 * (time.process_time() - began) / proposals if proposals else math.nan
    why = done.reason if done.outcome == "failed" else ""
    return BenchCampaign(label, goal, seed, done.trials if done.reached else None, str(done.outcome), ms, why)
