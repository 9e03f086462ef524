"""Points inside bounds and linear inequalities: least squares, the centre, random points, and the nearest on steps.

A set is given by low…high (p,) and rows A (c, p), b (c,) of A x ≤ b.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import Bounds, LinearConstraint, linprog, milp, nnls

from sdl.arrays import Bools, Floats

RIDGE = 1e-8
"""Weight of the distance to `near` in least squares, relative to the largest squared singular value: of several equally
good points, the one closest to `near` is taken."""
WALK = 25
"""Steps of the random walk to each point, for each dimension."""


def least_squares(E: Floats, f: Floats, near: Floats, low: Floats, high: Floats, A: Floats, b: Floats) -> Floats | None:
    """(p,) point inside the set with the smallest |E x - f|; of several, the one closest to `near`. None: empty set.

    By transformation to a least-distance problem, solved as one of non-negative least squares (Lawson and Hanson,
    Solving Least Squares Problems (1974), chapter 23).
    """
    p = len(low)
    if not p:
        return np.zeros(0) if (b >= 0).all() else None
    size = float(np.linalg.norm(E, 2)) or 1.0 if E.size else 1.0
    root = np.sqrt(RIDGE)
    Q, R = np.linalg.qr(np.vstack([E / size, root * np.eye(p)]))
    base = Q.T @ np.concatenate([f / size, root * near])
    G = np.vstack([np.eye(p), -np.eye(p), -A])
    GR = solve_triangular(R, G.T, trans="T").T  # G R⁻¹
    h = np.concatenate([low, -high, -b]) - GR @ base
    if (h <= 0).all():
        return np.clip(solve_triangular(R, base), low, high)
    scale = np.linalg.norm(GR, axis=1)
    M = np.vstack([(GR / scale[:, None]).T, h / scale])
    target = np.zeros(p + 1)
    target[p] = 1.0
    try:
        u, rest = nnls(M, target)
    except RuntimeError:  # it did not converge
        return None
    r = M @ u - target
    if rest < 1e-9 or r[p] >= 0:
        return None
    return np.clip(solve_triangular(R, base - r[:p] / r[p]), low, high)


def nearest(x: Floats, low: Floats, high: Floats, A: Floats, b: Floats) -> Floats | None:
    """(p,) the point of the set closest to x (p,); None for an empty set."""
    return least_squares(np.zeros((0, len(x))), np.zeros(0), x, low, high, A, b)


def centre(low: Floats, high: Floats, A: Floats, b: Floats) -> tuple[Floats, float] | None:
    """Centre (p,) and radius of the largest ball inside the set, which ignores columns of width 0. None: empty set."""
    p, free = len(low), low < high
    norm = np.sqrt((A[:, free] ** 2).sum(axis=1))
    faces = [np.column_stack([A, norm])]
    for sign in (1.0, -1.0):
        faces.append(np.column_stack([sign * np.eye(p), np.ones(p)])[free])
    right = np.concatenate([b, high[free], -low[free]])
    cost = np.zeros(p + 1)
    cost[p] = -1.0
    limits = [*zip(low, high, strict=True), (0.0, None)]
    found = linprog(cost, np.vstack(faces), right, bounds=limits)
    return None if found.x is None else (np.clip(found.x[:p], low, high), float(found.x[p]))


def random_walk(
    n: int, start: Floats, low: Floats, high: Floats, A: Floats, b: Floats, rng: np.random.Generator
) -> Floats:
    """(n, p) points of the set, each by hit-and-run from a point inside (Smith, Oper. Res. 32 (1984) 1296)."""
    X, free = np.tile(start, (n, 1)), low < high
    for _ in range(WALK * max(int(free.sum()), 1)):
        way = np.where(free, rng.standard_normal(X.shape) * (high - low), 0.0)
        rate = np.hstack([way @ A.T, way, -way])
        left = np.maximum(np.hstack([b - X @ A.T, high - X, X - low]), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = left / np.abs(rate)
        ahead = np.where(rate > 0, reach, np.inf).min(axis=1)
        behind = np.where(rate < 0, reach, np.inf).min(axis=1)
        length = np.where(np.isfinite(ahead + behind), behind + ahead, 0.0) * rng.random(n)
        X = np.clip(X + (length - np.where(np.isfinite(behind), behind, 0.0))[:, None] * way, low, high)
    return X


def nearest_on_steps(
    x: Floats,
    low: Floats,
    high: Floats,
    step: Floats,
    A: Floats,
    b: Floats,
    equal: Bools,
    width: Floats,
) -> Floats | None:
    """(p,) the point of the set closest to x (p,) with every stepped input on a step, by integer programming.

    Args:
        x: the distances are sums of |difference| / width.
        low: lower bounds, from which steps are counted.
        high: upper bounds.
        step: of each input; NaN without steps.
        A: coefficients of the conditions.
        b: their right-hand sides.
        equal: (c,) which conditions are equalities.
        width: (p,) unit of the distance in each input.

    Returns:
        None if no such point exists.
    """
    p, stepped = len(x), np.isfinite(step)
    size = np.where(stepped, step, width)  # unknowns: numbers of steps or fractions of the width, then the distances
    last = np.where(stepped, np.floor((high - low) / size + 1e-9), (high - low) / size)
    away = np.diag(size / width)
    eye, at = np.eye(p), (x - low) / width
    rows = [np.hstack([away, -eye]), np.hstack([-away, -eye]), np.hstack([A * size, np.zeros((len(A), p))])]
    upper = np.concatenate([at, -at, b - A @ low])
    lower = np.concatenate([np.full(2 * p, -np.inf), np.where(equal, b - A @ low, -np.inf)])
    found = milp(
        np.concatenate([np.zeros(p), np.ones(p)]),
        integrality=np.concatenate([stepped.astype(float), np.zeros(p)]),
        bounds=Bounds(np.zeros(2 * p), np.concatenate([last, np.full(p, np.inf)])),
        constraints=LinearConstraint(np.vstack(rows), lower, upper),
        options={"time_limit": 5.0},
    )
    if found.x is None:
        return None
    count = np.where(stepped, np.round(found.x[:p]), found.x[:p])
    return np.asarray(np.clip(low + count * size, low, high), dtype=np.float64)
