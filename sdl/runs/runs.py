"""Runs on the disk, opened for reading only, also while they are being written.

`fold` is the one way from events to a state, for a resume and for all readers.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from sdl import config
from sdl.core.campaign import Campaign, Plan
from sdl.core.events import Event, Failed, Measured, Opened, Proposed, Resumed
from sdl.core.history import History
from sdl.core.trials import Trial, corrected
from sdl.errors import ConfigError, Damaged, OutOfTurn, RecordError
from sdl.extras import missing
from sdl.grammar import parse_constraint
from sdl.runs.results import Result as Result
from sdl.runs.results import result_of as result_of
from sdl.space import Space
from sdl.store import datasets
from sdl.store.record import FILE, Line, plain_prior, scan
from sdl.store.resolve import RUNS, find
from sdl.types import Channel, Input


@dataclass(frozen=True, slots=True)
class Folded:
    """The state of a campaign after the events of its record.

    Attributes:
        opened: the first event.
        campaign: the state after all events.
        tree: the configuration with the changes of every Resumed applied.
        at: time of the last event.
        trials: all trials, in order.
    """

    opened: Opened
    campaign: Campaign
    tree: Mapping[str, Any]
    at: float
    trials: list[Trial]


def fold(events: Iterator[Event], folder: Path | None) -> Folded:
    """Fold the events of one record into a state; nothing is fitted or measured.

    `folder` is the run's directory, with its prior.jsonl; None for a record in memory.

    Raises:
        Damaged: an event cannot follow the ones before it.
        RecordError: there is no event.
    """
    with without_collection():
        opened = next(events, None)
        if not isinstance(opened, Opened):
            raise RecordError(f"{folder}: empty: the process ended before the campaign began; run it again")
        folding = Folding(opened, folder)
        for event in itertools.chain([opened], events):
            folding.add(event)
    return folding.folded


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Switch off Python's search for reference cycles inside the block: it is slow, and events have no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def fold_stepwise(events: Iterator[Event], folder: Path | None) -> Iterator[tuple[Event, Folded]]:
    """As `fold`, yielding after every event; the same campaign object is updated throughout."""
    opened = next(events, None)
    if not isinstance(opened, Opened):
        return
    folding = Folding(opened, folder)
    for event in itertools.chain([opened], events):
        folding.add(event)
        yield event, folding.folded


class Folding:
    """The fold of a record whose events arrive one after the other, including the first.

    Args:
        opened: the first event.
        folder: directory of the run, as for `fold`.
    """

    def __init__(self, opened: Opened, folder: Path | None) -> None:
        self._opened, self._folder, self._number = opened, folder, 0
        self._tree: Mapping[str, Any] = opened.config
        self._campaign = unopened_campaign(opened, folder)
        self._trials: list[Trial] = []
        self._at = opened.at

    @property
    def folded(self) -> Folded:
        """The state after the events so far."""
        return Folded(self._opened, self._campaign, self._tree, self._at, self._trials)

    def add(self, event: Event) -> None:
        """Fold one more event.

        Raises:
            Damaged: it cannot follow the events before it.
        """
        self._number += 1
        campaign, folder = self._campaign, self._folder
        if isinstance(event, Resumed) and event.changes:
            self._tree, campaign.plan = apply_changes(self._tree, event, folder, self._number)
        try:
            campaign.fold(event)
        except OutOfTurn as error:
            message = f"cannot follow what is before it: {error}"
            raise Damaged(str((folder or Path()) / FILE), self._number, message) from error
        if isinstance(event, Proposed) and campaign.history.open_trial is not None:
            self._trials.append(campaign.history.open_trial)
        self._at = event.at


def unopened_campaign(opened: Opened, folder: Path | None, plan: Plan | None = None) -> Campaign:
    """The campaign before its first event, with the prior rows in the run's directory (None for a record in memory).

    Without a plan, that of the event's configuration is used.
    """
    file = (folder or Path()) / FILE
    inputs, channels, space = _instrument(opened, file)
    if plan is None:
        with _as_written(folder, 1):
            plan = _plan(opened.config)
    names = tuple(item.name for item in inputs), tuple(item.name for item in channels)
    history = History(*names, plan.goal, space=None if space.is_box else space)
    if opened.prior and folder is not None:
        known = [item.name if item.numeric else item for item in inputs]  # bounds were checked when they were copied
        rows = datasets.load(plain_prior(folder), known, channels, (), tolerated=0).rows
        history.add_prior([(row.reading, row.session) for row in rows])
    return Campaign(plan, history)


class _Kept(dict[str, Any]):
    """Values made of parts of a configuration, by their text; the runs of a lab have few different ones."""

    MOST = 64

    def of(self, parts: object, make: Callable[[], Any]) -> Any:
        """The value of these parts, made where it is not kept."""
        key = repr(parts)
        if key not in self:
            if len(self) >= self.MOST:
                self.clear()
            self[key] = make()
        return self[key]


_plans, _instruments = _Kept(), _Kept()


def _plan(tree: Mapping[str, Any]) -> Plan:
    """The plan of a recorded configuration; it is frozen, and shared by equal ones."""
    parts = [tree.get(key, ...) for key in (*config.CampaignRules.model_fields, "instrument", "inputs")]
    plan: Plan = _plans.of(parts, lambda: plan_of(tree))
    return plan


def _instrument(opened: Opened, file: Path) -> tuple[tuple[Input, ...], tuple[Channel, ...], Space]:
    """Inputs, channels and space of a record's instrument; they are frozen, and shared by equal ones."""

    def make() -> tuple[tuple[Input, ...], tuple[Channel, ...], Space]:
        inputs, channels = datasets.recorded_instrument(opened, file)
        return inputs, channels, _recorded_space(opened, inputs, file)

    made: tuple[tuple[Input, ...], tuple[Channel, ...], Space] = _instruments.of(opened.instrument, make)
    return made


def _recorded_space(opened: Opened, inputs: tuple[Input, ...], file: Path) -> Space:
    try:
        return Space(inputs, [parse_constraint(text) for text in opened.instrument.get("constraints", ())])
    except (ValueError, TypeError) as error:
        why = f"no instrument has these constraints: {datasets.one_line(error)}"
        raise Damaged(str(file), 1, why) from error


def apply_changes(
    tree: Mapping[str, Any], event: Resumed, folder: Path | None, number: int
) -> tuple[dict[str, Any], Plan]:
    """The configuration after a resume with changes, and its rules; `number` is the line of the event.

    Raises:
        Damaged: no campaign can have this configuration.
    """
    changed = dict(tree)
    with _as_written(folder, number):
        for path, value in event.changes.items():
            changed = config.put(changed, path, value)
        return changed, plan_of(changed)


@contextlib.contextmanager
def _as_written(folder: Path | None, number: int) -> Iterator[None]:
    """Report an impossible configuration in a record as damage, even if the hash of its line is right."""
    try:
        yield
    except (ConfigError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        message = f"no campaign can have this configuration: {datasets.one_line(error)}"
        raise Damaged(str((folder or Path()) / FILE), number, message) from error


def rules_of(tree: Mapping[str, Any]) -> config.CampaignRules:
    """The rules in a recorded configuration; a fold needs nothing else of it."""
    return config.CampaignRules.model_validate(
        {key: tree[key] for key in config.CampaignRules.model_fields if key in tree}
    )


def plan_of(tree: Mapping[str, Any]) -> Plan:
    """The instructions in a recorded configuration."""
    return rules_of(tree).plan(config.prices_of(tree))


class Run:
    """A run, opened for reading by `sdl.open_run(path)`.

    Attributes:
        folder: its directory.
        events: everything that happened, in order.
        sha: hash of the last line, and so of the whole record.
        opened: the first event.
        campaign: its state, with `history`: arrays X, Y, the best trial, the streaks.
        config: the resolved configuration, changes of a resume applied.
        trials: its trials, in order: settings, means, tolerance ratios, states.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder if folder.is_dir() else folder.parent
        self.sha = ""
        events: list[Event] = []
        folded = fold(self._read(folder, events), self.folder)
        self.events: tuple[Event, ...] = tuple(events)
        self.opened, self.campaign = folded.opened, folded.campaign
        self.config, self.trials = folded.tree, folded.trials

    def _read(self, folder: Path, events: list[Event]) -> Iterator[Event]:
        """The events of the record, which are also appended to a list."""
        for item in scan(folder):
            if isinstance(item, Line):
                self.sha = item.sha
                events.append(item.event)
                yield item.event

    @cached_property
    def result(self) -> Result:
        return result_of(self.campaign, self.folder)

    @cached_property
    def proposals(self) -> dict[int, Proposed]:
        """The proposals by trial."""
        return {event.trial: event for event in self.events if isinstance(event, Proposed)}

    @cached_property
    def _of_trial(self) -> dict[int, list[Measured | Failed]]:
        """Readings and failures by trial, found once for all trials."""
        events: dict[int, list[Measured | Failed]] = {}
        for event in self._counted:
            if isinstance(event, (Measured, Failed)):
                events.setdefault(event.trial, []).append(event)
        return events

    @cached_property
    def _counted(self) -> tuple[Event, ...]:
        """The events with the corrections of readings applied, without excluded readings."""
        return tuple(event for _, event in corrected(enumerate(self.events)))

    def measured(self, trial: int | None = None) -> list[Measured]:
        """The readings that count, of one trial or all: corrected ones as corrected, without excluded ones."""
        return [e for e in self._events_of(trial) if isinstance(e, Measured)]

    def failed(self, trial: int | None = None) -> list[Failed]:
        """The failed attempts, of one trial or all."""
        return [e for e in self._events_of(trial) if isinstance(e, Failed)]

    def _events_of(self, trial: int | None) -> Sequence[Event]:
        return self._counted if trial is None else self._of_trial.get(trial, [])

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary per reading, for `pandas.DataFrame(run.rows())`: trial, by, settings, readings, time.

        Raises:
            ConfigError: an input or channel has the name of another column.
        """
        if repeated := [name for name, n in Counter(self._columns()).items() if n > 1]:
            names = ", ".join(repeated)
            raise ConfigError(f"{names}: also the name of a column of the table; use the form claude-light")
        return [self._row(event) for event in self.measured()]

    def _row(self, event: Measured) -> dict[str, Any]:
        """The row of one reading; its keys are `_columns`, and the background where there is one."""
        proposed = self.proposals[event.trial]
        return {
            **{"trial": event.trial, "repeat": event.repeat, "attempt": event.attempt, "by": proposed.by},
            **{f"{name}_asked": value for name, value in proposed.settings.items()},
            **event.applied,
            **event.readings,
            **{f"{name}_background": value for name, value in (event.background or {}).items()},
            **{"saturated": " ".join(event.saturated), "fault": event.fault or ""},
            **{"elapsed": event.elapsed, "at": event.at},
        }

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame, one per reading; ConfigError without pandas."""
        return data_frame(self.rows(), self._columns())

    def _columns(self) -> list[str]:
        """The names of the columns of `rows`, which are known even if there is no reading."""
        inputs, channels = ([str(item["name"]) for item in self.opened.instrument[k]] for k in ("inputs", "channels"))
        head, tail = ("trial", "repeat", "attempt", "by"), ("saturated", "fault", "elapsed", "at")
        return [*head, *(f"{name}_asked" for name in inputs), *inputs, *channels, *tail]

    def figure(self, name: str = "error") -> Any:
        """A matplotlib Figure of the run, by its name in docs/how-to/reports.md.

        Raises:
            ConfigError: there is no such figure, or this run has nothing to show in it.
        """
        drawn = _view("sdl.report.figures:draw")(self, name)
        if drawn is None:
            raise ConfigError(f"{self!r} has nothing to show in the figure {name!r}")
        return drawn

    def _repr_html_(self) -> str:
        return str(_view("sdl.report.page:notebook_html")(self))

    def __repr__(self) -> str:
        done = self.result
        return f"<Run {self.folder}: {done.outcome or 'unfinished'} after {done.trials} trials>"


def _view(place: str) -> Any:
    """A function that shows a run, by `module:name`, because the reports import this module."""
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)


def data_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Any:
    """The rows as a pandas DataFrame; `columns` are its columns if there is no row.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ConfigError(missing("DataFrames", "report", error)) from error
    return pandas.DataFrame(list(rows)) if rows else pandas.DataFrame(columns=columns)


def open_run(path: str | Path, *, runs: str | Path = RUNS) -> Run:
    """Open a run for reading, also while it is being written.

    Args:
        path: its directory, or its record.jsonl; `latest`, a campaign's name, or a unique part of `campaign/run`.
        runs: directory in which names are looked up.

    Raises:
        ConfigError: no run or several runs match. Damaged: a line was altered.
    """
    return Run(find(path, Path(runs)))
