"""Rows that no model should learn from: mistyped settings, readings of zero, a lamp that was left on.

A surface is fitted to all rows but a tenth by least trimmed squares (Rousseeuw and Van Driessen 2006,
10.1007/s10618-005-0024-4), affine or quadratic, with an intercept for each session. A row is left out where it lies far
from a surface that explains the others. Everything else is lack of fit, noise or a change of the instrument, and stays:

- rows near the surface, within WIDE of the range of the readings, however little the others scatter;
- all rows, where the surface does not explain the others to EXPLAINED of their variance;
- readings beyond the range of the others by more than half of it, as on a narrow peak;
- rows with a row beside them that is off to the same side;
- the last rows of the current session, if all of them are off: the instrument may have changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.data import Data

TRIMMED = 0.1
"""Largest part of the rows that is left out."""
FAR = 8.0
"""Standard deviations from the surface beyond which a row is far from it."""
GAP = 3.0
"""The nearest wrong row is so many times as far as the farthest other: lack of fit grows without such a gap."""
LEAST_SD = 0.005
"""Least standard deviation that is believed, as a part of the range of the readings."""
EXPLAINED = 0.99
"""Part of the variance of the other rows that the surface must explain in every channel of the goal."""
BESIDE = 0.15
"""Rows whose settings differ by less in every input, as a part of the range, are beside each other."""
SUSPECT = 5.0
"""Largest residual over the median one, of ordinary least squares, from which on rows are screened at all."""
STARTS, STEPS = 30, 10
"""Random subsets that the trimmed fit starts from, and concentration steps of each."""
MAX_ROWS, MAX_TERMS = 2000, 30
"""More rows are screened from the fit of all of them alone; surfaces with more terms are not tried."""
MIN_ROWS = 20
"""Fewer rows do not tell a wrong one from lack of fit."""
FEW = 5
"""Sessions with fewer rows are not screened: their level is not known."""


class _Trimmed(NamedTuple):
    """A trimmed fit: (n, g) residuals, (g,) standard deviation of those kept, (n,) which were kept."""

    residual: Floats
    sd: Floats
    kept: Bools


def wrong_rows_of(data: Data) -> Bools:
    """(n,) which rows of the data are wrong, judged by those that hold every channel of the goal unsaturated."""
    goal = np.flatnonzero(data.goal)
    complete = np.isfinite(data.Y[:, goal]).all(axis=1) & np.isfinite(data.X).all(axis=1)
    complete &= ~data.saturated[:, goal].any(axis=1)
    low, high = (np.array([getattr(item, end) for item in data.inputs]) for end in ("low", "high"))
    wrong = np.zeros(len(data.X), bool)
    U = (data.X[complete] - low) / (high - low)
    if complete.any():
        now = float(data.session[-1]) if data.current_session is None else data.current_session
        wrong[complete] = find_wrong_rows(U, data.Y[complete][:, goal], data.session[complete], now)
    return wrong


def find_wrong_rows(U: Floats, Y: Floats, session: Floats, current: float) -> Bools:
    """Find the rows to leave out.

    Args:
        U: (n, d) settings in units of their bounds, in the order of time.
        Y: (n, g) readings of the goal's channels, all usable.
        session: (n,) number of the session of each row.
        current: number of the session that the next reading belongs to.

    Returns:
        (n,) which rows are wrong.
    """
    wrong = np.zeros(len(U), bool)
    numbers, which, count = np.unique(session, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(count[which] >= FEW)
    levels = [number for number, size in zip(numbers, count, strict=True) if size >= FEW]
    if len(rows) < MIN_ROWS:
        return wrong
    intercepts = (session[rows, None] == levels).astype(float)
    verdicts = [_screen(X, U[rows], Y[rows], session[rows] == current) for X in _surfaces(U[rows], intercepts)]
    explained = [verdict for verdict in verdicts if verdict is not None]
    if explained:
        wrong[rows] = np.logical_and.reduce(explained)
    return wrong


def _surfaces(U: Floats, intercepts: Floats) -> list[Floats]:
    """Design matrices of the surfaces that the rows suffice for, the simplest first."""
    d = U.shape[1]
    lines = np.column_stack([intercepts, U])
    first, second = np.triu_indices(d)
    quadratic = np.column_stack([lines, U[:, first] * U[:, second]])
    return [X for X in (lines, quadratic) if len(X) >= 2 * X.shape[1] and X.shape[1] <= max(MAX_TERMS, lines.shape[1])]


def _screen(X: Floats, U: Floats, Y: Floats, current: Bools) -> Bools | None:
    """(n,) which rows are wrong by one surface, None where it explains too little; `current`: of this session."""
    n, allowed = len(X), int(TRIMMED * len(X))
    width = np.ptp(Y, axis=0)
    if not allowed or not (width > 0).all():
        return np.zeros(n, bool)
    residual = Y - X @ np.linalg.lstsq(X, Y, rcond=None)[0]
    if _explains(Y, residual) and (np.abs(residual).max(axis=0) <= SUSPECT * _middle(residual, width)).all():
        return np.zeros(n, bool)
    fit = _trimmed(X, Y, n - allowed, width)
    if not _explains(Y[fit.kept], fit.residual[fit.kept]):
        return None
    kept = X[fit.kept]
    leverage = np.einsum("ij,jk,ik->i", X, np.linalg.pinv(kept.T @ kept, hermitian=True), X)
    off = np.abs(fit.residual) / fit.sd / np.sqrt(1 + leverage)[:, None]
    worst = off.argmax(axis=1)
    far = _apart(off.max(axis=1), allowed)
    low, high = Y[~far].min(axis=0), Y[~far].max(axis=0)
    beyond = np.maximum(low - Y, Y - high) > (high - low) / 2
    far &= ~beyond.any(axis=1)
    signed = fit.residual[np.arange(n), worst]
    near = (np.abs(U[:, None] - U).max(axis=2) < BESIDE) if far.sum() else np.zeros((n, n), bool)
    alike = near & far[:, None] & far & (worst[:, None] == worst) & (np.sign(signed)[:, None] == np.sign(signed))
    far &= alike.sum(axis=1) <= 1  # each is alike to itself
    latest = np.flatnonzero(current)[::-1]
    far[latest[np.cumprod(far[latest]).astype(bool)]] = False
    if far.sum() > allowed or np.linalg.matrix_rank(X[~far]) < np.linalg.matrix_rank(X):
        return np.zeros(n, bool)
    return far


def _apart(off: Floats, allowed: int) -> Bools:
    """(n,) the rows that lie beyond FAR and a gap: their distances `off` (n,) are no continuation of the others'."""
    order = np.argsort(-off, kind="stable")[: allowed + 1]
    sizes = off[order]
    gaps = (sizes[:-1] > FAR) & (sizes[:-1] > GAP * np.maximum(sizes[1:], 1e-300))
    far = np.zeros(len(off), bool)
    if gaps.any():
        far[order[: int(np.flatnonzero(gaps)[-1]) + 1]] = True
    return far


def _middle(residual: Floats, width: Floats) -> Floats:
    return np.asarray(np.maximum(np.median(np.abs(residual), axis=0), LEAST_SD * width), dtype=np.float64)


def _explains(Y: Floats, residual: Floats) -> bool:
    total = ((Y - Y.mean(axis=0)) ** 2).sum(axis=0)
    return bool(((residual**2).sum(axis=0) <= (1 - EXPLAINED) * total).all())


def _trimmed(X: Floats, Y: Floats, h: int, width: Floats) -> _Trimmed:
    """The least trimmed squares of h rows, all channels together, by concentration steps."""
    (n, p), rng = X.shape, np.random.default_rng(0)
    start = np.argsort(_distance(X, Y, np.arange(n), width), kind="stable")[:h]
    starts: list[Ints] = [start]
    if n <= MAX_ROWS:
        starts += [rng.permutation(n)[: p + 2] for _ in range(STARTS)]
    best, least = start, np.inf
    for rows in starts:
        for _ in range(STEPS):
            distance = _distance(X, Y, rows, width)
            nearest = np.sort(np.argsort(distance, kind="stable")[:h])
            if np.array_equal(nearest, rows):
                break
            rows = nearest
        total = float(_distance(X, Y, rows, width)[rows].sum())
        if total < least:
            best, least = rows, total
    kept = np.zeros(n, bool)
    kept[best] = True
    residual = Y - X @ np.linalg.lstsq(X[kept], Y[kept], rcond=None)[0]
    sd = np.sqrt((residual[kept] ** 2).sum(axis=0) / max(h - p, 1))
    return _Trimmed(residual, np.maximum(sd, LEAST_SD * width), kept)


def _distance(X: Floats, Y: Floats, rows: Ints, width: Floats) -> Floats:
    """(n,) squared distance from the fit of some rows, in ranges of the readings."""
    residual = (Y - X @ np.linalg.lstsq(X[rows], Y[rows], rcond=None)[0]) / width
    return np.asarray((residual**2).sum(axis=1), dtype=np.float64)
