"""Whether the campaign that an agent submits may run: pure functions of the lab file, the journal and the time.

    refused    a limit forbids it, approved or not: instrument, inputs, solver, hours, readings, cost
    waits      a person must approve it: always, or because there is no valid rehearsal
    accepted   it is queued

Used in the last 24 hours are the readings and cost of campaigns that ended in this time, and the most that each waiting
or running campaign can take. A campaign is accepted only if the sum stays within the limits, so that running campaigns
cannot exceed them. `reason_to_pause` applies the limits again to running campaigns, because the lab file may have
changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from sdl.config.inputs import CampaignInput
from sdl.drivers.base import Instrument
from sdl.lab.config.agents import AgentLimits, describe_bound, is_within
from sdl.lab.config.instruments import instrument_of
from sdl.lab.core.events import Rehearsed, Submitted
from sdl.notify.model import within_span
from sdl.types import GOOD_OUTCOMES, Input

if TYPE_CHECKING:
    from sdl.lab.core.state import Lab, Start

REHEARSAL_SECONDS = 3600.0
"""Seconds for which a rehearsal is valid."""
MOST_RETRIES = 3
"""Most further attempts at a reading: an attempt that fails counts as no reading, but uses the instrument."""
MAX_WAITING = 10  # submissions of one agent that wait for a person
MAX_CALLS = {60.0: 60, 86400.0: 2000}
"""By seconds, the most recorded calls of one agent in them; further ones are refused and not recorded, so that a flood
does not fill the disk. A stop is no such call."""
MOST_CHANGES = 3  # of an instrument that are listed


@dataclass(frozen=True, slots=True)
class SubmissionDecision:
    """What becomes of a submission, with the reasons."""

    verdict: Literal["accepted", "waits", "refused"]
    reasons: tuple[str, ...] = ()


def digest(campaign: Mapping[str, Any]) -> str:
    """The SHA-256 of a resolved campaign; equal exactly for equal campaigns."""
    return hashlib.sha256(json.dumps(campaign, sort_keys=True, allow_nan=False).encode()).hexdigest()


def inputs_of(campaign: Mapping[str, Any]) -> tuple[Input, ...]:
    """The inputs of the instrument of a resolved campaign."""
    return tuple(instrument_of(campaign["instrument"]).inputs)


def decide(lab: Lab, submitted: Submitted, now: float) -> SubmissionDecision:
    """Whether a submission is accepted, waits for a person or is refused.

    Args:
        lab: its state and limits.
        submitted: the submission; its own `decision` is ignored.
        now: seconds since 1970 UTC.
    """
    if forbidden := tuple(violations(lab, submitted, now)):
        return SubmissionDecision("refused", forbidden)
    limits = lab.lab.agents[submitted.agent]
    missing = rehearsal_problem(lab, submitted, now)
    if limits.approve == "unrehearsed" and not missing:
        return SubmissionDecision("accepted")
    if sum(one.agent == submitted.agent for one in lab.submissions.values()) >= MAX_WAITING:
        return SubmissionDecision(
            "refused", (f"{MAX_WAITING} submissions of {submitted.agent} wait for a person already",)
        )
    always = ("a person approves every submission of this agent",) if limits.approve == "always" else ()
    return SubmissionDecision("waits", (*always, *((missing,) if missing else ())))


def violations(lab: Lab, submitted: Submitted, now: float) -> Iterator[str]:
    """The limits that a submission would break, approved or not."""
    limits = lab.lab.agents.get(submitted.agent)
    if limits is None:
        yield f"{submitted.agent} is no agent of this lab"
        return
    if limits.tier != "submit":
        yield f"{submitted.agent} is of tier {limits.tier} and may not submit"
    yield from campaign_violations(limits, submitted.instrument, submitted.campaign)
    if changed := instrument_change(lab, submitted.instrument, submitted.campaign):
        yield f"{changed}; submit the campaign again"
    if limits.hours is not None and not within_span(limits.hours, now, lab.lab.zone):
        yield f"outside the hours of {submitted.agent}: {limits.hours}"
    readings, cost = lab.committed(submitted.agent, now)
    if limits.readings_per_day is not None and readings + submitted.readings > limits.readings_per_day:
        yield (
            f"up to {submitted.readings} readings, and {readings} of {limits.readings_per_day} in 24 hours are taken "
            "or reserved; lower stop.trials, average or confirm"
        )
    if limits.cost_per_day is not None and cost + submitted.cost > limits.cost_per_day:
        yield (
            f"costs up to {submitted.cost:g}, and {cost:g} of {limits.cost_per_day:g} in 24 hours are spent or "
            "reserved; lower stop.trials or stop.cost"
        )


def campaign_violations(limits: AgentLimits, instrument: str, campaign: Mapping[str, Any]) -> Iterator[str]:
    """The limits that a resolved campaign breaks by itself: instrument, inputs, solver."""
    if instrument not in limits.instruments:
        yield f"instrument {instrument} is not allowed; allowed: {', '.join(limits.instruments)}"
        return
    given, by_name = campaign.get("inputs", {}), {item.name: item for item in inputs_of(campaign)}
    for name, bound in limits.instruments[instrument].items():
        item = by_name.get(name)
        wanted = CampaignInput.model_validate(given[name]) if name in given else None
        if item is None or not is_within(wanted, bound, item):
            text = "" if item is None else f"; allowed: {describe_bound(bound, item)}"
            yield f"input {name} is not kept within the bounds of the agent{text}"
    solver = str(campaign.get("solver", {}).get("kind"))
    if limits.solvers and solver not in limits.solvers:
        yield f"solver {solver} is not allowed; allowed: {', '.join(limits.solvers)}"
    if (times := campaign.get("retry", {}).get("times", 0)) > MOST_RETRIES:
        yield f"retry.times {times} is not allowed; allowed: 0 … {MOST_RETRIES}, since failed attempts are not counted"


def instrument_change(lab: Lab, instrument: str, campaign: Mapping[str, Any]) -> str:
    """A sentence if the lab file now describes an instrument differently from a resolved campaign; else empty.

    Bounds, safe settings or prices may have changed, and the campaign would use the old ones.
    """
    present, before = lab.lab.instruments.get(instrument), instrument_of(campaign["instrument"])
    if present is None or (now := instrument_of(present.instrument)) == before:
        return ""
    text = f"{instrument} has been changed in the lab file since the campaign was submitted"
    changes = list(_changes(_plain(before), _plain(now)))
    more = f" and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
    return f"{text}: {', '.join(changes[:MOST_CHANGES])}{more}" if changes else text


def _plain(instrument: Instrument) -> Any:
    return instrument.model_dump(mode="json") if isinstance(instrument, BaseModel) else {}


def _changes(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """What differs in an instrument, `inputs.red.high 255 → 220`; of other values than numbers only the name.

    Addresses, commands and headers are not for everyone who reads the reason of a refusal.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            yield from _changes(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for n, (one, other) in enumerate(zip(before, now, strict=True)):
            name = one["name"] if isinstance(one, dict) and "name" in one else n
            yield from _changes(one, other, f"{path}.{name}")
    elif before != now:
        numbers = all(isinstance(value, (int, float)) for value in (before, now))
        yield f"{path} {before:g} → {now:g}" if numbers else path


def rehearsal_problem(lab: Lab, submitted: Submitted, now: float) -> str:
    """Why the rehearsal that a submission names does not count; empty if it does."""
    name = submitted.rehearsal
    if not name:
        return "not rehearsed"
    rehearsed = lab.rehearsals.get(name)
    if rehearsed is None or rehearsed.agent != submitted.agent:
        return "no such rehearsal of this agent within the last hour"
    if (rehearsed.instrument, rehearsed.digest) != (submitted.instrument, digest(submitted.campaign)):
        return "the rehearsal is of another campaign or instrument"
    if not 0 <= now - rehearsed.at <= REHEARSAL_SECONDS:
        return "the rehearsal is older than an hour"
    if name in lab.used_rehearsals:
        return "the rehearsal was used by an earlier submission"
    if rehearsed.twin:
        return f"the rehearsal does not count: {rehearsed.twin}"
    if rehearsed.outcome not in GOOD_OUTCOMES:
        return f"the rehearsal ended as {rehearsed.outcome}: {rehearsed.reason}"
    return ""


def reason_to_pause(lab: Lab, start: Start, now: float, readings: int) -> str:
    """Why the campaign of an agent may not measure now; empty if it may.

    Args:
        lab: its state and limits.
        start: the campaign's start.
        now: seconds since 1970 UTC.
        readings: number of readings taken in its run so far.
    """
    limits = lab.lab.agents.get(start.agent)
    if limits is None:
        return f"{start.agent} is no longer an agent of the lab file"
    if limits.tier != "submit":
        return f"{start.agent} may no longer submit campaigns"
    if changed := next(campaign_violations(limits, start.instrument, start.spec.resolved), ""):
        return f"the limits of {start.agent} have changed: {changed}"
    if changed := instrument_change(lab, start.instrument, start.spec.resolved):
        return changed
    if limits.hours is not None and not within_span(limits.hours, now, lab.lab.zone):
        return f"outside the hours of {start.agent}: {limits.hours}"
    taken, cost = lab.used(start.agent, now)
    taken += max(readings - start.readings, 0)
    if limits.readings_per_day is not None and taken >= limits.readings_per_day:
        return f"{taken} readings of {start.agent} in 24 hours ({limits.readings_per_day} allowed)"
    if limits.cost_per_day is not None and cost >= limits.cost_per_day:
        return f"{start.agent} has spent {cost:g} in 24 hours ({limits.cost_per_day:g} allowed)"
    return ""


def is_valid(rehearsed: Rehearsed, now: float) -> bool:
    """Whether a rehearsal is recent enough to be kept."""
    return now - rehearsed.at <= REHEARSAL_SECONDS
