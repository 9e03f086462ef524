"""The fit of the processes of all channels: transforms, rows left out as wrong, censored rows, draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sdl.arrays import Bools, Floats, Ints
from sdl.models.forward.gp.censored import with_censored
from sdl.models.forward.gp.channel import ChannelProcess, ChannelRows, Processes, wrong_row_density
from sdl.models.forward.gp.evidence import FitData, join, log_evidence, maximise, maximise_each, score
from sdl.models.transforms import Transform, derivative

SUBSET = 40
"""Rows that the hyperparameters are fitted to before FINAL_STEPS with all rows: half the time, same median errors."""
SCREENING_STEPS, STEPS, FINAL_STEPS, WRONG_STEPS = 8, 16, 2, 6
"""Largest number of Fisher scoring steps: to compare transforms, to fit, to refit with all rows, and after a row is
left out."""
ODDS = 4.0
"""Prior odds of no transform against the logarithm. At 1, affine instruments would need one trial more."""
NEGLIGIBLE = 1e-3
"""A component with a smaller share of the weight is dropped."""
DRAWN_ROWS, DRAWS, LEAST_DRAW = 40, 16, 0.02
"""With at most DRAWN_ROWS rows, DRAWS sets of hyperparameters are drawn for each component, and those with less weight
than LEAST_DRAW are dropped. Not with the first inputs + 2 rows, where it would cost an affine instrument one trial."""
MAX_WRONG = 5
"""Largest number of rows left out as wrong."""
SUSPECT = 3.5
"""Only rows at least this many standard deviations from the prediction of the others may be wrong."""
LEAST_LOG = 0.1
"""With an objective, the smallest value that a logarithm is taken of, in standard deviations of the readings."""


def fit_channels(channels: list[ChannelRows]) -> list[ChannelProcess]:
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


def _fit_once(channels: list[ChannelRows]) -> list[ChannelProcess]:
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
    subset = max(SUBSET, d + 10)
    few = exact if len(exact) <= subset else exact[np.sort(pick_rows(channels[0].U[exact], subset))]
    smooth = join([one[0].take(np.array([0])) for one in stated]).rows(few)
    theta, scored = maximise_each(smooth, smooth.mean, SCREENING_STEPS)
    evidence = log_evidence(scored)
    for i, (j, t) in enumerate(options):
        evidence[i] += np.log(derivative(t, channels[j].y[few][stated[i][0].use[0, few]]) / stated[i][3]).sum()
    gain = [telling[j] * (evidence[i] - evidence[i - 1]) for i, (j, t) in enumerate(options) if t == "log"]
    logarithmic = iter(are_logarithmic(np.array(gain)))
    taken: list[Transform] = ["log" if len(one) > 1 and next(logarithmic) else "none" for one in allowed]
    stated = [c.problem(t) for c, t in zip(channels, taken, strict=True)]
    both = join([one[0] for one in stated])
    start = both.mean.copy()
    start[::2] = theta[[options.index((j, t)) for j, t in enumerate(taken)]]
    theta, scored = maximise_each(both.rows(few), start, STEPS)
    evidence = log_evidence(scored)
    more = len(few) < len(exact)
    return [
        _finish(c, t, stated[j], theta[2 * j : 2 * j + 2], evidence[2 * j : 2 * j + 2], more=more)
        for j, (c, t) in enumerate(zip(channels, taken, strict=True))
    ]


def are_logarithmic(gain: Floats) -> Bools:
    """(c,) whether to take the logarithm of each channel, given the gain (c,) in log evidence from doing so.

    With equal prior probability either each channel has its own transform, or all channels have the same one.
    """
    c, (none, log) = len(gain), np.array([ODDS, 1.0]) / (ODDS + 1.0)
    own = gain > np.log(ODDS)
    mixed = np.where(own, np.log(log) + gain, np.log(none)).sum()
    alike = np.log([none + none**c, log + log**c]) + np.array([0.0, gain.sum()])
    best = int(np.argmax([mixed, *alike]))
    return own if best == 0 else np.full(c, best == 2)


def _transforms(channel: ChannelRows) -> tuple[Transform, ...]:
    """The transforms to compare: `none`, and `log` if only a few readings, then taken for wrong, are 0 or below."""
    if channel.optimised and channel.y[channel.exact].min() < 0.99 * LEAST_LOG * channel.size:
        return ("none",)
    below = int((channel.y[channel.exact | channel.censored] <= 0).sum())
    never = (channel.y[channel.censored] <= 0).any() or not (channel.y[channel.exact] > 0).any()
    return ("none",) if below > min(MAX_WRONG, len(channel.y) // 10) or never else ("none", "log")


def _finish(
    channel: ChannelRows,
    transform: Transform,
    stated: tuple[FitData, Floats, float, float],
    theta: Floats,
    evidence: Floats,
    *,
    more: bool,
) -> ChannelProcess:
    """Complete the fit of one channel: use all rows if there are `more`, leave out wrong ones, add censored ones."""
    problem, z, centre, size = stated
    use = np.arange(int(channel.turning), len(evidence))
    if more:
        use = use[evidence[use] > evidence[use].max() + np.log(NEGLIGIBLE)]
    problem, theta, evidence = problem.take(use), theta[use], evidence[use]
    if more:
        theta, scored = maximise(problem, theta, FINAL_STEPS)
        evidence = log_evidence(scored)
    wrong = np.zeros(len(channel.y), bool)
    if not channel.optimised:
        problem, theta, evidence, wrong = _without_wrong(problem, theta, evidence)
    if channel.censored.any():
        problem, theta, evidence = with_censored(channel, problem, z, theta, evidence)
    if problem.U.shape[1] + 2 < problem.use[0].sum() <= DRAWN_ROWS:
        problem, theta, evidence = _with_draws(problem, theta, evidence)
    weight = np.exp(evidence - evidence.max())
    keep = weight > (NEGLIGIBLE if len(weight) <= 2 else LEAST_DRAW) * weight.sum()
    processes = Processes.of(problem.take(np.flatnonzero(keep)), theta[keep])
    weight = weight[keep] / weight[keep].sum()
    rows = channel.censored, wrong, problem.use[0]
    return ChannelProcess(transform, centre, size, channel.slope, channel.size, *rows, weight, processes)


def _with_draws(problem: FitData, theta: Floats, evidence: Floats) -> tuple[FitData, Floats, Floats]:
    """Replace the most probable parameters by draws around them, weighted by importance sampling.

    With few rows the most probable parameters alone would give too small an uncertainty.
    """
    B, P = theta.shape
    half = np.random.default_rng(0).standard_normal((DRAWS // 2, P))
    normal = np.concatenate([half, -half])
    root = np.linalg.cholesky(np.linalg.inv(score(problem, theta).information))
    drawn = (theta[:, None] + normal @ root.swapaxes(1, 2)).reshape(-1, P)
    repeated = problem.take(np.repeat(np.arange(B), DRAWS))
    value = score(repeated, drawn, derivatives=False).value.reshape(B, DRAWS) + 0.5 * (normal**2).sum(axis=1)
    share = value - np.logaddexp.reduce(value, axis=1, keepdims=True)
    return repeated, drawn, (evidence[:, None] + share).ravel()


def _without_wrong(problem: FitData, theta: Floats, evidence: Floats) -> tuple[FitData, Floats, Floats, Bools]:
    """Leave out the row farthest from the prediction of the others, again and again, and keep the best evidence.

    The search goes on after a step that lowers the evidence, because two wrong rows may hide each other.

    Returns:
        FitData, parameters, evidence, and (n,) which rows were left out.
    """
    n, d = problem.U.shape
    best = problem, theta, evidence, np.zeros(n, bool)
    if n < 2 * d + 6:
        return best
    cost = 0.0
    for _ in range(min(MAX_WRONG, n // 10)):
        away, variance = Processes.of(problem, theta).leave_one_out()
        off = np.abs(away / np.sqrt(variance))[int(evidence.argmax())]
        if off.max() < SUSPECT:
            break
        row = np.flatnonzero(problem.use[0])[int(off.argmax())]
        cost += float(wrong_row_density(problem.z[0, row]))
        use = problem.use.copy()
        use[:, row] = False
        problem = problem._replace(use=use, z=np.where(use, problem.z, 0.0))
        theta, scored = maximise(problem, theta, WRONG_STEPS)
        evidence = log_evidence(scored) + cost
        if np.logaddexp.reduce(evidence) > np.logaddexp.reduce(best[2]):
            best = problem, theta, evidence, best[3] | ~use[0] & best[0].use[0]
    return best


def pick_rows(U: Floats, rows: int, newest: int = 0) -> Ints:
    """Indices of `rows` of the settings U (n, d): the newest, and others picked by a hash of their settings."""
    key = (U @ np.sqrt(np.arange(2.0, len(U.T) + 2.0)) * 997.0) % 1.0
    older = np.argsort(key[: len(U) - newest], kind="stable")[: rows - newest]
    return np.concatenate([np.sort(older), np.arange(len(U) - newest, len(U))])
