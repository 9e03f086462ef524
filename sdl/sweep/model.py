"""The sweep file."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sdl.config.mistakes import NAME, short
from sdl.types import Frozen

MAX_CAMPAIGNS = 10_000_000  # largest number of campaigns in a sweep
# Keys of a campaign that cannot be varied, with the reason.
RESERVED = {
    "seed": "the seeds are listed under `seeds`",
    "name": "the name only decides where records are filed",
    "description": "the description does not affect the campaign",
    "prior": "all campaigns use the same priors",
}


class Draw(Frozen):
    """The distribution of one key's values."""

    low: float | None = Field(None, description="lowest value; drawn uniformly up to `high`")
    high: float | None = Field(None, description="highest value")
    log: bool = Field(False, description="uniform in the logarithm")
    whole: bool = Field(False, description="whole numbers only, including `low` and `high`")
    choose: tuple[Any, ...] | None = Field(
        None, min_length=1, description="one of these, with equal probability", examples=[["1%", "2%"]]
    )

    @model_validator(mode="after")
    def _one_way(self) -> Draw:
        if self.choose is not None:
            if self.low is not None or self.high is not None or self.log or self.whole:
                raise ValueError("`choose` excludes low, high, log and whole")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choose: [ … ]")
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low:g}")
        if self.whole and (self.low % 1 or self.high % 1):
            raise ValueError("whole needs whole numbers for low and high")
        return self

    def value(self, seed: int, draw: int, key: str) -> Any:
        """The value of `key` in one draw; it depends on these arguments only, so that keys can be added."""
        part = random.Random(f"{seed} {draw} {key}").random()  # the same in every version of Python
        if self.choose is not None:
            return self.choose[int(part * len(self.choose))]
        low, high, margin = self.low or 0.0, self.high or 0.0, 0.5 if self.whole else 0.0
        start, end = low - margin, high + margin
        drawn = start * (end / start) ** part if self.log else start + (end - start) * part
        if self.whole:
            return min(max(round(drawn), int(low)), int(high))
        return min(max(float(f"{drawn:.6g}"), low), high)


class RandomDraws(Frozen):
    """Keys whose values are drawn at random together."""

    draws: int = Field(ge=1, le=1_000_000, description="number of sets of values")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the draws; the same seed gives the same values")
    keys: Mapping[str, Draw] = Field(
        min_length=1,
        description="dotted keys of the campaign: `{goal.515nm: {low: 8000, high: 30000}}`",
        examples=[{"goal.515nm": {"low": 8000, "high": 30000}}],
    )


class Sweep(Frozen):
    """Many campaigns: every combination of the grid with every random draw, for every seed. One YAML file."""

    ORDER: ClassVar[tuple[str, ...]] = (
        *("name", "description", "campaign", "grid", "random", "seeds", "repeats", "keep", "resource"),
    )

    name: str = Field(pattern=NAME, description="directory name for the results: letters, digits, `.`, `_`, `-`")
    description: str = Field("", max_length=2000, description="free text")
    campaign: Any = Field(description="the base campaign: the path of its file relative to this one, or its keys")
    grid: Mapping[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="dotted keys of the campaign, each with a list of values: `{solver.kind: [linear, gmm]}`",
        examples=[{"solver.kind": ["linear", "gmm"]}],
    )
    random: RandomDraws | None = Field(None, description="keys whose values are drawn at random")
    seeds: int | tuple[int, ...] = Field(
        1, description="number of seeds, starting with 0, or a list of seeds: each gives other noise on the twin"
    )
    repeats: int = Field(
        1, ge=1, le=1_000_000, description="number of repeats; for instruments that do not depend on the seed"
    )
    keep: Literal["none", "records"] = Field(
        "none", description="records: also keep every campaign's record; always kept for real instruments"
    )
    resource: str | None = Field(
        None,
        pattern=NAME,
        description="Dask resource that a worker must have to drive the instrument; default: the kind of a real driver",
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
                raise ValueError(
                    f"must be a number of seeds from 1 to {MAX_CAMPAIGNS}, not {value}; for one seed write [{value}]"
                )
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
                raise ValueError(f"{key!r} is not a dotted key such as solver.kind")
            if (why := RESERVED.get(key.split(".")[0])) is not None:
                raise ValueError(f"{key} cannot be varied: {why}")
        if twice := [key for key in drawn if key in self.grid]:
            raise ValueError(f"{twice[0]} is both in the grid and among the random keys")
        if self.size > MAX_CAMPAIGNS:
            raise ValueError(f"the sweep has {self.size} campaigns; allowed: up to {MAX_CAMPAIGNS}")
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """The varied keys: those of the grid, then the random ones."""
        return (*self.grid, *(self.random.keys if self.random else ()))

    @property
    def seed_list(self) -> range | tuple[int, ...]:
        return range(self.seeds) if isinstance(self.seeds, int) else self.seeds

    @property
    def size(self) -> int:
        cells = math.prod(len(values) for values in self.grid.values())
        return cells * (self.random.draws if self.random else 1) * len(self.seed_list) * self.repeats
