"""Between names and matrices: asks a solver for the settings of a goal and gives its answer back by name.

The one place where a history becomes arrays, where settings are rounded to their step and clipped to their bounds, and
where a goal in raw readings becomes targets with the background taken off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdl.errors import SolverError
from sdl.goal import Goal
from sdl.history import History
from sdl.solvers.base import Data, Fitted, Solver, Targets
from sdl.types import Channel, Input, Verdict

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """A proposal by name.

    Attributes:
        settings: rounded and clipped, ready for the instrument.
        raw: as the solver gave them.
        clipped: the inputs that lay outside their bounds.
        spread: standard deviation of the settings for one noisy reading at the goal; None = unknown.
        uncertainty: the same for the noise-free goal.
        expected: raw readings expected at the settings, background included; None = unknown.
        verdict, why: what the solver says of the goal, and how it came to its answer.
    """

    settings: Mapping[str, float]
    raw: Mapping[str, float]
    clipped: tuple[str, ...]
    spread: Mapping[str, float | None]
    uncertainty: Mapping[str, float | None]
    expected: Mapping[str, float | None]
    verdict: Verdict
    why: str


def data_of(history: History, inputs: tuple[Input, ...], channels: tuple[Channel, ...], wanted: Sequence[str]) -> Data:
    """The rows of a history as a solver sees them; views, nothing is copied."""
    n = history.rows
    goal = np.array([channel.name in wanted for channel in channels])
    age = np.arange(n - 1, -1, -1, dtype=float)
    return Data(history.X, history.Y, history.saturated, goal, age, history.sitting, inputs, channels)


def targets_of(goal: Goal, channels: tuple[Channel, ...], background: Mapping[str, float] | None) -> Targets:
    """The goal as (1, m) arrays, its background taken off."""
    value, low, high = (np.full((1, len(channels)), fill) for fill in (np.nan, -np.inf, np.inf))
    for i, channel in enumerate(channels):
        if band := goal.bands.get(channel.name):
            base = (background or {}).get(channel.name, 0.0)
            value[0, i], low[0, i], high[0, i] = band.target - base, band.low - base, band.high - base
    return Targets(value, low, high)


def ask(
    solver: Solver, data: Data, goal: Goal, rng: np.random.Generator, background: Mapping[str, float] | None = None
) -> Answer:
    """Fits `solver` and asks it for the settings of `goal`.

    Args:
        solver: with its hyper-parameters.
        data: the rows to learn from.
        goal: in raw readings.
        rng: for whatever the solver draws.
        background: raw readings with the light off, None where they are not known.

    Raises:
        NotEnoughData, Degenerate: the rows cannot carry the solver.
        SolverError: its answer is no settings, or the solver itself failed.
    """
    try:
        return ask_fitted(solver.fit(data), data, goal, rng, background)
    except SolverError:
        raise
    except Exception as error:  # a solver, perhaps somebody else's, may fail in any way
        raise SolverError(f"{solver.kind} failed on {len(data.X)} rows: {error!r}") from error


def ask_fitted(
    fitted: Fitted, data: Data, goal: Goal, rng: np.random.Generator, background: Mapping[str, float] | None = None
) -> Answer:
    """As `ask`, of a solver that is fitted already."""
    low, high = (np.array([getattr(item, end) for item in data.inputs], float) for end in ("low", "high"))
    given = fitted.propose(targets_of(goal, data.channels, background), low, high, rng)
    names = [item.name for item in data.inputs]
    raw = dict(zip(names, (float(v) for v in given.settings[0]), strict=True))
    settings, clipped = round_and_clip(raw, data.inputs)
    expected: dict[str, float | None] = {}
    if given.expected is not None:
        for channel, value in zip(data.channels, given.expected[0], strict=True):
            if math.isfinite(value):
                expected[channel.name] = float(value) + (background or {}).get(channel.name, 0.0)
    return Answer(
        settings,
        raw,
        clipped,
        dict(zip(names, map(_known, given.spread[0]), strict=True)),
        dict(zip(names, map(_known, given.uncertainty[0]), strict=True)),
        expected,
        given.verdict[0],
        given.why[0],
    )


def round_and_clip(raw: Mapping[str, float], inputs: Sequence[Input]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Settings that the instrument can take: inside the bounds, on a step where the input has one.

    Inputs without a step are rounded to a millionth of their range, far below any instrument's jitter.

    Returns:
        The settings, and the inputs that lay outside their bounds by more than that.

    Raises:
        SolverError: a setting that is no number.
    """
    settings: dict[str, float] = {}
    clipped: list[str] = []
    for item in inputs:
        value = raw[item.name]
        if math.isnan(value):
            raise SolverError(f"the solver gave no number for {item.name}")
        inside = min(max(value, item.low), item.high)
        if abs(value - inside) > 1e-6 * (item.high - item.low):
            clipped.append(item.name)
        if item.step is not None:
            steps = round((inside - item.low) / item.step)
            steps = min(steps, math.floor((item.high - item.low) / item.step + 1e-9))
            inside = item.low + steps * item.step
        digits = 6 - math.floor(math.log10(item.high - item.low))
        settings[item.name] = min(max(round(inside, digits), item.low), item.high)
    return settings, tuple(clipped)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
