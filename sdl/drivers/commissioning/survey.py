"""The readings of `sdl instrument check`: from off to the middle, and from there along one input at a time.

    off            readings with the instrument off, unless it declares `off: nothing`
    way            from there to the middle, one input after another where the constraints allow it
    middle         repeated readings; more while they all move one way
    end, end       one input to its low and its high end (or as far as the constraints allow), the others in the middle
    back           the middle again; then the next input

Two inputs are never at an end together, unless they are so at the settings `off`. What the readings show is in
`sdl.drivers.commissioning.findings`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev, variance

import numpy as np

from sdl.clock import Clock
from sdl.core.goal import Goal
from sdl.drivers.base import Driver, Instrument, has_background, off_settings, space_of
from sdl.drivers.checks import checked_reading
from sdl.drivers.commissioning.findings import SurveyFindings
from sdl.drivers.commissioning.readings import CommissioningCheck, Survey, Visit, Where, listed, shown
from sdl.errors import InstrumentError, Interlock, Rejected
from sdl.types import Input, Reading, SafeState, Settings, Value

AT_REST = 3  # readings with the instrument off
AT_END = 2
GIVE_UP = 3  # failures in a row after which no more readings are taken
WINDOW = 4  # readings that all move one way show that a channel has not settled
MOST = 40  # further readings while it has not
MARGIN = 1.5  # of the time in which it settled once
LEVEL = 6  # readings of the level at which a channel has settled
STABLE = 3  # readings in a row near the last ones, from which on a channel has settled
MOVED = 6.0  # standard deviations between two readings at the same settings that noise does not explain
SAMPLES = 256  # settings whose mean is the middle of inputs with constraints
PARTS = 20  # in which the way to an end is divided, where a constraint ends it


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
        consent: called with settings outside the range visited so far; False leaves them out.
        part: fraction of the way from the middle to each end that is covered.
    """

    instrument: Instrument
    clock: Clock
    goal: Goal | None
    make_safe: Callable[[Driver], SafeState]
    repeats: int = 5
    begun: Callable[[str], None] = lambda _: None
    ended: Callable[[str], None] = lambda _: None
    consent: Callable[[str], bool] = lambda _: True
    part: float = 1.0

    def __post_init__(self) -> None:
        self._channels = frozenset(channel.name for channel in self.instrument.channels)
        self._space = space_of(self.instrument)
        self._survey = Survey()
        self._seen: dict[str, list[Value]] = {item.name: [] for item in self.instrument.inputs}
        self._wait = 0.0  # seconds that it needs to settle, as far as was seen
        self._settles = True  # False once it did not in `MOST` readings
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
            self._drive(driver)
            if not self._survey.readings and not self._survey.interlock:
                why = [*self._survey.rejected, *self._survey.errors, "no settings were allowed"][0]
                raise InstrumentError(f"no reading was obtained: {why}", retryable=False)
            yield from SurveyFindings(item, self.goal, self._survey, self.part).all()
        finally:
            self.begun("switching it off")
            state = self.make_safe(driver)
            self.ended(state.state)
            with suppress(Exception):
                driver.close()
        says = state.why or f"a reply says that it is{', and its readings fit' if has_background(item) else ''}"
        off = {"state": state.state, "applied": state.applied, "why": state.why}
        yield CommissioningCheck("off", state.proven, says, off)

    @property
    def _rests(self) -> bool:
        """Whether there are settings at which it is off."""
        return getattr(self.instrument, "declared_off", None) != "nothing"

    @property
    def _planned(self) -> int:
        """Readings of an instrument that settles at once."""
        inputs = self.instrument.inputs
        ends = sum(len(item.choices) - 1 if item.choices else 2 for item in inputs)
        way = AT_REST + len(inputs) - 1 if self._rests else 0
        return way + self.repeats + AT_END * ends + len(inputs)

    def _drive(self, driver: Driver) -> None:
        try:
            base = self._middle_from_off(driver)
            if base is None:
                return
            for item in self.instrument.inputs:
                self._along(driver, item, base)
        except Interlock as error:
            self._survey.interlock = str(error)
            self.ended(f"limit: {error}")

    def _middle_from_off(self, driver: Driver) -> dict[str, Value] | None:
        """Go from off to the middle; where the user stops on the way, that is the middle. None: nothing was allowed."""
        goal = self._middle()
        if not self._rests:
            if not self._allowed(goal, ""):
                return None
            self._visit(driver, "middle", goal, self.repeats)
            return goal
        place: dict[str, Value] = dict(off_settings(self.instrument))
        self._visit(driver, "off", place, AT_REST)
        names = [name for name in goal if goal[name] != place[name]]
        for name in names:
            further = {**place, name: goal[name]}
            if not self._space.contains(further) or not self._allowed(further, name):
                continue
            if further == goal and self._visit(driver, "middle", goal, self.repeats, name):
                return goal
            if further != goal and self._visit(driver, "way", further, 1, name):
                place = further
        if not self._space.contains(place) and self._allowed(goal, ""):  # the constraints allow no such way
            place = goal
        self._visit(driver, "middle", place, self.repeats)
        return place

    def _along(self, driver: Driver, item: Input, base: Mapping[str, Value]) -> None:
        """Take one input to its ends, or to its other choices, and come back."""
        ends: Sequence[Value] = item.choices or (item.low, item.high)
        moved = False
        for end in ends:
            place = self._toward(base, item, end)
            if place is not None and self._allowed(place, item.name):
                self._visit(driver, "end", place, AT_END, item.name)
                moved = True
        if moved:
            self._visit(driver, "back", base, 1, item.name)

    def _middle(self) -> dict[str, Value]:
        """Settings inside all bounds and constraints; choices as when it is off."""
        off = off_settings(self.instrument)
        middle: dict[str, Value] = {
            item.name: off[item.name] if item.choices else (item.low + item.high) / 2 for item in self.instrument.inputs
        }
        if self._space.constraints:
            rows = self._space.sample(SAMPLES, np.random.default_rng(0))
            mean = self._space.decode(rows.mean(axis=0))
            middle |= {item.name: mean[item.name] for item in self._space.numeric}
        return self._space.project(middle)[0]

    def _toward(self, base: Mapping[str, Value], item: Input, end: Value) -> dict[str, Value] | None:
        """The farthest settings on the way of one input to an end; None if it cannot be moved that way."""
        start = base[item.name]
        if isinstance(end, str) or isinstance(start, str):
            place = {**base, item.name: end}
            return place if place != base and self._space.contains(place) else None
        for left in range(PARTS, 0, -1):
            aim = {**base, item.name: start + self.part * (end - start) * left / PARTS}
            place, _ = self._space.project(aim)
            if place[item.name] != start and all(place[n] == base[n] for n in base if n != item.name):
                return place
        aim = {**base, item.name: start + self.part * (end - start)}
        place, _ = self._space.project(aim)  # where an equality binds them, others move with it
        return place if place[item.name] != start and any(one.equality for one in self._space.constraints) else None

    def _allowed(self, place: Settings, name: str) -> bool:
        """Whether the user agrees to these settings; asked only if they lie outside the range visited so far."""
        new = [one for one, value in place.items() if self._is_new(one, value)]
        if not new:
            return True
        if self._in_a_row >= GIVE_UP:
            return False
        text = ", ".join(f"{one} = {shown(place[one])}{self._unit(one)}{self._so_far(one)}" for one in new)
        if self.consent(text):
            return True
        self._survey.left_out.append(text)
        return False

    def _is_new(self, name: str, value: Value) -> bool:
        seen = self._seen[name]
        if isinstance(value, str) or not seen:
            return value not in seen
        numbers = [one for one in seen if not isinstance(one, str)]
        return not min(numbers) <= value <= max(numbers)

    def _so_far(self, name: str) -> str:
        seen = self._seen[name]
        if not seen:
            return ""
        if isinstance(seen[0], str):
            return f" (so far {', '.join(map(shown, dict.fromkeys(seen)))})"
        numbers = sorted(one for one in seen if not isinstance(one, str))
        ends = [shown(one) for one in dict.fromkeys((numbers[0], numbers[-1]))]
        return f" (so far {' … '.join(ends)})"

    def _unit(self, name: str) -> str:
        unit = next(item.unit for item in self.instrument.inputs if item.name == name)
        return f" {unit}" if unit else ""

    def _visit(self, driver: Driver, where: Where, settings: Settings, times: int, moved: str = "") -> bool:
        """Take readings at one place, and more while they move; whether there are any."""
        began = self.clock.monotonic()
        for name, value in settings.items():
            self._seen[name].append(value)
        if self._wait and where != "off":
            self._take(driver, settings, 1, began)
            self.clock.sleep(self._wait - (self.clock.monotonic() - began))
        taken = self._take(driver, settings, times, began)
        settled = 0.0
        if where in ("middle", "end", "back") and self._settles and self._moves([r for _, r in taken], where):
            for _ in range(MOST):
                taken += self._take(driver, settings, 1, began)
                window = [reading for _, reading in taken[-WINDOW:]]
                if len(taken) >= times + LEVEL and not self._moves(window, "middle"):
                    break
            settled = self._time_to_settle(taken)
            self._settles = math.isfinite(settled)
            if self._settles:
                self._wait = max(self._wait, MARGIN * settled)  # the next change may be larger
        readings, ends = tuple(reading for _, reading in taken), tuple(end for end, _ in taken)
        self._survey.visits.append(Visit(where, dict(settings), moved, readings, ends, settled))
        return bool(readings)

    def _moves(self, readings: Sequence[Reading], where: Where) -> bool:
        """Whether a channel moves one way in all readings; with two, by more than the noise."""
        if len(readings) < 2 or (where == "middle" and len(readings) < WINDOW):
            return False
        for name in self._channels:
            values = [reading.readings[name] for reading in readings]
            steps = [after - before for before, after in pairwise(values)]
            noise = 0.0 if len(readings) >= WINDOW else MOVED * self._scatter(name)
            if (min(steps) > 0 or max(steps) < 0) and abs(values[-1] - values[0]) > noise:
                return True
        return False

    def _scatter(self, channel: str) -> float:
        """Standard deviation of one reading, from the middle and the ends; a step of the channel if that is more."""
        values = [v for visit in self._survey.at("middle") for v in visit.values(channel)[-max(self.repeats, 2) :]]
        step = next(item.resolution for item in self.instrument.channels if item.name == channel)
        if len(values) < 2:
            return math.inf
        pairs = [visit.values(channel)[-2:] for visit in self._survey.at("end")]
        squares = [(one - other) ** 2 / 2 for one, other in (pair for pair in pairs if len(pair) == 2)]
        pooled = math.sqrt((sum(squares) + (len(values) - 1) * variance(values)) / (len(squares) + len(values) - 1))
        return max(stdev(values), pooled, step or 0.0)

    def _time_to_settle(self, taken: Sequence[tuple[float, Reading]]) -> float:
        """Seconds until all channels are near their last readings; 0 if they always were, inf if they still move."""
        if len(taken) < 2 * WINDOW:
            return 0.0
        if self._moves([reading for _, reading in taken[-2 * WINDOW :]], "middle"):
            return math.inf
        settled = 0.0
        for name in self._channels:
            values = [reading.readings[name] for _, reading in taken]
            end = values[-LEVEL:]
            known = self._scatter(name) if self._survey.at("middle") else 0.0
            level, near = fmean(end), MOVED / 2 * max(stdev(end), known, 1e-12 * max(map(abs, end)))
            if abs(values[0] - level) <= 2 * near:
                continue
            inside = [abs(value - level) <= near for value in values]
            first = next(k for k in range(len(values)) if all(inside[k : k + STABLE]) or k == len(values) - LEVEL)
            settled = max(settled, taken[first][0])
        return settled

    def _take(self, driver: Driver, settings: Settings, times: int, began: float) -> list[tuple[float, Reading]]:
        longest = getattr(self.instrument, "timeout_seconds", None)
        limit = "" if longest is None else f"; waiting for {longest:.3g} s at most"
        taken: list[tuple[float, Reading]] = []
        for _ in range(times):
            if self._in_a_row >= GIVE_UP:
                break
            start = self.clock.monotonic()
            self._number += 1
            self.begun(f"reading {self._number} of about {self._planned}, at {listed(settings)}{limit}")
            try:
                reading = checked_reading(driver.measure(settings), settings, self._channels)
            except Interlock:
                raise
            except Rejected as error:
                self._survey.rejected.append(f"{listed(settings)}: {error}")
                self.ended(f"refused: {error}")
                break
            except InstrumentError as error:
                self._survey.errors.append(f"{type(error).__name__}: {error}")
                self._in_a_row = self._in_a_row + 1 if error.retryable or self._survey.seconds else GIVE_UP
                self.ended(f"failed: {error}")
            else:
                self._in_a_row = 0
                end = self.clock.monotonic()
                self._survey.seconds.append(end - start)
                taken.append((end - began, reading))
                self.ended(f"{end - start:.3g} s")
        return taken
