"""The only place where campaign, solver, driver, record and clock meet.

`run` and `resume` are one code path: replay what is written, then do what is due. Each action is performed and ends in
one event; the event is written and fsynced; only then is the campaign told, and what it says is done next. However this
ends (reached, Ctrl-C, a full disk, a bug) the instrument is made safe and the record stays resumable.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import math
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np

from sdl import config, readings, yamlfile
from sdl.campaign import Campaign
from sdl.clock import Clock, RealClock, VirtualClock
from sdl.config import CampaignFile
from sdl.drivers.base import Driver, Instrument
from sdl.errors import (
    BadReply,
    ConfigError,
    Degenerate,
    InstrumentError,
    NotApplied,
    NotEnoughData,
    Problem,
    RecordError,
    SolverError,
)
from sdl.events import (
    SCHEMA,
    Action,
    Continued,
    Event,
    Failed,
    Interrupted,
    Measure,
    Measured,
    Opened,
    Propose,
    Proposed,
    Resumed,
    Stop,
    Stopped,
)
from sdl.inverse import ask, data_of, round_and_clip
from sdl.record import Record, write_file
from sdl.runs import RUNS, Folded, Result, fold, loop_of, steps
from sdl.runs import result as result_of
from sdl.types import Outcome, Reading

log = logging.getLogger("sdl")

Watch = Callable[[Event, Campaign], None]
"""Told of every event after it is written and folded."""

DESIGN, SOLVER = 0, 1
"""Streams of random numbers: default_rng([seed, stream, n])."""

INTERRUPTED = {"SIGINT": 130, "SIGTERM": 143}

EXIT_CODES = {
    Outcome.REACHED: 0,
    Outcome.DONE: 0,
    Outcome.SPENT: 1,
    Outcome.STALLED: 1,
    Outcome.UNREACHABLE: 1,
    Outcome.ABORTED: 1,
    Outcome.FAILED: 3,
}
"""What the command line ends with; a campaign that failed by its solver ends with 4 (`exit_code`)."""


def run(
    campaign: str | Path | Mapping[str, Any] | CampaignFile,
    *,
    runs: str | Path | None = RUNS,
    changes: Sequence[str] = (),
    watch: Watch | None = None,
    collect: bool = False,
) -> Result:
    """Runs a campaign to its end.

    Args:
        campaign: path of a YAML file, or the same as a mapping, or a model.
        runs: directory for the record; None keeps everything in memory and writes nothing.
        changes: `a.b=value` each, as `--set` takes them.
        watch: told of every event.
        collect: only the design is measured, the goal is left out.

    Returns:
        What came of it.

    Raises:
        CampaignInterrupted: Ctrl-C or SIGTERM; the instrument is safe and the run can be resumed.
        ConfigError: a mistake in the campaign; nothing was started.
        RecordError: the disk; the instrument is safe and the run can be resumed.
    """
    if isinstance(campaign, (str, Path)):
        chosen = config.load(campaign, changes, collect=collect)
    else:
        tree = campaign.plain() if isinstance(campaign, CampaignFile) else campaign
        for change in changes:
            tree = config.override(tree, change)
        chosen = config.parse(tree, collect=collect)
    if collect and chosen.goal is not None:
        chosen = config.parse(config.put(chosen.plain(), "goal", None), collect=True)
    priors = _priors(chosen)
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    record: Record | Memory = Record.create(Path(runs) / chosen.name / name) if runs is not None else Memory()
    with contextlib.closing(record):
        clock = clock_for(chosen.instrument)
        opened = _opened(chosen, name, record, priors, clock)
        record.append(opened)
        if isinstance(record, Record):
            text = "# What this run was started with, every default written out. A copy: the record is what counts.\n"
            write_file(record.folder / "campaign.yaml", text + yamlfile.dump(chosen.plain()))
        folded = fold(iter([opened]), record.folder)
        if priors and record.folder is None:
            rows = [row for source in priors for row in source.rows]
            folded.campaign.history.add_prior([(row.reading, row.sitting) for row in rows])
        watch = _tell(watch, opened, folded.campaign)
        return Runner(chosen, folded.campaign, record, clock, watch).go()


def resume(folder: str | Path, *, changes: Sequence[str] = (), watch: Watch | None = None) -> Result:
    """Goes on with a run where it was left: after Ctrl-C, `kill -9`, a power cut, or with changed rules.

    Args:
        folder: the run's directory.
        changes: `stop.trials=80` and the like; only the keys in `sdl.config.CHANGEABLE`.
        watch: told of every event, those already written first.

    Raises:
        ConfigError: a change that a resume cannot make. InUse: it is running. Damaged: its record was changed.
    """
    record = Record.open(Path(folder))
    with contextlib.closing(record):
        for note in record.notes:
            log.warning("%s: %s", record.folder, note)
        folded = None
        for event, folded in steps(iter(record.events), record.folder):
            watch = _tell(watch, event, folded.campaign)
        if folded is None:
            raise RecordError(f"{record.folder}: empty: run the campaign anew")
        changed = _changes(folded, changes)
        tree = dict(folded.tree)
        for path, value in changed.items():
            tree = config.put(tree, path, value)
        # The priors' rows are in the run's own copy; their sources may be gone by now.
        chosen = config.parse({**tree, "prior": ()}, collect=True)
        if folded.campaign.history.outcome in (Outcome.REACHED, Outcome.DONE):
            return result_of(folded.campaign, record.folder)
        clock = clock_for(chosen.instrument, folded.at)
        runner = Runner(chosen, folded.campaign, record, clock, watch, unfinished=not folded.campaign.history.outcome)
        folded.campaign.plan = loop_of(tree).plan()
        runner.write(Resumed(versions(), changed, clock.now()))
        if folded.campaign.paused:
            runner.write(Continued(user(), clock.now()))
        return runner.go()


def clock_for(instrument: Instrument, at: float | None = None) -> Clock:
    """The clock that an instrument lives by: real, or a time line of its own that goes on at `at`."""
    if not instrument.simulated:
        return RealClock()
    start = at if at is not None else float(getattr(instrument, "start_time", 0.0))
    return VirtualClock(start, paced=not instrument.virtual)


def exit_code(result: Result) -> int:
    """What the command line ends with."""
    if result.outcome is None:
        return 1
    by_solver = result.outcome is Outcome.FAILED and result.by == "solver"
    return SolverError.exit_code if by_solver else EXIT_CODES[result.outcome]


class CampaignInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended the process's part of a campaign that can be resumed.

    Attributes:
        signal: SIGINT or SIGTERM.
        result: what there is so far.
    """

    def __init__(self, signal_name: str, so_far: Result) -> None:
        self.signal, self.result = signal_name, so_far
        super().__init__(signal_name)


class Log(Protocol):
    """Where events go: a Record, or Memory."""

    @property
    def folder(self) -> Path | None: ...
    def append(self, event: Event) -> None: ...
    def close(self) -> None: ...


class Memory:
    """A record that is not on the disk, for sweeps and tests."""

    folder = None

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        """Nothing to give back."""


class Runner:
    """Performs what a campaign says is due, until nothing is."""

    def __init__(
        self,
        chosen: CampaignFile,
        campaign: Campaign,
        record: Log,
        clock: Clock,
        watch: Watch | None = None,
        *,
        unfinished: bool = False,
    ) -> None:
        self.config, self.campaign, self.record, self.clock = chosen, campaign, record, clock
        self._watch = watch
        self._driver: Driver | None = None
        self._unfinished = unfinished  # a process died on it, perhaps with the light on
        self._inputs, self._channels = chosen.instrument.inputs, chosen.instrument.channels
        self._signals = Signals(clock)

    def go(self) -> Result:
        """Does what is due until nothing is.

        Raises:
            CampaignInterrupted: Ctrl-C or SIGTERM, after Interrupted is written and the instrument is safe.
        """
        with self._signals:
            try:
                while (actions := self.campaign.due()) and not self._signals.asked:
                    for action in actions:
                        if isinstance(action, Measure):
                            self.clock.sleep(action.wait)
                        if not self._signals.asked:  # a back-off may last minutes
                            self.write(self._perform(action))
            except KeyboardInterrupt:
                if not self._signals.asked:
                    raise  # not of our making, such as a driver's or a watcher's own
                # else the second Ctrl-C: at once, still safe
            finally:
                with self._signals.shield(last=True):
                    self._make_safe()
            if self._signals.asked and self.campaign.due():
                self.write(Interrupted(self._signals.name, self.clock.now()))
                raise CampaignInterrupted(self._signals.name, result_of(self.campaign, self.record.folder))
        return result_of(self.campaign, self.record.folder)

    def write(self, event: Event) -> None:
        """Writes one event, folds it, tells who watches."""
        with self._signals.shield():
            self.record.append(event)
            self.campaign.handle(event)
        self._watch = _tell(self._watch, event, self.campaign)

    def _perform(self, action: Action) -> Event:
        match action:
            case Propose():
                return self._propose(action)
            case Measure():
                return self._measure(action)
            case Stop():
                best = self.campaign.history.best
                return Stopped(action.outcome, action.reason, best.trial if best else None, action.by, self.clock.now())

    # Propose -------------------------------------------------------------------------------------------------------
    def _propose(self, action: Propose) -> Event:
        history, goal = self.campaign.history, self.campaign.plan.goal
        planned = self.config.design.size(self._inputs)
        why = f"point {action.trial + 1} of {planned}"
        if goal is not None and action.trial >= planned - history.prior_rows:
            try:
                return self._ask(action.trial)
            except (NotEnoughData, Degenerate) as error:
                why = f"{self.config.solver.kind} cannot answer yet ({error}); the point farthest from those taken"
            except SolverError as error:
                return Failed(action.trial, 0, 0, "propose", str(error), False, False, self.clock.now())
        design = self.config.design
        try:
            point = design.point(action.trial, history.X, self._inputs, lambda n: self._random(DESIGN, n))
        except Exception as error:  # a design, perhaps somebody else's, may fail in any way
            text = f"the design {design.kind} failed: {error!r}"
            return Failed(action.trial, 0, 0, "propose", text, False, False, self.clock.now())
        raw = {item.name: float(value) for item, value in zip(self._inputs, point, strict=True)}
        settings, clipped = round_and_clip(raw, self._inputs)
        none: Mapping[str, float | None] = {item.name: None for item in self._inputs}
        targets = self._targets()
        return Proposed(
            action.trial,
            settings,
            targets,
            design.kind,
            history.rows,
            why,
            none,
            none,
            {},
            None,
            clipped,
            self.clock.now(),
        )

    def _ask(self, trial: int) -> Proposed:
        history, goal = self.campaign.history, self.campaign.plan.goal
        if goal is None:
            raise SolverError("without a goal there is nothing to ask a solver")
        data = data_of(history, self._inputs, self._channels, goal.channels)
        answer = ask(self.config.solver, data, goal, self._random(SOLVER, trial), history.background)
        return Proposed(
            trial,
            answer.settings,
            self._targets(),
            self.config.solver.kind,
            history.rows,
            answer.why,
            answer.spread,
            answer.uncertainty,
            answer.expected,
            answer.verdict,
            answer.clipped,
            self.clock.now(),
        )

    def _targets(self) -> dict[str, float]:
        goal, base = self.campaign.plan.goal, self.campaign.history.background or {}
        return {name: target - base.get(name, 0.0) for name, target in goal.targets.items()} if goal else {}

    def _random(self, stream: int, n: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, stream, n])

    # Measure -------------------------------------------------------------------------------------------------------
    def _measure(self, action: Measure) -> Event:
        began = self.clock.now()
        place = (action.trial, action.repeat, action.attempt)
        try:
            if self._driver is None:
                self._driver = self.config.instrument.open(self.clock)
            reading = checked(self._driver.measure(action.settings), action.settings)
        except InstrumentError as error:
            text = f"{type(error).__name__}: {error}"
            return Failed(*place, "measure", text, error.retryable, error.maybe_measured, self.clock.now())
        except Exception as error:  # a driver, perhaps somebody else's, may fail in any way
            log.exception("the driver failed")
            return Failed(*place, "measure", f"the driver failed: {error!r}", False, True, self.clock.now())
        at = self.clock.now()
        return Measured(
            *place,
            reading.applied,
            reading.readings,
            reading.background,
            reading.saturated,
            reading.fault,
            round(at - began, 6),
            at,
        )

    def _make_safe(self) -> None:
        """Light off, connection closed; whatever goes wrong is told, nothing is raised."""
        try:
            if self._driver is None and self._unfinished:
                self._driver = self.config.instrument.open(self.clock)
            if self._driver is not None:
                self._driver.safe()
        except Exception as error:  # whatever it is, the record must still be closed
            log.warning("the instrument could not be made safe; look whether its light is off: %s", error)
        finally:
            if self._driver is not None:
                with contextlib.suppress(Exception):
                    self._driver.close()
                self._driver = None


def checked(reading: Reading, settings: Mapping[str, float]) -> Reading:
    """A driver's reading as plain finite numbers; says so where other settings were applied than asked.

    Raises:
        NotApplied: it does not say what was applied to every input.
        BadReply: a value that is no number.
    """
    try:
        applied = {name: _plain(reading.applied[name]) for name in settings}
    except (KeyError, TypeError, ValueError) as error:
        raise NotApplied(f"the reading does not say what was applied: {reading.applied}") from error
    try:
        values = {name: _plain(value) for name, value in reading.readings.items()}
        base = None
        if reading.background is not None:
            base = {name: _plain(value) for name, value in reading.background.items()}
    except (TypeError, ValueError) as error:
        raise BadReply(f"a channel is no finite number: {reading.readings}, background {reading.background}") from error
    fault = reading.fault
    if fault is None and any(
        abs(applied[name] - settings[name]) > 1e-9 * max(1, abs(settings[name])) for name in settings
    ):
        fault = "not-applied"
    return Reading(applied, values, base, tuple(reading.saturated), fault)


def _plain(value: Any) -> float:
    number: float = int(value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not finite")
    return number


class Signals:
    """Ctrl-C and SIGTERM while a campaign runs: the first ends it after the reading, the second at once.

    Only in the main thread; elsewhere the caller's handling stays as it is. Inside `shield` the second one waits, so
    that a line is never written without being counted.
    """

    def __init__(self, clock: Clock) -> None:
        self.asked, self.name = False, ""
        self._clock = clock
        self._shields, self._waiting = 0, False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def shield(self, *, last: bool = False) -> Iterator[None]:
        """Nothing is broken off inside; nor after it, where it is the `last` thing to be done anyway."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if self._waiting and not self._shields and not last:
            self._waiting = False
            raise KeyboardInterrupt(self.name)

    def _handle(self, number: int, _: FrameType | None) -> None:
        again, self.asked = self.asked, True
        self.name = signal.Signals(number).name
        self._clock.interrupt()
        if again and self._shields:
            self._waiting = True
        elif again:
            raise KeyboardInterrupt(self.name)


def _tell(watch: Watch | None, event: Event, campaign: Campaign) -> Watch | None:
    """Shows an event to who watches; returns who watches from now on."""
    if watch is None:
        return None
    try:
        watch(event, campaign)
    except OSError as error:  # a closed pipe or terminal ends the watching, not the campaign
        log.warning("no longer shown: %s", error)
        return None
    return watch


def versions() -> dict[str, str]:
    """Versions of what decides a proposal, as kept in every record."""
    found = {}
    for package in (
        "sdl",
        "numpy",
        "scipy",
        "scikit-learn",
        "gmr",
        "ForestDiffusion",
        "xgboost",
        "xgboost-cpu",
        "pydantic",
    ):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def user() -> str:
    """Who runs it; `unknown` where the system does not say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _opened(
    chosen: CampaignFile, name: str, record: Record | Memory, priors: Sequence[readings.Rows], clock: Clock
) -> Opened:
    copy_sha = readings.save(record.folder / "prior.jsonl", priors) if priors and record.folder else ""
    prior = tuple(
        {
            "source": p.source,
            "sha256": p.sha256,
            "rows": len(p.rows),
            "left_out": dict(p.left_out),
            "copy_sha256": copy_sha,
        }
        for p in priors
    )
    instrument = chosen.instrument
    about = {
        "kind": instrument.kind,
        "identity": instrument.identity,
        "inputs": [item.model_dump(mode="json") for item in instrument.inputs],
        "channels": [item.model_dump(mode="json") for item in instrument.channels],
    }
    return Opened(
        SCHEMA,
        name,
        chosen.name,
        chosen.plain(),
        prior,
        about,
        clock.kind,
        versions(),
        instrument.simulated,
        user(),
        clock.now(),
    )


def _priors(chosen: CampaignFile) -> list[readings.Rows]:
    inputs = [item.name for item in chosen.instrument.inputs]
    wanted = tuple(chosen.goal or ())
    found = [readings.load(source, inputs, chosen.instrument.channels, wanted) for source in chosen.prior]
    for rows in found:
        if not rows.rows:
            why = ", ".join(f"{n} {reason}" for reason, n in rows.left_out.items()) or "it is empty"
            raise ConfigError(Problem(f"no usable row: {why}", "prior", rows.source))
    return found


def _changes(folded: Folded, changes: Sequence[str]) -> dict[str, Any]:
    changed = dict(map(config.split, changes))
    for path in changed:
        if path.split(".")[0] not in config.CHANGEABLE:
            allowed = ", ".join(config.CHANGEABLE)
            raise ConfigError(Problem(f"cannot be changed in a run that exists; allowed: {allowed}", f"--set {path}"))
    return changed
