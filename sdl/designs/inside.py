"""Designs in a space with choices or constraints: every point is feasible, and every choice is measured.

axis, farthest, adaptive    one point for each column of the space; a point that breaks a constraint is drawn back
                            towards the first point until it keeps all of them (a mixture: towards each pure corner)
factorial, central-composite, box-behnken
                            the whole design with every combination of choices; points that break a constraint are
                            moved to the closest feasible settings, and of equal points one is kept
latin-hypercube             with constraints, points as far apart as possible
sobol                       with constraints, those of the sequence that are feasible
d-optimal                   chosen among the feasible candidates, with main effects of the choices
points                      as listed
others                      moved to the closest feasible settings

Except where they are crossed, the choices take turns. After the plan, each trial gets the feasible point that is
farthest from those measured.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from sdl.arrays import Floats, Ints
from sdl.designs import plans
from sdl.designs.base import Design, Random
from sdl.errors import ConfigError, Problem
from sdl.space import Space, polytope
from sdl.space.region import Region
from sdl.types import Input

MOST_POINTS = 10_000
"""Largest number of points of a plan in a space with choices or constraints."""
MOST_CANDIDATES = 10_000
"""Largest number of settings that a D-optimal design chooses from."""
LEAST = 0.1
"""A point drawn back by a constraint to less than this part of its distance is projected instead."""
POOL, SEQUENCE = 20, 4096
"""Random settings for each point that is placed far from the others; longest part of a Sobol' sequence."""
CROSSED = ("factorial", "central-composite", "box-behnken")
ON_AXES = ("axis", "farthest", "adaptive")


class DesignInside:
    """The plan of a design in a space."""

    def __init__(self, design: Design, space: Space) -> None:
        self.design, self.space = design, space
        followed = [item.name for item in space.numeric if item.name not in space.columns]
        self._numeric: tuple[Input, ...] = tuple(item for item in space.numeric if item.name not in followed)
        self._rows: Floats | None = None

    @cached_property
    def size(self) -> int:
        """Number of points of the plan.

        Raises:
            ConfigError: there is no such plan in this space, or it is too large.
        """
        design, kind = self.design, self.design.kind
        if self.space.constraints and kind == "box-behnken":
            text = "box-behnken leaves no room for constraints; take {kind: farthest} or {kind: factorial}"
            raise ConfigError(Problem(text, "kind"))
        if kind == "points":
            return len(design.points)  # type: ignore[attr-defined]
        if kind == "axis":
            return len(self.space.columns) + 1
        if kind == "d-optimal":
            return self._d_optimal_size
        blocks = len(self.space.region.codes)
        if self._numeric or kind in ON_AXES:
            size = design.size(self._numeric) * (blocks if kind in CROSSED else 1)
        else:
            size = blocks
        most = max((item for item in self.space.choices), key=lambda item: len(item.choices or ()), default=None)
        if most is not None and size < len(most.choices or ()):
            text = f"{size} points are fewer than the {len(most.choices or ())} choices of {most.name}; give more"
            raise ConfigError(Problem(text, "trials"))
        if size > MOST_POINTS:
            raise ConfigError(Problem(f"{size:,} points; at most {MOST_POINTS:,} with choices or constraints", "kind"))
        return len(self._crossed()) if kind in CROSSED and self.space.constraints else size

    def point(self, trial: int, taken: Floats, random: Random) -> Floats:
        """(p,) settings for `trial`, counted from 0; `taken` (n, p) were measured so far."""
        kind = self.design.kind
        if kind in ON_AXES and trial < min(self.size, len(self.space.columns) + 1):
            return self._axis(trial)
        if trial >= self.size:
            return self._farthest(taken, random(trial), self.space.region)
        if kind in ON_AXES:
            return self._farthest(taken, random(trial), self._narrowed)
        if kind in CROSSED or kind in ("latin-hypercube", "sobol", "d-optimal", "points"):
            if self._rows is None:
                self._rows = self._plan(random)
            return np.asarray(self._rows[trial], dtype=np.float64)
        mask = ~self.space.categorical
        own = self.design.point(trial, taken[:, mask], self._numeric, random) if self._numeric else np.zeros(0)
        return self._feasible(self._with_choices(own[None], np.array([trial]))[0])

    # The rows of whole plans ------------------------------------------------------------------------------------
    def _plan(self, random: Random) -> Floats:
        design: Any = self.design
        match design.kind:
            case "points":
                return np.array([self.space.encode(point) for point in design.points])
            case "d-optimal":
                return self._d_optimal(int(random(0).integers(2**63)))
            case "sobol" if self.space.constraints:
                return self._sobol(random(0))
            case "latin-hypercube" if self.space.constraints:
                return self._far_apart(self._pool(self.size, random(0)), np.zeros((0, len(self.space.columns))), 0)
            case "latin-hypercube" | "sobol":
                rows = self._numeric_rows(range(self.size), random)
                return self._with_choices(rows, np.arange(self.size))
        return self._crossed()

    def _crossed(self) -> Floats:
        """The whole design with every combination of choices, each feasible point once."""
        count = self.design.size(self._numeric) if self._numeric else 1
        rows = self._numeric_rows(range(count), lambda n: np.random.default_rng(n))
        codes = self.space.region.codes
        full = self._with_codes(np.tile(rows, (len(codes), 1)), np.repeat(codes, count, axis=0))
        if not self.space.constraints:
            return full
        settings = dict.fromkeys(tuple(self._feasible(row).tolist()) for row in full)
        return np.array(list(settings))

    def _numeric_rows(self, trials: range, random: Random) -> Floats:
        none = np.zeros((0, len(self._numeric)))
        if not self._numeric:
            return np.zeros((len(trials), 0))
        return np.array([self.design.point(trial, none, self._numeric, random) for trial in trials])

    def _sobol(self, rng: np.random.Generator) -> Floats:
        """The feasible points of the sequence, completed by points far from them."""
        low, high = self._levels
        unit = qmc.Sobol(len(self._numeric), rng=rng).random(SEQUENCE)
        start, width = (part[~self.space.categorical] for part in (self.space.low, self.space.width))
        rows = self._with_choices(start + (low + unit * (high - low)) * width, np.zeros(len(unit), dtype=np.intp))
        rows = rows[self.space.region.keeps(rows)][: self.size]
        rows = self._with_codes(rows[:, ~self.space.categorical], self._codes_of(np.arange(len(rows))))
        return self._far_apart(self._pool(self.size - len(rows), rng), rows, len(rows))

    def _pool(self, n: int, rng: np.random.Generator) -> Floats:
        return self._narrowed.sample(max(POOL * n, POOL) * len(self.space.region.codes), rng)

    def _far_apart(self, pool: Floats, rows: Floats, start: int) -> Floats:
        """(size, p) `rows`, then the points of the pool that are farthest from those before, the choices in turn."""
        for i in range(start, self.size):
            code = self._codes_of(np.array([i]))[0]
            mine = pool[(pool[:, self.space.categorical] == code[self.space.categorical]).all(axis=1)]
            far = self._distance(mine, rows)
            rows = np.vstack([rows, mine[int(far.argmax())]])
        return rows

    # D-optimal ---------------------------------------------------------------------------------------------------
    @cached_property
    def _candidates(self) -> Floats:
        """(N, p) the feasible combinations of levels and choices."""
        design: Any = self.design
        values = [
            self.space.low[self.space.columns.index(item.name)]
            + np.array(design.levels_of(item, design.levels)) * (item.high - item.low)
            for item in self._numeric
        ]
        codes = self.space.region.codes
        count = math.prod(map(len, values)) * len(codes)
        if count > MOST_CANDIDATES:
            raise ConfigError(Problem(f"{count:,} candidates; at most {MOST_CANDIDATES:,}", "levels"))
        grid = np.array(list(itertools.product(*values))).reshape(-1, len(self._numeric))
        rows = self._with_codes(np.tile(grid, (len(codes), 1)), np.repeat(codes, len(grid), axis=0))
        rows = np.array([self._feasible(row) for row in rows]) if self.space.constraints else rows
        return np.unique(rows, axis=0)

    @cached_property
    def _terms(self) -> Floats:
        """(N, q) independent terms of the model at the candidates."""
        design: Any = self.design
        unit = 2 * (self._candidates - self.space.low) / self.space.width - 1
        every = plans.terms(unit, design.model)
        kept: list[int] = []
        for j in range(every.shape[1]):  # squares of choices, and products of choices of one input, depend on others
            if np.linalg.matrix_rank(every[:, [*kept, j]], tol=1e-8 * len(every)) > len(kept):
                kept.append(j)
        return np.asarray(every[:, kept], dtype=np.float64)

    @cached_property
    def _d_optimal_size(self) -> int:
        design: Any = self.design
        needed = self._terms.shape[1]
        size = needed + 2 if design.trials is None else int(design.trials)
        if size < needed:
            text = f"a {design.model} model has {needed} coefficients here, so at least {needed} trials; not {size}"
            raise ConfigError(Problem(text, "trials"))
        return size

    def _d_optimal(self, seed: int) -> Floats:
        chosen: Ints = plans.exchange(self._terms, self.size, np.random.default_rng(seed))
        return self._candidates[chosen]

    # Single points -----------------------------------------------------------------------------------------------
    def _axis(self, trial: int) -> Floats:
        """The first point has all inputs low and the first choices; each other point has one column high."""
        space = self.space
        low, high = self._levels
        numeric = ~space.categorical
        first = space.low + np.where(numeric, low, 0.0) * space.width
        start = self._feasible(first)
        if trial == 0:
            return start
        column, end = trial - 1, start.copy()
        if space.categorical[column]:
            name = space.columns[column].partition("=")[0]
            own = [j for j, text in enumerate(space.columns) if space.categorical[j] and text.startswith(f"{name}=")]
            end[own] = 0.0
            end[column] = 1.0
            return self._feasible(end)
        end[column] = space.low[column] + high * space.width[column]
        rate = space.region.A @ (end - start)
        left = np.maximum(space.region.b - space.region.A @ start, 0.0)
        part = float(np.where(rate > 0, left / np.where(rate > 0, rate, 1.0), np.inf).min(initial=1.0))
        return self._feasible(start + part * (end - start) if part >= LEAST else end)

    def _farthest(self, taken: Floats, rng: np.random.Generator, region: Region) -> Floats:
        """The one of 256 random feasible points that is farthest from the rows `taken` (n, p)."""
        pool = region.sample(256, rng)
        return self._feasible(pool[int(self._distance(pool, taken).argmax())])

    def _distance(self, rows: Floats, taken: Floats) -> Floats:
        """(n,) distance of each row from the nearest one taken; 1 where none is."""
        if not len(taken):
            return np.ones(len(rows))
        scale = self.space.width
        return np.asarray(cdist(rows / scale, taken / scale).min(axis=1), dtype=np.float64)

    def _feasible(self, row: Floats) -> Floats:
        return self.space.encode(self.space.project(self.space.decode(self.space.region.project(row)))[0])

    # Levels and choices ------------------------------------------------------------------------------------------
    @property
    def _levels(self) -> tuple[float, float]:
        """Low and high level of the design, as fractions of the range."""
        return float(getattr(self.design, "low", 0.0)), float(getattr(self.design, "high", 1.0))

    @cached_property
    def _narrowed(self) -> Region:
        """The region between the low and the high level, or all of it where that is empty."""
        region, (low, high) = self.space.region, self._levels
        width = np.where(region.categorical, 0.0, region.high - region.low)
        narrow = replace(region, low=region.low + low * width, high=region.high - (1 - high) * width)
        block = next(narrow.blocks())
        return narrow if polytope.centre(block.low, block.high, block.A, block.b) is not None else region

    def _codes_of(self, trials: Ints) -> Floats:
        """(n, p) columns of the choices of trials.

        The choices of each input take turns, shifted by one each time that they have met the same combinations of the
        inputs before. So every combination occurs before one occurs again.
        """
        codes, combinations = np.zeros((len(trials), len(self.space.columns))), 1
        for item in self.space.choices:
            texts = item.choices or ()
            period = min(math.lcm(combinations, len(texts)), sys.maxsize)  # numpy has no larger numbers
            shift = trials // period % math.gcd(combinations, len(texts))
            turn = (trials + shift) % len(texts)
            combinations *= len(texts)
            for j, text in enumerate(texts[1:], 1):
                codes[turn == j, self.space.columns.index(f"{item.name}={text}")] = 1.0
        return codes

    def _with_choices(self, numeric: Floats, trials: Ints) -> Floats:
        """(n, p) rows of numbers (n, d) with the choices of these trials."""
        return self._with_codes(numeric, self._codes_of(trials))

    def _with_codes(self, numeric: Floats, codes: Floats) -> Floats:
        rows = codes.copy()
        rows[:, ~self.space.categorical] = numeric
        return rows
