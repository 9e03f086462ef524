"""A Gaussian process on the readings: a line, and a smooth nonlinear part for each input (scikit-learn).

    y_c = line(u) + sum_j f_j(u_j) + noise        u: settings in units of their bounds

f_j is a process with the covariance (A s_cj)² exp(-(u_j - u'_j)² / 2 l²), s_cj what the input
contributes to the channel over its range: an input with little effect on a channel can add little to it. Because the
parts add up, a point that was measured for one goal teaches all curves. A, l, the level of the noise and its shape
(`sdl.models.noise`) are the most probable of a small grid, all channels of the goal taken together. The level of each
channel is then found near the common one. Four points do not determine A: its prior gives the expected nonlinearity.
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), sections 2.2 and 5.4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

from sdl.arrays import Bools, Floats
from sdl.models.data import Data, Proposals, Targets
from sdl.models.linear_model import t_factor
from sdl.models.noise import FLOOR, SHAPES, Shape, variance_of
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space

NONLINEARITIES = (
    (0.0, 1.0, 0.35),
    (0.01, 1.0, 0.1),
    (0.05, 0.5, 0.125),
    (0.05, 1.0, 0.125),
    (0.2, 0.5, 0.1),
    (0.2, 1.0, 0.1),
    (0.8, 2.0, 0.1),
)
"""A, in parts of an input's contribution, l, and how probable they are before anything is measured."""
NOISES = tuple(0.0003 * 1.4**i for i in range(14))
"""Level of the noise, as the standard deviation in the middle of the range, in parts of the channel's response."""
ALIKE = 0.25
"""How far the noise of one channel is from that of them all: standard deviation of its logarithm."""
STEPS = 25


def fit_additive_gp(data: Data, *, rows: int = 200) -> FittedAdditiveGp:
    """Finds the most probable nonlinearity and noise, and conditions a process for each channel of the goal.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    training = TrainingSet.from_data(data)
    U, goal = training.U[-rows:], training.goal
    Y = training.Y[-rows:][:, goal]
    slope = training.linear.slope[goal]
    # What the slopes leave of the readings' range is nonlinear: any input may have caused it.
    unexplained = np.maximum(np.ptp(Y, axis=0) - np.abs(slope).sum(axis=1), 0.0) / slope.shape[1]
    contribution = np.maximum(np.abs(slope) + unexplained[:, None], 1e-12)  # without any response no channel moves
    response = contribution.sum(axis=1)
    share = contribution / response[:, None]
    centre = Y.mean(axis=0)
    Z = (Y - centre) / response
    sizes = {shape: _variance(U, Y / response, share, shape) for shape in SHAPES}
    shape, nonlinearity, length, noise = max(
        (_likeliest(U, Z, sizes[shape], share, shape) for shape in SHAPES), key=lambda found: found[0]
    )[1]
    models = []
    for c in range(len(goal)):
        kernel = _kernel(nonlinearity * share[c], length)
        model = GaussianProcessRegressor(kernel, alpha=noise[c] ** 2 * sizes[shape][:, c] + 1e-12, optimizer=None)
        models.append(model.fit(U, Z[:, c]))
    return FittedAdditiveGp(training, tuple(models), centre, response, share, nonlinearity, noise, shape)


@dataclass(frozen=True)
class FittedAdditiveGp:
    """A process for each channel of the goal, of readings less `centre` in units of `response` (g,)."""

    training: TrainingSet
    models: tuple[Any, ...]
    centre: Floats
    response: Floats
    share: Floats
    nonlinearity: float
    noise: Floats
    shape: Shape

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        ends = self.training.bounds(space)
        settings, std_errors = [], []
        for parts in zip(*targets, strict=True):
            target = self.training.activate_limits(Targets(*parts), *ends)
            u = self._search(target, *ends)
            settings.append(u)
            std_errors.append(self._std_errors(u, np.isfinite(target.value[self.training.goal])))
        U = np.array(settings)
        spread, uncertainty = np.swapaxes(np.array(std_errors), 0, 1)
        expected = self.predict(self.training.settings(U))[0]
        name = f"Gaussian process, nonlinearity {100 * self.nonlinearity:.0f} %"
        return to_proposals(self.training, name, U, (spread, uncertainty), targets, space, expected, prefers=True)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d); NaN for channels not of the goal."""
        mean, std = (np.full((len(X), len(self.training.channels)), np.nan) for _ in range(2))
        U = self.training.units(X)
        for c, model in enumerate(self.models):
            z, std_error = model.predict(U, return_std=True)
            mean[:, self.training.goal[c]] = self.centre[c] + self.response[c] * z
            std[:, self.training.goal[c]] = self.response[c] * np.hypot(std_error, self._noise(U, z, c))
        return mean, std

    def _noise(self, U: Floats, z: Floats, c: int) -> Floats:
        """(k,) standard deviation of one reading of a channel at settings U (k, d), z (k,) being its mean there."""
        part = (z + self.centre[c] / self.response[c])[:, None]
        noise: Floats = self.noise[c] * np.sqrt(_variance(U, part, self.share[c : c + 1], self.shape)[:, 0])
        return noise

    def _mean(self, U: Floats) -> Floats:
        """(k, g) readings in units of the response."""
        return np.column_stack([model.predict(U) for model in self.models])

    def _slope(self, u: Floats) -> tuple[Floats, Floats]:
        """(g,) readings at u (d,) and (g, d) their derivatives."""
        step = 1e-4 * np.eye(len(u))
        mean = self._mean(np.vstack([u, u + step, u - step]))
        d = len(u)
        return mean[0], (mean[1 : d + 1] - mean[d + 1 :]).T / 2e-4

    def _search(self, target: Targets, low: Floats, high: Floats) -> Floats:
        """(d,) settings inside low…high whose readings come nearest to the goal, from where the line would have it."""
        goal = self.training.goal
        use = np.isfinite(target.value[goal])
        best = self.training.nearest(target, low, high)
        if not use.any():
            return best
        target_scaled = ((target.value[goal] - self.centre) / self.response)[use]
        scale = (self.training.tolerance_scale(target)[goal] / self.response)[use]
        radius = 0.5
        at, slope = self._slope(best)
        gap = (target_scaled - at[use]) / scale
        for _ in range(STEPS):
            ends = np.maximum(low - best, -radius) - 1e-12, np.minimum(high - best, radius) + 1e-12
            step = lsq_linear(slope[use] / scale[:, None], gap, ends, method="bvls").x
            trial = np.clip(best + step, low, high)
            at, steeper = self._slope(trial)
            remaining = (target_scaled - at[use]) / scale
            if remaining @ remaining < gap @ gap:
                best, gap, slope = trial, remaining, steeper
                if np.abs(step).max() < 1e-7:
                    break
            else:
                radius = np.abs(step).max() / 4
                if radius < 1e-7:
                    break
        return best

    def _at(self, u: Floats) -> list[tuple[Any, Any]]:
        """Mean and standard error of each channel of the goal at settings (d,), in units of the response."""
        predictions = [model.predict(u[None], return_std=True) for model in self.models]
        return [(mean[0], std_error[0]) for mean, std_error in predictions]

    def _std_errors(self, u: Floats, use: Bools) -> tuple[Floats, Floats]:
        """Spread and uncertainty (d,) of the settings u (d,), by the delta method."""
        if not use.any():
            unknown = np.full(len(u), np.nan)
            return unknown, unknown
        slope = self._slope(u)[1][use]
        mean, model = (np.array(p)[use] for p in zip(*self._at(u), strict=True))
        noise = np.array(
            [self._noise(u[None], z[None], c)[0] for c, z in zip(np.flatnonzero(use).tolist(), mean, strict=True)]
        )
        scale = np.maximum(noise, 1e-9)[:, None]
        inverse = np.linalg.pinv(slope / scale, rcond=1e-4) / scale.T
        factor = t_factor(self.training.linear.dof[self.training.goal][use].min())
        spread = factor * np.sqrt((inverse**2) @ (noise**2 + model**2))
        return spread, factor * np.sqrt((inverse**2) @ model**2)


def _kernel(nonlinearity: Floats, length: float) -> Any:
    """A line of unknown slope and offset, and a nonlinear part (d,) for each input."""
    kernel = ConstantKernel(4.0) * DotProduct(1.0)
    for j, amplitude in enumerate(nonlinearity):
        if amplitude > 0:
            lengths = np.full(len(nonlinearity), 1e6)  # all other inputs do not matter to this one
            lengths[j] = length
            kernel = kernel + ConstantKernel(amplitude**2, "fixed") * RBF(lengths)
    return kernel


def _variance(U: Floats, part: Floats, share: Floats, shape: Shape) -> Floats:
    """(n, g) variance of one reading, about 1 in mid-range, at settings (n, d); it is `part` (n, g) of the response."""
    variance = variance_of(shape, U, part, share)
    if shape == "proportional":
        return 4.0 * variance
    scaled: Floats = variance / ((0.25 + FLOOR) * (share**2).sum(axis=1))
    return scaled


def _likeliest(
    U: Floats, Z: Floats, size: Floats, share: Floats, shape: Shape
) -> tuple[float, tuple[Shape, float, float, Floats]]:
    """The most probable nonlinearity, length and noise (g,) given the columns of Z (n, g), and their score.

    `size` (n, g) is the variance of the readings' noise, up to a factor, that goes with its `shape`.
    """
    line = 4.0 * (1.0 + U @ U.T)
    away = (U[:, None] - U[None]) ** 2  # (n, n, d)
    noises = np.array(NOISES)
    best, parameters = -np.inf, (shape, 0.0, 1.0, np.full(Z.shape[1], 0.002))
    for nonlinearity, length, chance in NONLINEARITIES:
        curves = np.exp(-0.5 * away / length**2)
        each = np.zeros((Z.shape[1], len(noises)))
        for c in range(Z.shape[1]):
            root = 1.0 / np.sqrt(size[:, c])
            covariance = line + curves @ (nonlinearity * share[c]) ** 2
            values, vectors = np.linalg.eigh(root[:, None] * covariance * root)
            power = (vectors.T @ (root * Z[:, c])) ** 2
            variance = np.maximum(values, 0.0)[None] + noises[:, None] ** 2
            each[c] = -0.5 * ((power / variance + np.log(variance)).sum(axis=1) + np.log(size[:, c]).sum())
        score = each.sum(axis=0) + np.log(chance) - 0.5 * (np.log(noises / 0.0025) / 0.7) ** 2
        if score.max() > best:
            common = _between(noises, score)
            own = each - 0.5 * (np.log(noises / common) / ALIKE) ** 2
            best = float(score.max())
            parameters = (shape, nonlinearity, length, np.array([_between(noises, one) for one in own]))
    return best, parameters


def _between(noises: Floats, score: Floats) -> float:
    """The most probable noise: where the parabola through the best level and its neighbours is highest."""
    i = int(np.clip(score.argmax(), 1, len(noises) - 2))
    before, at, after = score[i - 1 : i + 2]
    curvature = before - 2 * at + after
    shift = (
        float(np.clip(0.5 * (before - after) / curvature, -1.0, 1.0)) if curvature < 0 else float(score.argmax() - i)
    )
    return float(noises[i] * (noises[i + 1] / noises[i]) ** shift)
