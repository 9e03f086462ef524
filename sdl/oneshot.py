"""One shot on a data set: no campaign, no instrument; what would a solver answer, and how far can it be trusted?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdl.config import parse_kind
from sdl.errors import ConfigError
from sdl.goal import Band, Goal, Tolerance
from sdl.inverse import ask
from sdl.solvers.base import Data, Solver, Targets
from sdl.types import Channel, Input, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from sdl.readings import Row

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver answers on a data set. Arrays where arrays were given, pandas Series where DataFrames were.

    Attributes:
        settings: (inputs,) rounded and clipped to the bounds.
        raw: (inputs,) as the solver gave them.
        spread: (inputs,) standard deviation of the settings for one noisy reading at the target; NaN = unknown.
        uncertainty: (inputs,) the same for the noise-free target: the model's own doubt.
        expected: (channels,) readings expected at the settings; NaN = unknown.
        verdict: what the solver says of the target.
        why: a sentence.
    """

    settings: Any
    raw: Any
    spread: Any
    uncertainty: Any
    expected: Any
    verdict: Verdict
    why: str


def solve(
    X: ArrayLike | pd.DataFrame,
    Y: ArrayLike | pd.DataFrame,
    target: ArrayLike | Mapping[str, float],
    solver: str | Mapping[str, Any] | Solver = "gmm",
    *,
    tolerance: str | float = "2%",
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    saturation: float | None = None,
    seed: int = 0,
) -> Solution:
    """Which settings give the target readings, judged from measured pairs.

    Args:
        X: (n, inputs) settings; an array or a DataFrame.
        Y: (n, channels) readings; NaN where a channel was not measured.
        target: wanted reading of each channel, in the order of Y with NaN = free; or by column name.
        solver: a kind, a mapping with `kind` and options, or a solver.
        tolerance: what counts as hit, for the verdict: "2%" of the target or a number.
        low: lower bounds of the inputs; without them 0 where the data lies in 0 … 1, else the data's least.
        high: upper bounds of the inputs; without them 1 where the data lies in 0 … 1, else the data's most.
        saturation: reading from which on a channel only gives a bound; such rows are left out.
        seed: of everything random.

    Raises:
        ConfigError: shapes or names that do not fit, an unknown solver.
        NotEnoughData, Degenerate: the rows cannot carry the solver.
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
    bounds = _bounds(x, low, high)
    wanted = _target(target, channels)
    try:
        width = Tolerance.parse(tolerance)
    except ValueError as error:
        raise ConfigError(f"tolerance {error}") from error
    if seed < 0:
        raise ConfigError(f"seed must be 0 or above, not {seed}")
    goal = Goal({name: Band.around(value, width.of(value) or 1e-9) for name, value in wanted.items()})
    data = Data(
        x,
        y,
        y >= saturation if saturation is not None else np.zeros(y.shape, bool),
        np.array([name in wanted for name in channels]),
        np.arange(len(x) - 1, -1, -1, dtype=float),
        np.zeros(len(x)),
        tuple(Input(name=n, low=float(a), high=float(b)) for n, a, b in zip(names, *bounds, strict=True)),
        tuple(Channel(name=name, saturation=saturation) for name in channels),
    )
    answer = ask(parse_kind("solver", solver), data, goal, np.random.default_rng([seed, 1, 0]))
    return Solution(
        _vector(answer.settings, names, X),
        _vector(answer.raw, names, X),
        _vector(answer.spread, names, X),
        _vector(answer.uncertainty, names, X),
        _vector(answer.expected, channels, Y),
        answer.verdict,
        answer.why,
    )


def data_from(
    rows: Sequence[Row], inputs: tuple[Input, ...], channels: tuple[Channel, ...], wanted: Sequence[str]
) -> Data:
    """Rows of records and logs as a solver sees them, backgrounds taken off."""
    base = [row.reading.background or {} for row in rows]
    values = [
        [row.reading.readings.get(c.name, np.nan) - b.get(c.name, 0.0) for c in channels]
        for row, b in zip(rows, base, strict=True)
    ]
    n, m = len(rows), len(channels)
    return Data(
        np.array([[row.reading.applied[i.name] for i in inputs] for row in rows], float).reshape(n, len(inputs)),
        np.array(values, float).reshape(n, m),
        np.array([[c.name in row.reading.saturated for c in channels] for row in rows], bool).reshape(n, m),
        np.array([c.name in wanted for c in channels]),
        np.arange(n - 1, -1, -1, dtype=float),
        np.array([row.sitting for row in rows], float),
        inputs,
        channels,
    )


@dataclass(frozen=True, slots=True)
class Validated:
    """How well a solver finds settings it has not seen.

    Attributes:
        rmse: root mean square error of each input over all left-out rows.
        rows: how many rows were predicted.
        folds: into how many parts the data was cut.
        by: `day` where whole days were left out, else `fold`.
    """

    rmse: Mapping[str, float]
    rows: int
    folds: int
    by: str


def cross_validate(solver: Solver, data: Data, days: Sequence[str], seed: int = 0) -> Validated:
    """Error of the predicted settings on rows left out: whole days where there are several, else five parts.

    Rows that are saturated or lack a channel of the goal are neither learnt from nor predicted.

    Raises:
        NotEnoughData, Degenerate, SolverError: the rest of the rows cannot carry the solver.
    """
    usable = ~(data.saturated | np.isnan(data.Y))[:, data.goal].any(axis=1)
    labels = np.array(days)
    by = "day" if len(set(labels[usable])) > 1 else "fold"
    if by == "fold":
        labels = np.arange(len(data.X)) % 5
    low, high = (np.array([getattr(i, end) for i in data.inputs]) for end in ("low", "high"))
    errors: list[Floats] = []
    parts = sorted(set(labels[usable].tolist()))
    for n, part in enumerate(parts):
        test = usable & (labels == part)
        fitted = solver.fit(_rows(data, ~(labels == part)))
        wanted = np.where(data.goal, data.Y[test], np.nan)
        width = np.abs(wanted) * 0.02 + 1.0
        band = Targets(
            wanted,
            np.where(data.goal, wanted - width, -np.inf),
            np.where(data.goal, wanted + width, np.inf),
        )
        given = fitted.propose(band, low, high, np.random.default_rng([seed, 1, n]))
        errors.append(np.asarray(given.settings) - data.X[test])
    all_errors = np.concatenate(errors)
    rmse = np.sqrt((all_errors**2).mean(axis=0))
    return Validated(
        {item.name: float(value) for item, value in zip(data.inputs, rmse, strict=True)},
        len(all_errors),
        len(parts),
        by,
    )


def _rows(data: Data, which: NDArray[np.bool_]) -> Data:
    return Data(
        data.X[which],
        data.Y[which],
        data.saturated[which],
        data.goal,
        data.age[which],
        data.sitting[which],
        data.inputs,
        data.channels,
    )


def _matrix(value: Any, name: str) -> Floats:
    try:
        found = np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be numbers, (rows, columns): {error}") from error
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim != 2 or not found.size:
        raise ConfigError(f"{name} must have the shape (rows, columns), not {found.shape}")
    return found


def _names(value: Any, letter: str, width: int) -> list[str]:
    columns = getattr(value, "columns", None)
    return [str(c) for c in columns] if columns is not None else [f"{letter}{i}" for i in range(width)]


def _bounds(x: Floats, low: ArrayLike | None, high: ArrayLike | None) -> tuple[Floats, Floats]:
    unit = x.min() >= 0 and x.max() <= 1
    try:
        least = np.broadcast_to(
            np.asarray((0.0 if unit else x.min(axis=0)) if low is None else low, float), x.shape[1:]
        )
        most = np.broadcast_to(
            np.asarray((1.0 if unit else x.max(axis=0)) if high is None else high, float), x.shape[1:]
        )
    except ValueError as error:
        raise ConfigError(f"low and high must be one number or {x.shape[1]}") from error
    if not (least < most).all():
        raise ConfigError(f"every low must be below its high; low {least.tolist()}, high {most.tolist()}")
    return least, most


def _target(target: Any, channels: Sequence[str]) -> dict[str, float]:
    try:
        found = _wanted(target, channels)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"target must be numbers, not {target}") from error
    if not found or not np.isfinite(list(found.values())).all():
        raise ConfigError(f"target must have at least one finite number, not {target}")
    return found


def _wanted(target: Any, channels: Sequence[str]) -> dict[str, float]:
    if isinstance(target, Mapping):
        unknown = [str(name) for name in target if str(name) not in channels]
        if unknown:
            raise ConfigError(f"target has unknown channels {', '.join(unknown)}; Y has {', '.join(channels)}")
        return {str(name): float(value) for name, value in target.items()}
    values = np.asarray(target, float).ravel()
    if len(values) != len(channels):
        raise ConfigError(f"target has {len(values)} values, Y has {len(channels)} columns; NaN leaves one free")
    return {name: float(value) for name, value in zip(channels, values, strict=True) if not np.isnan(value)}


def _vector(values: Mapping[str, float | None], names: Sequence[str], like: Any) -> Any:
    found = np.array([np.nan if values.get(n) is None else values[n] for n in names], float)
    if hasattr(like, "columns"):
        import pandas as pd

        return pd.Series(found, index=like.columns)
    return found
