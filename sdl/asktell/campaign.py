"""A campaign that others perform, open for asking and telling."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sdl.asktell.told import beyond_limits, checked_settings, told_channels, told_reading
from sdl.clock import Clock, RealClock, VirtualClock
from sdl.config import ResolvedCampaign, put, restore
from sdl.core.campaign import Campaign, State
from sdl.core.events import (
    AbortAsked,
    Attached,
    Continued,
    Corrected,
    Event,
    Failed,
    Measure,
    Measured,
    Opened,
    Paused,
    Propose,
    Resumed,
    Skipped,
    Stop,
)
from sdl.core.trials import Trial
from sdl.errors import ConfigError, InUse, RecordError, cut, shorten
from sdl.formatting import AskedReading, asked_settings, settings_before
from sdl.runner.observers import Watch, notify
from sdl.runner.perform import stopped_event
from sdl.runner.propose import Proposer
from sdl.runner.setup import user, versions
from sdl.runs.results import Result, result_of
from sdl.runs.runs import Folded, Folding
from sdl.store.lock import is_attended
from sdl.store.record import CAMPAIGN, Line, Position, Record, check_prior, scan
from sdl.types import GOOD_OUTCOMES, Channel, Reading, Settings

log = logging.getLogger("sdl")
T = TypeVar("T")

LOCK_SECONDS = 10.0  # how long another call may hold the lock of the record
PAUSE = 0.01  # longest wait in seconds before the lock is tried again


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure next.

    Attributes:
        trial, repeat: number of the trial, and of the reading in it, both from 0.
        settings: value of every input.
        why: who proposed them and why.
        expected: the readings that the solver expects, by channel; empty for a point of the design.
    """

    trial: int
    repeat: int
    settings: Settings
    why: str
    expected: Mapping[str, float | None]


Place = Request | tuple[int, int]  # a reading: its request, or its trial and repeat


class OpenCampaign:
    """A run, open for asking and telling; several processes may have the same run open.

    Its state follows from the record: every call first reads what was written since the previous call.

    Args:
        folder: the run's directory.
        watch: receives every event, including those already recorded and those that others write.
    """

    def __init__(self, folder: Path, watch: Watch | None = None) -> None:
        self.folder = folder
        self._watch = watch
        self._position = Position()
        self._folding: Folding | None = None
        self._folded: Folded | None = None
        self._config: tuple[Mapping[str, Any], ResolvedCampaign, Proposer] | None = None
        self._refresh()

    # The calls ---------------------------------------------------------------------------------------------------
    def ask(self) -> Request | None:
        """The next settings to measure: the same ones until their reading is told; None once the campaign has ended.

        The request, or the end of the campaign, is on the disk when this returns.

        Raises:
            ConfigError: the run was simulated in virtual time, or it was paused by the process that attends it.
            InUse: another process drives it. RecordError: it cannot be written.
        """
        self._refresh()
        if self._campaign.paused and is_attended(self.folder):
            raise ConfigError(f"{self.folder}: paused by the process that asks for its readings; resume it there")
        while (event := self._outstanding()) is not None:
            with self._writing() as (record, news):
                if not news:
                    self._write(record, event)
        return self._request()

    def tell(
        self,
        request: Place,
        readings: Mapping[str, float] | None = None,
        *,
        failed: str = "",
        applied: Mapping[str, Any] | None = None,
        note: str = "",
    ) -> None:
        """Record the readings for a request, or why there are none; without readings its trial ends as failed.

        The readings are on the disk when this returns. Telling the same values again changes nothing. Readings beyond
        the `limits` of the instrument end the campaign as failed.

        Args:
            request: the request that `ask` returned, or its trial and repeat.
            readings: the value of every channel; channels of formulas are computed.
            failed: why there is no reading.
            applied: values of the inputs that were set to other values than asked for.
            note: kept beside the reading.

        Raises:
            ConfigError: it was not asked for, or told before with other values; a value is missing, unknown or
                impossible. Nothing was written.
        """
        if (readings is None) == (not failed):
            raise ConfigError("tell either the readings or, with `failed`, why there are none")
        trial, repeat = _place(request)
        with self._writing() as (record, _):
            self._require_real_time()
            due = self._due()
            if isinstance(due, Measure) and (due.trial, due.repeat) == (trial, repeat):
                place = trial, repeat, due.attempt
                if readings is None:
                    text = cut(f"{failed}; {note}" if note else failed)
                    event: Event = Failed(*place, "measure", text, False, True, self._now())
                else:
                    reading = told_reading(self.config.instrument, self._settings(due.settings), readings, applied)
                    if beyond := beyond_limits(self.config.instrument, reading.readings):
                        event = Failed(*place, "interlock", cut(beyond), False, True, self._now())
                    else:
                        event = self._measured(due, reading, note)
                self._write(record, event)
            elif not self._was_told(trial, repeat, readings, failed, applied):
                raise ConfigError(self._why_not(trial, repeat))

    def attach(self, settings: Settings, readings: Mapping[str, float], note: str = "", *, by: str = "") -> None:
        """Give the solver a reading that was not asked for; `by` names who took it.

        It is not a trial, and never ends the campaign.

        Raises:
            ConfigError: a value is missing, unknown or impossible. Nothing was written.
        """
        instrument = self.config.instrument
        reading = told_reading(instrument, checked_settings(instrument, settings), readings)
        for name, value in self.config.fixed.items():
            if reading.applied[name] != value:
                raise ConfigError(f"{name} = {reading.applied[name]}: this campaign keeps {name} at {value}")
        with self._writing() as (record, _):
            self._write(
                record, Attached(reading.applied, reading.readings, reading.saturated, note, by or user(), self._now())
            )

    def skip(self, request: Place | int, why: str, *, by: str = "") -> None:
        """Leave out the trial of a request; `by` names who decided it.

        It counts as a trial but not as a failure; the solver keeps the readings already told.

        Raises:
            ConfigError: the trial is over, or was never asked for.
        """
        number = request if isinstance(request, int) else _place(request)[0]
        with self._writing() as (record, _):
            self._require_real_time()
            due, trial = self._due(), self._trial(number)
            if isinstance(due, Measure) and due.trial == number:
                self._write(record, Skipped(number, cut(why), by or user(), self._now()))
            elif trial is None or not trial.skipped:
                raise ConfigError(self._why_not(number, 0, "skipped"))

    def correct(self, trial: int, repeat: int, readings: Mapping[str, float] | None, why: str, *, by: str = "") -> None:
        """Replace or exclude a reading; solver, means and reports use the correction, the record keeps the old values.

        A finished trial stays finished. The campaign ends if the goal is now reached, and continues if it no longer is.

        Args:
            trial: its number.
            repeat: number of the reading in the trial, from 0.
            readings: the right values; channels left out keep theirs. None excludes the reading.
            why: the reason, for the record.
            by: who makes the correction; by default the user of this process.

        Raises:
            ConfigError: there is no such reading, no reason, or a value is unknown or impossible. Nothing was written.
        """
        if not why.strip():
            raise ConfigError("a correction needs a reason")
        with self._writing() as (record, _):
            if not self._campaign.history.has_reading(trial, repeat):
                raise ConfigError(self._why_not(trial, repeat, "corrected"))
            now, stored = self._counted(trial, repeat), self._told[trial, repeat]
            values: Mapping[str, float] | None = None
            saturated: tuple[str, ...] = ()
            if readings is not None:
                kept = now or stored
                raw = {channel.name: kept.readings[channel.name] for channel in self.told_channels}
                asked = self._settings(kept.applied)
                reading = told_reading(self.config.instrument, asked, {**raw, **readings})
                values, saturated = reading.readings, reading.saturated
            if (values is None) == (now is None) and (values is None or now is None or values == dict(now.readings)):
                return
            ended = self._campaign.state is State.STOPPED
            self._write(record, Corrected(trial, repeat, values, saturated, cut(why), by or user(), self._now()))
            if ended and isinstance(due := self._due(), Stop):  # nobody asks any more
                self._write(record, stopped_event(self._campaign, due, self._now()))

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change rules by dotted key, as `sdl resume --set` does; a campaign that a rule had ended continues.

        Raises:
            ConfigError: a value is impossible, or the campaign has reached its goal.
        """
        with self._writing() as (record, _):
            tree: Mapping[str, Any] = self._state.tree
            for path, value in changes.items():
                tree = put(tree, path, value)
            restore(tree)
            if tree == self._state.tree and self._campaign.state is not State.STOPPED:
                return
            if self._campaign.history.outcome in GOOD_OUTCOMES:
                raise ConfigError(f"{self.folder}: has ended; its rules cannot be changed any more")
            self._write(record, Resumed(versions(), dict(changes), self._now()))

    def write(self, event: Paused | Continued | AbortAsked) -> None:
        """Write an event of the process that attends the campaign (`sdl.asktell.attend`)."""
        with self._writing() as (record, _):
            self._write(record, event)

    # What is known -----------------------------------------------------------------------------------------------
    @property
    def result(self) -> Result:
        """The result so far."""
        self._refresh()
        return result_of(self._campaign, self.folder)

    @property
    def campaign(self) -> Campaign:
        """The fold of the record so far."""
        self._refresh()
        return self._campaign

    @property
    def open_request(self) -> Request | None:
        """The request whose reading has not been told yet; None where `ask` has to find one."""
        self._refresh()
        return self._request()

    def in_words(self, request: Request) -> AskedReading:
        """A request for a person: what to set, with the change against the reading before, and what to read."""
        self._refresh()
        before = settings_before(self._state.trials, request.trial)
        lines = [f"  {one}" for one in asked_settings(request.settings, before, self._state.opened)]
        titles = [f"{one.name} ({one.unit})" if one.unit else one.name for one in self.told_channels]
        body = "\n".join(["Set", *lines, f"Read {', '.join(titles)}", request.why])
        return AskedReading(request.trial, request.repeat, body, self._state.at)

    @property
    def told_channels(self) -> tuple[Channel, ...]:
        """The channels whose readings are told; those of formulas are computed from them."""
        return told_channels(self.config.instrument)

    @property
    def config(self) -> ResolvedCampaign:
        """The configuration, changes of rules applied."""
        return self._configured()[0]

    def __repr__(self) -> str:
        done = self.result
        return f"<OpenCampaign {self.folder}: {done.outcome or 'unfinished'} after {done.trials} trials>"

    @property
    def _state(self) -> Folded:
        if self._folded is None:
            raise RecordError(f"{self.folder}: empty: the process ended before the campaign began; ask again")
        return self._folded

    @property
    def _campaign(self) -> Campaign:
        return self._state.campaign

    def _configured(self) -> tuple[ResolvedCampaign, Proposer]:
        """Configuration and proposer for the present rules."""
        tree = self._state.tree
        if self._config is None or self._config[0] is not tree:
            resolved = restore(tree)
            self._config = tree, resolved, Proposer(resolved, self._campaign, self._clock())
        return self._config[1:]

    def _clock(self) -> Clock:
        opened = self._state.opened
        return RealClock() if opened.clock == RealClock.kind else VirtualClock(self._state.at)

    def _now(self) -> float:
        return self._clock().now()

    def _require_real_time(self) -> None:
        if self._state.opened.clock != RealClock.kind:
            raise ConfigError(f"{self.folder}: simulated in virtual time; `sdl resume {self.folder}` continues it")

    def _due(self) -> Propose | Measure | Stop | None:
        return next(iter(self._campaign.due()), None)

    def _trial(self, number: int) -> Trial | None:
        trials = self._state.trials
        return trials[number] if 0 <= number < len(trials) else None

    def _settings(self, settings: Settings) -> dict[str, Any]:
        """Settings of every input of the instrument, the fixed ones included."""
        return self.config.complete(settings)

    def _request(self) -> Request | None:
        due = self._due()
        if not isinstance(due, Measure) or (trial := self._trial(due.trial)) is None:
            return None
        proposed = trial.proposed
        return Request(due.trial, due.repeat, self._settings(due.settings), proposed.why, dict(proposed.expected))

    def _outstanding(self) -> Event | None:
        """The event that must be written before there is a request, or an end; None where nothing is outstanding."""
        campaign = self._campaign
        if campaign.state is State.STOPPED:
            return None
        self._require_real_time()
        if campaign.interrupted:
            return Resumed(versions(), {}, self._now())
        if campaign.paused:
            return Continued(user(), self._now())
        match self._due():
            case Propose(trial, confirm):
                return self._configured()[1].propose(trial, confirm)
            case Stop() as stop:
                return stopped_event(campaign, stop, self._now())
        return None

    def _measured(self, due: Measure, reading: Reading, note: str) -> Measured:
        at = self._now()
        return Measured(
            due.trial,
            due.repeat,
            due.attempt,
            reading.applied,
            reading.readings,
            reading.background,
            reading.saturated,
            reading.fault,
            round(max(at - self._state.at, 0.0), 6),  # since the event before it
            at,
            shorten(note),
        )

    def _counted(self, trial: int, repeat: int) -> Reading | Measured | None:
        """The reading with its corrections; None if it is excluded."""
        return self._campaign.history.trial(trial).reading(repeat)

    def _was_told(
        self,
        trial: int,
        repeat: int,
        readings: Mapping[str, float] | None,
        failed: str,
        applied: Mapping[str, Any] | None,
    ) -> bool:
        """Whether the same was told before."""
        if readings is None:
            return any(error == failed or error.startswith(f"{failed}; ") for error in self._errors(trial, repeat))
        told = self._told.get((trial, repeat))
        if told is None or (asked := self._trial(trial)) is None:
            return False
        reading = told_reading(self.config.instrument, self._settings(asked.settings), readings, applied)
        values = [dict(one.readings) for one in (told, self._counted(trial, repeat)) if one is not None]
        return dict(reading.readings) in values and dict(told.applied) == dict(reading.applied)

    def _why_not(self, trial: int, repeat: int, what: str = "told") -> str:
        """Why a reading cannot be told, or a trial not be skipped."""
        place, known = f"trial {trial}, repeat {repeat}", self._trial(trial)
        if what == "skipped":
            return f"trial {trial} cannot be skipped: {'it is over' if known and known.over else 'it is not open'}"
        told = self._told.get((trial, repeat))
        if what == "told" and told is not None:
            values = " ".join(f"{name}={value:g}" for name, value in told.readings.items())
            return f"{place} was told already: {values}; `correct` changes it"
        if what == "told" and self._errors(trial, repeat):
            return f"{place} was told already: failed: {self._errors(trial, repeat)[-1]}"
        if known is not None and known.over:
            return f"{place}: there is no such reading, and the trial is over ({known.state})"
        if self._campaign.paused:
            return f"{place} cannot be {what}: the campaign is paused"
        due = self._due()
        if isinstance(due, Measure):
            return f"{place} has not been asked for; open is trial {due.trial}, repeat {due.repeat}"
        ended = self._campaign.state is State.STOPPED
        return f"{place} has not been asked for; {'the campaign has ended' if ended else 'ask first'}"

    # The record --------------------------------------------------------------------------------------------------
    def _refresh(self) -> None:
        """Fold what others have written; reads only."""
        lines: list[Line] = []
        for item in scan(self.folder, after=self._position):
            if isinstance(item, Line):
                lines.append(item)
            elif item.newline_missing:
                lines.pop()  # it may be a piece of a line that is being written
        for line in lines:
            self._fold(line.event)
            finished = CAMPAIGN.finished(line.event, self._position.finished)
            self._position = Position(line.number, line.sha, line.end, finished)

    def _fold(self, event: Event) -> None:
        if self._folding is None:
            if not isinstance(event, Opened):
                raise RecordError(f"{self.folder}: does not begin with Opened")
            check_prior(self.folder, event)
            self._folding = Folding(event, self.folder)
            self._told: dict[tuple[int, int], Measured] = {}
            self._failed: dict[tuple[int, int], list[str]] = {}
        self._folding.add(event)
        self._folded = self._folding.folded
        self._watch = notify(self._watch, event, self._folded.campaign)
        if isinstance(event, Measured):
            self._told[event.trial, event.repeat] = event
        elif isinstance(event, Failed):
            self._failed.setdefault((event.trial, event.repeat), []).append(event.error)

    def _errors(self, trial: int, repeat: int) -> list[str]:
        return self._failed.get((trial, repeat), [])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[Record, bool]]:
        """The record, open for writing and folded to its end; and whether others had written to it.

        Raises:
            InUse: another process holds its lock for longer than a call takes.
        """
        opened = partial(Record.open, self.folder, after=self._position)
        with contextlib.closing(wait_for_lock(opened)) as record:
            for note in record.notes:
                log.warning("%s: %s", self.folder, note)
            for event in record.events:
                self._fold(event)
            self._position = record.position
            yield record, bool(record.events)

    def _write(self, record: Record, event: Event) -> None:
        record.append(event)
        self._fold(event)
        self._position = record.position


def wait_for_lock(acquire: Callable[[], T]) -> T:
    """Call `acquire` until no other process has the lock, and return its result.

    Raises:
        InUse: another process has the lock for longer than `LOCK_SECONDS`.
    """
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return acquire()
        except InUse:
            if time.monotonic() > until:
                raise
        time.sleep(random.uniform(0.1, 1.0) * PAUSE)


def _place(request: Place) -> tuple[int, int]:
    return (request.trial, request.repeat) if isinstance(request, Request) else request
