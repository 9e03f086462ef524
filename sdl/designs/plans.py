"""The points of the designs, as fractions of the inputs' ranges; whole plans are computed once, not once a trial."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Literal

import numpy as np
from pydoe import bbdesign, ccdesign, fullfact
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from sdl.arrays import Floats, Ints
from sdl.types import Input

Terms = Literal["linear", "interactions", "quadratic"]
STARTS, SWEEPS = 6, 30  # random starts of the exchange, and passes over all points from each
# Relative difference below which two gains are equal: many are, by symmetry, and rounding must not decide.
TIE = 1e-6


def levels(low: float, high: float, count: int, item: Input) -> tuple[float, ...]:
    """Evenly spaced fractions of one input's range from `low` to `high`, rounded to its steps, without duplicates."""
    unit = low + np.linspace(0, 1, count) * (high - low)
    if item.step is not None:
        part = item.step / (item.high - item.low)
        unit = np.clip(np.round(unit / part), 0, np.floor(1 / part + 1e-9)) * part
    return tuple(np.unique(unit).tolist())


def farthest(taken: Floats, inputs: tuple[Input, ...], rng: np.random.Generator, low: float, high: float) -> Floats:
    """(d,) the one of 256 random points between `low` and `high` that is farthest from all settings `taken` (n, d)."""
    start, end = np.array([i.low for i in inputs]), np.array([i.high for i in inputs])
    candidates = low + (high - low) * rng.random((256, len(inputs)))
    best = cdist(candidates, (taken - start) / (end - start)).min(axis=1).argmax() if len(taken) else 0
    return np.asarray(candidates[best])


def latin_hypercube(n: int, d: int, rng: np.random.Generator) -> Floats:
    """(n, d) points, one in each of n layers of every input."""
    return qmc.LatinHypercube(d, rng=rng).random(n)


def sobol(index: int, d: int, rng: np.random.Generator) -> Floats:
    """(d,) one point of a scrambled Sobol' sequence, counted from 0."""
    sequence = qmc.Sobol(d, rng=rng)
    if index > 0:  # scipy cannot go forward by nothing
        sequence.fast_forward(index)
    return np.asarray(sequence.random(1)[0])


@lru_cache(maxsize=4)
def factorial(counts: tuple[int, ...]) -> Ints:
    """(size, d) number of the level of each input at each point."""
    return np.asarray(fullfact(list(counts)), dtype=np.intp)


@lru_cache(maxsize=4)
def box_behnken(d: int, centre: int) -> Floats:
    """(size, d) midpoints of the edges of the cube, then its centre, `centre` times."""
    return np.asarray((bbdesign(d, center=centre) + 1) / 2, dtype=np.float64)


@lru_cache(maxsize=4)
def central_composite(d: int, face: Literal["inscribed", "faced"], centre: int) -> Floats:
    """(size, d) corners, star points, then the centre, `centre` times."""
    return np.asarray((ccdesign(d, center=(centre, 0), alpha="rotatable", face=face) + 1) / 2, dtype=np.float64)


def terms(U: Floats, model: Terms) -> Floats:
    """(N, p) terms of a model at settings U (N, d) from -1 to 1."""
    d = U.shape[1]
    pairs = {
        "linear": (),
        "interactions": itertools.combinations(range(d), 2),
        "quadratic": itertools.combinations_with_replacement(range(d), 2),
    }[model]
    return np.column_stack([np.ones(len(U)), U, *(U[:, i] * U[:, j] for i, j in pairs)])


@lru_cache(maxsize=4)
def d_optimal(values: tuple[tuple[float, ...], ...], model: Terms, size: int, seed: int) -> Floats:
    """(size, d) points with the largest determinant of XᵀX that an exchange finds from a few random starts.

    `values` are the settings of each input to choose from; `model` has the coefficients to be determined.
    """
    rng = np.random.default_rng(seed)
    grid = np.array(list(itertools.product(*values)))
    low, high = grid.min(axis=0), grid.max(axis=0)
    F = terms(2 * (grid - low) / np.where(high > low, high - low, 1.0) - 1, model)
    return np.asarray(grid[exchange(F, size, rng)], dtype=np.float64)


def exchange(F: Floats, size: int, rng: np.random.Generator) -> Ints:
    """(size,) indices of candidates F (n, p) with the largest determinant of FᵀF found from random starts."""
    best, largest = np.arange(size) % len(F), -np.inf
    for _ in range(STARTS):
        rows = _exchange(F, rng.integers(len(F), size=size))
        log_determinant = float(np.linalg.slogdet(F[rows].T @ F[rows])[1])
        if log_determinant > largest + TIE:
            best, largest = rows, log_determinant
    return best


def _exchange(F: Floats, rows: Ints) -> Ints:
    """Replace each of `rows` in turn by the candidate that increases the determinant most, until none does.

    Fedorov 1972; Cook and Nachtsheim, Technometrics 22 (1980) 315: the gain of a candidate x is x'(X₋'X₋)⁻¹x, X₋ being
    the other points.
    """
    ridge = 1e-8 * np.eye(F.shape[1])  # the first start may be singular
    for _ in range(SWEEPS):
        before = rows.copy()
        for i in range(len(rows)):
            X = F[np.delete(rows, i)]
            gain = np.einsum("np,pq,nq->n", F, np.linalg.inv(X.T @ X + ridge), F)
            best = int(np.argmax(gain >= gain.max() * (1 - TIE)))
            if gain[best] > gain[rows[i]] * (1 + TIE):
                rows[i] = best
        if (rows == before).all():
            break
    return rows
