"""Numbers, plurals, goals and causes in words: what every view of a campaign says in the same way."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sdl.core.events import Safe
from sdl.core.goal import decimals, format_reading
from sdl.core.trials import Trial, TrialState
from sdl.types import Verdict

if TYPE_CHECKING:
    from sdl.core.campaign import Plan
    from sdl.core.events import Opened
    from sdl.core.goal import Band, Goal

CAUSES = {
    "Unreachable": "no answer",
    "Busy": "busy",
    "BadReply": "bad reply",
    "Rejected": "refused",
    "NotApplied": "not applied",
    "InstrumentError": "the instrument",
}
"""What the record calls the instrument's failures, and what people are told."""


_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Text from a record or an instrument, safe to show: what would steer a terminal or turn lines around is spelled.

    Line ends and tabs stay.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def count(n: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def cause(error: str) -> str:
    """Why a reading did not come, or a campaign ended, without the names of our classes."""
    return re.sub(rf"\b({'|'.join(CAUSES)}): ", lambda found: f"{CAUSES[found[1]]}: ", error)


def percent(fraction: float) -> str:
    """Three figures: `0.78 %`, `81.0 %`, `251 %`."""
    value = fraction * 100
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} %"


def ratio(value: float) -> str:
    """A tolerance ratio as a bare number with three figures, `?` where it is unknown: `0.39`, `40.5`, `126`."""
    if not math.isfinite(value):
        return "?"
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
    elif trial.last_error:
        remarks.append(f"retrying after: {cause(trial.last_error)}")
    elif state is TrialState.CONFIRMING:
        remarks.append(f"confirming {trial.readings - plan.average}/{plan.average * plan.confirm}")
    elif state in (TrialState.REACHED, TrialState.NOT_CONFIRMED):
        remarks.append(str(state))
    remarks += trial.faults
    if trial.verdict not in (None, Verdict.REACHABLE):
        remarks.append(str(trial.verdict))
    if trial.proposed.clipped:
        remarks.append(f"clipped: {', '.join(trial.proposed.clipped)}")
    remarks += [f"{name} saturated" for name in sorted(trial.saturated)]
    if trial.failures and not trial.last_error:
        remarks.append(f"after {count(trial.failures, 'failed attempt')}")
    return remarks


def best_trial(best: Trial | None) -> str:
    """How near the best trial came: `best: trial 4, 0.39 × tolerance`; empty where no trial is judged."""
    return f"best: trial {best.trial}, {tolerance_ratio(best.miss)}" if best is not None and best.judged else ""


def readings(values: Sequence[float], band: Band | None = None) -> list[str]:
    """Readings of one channel with as many digits as they need: no more than tell, and the same of each."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    digits = decimals(largest, room(band) if band else None)
    return [f"{value:.{0 if not band and not any(v % 1 for v in values) else digits}f}" for value in values]


def reading(value: float, band: Band | None = None) -> str:
    """One reading with as many digits as it needs: `16384`, `12.5`, `0.483`."""
    return format_reading(value, room(band) if band else None)


def room(band: Band) -> float:
    """The tolerance of a band, of its narrower side; of one without a target what a miss is counted in."""
    if band.target is None:
        return band.unit
    return min(side for side in (band.high - band.target, band.target - band.low) if side > 0)


def setting(value: float, about: Mapping[str, Any]) -> str:
    """A setting with as many digits as its input's step or range needs: `0.4706`, `34`.

    Args:
        value: in the input's unit.
        about: low, high and step of the input, as the record has them.
    """
    step = about.get("step")
    most = max(0, 4 - max(0, math.floor(math.log10(about.get("high", 1.0) - about.get("low", 0.0)))))
    fits = (n for n in range(most) if step and math.isclose(round(step, n), step, rel_tol=1e-9))
    return f"{value:.{next(fits, most)}f}"


def settings(values: Mapping[str, float], opened: Opened) -> dict[str, str]:
    """Settings of a run's instrument as text."""
    about = {str(item["name"]): item for item in opened.instrument["inputs"]}
    return {name: setting(value, about[name]) for name, value in values.items()}


def headline(opened: Opened) -> str:
    """What it is and on what."""
    return f"{opened.campaign} on {opened.instrument['identity']}{' (simulated)' if opened.simulated else ''}"


def goal_line(goal: Goal | None) -> str:
    """What is wanted."""
    return f"goal: {goal}" if goal else "no goal: readings only"


def worst(goal: Goal, values: Mapping[str, float]) -> str:
    """The channel that is farthest off, by how much, and its own tolerance: `515nm 0.78 % off, tolerance 2 %`."""
    name = goal.worst_channel(values)
    return f"{name} {off(goal.bands[name], values.get(name, math.nan))}"


def off(band: Band, value: float) -> str:
    """How far a reading is from what is wanted, beside the tolerance of that side."""
    if math.isnan(value):
        return "not read"
    if band.target is None:
        if value > band.high:
            return f"reads {reading(value, band)}, {format_reading(value - band.high)} above {band.high:g}"
        if value < band.low:
            return f"reads {reading(value, band)}, {format_reading(band.low - value)} below {band.low:g}"
        return f"reads {reading(value, band)}, inside {band}"
    side = band.high - band.target if value > band.target else band.target - band.low
    if band.target == 0:
        return f"{reading(abs(value), band)} off, tolerance {side:g}"
    scale = abs(band.target)
    return f"{percent(abs(value - band.target) / scale)} off, tolerance {100 * side / scale:.3g} %"


def not_off(safe: Safe | None) -> str:
    """What is said of an instrument that may still be on since its campaign ended; empty where it is off."""
    return "" if safe is None or safe.proven else f"the instrument may still be on: {safe.why}"
