"""Load a lab file and the campaigns that it names; report every mistake at once."""

from __future__ import annotations

import functools
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

UNSUITABLE_KINDS = {"manual": "needs a person at a terminal", "replay": "has no real instrument"}
"""Kinds that cannot run unattended."""


@dataclass(frozen=True, slots=True)
class ResolvedLab:
    """A lab file with every campaign and instrument resolved.

    Attributes:
        lab: the resolved file.
        path: of the file.
        runs: directory of the runs.
        campaigns: by job, its campaign.
    """

    lab: LabFile
    path: Path
    runs: Path
    campaigns: Mapping[str, config.CampaignFile]


def load(file: str | Path) -> ResolvedLab:
    """Load and validate a lab file and the campaigns that it names.

    Raises:
        ConfigError: with every mistake.
    """
    path = Path(file)
    tree = yamlfile.read(path)
    value = tree.value
    if not isinstance(value, Mapping):
        keys = ", ".join(LabFile.model_fields)
        raise ConfigError(Problem(f"must be a mapping with the keys {keys}; not {short(value)}", file=str(path)))
    lab, wrong = _model(value)
    elsewhere: list[Problem] = []  # problems that have their file and line already
    if lab is not None:
        instruments, invalid = _instruments(lab)
        lab = lab.model_copy(update={"instruments": {**lab.instruments, **instruments}})
        names = {key: tuple(value.get(key) or ()) for key in ("instruments", "jobs")}
        wrong += [*invalid, *_suspends(lab, instruments), *_names(lab, names)]
        campaigns, elsewhere = _campaigns(lab, instruments, path, tree)
    problems = [*tree.problems, *(_located(problem, tree) for problem in wrong), *elsewhere]
    if problems or lab is None:
        raise ConfigError(*sorted(dict.fromkeys(problems), key=lambda p: (p.file != str(path), p.line or 0)))
    jobs = {name: job.model_copy(update={"campaign": campaigns[name].plain()}) for name, job in lab.jobs.items()}
    # Through JSON, so that it equals what the journal returns.
    resolved = parse(lab.model_copy(update={"jobs": jobs}).plain())
    return ResolvedLab(resolved, path, Path(os.path.normpath(path.parent / lab.runs)), campaigns)


def parse(plain: Mapping[str, Any]) -> LabFile:
    """A lab file from its plain values in a journal; its campaigns are not validated again.

    Raises:
        ConfigError: written by an incompatible version of sdl.
    """
    try:
        return LabFile.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        raise ConfigError(*problems_of(error, LabFile, plain)) from error


def parse_text(text: str, instrument: Any, *, base: Path, runs: Path) -> config.CampaignFile:
    """A campaign submitted as text, with its instrument replaced by one of the lab.

    Args:
        text: YAML.
        instrument: of the lab, as plain values.
        base: directory that relative paths of priors refer to.
        runs: directory in which priors that name runs are found.

    Raises:
        ConfigError: with every mistake and its line.
    """
    tree = yamlfile.parse(text)
    problems = list(tree.problems)
    value = {**tree.value, "instrument": instrument} if isinstance(tree.value, Mapping) else tree.value
    try:
        campaign = config.parse(value, base=base, collect=True, runs=runs)
    except ConfigError as error:
        problems += [_located(problem, tree) for problem in error.problems]
    if problems:
        raise ConfigError(*sorted(problems, key=lambda problem: problem.line or 0))
    return campaign


def _model(value: Mapping[str, Any]) -> tuple[LabFile | None, list[Problem]]:
    """The lab without its invalid parts, so that the rest can still be checked, and the mistakes."""
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
    """The valid instruments, resolved, and the mistakes in the others."""
    problems: list[Problem] = []
    resolved: dict[str, LabInstrument] = {}
    owners: dict[str, str] = {}  # by identity
    for name, item in lab.instruments.items():
        where = f"instruments.{name}.instrument"
        try:
            instrument = config.parse_kind("instrument", item.instrument)
        except ConfigError as error:
            problems += [Problem(p.message, f"{where}.{p.path}".rstrip(".")) for p in error.problems]
            continue
        if instrument.kind in UNSUITABLE_KINDS:
            text = f"kind {instrument.kind} {UNSUITABLE_KINDS[instrument.kind]}; a lab runs unattended"
            problems.append(Problem(text, where))
        if getattr(instrument, "seed", 0) is None:  # the campaign's seed would give every job another instrument
            instrument = instrument.model_copy(update={"seed": 0})
        identities = names(instrument, look_up=False)
        if first := next((owners[one] for one in identities if one in owners), None):
            problems.append(Problem(f"the same instrument as {first} ({instrument.identity}): list it once", where))
        owners = dict.fromkeys(identities, name) | owners
        resolved[name] = item.model_copy(update={"instrument": instrument.model_dump(mode="json")})
    return resolved, problems


def _names(lab: LabFile, names: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Unknown names, jobs that wait for themselves, schedules outside their window, spans without a length."""
    instruments, jobs = names["instruments"], names["jobs"]
    problems = [
        _unknown(item, jobs, f"notify.to.{who}.jobs.{n}")
        for who, target in lab.notify.to.items()
        for n, item in enumerate(target.jobs)
        if item not in jobs
    ]
    for name, job in lab.jobs.items():
        if job.instrument not in instruments:
            problems.append(_unknown(job.instrument, instruments, f"jobs.{name}.instrument"))
        if job.when.after is not None and job.when.after not in jobs:
            problems.append(_unknown(job.when.after, jobs, f"jobs.{name}.when.after"))
        elif job.when.after is not None and name in _before(name, lab.jobs):
            problems.append(Problem("the job would wait for itself", f"jobs.{name}.when.after"))
        if job.between and not job.when.at and (job.when.cron or job.when.every) and next_due(job, lab, 0.0) == NEVER:
            problems.append(Problem(f"no scheduled time of the job lies in {job.between}", f"jobs.{name}.between"))
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
    return problems


def _before(name: str, jobs: Mapping[str, Job]) -> set[str]:
    """All jobs that a job waits for, directly or indirectly."""
    before: set[str] = set()
    while (name := jobs[name].when.after or "") in jobs and name not in before:
        before.add(name)
    return before


def _unknown(name: str, allowed: Sequence[str], path: str) -> Problem:
    return Problem(f"unknown {name!r}; allowed: {', '.join(allowed)}", path)


def _campaigns(
    lab: LabFile, instruments: Mapping[str, LabInstrument], path: Path, tree: yamlfile.Tree
) -> tuple[dict[str, config.CampaignFile], list[Problem]]:
    """The campaign of each job with the lab's instrument in it, and the mistakes in the campaigns."""
    campaigns: dict[str, config.CampaignFile] = {}
    problems: list[Problem] = []
    for name, job in lab.jobs.items():
        if (instrument := instruments.get(job.instrument)) is None:
            continue  # reported already
        # As `--set` does it; JSON is YAML.
        changes = [f"instrument={json.dumps(instrument.instrument)}"]
        changes += [f"{key}={json.dumps(value)}" for key, value in job.set.items()]
        base, runs = path.parent, path.parent / lab.runs
        try:
            if isinstance(job.campaign, str):
                campaigns[name] = config.load(base / job.campaign, changes, collect=True, runs=runs)
            else:
                value = functools.reduce(config.override, changes, dict(job.campaign))
                campaigns[name] = config.parse(value, base=base, collect=True, runs=runs)
        except ConfigError as error:
            problems += [_of_job(p, name, job, tree, path.parent) for p in error.problems]
    return campaigns, problems


def _suspends(lab: LabFile, instruments: Mapping[str, LabInstrument]) -> list[Problem]:
    """Conditions that an instrument cannot report."""
    problems = []
    for name, item in instruments.items():
        where = "suspend" if item.suspend is None else f"instruments.{name}.suspend"
        instrument = config.parse_kind("instrument", item.instrument)
        suffix = f" (instrument {name})" if item.suspend is None else ""
        problems += [
            Problem(p.message + suffix, f"{where}.{p.path}")
            for p in unsupported_conditions(lab.suspend_of(name), instrument)
        ]
    return problems


def _of_job(problem: Problem, name: str, job: Job, tree: yamlfile.Tree, base: Path) -> Problem:
    """A campaign's mistake with its file and line: in the campaign file, or in the lab file."""
    key = problem.path.removeprefix("--set ")
    if changed := next((changed for changed in job.set if f"{key}.".startswith(f"{changed}.")), None):
        line = tree.lines.get(("jobs", name, "set", changed)) or tree.line(f"jobs.{name}.set")
        return Problem(problem.message, f"jobs.{name}.set.{key}", tree.file, line)
    if isinstance(job.campaign, str) and problem.file and not problem.path.startswith("--set"):
        if problem.line or (base / job.campaign).is_file():
            return problem
        return _located(Problem(f"{problem.file}: {problem.message}", f"jobs.{name}.campaign"), tree)
    return _located(Problem(problem.message, f"jobs.{name}.campaign.{key}".rstrip(".")), tree)


def _located(problem: Problem, tree: yamlfile.Tree) -> Problem:
    return Problem(problem.message, problem.path, tree.file, tree.line(problem.path))
