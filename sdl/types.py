"""The vocabulary of all other modules: plain values, without IO.

Public functions take and return mappings keyed by the name of an input or a channel; arrays stay inside.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeGuard

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

# Seconds between two readings that begin a new session, where an instrument declares nothing else.
SESSION_GAP = 600.0

# The value of an input: a number, or the text of a choice.
Value = float | str
Settings = Mapping[str, Value]


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is an int or a float, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def numbers(settings: Settings) -> dict[str, float]:
    """The settings of numeric inputs alone."""
    return {name: value for name, value in settings.items() if not isinstance(value, str)}


# Most choices of one input: each needs readings of its own.
MOST_CHOICES = 50


class Frozen(BaseModel):
    """Base of the models that a YAML file can name: immutable; unknown keys and values of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Input(Frozen):
    """A quantity that can be set: a number from `low` to `high`, perhaps in steps, or one of several `choices`.

    `choices` are 2 to 50 different texts in no order; such an input has no bounds and no step.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    step: Annotated[float, Field(gt=0)] | None = None
    choices: Annotated[tuple[str, ...], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Input:
        if self.choices is not None:
            self._check_choices(self.choices)
        elif not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self

    def _check_choices(self, choices: tuple[str, ...]) -> None:
        if beside := [key for key in ("low", "high", "step") if key in self.model_fields_set]:
            raise ValueError(f"an input with choices has no {' or '.join(beside)}")
        if not 2 <= len(choices) <= MOST_CHOICES:
            raise ValueError(f"2 to {MOST_CHOICES} choices are possible, not {len(choices)}")
        if odd := [text for text in choices if text != text.strip() or not text.isprintable() or not text]:
            raise ValueError(f"a choice is a text on one line without spaces at its ends, not {odd[0]!r}")
        if twice := sorted({text for text in choices if choices.count(text) > 1}):
            raise ValueError(f"choices must differ; given twice: {', '.join(twice)}")

    @model_serializer(mode="wrap")
    def _own_keys(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the keys that do not apply, so that a record of numbers stays as it was."""
        left_out = {"choices"} if self.choices is None else {"low", "high", "step"}
        return {key: value for key, value in dump(self).items() if key not in left_out}

    @property
    def numeric(self) -> bool:
        """Whether it is set to numbers, not to one of several texts."""
        return self.choices is None


class Channel(Frozen):
    """A quantity that is measured.

    `low` and `high` are the ends of its range; None where it has no such end. A reading at `high` (in older files
    `saturation`) is a bound and no value. `resolution` is the step of its readings, given where the step is coarser
    than the noise: only then may repeated readings be equal.
    """

    name: str
    unit: str = "counts"
    low: float | None = None
    high: float | None = Field(None, validation_alias=AliasChoices("high", "saturation"))
    resolution: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Channel:
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        return self

    @property
    def saturation(self) -> float | None:
        """Deprecated name of `high`."""
        warnings.warn("Channel.saturation is deprecated, use Channel.high", DeprecationWarning, stacklevel=2)
        return self.high


class Verdict(StrEnum):
    """The verdict on a goal; where several apply, the first (docs/explanation/goals.md)."""

    UNREACHABLE = "unreachable"  # no settings bring all channels within tolerance
    SATURATED = "saturated"  # it asks for readings at the end of the range of a channel
    BETWEEN_STEPS = "between two steps"  # some settings would, but none that the steps of the inputs allow
    OUTSIDE = "outside the data"  # the answer lies far from every setting seen
    LACK_OF_FIT = "lack of fit"  # the model misses its own rows by more than the tolerance, beyond their noise
    BELOW_NOISE = "below the noise"  # even at the best settings readings are often outside; average more
    REACHABLE = "reachable"


class Outcome(StrEnum):
    """How a campaign ended."""

    REACHED = "reached"
    DONE = "done"
    UNREACHABLE = "unreachable"
    SPENT = "spent"
    STALLED = "stalled"
    ABORTED = "aborted"
    FAILED = "failed"


GOOD_OUTCOMES = (Outcome.REACHED, Outcome.DONE)
"""Of campaigns that did what they were for; a resume leaves them as they are."""


class Power(StrEnum):
    """Whether an instrument is at its safe settings (for a lamp: dark)."""

    OFF = "off"  # a reply proves it
    ON = "on"  # a reply says so, or its readings do
    UNKNOWN = "unknown"  # no reply, or one that proves nothing
    NOT_NEEDED = "not-needed"  # nothing was switched on


@dataclass(frozen=True, slots=True)
class SafeState:
    """The state of an instrument after a request to switch it off.

    Attributes:
        state: off only where a reply proves it.
        applied: the input values that the instrument says are set now; None where it did not say.
        why: a sentence, for people; may be empty where it is off.
    """

    state: Power
    applied: Settings | None = None
    why: str = ""

    @property
    def proven(self) -> bool:
        """Whether the instrument is off or was never switched on."""
        return self.state in (Power.OFF, Power.NOT_NEEDED)


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of one measurement.

    Attributes:
        applied: the input values that the instrument says it used.
        readings: raw value of each channel, in the channel's unit.
        background: raw value of each channel with the instrument off, where it was taken with this measurement.
        saturated: the channels that hit the end of their range: bounds, not values.
        fault: a word (`not-applied`: other settings than asked); None if there is none.
    """

    applied: Settings
    readings: Mapping[str, float]
    background: Mapping[str, float] | None = None
    saturated: tuple[str, ...] = ()
    fault: str | None = None
