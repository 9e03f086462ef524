"""Numerical continuation from a measured pair to the goal, an alternative that the paper names in its introduction.

Readings y0 were measured at the settings x0. On the straight line from y0 to the goal y1 the settings obey

    dx/ds = J⁺(x) (y1 - y0),    x(0) = x0,    s from 0 to 1,

J is the Jacobian of a forward model, and J⁺ its pseudo-inverse with readings in units of the tolerance: the shortest
step if there are more inputs than readings, the least-squares step if there are fewer. The integration ends at the
solution on the same branch as x0; a search might end on another branch.
Kitchin et al., Digital Discovery 2025, 10.1039/D5DD00137D, section 1; Davidenko, Dokl. Akad. Nauk SSSR 88 (1953) 601;
Allgower and Georg, Numerical Continuation Methods (1990), chapter 2.

It starts from measured and not from predicted readings. Errors of the model therefore cancel close to the goal, but the
noise of these readings remains in the proposed settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from sdl.arrays import Bools, Floats, Ints
from sdl.errors import NotEnoughData
from sdl.models.constants import DIFFERENCE, FREE
from sdl.models.data import Data, Proposals, Targets
from sdl.models.inversion.forward_models import FittedModel, ForwardKind, fit_forward
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space
from sdl.space.region import Region


def fit_continuation(data: Data, *, model: ForwardKind, precision: float) -> FittedContinuation:
    """Fit the forward model; the options are those of the solver `continuation`.

    Raises:
        NotEnoughData, Degenerate: the rows do not suffice for the model, or there is no measured pair to start from.
    """
    fitted = fit_forward(model, data)
    training = fitted.training
    complete = training.usable[:, training.goal].all(axis=1)
    if not complete.any():
        raise NotEnoughData(0, 1, "usable rows to start from")
    return FittedContinuation(model, precision, fitted, training, data.space.columns)


@dataclass(frozen=True)
class FittedContinuation:
    """A forward model and the rows that it was fitted to."""

    kind: ForwardKind
    precision: float
    model: FittedModel
    training: TrainingSet
    inputs: tuple[str, ...]

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        region = self.training.region(space)
        settings, std_errors, notes = [], [], []
        for parts in zip(*targets, strict=True):
            u, pair, note = self._answer(self.training.activate_limits(Targets(*parts), region), region)
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

    def _answer(self, target: Targets, region: Region) -> tuple[Floats, tuple[Floats, Floats], str]:
        """Settings (d,) for one goal, their spread and uncertainty, and a description of the path.

        `TrainingSet.activate_limits` chooses the active limits for other settings than those where the path ends. So a
        path that ends beyond a limit is followed again with that limit as a target.
        """
        columns = self.training.target_columns(target.value)
        if not len(columns):
            unknown = np.full(len(region.low), np.nan)
            return self.training.nearest(target, region), (unknown, unknown), "no channel has a target"
        active = target._replace(value=target.value.copy())
        for _ in self.training.goal:
            result = self._follow(active, self.training.target_columns(active.value), region)
            y = self.model.predict(self.training.settings(result[0][None]))[0][0]
            if not self.training.activate_worst(active, y, self.training.goal):
                break
        return result

    def _start(self, target: Targets, columns: Ints) -> tuple[Floats, Floats, int]:
        """Measured settings (d,) and readings (len(columns),) closest to the goal, in tolerances; number of rows."""
        usable = np.flatnonzero(self.training.usable[:, columns].all(axis=1))
        U, Y = self.training.U[usable], self.training.Y[np.ix_(usable, columns)]
        off = np.abs((Y - target.value[columns]) / self.training.tolerance_scale(target)[columns]).max(axis=1)
        same = (np.abs(U - U[int(off.argmin())]) < 1e-9).all(axis=1)
        return U[int(off.argmin())], Y[same].mean(axis=0), int(same.sum())

    def _follow(self, target: Targets, columns: Ints, region: Region) -> tuple[Floats, tuple[Floats, Floats], str]:
        """Settings (d,) at the end of the path, their spread and uncertainty, and a description of the path.

        An input that reaches its bound is held there, and the path continues with the other inputs.
        """
        start, y0, rows = self._start(target, columns)
        scale = self.training.tolerance_scale(target)[columns]
        low, high = region.low, region.high
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
            if walked.status == 1:  # an input has reached its bound: hold it there
                onward = slope(s, u)
                out = free & (((u - low < 1e-8) & (onward < 0)) | ((high - u < 1e-8) & (onward > 0)))
                held += [f"{self.inputs[j]} held at its bound from {s:.0%} of the way" for j in np.flatnonzero(out)]
                free &= ~out
                if not out.any():
                    break
        origin = "from " + (f"{rows} readings" if rows > 1 else "a reading") + f" at {self._place(start)}"
        return u, self._std_errors(start, u, columns, scale, rows), "; ".join([origin, *held])

    def _inverse(self, u: Floats, columns: Ints, scale: Floats, free: Bools) -> Floats:
        """(d, c) change of the settings per change of the readings, in tolerances, at u (d,); 0 for held inputs."""
        step = DIFFERENCE * np.eye(len(u))
        mean = self.model.predict(self.training.settings(np.vstack([u + step, u - step])))[0][:, columns] / scale
        J = (mean[: len(u)] - mean[len(u) :]).T / (2 * DIFFERENCE)
        return np.asarray(np.linalg.pinv(J * free, rcond=FREE), dtype=np.float64)

    def _std_errors(self, start: Floats, end: Floats, columns: Ints, scale: Floats, rows: int) -> tuple[Floats, Floats]:
        """Spread and uncertainty (d,) by the delta method.

        Uncertainty comes from the noise of the readings at the start and the uncertainty of the model there; spread
        adds the noise of one reading at the goal.
        """
        inverse = self._inverse(end, columns, scale, np.ones(len(end), bool))
        both = self.training.settings(np.stack([start, end]))
        first, last = (self.model.predict(both)[1][:, columns] / scale) ** 2
        uncertainty = np.sqrt(inverse**2 @ first / rows)
        return np.hypot(uncertainty, np.sqrt(inverse**2 @ last)), uncertainty

    def _place(self, u: Floats) -> str:
        return ", ".join(f"{n} {v:.4g}" for n, v in zip(self.inputs, self.training.settings(u), strict=True))
