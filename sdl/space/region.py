"""The feasible rows of a space: bounds, linear inequalities, and a block for each combination of choices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sdl.arrays import Bools, Floats

INSIDE = 1e-9
"""Rows beyond a bound or an inequality by at most this fraction of the range lie inside."""
REJECT = 40
"""Random points are drawn at most this many times as often as they are needed, before a random walk takes over."""


@dataclass(frozen=True)
class Region:
    """The rows (p,) with low ≤ u ≤ high and A u ≤ b whose columns of choices are one of `codes`.

    Attributes:
        low, high: (p,) bounds.
        A, b: (c, p) and (c,) inequalities.
        categorical: (p,) the columns of choices.
        codes: (B, p) the blocks: values of these columns, 0 in the others.
    """

    low: Floats
    high: Floats
    A: Floats
    b: Floats
    categorical: Bools
    codes: Floats

    @classmethod
    def box(cls, low: Floats, high: Floats) -> Region:
        """Bounds alone."""
        p = len(low)
        return cls(low, high, np.zeros((0, p)), np.zeros(0), np.zeros(p, bool), np.zeros((1, p)))

    @property
    def is_box(self) -> bool:
        """Whether there are neither choices nor inequalities."""
        return not len(self.A) and not self.categorical.any()

    def scaled(self, origin: Floats, unit: Floats) -> Region:
        """The same rows as (u - origin) / unit."""
        low, high = (self.low - origin) / unit, (self.high - origin) / unit
        codes = np.where(self.categorical, (self.codes - origin) / unit, 0.0)
        return replace(self, low=low, high=high, A=self.A * unit, b=self.b - self.A @ origin, codes=codes)

    def blocks(self) -> Iterator[Region]:
        """A region for each combination of choices, with equal bounds of its columns of choices."""
        for code in self.codes:
            low, high = (np.where(self.categorical, code, end) for end in (self.low, self.high))
            yield replace(self, low=low, high=high, codes=code[None])

    def nearest_block(self, U: Floats) -> Floats:
        """(…, p) the codes of the block closest to each row (…, p)."""
        columns = self.categorical
        far = ((U[..., None, columns] - self.codes[:, columns]) ** 2).sum(axis=-1)
        codes: Floats = self.codes[far.argmin(axis=-1)]
        return codes

    def bounds_at(self, U: Floats) -> tuple[Floats, Floats]:
        """Bounds of the block closest to each row (…, p): (…, p) each, or (p,) each without choices."""
        if not self.categorical.any():
            return self.low, self.high
        codes = self.nearest_block(U)
        return np.where(self.categorical, codes, self.low), np.where(self.categorical, codes, self.high)

    def keeps(self, U: Floats, slack: float = INSIDE) -> Bools:
        """(…,) whether rows (…, p) keep the inequalities."""
        size = np.abs(self.A).sum(axis=1) + np.abs(self.b)
        kept: Bools = ((U @ self.A.T - self.b) <= slack * size).all(axis=-1)
        return kept

    def project(self, U: Floats) -> Floats:
        """(…, p) the closest rows inside, each in the block closest to it; unchanged where no row is inside."""
        low, high = self.bounds_at(U)
        inside = np.clip(U, low, high)
        if not len(self.A):
            return inside
        from sdl.space import polytope

        rows = inside.reshape(-1, U.shape[-1])
        for i in np.flatnonzero(~self.keeps(rows)):
            ends = self.bounds_at(rows[i])
            found = polytope.nearest(rows[i], *ends, self.A, self.b)
            rows[i] = rows[i] if found is None else found
        return rows.reshape(inside.shape)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, p) random rows inside, uniform within each block, and blocks in turn."""
        if self.is_box:
            return np.asarray(rng.uniform(self.low, self.high, (n, len(self.low))), dtype=np.float64)
        rows = np.empty((n, len(self.low)))
        order = rng.permutation(len(self.codes))
        for i, block in enumerate(self.blocks()):
            mine = np.flatnonzero(order[np.arange(n) % len(order)] == i)
            rows[mine] = block._sample_block(len(mine), rng)
        return rows

    def _sample_block(self, n: int, rng: np.random.Generator) -> Floats:
        p = len(self.low)
        drawn = rng.uniform(self.low, self.high, (n, p))
        if not len(self.A) or not n:
            return drawn
        more = rng.uniform(self.low, self.high, (REJECT * n, p))
        found = np.vstack([drawn, more])
        found = found[self.keeps(found)][:n]
        if len(found) == n:
            return found
        from sdl.space import polytope

        middle = polytope.centre(self.low, self.high, self.A, self.b)
        if middle is None:
            return self.project(drawn)
        walk = polytope.random_walk(n - len(found), middle[0], self.low, self.high, self.A, self.b, rng)
        return np.vstack([found, walk])
