"""Random effects of sessions: rows that were taken together, and what changed between them.

From one session to the next offsets change and gains move by some per cent; in one fit the rows of many sessions would
outweigh the few of the current one. So each channel gets a line of its own in every session,

    y = x (theta + b_s) + noise        x = (1, u), b_s ~ N(0, D), D = diag(offset², gain² slope²)

fitted jointly (a mixed model: Henderson 1975, 10.2307/2529430; Robinson 1991, 10.1214/ss/1177011926). The size of D is
the most probable of a small grid (restricted likelihood), all channels of the goal taken together. Earlier readings are
then moved by x (b_now - b_s), so that every model sees rows of the current session alone; an ordinary weighted fit of
the moved rows gives theta + b_now. A session of one row determines an offset and hardly a slope.

Before the current session has a row, its effect is one more draw from the distribution of the others: all rows are left
as they are, and the variance between sessions is added to that of the coefficients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import NOMINAL
from sdl.models.linear_model import LinearModel, fit_linear

OFFSETS = (0.02, 0.1, 0.3)
"""Standard deviation of the offset between sessions, as a part of the channel's response. Even the least of them is far
above the noise of one reading, so that a new session's first reading is believed."""
GAINS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""The same of a gain, as a part of itself."""
LEAST = 1e-6
"""The least noise of a reading that is believed, as a fraction of its shape."""
ROUNDS = 3
"""D counts in units of the noise, which is known only once D is."""
MAX_SESSIONS = 100
"""Sessions, those with the most rows, that the size of D is told from; all of them get their lines."""
PASSES = 2
"""The shape of the noise can be told only from rows at one level, and moving them needs that shape."""


class Aligned(NamedTuple):
    """Rows at the level of the current session.

    Attributes:
        Y: (n, m) readings, those of other sessions moved.
        fit: of them.
        session_cov: (m, p, p) covariance of the current line beyond that of a fit to these rows; part of `extra`.
        message: a few words for the sentence.
    """

    Y: Floats
    fit: LinearModel
    session_cov: Floats
    message: str


class _Sums(NamedTuple):
    """Sums over the rows of each of S sessions, weighted, taken from a reference line, of c channels."""

    rows: Floats  # (c, S)
    gram: Floats  # (c, S, p, p)
    side: Floats  # (c, S, p)
    square: Floats  # (c, S)


class _Lines(NamedTuple):
    """Lines of c channels with a size of D each."""

    fixed_effects: Floats  # (…, c, p) from the reference
    random_effects: Floats  # (…, c, S, p) b
    spread: Floats  # (…, c, p, p) covariance of theta
    noise: Floats  # (…, c) variance of a reading, as a part of its shape
    score: Floats  # (…, c) logarithm of the restricted likelihood


def align_to_current(U: Floats, Y: Floats, usable: Bools, session: Floats, current: float, goal: Ints) -> Aligned:
    """Moves the readings of other sessions to the level of the present one, and fits them.

    Args:
        U: (n, d) settings in units of their bounds.
        Y: (n, m) readings.
        usable: (n, m) which of them count.
        session: (n,) number of the session of each row.
        current: number of the present one.
        goal: the channels that decide how much sessions differ.
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
    """(n, m) readings moved, and (m, p, p) uncertainty of the present line beyond that of a fit to them."""
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
        rest = np.linalg.inv(np.eye(p) + D @ sums.gram[i, present] / lines.noise[i])  # what b_now keeps of D
        total = rest @ (lines.spread[i] @ rest.T + D)
        covariance[c] = total - lines.noise[i] * np.linalg.pinv(sums.gram[i].sum(axis=0), hermitian=True)
    return moved, covariance


def _sums(X: Floats, r: Floats, w: Floats, which: Ints) -> _Sums:
    """Of rows X (n, p), distances r (n, c) from the reference, weights w (n, c); `which` (n,) are the sessions."""
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
    """Best linear unbiased predictions for D = diag(size), size (…, c, p); the noise is found on the way."""
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
        random_effects = (
            both[..., p] - (both[..., :p] @ theta[..., None, :, None])[..., 0]
        ) * D  # D (I + G D)^-1 (g - G theta)
        rest = sums.side - (sums.gram @ theta[..., None, :, None])[..., 0]
        square = sums.square.sum(axis=1) - (theta * (sums.side + rest).sum(axis=-2)).sum(axis=-1)
        square = square - (rest * random_effects).sum(axis=(-1, -2))
        noise = np.where(dof >= 1, np.maximum(square / np.maximum(dof, 1.0), LEAST**2), noise)
    volume = np.linalg.slogdet(inner)[1].sum(axis=-1) + np.linalg.slogdet(information)[1]
    return _Lines(theta, random_effects, spread * noise[..., None, None], noise, -0.5 * (dof * np.log(noise) + volume))
