"""Functions drawn from Gaussian processes, by pathwise conditioning (Wilson et al., ICML 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from sdl.arrays import Floats, Ints
from sdl.models.forward.gp.channel import ChannelProcess
from sdl.models.forward.gp.covariance import expand, times

FEATURES = 64
"""Random features of each function drawn from the prior, half for the joint and half for the additive part. Every
function has its own features, so mean and covariance over the functions are unbiased for any number of features."""


class DrawnFunctions(NamedTuple):
    """w functions drawn for one channel: prior functions of F random features, and their update by the n rows."""

    theta: Floats  # (w, P)
    V: Floats  # (n, d) rows
    line: Floats  # (w, d + 1) intercept and slopes at u = ½
    frequency: Floats  # (w, F, d)
    phase: Floats  # (w, 1, F)
    weight: Floats  # (w, F)
    update: Floats  # (w, n)
    line_sd: float  # prior standard deviation of intercept and slopes

    def prior(self, U: Floats) -> Floats:
        """(w, k) the prior functions at settings (k, d) or (w, k, d)."""
        features = np.cos(U @ self.frequency.swapaxes(1, 2) + self.phase)
        return self.line[:, :1] + times(U - 0.5, self.line[:, 1:]) + times(features, self.weight)

    def __call__(self, U: Floats) -> Floats:
        return self.prior(U) + expand(self.theta, U, self.V, self.update, self.line_sd)

    def slope(self, U: Floats) -> Floats:
        """(w, k, d) derivatives of the functions."""
        sines = np.sin(U @ self.frequency.swapaxes(1, 2) + self.phase)  # (w, k, F)
        waves = (sines * self.weight[:, None]) @ self.frequency
        smooth = expand(self.theta, U, self.V, self.update, self.line_sd, slope=True)
        return self.line[:, None, 1:] - waves + smooth


def draw(channel: ChannelProcess, n: int, rng: np.random.Generator) -> DrawnFunctions:
    """Draw n functions of z for one channel, each from one of its processes, picked with the probability of its weight.

    The spectral density of Matérn's covariance is a multivariate t distribution with 5 degrees of freedom. Frequencies
    are drawn from one with 1 degree of freedom and weighted accordingly, because the tail holds most of the uncertainty
    that the rows leave. Each feature of the additive part depends on one input.
    """
    processes = channel.processes
    which = rng.choice(len(channel.weight), size=n, p=channel.weight)
    theta, d = processes.theta[which], processes.U.shape[1]
    half = FEATURES // 2
    own = np.arange(half)[:, None] % d == np.arange(d)
    parts = [rng.standard_normal((n, half, d)), rng.standard_normal((n, half, 1)) * own]
    waves = np.concatenate(parts, axis=1) / np.sqrt(rng.chisquare(1.0, (n, FEATURES, 1)))
    square = (waves**2).sum(axis=2)
    share = np.concatenate([np.full(half, half), own @ own.sum(axis=0)])
    size = np.exp(np.repeat(theta[:, d : d + 2], half, axis=1)) * np.sqrt(2.0 / share)
    size[:, :half] *= np.exp(0.5 * (_log_t(square[:, :half], 5, d) - _log_t(square[:, :half], 1, d)))
    size[:, half:] *= np.exp(0.5 * (_log_t(square[:, half:], 5, 1) - _log_t(square[:, half:], 1, 1)))
    drawn = DrawnFunctions(
        theta,
        processes.U,
        processes.line * rng.standard_normal((n, d + 1)),
        waves * np.exp(-theta[:, None, :d]),
        rng.uniform(0.0, 2.0 * np.pi, (n, 1, FEATURES)),
        size * rng.standard_normal((n, FEATURES)),
        np.empty(0),
        processes.line,
    )
    noise = np.sqrt(processes.noise[which]) * rng.standard_normal((n, len(processes.U)))
    gap = processes.z[which] - drawn.prior(processes.U) - noise
    update = np.empty_like(gap)
    for b in np.unique(which):
        root = processes.inverse_root[b]
        update[which == b] = gap[which == b] @ root.T @ root
    return drawn._replace(update=update)


def _log_t(square: Floats, dof: int, d: int) -> Floats:
    """Log density of the standard t distribution in d dimensions at squared distances."""
    norm = gammaln((dof + d) / 2) - gammaln(dof / 2) - 0.5 * d * np.log(dof * np.pi)
    density: Floats = norm - 0.5 * (dof + d) * np.log1p(square / dof)
    return density


@dataclass(frozen=True)
class ProcessPaths:
    """n functions of the readings of m channels."""

    n: int
    m: int
    goal: Ints
    channels: tuple[ChannelProcess, ...]
    drawn: tuple[DrawnFunctions, ...]
    between: Floats | None  # (g, n, d + 1) offset and slopes that the current session adds
    offset: Floats  # (m,) that was subtracted from the readings

    def __call__(self, U: Floats) -> Floats:
        Y = np.full((self.n, U.shape[-2], self.m), np.nan)
        for g, (column, channel) in enumerate(zip(self.goal, self.channels, strict=True)):
            Y[:, :, column] = channel.to_readings(self.drawn[g](U))[0] + self.offset[column]
            if self.between is not None:
                Y[:, :, column] += self.between[g, :, :1] + times(U, self.between[g, :, 1:])
        return Y

    def jacobian(self, U: Floats) -> Floats:
        J = np.full((self.n, U.shape[-2], self.m, U.shape[-1]), np.nan)
        for g, (column, channel) in enumerate(zip(self.goal, self.channels, strict=True)):
            rate = (
                channel.to_readings(self.drawn[g](U))[1] if channel.transform != "none" else np.array([[channel.size]])
            )
            J[:, :, column] = self.drawn[g].slope(U) * rate[..., None]
            if self.between is not None:
                J[:, :, column] += self.between[g, :, None, 1:]
        return J
