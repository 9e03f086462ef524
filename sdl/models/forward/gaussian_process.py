"""A Gaussian process over all inputs together, as a forward model.

For each channel, with z = T(y) standardised and u the settings in units of their bounds, the prior covariance is

    cov(u, u') = 10² [1 + (u - ½)·(u' - ½)] + a² sum_j κ(r_j) + s² κ(|r|),     r_j = (u_j - u'_j) / l_j

κ is Matérn's covariance with smoothness 5/2. The first term is an affine function with a vague prior (Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, section 2.7), the second a smooth function of each input
(Duvenaud et al., NIPS 2011), the third a smooth function of all inputs jointly. The variance of one reading is the sum
of a constant, a proportional and a jitter part (`sdl.models.noise`), converted to z by the factor T'(y)².

The hyperparameters maximise the posterior, by Fisher scoring (Gilmour et al., Biometrics 51 (1995) 1440), under each
of two priors: one of gently curved functions, one of functions with a maximum or minimum inside the range, which few
rows cannot exclude. The two fits are weighted by their evidence (Laplace's approximation). The transform T, none or
log, is the one with the greater evidence. Functions are drawn by pathwise conditioning (Wilson et al., ICML 2020).
Censored readings are used by expectation propagation (Minka, UAI 2001; Rasmussen and Williams, section 3.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, log_ndtr

from sdl.arrays import Bools, Floats, Ints
from sdl.errors import NotEnoughData
from sdl.models.data import Data, Objective
from sdl.models.forward.forward_model import Paths, Prediction, at_upper_end, log_density, symmetric_root
from sdl.models.noise import variance_parts
from sdl.models.training_set import TrainingSet
from sdl.models.transforms import Transform, backward, derivative, forward

LINE, LINE_OPTIMISED = 10.0, 1.0
"""Prior standard deviation of intercept and slopes, in standard deviations of the readings; a vague prior. With an
objective a smaller one: where slopes are that uncertain, corners of the space would be measured first."""
SUBSET, MAX_ROWS = 40, 300
"""Rows that the hyperparameters are fitted to before FINAL_STEPS with all rows (half the time, same median errors), and
the largest number of rows that is used."""
NOISE, NOISE_SD = (0.005, 0.001, 0.001), (0.8, 0.8, 0.8)
"""Prior of the proportional, constant and jitter noise: medians, and standard deviations of the logarithms."""
SMOOTH, TURNING = (-2.0, 1.5), (-2.0, 1.0)
"""Prior medians of log s and log a of the smooth component, and shifts of those of the turning one: main effects exceed
interactions (Wu and Hamada, Experiments, 2009, section 4.6). With (1, 0) and (0, 0) campaigns on eight of ten nonlinear
plants took up to half a trial more in the mean."""
MAX_BOUNDS = 40
"""Largest number of censored rows that are used, the latest ones."""
CHUNK = 2_000_000
"""Largest size of an array in a fit, in numbers; more fits than that are done in turn."""
SCREENING_STEPS, STEPS, FINAL_STEPS, WRONG_STEPS = 8, 16, 2, 6
"""Largest number of Fisher scoring steps: to compare transforms, to fit, to refit with all rows, and after a row is
left out."""
GAIN = 0.02
"""Fisher scoring ends when a step raises the log posterior by less."""
FLOOR = 1e-8
"""Lower bound of the noise variance, in units of the variance of the readings."""
ODDS = 4.0
"""Prior odds of no transform against the logarithm. At 1, affine instruments would need one trial more."""
NEGLIGIBLE = 1e-3
"""A component with a smaller share of the weight is dropped."""
DRAWN_ROWS, DRAWS, LEAST_DRAW = 40, 16, 0.02
"""With at most DRAWN_ROWS rows, DRAWS sets of hyperparameters are drawn for each component, and those with less weight
than LEAST_DRAW are dropped. Not with the first inputs + 2 rows, where it would cost an affine instrument one trial."""
FEATURES = 64
"""Random features of each function drawn from the prior, half for the joint and half for the additive part. Every
function has its own features, so mean and covariance over the functions are unbiased for any number of features."""
WRONG, WIDE, MAX_WRONG = 0.02, 5.0, 5
"""Prior probability that a row is wrong, the standard deviation of such a row (in standard deviations of the readings),
and the largest number of rows left out as wrong."""
LEAST_LOG = 0.1
"""With an objective, the smallest value that a logarithm is taken of, in standard deviations of the readings."""
SUSPECT = 3.5
"""Only rows at least this many standard deviations from the prediction of the others may be wrong."""
SWEEPS, REFITS = 12, 2
"""Sweeps of expectation propagation, and refits of the hyperparameters with its sites."""
ROOT5, LOG_2PI = float(np.sqrt(5.0)), float(np.log(2.0 * np.pi))


class _Problem(NamedTuple):
    """The data and priors of B fits of n rows that are computed together; P parameters."""

    U: Floats  # (n, d)
    z: Floats  # (B, n); 0 where not used
    use: Bools  # (B, n)
    noise: Floats  # (B, 3, n) shapes of the variance of one reading; multiplied by the squared noise parameters
    fixed: Floats  # (B, n) further variance of each row, which no parameter multiplies
    mean: Floats  # (B, P) prior means of the parameters
    sd: Floats  # (B, P) prior standard deviations of the parameters
    line: float = LINE  # prior standard deviation of intercept and slopes

    def take(self, fits: Ints) -> _Problem:
        parts = self.z[fits], self.use[fits], self.noise[fits], self.fixed[fits], self.mean[fits], self.sd[fits]
        return _Problem(self.U, *parts, self.line)

    def rows(self, rows: Ints) -> _Problem:
        parts = self.z[:, rows], self.use[:, rows], self.noise[:, :, rows], self.fixed[:, rows]
        return _Problem(self.U[rows], *parts, self.mean, self.sd, self.line)


class _Scored(NamedTuple):
    """Log posterior of B fits, its gradient, and the Fisher information plus the precision of the prior."""

    value: Floats  # (B,)
    gradient: Floats  # (B, P)
    information: Floats  # (B, P, P)


def _matern(r: Floats) -> tuple[Floats, Floats]:
    """κ(r), and -κ'(r) / r."""
    decay, x = np.exp(-ROOT5 * r), 1.0 + ROOT5 * r
    return (x + (5.0 / 3.0) * r**2) * decay, (5.0 / 3.0) * x * decay


def _kernel(theta: Floats, U: Floats, V: Floats, line: float) -> Floats:
    """(B, k, n) prior covariance between settings U (k, d) and V (n, d), for parameters (B, P) and that of the line."""
    d = len(V.T)
    scale, (s2, a2) = np.exp(-theta[:, :d, None, None]), np.exp(2.0 * theta[:, d : d + 2, None, None]).swapaxes(0, 1)
    square, own = np.zeros((len(theta), len(U), len(V))), np.zeros((len(theta), len(U), len(V)))
    for j in range(d):
        r = np.abs(U[:, None, j] - V[:, j]) * scale[:, j]
        square += r**2
        own += _matern(r)[0]
    kernel: Floats = _line(U, V, line) + s2 * _matern(np.sqrt(square))[0] + a2 * own
    return kernel


def _expand(theta: Floats, U: Floats, V: Floats, weight: Floats, line: float, *, slope: bool = False) -> Floats:
    """The functions sum_i weight_i cov(u, v_i), or their derivatives.

    Args:
        theta: (B, P) parameters.
        U: (k, d) settings where they are evaluated; or (B, k, d), different ones for each function.
        V: (n, d) settings v_i.
        weight: (B, n) weights.
        line: prior standard deviation of intercept and slopes.
        slope: return the derivatives with respect to U instead.

    Returns:
        (B, k), or with `slope` (B, k, d).
    """
    d = len(V.T)
    scale, (s2, a2) = np.exp(-theta[:, :d, None, None]), np.exp(2.0 * theta[:, d : d + 2, None, None]).swapaxes(0, 1)
    away = [(U[..., None, j] - V[:, j]) * scale[:, j] for j in range(d)]
    joint = s2 * _matern(np.sqrt(sum(one**2 for one in away)))[int(slope)]
    own = [a2 * _matern(np.abs(one))[int(slope)] for one in away]
    pull = line**2 * weight @ (V - 0.5)  # (B, d) slopes of the affine part
    if slope:
        parts = [_times((joint + one) * far, weight) for one, far in zip(own, away, strict=True)]
        return pull[:, None] - np.stack(parts, axis=-1) * np.exp(-theta[:, None, :d])
    affine: Floats = line**2 * weight.sum(axis=1)[:, None] + _times(U - 0.5, pull)
    return affine + _times(joint + sum(own), weight)


def _times(features: Floats, weight: Floats) -> Floats:
    """(B, k) matrix-vector products of (k, n) or (B, k, n) with (B, n)."""
    product: Floats = (features @ weight[..., None])[..., 0]
    return product


def _line(U: Floats, V: Floats, line: float) -> Floats:
    covariance: Floats = line**2 * (1.0 + (U - 0.5) @ (V - 0.5).swapaxes(-1, -2))
    return covariance


def _noise_var(problem: _Problem, theta: Floats) -> Floats:
    """(B, n) variance of the noise of each row."""
    parts = np.exp(2.0 * theta[:, -3:])[:, :, None] * problem.noise
    variance: Floats = parts.sum(axis=1) + problem.fixed + FLOOR
    return variance


def _score(problem: _Problem, theta: Floats, *, derivatives: bool = True) -> _Scored:
    """The log posterior of parameters (B, P), with its derivatives if requested."""
    U, (B, P), (n, d) = problem.U, theta.shape, problem.U.shape
    mask, on = problem.use.astype(float), np.arange(n)
    s2, a2 = np.exp(2.0 * theta[:, d : d + 2]).T[:, :, None, None]
    squares = (U[:, None] - U[None]).T ** 2 * np.exp(-2.0 * theta[:, :d])[..., None, None]  # (B, d, n, n)
    additive, own_slope = _matern(np.sqrt(squares))
    joint, slope = _matern(np.sqrt(squares.sum(axis=1)))
    joint, additive = s2 * joint, a2 * additive.sum(axis=1)
    K = _line(U, U, problem.line) + joint + additive
    both = mask[:, :, None] * mask[:, None, :]
    if not problem.use.all():
        K *= both
    noise = np.exp(2.0 * theta[:, d + 2 :])[:, :, None] * problem.noise * mask[:, None]  # (B, 3, n)
    K[:, on, on] += np.where(problem.use, _noise_var(problem, theta), 1.0)
    try:
        logdet = 2.0 * np.log(np.linalg.cholesky(K)[:, on, on]).sum(axis=1)
    except np.linalg.LinAlgError:
        return _Scored(np.full(B, -np.inf), np.zeros((B, P)), np.tile(np.eye(P), (B, 1, 1)))
    alpha = np.linalg.solve(K, problem.z[..., None])[..., 0]
    away = (theta - problem.mean) / problem.sd
    value = -0.5 * ((problem.z * alpha).sum(axis=1) + logdet + mask.sum(axis=1) * LOG_2PI)
    value -= 0.5 * (away**2).sum(axis=1) + np.log(problem.sd).sum(axis=1) + 0.5 * P * LOG_2PI
    if not derivatives:
        return _Scored(value, np.zeros((B, P)), np.zeros((B, P, P)))
    D = np.empty((B, d + 2, n, n))  # derivatives of the covariance with respect to the logarithms of l, s and a
    D[:, :d] = (a2[:, None] * own_slope + (s2 * slope)[:, None]) * squares
    D[:, d], D[:, d + 1] = 2.0 * joint, 2.0 * additive
    if not problem.use.all():
        D *= both[:, None]
    inverse = np.linalg.inv(K)
    G = np.empty((B, P, n, n))  # K⁻¹ times each derivative
    np.matmul(inverse[:, None], D, out=G[:, : d + 2])
    np.multiply(inverse[:, None], 2.0 * noise[:, :, None], out=G[:, d + 2 :])
    pull = np.concatenate([(D @ alpha[:, None, :, None])[..., 0], 2.0 * noise * alpha[:, None]], axis=1)
    gradient = 0.5 * ((pull * alpha[:, None]).sum(axis=2) - np.trace(G, axis1=2, axis2=3)) - away / problem.sd
    information = 0.5 * G.reshape(B, P, -1) @ G.swapaxes(2, 3).reshape(B, P, -1).swapaxes(1, 2)
    return _Scored(value, gradient, information + np.eye(P) / problem.sd[:, None] ** 2)


def _maximise(problem: _Problem, theta: Floats, steps: int) -> tuple[Floats, _Scored]:
    """Maximise the log posterior by Fisher scoring from parameters (B, P); a step is damped until it improves it."""
    theta = theta.copy()
    best = _score(problem, theta)
    damping = np.full(len(theta), 0.0)
    active = np.arange(len(theta))
    for i in range(steps):
        part = problem.take(active)
        information = best.information[active]
        scaled = information * (1.0 + damping[active, None, None] * np.eye(theta.shape[1]))
        step = np.linalg.solve(scaled, best.gradient[active][..., None])[..., 0]
        step *= np.minimum(1.0, 2.0 / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-12))
        trial = theta[active] + step
        last = i == steps - 1  # the derivatives of the step before are then accurate enough for the evidence
        scored = _score(part, trial, derivatives=not last)
        gain = scored.value - best.value[active]
        better = gain > 0
        won = active[better]
        theta[won] = trial[better]
        for old, new in zip(best[: 1 if last else 3], scored, strict=False):
            old[won] = new[better]
        damping[active] = np.where(better, damping[active] / 8.0, 4.0 * damping[active] + 0.5)
        going = np.where(better, gain > GAIN, damping[active] < 100.0)
        active = active[going]
        if not len(active):
            break
    return theta, best


def _evidence(scored: _Scored) -> Floats:
    """(B,) logarithm of the evidence, by Laplace's approximation."""
    P = scored.gradient.shape[1]
    evidence: Floats = scored.value + 0.5 * P * LOG_2PI - 0.5 * np.linalg.slogdet(scored.information)[1]
    return evidence


def fit_gaussian_process(data: Data, *, rows: int = MAX_ROWS) -> GaussianProcess:
    """Fit a process to each channel of the goal.

    Args:
        data: all rows.
        rows: largest number of rows used: a fifth are the newest, the others are spread over the older ones.

    Raises:
        NotEnoughData, Degenerate: as for every solver.
    """
    training = _training_set(data)
    return fit_processes(training, _bounds(data, training), rows=rows, objective=data.objective)


def fit_processes(
    training: TrainingSet, bounds: Bounds | None = None, *, rows: int = MAX_ROWS, objective: Objective | None = None
) -> GaussianProcess:
    """Fit a process to each channel of the goal, from the usable rows and `bounds`.

    With an objective no row is taken for wrong, because an optimum may look like one. And the logarithm of a reading
    close to 0 has so large a variance that nothing is known there, and the best is expected there: the logarithm of the
    objective is that of its distance from the smallest reading; of another channel with such readings none is taken.
    """
    goal, n = training.goal, len(training.Y)
    pick = np.flatnonzero(training.usable[:, goal].any(axis=1))
    if len(pick) > rows:
        pick = pick[_spread(training.U[:n][pick], rows, rows // 5)]
    U, Y = training.U[pick], np.where(training.usable, training.Y, np.nan)[pick][:, goal]
    censored = np.zeros(Y.shape, bool)
    if bounds is not None:
        U, Y = np.vstack([U, bounds.U]), np.vstack([Y, bounds.Y[:, goal]])
        censored = np.vstack([censored, bounds.censored[:, goal]])
    exact = np.isfinite(Y) & ~censored
    offset = np.zeros(len(training.channels))
    if objective is not None:
        y = Y[exact[:, at := int(np.flatnonzero(goal == objective.column)[0])], at]
        offset[objective.column] = y.min() - LEAST_LOG * y.std()
    Y = Y - offset[goal]
    channels = [
        _Channel.of(training, i, U, Y[:, i], exact[:, i], censored[:, i])._replace(optimised=objective is not None)
        for i in range(len(goal))
    ]
    return GaussianProcess(training, tuple(_fit_channels(channels)), pick, offset)


def _training_set(data: Data) -> TrainingSet:
    """The training set; if too few rows are complete, its linear model treats censored readings as values.

    That linear model is then used only for the scales of the channels. Each channel of the goal still needs two
    uncensored readings.
    """
    try:
        return TrainingSet.from_data(data, by_channel=True)
    except NotEnoughData:
        exact = (np.isfinite(data.Y) & ~data.saturated & np.isfinite(data.X).all(axis=1, keepdims=True))[:, data.goal]
        if not data.saturated.any() or exact.sum(axis=0).min(initial=2) < 2:
            raise
    training = TrainingSet.from_data(replace(data, saturated=np.zeros_like(data.saturated)))
    complete = np.isfinite(data.Y[:, training.goal]).all(axis=1) & np.isfinite(data.X).all(axis=1)
    usable = training.usable & ~data.saturated[complete]
    count = int(data.saturated[complete][:, training.goal].any(axis=1).sum())
    return replace(training, usable=usable, summary=f"{len(usable)} readings ({count} saturated, used as bounds)")


class Bounds(NamedTuple):
    """c rows with censored readings: settings U (c, d) in units of the bounds, readings Y (c, m), censored (c, m)."""

    U: Floats
    Y: Floats
    censored: Bools


def _bounds(data: Data, training: TrainingSet) -> Bounds:
    """The latest rows of the current session with a censored channel of the goal."""
    now = data.session[-1] if data.current_session is None else data.current_session
    cut = data.saturated & np.isfinite(data.Y)
    late = np.flatnonzero(cut[:, training.goal].any(axis=1) & np.isfinite(data.X).all(axis=1) & (data.session == now))
    late = late[-MAX_BOUNDS:]
    by_channel = not training.usable[:, training.goal].all()  # then the training set has their other channels
    Y = np.where(cut[late], data.Y[late], np.nan) if by_channel else data.Y[late]
    return Bounds(training.units(data.X[late]), Y, cut[late])


def _spread(U: Floats, rows: int, newest: int = 0) -> Ints:
    """Indices of `rows` of the settings U (n, d): the newest, and others picked by a hash of their settings."""
    key = (U @ np.sqrt(np.arange(2.0, len(U.T) + 2.0)) * 997.0) % 1.0
    older = np.argsort(key[: len(U) - newest], kind="stable")[: rows - newest]
    return np.concatenate([np.sort(older), np.arange(len(U) - newest, len(U))])


class _Channel(NamedTuple):
    """The n rows of one channel, with the scales of its noise and priors."""

    U: Floats
    y: Floats
    exact: Bools
    censored: Bools
    upper: Bools
    slope: Floats  # (d,) of the linear model
    size: float  # standard deviation of the readings
    optimised: bool = False

    @classmethod
    def of(cls, training: TrainingSet, index: int, U: Floats, y: Floats, exact: Bools, censored: Bools) -> _Channel:
        column = training.goal[index]
        size = max(float(y[exact].std()), 1e-9 * max(float(np.abs(y[exact]).max()), 1.0))
        upper = y >= y[exact].mean()
        return cls(U, y, exact, censored, upper, training.linear.slope[column], size)

    def problem(self, transform: Transform) -> tuple[_Problem, Floats, float, float]:
        """The two fits of the channel (one for each prior), all readings as z, and the centre and size of T(y)."""
        n, d = self.U.shape
        exact = self.exact & (self.y > 0) if transform == "log" else self.exact
        safe = np.where(exact | self.censored, self.y, self.y[exact].mean())
        t = forward(transform, safe)
        centre, scale = t[exact].mean(), max(float(np.abs(t[exact]).max()), 1.0)
        size = max(float(t[exact].std()), 1e-9 * scale)  # above 0 also for a channel that never changed
        z = (t - centre) / size
        parts = variance_parts(self.U, safe[:, None], self.slope[None], np.array([self.size]))[..., 0]
        parts = parts * (derivative(transform, safe) / size) ** 2
        level = abs(float(self.y[self.exact].mean())) / self.size
        mean, sd = _priors(d, level)
        used = np.tile(np.where(exact, z, 0.0), (2, 1)), np.tile(exact, (2, 1)), np.tile(parts, (2, 1, 1))
        line = LINE_OPTIMISED if self.optimised else LINE
        return _Problem(self.U, *used, np.zeros((2, n)), mean, sd, line), z, centre, size


def _priors(d: int, level: float) -> tuple[Floats, Floats]:
    """(2, d + 5) prior means and standard deviations of the logarithms of l, s, a and the noise, for both priors.

    Args:
        d: number of inputs.
        level: mean of the readings divided by their standard deviation.
    """
    noise = np.log(NOISE).tolist()
    turn = np.log(max(1.0, 0.3 * level))
    smooth = [*[np.log(1.5 * np.sqrt(d))] * d, *SMOOTH, *noise]
    turning = [*[np.log(0.5 * d**0.25)] * d, turn + TURNING[0], turn + TURNING[1], *noise]
    sd = [[*[1.2] * d, 1.5, 1.5, *NOISE_SD], [*[0.5] * d, 0.7, 0.7, *NOISE_SD]]
    return np.array([smooth, turning], dtype=float), np.array(sd)


class _Processes(NamedTuple):
    """B processes of one channel, conditioned on its n rows."""

    theta: Floats  # (B, P)
    U: Floats  # (n, d)
    z: Floats  # (B, n)
    noise: Floats  # (B, n) noise variance of each row
    inverse_root: Floats  # (B, n, n) inverse of the Cholesky factor of the covariance of the rows
    alpha: Floats  # (B, n)
    line: float  # prior standard deviation of intercept and slopes

    @classmethod
    def of(cls, problem: _Problem, theta: Floats) -> _Processes:
        use = problem.use[0]
        U, z, noise = problem.U[use], problem.z[:, use], _noise_var(problem, theta)[:, use]
        covariance = _kernel(theta, U, U, problem.line) + noise[:, None] * np.eye(len(U))
        inverse_root = np.linalg.inv(np.linalg.cholesky(covariance))
        alpha = _times(inverse_root.swapaxes(1, 2), _times(inverse_root, z))
        return cls(theta, U, z, noise, inverse_root, alpha, problem.line)

    def mean(self, U: Floats, *, slope: bool = False) -> Floats:
        """(B, k) posterior mean at settings (k, d), or with `slope` its derivatives (B, k, d)."""
        return _expand(self.theta, U, self.U, self.alpha, self.line, slope=slope)

    def predict(self, U: Floats) -> tuple[Floats, Floats]:
        """(B, k) posterior mean and variance at settings (k, d)."""
        cross, d = _kernel(self.theta, U, self.U, self.line), U.shape[1]
        s2, a2 = np.exp(2.0 * self.theta[:, d : d + 2]).T[..., None]
        prior = self.line**2 * (1.0 + ((U - 0.5) ** 2).sum(axis=1)) + s2 + d * a2
        known = self.inverse_root @ cross.swapaxes(1, 2)
        return _times(cross, self.alpha), np.maximum(prior - (known**2).sum(axis=1), 0.0)

    def covariance(self, U: Floats) -> tuple[Floats, Floats]:
        """(B, k) posterior mean and (B, k, k) covariance at settings (k, d)."""
        cross = _kernel(self.theta, U, self.U, self.line)
        known = self.inverse_root @ cross.swapaxes(1, 2)
        return _times(cross, self.alpha), _kernel(self.theta, U, U, self.line) - known.swapaxes(1, 2) @ known

    def leave_one_out(self) -> tuple[Floats, Floats]:
        """(B, n) leave-one-out residuals of z and their variances (Rasmussen and Williams, section 5.4.2)."""
        precision = (self.inverse_root**2).sum(axis=1)
        return self.alpha / precision, 1.0 / precision


@dataclass(frozen=True)
class ChannelProcess:
    """A weighted mixture of processes for one channel; z = (T(y) - centre) / size."""

    transform: Transform
    centre: float
    size: float
    slope: Floats  # (d,) of the linear model, for the jitter
    scale: float  # standard deviation of the readings
    wrong: Bools  # (n,) rows that were left out
    used: Bools  # (n,) rows that the processes are conditioned on
    weight: Floats
    processes: _Processes

    def to_readings(self, z: Floats) -> tuple[Floats, Floats]:
        """Readings at z, and their derivative with respect to z."""
        y = backward(self.transform, self.centre + self.size * z)
        return y, self.size / derivative(self.transform, y)

    def predict(self, U: Floats) -> tuple[Floats, Floats, Floats]:
        """(k,) mean reading, variance of the model, and variance of the noise."""
        means, variances = self.processes.predict(U)
        z = self.weight @ means
        y, rate = self.to_readings(z)
        model_var = self.weight @ (variances + (means - z) ** 2) * rate**2
        sigma2 = self.weight @ np.exp(2.0 * self.processes.theta[:, -3:])
        parts = variance_parts(U, y[:, None], self.slope[None], np.array([self.scale]))[..., 0]
        return y, model_var, sigma2 @ parts

    def mean(self, U: Floats) -> Floats:
        """(k,) mean reading at settings (k, d)."""
        return self.to_readings(self.weight @ self.processes.mean(U))[0]

    def jacobian(self, U: Floats) -> Floats:
        """(k, d) derivatives of the mean reading."""
        rate = self.to_readings(self.weight @ self.processes.mean(U))[1]
        slope: Floats = np.tensordot(self.weight, self.processes.mean(U, slope=True), 1) * rate[:, None]
        return slope

    def leave_one_out(self) -> Floats:
        """(n,) log density of each reading given the others; NaN for a row that is not used."""
        away, variance = self.processes.leave_one_out()
        each = -0.5 * (away**2 / variance + np.log(variance) + LOG_2PI)
        rate = self.to_readings(self.processes.z[0])[1]
        density = np.full(len(self.used), np.nan)
        density[self.used] = np.logaddexp.reduce(np.log(self.weight)[:, None] + each, axis=0) - np.log(rate)
        return density

    def wrong_density(self, y: Floats) -> Floats:
        """(n,) log density of readings (n,) as wrong rows; NaN where T(y) is not defined."""
        y = np.where(y > 0, y, np.nan) if self.transform == "log" else y
        z = (forward(self.transform, y) - self.centre) / self.size
        return _wrong_evidence(z) - np.log(self.size / derivative(self.transform, y))

    def nonlinearity(self) -> float:
        """Standard deviation of the mean's deviation from its best plane, divided by that of the mean, at the rows."""
        y = self.mean(self.processes.U)
        X = np.column_stack([np.ones(len(y)), self.processes.U])
        off = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
        return float(off.std() / max(float(y.std()), 1e-300))


@dataclass(frozen=True)
class GaussianProcess:
    """A Gaussian process of each channel of the goal, as a forward model."""

    training: TrainingSet
    channels: tuple[ChannelProcess, ...]
    rows: Ints  # rows of the training set that are used; the rows of `channels` are these, then censored ones
    offset: Floats  # (m,) subtracted from the readings before the fit

    @property
    def summary(self) -> str:
        logs = sum(one.transform == "log" for one in self.channels)
        wrong = int(np.any([one.wrong for one in self.channels], axis=0).sum())
        parts = [
            f"Gaussian process, nonlinearity {100 * max(one.nonlinearity() for one in self.channels):.0f} %",
            f"logarithms of {logs} channel{'s' * (logs > 1)}" if logs else "",
            f"{wrong} row{'s' * (wrong > 1)} left out as wrong" if wrong else "",
            self.training.summary,
        ]
        return ", ".join(filter(None, parts))

    def predict(self, U: Floats) -> Prediction:
        parts = np.full((3, len(U), len(self.training.channels)), np.nan)
        for column, channel in zip(self.training.goal, self.channels, strict=True):
            parts[:, :, column] = channel.predict(U)
            parts[0, :, column] += self.offset[column]
        if self.training.session_cov is not None:
            X = np.column_stack([np.ones(len(U)), U])
            parts[1] += np.maximum(np.einsum("kp,mpq,kq->km", X, self.training.session_cov, X), 0.0)
        return Prediction(*parts)

    def mean(self, U: Floats) -> Floats:
        """(k, m) mean readings; faster than `predict`."""
        mean = np.full((len(U), len(self.training.channels)), np.nan)
        for column, channel in zip(self.training.goal, self.channels, strict=True):
            mean[:, column] = channel.mean(U) + self.offset[column]
        return mean

    def jacobian(self, U: Floats) -> Floats:
        slope = np.full((len(U), len(self.training.channels), U.shape[1]), np.nan)
        for column, channel in zip(self.training.goal, self.channels, strict=True):
            slope[:, column] = channel.jacobian(U)
        return slope

    def sample_paths(self, n: int, rng: np.random.Generator) -> Paths:
        drawn = tuple(_draw(channel, n, rng) for channel in self.channels)
        between = None
        if self.training.session_cov is not None:
            root = symmetric_root(np.nan_to_num(self.training.session_cov[self.training.goal]))
            between = np.einsum("gpq,ngq->gnp", root, rng.standard_normal((n, *root.shape[:2])))
        return _Paths(n, len(self.training.channels), self.training.goal, self.channels, drawn, between, self.offset)

    def log_predictive(self, U: Floats, Y: Floats, censored: Bools) -> float:
        return log_density(self.predict(U), Y, censored, at_upper_end(self.training, Y))

    def leave_one_out(self) -> Floats:
        """As in `ForwardModel`; a row that was left out as wrong has the density of wrong rows."""
        density = np.full(self.training.Y.shape, np.nan)
        for column, channel in zip(self.training.goal, self.channels, strict=True):
            y = self.training.Y[self.rows, column]
            each, wrong = channel.leave_one_out()[: len(y)], channel.wrong[: len(y)]
            density[self.rows, column] = np.where(wrong, channel.wrong_density(np.where(wrong, y, np.nan)), each)
        return density


class _Drawn(NamedTuple):
    """w functions drawn for one channel: prior functions of F random features, and their update by the n rows."""

    theta: Floats  # (w, P)
    V: Floats  # (n, d) rows
    line: Floats  # (w, d + 1) intercept and slopes at u = ½
    frequency: Floats  # (w, F, d)
    phase: Floats  # (w, 1, F)
    weight: Floats  # (w, F)
    update: Floats  # (w, n)
    line_sd: float  # prior standard deviation of intercept and slopes

    def prior(self, U: Floats) -> Floats:
        """(w, k) the prior functions at settings (k, d) or (w, k, d)."""
        features = np.cos(U @ self.frequency.swapaxes(1, 2) + self.phase)
        return self.line[:, :1] + _times(U - 0.5, self.line[:, 1:]) + _times(features, self.weight)

    def __call__(self, U: Floats) -> Floats:
        return self.prior(U) + _expand(self.theta, U, self.V, self.update, self.line_sd)

    def slope(self, U: Floats) -> Floats:
        """(w, k, d) derivatives of the functions."""
        sines = np.sin(U @ self.frequency.swapaxes(1, 2) + self.phase)  # (w, k, F)
        waves = (sines * self.weight[:, None]) @ self.frequency
        smooth = _expand(self.theta, U, self.V, self.update, self.line_sd, slope=True)
        return self.line[:, None, 1:] - waves + smooth


def _draw(channel: ChannelProcess, n: int, rng: np.random.Generator) -> _Drawn:
    """Draw n functions of z for one channel, each from one of its processes, picked with the probability of its weight.

    The spectral density of Matérn's covariance is a multivariate t distribution with 5 degrees of freedom. Frequencies
    are drawn from one with 1 degree of freedom and weighted accordingly, because the tail holds most of the uncertainty
    that the rows leave. Each feature of the additive part depends on one input.
    """
    processes = channel.processes
    which = rng.choice(len(channel.weight), size=n, p=channel.weight)
    theta, d = processes.theta[which], processes.U.shape[1]
    half = FEATURES // 2
    own = np.arange(half)[:, None] % d == np.arange(d)
    parts = [rng.standard_normal((n, half, d)), rng.standard_normal((n, half, 1)) * own]
    waves = np.concatenate(parts, axis=1) / np.sqrt(rng.chisquare(1.0, (n, FEATURES, 1)))
    square = (waves**2).sum(axis=2)
    share = np.concatenate([np.full(half, half), own @ own.sum(axis=0)])
    size = np.exp(np.repeat(theta[:, d : d + 2], half, axis=1)) * np.sqrt(2.0 / share)
    size[:, :half] *= np.exp(0.5 * (_log_t(square[:, :half], 5, d) - _log_t(square[:, :half], 1, d)))
    size[:, half:] *= np.exp(0.5 * (_log_t(square[:, half:], 5, 1) - _log_t(square[:, half:], 1, 1)))
    drawn = _Drawn(
        theta,
        processes.U,
        processes.line * rng.standard_normal((n, d + 1)),
        waves * np.exp(-theta[:, None, :d]),
        rng.uniform(0.0, 2.0 * np.pi, (n, 1, FEATURES)),
        size * rng.standard_normal((n, FEATURES)),
        np.empty(0),
        processes.line,
    )
    noise = np.sqrt(processes.noise[which]) * rng.standard_normal((n, len(processes.U)))
    gap = processes.z[which] - drawn.prior(processes.U) - noise
    update = np.empty_like(gap)
    for b in np.unique(which):
        root = processes.inverse_root[b]
        update[which == b] = gap[which == b] @ root.T @ root
    return drawn._replace(update=update)


def _log_t(square: Floats, dof: int, d: int) -> Floats:
    """Log density of the standard t distribution in d dimensions at squared distances."""
    norm = gammaln((dof + d) / 2) - gammaln(dof / 2) - 0.5 * d * np.log(dof * np.pi)
    density: Floats = norm - 0.5 * (dof + d) * np.log1p(square / dof)
    return density


@dataclass(frozen=True)
class _Paths:
    """n functions of the readings of m channels."""

    n: int
    m: int
    goal: Ints
    channels: tuple[ChannelProcess, ...]
    drawn: tuple[_Drawn, ...]
    between: Floats | None  # (g, n, d + 1) offset and slopes that the current session adds
    offset: Floats  # (m,) that was subtracted from the readings

    def __call__(self, U: Floats) -> Floats:
        Y = np.full((self.n, U.shape[-2], self.m), np.nan)
        for g, (column, channel) in enumerate(zip(self.goal, self.channels, strict=True)):
            Y[:, :, column] = channel.to_readings(self.drawn[g](U))[0] + self.offset[column]
            if self.between is not None:
                Y[:, :, column] += self.between[g, :, :1] + _times(U, self.between[g, :, 1:])
        return Y

    def jacobian(self, U: Floats) -> Floats:
        J = np.full((self.n, U.shape[-2], self.m, U.shape[-1]), np.nan)
        for g, (column, channel) in enumerate(zip(self.goal, self.channels, strict=True)):
            rate = (
                channel.to_readings(self.drawn[g](U))[1] if channel.transform != "none" else np.array([[channel.size]])
            )
            J[:, :, column] = self.drawn[g].slope(U) * rate[..., None]
            if self.between is not None:
                J[:, :, column] += self.between[g, :, None, 1:]
        return J


def _join(problems: Sequence[_Problem]) -> _Problem:
    """Concatenate the fits of several problems with the same settings."""
    first = problems[0]
    z, use, noise, fixed, mean, sd = (
        np.concatenate([getattr(one, part) for one in problems]) for part in _Problem._fields[1:-1]
    )
    return _Problem(first.U, z, use, noise, fixed, mean, sd, first.line)


def _fit_channels(channels: list[_Channel]) -> list[ChannelProcess]:
    """Fit every channel; if some rows are wrong, leave them out and repeat the whole fit.

    A row that is wrong in half of the channels or more is left out of all, because its settings must be wrong.
    """
    fits = _fit_once(channels)
    count = np.sum([one.wrong for one in fits], axis=0)
    if not count.any():
        return fits
    shared = 2 * count >= len(channels)
    left_out = [one.wrong | shared for one in fits]
    again = _fit_once([c._replace(exact=c.exact & ~rows) for c, rows in zip(channels, left_out, strict=True)])
    return [replace(one, wrong=one.wrong | rows) for one, rows in zip(again, left_out, strict=True)]


def _fit_once(channels: list[_Channel]) -> list[ChannelProcess]:
    """Fit every channel, without repeating the fit for wrong rows."""
    d = channels[0].U.shape[1]
    # A plane fits the first inputs + 1 rows on either scale, so they do not tell the transform.
    telling = [bool(c.exact.sum() > d + 1) for c in channels]
    allowed = [_transforms(c) if any(telling) else ("none",) for c in channels]
    options = [(j, t) for j, transforms in enumerate(allowed) for t in transforms]
    # Where `log` is compared with `none`, readings of 0 or below are left out of both: `log` cannot use them.
    positive = [c._replace(exact=c.exact & (c.y > 0)) if len(allowed[j]) > 1 else c for j, c in enumerate(channels)]
    stated = [positive[j].problem(t) for j, t in options]
    exact = np.flatnonzero(np.any([c.exact for c in channels], axis=0))
    few = (
        exact[np.sort(_spread(channels[0].U[exact], subset))] if len(exact) > (subset := max(SUBSET, d + 10)) else exact
    )
    smooth = _join([one[0].take(np.array([0])) for one in stated]).rows(few)
    theta, scored = _chunked(smooth, smooth.mean, SCREENING_STEPS)
    evidence = _evidence(scored)
    for i, (j, t) in enumerate(options):
        evidence[i] += np.log(derivative(t, channels[j].y[few][stated[i][0].use[0, few]]) / stated[i][3]).sum()
    gain = [telling[j] * (evidence[i] - evidence[i - 1]) for i, (j, t) in enumerate(options) if t == "log"]
    logarithmic = iter(_are_logarithmic(np.array(gain)))
    taken: list[Transform] = ["log" if len(one) > 1 and next(logarithmic) else "none" for one in allowed]
    stated = [c.problem(t) for c, t in zip(channels, taken, strict=True)]
    both = _join([one[0] for one in stated])
    start = both.mean.copy()
    start[::2] = theta[[options.index((j, t)) for j, t in enumerate(taken)]]
    theta, scored = _chunked(both.rows(few), start, STEPS)
    evidence = _evidence(scored)
    more = len(few) < len(exact)
    return [
        _finish(c, t, stated[j], theta[2 * j : 2 * j + 2], evidence[2 * j : 2 * j + 2], more=more)
        for j, (c, t) in enumerate(zip(channels, taken, strict=True))
    ]


def _are_logarithmic(gain: Floats) -> Bools:
    """(c,) for which channels to take the logarithm, given the gain in log evidence (c,) by it.

    With equal prior probability either each channel has its own transform, or all channels have the same one.
    """
    c, (none, log) = len(gain), np.array([ODDS, 1.0]) / (ODDS + 1.0)
    own = gain > np.log(ODDS)
    mixed = np.where(own, np.log(log) + gain, np.log(none)).sum()
    alike = np.log([none + none**c, log + log**c]) + np.array([0.0, gain.sum()])
    best = int(np.argmax([mixed, *alike]))
    return own if best == 0 else np.full(c, best == 2)


def _transforms(channel: _Channel) -> tuple[Transform, ...]:
    """The transforms to compare: `none`, and `log` if only a few readings, then taken for wrong, are 0 or below."""
    if channel.optimised and channel.y[channel.exact].min() < 0.99 * LEAST_LOG * channel.size:
        return ("none",)
    below = int((channel.y[channel.exact | channel.censored] <= 0).sum())
    bounds_below = (channel.y[channel.censored] <= 0).any()
    return ("none",) if below > min(MAX_WRONG, len(channel.y) // 10) or bounds_below else ("none", "log")


def _chunked(problem: _Problem, theta: Floats, steps: int) -> tuple[Floats, _Scored]:
    """Run `_maximise` on as many fits at once as keep arrays below CHUNK numbers, for the sake of the CPU cache."""
    n, P = len(problem.U), theta.shape[1]
    at_once = max(1, CHUNK // (n * n * P))
    parts = [
        _maximise(problem.take(np.arange(i, min(i + at_once, len(theta)))), theta[i : i + at_once], steps)
        for i in range(0, len(theta), at_once)
    ]
    scored = _Scored(*(np.concatenate(one) for one in zip(*(part[1] for part in parts), strict=True)))
    return np.concatenate([part[0] for part in parts]), scored


def _finish(
    channel: _Channel,
    transform: Transform,
    stated: tuple[_Problem, Floats, float, float],
    theta: Floats,
    evidence: Floats,
    *,
    more: bool,
) -> ChannelProcess:
    """Complete the fit of one channel: use all rows if there are `more`, leave out wrong ones, add censored ones."""
    problem, z, centre, size = stated
    if more:
        use = np.flatnonzero(evidence > evidence.max() + np.log(NEGLIGIBLE))
        problem = problem.take(use)
        theta, scored = _maximise(problem, theta[use], FINAL_STEPS)
        evidence = _evidence(scored)
    wrong = np.zeros(len(channel.y), bool)
    if not channel.optimised:
        problem, theta, evidence, wrong = _without_wrong(problem, theta, evidence)
    if channel.censored.any():
        problem, theta, evidence = _with_bounds(channel, problem, z, theta, evidence)
    if problem.U.shape[1] + 2 < problem.use[0].sum() <= DRAWN_ROWS:
        problem, theta, evidence = _with_draws(problem, theta, evidence)
    weight = np.exp(evidence - evidence.max())
    keep = weight > (NEGLIGIBLE if len(weight) <= 2 else LEAST_DRAW) * weight.sum()
    processes = _Processes.of(problem.take(np.flatnonzero(keep)), theta[keep])
    weight = weight[keep] / weight[keep].sum()
    used = problem.use[0]
    return ChannelProcess(transform, centre, size, channel.slope, channel.size, wrong, used, weight, processes)


def _with_draws(problem: _Problem, theta: Floats, evidence: Floats) -> tuple[_Problem, Floats, Floats]:
    """Replace the most probable parameters by draws around them, weighted by importance sampling.

    With few rows the most probable parameters alone would give too small an uncertainty.
    """
    B, P = theta.shape
    half = np.random.default_rng(0).standard_normal((DRAWS // 2, P))
    normal = np.concatenate([half, -half])
    root = np.linalg.cholesky(np.linalg.inv(_score(problem, theta).information))
    drawn = (theta[:, None] + normal @ root.swapaxes(1, 2)).reshape(-1, P)
    repeated = problem.take(np.repeat(np.arange(B), DRAWS))
    value = _score(repeated, drawn, derivatives=False).value.reshape(B, DRAWS) + 0.5 * (normal**2).sum(axis=1)
    share = value - np.logaddexp.reduce(value, axis=1, keepdims=True)
    return repeated, drawn, (evidence[:, None] + share).ravel()


def _without_wrong(problem: _Problem, theta: Floats, evidence: Floats) -> tuple[_Problem, Floats, Floats, Bools]:
    """Leave out the row farthest from the prediction of the others, again and again, and keep the best evidence.

    The search goes on after a step that lowers the evidence, because two wrong rows may hide each other.

    Returns:
        Problem, parameters, evidence, and (n,) which rows were left out.
    """
    n, d = problem.U.shape
    best = problem, theta, evidence, np.zeros(n, bool)
    if n < 2 * d + 6:
        return best
    cost = 0.0
    for _ in range(min(MAX_WRONG, n // 10)):
        away, variance = _Processes.of(problem, theta).leave_one_out()
        off = np.abs(away / np.sqrt(variance))[int(evidence.argmax())]
        if off.max() < SUSPECT:
            break
        row = np.flatnonzero(problem.use[0])[int(off.argmax())]
        cost += float(_wrong_evidence(problem.z[0, row]))
        use = problem.use.copy()
        use[:, row] = False
        problem = problem._replace(use=use, z=np.where(use, problem.z, 0.0))
        theta, scored = _maximise(problem, theta, WRONG_STEPS)
        evidence = _evidence(scored) + cost
        if np.logaddexp.reduce(evidence) > np.logaddexp.reduce(best[2]):
            best = problem, theta, evidence, best[3] | ~use[0] & best[0].use[0]
    return best


def _wrong_evidence(z: Floats) -> Floats:
    """Log density of wrong rows at z, plus the prior log odds that a row is wrong."""
    evidence: Floats = -0.5 * (z / WIDE) ** 2 - np.log(WIDE) - 0.5 * LOG_2PI + np.log(WRONG / (1.0 - WRONG))
    return evidence


def _with_bounds(
    channel: _Channel, problem: _Problem, z: Floats, theta: Floats, evidence: Floats
) -> tuple[_Problem, Floats, Floats]:
    """Add censored readings as rows, with the mean and variance of their sites, and refit the hyperparameters.

    Without the refit, the sites would be too close to the end of the channel.
    """
    given = problem
    for step in range(REFITS + 1):
        problem, log_z = _add_sites(channel, given, z, theta)
        if step == 0:
            evidence = evidence + log_z
        if step < REFITS:
            theta = _maximise(problem, theta, STEPS)[0]
    return problem, theta, evidence


def _add_sites(channel: _Channel, given: _Problem, z: Floats, theta: Floats) -> tuple[_Problem, Floats]:
    """Add the censored readings to B fits of the others; also (B,) log probabilities of their bounds."""
    cut = np.flatnonzero(channel.censored)
    sign = np.where(channel.upper[cut], 1.0, -1.0)
    noise = np.exp(2.0 * theta[:, -3:])[:, :, None] * given.noise[:, :, cut]
    use, at, fixed, parts = given.use.copy(), given.z.copy(), given.fixed.copy(), given.noise.copy()
    use[:, cut], parts[:, :, cut] = True, 0.0
    means, covariances = _Processes.of(given, theta).covariance(given.U[cut])
    log_z = np.zeros(len(theta))
    for b in range(len(theta)):
        sites, log_z[b] = censored_sites(means[b], covariances[b], z[cut], noise[b].sum(axis=0) + FLOOR, sign)
        at[b, cut], fixed[b, cut] = sites
    return given._replace(use=use, z=at, fixed=fixed, noise=parts), log_z


def censored_sites(
    mean: Floats, covariance: Floats, bound: Floats, noise: Floats, sign: Floats
) -> tuple[tuple[Floats, Floats], float]:
    """Expectation propagation for readings that lie beyond bounds.

    Args:
        mean: (c,) prior mean of the function.
        covariance: (c, c) prior covariance of the function.
        bound: (c,) lower (sign 1) or upper (sign -1) bound of the reading.
        noise: (c,) variance of the reading about the function.
        sign: (c,) 1 or -1.

    Returns:
        (c,) values and (c,) variances of readings equivalent to the bounds (the sites), and the sum of the log
        probabilities of the bounds under the prior means, each taken alone.
    """
    c = len(mean)
    tau, nu = np.zeros(c), np.zeros(c)
    scale = np.sqrt(np.diagonal(covariance) + noise)
    log_z = float(log_ndtr(sign * (mean - bound) / scale).sum())
    precision = np.linalg.inv(covariance + 1e-9 * np.diag(np.diagonal(covariance)))
    for _ in range(SWEEPS):
        for i in range(c):
            V = np.linalg.inv(precision + np.diag(tau))
            m = V @ (precision @ mean + nu)
            v_cavity = 1.0 / max(1.0 / V[i, i] - tau[i], 1e-12)
            m_cavity = v_cavity * (m[i] / V[i, i] - nu[i])
            spread = np.sqrt(v_cavity + noise[i])
            t = sign[i] * (m_cavity - bound[i]) / spread
            ratio = np.exp(-0.5 * t**2 - 0.5 * LOG_2PI - log_ndtr(t))
            first, second = sign[i] * ratio / spread, -ratio * (t + ratio) / spread**2
            v_new = v_cavity + v_cavity**2 * second
            m_new = m_cavity + v_cavity * first
            tau[i] = max(1.0 / v_new - 1.0 / v_cavity, 1e-10)
            nu[i] = m_new / v_new - m_cavity / v_cavity
    return (nu / tau, 1.0 / tau), log_z


class Hyperparameters(NamedTuple):
    """What one process of a channel has besides its rows."""

    transform: Transform
    lengths: Floats  # (d,) length scales, in units of the bounds
    joint: float  # standard deviation of the smooth function of all inputs together, relative to that of T(y)
    additive: float  # standard deviation of the smooth function of each input, likewise
    proportional: float  # noise relative to the reading
    constant: float  # noise in the unit of the channel


def hyperparameters_of(channel: ChannelProcess) -> Hyperparameters:
    """The mean over the mixture, of the logarithms; the jitter becomes constant noise of the same mean variance."""
    size, d = np.exp(channel.weight @ channel.processes.theta), channel.processes.U.shape[1]
    U = channel.processes.U
    jitter = variance_parts(U, np.zeros((len(U), 1)), channel.slope[None], np.array([channel.scale]))[2]
    constant = (size[-2] * channel.scale) ** 2 + size[-1] ** 2 * jitter.mean()
    numbers = float(size[d]), float(size[d + 1]), float(size[-3]), float(np.sqrt(constant))
    return Hyperparameters(channel.transform, size[:d], *numbers)


def condition(parameters: Hyperparameters, U: Floats, y: Floats, censored: Bools) -> ChannelProcess:
    """The process with these hyperparameters, given the n rows of a channel; nothing is fitted.

    Args:
        parameters: of the process.
        U: (n, d) settings in units of the bounds.
        y: (n,) readings; NaN where not measured.
        censored: (n,) readings that are bounds.
    """
    exact = np.isfinite(y) & ~censored
    size = max(float(y[exact].std()), 1e-9 * max(float(np.abs(y[exact]).max()), 1.0))
    upper = y >= y[exact].mean()
    channel = _Channel(U, y, exact, censored, upper, np.zeros(U.shape[1]), size)
    both, z, centre, spread = channel.problem(parameters.transform)
    problem = both.take(np.array([0]))
    numbers = [parameters.joint, parameters.additive, parameters.proportional, parameters.constant / size, 0.0]
    theta = np.log(np.maximum([*parameters.lengths, *numbers], 1e-12))[None]
    if censored.any():
        problem, _ = _add_sites(channel, problem, z, theta)
    processes = _Processes.of(problem, theta)
    wrong = np.zeros(len(y), bool)
    return ChannelProcess(
        parameters.transform, centre, spread, channel.slope, size, wrong, problem.use[0], np.ones(1), processes
    )
