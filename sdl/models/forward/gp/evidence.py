"""Hyperparameters of Gaussian processes: log posterior, its maximum by Fisher scoring, and the evidence.

Gilmour et al., Biometrics 51 (1995) 1440; Laplace's approximation of the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.forward.gp.covariance import affine_covariance, matern

LINE, LINE_OPTIMISED = 10.0, 1.0
"""Prior standard deviation of intercept and slopes, in standard deviations of the readings; a vague prior. With an
objective a smaller one: where slopes are that uncertain, corners of the space would be measured first."""
CHUNK = 2_000_000
"""Largest size of an array in a fit, in numbers; more fits than that are done in turn."""
GAIN = 0.02
"""Fisher scoring ends when a step raises the log posterior by less."""
FLOOR = 1e-8
"""Lower bound of the noise variance, in units of the variance of the readings."""
LOG_2PI = float(np.log(2.0 * np.pi))


class FitData(NamedTuple):
    """The data and priors of B fits of n rows that are computed together; P parameters."""

    U: Floats  # (n, d)
    z: Floats  # (B, n); 0 where not used
    use: Bools  # (B, n)
    noise: Floats  # (B, 3, n) shapes of the variance of one reading; multiplied by the squared noise parameters
    fixed: Floats  # (B, n) further variance of each row, which no parameter multiplies
    mean: Floats  # (B, P) prior means of the parameters
    sd: Floats  # (B, P) prior standard deviations of the parameters
    line: float = LINE  # prior standard deviation of intercept and slopes

    def take(self, fits: Ints) -> FitData:
        parts = self.z[fits], self.use[fits], self.noise[fits], self.fixed[fits], self.mean[fits], self.sd[fits]
        return FitData(self.U, *parts, self.line)

    def rows(self, rows: Ints) -> FitData:
        parts = self.z[:, rows], self.use[:, rows], self.noise[:, :, rows], self.fixed[:, rows]
        return FitData(self.U[rows], *parts, self.mean, self.sd, self.line)


class Scored(NamedTuple):
    """Log posterior of B fits, its gradient, and the Fisher information plus the precision of the prior."""

    value: Floats  # (B,)
    gradient: Floats  # (B, P)
    information: Floats  # (B, P, P)


def noise_variance(problem: FitData, theta: Floats) -> Floats:
    """(B, n) variance of the noise of each row."""
    parts = np.exp(2.0 * theta[:, -3:])[:, :, None] * problem.noise
    variance: Floats = parts.sum(axis=1) + problem.fixed + FLOOR
    return variance


def score(problem: FitData, theta: Floats, *, derivatives: bool = True) -> Scored:
    """The log posterior of parameters (B, P), with its derivatives if requested."""
    U, (B, P), (n, d) = problem.U, theta.shape, problem.U.shape
    mask, on = problem.use.astype(float), np.arange(n)
    s2, a2 = np.exp(2.0 * theta[:, d : d + 2]).T[:, :, None, None]
    squares = (U[:, None] - U[None]).T ** 2 * np.exp(-2.0 * theta[:, :d])[..., None, None]  # (B, d, n, n)
    additive, own_slope = matern(np.sqrt(squares))
    joint, slope = matern(np.sqrt(squares.sum(axis=1)))
    joint, additive = s2 * joint, a2 * additive.sum(axis=1)
    K = affine_covariance(U, U, problem.line) + joint + additive
    both = mask[:, :, None] * mask[:, None, :]
    if not problem.use.all():
        K *= both
    noise = np.exp(2.0 * theta[:, d + 2 :])[:, :, None] * problem.noise * mask[:, None]  # (B, 3, n)
    K[:, on, on] += np.where(problem.use, noise_variance(problem, theta), 1.0)
    try:
        logdet = 2.0 * np.log(np.linalg.cholesky(K)[:, on, on]).sum(axis=1)
    except np.linalg.LinAlgError:
        return Scored(np.full(B, -np.inf), np.zeros((B, P)), np.tile(np.eye(P), (B, 1, 1)))
    alpha = np.linalg.solve(K, problem.z[..., None])[..., 0]
    away = (theta - problem.mean) / problem.sd
    value = -0.5 * ((problem.z * alpha).sum(axis=1) + logdet + mask.sum(axis=1) * LOG_2PI)
    value -= 0.5 * (away**2).sum(axis=1) + np.log(problem.sd).sum(axis=1) + 0.5 * P * LOG_2PI
    if not derivatives:
        return Scored(value, np.zeros((B, P)), np.zeros((B, P, P)))
    D = np.empty((B, d + 2, n, n))  # derivatives of the covariance with respect to the logarithms of l, s and a
    D[:, :d] = (a2[:, None] * own_slope + (s2 * slope)[:, None]) * squares
    D[:, d], D[:, d + 1] = 2.0 * joint, 2.0 * additive
    if not problem.use.all():
        D *= both[:, None]
    inverse = np.linalg.inv(K)
    G = np.empty((B, P, n, n))  # K⁻¹ times each derivative
    np.matmul(inverse[:, None], D, out=G[:, : d + 2])
    np.multiply(inverse[:, None], 2.0 * noise[:, :, None], out=G[:, d + 2 :])
    pull = np.concatenate([(D @ alpha[:, None, :, None])[..., 0], 2.0 * noise * alpha[:, None]], axis=1)
    gradient = 0.5 * ((pull * alpha[:, None]).sum(axis=2) - np.trace(G, axis1=2, axis2=3)) - away / problem.sd
    information = 0.5 * G.reshape(B, P, -1) @ G.swapaxes(2, 3).reshape(B, P, -1).swapaxes(1, 2)
    return Scored(value, gradient, information + np.eye(P) / problem.sd[:, None] ** 2)


def maximise(problem: FitData, theta: Floats, steps: int) -> tuple[Floats, Scored]:
    """Maximise the log posterior by Fisher scoring from parameters (B, P); a step is damped until it improves it."""
    theta = theta.copy()
    best = score(problem, theta)
    damping = np.full(len(theta), 0.0)
    active = np.arange(len(theta))
    for i in range(steps):
        part = problem.take(active)
        information = best.information[active]
        scaled = information * (1.0 + damping[active, None, None] * np.eye(theta.shape[1]))
        step = np.linalg.solve(scaled, best.gradient[active][..., None])[..., 0]
        step *= np.minimum(1.0, 2.0 / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-12))
        trial = theta[active] + step
        last = i == steps - 1  # the derivatives of the step before are then accurate enough for the evidence
        scored = score(part, trial, derivatives=not last)
        gain = scored.value - best.value[active]
        better = gain > 0
        won = active[better]
        theta[won] = trial[better]
        for old, new in zip(best[: 1 if last else 3], scored, strict=False):
            old[won] = new[better]
        damping[active] = np.where(better, damping[active] / 8.0, 4.0 * damping[active] + 0.5)
        going = np.where(better, gain > GAIN, damping[active] < 100.0)
        active = active[going]
        if not len(active):
            break
    return theta, best


def log_evidence(scored: Scored) -> Floats:
    """(B,) logarithm of the evidence, by Laplace's approximation."""
    P = scored.gradient.shape[1]
    evidence: Floats = scored.value + 0.5 * P * LOG_2PI - 0.5 * np.linalg.slogdet(scored.information)[1]
    return evidence


def join(problems: Sequence[FitData]) -> FitData:
    """Concatenate the fits of several problems with the same settings."""
    first = problems[0]
    z, use, noise, fixed, mean, sd = (
        np.concatenate([getattr(one, part) for one in problems]) for part in FitData._fields[1:-1]
    )
    return FitData(first.U, z, use, noise, fixed, mean, sd, first.line)


def maximise_each(problem: FitData, theta: Floats, steps: int) -> tuple[Floats, Scored]:
    """Run `maximise` on as many fits at once as keep arrays below CHUNK numbers, for the sake of the CPU cache."""
    n, P = len(problem.U), theta.shape[1]
    at_once = max(1, CHUNK // (n * n * P))
    parts = [
        maximise(problem.take(np.arange(i, min(i + at_once, len(theta)))), theta[i : i + at_once], steps)
        for i in range(0, len(theta), at_once)
    ]
    scored = Scored(*(np.concatenate(one) for one in zip(*(part[1] for part in parts), strict=True)))
    return np.concatenate([part[0] for part in parts]), scored
