"""Censored readings in a Gaussian process, by expectation propagation.

Minka, UAI 2001; Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 3.6.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr

from sdl.arrays import Floats
from sdl.models.forward.gp.channel import ChannelRows, Processes
from sdl.models.forward.gp.evidence import FLOOR, LOG_2PI, FitData, maximise

SWEEPS, REFITS, REFIT_STEPS = 12, 2, 16
"""Sweeps of expectation propagation, refits of the hyperparameters with its sites, and the steps of each."""


def with_censored(
    channel: ChannelRows, problem: FitData, z: Floats, theta: Floats, evidence: Floats
) -> tuple[FitData, Floats, Floats]:
    """Add censored readings as rows, with the mean and variance of their sites, and refit the hyperparameters.

    Without the refit, the sites would be too close to the end of the channel.
    """
    given = problem
    for step in range(REFITS + 1):
        problem, log_z = add_sites(channel, given, z, theta)
        if step == 0:
            evidence = evidence + log_z
        if step < REFITS:
            theta = maximise(problem, theta, REFIT_STEPS)[0]
    return problem, theta, evidence


def add_sites(channel: ChannelRows, given: FitData, z: Floats, theta: Floats) -> tuple[FitData, Floats]:
    """Add the censored readings to B fits of the others; also return (B,) log probabilities of their bounds."""
    cut = np.flatnonzero(channel.censored)
    sign = np.where(channel.upper[cut], 1.0, -1.0)
    noise = np.exp(2.0 * theta[:, -3:])[:, :, None] * given.noise[:, :, cut]
    use, at, fixed, parts = given.use.copy(), given.z.copy(), given.fixed.copy(), given.noise.copy()
    use[:, cut], parts[:, :, cut] = True, 0.0
    means, covariances = Processes.of(given, theta).covariance(given.U[cut])
    log_z = np.zeros(len(theta))
    for b in range(len(theta)):
        sites, log_z[b] = censored_sites(means[b], covariances[b], z[cut], noise[b].sum(axis=0) + FLOOR, sign)
        at[b, cut], fixed[b, cut] = sites
    return given._replace(use=use, z=at, fixed=fixed, noise=parts), log_z


def censored_sites(
    mean: Floats, covariance: Floats, bound: Floats, noise: Floats, sign: Floats
) -> tuple[tuple[Floats, Floats], float]:
    """Expectation propagation for readings that lie beyond bounds.

    Args:
        mean: (c,) prior mean of the function.
        covariance: (c, c) prior covariance of the function.
        bound: (c,) lower (sign 1) or upper (sign -1) bound of the reading.
        noise: (c,) variance of the reading about the function.
        sign: (c,) 1 or -1.

    Returns:
        (c,) values and (c,) variances of readings equivalent to the bounds (the sites), and the sum of the log
        probabilities of the bounds under the prior means, each taken alone.
    """
    c = len(mean)
    tau, nu = np.zeros(c), np.zeros(c)
    scale = np.sqrt(np.diagonal(covariance) + noise)
    log_z = float(log_ndtr(sign * (mean - bound) / scale).sum())
    precision = np.linalg.inv(covariance + 1e-9 * np.diag(np.diagonal(covariance)))
    for _ in range(SWEEPS):
        for i in range(c):
            V = np.linalg.inv(precision + np.diag(tau))
            m = V @ (precision @ mean + nu)
            v_cavity = 1.0 / max(1.0 / V[i, i] - tau[i], 1e-12)
            m_cavity = v_cavity * (m[i] / V[i, i] - nu[i])
            spread = np.sqrt(v_cavity + noise[i])
            t = sign[i] * (m_cavity - bound[i]) / spread
            ratio = np.exp(-0.5 * t**2 - 0.5 * LOG_2PI - log_ndtr(t))
            first, second = sign[i] * ratio / spread, -ratio * (t + ratio) / spread**2
            v_new = v_cavity + v_cavity**2 * second
            m_new = m_cavity + v_cavity * first
            tau[i] = max(1.0 / v_new - 1.0 / v_cavity, 1e-10)
            nu[i] = m_new / v_new - m_cavity / v_cavity
    return (nu / tau, 1.0 / tau), log_z
