"""From a measured pair to the goal along a path: the complementary approach that the paper recalls in its introduction.

Readings y0 were measured at the settings x0. On the straight line from y0 to the goal y1 the settings obey

    dx/ds = J⁺(x) (y1 - y0),    x(0) = x0,    s from 0 to 1,

J being the derivatives of a forward model, J⁺ their pseudo-inverse with readings counted in tolerances (for more inputs
than readings the shortest step, for fewer the least squares). Integrating it maps connected inputs and outputs onto
each other and leads to the solution that hangs together with x0, where a search might end up on another branch.
Kitchin et al., Digital Discovery 2025, 10.1039/D5DD00137D, section 1; Davidenko, Dokl. Akad. Nauk SSSR 88 (1953) 601;
Allgower and Georg, Numerical Continuation Methods (1990), chapter 2.

Because it starts from readings and not from the model's idea of them, what the model has wrong cancels close to the
goal; for the same reason the noise of these readings stays in the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from sdl.arrays import Bools, Floats, Ints
from sdl.errors import NotEnoughData
from sdl.models.data import Data, Proposals, Targets
from sdl.models.forward_models import FittedModel, ForwardKind, fit_forward
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space

STEP = 1e-4
"""Of the finite differences, as a part of the range."""
FLAT = 1e-4
"""Directions that change the readings by less, relative to the strongest one, are left alone."""


def fit_continuation(data: Data, *, model: ForwardKind = "gp", precision: float = 1e-5) -> FittedContinuation:
    """Fits the forward model.

    Raises:
        NotEnoughData, Degenerate: as the forward model does, or there is no measured pair to start from.
    """
    fitted = fit_forward(model, data)
    training = fitted.training
    complete = training.usable[:, training.goal].all(axis=1)
    if not complete.any():
        raise NotEnoughData(0, 1, "usable rows to start from")
    return FittedContinuation(model, precision, fitted, training, tuple(item.name for item in data.inputs))


@dataclass(frozen=True)
class FittedContinuation:
    """A forward model and the rows it was fitted on."""

    kind: ForwardKind
    precision: float
    model: FittedModel
    training: TrainingSet
    inputs: tuple[str, ...]

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        ends = self.training.bounds(space)
        settings, std_errors, notes = [], [], []
        for parts in zip(*targets, strict=True):
            u, pair, note = self._answer(self.training.activate_limits(Targets(*parts), *ends), *ends)
            settings.append(u)
            std_errors.append(pair)
            notes.append(note)
        U = np.array(settings)
        spread, uncertainty = np.swapaxes(np.array(std_errors), 0, 1)
        expected = self.model.predict(self.training.settings(U))[0]
        name = f"continuation with the derivatives of {self.kind}"
        return to_proposals(self.training, name, U, (spread, uncertainty), targets, space, expected, notes)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        return self.model.predict(X)

    def _answer(self, target: Targets, low: Floats, high: Floats) -> tuple[Floats, tuple[Floats, Floats], str]:
        """Settings (d,) for one goal, their spread and uncertainty, and how they came about.

        A path that ends beyond a limit is followed again with that limit as a target, because it ends elsewhere than at
        the settings by which `TrainingSet.activate_limits` chose.
        """
        columns = self.training.target_columns(target.value)
        if not len(columns):
            unknown = np.full(len(low), np.nan)
            return self.training.nearest(target, low, high), (unknown, unknown), "no channel has a target"
        active = target._replace(value=target.value.copy())
        for _ in self.training.goal:
            result = self._follow(active, self.training.target_columns(active.value), low, high)
            y = self.model.predict(self.training.settings(result[0][None]))[0][0]
            if not self.training.activate_worst(active, y, self.training.goal):
                break
        return result

    def _start(self, target: Targets, columns: Ints) -> tuple[Floats, Floats, int]:
        """Settings (d,) whose readings (len(columns),) lie nearest to the goal, in tolerances; and of how many rows."""
        usable = np.flatnonzero(self.training.usable[:, columns].all(axis=1))
        U, Y = self.training.U[usable], self.training.Y[np.ix_(usable, columns)]
        off = np.abs((Y - target.value[columns]) / self.training.tolerance_scale(target)[columns]).max(axis=1)
        same = (np.abs(U - U[int(off.argmin())]) < 1e-9).all(axis=1)
        return U[int(off.argmin())], Y[same].mean(axis=0), int(same.sum())

    def _follow(
        self, target: Targets, columns: Ints, low: Floats, high: Floats
    ) -> tuple[Floats, tuple[Floats, Floats], str]:
        """Settings (d,) at the end of the path, their spread and uncertainty, and what happened on the way.

        An input that comes to its bound is held there, and the others go on as well as they can.
        """
        start, y0, rows = self._start(target, columns)
        scale = self.training.tolerance_scale(target)[columns]
        way = (target.value[columns] - y0) / scale
        free = np.ones(len(start), bool)
        u, s, held = np.clip(start, low, high), 0.0, []

        def slope(_: float, at: Floats) -> Floats:
            return np.asarray(self._inverse(at, columns, scale, free) @ way, dtype=np.float64)

        def leaves(_: float, at: Floats) -> float:
            return float(np.where(free, np.minimum(at - low, high - at) + 1e-9, 1.0).min())

        leaves.terminal = True  # type: ignore[attr-defined]
        while s < 1 and free.any():
            walked = solve_ivp(slope, (s, 1.0), u, rtol=1e-6, atol=self.precision, events=leaves)
            if not walked.success:
                return (
                    u,
                    self._std_errors(start, u, columns, scale, rows),
                    f"the path ended at {s:.0%}: {walked.message}",
                )
            u, s = np.clip(walked.y[:, -1], low, high), float(walked.t[-1])
            if walked.status == 1:  # an input reaches its bound: it is fixed where the path leaves the range
                onward = slope(s, u)
                out = free & (((u - low < 1e-8) & (onward < 0)) | ((high - u < 1e-8) & (onward > 0)))
                held += [f"{self.inputs[j]} held at its bound from {s:.0%} of the way" for j in np.flatnonzero(out)]
                free &= ~out
                if not out.any():
                    break
        origin = "from " + (f"{rows} readings" if rows > 1 else "a reading") + f" at {self._place(start)}"
        return u, self._std_errors(start, u, columns, scale, rows), "; ".join([origin, *held])

    def _inverse(self, u: Floats, columns: Ints, scale: Floats, free: Bools) -> Floats:
        """(d, c) settings for a change of the readings, in tolerances, at u (d,); 0 for inputs that are held."""
        step = STEP * np.eye(len(u))
        mean = self.model.predict(self.training.settings(np.vstack([u + step, u - step])))[0][:, columns] / scale
        J = (mean[: len(u)] - mean[len(u) :]).T / (2 * STEP)
        return np.asarray(np.linalg.pinv(J * free, rcond=FLAT), dtype=np.float64)

    def _std_errors(self, start: Floats, end: Floats, columns: Ints, scale: Floats, rows: int) -> tuple[Floats, Floats]:
        """Spread and uncertainty (d,) by the delta method.

        The answer carries the noise of the readings it started from and the uncertainty of the model there; one noisy
        reading at the goal adds its own.
        """
        inverse = self._inverse(end, columns, scale, np.ones(len(end), bool))
        both = self.training.settings(np.stack([start, end]))
        first, last = (self.model.predict(both)[1][:, columns] / scale) ** 2
        uncertainty = np.sqrt(inverse**2 @ first / rows)
        return np.hypot(uncertainty, np.sqrt(inverse**2 @ last)), uncertainty

    def _place(self, u: Floats) -> str:
        return ", ".join(f"{n} {v:.4g}" for n, v in zip(self.inputs, self.training.settings(u), strict=True))
