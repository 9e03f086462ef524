"""Points inside bounds and linear inequalities: least squares, the centre, random points, and the nearest on steps.

A set is given by low…high (p,) and rows A (c, p), b (c,) of A x ≤ b.
"""

from __future__ import annotations

import heapq
import itertools

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import linprog, nnls

from sdl.arrays import Bools, Floats

RIDGE = 1e-8
"""Weight of the distance to `near` in least squares, relative to the largest squared singular value: of several equally
good points, the one closest to `near` is taken."""
ROUNDING = 1e-9
"""Conditions count as kept within this relative error."""
NODES, WHOLE = 10_000, 1e-6
"""Search on steps: a limit that bounds its time, and the distance from a step, in steps, that is rounding."""
CORNERS = 10
"""Largest number of stepped columns of which the steps on either side are combined."""
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
    free = high > low
    rest = b - A[:, ~free] @ low[~free]
    some = np.abs(A[:, free]).sum(axis=1) > 0
    if (rest[~some] < -ROUNDING * (1.0 + np.abs(b[~some]))).any():
        return None
    point = low.copy()
    if free.any():
        none = np.zeros((0, int(free.sum()))), np.zeros(0)
        found = least_squares(*none, x[free], low[free], high[free], A[some][:, free], rest[some])
        if found is None:
            return None
        point[free] = found
    return point


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


def nearest_on_steps(x: Floats, low: Floats, high: Floats, step: Floats, A: Floats, b: Floats) -> Floats | None:
    """(p,) the point of the set closest to x (p,) with every stepped column on a step counted from `low`.

    Where all have steps, the closest combination of those on either side is taken if one is inside. Otherwise by branch
    and bound (Land and Doig, Econometrica 28 (1960) 497): the closest point without steps bounds the distance of those
    with steps. `step` (p,) is NaN for columns without. None where no such point is found among NODES.
    """
    stepped = np.isfinite(step)
    size = np.where(stepped, step, 1.0)
    top = np.where(stepped, low + np.floor((high - low) / size + 1e-9) * size, high)
    if (beside := _beside(x, low, top, size, stepped, A, b)) is not None:
        return beside
    heap: list[tuple[float, int, Floats, Floats, Floats]] = []

    def add(start: Floats, end: Floats) -> None:
        if (start <= end).all() and (found := nearest(x, start, end, A, b)) is not None:
            heapq.heappush(heap, (float(((found - x) ** 2).sum()), next(number), found, start, end))

    number = itertools.count()
    add(low, top)
    while heap and next(number) < NODES:
        _, _, point, start, end = heapq.heappop(heap)
        count = np.where(stepped, (point - low) / size, 0.0)
        off = np.abs(count - np.round(count))
        whole = low + np.round(count) * size
        if off.max(initial=0.0) < WHOLE:
            found = nearest(x, np.where(stepped, whole, start), np.where(stepped, whole, end), A, b)
            if found is not None:
                return found
        open_columns = np.flatnonzero(stepped & (start < end - WHOLE * size))
        if not len(open_columns):
            continue
        column = int(open_columns[off[open_columns].argmax()])
        below, above, here = end.copy(), start.copy(), off[column] < WHOLE
        k, step_size = count[column], size[column]
        below[column] = low[column] + (np.round(k) - 1 if here else np.floor(k)) * step_size
        above[column] = low[column] + (np.round(k) + 1 if here else np.ceil(k)) * step_size
        add(start, below)
        add(above, end)
        if here:  # on this step another column may be the one to move
            add(np.where(np.arange(len(x)) == column, whole, start), np.where(np.arange(len(x)) == column, whole, end))
    return None


def _beside(x: Floats, low: Floats, top: Floats, size: Floats, stepped: Bools, A: Floats, b: Floats) -> Floats | None:
    """(p,) the closest to x (p,) of the combinations of the steps on either side of it that lie in the set."""
    if not stepped.all() or len(x) > CORNERS:
        return None
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=len(x))))
    rows = low + (np.floor((x - low) / size - WHOLE) + corners) * size
    inside = ((rows >= low - WHOLE * size) & (rows <= top + WHOLE * size)).all(axis=1)
    inside &= (rows @ A.T - b <= ROUNDING * (np.abs(A).sum(axis=1) + np.abs(b))).all(axis=1)
    if not inside.any():
        return None
    found: Floats = rows[inside][int(((rows[inside] - x) ** 2).sum(axis=1).argmin())]
    return found
