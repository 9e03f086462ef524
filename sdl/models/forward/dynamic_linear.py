"""The Bayesian dynamic linear model behind the solver `bayes`.

Each channel is y_t = x_t (theta + delta_t) + noise with x = (1, u). theta holds its intercept and slopes *at the next
reading*; delta_t is their difference from theta when row t was taken. The shape of the noise and the kind of drift are
unknown, so several models are averaged, weighted by their evidence:

    noise   sigma² K² (u (1 - u) + floor)    the edges of pulse-width modulation
            sigma² (y² + floor)              in proportion to the reading
    delta   none | a random walk, slow or fast | a steady trend, over the readings since; and a jump between the current
            session and any other, with standard deviation JUMP: 10 % of the response for the offset, 1 % for each gain

Given noise and drift everything is Gaussian. With V the covariance of the rows from noise and drift together, theta is
a generalised least-squares fit with a flat prior (a given prior is added as further rows), sigma² is integrated out,
and the evidence is the restricted likelihood. Because delta_t is relative to the next reading, theta is the forecast.

Old rows are summarised in blocks, longer ones for older rows. This neglects only the drift inside a block, and ten
thousand rows cost little more than fifty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import NOMINAL
from sdl.models.forward.linear_model import POOL, LinearModel
from sdl.models.noise import SHAPES, bounded_below, variance_of

NOISES = ("jitter", "proportional noise")
"""Shapes of the noise that are averaged, weighted by their evidence."""
DRIFTS = (("none", 0.0), ("wander", 0.15), ("wander", 0.6), ("wander", 2.0), ("trend", 0.3))
"""Kinds of drift, and their size per reading, in units of the noise of one reading in the middle of the range."""
STILL = 0.89
"""Prior probability of no drift. With a larger value the intervals from eight rows under drift, already too narrow,
would be narrower still, and campaigns under drift or on nonlinear plants would take longer."""
JUMP = (0.1, 0.01)
"""Standard deviations of the difference between sessions: of the offset, as a fraction of the response, and of each
gain, as a fraction of the gain."""
CONTRADICTION = 4.0
"""A censored reading is left out if its bound lies this many standard deviations beyond the prediction of the other
rows."""
RECENT, BLOCKS = 24, 24
"""Number of latest rows that are used one by one, and largest number of blocks of older rows; still older rows are left
out."""


class DynamicRows(NamedTuple):
    """The rows that the model is fitted to: n rows, oldest first, of m channels; p = inputs + 1 coefficients."""

    X: Floats  # (n, p) ones, and settings in units of their bounds
    Y: Floats  # (n, m); 0 where not usable
    usable: Bools  # (n, m)
    age: Floats  # (n,) number of readings from each row to the next reading; 1 for the newest row
    session: Floats  # (n,) number of the session
    past: bool = False  # whether no row belongs to the current session


class CoefficientPrior(NamedTuple):
    """Prior of the coefficients and of the noise, from knowledge of the instrument."""

    mean: Floats  # (m, p) intercepts and slopes
    sd: Floats  # (m, p)
    sigma: float
    weight: float  # degrees of freedom that `sigma` counts as


class Whitened(NamedTuple):
    """Rows divided by the standard deviation of their noise, for s shapes of the noise; a block is one or more rows."""

    X: Floats  # (s, m, N, p)
    y: Floats  # (s, m, N) distance from the reference
    age: Floats  # (N,) number of readings to the next one, or to the end of the row's own session
    ago: Floats  # (N,) number of sessions since
    rest: Floats  # (s, m) sum of squared residuals inside the blocks
    size: Floats  # (s, m) sum of the logarithms of the standard deviations


@dataclass(frozen=True, kw_only=True)
class DynamicLinearModel(LinearModel):
    """The linear model at the next reading.

    Attributes:
        root: (m, p, p) covariance of the coefficients.
        sizes: (s, m) sigma² of each shape of the noise, times the weight of that shape.
        belief: the most probable noise and drift, for `why`.
    """

    root: Floats
    sizes: Floats
    belief: str

    def covariance(self, u: Floats) -> tuple[Floats, Floats]:
        x = np.concatenate([[1.0], u])
        noise = np.sqrt(self.variance(u[None])[0])
        std_error = np.sqrt(np.maximum(np.einsum("p,mpq,q->m", x, self.root, x), 0.0))
        return self.noise * np.outer(noise, noise), self.noise * np.outer(std_error, std_error)

    @property
    def coef_covariance(self) -> Floats:
        return np.diag(self.noise)[:, None, None] * self.root

    def variance(self, U: Floats) -> Floats:
        X = np.column_stack([np.ones(len(U)), U])
        variance: Floats = np.einsum("sm,skm->km", self.sizes, variance_functions(X, self.coef.T))
        return variance


def variance_functions(X: Floats, coef: Floats) -> Floats:
    """(s, n, m) variance of one reading divided by sigma², for rows X (n, p), coefficients (m, p) and the s NOISES."""
    slope = coef[:, 1:]
    mean = X @ coef.T
    largest = np.nanmax(np.abs(slope).sum(axis=1), initial=0.0) ** 2
    return bounded_below(np.array([variance_of(shape, X[:, 1:], mean, slope) for shape in SHAPES]), largest)


def fit(rows: DynamicRows, goal: Ints, prior: CoefficientPrior | None = None) -> DynamicLinearModel:
    """Fit the linear model at the next reading.

    Args:
        rows: the rows; with the prior they must determine every channel.
        goal: the channels whose evidence weights the models of noise and drift.
        prior: prior of the coefficients. If it is given, there may be no rows.
    """
    n, p = rows.X.shape
    reference = _reference(rows, prior)
    dof = rows.usable.sum(axis=0) - (0.0 if prior else float(p))
    sure = prior.weight if prior else 0.0
    sigma = first = np.full(2, prior.sigma if prior else NOMINAL)
    pool = float(dof[goal].sum()) + sure
    before = np.log([STILL] + [(1.0 - STILL) / (len(DRIFTS) - 1)] * (len(DRIFTS) - 1))
    # A prior in counts must be weighted against the noise, which is known only after a first fit: so fit twice.
    for _ in range(2 if prior or len(np.unique(rows.session)) > 1 else 1):
        theta, spread, square, evidence, residuals = _fit(_whiten(rows, reference, sigma, prior), reference, sigma)
        # The relative noise of the channels is similar, so a pooled estimate is added as POOL degrees of freedom.
        common = (square[..., goal].sum(axis=2) + sure * first[:, None] ** 2) / max(pool, 1.0)
        noise = (square + POOL * common[..., None]) / (dof + POOL)  # (s, k, m)
        evidence = evidence - 0.5 * dof * np.log(np.maximum(noise, 1e-24))
        score = evidence[..., goal].sum(axis=2) + before
        weight = np.exp(score - score.max())
        weight /= weight.sum()
        share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
        # Only channels of the goal: one that responds to no input would make all others noisy.
        total = (share * square[..., goal].sum(axis=2)).sum(axis=1)
        sigma = np.sqrt((total + POOL * first**2) / (dof[goal].sum() + POOL))
    off = theta - (mean := np.einsum("sk,skmp->mp", weight, theta))
    noise = noise if pool >= 1 else np.full_like(noise, np.nan)
    best = np.unravel_index(int(weight.argmax()), weight.shape)
    return DynamicLinearModel(
        coef=(reference + mean).T,
        origin=np.zeros(p - 1),
        middle=rows.X[:, 1:].mean(axis=0) if n and not prior else np.full(p - 1, 0.5),
        rows=rows.X[:0],
        weight=rows.Y[:0],
        gram=np.empty((0, p, p)),
        noise=_alike(residuals[best], dof),
        dof=dof + POOL if pool >= 1 else dof,
        shape="jitter",
        root=np.einsum("sk,skm,skmpq->mpq", weight, noise, spread) + np.einsum("sk,skmp,skmq->mpq", weight, off, off),
        sizes=np.einsum("sk,skm->sm", weight, noise),
        belief=f"{NOISES[best[0]]}" + (f", {DRIFTS[best[1]][0]}" if best[1] else ""),
    )


def _reference(rows: DynamicRows, prior: CoefficientPrior | None) -> Floats:
    """(m, p) least squares over all rows; gives the shape of the noise, and keeps sums of squares small."""
    p = rows.X.shape[1]
    outer = (rows.X[:, :, None] * rows.X[:, None, :]).reshape(-1, p * p)
    gram = (rows.usable.T.astype(float) @ outer).reshape(-1, p, p)
    side = (rows.Y * rows.usable).T @ rows.X
    if prior is None:
        return np.asarray(np.linalg.solve(gram, side[..., None])[..., 0], dtype=np.float64)
    noise = prior.sigma * np.abs(prior.mean[:, 1:]).sum(axis=1, keepdims=True) / prior.sd  # (m, p)
    gram = gram + noise[:, :, None] ** 2 * np.eye(p)
    return np.linalg.solve(gram, (side + noise**2 * prior.mean)[..., None])[..., 0]


def _whiten(rows: DynamicRows, reference: Floats, sigma: Floats, prior: CoefficientPrior | None) -> Whitened:
    """Divide the rows by the standard deviations of their noise, and summarise older ones in blocks."""
    (n, p), m = rows.X.shape, rows.Y.shape[1]
    ago = np.concatenate([np.cumsum((np.diff(rows.session) != 0)[::-1])[::-1], [0]]) if n else np.empty(0)
    ago = ago + float(rows.past)
    age = rows.age - np.where(ago > 0, rows.age[np.searchsorted(-ago, -ago, side="right") - 1] - 1.0, 0.0)
    blocks, single = _blocks(ago)
    first = blocks[-1].start if blocks else single
    variance = variance_functions(rows.X[first:], reference).swapaxes(1, 2)  # (s, m, n), as all that follows
    use = rows.usable[first:].T
    weight = np.zeros((2, m, n))
    weight[..., first:] = use / variance
    size = 0.5 * (np.log(variance) * use).sum(axis=-1)
    r = (rows.Y - rows.X @ reference.T).T
    late = np.sqrt(weight[..., single:])
    X, y = [late[..., None] * rows.X[single:]], [late * r[:, single:]]
    ages, agos = [age[single:]], [ago[single:]]
    rest = np.zeros((2, m))
    for part in blocks:
        outer = (rows.X[part, :, None] * rows.X[part, None, :]).reshape(-1, p * p)
        w = weight[..., part]
        values, vectors = np.linalg.eigh((w @ outer).reshape(2, m, p, p))
        root = np.sqrt(np.where(values > 1e-10 * values[..., -1:], values, 0.0))
        side = np.einsum("smpq,smp->smq", vectors, (w * r[:, part]) @ rows.X[part])
        z = np.divide(side, root, out=np.zeros_like(side), where=root > 0)
        X.append(root[..., None] * vectors.swapaxes(-1, -2))
        y.append(z)
        ages.append(np.full(p, age[part].mean()))
        agos.append(np.full(p, ago[part.start]))
        rest += np.maximum((w * r[:, part] ** 2).sum(axis=-1) - (z**2).sum(axis=-1), 0.0)
    if prior is not None:
        root = sigma[:, None, None] / prior.sd
        X.append(root[..., None] * np.eye(p))
        y.append(root * (prior.mean - reference))
        ages.append(np.full(p, age[0] if n else 1.0))
        agos.append(np.full(p, ago[0] if n else 0.0))
    return Whitened(np.concatenate(X, 2), np.concatenate(y, 2), np.concatenate(ages), np.concatenate(agos), rest, size)


def _blocks(ago: Floats) -> tuple[list[slice], int]:
    """Slices of older rows, newest first, each of one session and about 8, 16, 32 … long; and the first single row."""
    single = stop = max(len(ago) - RECENT, 0)
    blocks: list[slice] = []
    length = 8
    while stop and len(blocks) < BLOCKS:
        same = int(np.searchsorted(-ago[:stop], -ago[stop - 1]))  # first row of that row's session
        blocks.append(slice(max(same, stop - length), stop))
        stop, length = blocks[-1].start, 2 * length
    return blocks, single


def _fit(white: Whitened, reference: Floats, sigma: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Fit every shape s of the noise with every drift k.

    Returns:
        (s, k, m, p) theta relative to the reference; (s, k, m, p, p) its covariance divided by sigma²; (s, k, m) sum of
        squares; (s, k, m) log evidence without the term of the sum of squares; (s, k, m, N) residuals.
    """
    p = reference.shape[1]
    slope2 = reference[:, 1:] ** 2
    middle = variance_functions(np.array([[1.0] + [0.5] * (p - 1)]), reference)[:, 0]  # (s, m)
    part = 4.0 * slope2 / np.maximum(slope2.sum(axis=1, keepdims=True), 1e-300)
    # Half of a drift is in the offset, half in the gains.
    drift = 0.5 * middle[..., None] * np.column_stack([np.ones(len(part)), part])
    width = np.abs(reference[:, 1:]).sum(axis=1, keepdims=True)
    jump = np.column_stack([(JUMP[0] * width) ** 2, JUMP[1] ** 2 * slope2]) / sigma[:, None, None] ** 2
    N = len(white.age)
    times: dict[str, Floats] = {
        "none": np.zeros((N, N)),
        "wander": np.minimum.outer(white.age, white.age),
        "trend": np.outer(white.age, white.age),
    }
    # Every other session differs from the current one by the same variance; the current one's own share is common.
    together = white.ago[:, None] == white.ago
    still = np.eye(N)
    if white.ago.any():
        still = still + _within(white.X, jump) * 0.5 * np.outer(white.ago > 0, white.ago > 0) * (1.0 + together)
    moved = _within(white.X, drift) * together  # drifts of different sessions are independent
    sides = np.concatenate([white.X, white.y[..., None]], axis=-1)  # (s, m, N, p + 1)
    # The rows below L of this matrix's Cholesky factor are (L^-1 sides)'; its last corner only has to be large enough.
    whole = np.zeros((*sides.shape[:2], N + p + 1, N + p + 1))  # its upper triangle is not read
    whole[..., N:, :N] = sides.swapaxes(-1, -2)
    whole[..., N:, N:] = (2.0 * (sides**2).sum(axis=(-1, -2)) + 1.0)[..., None, None] * np.eye(p + 1)
    W = np.empty((len(NOISES), len(DRIFTS), *sides.shape[1:]))
    volume = np.empty(W.shape[:3])
    for k, (kind, size) in enumerate(DRIFTS):
        whole[..., :N, :N] = still + size**2 * times[kind] * moved if size else still
        factor = np.linalg.cholesky(whole)
        W[:, k] = factor[..., N:, :N].swapaxes(-1, -2)
        volume[:, k] = np.log(np.diagonal(factor, axis1=-2, axis2=-1)[..., :N]).sum(axis=-1)
    A, z = W[..., :p], W[..., p]
    gram = A.swapaxes(-1, -2) @ A
    spread = np.linalg.inv(gram)
    theta = (spread @ (A.swapaxes(-1, -2) @ z[..., None]))[..., 0]
    residuals = z - (A @ theta[..., None])[..., 0]
    square = (residuals**2).sum(axis=-1) + white.rest[:, None]
    evidence = -volume - 0.5 * np.linalg.slogdet(gram)[1] - white.size[:, None]
    return theta, spread, square, evidence, residuals


def _within(X: Floats, variance: Floats) -> Floats:
    """(s, m, N, N) covariance of the rows X (s, m, N, p) for coefficients of this variance (s, m, p)."""
    within: Floats = (X * variance[:, :, None]) @ X.swapaxes(-1, -2)
    return within


def _alike(residuals: Floats, dof: Floats) -> Floats:
    """(m, m) correlation of the noise of the channels, from residuals (m, N); shrunk to 0 if they are few."""
    size = np.sqrt((residuals**2).sum(axis=1))
    alike = residuals @ residuals.T / np.maximum(np.outer(size, size), 1e-300)
    trust = max(float(dof.min()), 0.0)
    return np.asarray(np.where(np.eye(len(size)) > 0, 1.0, alike * trust / (trust + POOL)), dtype=np.float64)


def expand_to(model: DynamicLinearModel, columns: Ints, m: int) -> DynamicLinearModel:
    """The same model as `columns` of m channels; the coefficients of the other channels are NaN."""

    def put(part: Floats, *axes: int, fill: float = np.nan) -> Floats:
        shape = tuple(m if axis in axes else length for axis, length in enumerate(part.shape))
        whole = np.full(shape, fill)
        whole[np.ix_(*(columns if axis in axes else range(length) for axis, length in enumerate(part.shape)))] = part
        return whole

    return replace(
        model,
        coef=put(model.coef, 1),
        noise=np.where(np.isfinite(whole := put(model.noise, 0, 1)), whole, np.eye(m)),
        dof=put(model.dof, 0, fill=-1.0),
        root=put(model.root, 0),
        sizes=put(model.sizes, 1),
    )


def condition_on_censored(model: DynamicLinearModel, X: Floats, least: Floats) -> tuple[DynamicLinearModel, int]:
    """Condition the model on censored readings.

    The distribution of a coefficient vector is replaced by a normal one with the mean and variance that it has when the
    reading's distribution is truncated at the bound.

    Args:
        model: fitted to the uncensored readings.
        X: (n, p) rows of the design matrix.
        least: (n, m) lower bounds of the readings; NaN where a reading was not saturated.

    Returns:
        The conditioned model, and the number of bounds used. Bounds that contradict the model are left out.
    """
    coef, root, used = model.coef.copy(), model.root.copy(), 0
    sizes = np.where(np.isfinite(model.sizes), model.sizes, NOMINAL**2 / len(NOISES))
    noise = np.einsum("sm,skm->km", sizes, variance_functions(X, coef.T))
    for i, c in np.argwhere(np.isfinite(least)):
        gain = root[c] @ X[i]
        scale = np.sqrt(X[i] @ gain + noise[i, c])
        if scale == 0:  # a channel that never changed: its reading is certain
            continue
        beyond = (least[i, c] - X[i] @ coef[:, c]) / scale
        if beyond < CONTRADICTION:  # False for NaN, where nothing is known
            used += 1
            push = np.exp(-0.5 * beyond**2 - 0.5 * np.log(2.0 * np.pi) - log_ndtr(-beyond))
            coef[:, c] += gain * push / scale
            root[c] -= np.outer(gain, gain) * push * (push - beyond) / scale**2
    return replace(model, coef=coef, root=root), used
