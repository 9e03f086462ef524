"""Between names and matrices: asks a solver for the settings of a goal and gives its answer back by name.

The one place where a history becomes arrays, and where a goal in raw readings becomes targets with the background
taken off.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sdl.arrays import Floats
from sdl.core.goal import Goal, outshone, said
from sdl.core.history import History
from sdl.errors import SolverError
from sdl.inverse.discrete import on_steps
from sdl.solvers.base import Data, Fitted, Proposals, Solver, Targets
from sdl.space import Space
from sdl.types import Channel, Input, Verdict

ROUNDED = 2e-6
"""What rounding moves an input by at most, as a part of its range."""
HERE = 0.01
"""Settings that differ by less, as a part of the range, are the same place."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal by name.

    Attributes:
        settings: rounded and clipped, ready for the instrument.
        raw: as the solver gave them.
        clipped: the inputs that lay outside their bounds.
        spread: standard deviation of the settings for one noisy reading at the goal; None = unknown.
        uncertainty: the same for the noise-free goal.
        expected: raw readings expected at the settings, background included; None = unknown.
        verdict, why: what is said of the goal, and how the answer came about.
        shortfall: the nearest readings that can be had where the goal cannot be hit, as `Goal.shortfall` gives them.
    """

    settings: Mapping[str, float]
    raw: Mapping[str, float]
    clipped: tuple[str, ...]
    spread: Mapping[str, float | None]
    uncertainty: Mapping[str, float | None]
    expected: Mapping[str, float | None]
    verdict: Verdict
    why: str
    shortfall: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def data_of(
    history: History,
    inputs: tuple[Input, ...],
    channels: tuple[Channel, ...],
    wanted: Sequence[str],
    *,
    prefer: tuple[float, ...] | None = None,
    average: int = 1,
) -> Data:
    """The rows of a history as a solver sees them; views, nothing is copied."""
    n = history.rows
    goal = np.array([channel.name in wanted for channel in channels])
    age = np.arange(n - 1, -1, -1, dtype=float)
    return Data(
        history.X,
        history.Y,
        history.saturated,
        goal,
        age,
        history.sitting,
        inputs,
        channels,
        present=history.present,
        prefer=prefer,
        average=average,
    )


def targets_of(goal: Goal, channels: tuple[Channel, ...], background: Mapping[str, float] | None) -> Targets:
    """The goal as (1, m) arrays, its background taken off."""
    value, low, high = ([fill] * len(channels) for fill in (math.nan, -math.inf, math.inf))
    for i, channel in enumerate(channels):
        if band := goal.bands.get(channel.name):
            base = (background or {}).get(channel.name, 0.0)
            low[i], high[i] = band.low - base, band.high - base
            value[i] = math.nan if band.target is None else band.target - base
    return Targets(np.array([value]), np.array([low]), np.array([high]))


def propose(
    solver: Solver, data: Data, goal: Goal, rng: np.random.Generator, background: Mapping[str, float] | None = None
) -> Proposal:
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
    with translated(solver.kind, len(data.X)):
        return propose_fitted(solver.fit(data), data, goal, rng, background)


@contextlib.contextmanager
def translated(kind: str, rows: int) -> Iterator[None]:
    """A solver, perhaps somebody else's, may fail in any way inside: it comes out as a SolverError that names it."""
    try:
        yield
    except (SolverError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise SolverError(f"{kind} failed on {rows} rows: {error!r}") from error


def propose_fitted(
    fitted: Fitted, data: Data, goal: Goal, rng: np.random.Generator, background: Mapping[str, float] | None = None
) -> Proposal:
    """As `propose`, of a solver that is fitted already."""
    space = Space(data.inputs)
    targets = targets_of(goal, data.channels, background)
    given = fitted.propose(targets, space.low, space.high, rng)
    names, base = space.names, background or {}
    raw = space.decode(given.settings[0])
    if missing := [name for name, value in raw.items() if math.isnan(value)]:
        raise SolverError(f"the solver gave no number for {', '.join(missing)}")
    settings, clipped = space.project(raw)
    verdict, why, nearest = Verdict(given.verdict[0]), str(given.why[0]), given.nearest
    shortfall: Mapping[str, Mapping[str, float | None]] = {}
    if verdict is Verdict.UNREACHABLE and nearest is not None:
        shortfall = goal.shortfall(_raw(nearest[0], data.channels, base))
        why = f"{why}: the nearest are {said(shortfall)}"
    for never in (outshone(goal, background), _below_zero(goal, data.channels)):
        if never:
            why = f"{why}; {never}" if verdict is Verdict.UNREACHABLE else never  # what was doubtful is sure now
            verdict = Verdict.UNREACHABLE
    predict = getattr(fitted, "predict", None)
    stepped = None
    if predict is not None:
        inside = np.clip(given.settings[0], space.low, space.high)
        stepped = on_steps(predict, inside, space, Targets(*(part[0] for part in targets)))
    if stepped is not None:
        settings, _ = space.project(space.decode(stepped.settings))
        if verdict is not Verdict.UNREACHABLE and stepped.hits_between and not stepped.hits:
            verdict = Verdict.BETWEEN_STEPS
            first, second = (goal.shortfall(_raw(y, data.channels, base)) for y in stepped.readings)
            shortfall = first
            why = f"{why}; no step near the answer hits: the two nearest are {said(first)}; or {said(second)}"
    if full := _saturated(goal, data, settings, base):
        why = f"{why}; {full}"
        if verdict is not Verdict.UNREACHABLE:  # which says more, and ends a campaign
            verdict = Verdict.SATURATED
    expected: Mapping[str, float] = {}
    if given.expected is not None or predict is not None:
        readings = _expected(given, predict, settings, raw, data.inputs, data.channels)
        expected = _raw(readings, data.channels, base)
    return Proposal(
        settings,
        raw,
        clipped,
        dict(zip(names, map(_known, given.spread[0].tolist()), strict=True)),
        dict(zip(names, map(_known, given.uncertainty[0].tolist()), strict=True)),
        expected,
        verdict,
        why,
        shortfall,
    )


def _expected(
    given: Proposals,
    predict: Callable[[Floats], tuple[Floats, Floats]] | None,
    settings: Mapping[str, float],
    raw: Mapping[str, float],
    inputs: Sequence[Input],
    channels: Sequence[Channel],
) -> Floats:
    """(m,) readings expected at the settings that will be applied; NaN = unknown."""
    off = max(abs(settings[item.name] - raw[item.name]) / (item.high - item.low) for item in inputs)
    if off <= ROUNDED and given.expected is not None:
        return np.asarray(given.expected[0], dtype=np.float64)
    if predict is None:  # what was expected was so elsewhere
        return np.full(len(channels), np.nan)
    return np.asarray(predict(np.array([[settings[item.name] for item in inputs]]))[0][0], dtype=np.float64)


def _raw(readings: Floats, channels: Sequence[Channel], base: Mapping[str, float]) -> dict[str, float]:
    """By name, the background added again; what is unknown is left out."""
    pairs = ((channel.name, float(value)) for channel, value in zip(channels, readings, strict=True))
    return {name: value + base.get(name, 0.0) for name, value in pairs if math.isfinite(value)}


def _below_zero(goal: Goal, channels: Sequence[Channel]) -> str:
    """Which channel of the goal is asked for less than nothing; one that saturates counts, and counts have a zero."""
    for channel in channels:
        band = goal.bands.get(channel.name)
        if band is not None and channel.saturation is not None and band.high < 0:
            return f"{channel.name} counts from 0 to {channel.saturation:g}, never {band.high:g}"
    return ""


def _saturated(goal: Goal, data: Data, settings: Mapping[str, float], base: Mapping[str, float]) -> str:
    """Which channel of the goal cannot be read: what is asked is beyond its end, or what was read there was."""
    here = None
    if data.saturated.any():  # mostly none is, and then no row needs to be looked at
        x = np.array([settings[item.name] for item in data.inputs])
        scale = np.array([item.high - item.low for item in data.inputs])
        here = (np.abs(data.X - x) <= HERE * scale).all(axis=1)
    for i, channel in enumerate(data.channels):
        band = goal.bands.get(channel.name)
        if band is None:
            continue
        if channel.saturation is not None and band.low >= channel.saturation:
            return f"{channel.name} saturates at {channel.saturation:g}, below {band.low:g}"
        full = data.saturated[:0, i] if here is None else data.saturated[here, i][-3:]
        if len(full) and full.all():
            return f"{channel.name} was saturated where it was measured at these settings"
    return ""


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
