"""Settings for a target from a data set, without campaign or instrument, and the accuracy of a solver on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from sdl.arrays import Bools, Floats
from sdl.config import Prefer, Target, parse_kind
from sdl.config.goals import MAX_READING, OBJECTIVES, implausible, no_width, prefer_problems
from sdl.config.mistakes import problems_of
from sdl.core.goal import Band, Goal, Tolerance
from sdl.errors import ConfigError, Problem
from sdl.grammar import LinearConstraint
from sdl.inverse.knowledge import fit
from sdl.inverse.multiple import solutions
from sdl.inverse.propose import ModelOptimum, Proposal, objective_of, optimum, propose, propose_fitted, translated
from sdl.models.backward.local_regression import levels
from sdl.models.constants import DISTINCT
from sdl.models.data import Objective
from sdl.notebook import table
from sdl.solvers.base import Data, Solver, Targets, ask, optimises
from sdl.space import Space
from sdl.store.datasets import DatasetRow
from sdl.types import Channel, Input, Settings, Value, Verdict, numbers

if TYPE_CHECKING:
    import pandas as pd


NARROW = 0.01
"""If all settings lie in 0 … 1, an input that spans less than this gets its own range as bounds, not 0 and 1."""

FEW_LEVELS = 6
"""An input with at most this many levels is taken for designed: cross-validation leaves out whole levels of it."""
FIFTHS = 5
"""Number of parts into which the settings are divided if there are neither several days nor levels."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A solver's answer from a data set: arrays, or pandas Series where DataFrames were given.

    Attributes:
        settings: (inputs,) rounded and clipped to the bounds.
        raw: (inputs,) settings as the solver gave them.
        spread: (inputs,) standard deviation of the settings for one noisy reading at the target; NaN = unknown.
        uncertainty: (inputs,) the same for the noise-free target: standard error of the model.
        expected: (channels,) readings expected at the settings; NaN = unknown.
        verdict: the verdict on the target.
        why: how the settings and the verdict came about.
        shortfall: if no settings reach the target: for each of its channels the band (`low`, `high`), the closest
            reading (`nearest`) and its distance from the band (`by`).
        solutions: (n, inputs) all settings found that reach it, if requested.
        next: (inputs,) settings to measure next, with a channel to maximise or minimise; `settings` are then the best
            ones in the model of the data.
        estimate, estimate_error: noise-free reading of that channel at `settings` by the model, and its standard error.
        expected_improvement: by how much a reading at `next` is expected to improve on the best settings measured; NaN
            = unknown.
    """

    settings: Any
    raw: Any
    spread: Any
    uncertainty: Any
    expected: Any
    verdict: Verdict
    why: str
    shortfall: Mapping[str, Mapping[str, float | None]]
    solutions: Any = None
    next: Any = None
    estimate: float | None = None
    estimate_error: float | None = None
    expected_improvement: float | None = None

    def _repr_html_(self) -> str:
        settings = zip(_labels(self.settings), self.settings, self.spread, self.uncertainty, strict=True)
        inputs = table(("input", "setting", "spread", "uncertainty"), settings, f"{self.verdict}: {self.why}")
        return inputs + table(("channel", "expected"), zip(_labels(self.expected), self.expected, strict=True))


def _labels(values: Any) -> list[str]:
    """The labels of a Series, or the places in an array."""
    return [str(label) for label in getattr(values, "index", range(len(values)))]


def solve(
    X: ArrayLike | pd.DataFrame,
    Y: ArrayLike | pd.DataFrame,
    target: ArrayLike | Mapping[str, Any],
    solver: str | Mapping[str, Any] | Solver = "auto",
    *,
    tolerance: str | float = "2%",
    prefer: Mapping[str, str] | None = None,
    average: int = 1,
    all_solutions: bool = False,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    saturation: float | None = None,
    seed: int = 0,
) -> Solution:
    """Find the settings that give the target readings, from measured pairs.

    Args:
        X: (n, inputs) settings; an array or a DataFrame.
        Y: (n, channels) readings; NaN where a channel was not measured.
        target: target reading of each channel, in the order of Y, with NaN = free. Or a mapping by column name, whose
            values may also be `{"between": [low, high]}`, `{"at most": high}`, `{"at least": low}`,
            `{"target": value, "tolerance": ...}`, and for one column `"maximise"` or `"minimise"`.
        solver: a kind, a mapping with `kind` and options, or a solver.
        tolerance: accepted error, for the verdict: "2%" of the target or a number.
        prefer: which settings to take if several reach it: `{"minimise": "power"}`, `{"maximise": "R"}`.
        average: number of readings that will be averaged before they are compared with the target, for the verdict.
        all_solutions: also find all other settings that reach it.
        low: lower bounds of the inputs; NaN = default. The default is 0 if all settings lie in 0 … 1 and the input
            spans at least 0.01, else its smallest setting.
        high: upper bounds of the inputs; NaN = default, 1 or the largest setting by the same rule.
        saturation: readings of this value or above are saturated; rows with a saturated reading are not used.
        seed: seed of all random numbers.

    An input that never varied keeps its value, with spread and uncertainty NaN.

    Raises:
        ConfigError: shapes or names that do not match, or an unknown solver.
        NotEnoughData, Degenerate: the rows do not suffice for the solver.
        SolverError: the solver failed.

    Example:
        >>> import numpy as np, sdl
        >>> X = np.random.default_rng(0).random((30, 3))
        >>> Y = X @ [[29264, 365, 122], [1322, 63597, 365], [753, 428, 30226]]
        >>> np.round(sdl.solve(X, Y, [16384, 16384, 16384], "linear").settings, 3)
        array([0.535, 0.251, 0.537])
    """
    x, y = _matrix(X, "X"), _matrix(Y, "Y")
    if len(x) != len(y):
        raise ConfigError(f"X has {len(x)} rows and Y {len(y)}; they must be pairs")
    if not np.isfinite(x).all():
        raise ConfigError("X has values that are no finite numbers")
    names, channels = _names(X, "x", x.shape[1]), _names(Y, "y", y.shape[1])
    bounds = bounds_of(x, low, high)
    try:
        width = Tolerance.parse(tolerance)
    except ValueError as error:
        raise ConfigError(f"tolerance {error}") from error
    goal = _goal(_target(target, channels), width)
    if seed < 0:
        raise ConfigError(f"seed must be 0 or above, not {seed}")
    inputs = tuple(Input(name=n, low=float(a), high=float(b)) for n, a, b in zip(names, *bounds, strict=True))
    data = Data(
        x,
        y,
        y >= saturation if saturation is not None else np.zeros(y.shape, bool),
        np.array([name in goal.bands for name in channels]),
        np.arange(len(x) - 1, -1, -1, dtype=float),
        np.zeros(len(x)),
        inputs,
        tuple(Channel(name=name, high=saturation) for name in channels),
        prefer=parse_prefer(prefer, inputs),
        average=average,
        objective=objective_of(goal, [Channel(name=name) for name in channels]),
    )
    try:
        solver_model = parse_kind("solver", solver)
    except ConfigError as error:
        problems = [Problem(p.message, "solver" if p.path == "kind" else f"solver.{p.path}") for p in error.problems]
        raise ConfigError(*problems) from error
    check_objective(solver_model, goal)
    data, held = hold(data)
    if data.objective is not None:
        return _optimised(solver_model, data, held, goal, seed, (names, channels), (X, Y))
    answer = with_held(propose(solver_model, data, goal, np.random.default_rng([seed, 1, 0])), held)
    others = None
    if all_solutions:
        with translated(solver_model.kind, len(data.X)):
            modes = solutions(fit(solver_model, data), data, goal, np.random.default_rng([seed, 1, 1]))
        others = _matrix_of(
            [[{**numbers(s.settings), **numbers(held)}[n] for n in names] for s in modes], len(names), X
        )
    return Solution(
        _vector(numbers(answer.settings), names, X),
        _vector(numbers(answer.raw), names, X),
        _vector(answer.spread, names, X),
        _vector(answer.uncertainty, names, X),
        _vector(answer.expected, channels, Y),
        answer.verdict,
        answer.why,
        answer.shortfall,
        others,
    )


def _optimised(
    solver: Solver,
    data: Data,
    held: Settings,
    goal: Goal,
    seed: int,
    names: tuple[Sequence[str], Sequence[str]],
    like: tuple[Any, Any],
) -> Solution:
    """The best settings in the model of the data, and where to measure next."""
    following, best = optimise(solver, data, goal, np.random.default_rng([seed, 1, 0]))
    following = with_held(following, held)
    settings = _vector(numbers({**best.settings, **held}), names[0], like[0])
    return Solution(
        settings,
        settings,
        _vector(following.spread, names[0], like[0]),
        _vector(following.uncertainty, names[0], like[0]),
        _vector(best.expected, names[1], like[1]),
        following.verdict,
        following.why,
        following.shortfall,
        next=_vector(numbers(following.settings), names[0], like[0]),
        estimate=best.estimate,
        estimate_error=best.estimate_error,
        expected_improvement=following.expected_improvement,
    )


def optimise(solver: Solver, data: Data, goal: Goal, rng: np.random.Generator) -> tuple[Proposal, ModelOptimum]:
    """Where to measure next, and the best settings in the model of the data.

    Raises:
        NotEnoughData, Degenerate: the rows do not suffice for the solver.
        SolverError: the solver failed.
    """
    with translated(solver.kind, len(data.X)):
        fitted = fit(solver, data)
        return propose_fitted(fitted, data, goal, rng), optimum(fitted, data, goal)


def check_objective(solver: Solver, goal: Goal) -> None:
    """Refuse a solver that cannot maximise or minimise the channel of the goal.

    Raises:
        ConfigError: the solver cannot; the message lists those that can.
    """
    if goal.objective is not None and not optimises(solver):
        message = f"{solver.kind} cannot {goal.direction} {goal.objective}; use auto, gp, quadratic or linear"
        raise ConfigError(Problem(message, "solver"))


def parse_prefer(prefer: Mapping[str, str] | None, inputs: tuple[Input, ...]) -> tuple[float, ...] | None:
    """The cost of each input over its range, from a mapping such as `{"minimise": "power"}`; None without a preference.

    Raises:
        ConfigError: the mapping has another form, or names an unknown input.
    """
    if prefer is None:
        return None
    try:
        preference = Prefer.model_validate(prefer)
    except ValidationError as error:
        raise ConfigError(*_placed(problems_of(error, Prefer), "prefer")) from error
    if problems := prefer_problems(preference, inputs):
        raise ConfigError(*problems)
    return preference.cost(inputs)


def parse_band(name: str, value: Any, tolerance: Tolerance) -> Band:
    """The accepted readings of one channel, from a number or a mapping such as `{"between": [low, high]}`.

    Raises:
        ConfigError: the value has another form, the reading is implausible, or the band has no width.
    """
    try:
        target = Target.model_validate(value)
        if message := implausible(target):
            raise ConfigError(Problem(message, name))
        return target.band(tolerance)
    except ValidationError as error:
        raise ConfigError(*_placed(problems_of(error, Target), name)) from error
    except ValueError as error:
        raise ConfigError(Problem(no_width(target.tolerance or tolerance, target.target or 0.0), name)) from error


def _placed(problems: Sequence[Problem], where: str) -> list[Problem]:
    return [Problem(problem.message, f"{where}.{problem.path}".rstrip(".")) for problem in problems]


def data_from(
    rows: Sequence[DatasetRow],
    inputs: tuple[Input, ...],
    channels: tuple[Channel, ...],
    wanted: Sequence[str],
    objective: Objective | None = None,
    constraints: tuple[LinearConstraint, ...] = (),
) -> Data:
    """The rows of records and logs as data for a solver, with the backgrounds subtracted."""
    base = [row.reading.background or {} for row in rows]
    values = [
        [row.reading.readings.get(c.name, np.nan) - b.get(c.name, 0.0) for c in channels]
        for row, b in zip(rows, base, strict=True)
    ]
    n, m, space = len(rows), len(channels), Space(inputs, constraints)
    return Data(
        np.array([space.encode(row.reading.applied) for row in rows], float).reshape(n, len(space.columns)),
        np.array(values, float).reshape(n, m),
        np.array([[c.name in row.reading.saturated for c in channels] for row in rows], bool).reshape(n, m),
        np.array([c.name in wanted for c in channels]),
        np.arange(n - 1, -1, -1, dtype=float),
        np.array([row.session for row in rows], float),
        inputs,
        channels,
        current_session=1.0
        + max((row.session for row in rows), default=-1),  # the next reading will be of a new session
        objective=objective,
        constraints=constraints,
    )


def hold(data: Data) -> tuple[Data, dict[str, Value]]:
    """Separate the inputs that never varied: the data without them, and their values.

    If no input varied, none is separated, and the solver reports that the rows do not suffice.
    """
    rows = data.X[_usable(data)]
    varies = np.array([len(np.unique(values)) != 1 for values in rows.T], bool)
    parts = {name: data.space.columns_of(name) for name in data.space.names}
    still = [name for name, part in parts.items() if part.stop > part.start and not varies[part].any()]
    if not still or not varies.any():
        return data, {}
    first = data.space.decode(rows[0])
    held = {name: first[name] for name in still}
    moved = np.ones(len(varies), bool)
    for name in still:
        moved[parts[name]] = False
    prefer = None if data.prefer is None else tuple(np.array(data.prefer)[moved].tolist())
    inputs = tuple(item for item in data.inputs if item.name not in held)
    constraints = tuple(one for given in data.constraints if (one := given.at(held)) is not None)
    return replace(data, X=data.X[:, moved], inputs=inputs, prefer=prefer, constraints=constraints), held


def with_held(answer: Proposal, held: Settings) -> Proposal:
    """Add the held inputs to a proposal that was made without them."""
    if not held:
        return answer
    unknown = dict.fromkeys(held)
    held_settings = ", ".join(f"{k} {v if isinstance(v, str) else format(v, 'g')}" for k, v in held.items())
    return replace(
        answer,
        settings={**answer.settings, **held},
        raw={**answer.raw, **held},
        spread={**answer.spread, **unknown},
        uncertainty={**answer.uncertainty, **unknown},
        why=f"{answer.why}; held as in every row: {held_settings}",
    )


@dataclass(frozen=True, slots=True)
class Validated:
    """The result of a cross-validation: how well a solver predicts settings that were left out.

    Attributes:
        rmse: root mean square error of each input over all left-out rows.
        rows: how many rows were predicted.
        folds: number of parts that were left out in turn.
        by: what a part is: a `day`, a `level` (of one input, in designed data), `day and level`, or a `fold`.
    """

    rmse: Mapping[str, float]
    rows: int
    folds: int
    by: str


def cross_validate(
    solver: Solver,
    data: Data,
    days: Sequence[str],
    seed: int = 0,
    tell: Callable[[int, int], None] = lambda done, parts: None,
) -> Validated:
    """Cross-validate a solver: the error of the settings predicted for rows that were left out.

    Rows that would make the prediction too easy are left out together: whole days if there are several; all rows at the
    same settings; and if an input has few levels, all rows at one of its inner levels, because goals lie between the
    levels. Otherwise the settings are divided into five parts. Rows that are saturated or lack a channel of the goal
    are not used. `tell` is called with the number of parts done and the number of all parts.

    Raises:
        NotEnoughData, Degenerate, SolverError: the remaining rows do not suffice for the solver.
    """
    usable = _usable(data)
    by, folds = _folds(data, np.array(days), usable)
    errors: list[Floats] = []
    for n, (test, learn) in enumerate(folds):
        learnt = _rows(data, learn)
        wanted = np.where(data.goal, data.Y[test], np.nan)
        width = np.abs(wanted) * 0.02 + 1.0
        band = Targets(
            wanted,
            np.where(data.goal, wanted - width, -np.inf),
            np.where(data.goal, wanted + width, np.inf),
        )
        with translated(solver.kind, len(learnt.X)):
            given = ask(fit(solver, learnt), band, data.space, np.random.default_rng([seed, 1, n]))
        errors.append(np.asarray(given.settings) - data.X[test])
        tell(n + 1, len(folds))
    all_errors = np.concatenate(errors)
    rmse = np.sqrt((all_errors**2).mean(axis=0))
    return Validated(
        {name: value for name, value in data.space.by_input(rmse).items() if np.isfinite(value)},
        len(all_errors),
        len(folds),
        by,
    )


def _folds(data: Data, days: NDArray[np.str_], usable: Bools) -> tuple[str, list[tuple[Bools, Bools]]]:
    """What a part is (as `Validated.by`), and for each part the rows to predict and the rows to learn from."""
    U = (data.X - data.space.low) / data.space.width
    setting = np.unique(np.round(U / DISTINCT), axis=0, return_inverse=True)[1].reshape(-1)
    first = np.unique(setting, return_index=True)[1]
    order = np.argsort(np.argsort(first))[setting]  # settings numbered in the order of their first row
    parts: list[Bools] = []
    for u in U.T:
        lows = levels(u[usable])
        if len(lows) <= FEW_LEVELS:
            level = np.searchsorted(lows, u, side="right")
            parts += [level == k for k in range(2, len(lows))]
    is_designed = bool(parts)
    named = [days == day for day in np.unique(days[usable])]
    if len(named) < 2:
        parts = parts or [order % FIFTHS == k for k in range(FIFTHS)]
        pairs = [(usable & part, ~part) for part in parts]
    else:
        shared = np.array([len(np.unique(days[usable & (setting == s)])) > 1 for s in setting[usable]])
        if not is_designed and shared.mean() > 0.5:
            parts = [order % FIFTHS == k for k in range(FIFTHS)]
        by_day = [parts or [np.isin(setting, setting[day])] for day in named]
        pairs = [(usable & day & part, ~day & ~part) for day, held in zip(named, by_day, strict=True) for part in held]
    distinct = {test.tobytes() + learn.tobytes(): (test, learn) for test, learn in pairs if test.any()}
    word = " and ".join(["day"] * (len(named) > 1) + ["level"] * is_designed) or "fold"
    return word, list(distinct.values())


def _usable(data: Data) -> Bools:
    """(n,) the rows with an unsaturated reading of every channel of the goal."""
    return np.asarray(~(data.saturated | np.isnan(data.Y))[:, data.goal].any(axis=1), bool)


def _rows(data: Data, which: Bools) -> Data:
    """Some rows for a cross-validation, without a preference or an objective."""
    return Data(
        data.X[which],
        data.Y[which],
        data.saturated[which],
        data.goal,
        data.age[which],
        data.session[which],
        data.inputs,
        data.channels,
        current_session=data.current_session,
        constraints=data.constraints,
    )


def _matrix(value: Any, name: str) -> Floats:
    try:
        matrix = np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be numbers, (rows, columns): {error}") from error
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or not matrix.size:
        raise ConfigError(f"{name} must have the shape (rows, columns), not {matrix.shape}")
    return matrix


def _names(value: Any, letter: str, width: int) -> list[str]:
    columns = getattr(value, "columns", None)
    return [str(c) for c in columns] if columns is not None else [f"{letter}{i}" for i in range(width)]


def bounds_of(x: Floats, low: ArrayLike | None, high: ArrayLike | None) -> tuple[Floats, Floats]:
    """Bounds of the inputs (d,) of settings (n, d), as `solve` describes them.

    Raises:
        ConfigError: a lower bound is not below its upper bound.
    """
    span = np.ptp(x, axis=0)
    unit = (x.min() >= 0) & (x.max() <= 1) & ((span == 0) | (span > NARROW))
    try:
        lowest, highest = (
            np.broadcast_to(np.asarray(np.nan if given is None else given, float), x.shape[1:]) for given in (low, high)
        )
    except ValueError as error:
        raise ConfigError(f"low and high must be one number or {x.shape[1]}") from error
    lowest = np.where(np.isnan(lowest), np.where(unit, 0.0, x.min(axis=0)), lowest)
    highest = np.where(np.isnan(highest), np.where(unit, 1.0, x.max(axis=0)), highest)
    highest = np.where((span == 0) & (lowest == highest), lowest + 1, highest)  # an input that never varied is held
    if not (lowest < highest).all():
        raise ConfigError(f"every low must be below its high; low {lowest.tolist()}, high {highest.tolist()}")
    return lowest, highest


def _goal(wanted: Mapping[str, Any], tolerance: Tolerance) -> Goal:
    bands: dict[str, Band] = {}
    for name, value in wanted.items():
        if isinstance(value, float):  # a target of 0 with a tolerance in per cent is allowed: only the verdict needs it
            bands[name] = Band.around(value, tolerance.of(value) or 1e-9)
        else:
            bands[name] = parse_band(name, value, tolerance)
    try:
        return Goal(bands)
    except ValueError as error:
        raise ConfigError(f"target: {error}") from error


def _target(target: Any, channels: Sequence[str]) -> dict[str, Any]:
    try:
        goal = _wanted(target, channels)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"target must be numbers, not {target}") from error
    numbers = [value for value in goal.values() if isinstance(value, float)]
    if not goal or not np.isfinite(numbers).all():
        raise ConfigError(f"target must have at least one finite number, not {target}")
    if max(map(abs, numbers), default=0.0) > MAX_READING:
        raise ConfigError(f"target must lie between -{MAX_READING:g} and {MAX_READING:g}, not {target}")
    return goal


def _wanted(target: Any, channels: Sequence[str]) -> dict[str, Any]:
    # A pandas Series is no Mapping, but its index names the channels, unless it is a range of integers.
    named = hasattr(target, "keys") and hasattr(target, "items") and [*target.keys()] != [*range(len(target))]
    if named or isinstance(target, Mapping):
        unknown = [str(name) for name, _ in target.items() if str(name) not in channels]
        if unknown:
            raise ConfigError(f"target has unknown channels {', '.join(unknown)}; Y has {', '.join(channels)}")
        return {str(name): v if isinstance(v, Mapping) or v in OBJECTIVES else float(v) for name, v in target.items()}
    values = np.asarray(target, float).ravel()
    if len(values) != len(channels):
        raise ConfigError(f"target has {len(values)} values, Y has {len(channels)} columns; NaN leaves one free")
    return {name: float(value) for name, value in zip(channels, values, strict=True) if not np.isnan(value)}


def _matrix_of(rows: Sequence[Sequence[float]], width: int, like: Any) -> Any:
    matrix = np.array(rows, float).reshape(len(rows), width)
    if hasattr(like, "columns"):
        import pandas as pd  # of the extra `report`

        return pd.DataFrame(matrix, columns=like.columns)
    return matrix


def _vector(values: Mapping[str, float | None], names: Sequence[str], like: Any) -> Any:
    vector = np.array([np.nan if values.get(n) is None else values[n] for n in names], float)
    if hasattr(like, "columns"):
        import pandas as pd

        return pd.Series(vector, index=like.columns)
    return vector
