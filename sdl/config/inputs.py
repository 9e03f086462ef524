"""Inputs that a campaign fixes or narrows.

inputs: {red: 40, yellow: {low: 5, high: 100}, solvent: {choices: [water, ethanol]}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, model_serializer, model_validator

from sdl.config.mistakes import short
from sdl.errors import Problem, near
from sdl.grammar import LinearConstraint
from sdl.types import Frozen, Input, Value

FORMS = "a value, {low: 5, high: 100} or {choices: [water, ethanol]}"
PRECISION = 1e-6  # of a range: values that differ by less are the same setting


class CampaignInput(Frozen):
    """An input as this campaign uses it. A single number or text fixes it."""

    ORDER: ClassVar[tuple[str, ...]] = ("low", "high", "choices")

    value: Value | None = Field(None, description="the value at which it is kept")
    low: float | None = Field(None, description="the lowest value that is proposed")
    high: float | None = Field(None, description="the highest value that is proposed")
    choices: Annotated[tuple[str, ...], Field(strict=False)] | None = Field(
        None, description="the choices that are proposed"
    )

    @model_validator(mode="before")
    @classmethod
    def _form(cls, given: Any) -> Any:
        if isinstance(given, (int, float, str)) and not isinstance(given, bool):
            return {"value": given}
        if not isinstance(given, (Mapping, CampaignInput)) or (isinstance(given, Mapping) and not given):
            raise ValueError(f"must be {FORMS}, not {short(given)}")
        return given

    @model_validator(mode="after")
    def _one(self) -> CampaignInput:
        forms = [self.value is not None, self.low is not None or self.high is not None, self.choices is not None]
        if sum(forms) != 1:
            raise ValueError(f"must be one of {FORMS}")
        return self

    @model_serializer(mode="plain")
    def _plain(self) -> Any:
        if self.value is not None:
            return self.value
        given = {"low": self.low, "high": self.high, "choices": None if self.choices is None else list(self.choices)}
        return {key: value for key, value in given.items() if value is not None}

    def narrowed(self, item: Input) -> Input:
        """The instrument's input, narrowed to these limits or choices.

        Raises:
            ValueError: the instrument does not offer them.
        """
        if self.choices is not None:
            if item.choices is None:
                raise ValueError(f"{item.name} is set to numbers and has no choices; give low and high")
            if unknown := [choice for choice in self.choices if choice not in item.choices]:
                raise ValueError(f"unknown choice {unknown[0]!r}; {near(unknown[0], item.choices)}")
            return _input(item, choices=self.choices)
        if item.choices is not None:
            raise ValueError(f"{item.name} has choices and no range; give one of them, or choices: […]")
        low = item.low if self.low is None else self.low
        high = item.high if self.high is None else self.high
        if not item.low <= low < high <= item.high:
            raise ValueError(f"must lie inside {item.low:g} … {item.high:g} with low below high")
        if item.step is not None and not _is_on_step(item, low):
            raise ValueError(f"low must be on a step of {item.name}: {item.low:g} + n × {item.step:g}")
        return _input(item, low=low, high=high)

    def fixed(self, item: Input) -> Value | None:
        """The value at which the input is kept; None if it is free.

        Raises:
            ValueError: the instrument cannot be set to it.
        """
        value = self.value
        if value is None:
            return None
        if item.choices is not None:
            if value not in item.choices:
                raise ValueError(f"must be one of {', '.join(item.choices)}, not {value!r}")
        elif isinstance(value, str):
            raise ValueError(f"must be a number, not {value!r}")
        elif not item.low <= value <= item.high:
            raise ValueError(f"{value:g} lies outside the bounds [{item.low:g}, {item.high:g}]")
        elif item.step is not None and not _is_on_step(item, value):
            raise ValueError(f"must be on a step of {item.name}: {item.low:g} + n × {item.step:g}")
        return value


def input_problems(given: Mapping[str, CampaignInput], inputs: Sequence[Input]) -> list[Problem]:
    """Mistakes in the `inputs` of a campaign."""
    problems: list[Problem] = []
    known = {item.name: item for item in inputs}
    fixed = 0
    for name, one in given.items():
        if name not in known:
            problems.append(Problem(f"unknown input; {near(name, tuple(known), 0.7)}", f"inputs.{name}"))
            continue
        try:
            fixed += one.fixed(known[name]) is not None
            if one.value is None:
                one.narrowed(known[name])
        except ValidationError as error:  # of the input that it would be
            message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            problems.append(Problem(message, f"inputs.{name}"))
        except ValueError as error:
            problems.append(Problem(str(error), f"inputs.{name}"))
    if fixed == len(known):
        problems.append(Problem("every input is fixed; leave one free", "inputs"))
    return problems


def free_inputs(given: Mapping[str, CampaignInput], inputs: Sequence[Input]) -> tuple[Input, ...]:
    """The inputs that are not fixed, each within its limits; invalid parts of `given` are ignored."""
    free = []
    for item in inputs:
        one = given.get(item.name)
        try:
            if one is None or one.fixed(item) is None:
                free.append(item if one is None else one.narrowed(item))
        except ValueError:
            free.append(item)
    return tuple(free)


def free_constraints(
    fixed: Mapping[str, Value], constraints: Sequence[LinearConstraint]
) -> tuple[LinearConstraint, ...]:
    """The constraints on the free inputs, with the fixed values inserted; those without free inputs are left out."""
    reduced = (constraint.at(fixed) for constraint in constraints)
    return tuple(constraint for constraint in reduced if constraint is not None)


def _input(item: Input, **changes: Any) -> Input:
    return Input.model_validate({**item.model_dump(exclude_unset=True), "name": item.name, **changes})


def _is_on_step(item: Input, value: float) -> bool:
    count = (value - item.low) / (item.step or 1.0)
    return abs(count - round(count)) * (item.step or 1.0) <= PRECISION * (item.high - item.low)
