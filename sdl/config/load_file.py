"""Read a campaign from a file, plain values or a record, and report every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sdl import registry, yamlfile
from sdl.config import instrument_file
from sdl.config.cross_checks import cross_check
from sdl.config.expect import expect_problems, instrument_tested_on
from sdl.config.mistakes import allowed_keys, problems_of, short
from sdl.config.model import GROUPS, KEYS, CampaignFile, Prior, ResolvedCampaign
from sdl.config.overrides import override
from sdl.config.units import strip_units
from sdl.errors import ConfigError, Problem, translated_value_errors
from sdl.store import resolve
from sdl.store.resolve import RUNS
from sdl.twin.led.state import load as load_state
from sdl.twin.reference import SHIPPED, load_reference
from sdl.types import Frozen

C = TypeVar("C", bound=ResolvedCampaign)


def load(file: str | Path, changes: Sequence[str] = (), *, collect: bool = False, runs: Path = RUNS) -> CampaignFile:
    """Read and validate a campaign file.

    Args:
        file: the YAML file.
        changes: `a.b=value` each, as for `--set`; they override the file.
        collect: whether the goal may be missing.
        runs: directory in which the names of runs in `prior` are looked up.

    Raises:
        ConfigError: lists every mistake.
    """
    tree = yamlfile.read(Path(file))
    value = tree.value
    if isinstance(value, Mapping) and {"instruments", "jobs"} <= value.keys() and "instrument" not in value:
        text = f"this is a lab file, not a campaign; `sdl lab run {file}` runs it, `sdl lab simulate {file}` on twins"
        raise ConfigError(Problem(text, file=str(file)))
    problems = list(tree.problems)
    if isinstance(value, dict):
        for change in changes:
            try:
                value = override(value, change)
            except ConfigError as error:
                problems += error.problems
    try:
        campaign = parse(value, base=Path(file).parent, collect=collect, runs=runs)
    except ConfigError as error:
        given = {change.partition("=")[0] for change in changes}
        problems += [_located(p, tree, given) for p in error.problems]
    if problems:
        raise ConfigError(*sorted(problems, key=lambda p: p.line or 0))
    return campaign


def parse(value: Any, *, base: Path = Path(), collect: bool = False, runs: Path = RUNS) -> CampaignFile:
    """Validate a campaign given as plain values (lists or tuples, mappings, numbers, text).

    Args:
        value: the plain values, or a model, which is checked but not validated again.
        base: directory that paths in `prior` and `instrument` are relative to; the joined path is stored.
        collect: whether the goal may be missing.
        runs: directory in which the names of runs in `prior` are looked up; the path of the run is stored.

    Raises:
        ConfigError: lists every mistake; `Problem.path` is dotted.
    """
    problems: list[Problem] = []
    campaign, problems = (value, problems) if isinstance(value, CampaignFile) else _validated(CampaignFile, value, base)
    if campaign.goal is None and not collect and not any(p.path.split(".")[0] == "goal" for p in problems):
        problems.append(Problem("missing; give a target for at least one channel: {R: 140}", "goal"))
    problems += cross_check(campaign) + expect_problems(campaign) + _watch_problems(campaign)
    priors, missing = _priors(campaign.prior, campaign.instrument, base, runs)
    problems += missing
    if not problems and (other := instrument_tested_on(campaign)) is not None:
        problems += _problems_on(campaign, other, base)
    if problems:
        raise ConfigError(*problems)
    notify = campaign.notify.located(base) if campaign.notify is not None else None
    changed = {"prior": priors, "notify": notify}
    return (campaign.with_all_points() if campaign.goal is None else campaign).model_copy(update=changed)


def restore(tree: Mapping[str, Any]) -> ResolvedCampaign:
    """The campaign of a record's configuration, without its priors and its expectation.

    Raises:
        ConfigError: it contains something that this version, or the packages installed now, do not support.
    """
    needed = {key: value for key, value in tree.items() if key not in ("prior", "expect")}
    campaign, problems = _validated(ResolvedCampaign, needed)
    problems += cross_check(campaign)
    if problems:
        raise ConfigError(*problems)
    return campaign


def _validated(model: type[C], value: Any, base: Path = Path()) -> tuple[C, list[Problem]]:
    """The campaign of plain values, as far as they are valid, and the mistakes of single keys."""
    if not isinstance(value, Mapping):
        raise ConfigError(Problem(f"must be a mapping with the keys {', '.join(KEYS)}; not {short(value)}"))
    tree: dict[Any, Any] = _tuples(value)
    if wrong := [key for key in tree if not isinstance(key, str)]:
        raise ConfigError(*(Problem(f"a key must be a word, not {short(key)}") for key in wrong))
    problems: list[Problem] = []
    for key, (group, contract) in GROUPS.items():
        field = model.model_fields[key]
        given = tree.get(key) if key in tree or field.is_required() else field.get_default(call_default_factory=True)
        try:
            if group == "drivers":
                tree[key] = _instrument(given, base, tree.get("seed", 0))
            else:
                tree[key] = _kind(group, contract, given, tree.get("seed", 0))
        except ConfigError as error:
            problems += [p if p.file else Problem(p.message, f"{key}.{p.path}".rstrip(".")) for p in error.problems]
            tree[key] = None
    tree, wrong_units = strip_units(
        tree, {channel.name: channel for channel in getattr(tree["instrument"], "channels", ())}
    )
    problems += wrong_units
    try:
        return model.model_validate(tree), problems
    except ValidationError as error:
        return _salvage(model, tree, error), problems + problems_of(error, model, tree)


def _problems_on(campaign: CampaignFile, given: Any, base: Path) -> list[Problem]:
    """Mistakes of a campaign on the instrument that its expectation names."""
    try:
        instrument = _instrument(given, base, campaign.seed)
    except ConfigError as error:
        where = "expect.instrument"
        return [p if p.file else Problem(p.message, f"{where}.{p.path}".rstrip(".")) for p in error.problems]
    return [
        Problem(f"on the instrument given here: {p.path}: {p.message}", "expect.instrument")
        for p in cross_check(campaign.model_copy(update={"instrument": instrument}))
    ]


def _watch_problems(campaign: CampaignFile) -> list[Problem]:
    """The twin that `watch` stands for, if it cannot be read or is one of another instrument."""
    instrument = campaign.instrument
    if instrument is None or campaign.watch_reference is None:
        return []
    try:
        theirs = load_reference(campaign.watch_reference).inputs
    except ValueError as error:
        return [Problem(str(error), "watch")]
    ours = [item.name for item in instrument.inputs]
    if set(ours) == set(theirs) or instrument.kind == "twin":  # a variant of the LED: the run says so
        return []
    whose = (
        "the LED's: the instrument names no twin" if campaign.watch_reference == SHIPPED else "of another instrument"
    )
    message = (
        f"the twin is {whose}; it has the inputs {', '.join(theirs)}, the instrument {', '.join(ours)}, so nothing "
        "can be compared. Fit one (sdl twin fit latest --instrument FILE -o my-twin.toml) and name it in the "
        "instrument (twin: my-twin.toml), or leave `watch` out"
    )
    return [Problem(message, "watch")]


def _priors(given: Sequence[Prior], instrument: Any, base: Path, runs: Path) -> tuple[tuple[Prior, ...], list[Problem]]:
    """Each prior with its path, and the mistakes: priors that do not exist, inputs or channels the instrument lacks."""
    priors: list[Prior] = []
    problems: list[Problem] = []
    for i, prior in enumerate(given):
        try:
            priors.append(prior.model_copy(update={"source": str(resolve.source(prior.source, base, runs))}))
        except ConfigError as error:
            problems.append(Problem(str(error), f"prior.{i}"))
        for part in ("inputs", "channels") if instrument is not None else ():
            allowed = [item.name for item in getattr(instrument, part)]
            for name in getattr(prior, part):
                if name not in allowed:
                    message = f"the instrument has no {name}; allowed: {', '.join(allowed)}"
                    problems.append(Problem(message, f"prior.{i}.{part}.{name}"))
    return tuple(priors), problems


def parse_kind(key: str, given: Any, base: Path = Path()) -> Any:
    """Validate one part of a campaign alone: `parse_kind("solver", {"kind": "gmm"})`.

    Args:
        key: the key of the part in a campaign file.
        given: its plain values.
        base: directory that paths in an instrument are relative to.

    Raises:
        ConfigError: lists every mistake.
    """
    group, contract = GROUPS[key]
    if group == "drivers":
        return _instrument(_tuples(given), base, None)
    return _kind(group, contract, _tuples(given), None)


def _instrument(given: Any, base: Path, seed: Any) -> Any:
    """The instrument, from the campaign file or from the file that `use` names there."""
    source = instrument_file.resolve(given, base)
    try:
        instrument = _kind(*GROUPS["instrument"], _tuples(source.value), seed)
    except ConfigError as error:
        raise ConfigError(*map(source.located, error.problems)) from error
    if getattr(instrument, "folder", "") is None:
        instrument = instrument.model_copy(update={"folder": str(source.folder.absolute())})
    return instrument


def _kind(group: str, contract: type, given: Any, seed: Any) -> Any:
    if isinstance(given, str):
        given = {"kind": given}
    if isinstance(given, contract) and isinstance(given, Frozen):
        return given
    if not isinstance(given, Mapping):
        form = f"must be {{kind: …}} with one of the kinds {', '.join(registry.kinds(group))}"
        raise ConfigError(f"missing; {form}" if given is None else f"{form}; not {short(given)}")
    kind = given.get("kind")
    try:
        model = registry.find(group, kind if kind is None else str(kind)[:60])
    except ConfigError as error:
        raise ConfigError(Problem(error.problems[0].message, "kind")) from error
    try:
        part = model.model_validate(dict(given))
    except ValidationError as error:
        raise ConfigError(*problems_of(error, model, given, lambda key: _kinds_with(group, key))) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the validators of a plug-in may fail in any way
        raise ConfigError(f"kind {kind!r} cannot be checked: {short(error)}") from error
    if kind in registry.OURS[group] and hasattr(part, "knows") and part.state is not None:
        with translated_value_errors("state"):
            load_state(part.state)
    if "seed" in model.model_fields and part.seed is None and type(seed) is int and 0 <= seed < 2**63:
        part = part.model_copy(update={"seed": seed})
    if not isinstance(part, contract):
        raise ConfigError(
            Problem(f"kind {given['kind']!r} does not implement the protocol {contract.__name__}", "kind")
        )
    return part


def _kinds_with(group: str, key: str) -> list[str]:
    """The shipped kinds that have this option: it may be left over from another kind."""
    return [kind for kind in registry.OURS[group] if key in allowed_keys(registry.find(group, kind), ())]


def _salvage(model: type[C], tree: Mapping[str, Any], error: ValidationError) -> C:
    """The campaign without its invalid keys, so that the others can still be cross-checked."""
    good: dict[str, Any] = {"name": "salvaged", "instrument": None, **tree}
    for item in error.errors(include_url=False):
        key, *rest = item["loc"]
        if key == "goal" and rest and isinstance(good.get("goal"), Mapping):
            good["goal"] = {name: target for name, target in good["goal"].items() if name != rest[0]} or None
        else:
            good.pop(str(key), None)
    known = {key: good[key] for key in model.model_fields if key in good}
    return model.model_validate({"name": "salvaged", "instrument": None, **known})


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_tuples(item) for item in value)
    return value


def _located(problem: Problem, tree: yamlfile.Tree, given: set[str]) -> Problem:
    if problem.file:  # in another file, which the campaign names
        return problem
    if any(problem.path == key or problem.path.startswith(f"{key}.") for key in given):
        return Problem(problem.message, f"--set {problem.path}", tree.file)
    return Problem(problem.message, problem.path, tree.file, tree.line(problem.path))
