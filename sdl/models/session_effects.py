"""Random effects of sessions: changes of offset and gain between groups of rows that were taken together.

Between sessions offsets change, and gains change by a few per cent. If all rows were fitted together, the many rows of
earlier sessions would outweigh the few of the current one. So each channel gets its own linear model in every session,

    y = x (theta + b_s) + noise        x = (1, u), b_s ~ N(0, D), D = diag(offset², gain² slope²)

fitted jointly (a mixed model: Henderson 1975, 10.2307/2529430; Robinson 1991, 10.1214/ss/1177011926). D is chosen from
a small grid by restricted likelihood, summed over the channels of the goal. Earlier readings are then moved by
x (b_now - b_s), so that every model sees rows as if all were from the current session; an ordinary weighted fit of the
moved rows gives theta + b_now. A session with one row determines its offset but hardly its slopes.

Before the current session has a row, its effect is unknown: all rows stay as they are, and the variance between
sessions is added to that of the coefficients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import NOMINAL
from sdl.models.forward.linear_model import LinearModel, fit_linear

OFFSETS = (0.02, 0.1, 0.3)
"""Candidate standard deviations of the offset between sessions, as a fraction of the channel's response. Even the
smallest is far above the noise of one reading, so that the first reading of a new session determines its offset."""
GAINS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Candidate standard deviations of the gain between sessions, as a fraction of the gain."""
LEAST = 1e-6
"""Lower bound of the estimated noise of a reading, in units of its shape."""
ROUNDS = 3
"""Iterations between D, which is needed in units of the noise, and the noise, which is estimated given D."""
MAX_SESSIONS = 100
"""Largest number of sessions that D is estimated from, those with the most rows. Every session gets its own lines."""
PASSES = 2
"""Repetitions: the shape of the noise is estimated from aligned rows, and aligning the rows needs that shape."""


class Aligned(NamedTuple):
    """Rows at the level of the current session.

    Attributes:
        Y: (n, m) readings; those of other sessions are moved to the current level.
        fit: linear model fitted to `Y`.
        session_cov: (m, p, p) covariance that the differences between sessions add to the coefficients of `fit`; it is
            included in `fit.extra`.
        message: what was done, for the proposal's `why`.
    """

    Y: Floats
    fit: LinearModel
    session_cov: Floats
    message: str


class _Sums(NamedTuple):
    """Weighted sums over the rows of each of S sessions, for c channels; readings are relative to a reference line."""

    rows: Floats  # (c, S)
    gram: Floats  # (c, S, p, p)
    side: Floats  # (c, S, p)
    square: Floats  # (c, S)


class _Lines(NamedTuple):
    """The fitted mixed model of c channels, each with its own D."""

    fixed_effects: Floats  # (…, c, p) theta, relative to the reference line
    random_effects: Floats  # (…, c, S, p) b
    spread: Floats  # (…, c, p, p) covariance of theta
    noise: Floats  # (…, c) variance of a reading, in units of its shape
    score: Floats  # (…, c) logarithm of the restricted likelihood


def align_to_current(U: Floats, Y: Floats, usable: Bools, session: Floats, current: float, goal: Ints) -> Aligned:
    """Move the readings of other sessions to the level of the current one, and fit a linear model to all of them.

    Args:
        U: (n, d) settings in units of their bounds.
        Y: (n, m) readings.
        usable: (n, m) which readings are used.
        session: (n,) number of the session of each row.
        current: number of the current session.
        goal: the channels from which D is estimated.
    """
    numbers, which = np.unique(session, return_inverse=True)
    matches = np.flatnonzero(numbers == current)
    present = int(matches[0]) if len(matches) else None
    fit = fit_linear(U, Y, usable)
    for _ in range(PASSES):
        moved, covariance = _moved(U, Y, usable, which, present, fit, goal)
        fit = fit_linear(U, moved, usable)
    extra = covariance if fit.extra is None else covariance + fit.extra
    if present is None:
        message = f"at the mean level of {len(numbers)} sessions"
    else:
        earlier = len(numbers) - 1
        message = f"offset{'s' * (earlier > 1)} of {earlier} earlier session{'s' * (earlier > 1)} removed"
    return Aligned(moved, replace(fit, extra=extra), covariance, message)


def _moved(
    U: Floats, Y: Floats, usable: Bools, which: Ints, present: int | None, fit: LinearModel, goal: Ints
) -> tuple[Floats, Floats]:
    """(n, m) readings moved to the current level, and (m, p, p) covariance that this adds to a fit of them."""
    X = np.column_stack([np.ones(len(U)), U])
    p, m = X.shape[1], Y.shape[1]
    moved, covariance = Y.copy(), np.zeros((m, p, p))
    known = np.flatnonzero(fit.dof >= 0)
    weight = np.where(usable, 1.0 / fit.variance(U), 0.0)[:, known]
    sums = _sums(X, (Y - X @ fit.coef)[:, known], weight, which)
    slope = fit.slope[known]
    width = np.abs(slope).sum(axis=1, keepdims=True)
    sizes = np.array(  # (grid, c, p)
        [np.hstack([(offset * width) ** 2, (gain * slope) ** 2]) for offset in OFFSETS for gain in GAINS]
    )
    many = np.sort(np.argsort(-np.bincount(which), kind="stable")[:MAX_SESSIONS])
    decides = np.isin(known, goal)
    scores = _lines(_Sums(*(part[decides][:, many] for part in sums)), sizes[:, decides]).score
    size = sizes[int(scores.sum(axis=1).argmax())]
    lines = _lines(sums, size)
    for i, c in enumerate(known):
        D = np.diag(size[i])
        if present is None:
            covariance[c] = lines.spread[i] + D
            continue
        use = usable[:, c]
        moved[use, c] += (X[use] * (lines.random_effects[i, present] - lines.random_effects[i, which[use]])).sum(axis=1)
        rest = np.linalg.inv(np.eye(p) + D @ sums.gram[i, present] / lines.noise[i])  # part of D left in b_now
        total = rest @ (lines.spread[i] @ rest.T + D)
        covariance[c] = total - lines.noise[i] * np.linalg.pinv(sums.gram[i].sum(axis=0), hermitian=True)
    return moved, covariance


def _sums(X: Floats, r: Floats, w: Floats, which: Ints) -> _Sums:
    """Weighted sums by session `which` (n,): rows X (n, p), distances r (n, c) from the reference, weights w (n, c)."""
    order = np.argsort(which, kind="stable")
    starts = np.flatnonzero(np.diff(which[order], prepend=-1))

    def total(part: Floats) -> Floats:  # (n, c, …) -> (c, S, …)
        return np.asarray(np.add.reduceat(part[order], starts, axis=0).swapaxes(0, 1), dtype=np.float64)

    outer = X[:, None, :, None] * X[:, None, None, :]
    return _Sums(
        total(np.where(w > 0, 1.0, 0.0)),
        total(w[..., None, None] * outer),
        total((w * r)[..., None] * X[:, None]),
        total(w * r**2),
    )


def _lines(sums: _Sums, size: Floats) -> _Lines:
    """Best linear unbiased prediction of theta and b_s, and the noise, for D = diag(size), size (…, c, p)."""
    p = size.shape[-1]
    dof = sums.rows.sum(axis=1) - p
    noise = np.full(size.shape[:-1], NOMINAL**2)
    sides = np.concatenate([sums.gram, sums.side[..., None]], axis=-1)
    for _ in range(ROUNDS):
        D = (size / noise[..., None])[..., None, :]  # (…, c, 1, p)
        inner = np.eye(p) + sums.gram * D[..., None, :]  # I + G D
        both = np.linalg.solve(inner, np.broadcast_to(sides, (*inner.shape[:-1], p + 1)))
        information = both[..., :p].sum(axis=-3)
        spread = np.linalg.pinv(information, hermitian=True)
        theta = (spread @ both[..., p].sum(axis=-2)[..., None])[..., 0]
        # D (I + G D)^-1 (g - G theta)
        random_effects = D * (both[..., p] - (both[..., :p] @ theta[..., None, :, None])[..., 0])
        rest = sums.side - (sums.gram @ theta[..., None, :, None])[..., 0]
        square = sums.square.sum(axis=1) - (theta * (sums.side + rest).sum(axis=-2)).sum(axis=-1)
        square = square - (rest * random_effects).sum(axis=(-1, -2))
        noise = np.where(dof >= 1, np.maximum(square / np.maximum(dof, 1.0), LEAST**2), noise)
    volume = np.linalg.slogdet(inner)[1].sum(axis=-1) + np.linalg.slogdet(information)[1]
    return _Lines(theta, random_effects, spread * noise[..., None, None], noise, -0.5 * (dof * np.log(noise) + volume))
