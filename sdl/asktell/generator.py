"""The solvers behind the verbs of the Generator Standard (gest-api): `suggest` and `ingest`.

Xopt, Optimas and libEnsemble take any object with these verbs. No class of the standard is imported: variables,
objectives and constraints are read by their attributes. There is no record: the caller keeps the results.
Source: the Generator Standard (gest-api 0.2).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdl.config import parse_kind
from sdl.core.goal import Band, Direction, Goal, Tolerance
from sdl.designs.placed import placed
from sdl.errors import ConfigError, Degenerate, NotEnoughData, near
from sdl.inverse.dataset import check_objective, parse_band
from sdl.inverse.propose import Proposal, objective_of, propose
from sdl.solvers.base import Data, require_choices
from sdl.space import Space
from sdl.types import Channel, Input, Value, is_number

DESIGN, SOLVER, DRAW = 0, 1, 4  # streams of random numbers: default_rng([seed, stream, n])

LEAST_SD = 0.02
"""Least standard deviation of the further points of a batch, as a fraction of the range of each input."""

OBJECTIVES = {"MinimizeObjective": Direction.MINIMISE, "MaximizeObjective": Direction.MAXIMISE}


class Generator:
    """A solver of `sdl` as a generator of the Generator Standard.

    The points of the design come first, then the proposals of the solver. The goal is that of the VOCS: a constraint
    is a limit or a range, an objective is maximised or minimised. `goal`, with targets, takes its place.

    Args:
        vocs: variables, objectives, constraints, constants and observables, as `gest_api.vocs.VOCS`.
        solver: a kind, or a mapping with `kind` and options.
        goal: for each output by name a target value, or a mapping such as `{"between": [low, high]}`; the constraints
            and objectives of the VOCS are then ignored.
        tolerance: accepted error of targets, `"2%"` of the target or a number.
        design: the points before the solver is asked: a kind, or a mapping with `kind` and options.
        seed: seed of all random numbers.

    Attributes:
        proposal: the latest proposal of the solver, with verdict and reason; None before the first.

    Raises:
        ValueError: the solver cannot handle these variables or this goal; says what it can.
    """

    returns_id = False

    def __init__(
        self,
        vocs: Any,
        solver: Any = "auto",
        *,
        goal: Mapping[str, Any] | None = None,
        tolerance: str | float = "2%",
        design: Any = "axis",
        seed: int = 0,
    ) -> None:
        self.vocs = vocs
        self.proposal: Proposal | None = None
        self._seed = seed
        with _as_value_errors():
            self._solver = parse_kind("solver", solver)
            self._variables, self._constants = _variables(vocs)
            self._inputs = tuple(variable.input for variable in self._variables.values())
            self._goal = _goal(vocs, goal or {}, Tolerance.parse(tolerance))
            self._channels = tuple(Channel(name=name, unit="") for name in self._goal.channels)
            self._space = Space(self._inputs)
            require_choices(self._solver, self._inputs)
            check_objective(self._solver, self._goal)
            self._design = placed(parse_kind("design", design), self._inputs)
            needs = getattr(self._solver, "needs", lambda inputs: None)(self._inputs)
            self._first = self._design.size if needs is None else needs
        self._X = np.empty((0, len(self._space.columns)))
        self._Y = np.empty((0, len(self._channels)))
        self._suggested = 0
        self._since = 0  # points suggested since results came in last
        self._pending: list[Any] = []  # settings suggested since then, for the design

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """The next points to evaluate: values of all variables and constants.

        The first after new results is the solver's proposal; further ones are drawn from a normal distribution around
        it, with the uncertainty of its settings.

        Args:
            num_points: how many; None: one.

        Raises:
            ValueError: fewer than one are asked for.
            SolverError: the solver failed.
        """
        count = 1 if num_points is None else num_points
        if count < 1:
            raise ValueError(f"num_points must be 1 or more, not {count}")
        return [self._public(self._next()) for _ in range(count)]

    def ingest(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Learn from evaluated points, also from those of other origin. Points that Xopt marks as failed are left out.

        Args:
            results: for each point, a value of every variable and of every output of the goal; NaN where not measured.

        Raises:
            ValueError: a value is missing or impossible; none of the results is used.
        """
        rows = [self._row(result) for result in results if not result.get("xopt_error")]
        if rows:
            self._X = np.vstack([self._X, [x for x, _ in rows]])
            self._Y = np.vstack([self._Y, [y for _, y in rows]])
        self._since, self._pending = 0, []

    def finalize(self) -> None:
        """Do nothing: no process and no file is open."""

    def _next(self) -> dict[str, Value]:
        """Settings of the next point."""
        settings = None
        if len(self._X) >= self._first:
            settings = self._propose() if self._since == 0 else self._near_proposal()
        if settings is None:
            taken = np.vstack([self._X, *self._pending])
            point = self._design.point(self._suggested, taken, lambda n: self._random(DESIGN, n))
            settings, _ = self._space.project(self._space.decode(point))
        self._suggested += 1
        self._since += 1
        self._pending.append(self._space.encode(settings))
        return settings

    def _propose(self) -> dict[str, Value] | None:
        """The solver's proposal; None if it cannot propose yet."""
        n = len(self._X)
        data = Data(
            self._X,
            self._Y,
            np.zeros(self._Y.shape, bool),
            np.ones(len(self._channels), bool),
            np.arange(n - 1, -1, -1, dtype=float),
            np.zeros(n),
            self._inputs,
            self._channels,
            objective=objective_of(self._goal, self._channels),
        )
        try:
            self.proposal = propose(self._solver, data, self._goal, self._random(SOLVER, self._suggested))
        except (NotEnoughData, Degenerate):
            return None
        return dict(self.proposal.settings)

    def _near_proposal(self) -> dict[str, Value] | None:
        """Settings drawn around the latest proposal; None without one."""
        if self.proposal is None:
            return None
        rng, settings = self._random(DRAW, self._suggested), dict(self.proposal.settings)
        for item in self._inputs:
            if item.numeric:
                sd = max(self.proposal.uncertainty.get(item.name) or 0.0, LEAST_SD * (item.high - item.low))
                settings[item.name] = float(settings[item.name]) + sd * float(rng.normal())
        return self._space.project(settings)[0]

    def _random(self, stream: int, n: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, stream, n])

    def _public(self, settings: Mapping[str, Value]) -> dict[str, Any]:
        """Settings under the names and values of the VOCS."""
        return {
            name: self._constants[name] if name in self._constants else self._variables[name].public(settings[name])
            for name in (*self.vocs.variables, *self.vocs.constants)
        }

    def _row(self, result: Mapping[str, Any]) -> tuple[Any, list[float]]:
        """Encoded settings and readings of one result."""
        if missing := [name for name in (*self._variables, *self._goal.channels) if name not in result]:
            raise ValueError(f"a result has no {', '.join(missing)}; it has {', '.join(map(str, result))}")
        settings = {name: variable.private(result[name]) for name, variable in self._variables.items()}
        readings = [float(result[name]) for name in self._goal.channels]
        return self._space.encode(settings), [y if math.isfinite(y) else math.nan for y in readings]


@dataclass(frozen=True)
class _Variable:
    """A variable of the VOCS as an input; `values` are those of a discrete one that has no order or uneven steps."""

    input: Input
    values: Mapping[str, Any]

    def public(self, value: Value) -> Any:
        return value if self.input.numeric else self.values[str(value)]

    def private(self, value: Any) -> Value:
        if self.input.numeric:
            if not math.isfinite(number := float(value)):
                raise ValueError(f"{self.input.name} = {value} is no finite number")
            return number
        if str(value) not in self.values:
            raise ValueError(f"{self.input.name} = {value!r}; {near(value, tuple(self.values))}")
        return str(value)


def _variables(vocs: Any) -> tuple[dict[str, _Variable], dict[str, Any]]:
    """The variables as inputs, and all values that stay constant.

    Raises:
        ValueError: a variable is an array, or is no number and has too many values.
    """
    variables: dict[str, _Variable] = {}
    constants = {name: constant.value for name, constant in vocs.constants.items()}
    for name, given in vocs.variables.items():
        if getattr(given, "dtype", None) not in (None, float, "float", "float64"):
            raise ValueError(f"variable {name}: dtype {given.dtype!r} is not supported; scalars without dtype are")
        if (domain := getattr(given, "domain", None)) is not None:
            low, high = map(float, domain)
            variables[name] = _Variable(Input(name=name, low=low, high=high), {})
        elif (values := getattr(given, "values", None)) is None:
            raise ValueError(f"variable {name} has neither a domain nor values")
        elif len(values) == 1:
            constants[name] = next(iter(values))
        else:
            variables[name] = _discrete(name, values)
    if not variables:
        raise ValueError("there is no variable with more than one value")
    return variables, constants


def _discrete(name: str, values: Iterable[Any]) -> _Variable:
    """Evenly spaced numbers as a stepped input, other values as choices."""
    given = list(values)
    if all(map(is_number, given)):
        ordered = sorted(map(float, given))
        gaps = np.diff(ordered)
        if np.allclose(gaps, gaps[0], rtol=1e-9, atol=0.0):
            return _Variable(Input(name=name, low=ordered[0], high=ordered[-1], step=float(gaps[0])), {})
    choices = {str(value): value for value in sorted(given, key=str)}
    return _Variable(Input(name=name, choices=tuple(choices)), choices)


def _goal(vocs: Any, wanted: Mapping[str, Any], tolerance: Tolerance) -> Goal:
    """The goal: `wanted` where it is given, else that of the VOCS.

    Raises:
        ValueError, ConfigError: an unknown output, an objective that is neither minimised nor maximised, or no goal.
    """
    outputs = (*vocs.objectives, *vocs.constraints, *vocs.observables)
    if unknown := [name for name in wanted if name not in outputs]:
        raise ValueError(f"goal: {unknown[0]} is no output of the VOCS; {near(unknown[0], outputs)}")
    if wanted:
        return Goal({name: parse_band(name, value, tolerance) for name, value in wanted.items()})
    bands: dict[str, Band] = {}
    for name, objective in vocs.objectives.items():
        if (kind := type(objective).__name__) not in OBJECTIVES:
            raise ValueError(f"objective {name}: {kind} is not supported; use MINIMIZE, MAXIMIZE or `goal`")
        bands[name] = Band.objective(OBJECTIVES[kind])
    for name, constraint in vocs.constraints.items():
        if (between := getattr(constraint, "range", None)) is not None:
            bands[name] = Band.between(*map(float, between))
        else:
            limit = float(constraint.value)
            make = Band.at_most if type(constraint).__name__ == "LessThanConstraint" else Band.at_least
            bands[name] = make(limit, tolerance.of(limit))
    if not bands:
        raise ValueError("there is no goal: give constraints, one objective, or `goal`")
    return Goal(bands)


@contextlib.contextmanager
def _as_value_errors() -> Iterator[None]:
    """Raise a ConfigError as the ValueError that the standard asks for."""
    try:
        yield
    except ConfigError as error:
        raise ValueError(str(error)) from error
