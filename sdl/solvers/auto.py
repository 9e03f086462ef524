"""The solver `auto`: it chooses the candidate with the best log predictive density of the readings."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sdl.errors import Degenerate, NotEnoughData
from sdl.registry import find
from sdl.solvers.base import Data, Solver, optimises, require_choices
from sdl.types import Channel, Frozen, Input

if TYPE_CHECKING:
    from sdl.models.model_selection import SelectedModel


Candidate = Literal["gp", "bayes", "linear", "quadratic", "gmm"]
"""Solvers whose models predict readings."""


class Auto(Frozen):
    """Chooses the candidate that predicts the readings best, and records which one and why.

    To maximise or minimise a channel it takes `gp`, where that is a candidate: a line or a parabola that fits the rows
    so far expects no improvement elsewhere, and the search would end too early.
    """

    takes_choices: ClassVar[bool] = True

    kind: Literal["auto"] = "auto"
    candidates: tuple[Candidate, ...] = Field(
        ("linear", "quadratic", "gp", "bayes"),
        min_length=1,
        description="solvers to choose from, the simplest first: linear, quadratic, gp, bayes, gmm; the first that "
        "can propose is used until there are readings to compare them",
    )
    window: int = Field(3, ge=1, le=100, description="how many of the latest settings bayes and gmm are judged by")
    knows: Literal["nothing", "twin"] = Field(
        "nothing",
        description="passed on to bayes: with `twin` it starts from the twin's gains, without a design",
    )
    state: str | None = Field(
        None, description="passed on to bayes: the state of the twin whose gains are known; none: its default"
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
        return self

    @property
    def optimises(self) -> bool:
        """Whether some candidate can maximise or minimise a channel; the others are then left out."""
        return any(optimises(solver) for solver in self.solvers())

    def solvers(self) -> tuple[Solver, ...]:
        """The candidates, with the options that are passed on."""
        kinds = [find("solvers", kind) for kind in self.candidates]
        return tuple(kind(**{k: v for k, v in self._passed().items() if k in kind.model_fields}) for kind in kinds)

    def needs(self, inputs: tuple[Input, ...]) -> int | None:
        """Number of design points to measure before the first proposal; None: the whole design."""
        if not self._passed():  # without these options every candidate needs the whole design
            return None
        wanted = [solver.needs(inputs) if hasattr(solver, "needs") else None for solver in self.solvers()]
        return min((n for n in wanted if n is not None), default=None)

    def fit(self, data: Data) -> SelectedModel:
        """Fit every candidate to all rows, and to the rows before each of the latest settings.

        Raises:
            NotEnoughData, Degenerate: no candidate can propose yet; the error is that of the first.
        """
        from sdl.models.model_selection import select_model

        candidates: dict[str, Solver] = dict(zip(self.candidates, self.solvers(), strict=True))
        if not all(item.numeric for item in data.inputs):
            candidates = {
                kind: solver for kind, solver in candidates.items() if getattr(solver, "takes_choices", False)
            }
        if data.objective is not None:
            candidates = {kind: solver for kind, solver in candidates.items() if optimises(solver)}
            if "gp" in candidates:  # only it says how little it knows of where nothing was measured
                with contextlib.suppress(NotEnoughData, Degenerate):
                    return select_model(data, {"gp": candidates["gp"]}, self.window)
        return select_model(data, candidates, self.window)

    def suits(self, inputs: tuple[Input, ...], channels: tuple[Channel, ...]) -> None:
        """Accept any instrument for which one of the candidates can be used.

        Raises:
            ConfigError: an input has choices, and none of the candidates can handle them.
        """
        if not any(getattr(solver, "takes_choices", False) for solver in self.solvers()):
            require_choices(self.solvers()[0], inputs)

    def _passed(self) -> dict[str, str]:
        """The options that are passed on to candidates."""
        knows = {"knows": self.knows} if self.knows != "nothing" else {}
        return knows | ({"state": self.state} if self.state is not None else {})
