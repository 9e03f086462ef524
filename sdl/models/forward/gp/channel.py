"""The rows of one channel stated as a Gaussian process, and the processes conditioned on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sdl.arrays import Bools, Floats
from sdl.models.forward.gp.covariance import expand, kernel, times
from sdl.models.forward.gp.evidence import LINE, LINE_OPTIMISED, LOG_2PI, FitData, noise_variance
from sdl.models.noise import variance_parts
from sdl.models.training_set import TrainingSet
from sdl.models.transforms import Transform, backward, derivative, forward

NOISE, NOISE_SD = (0.005, 0.001, 0.001), (0.8, 0.8, 0.8)
"""Prior of the proportional, constant and jitter noise: medians, and standard deviations of the logarithms."""
LENGTH, LENGTH_SD = (1.5, 0.5), (1.2, 0.5)
"""Prior of the length scales of the smooth and of the turning component: medians LENGTH √d (Hvarfner et al., ICML 2024)
and LENGTH d^¼ for d inputs, and standard deviations of the logarithms."""
SIZE_SD, RELIEF = (1.5, 0.7), 0.3
"""Prior of s and a: standard deviations of the logarithms in the smooth and in the turning component. The medians of
the turning one are multiplied by RELIEF × level, if that is above 1: level is the mean reading in units of the standard
deviation of the readings, which says little with few rows."""
SMOOTH, TURNING = (-2.0, 1.5), (-2.0, 1.0)
"""Prior medians of log s and log a of the smooth component, and shifts of those of the turning one: main effects exceed
interactions (Wu and Hamada, Experiments, 2009, section 4.6). With (1, 0) and (0, 0) campaigns on eight of ten nonlinear
plants took up to half a trial more in the mean."""
WRONG, WIDE = 0.02, 5.0
"""Prior probability that a row is wrong, and the standard deviation of such a row, in those of the readings."""


class ChannelRows(NamedTuple):
    """The n rows of one channel, with the scales of its noise and priors."""

    U: Floats
    y: Floats
    exact: Bools
    censored: Bools
    upper: Bools
    slope: Floats  # (d,) of the linear model
    size: float  # standard deviation of the readings
    optimised: bool = False
    turning: bool = False  # only the prior of functions with a maximum or minimum inside the range

    @classmethod
    def of(cls, training: TrainingSet, index: int, U: Floats, y: Floats, exact: Bools, censored: Bools) -> ChannelRows:
        column, upper = training.goal[index], y >= y[exact].mean()
        seen = _rows_for_scale(exact, censored, U.shape[1])
        size = max(float(y[seen].std()), 1e-9 * max(float(np.abs(y[seen]).max()), 1.0))
        return cls(U, y, exact, censored, upper, training.linear.slope[column], size)

    def problem(self, transform: Transform) -> tuple[FitData, Floats, float, float]:
        """The two fits of the channel (one for each prior), all readings as z, and the centre and size of T(y)."""
        n, d = self.U.shape
        exact = self.exact & (self.y > 0) if transform == "log" else self.exact
        safe = np.where(exact | self.censored, self.y, self.y[exact].mean())
        t, seen = forward(transform, safe), _rows_for_scale(exact, self.censored, d)
        centre, scale = t[seen].mean(), max(float(np.abs(t[seen]).max()), 1.0)
        size = max(float(t[seen].std()), 1e-9 * scale)  # above 0 also for a channel that never changed
        z = (t - centre) / size
        parts = variance_parts(self.U, safe[:, None], self.slope[None], np.array([self.size]))[..., 0]
        parts = parts * (derivative(transform, safe) / size) ** 2
        level = abs(float(self.y[self.exact].mean())) / self.size
        mean, sd = _priors(d, level)
        used = np.tile(np.where(exact, z, 0.0), (2, 1)), np.tile(exact, (2, 1)), np.tile(parts, (2, 1, 1))
        line = LINE_OPTIMISED if self.optimised else LINE
        return FitData(self.U, *used, np.zeros((2, n)), mean, sd, line), z, centre, size


def _rows_for_scale(exact: Bools, censored: Bools, d: int) -> Bools:
    """(n,) the rows that tell centre and scale of a channel: with fewer exact ones than inputs + 1, bounds as well."""
    return exact | censored if exact.sum() < d + 1 else exact


def _priors(d: int, level: float) -> tuple[Floats, Floats]:
    """(2, d + 5) prior means and standard deviations of the logarithms of l, s, a and the noise, for both priors.

    Args:
        d: number of inputs.
        level: mean of the readings divided by their standard deviation.
    """
    noise = np.log(NOISE).tolist()
    turn = np.log(max(1.0, RELIEF * level))
    smooth = [*[np.log(LENGTH[0] * np.sqrt(d))] * d, *SMOOTH, *noise]
    turning = [*[np.log(LENGTH[1] * d**0.25)] * d, turn + TURNING[0], turn + TURNING[1], *noise]
    sd = [[*[length] * d, size, size, *NOISE_SD] for length, size in zip(LENGTH_SD, SIZE_SD, strict=True)]
    return np.array([smooth, turning], dtype=float), np.array(sd)


class Processes(NamedTuple):
    """B processes of one channel, conditioned on its n rows."""

    theta: Floats  # (B, P)
    U: Floats  # (n, d)
    z: Floats  # (B, n)
    noise: Floats  # (B, n) noise variance of each row
    inverse_root: Floats  # (B, n, n) inverse of the Cholesky factor of the covariance of the rows
    alpha: Floats  # (B, n)
    line: float  # prior standard deviation of intercept and slopes

    @classmethod
    def of(cls, problem: FitData, theta: Floats) -> Processes:
        use = problem.use[0]
        U, z, noise = problem.U[use], problem.z[:, use], noise_variance(problem, theta)[:, use]
        covariance = kernel(theta, U, U, problem.line) + noise[:, None] * np.eye(len(U))
        inverse_root = np.linalg.inv(np.linalg.cholesky(covariance))
        alpha = times(inverse_root.swapaxes(1, 2), times(inverse_root, z))
        return cls(theta, U, z, noise, inverse_root, alpha, problem.line)

    def mean(self, U: Floats, *, slope: bool = False) -> Floats:
        """(B, k) posterior mean at settings (k, d), or with `slope` its derivatives (B, k, d)."""
        return expand(self.theta, U, self.U, self.alpha, self.line, slope=slope)

    def predict(self, U: Floats) -> tuple[Floats, Floats]:
        """(B, k) posterior mean and variance at settings (k, d)."""
        cross, d = kernel(self.theta, U, self.U, self.line), U.shape[1]
        s2, a2 = np.exp(2.0 * self.theta[:, d : d + 2]).T[..., None]
        prior = self.line**2 * (1.0 + ((U - 0.5) ** 2).sum(axis=1)) + s2 + d * a2
        known = self.inverse_root @ cross.swapaxes(1, 2)
        return times(cross, self.alpha), np.maximum(prior - (known**2).sum(axis=1), 0.0)

    def covariance(self, U: Floats) -> tuple[Floats, Floats]:
        """(B, k) posterior mean and (B, k, k) covariance at settings (k, d)."""
        cross = kernel(self.theta, U, self.U, self.line)
        known = self.inverse_root @ cross.swapaxes(1, 2)
        return times(cross, self.alpha), kernel(self.theta, U, U, self.line) - known.swapaxes(1, 2) @ known

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """(B, n) leave-one-out residuals of z and their variances (Rasmussen and Williams, section 5.4.2)."""
        precision = (self.inverse_root**2).sum(axis=1)
        return self.alpha / precision, 1.0 / precision


@dataclass(frozen=True)
class ChannelProcess:
    """A weighted mixture of processes for one channel; z = (T(y) - centre) / size."""

    transform: Transform
    centre: float
    size: float
    slope: Floats  # (d,) of the linear model, for the jitter
    scale: float  # standard deviation of the readings
    censored: Bools  # (n,) rows that are bounds
    wrong: Bools  # (n,) rows that were left out
    used: Bools  # (n,) rows that the processes are conditioned on
    weight: Floats
    processes: Processes

    def to_readings(self, z: Floats) -> tuple[Floats, Floats]:
        """Readings at z, and their derivative with respect to z."""
        y = backward(self.transform, self.centre + self.size * z)
        return y, self.size / derivative(self.transform, y)

    def predict(self, U: Floats) -> tuple[Floats, Floats, Floats]:
        """(k,) mean reading, variance of the model, and variance of the noise."""
        means, variances = self.processes.predict(U)
        z = self.weight @ means
        y, rate = self.to_readings(z)
        model_var = self.weight @ (variances + (means - z) ** 2) * rate**2
        return y, model_var, self.weight @ self._noise_variances(U, y)

    def least_noise(self, U: Floats, probability: float) -> Floats:
        """(k,) quantile of the standard deviation of one reading over the mixture, at settings (k, d)."""
        variances = self._noise_variances(U, self.mean(U))
        order = np.argsort(variances, axis=0)
        below = np.cumsum(self.weight[order], axis=0) < probability
        rank = np.minimum(below.sum(axis=0), len(order) - 1)
        return np.asarray(np.sqrt(np.take_along_axis(variances, order, axis=0)[rank, np.arange(len(U))]))

    def _noise_variances(self, U: Floats, y: Floats) -> Floats:
        """(B, k) variance of one reading by each process, at settings (k, d) with mean readings (k,)."""
        parts = variance_parts(U, y[:, None], self.slope[None], np.array([self.scale]))[..., 0]
        return np.asarray(np.exp(2.0 * self.processes.theta[:, -3:]) @ parts, dtype=np.float64)

    def mean(self, U: Floats) -> Floats:
        """(k,) mean reading at settings (k, d)."""
        return self.to_readings(self.weight @ self.processes.mean(U))[0]

    def jacobian(self, U: Floats) -> Floats:
        """(k, d) derivatives of the mean reading."""
        rate = self.to_readings(self.weight @ self.processes.mean(U))[1]
        slope: Floats = np.tensordot(self.weight, self.processes.mean(U, slope=True), 1) * rate[:, None]
        return slope

    @property
    def residual_dof(self) -> float:
        """Rows less the trace of K (K + Σ)⁻¹, Σ being the noise (Hastie and Tibshirani, Additive Models, 1990).

        Only over uncensored rows: a bound does not tell the noise.
        """
        _, variance = self.processes.leave_one_out()
        rest: Floats = (self.processes.noise / variance)[:, ~self.censored[self.used]]
        return float(self.weight @ rest.sum(axis=1))

    def leave_one_out(self) -> Floats:
        """(n,) log density of each reading given the others; NaN for a row that is not used."""
        away, variance = self.processes.leave_one_out()
        each = -0.5 * (away**2 / variance + np.log(variance) + LOG_2PI)
        rate = self.to_readings(self.processes.z[0])[1]
        density = np.full(len(self.used), np.nan)
        density[self.used] = np.logaddexp.reduce(np.log(self.weight)[:, None] + each, axis=0) - np.log(rate)
        return density

    def wrong_density(self, y: Floats) -> Floats:
        """(n,) log density of readings (n,) as wrong rows; NaN where T(y) is not defined."""
        y = np.where(y > 0, y, np.nan) if self.transform == "log" else y
        z = (forward(self.transform, y) - self.centre) / self.size
        return wrong_row_density(z) - np.log(self.size / derivative(self.transform, y))

    def nonlinearity(self) -> float:
        """Standard deviation of the mean's deviation from its best plane, divided by that of the mean, at the rows."""
        y = self.mean(self.processes.U)
        X = np.column_stack([np.ones(len(y)), self.processes.U])
        off = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
        return float(off.std() / max(float(y.std()), 1e-300))


def wrong_row_density(z: Floats) -> Floats:
    """Log density of wrong rows at z, plus the prior log odds that a row is wrong."""
    evidence: Floats = -0.5 * (z / WIDE) ** 2 - np.log(WIDE) - 0.5 * LOG_2PI + np.log(WRONG / (1.0 - WRONG))
    return evidence
