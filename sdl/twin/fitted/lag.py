"""A first-order lag: after a change of the settings a channel approaches its new value exponentially.

    x(t + dt) = y(u) + (x(t) - y(u)) exp(-dt / tau)

The settings of each row are assumed to be set immediately after the previous reading, and each session to begin in
equilibrium.
"""

from __future__ import annotations

import numpy as np

from sdl.arrays import Bools, Floats


def lagged(settled: Floats, wait: Floats, tau: Floats) -> Floats:
    """(n, m) readings with the lag, of rows in the order of their times.

    Args:
        settled: (n, m) readings in equilibrium.
        wait: (n,) seconds since the row before; infinite for the first row of a session.
        tau: (m,) time constants in seconds; 0: no lag.
    """
    rest = remaining(wait, tau)
    state = settled.copy()
    for i in range(1, len(settled)):
        state[i] += np.where(rest[i] > 0, (state[i - 1] - settled[i]) * rest[i], 0.0)
    return state


def remaining(wait: Floats, tau: Floats) -> Floats:
    """(n, m) fraction of a change that is left after waiting."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(tau > 0, np.exp(-wait[:, None] / tau), 0.0)


def time_constant(basis: Floats, y: Floats, wait: Floats, usable: Bools, candidates: Floats, least: float) -> float:
    """The time constant with which a linear model of the settings fits one channel best, or 0.

    With remaining fraction a, the model of a row is `y_i = (1 - a_i) basis_i b + a_i y_(i-1)`, fitted by least squares
    for each candidate.

    Args:
        basis: (n, q) functions of the settings.
        y: (n,) readings.
        wait: (n,) seconds since the row before.
        usable: (n,) which readings are known.
        candidates: time constants in seconds.
        least: gain in the log likelihood below which the answer is 0.
    """
    before = np.concatenate([[False], usable[:-1]]) & np.isfinite(wait)
    use = usable & before
    if use.sum() < 2 * basis.shape[1]:
        return 0.0
    last = np.concatenate([[0.0], y[:-1]])

    def squares(tau: float) -> float:
        rest = remaining(wait, np.array([tau]))[:, 0]
        A, right = (1.0 - rest)[:, None] * basis, y - rest * last
        residual = right[use] - A[use] @ np.linalg.lstsq(A[use], right[use], rcond=None)[0]
        return float(residual @ residual)

    best = min(candidates.tolist(), key=squares, default=0.0)
    gain = 0.5 * use.sum() * np.log(squares(0.0) / max(squares(best), 1e-300))  # in the log likelihood
    return best if gain > least else 0.0
