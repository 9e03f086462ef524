"""Load a lab file and the campaigns that it names; report every mistake at once."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdl import config, yamlfile
from sdl.config.mistakes import problems_of, short
from sdl.drivers.base import names
from sdl.drivers.trust import NO_PATHS, submitted_problems
from sdl.errors import ConfigError, Problem
from sdl.lab.config.agents import agent_problems
from sdl.lab.config.instruments import instrument_of
from sdl.lab.config.model import Job, LabFile, LabInstrument, unsupported_conditions
from sdl.lab.core.due_times import NEVER, next_due, seconds

UNSUITABLE_KINDS = {
    "external": "is driven by others (`sdl ask`)",
    "replay": "has no real instrument",
}
"""Kinds that cannot run unattended."""


@dataclass(frozen=True, slots=True)
class ResolvedLab:
    """A lab file with every campaign and instrument resolved.

    Attributes:
        lab: the resolved file.
        path: path of the file.
        runs: directory of the runs.
        campaigns: the campaign of each job.
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
    if not isinstance(tree.value, Mapping):
        text = f"must be a mapping with the keys {', '.join(LabFile.model_fields)}; not {short(tree.value)}"
        raise ConfigError(Problem(text, file=str(path)))
    if {"goal", "instrument"} <= tree.value.keys() and not {"instruments", "jobs"} & tree.value.keys():
        text = f"this is a campaign, not a lab file with `instruments` and `jobs`; `sdl run {path}` runs it"
        raise ConfigError(Problem(text, file=str(path)))
    return _Loader(path, tree, tree.value).load()


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
        instrument: an instrument of the lab, as plain values.
        base: directory that relative paths of priors refer to.
        runs: directory in which priors that name runs are found.

    Raises:
        ConfigError: lists every mistake with its line; naming a program, code, an address or a path is a mistake, too.
    """
    tree = yamlfile.parse(text)
    problems = list(tree.problems)
    value = {**tree.value, "instrument": instrument} if isinstance(tree.value, Mapping) else tree.value
    given = tree.value if isinstance(tree.value, Mapping) else {}
    if wrong := [_located(problem, tree) for problem in submitted_problems(given)]:
        raise ConfigError(*problems, *wrong)  # nothing that it names is looked at
    try:
        campaign = config.parse(value, base=base, collect=True, runs=runs)
    except ConfigError as error:  # of a prior no more than that: the rest tells which files exist
        told = (Problem(NO_PATHS, one.path) if re.fullmatch(r"prior\.\d+", one.path) else one for one in error.problems)
        problems += [_located(problem, tree) for problem in told]
    else:
        problems += [
            _located(Problem(NO_PATHS, f"prior.{i}"), tree)
            for i, prior in enumerate(campaign.prior)
            if not Path(prior.source).resolve().is_relative_to(runs.resolve())
        ]
    if problems:
        raise ConfigError(*sorted(problems, key=lambda problem: problem.line or 0))
    return campaign


class _Loader:
    """Collects the mistakes of a lab file, so that all are reported at once.

    Attributes:
        problems: the mistakes, with file and line.
        instruments: the valid ones, resolved.
        campaigns: by job, the valid ones.
    """

    def __init__(self, path: Path, tree: yamlfile.Tree, value: Mapping[str, Any]) -> None:
        self.path, self.tree, self.value = path, tree, value
        self.problems = list(tree.problems)
        self.instruments: dict[str, LabInstrument] = {}
        self.campaigns: dict[str, config.CampaignFile] = {}

    def load(self) -> ResolvedLab:
        if (lab := self._model()) is not None:
            self._resolve_instruments(lab)
            lab = lab.model_copy(update={"instruments": {**lab.instruments, **self.instruments}})
            self._check_conditions(lab)
            self._check_names(lab)
            self._check_agents(lab)
            self._load_campaigns(lab)
        if self.problems or lab is None:
            first = str(self.path)
            raise ConfigError(*sorted(dict.fromkeys(self.problems), key=lambda p: (p.file != first, p.line or 0)))
        # The recipients of the lab get the messages.
        plain = {name: one.model_copy(update={"notify": None}).plain() for name, one in self.campaigns.items()}
        jobs = {name: job.model_copy(update={"campaign": plain[name]}) for name, job in lab.jobs.items()}
        # Through JSON, so that it equals what the journal returns.
        resolved = parse(lab.model_copy(update={"jobs": jobs}).plain())
        runs = Path(os.path.normpath(self.path.parent / lab.runs))
        return ResolvedLab(resolved, self.path, runs, self.campaigns)

    def _add(self, message: str, path: str) -> None:
        self.problems.append(_located(Problem(message, path), self.tree))

    def _require(self, name: str, allowed: Collection[str], path: str) -> bool:
        """Report an unknown name; whether it is known."""
        if name not in allowed:
            self._add(f"unknown {name!r}; allowed: {', '.join(allowed)}", path)
        return name in allowed

    def _model(self) -> LabFile | None:
        """The lab without its invalid parts, so that the rest can still be checked."""
        try:
            return LabFile.model_validate(self.value)
        except ValidationError as error:
            self.problems += [_located(problem, self.tree) for problem in problems_of(error, LabFile, self.value)]
            good: dict[str, Any] = {"name": "salvaged", **self.value}
            for item in error.errors(include_url=False):
                key, *rest = map(str, item["loc"])
                inside = good.get(key)
                if key in ("instruments", "jobs", "agents") and rest and isinstance(inside, Mapping):
                    good[key] = {name: entry for name, entry in inside.items() if name != rest[0]}
                else:
                    good.pop(key, None)
        try:
            return LabFile.model_validate(good)
        except ValidationError:
            return None

    def _resolve_instruments(self, lab: LabFile) -> None:
        owners: dict[str, str] = {}  # by identity
        for name, item in lab.instruments.items():
            where = f"instruments.{name}.instrument"
            try:
                instrument = config.parse_kind("instrument", item.instrument, self.path.parent)
            except ConfigError as error:
                for problem in error.problems:
                    if problem.file:  # of its own
                        self.problems.append(problem)
                    else:
                        self._add(problem.message, f"{where}.{problem.path}".rstrip("."))
                continue
            if instrument.kind in UNSUITABLE_KINDS:
                text = f"kind {instrument.kind} {UNSUITABLE_KINDS[instrument.kind]}; a lab runs unattended"
                self._add(text, where)
            if instrument.kind == "manual" and instrument.background != "none":
                self._add(
                    "a person is asked for a background at a terminal only; in a lab: none", f"{where}.background"
                )
            if getattr(instrument, "seed", 0) is None:  # the campaign's seed would give every job another instrument
                instrument = instrument.model_copy(update={"seed": 0})
            identities = names(instrument, look_up=False)
            if first := next((owners[one] for one in identities if one in owners), None):
                self._add(f"the same instrument as {first} ({instrument.identity}): list it once", where)
            owners = dict.fromkeys(identities, name) | owners
            self.instruments[name] = item.model_copy(update={"instrument": instrument.model_dump(mode="json")})

    def _check_conditions(self, lab: LabFile) -> None:
        """Report conditions that an instrument cannot report."""
        for name, item in self.instruments.items():
            own = item.suspend is not None
            where, suffix = (f"instruments.{name}.suspend", "") if own else ("suspend", f" (instrument {name})")
            instrument = instrument_of(item.instrument)
            for problem in unsupported_conditions(lab.suspend_of(name), instrument):
                self._add(problem.message + suffix, f"{where}.{problem.path}")

    def _check_names(self, lab: LabFile) -> None:
        """Report unknown names, jobs that are never due, and black-outs that end before they begin."""
        instruments, jobs = (tuple(self.value.get(key) or ()) for key in ("instruments", "jobs"))
        for who, target in lab.notify.to.items():
            for n, item in enumerate(target.jobs):
                self._require(item, jobs, f"notify.to.{who}.jobs.{n}")
        for name, job in lab.jobs.items():
            self._require(job.instrument, instruments, f"jobs.{name}.instrument")
            when, path = job.when, f"jobs.{name}.when.after"
            if when.after is not None and self._require(when.after, jobs, path) and name in _before(name, lab.jobs):
                self._add("the job would wait for itself", path)
            if job.between and not when.at and (when.cron or when.every) and next_due(job, lab, 0.0) == NEVER:
                self._add(f"no scheduled time of the job lies in {job.between}", f"jobs.{name}.between")
        for i, span in enumerate(lab.blackouts):
            try:
                if seconds(span.from_, lab.zone) >= seconds(span.to, lab.zone):
                    self._add(f"ends ({span.to}) before it begins ({span.from_})", f"blackouts.{i}")
            except (ValueError, OverflowError) as error:
                self._add(str(error), f"blackouts.{i}")
            for n, item in enumerate(span.instruments):
                self._require(item, instruments, f"blackouts.{i}.instruments.{n}")

    def _check_agents(self, lab: LabFile) -> None:
        """Report bounds of inputs that an instrument does not have, unknown solvers, prices that nothing has."""
        instruments = tuple(self.value.get("instruments") or ())
        known = {name: instrument_of(item.instrument) for name, item in self.instruments.items()}
        for agent, limits in lab.agents.items():
            for name in limits.instruments:
                self._require(name, instruments, f"agents.{agent}.instruments.{name}")
            for problem in agent_problems(limits, known):
                self._add(problem.message, f"agents.{agent}.{problem.path}")

    def _load_campaigns(self, lab: LabFile) -> None:
        """Load the campaign of each job with the lab's instrument in it."""
        base, runs = self.path.parent, self.path.parent / lab.runs
        for name, job in lab.jobs.items():
            if (instrument := self.instruments.get(job.instrument)) is None:
                continue  # reported already
            # As `--set` does it; JSON is YAML.
            changes = [f"instrument={json.dumps(instrument.instrument)}"]
            changes += [f"{key}={json.dumps(value)}" for key, value in job.set.items()]
            try:
                if isinstance(job.campaign, str):
                    self.campaigns[name] = config.load(base / job.campaign, changes, collect=True, runs=runs)
                else:
                    value = functools.reduce(config.override, changes, dict(job.campaign))
                    self.campaigns[name] = config.parse(value, base=base, collect=True, runs=runs)
            except ConfigError as error:
                self.problems += [self._of_job(problem, name, job) for problem in error.problems]

    def _of_job(self, problem: Problem, name: str, job: Job) -> Problem:
        """A campaign's mistake with its file and line: in the campaign file, or in the lab file."""
        tree, key = self.tree, problem.path.removeprefix("--set ")
        if changed := next((changed for changed in job.set if f"{key}.".startswith(f"{changed}.")), None):
            line = tree.lines.get(("jobs", name, "set", changed)) or tree.line(f"jobs.{name}.set")
            return Problem(problem.message, f"jobs.{name}.set.{key}", tree.file, line)
        if isinstance(job.campaign, str) and problem.file and not problem.path.startswith("--set"):
            if problem.line or (self.path.parent / job.campaign).is_file():
                return problem
            return _located(Problem(f"{problem.file}: {problem.message}", f"jobs.{name}.campaign"), tree)
        return _located(Problem(problem.message, f"jobs.{name}.campaign.{key}".rstrip(".")), tree)


def _before(name: str, jobs: Mapping[str, Job]) -> set[str]:
    """All jobs that a job waits for, directly or indirectly."""
    before: set[str] = set()
    while (name := jobs[name].when.after or "") in jobs and name not in before:
        before.add(name)
    return before


def _located(problem: Problem, tree: yamlfile.Tree) -> Problem:
    return Problem(problem.message, problem.path, tree.file, tree.line(problem.path))
