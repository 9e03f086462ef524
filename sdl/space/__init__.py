"""The inputs of an instrument as one space: settings by name as rows of numbers, and the closest feasible settings.

A row has one column per numeric input, in the input's own unit, and one per further choice of an input with choices
(`sdl.space.choices`), in the order of the inputs. An equality among the constraints (a mixture of constant volume)
removes the column of one input, which follows from the others. `low` and `high` are the bounds of the columns; models
scale by them. No other module knows how an input becomes columns, or how settings are made feasible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product

import numpy as np

from sdl.arrays import Bools, Floats
from sdl.grammar import LinearConstraint
from sdl.space.choices import Choice
from sdl.space.numeric import Numeric
from sdl.space.region import Region
from sdl.types import Input, Settings, Value

MOST_BLOCKS = 1000
"""Largest number of combinations of choices."""


class Space:
    """The settings that an instrument can take.

    Args:
        inputs: the inputs, in the order of the columns.
        constraints: linear conditions on numeric inputs that settings inside all bounds must keep as well.

    Attributes:
        names: names of the inputs.
        columns: names of the p columns: of a numeric input its own, of a choice `solvent=ethanol`.
        low, high: (p,) bounds of the columns.
        numeric, choices: the inputs that are set to numbers, and those that have choices.
        categorical: (p,) the columns of choices.

    Raises:
        ValueError: a constraint names no numeric input, or the equalities contradict each other or leave no column.
    """

    def __init__(self, inputs: Sequence[Input], constraints: Sequence[LinearConstraint] = ()) -> None:
        self.inputs, self.constraints = tuple(inputs), tuple(constraints)
        self.names = tuple(item.name for item in self.inputs)
        self.numeric = tuple(item for item in self.inputs if item.numeric)
        self.choices = tuple(item for item in self.inputs if not item.numeric)
        self._numbers = {item.name: Numeric(item) for item in self.numeric}
        self._choices = {item.name: Choice(item) for item in self.choices}
        self._check_names()
        self._follows = self._eliminated()
        columns: list[str] = []
        self._slices: dict[str, slice] = {}
        for name in self.names:
            own: tuple[str, ...] = (name,) if name in self._numbers and name not in self._follows else ()
            if name in self._choices:
                own = self._choices[name].columns
            self._slices[name] = slice(len(columns), len(columns) + len(own))
            columns += own
        self.columns = tuple(columns)
        if not columns:
            raise ValueError("the constraints leave nothing to set")
        self.low, self.high = np.zeros(len(columns)), np.ones(len(columns))
        for item in self.numeric:
            self.low[self._slices[item.name]], self.high[self._slices[item.name]] = item.low, item.high

    @property
    def width(self) -> Floats:
        return self.high - self.low

    def columns_of(self, name: str) -> slice:
        """The columns of an input; none if its value follows from the other inputs."""
        return self._slices[name]

    @property
    def is_box(self) -> bool:
        """Whether there are neither choices nor constraints."""
        return not self.constraints and len(self.numeric) == len(self.inputs)

    @cached_property
    def categorical(self) -> Bools:
        mask = np.zeros(len(self.columns), bool)
        for item in self.choices:
            mask[self._slices[item.name]] = True
        return mask

    @cached_property
    def blocks(self) -> tuple[dict[str, str], ...]:
        """Every combination of choices; one empty combination if no input has choices."""
        texts = [item.choices or () for item in self.choices]
        return tuple(dict(zip((i.name for i in self.choices), one, strict=True)) for one in product(*texts))

    @cached_property
    def region(self) -> Region:
        """Bounds, inequalities and blocks of the columns."""
        codes = np.zeros((len(self.blocks), len(self.columns)))
        for code, block in zip(codes, self.blocks, strict=True):
            for name, text in block.items():
                code[self._slices[name]] = self._choices[name].encode(text)
        A, b, equal = self._conditions
        rows, bounds = [A[~equal]], [b[~equal]]
        for name in self._follows:  # its own bounds limit the others
            own, item = np.array([item.name == name for item in self.numeric], float), self._item(name)
            rows += [own[None], -own[None]]
            bounds += [np.array([item.high]), np.array([-item.low])]
        stacked, bound = np.vstack(rows), np.concatenate(bounds)
        for name, (_, terms) in self._follows.items():
            column = [item.name for item in self.numeric].index(name)
            constant = self._follows[name][0]
            bound = bound - stacked[:, column] * constant
            stacked = stacked + stacked[:, [column]] * terms
            stacked[:, column] = 0.0
        full = np.zeros((len(stacked), len(self.columns)))
        for j, item in enumerate(self.numeric):
            full[:, self._slices[item.name]] = stacked[:, [j]]
        some = (np.abs(full) > 1e-12).any(axis=1)
        norm = np.linalg.norm(full[some] * self.width, axis=1)
        return Region(self.low, self.high, full[some] / norm[:, None], bound[some] / norm, self.categorical, codes)

    def encode(self, settings: Settings) -> Floats:
        """(p,) row of settings that name every input; NaN for an unknown choice."""
        row = np.empty(len(self.columns))
        for name, part in self._slices.items():
            row[part] = self._choices[name].encode(settings[name]) if name in self._choices else settings[name]
        return row

    def decode(self, row: Floats) -> dict[str, Value]:
        """Settings of a row (p,): numbers unchanged, the closest choices; `project` makes them feasible."""
        settings: dict[str, Value] = {}
        for name, part in self._slices.items():
            own = row[part]
            if name in self._choices:
                settings[name] = self._choices[name].decode(own)
            else:
                settings[name] = float(own[0]) if len(own) else math.nan
        if self._follows:
            x = np.array([settings[item.name] for item in self.numeric], dtype=np.float64)
            for name, (constant, terms) in self._follows.items():
                settings[name] = float(constant + terms @ np.where(terms == 0, 0.0, x))
        return settings

    def by_input(self, columns: Floats) -> dict[str, float]:
        """Standard deviation of each input, from those of the columns (p,); NaN for an input with choices."""
        found = {
            name: float(columns[part][0]) if part.stop == part.start + 1 else math.nan
            for name, part in self._slices.items()
        }
        for item in self.choices:
            found[item.name] = math.nan
        if self._follows:
            x = np.array([found[item.name] for item in self.numeric])
            for name, (_, terms) in self._follows.items():
                found[name] = float(np.sqrt((np.where(terms == 0, 0.0, terms * x) ** 2).sum()))
        return found

    def cost(self, by_input: Mapping[str, float]) -> tuple[float, ...]:
        """(p,) cost of each column over its whole range, given the cost of each numeric input over its whole range."""
        cost = np.zeros(len(self.columns))
        for item in self.numeric:
            per_unit = by_input.get(item.name, 0.0) / (item.high - item.low)
            if item.name not in self._follows:
                cost[self._slices[item.name]] += per_unit * (item.high - item.low)
                continue
            for term, other in zip(self._follows[item.name][1], self.numeric, strict=True):
                cost[self._slices[other.name]] += per_unit * term * (other.high - other.low)
        return tuple(cost.tolist())

    def steps_near(self, row: Floats, reach: int = 2) -> list[list[float]]:
        """For each column the steps on either side of a row's value, `reach` each; without steps the value itself."""
        steps = [[value] for value in row.tolist()]
        for item in self.numeric:
            if item.name not in self._follows:
                column = self._slices[item.name].start
                steps[column] = self._numbers[item.name].steps_near(row[column], reach)
        return steps

    @cached_property
    def stepped(self) -> Bools:
        """(p,) the columns of inputs with steps."""
        mask = np.zeros(len(self.columns), bool)
        for item in self.numeric:
            mask[self._slices[item.name]] = item.step is not None
        return mask

    def contains(self, settings: Settings) -> bool:
        """Whether the instrument can take these settings: each input in its bounds, on a step, constraints kept."""
        return (
            settings.keys() == set(self.names)
            and all(one.contains(settings[name]) for name, one in (self._numbers | self._choices).items())
            and all(constraint.holds(settings) for constraint in self.constraints)
        )

    def project(self, settings: Settings) -> tuple[dict[str, Value], tuple[str, ...]]:
        """The closest settings that the instrument can take.

        Each input is rounded to its step and clipped to its bounds; without a step it is rounded to a millionth of its
        range, far below any instrument's jitter. Where these settings break a constraint, the closest ones are taken
        that keep all of them: without steps by least squares, with steps by branch and bound.

        Returns:
            The settings, and the inputs that lay outside their bounds by more than that.

        Raises:
            ValueError: a setting is NaN or an unknown choice, or no settings keep the constraints.
        """
        values = {name: self._value(settings, name) for name in self._numbers}
        clipped = tuple(name for name, one in self._numbers.items() if one.is_outside(values[name]))
        rounded: dict[str, Value] = {
            name: self._numbers[name].project(values[name])
            if name in self._numbers
            else self._choices[name].project(settings[name])
            for name in self.names
        }
        if all(constraint.holds(rounded) for constraint in self.constraints):
            return rounded, clipped
        numbers = self._feasible(np.array(list(values.values())))
        if numbers is None:
            raise ValueError(f"no settings keep {' and '.join(map(str, self.constraints))}")
        return rounded | numbers, clipped

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """(n, p) random rows inside bounds and constraints, uniform for each combination of choices."""
        return self.region.sample(n, rng)

    def is_empty(self) -> bool:
        """Whether no settings keep the constraints."""
        middle = {item.name: item.choices[0] if item.choices else (item.low + item.high) / 2 for item in self.inputs}
        try:
            self.project(middle)
        except ValueError:
            return True
        return False

    # The numeric inputs under constraints ------------------------------------------------------------------------
    def _check_names(self) -> None:
        for constraint in self.constraints:
            for name in constraint.coefficients:
                if name not in self.names:
                    raise ValueError(f"{constraint}: unknown input {name}; allowed: {_listed(self.numeric)}")
                if name in self._choices:
                    raise ValueError(
                        f"{constraint}: {name} has choices and no numbers; allowed: {_listed(self.numeric)}"
                    )

    @cached_property
    def _conditions(self) -> tuple[Floats, Floats, Bools]:
        """(c, d) and (c,) the constraints on the d numeric inputs, and which of them are equalities."""
        A = np.array(
            [[one.coefficients.get(item.name, 0.0) for item in self.numeric] for one in self.constraints]
        ).reshape(len(self.constraints), len(self.numeric))
        b = np.array([one.bound for one in self.constraints], dtype=np.float64)
        return A, b, np.array([one.equality for one in self.constraints], dtype=bool)

    def _eliminated(self) -> dict[str, tuple[float, Floats]]:
        """Inputs that follow from the others by an equality: a constant, and (d,) a factor of each numeric input."""
        A, b, equal = self._conditions
        A, b = A[equal].copy(), b[equal].copy()
        width = np.array([item.high - item.low for item in self.numeric])
        pivots: dict[int, int] = {}
        for row in range(len(A)):
            size = np.abs(A[row] * width)
            if not size.any() or size.max() < 1e-9 * np.abs(self._conditions[0][equal][row] * width).max():
                if abs(b[row]) > 1e-9 * max(abs(self._conditions[1][equal][row]), 1.0):
                    raise ValueError("the equalities contradict each other")
                continue
            # The last of the widest, so that the first inputs keep their columns.
            column = int(np.flatnonzero(size >= size.max() * (1 - 1e-9))[-1])
            A[row], b[row] = A[row] / A[row, column], b[row] / A[row, column]
            for other in range(len(A)):
                if other != row:
                    b[other] -= A[other, column] * b[row]
                    A[other] = A[other] - A[other, column] * A[row]
            pivots[row] = column
        follows = {}
        for row, column in pivots.items():
            terms = -A[row]
            terms[column] = 0.0
            follows[self.numeric[column].name] = (float(b[row]), terms)
        return follows

    def _feasible(self, x: Floats) -> dict[str, float] | None:
        """Numbers that keep all constraints, close to x (d,); None if there are none."""
        from sdl.space import polytope

        A, b, equal = self._conditions
        low, high = (np.array([getattr(item, end) for item in self.numeric]) for end in ("low", "high"))
        width = high - low
        step = np.array([math.nan if item.step is None else item.step for item in self.numeric])
        rounding = np.array([self._numbers[item.name].rounding for item in self.numeric])
        margin = np.where(equal, 0.0, np.abs(A) @ rounding)  # so that a constraint is kept after rounding
        G, h = np.vstack([A, -A[equal]]), np.concatenate([b - margin, -b[equal]])
        for bound in (h, h + np.concatenate([margin, np.zeros(int(equal.sum()))])):
            inside = polytope.nearest((x - low) / width, np.zeros(len(x)), np.ones(len(x)), G * width, bound - G @ low)
            if inside is None:
                continue
            numbers = self._rounded(low + inside * width)
            if self._holds(numbers):
                return numbers
            if np.isfinite(step).any():
                ends = np.zeros(len(x)), np.ones(len(x))
                stepped = polytope.nearest_on_steps(inside, *ends, step / width, G * width, bound - G @ low)
                if stepped is not None and self._holds(numbers := self._rounded(low + stepped * width)):
                    return numbers
        return None

    def _rounded(self, x: Floats) -> dict[str, float]:
        """Numbers on their steps; those that follow from the others by an equality are computed from them."""
        numbers = {
            item.name: self._numbers[item.name].project(value)
            for item, value in zip(self.numeric, x.tolist(), strict=True)
        }
        for name, (constant, terms) in self._follows.items():
            if self._item(name).step is None:
                values = np.array([numbers[item.name] for item in self.numeric])
                item = self._item(name)
                numbers[name] = min(max(float(constant + terms @ values), item.low), item.high)
        return numbers

    def _holds(self, numbers: Mapping[str, float]) -> bool:
        return all(constraint.holds(numbers) for constraint in self.constraints) and all(
            self._numbers[name].contains(value) for name, value in numbers.items()
        )

    def _item(self, name: str) -> Input:
        return self.inputs[self.names.index(name)]

    def _value(self, settings: Settings, name: str) -> float:
        value = settings[name]
        if isinstance(value, str):
            raise ValueError(f"{name}: {value!r} is no number")
        return value


def _listed(items: Iterable[Input]) -> str:
    return ", ".join(item.name for item in items)
