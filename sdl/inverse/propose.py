"""Ask a solver, which works on arrays, for the settings of a goal, and return the proposal by name.

Only this module turns a history into arrays, and a goal in raw readings into targets with the background subtracted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from sdl.arrays import Floats
from sdl.core.goal import Direction, Goal, background_exceeds, format_shortfall
from sdl.core.history import History
from sdl.errors import ConfigError, SolverError
from sdl.grammar import LinearConstraint
from sdl.inverse.discrete import Stepped, on_steps
from sdl.inverse.knowledge import with_knowledge
from sdl.models.data import Objective
from sdl.notebook import table
from sdl.solvers.base import Data, Fitted, Proposals, Solver, Targets, ask, require_choices
from sdl.space import Space
from sdl.space.numeric import PRECISION
from sdl.types import Channel, Input, Settings, Value, Verdict

NEARBY = 0.01
"""If a row was saturated, settings that differ from it by at most this fraction of the range are taken to be so too."""

BACK = 6
"""Settings that read full scale are moved halfway to the closest row that did not, at most this many times."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal by name.

    Attributes:
        settings: settings inside the space, ready for the instrument.
        raw: settings as the solver gave them.
        clipped: the inputs whose raw settings lay outside their bounds.
        spread: standard deviation of the settings for one noisy reading at the goal; None = unknown.
        uncertainty: the same for the noise-free goal.
        expected: raw readings expected at the settings, background included; None = unknown.
        verdict: the verdict on the goal.
        why: how the settings and the verdict came about.
        shortfall: the closest readings that can be reached, in the form of `Goal.shortfall`, if the goal cannot.
        probability: probability that any settings reach the goal; None = unknown.
        model: name of the model that the goal was judged by.
        lack_of_fit: standard deviation of that model's lack of fit, for channels where it is significant.
        expected_error: standard deviation of the mean of a trial's readings about `expected`.
        readings_needed: number of readings to average per trial if the tolerance is below the noise; None = unknown.
        incumbent: with an objective, the best settings measured, as applied; empty if none keep the constraints.
        estimate, estimate_error: noise-free raw reading of the objective there by the model, and its standard error.
        expected_improvement: by how much the reading at the settings is expected to improve on the estimate.
    """

    settings: Settings
    raw: Settings
    clipped: tuple[str, ...]
    spread: Mapping[str, float | None]
    uncertainty: Mapping[str, float | None]
    expected: Mapping[str, float | None]
    verdict: Verdict
    why: str
    shortfall: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    probability: float | None = None
    model: str = ""
    lack_of_fit: Mapping[str, float] = field(default_factory=dict)
    expected_error: Mapping[str, float] = field(default_factory=dict)
    readings_needed: int | None = None
    incumbent: Settings = field(default_factory=dict)
    estimate: float | None = None
    estimate_error: float | None = None
    expected_improvement: float | None = None

    def _repr_html_(self) -> str:
        settings = [
            (name, value, self.spread.get(name), self.uncertainty.get(name)) for name, value in self.settings.items()
        ]
        inputs = table(("input", "setting", "spread", "uncertainty"), settings, f"{self.verdict}: {self.why}")
        return inputs + table(("channel", "expected"), list(self.expected.items()))


class Finding(NamedTuple):
    """The result of one check of a goal; `shortfall`: the closest readings, in the form of `Goal.shortfall`."""

    verdict: Verdict
    sentence: str
    shortfall: Mapping[str, Mapping[str, float | None]] = MappingProxyType({})


def data_of(
    history: History,
    inputs: tuple[Input, ...],
    channels: tuple[Channel, ...],
    wanted: Sequence[str],
    constraints: tuple[LinearConstraint, ...] = (),
) -> Data:
    """The rows of a history as data for a solver; the arrays are views, nothing is copied."""
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
        constraints=constraints,
    )


def objective_of(goal: Goal, channels: Sequence[Channel]) -> Objective | None:
    """The channel to maximise or minimise; None without one."""
    names = [channel.name for channel in channels]
    if goal.objective is None or goal.direction is None:
        return None
    return Objective(names.index(goal.objective), goal.direction.sign)


def targets_of(goal: Goal, channels: tuple[Channel, ...], background: Mapping[str, float] | None) -> Targets:
    """The goal as (1, m) arrays, with the background subtracted.

    The objective has the end of its channel as a limit, because a reading there is a bound and no value.
    """
    value, low, high = ([fill] * len(channels) for fill in (math.nan, -math.inf, math.inf))
    for i, channel in enumerate(channels):
        if band := goal.bands.get(channel.name):
            base = (background or {}).get(channel.name, 0.0)
            low[i], high[i] = band.low - base, band.high - base
            if band.direction is Direction.MAXIMISE and channel.high is not None:
                high[i] = channel.high - base
            if band.direction is Direction.MINIMISE and channel.low is not None:
                low[i] = channel.low - base
            value[i] = math.nan if band.target is None else band.target - base
    return Targets(np.array([value]), np.array([low]), np.array([high]))


def propose(
    solver: Solver, data: Data, goal: Goal, rng: np.random.Generator, background: Mapping[str, float] | None = None
) -> Proposal:
    """Fit `solver` and ask it for the settings of `goal`.

    Args:
        solver: the solver, with its options.
        data: the rows to learn from.
        goal: the goal, in raw readings.
        rng: generator for the solver.
        background: raw readings with the instrument off; None if unknown.

    Raises:
        NotEnoughData, Degenerate: the rows do not suffice for the solver.
        SolverError: the solver failed, gave no number for an input, or cannot handle inputs with choices.
    """
    data = with_knowledge(solver, data)
    try:
        require_choices(solver, data.inputs)
    except ConfigError as error:
        raise SolverError(str(error)) from error
    with translated(solver.kind, len(data.X)):
        return propose_fitted(solver.fit(data), data, goal, rng, background)


@contextlib.contextmanager
def translated(kind: str, rows: int) -> Iterator[None]:
    """Turn any exception of a solver into a SolverError that names the solver."""
    try:
        yield
    except (SolverError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise SolverError(f"{kind} failed on {rows} rows: {error!r}") from error


def propose_fitted(
    fitted: Fitted, data: Data, goal: Goal, rng: np.random.Generator, background: Mapping[str, float] | None = None
) -> Proposal:
    """Ask a fitted solver for the settings of `goal`; see `propose`."""
    space = data.space
    targets = targets_of(goal, data.channels, background)
    given = ask(fitted, targets, space, rng)
    base = background or {}
    row = given.settings[0]
    if missing := [name for name, value in zip(space.columns, row, strict=True) if math.isnan(value)]:
        raise SolverError(f"the solver gave no number for {', '.join(missing)}")
    raw = space.decode(row)
    settings, clipped = space.project(raw)
    predict = getattr(fitted, "predict", None)
    stepped = None
    if predict is not None and data.objective is None:  # an objective is searched on the steps
        inside = space.region.project(row)
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
    settings = _off_full_scale(settings, data, goal, space)
    expected: Mapping[str, float] = {}
    if given.expected is not None or predict is not None:
        readings = _expected(given, predict, space.encode(settings), space, data.channels)
        expected = _raw(readings, data.channels, base)
    return Proposal(
        settings,
        raw,
        clipped,
        {name: _known(value) for name, value in space.by_input(given.spread[0]).items()},
        {name: _known(value) for name, value in space.by_input(given.uncertainty[0]).items()},
        expected,
        verdict,
        why,
        dict(shortfall),
        None if given.probability is None else _known(float(given.probability[0])),
        given.model,
        {} if given.lack_of_fit is None else _raw(given.lack_of_fit[0], data.channels, {}),
        {} if given.expected_error is None else _raw(given.expected_error[0], data.channels, {}),
        _count(given.readings_needed),
        *_optimum(given, space, base.get(goal.objective or "", 0.0)),
    )


@dataclass(frozen=True, slots=True)
class ModelOptimum:
    """The best settings in the model of a data set, with the reading of the objective that it estimates there.

    Attributes:
        settings: rounded and clipped, ready for the instrument.
        expected: noise-free raw readings there.
        estimate, estimate_error: estimate of the objective, and its standard error.
    """

    settings: Settings
    expected: Mapping[str, float]
    estimate: float
    estimate_error: float


def optimum(fitted: Any, data: Data, goal: Goal) -> ModelOptimum:
    """The settings with the best mean of a fitted model that keeps the constraints."""
    space = data.space
    target = Targets(*(part[0] for part in targets_of(goal, data.channels, None)))
    row, mean, sd = fitted.optimum(target, space)
    expected, column = _raw(mean, data.channels, {}), data.objective.column if data.objective is not None else 0
    settings, _ = space.project(space.decode(row))
    return ModelOptimum(settings, expected, expected[data.channels[column].name], float(sd[column]))


def _optimum(given: Proposals, space: Space, base: float) -> tuple[Settings, float | None, float | None, float | None]:
    """The incumbent, its estimated raw reading with the standard error, and the expected improvement."""
    parts = given.estimate, given.estimate_error, given.expected_improvement
    estimate, error, improvement = (None if part is None else _known(float(part[0])) for part in parts)
    if given.incumbent is None or estimate is None:
        return {}, None, None, None
    return space.decode(given.incumbent[0]), estimate + base, error, improvement


def _off_full_scale(settings: dict[str, Value], data: Data, goal: Goal, space: Space) -> dict[str, Value]:
    """Move settings at which a channel of the goal was saturated halfway to the closest row where none was.

    Choices become those of that row.

    At the same settings it would be saturated again, and the reading would tell nothing new.
    """
    columns = [i for i, c in enumerate(data.channels) if c.name in goal.bands and not goal.bands[c.name].open_above]
    full = data.saturated[:, columns].any(axis=1)
    if not full.any():
        return settings
    x, scale = space.encode(settings), space.width
    if not (np.abs(data.X[full] - x) <= NEARBY * scale).all(axis=1).any():
        return settings
    usable = ~full & np.isfinite(data.Y[:, columns]).all(axis=1) & np.isfinite(data.X).all(axis=1)
    if not usable.any():
        return settings
    rows = data.X[usable]
    nearest = rows[int((((rows - x) / scale) ** 2).sum(axis=1).argmin())]
    x = np.where(space.categorical, nearest, x)
    for _ in range(BACK):
        x = (x + nearest) / 2
        if not (np.abs(data.X[full] - x) <= NEARBY * scale).all(axis=1).any():
            return space.project(space.decode(x))[0]
    return settings


def _expected(
    given: Proposals,
    predict: Callable[[Floats], tuple[Floats, Floats]] | None,
    row: Floats,
    space: Space,
    channels: Sequence[Channel],
) -> Floats:
    """(m,) readings expected at the settings (p,) that will be applied; NaN = unknown."""
    off = float((np.abs(row - given.settings[0]) / space.width).max())
    if off <= 2 * PRECISION and given.expected is not None:
        return np.asarray(given.expected[0], dtype=np.float64)
    if predict is None:  # the expected readings were those of other settings
        return np.full(len(channels), np.nan)
    return np.asarray(predict(row[None])[0][0], dtype=np.float64)


def _raw(readings: Floats, channels: Sequence[Channel], base: Mapping[str, float]) -> dict[str, float]:
    """Readings by name, with the background added again; unknown ones are left out."""
    pairs = ((channel.name, float(value)) for channel, value in zip(channels, readings, strict=True))
    return {name: value + base.get(name, 0.0) for name, value in pairs if math.isfinite(value)}


def _first_of(checks: Sequence[Finding | None]) -> Finding:
    """Combine the checks: the first verdict in the order of `Verdict`, with the sentences of all findings.

    If the goal is unreachable, only sentences of the verdicts unreachable and saturated are kept.
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
    """Unreachable if the background reading of a channel alone exceeds the goal."""
    sentence = background_exceeds(goal, background)
    return Finding(Verdict.UNREACHABLE, sentence) if sentence else None


def _below_range(goal: Goal, channels: Sequence[Channel]) -> Finding | None:
    """Unreachable if the goal asks a channel for readings below the lower end of its range."""
    for channel in channels:
        band = goal.bands.get(channel.name)
        if band is not None and channel.low is not None and band.high < channel.low:
            sentence = f"{channel.name} never reads below {channel.low:g}, and at most {band.high:g} is asked for"
            return Finding(Verdict.UNREACHABLE, sentence)
    return None


def _between_steps(
    stepped: Stepped | None, goal: Goal, channels: Sequence[Channel], base: Mapping[str, float]
) -> Finding | None:
    """Between two steps if the goal can be reached, but not with settings on the steps of the inputs."""
    if stepped is None or stepped.hits or not stepped.hits_between:
        return None
    first, second = (goal.shortfall(_raw(y, channels, base)) for y in stepped.readings)
    nearest = f"{format_shortfall(first)}; or {format_shortfall(second)}"
    sentence = f"no step near the answer hits: the two nearest are {nearest}"
    return Finding(Verdict.BETWEEN_STEPS, sentence, first)


def _saturated(goal: Goal, data: Data, settings: Settings) -> Finding | None:
    """Saturated if the goal asks a channel for more than it can read, or if it was saturated at these settings."""
    near = None
    if data.saturated.any():  # usually none is, and the search for close rows is not needed
        x = data.space.encode(settings)
        near = (np.abs(data.X - x) <= NEARBY * data.space.width).all(axis=1)
    for i, channel in enumerate(data.channels):
        band = goal.bands.get(channel.name)
        if band is None:
            continue
        if channel.high is not None and (band.low > channel.high or (band.low == channel.high and not band.open_above)):
            sentence = f"{channel.name} saturates at {channel.high:g}, below {band.low:g}"
            return Finding(Verdict.SATURATED, sentence)
        latest = data.saturated[:0, i] if near is None or band.open_above else data.saturated[near, i][-3:]
        if len(latest) and latest.all():
            return Finding(Verdict.SATURATED, f"{channel.name} was saturated where it was measured at these settings")
    return None


def _count(values: Floats | None) -> int | None:
    return None if values is None or not np.isfinite(values[0]) else int(values[0])


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
