"""A quadratic surface of each channel: the response surface of Box and Wilson (J. R. Stat. Soc. B 13 (1951) 1).

    y = b0 + sum_j b_j v_j + sum_j b_jj v_j² + sum_(i<j) b_ij v_i v_j + noise,    v = u - 1/2

by least squares, rows weighted by the shape of the noise of the linear model. Its coefficients have Student's t
distribution, from which the sample paths are drawn. Rows that have only two levels of an input cannot tell its square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from sdl.arrays import Bools, Floats
from sdl.errors import Degenerate, NotEnoughData
from sdl.models.forward_model import Paths, Prediction, at_upper_end, log_density, symmetric_root
from sdl.models.linear_model import t_factor
from sdl.models.training_set import TrainingSet

DOF_NEEDED = 2
"""Degrees of freedom that must be left: with one the t distribution has no variance to speak of."""
RANK = 1e-7
"""Part of the greatest eigenvalue of a normal matrix that the least must be above."""


@dataclass(frozen=True)
class QuadraticModel:
    """A quadratic surface of each channel of the goal, as a forward model.

    Attributes:
        training: the rows.
        coef: (q, m) of the columns of `quadratic_design`; NaN for channels not of the goal.
        gram: (m, q, q) inverse of the weighted normal matrix.
        size: (m,) variance of the residuals over the noise's shape.
        dof: rows less coefficients.
        curved: (m,) probability of a greater F if the surface were a plane (NaN: no channel of the goal).
    """

    training: TrainingSet
    coef: Floats
    gram: Floats
    size: Floats
    dof: int
    curved: Floats

    @property
    def summary(self) -> str:
        return f"quadratic surface, {self.training.summary}"

    def predict(self, U: Floats) -> Prediction:
        Q = quadratic_design(U)
        wide = float(t_factor(np.array(self.dof))) ** 2
        model_var = wide * self.size * np.einsum("kp,mpq,kq->km", Q, self.gram, Q)
        if self.training.session_cov is not None:
            X = np.column_stack([np.ones(len(U)), U])
            model_var = model_var + np.maximum(np.einsum("kp,mpq,kq->km", X, self.training.session_cov, X), 0.0)
        return Prediction(Q @ self.coef, model_var, wide * self.size * self.training.linear.variance(U))

    def jacobian(self, U: Floats) -> Floats:
        jacobian: Floats = np.einsum("kqd,qm->kmd", design_jacobian(U), self.coef)
        return jacobian

    def sample_paths(self, n: int, rng: np.random.Generator) -> Paths:
        """Surfaces with coefficients from their multivariate t distribution."""
        (q, m), dof = self.coef.shape, self.dof
        root = symmetric_root(np.nan_to_num(self.size[:, None, None] * self.gram))
        heavy = np.sqrt(dof / rng.chisquare(dof, (n, m)))[..., None]
        drawn = self.coef.T + heavy * np.einsum("mpq,nmq->nmp", root, rng.standard_normal((n, m, q)))
        return _Surfaces(drawn)

    def log_predictive(self, U: Floats, Y: Floats, censored: Bools) -> float:
        return log_density(self.predict(U), Y, censored, at_upper_end(self.training, Y))


@dataclass(frozen=True)
class _Surfaces:
    """n surfaces of m channels: coefficients (n, m, q)."""

    coef: Floats

    def __call__(self, U: Floats) -> Floats:
        return np.asarray(quadratic_design(U) @ self.coef.swapaxes(1, 2), dtype=np.float64)

    def jacobian(self, U: Floats) -> Floats:
        D = np.broadcast_to(design_jacobian(U), (len(self.coef), *U.shape[-2:-1], self.coef.shape[2], U.shape[-1]))
        jacobian: Floats = np.einsum("nkqd,nmq->nkmd", D, self.coef)
        return jacobian


def fit_quadratic(training: TrainingSet) -> QuadraticModel:
    """Fit a surface to each channel of the goal.

    Raises:
        NotEnoughData: fewer rows than coefficients and DOF_NEEDED.
        Degenerate: the settings do not determine the surface.
    """
    U, goal = training.U[: len(training.Y)], training.goal
    Q, X = quadratic_design(U), np.column_stack([np.ones(len(U)), U])
    (n, q), p = Q.shape, X.shape[1]
    if n < q + DOF_NEEDED:
        raise NotEnoughData(n, q + DOF_NEEDED, "usable rows for a quadratic surface")
    values = np.linalg.eigvalsh(Q.T @ Q)
    if values[0] < RANK * values[-1]:
        raise Degenerate(f"the settings of {n} rows do not determine a quadratic surface")
    m = training.Y.shape[1]
    coef, gram = np.full((q, m), np.nan), np.full((m, q, q), np.nan)
    size, curved = np.full((2, m), np.nan)
    shape = training.linear.variance(U)
    for c in goal:
        root = 1.0 / np.sqrt(shape[:, c])
        A, y = root[:, None] * Q, root * training.Y[:, c]
        coef[:, c] = np.linalg.lstsq(A, y, rcond=None)[0]
        gram[c] = np.linalg.inv(A.T @ A)
        rest = max(float(((y - A @ coef[:, c]) ** 2).sum()), 1e-300)
        L = root[:, None] * X
        plane = float(((y - L @ np.linalg.lstsq(L, y, rcond=None)[0]) ** 2).sum())
        size[c] = rest / (n - q)
        curved[c] = fdtrc(q - p, n - q, max(plane - rest, 0.0) / (q - p) / size[c])
    return QuadraticModel(training, coef, gram, size, n - q, curved)


def quadratic_design(U: Floats) -> Floats:
    """(…, q) one, the inputs less 1/2, their squares, their products, for settings (…, d)."""
    V = U - 0.5
    i, j = np.triu_indices(U.shape[-1], 1)
    parts = [np.ones((*V.shape[:-1], 1)), V, V**2, V[..., i] * V[..., j]]
    return np.concatenate(parts, axis=-1)


def design_jacobian(U: Floats) -> Floats:
    """(…, q, d) derivatives of `quadratic_design`."""
    V, d = U - 0.5, U.shape[-1]
    i, j = np.triu_indices(d, 1)
    eye = np.eye(d)
    parts = [
        np.zeros((*V.shape[:-1], 1, d)),
        np.broadcast_to(eye, (*V.shape, d)),
        2.0 * V[..., None] * eye,
        V[..., i, None] * eye[j] + V[..., j, None] * eye[i],
    ]
    return np.concatenate(parts, axis=-2)
