"""Bayesian statistical inversion: the posterior probability of settings, given the goal and a forward model.

All settings x inside the bounds are equally probable a priori, and a reading at x is distributed as the forward model
predicts. Then the posterior density of the settings for a reading y at the goal is

    p(x | y)  ∝  prod_c N(y_c; mean_c(x), std_c(x))        x inside the bounds

It is sampled by Markov chains (emcee: an affine-invariant ensemble of walkers). A search gives one point; the draws
show all solutions, the ridge of settings of an underdetermined goal, and the limits of what can be reached.

Paper (10.1039/D5DD00137D), section 1; Tarantola, Inverse Problem Theory (2005), chapter 1; Stuart, Acta Numerica 19
(2010) 451; Goodman and Weare, CAMCoS 5 (2010) 65; Foreman-Mackey et al., PASP 125 (2013) 306; ter Braak, Statistics and
Computing 16 (2006) 239.

Walkers explore one mode, but hardly ever move to another. So the modes are located first, from a Sobol' sequence of
starting points. Walkers start at each mode, spread by its curvature, and some of their moves are as long as the
distance between two modes, which estimates the probability of each mode. The noise of the channels is treated as
independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from emcee import EnsembleSampler
from emcee.moves import DEMove, StretchMove

from sdl.arrays import Floats, Ints
from sdl.models.constants import FREE
from sdl.models.data import Data, Proposals, Targets
from sdl.models.inversion.forward_models import FittedModel, ForwardKind, fit_forward, std_error
from sdl.models.inversion.modes import MERGE_DEPTH, LogPosterior, Modes, find_modes, inside, slopes
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space


def fit_mcmc(
    data: Data,
    *,
    model: ForwardKind,
    answer: Literal["mean", "median", "top"],
    walkers: int,
    steps: int,
    burn: int,
) -> FittedMcmc:
    """Fit the forward model; the options are those of the solver `mcmc`.

    Raises:
        NotEnoughData, Degenerate: the rows do not suffice for the forward model.
    """
    fitted = fit_forward(model, data)
    return FittedMcmc(fitted, fitted.training, model, answer, walkers, steps, burn)


class Cloud(NamedTuple):
    """Draws: settings (n, d) in units of the bounds, their log density (n,), and the mode (n,) each belongs to."""

    U: Floats
    height: Floats
    mode: Ints
    modes: Modes


@dataclass(frozen=True)
class FittedMcmc:
    """A fitted forward model with the options of its inversion."""

    model: FittedModel
    training: TrainingSet
    kind: ForwardKind
    answer: Literal["mean", "median", "top"]
    walkers: int
    steps: int
    burn: int

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        region = self.training.region(space)
        settings, std_errors, notes = [], [], []
        for parts in zip(*targets, strict=True):
            target = self.training.activate_limits(Targets(*parts), region)
            columns = self.training.target_columns(target.value)
            if not len(columns):
                settings.append(self.training.nearest(target, region))
                std_errors.append(np.full((2, len(space.low)), np.nan))
                notes.append("no channel has a target")
                continue
            density = LogPosterior(self.model, target.value, columns, region)
            cloud = self._draw(density, self.training.nearest(target, region), rng)
            u, spread, note = self._answer(cloud, density)
            settings.append(u)
            std_errors.append(self._std_errors(u, spread, density))
            notes.append(note)
        U = np.array(settings)
        spread, uncertainty = np.swapaxes(np.array(std_errors), 0, 1)
        expected = self.model.predict(self.training.settings(U))[0]
        name = f"Bayesian inversion of {self.kind}"
        return to_proposals(self.training, name, U, (spread, uncertainty), targets, space, expected, notes)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        return self.model.predict(X)

    def sample(self, target: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Draw n settings (n, d) from the posterior, all modes included, for the reading `target` (m,); NaN = free."""
        d = len(self.training.low)
        columns = self.training.target_columns(target)
        if not len(columns):
            return self.training.settings(rng.random((n, d)))
        density = LogPosterior(self.model, target, columns, self.training.own_region)
        cloud = self._draw(density, self.training.linear.middle, rng)
        return self.training.settings(cloud.U[rng.choice(len(cloud.U), size=n, replace=n > len(cloud.U))])

    def _draw(self, density: LogPosterior, start: Floats, rng: np.random.Generator) -> Cloud:
        """Find the modes, and draw with walkers that start at them."""
        modes = find_modes(density, start, rng)
        d = len(start)
        walkers = max(self.walkers, 4 * d) // 2 * 2
        first = np.empty((walkers, d))
        for w in range(walkers):  # the same number at each mode
            top = rng.choice(np.flatnonzero(modes.of == w % (modes.of.max() + 1)))
            drawn = rng.multivariate_normal(modes.maxima[top], modes.covariance[top], method="cholesky")
            first[w] = density.region.project(inside(drawn, density.low, density.high))
        moves = [(DEMove(), 0.6), (DEMove(gamma0=1.0), 0.2), (StretchMove(), 0.2)]
        sampler = EnsembleSampler(walkers, d, density, moves=moves, vectorize=True)
        seed = rng.integers(2**32, size=8, dtype=np.uint32)
        sampler.random_state = np.random.RandomState(seed).get_state()  # not numpy's global generator
        sampler.run_mcmc(first, self.burn + self.steps, skip_initial_state_check=True)
        U = sampler.get_chain(discard=self.burn, flat=True)
        height = sampler.get_log_prob(discard=self.burn, flat=True)
        metric = np.linalg.inv(modes.covariance)
        far = [np.einsum("nd,de,ne->n", U - u, one, U - u) for u, one in zip(modes.maxima, metric, strict=True)]
        return Cloud(U, height, modes.of[np.argmin(far, axis=0)], modes)

    def _answer(self, cloud: Cloud, density: LogPosterior) -> tuple[Floats, Floats, str]:
        """(d,) the proposed settings, (d,) the standard deviation of their mode, and a note."""
        share = np.bincount(cloud.mode) / len(cloud.U)
        # Of equally probable modes take the one closest to the rows, so that a campaign does not alternate.
        likely = np.flatnonzero(share >= 0.5 * share.max())
        maxima, of = cloud.modes.maxima, cloud.modes.of
        distances = [np.abs(self.training.U[:, None] - maxima[of == mode]).max(axis=2).min() for mode in likely]
        mode = int(likely[int(np.argmin(distances))])
        mine = cloud.mode == mode
        U, height = cloud.U[mine], cloud.height[mine]
        top = U[int(height.argmax())]
        u = {"mean": U.mean(axis=0), "median": np.median(U, axis=0), "top": top}[self.answer]
        note = f"{len(U)} of {len(cloud.U)} draws"
        if (number := int((share > 0.01).sum())) > 1:
            note += f" on one of {number} solutions"
        if density(u[None])[0] < height.max() - MERGE_DEPTH - len(u) / 2:
            u, note = top, note + ", the most probable since their middle lies off them"
        return u, U.std(axis=0), note

    def _std_errors(self, u: Floats, spread: Floats, density: LogPosterior) -> Floats:
        """(2, d) spread, as drawn, and uncertainty of the settings u (d,).

        The draws are for one noisy reading at the goal, so they give the spread. Uncertainty is the model's part of it
        by the delta method, plus the spread beyond that method, which comes from a free choice or a nonlinearity.
        """
        X = self.training.settings(u[None])
        std = self.model.predict(X)[1][0, density.columns]
        if not np.isfinite(std).all():
            return np.full((2, len(u)), np.nan)
        inverse = np.linalg.pinv(slopes(density, u[None])[1][0], rcond=FREE) ** 2
        plain = np.sqrt(inverse.sum(axis=1))
        model = np.sqrt(inverse @ (std_error(self.model, X)[0, density.columns] / std) ** 2)
        beyond = np.where(spread > 1.25 * plain, np.sqrt(np.maximum(spread**2 - plain**2, 0.0)), 0.0)
        return np.stack([spread, np.minimum(np.hypot(model, beyond), spread)])
