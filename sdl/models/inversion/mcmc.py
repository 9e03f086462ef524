"""Bayesian statistical inversion: which settings are how probable, given the goal and a forward model?

With all settings x inside the bounds equally probable beforehand, and a reading at x distributed as the forward model
predicts, the settings that a reading y at the goal came from have the density

    p(x | y)  ∝  prod_c N(y_c; mean_c(x), std_c(x))        x inside the bounds

which is drawn from by Markov chains (emcee: an ensemble of walkers, affine invariant). What a search makes one point of
is all there: several solutions, ridges where the goal leaves a choice, the edge of the gamut.

Paper (10.1039/D5DD00137D), section 1; Tarantola, Inverse Problem Theory (2005), chapter 1; Stuart, Acta Numerica 19
(2010) 451; Goodman and Weare, CAMCoS 5 (2010) 65; Foreman-Mackey et al., PASP 125 (2013) 306; ter Braak, Statistics and
Computing 16 (2006) 239.

Walkers find their way along a hill, but hardly from one to the next. So the hills are climbed first, from a Sobol'
sequence of starts; walkers begin on each of them, spread as its curvature says, and a part of their moves is as long as
the hills are apart, which sets their numbers right. Channels are taken to be noisy each for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from emcee import EnsembleSampler
from emcee.moves import DEMove, StretchMove

from sdl.arrays import Floats, Ints
from sdl.models.data import Data, Proposals, Targets
from sdl.models.forward_models import ForwardKind, ForwardModel, fit_forward, std_error
from sdl.models.inversion.modes import MERGE_DEPTH, LogPosterior, Modes, find_modes, inside, slopes
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import to_proposals
from sdl.space import Space


def fit_mcmc(
    data: Data,
    *,
    model: ForwardKind = "gp",
    answer: Literal["mean", "median", "top"] = "mean",
    walkers: int = 64,
    steps: int = 60,
    burn: int = 20,
) -> FittedMcmc:
    """Fits the forward model.

    Raises:
        NotEnoughData, Degenerate: as the forward model does.
    """
    fitted = fit_forward(model, data)
    return FittedMcmc(fitted, fitted.training, model, answer, walkers, steps, burn)


class Cloud(NamedTuple):
    """What was drawn: settings (n, d) in units, their log density (n,), and which hill (n,) each is on."""

    U: Floats
    height: Floats
    hill: Ints
    hills: Modes


@dataclass(frozen=True)
class FittedMcmc:
    """A forward model, to be inverted."""

    model: ForwardModel
    training: TrainingSet
    kind: ForwardKind = "gp"
    answer: Literal["mean", "median", "top"] = "mean"
    walkers: int = 64
    steps: int = 60
    burn: int = 20

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        ends = self.training.bounds(space)
        settings, doubts, notes = [], [], []
        for parts in zip(*targets, strict=True):
            target = self.training.activate_limits(Targets(*parts), *ends)
            columns = self.training.target_columns(target.value)
            if not len(columns):
                settings.append(self.training.nearest(target, *ends))
                doubts.append(np.full((2, len(space.low)), np.nan))
                notes.append("nothing to aim at")
                continue
            density = LogPosterior(self.model, target.value, columns, *ends)
            cloud = self._draw(density, self.training.nearest(target, *ends), rng)
            u, spread, said = self._answer(cloud, density)
            settings.append(u)
            doubts.append(self._doubts(u, spread, density))
            notes.append(said)
        U = np.array(settings)
        spread, uncertainty = np.swapaxes(np.array(doubts), 0, 1)
        expected = self.model.predict(self.training.settings(U))[0]
        name = f"Bayesian inversion of {self.kind}"
        return to_proposals(self.training, name, U, (spread, uncertainty), targets, space, expected, notes)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        return self.model.predict(X)

    def sample(self, target: Floats, n: int, rng: np.random.Generator) -> Floats:
        """Draws n settings (n, d) that one reading `target` (m,) may have come from, NaN where free; all solutions."""
        d = len(self.training.low)
        columns = self.training.target_columns(target)
        if not len(columns):
            return self.training.settings(rng.random((n, d)))
        density = LogPosterior(self.model, target, columns, np.zeros(d), np.ones(d))
        cloud = self._draw(density, self.training.linear.middle, rng)
        return self.training.settings(cloud.U[rng.choice(len(cloud.U), size=n, replace=n > len(cloud.U))])

    def _draw(self, density: LogPosterior, start: Floats, rng: np.random.Generator) -> Cloud:
        """Climbs the hills, and lets the walkers go."""
        hills = find_modes(density, start, rng)
        d = len(start)
        walkers = max(self.walkers, 4 * d) // 2 * 2
        first = np.empty((walkers, d))
        for w in range(walkers):  # as many on each hill
            top = rng.choice(np.flatnonzero(hills.of == w % (hills.of.max() + 1)))
            drawn = rng.multivariate_normal(hills.tops[top], hills.covariance[top], method="eigh")
            first[w] = inside(drawn, density.low, density.high)
        moves = [(DEMove(), 0.6), (DEMove(gamma0=1.0), 0.2), (StretchMove(), 0.2)]
        sampler = EnsembleSampler(walkers, d, density, moves=moves, vectorize=True)
        seed = rng.integers(2**32, size=8, dtype=np.uint32)
        sampler.random_state = np.random.RandomState(seed).get_state()  # its own, not the global one
        sampler.run_mcmc(first, self.burn + self.steps, skip_initial_state_check=True)
        U = sampler.get_chain(discard=self.burn, flat=True)
        height = sampler.get_log_prob(discard=self.burn, flat=True)
        metric = np.linalg.inv(hills.covariance)
        far = [np.einsum("nd,de,ne->n", U - u, one, U - u) for u, one in zip(hills.tops, metric, strict=True)]
        return Cloud(U, height, hills.of[np.argmin(far, axis=0)], hills)

    def _answer(self, cloud: Cloud, density: LogPosterior) -> tuple[Floats, Floats, str]:
        """(d,) what is proposed of a cloud, (d,) standard deviation of its hill, and a few words."""
        share = np.bincount(cloud.hill) / len(cloud.U)
        # Of solutions about as probable the one close to what was measured: a campaign does not jump to and fro.
        likely = np.flatnonzero(share >= 0.5 * share.max())
        tops, of = cloud.hills.tops, cloud.hills.of
        seen = [np.abs(self.training.U[:, None] - tops[of == hill]).max(axis=2).min() for hill in likely]
        chosen = int(likely[int(np.argmin(seen))])
        mine = cloud.hill == chosen
        U, height = cloud.U[mine], cloud.height[mine]
        top = U[int(height.argmax())]
        u = {"mean": U.mean(axis=0), "median": np.median(U, axis=0), "top": top}[self.answer]
        said = f"{len(U)} of {len(cloud.U)} draws"
        if (number := int((share > 0.01).sum())) > 1:
            said += f" on one of {number} solutions"
        if density(u[None])[0] < height.max() - MERGE_DEPTH - len(u) / 2:
            u, said = top, said + ", the most probable since their middle lies off them"
        return u, U.std(axis=0), said

    def _doubts(self, u: Floats, spread: Floats, density: LogPosterior) -> Floats:
        """(2, d) spread, as drawn, and uncertainty of the settings u (d,).

        Draws are for one reading at the goal, so they give the spread. Which part of it is the model's doubt says the
        delta method; what is drawn beyond that method (a choice, a bend) stays without noise as well.
        """
        X = self.training.settings(u[None])
        std = self.model.predict(X)[1][0, density.columns]
        if not np.isfinite(std).all():
            return np.full((2, len(u)), np.nan)
        inverse = np.linalg.pinv(slopes(density, u[None])[1][0], rcond=1e-4) ** 2
        plain = np.sqrt(inverse.sum(axis=1))
        model = np.sqrt(inverse @ (std_error(self.model, X)[0, density.columns] / std) ** 2)
        beyond = np.where(spread > 1.25 * plain, np.sqrt(np.maximum(spread**2 - plain**2, 0.0)), 0.0)
        return np.stack([spread, np.minimum(np.hypot(model, beyond), spread)])
