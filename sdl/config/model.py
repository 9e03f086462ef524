"""The campaign file as frozen models; each option has a default and a description for the docs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_serializer, model_validator

from sdl import registry
from sdl.config.expect import Expect
from sdl.config.goals import ImprovementKey, Prefer, Target, ToleranceKey
from sdl.config.inputs import CampaignInput, free_constraints, free_inputs
from sdl.config.mistakes import NAME, short
from sdl.core.campaign import Plan
from sdl.core.goal import Goal, Tolerance
from sdl.core.prices import Prices
from sdl.core.stopping import Rule, StopRules
from sdl.designs.base import Design
from sdl.designs.placed import placed
from sdl.drivers.base import Instrument, constraints_of
from sdl.errors import ConfigError
from sdl.grammar import LinearConstraint
from sdl.notify.model import Messages
from sdl.solvers.base import Solver
from sdl.twin.reference import checked_reference, reference_of
from sdl.types import Frozen, Input, Settings, Value

if TYPE_CHECKING:
    from sdl.space import Space

GROUPS: dict[str, tuple[str, type]] = {
    "instrument": ("drivers", Instrument),
    "design": ("designs", Design),
    "solver": ("solvers", Solver),
}
"""Keys with a `kind`: their group in the registry, and the protocol that its classes implement."""

CHANGEABLE = ("stop", "solver", "average", "confirm", "retry", "notify")
"""Keys that a resume may change; changing another key makes a different campaign."""


def _installed_rule(given: Any) -> Rule:
    """The rule that `{kind: …}` names.

    Raises:
        ValueError: no installed package has this kind, or its options are wrong.
    """
    if isinstance(given, Rule) and isinstance(given, Frozen):
        return given
    tree = {"kind": given} if isinstance(given, str) else given
    if not isinstance(tree, Mapping):
        raise ValueError("must be {kind: …} with the options of the rule")
    try:
        rule = registry.find("rules", tree.get("kind")).model_validate(dict(tree))
    except ConfigError as error:
        raise ValueError(str(error)) from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ValueError(f"{tree['kind']}: {wrong}") from error
    if not isinstance(rule, Rule):
        raise ValueError(f"kind {tree['kind']!r} does not implement the protocol `Rule`")
    return rule


class StopOptions(StopRules):
    """When a campaign ends without reaching its goal."""

    improvement: ImprovementKey | None = Field(
        None,
        description="with a channel to maximise or minimise: done when less improvement than this is expected at two "
        "proposals in a row, `1%` of the best reading or a number in its unit; null: only the budget ends it",
    )

    rules: tuple[Annotated[Any, BeforeValidator(_installed_rule)], ...] = Field(
        (),
        max_length=100,
        strict=False,
        description="rules of installed packages: `kind` and options (entry points `sdl.rules`)",
    )

    def active(self) -> tuple[Rule, ...]:
        """The rules of the core that are switched on, then those of installed packages."""
        return (*super().active(), *self.rules)


class Retry(Frozen):
    """What to do when a reading fails and a retry may succeed."""

    times: int = Field(3, ge=0, le=100, description="further attempts at a reading before its trial counts as failed")
    wait: float = Field(1.0, ge=0, le=3600, description="seconds before the first further attempt; doubles each time")
    longest: float = Field(60.0, ge=0, le=86400, description="longest wait before an attempt, in seconds")


class CampaignRules(Frozen):
    """The keys that decide how a campaign proceeds, apart from instrument, design and solver.

    They are all that folding a record needs.
    """

    goal: Mapping[str, Target] | None = Field(
        None,
        description="target or limits of each channel, in raw readings; not needed by `sdl collect` and `sdl measure`",
        examples=[{"R": 140}],
    )
    tolerance: ToleranceKey = Field(
        default_factory=lambda: Tolerance(2.0, percent=True),
        description="allowed distance of every channel from its target, to either side: `2%` of it, or a number in "
        "the channel's unit",
    )
    prefer: Prefer | None = Field(
        None, description="which settings to take if several reach the goal: `{minimise: power}`, `{maximise: R}`"
    )
    confirm: int = Field(
        2,
        ge=0,
        le=1000,
        description="further readings (× average) at settings within tolerance; the mean of all must lie within it too",
    )
    average: int = Field(1, ge=1, le=1000, description="readings per trial")
    stop: StopOptions = Field(default_factory=StopOptions, description="when to stop without having reached the goal")
    retry: Retry = Field(default_factory=Retry, description="what to do when a reading fails and a retry may succeed")

    def goals(self) -> Goal | None:
        """The goal as bands of raw readings; None without a goal."""
        if not self.goal:
            return None
        return Goal({name: target.band(self.tolerance) for name, target in self.goal.items()})

    def plan(self, prices: Prices | None = None) -> Plan:
        """The instructions for the state machine; without a goal it measures `stop.trials` points."""
        retries = (self.retry.times, self.retry.wait, self.retry.longest)
        rules, trials = self.stop.active(), self.stop.trials
        improvement = self.stop.improvement
        return Plan(
            self.goals(),
            rules,
            self.average,
            self.confirm,
            *retries,
            collect=trials,
            improvement=improvement,
            prices=prices,
        )


def prices_of(tree: Mapping[str, Any]) -> Prices | None:
    """The prices in a recorded configuration, as `ResolvedCampaign.prices`."""
    instrument, inputs = tree.get("instrument"), tree.get("inputs") or {}
    if isinstance(instrument, Mapping) and isinstance(instrument.get("of"), Mapping):  # a twin in its place
        instrument = instrument["of"]
    given = instrument.get("cost") if isinstance(instrument, Mapping) else None
    prices = Prices.model_validate(given or {})
    fixed = {name: value for name, value in inputs.items() if not isinstance(value, Mapping)}
    return None if prices.free else prices.with_fixed(fixed)


class Prior(Frozen):
    """Earlier readings to start with. A single text is the source."""

    source: str = Field(description="a path relative to the campaign file, or the name of a run")
    inputs: Mapping[str, str] = Field({}, description="columns of inputs that have another name there: `{R: red}`")
    channels: Mapping[str, str] = Field({}, description="columns of channels, likewise: `{absorbance: A}`")

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
    """Everything that a run needs: the rules, and the instrument, design and solver as objects.

    A campaign file adds priors and an expectation; a resume reads the priors' rows from the run's own copy.
    """

    name: str = Field(pattern=NAME, description="directory name for the runs: letters, digits, `.`, `_`, `-`")
    description: str = Field("", max_length=2000, description="free text")
    instrument: Any = Field(description="the instrument: `kind` and its options")
    inputs: Mapping[str, CampaignInput] = Field(
        {},
        description="inputs of the instrument that are fixed or narrowed: `{red: 40, yellow: {low: 5, high: 100}}`",
        examples=[{"red": 40}],
    )
    design: Any = Field(
        default_factory=lambda: {"kind": "axis"},
        description="trials before the solver is asked: `kind` and its options",
    )
    solver: Any = Field(default_factory=lambda: {"kind": "auto"}, description="the solver: `kind` and its options")
    watch: str | None = Field(
        None,
        description="twin to compare the instrument with during the campaign: `twin` (its own, or the LED's), the name "
        "of a state, or the path of a `.toml` file; a warning is given when they no longer match",
    )
    notify: Messages | None = Field(
        None,
        description="people who get messages about a run ([at-the-bench.md](../how-to/at-the-bench.md)); a lab sends "
        "those of its own file instead",
        examples=[{"to": {"ada": {"url": {"env": "SDL_ADA"}}}}],
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="seed of all random numbers; the same file and seed give the same campaign"
    )

    @property
    def fixed(self) -> dict[str, Value]:
        """The values of the inputs that this campaign keeps as they are."""
        return {name: one.value for name, one in self.inputs.items() if one.value is not None}

    @property
    def prices(self) -> Prices | None:
        """What readings and trials of this campaign cost; None where its instrument names no prices."""
        prices: Prices | None = getattr(self.instrument, "cost", None)
        return None if prices is None or prices.free else prices.with_fixed(self.fixed)

    @property
    def watch_reference(self) -> str | None:
        """The state or file of the twin that the instrument is compared with; None: it is not compared."""
        if self.watch is None:
            return None
        declared = getattr(self.instrument, "of", None) or self.instrument  # a twin in its place
        return reference_of(self.watch, getattr(declared, "twin", None), getattr(declared, "folder", None))

    @property
    def free_inputs(self) -> tuple[Input, ...]:
        """The inputs that design and solver choose, within the campaign's limits."""
        return free_inputs(self.inputs, self.instrument.inputs)

    @property
    def free_constraints(self) -> tuple[LinearConstraint, ...]:
        """The instrument's constraints on the free inputs."""
        return free_constraints(self.fixed, constraints_of(self.instrument))

    def space(self) -> Space:
        """The settings that design and solver choose from.

        Raises:
            ValueError: the constraints do not fit the inputs.
        """
        from sdl.space import Space  # it needs numpy, which a validation should not load

        return Space(self.free_inputs, self.free_constraints)

    def planned_points(self) -> int:
        """Number of points of the design's plan.

        Raises:
            ConfigError: there is no such plan, or it is too large.
        """
        return placed(self.design, self.free_inputs, self.free_constraints).size

    def complete(self, settings: Settings) -> dict[str, Value]:
        """Settings of the free inputs with the fixed ones, in the order of the instrument."""
        given = {**settings, **self.fixed}
        return {item.name: given[item.name] for item in self.instrument.inputs if item.name in given}

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value == "latest":
            raise ValueError("`latest` stands for the newest run wherever a run is named; choose another name")
        return value

    @field_validator("watch")
    @classmethod
    def _known_twin(cls, value: str | None) -> str | None:
        return checked_reference(value)  # absolute, so that a campaign can be resumed from another folder


class CampaignFile(ResolvedCampaign):
    """A campaign: instrument, goal, design, solver and stopping rules. One YAML file."""

    ORDER: ClassVar[tuple[str, ...]] = (
        *("name", "description", "instrument", "inputs", "goal", "tolerance", "prefer", "confirm", "average"),
        *("design", "solver", "stop", "retry", "prior", "watch", "notify", "seed", "expect"),
    )

    prior: tuple[Prior, ...] = Field(
        (),
        max_length=100,
        examples=[["night.jsonl"]],
        description="earlier records, logs or tables ([data.md](data.md)): paths relative to this file, or names of "
        "runs (`latest`, `led-16384`); with other column names `{source: night.csv, inputs: {R: red}}`",
    )
    expect: Expect | None = Field(
        None,
        description="expected result, for `sdl verify` and pytest ([testing.md](../how-to/testing.md)); runs ignore it",
    )

    def stored(self) -> dict[str, Any]:
        """As `plain`, as a record or a journal gives it back: with lists in place of tuples."""
        tree: dict[str, Any] = json.loads(json.dumps(self.plain()))
        return tree

    def plain(self) -> dict[str, Any]:
        """The file as plain values with every default written out; `parse` reads it back to an equal model."""
        tree = self.model_dump(mode="json", exclude=set(GROUPS))
        tree |= {key: getattr(self, key).model_dump(mode="json") for key in GROUPS}
        return {key: tree[key] for key in self.ORDER if key != "notify" or tree[key] is not None}

    def without_goal(self) -> CampaignFile:
        """The campaign that only measures its design, without the goal and the expectation about it."""
        return self.model_copy(update={"goal": None, "expect": None}).with_all_points()

    def with_all_points(self) -> CampaignFile:
        """The campaign with as many trials as its design has points."""
        size = self.planned_points()
        return self.model_copy(update={"stop": self.stop.model_copy(update={"trials": size})})


KEYS = CampaignFile.ORDER  # the keys of a campaign file in the order in which people read them
