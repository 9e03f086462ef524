"""A Gaussian process over all inputs together, as a forward model.

For each channel, with z = T(y) standardised and u the settings in units of their bounds, the prior covariance is

    cov(u, u') = 10² [1 + (u - ½)·(u' - ½)] + a² sum_j κ(r_j) + s² κ(|r|),     r_j = (u_j - u'_j) / l_j

κ is Matérn's covariance with smoothness 5/2. The first term is an affine function with a vague prior (Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, section 2.7), the second a smooth function of each input
(Duvenaud et al., NIPS 2011), the third a smooth function of all inputs jointly. The variance of one reading is the sum
of a constant, a proportional and a jitter part (`sdl.models.noise`), converted to z by the factor T'(y)².

The hyperparameters maximise the posterior, by Fisher scoring (Gilmour et al., Biometrics 51 (1995) 1440), under each
of two priors: one of gently curved functions, one of functions with a maximum or minimum inside the range, which few
rows cannot exclude. The two fits are weighted by their evidence (Laplace's approximation). The transform T, none or
log, is the one with the greater evidence. Functions are drawn by pathwise conditioning (Wilson et al., ICML 2020).
Censored readings are used by expectation propagation (Minka, UAI 2001; Rasmussen and Williams, section 3.6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.errors import Degenerate, NotEnoughData
from sdl.models.data import Data, Objective
from sdl.models.forward.forward_model import Paths, Prediction, symmetric_root
from sdl.models.forward.gp.censored import add_sites
from sdl.models.forward.gp.channel import ChannelProcess, ChannelRows, Processes
from sdl.models.forward.gp.fit import LEAST_LOG, fit_channels, pick_rows
from sdl.models.forward.gp.sample_paths import ProcessPaths, draw
from sdl.models.noise import variance_parts
from sdl.models.training_set import TrainingSet
from sdl.models.transforms import Transform

MAX_ROWS = 300
"""Largest number of rows that is used."""
MAX_BOUNDS = 40
"""Largest number of censored rows that are used, the latest ones."""


def fit_gaussian_process(data: Data, *, rows: int = MAX_ROWS) -> GaussianProcess:
    """Fit a process to each channel of the goal.

    Args:
        data: all rows.
        rows: largest number of rows used: a fifth are the newest, the others are spread over the older ones.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    training = _training_set(data)
    return fit_processes(training, _bounds(data, training), rows=rows, objective=data.objective)


def fit_processes(
    training: TrainingSet,
    bounds: Bounds | None = None,
    *,
    rows: int = MAX_ROWS,
    objective: Objective | None = None,
    turning: bool = False,
) -> GaussianProcess:
    """Fit a process to each channel of the goal, from the usable rows and `bounds`.

    With `turning` only the prior of functions with a maximum or minimum inside the range is used.

    With an objective no row is treated as wrong, because an optimum may look like a wrong row. The logarithm of a
    reading close to 0 has so large a variance that the optimum would be expected there. So the logarithm of the
    objective is that of its distance from the smallest reading, and the channel of a constraint with such readings is
    not transformed.
    """
    goal, n = training.goal, len(training.Y)
    pick = np.flatnonzero(training.usable[:, goal].any(axis=1))
    if len(pick) > rows:
        pick = pick[pick_rows(training.U[:n][pick], rows, rows // 5)]
    U, Y = training.U[pick], np.where(training.usable, training.Y, np.nan)[pick][:, goal]
    censored = np.zeros(Y.shape, bool)
    if bounds is not None:
        U, Y = np.vstack([U, bounds.U]), np.vstack([Y, bounds.Y[:, goal]])
        censored = np.vstack([censored, bounds.censored[:, goal]])
    exact = np.isfinite(Y) & ~censored
    offset = np.zeros(len(training.channels))
    if objective is not None:
        y = Y[exact[:, at := int(np.flatnonzero(goal == objective.column)[0])], at]
        offset[objective.column] = y.min() - LEAST_LOG * y.std()
    Y = Y - offset[goal]
    channels = [
        ChannelRows.of(training, i, U, Y[:, i], exact[:, i], censored[:, i])._replace(
            optimised=objective is not None, turning=turning
        )
        for i in range(len(goal))
    ]
    return GaussianProcess(training, tuple(fit_channels(channels)), pick, offset)


def _training_set(data: Data) -> TrainingSet:
    """The training set; if the complete rows do not suffice, its linear model treats censored readings as values.

    That linear model is then used only for the scales of the channels. Each channel of the goal still needs an
    uncensored reading.
    """
    try:
        return TrainingSet.from_data(data, by_channel=True)
    except (NotEnoughData, Degenerate):
        exact = (np.isfinite(data.Y) & ~data.saturated & np.isfinite(data.X).all(axis=1, keepdims=True))[:, data.goal]
        if not data.saturated.any() or exact.sum(axis=0).min(initial=1) < 1:
            raise
    training = TrainingSet.from_data(replace(data, saturated=np.zeros_like(data.saturated)))
    complete = np.isfinite(data.Y[:, training.goal]).all(axis=1) & np.isfinite(data.X).all(axis=1)
    usable = training.usable & ~data.saturated[complete]
    count = int(data.saturated[complete][:, training.goal].any(axis=1).sum())
    return replace(training, usable=usable, summary=f"{len(usable)} readings ({count} saturated, used as bounds)")


class Bounds(NamedTuple):
    """c rows with censored readings: settings U (c, d) in units of the bounds, readings Y (c, m), censored (c, m)."""

    U: Floats
    Y: Floats
    censored: Bools


def _bounds(data: Data, training: TrainingSet) -> Bounds:
    """The latest rows of the current session with a censored channel of the goal."""
    now = data.session[-1] if data.current_session is None else data.current_session
    cut = data.saturated & np.isfinite(data.Y)
    late = np.flatnonzero(cut[:, training.goal].any(axis=1) & np.isfinite(data.X).all(axis=1) & (data.session == now))
    late = late[-MAX_BOUNDS:]
    by_channel = not training.usable[:, training.goal].all()  # then the training set has their other channels
    Y = np.where(cut[late], data.Y[late], np.nan) if by_channel else data.Y[late]
    return Bounds(training.units(data.X[late]), Y, cut[late])


@dataclass(frozen=True)
class GaussianProcess:
    """A Gaussian process of each channel of the goal, as a forward model."""

    training: TrainingSet
    channels: tuple[ChannelProcess, ...]
    rows: Ints  # rows of the training set that are used; the rows of `channels` are these, then censored ones
    offset: Floats  # (m,) subtracted from the readings before the fit

    @property
    def summary(self) -> str:
        logs = sum(one.transform == "log" for one in self.channels)
        wrong = int(np.any([one.wrong for one in self.channels], axis=0).sum())
        parts = [
            f"Gaussian process, nonlinearity {100 * max(one.nonlinearity() for one in self.channels):.0f} %",
            f"logarithms of {logs} channel{'s' * (logs > 1)}" if logs else "",
            f"{wrong} row{'s' * (wrong > 1)} left out as wrong" if wrong else "",
            self.training.summary,
        ]
        return ", ".join(filter(None, parts))

    def predict(self, U: Floats) -> Prediction:
        parts = np.full((3, len(U), len(self.training.channels)), np.nan)
        for column, channel in zip(self.training.goal, self.channels, strict=True):
            parts[:, :, column] = channel.predict(U)
            parts[0, :, column] += self.offset[column]
        if self.training.session_cov is not None:
            X = np.column_stack([np.ones(len(U)), U])
            parts[1] += np.maximum(np.einsum("kp,mpq,kq->km", X, self.training.session_cov, X), 0.0)
        return Prediction(*parts)

    def mean(self, U: Floats) -> Floats:
        """(k, m) mean readings; faster than `predict`."""
        mean = np.full((len(U), len(self.training.channels)), np.nan)
        for column, channel in zip(self.training.goal, self.channels, strict=True):
            mean[:, column] = channel.mean(U) + self.offset[column]
        return mean

    def jacobian(self, U: Floats) -> Floats:
        slope = np.full((len(U), len(self.training.channels), U.shape[1]), np.nan)
        for column, channel in zip(self.training.goal, self.channels, strict=True):
            slope[:, column] = channel.jacobian(U)
        return slope

    def sample_paths(self, n: int, rng: np.random.Generator) -> Paths:
        drawn = tuple(draw(channel, n, rng) for channel in self.channels)
        between = None
        if self.training.session_cov is not None:
            root = symmetric_root(np.nan_to_num(self.training.session_cov[self.training.goal]))
            between = np.einsum("gpq,ngq->gnp", root, rng.standard_normal((n, *root.shape[:2])))
        return ProcessPaths(
            n, len(self.training.channels), self.training.goal, self.channels, drawn, between, self.offset
        )

    @property
    def residual_dof(self) -> Floats:
        """As in `ForwardModel`; NaN for channels that are not in the goal."""
        dof = np.full(len(self.training.channels), np.nan)
        dof[self.training.goal] = [channel.residual_dof for channel in self.channels]
        return dof

    def leave_one_out(self) -> Floats:
        """As in `ForwardModel`; a row that was left out as wrong has the density of wrong rows."""
        density = np.full(self.training.Y.shape, np.nan)
        for column, channel in zip(self.training.goal, self.channels, strict=True):
            y = self.training.Y[self.rows, column]
            each, wrong = channel.leave_one_out()[: len(y)], channel.wrong[: len(y)]
            density[self.rows, column] = np.where(wrong, channel.wrong_density(np.where(wrong, y, np.nan)), each)
        return density


class Hyperparameters(NamedTuple):
    """The hyperparameters of one process of a channel."""

    transform: Transform
    lengths: Floats  # (d,) length scales, in units of the bounds
    joint: float  # standard deviation of the smooth function of all inputs together, relative to that of T(y)
    additive: float  # standard deviation of the smooth function of each input, likewise
    proportional: float  # noise relative to the reading
    constant: float  # noise in the unit of the channel


def hyperparameters_of(channel: ChannelProcess) -> Hyperparameters:
    """The mean over the mixture, of the logarithms; the jitter becomes constant noise of the same mean variance."""
    size, d = np.exp(channel.weight @ channel.processes.theta), channel.processes.U.shape[1]
    U = channel.processes.U
    jitter = variance_parts(U, np.zeros((len(U), 1)), channel.slope[None], np.array([channel.scale]))[2]
    constant = (size[-2] * channel.scale) ** 2 + size[-1] ** 2 * jitter.mean()
    numbers = float(size[d]), float(size[d + 1]), float(size[-3]), float(np.sqrt(constant))
    return Hyperparameters(channel.transform, size[:d], *numbers)


def condition(parameters: Hyperparameters, U: Floats, y: Floats, censored: Bools) -> ChannelProcess:
    """The process with these hyperparameters, given the n rows of a channel; nothing is fitted.

    Args:
        parameters: hyperparameters of the process.
        U: (n, d) settings in units of the bounds.
        y: (n,) readings; NaN where not measured.
        censored: (n,) readings that are bounds.
    """
    exact = np.isfinite(y) & ~censored
    size = max(float(y[exact].std()), 1e-9 * max(float(np.abs(y[exact]).max()), 1.0))
    upper = y >= y[exact].mean()
    channel = ChannelRows(U, y, exact, censored, upper, np.zeros(U.shape[1]), size)
    both, z, centre, spread = channel.problem(parameters.transform)
    problem = both.take(np.array([0]))
    numbers = [parameters.joint, parameters.additive, parameters.proportional, parameters.constant / size, 0.0]
    theta = np.log(np.maximum([*parameters.lengths, *numbers], 1e-12))[None]
    if censored.any():
        problem, _ = add_sites(channel, problem, z, theta)
    processes = Processes.of(problem, theta)
    rows = censored, np.zeros(len(y), bool), problem.use[0]
    return ChannelProcess(parameters.transform, centre, spread, channel.slope, size, *rows, np.ones(1), processes)
