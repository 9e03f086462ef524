"""What `sdl instrument check` does: a dozen readings, and what they say of an instrument."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, median, stdev
from typing import Any

from sdl.clock import Clock
from sdl.core.goal import Goal
from sdl.drivers.base import Driver, Instrument
from sdl.drivers.checks import checked_reading
from sdl.errors import InstrumentError
from sdl.types import Reading, SafeState

DARK = 3
"""Readings with every input at its lowest."""
GIVE_UP = 3
"""Failures in a row after which nothing more is asked."""


@dataclass(frozen=True, slots=True)
class CommissioningCheck:
    """One thing that was looked at.

    Attributes:
        what: identity, latency, ambient light, noise, settings, goal, readings, or off.
        good: False where a campaign would come to grief; None where there is nothing to judge.
        says: a sentence.
        figures: the numbers behind it, for `--json`.
    """

    what: str
    good: bool | None
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)


class Examination:
    """Takes the readings and keeps what came of them.

    Args:
        instrument: to look at.
        clock: of its kind.
        goal: what a campaign wants of it; None if that is not known.
        make_safe: has an open driver switch its instrument off, for as long as that takes.
        repeats: readings in the middle of the inputs, for the noise.
        begun: told which reading is asked for, in words, before it is.
        ended: told what came of it.
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
        self._number, self._all = 0, DARK + repeats + len(instrument.inputs) + 1
        self._names = [channel.name for channel in instrument.channels]
        self._shown = list(goal.channels) if goal else self._names
        self._seconds: list[float] = []
        self._errors: list[str] = []
        self._in_a_row = 0

    def findings(self) -> Iterator[CommissioningCheck]:
        """Each as soon as it is known. The instrument is left safe, whatever happens.

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
        low = {item.name: item.low for item in self._instrument.inputs}
        high = {item.name: item.high for item in self._instrument.inputs}
        dark = self._take(driver, low, DARK)
        lit = self._take(driver, {item.name: _middle(item) for item in self._instrument.inputs}, self._repeats)
        ends = {name: self._take(driver, {**low, name: high[name]}, 1) for name in low}
        full = self._take(driver, high, 1)
        every = [*dark, *lit, *full, *(reading for taken in ends.values() for reading in taken)]
        if not every:
            raise InstrumentError(f"not one reading: {self._errors[-1]}", retryable=False)
        yield self._latency(len(every))
        yield self._ambient(dark)
        yield self._noise(lit)
        yield self._settings(every)
        if self._goal is not None:
            yield self._reach(dark, every)

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
        typical, most = median(self._seconds), max(self._seconds)
        says = f"{taken} readings, each {typical:.3g} s (median), {most:.3g} s at most"
        if self._errors:
            says += f"; {len(self._errors)} failed, the last: {self._errors[-1]}"
        figures = {"taken": taken, "failed": len(self._errors), "errors": self._errors}
        return CommissioningCheck("readings", not self._errors, says, {**figures, "median": typical, "most": most})

    def _ambient(self, dark: Sequence[Reading]) -> CommissioningCheck:
        if not dark:
            return CommissioningCheck("ambient light", False, "no reading with the light off")
        means = self._means(dark)
        full = sorted({name for reading in dark for name in reading.saturated})
        moved = max(self._names, key=lambda name: _spread(dark, name))
        says = f"with the light off {self._list(means)}"
        if len(dark) > 1:
            says += f"; it moved by {_spread(dark, moved):.0f} at most, at {moved}"
        if full:
            says += f"; saturated by it alone: {', '.join(full)}"
        good = not any(name in self._shown for name in full) if self._goal else None
        return CommissioningCheck("ambient light", good, says, {"mean": means, "saturated": full})

    def _noise(self, lit: Sequence[Reading]) -> CommissioningCheck:
        if len(lit) < 2:
            return CommissioningCheck("noise", None, "fewer than two readings at the same settings")
        sds = {name: stdev(reading.readings[name] for reading in lit) for name in self._names}
        means = self._means(lit)
        parts = {name: f" ({100 * sds[name] / means[name]:.2g} %)" if means[name] else "" for name in self._shown}
        says = "standard deviation in the middle of the inputs: "
        says += ", ".join(f"{name} {sds[name]:.3g}{part}" for name, part in parts.items())
        frozen = not any(sds.values()) and any(item.resolution is None for item in self._instrument.channels)
        if frozen:
            says = (
                f"all {len(lit)} readings in the middle of the inputs are the same in every channel: is it frozen? "
                "An instrument that reads in steps coarser than its noise declares the `resolution` of its channels"
            )
        return CommissioningCheck("noise", not frozen, says, {"mean": means, "sd": sds})

    def _settings(self, every: Sequence[Reading]) -> CommissioningCheck:
        odd = [reading for reading in every if reading.fault]
        if not odd:
            return CommissioningCheck("settings", True, "what was asked was applied, from end to end of every input")
        applied = _listed(odd[0].applied)
        return CommissioningCheck(
            "settings", False, f"{len(odd)} of {len(every)} readings {odd[0].fault}; one at {applied}"
        )

    def _reach(self, dark: Sequence[Reading], every: Sequence[Reading]) -> CommissioningCheck:
        goal = self._goal
        wrong = []
        for name, band in goal.bands.items() if goal else ():
            seen = [reading.readings[name] for reading in every]
            if dark and band.high < (base := self._means(dark)[name]):
                wrong.append(f"{name}: the background alone is {base:.0f}, more than {band.high:g}")
            elif band.low > max(seen):
                wrong.append(f"{name}: at most {max(seen):g} was seen, and at least {band.low:g} is wanted")
        if wrong:
            return CommissioningCheck("goal", False, "; ".join(wrong))
        return CommissioningCheck(
            "goal", True, f"its channels are there, and it lies inside what they read: {', '.join(self._shown)}"
        )

    def _means(self, readings: Sequence[Reading]) -> dict[str, float]:
        return {name: fmean(reading.readings[name] for reading in readings) for name in self._names}

    def _list(self, values: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {values[name]:.0f}" for name in self._shown)


def _middle(item: Any) -> float:
    half = (item.high - item.low) / 2
    return float(item.low + (half if item.step is None else math.floor(half / item.step) * item.step))


def _spread(readings: Sequence[Reading], name: str) -> float:
    values = [reading.readings[name] for reading in readings]
    return max(values) - min(values)


def _listed(settings: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in settings.items())
