"""Detection of wrong rows, such as mistyped settings, readings of zero, or an input that was left on.

An affine and a quadratic surface, with an intercept for each session, are fitted to nine tenths of the rows by least
trimmed squares (Rousseeuw and Van Driessen 2006, 10.1007/s10618-005-0024-4). A row is left out if it lies far from
every surface that explains the other rows. Other deviations are taken for lack of fit, noise or a change of the
instrument. These rows are kept:

- rows close to the surface: the assumed scatter is at least LEAST_SD of the range of the readings;
- all rows, if no surface explains EXPLAINED of the variance of the others;
- readings that lie beyond the range of the others by more than half of it, as on a narrow peak;
- rows that deviate to the same side as a repetition at the same settings, or as two of the rows next to them;
- the last rows of the current session, if all of them deviate, because the instrument may have changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import DISTINCT
from sdl.models.data import Data

TRIMMED = 0.1
"""Largest fraction of the rows that may be left out."""
FAR = 8.0
"""A row is far from the surface if it is more than this many standard deviations away."""
GAP = 3.0
"""Every wrong row is at least this many times as far from the surface as every other row. Lack of fit leaves no such
gap."""
LEAST_SD = 0.005
"""Lower bound of the standard deviation about the surface, as a fraction of the range of the readings."""
EXPLAINED = 0.99
"""Fraction of the variance of the other rows that the surface must explain in every channel of the goal."""
BESIDE = 0.15
"""Rows whose settings differ by less than this fraction of the range in every input are neighbours."""
SUSPECT = 5.0
"""No row is wrong if a surface fitted to all rows explains them and no residual exceeds this multiple of the median."""
STARTS, STEPS = 30, 10
"""Random subsets from which the trimmed fit starts, and concentration steps from each."""
MAX_ROWS, MAX_TERMS = 2000, 30
"""With more rows the trimmed fit starts only from the fit to all rows; surfaces with more terms are not tried."""
MIN_ROWS = 20
"""Least number of rows: with fewer, a wrong row cannot be told from lack of fit."""
FEW = 5
"""Least number of rows of a session that is screened: with fewer, its intercept is not known well enough."""


class _Trimmed(NamedTuple):
    """A trimmed fit: (n, g) residuals, (g,) standard deviation of the kept rows, (n,) which rows were kept."""

    residual: Floats
    sd: Floats
    kept: Bools


def wrong_rows_of(data: Data) -> Bools:
    """(n,) which rows of the data are wrong; only rows with all channels of the goal, unsaturated, are screened."""
    goal = np.flatnonzero(data.goal)
    complete = np.isfinite(data.Y[:, goal]).all(axis=1) & np.isfinite(data.X).all(axis=1)
    complete &= ~data.saturated[:, goal].any(axis=1)
    wrong = np.zeros(len(data.X), bool)
    U = (data.X[complete] - data.space.low) / data.space.width
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
    """Design matrices of the surfaces for which there are enough rows, the simplest first."""
    d = U.shape[1]
    lines = np.column_stack([intercepts, U])
    first, second = np.triu_indices(d)
    quadratic = np.column_stack([lines, U[:, first] * U[:, second]])
    return [X for X in (lines, quadratic) if len(X) >= 2 * X.shape[1] and X.shape[1] <= max(MAX_TERMS, lines.shape[1])]


def _screen(X: Floats, U: Floats, Y: Floats, current: Bools) -> Bools | None:
    """Judge the rows by one surface.

    Args:
        X: (n, p) its design matrix.
        U: (n, d) settings.
        Y: (n, g) readings.
        current: (n,) which rows belong to the current session.

    Returns:
        (n,) which rows are wrong; None if the surface does not explain the other rows.
    """
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
    away = np.abs(U[:, None] - U).max(axis=2) if far.any() else np.ones((n, n))
    alike = far[:, None] & far & (worst[:, None] == worst) & (np.sign(signed)[:, None] == np.sign(signed))
    same, beside = ((alike & (away < within)).sum(axis=1) - 1 for within in (DISTINCT, BESIDE))  # but the row itself
    far &= (same < 1) & (beside < 2)
    latest = np.flatnonzero(current)[::-1]
    far[latest[np.cumprod(far[latest]).astype(bool)]] = False
    if far.sum() > allowed or np.linalg.matrix_rank(X[~far]) < np.linalg.matrix_rank(X):
        return np.zeros(n, bool)
    return far


def _apart(off: Floats, allowed: int) -> Bools:
    """(n,) the rows whose distances `off` (n,) are above FAR and separated by a gap from those of all other rows."""
    order = np.argsort(-off, kind="stable")[: allowed + 1]
    sizes = off[order]
    gaps = (sizes[:-1] > FAR) & (sizes[:-1] > GAP * np.maximum(sizes[1:], 1e-300))
    far = np.zeros(len(off), bool)
    if gaps.any():
        far[order[: int(np.flatnonzero(gaps)[-1]) + 1]] = True
    return far


def _middle(residual: Floats, width: Floats) -> Floats:
    """(g,) median size of the residuals (n, g), at least LEAST_SD of the range `width` (g,) of the readings."""
    return np.asarray(np.maximum(np.median(np.abs(residual), axis=0), LEAST_SD * width), dtype=np.float64)


def _explains(Y: Floats, residual: Floats) -> bool:
    """Whether a surface, with residuals (n, g), explains EXPLAINED of the variance of every channel of Y (n, g)."""
    total = ((Y - Y.mean(axis=0)) ** 2).sum(axis=0)
    return bool(((residual**2).sum(axis=0) <= (1 - EXPLAINED) * total).all())


def _trimmed(X: Floats, Y: Floats, h: int, width: Floats) -> _Trimmed:
    """Fit h rows by least trimmed squares, all channels together, with concentration steps."""
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
    """(n,) squared distance of all rows from the fit to some `rows`, with readings in units of their range `width`."""
    residual = (Y - X @ np.linalg.lstsq(X[rows], Y[rows], rcond=None)[0]) / width
    return np.asarray((residual**2).sum(axis=1), dtype=np.float64)
