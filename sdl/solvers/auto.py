"""The solver that has foreseen the latest readings best.

Each of the last few settings is predicted by every candidate from the rows that came before it, which is what happens
in a campaign when a proposal is measured. No row is judged by a model that has seen it, and nothing is remembered
between two fits: the errors are computed anew from the rows. They are counted in standard deviations of a reading, the
smallest that any candidate claims, the same for all. The candidate with the least root mean square answers.
Dawid, J. R. Stat. Soc. A 147 (1984) 278 ("prequential" statistics).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from sdl.errors import SolverError
from sdl.registry import find
from sdl.solvers.base import Data, Proposals, Solver, Targets
from sdl.types import Channel, Frozen, Input

if TYPE_CHECKING:
    import numpy as np

    from sdl.arrays import Bools, Floats


Candidate = Literal["gp", "bayes", "linear", "gmm"]
"""Solvers whose models predict readings."""
MANY = 40
"""Rows beyond which the latest settings of one sitting are all predicted by one earlier fit instead of one each."""
NOMINAL = 0.004
"""Standard deviation of a reading, as a part of the highest, where no candidate knows one."""


class Auto(Frozen):
    """Takes the candidate that has best foreseen the latest readings, and says which one and why."""

    kind: Literal["auto"] = "auto"
    candidates: tuple[Candidate, ...] = Field(
        ("gp", "bayes"),
        min_length=1,
        description="solvers to choose from: gp, bayes, linear, gmm; where nothing tells them apart, the first that "
        "can answer",
    )
    window: int = Field(3, ge=1, le=100, description="how many of the latest settings they are judged by")
    knows: Literal["nothing", "twin"] = Field(
        "nothing",
        description="passed on to bayes: `twin` lets it start from what is known of the twin, without a design",
    )
    state: str | None = Field(
        None, description="passed on likewise: which state of the twin is known; none: bayes's own"
    )

    @field_validator("candidates")
    @classmethod
    def _distinct(cls, value: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"names a solver twice: {', '.join(value)}")
        return value

    @model_validator(mode="after")
    def _options_fit(self) -> Auto:
        for name in self._passed():
            if not any(name in find("solvers", kind).model_fields for kind in self.candidates):
                raise ValueError(f"none of the candidates ({', '.join(self.candidates)}) has the option `{name}`")
        if self._passed():
            self.solvers()  # whatever is wrong with an option is said now; without one nothing needs to be loaded
        return self

    def solvers(self) -> tuple[Solver, ...]:
        """The candidates, with the options that are passed on."""
        kinds = [find("solvers", kind) for kind in self.candidates]
        return tuple(kind(**{k: v for k, v in self._passed().items() if k in kind.model_fields}) for kind in kinds)

    def needs(self, inputs: tuple[Input, ...]) -> int | None:
        """How many design points it wants before its first answer; None: the whole design."""
        if not self._passed():  # by themselves none of the candidates asks for less than the design
            return None
        wanted = [solver.needs(inputs) if hasattr(solver, "needs") else None for solver in self.solvers()]
        return min((n for n in wanted if n is not None), default=None)

    def suits(self, inputs: tuple[Input, ...], channels: tuple[Channel, ...]) -> None:
        """Raises ConfigError where an option that is passed on does not suit the instrument."""
        for solver in self.solvers() if self._passed() else ():
            if hasattr(solver, "suits"):
                solver.suits(inputs, channels)

    def fit(self, data: Data) -> FittedAuto:
        """Fits every candidate to all rows, and to the rows before each of the latest settings.

        Raises:
            NotEnoughData, Degenerate: no candidate can answer yet; the error is that of the first.
        """
        fitted: dict[str, Any] = {}
        failed: dict[str, SolverError] = {}
        solvers: dict[str, Solver] = dict(zip(self.candidates, self.solvers(), strict=True))
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
            return FittedAuto(fitted[kind], f"{kind}, the only solver that could be fitted{others}" if failed else kind)
        off, settings = predictive_score([solvers[kind] for kind in fitted], data, self.window)
        if not settings:
            first = next(iter(fitted))
            return FittedAuto(fitted[first], f"{first}: too few readings to compare solvers yet")
        errors = {kind: float(error) for kind, error in zip(fitted, off, strict=True) if error >= 0}
        best = min(errors, key=errors.__getitem__)
        latest = f"the last {settings} settings" if settings > 1 else "the last settings"
        said = f"{best}: prediction error on {latest} {errors[best]:.2g} σ"
        rest = ", ".join(f"{kind} {error:.2g} σ" for kind, error in errors.items() if kind != best)
        return FittedAuto(fitted[best], f"{said} ({rest})" if rest else said)

    def _passed(self) -> dict[str, str]:
        """The options that are to be passed on."""
        knows = {"knows": self.knows} if self.knows != "nothing" else {}
        return knows | ({"state": self.state} if self.state is not None else {})


@dataclass(frozen=True)
class FittedAuto:
    """The candidate that was chosen, and why."""

    chosen: Any
    why: str

    def propose(self, targets: Targets, low: Floats, high: Floats, rng: np.random.Generator) -> Proposals:
        given: Proposals = self.chosen.propose(targets, low, high, rng)
        return replace(given, why=tuple(f"auto chose {self.why}. {why[:1].upper()}{why[1:]}" for why in given.why))

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d), by the chosen one."""
        mean, std = self.chosen.predict(X)
        return mean, std


def predictive_score(solvers: list[Solver], data: Data, window: int) -> tuple[Floats, int]:
    """How well each solver foresaw the readings at the latest settings.

    Args:
        solvers: whose fits offer `predict`.
        data: all rows.
        window: how many settings, the newest; several readings in a row at one setting count as their mean.

    Returns:
        Root mean square errors in standard deviations of a reading, over the channels of the goal, NaN for a solver
        that foresaw none; and the number of settings they are over, which the other solvers foresaw all.
    """
    import numpy as np

    goal = np.flatnonzero(data.goal)
    usable: Bools = np.isfinite(data.Y) & ~data.saturated & np.isfinite(data.X).all(axis=1, keepdims=True)
    runs = [run for run in _runs(data) if usable[run][:, goal].any()][-window:]
    off, std = (np.full((len(solvers), len(runs), len(goal)), np.nan) for _ in range(2))
    known = np.zeros((len(runs), len(goal)), bool)
    starts = [run.start for run in runs]
    once = len(data.X) > MANY and len(set(data.sitting[starts])) == 1  # the first reading of a sitting tells its level
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
            mean, doubt = model.predict(data.X[run.start][None])
            use = usable[run][:, goal]
            known[j] = use.any(axis=0)
            seen = np.where(use, data.Y[run][:, goal], 0.0).sum(axis=0) / np.maximum(use.sum(axis=0), 1)
            off[i, j], std[i, j] = seen - mean[0, goal], doubt[0, goal]
    foreseen = (np.isfinite(off) | ~known).all(axis=2) & known.any(axis=1)  # (solvers, runs)
    some = foreseen.any(axis=1)
    shared: Bools = foreseen[some].all(axis=0)
    if not some.any() or not shared.any():
        return np.full(len(solvers), np.nan), 0
    nobody = NOMINAL * np.abs(np.where(usable, data.Y, 0.0)[:, goal]).max(axis=0)
    least = np.where(np.isfinite(std), std, np.inf)[some].min(axis=0)
    scale = np.maximum(np.where(np.isfinite(least), least, nobody), 1e-300)
    squares = ((off / scale) ** 2)[:, shared][:, known[shared]]
    errors: Floats = np.where(some, np.sqrt(squares.mean(axis=1)), np.nan)
    return errors, int(shared.sum())


def _runs(data: Data) -> list[slice]:
    """The rows in pieces that were taken one after the other at the same settings."""
    import numpy as np

    changed = (data.X[1:] != data.X[:-1]).any(axis=1) | (data.sitting[1:] != data.sitting[:-1])
    cuts = [0, *(np.flatnonzero(changed) + 1).tolist(), len(data.X)]
    return [slice(a, b) for a, b in pairwise(cuts) if b > a]


def _before(data: Data, row: int) -> Data:
    """What was known when a row was about to be measured."""
    import numpy as np

    return replace(
        data,
        X=data.X[:row],
        Y=data.Y[:row],
        saturated=data.saturated[:row],
        age=np.maximum(data.age[:row] - data.age[row] - 1.0, 0.0),
        sitting=data.sitting[:row],
        present=float(data.sitting[row]),
    )
