"""Feed a record's events back in order, and recompute every proposal and every reading of a twin."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdl import config
from sdl.clock import VirtualClock
from sdl.config import ResolvedCampaign
from sdl.core.campaign import Campaign
from sdl.core.events import SCHEMA, Action, Event, Failed, Measure, Measured, Opened, Propose, Proposed, Resumed
from sdl.drivers.base import Driver
from sdl.drivers.trust import require_trust
from sdl.errors import ConfigError, InstrumentError, OutOfTurn, RecordError
from sdl.formatting import truncate
from sdl.replay.differences import STEP, Difference, Replayed, Shift
from sdl.runner import Proposer, versions
from sdl.runs.runs import apply_changes, unopened_campaign
from sdl.store import record
from sdl.types import numbers

DECIDING = ("by", "verdict", "clipped")
"""The fields of a proposal, apart from its settings, that decide how a campaign continues."""
FIGURES = (
    *("targets", "spread", "uncertainty", "expected", "shortfall"),
    *("incumbent", "estimate", "estimate_error", "expected_improvement"),
)
"""The fields of a proposal that hold figures."""
MAX_ERROR_TEXT = 200  # characters shown of an error from a library


def replay(folder: Path, *, trust: bool = False) -> Replayed:
    """Replay the run in a directory.

    Args:
        folder: the run's directory.
        trust: replay also a run that another account wrote and whose instrument names a program, code or an address.

    Raises:
        Damaged: the record was altered, or has a schema that this version does not know.
        ConfigError: its configuration can no longer be used, for instance because a solver is not installed.
    """
    folder = folder if folder.is_dir() else folder.parent
    record.check(folder)
    events = iter(tuple(record.read(folder)))
    opened = next(events, None)
    if not isinstance(opened, Opened):
        raise RecordError(f"{folder}: empty: there is nothing to replay")
    require_trust(opened.config.get("instrument"), folder, trusted=trust)
    if opened.schema > SCHEMA:
        raise RecordError(f"{folder}: schema {opened.schema}, of a later sdl; this one knows 1 … {SCHEMA}")
    try:
        with contextlib.closing(_Replayer(folder, opened)) as replayer:
            for number, event in enumerate(events, 2):
                if not replayer.step(number, event):
                    break
    except ConfigError as error:
        raise ConfigError(f"{folder}: cannot be replayed: {error}") from error
    return replayer.result(versions())


class _Replayer:
    """Goes through the events of one run and collects differences."""

    def __init__(self, folder: Path, opened: Opened) -> None:
        self.proposals = self.readings = 0
        self.decided: list[Difference] = []
        self.told: dict[int, float] = {}
        self.measured: list[str] = []
        self.loop, self.unasked, self.finished = "", "", False
        self.versions = dict(opened.versions)
        self._folder, self._opened, self._tree = folder, opened, opened.config
        self._campaign: Campaign = unopened_campaign(opened, folder)
        self._driver: Driver | None = None  # of the twin
        self._clock = _SetClock()
        self._configure()
        for name in ("inputs", "channels"):
            then = [str(item["name"]) for item in opened.instrument[name]]
            today = self._config.free_inputs if name == "inputs" else self._config.instrument.channels
            now = [item.name for item in today]
            if then != now:
                raise ConfigError(f"its instrument had the {name} {', '.join(then)}; today {', '.join(now)}")
        self._campaign.handle(opened)
        self._begin(opened.at)

    def step(self, number: int, event: Event) -> bool:
        """Compare one event with what would happen now, then fold it; False ends the replay."""
        if isinstance(event, Resumed):
            self.versions |= event.versions
            if event.changes:
                self._tree, self._campaign.plan = apply_changes(self._tree, event, self._folder, number)
                self._configure()
        due = self._campaign.due()
        if isinstance(event, Proposed) or (isinstance(event, Failed) and event.stage == "propose"):
            self._compare(event, due)
        elif isinstance(event, (Measured, Failed)) and due and isinstance(due[0], Measure) and self._driver is not None:
            self._measure_again(self._driver, event, due[0])
        try:
            self._campaign.handle(event)
        except OutOfTurn:
            now = ", ".join(type(action).__name__.lower() for action in due) or "nothing more"
            self.loop = (
                f"line {number}: then came {_named(event)}, today's campaign would {now} instead; "
                "what follows cannot be compared"
            )
            return False
        self.finished = record.CAMPAIGN.finished(event, self.finished)
        if isinstance(event, Resumed):
            self._begin(event.at)
        else:
            self._clock.set(event.at)
        return True

    def result(self, now: Mapping[str, str]) -> Replayed:
        """The differences; `now` are the versions of the packages installed now."""
        then = self.versions
        pairs = {package: (then.get(package, ""), now.get(package, "")) for package in sorted({*then, *now})}
        return Replayed(
            str(self._folder),
            self.finished,
            self.proposals,
            self.readings,
            tuple(self.decided),
            self.told,
            tuple(self.measured),
            self.loop,
            self.unasked,
            {package: pair for package, pair in pairs.items() if pair[0] != pair[1]},
        )

    def close(self) -> None:
        """Close the twin."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def _configure(self) -> None:
        """Use the present configuration of the record."""
        self._config: ResolvedCampaign = config.restore(self._tree)
        self._proposer = Proposer(self._config, self._campaign, VirtualClock())

    def _begin(self, at: float) -> None:
        """Open the twin afresh, as each process of the campaign did, so that it counts its readings from 0."""
        instrument = self._config.instrument
        if not (instrument.simulated and self._opened.clock != "real"):
            return
        self.close()
        self._clock.set(at)
        try:
            self._driver = instrument.open(self._clock)
        except InstrumentError as error:  # such as a kind that plays back a file that no longer exists
            self.unasked = f"{instrument.kind} cannot be opened: {error}"

    def _compare(self, event: Proposed | Failed, due: Sequence[Action]) -> None:
        self.proposals += 1
        confirm = due[0].confirm if due and isinstance(due[0], Propose) else None
        now = self._proposer.propose(event.trial, confirm)
        if isinstance(now, Failed) or isinstance(event, Failed):
            before, after = _proposal(event), _proposal(now)
            if before != after:
                self.decided.append(Difference(event.trial, f"then {before}, now {after}"))
            return
        other = [name for name in DECIDING if getattr(event, name) != getattr(now, name)]
        shifts = self._shifts(event, now)
        moved = max((abs(shift.part) for shift in shifts.values()), default=0.0)
        chosen = [
            item.name
            for item in self._config.free_inputs
            if item.choices and event.settings[item.name] != now.settings[item.name]
        ]
        if other or chosen or moved > STEP:
            changes = [f"{n}: then {_word(getattr(event, n))}, now {_word(getattr(now, n))}" for n in other]
            changes += [f"{n}: then {event.settings[n]}, now {now.settings[n]}" for n in chosen]
            self.decided.append(Difference(event.trial, "; ".join(changes), shifts))
        elif off := max(moved, *(_off(getattr(event, name), getattr(now, name)) for name in FIGURES)):
            self.told[event.trial] = off

    def _shifts(self, then: Proposed, now: Proposed) -> dict[str, Shift]:
        shifts = {}
        before, after = numbers(then.settings), numbers(now.settings)
        for item in self._config.free_inputs:
            if not item.numeric:
                continue
            old, new = before[item.name], after[item.name]
            if old != new:
                spread, by = then.spread.get(item.name), new - old
                spreads = abs(by) / spread if spread else None
                shifts[item.name] = Shift(old, new, by, by / (item.high - item.low), spreads)
        return shifts

    def _measure_again(self, driver: Driver, event: Measured | Failed, due: Measure) -> None:
        self.readings += 1
        self._clock.set(event.at - event.elapsed if isinstance(event, Measured) else self._clock.now() + due.wait)
        place = f"trial {event.trial}, reading {event.repeat + 1}"
        try:
            reading = driver.measure(self._config.complete(due.settings))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a twin that fails today is a difference and does not end the replay
            if isinstance(event, Measured):
                self.measured.append(f"{place}: then a reading, now {type(error).__name__}: {error}")
            return
        if isinstance(event, Failed):
            self.measured.append(f"{place}: then {event.error}, now a reading")
        elif (now := dict(reading.readings)) != (then := dict(event.readings)):
            by = {c: now.get(c, math.nan) - then.get(c, math.nan) for c in then | now}
            worst = max(by, key=lambda c: abs(by[c]) if math.isfinite(by[c]) else math.inf)
            before, after = ("nothing" if v is None else f"{v:g}" for v in (then.get(worst), now.get(worst)))
            self.measured.append(f"{place}: {worst} then {before}, now {after}")
        elif reading.background != event.background or tuple(reading.saturated) != tuple(event.saturated):
            self.measured.append(f"{place}: another background, or other saturated channels")


class _SetClock(VirtualClock):
    """A virtual clock that can be set."""

    def set(self, at: float) -> None:
        self._now = round(at, 6)


def _off(then: Any, now: Any) -> float:
    """The largest relative difference between two figures or mappings of them; inf if they cannot be compared."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        if then.keys() != now.keys():
            return math.inf
        return max((_off(then[key], now[key]) for key in then), default=0.0)
    if then == now:
        return 0.0
    if isinstance(then, (int, float)) and isinstance(now, (int, float)):
        return abs(now - then) / max(abs(then), abs(now))
    return math.inf


def _proposal(event: Proposed | Failed) -> str:
    if isinstance(event, Proposed):
        return f"a proposal by {event.by}"
    message = " ".join(event.error.split())  # some libraries put their whole stack into a message
    return f"no proposal ({truncate(message, MAX_ERROR_TEXT)})"


def _named(event: Event) -> str:
    place = getattr(event, "trial", None)
    return type(event).__name__ + (f" of trial {place}" if place is not None else "")


def _word(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
