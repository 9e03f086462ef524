"""What the readings of `sdl instrument check` show: noise, repeatability, settling, resolution, effects of inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, stdev

from sdl.core.goal import Goal
from sdl.drivers.base import Instrument, has_background
from sdl.drivers.commissioning.readings import CommissioningCheck, Survey, Visit, listed
from sdl.types import Input, Reading

EFFECT = 4.0  # standard deviations between two readings that count as a change
NOT_BACK = 5.0  # the same, between a reading and the earlier ones at the same settings
SHOWN = 4  # channels in a sentence
CROSS = 0.01  # least part of the largest effect on a channel that is mentioned
GRID = 1e-6  # deviation of readings from multiples of a step, relative to the largest
FEWEST = 3  # different readings that show a step


@dataclass(frozen=True, slots=True)
class _Effect:
    """How one input changes the channels, from end to end."""

    item: Input
    low: Visit | None
    high: Visit | None
    change: Mapping[str, float]


class SurveyFindings:
    """Every finding but those on identity and off.

    Args:
        instrument: the instrument under test.
        goal: goal of the campaign; None if there is none.
        survey: the readings.
        part: fraction of the way from the middle to each end that was covered.
    """

    def __init__(self, instrument: Instrument, goal: Goal | None, survey: Survey, part: float = 1.0) -> None:
        self._instrument, self._goal, self._survey, self._part = instrument, goal, survey, part
        self._names = [channel.name for channel in instrument.channels]
        self._step = {channel.name: channel.resolution for channel in instrument.channels}
        self._units = {channel.name: f" {channel.unit}" if channel.unit else "" for channel in instrument.channels}
        self._middle = [reading for visit in survey.at("middle") for reading in visit.readings][-_window(survey) :]
        self._noise = {name: self._scatter(name) for name in self._names}
        self._effects = [self._effect(item) for item in instrument.inputs]

    def all(self) -> Iterator[CommissioningCheck]:
        if self._survey.interlock:
            yield CommissioningCheck("limits", False, self._survey.interlock)
        if not self._survey.readings:
            return
        yield self._readings()
        yield from self._at_rest()
        yield self._noise_found()
        if self._survey.at("back"):
            yield self._repeatability()
        yield self._settling()
        yield self._resolution()
        if self._survey.at("end"):
            yield self._inputs()
            yield self._cross_talk()
        yield self._settings()
        if self._goal is not None:
            yield self._reach(self._goal)

    def _readings(self) -> CommissioningCheck:
        seconds, errors = self._survey.seconds, self._survey.errors
        typical, longest = median(seconds), max(seconds)
        says = f"{len(seconds)} readings, each {typical:.3g} s (median), {longest:.3g} s at most"
        if errors:
            says += f"; {len(errors)} failed, the last: {errors[-1]}"
        if self._survey.left_out:
            says += f"; left out: {'; '.join(self._survey.left_out)}"
        figures = {"taken": len(seconds), "failed": len(errors), "errors": errors, "left_out": self._survey.left_out}
        return CommissioningCheck("readings", not errors, says, {**figures, "median": typical, "most": longest})

    def _at_rest(self) -> Iterator[CommissioningCheck]:
        """The readings with the instrument off; of one with a background, whether the goal lies above it."""
        readings = [reading for visit in self._survey.at("off") for reading in visit.readings]
        background = has_background(self._instrument)
        what = "background" if background else "at rest"
        if not readings:
            if background:
                yield CommissioningCheck(what, False, "no reading with the instrument off")
            return
        means = self._means(readings)
        full = sorted({name for reading in readings for name in reading.saturated})
        spread = {name: max(values) - min(values) for name, values in self._values(readings).items()}
        moved = max(spread, key=spread.__getitem__)
        says = f"with the instrument off: {self._listed({name: means[name] for name in self._shown()})}"
        says += f"; largest change {spread[moved]:.4g}, of {moved}" if len(readings) > 1 and spread[moved] else ""
        says += f"; already saturated: {', '.join(full)}" if full else ""
        good = not any(name in self._goal.channels for name in full) if background and self._goal else None
        yield CommissioningCheck(what, good, says, {"mean": means, "saturated": full})

    def _noise_found(self) -> CommissioningCheck:
        if len(self._middle) < 2:
            return CommissioningCheck("noise", None, "fewer than two readings at the same settings")
        means, sds = self._means(self._middle), {name: stdev(v) for name, v in self._values(self._middle).items()}
        parts = {name: f" ({100 * sds[name] / abs(means[name]):.2g} %)" if means[name] else "" for name in sds}
        says = "standard deviation in the middle of the inputs: "
        says += ", ".join(f"{name} {sds[name]:.3g}{parts[name]}" for name in self._shown())
        coarse = all(item.resolution is not None for item in self._instrument.channels)
        frozen = not any(sds.values()) and not coarse and getattr(self._instrument, "may_repeat", None) is not True
        if frozen:
            says = (
                f"all {len(self._middle)} readings in the middle of the inputs are equal in every channel: is the "
                "sensor frozen? If the instrument reads in steps coarser than its noise, declare the `resolution` of "
                "its channels"
            )
        return CommissioningCheck("noise", not frozen, says, {"mean": means, "sd": sds})

    def _repeatability(self) -> CommissioningCheck:
        """Whether the readings come back when the settings do."""
        means = self._means(self._middle)
        off = {
            name: max((v.last(name) - means[name] for v in self._survey.at("back")), key=abs) for name in self._names
        }
        limit = NOT_BACK * math.sqrt(1 + 1 / max(len(self._middle), 1))
        away = [name for name in self._names if abs(off[name]) > limit * self._noise[name]]
        shown = self._shown(lambda name: abs(off[name]) / max(self._noise[name], 1e-300))
        differences = ", ".join(f"{name} {off[name]:+.3g}{self._units[name]}" for name in shown)
        says = f"back in the middle, the readings differ from the earlier ones by at most: {differences}"
        if away:
            says += f"; {', '.join(away[:SHOWN])} not within the noise: drift, hysteresis, or not settled"
        return CommissioningCheck("repeatability", None, says, {"difference": off, "beyond_noise": away})

    def _settling(self) -> CommissioningCheck:
        slow = [visit for visit in self._survey.visits if visit.settled]
        figures: dict[str, float | None] = {"seconds": max((visit.settled for visit in slow), default=0.0)}
        if not slow:
            return CommissioningCheck("settling", True, "no reading moved after new settings", figures)
        worst = max(slow, key=lambda visit: visit.settled)
        name = max(
            self._names, key=lambda n: abs(worst.values(n)[-1] - worst.values(n)[0]) / max(self._noise[n], 1e-300)
        )
        after = f"after {worst.moved} was changed" if worst.moved else "in the middle of the inputs"
        if math.isinf(worst.settled):
            says, wait = f"{after}, {name} still moved {worst.times[-1]:.3g} s later", 3 * worst.times[-1]
            figures = {"seconds": None}
        else:
            says, wait = f"{after}, {name} moved for {worst.settled:.3g} s", 1.5 * worst.settled
        declared = getattr(self._instrument, "settle", None)
        if hasattr(self._instrument, "settle"):
            within = f"{3 * self._noise[name]:.2g}"
            says += "; `settle` in the file is too short" if declared else "; the file has no `settle`"
            says += (
                f", such as {math.ceil(wait)} s, or {{until: {name}, within: {within}, for: {math.ceil(wait / 3)} s, "
            )
            says += f"at most: {math.ceil(4 * wait)} s}}"
        else:
            says += "; its readings are taken before it has settled"
        return CommissioningCheck("settling", False, says, figures)

    def _resolution(self) -> CommissioningCheck:
        """Steps of the readings, and the least change of an input that one reading shows."""
        grids = {name: grid for name in self._names if (grid := _grid(self._values(self._survey.readings)[name]))}
        coarse = {n: grid for n, grid in grids.items() if grid > self._plain_noise(n) and self._step[n] is None}
        least: dict[str, float] = {}
        for effect in self._effects:
            if effect.item.numeric and effect.low and effect.high:
                width = float(effect.high.settings[effect.item.name]) - float(effect.low.settings[effect.item.name])
                slopes = [abs(effect.change[n]) / max(self._noise[n], 1e-300) for n in self._names]
                if width and max(slopes) >= EFFECT:
                    least[effect.item.name] = abs(width) / max(slopes)
        units = {item.name: f" {item.unit}" if item.unit else "" for item in self._instrument.inputs}
        changes = ", ".join(f"of {name} by {value:.2g}{units[name]}" for name, value in least.items())
        parts = [f"one reading shows a change {changes}"] if least else []
        parts += [
            f"{name} reads in steps of {grid:g}{self._units[name]}, coarser than its noise: declare its `resolution`"
            for name, grid in coarse.items()
        ]
        figures = {"steps": grids, "inputs": least}
        return CommissioningCheck("resolution", None, "; ".join(parts) or "no input changes a channel", figures)

    def _inputs(self) -> CommissioningCheck:
        """Whether each input changes any channel."""
        parts, dead, figures = [], [], {}
        for effect in self._effects:
            if not effect.change:
                continue
            name = effect.item.name
            seen = [n for n in self._names if self._is_change(effect.change[n], n)]
            aimed = [n for n in seen if self._goal is not None and n in self._goal.channels]
            figures[name] = dict(effect.change)
            if not seen:
                dead.append(name)
                continue
            shown = sorted(aimed or seen, key=lambda n: -abs(effect.change[n]) / max(self._noise[n], 1e-300))[:SHOWN]
            changes = ", ".join(f"{n} {effect.change[n]:+.4g}{self._units[n]}" for n in shown)
            more = f" and {len(seen) - len(shown)} more" if len(seen) > len(shown) else ""
            parts.append(f"{_ends(effect)}: {changes}{more}")
        if dead:
            parts.append(f"no channel changes beyond its noise with {', '.join(dead)}")
        return CommissioningCheck("inputs", not dead, "; ".join(parts), {"change": figures, "dead": dead})

    def _cross_talk(self) -> CommissioningCheck:
        """Channels that several inputs change, with the part of the largest effect."""
        parts, figures = [], {}
        for name in self._goal.channels if self._goal else self._names:
            changes = {e.item.name: e.change[name] for e in self._effects if e.change}
            seen = {one: value for one, value in changes.items() if self._is_change(value, name)}
            if not seen:
                continue
            main = max(seen, key=lambda one: abs(seen[one]))
            others = {
                one: seen[one] / seen[main] for one in seen if one != main and abs(seen[one]) >= CROSS * abs(seen[main])
            }
            figures[name] = {"main": main, "others": others}
            if others:
                listed_others = ", ".join(f"{one} {100 * value:+.2g} %" for one, value in others.items())
                parts.append(f"{name}: {main} (100 %), {listed_others}")
        says = "; ".join(parts[:SHOWN]) or "each channel is changed by one input alone"
        says += f"; {len(parts) - SHOWN} more channels" if len(parts) > SHOWN else ""
        return CommissioningCheck("cross-talk", None, says, figures)

    def _settings(self) -> CommissioningCheck:
        every = self._survey.readings
        odd = [reading for reading in every if reading.fault]
        says = "all settings were applied as asked" + (", from end to end of every input" if self._part == 1 else "")
        if odd:
            says = f"{len(odd)} of {len(every)} readings {odd[0].fault}; one at {listed(odd[0].applied)}"
        if rejected := self._survey.rejected:
            says = (
                f"the instrument refuses {rejected[0]}; if several inputs together have a limit, declare `constraints`"
            )
        return CommissioningCheck("settings", not odd and not rejected, says, {"refused": rejected})

    def _reach(self, goal: Goal) -> CommissioningCheck:
        """Whether the goal lies within the readings, or within what several inputs together may reach."""
        wrong, unseen, seen = [], [], self._values(self._survey.readings)
        for name, band in goal.bands.items():
            values = seen.get(name)
            if values is None:
                continue
            rest = [visit for visit in self._survey.at("off") if has_background(self._instrument)]
            if rest and (base := fmean(v for visit in rest for v in visit.values(name))) > band.high:
                wrong.append(f"{name}: the background alone is {base:.5g}, above {band.high:g}")
                continue
            low, high = self._range(name)
            if band.low > high or band.high < low:
                end, need = (
                    ("highest", f"at least {band.low:g}") if band.low > high else ("lowest", f"at most {band.high:g}")
                )
                value = high if band.low > high else low
                wrong.append(f"{name}: the {end} expected reading is {value:.5g}, and {need} is needed")
            elif band.low > max(values) or band.high < min(values):
                unseen.append(name)
        if wrong and (self._part != 1 or self._survey.left_out or self._survey.rejected or self._survey.interlock):
            says = f"not reached, nor expected from the part of the inputs that was measured: {'; '.join(wrong)}"
            return CommissioningCheck("goal", None, says)
        right = f"the channels exist, and the goal lies within their readings: {', '.join(goal.channels)}"
        if unseen:
            right = f"not reached, but expected from several inputs together: {', '.join(unseen)}"
        return CommissioningCheck("goal", not wrong, "; ".join(wrong) or right)

    def _range(self, name: str) -> tuple[float, float]:
        """The lowest and the highest reading that the inputs together may give: their effects added, or multiplied."""
        seen = self._values(self._survey.readings)[name]
        if not self._middle:
            return min(seen), max(seen)
        middle = self._means(self._middle)[name]
        ends = [
            [v.last(name) for v in self._survey.at("end") if v.moved == item.name] for item in self._instrument.inputs
        ]
        low = middle + sum(min(0.0, *(value - middle for value in values)) for values in ends if values)
        high = middle + sum(max(0.0, *(value - middle for value in values)) for values in ends if values)
        if middle > 0 and min(seen) > 0:
            low = min(low, middle * math.prod(min(1.0, *(v / middle for v in values)) for values in ends if values))
            high = max(high, middle * math.prod(max(1.0, *(v / middle for v in values)) for values in ends if values))
        return min(low, *seen), max(high, *seen)

    # Numbers ------------------------------------------------------------------------------------------------------
    def _effect(self, item: Input) -> _Effect:
        ends = [visit for visit in self._survey.at("end") if visit.moved == item.name]
        if not ends:
            return _Effect(item, None, None, {})
        if not item.numeric:
            middle = self._means(self._middle) if self._middle else {}
            change = {
                name: max((visit.last(name) - middle.get(name, visit.last(name)) for visit in ends), key=abs)
                for name in self._names
            }
            return _Effect(item, ends[0], ends[-1], change)
        ends = sorted([*ends, *self._survey.at("middle")], key=lambda visit: float(visit.settings[item.name]))
        low, high = ends[0], ends[-1]
        return _Effect(item, low, high, {name: high.last(name) - low.last(name) for name in self._names})

    def _scatter(self, name: str) -> float:
        """Standard deviation of one reading: that in the middle, or of pairs at the ends if that is more."""
        return max(self._plain_noise(name), self._step[name] or 0.0, 1e-12 * max(map(abs, self._all(name))))

    def _plain_noise(self, name: str) -> float:
        middle = [reading.readings[name] for reading in self._middle]
        alone = stdev(middle) if len(middle) > 1 else 0.0
        pairs = [one - other for v in self._survey.at("end") for one, other in pairwise(v.values(name)[-2:])]
        freedom = len(pairs) + max(len(middle) - 1, 0)
        squares = sum(d * d / 2 for d in pairs) + alone**2 * max(len(middle) - 1, 0)
        return max(alone, math.sqrt(squares / freedom) if freedom else 0.0)

    def _is_change(self, change: float, name: str) -> bool:
        return abs(change) > EFFECT * math.sqrt(2) * self._noise[name]

    def _shown(self, weight: object = None) -> list[str]:
        """The channels that a sentence names: those of the goal, else all, or some with the largest weights."""
        if self._goal:
            return [name for name in self._goal.channels if name in self._names]
        names = sorted(self._names, key=lambda n: -weight(n)) if callable(weight) else self._names
        return names if weight is None else names[:SHOWN]

    def _listed(self, values: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {value:.5g}" for name, value in values.items())

    def _values(self, readings: Sequence[Reading]) -> dict[str, list[float]]:
        return {name: [reading.readings[name] for reading in readings] for name in self._names}

    def _means(self, readings: Sequence[Reading]) -> dict[str, float]:
        return {name: fmean(values) for name, values in self._values(readings).items() if values}

    def _all(self, name: str) -> list[float]:
        return self._values(self._survey.readings)[name] or [0.0]


def _window(survey: Survey) -> int:
    """How many of the last readings in the middle are repeats: all unless it had to settle."""
    visits = survey.at("middle")
    if not visits:
        return 1
    visit = visits[0]
    return sum(time >= visit.settled for time in visit.times) if math.isfinite(visit.settled) else 2


def _ends(effect: _Effect) -> str:
    name = effect.item.name
    if effect.low is None or effect.high is None:
        return name
    if not effect.item.numeric:
        return name
    return f"{name} {float(effect.low.settings[name]):g} → {float(effect.high.settings[name]):g}"


def _grid(values: Sequence[float]) -> float:
    """The largest step of which all readings are multiples; 0 if there is none, or if they take few values."""
    distinct = sorted(set(values))
    if len(distinct) < FEWEST:
        return 0.0
    least = GRID * max(map(abs, distinct))
    step = 0.0
    for value in distinct:
        one, other = abs(value), step
        while other > least:
            one, other = other, abs(one - other * round(one / other))
        step = one
    return float(f"{step:.6g}") if step > 100 * least else 0.0
