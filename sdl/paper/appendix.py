"""The paper's appendix: what conditioning does, what a transformation does, and what models say where no data is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfinv
from scipy.stats import kstest

from sdl.arrays import Floats
from sdl.paper.published import CORRELATION, GAUSSIAN_DRAWS, QUICK, SLICE
from sdl.paper.work import Tell

if TYPE_CHECKING:
    from sdl.solvers.base import Data


COMPONENTS = 4
"""Gaussians on the parabola (section 5.5.1)."""
FOREST = {"kind": "forest", "trend": "none", "n_t": 50, "duplicate_K": 100, "n_estimators": 100}


@dataclass(frozen=True)
class Gaussian:
    """Two variables that go together, and one of them given the other (section 5.3).

    Attributes:
        points: (n, 2) draws of x and y.
        near: (n,) which of them count as y = 1.
        sampled: mean and standard deviation of x, of all points and then of those near y = 1.
        solved: the same of x given y = 1 by our solver, a joint Gaussian.
        exact: and by the formula.
    """

    points: Floats
    near: NDArray[np.bool_]
    sampled: tuple[float, float, float, float]
    solved: tuple[float, float]
    exact: tuple[float, float]


@dataclass(frozen=True)
class Transformed:
    """A uniform variable made into a Gaussian one (section 5.4).

    Attributes:
        before, after: (n,) draws.
        mean, sd: of `after`.
        distance: largest difference between its distribution and the Gaussian one (Kolmogorov and Smirnov).
    """

    before: Floats
    after: Floats
    mean: float
    sd: float
    distance: float


@dataclass(frozen=True)
class Parabola:
    """y = x² with a hole in the middle of the data, and what models make of it (section 5.5).

    Attributes:
        x, y: (n,) the data.
        grid: (k,) where the models are asked.
        mixture: (k,) readings expected by the mixture: the mean of its Gaussians.
        likeliest: (k,) by the likeliest Gaussian alone, which is what our solver answers with.
        forest: (k,) a draw of ForestDiffusion at each.
        gp, gp_sd: (k,) our Gaussian process, and its standard deviation of one reading.
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
class Beside:
    """The three together."""

    gaussian: Gaussian
    transformed: Transformed
    parabola: Parabola


def show(*, seed: int = 0, quick: bool = False, tell: Tell = lambda _: None) -> Beside:
    """The appendix, sections 5.3 to 5.5; seeds and `tell` as for `work.find`."""
    rng = np.random.default_rng([seed, 1, 1])
    tell("two Gaussians")
    first, second = condition(rng), transform(rng)
    tell("the parabola")
    return Beside(first, second, parabola(rng, quick))


def condition(rng: np.random.Generator) -> Gaussian:
    """Figure 8."""
    import sdl

    points = rng.multivariate_normal([0.0, 0.0], [[1.0, CORRELATION], [CORRELATION, 1.0]], GAUSSIAN_DRAWS)
    x, y = points.T
    near = (y > SLICE[0]) & (y < SLICE[1])
    found = sdl.solve(x, y, [1.0], {"kind": "gmm", "trend": "none"})
    return Gaussian(
        points,
        near,
        (float(x.mean()), float(x.std()), float(x[near].mean()), float(x[near].std())),
        (float(found.raw[0]), float(found.spread[0])),
        (CORRELATION, float(np.sqrt(1.0 - CORRELATION**2))),
    )


def transform(rng: np.random.Generator) -> Transformed:
    """Figure 9: through the inverse of the Gaussian's distribution function."""
    before = rng.uniform(size=GAUSSIAN_DRAWS)
    after = np.sqrt(2.0) * erfinv(2.0 * before - 1.0)
    return Transformed(before, after, float(after.mean()), float(after.std()), float(kstest(after, "norm").statistic))


def parabola(rng: np.random.Generator, quick: bool = False) -> Parabola:
    """Figures 10 and 11: forwards with the mixture, with the roles of x and y exchanged for the forest."""
    grid = np.linspace(-5.0, 5.0, 150)
    seen = ((grid > -4) & (grid < -2)) | ((grid > 2) & (grid < 4))
    x = grid[seen]
    y = x * x
    fitted = _fit({"kind": "gmm", "components": COMPONENTS}, x, y)
    columns = (fitted.training.units(grid[:, None]) - fitted.mean[:1]) / fitted.scale[:1]
    blended = fitted.mixture.predict(np.array([0]), columns)[:, 0] * fitted.scale[1] + fitted.mean[1]
    process, process_sd = _fit({"kind": "gp"}, x, y).predict(grid[:, None])
    trees = _fit(FOREST | (QUICK if quick else {}), y, x)
    drawn = np.array([trees.sample(np.array([value]), 1, rng)[0, 0] for value in grid])
    likeliest = fitted.predict(grid[:, None])[0][:, 0]
    return Parabola(x, y, grid, np.asarray(blended), likeliest, drawn, process[:, 0], process_sd[:, 0])


def _fit(options: Mapping[str, Any], settings: Floats, readings: Floats) -> Any:
    from sdl.config import parse_kind

    return parse_kind("solver", options).fit(_data(settings, readings))


def _data(settings: Floats, readings: Floats) -> Data:
    """One input and one channel."""
    from sdl.solvers.base import Data
    from sdl.types import Channel, Input

    n = len(settings)
    return Data(
        settings[:, None],
        readings[:, None],
        np.zeros((n, 1), bool),
        np.ones(1, bool),
        np.arange(n - 1, -1, -1, dtype=float),
        np.zeros(n),
        (Input(name="x", low=float(settings.min()), high=float(settings.max())),),
        (Channel(name="y", unit=""),),
    )
