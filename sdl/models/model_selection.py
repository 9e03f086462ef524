"""Model selection by log predictive density: which candidate predicts the readings best.

Candidates are ordered from the simplest to the most general, and compared in two steps. The choice depends only on the
rows, not on earlier choices.

1. Static models have the density of each reading given all others (leave-one-out cross-validation), which is exact and
   needs no further fits. The simplest model is taken whose sum is below the greatest by at most MARGIN per channel.
   Models that are both right differ by less; on a nonlinear instrument they differ by tens.
2. Drift shows only in the order of the rows. The static model taken, and candidates without a leave-one-out density
   (`bayes`, `gmm`), therefore predict the readings at each of the latest settings from the rows before them, as in a
   campaign. The static model is kept unless another score is greater by more than LATEST plus a correction for lack of
   fit: the amount by which the linear model was worse in the first step, for as many readings. `bayes` is linear too,
   and has the same lack of fit on other readings.

Unlike the size of the errors, log density also penalises a model whose uncertainty is too small.
Dawid, J. R. Stat. Soc. A 147 (1984) 278 (prequential); Vehtari, Gelman and Gabry, Stat. Comput. 27 (2017) 1413.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from scipy.special import log_ndtr

from sdl.arrays import Bools, Floats
from sdl.errors import SolverError
from sdl.models.constants import NOMINAL
from sdl.models.data import Data, Proposals, Targets
from sdl.models.wrong_rows import wrong_rows_of
from sdl.space import Space

MARGIN = 3.0
"""Log density for each channel by which a more general static candidate must beat a simpler one; chance differences are
smaller."""
FEW = 2
"""The margin grows from 0 to its full size while the linear model gains this many degrees of freedom per coefficient:
with fewer rows chance differences are smaller."""
LATEST = 1.0
"""Log density of the latest readings by which a later candidate must beat an earlier one: odds of 2.7."""
WORST = 8.0
"""Largest loss of log density for one reading, so that no single wrong row decides."""
TAIL = 8.0
"""Errors are cut off at this many standard deviations, so that no single wrong row decides."""
MANY = 40
"""With more rows, one fit predicts all latest settings of a session, instead of one fit for each."""


class Fittable(Protocol):
    """A solver whose fits have `propose` and `predict`."""

    def fit(self, data: Data) -> Any: ...


def select_model(data: Data, solvers: Mapping[str, Fittable], window: int) -> SelectedModel:
    """Fit every candidate, and take the one that predicts best.

    Args:
        data: all rows.
        solvers: candidates by name, the simplest first.
        window: number of latest settings that candidates without a leave-one-out density are judged by.

    Raises:
        NotEnoughData, Degenerate: no candidate can propose yet; the error is that of the first.
    """
    fitted: dict[str, Any] = {}
    failed: dict[str, SolverError] = {}
    for kind, solver in solvers.items():
        try:
            fitted[kind] = solver.fit(data)
        except SolverError as error:
            failed[kind] = error
    if not fitted:
        raise next(iter(failed.values()))
    if len(fitted) == 1:
        kind = next(iter(fitted))
        others = "".join(f"; {other}: {error}" for other, error in failed.items())
        return SelectedModel(fitted[kind], f"{kind}: the others cannot answer yet{others}" if failed else kind)
    table = {kind: model.leave_one_out() for kind, model in fitted.items() if hasattr(model, "leave_one_out")}
    rest = fitted.keys() - table.keys()
    bounds = _log_probability_of_bounds(fitted, data)
    static, why, missed = _simplest_of_the_best(table, bounds, len(data.inputs) + 1)
    kinds = [kind for kind in fitted if kind == static or kind in rest]
    scores, settings = predictive_score([solvers[kind] for kind in kinds], data, window) if rest else (np.zeros(1), 0)
    scored = zip(kinds, scores, strict=True)
    densities = {kind: float(score) + bounds[kind] for kind, score in scored if np.isfinite(score)}
    first, margin = next(iter(densities), kinds[0]), LATEST + missed * settings * int(data.goal.sum())
    best = max(densities, key=lambda kind: densities[kind] + margin * (kind == first), default=first)
    if best != static and settings:
        latest = f"the last {settings} settings" if settings > 1 else "the last settings"
        why = _compared(densities, best, f"predicted {latest}")
    return SelectedModel(fitted[best], f"{best}: {why or 'too few readings to compare solvers yet'}")


def _log_probability_of_bounds(fitted: dict[str, Any], data: Data) -> dict[str, float]:
    """Log probability, by each candidate, that the saturated readings of the last session lie beyond their bounds.

    A linear model leaves these rows out. Without this term it could be taken again and again where it predicts readings
    inside the range at settings that were saturated.
    """
    read = np.isfinite(data.Y) & np.isfinite(data.X).all(axis=1, keepdims=True) & data.goal
    bound = read & data.saturated & (data.session == data.session[-1])[:, None]
    rows, clear = np.flatnonzero(bound.any(axis=1)), read & ~data.saturated
    if not len(rows):
        return dict.fromkeys(fitted, 0.0)
    middle = np.where(clear, data.Y, 0.0).sum(axis=0) / np.maximum(clear.sum(axis=0), 1)
    sign = np.where(data.Y[rows] >= middle, -1.0, 1.0)
    each = []
    for model in fitted.values():
        mean, std = model.predict(data.X[rows])
        std = np.where(np.isfinite(std) & (std > 0), std, NOMINAL * np.abs(data.Y[rows]) + 1e-300)
        z = np.where(bound[rows], sign * (data.Y[rows] - mean) / std, 0.0)
        each.append(np.where(bound[rows], log_ndtr(z), 0.0))
    table = np.maximum(each, np.max(each, axis=0) - WORST)
    return dict(zip(fitted, table.sum(axis=(1, 2)).tolist(), strict=True))


def _simplest_of_the_best(
    densities: dict[str, Floats], bounds: dict[str, float], coefficients: int
) -> tuple[str, str, float]:
    """Take the first candidate whose log density is at most MARGIN for each channel below the greatest.

    Args:
        densities: by candidate, (n, m) log density of each reading; NaN = unknown.
        bounds: by candidate, log probability of the saturated readings.
        coefficients: number of coefficients of a linear model of one channel.

    Returns:
        The candidate, the reason, and by how much its log density per reading exceeds that of the linear model.
    """
    known = {kind: density for kind, density in densities.items() if np.isfinite(density).any()}
    first = next(iter(densities), "")
    table = np.array(list(known.values()))
    shared = np.isfinite(table).all(axis=0)
    if first not in known or len(known) < 2 or not shared.any():
        kept = next((kind for kind in densities if bounds[kind] >= max(bounds[k] for k in densities) - MARGIN), first)
        return kept, "" if kept == first else "its bounds of saturated readings are kept best", 0.0
    table = np.maximum(table, table.max(axis=0, where=shared, initial=-np.inf) - WORST)
    total = {kind: float(row[shared].sum()) + bounds[kind] for kind, row in zip(known, table, strict=True)}
    rows, channels = (int(shared.any(axis=axis).sum()) for axis in (1, 0))
    few = np.clip((rows - coefficients) / (FEW * coefficients), 0.0, 1.0)
    least = max(total.values()) - few * MARGIN * channels
    taken = next(kind for kind, density in total.items() if density >= least)
    missed = max(total[taken] - total.get("linear", total[taken]), 0.0) / shared.sum()
    return taken, _compared(total, taken, "predicted each reading from the others"), missed


def _compared(densities: dict[str, float], taken: str, what: str) -> str:
    """The reason for a choice, with the densities of the other candidates."""
    others = ", ".join(
        f"{kind} {density - densities[taken]:+.1f}" for kind, density in densities.items() if kind != taken
    )
    greatest = densities[taken] >= max(densities.values())
    reason = f"{what} best" if greatest else f"no other {what} clearly better"
    return reason + (f" (log predictive density against it: {others})" if others else "")


@dataclass(frozen=True)
class SelectedModel:
    """The candidate that predicted best, and why it was chosen."""

    model: Any
    why: str

    def propose(self, targets: Targets, space: Space, rng: np.random.Generator) -> Proposals:
        given: Proposals = self.model.propose(targets, space, rng)
        return replace(given, why=tuple(f"auto chose {self.why}. {why[:1].upper()}{why[1:]}" for why in given.why))

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d), by the chosen candidate."""
        mean, std = self.model.predict(X)
        return mean, std

    def __getattr__(self, name: str) -> Any:
        """Further attributes of the chosen candidate: `sample`, `modes`, `optimum`, `training`."""
        if name not in ("sample", "modes", "optimum", "training"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.model, name)


def predictive_score(solvers: list[Fittable], data: Data, window: int) -> tuple[Floats, int]:
    """Log predictive density of each solver for the readings at the latest settings, from the rows before each.

    Args:
        solvers: their fits must have `predict`.
        data: all rows.
        window: number of latest settings; consecutive readings at one setting count as their mean.

    Returns:
        The score of each solver, summed over the channels of the goal and over the settings that all solvers predict;
        NaN for a solver that predicts none. And the number of these settings.
    """
    goal = np.flatnonzero(data.goal)
    usable: Bools = np.isfinite(data.Y) & ~data.saturated & np.isfinite(data.X).all(axis=1, keepdims=True)
    usable &= ~wrong_rows_of(data)[:, None]
    runs = [run for run in _runs(data) if usable[run][:, goal].any()][-window:]
    off, std = (np.full((len(solvers), len(runs), len(goal)), np.nan) for _ in range(2))
    known = np.zeros((len(runs), len(goal)), bool)
    starts = [run.start for run in runs]
    once = len(data.X) > MANY and len(set(data.session[starts])) == 1  # a new session needs a fit of its own
    for i, solver in enumerate(solvers):
        model: Any = None
        for j, run in enumerate(runs):
            if not (once and j):
                try:
                    model = solver.fit(_before(data, run.start))
                except SolverError:
                    model = None
            if model is None:
                continue
            mean, predicted_std = model.predict(data.X[run.start][None])
            use = usable[run][:, goal]
            known[j] = use.any(axis=0)
            seen = np.where(use, data.Y[run][:, goal], 0.0).sum(axis=0) / np.maximum(use.sum(axis=0), 1)
            off[i, j], std[i, j] = seen - mean[0, goal], predicted_std[0, goal]
    foreseen = (np.isfinite(off) | ~known).all(axis=2) & known.any(axis=1)  # (solvers, runs)
    some = foreseen.any(axis=1)
    shared: Bools = foreseen[some].all(axis=0)
    if not some.any() or not shared.any():
        return np.full(len(solvers), np.nan), 0
    nominal = NOMINAL * np.abs(np.where(usable, data.Y, 0.0)[:, goal]).max(axis=0)
    least = np.where(np.isfinite(std), std, np.inf)[some].min(axis=0)
    scale = np.maximum(np.where(np.isfinite(least), least, nominal), 1e-300)
    sd = np.maximum(np.where(np.isfinite(std), std, scale), 1e-300)
    z = np.clip(off / sd, -TAIL, TAIL)
    density = (-0.5 * z**2 - np.log(sd / scale))[:, shared][:, known[shared]]
    density = np.maximum(density, density[some].max(axis=0) - WORST)
    scores: Floats = np.where(some, density.sum(axis=1), np.nan)
    return scores, int(shared.sum())


def _runs(data: Data) -> list[slice]:
    """Slices of consecutive rows at the same settings in the same session."""
    changed = (data.X[1:] != data.X[:-1]).any(axis=1) | (data.session[1:] != data.session[:-1])
    cuts = [0, *(np.flatnonzero(changed) + 1).tolist(), len(data.X)]
    return [slice(a, b) for a, b in pairwise(cuts) if b > a]


def _before(data: Data, row: int) -> Data:
    """The data that were known just before a row was measured."""
    return replace(
        data,
        X=data.X[:row],
        Y=data.Y[:row],
        saturated=data.saturated[:row],
        age=np.maximum(data.age[:row] - data.age[row] - 1.0, 0.0),
        session=data.session[:row],
        current_session=float(data.session[row]),
    )
