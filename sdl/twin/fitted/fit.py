"""Fit a twin of any instrument to its readings.

A Gaussian process of each channel over all inputs together is fitted to the readings
(`sdl.models.forward.gaussian_process`), after differences between sessions are removed. A lag after changes and a
drift are added to a channel only if its leave-one-out predictions become better by more than a threshold; both are
estimated in turn with the process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from sdl.arrays import Bools, Floats
from sdl.errors import Degenerate, NotEnoughData
from sdl.grammar import LinearConstraint
from sdl.models.data import Data
from sdl.models.forward.gaussian_process import (
    GaussianProcess,
    Hyperparameters,
    condition,
    fit_gaussian_process,
    hyperparameters_of,
)
from sdl.space import Space
from sdl.store.datasets import DatasetRow
from sdl.twin.fitted.lag import lagged, time_constant
from sdl.twin.fitted.state import KIND, FittedState
from sdl.twin.fitted.surrogate import Surrogate
from sdl.types import SESSION_GAP, Channel, Input, Settings

ROWS_PER_COLUMN = 3
"""A fit needs this many rows for each column of the space, and as many for the constant."""
EVIDENCE = 5.0
"""Least gain in the leave-one-out log density of a channel for a lag or a drift to be added: odds of 150."""
CERTAIN = 3.0
"""Least size of a drift, in standard errors."""
LEAST_SPAN = 60.0
"""Least duration of the longest session, in seconds, from which a drift is estimated: campaigns last minutes, to which
the error of a drift within seconds would be extrapolated."""
ROUNDS = 4
"""Alternations between the process and a lag or drift."""
CANDIDATES = 40
"""Time constants that are compared before one is refined."""
WRONG = -10.0
"""Log density of a reading that the process leaves out as wrong, relative to the median of the others."""
SESSION_ROWS = 5
"""Least number of rows of a session from which its gain is estimated; fewer give its offset only."""
RESCALED = 1.0
"""Largest change of the logarithm of the noise by its calibration."""
PRIOR_ROWS = 10.0
"""Weight of independent noise against the estimated correlation, in rows."""


class Declaration(NamedTuple):
    """What a twin copies from the instrument's declaration; `off` is None if the instrument may be left as it is."""

    inputs: tuple[Input, ...]
    channels: tuple[Channel, ...]
    constraints: tuple[LinearConstraint, ...] = ()
    off: Settings | None = None
    takes: float = 1.0
    settle: float = 0.0
    session_gap: float = SESSION_GAP


@dataclass(frozen=True)
class ChannelFit:
    """How well one channel is predicted.

    Attributes:
        channel: its name.
        rmse: root mean square of the leave-one-out residuals.
        noise: root mean square of the fitted noise at these rows.
        drift, drift_error: change per hour and its standard error; the drift is 0 where it is not significant.
        settling: time constant in seconds; 0: none found.
        offset, gain: standard deviations between sessions.
        transform: transform of the readings.
    """

    channel: str
    rmse: float
    noise: float
    drift: float
    drift_error: float
    settling: float
    offset: float
    gain: float
    transform: str


@dataclass(frozen=True)
class SurrogateFit:
    """A fitted state with a summary of each channel; `rows` and `sessions` count what it was fitted to."""

    state: FittedState
    channels: tuple[ChannelFit, ...]
    rows: int
    sessions: int


class RowArrays(NamedTuple):
    """n rows in the order of their times."""

    X: Floats  # (n, p) encoded settings
    Y: Floats  # (n, m) NaN where not measured
    saturated: Bools  # (n, m)
    session: Floats  # (n,)
    hours: Floats  # (n,) since the first row of the session; 0 where times are unknown
    wait: Floats  # (n,) seconds since the row before; infinite at the start of a session, or where unknown
    last: float  # time of the last row; NaN: unknown

    @property
    def usable(self) -> Bools:
        return np.isfinite(self.Y) & ~self.saturated


def fit(rows: Sequence[DatasetRow], instrument: Declaration, about: str = "") -> SurrogateFit:
    """Fit a twin.

    Raises:
        ValueError: too few rows, or rows that do not vary every input.
    """
    space = Space(instrument.inputs, instrument.constraints)
    data = matrices(rows, instrument, space)
    _require_rows(data, instrument, space)
    try:
        found, model = _dynamics(data, instrument, space, _process(data, instrument, None, None))
    except (NotEnoughData, Degenerate) as error:
        raise ValueError(str(error)) from error
    return _assembled(data, instrument, space, model, found, about)


def matrices(rows: Sequence[DatasetRow], instrument: Declaration, space: Space) -> RowArrays:
    """The rows as arrays."""
    names, nan = [channel.name for channel in instrument.channels], math.nan
    high = np.array([math.inf if c.high is None else c.high for c in instrument.channels])
    X = np.array([space.encode(row.reading.applied) for row in rows]).reshape(len(rows), -1)
    Y = np.array([[row.reading.readings.get(name, nan) for name in names] for row in rows], dtype=float)
    said = np.array([[name in row.reading.saturated for name in names] for row in rows], dtype=bool)
    session = np.array([row.session for row in rows], dtype=float)
    at = np.array([row.at for row in rows], dtype=float)
    hours, wait = np.zeros(len(rows)), np.full(len(rows), np.inf)
    for i in range(1, len(rows)):
        if session[i] == session[i - 1] and at[i] >= at[i - 1]:
            wait[i] = at[i] - at[i - 1]
            hours[i] = hours[i - 1] + wait[i] / 3600.0
    return RowArrays(X, Y, said | (high <= Y), session, hours, wait, float(at[-1]) if len(at) else nan)


def _require_rows(data: RowArrays, instrument: Declaration, space: Space) -> None:
    """Raise ValueError for a channel with too few readings."""
    need = ROWS_PER_COLUMN * (len(space.columns) + 1)
    for j, channel in enumerate(instrument.channels):
        have = int(data.usable[:, j].sum())
        if have < need:
            full = int(data.saturated[:, j].sum())
            beside = f", besides {full} at the end of its range" if full else ""
            raise ValueError(
                f"{have} readings of {channel.name} are too few to fit a twin to{beside}; {need} are needed "
                f"({ROWS_PER_COLUMN} for the constant, each input with numbers and each further choice)"
            )


# The process ---------------------------------------------------------------------------------------------------------
def _process(
    data: RowArrays, instrument: Declaration, found: _Dynamics | None, model: GaussianProcess | None
) -> GaussianProcess:
    """The process fitted to the rows without drift and lag; the lag is that of the predictions of `model`."""
    Y = data.Y
    if found is not None and model is not None:
        settled = _settled(data, model, found.drift)
        Y = Y - found.drift * data.hours[:, None] + settled - lagged(settled, data.wait, found.tau)
    n, m = Y.shape
    ages = np.arange(n - 1, -1, -1, dtype=float)
    return fit_gaussian_process(
        Data(
            data.X, Y, data.saturated, np.ones(m, bool), ages, data.session, instrument.inputs, instrument.channels,
            constraints=instrument.constraints,
        )
    )  # fmt: skip


def _settled(data: RowArrays, model: GaussianProcess, drift: Floats) -> Floats:
    """(n, m) readings in equilibrium."""
    settled: Floats = model.mean(model.training.units(data.X)) + drift * data.hours[:, None]
    return settled


def _score(model: GaussianProcess) -> Floats:
    """(m,) leave-one-out log density of each channel, with a penalty for each reading left out as wrong."""
    density = model.leave_one_out()
    usable = model.training.usable
    typical = np.nanmedian(density, axis=0) + WRONG
    score: Floats = np.where(usable, np.where(np.isfinite(density), density, typical), 0.0).sum(axis=0)
    return score


class _Dynamics(NamedTuple):
    """How the channels change with time."""

    tau: Floats  # (m,) time constants in seconds
    drift: Floats  # (m,) change per hour
    error: Floats  # (m,) standard errors of the drift


def _dynamics(
    data: RowArrays, instrument: Declaration, space: Space, model: GaussianProcess
) -> tuple[_Dynamics, GaussianProcess]:
    """Lag and drift of the channels whose rows show them, and the process with them."""
    m = data.Y.shape[1]
    still = _Dynamics(np.zeros(m), np.zeros(m), np.full(m, np.inf))
    if not data.hours.any():
        return still, model
    found, fitted = still._replace(tau=_first_tau(data, space)), model
    before = _score(model)
    long = 3600.0 * data.hours.max() >= LEAST_SPAN
    for _ in range(2):  # what is not supported is left out of the second fit
        may_drift = np.full(m, long) if fitted is model else np.abs(found.drift) > 0
        for _ in range(ROUNDS):
            more, error = _drift_left(data, fitted, found)
            found = found._replace(drift=found.drift + np.where(may_drift, more, 0.0), error=error)
            found = found._replace(tau=np.array([_refined(data, fitted, j, found) for j in range(m)]))
            fitted = _process(data, instrument, found, fitted)
        better = _score(fitted) > before + EVIDENCE
        drifts = better & (np.abs(found.drift) > CERTAIN * found.error)
        kept = found._replace(tau=np.where(better, found.tau, 0.0), drift=np.where(drifts, found.drift, 0.0))
        if not (kept.tau.any() or kept.drift.any()):
            return still._replace(error=found.error), model
        if (kept.tau == found.tau).all() and (kept.drift == found.drift).all():
            break
        found = kept
    return found, fitted


def _first_tau(data: RowArrays, space: Space) -> Floats:
    """(m,) time constants of quadratic models with a drift; 0 where the rows show none."""
    m, waits = data.Y.shape[1], data.wait[np.isfinite(data.wait) & (data.wait > 0)]
    if len(waits) < len(data.Y) // 2:
        return np.zeros(m)
    candidates = np.geomspace(0.3 * np.quantile(waits, 0.1), 20.0 * np.median(waits), CANDIDATES)
    sessions = data.session[:, None] == np.unique(data.session)[1:]
    basis = np.column_stack([_quadratic((data.X - space.low) / space.width), data.hours, sessions])
    each = [time_constant(basis, data.Y[:, j], data.wait, data.usable[:, j], candidates, EVIDENCE) for j in range(m)]
    return np.array(each)


def _refined(data: RowArrays, model: GaussianProcess, j: int, found: _Dynamics) -> float:
    """The time constant near the present one with which the lagged predictions of a channel are closest."""
    if found.tau[j] <= 0:
        return 0.0
    settled = _settled(data, model, found.drift)[:, [j]]
    use = data.usable[:, j]

    def squares(log: float) -> float:
        residual = data.Y[use, j] - lagged(settled, data.wait, np.exp([log]))[use, 0]
        return float(np.minimum(residual**2, 25 * np.median(residual**2)).sum())

    log = math.log(found.tau[j])
    return math.exp(minimize_scalar(squares, bounds=(log - 1.0, log + 1.0), method="bounded").x)


def _quadratic(U: Floats) -> Floats:
    """(n, q) constant, settings, and their squares and products as far as the rows allow."""
    n, p = U.shape
    linear = np.column_stack([np.ones(n), U])
    pairs = [U[:, i] * U[:, j] for i in range(p) for j in range(i, p)]
    return np.column_stack([linear, *pairs]) if n >= 3 * (linear.shape[1] + len(pairs)) else linear


def _drift_left(data: RowArrays, model: GaussianProcess, found: _Dynamics) -> tuple[Floats, Floats]:
    """(m,) change per hour of the residuals, with an offset for each session, and its standard errors."""
    residual = data.Y - lagged(_settled(data, model, found.drift), data.wait, found.tau)
    slope, error = np.zeros(residual.shape[1]), np.full(residual.shape[1], np.inf)
    for j in range(residual.shape[1]):
        use = data.usable[:, j]
        use[use] = np.abs(residual[use, j] - np.median(residual[use, j])) < 6 * _deviation(residual[use, j])
        hours, r = data.hours[use].copy(), residual[use, j].copy()
        for session in np.unique(data.session[use]):
            here = data.session[use] == session
            hours[here] -= hours[here].mean()
            r[here] -= r[here].mean()
        square = float(hours @ hours)
        if square > 0:
            slope[j] = hours @ r / square
            error[j] = math.sqrt(float(((r - slope[j] * hours) ** 2).mean()) / square)
    return slope, error


def _deviation(values: Floats) -> float:
    """Standard deviation by the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) or math.inf


# The state -----------------------------------------------------------------------------------------------------------
def _assembled(
    data: RowArrays, instrument: Declaration, space: Space, model: GaussianProcess, dynamics: _Dynamics, about: str
) -> SurrogateFit:
    """The state of a fitted process, with the summary of each channel."""
    stored = _stored(data, instrument, space, model)
    trees: dict[str, dict[str, Any]] = {}
    for j, (channel, process) in enumerate(zip(instrument.channels, model.channels, strict=True)):
        found = _calibrated(hyperparameters_of(process), stored[0], stored[1][:, j], channel.high)
        rounding = (channel.resolution or 0.0) ** 2 / 12.0
        trees[channel.name] = {
            **channel.model_dump(exclude={"name"}, exclude_none=True),
            "noise": {
                "constant": math.sqrt(max(found.constant**2 - rounding, 0.0)),
                "proportional": found.proportional,
            },
            "drift": float(dynamics.drift[j]),
            "settling": float(dynamics.tau[j]),
            "process": found._asdict() | {"lengths": tuple(found.lengths.tolist())},
        }
    tree = {
        "kind": KIND,
        "about": about or f"fitted to {len(data.Y)} readings",
        "start": datetime.fromtimestamp(data.last if math.isfinite(data.last) else 0.0, UTC).replace(microsecond=0),
        "takes": instrument.takes,
        "settle": instrument.settle,
        "session_gap": instrument.session_gap,
        "constraints": tuple(map(str, instrument.constraints)),
        "off": None if instrument.off is None else dict(instrument.off),
        "inputs": {item.name: item.model_dump(exclude={"name"}, exclude_none=True) for item in instrument.inputs},
        "channels": trees,
        "rows": _as_table(instrument, space, *stored),
    }
    surrogate = Surrogate(FittedState.model_validate(tree), noise=False)
    residual, mean = _residuals(data, surrogate, dynamics)
    effects = _sessions(data, surrogate, residual, mean)
    for j, name in enumerate(trees):
        trees[name]["session"] = {"offset": float(effects[0, j]), "gain": float(effects[1, j])}
    tree["correlation"] = _correlation(residual, surrogate.noise_sd(mean), data.session)
    state = FittedState.model_validate(tree)
    summaries = _summaries(surrogate, trees, dynamics.error, effects)
    return SurrogateFit(state, summaries, len(data.Y), len(np.unique(data.session)))


def _stored(data: RowArrays, instrument: Declaration, space: Space, model: GaussianProcess) -> tuple[Floats, Floats]:
    """(n, p) settings in units of the bounds and (n, m) readings of the rows that the process is conditioned on.

    Readings that it left out are NaN, bounds at the end of their channel.
    """
    training = model.training
    Y = np.where(training.usable, training.Y, np.nan)[model.rows]
    for j, process in enumerate(model.channels):
        Y[process.wrong[: len(Y)], j] = np.nan
    cut = data.saturated.any(axis=1) & np.isfinite(data.X).all(axis=1)
    high = np.array([math.nan if c.high is None else c.high for c in instrument.channels])
    U = np.vstack([training.U[model.rows], (data.X[cut] - space.low) / space.width])
    Y = np.vstack([Y, np.where(data.saturated[cut], high, np.nan)])
    some = np.isfinite(Y).any(axis=1)
    return U[some], Y[some]


def _calibrated(found: Hyperparameters, U: Floats, y: Floats, high: float | None) -> Hyperparameters:
    """The hyperparameters with the noise at which the leave-one-out predictions of a channel are most probable.

    The prior of the process expects little noise, which makes it too small by several per cent in a noisy channel.
    """
    known = y < (math.inf if high is None else high)

    def scaled(log: float) -> Hyperparameters:
        factor = math.exp(log)
        return found._replace(proportional=factor * found.proportional, constant=factor * found.constant)

    def cost(log: float) -> float:
        process = condition(scaled(log), U[known], y[known], np.zeros(int(known.sum()), bool))
        return -float(np.nansum(process.leave_one_out()))

    return scaled(minimize_scalar(cost, bounds=(-RESCALED, RESCALED), method="bounded").x)


def _as_table(instrument: Declaration, space: Space, U: Floats, Y: Floats) -> Mapping[str, Any]:
    """The stored rows by name, to ten digits."""
    names = [item.name for item in instrument.inputs]
    values = []
    for u, y in zip(U, Y, strict=True):
        settings = space.decode(space.low + u * space.width)
        numbers = [settings[name] for name in names]
        rounded = [value if isinstance(value, str) else float(f"{value:.10g}") for value in numbers]
        values.append((*rounded, *(float(f"{reading:.10g}") for reading in y)))
    return {"columns": (*names, *(channel.name for channel in instrument.channels)), "values": tuple(values)}


def _residuals(data: RowArrays, surrogate: Surrogate, dynamics: _Dynamics) -> tuple[Floats, Floats]:
    """(n, m) readings less the predictions with drift and lag, NaN where unusable, and the predictions without."""
    mean = surrogate.mean((data.X - surrogate.space.low) / surrogate.space.width)
    predicted = lagged(mean + dynamics.drift * data.hours[:, None], data.wait, dynamics.tau)
    return np.where(data.usable, data.Y - predicted, np.nan), mean


def _sessions(data: RowArrays, surrogate: Surrogate, residual: Floats, mean: Floats) -> Floats:
    """(2, m) standard deviations of offset and gain between sessions, their estimation errors subtracted."""
    numbers, m = np.unique(data.session), residual.shape[1]
    effects = np.zeros((2, m))
    if len(numbers) < 2:
        return effects
    sd = surrogate.noise_sd(mean)
    for j in range(m):
        found: tuple[list[tuple[float, float]], ...] = ([], [])  # estimate and variance, of offsets and gains
        for number in numbers:
            use = (data.session == number) & np.isfinite(residual[:, j])
            with_gain = use.sum() >= SESSION_ROWS
            A = np.column_stack([np.ones(use.sum()), mean[use, j] - surrogate.middle[j]])[:, : 1 + with_gain]
            if not use.any():
                continue
            A, r = A / sd[use, j, None], residual[use, j] / sd[use, j]
            covariance = np.linalg.pinv(A.T @ A)
            solution = covariance @ (A.T @ r)
            scatter = max(1.0, float(((r - A @ solution) ** 2).mean()))
            for part, value, variance in zip(found, solution, np.diag(covariance) * scatter, strict=False):
                part.append((float(value), float(variance)))
        for k, part in enumerate(found):
            if len(part) > 1:
                values, variances = np.array(part).T
                effects[k, j] = math.sqrt(max(float(values.var(ddof=1) - variances.mean()), 0.0))
    return effects


def _correlation(residual: Floats, sd: Floats, session: Floats) -> tuple[tuple[float, ...], ...]:
    """(m, m) correlation of the noise of the channels, drawn towards independence; empty for one channel."""
    z, m = residual / np.maximum(sd, 1e-300), residual.shape[1]
    for number in np.unique(session):
        here = session == number
        z[here] -= np.nanmean(z[here], axis=0) if np.isfinite(z[here]).any(axis=0).all() else 0.0
    z = np.clip(z[np.isfinite(z).all(axis=1)], -4.0, 4.0)
    if m < 2 or len(z) < 2 * m or not (z.std(axis=0) > 0).all():
        return ()
    share = len(z) / (len(z) + PRIOR_ROWS)
    matrix = share * np.corrcoef(z.T) + (1.0 - share) * np.eye(m)
    return tuple(tuple(float(f"{value:.4g}") for value in row) for row in matrix)


def _summaries(
    surrogate: Surrogate, trees: Mapping[str, Mapping[str, Any]], drift_error: Floats, effects: Floats
) -> tuple[ChannelFit, ...]:
    summaries = []
    for j, (name, tree) in enumerate(trees.items()):
        process = surrogate.processes[j]
        away, _ = process.processes.leave_one_out()
        readings, rate = process.to_readings(process.processes.z[0])
        rmse = math.sqrt(float(np.mean((away[0] * rate) ** 2)))
        noise = math.sqrt(float(np.mean(surrogate.noise_sd(np.tile(readings[:, None], (1, len(trees))))[:, j] ** 2)))
        between, transform = effects[:, j].tolist(), tree["process"]["transform"]
        found = (rmse, noise, tree["drift"], float(drift_error[j]), tree["settling"], *between, transform)
        summaries.append(ChannelFit(name, *found))
    return tuple(summaries)
