"""Plants with a channel to maximise, for `objective.py` and its peers: numpy alone, so that both can read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = Any

TRIALS = 30
"""Trials of a campaign, the points of the design included."""


@dataclass(frozen=True)
class Plant:
    """Inputs from 0 to 1 and one channel to be made as large as possible, perhaps with a limit on a second channel.

    Attributes:
        d: number of inputs.
        clean: from settings (..., d) to noise-free readings (..., m); the first is maximised.
        best: the largest first reading that keeps the limit.
        at_most: limit of the second channel; None without one.
        read: from clean readings (m,) and a generator to one reading; None: no noise.
    """

    d: int
    clean: Callable[[Floats], Floats]
    best: float
    at_most: float | None = None
    read: Callable[[Floats, np.random.Generator], Floats] | None = None

    @property
    def planned(self) -> int:
        """Number of design points."""
        return 2 * (self.d + 1)

    def measure(self, x: Floats, rng: np.random.Generator) -> Floats:
        """(m,) one reading at settings (d,)."""
        y = self.clean(np.asarray(x, float))
        return y if self.read is None else self.read(y, rng)

    def regret(self, x: Floats) -> float:
        """How far the noise-free reading at settings (d,) stays below the best; infinite where the limit is broken."""
        y = self.clean(np.asarray(x, float))
        if self.at_most is not None and y[1] > self.at_most * (1 + 1e-9):
            return float("inf")
        return float(max(self.best - y[0], 0.0))


def _branin(U: Floats) -> Floats:
    x, y = 15 * U[..., 0] - 5, 15 * U[..., 1]
    return (y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10


def branin(U: Floats) -> Floats:
    return -_branin(U)[..., None]


def branin_in_disk(U: Floats) -> Floats:
    """Gardner et al., ICML 2014: two of the three optima lie outside a disk."""
    x, y = 15 * U[..., 0] - 5, 15 * U[..., 1]
    return np.stack([-_branin(U), (x - 2.5) ** 2 + (y - 7.5) ** 2], axis=-1)


ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(U: Floats) -> Floats:
    return (ALPHA * np.exp(-(A * (U[..., None, :] - P) ** 2).sum(axis=-1))).sum(axis=-1)[..., None]


def absorbances(U: Floats) -> Floats:
    """(..., 2) absorbances of two products of a reaction; inputs: two reagents and the temperature."""
    a, b, t = U[..., 0], U[..., 1], U[..., 2]
    warm = np.exp(-0.5 * ((t - 0.62) / 0.25) ** 2)
    return np.stack(
        [1.3 * (1 - np.exp(-2.5 * a)) * np.exp(-0.8 * b) * warm, 1.5 * b * np.exp(-0.9 * a * (0.4 + t))], axis=-1
    )


def beer_lambert(U: Floats) -> Floats:
    """The yield: the product of two absorbances."""
    return absorbances(U).prod(axis=-1)[..., None]


def transmitted(y: Floats, rng: np.random.Generator) -> Floats:
    """A noisy yield: both absorbances come from transmitted light that is read with 1 % of full scale."""
    first = np.sqrt(np.maximum(y, 1e-12))
    light = np.maximum(10 ** -np.tile(first, 2) + 0.01 * rng.normal(size=2), 1e-3)
    return np.prod(-np.log10(light), keepdims=True)


PLANTS = {
    "Branin": Plant(2, branin, -0.39788736),
    "Hartmann-6": Plant(6, hartmann, 3.32236801),
    "constrained Branin": Plant(2, branin_in_disk, -0.39788736, at_most=50.0),
    "Beer-Lambert yield": Plant(3, beer_lambert, 0.39830149, read=transmitted),
}
