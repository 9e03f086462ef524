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


@dataclass(frozen=True)
class Quadratic:
    """A quadratic surface by least squares; fewer terms where rows are few."""

    kind: str = "quadratic surface"

    def fit(self, data: Data) -> _Asked:
        return _Asked(self, *_usable(data, data.X.shape[1] + 1))

    def answer(
        self, X: Floats, Y: Floats, value: Floats, ends: tuple[Floats, Floats], rng: np.random.Generator
    ) -> Floats:
        def terms(U: Floats) -> Floats:
            d = U.shape[1]
            pairs = [U[:, i] * U[:, j] for i in range(d) for j in range(i, d)]
            squares = [U[:, i] ** 2 for i in range(d)]
            for extra in (pairs, squares):
                if 1 + d + len(extra) < len(X):
                    return np.column_stack([np.ones(len(U)), U, *extra])
            return np.column_stack([np.ones(len(U)), U])

        weights = np.linalg.lstsq(terms(X), Y, rcond=None)[0]
        return inverted(lambda U: terms(U) @ weights, X, Y, value, ends, rng)


@dataclass(frozen=True)
class ArdGP:
    """scikit-learn's Gaussian process, a length scale for each input, for each channel; its mean inverted."""

    log: bool = False
    kind: str = "ARD GP"

    def fit(self, data: Data) -> _Asked:
        return _Asked(self, *_usable(data, 2))

    def answer(
        self, X: Floats, Y: Floats, value: Floats, ends: tuple[Floats, Floats], rng: np.random.Generator
    ) -> Floats:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        low, high = ends
        Z = np.log(np.maximum(Y, 1.0)) if self.log else Y
        d = X.shape[1]
        kernel = ConstantKernel(1.0, (1e-3, 1e5)) * RBF(np.ones(d), (0.05, 100.0)) + WhiteKernel(1e-4, (1e-9, 1.0))
        models = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a bound of the kernel was touched
            for z in Z.T:
                model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=1, random_state=0)
                models.append(model.fit((X - low) / (high - low), z))

        def mean(U: Floats) -> Floats:
            z = np.column_stack([model.predict((U - low) / (high - low)) for model in models])
            return np.exp(z) if self.log else z

        return inverted(mean, X, Y, value, ends, rng)


@dataclass(frozen=True)
class Composite:
    """BoTorch: a Gaussian process for each channel, expected improvement of minus the sum of squared relative misses.

    Needs the environment of benchmarks/requirements-botorch.txt (Astudillo & Frazier, ICML 2019).
    """

    kind: str = "BoTorch composite"

    def fit(self, data: Data) -> _Asked:
        return _Asked(self, *_usable(data, 2))

    def answer(
        self, X: Floats, Y: Floats, value: Floats, ends: tuple[Floats, Floats], rng: np.random.Generator
    ) -> Floats:
        import torch
        from botorch.acquisition.logei import qLogExpectedImprovement
        from botorch.acquisition.objective import GenericMCObjective
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.models.transforms import Normalize, Standardize
        from botorch.optim import optimize_acqf
        from botorch.sampling.normal import SobolQMCNormalSampler
        from gpytorch.mlls import ExactMarginalLogLikelihood

        torch.manual_seed(int(rng.integers(2**31)))
        bounds, x, y = torch.tensor(np.stack(ends)), torch.tensor(X), torch.tensor(Y / value)
        d, m = X.shape[1], Y.shape[1]
        model = SingleTaskGP(x, y, input_transform=Normalize(d, bounds=bounds), outcome_transform=Standardize(m))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        score = GenericMCObjective(lambda samples, X=None: -((samples - 1.0) ** 2).sum(dim=-1))
        best, sampler = score(y).max(), SobolQMCNormalSampler(torch.Size([128]))
        gain = qLogExpectedImprovement(model, best_f=best, sampler=sampler, objective=score)
        found, _ = optimize_acqf(gain, bounds, q=1, num_restarts=8, raw_samples=256)
        return np.asarray(found[0].numpy(), dtype=float)


def inverted(
    mean: Any, X: Floats, Y: Floats, value: Floats, ends: tuple[Floats, Floats], rng: np.random.Generator
) -> Floats:
    """(d,) settings at which `mean` (k, d) -> (k, m) comes nearest to a goal, from the 3 nearest rows and 5 others."""
    from scipy.optimize import least_squares

    low, high = ends
    starts = X[np.argsort((np.abs(Y / value - 1) ** 2).sum(axis=1))[:3]]
    starts = np.clip(np.vstack([starts, rng.uniform(low, high, (5, len(low)))]), low, high)
    step = 1e-5 * (high - low)

    def miss(x: Floats) -> Floats:
        return np.asarray(mean(x[None])[0] / value - 1)

    def slope(x: Floats) -> Floats:
        side = np.where(x + step > high, -step, step)
        all_at_once = mean(np.vstack([x, x + np.diag(side)]))
        return np.asarray(((all_at_once[1:] - all_at_once[0]) / side[:, None] / value).T)

    found = [least_squares(miss, x, slope, bounds=(low, high), max_nfev=50) for x in starts]
    return np.asarray(min(found, key=lambda one: one.cost).x, dtype=float)


BASELINES: dict[str, Any] = {
    "textbook broyden": Broyden,
    "ei": ExpectedImprovement,
    "textbook quadratic": Quadratic,
    "ard": ArdGP,
    "ard log": lambda: ArdGP(log=True, kind="ARD GP on logarithms"),
    "botorch": Composite,
}


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
