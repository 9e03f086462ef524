"""What a campaign file may say: a tree of frozen models, each option with its default and a sentence for the docs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_serializer, model_validator

from sdl.config.expect import Expect
from sdl.config.goals import Prefer, Target, ToleranceKey
from sdl.config.mistakes import NAME, short
from sdl.config.stop import StopOptions
from sdl.core.campaign import Plan
from sdl.core.goal import Goal, Tolerance
from sdl.designs.base import Design
from sdl.drivers.base import Instrument
from sdl.solvers.base import Solver
from sdl.twin.state import load, locate
from sdl.types import Frozen

GROUPS: dict[str, tuple[str, type]] = {
    "instrument": ("drivers", Instrument),
    "design": ("designs", Design),
    "solver": ("solvers", Solver),
}
"""Keys with a `kind`: their group in the registry and the contract that a class there must keep."""

CHANGEABLE = ("stop", "solver", "confirm", "retry")
"""Keys that a resume may change; the others make it another campaign."""


class Retry(Frozen):
    """What is done when a reading fails in a way that may pass."""

    times: int = Field(3, ge=0, le=100, description="further attempts at one reading before its trial has failed")
    wait: float = Field(1.0, ge=0, le=3600, description="seconds before the first of them; doubles each time")
    longest: float = Field(60.0, ge=0, le=86400, description="most seconds before one of them")


class CampaignRules(Frozen):
    """The keys that say how a campaign goes on, and nothing of what drives or proposes: enough to replay a record."""

    goal: Mapping[str, Target] | None = Field(
        None,
        description="what each channel is to read (raw); not needed by `sdl collect` and `sdl measure`",
        examples=[{"445nm": 16384}],
    )
    tolerance: ToleranceKey = Field(
        default_factory=lambda: Tolerance(2.0, percent=True),
        description="how far every channel may lie from its target, to either side: `2%` of it, or counts",
    )
    prefer: Prefer | None = Field(
        None, description="which settings to take where several reach the goal: `{minimise: power}`, `{maximise: R}`"
    )
    confirm: int = Field(
        2, ge=0, le=1000, description="further readings (× average) at settings that hit; the mean of all must hit too"
    )
    average: int = Field(1, ge=1, le=1000, description="readings a trial")
    stop: StopOptions = Field(default_factory=StopOptions, description="when to end without having reached the goal")
    retry: Retry = Field(default_factory=Retry, description="what is done when a reading fails in a way that may pass")

    def goals(self) -> Goal | None:
        """The goal as bands of raw readings; None to collect."""
        if not self.goal:
            return None
        return Goal({name: target.band(self.tolerance) for name, target in self.goal.items()})

    def plan(self) -> Plan:
        """What the state machine is asked to do; without a goal it takes `stop.trials` points."""
        goal, retry = self.goals(), self.retry
        rules = self.stop.active()
        return Plan(
            goal, rules, self.average, self.confirm, retry.times, retry.wait, retry.longest, collect=self.stop.trials
        )


class Prior(Frozen):
    """Earlier readings to start with. A text by itself is the source."""

    source: str = Field(description="a path relative to the campaign's file, or a run by its name")
    inputs: Mapping[str, str] = Field({}, description="the columns of inputs that have another name there: `{R: red}`")
    channels: Mapping[str, str] = Field({}, description="the columns of channels, likewise: `{445nm: blue}`")

    @model_validator(mode="before")
    @classmethod
    def _form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"source": value}
        if not isinstance(value, (Mapping, Prior)):
            raise ValueError(
                f"must be a path, the name of a run, or {{source: …, inputs: {{R: red}}}}; not {short(value)}"
            )
        return value

    @model_serializer(mode="plain")
    def _plain(self) -> str | dict[str, Any]:
        if not self.inputs and not self.channels:
            return self.source
        return {"source": self.source, "inputs": dict(self.inputs), "channels": dict(self.channels)}


class ResolvedCampaign(CampaignRules):
    """What it takes to run a campaign: its rules, and the instrument, the design and the solver themselves.

    A start has more (`CampaignFile`); a resume has the rows of the priors in the run's own copy and expects nothing.
    """

    name: str = Field(
        pattern=NAME,
        description="what the runs are filed under: letters, digits, `.`, `_`, `-`",
    )
    description: str = Field("", max_length=2000, description="a sentence for people")
    instrument: Any = Field(description="what is driven: `kind` and its options")
    design: Any = Field(
        default_factory=lambda: {"kind": "axis"}, description="trials before the solver: `kind`, options"
    )
    solver: Any = Field(default_factory=lambda: {"kind": "gmm"}, description="what proposes: `kind` and its options")
    watch: str | None = Field(
        None,
        description="the twin that the instrument is compared with while it is driven: `twin`, a state's name, or a "
        "path of a `.toml` file; a warning says when the instrument no longer matches it",
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="of everything random; the same file and seed give the same campaign"
    )

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value == "latest":
            raise ValueError("`latest` means the newest run wherever a run is named; take another name")
        return value

    @field_validator("watch")
    @classmethod
    def _known_twin(cls, value: str | None) -> str | None:
        if value not in (None, "twin"):
            load(value)
        # Whole, so that a campaign can be resumed from another folder.
        return str(locate(value)) if value and value.endswith(".toml") else value


class CampaignFile(ResolvedCampaign):
    """A campaign: instrument, goal, design, solver and stopping rules. One YAML file."""

    ORDER: ClassVar[tuple[str, ...]] = (
        *("name", "description", "instrument", "goal", "tolerance", "prefer", "confirm", "average"),
        *("design", "solver", "stop", "retry", "prior", "watch", "seed", "expect"),
    )

    prior: tuple[Prior, ...] = Field(
        (),
        max_length=100,
        examples=[["night.jsonl"]],
        description="records, logs or tables ([data.md](data.md)) to start with: paths relative to this file, or runs "
        "by their name (`latest`, `led-16384`); with other names of columns `{source: night.csv, inputs: {R: red}}`",
    )
    expect: Expect | None = Field(
        None,
        description="what it should come to, for `sdl verify` and pytest ([testing.md](testing.md)); not for a run",
    )

    def plain(self) -> dict[str, Any]:
        """The resolved file, every default written out, as plain values that `parse` reads back to the same."""
        tree = self.model_dump(mode="json", exclude=set(GROUPS))
        tree |= {key: getattr(self, key).model_dump(mode="json") for key in GROUPS}
        return {key: tree[key] for key in self.ORDER}

    def without_goal(self) -> CampaignFile:
        """The campaign that only measures its design; an expectation is of the goal, and goes with it."""
        return self.model_copy(update={"goal": None, "expect": None}).with_all_points()

    def with_all_points(self) -> CampaignFile:
        """The campaign with as many trials as its design has points."""
        size = self.design.size(self.instrument.inputs)
        return self.model_copy(update={"stop": self.stop.model_copy(update={"trials": size})})


KEYS = CampaignFile.ORDER
"""The keys of a campaign file in the order people read them."""
