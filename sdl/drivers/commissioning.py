"""The readings and findings of `sdl instrument check`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, median, stdev
from typing import Any

from sdl.clock import Clock
from sdl.core.goal import Goal
from sdl.drivers.base import Driver, Instrument, off_settings
from sdl.drivers.checks import checked_reading
from sdl.errors import InstrumentError
from sdl.types import Reading, SafeState

BACKGROUNDS = 3  # readings with the instrument off
GIVE_UP = 3  # failures in a row after which no more readings are taken


@dataclass(frozen=True, slots=True)
class CommissioningCheck:
    """One finding.

    Attributes:
        what: identity, readings, background, noise, settings, goal, or off.
        good: False where a campaign would fail; None where there is no criterion.
        says: a sentence.
        figures: its numbers, for `--json`.
    """

    what: str
    good: bool | None
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)


class Examination:
    """Take the readings and judge them.

    Args:
        instrument: under test.
        clock: of its kind.
        goal: of the campaign; None if there is none.
        make_safe: switches the instrument of an open driver off, for as long as that takes.
        repeats: readings in the middle of the inputs, for the noise.
        begun: called with a description before every reading.
        ended: called with its result.
    """

    def __init__(
        self,
        instrument: Instrument,
        clock: Clock,
        goal: Goal | None,
        make_safe: Callable[[Driver], SafeState],
        repeats: int = 5,
        begun: Callable[[str], None] = lambda _: None,
        ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._instrument, self._clock, self._goal, self._repeats = instrument, clock, goal, repeats
        self._make_safe, self._begun, self._ended = make_safe, begun, ended
        longest = getattr(instrument, "timeout_seconds", None)
        self._limit = "" if longest is None else f"; waiting for {longest:.3g} s at most"
        self._number, self._all = 0, BACKGROUNDS + repeats + len(instrument.inputs) + 1
        self._names = [channel.name for channel in instrument.channels]
        self._shown = list(goal.channels) if goal else self._names
        self._seconds: list[float] = []
        self._errors: list[str] = []
        self._in_a_row = 0

    def findings(self) -> Iterator[CommissioningCheck]:
        """Yield each finding as soon as it is known, and leave the instrument safe.

        Raises:
            InstrumentError: it cannot be opened, or gives no reading at all.
        """
        item = self._instrument
        kind = "simulated" if item.simulated else "real"
        yield CommissioningCheck(
            "identity", None, f"{item.identity} ({kind})", {"identity": item.identity, "kind": item.kind}
        )
        driver = item.open(self._clock)
        try:
            yield from self._look(driver)
        finally:
            self._begun("switching it off")
            state = self._make_safe(driver)
            self._ended(state.state)
            with suppress(Exception):
                driver.close()
        says = state.why or "a reply says that it is, and its readings fit"
        yield CommissioningCheck(
            "off", state.proven, says, {"state": state.state, "applied": state.applied, "why": state.why}
        )

    def _look(self, driver: Driver) -> Iterator[CommissioningCheck]:
        off = off_settings(self._instrument)
        high = {item.name: item.high for item in self._instrument.inputs}
        background = self._take(driver, off, BACKGROUNDS)
        middle = self._take(driver, {item.name: _middle(item) for item in self._instrument.inputs}, self._repeats)
        ends = {name: self._take(driver, {**off, name: high[name]}, 1) for name in off}
        full = self._take(driver, high, 1)
        every = [*background, *middle, *full, *(reading for taken in ends.values() for reading in taken)]
        if not every:
            raise InstrumentError(f"not one reading: {self._errors[-1]}", retryable=False)
        yield self._latency(len(every))
        yield self._background(background)
        yield self._noise(middle)
        yield self._settings(every)
        if self._goal is not None:
            yield self._within_reach(background, every)

    def _take(self, driver: Driver, settings: dict[str, float], times: int) -> list[Reading]:
        taken = []
        for _ in range(times):
            if self._in_a_row >= GIVE_UP:
                break
            began = self._clock.monotonic()
            self._number += 1
            self._begun(f"reading {self._number} of {self._all}, at {_listed(settings)}{self._limit}")
            try:
                taken.append(checked_reading(driver.measure(settings), settings, frozenset(self._names)))
            except InstrumentError as error:
                self._errors.append(f"{type(error).__name__}: {error}")
                self._in_a_row += 1
                self._ended(f"failed: {error}")
            else:
                self._in_a_row = 0
                self._seconds.append(self._clock.monotonic() - began)
                self._ended(f"{self._seconds[-1]:.3g} s")
        return taken

    def _latency(self, taken: int) -> CommissioningCheck:
        typical, longest = median(self._seconds), max(self._seconds)
        says = f"{taken} readings, each {typical:.3g} s (median), {longest:.3g} s at most"
        if self._errors:
            says += f"; {len(self._errors)} failed, the last: {self._errors[-1]}"
        figures = {"taken": taken, "failed": len(self._errors), "errors": self._errors}
        return CommissioningCheck("readings", not self._errors, says, {**figures, "median": typical, "most": longest})

    def _background(self, background: Sequence[Reading]) -> CommissioningCheck:
        if not background:
            return CommissioningCheck("background", False, "no reading with the instrument off")
        means = self._means(background)
        full = sorted({name for reading in background for name in reading.saturated})
        moved = max(self._names, key=lambda name: _spread(background, name))
        says = f"with the instrument off: {self._list(means)}"
        if len(background) > 1:
            says += f"; largest change {_spread(background, moved):.4g}, of {moved}"
        if full:
            says += f"; already saturated: {', '.join(full)}"
        good = not any(name in self._shown for name in full) if self._goal else None
        return CommissioningCheck("background", good, says, {"mean": means, "saturated": full})

    def _noise(self, repeated: Sequence[Reading]) -> CommissioningCheck:
        if len(repeated) < 2:
            return CommissioningCheck("noise", None, "fewer than two readings at the same settings")
        sds = {name: stdev(reading.readings[name] for reading in repeated) for name in self._names}
        means = self._means(repeated)
        parts = {name: f" ({100 * sds[name] / means[name]:.2g} %)" if means[name] else "" for name in self._shown}
        says = "standard deviation in the middle of the inputs: "
        says += ", ".join(f"{name} {sds[name]:.3g}{part}" for name, part in parts.items())
        frozen = not any(sds.values()) and any(item.resolution is None for item in self._instrument.channels)
        if frozen:
            says = (
                f"all {len(repeated)} readings in the middle of the inputs are equal in every channel: is it frozen? "
                "An instrument that reads in steps coarser than its noise declares the `resolution` of its channels"
            )
        return CommissioningCheck("noise", not frozen, says, {"mean": means, "sd": sds})

    def _settings(self, every: Sequence[Reading]) -> CommissioningCheck:
        odd = [reading for reading in every if reading.fault]
        if not odd:
            return CommissioningCheck(
                "settings", True, "all settings were applied as asked, from end to end of every input"
            )
        applied = _listed(odd[0].applied)
        return CommissioningCheck(
            "settings", False, f"{len(odd)} of {len(every)} readings {odd[0].fault}; one at {applied}"
        )

    def _within_reach(self, background: Sequence[Reading], every: Sequence[Reading]) -> CommissioningCheck:
        goal = self._goal
        wrong = []
        for name, band in goal.bands.items() if goal else ():
            seen = [reading.readings[name] for reading in every]
            if background and band.high < (base := self._means(background)[name]):
                wrong.append(f"{name}: the background alone is {base:.5g}, above {band.high:g}")
            elif band.low > max(seen):
                wrong.append(f"{name}: the highest reading is {max(seen):g}, and at least {band.low:g} is needed")
        if wrong:
            return CommissioningCheck("goal", False, "; ".join(wrong))
        return CommissioningCheck(
            "goal", True, f"the channels exist, and the goal lies within their readings: {', '.join(self._shown)}"
        )

    def _means(self, readings: Sequence[Reading]) -> dict[str, float]:
        return {name: fmean(reading.readings[name] for reading in readings) for name in self._names}

    def _list(self, values: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {values[name]:.5g}" for name in self._shown)


def _middle(item: Any) -> float:
    half = (item.high - item.low) / 2
    return float(item.low + (half if item.step is None else math.floor(half / item.step) * item.step))


def _spread(readings: Sequence[Reading], name: str) -> float:
    values = [reading.readings[name] for reading in readings]
    return max(values) - min(values)


def _listed(settings: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in settings.items())
