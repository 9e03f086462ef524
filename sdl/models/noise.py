"""Shapes of the noise: the variance of one reading as a function of settings and reading, up to a constant factor.

The factor is estimated from the residuals.

jitter          An output driven by pulse-width modulation is noisiest in the middle of its range and nearly silent
                at both ends: the variance is sum_j K_j² (u_j (1 - u_j) + FLOOR), K_j being the slopes. The floor limits
                the weight of a row at the end of a range, where the response is not linear.
proportional    The standard deviation is proportional to the reading.
even            The variance is the same everywhere.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from sdl.arrays import Floats

Shape = Literal["jitter", "proportional", "even"]
SHAPES: tuple[Shape, Shape] = ("jitter", "proportional")
"""The shapes that are compared by likelihood."""
FLOOR = 0.05
"""Added to u (1 - u), so that a row at the end of the range has at most six times the weight of one in the middle."""
FAINT = 0.01
"""Lower bound of proportional noise: that of a reading at this fraction of the channel's response."""
NEGLIGIBLE = 1e-12
"""Lower bound of the variance, as a fraction of the largest, so that a channel without any response has some noise."""


def variance_of(shape: Shape, U: Floats, mean: Floats, slope: Floats) -> Floats:
    """(k, m) variance of one reading, up to a factor.

    Args:
        shape: which function.
        U: (k, d) settings in units of their bounds.
        mean: (k, m) expected readings.
        slope: (m, d) change of each reading over the range of each input.
    """
    if shape == "even":
        return np.ones(mean.shape)
    if shape == "proportional":
        return np.asarray(mean**2 + (FAINT * np.abs(slope).sum(axis=1)) ** 2, dtype=np.float64)
    u = np.clip(U, 0.0, 1.0)
    return np.asarray((u * (1.0 - u) + FLOOR) @ (slope**2).T, dtype=np.float64)


def bounded_below(variance: Floats, largest: float) -> Floats:
    """The variance, raised to at least NEGLIGIBLE × the largest; 1 where the largest is 0."""
    return np.maximum(variance, largest * NEGLIGIBLE or 1.0)


def variance_parts(U: Floats, mean: Floats, slope: Floats, size: Floats) -> Floats:
    """(3, k, m) variance of one reading: proportional, constant and jitter part, each for a relative noise of 1.

    Args:
        U: (k, d) settings in units of their bounds.
        mean: (k, m) expected readings.
        slope: (m, d) change of each reading over the range of each input.
        size: (m,) standard deviation of the readings; the constant part is relative to it.
    """
    return np.stack([mean**2, np.broadcast_to(size**2, mean.shape), variance_of("jitter", U, mean, slope)])
