"""From a lab file to a validated lab, with every mistake at once: in the file and in each campaign that it names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdl import config, yamlfile
from sdl.config.mistakes import problems_of, short
from sdl.drivers.base import names
from sdl.errors import ConfigError, Problem
from sdl.lab.config.conditions import unsupported_conditions
from sdl.lab.config.model import Job, LabFile, LabInstrument
from sdl.lab.core.cron import NEVER, next_due, seconds

UNSUITABLE_KINDS = {"manual": "asks somebody at a terminal", "replay": "has no instrument behind it"}
"""Kinds that a lab cannot leave alone."""


@dataclass(frozen=True, slots=True)
class ResolvedLab:
    """A lab file and what it names.

    Attributes:
        lab: resolved: every campaign and instrument complete.
        path: the file.
        runs: where the runs go.
        campaigns: each job's campaign as a model.
    """

    lab: LabFile
    path: Path
    runs: Path
    campaigns: Mapping[str, config.CampaignFile]


def load(file: str | Path) -> ResolvedLab:
    """Reads and validates a lab file and the campaigns that it names.

    Raises:
        ConfigError: with every mistake found.
    """
    path = Path(file)
    tree = yamlfile.read(path)
    value, problems = tree.value, list(tree.problems)
    if not isinstance(value, Mapping):
        raise ConfigError(Problem(f"must be a mapping with the keys {_keys()}; not {short(value)}", file=str(path)))
    lab, wrong = _model(value)
    problems += [_located(problem, tree) for problem in wrong]
    if lab is not None:
        benches, found = _instruments(lab)
        lab = lab.model_copy(update={"instruments": {**lab.instruments, **benches}})
        names = {key: tuple(value.get(key) or ()) for key in ("instruments", "jobs")}
        problems += [_located(problem, tree) for problem in [*found, *_suspends(lab, benches), *_names(lab, names)]]
        campaigns, found = _campaigns(lab, benches, path, tree)
        problems += found
    if problems or lab is None:
        raise ConfigError(*sorted(dict.fromkeys(problems), key=lambda p: (p.file != str(path), p.line or 0)))
    jobs = {name: job.model_copy(update={"campaign": campaigns[name].plain()}) for name, job in lab.jobs.items()}
    # Through text, so that what the lab's record gives back compares as the same.
    resolved = parse(lab.model_copy(update={"jobs": jobs}).plain())
    return ResolvedLab(resolved, path, Path(os.path.normpath(path.parent / lab.runs)), campaigns)


def parse(plain: Mapping[str, Any]) -> LabFile:
    """A lab from what `LabFile.plain` gave, as kept in a lab's record; its campaigns are not looked at again.

    Raises:
        ConfigError: it is of another version of sdl.
    """
    try:
        return LabFile.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        raise ConfigError(*problems_of(error, LabFile, plain)) from error


def parse_text(text: str, instrument: Any, *, base: Path, runs: Path) -> config.CampaignFile:
    """One campaign that somebody hands in, with an instrument of the lab in place of its own.

    Args:
        text: its YAML.
        instrument: the lab's, as plain values.
        base: directory that its priors start from.
        runs: where priors that are runs are looked up.

    Raises:
        ConfigError: with every mistake found, and its line.
    """
    tree = yamlfile.parse(text)
    problems = list(tree.problems)
    value = tree.value
    if isinstance(value, Mapping):
        value = {**value, "instrument": instrument}
    try:
        found = config.parse(value, base=base, collect=True, runs=runs)
    except ConfigError as error:
        problems += [_located(problem, tree) for problem in error.problems]
    if problems:
        raise ConfigError(*sorted(problems, key=lambda problem: problem.line or 0))
    return found


def _model(value: Mapping[str, Any]) -> tuple[LabFile | None, list[Problem]]:
    """The lab, and its mistakes; without what is wrong in it, so that the rest can still be looked at."""
    try:
        return LabFile.model_validate(value), []
    except ValidationError as error:
        problems = problems_of(error, LabFile, value)
        good: dict[str, Any] = {"name": "salvaged", **value}
        for item in error.errors(include_url=False):
            key, *rest = map(str, item["loc"])
            inside = good.get(key)
            if key in ("instruments", "jobs") and rest and isinstance(inside, Mapping):
                good[key] = {name: entry for name, entry in inside.items() if name != rest[0]}
            else:
                good.pop(key, None)
        try:
            return LabFile.model_validate(good), problems
        except ValidationError:
            return None, problems


def _instruments(lab: LabFile) -> tuple[dict[str, LabInstrument], list[Problem]]:
    """The instruments without mistakes, complete; and the mistakes in the others."""
    problems: list[Problem] = []
    found: dict[str, LabInstrument] = {}
    same: dict[str, str] = {}
    for name, bench in lab.instruments.items():
        where = f"instruments.{name}.instrument"
        try:
            instrument = config.parse_kind("instrument", bench.instrument)
        except ConfigError as error:
            problems += [Problem(p.message, f"{where}.{p.path}".rstrip(".")) for p in error.problems]
            continue
        if instrument.kind in UNSUITABLE_KINDS:
            problems.append(
                Problem(f"kind {instrument.kind} {UNSUITABLE_KINDS[instrument.kind]}; a lab runs alone", where)
            )
        if getattr(instrument, "seed", 0) is None:  # else each campaign's own: every job would have another instrument
            instrument = instrument.model_copy(update={"seed": 0})
        known = names(instrument, look_up=False)
        if first := next((same[one] for one in known if one in same), None):
            problems.append(Problem(f"the same instrument as {first} ({instrument.identity}): name it once", where))
        same = dict.fromkeys(known, name) | same
        found[name] = bench.model_copy(update={"instrument": instrument.model_dump(mode="json")})
    return found, problems


def _names(lab: LabFile, names: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Names that do not exist, jobs that wait for themselves, spans that end before they begin."""
    problems = []
    instruments, jobs = names["instruments"], names["jobs"]
    for name, job in lab.jobs.items():
        if job.instrument not in instruments:
            problems.append(_unknown(job.instrument, instruments, f"jobs.{name}.instrument"))
        if job.when.after is not None and job.when.after not in jobs:
            problems.append(_unknown(job.when.after, jobs, f"jobs.{name}.when.after"))
        elif job.when.after is not None and name in _before(name, lab.jobs):
            problems.append(Problem("the job would wait for itself", f"jobs.{name}.when.after"))
        if job.between and not job.when.at and (job.when.cron or job.when.every) and next_due(job, lab, 0.0) == NEVER:
            problems.append(Problem(f"none of the job's times lies inside {job.between}", f"jobs.{name}.between"))
    for i, span in enumerate(lab.blackouts):
        try:
            if seconds(span.from_, lab.zone) >= seconds(span.to, lab.zone):
                problems.append(Problem(f"ends ({span.to}) before it begins ({span.from_})", f"blackouts.{i}"))
        except (ValueError, OverflowError) as error:
            problems.append(Problem(str(error), f"blackouts.{i}"))
        problems += [
            _unknown(item, instruments, f"blackouts.{i}.instruments.{n}")
            for n, item in enumerate(span.instruments)
            if item not in instruments
        ]
    for who, target in lab.notify.to.items():
        problems += [
            _unknown(item, jobs, f"notify.to.{who}.jobs.{n}") for n, item in enumerate(target.jobs) if item not in jobs
        ]
    return problems


def _before(name: str, jobs: Mapping[str, Job]) -> set[str]:
    """The jobs that a job waits for, one after another."""
    found: set[str] = set()
    after = jobs[name].when.after
    while after is not None and after in jobs and after not in found:
        found.add(after)
        after = jobs[after].when.after
    return found


def _unknown(name: str, allowed: Sequence[str], path: str) -> Problem:
    return Problem(f"unknown {name!r}; allowed: {', '.join(allowed)}", path)


def _campaigns(
    lab: LabFile, benches: Mapping[str, LabInstrument], path: Path, tree: yamlfile.Tree
) -> tuple[dict[str, config.CampaignFile], list[Problem]]:
    """Each job's campaign with the lab's instrument in it, and every mistake in them."""
    found: dict[str, config.CampaignFile] = {}
    problems: list[Problem] = []
    for name, job in lab.jobs.items():
        if (bench := benches.get(job.instrument)) is None:
            continue  # said already
        # JSON is YAML: the way that every change of a campaign takes.
        changes = [f"instrument={json.dumps(bench.instrument)}"]
        changes += [f"{key}={json.dumps(value)}" for key, value in job.set.items()]
        try:
            found[name] = _campaign(job, path.parent, changes, path.parent / lab.runs)
        except ConfigError as error:
            problems += [_of_job(p, name, job, tree, path.parent) for p in error.problems]
            continue
    return found, problems


def _suspends(lab: LabFile, benches: Mapping[str, LabInstrument]) -> list[Problem]:
    """Conditions that no reading of an instrument tells of."""
    problems = []
    for name, bench in benches.items():
        where = "suspend" if bench.suspend is None else f"instruments.{name}.suspend"
        instrument = config.parse_kind("instrument", bench.instrument)
        about = f" (instrument {name})" if bench.suspend is None else ""
        problems += [
            Problem(p.message + about, f"{where}.{p.path}")
            for p in unsupported_conditions(lab.suspend_of(name), instrument)
        ]
    return problems


def _campaign(job: Job, base: Path, changes: list[str], runs: Path) -> config.CampaignFile:
    if isinstance(job.campaign, str):
        return config.load(base / job.campaign, changes, collect=True, runs=runs)
    value: dict[str, Any] = dict(job.campaign)
    for change in changes:
        value = config.override(value, change)
    return config.parse(value, base=base, collect=True, runs=runs)


def _of_job(problem: Problem, name: str, job: Job, tree: yamlfile.Tree, base: Path) -> Problem:
    """Where a campaign's mistake stands: in its own file, or in the lab's."""
    key = problem.path.removeprefix("--set ")
    if any(key == given or key.startswith(f"{given}.") for given in job.set):
        path = f"jobs.{name}.set.{key}"
        line = tree.lines.get(("jobs", name, "set", next(g for g in job.set if key == g or key.startswith(f"{g}."))))
        return Problem(problem.message, path, tree.file, line or tree.line(f"jobs.{name}.set"))
    if isinstance(job.campaign, str) and problem.file and not problem.path.startswith("--set"):
        if problem.line or (base / job.campaign).is_file():
            return problem
        return _located(Problem(f"{problem.file}: {problem.message}", f"jobs.{name}.campaign"), tree)
    return _located(Problem(problem.message, f"jobs.{name}.campaign.{key}".rstrip(".")), tree)


def _located(problem: Problem, tree: yamlfile.Tree) -> Problem:
    return Problem(problem.message, problem.path, tree.file, tree.line(problem.path))


def _keys() -> str:
    return ", ".join(LabFile.model_fields)
