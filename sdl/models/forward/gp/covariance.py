"""The prior covariance of a Gaussian process: affine, smooth in each input, and smooth in all inputs jointly.

For settings u, v in units of their bounds and r_j = (u_j - v_j) / l_j,

    cov(u, v) = L² [1 + (u - ½)·(v - ½)] + a² sum_j κ(r_j) + s² κ(|r|)

κ is Matérn's covariance with smoothness 5/2 (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
sections 2.7 and 4.2; Duvenaud et al., NIPS 2011). Parameters (B, P) are the logarithms of the length scales l, of s,
of a, and of three parts of the noise; B fits are computed together.
"""

from __future__ import annotations

import numpy as np

from sdl.arrays import Floats

ROOT5 = float(np.sqrt(5.0))


def matern(r: Floats) -> tuple[Floats, Floats]:
    """κ(r), and -κ'(r) / r."""
    decay, x = np.exp(-ROOT5 * r), 1.0 + ROOT5 * r
    return (x + (5.0 / 3.0) * r**2) * decay, (5.0 / 3.0) * x * decay


def kernel(theta: Floats, U: Floats, V: Floats, line: float) -> Floats:
    """(B, k, n) prior covariance between settings U (k, d) and V (n, d), for parameters (B, P).

    `line` is the prior standard deviation of the intercept and slopes of the affine part.
    """
    d = len(V.T)
    scale, (s2, a2) = np.exp(-theta[:, :d, None, None]), np.exp(2.0 * theta[:, d : d + 2, None, None]).swapaxes(0, 1)
    square, own = np.zeros((len(theta), len(U), len(V))), np.zeros((len(theta), len(U), len(V)))
    for j in range(d):
        r = np.abs(U[:, None, j] - V[:, j]) * scale[:, j]
        square += r**2
        own += matern(r)[0]
    covariance: Floats = affine_covariance(U, V, line) + s2 * matern(np.sqrt(square))[0] + a2 * own
    return covariance


def expand(theta: Floats, U: Floats, V: Floats, weight: Floats, line: float, *, slope: bool = False) -> Floats:
    """The functions sum_i weight_i cov(u, v_i), or their derivatives.

    Args:
        theta: (B, P) parameters.
        U: (k, d) settings where they are evaluated; or (B, k, d), different ones for each function.
        V: (n, d) settings v_i.
        weight: (B, n) weights.
        line: prior standard deviation of intercept and slopes.
        slope: return the derivatives with respect to U instead.

    Returns:
        (B, k), or with `slope` (B, k, d).
    """
    d = len(V.T)
    scale, (s2, a2) = np.exp(-theta[:, :d, None, None]), np.exp(2.0 * theta[:, d : d + 2, None, None]).swapaxes(0, 1)
    away = [(U[..., None, j] - V[:, j]) * scale[:, j] for j in range(d)]
    joint = s2 * matern(np.sqrt(sum(one**2 for one in away)))[int(slope)]
    own = [a2 * matern(np.abs(one))[int(slope)] for one in away]
    pull = line**2 * weight @ (V - 0.5)  # (B, d) slopes of the affine part
    if slope:
        parts = [times((joint + one) * far, weight) for one, far in zip(own, away, strict=True)]
        return pull[:, None] - np.stack(parts, axis=-1) * np.exp(-theta[:, None, :d])
    affine: Floats = line**2 * weight.sum(axis=1)[:, None] + times(U - 0.5, pull)
    return affine + times(joint + sum(own), weight)


def times(features: Floats, weight: Floats) -> Floats:
    """(B, k) matrix-vector products of (k, n) or (B, k, n) with (B, n)."""
    product: Floats = (features @ weight[..., None])[..., 0]
    return product


def affine_covariance(U: Floats, V: Floats, line: float) -> Floats:
    """(k, n) prior covariance of the affine part, whose intercept and slopes have the standard deviation `line`."""
    covariance: Floats = line**2 * (1.0 + (U - 0.5) @ (V - 0.5).swapaxes(-1, -2))
    return covariance
