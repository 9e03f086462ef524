"""A small LED with a light sensor: affine, with the jitter of pulse-width modulation, ambient light and saturation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sdl.inverse.knowledge import fit
from sdl.solvers.base import Data, Targets
from sdl.space import Space
from sdl.types import Channel, Input

GAINS = np.array([[122.0, 365.0, 30226.0], [365.0, 63597.0, 428.0], [29264.0, 1322.0, 753.0]])
"""Counts of 445, 515, 630 nm per unit of R, G, B by night."""
PAPER_GAINS = np.array([[122.0, 365.0, 30000.0], [365.0, 62000.0, 428.0], [29000.0, 1322.0, 753.0]])
PAPER_AMBIENT = np.array([740.0, 1430.0, 2160.0])
RGB = tuple(Input(name=name, low=0.0, high=1.0, step=None) for name in "RGB")
CHANNELS = tuple(Channel(name=name, low=0.0, high=65535.0) for name in ("445nm", "515nm", "630nm"))
LOW, HIGH = np.zeros(3), np.ones(3)


def space(low=LOW, high=HIGH):
    """The settings between these bounds."""
    bounds = zip(np.asarray(low).tolist(), np.asarray(high).tolist(), strict=True)
    return Space([Input(name=f"x{i}", low=a, high=b) for i, (a, b) in enumerate(bounds)])


def hypercube(n, rng, d=3):
    """A Latin hypercube of n points."""
    return np.column_stack([(rng.permutation(n) + rng.uniform(size=n)) / n for _ in range(d)])


def axis(d=3):
    """One point with all inputs low, and one for each with it high."""
    points = np.full((d + 1, d), 0.1)
    points[1:] += 0.8 * np.eye(d)
    return points


def measure(X, rng, gains=GAINS, ambient=0.0):
    """Readings at settings X, one each."""
    jitter = rng.normal(size=X.shape) * 0.0045 * np.sqrt(X * (1 - X))
    return np.floor(np.clip(ambient + (X + jitter) @ gains.T, 0, 65535))


def data(X, Y, goal=None, inputs=RGB, channels=CHANNELS):
    """Rows as a solver gets them."""
    wanted = np.ones(Y.shape[1], bool) if goal is None else np.isin(np.arange(Y.shape[1]), goal)
    age = np.arange(len(X) - 1, -1, -1, dtype=float)
    return Data(X, Y, Y >= 65535, wanted, age, np.zeros(len(X)), inputs, channels)


def targets(value, tolerance=0.02):
    """Goals of `tolerance`, NaN = free."""
    value = np.atleast_2d(np.array(value, dtype=float))
    half = tolerance * np.abs(value)
    free = np.isnan(value)
    return Targets(value, np.where(free, -np.inf, value - half), np.where(free, np.inf, value + half))


def night(n, seed=0):
    """Rows of a dark night: the axis points and then a Latin hypercube."""
    rng = np.random.default_rng(seed)
    X = np.vstack([axis(), hypercube(n - 4, rng)]) if n > 4 else axis()[:n]
    return data(X, measure(X, rng))


def paper_day(seed=0, n=100):
    """Rows as the paper has them: by day, a Latin hypercube."""
    rng = np.random.default_rng(seed)
    X = hypercube(n, rng)
    return data(X, measure(X, rng, PAPER_GAINS, PAPER_AMBIENT))


ORDERLESS = ("linear", "pls", "gmm", "random")
"""Solvers for which the order of rows says nothing; for others new rows count more, drift, or are drawn by number."""


def stirred(rows, *, shuffled):
    """The same rows, their readings changed as the last digits of another processor might, perhaps in another order."""
    rng, n = np.random.default_rng(7), len(rows.X)
    order = rng.permutation(n) if shuffled else np.arange(n)
    moved = replace(rows, Y=rows.Y * (1 + 1e-12 * rng.uniform(-1, 1, rows.Y.shape)))
    return replace(moved, **{name: getattr(moved, name)[order] for name in ("X", "Y", "saturated", "age", "session")})


def ask(solver, rows, value, seed=0, tolerance=0.02):
    """One fit, one question (or several)."""
    return fit(solver, rows).propose(targets(value, tolerance), space(), np.random.default_rng(seed))
