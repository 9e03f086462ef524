"""The `expect:` block: the expected result of a campaign, tested by `sdl verify` and the pytest plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator, model_validator

from sdl.config.goals import PERCENTAGE_SCHEMA
from sdl.config.mistakes import short
from sdl.core.goal import Tolerance
from sdl.errors import Problem
from sdl.types import Frozen

if TYPE_CHECKING:
    from sdl.config.model import CampaignFile

ExpectedOutcome = Literal["reached", "done", "unreachable", "spent", "stalled", "failed"]
ExpectedVerdict = Literal[
    "reachable", "unreachable", "outside the data", "lack of fit", "below the noise", "between two steps", "saturated"
]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
MAX_SEEDS = 100_000


def _percentage(value: Any) -> Tolerance:
    if isinstance(value, Tolerance) and value.percent:
        return value
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return Tolerance.parse(value)
        except ValueError as error:
            if "at most" in str(error):
                raise
    raise ValueError(f"must be a percentage of the target such as 2%, not {short(value)}")


Percentage = Annotated[
    Tolerance,
    BeforeValidator(_percentage),
    PlainSerializer(lambda t: f"{t.amount!r}%"),
    WithJsonSchema(PERCENTAGE_SCHEMA),
]


class _Limits(Frozen):
    """Upper limits of a quantity that varies with the seed; a single value means `most`."""

    KEYS: ClassVar[tuple[str, ...]] = ("median", "p95", "most")
    LEAST: ClassVar[float] = 0.0

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return {"most": value}
        return value

    @model_validator(mode="after")
    def _rising(self) -> _Limits:
        given = self.given()
        if any(size < self.LEAST for size in given.values()):
            raise ValueError(f"must be {self.LEAST:g} or more")
        if not given:
            raise ValueError(f"empty; give one or more of {', '.join(self.KEYS)}")
        if list(given.values()) != sorted(given.values()):
            raise ValueError(f"must not fall from {' to '.join(given)}")
        return self

    def given(self) -> dict[str, float]:
        """The limits that are set, of `median`, `p95` and `most`; a percentage as a fraction."""
        values = {key: value for key in self.KEYS if (value := getattr(self, key)) is not None}
        return {key: v.amount / 100 if isinstance(v, Tolerance) else v for key, v in values.items()}


class TrialLimits(_Limits):
    """Upper limits of the trials until the expected end; a campaign that ends otherwise counts as infinitely long."""

    LEAST: ClassVar[float] = 1.0

    median: float | None = Field(None, description="for half of all campaigns")
    p95: float | None = Field(None, description="for 95 of 100 campaigns")
    most: float | None = Field(None, description="for every seed; `trials: 9` is short for it")


class ErrorLimits(_Limits):
    """Upper limits of the worst channel's relative error at the best settings."""

    median: Percentage | None = Field(None, description="for half of all campaigns: `1%`")
    p95: Percentage | None = Field(None, description="for 95 of 100 campaigns")
    most: Percentage | None = Field(None, description="for every seed; `error: 2%` is short for it")


class Expect(Frozen):
    """The expected result for any seed. `sdl run` ignores it; `sdl verify` and pytest check it."""

    outcome: ExpectedOutcome = Field(
        "reached", description="outcome for every seed; `done` without a goal or with an objective"
    )
    trials: TrialLimits | None = Field(
        None, description="upper limits of the trials until then: `{median: 6, p95: 9, most: 12}`"
    )
    error: ErrorLimits | None = Field(
        None,
        description="upper limits of the worst channel's relative error at the best settings, `2%` or "
        "`{median: 1%, most: 2%}`: without noise if the instrument can tell (a twin), otherwise as measured",
    )
    verdict: ExpectedVerdict | None = Field(None, description="verdict on the goal in the solver's last proposal")
    instrument: Any = Field(
        None, description="instrument for the test, if the campaign drives a real one: `{kind: twin}`"
    )
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] | Annotated[tuple[Whole, ...], Field(min_length=1)] = Field(
        20, description="number of seeds, starting with the campaign's own; or a list of seeds"
    )

    @field_validator("seeds")
    @classmethod
    def _once(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(value, tuple) and len(set(value)) < len(value):
            twice = next(seed for seed in value if value.count(seed) > 1)
            raise ValueError(f"seed {twice} is listed twice")
        return value


def seeds_of(campaign: CampaignFile, many: int | None = None) -> tuple[int, ...]:
    """The seeds that test an expectation: those it names, or `many` consecutive ones from the campaign's own."""
    seeds = many or (campaign.expect.seeds if campaign.expect is not None else 1)
    return tuple(range(campaign.seed, campaign.seed + seeds)) if isinstance(seeds, int) else seeds


def expect_problems(campaign: CampaignFile) -> list[Problem]:
    """Expectations that this campaign cannot meet in principle."""
    expect = campaign.expect
    if expect is None:
        return []
    problems = []
    if not campaign.goal and expect.outcome not in ("done", "failed"):
        problems.append(Problem(f"{expect.outcome}: without a goal a campaign ends as done", "expect.outcome"))
    objective = any(target.objective is not None for target in (campaign.goal or {}).values())
    if campaign.goal and not objective and expect.outcome == "done":
        problems.append(Problem("only a campaign without a goal, or with an objective, ends as done", "expect.outcome"))
    if objective and expect.outcome in ("reached", "stalled"):
        message = f"{expect.outcome}: a campaign that maximises or minimises a channel ends as done or spent"
        problems.append(Problem(message, "expect.outcome"))
    if objective and expect.error is not None:
        problems.append(Problem("a channel to maximise or minimise has no error; remove it", "expect.error"))
    needing = [key for key in ("error", "verdict") if not campaign.goal and getattr(expect, key) is not None]
    return problems + [Problem("needs a goal; remove it or give one", f"expect.{key}") for key in needing]


def instrument_tested_on(campaign: CampaignFile) -> Any:
    """The plain `instrument:` for the test; None: the campaign's own."""
    given = campaign.expect.instrument if campaign.expect is not None else None
    return dict(given) if isinstance(given, Mapping) else given


def why_untestable(campaign: CampaignFile) -> str:
    """Why the expectation of a campaign cannot be tested; empty if it can."""
    if campaign.expect is None or campaign.instrument is None or campaign.expect.instrument is not None:
        return ""
    name = campaign.instrument.kind
    if getattr(campaign.instrument, "twin", None) is not None:  # it is tested on that
        return ""
    if not campaign.instrument.simulated:
        return f"{name} is a real instrument, which no test drives; name one for the test: instrument: {{kind: twin}}"
    if not campaign.instrument.virtual:
        return f"this {name} runs in real time; name one for the test: instrument: {{kind: {name}}}"
    return ""
