"""From a sweep file to its campaigns: a deterministic list, all validated before any of them runs.

The first key of the grid varies slowest, then come random draws, seeds and repeats. A campaign's id is the hash of its
content (without name and description), its seed and its repeat, so that adding values or seeds keeps the ids, and so
the results, of the other campaigns.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdl import config, yamlfile
from sdl.config.mistakes import problems_of, short
from sdl.drivers.base import Instrument
from sdl.errors import ConfigError, Problem
from sdl.store.resolve import RUNS
from sdl.sweep.model import Sweep
from sdl.sweep.work import SweepTask

MAX_PROBLEMS = 20
# Keys of a campaign that are not part of its digest: they do not affect the result, or are added to the id.
NOT_IDENTITY = ("name", "description", "expect", "seed")


@dataclass(frozen=True)
class Point:
    """One combination of values of the varied keys.

    Attributes:
        values: values of the varied keys, by dotted key.
        tree: the resolved campaign without its seed; parts with a seed of their own take the campaign's.
        digest: hash of its content.
        resource: Dask resource that a worker must have to drive the instrument; empty for a simulated one.
    """

    values: Mapping[str, Any]
    tree: Mapping[str, Any]
    digest: str
    resource: str


@dataclass(frozen=True)
class SweepPlan:
    """The campaigns of a sweep.

    Attributes:
        points: each runs with every seed and repeat.
        inputs, channels: names for all instruments, in order of first appearance.
        base: name of the base campaign for display.
        virtual: whether all campaigns run in virtual time; in real time one may take hours.
    """

    sweep: Sweep
    points: tuple[Point, ...]
    inputs: tuple[str, ...]
    channels: tuple[str, ...]
    base: str = ""
    virtual: bool = True
    _seeds: tuple[int, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.points) * len(self._seeds) * self.sweep.repeats

    @property
    def real(self) -> bool:
        return any(point.resource for point in self.points)

    def place(self, number: int) -> tuple[Point, int, int]:
        rest, repeat = divmod(number, self.sweep.repeats)
        index, seed = divmod(rest, len(self._seeds))
        return self.points[index], self._seeds[seed], repeat

    def ids(self) -> Iterator[str]:
        return map(self._id, range(len(self)))

    def _id(self, number: int) -> str:
        point, seed, repeat = self.place(number)
        return _digest(f"{point.digest} {seed} {repeat}")

    def task(self, number: int, records: Path | None) -> SweepTask:
        """The task of campaign `number`; its record, if kept, is written below `records`."""
        point, seed, _ = self.place(number)
        name, keep = self._id(number), self.sweep.keep == "records" or point.resource
        folder = str((records / name).absolute()) if keep and records is not None else None
        return SweepTask(name, {**point.tree, "seed": seed}, folder, point.resource)


def load(file: Path, *, runs: Path = RUNS, on_twin: bool = False) -> SweepPlan:
    """Read a sweep file and plan its campaigns, `on_twin` on the twin of each instrument.

    Raises:
        ConfigError: lists every mistake of the file and of its campaigns, each with its place.
    """
    tree = yamlfile.read(file)
    problems = list(tree.problems)
    if not isinstance(tree.value, Mapping):
        raise ConfigError(Problem(f"must be a mapping with the keys {', '.join(Sweep.ORDER)}", "", str(file), 1))
    try:
        sweep = Sweep.model_validate(tree.value)
    except ValidationError as error:
        mistakes = problems_of(error, Sweep, tree.value)
        problems += [Problem(p.message, p.path, str(file), _line(tree, p.path)) for p in mistakes]
        raise ConfigError(*sorted(problems, key=lambda p: p.line or 0)) from error
    if problems:
        raise ConfigError(*problems)
    return plan(sweep, file.parent, tree, runs=runs, on_twin=on_twin)


def plan(
    sweep: Sweep, folder: Path = Path(), where: yamlfile.Tree | None = None, *, runs: Path = RUNS, on_twin: bool = False
) -> SweepPlan:
    """The campaigns of a sweep, each validated like a campaign file.

    Args:
        sweep: the sweep file's content.
        folder: directory that the base campaign's path is relative to.
        where: the sweep file, for the lines of mistakes.
        runs: directory in which the names of runs in `prior` are looked up.
        on_twin: replace each instrument by its twin.

    Raises:
        ConfigError: lists the mistakes of all campaigns, each once.
    """
    where = where or yamlfile.Tree({}, {}, "")
    base, source, home = _base(sweep, folder, where)
    mistakes: dict[tuple[str, str], list[str]] = {}  # the values that lead to each (path, message)
    points: list[Point] = []
    instruments: list[Instrument] = []
    total = 0
    for values in _combinations(sweep):
        total += 1
        raw = _with(base, values)
        try:
            resolved = config.parse(raw, base=home, runs=runs)
            if on_twin:
                resolved = config.on_twin(resolved)
                raw = {**raw, "instrument": resolved.instrument.model_dump(mode="json") | {"seed": None}}
        except ConfigError as error:
            text = ", ".join(f"{key}={short(value)}" for key, value in values.items())
            for problem in error.problems:
                mistakes.setdefault((problem.path, problem.message), []).append(text)
            if len(mistakes) >= MAX_PROBLEMS:
                break
            continue
        instruments.append(resolved.instrument)
        resource = "" if resolved.instrument.simulated else sweep.resource or str(resolved.instrument.kind)
        points.append(Point(values, _resolved(resolved, raw), _identity(raw), resource))
    problems = []
    for (path, message), cases in mistakes.items():
        others = f", and {len(cases) - 1} more" if cases[1:] else ""
        note = f" (with {cases[0]}{others})" if cases[0] and len(cases) < total else ""
        problems.append(_placed(path, message + note, sweep, where, source))
    if sweep.repeats > 1 and any(one.simulated and one.virtual for one in instruments):
        message = "the same seed gives the same campaign on this instrument every time; take more `seeds`"
        problems.append(Problem(message, "repeats", where.file, where.line("repeats")))
    if problems:
        raise ConfigError(*problems)
    inputs, channels = (
        tuple(dict.fromkeys(item.name for one in instruments for item in getattr(one, key)))
        for key in ("inputs", "channels")
    )
    shown = os.path.normpath(source.file) if source.file else sweep.name
    virtual = all(one.virtual for one in instruments)
    return SweepPlan(sweep, tuple(points), inputs, channels, shown, virtual, tuple(sweep.seed_list))


def _base(sweep: Sweep, folder: Path, where: yamlfile.Tree) -> tuple[Mapping[str, Any], yamlfile.Tree, Path]:
    """The base campaign, the file that holds it, and the directory of its relative paths."""
    campaign, tree = sweep.campaign, where
    if isinstance(campaign, str):
        file = folder / campaign
        tree, folder = yamlfile.read(file), file.parent
        if tree.problems:
            raise ConfigError(*tree.problems)
        campaign = tree.value
    if not isinstance(campaign, Mapping):
        raise ConfigError(Problem(f"must be a campaign, a mapping; not {short(campaign)}", "campaign", tree.file, 1))
    return campaign, tree, folder


def _with(base: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in sorted(values, key=_kind_first):
        base = config.put(base, key, values[key])
    return base


def _placed(path: str, message: str, sweep: Sweep, where: yamlfile.Tree, base: yamlfile.Tree) -> Problem:
    """A mistake with its place: in the sweep file if it concerns a varied key, else in the base campaign."""
    for key in sweep.keys:
        if f"{path}.".startswith(f"{key}.") or f"{key}.".startswith(f"{path}."):
            group = ("grid",) if key in sweep.grid else ("random", "keys")
            return Problem(message, f"{'.'.join(group)}.{key}", where.file, where.lines.get((*group, key)))
    place = f"campaign.{path}" if base is where else path
    return Problem(message, place, base.file, base.line(place))


def _combinations(sweep: Sweep) -> Iterator[dict[str, Any]]:
    drawn = sweep.random
    for cell in itertools.product(*sweep.grid.values()):
        grid = dict(zip(sweep.grid, cell, strict=True))
        if drawn is None:
            yield grid
            continue
        for draw in range(drawn.draws):
            yield grid | {key: one.value(drawn.seed, draw, key) for key, one in drawn.keys.items()}


def _kind_first(key: str) -> list[str]:
    """Sort key: a key before its parts, and `kind` before its options, which a new kind drops."""
    return ["" if part == "kind" else part for part in key.split(".")]


def _resolved(campaign: config.CampaignFile, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved campaign with absolute paths, so that it runs anywhere; seeds only where they were given."""
    tree = campaign.plain()
    del tree["seed"]
    priors = [prior.model_copy(update={"source": str(Path(prior.source).resolve())}) for prior in campaign.prior]
    tree["prior"] = [prior.model_dump(mode="json") for prior in priors]
    for key in config.GROUPS:
        given = raw.get(key)
        if "seed" in tree[key] and not (isinstance(given, Mapping) and given.get("seed") is not None):
            tree[key]["seed"] = None
    return tree


def _identity(raw: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in raw.items() if key not in NOT_IDENTITY}
    return _digest(json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _line(tree: yamlfile.Tree, path: str) -> int | None:
    """As `tree.line`, also for keys of the grid, which contain dots."""
    fits = [
        (len(parts), line)
        for parts, line in tree.lines.items()
        if f"{path}.".startswith(".".join(map(str, parts)) + ".")
    ]
    return max(fits, default=(0, tree.line(path)))[1]
