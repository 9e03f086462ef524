"""The paper's appendix: conditioning, a transformation, and models where there are no data (sections 5.3 to 5.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erfinv
from scipy.stats import kstest

import sdl
from sdl.arrays import Bools, Floats
from sdl.config import parse_kind
from sdl.paper.answers import Tell
from sdl.paper.published import CORRELATION, GAUSSIAN_DRAWS, QUICK, SLICE
from sdl.solvers.base import Data
from sdl.types import Channel, Input

COMPONENTS = 4  # Gaussians on the parabola (section 5.5.1)
FOREST = {"kind": "forest", "trend": "none", "n_t": 50, "duplicate_K": 100, "n_estimators": 100}


@dataclass(frozen=True)
class Conditioned:
    """Two correlated variables, and one of them given the other (section 5.3).

    Attributes:
        points: (n, 2) draws of x and y.
        near: (n,) whether y is near 1.
        sampled: mean and standard deviation of x in all points, then in those with y near 1.
        solved: mean and standard deviation of x given y = 1 by our solver gmm.
        exact: the same by the formula.
    """

    points: Floats
    near: Bools
    sampled: tuple[float, float, float, float]
    solved: tuple[float, float]
    exact: tuple[float, float]


@dataclass(frozen=True)
class Transformed:
    """A uniform variable transformed into a Gaussian one (section 5.4).

    Attributes:
        before, after: (n,) draws.
        mean, sd: mean and standard deviation of `after`.
        distance: Kolmogorov–Smirnov distance of `after` from the standard Gaussian.
    """

    before: Floats
    after: Floats
    mean: float
    sd: float
    distance: float


@dataclass(frozen=True)
class Parabola:
    """Models of y = x², fitted to data with gaps (section 5.5).

    Attributes:
        x, y: (n,) data.
        grid: (k,) where the models are evaluated.
        mixture: (k,) expected y by the mixture, the mean over its Gaussians.
        likeliest: (k,) y by the likeliest Gaussian alone, as our solver answers.
        forest: (k,) one draw of ForestDiffusion each.
        gp, gp_sd: (k,) our Gaussian process, and the standard deviation of one reading.
    """

    x: Floats
    y: Floats
    grid: Floats
    mixture: Floats
    likeliest: Floats
    forest: Floats
    gp: Floats
    gp_sd: Floats


@dataclass(frozen=True)
class Appendix:
    """All results of the appendix."""

    gaussian: Conditioned
    transformed: Transformed
    parabola: Parabola


def compute(*, seed: int = 0, quick: bool = False, tell: Tell = lambda _: None) -> Appendix:
    """The results of sections 5.3 to 5.5; arguments as in `answers.answer_all`."""
    rng = np.random.default_rng([seed, 1, 1])
    tell("two Gaussians")
    first, second = condition(rng), transform(rng)
    tell("the parabola")
    return Appendix(first, second, parabola(rng, quick))


def condition(rng: np.random.Generator) -> Conditioned:
    """Two correlated variables, and one of them given the other (figure 8)."""
    points = rng.multivariate_normal([0.0, 0.0], [[1.0, CORRELATION], [CORRELATION, 1.0]], GAUSSIAN_DRAWS)
    x, y = points.T
    near = (y > SLICE[0]) & (y < SLICE[1])
    answer = sdl.solve(x, y, [1.0], {"kind": "gmm", "trend": "none"})
    return Conditioned(
        points,
        near,
        (float(x.mean()), float(x.std()), float(x[near].mean()), float(x[near].std())),
        (float(answer.raw[0]), float(answer.spread[0])),
        (CORRELATION, float(np.sqrt(1.0 - CORRELATION**2))),
    )


def transform(rng: np.random.Generator) -> Transformed:
    """A uniform variable transformed by the inverse of the Gaussian distribution function (figure 9)."""
    before = rng.uniform(size=GAUSSIAN_DRAWS)
    after = np.sqrt(2.0) * erfinv(2.0 * before - 1.0)
    return Transformed(before, after, float(after.mean()), float(after.std()), float(kstest(after, "norm").statistic))


def parabola(rng: np.random.Generator, quick: bool = False) -> Parabola:
    """Models of a parabola (figures 10 and 11); the forest is fitted with x and y exchanged."""
    grid = np.linspace(-5.0, 5.0, 150)
    x = grid[(np.abs(grid) > 2) & (np.abs(grid) < 4)]
    y = x * x
    fitted = _fit({"kind": "gmm", "components": COMPONENTS}, x, y)
    columns = (fitted.training.units(grid[:, None]) - fitted.mean[:1]) / fitted.scale[:1]
    mixture = fitted.mixture.predict(np.array([0]), columns)[:, 0] * fitted.scale[1] + fitted.mean[1]
    gp, gp_sd = _fit({"kind": "gp"}, x, y).predict(grid[:, None])
    forest = _fit(FOREST | (QUICK if quick else {}), y, x)
    drawn = np.array([forest.sample(np.array([value]), 1, rng)[0, 0] for value in grid])
    likeliest = fitted.predict(grid[:, None])[0][:, 0]
    return Parabola(x, y, grid, np.asarray(mixture), likeliest, drawn, gp[:, 0], gp_sd[:, 0])


def _fit(options: Mapping[str, Any], settings: Floats, readings: Floats) -> Any:
    """A solver fitted to (n,) settings and readings of one input and one channel."""
    n = len(settings)
    return parse_kind("solver", options).fit(
        Data(
            settings[:, None],
            readings[:, None],
            np.zeros((n, 1), bool),
            np.ones(1, bool),
            np.arange(n - 1, -1, -1, dtype=float),
            np.zeros(n),
            (Input(name="x", low=float(settings.min()), high=float(settings.max())),),
            (Channel(name="y", unit=""),),
        )
    )
