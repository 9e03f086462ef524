"""What a user could pick instead of a solver of `sdl`: baselines, measured beside them in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdl.errors import Degenerate, NotEnoughData
from sdl.solvers.base import Data, Proposals, Targets
from sdl.space import Space
from sdl.types import Verdict

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ExpectedImprovement:
    """Plain Bayesian optimization: a Gaussian process on one scalar, the goal's mean relative error, and EI.

    The acquisition is maximised over 1000 random settings and 500 around the best ones so far.
    """

    kind: str = "EI on a scalar"

    def fit(self, data: Data) -> _Asked:
        return _Asked(self, *_usable(data, 2))

    def answer(
        self, X: Floats, Y: Floats, value: Floats, ends: tuple[Floats, Floats], rng: np.random.Generator
    ) -> Floats:
        import warnings

        from scipy.stats import norm
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        low, high = ends
        error = np.abs(Y / value - 1).mean(axis=1)
        mean, scale = error.mean(), error.std() or 1.0
        d = X.shape[1]
        kernel = ConstantKernel(1.0) * Matern(np.ones(d), (0.05, 20.0), nu=2.5) + WhiteKernel(1e-3, (1e-8, 1.0))
        model = GaussianProcessRegressor(kernel, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a bound of the kernel was touched
            model.fit((X - low) / (high - low), (error - mean) / scale)
        near = X[np.argsort(error)[:5]].repeat(100, axis=0)
        near = near + 0.05 * (high - low) * rng.normal(size=near.shape)
        candidates = np.clip(np.vstack([rng.uniform(low, high, (1000, d)), near]), low, high)
        guess, doubt = model.predict((candidates - low) / (high - low), return_std=True)
        gain = (error.min() - mean) / scale - guess
        z = gain / np.maximum(doubt, 1e-12)
        return np.asarray(candidates[np.argmax(gain * norm.cdf(z) + doubt * norm.pdf(z))], dtype=float)


@dataclass(frozen=True)
class Broyden:
    """Undamped secant steps: a Jacobian from the first inputs + 1 rows, a rank-one update with each further one."""

    kind: str = "Broyden"

    def fit(self, data: Data) -> _Asked:
        return _Asked(self, *_usable(data, data.X.shape[1] + 1))

    def answer(
        self, X: Floats, Y: Floats, value: Floats, ends: tuple[Floats, Floats], rng: np.random.Generator
    ) -> Floats:
        n = X.shape[1] + 1
        design = np.column_stack([np.ones(n), X[:n]])
        jacobian = np.linalg.lstsq(design, Y[:n], rcond=None)[0][1:].T
        for i in range(n, len(X)):
            step = X[i] - X[i - 1]
            if (length := float(step @ step)) > 1e-18:
                jacobian = jacobian + np.outer(Y[i] - Y[i - 1] - jacobian @ step, step) / length
        return np.clip(X[-1] + np.linalg.pinv(jacobian, rcond=1e-6) @ (value - Y[-1]), *ends)


BASELINES: dict[str, Any] = {"broyden": Broyden, "ei": ExpectedImprovement}


@dataclass(frozen=True)
class _Asked:
    solver: Any
    X: Floats
    Y: Floats
    goal: NDArray[np.intp]

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        value = targets.value[:, self.goal]
        settings = np.array([self.solver.answer(self.X, self.Y, v, (space.low, space.high), rng) for v in value])
        unknown = np.full(settings.shape, np.nan)
        k = len(settings)
        return Proposals(settings, unknown, unknown, None, (Verdict.REACHABLE,) * k, (self.solver.kind,) * k)


def _usable(data: Data, need: int) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """The rows that hold every channel of the goal below saturation."""
    goal = np.flatnonzero(data.goal)
    keep = np.isfinite(data.Y[:, goal]).all(axis=1) & ~data.saturated[:, goal].any(axis=1)
    if (n := int(keep.sum())) < need:
        raise NotEnoughData(n, need, "usable rows")
    if (np.ptp(data.X[keep], axis=0) < 1e-9).any():
        raise Degenerate("an input never changed")
    return data.X[keep], data.Y[keep][:, goal], goal
