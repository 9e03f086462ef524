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
from sdl.types import Input, Reading, SafeState, Settings, Value

BACKGROUNDS = 3  # readings with the instrument off
GIVE_UP = 3  # failures in a row after which no more readings are taken


@dataclass(frozen=True, slots=True)
class CommissioningCheck:
    """One finding of the check.

    Attributes:
        what: identity, readings, background, noise, settings, goal, or off.
        good: False if a campaign would fail; None if there is no criterion.
        says: the finding as a sentence.
        figures: the numbers of the finding, for `--json`.
    """

    what: str
    good: bool | None
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Examination:
    """Takes the readings and evaluates them.

    Args:
        instrument: the instrument under test.
        clock: real or virtual time, as the instrument needs.
        goal: goal of the campaign; None if there is none.
        make_safe: switches the instrument of an open driver off.
        repeats: readings in the middle of the inputs, for the noise.
        begun: called with a description before every reading.
        ended: called with its result.
    """

    instrument: Instrument
    clock: Clock
    goal: Goal | None
    make_safe: Callable[[Driver], SafeState]
    repeats: int = 5
    begun: Callable[[str], None] = lambda _: None
    ended: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self._names = [channel.name for channel in self.instrument.channels]
        self._shown = list(self.goal.channels) if self.goal else self._names
        self._seconds: list[float] = []
        self._errors: list[str] = []
        self._number = self._in_a_row = 0

    def findings(self) -> Iterator[CommissioningCheck]:
        """Yield each finding as soon as it is known, and switch the instrument off.

        Raises:
            InstrumentError: the instrument cannot be opened, or gives no reading at all.
        """
        item = self.instrument
        kind = "simulated" if item.simulated else "real"
        figures = {"identity": item.identity, "kind": item.kind}
        yield CommissioningCheck("identity", None, f"{item.identity} ({kind})", figures)
        driver = item.open(self.clock)
        try:
            yield from self._evaluate(driver)
        finally:
            self.begun("switching it off")
            state = self.make_safe(driver)
            self.ended(state.state)
            with suppress(Exception):
                driver.close()
        says = state.why or "a reply says that it is, and its readings fit"
        off = {"state": state.state, "applied": state.applied, "why": state.why}
        yield CommissioningCheck("off", state.proven, says, off)

    def _evaluate(self, driver: Driver) -> Iterator[CommissioningCheck]:
        off = off_settings(self.instrument)
        high = {item.name: item.choices[-1] if item.choices else item.high for item in self.instrument.inputs}
        background = self._take(driver, off, BACKGROUNDS)
        middle = self._take(driver, {item.name: _middle(item) for item in self.instrument.inputs}, self.repeats)
        ends = [reading for name in off for reading in self._take(driver, {**off, name: high[name]}, 1)]
        every = [*background, *middle, *self._take(driver, high, 1), *ends]
        if not every:
            raise InstrumentError(f"no reading was obtained: {self._errors[-1]}", retryable=False)
        yield self._latency(len(every))
        yield self._background(background)
        yield self._noise(middle)
        yield self._settings(every)
        if self.goal is not None:
            yield self._reach(self.goal, background, every)

    def _take(self, driver: Driver, settings: Settings, times: int) -> list[Reading]:
        total = BACKGROUNDS + self.repeats + len(self.instrument.inputs) + 1
        longest = getattr(self.instrument, "timeout_seconds", None)
        limit = "" if longest is None else f"; waiting for {longest:.3g} s at most"
        taken = []
        for _ in range(times):
            if self._in_a_row >= GIVE_UP:
                break
            began = self.clock.monotonic()
            self._number += 1
            self.begun(f"reading {self._number} of {total}, at {_listed(settings)}{limit}")
            try:
                taken.append(checked_reading(driver.measure(settings), settings, frozenset(self._names)))
            except InstrumentError as error:
                self._errors.append(f"{type(error).__name__}: {error}")
                self._in_a_row += 1
                self.ended(f"failed: {error}")
            else:
                self._in_a_row = 0
                self._seconds.append(self.clock.monotonic() - began)
                self.ended(f"{self._seconds[-1]:.3g} s")
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
        spread = {name: max(values) - min(values) for name, values in self._values(background).items()}
        moved = max(spread, key=spread.__getitem__)
        says = f"with the instrument off: {', '.join(f'{name} {means[name]:.5g}' for name in self._shown)}"
        says += f"; largest change {spread[moved]:.4g}, of {moved}" if len(background) > 1 else ""
        says += f"; already saturated: {', '.join(full)}" if full else ""
        good = not any(name in self._shown for name in full) if self.goal else None
        return CommissioningCheck("background", good, says, {"mean": means, "saturated": full})

    def _noise(self, repeated: Sequence[Reading]) -> CommissioningCheck:
        if len(repeated) < 2:
            return CommissioningCheck("noise", None, "fewer than two readings at the same settings")
        means, sds = self._means(repeated), {name: stdev(v) for name, v in self._values(repeated).items()}
        parts = {name: f" ({100 * sds[name] / means[name]:.2g} %)" if means[name] else "" for name in self._shown}
        says = "standard deviation in the middle of the inputs: "
        says += ", ".join(f"{name} {sds[name]:.3g}{part}" for name, part in parts.items())
        frozen = not any(sds.values()) and any(item.resolution is None for item in self.instrument.channels)
        if frozen:
            says = (
                f"all {len(repeated)} readings in the middle of the inputs are equal in every channel: is it frozen? "
                "An instrument that reads in steps coarser than its noise declares the `resolution` of its channels"
            )
        return CommissioningCheck("noise", not frozen, says, {"mean": means, "sd": sds})

    def _settings(self, every: Sequence[Reading]) -> CommissioningCheck:
        odd = [reading for reading in every if reading.fault]
        says = "all settings were applied as asked, from end to end of every input"
        if odd:
            says = f"{len(odd)} of {len(every)} readings {odd[0].fault}; one at {_listed(odd[0].applied)}"
        return CommissioningCheck("settings", not odd, says)

    def _reach(self, goal: Goal, background: Sequence[Reading], every: Sequence[Reading]) -> CommissioningCheck:
        base, seen = self._means(background) if background else {}, self._values(every)
        wrong = []
        for name, band in goal.bands.items():
            if base.get(name, -math.inf) > band.high:
                wrong.append(f"{name}: the background alone is {base[name]:.5g}, above {band.high:g}")
            elif band.low > max(seen[name]):
                wrong.append(f"{name}: the highest reading is {max(seen[name]):g}, and at least {band.low:g} is needed")
        right = f"the channels exist, and the goal lies within their readings: {', '.join(self._shown)}"
        return CommissioningCheck("goal", not wrong, "; ".join(wrong) or right)

    def _values(self, readings: Sequence[Reading]) -> dict[str, list[float]]:
        return {name: [reading.readings[name] for reading in readings] for name in self._names}

    def _means(self, readings: Sequence[Reading]) -> dict[str, float]:
        return {name: fmean(values) for name, values in self._values(readings).items()}


def _middle(item: Input) -> Value:
    if item.choices:
        return item.choices[0]
    half = (item.high - item.low) / 2
    return item.low + (half if item.step is None else math.floor(half / item.step) * item.step)


def _listed(settings: Settings) -> str:
    return ", ".join(f"{k} = {v if isinstance(v, str) else format(v, 'g')}" for k, v in settings.items())
