"""What a sweep file may say."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sdl.config.mistakes import NAME, short
from sdl.types import Frozen

MAX_CAMPAIGNS = 10_000_000
"""Campaigns of one sweep."""
RESERVED = {
    "seed": "the seeds are listed under `seeds`",
    "name": "the name says what the records are filed under, not what is done",
    "description": "the description changes nothing",
    "prior": "priors cannot be varied: their readings are copied from files that are the same for all",
}
"""Keys of a campaign that cannot be varied, and why."""


class Draw(Frozen):
    """Where the values of one key are drawn from."""

    low: float | None = Field(None, description="least value; evenly from here to `high`")
    high: float | None = Field(None, description="largest value")
    log: bool = Field(False, description="evenly in the logarithm")
    whole: bool = Field(False, description="whole numbers only, `low` and `high` among them")
    choose: tuple[Any, ...] | None = Field(
        None, min_length=1, description="one of these, each as likely", examples=[["1%", "2%"]]
    )

    @model_validator(mode="after")
    def _one_way(self) -> Draw:
        if self.choose is not None:
            if self.low is not None or self.high is not None or self.log or self.whole:
                raise ValueError("`choose` goes without low, high, log and whole")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choose: [ … ]")
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log wants a low above 0, not {self.low:g}")
        if self.whole and (self.low % 1 or self.high % 1):
            raise ValueError("whole wants low and high to be whole numbers")
        return self

    def value(self, seed: int, draw: int, key: str) -> Any:
        """The value of a key in one draw; a function of these three alone, so that adding a key moves no other."""
        part = random.Random(f"{seed} {draw} {key}").random()  # this method gives the same in every Python
        if self.choose is not None:
            return self.choose[int(part * len(self.choose))]
        low, high = self.low or 0.0, self.high or 0.0
        if self.whole:
            low, high = low - 0.5, high + 0.5
        found = low * (high / low) ** part if self.log else low + (high - low) * part
        found = round(found) if self.whole else float(f"{found:.6g}")
        least, most = self.low or 0.0, self.high or 0.0
        return min(max(found, int(least)), int(most)) if self.whole else min(max(found, least), most)


class RandomDraws(Frozen):
    """Keys whose values are drawn at random, together."""

    draws: int = Field(ge=1, le=1_000_000, description="how many sets of values")
    seed: int = Field(0, ge=0, lt=2**63, description="of the draws; the same seed draws the same values")
    keys: Mapping[str, Draw] = Field(
        min_length=1,
        description="dotted keys of the campaign: `{goal.515nm: {low: 8000, high: 30000}}`",
        examples=[{"goal.515nm": {"low": 8000, "high": 30000}}],
    )


class Sweep(Frozen):
    """Many campaigns: every combination of the grid, with every random draw, for every seed. One YAML file."""

    ORDER: ClassVar[tuple[str, ...]] = (
        *("name", "description", "campaign", "grid", "random", "seeds", "repeats", "keep", "resource"),
    )

    name: str = Field(pattern=NAME, description="what the results are filed under: letters, digits, `.`, `_`, `-`")
    description: str = Field("", max_length=2000, description="a sentence for people")
    campaign: Any = Field(
        description="the base: a campaign file, its path relative to this file, or the keys of one written here"
    )
    grid: Mapping[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="dotted keys of the campaign, each with a list of values: `{solver.kind: [linear, gmm]}`",
        examples=[{"solver.kind": ["linear", "gmm"]}],
    )
    random: RandomDraws | None = Field(None, description="keys whose values are drawn at random")
    seeds: int | tuple[int, ...] = Field(
        1, description="how many seeds, from 0 on, or a list of them: each gives other noise on the twin"
    )
    repeats: int = Field(
        1, ge=1, le=1_000_000, description="how many times each; for instruments that a seed does not decide"
    )
    keep: Literal["none", "records"] = Field(
        "none", description="records: every campaign's record too; always kept of real instruments"
    )
    resource: str | None = Field(
        None,
        pattern=NAME,
        description="what a worker of a cluster must have to drive the instrument; the driver's kind where it is real",
    )

    @field_validator("campaign")
    @classmethod
    def _a_base(cls, value: Any) -> Any:
        if not isinstance(value, (str, Mapping)):
            raise ValueError(f"must be the path of a campaign file or a mapping with its keys, not {short(value)}")
        return value

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(value, int):
            if not 1 <= value <= MAX_CAMPAIGNS:
                raise ValueError(f"must be 1 to {MAX_CAMPAIGNS} seeds, not {value}; name them in a list: [{value}]")
        elif not value or len(set(value)) < len(value) or any(not 0 <= seed < 2**63 for seed in value):
            raise ValueError(f"must be different whole numbers of at least 0, not {short(value)}")
        return value

    @field_validator("grid")
    @classmethod
    def _values(cls, value: Mapping[str, tuple[Any, ...]]) -> Mapping[str, tuple[Any, ...]]:
        for key, values in value.items():
            if not values:
                raise ValueError(f"{key}: give at least one value")
            if len({json.dumps(v, sort_keys=True, default=str) for v in values}) < len(values):
                raise ValueError(f"{key}: the same value twice")
        return value

    @model_validator(mode="after")
    def _keys_once(self) -> Sweep:
        drawn = list(self.random.keys) if self.random else []
        for key in [*self.grid, *drawn]:
            if not all(key.split(".")):
                raise ValueError(f"{key!r} is no dotted key, such as solver.kind")
            if (why := RESERVED.get(key.split(".")[0])) is not None:
                raise ValueError(f"{key} cannot be varied: {why}")
        if twice := [key for key in drawn if key in self.grid]:
            raise ValueError(f"{twice[0]} stands in the grid and among the random keys")
        if self.size > MAX_CAMPAIGNS:
            raise ValueError(f"these are {self.size} campaigns; at most {MAX_CAMPAIGNS}")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """What is varied: the keys of the grid, then those drawn."""
        return (*self.grid, *(self.random.keys if self.random else ()))

    @property
    def seed_list(self) -> range | tuple[int, ...]:
        """The seeds, in their order."""
        return range(self.seeds) if isinstance(self.seeds, int) else self.seeds

    @property
    def size(self) -> int:
        """How many campaigns."""
        cells = math.prod(len(values) for values in self.grid.values())
        return cells * (self.random.draws if self.random else 1) * len(self.seed_list) * self.repeats
