"""The campaign file: its schema, and `load`, which finds every mistake at once and says where it is.

A campaign is a tree of frozen models. Whatever has a `kind` is looked up in the registry before it is validated, so
that only the named one is imported and a mistyped kind lists the allowed ones. What no single key can know (a goal on
a channel that the instrument lacks) is checked across them. Nothing here touches the instrument.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, WithJsonSchema, model_validator

from sdl import registry, yamlfile
from sdl.campaign import Plan
from sdl.design import Design
from sdl.drivers.base import Instrument
from sdl.errors import ConfigError, Problem
from sdl.goal import Band, Goal, Tolerance
from sdl.solvers.base import Solver
from sdl.stopping import StopRules
from sdl.types import Frozen

GROUPS: dict[str, tuple[str, type]] = {
    "instrument": ("drivers", Instrument),
    "design": ("designs", Design),
    "solver": ("solvers", Solver),
}
"""Keys with a `kind`: their group in the registry and the contract that a class there must keep."""

CHANGEABLE = ("stop", "solver", "confirm", "retry")
"""Keys that a resume may change; the others make it another campaign."""


def _number(value: Any) -> Any:
    return {"target": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


ToleranceKey = Annotated[
    Tolerance,
    BeforeValidator(Tolerance.parse),
    PlainSerializer(lambda t: f"{t.amount!r}%" if t.percent else t.amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*[0-9.eE+-]+\s*%\s*$"},
                {"type": "number", "exclusiveMinimum": 0},
            ]
        }
    ),
]


class Target(Frozen):
    """What one channel should read: a number of counts, or the number with a tolerance of its own."""

    target: float = Field(description="the wanted raw reading")
    tolerance: ToleranceKey | None = Field(None, description="its own tolerance, `300` (counts) or `2%`")

    @model_validator(mode="before")
    @classmethod
    def _form(cls, value: Any) -> Any:
        value = _number(value)
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a number of counts or {{target: 16384, tolerance: 300}}, not {_short(value)}")
        return value


class Retry(Frozen):
    """What is done when a reading fails in a way that may pass."""

    times: int = Field(3, ge=0, le=100, description="further attempts at one reading before its trial has failed")
    wait: float = Field(1.0, ge=0, le=3600, description="seconds before the first of them; doubles each time")
    longest: float = Field(60.0, ge=0, le=86400, description="most seconds before one of them")


class Loop(Frozen):
    """The keys that say how a campaign goes on, and nothing of what drives or proposes: enough to replay a record."""

    goal: Mapping[str, Target] | None = Field(
        None, description="wanted raw reading of each channel; not needed by `sdl collect` and `sdl measure`"
    )
    tolerance: ToleranceKey = Field(
        default_factory=lambda: Tolerance(2.0, percent=True),
        description="how far every channel may lie from its target, to either side: `2%` of it, or counts",
    )
    confirm: int = Field(
        2, ge=0, le=1000, description="further readings (× average) at settings that hit; the mean of all must hit too"
    )
    average: int = Field(1, ge=1, le=1000, description="readings a trial")
    stop: StopRules = Field(default_factory=StopRules, description="when to end without having reached the goal")
    retry: Retry = Field(default_factory=Retry, description="what is done when a reading fails in a way that may pass")

    def goals(self) -> Goal | None:
        """The goal as bands of raw readings; None to collect."""
        if not self.goal:
            return None
        return Goal(
            {n: Band.around(t.target, (t.tolerance or self.tolerance).of(t.target)) for n, t in self.goal.items()}
        )

    def plan(self) -> Plan:
        """What the state machine is asked to do; without a goal it takes `stop.trials` points."""
        goal, retry = self.goals(), self.retry
        rules = self.stop.rules()
        return Plan(
            goal, rules, self.average, self.confirm, retry.times, retry.wait, retry.longest, collect=self.stop.trials
        )


class CampaignFile(Loop):
    """A campaign: instrument, goal, design, solver and stopping rules. One YAML file."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="what the runs are filed under: letters, digits, `.`, `_`, `-`",
    )
    description: str = Field("", max_length=2000, description="a sentence for people")
    instrument: Any = Field(description="what is driven: `kind` and its options")
    design: Any = Field(
        default_factory=lambda: {"kind": "axis"}, description="trials before the solver: `kind`, options"
    )
    solver: Any = Field(default_factory=lambda: {"kind": "gmm"}, description="what proposes: `kind` and its options")
    prior: tuple[str, ...] = Field(
        (), max_length=100, description="records or Claude-Light logs to start with; paths relative to this file"
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="of everything random; the same file and seed give the same campaign"
    )

    def plain(self) -> dict[str, Any]:
        """The resolved file, every default written out, as plain values that `parse` reads back to the same."""
        tree = self.model_dump(mode="json", exclude=set(GROUPS))
        tree |= {key: getattr(self, key).model_dump(mode="json") for key in GROUPS}
        return {key: tree[key] for key in KEYS}


KEYS = (
    *("name", "description", "instrument", "goal", "tolerance", "confirm", "average"),
    *("design", "solver", "stop", "retry", "prior", "seed"),
)
"""The keys of a campaign file in the order people read them."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a campaign asks of its instrument at most; `seconds` leaves waits and the solver out."""

    trials: int
    readings: int
    seconds: float


def load(file: str | Path, changes: Sequence[str] = (), *, collect: bool = False) -> CampaignFile:
    """Reads and validates a campaign file.

    Args:
        file: the YAML file.
        changes: `a.b=value` each, as `--set` takes them; they win over the file.
        collect: no goal is needed.

    Raises:
        ConfigError: with every mistake found.
    """
    tree = yamlfile.read(Path(file))
    value = tree.value
    problems = list(tree.problems)
    if isinstance(value, dict):
        for change in changes:
            try:
                value = override(value, change)
            except ConfigError as error:
                problems += error.problems
    try:
        found = parse(value, base=Path(file).parent, collect=collect)
    except ConfigError as error:
        given = {change.partition("=")[0] for change in changes}
        problems += [_located(p, tree, given) for p in error.problems]
    if problems:
        raise ConfigError(*sorted(problems, key=lambda p: p.line or 0))
    return found


def parse(value: Any, *, base: Path | None = None, collect: bool = False) -> CampaignFile:
    """Validates a campaign given as plain values (lists or tuples, mappings, numbers, text).

    Args:
        value: the tree, or a model, which is returned as it is.
        base: directory that prior paths start from; a relative path is then stored joined to it. None: unchanged.
        collect: no goal is needed.

    Raises:
        ConfigError: with every mistake found; `Problem.path` is dotted.
    """
    if isinstance(value, CampaignFile):
        value = value.plain()
    if not isinstance(value, Mapping):
        keys = ", ".join(KEYS)
        raise ConfigError(Problem(f"must be a mapping with the keys {keys}; not {_short(value)}"))
    tree: dict[Any, Any] = _tuples(value)
    if wrong := [key for key in tree if not isinstance(key, str)]:
        raise ConfigError(*(Problem(f"a key must be a word, not {_short(key)}") for key in wrong))
    problems: list[Problem] = []
    for key, (group, contract) in GROUPS.items():
        if key in tree or CampaignFile.model_fields[key].is_required():
            given = tree.get(key)
        else:
            given = CampaignFile.model_fields[key].get_default(call_default_factory=True)
        try:
            tree[key] = _kind(group, contract, given, tree.get("seed", 0))
        except ConfigError as error:
            problems += [Problem(p.message, f"{key}.{p.path}".rstrip("."), p.file, p.line) for p in error.problems]
            tree[key] = None
    try:
        campaign = CampaignFile.model_validate(tree)
    except ValidationError as error:
        problems += _problems(error, CampaignFile)
        campaign = _salvage(tree, error)
    if tree.get("goal") is None and not collect:
        problems.append(Problem("missing; give a target for at least one channel: {445nm: 16384}", "goal"))
    problems += _across(campaign, base or Path())
    if problems:
        raise ConfigError(*problems)
    if campaign.goal is None:
        size = campaign.design.size(campaign.instrument.inputs)
        campaign = campaign.model_copy(update={"stop": campaign.stop.model_copy(update={"trials": size})})
    if base is not None:
        campaign = campaign.model_copy(update={"prior": tuple(os.path.join(base, p) for p in campaign.prior)})
    return campaign


def override(value: Mapping[str, Any], change: str) -> dict[str, Any]:
    """The tree with one `a.b=value` applied, as `put` does.

    Raises:
        ConfigError: it is not of that form.
    """
    path, new = split(change)
    return put(value, path, new)


def split(change: str) -> tuple[str, Any]:
    """The dotted key and the value of `a.b=value`.

    Raises:
        ConfigError: it is not of that form.
    """
    path, equals, text = change.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {change}: must be key=value with a dotted key, such as stop.trials=80")
    try:
        new = yamlfile.scalar(text)
    except ConfigError as error:
        raise ConfigError(Problem(f"--set {change}: {error.problems[0].message}", path)) from error
    return ".".join(keys), new


def put(value: Any, path: str, new: Any) -> dict[str, Any]:
    """The tree with the value at a dotted path replaced; mappings on the way are copied, or made.

    A change of a `kind` drops the options of the old kind, which the new one would not know.
    """
    key, _, rest = path.partition(".")
    found = dict(value) if isinstance(value, Mapping) else {"kind": value} if isinstance(value, str) else {}
    if not rest and key == "kind" and found.get("kind") != new:
        found = {}
    found[key] = put(found.get(key), rest, new) if rest else new
    return found


def schema() -> dict[str, Any]:
    """The JSON Schema of the campaign file, every kind that can be loaded included."""
    document = CampaignFile.model_json_schema()
    definitions = document.setdefault("$defs", {})
    for key, (group, _) in GROUPS.items():
        options: list[dict[str, Any]] = []
        words = []  # kinds that a word says whole: `solver: gmm`
        for kind in registry.kinds(group):
            try:
                model = registry.find(group, kind).model_json_schema(ref_template="#/$defs/{model}")
            except ConfigError:
                continue  # a broken plug-in is reported where it is asked for
            definitions.update(model.pop("$defs", {}))
            model["properties"]["kind"] = {"const": kind}
            model["required"] = ["kind", *(r for r in model.get("required", []) if r != "kind")]
            words += [kind] if model["required"] == ["kind"] else []
            definitions[model["title"]] = model
            options.append({"$ref": f"#/$defs/{model['title']}"})
        field = CampaignFile.model_fields[key]
        document["properties"][key] = {"description": field.description, "oneOf": [*options, {"enum": words}]}
    target = definitions["Target"]
    definitions["Target"] = {"anyOf": [{"type": "number", "description": "the wanted raw reading"}, target]}
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "sdl campaign"
    return document


def cost(campaign: CampaignFile) -> Cost:
    """What the campaign will ask of its instrument at most, failures and their retries left out."""
    trials = campaign.stop.trials
    confirming = campaign.average * campaign.confirm if campaign.goal else 0
    readings = trials * (campaign.average + confirming)
    seconds = readings * campaign.instrument.reading_seconds
    if campaign.stop.minutes is not None and campaign.goal:
        seconds = min(seconds, campaign.stop.minutes * 60)
    return Cost(trials, readings, seconds)


def parse_kind(key: str, given: Any) -> Any:
    """One part of a campaign by itself: `parse_kind("solver", {"kind": "gmm"})`.

    Raises:
        ConfigError: with every mistake found.
    """
    group, contract = GROUPS[key]
    return _kind(group, contract, _tuples(given), None)


# One key -----------------------------------------------------------------------------------------------------------
def _kind(group: str, contract: type, given: Any, seed: Any) -> Any:
    if isinstance(given, str):
        given = {"kind": given}
    if isinstance(given, contract) and isinstance(given, Frozen):
        return given
    if not isinstance(given, Mapping):
        allowed = ", ".join(registry.kinds(group))
        raise ConfigError(Problem(f"must be {{kind: …}} with one of the kinds {allowed}; not {_short(given)}"))
    kind = given.get("kind")
    try:
        model = registry.find(group, kind if kind is None else str(kind)[:60])
    except ConfigError as error:
        raise ConfigError(Problem(error.problems[0].message, "kind")) from error
    try:
        found = model.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError(*_problems(error, model)) from error
    except Exception as error:  # the checks of a kind, perhaps somebody else's, may fail in any way
        raise ConfigError(f"kind {kind!r} cannot be checked: {_short(error)}") from error
    if "seed" in model.model_fields and found.seed is None and type(seed) is int and 0 <= seed < 2**63:
        found = found.model_copy(update={"seed": seed})
    if not isinstance(found, contract):
        raise ConfigError(Problem(f"kind {given['kind']!r} does not keep the contract {contract.__name__}", "kind"))
    return found


def _problems(error: ValidationError, model: Any) -> list[Problem]:
    """Each mistake that pydantic found, in our words, with the allowed values."""
    problems = []
    for item in error.errors(include_url=False):
        path = [str(part) for part in item["loc"]]
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            allowed = _allowed(model, item["loc"][:-1])
            near = get_close_matches(path[-1], allowed, n=1, cutoff=0.7)
            message = f"unknown key; allowed: {', '.join(allowed)}" + (f"; did you mean {near[0]!r}?" if near else "")
        elif item["type"] == "missing":
            message = "missing"
        elif item["type"] != "value_error":
            message = f"{message[0].lower()}{message[1:]}, not {_short(item['input'])}"
        problems.append(Problem(message, ".".join(path)))
    return problems


def _salvage(tree: Mapping[str, Any], error: ValidationError) -> CampaignFile:
    """The campaign without what is wrong in it, so that the rest can still be checked across keys."""
    good: dict[str, Any] = {"name": "salvaged", "instrument": None, **tree}
    for item in error.errors(include_url=False):
        key, *rest = item["loc"]
        if key == "goal" and rest and isinstance(good.get("goal"), Mapping):
            good["goal"] = {name: target for name, target in good["goal"].items() if name != rest[0]} or None
        else:
            good.pop(str(key), None)
    known = {key: good[key] for key in KEYS if key in good}
    return CampaignFile.model_validate({"name": "salvaged", "instrument": None, **known})


def _allowed(model: Any, path: Sequence[int | str]) -> list[str]:
    """The keys of the model at `path` below `model`."""
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            model = Target if model is None else model
            continue
        nested = _models(field.annotation)
        model = nested[0] if nested else None
    return list(KEYS if model is CampaignFile else getattr(model, "model_fields", {}))


def _models(annotation: Any) -> list[Any]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models(part)]


# Across keys -------------------------------------------------------------------------------------------------------
def _across(campaign: CampaignFile, base: Path) -> list[Problem]:
    problems: list[Problem] = []
    if campaign.instrument is not None:
        problems += _goal_problems(campaign)
        problems += _design_problems(campaign)
        problems += _solver_problems(campaign)
    if campaign.goal is not None and not campaign.goal:
        problems.append(Problem("empty; give a target for at least one channel: {445nm: 16384}", "goal"))
    for i, prior in enumerate(campaign.prior):
        if not os.path.exists(os.path.join(base, prior)):  # a name too long for the system is no file either
            problems.append(Problem(f"no such file or directory: {prior}", f"prior.{i}"))
    return problems


def _goal_problems(campaign: CampaignFile) -> list[Problem]:
    problems: list[Problem] = []
    channels = {channel.name: channel for channel in campaign.instrument.channels}
    for name, target in (campaign.goal or {}).items():
        path = f"goal.{name}"
        if name not in channels:
            near = get_close_matches(name, channels, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            problems.append(Problem(f"unknown channel; the instrument has: {', '.join(channels)}{hint}", path))
            continue
        top = channels[name].saturation
        tolerance = (target.tolerance or campaign.tolerance).of(target.target)
        if top is not None and target.target >= top:
            problems.append(Problem(f"{target.target:g} cannot be read: the channel saturates at {top:g}", path))
        elif top is not None and target.target + tolerance >= top:
            problems.append(
                Problem(
                    f"{target.target:g} + tolerance {tolerance:g} reaches saturation ({top:g}); lower one of them", path
                )
            )
        if tolerance == 0 or target.target + tolerance == target.target:
            message = (
                f"a tolerance of {target.tolerance or campaign.tolerance} of {target.target:g} is 0; give it in counts"
            )
            problems.append(Problem(message, path))
    return problems


def _solver_problems(campaign: CampaignFile) -> list[Problem]:
    """Channels that a solver's own option `channels` names."""
    known = [channel.name for channel in campaign.instrument.channels]
    return [
        Problem(f"unknown channel {name!r}; the instrument has: {', '.join(known)}", f"solver.channels.{i}")
        for i, name in enumerate(getattr(campaign.solver, "channels", ()))
        if name not in known
    ]


def _design_problems(campaign: CampaignFile) -> list[Problem]:
    problems: list[Problem] = []
    inputs = {item.name: item for item in campaign.instrument.inputs}
    for i, point in enumerate(getattr(campaign.design, "points", ())):
        path = f"design.points.{i}"
        if set(point) != set(inputs):
            problems.append(
                Problem(f"must give every input ({', '.join(inputs)}) and no other; has {', '.join(point)}", path)
            )
            continue
        for name, value in point.items():
            if not inputs[name].low <= value <= inputs[name].high:
                bounds = f"[{inputs[name].low:g}, {inputs[name].high:g}]"
                problems.append(Problem(f"{value:g} lies outside the bounds {bounds}", f"{path}.{name}"))
    return problems


# Trees -------------------------------------------------------------------------------------------------------------
def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_tuples(item) for item in value)
    return value


def _located(problem: Problem, tree: yamlfile.Tree, given: set[str]) -> Problem:
    if any(problem.path == key or problem.path.startswith(f"{key}.") for key in given):
        return Problem(problem.message, f"--set {problem.path}", tree.file)
    return Problem(problem.message, problem.path, tree.file, tree.line(problem.path))


def _short(value: Any) -> str:
    try:
        text = repr(list(value) if isinstance(value, tuple) else value)
    except ValueError:  # Python does not spell out thousands of digits
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= 60 else text[:57] + "…"
