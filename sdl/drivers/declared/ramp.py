"""The largest rates of an instrument's inputs, kept by steps in between."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sdl.grammar import LinearConstraint
from sdl.types import Input, Settings, Value

LEAST = 1.0  # seconds between two steps
STEPS = 30  # about so many on the way to new settings, where that takes longer
SLACK = 1e-9  # relative, for rounding


class Ramp:
    """The steps of the inputs from their present values to requested ones.

    Every request moves an input by at most its rate times the time since the request before it, and never by more than
    one step of the way: an instrument that stood for an hour does not jump. Where a request failed, the input may be
    where it was or where it should have gone; the next step is allowed from both.

    Args:
        inputs: the instrument's inputs.
        rates: largest rates, per second, of some of them.
        constraints: linear conditions that the steps keep too.
        takes: duration of a reading in seconds; no step is shorter.
        start: the settings at the beginning.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        rates: Mapping[str, float],
        constraints: Sequence[LinearConstraint],
        takes: float,
        start: Settings,
    ) -> None:
        self._inputs = {item.name: item for item in inputs}
        self._rates, self._constraints = dict(rates), tuple(constraints)
        self._seconds_a_step = [i.step / rates[i.name] for i in inputs if i.name in rates and i.step is not None]
        self._least = max(LEAST, takes)
        self._low: dict[str, float] = {}
        self._high: dict[str, float] = {}
        self._last: Settings = {}
        self._since = -math.inf
        self._target: Settings = {}
        self._step_seconds = 0.0
        self.at(start, -math.inf)

    def at(self, settings: Settings, now: float) -> None:
        """Note that a request with these settings has just been answered."""
        self._low = {name: float(settings[name]) for name in self._rates if name in settings}
        self._high = dict(self._low)
        self._last, self._since = dict(settings), now

    def sent(self, settings: Settings, now: float) -> None:
        """Note that a request is sent; until it is answered, the inputs may be at the old or at these settings."""
        for name in self._low:
            value = float(settings[name])
            self._low[name], self._high[name] = min(self._low[name], value), max(self._high[name], value)
        self._since = now

    def next(self, target: Settings, now: float) -> Settings | float:
        """The settings of the next request on the way to `target`, or the seconds to wait before it."""
        if not self._rates:
            return target
        if target != self._target:
            self._target, self._step_seconds = dict(target), self._period(target)
        elapsed = now - self._since
        within = min(elapsed, self._step_seconds)
        ends = {n: (self._high[n] - rate * within, self._low[n] + rate * within) for n, rate in self._rates.items()}
        step = self._towards(target, ends)
        is_due = within >= self._step_seconds * (1 - SLACK)
        if step is not None and (is_due or step == target):
            return step
        if is_due:
            self._step_seconds *= 2  # rounding to steps or a constraint is in the way: wait for a longer step
        return self._step_seconds - elapsed

    def _period(self, target: Settings) -> float:
        """Seconds between two requests on the way to `target`: for each input a whole number of its steps."""
        way = {n: max(abs(float(target[n]) - end) for end in (self._low[n], self._high[n])) for n in self._rates}
        period = max(self._least, *(way[n] / rate / STEPS for n, rate in self._rates.items()))
        return max(
            [period, *(math.ceil(period / one * (1 - SLACK)) * one for one in self._seconds_a_step)],
        )

    def _towards(self, target: Settings, ends: Mapping[str, tuple[float, float]]) -> Settings | None:
        """The settings nearest to `target` within the `ends` of the inputs with a rate; None if it must wait."""
        share = 1.0
        for name, (low, high) in ends.items():
            start, end = self._start(name, target), float(target[name])
            if not _inside(end, low, high):
                share = min(share, max(((high if end > high else low) - start) / (end - start), 0.0))
        step = dict(target) if share >= 1.0 else {n: self._between(n, target, share) for n in self._inputs}
        moves = step == target or any(step[name] != self._last.get(name) for name in self._rates)
        allowed = all(_inside(float(step[name]), low, high) for name, (low, high) in ends.items())
        keeps = step == target or all(constraint.holds(step) for constraint in self._constraints)
        return step if moves and allowed and keeps else None

    def _start(self, name: str, target: Settings) -> float:
        """Where an input is; of two possible values the one that is farther from `target`."""
        low, high, end = self._low[name], self._high[name], float(target[name])
        return low if abs(end - low) >= abs(end - high) else high

    def _between(self, name: str, target: Settings, share: float) -> Value:
        """The value of an input at a share of the way, rounded to its steps towards where it is."""
        item, end, start = self._inputs[name], target[name], self._last.get(name, target[name])
        if isinstance(end, str) or isinstance(start, str):
            return start
        if name in self._rates:
            start = self._start(name, target)
        value = start + share * (end - start)
        if item.step is not None:
            count = (value - item.low) / item.step
            count = math.floor(count + SLACK) if end >= start else math.ceil(count - SLACK)
            value = item.low + count * item.step
        return min(max(value, min(start, end)), max(start, end))


def _inside(value: float, low: float, high: float) -> bool:
    slack = SLACK * max(abs(value), abs(low), abs(high), 1e-300) if math.isfinite(low) and math.isfinite(high) else 0.0
    return low - slack <= value <= high + slack
