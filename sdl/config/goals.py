"""The goal in a campaign file: a target or limits for each of some channels, and the preferred settings.

The form of a target is recognised by its keys, because pydantic's messages about unions name internals of pydantic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_serializer,
    model_validator,
)  # fmt: skip

from sdl.config.mistakes import short
from sdl.core.goal import Band, Direction, Tolerance
from sdl.errors import Problem, did_you_mean
from sdl.types import Channel, Frozen, is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdl.types import Input


def _tolerance(value: Any) -> Tolerance:
    if isinstance(value, (str, int, float, Tolerance)) and not isinstance(value, bool):
        return Tolerance.parse(value)
    raise ValueError(f"must be 2% (of the target) or 300 (in the unit of the channel), not {short(value)}")


def _plain_tolerance(tolerance: Tolerance) -> str | float:
    return f"{tolerance.amount!r}%" if tolerance.percent else tolerance.amount


PERCENTAGE_SCHEMA = {"type": "string", "pattern": r"^\s*[0-9.eE+-]+\s*%\s*$"}
QUANTITY_SCHEMA = {"type": "string", "pattern": r"^\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*[^\s0-9.].*$"}  # 3 mS/cm
ToleranceKey = Annotated[
    Tolerance,
    BeforeValidator(_tolerance),
    PlainSerializer(_plain_tolerance),
    WithJsonSchema({"anyOf": [PERCENTAGE_SCHEMA, {"type": "number", "exclusiveMinimum": 0}, QUANTITY_SCHEMA]}),
]
ReadingKey = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, QUANTITY_SCHEMA]})]


def _improvement(value: Any) -> Tolerance:
    try:
        return Tolerance.parse(value)
    except ValueError as error:
        if "must be 2%" in str(error):
            raise ValueError(f"must be 1% (of the best reading) or 3 (its unit), not {short(value)}") from error
        raise


ImprovementKey = Annotated[
    Tolerance,
    BeforeValidator(_improvement),
    PlainSerializer(_plain_tolerance),
    WithJsonSchema({"anyOf": [PERCENTAGE_SCHEMA, {"type": "number", "exclusiveMinimum": 0}]}),
]

MAX_READING = 1e12
"""Largest reading allowed in a goal; no sensor gives more, and the squares of larger numbers are not precise enough."""
FORMS = ("target", "between", "at most", "at least")
OBJECTIVES = tuple(str(direction) for direction in Direction)
EXAMPLES = (
    "16384, {target: 16384, tolerance: 300}, {between: [1000, 60000]}, {at most: 60000}, {at least: 1000}, maximise or "
    "minimise"
)
TOTAL_POWER = "power"  # the name in `prefer` for the sum of all inputs, each as a fraction of its range


class Target(Frozen):
    """The goal of one channel: a target (with an optional tolerance of its own), limits, or to maximise or minimise it.

    Exactly one of `target`, `between`, `at most`, `at least` and `objective`. A single number is a target, and
    `maximise` or `minimise` alone an objective.
    """

    model_config = ConfigDict(
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        json_schema_extra={"oneOf": [{"required": [key]} for key in (*FORMS, "objective")]},
    )

    ORDER: ClassVar[tuple[str, ...]] = ("target", "tolerance", "between", "at most", "at least", "objective")

    target: ReadingKey | None = Field(None, description="the target, a raw reading")
    tolerance: ToleranceKey | None = Field(
        None,
        description="the target's own tolerance, `300` (in the unit of the channel) or `2%`; the campaign's if omitted",
    )
    between: tuple[ReadingKey, ReadingKey] | None = Field(
        None, description="instead of a target: the lowest and the highest reading, `[1000, 60000]`"
    )
    at_most: ReadingKey | None = Field(None, alias="at most", description="instead of a target: the highest reading")
    at_least: ReadingKey | None = Field(None, alias="at least", description="instead of a target: the lowest reading")
    objective: Annotated[Direction, Field(strict=False), WithJsonSchema({"enum": list(OBJECTIVES)})] | None = Field(
        None,
        description="instead of a target: `maximise` or `minimise` the channel, alone `{R: maximise}`; at most one "
        "channel, and all others are constraints",
    )

    @model_validator(mode="before")
    @classmethod
    def _form(cls, value: Any) -> Any:
        if is_number(value):
            return {"target": value}
        if isinstance(value, str) and value in OBJECTIVES:
            return {"objective": value}
        if not isinstance(value, Mapping):
            raise ValueError(f"must be {EXAMPLES}; not {short(value)}")
        given = {str(key).replace("_", " "): item for key, item in value.items() if item is not None}
        forms = [key for key in (*FORMS, "objective") if key in given]
        if {"at most", "at least"} == set(forms):
            low, high = given["at least"], given["at most"]
            raise ValueError(f"at least and at most together are a range; write between: [{short(low)}, {short(high)}]")
        if len(forms) > 1:
            raise ValueError(f"has {' and '.join(forms)}; give one of them")
        if not forms and not set(given) - {"tolerance"}:
            raise ValueError(f"must be {EXAMPLES}; not {short(dict(value))}")
        if forms and forms != ["target"] and "tolerance" in given:
            raise ValueError(
                "a tolerance belongs to a target; an objective has none"
                if forms == ["objective"]
                else f"a tolerance belongs to a target; the limits of {forms[0]} are exact"
            )
        if forms == ["between"]:
            given["between"] = _pair(given["between"])
        return given

    @model_validator(mode="after")
    def _ordered(self) -> Target:
        if self.between is not None and not self.between[0] < self.between[1]:
            low, high = self.between
            raise ValueError(f"between: the first number must be below the second, not [{low:g}, {high:g}]")
        return self

    @model_serializer(mode="plain")
    def _plain(self) -> dict[str, Any] | str:
        if self.objective is not None:
            return str(self.objective)
        between = None if self.between is None else list(self.between)
        limits = {"between": between, "at most": self.at_most, "at least": self.at_least}
        tolerance = None if self.tolerance is None else _plain_tolerance(self.tolerance)
        given = {key: value for key, value in limits.items() if value is not None}
        return given or {"target": self.target, "tolerance": tolerance}

    def band(self, tolerance: Tolerance) -> Band:
        """The accepted readings; `tolerance` is that of the campaign, for a target without its own."""
        if self.objective is not None:
            return Band.objective(self.objective)
        if self.between is not None:
            return Band.between(*self.between)
        if self.at_most is not None:
            return Band.at_most(self.at_most, tolerance.of(self.at_most))
        if self.at_least is not None:
            return Band.at_least(self.at_least, tolerance.of(self.at_least))
        target = self.target if self.target is not None else math.nan
        return Band.around(target, (self.tolerance or tolerance).of(target))


def _pair(value: Any) -> tuple[Any, Any]:
    """Two numbers, given as a list or (resolved) as a tuple."""
    numbers = value if isinstance(value, (list, tuple)) else ()
    if len(numbers) != 2 or not all(map(is_number, numbers)):
        raise ValueError(f"between: must be two numbers, [lowest, highest]; not {short(value)}")
    return numbers[0], numbers[1]


class Prefer(Frozen):
    """Which settings to take if several reach the goal. Exactly one of `minimise` and `maximise`."""

    minimise: str | None = Field(
        None,
        description="`power` (the sum of all inputs as fractions of their ranges) or the name of an input, to be as "
        "small as possible",
    )
    maximise: str | None = Field(None, description="`power` or the name of an input, to be as large as possible")

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or set(value) <= {"minimise", "maximise"}:
            given = [v for v in value.values() if v is not None] if isinstance(value, Mapping) else []
            if len(given) != 1:
                raise ValueError(f"must be {{minimise: power}}, {{minimise: R}} or {{maximise: R}}, not {short(value)}")
        return value

    def cost(self, inputs: Sequence[Input]) -> tuple[float, ...]:
        """The cost of each input over its whole range; of the settings that reach a goal the cheapest are taken."""
        name, sign = (self.minimise, 1.0) if self.minimise is not None else (self.maximise, -1.0)
        return tuple(sign if item.numeric and name in (TOTAL_POWER, item.name) else 0.0 for item in inputs)


def implausible(target: Target) -> str:
    """A message if the goal has a number beyond ± MAX_READING; empty if not."""
    numbers = [target.target, target.at_most, target.at_least, *(target.between or ())]
    wrong = [value for value in numbers if value is not None and abs(value) > MAX_READING]
    return f"{wrong[0]:g} is no plausible reading; allowed: -{MAX_READING:g} to {MAX_READING:g}" if wrong else ""


def goal_problems(goal: Mapping[str, Target], tolerance: Tolerance, channels: Mapping[str, Channel]) -> list[Problem]:
    """Mistakes in a goal: unknown channels, targets outside a channel's range, and bands without width."""
    problems: list[Problem] = []
    for name, target in goal.items():
        if message := implausible(target):
            messages = [message]
        elif name not in channels:
            hint = did_you_mean(name, channels)
            messages = [f"unknown channel; the instrument has: {', '.join(channels)}{hint}"]
        else:
            messages = list(_conflicts(target, target.tolerance or tolerance, channels[name]))
        problems += [Problem(message, f"goal.{name}") for message in messages]
    objectives = [name for name, target in goal.items() if target.objective is not None]
    if len(objectives) > 1:
        message = (
            f"only one channel can be maximised or minimised, not {' and '.join(objectives)}; give the others limits"
        )
        problems.append(Problem(message, f"goal.{objectives[1]}"))
    return problems


def no_width(tolerance: Tolerance, aim: float) -> str:
    """The message for a tolerance that leaves a target no width."""
    if aim == 0:
        return f"a tolerance of {tolerance} of 0 is 0; give it in the unit of the channel"
    return f"a tolerance of {tolerance} is too narrow: no other number than {aim:g} would be within it"


def _conflicts(target: Target, tolerance: Tolerance, channel: Channel) -> Iterator[str]:
    """Reasons why no reading, or every reading, meets a target or limit."""
    top = math.inf if channel.high is None else channel.high
    bottom = -math.inf if channel.low is None else channel.low
    highest = target.at_most if target.between is None else target.between[1]
    if (aim := target.target) is not None:
        width = tolerance.of(aim)
        if aim < bottom:
            yield f"{aim:g} cannot be read: the range of the channel begins at {bottom:g}"
        elif aim >= top:
            yield f"{aim:g} cannot be read: the channel saturates at {top:g}"
        elif aim + width >= top:
            yield f"{aim:g} + tolerance {width:g} reaches saturation ({top:g}); lower one of them"
        if aim + width == aim:
            yield no_width(tolerance, aim)
    elif highest is not None and highest < bottom:
        yield f"{highest:g} cannot be read: the range of the channel begins at {bottom:g}"
    elif target.at_least is not None and target.at_least >= top:
        yield f"at least {target.at_least:g} cannot be read: the channel saturates at {top:g}"
    elif target.at_most is not None and target.at_most >= top:
        yield f"at most {target.at_most:g} is not below saturation ({top:g}): every reading would meet it"
    elif target.between is not None and target.between[1] >= top:
        yield f"between … {target.between[1]:g} reaches saturation ({top:g}); lower it"


def prefer_problems(prefer: Prefer, inputs: Sequence[Input]) -> list[Problem]:
    """A mistake if `prefer` names no numeric input of the instrument."""
    allowed = [TOTAL_POWER, *(item.name for item in inputs if item.numeric)]
    key = "minimise" if prefer.minimise is not None else "maximise"
    name = str(getattr(prefer, key))
    if name in allowed:
        return []
    message = f"must be one of {', '.join(allowed)}, not {name!r}{did_you_mean(name, allowed)}"
    return [Problem(message, f"prefer.{key}")]
