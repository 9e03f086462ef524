"""D-optimal designs: the settings that determine the coefficients of a polynomial most precisely.

Of a grid of candidates F (N, p), rows of the model's terms, n are chosen such that det(XᵀX) is as large as an exchange
finds it (Fedorov 1972; Cook and Nachtsheim, Technometrics 22 (1980) 315): each point in turn is replaced by the
candidate x with the largest x'(X₋'X₋)⁻¹x, X₋ being the others, until nothing is gained. Points may repeat.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sdl.designs.base import Random, Ranged, farthest, on_steps, scale
from sdl.errors import ConfigError, Problem
from sdl.types import Input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdl.arrays import Floats


Terms = Literal["linear", "interactions", "quadratic"]
STARTS, SWEEPS = 6, 30
TIE = 1e-6
"""Gains that differ by less, relatively, are ties: many are equal by symmetry, and rounding must not decide."""
CANDIDATES = 10_000


class DOptimal(Ranged):
    """D-optimal: the points that determine a linear or quadratic model most precisely."""

    kind: Literal["d-optimal"] = "d-optimal"
    model: Terms = Field("linear", description="interactions: and all products; quadratic: and all squares too")
    trials: int | None = Field(
        None, ge=1, le=500, description="how many points; null: two more than the model has coefficients"
    )
    levels: int = Field(3, ge=2, le=100, description="settings of each input to choose among, low and high among them")

    def size(self, inputs: tuple[Input, ...]) -> int:
        p = coefficients(self.model, len(inputs))
        size = p + 2 if self.trials is None else self.trials
        if size < p:
            name = f"a {self.model} model" if self.model != "interactions" else "a model with interactions"
            text = f"{name} of {len(inputs)} inputs has {p} coefficients, so at least {p} trials; not {size}"
            raise ConfigError(Problem(text, "trials"))
        counts = [len(values) for values in self.values(inputs)]
        if math.prod(counts) > CANDIDATES:
            text = f"{' × '.join(map(str, counts))} are {math.prod(counts):,} candidates; at most {CANDIDATES:,}"
            raise ConfigError(Problem(text, "levels"))
        if self.model == "quadratic" and min(counts) < 3:
            raise ConfigError(Problem("a square needs three settings of every input; give levels: 3 or more", "levels"))
        return size

    def values(self, inputs: tuple[Input, ...]) -> tuple[tuple[float, ...], ...]:
        """The candidate settings of each input as fractions of its range."""
        import numpy as np

        unit = self.between(np.linspace(0, 1, self.levels))
        return tuple(tuple(on_steps(unit, item).tolist()) for item in inputs)

    def point(self, trial: int, taken: Floats, inputs: tuple[Input, ...], random: Random) -> Floats:
        size = self.size(inputs)
        if trial >= size:
            return farthest(taken, inputs, random(trial))
        return scale(_plan(self.values(inputs), self.model, size, int(random(0).integers(2**63)))[trial], inputs)


def coefficients(model: Terms, d: int) -> int:
    """Return the number of coefficients of a model of d inputs."""
    more = {"linear": 0, "interactions": d * (d - 1) // 2, "quadratic": d * (d + 1) // 2}
    return 1 + d + more[model]


def terms(U: Floats, model: Terms) -> Floats:
    """(N, p) the model's terms at settings U (N, d) from -1 to 1."""
    import numpy as np

    d = U.shape[1]
    pairs = {
        "linear": [],
        "interactions": list(itertools.combinations(range(d), 2)),
        "quadratic": list(itertools.combinations_with_replacement(range(d), 2)),
    }[model]
    return np.column_stack([np.ones(len(U)), U, *(U[:, i] * U[:, j] for i, j in pairs)])


@lru_cache(maxsize=4)
def _plan(values: tuple[tuple[float, ...], ...], model: Terms, size: int, seed: int) -> Floats:
    """(size, d) fractions of the ranges; the best of a few random starts."""
    import numpy as np

    rng = np.random.default_rng(seed)
    grid = np.array(list(itertools.product(*values)))
    low, high = grid.min(axis=0), grid.max(axis=0)
    F = terms(2 * (grid - low) / np.where(high > low, high - low, 1.0) - 1, model)
    chosen, most = np.arange(size) % len(F), -np.inf
    for _ in range(STARTS):
        picked = _exchanged(F, rng.integers(len(F), size=size))
        size_of = float(np.linalg.slogdet(F[picked].T @ F[picked])[1])
        if size_of > most + TIE:
            chosen, most = picked, size_of
    return np.asarray(grid[chosen], dtype=np.float64)


def _exchanged(F: Floats, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
    """Exchange points until no exchange increases the determinant (Fedorov)."""
    import numpy as np

    ridge = 1e-8 * np.eye(F.shape[1])  # the first start may be singular
    for _ in range(SWEEPS):
        before = chosen.copy()
        for i in range(len(chosen)):
            X = F[np.delete(chosen, i)]
            inverse = np.linalg.inv(X.T @ X + ridge)
            gain = np.einsum("np,pq,nq->n", F, inverse, F)
            best = int(np.argmax(gain >= gain.max() * (1 - TIE)))
            if gain[best] > gain[chosen[i]] * (1 + TIE):
                chosen[i] = best
        if (chosen == before).all():
            break
    return chosen
