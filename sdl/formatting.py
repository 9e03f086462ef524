"""Display texts of numbers, units, goals, outcomes, verdicts and errors, shared by every view of a campaign."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from sdl.core.events import Safe
from sdl.core.goal import decimals, format_number, format_reading, format_with_error
from sdl.core.trials import Trial, TrialState
from sdl.types import Settings, Value, Verdict

if TYPE_CHECKING:
    from sdl.core.campaign import Plan
    from sdl.core.events import Opened
    from sdl.core.goal import Band, Goal
    from sdl.core.history import History
    from sdl.core.objective import ObjectiveResult
    from sdl.runs.results import Result

# Display text of each instrument error that a record names.
CAUSES = {
    "Unreachable": "no answer",
    "Busy": "busy",
    "BadReply": "bad reply",
    "Rejected": "refused",
    "NotApplied": "not applied",
    "InstrumentError": "the instrument",
}

# Display text of the stored outcomes and verdicts. Change words here: those of `sdl.types` are stored in records. The
# sentences of their reasons are in `sdl.core.stopping`, `sdl.models.verdict` and `sdl.inverse.propose`.
DISPLAY = {
    "reached": "reached",
    "done": "done",
    "spent": "budget used up",
    "stalled": "stalled",
    "aborted": "aborted",
    "failed": "failed",
    "unreachable": "unreachable",  # an outcome and a verdict
    "saturated": "saturated",
    "between two steps": "resolution limit",
    "outside the data": "extrapolation",
    "lack of fit": "lack of fit",
    "below the noise": "tolerance below noise",
    "reachable": "reachable",
}


_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Text from a record or an instrument, with control and bidirectional characters written as escapes.

    Line ends and tabs stay.
    """
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def truncate(text: str, limit: int) -> str:
    """Text of at most `limit` characters; `…` ends a text that is cut."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def count(n: int, noun: str) -> str:
    """A number with its noun: `1 trial`, `2 trials`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def display(word: object) -> str:
    """Display text of a stored outcome or verdict: `budget used up` for `spent`."""
    return DISPLAY.get(str(word), str(word))


def cause(error: str) -> str:
    """A stored failure or stop reason, with the display text of its error class."""
    return re.sub(rf"\b({'|'.join(CAUSES)}): ", lambda match: f"{CAUSES[match[1]]}: ", error)


def percent(fraction: float) -> str:
    """A fraction as a percentage with three figures: `0.78 %`, `81.0 %`, `251 %`."""
    return f"{_three_figures(fraction * 100)} %"


def ratio(value: float) -> str:
    """A tolerance ratio as a bare number with three figures, `?` where it is unknown: `0.39`, `40.5`, `126`."""
    return _three_figures(value) if math.isfinite(value) else "?"


def _three_figures(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def tolerance_ratio(value: float) -> str:
    """A tolerance ratio in a sentence: `1.40 × tolerance`."""
    return f"{ratio(value)} × tolerance"


def trial_remarks(trial: Trial, plan: Plan) -> list[str]:
    """What is noteworthy about a trial, the most important first: its state, verdict, faults and failures."""
    state = trial.state
    remarks = []
    if state is TrialState.FAILED:
        remarks.append(f"failed: {cause(trial.last_error)}")
    elif state is TrialState.SKIPPED:
        remarks.append(f"skipped: {trial.why_skipped}" if trial.why_skipped else "skipped")
    elif trial.last_error:
        remarks.append(f"retrying after: {cause(trial.last_error)}")
    elif state is TrialState.CONFIRMING:
        remarks.append(f"confirming {trial.readings - plan.average}/{plan.average * plan.confirm}")
    elif state in (TrialState.REACHED, TrialState.NOT_CONFIRMED):
        remarks.append(str(state))
    remarks += trial.faults
    if trial.verdict not in (None, Verdict.REACHABLE):
        remarks.append(display(trial.verdict))
    if trial.proposed.clipped:
        remarks.append(f"clipped: {', '.join(trial.proposed.clipped)}")
    remarks += [f"{name} saturated" for name in sorted(trial.saturated)]
    if trial.failures and not trial.last_error:
        remarks.append(f"after {count(trial.failures, 'failed attempt')}")
    if trial.corrected:
        remarks.append(f"{count(trial.corrected, 'reading')} corrected")
    if trial.excluded:
        remarks.append(f"{count(trial.excluded, 'reading')} excluded")
    return remarks


def reading_notes(trial: Trial) -> list[str]:
    """What was noted beside the readings of a trial, each note once."""
    readings = (trial.reading(repeat) for repeat in range(trial.taken))
    notes = (note for reading in readings if reading is not None and (note := getattr(reading, "note", "")))
    return [f"note: {visible(note)}" for note in dict.fromkeys(notes)]


def best_trial(best: Trial | None) -> str:
    """The best trial and its tolerance ratio: `best: trial 4, 0.39 × tolerance`; empty where no trial is judged."""
    return f"best: trial {best.trial}, {tolerance_ratio(best.miss)}" if best is not None and best.judged else ""


def best_so_far(history: History) -> str:
    """The best trial: its tolerance ratio, or with an objective its reading with the standard error."""
    if history.optimum is not None and (best := history.optimum.describe()):
        return f"best: {best}"
    return best_trial(history.best)


def objective_line(found: ObjectiveResult) -> str:
    """What is known of the objective: `512.3 ± 1.2 (mean of 3 readings); the model estimates 512.6 ± 0.9 …`."""
    if found.value is None:
        return "no settings kept the constraints"
    text = format_with_error(found.value, found.std_error)
    text += f" ({'mean of ' if found.readings > 1 else ''}{count(found.readings, 'reading')}"
    text += ")" if found.confirmed else ", not confirmed)"
    if found.estimate is not None and found.estimate_error is not None:
        estimate = format_with_error(found.estimate, found.estimate_error)
        text += f"; the model estimated {estimate} at the best settings"
    if found.expected_improvement is not None:
        text += f" and expected the next trial to improve it by {found.expected_improvement:.2g}"
    return text


def readings(values: Sequence[float], band: Band | None = None) -> list[str]:
    """Readings of one channel as text, all with the number of decimals that the largest of them needs."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    tolerance = narrow_tolerance(band) if band else None
    if largest >= 1e8:
        return [format_reading(value, tolerance) for value in values]
    digits = 0 if not band and not any(v % 1 for v in values) else decimals(largest, tolerance)
    return [format_number(value, digits) for value in values]


def reading(value: float, band: Band | None = None) -> str:
    """One reading as text, rounded to a tenth of the tolerance: `16384`, `12.5`, `0.483`."""
    return format_reading(value, narrow_tolerance(band) if band else None)


def narrow_tolerance(band: Band) -> float | None:
    """The tolerance of a band on its narrower side; the scale of a range or limit; None for an objective."""
    if band.direction is not None:
        return None
    if band.target is None:
        return band.unit
    return min(side for side in (band.high - band.target, band.target - band.low) if side > 0)


def setting(value: Value, declared: Mapping[str, Any]) -> str:
    """A setting as text: a number rounded to the step or to 1e-4 of the range of its input, `0.4706` or `34`; a choice.

    The record declares low, high and step of the input, or its choices.
    """
    if isinstance(value, str):
        return visible(value)
    step, digits = declared.get("step"), _range_decimals(declared)
    exact = (n for n in range(digits) if step and math.isclose(round(step, n), step, rel_tol=1e-9))
    return format_number(value, next(exact, digits), 6)


def setting_error(value: float | None, declared: Mapping[str, Any]) -> str:
    """A spread or uncertainty of a setting, rounded to 1e-4 of the range of its input; `?` where it is unknown."""
    return "?" if value is None else format_number(value, _range_decimals(declared))


def _range_decimals(declared: Mapping[str, Any]) -> int:
    """The decimals that show 1e-4 of the range of an input; those of a fraction for choices."""
    if declared.get("choices"):
        return 4
    width = declared.get("high", 1.0) - declared.get("low", 0.0)
    return max(0, 4 - math.floor(math.log10(width))) if width > 0 else 4


class InstrumentSpec(NamedTuple):
    """The instrument of a record.

    Attributes:
        inputs, channels: names, in order.
        specs: what the record says of each input, also fixed ones, and channel, by name: unit, low, high, step,
            saturation.
        units: units of inputs and channels, by name; empty if none is declared.
    """

    inputs: tuple[str, ...]
    channels: tuple[str, ...]
    specs: dict[str, Mapping[str, Any]]
    units: dict[str, str]

    def title(self, name: str) -> str:
        """A name with its unit: `power (W)`."""
        return f"{name} ({self.units[name]})" if self.units[name] else name

    def settings(self, values: Settings) -> dict[str, str]:
        """Settings as text, by input."""
        return {name: setting(value, self.specs[name]) for name, value in values.items()}


def instrument_spec(opened: Opened) -> InstrumentSpec:
    """The inputs and channels of a run's instrument."""
    instrument = opened.instrument
    inputs, channels = ({str(item["name"]): item for item in instrument[kind]} for kind in ("inputs", "channels"))
    fixed = {str(item["name"]): item for item in instrument.get("fixed", ())}
    specs = inputs | fixed | channels
    units = {name: str(item.get("unit") or "") for name, item in specs.items()}
    return InstrumentSpec(tuple(inputs), tuple(channels), specs, units)


def settings(values: Settings, opened: Opened) -> dict[str, str]:
    """Settings of a run's instrument as text."""
    return instrument_spec(opened).settings(values)


def swatch(settings: Settings, inputs: Sequence[Mapping[str, Any]]) -> tuple[int, int, int] | None:
    """The colour of an R, G, B setting, 0 … 255 each; None for other inputs. A fourth input W adds to all three.

    The square root of each fraction of the range approximates the brightness that eyes perceive.
    """
    bounds = {str(i["name"]): (float(i["low"]), float(i["high"])) for i in inputs if not i.get("choices")}
    numbers = {name: value for name, value in settings.items() if not isinstance(value, str)}
    if not {"R", "G", "B"} <= bounds.keys() or not {"R", "G", "B"} <= numbers.keys():
        return None

    def part(name: str) -> float:
        low, high = bounds[name]
        return min(max((numbers[name] - low) / (high - low), 0.0), 1.0)

    white = part("W") if "W" in bounds and "W" in numbers else 0.0
    red, green, blue = (round(255 * math.sqrt(min(part(name) + white, 1.0))) for name in "RGB")
    return red, green, blue


def instrument_line(opened: Opened) -> str:
    """The instrument: `twin:night-2025-10:0 (simulated)`."""
    return f"{opened.instrument['identity']}{' (simulated)' if opened.simulated else ''}"


class AskedSetting(NamedTuple):
    """An input that a person is asked to set.

    Attributes:
        value: the value as text, without its unit.
        change: since the settings before: `+15`, `unchanged`, `was water`; empty where those are unknown.
    """

    name: str
    value: str
    unit: str
    change: str

    def __str__(self) -> str:
        change = f" ({self.change})" if self.change else ""
        return f"{self.name} = {self.value}{f' {self.unit}' if self.unit else ''}{change}"


class AskedReading(NamedTuple):
    """A reading that a person is asked for; `body` says what to set and to read, `at` when it was asked for."""

    trial: int
    repeat: int
    body: str
    at: float


def asked_settings(asked: Settings, before: Settings | None, opened: Opened) -> list[AskedSetting]:
    """The settings that a person is asked for, with their change against those `before`; None: there are none."""
    spec = instrument_spec(opened)

    def change(name: str, value: Value) -> str:
        if before is None or (old := before.get(name)) is None:
            return ""
        text, old_text = setting(value, spec.specs[name]), setting(old, spec.specs[name])
        if text == old_text:
            return "unchanged"
        if isinstance(value, str) or isinstance(old, str):
            return f"was {old_text}"
        sign = "+" if value > old else "\N{MINUS SIGN}"
        return f"{sign}{setting(abs(value - old), spec.specs[name])}"

    return [
        AskedSetting(name, setting(value, spec.specs[name]), spec.units[name], change(name, value))
        for name, value in asked.items()
    ]


def settings_before(trials: Sequence[Trial], number: int) -> Settings | None:
    """The settings of the reading before the next one of a trial, as far as they are known; None: it is the first."""
    before = next((trial for trial in reversed(trials) if trial.trial < number or trial.taken), None)
    return before.shown_settings if before is not None else None


def told_by_others(opened: Opened | None) -> bool:
    """Whether others may tell the readings of a run: a script, or a person on the page or at a terminal."""
    return opened is not None and opened.instrument.get("kind") in ("external", "manual")


def is_external(opened: Opened | None) -> bool:
    """Whether others drive the instrument of a run, who ask for settings and tell the readings."""
    return opened is not None and opened.instrument.get("kind") == "external"


def headline(opened: Opened) -> str:
    """Campaign and instrument: `quickstart on twin:night-2025-10:0 (simulated)`."""
    return f"{opened.campaign} on {instrument_line(opened)}"


def counts(run: History | Result) -> str:
    """The numbers of trials and readings: `8 trials, 14 readings, 1 failed`."""
    failed = f", {run.failed} failed" if run.failed else ""
    return f"{count(run.trials, 'trial')}, {count(run.readings, 'reading')}{failed}"


def goal_line(goal: Goal | None) -> str:
    """The goal as one line: `goal: 445nm 16384 ± 327.68`."""
    return f"goal: {goal}" if goal else "no goal: readings only"


def worst(goal: Goal, values: Mapping[str, float], units: Mapping[str, str] | None = None) -> str:
    """The worst channel, its error and its tolerance: `515nm off by +0.78 % (tolerance ± 2 %)`.

    The units are those of the channels, for errors that are not percentages.
    """
    name = goal.worst_channel(values)
    return f"{name} {off(goal.bands[name], values.get(name, math.nan), (units or {}).get(name, ''))}"


def units(opened: Opened) -> dict[str, str]:
    """The unit of each input and channel of a run's instrument; empty where it declares none."""
    return instrument_spec(opened).units


def off(band: Band, value: float, unit: str = "") -> str:
    """The signed error of a reading and the tolerance on that side.

    Both are in percent of the target if the tolerance then needs fewer digits (± 2 %), else in the unit (± 3 counts).
    """
    if math.isnan(value):
        return "not read"
    unit = f" {unit}" if unit else ""
    if band.direction is not None:
        return f"reads {reading(value)}{unit}"
    if band.target is None:
        if beyond := band.beyond(value):
            side, edge = ("above", band.high) if value > band.high else ("below", band.low)
            return f"reads {reading(value, band)}{unit}, {format_reading(beyond)}{unit} {side} {edge:g}"
        inside = f"inside {band}" if math.isfinite(band.high - band.low) else f"within its limit, {band}"
        return f"reads {reading(value, band)}{unit}, {inside}"
    error = value - band.target
    tolerance = band.high - band.target if error > 0 else band.target - band.low
    sign = "\N{MINUS SIGN}" if error < 0 else "+"
    limit = f"{tolerance:g}"
    part = f"{100 * tolerance / abs(band.target):.3g}" if band.target else limit
    digits = [len(re.sub(r"\D", "", text).strip("0")) for text in (part, limit)]
    side = "± " if math.isclose(band.high - band.target, band.target - band.low, rel_tol=1e-9) else sign
    if band.target and digits[0] < digits[1]:
        size, tolerated = percent(abs(error / band.target)), f"{part} %"
    else:
        size, tolerated = f"{reading(abs(error), band)}{unit}", f"{limit}{unit}"
    sign = sign if re.search("[1-9]", size) else ""  # no sign before an error that is printed as 0
    return f"off by {sign}{size} (tolerance {side}{tolerated})"


def not_off(safe: Safe | None) -> str:
    """The warning about an instrument that may still be on after its campaign; empty where it is off."""
    return "" if safe is None or safe.proven else f"the instrument may still be on: {safe.why}"


def local(at: float, zone: ZoneInfo) -> str:
    """A time (s since 1970) in a time zone: `Mon 23 Nov 15:40 CET`."""
    return datetime.fromtimestamp(at, zone).strftime("%a %d %b %H:%M %Z")


def aligned(rows: Sequence[Sequence[str]], left_aligned: Container[int] = (0,)) -> list[str]:
    """The lines of a table; columns that are not in `left_aligned` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(t.ljust(w) if i in left_aligned else t.rjust(w) for i, (t, w) in enumerate(cells)).rstrip()

    return [line(row) for row in rows]
