"""Between names and matrices: asks a solver for the settings of a goal and gives its answer back by name.

The one place where a history becomes arrays, and where a goal in raw readings becomes targets with the background
taken off.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from sdl.arrays import Floats
from sdl.core.goal import Goal, background_exceeds, format_shortfall
from sdl.core.history import History
from sdl.errors import SolverError
from sdl.inverse.discrete import Stepped, on_steps
from sdl.inverse.knowledge import with_knowledge
from sdl.solvers.base import Data, Fitted, Proposals, Solver, Targets, ask
from sdl.space import Space
from sdl.space.numeric import PRECISION
from sdl.types import Channel, Input, Verdict

NEARBY = 0.01
"""A channel that was saturated at settings this near, as a fraction of the range, is taken to be saturated again."""


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


class Finding(NamedTuple):
    """What one check says of a goal; shortfall: the nearest readings, as `Goal.shortfall` gives them."""

    verdict: Verdict
    sentence: str
    shortfall: Mapping[str, Mapping[str, float | None]] = MappingProxyType({})


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
        history.session,
        inputs,
        channels,
        current_session=history.current_session,
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
    """Fit `solver` and ask it for the settings of `goal`.

    Args:
        solver: with its hyper-parameters.
        data: the rows to learn from.
        goal: in raw readings.
        rng: for whatever the solver draws.
        background: raw readings with the instrument off, None where they are not known.

    Raises:
        NotEnoughData, Degenerate: the rows do not suffice for the solver.
        SolverError: its answer is no settings, or the solver itself failed.
    """
    data = with_knowledge(solver, data)
    with translated(solver.kind, len(data.X)):
        return propose_fitted(solver.fit(data), data, goal, rng, background)


@contextlib.contextmanager
def translated(kind: str, rows: int) -> Iterator[None]:
    """Raise any failure of a solver inside as a SolverError that names it."""
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
    given = ask(fitted, targets, space, rng)
    names, base = space.names, background or {}
    raw = space.decode(given.settings[0])
    if missing := [name for name, value in raw.items() if math.isnan(value)]:
        raise SolverError(f"the solver gave no number for {', '.join(missing)}")
    settings, clipped = space.project(raw)
    predict = getattr(fitted, "predict", None)
    stepped = None
    if predict is not None:
        inside = np.clip(given.settings[0], space.low, space.high)
        stepped = on_steps(predict, inside, space, Targets(*(part[0] for part in targets)))
    if stepped is not None:
        settings, _ = space.project(space.decode(stepped.settings))
    verdict, why, shortfall = _first_of(
        [
            _of_solver(given, goal, data.channels, base),
            _exceeded_by_background(goal, background),
            _below_range(goal, data.channels),
            _between_steps(stepped, goal, data.channels, base),
            _saturated(goal, data, settings),
        ]
    )
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
        dict(shortfall),
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
    if off <= 2 * PRECISION and given.expected is not None:
        return np.asarray(given.expected[0], dtype=np.float64)
    if predict is None:  # what was expected was so elsewhere
        return np.full(len(channels), np.nan)
    return np.asarray(predict(np.array([[settings[item.name] for item in inputs]]))[0][0], dtype=np.float64)


def _raw(readings: Floats, channels: Sequence[Channel], base: Mapping[str, float]) -> dict[str, float]:
    """By name, the background added again; what is unknown is left out."""
    pairs = ((channel.name, float(value)) for channel, value in zip(channels, readings, strict=True))
    return {name: value + base.get(name, 0.0) for name, value in pairs if math.isfinite(value)}


def _first_of(checks: Sequence[Finding | None]) -> Finding:
    """The verdict that holds: the first by the enum's order, with the sentences of all that apply beside it.

    Beside a goal that is unreachable for sure, what was only doubtful is left out.
    """
    findings = [finding for finding in checks if finding is not None]
    verdict = min((finding.verdict for finding in findings), key=[*Verdict].index)
    if verdict is Verdict.UNREACHABLE:
        findings = [finding for finding in findings if finding.verdict in (Verdict.UNREACHABLE, Verdict.SATURATED)]
    shortfall = next((finding.shortfall for finding in findings if finding.shortfall), {})
    return Finding(verdict, "; ".join(finding.sentence for finding in findings), shortfall)


def _of_solver(given: Proposals, goal: Goal, channels: Sequence[Channel], base: Mapping[str, float]) -> Finding:
    """The solver's own verdict."""
    verdict, sentence = Verdict(given.verdict[0]), str(given.why[0])
    if verdict is not Verdict.UNREACHABLE or given.nearest is None:
        return Finding(verdict, sentence)
    shortfall = goal.shortfall(_raw(given.nearest[0], channels, base))
    return Finding(verdict, f"{sentence}: the nearest are {format_shortfall(shortfall)}", shortfall)


def _exceeded_by_background(goal: Goal, background: Mapping[str, float] | None) -> Finding | None:
    """Background readings that alone exceed a channel of the goal."""
    sentence = background_exceeds(goal, background)
    return Finding(Verdict.UNREACHABLE, sentence) if sentence else None


def _below_range(goal: Goal, channels: Sequence[Channel]) -> Finding | None:
    """A channel of the goal whose band lies below its low end."""
    for channel in channels:
        band = goal.bands.get(channel.name)
        if band is not None and channel.low is not None and band.high < channel.low:
            sentence = f"{channel.name} never reads below {channel.low:g}, and at most {band.high:g} is asked for"
            return Finding(Verdict.UNREACHABLE, sentence)
    return None


def _between_steps(
    stepped: Stepped | None, goal: Goal, channels: Sequence[Channel], base: Mapping[str, float]
) -> Finding | None:
    """Settings that would hit, but none on the steps of the inputs."""
    if stepped is None or stepped.hits or not stepped.hits_between:
        return None
    first, second = (goal.shortfall(_raw(y, channels, base)) for y in stepped.readings)
    nearest = f"{format_shortfall(first)}; or {format_shortfall(second)}"
    sentence = f"no step near the answer hits: the two nearest are {nearest}"
    return Finding(Verdict.BETWEEN_STEPS, sentence, first)


def _saturated(goal: Goal, data: Data, settings: Mapping[str, float]) -> Finding | None:
    """A channel of the goal that is asked for more than it can read, or was saturated at these settings."""
    near = None
    if data.saturated.any():  # mostly none is, and then no row needs to be looked at
        x = np.array([settings[item.name] for item in data.inputs])
        scale = np.array([item.high - item.low for item in data.inputs])
        near = (np.abs(data.X - x) <= NEARBY * scale).all(axis=1)
    for i, channel in enumerate(data.channels):
        band = goal.bands.get(channel.name)
        if band is None:
            continue
        if channel.high is not None and band.low >= channel.high:
            sentence = f"{channel.name} saturates at {channel.high:g}, below {band.low:g}"
            return Finding(Verdict.SATURATED, sentence)
        latest = data.saturated[:0, i] if near is None else data.saturated[near, i][-3:]
        if len(latest) and latest.all():
            return Finding(Verdict.SATURATED, f"{channel.name} was saturated where it was measured at these settings")
    return None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
